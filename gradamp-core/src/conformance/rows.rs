//! y[r, c] += bias\[c\], y[r, c] = factors\[c\] · x[r, c], and the sums over r of x[r, c] and of its squares

use ndarray::Axis;

use super::case::{
    Case, Expected, Found, Output, equals_default, equals_twin, every, random, roundings, upload, wide,
};
use super::{Broken, Violation};
use crate::Backend;
use crate::geometry::Rows;

/// One row, one channel, and more rows and channels than any vector or block has.
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

#[derive(Debug)]
struct SumSquares {
    g: Rows,
}

impl Case for SumSquares {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &random(1, shape(&self.g)))?;
        let mut out = Output::new(backend, "out", self.g.channels)?;
        backend.sum_squares(&self.g, &x, &mut out.buffer)?;
        Ok(vec![out.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let squares = wide(&random(1, shape(&self.g))).mapv(|x| x * x).sum_axis(Axis(0));
        vec![Expected::rounded("out", squares.clone(), roundings(self.g.rows), &squares)]
    }
}

#[derive(Debug)]
struct ScaleChannels {
    g: Rows,
}

impl Case for ScaleChannels {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let factors = upload(backend, &random(1, self.g.channels))?;
        let x = upload(backend, &random(2, shape(&self.g)))?;
        let mut y = Output::new(backend, "y", self.g.len())?;
        backend.scale_channels(&self.g, &factors, &x, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let y = wide(&random(1, self.g.channels)) * wide(&random(2, shape(&self.g)));
        // Computed as a batch norm, it takes a root, a division and two products.
        vec![Expected::rounded("y", y.clone(), 8.0, &y.abs())]
    }
}

/// The bias is added to y.
pub fn add_bias_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| AddBias { g }).collect::<Vec<_>>())
}

/// The sums overwrite the output.
pub fn sum_rows_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| SumRows { g }).collect::<Vec<_>>())
}

/// The sums overwrite the output.
pub fn sum_squares_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| SumSquares { g }).collect::<Vec<_>>())
}

/// The default sums the squares on the host.
pub fn sum_squares_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &geometries().into_iter().map(|g| SumSquares { g }).collect::<Vec<_>>())
}

/// If a channel contains a NaN or an infinity, its sum is not finite. The sums of other channels are not affected.
pub fn sum_squares_show_nan_and_infinity<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30], |&value| {
        let g = Rows { rows: 37, channels: 5 };
        let mut x = random(1, shape(&g));
        x[[20, 3]] = value;
        let mut out = Output::new(backend, "out", g.channels)?;
        backend.sum_squares(&g, &upload(backend, &x)?, &mut out.buffer)?;
        let finite: Vec<bool> = out.read(backend)?.values.iter().map(|sum| sum.is_finite()).collect();
        match finite[..] == [true, true, true, false, true] {
            true => Ok(()),
            false => Err(Broken::Other(format!("channel 3 is not finite; finite are {finite:?}")).into()),
        }
    })
}

/// The products overwrite the output.
pub fn scale_channels_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries().into_iter().map(|g| ScaleChannels { g }).collect::<Vec<_>>())
}

/// The default multiplies on the host.
pub fn scale_channels_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &geometries().into_iter().map(|g| ScaleChannels { g }).collect::<Vec<_>>())
}

pub(super) fn add_bias() -> impl Case {
    AddBias { g: Rows { rows: 1200, channels: 13 } }
}

pub(super) fn sum_rows() -> impl Case {
    SumRows { g: Rows { rows: 1200, channels: 13 } }
}

pub(super) fn sum_squares() -> impl Case {
    SumSquares { g: Rows { rows: 1200, channels: 13 } }
}

pub(super) fn scale_channels() -> impl Case {
    ScaleChannels { g: Rows { rows: 1200, channels: 13 } }
}
