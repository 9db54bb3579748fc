//! A case of a kernel's law: the values of the backend, the values of the twin, and the permitted difference.

use std::fmt::Debug;

use ndarray::{Array, Dimension, IntoDimension};

use super::{Broken, Required, Violation};
use crate::Backend;
use crate::random::{Purpose, Stream};

/// The unit of rounding of f32.
pub(super) const EPSILON: f64 = f32::EPSILON as f64;

/// The number of elements before and after the used part of a buffer.
const MARGIN: usize = 5;

/// The value around outputs. No kernel computes it.
const MARK: f32 = -12_345.0;

/// One geometry and setting of a kernel. Its `Debug` form names it in a violation.
pub(super) trait Case: Debug {
    /// Runs the kernel on inputs that depend on the case only.
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation>;

    /// Computes the same outputs, in the same order, by slow, obvious arithmetic in f64.
    fn twin(&self) -> Vec<Expected>;
}

/// An output that a kernel wrote.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: &'static str,
    pub(super) values: Vec<f32>,
}

/// The same output by the twin, and how much the kernel's values may differ.
#[derive(Debug)]
pub(super) struct Expected {
    name: &'static str,
    shape: Vec<usize>,
    values: Vec<f64>,
    tolerances: Vec<f64>,
}

impl Expected {
    /// Values that a kernel must give exactly.
    pub(super) fn exact<D: Dimension>(name: &'static str, values: Array<f64, D>) -> Self {
        let tolerances = vec![0.0; values.len()];
        Self { name, shape: values.shape().to_vec(), values: values.iter().copied().collect(), tolerances }
    }

    /// Values that may differ by `roundings` units of rounding, relative to the magnitudes that enter them. A value below the smallest
    /// normal number may also be 0, since GPUs need not support smaller numbers.
    pub(super) fn rounded<D: Dimension>(
        name: &'static str,
        values: Array<f64, D>,
        roundings: f64,
        magnitudes: &Array<f64, D>,
    ) -> Self {
        let smallest = f64::from(f32::MIN_POSITIVE);
        let tolerances = magnitudes.iter().map(|m| roundings * EPSILON * m + smallest).collect();
        Self { tolerances, ..Self::exact(name, values) }
    }
}

/// The error that a sum of `terms` may have in any order of summation: in units of rounding, relative to the sum of magnitudes.
/// Roundings have either sign, so that their sum grows like a random walk. The limit is more than ten standard deviations of it.
pub(super) fn roundings(terms: usize) -> f64 {
    8.0 + 4.0 * (terms as f64).sqrt()
}

/// Compares the backend with the twin on every case.
pub(super) fn equals_twin<B: Backend>(backend: &B, cases: &[impl Case]) -> Result<(), Violation> {
    every(cases, |case| {
        let found = case.run(backend)?;
        found.iter().zip(case.twin()).try_for_each(|(found, expected)| compare(found, &expected))
    })
}

/// Compares a method that the backend may override with the trait's default. Each may differ from the twin by the tolerance, so that
/// they may differ from each other by twice the tolerance.
pub(super) fn equals_default<B: Backend>(backend: &B, cases: &[impl Case]) -> Result<(), Violation> {
    every(cases, |case| {
        let (found, default) = (case.run(backend)?, case.run(&Required(backend.clone()))?);
        for ((found, default), twin) in found.iter().zip(default).zip(case.twin()) {
            let values = default.values.into_iter().map(f64::from).collect();
            let tolerances = twin.tolerances.iter().map(|t| 2.0 * t).collect();
            compare(found, &Expected { values, tolerances, ..twin })?;
        }
        Ok(())
    })
}

/// Calls `check` for every case. The error names the case that failed.
pub(super) fn every<C: Debug>(
    cases: &[C],
    mut check: impl FnMut(&C) -> Result<(), Violation>,
) -> Result<(), Violation> {
    cases.iter().try_for_each(|case| check(case).map_err(|violation| violation.within(format!("{case:?}"))))
}

/// Checks that each value differs from the expected one by at most `tolerance`.
pub(super) fn within(
    name: &'static str,
    found: &[f32],
    expected: &[f64],
    tolerance: f64,
) -> Result<(), Violation> {
    if found.len() != expected.len() {
        let message = format!("{name} has {} elements, expected {}", found.len(), expected.len());
        return Err(Broken::Other(message).into());
    }
    let (shape, tolerances) = (vec![expected.len()], vec![tolerance; expected.len()]);
    let expected = Expected { name, shape, values: expected.to_vec(), tolerances };
    compare(&Found { name, values: found.to_vec() }, &expected)
}

