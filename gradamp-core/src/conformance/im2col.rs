//! im2col, which stores windows as the rows of a matrix, and col2im, which adds these rows to the image again.

use std::ops::Range;

use ndarray::{Array2, Array4};

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_twin, random, roundings, upload, wide};
use super::conv2d::{geometries, pixel};
use crate::geometry::Conv2d;
use crate::{Backend, Error};

/// A geometry, and a range of its images.
#[derive(Debug)]
struct Windows<const BACK: bool> {
    g: Conv2d,
    images: Range<usize>,
}

const FORTH: bool = false;
const BACK: bool = true;

impl<const BACK: bool> Windows<BACK> {
    fn columns_shape(&self) -> [usize; 2] {
        [self.images.len() * self.g.pixels(), self.g.patch()]
    }

    /// Calls `f` with the index of every element of the columns, and the index of the element of x that it holds; `None` in the padding.
    fn places(&self, mut f: impl FnMut([usize; 2], Option<[usize; 4]>)) {
        let g = &self.g;
        for row in 0..self.columns_shape()[0] {
            let (n, i, j) = (row / g.pixels(), row % g.pixels() / g.w_out, row % g.w_out);
            for column in 0..g.patch() {
                let (p, q, c) = (column / g.c_in / g.kw, column / g.c_in % g.kw, column % g.c_in);
                let place = pixel(g, i, p, g.h_in).zip(pixel(g, j, q, g.w_in));
                f([row, column], place.map(|(r, s)| [self.images.start + n, r, s, c]));
            }
        }
    }
}

impl Case for Windows<FORTH> {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &random(1, self.g.x_shape()))?;
        let mut columns = Output::new(backend, "columns", self.columns_shape().iter().product())?;
        backend.im2col(&self.g, self.images.clone(), &x, &mut columns.buffer)?;
        Ok(vec![columns.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let x = wide(&random(1, self.g.x_shape()));
        let mut columns = Array2::zeros(self.columns_shape());
        self.places(|place, source| columns[place] = source.map_or(0.0, |source| x[source]));
        vec![Expected::exact("columns", columns)]
    }
}

impl Case for Windows<BACK> {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let columns = upload(backend, &random(1, self.columns_shape()))?;
        let mut dx = Output::holding(backend, "dx", 0, &self.old())?;
        backend.col2im(&self.g, self.images.clone(), &columns, &mut dx.buffer)?;
        Ok(vec![dx.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let columns = wide(&random(1, self.columns_shape()));
        let mut dx = wide(&self.old()).mapv(|old| if old.is_nan() { 0.0 } else { old });
        let mut magnitudes = Array4::zeros(dx.dim());
        self.places(|place, target| {
            if let Some(target) = target {
                dx[target] += columns[place];
                magnitudes[target] += columns[place].abs();
            }
        });
        vec![Expected::rounded("dx", dx, roundings(self.g.kh * self.g.kw), &magnitudes)]
    }
}

impl Windows<BACK> {
    /// The old dx: NaN in the images that are overwritten, and 1 in the images that must not change.
    fn old(&self) -> Array4<f32> {
        let inside = |n| self.images.contains(&n);
        Array4::from_shape_fn(self.g.x_shape(), |(n, ..)| if inside(n) { f32::NAN } else { 1.0 })
    }
}

/// All images of each geometry; and if there are several, also a range that does not begin at the first image.
fn cases<const BACK: bool>() -> Result<Vec<Windows<BACK>>, Error> {
    let mut cases = Vec::new();
    for g in geometries()? {
        cases.push(Windows { g, images: 0..g.n });
        if g.n > 1 {
            cases.push(Windows { g, images: 1..g.n - g.n / 3 });
        }
    }
    Ok(cases)
}

/// The values are exact, and 0 in the padding. Only the images of the range are read.
pub fn im2col_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases::<FORTH>()?)
}

/// Pixels that no window reads become 0. Images outside the range do not change.
pub fn col2im_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases::<BACK>()?)
}
