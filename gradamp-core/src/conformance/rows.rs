//! y[r, c] += bias\[c\] and out\[c\] = Σ_r x[r, c]

use ndarray::Axis;

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, roundings, upload, wide};
use crate::Backend;
use crate::geometry::Rows;

/// One row, one channel, and both beyond any vector or block.
pub(super) fn geometries() -> Vec<Rows> {
    [(1, 1), (1, 7), (3, 5), (2, 64), (37, 19), (1031, 3), (1200, 13), (5, 515), (2100, 1)]
        .into_iter()
        .map(|(rows, channels)| Rows { rows, channels })
        .collect()
}

pub(super) fn shape(g: &Rows) -> [usize; 2] {
    [g.rows, g.channels]
}

#[derive(Debug)]
struct AddBias {
    g: Rows,
}

impl Case for AddBias {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let bias = upload(backend, &random(1, self.g.channels))?;
        let mut y = Output::holding(backend, "y", 0, &random(2, shape(&self.g)))?;
        backend.add_bias(&self.g, &bias, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (bias, y) = (wide(&random(1, self.g.channels)), wide(&random(2, shape(&self.g))));
        vec![Expected::rounded("y", &y + &bias, 1.0, &(y.abs() + bias.abs()))]
    }
}

#[derive(Debug)]
struct SumRows {
    g: Rows,
}

impl Case for SumRows {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &random(1, shape(&self.g)))?;
        let mut out = Output::new(backend, "out", self.g.channels)?;
        backend.sum_rows(&self.g, &x, &mut out.buffer)?;
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let x = wide(&random(1, shape(&self.g)));
        let magnitudes = x.abs().sum_axis(Axis(0));
        vec![Expected::rounded("out", x.sum_axis(Axis(0)), roundings(self.g.rows), &magnitudes)]
    }
}

/// Adds to what is there.
pub fn add_bias_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| AddBias { g }).collect::<Vec<_>>())
}

/// Overwrites what is there.
pub fn sum_rows_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| SumRows { g }).collect::<Vec<_>>())
}

pub(super) fn add_bias() -> impl Case {
    AddBias { g: Rows { rows: 1200, channels: 13 } }
}

pub(super) fn sum_rows() -> impl Case {
    SumRows { g: Rows { rows: 1200, channels: 13 } }
}
