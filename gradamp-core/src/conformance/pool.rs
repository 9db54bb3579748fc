//! Max-pool over windows, and mean-pool over all pixels.

use ndarray::{Array2, Array3, Array4, Axis};

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, roundings, upload, wide};
use crate::geometry::{MeanPool, Pool2d};
use crate::{Backend, Result};

/// Windows that tile the image, overlap, leave gaps between them, or leave pixels at the border.
pub(super) fn geometries() -> Result<Vec<Pool2d>> {
    [
        ([1, 1, 1, 3], 1, 1),
        ([1, 2, 2, 1], 2, 2),
        ([2, 5, 7, 3], 2, 2),
        ([1, 7, 7, 5], 3, 2),
        ([3, 9, 6, 17], 3, 1),
        ([2, 8, 8, 66], 2, 3),
        ([5, 34, 34, 13], 2, 2),
    ]
    .into_iter()
    .map(|(x, size, stride)| Pool2d::new(&x, size, stride))
    .collect()
}

/// The contents of the images.
#[derive(Clone, Copy, Debug)]
enum Images {
    Distinct,
    /// Few distinct values, so that windows hold equal elements; and a channel of −∞.
    Equals,
    /// NaNs, at most one in a window.
    Nan,
}

impl Images {
    fn values(self, g: &Pool2d) -> Array4<f32> {
        let mut x = random(1, g.x_shape());
        match self {
            Self::Distinct => {}
            Self::Equals => {
                x.mapv_inplace(|x| (1.5 * x).round());
                x.index_axis_mut(Axis(3), 0).fill(f32::NEG_INFINITY);
            }
            Self::Nan => x
                .indexed_iter_mut()
                .filter(|((_, h, w, _), _)| h % 4 == 0 && w % 4 == 0)
                .for_each(|(_, x)| *x = f32::NAN),
        }
        x
    }
}

/// The window's largest value and its position: the first one of equal values. NaN is larger than any number.
fn largest(window: impl Iterator<Item = f64>) -> (f64, usize) {
    let mut best = (f64::NEG_INFINITY, 0);
    for (place, value) in window.enumerate() {
        if value > best.0 || value.is_nan() {
            best = (value, place);
        }
    }
    best
}

/// y and index.
fn max_pool2d(g: &Pool2d, x: &Array4<f64>) -> (Array4<f64>, Array4<usize>) {
    let window = |(n, i, j, c): (usize, usize, usize, usize)| {
        let (r, s) = (i * g.stride, j * g.stride);
        largest((0..g.size * g.size).map(|place| x[[n, r + place / g.size, s + place % g.size, c]]))
    };
    (
        Array4::from_shape_fn(g.y_shape(), |place| window(place).0),
        Array4::from_shape_fn(g.y_shape(), |place| window(place).1),
    )
}

#[derive(Debug)]
struct MaxPool {
    g: Pool2d,
    images: Images,
}

impl Case for MaxPool {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &self.images.values(&self.g))?;
        let len = self.g.y_shape().iter().product();
        let mut y = Output::new(backend, "y", len)?;
        let mut index = Output::new(backend, "index", len)?;
        backend.max_pool2d(&self.g, &x, &mut y.buffer, &mut index.buffer)?;
        Ok(vec![y.read(backend)?, index.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (y, index) = max_pool2d(&self.g, &wide(&self.images.values(&self.g)));
        vec![Expected::exact("y", y), Expected::exact("index", index.mapv(|i| i as f64))]
    }
}

#[derive(Debug)]
pub(super) struct MaxPoolBackward {
    pub(super) g: Pool2d,
}

impl MaxPoolBackward {
    fn index(&self) -> Array4<usize> {
        max_pool2d(&self.g, &wide(&Images::Distinct.values(&self.g))).1
    }

    /// The index that forward writes, and dy.
    pub(super) fn operands(&self) -> [Array4<f32>; 2] {
        [self.index().mapv(|i| i as f32), random(2, self.g.y_shape())]
    }

    /// dx, and the sums of the magnitudes that enter it.
    pub(super) fn sums(&self) -> [Array4<f64>; 2] {
        let (g, dy) = (&self.g, wide(&random(2, self.g.y_shape())));
        let (mut dx, mut magnitudes) = (Array4::zeros(g.x_shape()), Array4::zeros(g.x_shape()));
        for ((n, i, j, c), place) in self.index().indexed_iter() {
            let target = [n, i * g.stride + place / g.size, j * g.stride + place % g.size, c];
            dx[target] += dy[[n, i, j, c]];
            magnitudes[target] += dy[[n, i, j, c]].abs();
        }
        [dx, magnitudes]
    }
}

