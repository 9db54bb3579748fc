//! Mixtures of images and of their labels; see [`Mix`].

use ndarray::{Array1, Array2, Array4};

use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, random, upload, wide};
use super::{Broken, Violation};
use crate::geometry::Mix;
use crate::random::{Purpose, Stream};
use crate::{Backend, Result};

#[derive(Debug)]
struct Images(Mix);

impl Case for Images {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let x = upload(backend, &random(1, self.0.images))?;
        let mut y = Output::new(backend, "y", self.0.len())?;
        backend.mix_images(&self.0, &x, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (g, x) = (&self.0, wide(&random(1, self.0.images)));
        let parts = |(i, row, column, c): (usize, usize, usize, usize)| {
            let is_outside = row < g.begin[0] || row >= g.end[0] || column < g.begin[1] || column >= g.end[1];
            let share = if is_outside { 1.0 } else { f64::from(g.share) };
            let other = x[[(i + g.shift) % g.images[0], row, column, c]];
            [share * x[[i, row, column, c]], (1.0 - share) * other]
        };
        let y = Array4::from_shape_fn(g.images, |place| parts(place).iter().sum::<f64>());
        let magnitudes = Array4::from_shape_fn(g.images, |place| parts(place).iter().map(|x| x.abs()).sum());
        vec![Expected::rounded("y", y, 4.0, &magnitudes)]
    }
}

#[derive(Debug)]
struct Labels {
    g: Mix,
    classes: usize,
}

impl Labels {
    fn labels(&self) -> Array1<usize> {
        let stream = Stream::new(0, Purpose::Test).at(3);
        Array1::from_shape_fn(self.g.images[0], |i| stream.below(i as u64, self.classes))
    }
}

impl Case for Labels {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let labels = upload(backend, &self.labels().mapv(|label| label as f32))?;
        let mut targets = Output::new(backend, "targets", self.g.images[0] * self.classes)?;
        backend.mix_labels(&self.g, self.classes, &labels, &mut targets.buffer)?;
        Ok(vec![targets.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        let (labels, [n, h, w, _]) = (self.labels(), self.g.images);
        let window = (self.g.end[0] - self.g.begin[0]) * (self.g.end[1] - self.g.begin[1]);
        let taken = (1.0 - f64::from(self.g.share)) * window as f64 / (h * w) as f64;
        let hit = |i: usize, k| f64::from(labels[i % n] == k);
        let shape = (n, self.classes);
        let targets = Array2::from_shape_fn(shape, |(i, k)| {
            (1.0 - taken) * hit(i, k) + taken * hit(i + self.g.shift, k)
        });
        // 1 − share loses the digits below the rounding of 1.
        vec![Expected::rounded("targets", targets, 4.0, &Array2::ones(shape))]
    }
}

fn mixes() -> Result<Vec<Mix>> {
    let mut mixes = Vec::new();
    for images in [[1, 1, 1, 1], [3, 4, 5, 3], [8, 9, 7, 1], [65, 16, 16, 3]] {
        let [n, h, w, _] = images;
        for shift in [0, 1, n - 1] {
            mixes.extend([Mix::mixup(&images, shift, 0.3)?, Mix::mixup(&images, shift, 1.0)?]);
            mixes.push(Mix::cutmix(&images, shift, [h / 4, w / 3], [h, w / 2 + 1])?);
            mixes.push(Mix::cutmix(&images, shift, [0, 0], [0, 0])?);
        }
    }
    Ok(mixes)
}

fn label_cases() -> Result<Vec<Labels>> {
    let mixes = mixes()?.into_iter();
    Ok(mixes.flat_map(|g| [1, 10, 67].map(|classes| Labels { g, classes })).collect())
}

fn image_cases() -> Result<Vec<Images>> {
    Ok(mixes()?.into_iter().map(Images).collect())
}

/// Whole images and windows, with each distance between the two images.
pub fn mix_images_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &image_cases()?)
}

/// The default computes on the host.
pub fn mix_images_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &image_cases()?)
}

/// A label keeps the share that its image keeps.
pub fn mix_labels_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &label_cases()?)
}

/// The default computes on the host.
pub fn mix_labels_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &label_cases()?)
}

/// A NaN in an image must be visible in the image that it is mixed into, inside the window and not outside.
pub fn mix_images_shows_nan<B: Backend>(backend: &B) -> Result<(), Violation> {
    let g = Mix { share: 0.5, ..Mix::cutmix(&[2, 1, 4, 1], 1, [0, 1], [1, 3])? };
    let x = upload(backend, &Array1::from(vec![f32::NAN, f32::NAN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]))?;
    let mut y = Output::new(backend, "y", 8)?;
    backend.mix_images(&g, &x, &mut y.buffer)?;
    let found: Vec<bool> = y.read(backend)?.values.iter().map(|y| y.is_nan()).collect();
    match found == [true, true, false, false, false, true, false, false] {
        true => Ok(()),
        false => Err(Broken::Other(format!("NaN at {found:?}")).into()),
    }
}

pub(super) fn samples() -> Result<(impl Case, impl Case)> {
    let g = Mix::cutmix(&[65, 16, 16, 3], 2, [3, 4], [15, 16])?;
    Ok((Images(g), Labels { g, classes: 67 }))
}
