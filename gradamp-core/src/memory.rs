//! Large allocations of the host. A failure is an error, whereas the standard library would end the program.

use crate::{Error, Result};

/// An empty vector with room for `n` values. `what` names them in the error.
///
/// **Errors:** the host has not enough memory.
pub fn room_for<T>(n: usize, what: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(n) {
        Ok(()) => Ok(values),
        Err(_) => Err(Error::Memory { what: what.into(), bytes: n.saturating_mul(size_of::<T>()) }),
    }
}

/// A vector of `n` equal values. `what` names them in the error.
///
/// **Errors:** the host has not enough memory.
pub fn filled<T: Clone>(n: usize, value: T, what: &str) -> Result<Vec<T>> {
    let mut values = room_for(n, what)?;
    values.resize(n, value);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_machine_has_is_an_error_with_its_size() {
        let error = filled(usize::MAX / 8, 1.0_f32, "the values of a tensor").unwrap_err().to_string();
        assert!(
            error.starts_with("out of memory: cannot allocate ")
                && error.ends_with("MiB for the values of a tensor"),
            "{error}"
        );
        assert_eq!(filled(3, 1.0_f32, "three values").unwrap(), [1.0; 3]);
    }
}