impl Case for MaxPoolBackward {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let [index, dy] = self.operands().map(|values| upload(backend, &values));
        let (index, dy) = (index?, dy?);
        let mut dx = Output::new(backend, "dx", self.g.x_shape().iter().product())?;
        backend.max_pool2d_backward(&self.g, &index, &dy, &mut dx.buffer)?;
        Ok(vec![dx.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let [dx, magnitudes] = self.sums();
        vec![Expected::rounded("dx", dx, roundings(self.g.size * self.g.size), &magnitudes)]
    }
}

#[derive(Debug)]
struct Mean {
    g: MeanPool,
}

impl Case for Mean {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let MeanPool { n, pixels, c } = self.g;
        let x = upload(backend, &random(1, [n, pixels, c]))?;
        let mut y = Output::new(backend, "y", n * c)?;
        backend.mean_pool(&self.g, &x, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let MeanPool { n, pixels, c } = self.g;
        let x: Array3<f64> = wide(&random(1, [n, pixels, c]));
        let mean = |x: &Array3<f64>| x.sum_axis(Axis(1)) / pixels as f64;
        vec![Expected::rounded("y", mean(&x), roundings(pixels), &mean(&x.abs()))]
    }
}

#[derive(Debug)]
struct MeanBackward {
    g: MeanPool,
}

impl Case for MeanBackward {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let MeanPool { n, pixels, c } = self.g;
        let dy = upload(backend, &random(1, [n, c]))?;
        let mut dx = Output::new(backend, "dx", n * pixels * c)?;
        backend.mean_pool_backward(&self.g, &dy, &mut dx.buffer)?;
        Ok(vec![dx.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let MeanPool { n, pixels, c } = self.g;
        let dy: Array2<f64> = wide(&random(1, [n, c]));
        let dx = Array3::from_shape_fn([n, pixels, c], |(n, _, c)| dy[[n, c]] / pixels as f64);
        let magnitudes = dx.abs();
        vec![Expected::rounded("dx", dx, 4.0, &magnitudes)]
    }
}

fn max_cases(images: Images) -> Result<Vec<MaxPool>> {
    Ok(geometries()?.into_iter().map(|g| MaxPool { g, images }).collect())
}

fn mean_geometries() -> impl Iterator<Item = MeanPool> {
    [(1, 1, 1), (1, 4, 7), (3, 9, 5), (2, 16, 66), (130, 4, 13), (2, 1030, 3), (5, 1, 515)]
        .into_iter()
        .map(|(n, pixels, c)| MeanPool { n, pixels, c })
}

/// The largest values and their positions are exact.
pub fn max_pool2d_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &max_cases(Images::Distinct)?)
}

/// Among equal values, the first one in row-major order counts, also if all of them are −∞.
pub fn max_pool2d_takes_the_first_of_equals<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &max_cases(Images::Equals)?)
}

/// A diverged step must be visible: a NaN is the largest value of its window.
pub fn max_pool2d_takes_nan_for_the_largest<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &max_cases(Images::Nan)?)
}

/// Where windows overlap, gradients add up. Pixels that are in no window get 0.
pub fn max_pool2d_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &geometries()?.into_iter().map(|g| MaxPoolBackward { g }).collect::<Vec<_>>())
}

/// Images have one pixel or many.
pub fn mean_pool_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &mean_geometries().map(|g| Mean { g }).collect::<Vec<_>>())
}

/// Each pixel gets the same share of the gradient.
pub fn mean_pool_backward_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &mean_geometries().map(|g| MeanBackward { g }).collect::<Vec<_>>())
}

pub(super) fn max_sample() -> Result<impl Case> {
    Ok(MaxPool { g: Pool2d::new(&[5, 34, 34, 13], 3, 2)?, images: Images::Distinct })
}

pub(super) fn max_backward_sample() -> Result<impl Case> {
    Ok(MaxPoolBackward { g: Pool2d::new(&[5, 34, 34, 13], 3, 2)? })
}

pub(super) fn mean_sample() -> impl Case {
    Mean { g: MeanPool { n: 130, pixels: 49, c: 13 } }
}

pub(super) fn mean_backward_sample() -> impl Case {
    MeanBackward { g: MeanPool { n: 130, pixels: 49, c: 13 } }
}