fn compare(found: &Found, expected: &Expected) -> Result<(), Violation> {
    let excess = |found: f32, expected: f64, tolerance: f64| {
        let found = f64::from(found);
        if found == expected || found.is_nan() && expected.is_nan() {
            return 0.0;
        }
        // A result above 1 is wrong. If a NaN or an infinity is expected, the value must be the same.
        let error = (found - expected).abs();
        if error.is_finite() { error / tolerance } else { f64::INFINITY }
    };
    let excesses: Vec<f64> = found
        .values
        .iter()
        .zip(expected.values.iter().zip(&expected.tolerances))
        .map(|(&found, (&expected, &tolerance))| excess(found, expected, tolerance))
        .collect();
    let worst = (0..excesses.len()).max_by(|&a, &b| excesses[a].total_cmp(&excesses[b]));
    match worst {
        Some(place) if excesses[place] > 1.0 => Err(Broken::Value {
            output: expected.name,
            index: unravel(place, &expected.shape),
            found: found.values[place],
            expected: expected.values[place],
            tolerance: expected.tolerances[place],
            wrong: excesses.iter().filter(|&&e| e > 1.0).count(),
            elements: excesses.len(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// The index of element number `place`, counted in row-major order.
pub(super) fn unravel(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let i = place % size;
            place /= size;
            i
        })
        .collect();
    index.reverse();
    index
}

/// Random numbers in [-1, 1), the same for every backend. Each input of a case has its own `number`.
pub(super) fn random<S: IntoDimension>(number: u64, shape: S) -> Array<f32, S::Dim> {
    let stream = Stream::new(0, Purpose::Test).at(number);
    let mut index = 0;
    Array::from_shape_simple_fn(shape.into_dimension(), || {
        index += 1;
        2.0 * stream.uniform(index) - 1.0
    })
}

/// Each value as f64.
pub(super) fn wide<D: Dimension>(array: &Array<f32, D>) -> Array<f64, D> {
    array.mapv(f64::from)
}

/// Copies an input to the device, with NaN after it.
pub(super) fn upload<B: Backend, D: Dimension>(
    backend: &B,
    array: &Array<f32, D>,
) -> Result<B::Buffer, Violation> {
    let mut values: Vec<f32> = array.iter().copied().collect();
    values.resize(array.len() + MARGIN, f32::NAN);
    let mut buffer = backend.allocate(values.len())?;
    backend.write(&values, &mut buffer)?;
    Ok(buffer)
}

/// The output of a kernel: a part of a buffer, with marks around it.
#[derive(Debug)]
pub(super) struct Output<B: Backend> {
    pub(super) buffer: B::Buffer,
    name: &'static str,
    begin: usize,
    len: usize,
}

impl<B: Backend> Output<B> {
    /// An output whose old contents are NaN, and must not be read.
    pub(super) fn new(backend: &B, name: &'static str, len: usize) -> Result<Self, Violation> {
        Self::holding(backend, name, 0, &vec![f32::NAN; len])
    }

    /// An output whose old contents are `values`, beginning at element `begin`.
    pub(super) fn holding<'a>(
        backend: &B,
        name: &'static str,
        begin: usize,
        values: impl IntoIterator<Item = &'a f32>,
    ) -> Result<Self, Violation> {
        let mut all = vec![MARK; begin];
        all.extend(values);
        let len = all.len() - begin;
        all.resize(begin + len + MARGIN, MARK);
        let mut buffer = backend.allocate(all.len())?;
        backend.write(&all, &mut buffer)?;
        Ok(Self { buffer, name, begin, len })
    }

    /// Reads the output, and checks that the marks around it were not overwritten.
    pub(super) fn read(&self, backend: &B) -> Result<Found, Violation> {
        let part = self.begin..self.begin + self.len;
        let mut all = vec![0.0; part.end + MARGIN];
        backend.read(&self.buffer, &mut all)?;
        match (0..all.len()).find(|place| !part.contains(place) && all[*place] != MARK) {
            Some(place) => Err(Broken::Overrun { output: self.name, part, place, found: all[place] }.into()),
            None => Ok(Found { name: self.name, values: all[part].to_vec() }),
        }
    }
}
