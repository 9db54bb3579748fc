//! Copies to and from the device.

use super::case::{every, random};
use super::{Broken, Violation};
use crate::backend::Memory;

pub(super) fn same(output: &'static str, found: &[f32], expected: &[f32]) -> Result<(), Violation> {
    // 0 and -0 differ; all NaNs are equal.
    let equal = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    match found.iter().zip(expected).position(|(&a, &b)| !equal(a, b)) {
        Some(place) => {
            Err(Broken::Other(format!("{output}[{place}] is {}, expected {}", found[place], expected[place]))
                .into())
        }
        None => Ok(()),
    }
}

/// A read gives the values that were written, bit for bit, also if they are not finite. A short read gives the beginning.
pub fn what_is_written_is_read<B: Memory>(backend: &B) -> Result<(), Violation> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, f32::MAX, f32::MIN_POSITIVE / 4.0];
    every(&[1, 3, 64, 1001, 70_001], |&len| {
        let values: Vec<f32> = special.into_iter().chain(random(1, len)).take(len).collect();
        let mut buffer = backend.allocate(len)?;
        backend.write(&values, &mut buffer)?;
        for asked in [len, len.div_ceil(2)] {
            let mut read = vec![1.5; asked];
            backend.read(&buffer, &mut read)?;
            same("read", &read, &values[..asked])?;
        }
        Ok(())
    })
}

/// A short write changes only the beginning of the buffer.
pub fn a_write_leaves_the_rest<B: Memory>(backend: &B) -> Result<(), Violation> {
    every(&[(10, 3), (1001, 65), (70_001, 1)], |&(len, written)| {
        let mut values = random(1, len).to_vec();
        let mut buffer = backend.allocate(len)?;
        backend.write(&values, &mut buffer)?;
        values[..written].fill(7.0);
        backend.write(&values[..written], &mut buffer)?;
        let mut read = vec![0.0; len];
        backend.read(&buffer, &mut read)?;
        same("read", &read, &values)
    })
}

/// Reading several buffers at once, or none, gives the values of single reads, in the order of the sources.
pub fn read_all_equals_single_reads<B: Memory>(backend: &B) -> Result<(), Violation> {
    every(&[vec![], vec![1], vec![2, 5, 2, 70_001, 35, 1]], |lengths| {
        let mut buffers = Vec::new();
        for (number, &len) in lengths.iter().enumerate() {
            let values = random(number as u64, len + 3).to_vec();
            let mut buffer = backend.allocate(values.len())?;
            backend.write(&values, &mut buffer)?;
            buffers.push((buffer, values));
        }
        let sources: Vec<_> = buffers.iter().map(|(buffer, _)| buffer).zip(lengths.iter().copied()).collect();
        let all = backend.read_all(&sources)?;
        if !all.iter().map(Vec::len).eq(lengths.iter().copied()) {
            let found: Vec<_> = all.iter().map(Vec::len).collect();
            return Err(Broken::Other(format!("read {found:?} elements, expected {lengths:?}")).into());
        }
        all.iter().zip(&buffers).try_for_each(|(found, (_, values))| same("read_all", found, values))
    })
}
