//! Calls a reader of another crate whose panics become errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is inside a reader whose panics become errors. A panic hook should print nothing then: the
/// panic says that a file is damaged, and an error will say the same.
pub fn is_guarded() -> bool {
    DEPTH.get() > 0
}

/// Calls `read`; `None` if it panics.
#[cfg_attr(not(feature = "parquet"), allow(dead_code))] // the only reader that needs it
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let outcome = catch_unwind(AssertUnwindSafe(read));
    DEPTH.set(DEPTH.get() - 1);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_none_and_the_guard_ends() {
        assert!(!is_guarded());
        assert_eq!(guarded(is_guarded), Some(true));
        let inner: fn() = || panic!("expected by this test");
        assert_eq!(guarded(|| guarded(inner).is_none()), Some(true));
        assert!(!is_guarded());
    }
}
