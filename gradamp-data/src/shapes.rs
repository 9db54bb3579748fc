//! The built-in data set: generated 32x32 images of ten shapes. It needs no download.
//!
//! Each image shows a shape with a random place, size, rotation and colour, on a shaded background with small
//! distractors and noise. No single pixel determines the class. A linear classifier therefore stays poor, while a
//! small convolutional network learns the set in a few epochs.
//!
//! A pixel is a function of the seed, the split and the example. It is computed with additions, multiplications,
//! divisions and comparisons only, whose results are the same on every machine, so the checksum is too.

mod outline;

use std::sync::{Mutex, PoisonError};
use std::thread;

use derive_setters::Setters;
use gradamp_core::memory::room_for;
use gradamp_core::random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

use crate::{Dataset, DatasetPair, Error, Normalisation, Origin, Result};
use outline::{CLASSES, Outline};

/// The height and width of an image.
const SIDE: usize = 32;
/// The number of channels: red, green, blue.
const CHANNELS: usize = 3;
const IMAGE: usize = SIDE * SIDE * CHANNELS;
/// The number of points, per pixel and axis, at which an outline is tested.
const SAMPLES: usize = 2;
/// The standard deviation of the noise, in units of a pixel value (0 to 255).
const NOISE: f32 = 12.0;
/// The memory that a run needs in addition to its images, in bytes: at least this much for its network and threads.
const SPARE: usize = 64 << 20;
/// The memory that a run needs for each image in addition to its pixels, in bytes: for example its place in the order
/// of an epoch.
const PLACES: usize = 64;
/// The number of examples that a thread draws at a time.
const SHARE: usize = 64;
/// The most examples in one set; their pixels take 3 GB.
const MAX_EXAMPLES: usize = 1_000_000;

/// The sizes and the seed of the generated training and test sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct ShapesSettings {
    /// The number of training examples.
    pub train: usize,
    /// The number of test examples.
    pub test: usize,
    /// The seed of the sets. It is independent of a run's seed: runs with different seeds see the same images.
    pub seed: u64,
}

impl Default for ShapesSettings {
    fn default() -> Self {
        Self { train: 10_000, test: 2_000, seed: 1 }
    }
}

impl ShapesSettings {
    /// Checks the ranges of all fields.
    ///
    /// **Errors:** a number of examples outside 1 to 1,000,000.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [("train", self.train), ("test", self.test)] {
            if !(1..=MAX_EXAMPLES).contains(&value) {
                return Err(Error::setting(key, format!("expected 1 to {MAX_EXAMPLES}, found {value}")));
            }
        }
        Ok(())
    }

    /// Generates both sets, using all cores.
    ///
    /// **Errors:** a setting is out of range; there is not enough memory for the images.
    pub fn generate(&self) -> Result<DatasetPair> {
        self.check()?;
        let stream = Stream::new(self.seed, Purpose::Generate);
        let train = generate(stream.at(0), "train", self.train)?;
        let test = generate(stream.at(1), "test", self.test)?;
        Ok(DatasetPair { train, test, origin: Origin::Generated })
    }
}

/// Allocates memory for `n` images. Fails if the memory left over would be too small for the rest of a run. The error
/// names the field `key`.
fn image_memory(key: &str, n: usize) -> Result<Vec<u8>> {
    let fits = |n: usize| {
        let images = room_for(n * IMAGE, "images").ok()?;
        room_for::<u8>(SPARE + n * PLACES, "the run").ok().map(|_| images)
    };
    let refused = || {
        let (mut least, mut most) = (0, n);
        while most - least > 1000 {
            let middle = least.midpoint(most);
            if fits(middle).is_some() { least = middle } else { most = middle }
        }
        let advice = match least / 1000 * 1000 {
            0 => "fewer than 1000 would fit into the free memory".to_owned(),
            fitting => format!("about {fitting} would fit into the free memory"),
        };
        Error::Memory {
            what: format!("{n} generated images"),
            bytes: n * IMAGE,
            advice,
            field: Some(key.to_owned()),
        }
    };
    fits(n).ok_or_else(refused)
}

fn generate(stream: Stream, key: &str, n: usize) -> Result<Dataset> {
    let mut images = image_memory(key, n)?;
    images.resize(n * IMAGE, 0);
    let label = |example: usize| example % CLASSES.len();
    let shares = Mutex::new(images.chunks_mut(SHARE * IMAGE).enumerate());
    let work = || {
        loop {
            let next = shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, images)) = next else { break };
            for (offset, image) in images.chunks_exact_mut(IMAGE).enumerate() {
                let example = number * SHARE + offset;
                draw(stream.at(example as u64), label(example), image);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..thread::available_parallelism().map_or(1, usize::from) {
            // If the system starts fewer threads, the running ones do more of the work.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let labels = (0..n).map(|example| label(example) as u32).collect();
    let classes = CLASSES.iter().map(|(name, _)| (*name).to_owned()).collect();
    // Measured over the default training set, and rounded.
    let normalisation = Normalisation { mean: vec![0.5; CHANNELS], std: vec![0.24; CHANNELS] };
    Dataset::new("shapes", [SIDE, SIDE, CHANNELS], images, labels, classes, normalisation)
}

/// The random numbers of one image, used one after the other.
struct Draws {
    stream: Stream,
    next: u64,
}

impl Draws {
    /// A uniform random number in [low, high).
    fn between(&mut self, low: f32, high: f32) -> f32 {
        self.next += 1;
        low + (high - low) * self.stream.uniform(self.next - 1)
    }

    fn colour(&mut self) -> [f32; CHANNELS] {
        std::array::from_fn(|_| self.between(30.0, 225.0))
    }

    /// Returns (cos, sin) of a random angle. The tangent of half the angle lies between −`reach` and `reach`.
    fn direction(&mut self, reach: f32) -> (f32, f32) {
        let t = self.between(-reach, reach);
        let scale = 1.0 / (1.0 + t * t);
        ((1.0 - t * t) * scale, 2.0 * t * scale)
    }
}

/// Draws one image, `[h, w, c]`.
fn draw(stream: Stream, label: usize, image: &mut [u8]) {
    let mut draws = Draws { stream: stream.at(0), next: 0 };
    let mut canvas = background(&mut draws);
    let near = canvas[SIDE * SIDE / 2 + SIDE / 2];
    for _ in 0..2 {
        let (x, y) = (draws.between(0.0, SIDE as f32), draws.between(0.0, SIDE as f32));
        let (radius, colour, turn) = (draws.between(1.0, 2.5), draws.colour(), draws.direction(1.0));
        let kind = draws.between(0.0, 3.0) as usize;
        paint(
            &mut canvas,
            [x, y],
            radius,
            turn,
            colour,
            [outline::disc, outline::square, outline::bar][kind],
        );
    }
    let radius = draws.between(8.0, 13.0);
    let reach = radius * 0.8; // a corner may lie outside the image
    let [x, y] = std::array::from_fn(|_| draws.between(reach, SIDE as f32 - reach));
    let colour = contrasting(&mut draws, near);
    let turn = draws.direction(0.268); // at most 30 degrees to either side
    paint(&mut canvas, [x, y], radius, turn, colour, CLASSES[label].1);
    for (pixel, (bytes, colour)) in image.chunks_exact_mut(CHANNELS).zip(&canvas).enumerate() {
        let noise = stream.at(1).bits(pixel as u64).to_le_bytes();
        for (c, (byte, &value)) in bytes.iter_mut().zip(colour).enumerate() {
            // The sum of two uniform bytes: mean 255, deviation 104.5.
            let sum = f32::from(noise[2 * c]) + f32::from(noise[2 * c + 1]) - 255.0;
            *byte = (value + sum * (NOISE / 104.5) + 0.5) as u8; // saturates
        }
    }
}

/// A background that blends four random colours, one in each corner.
fn background(draws: &mut Draws) -> Vec<[f32; CHANNELS]> {
    let base = draws.colour();
    let corners: [[f32; CHANNELS]; 4] =
        std::array::from_fn(|_| base.map(|value| value + draws.between(-60.0, 60.0)));
    let mix = |pixel: usize| {
        let (v, u) = ((pixel / SIDE) as f32 / SIDE as f32, (pixel % SIDE) as f32 / SIDE as f32);
        let weights = [(1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v];
        std::array::from_fn(|c| (0..4).map(|corner| weights[corner] * corners[corner][c]).sum())
    };
    (0..SIDE * SIDE).map(mix).collect()
}

/// A random colour that differs clearly from `other`: the first of nine random colours that is far enough away, or
/// the farthest if none is.
fn contrasting(draws: &mut Draws, other: [f32; CHANNELS]) -> [f32; CHANNELS] {
    let distance =
        |colour: &[f32; CHANNELS]| -> f32 { (0..CHANNELS).map(|c| (colour[c] - other[c]).abs()).sum() };
    let mut farthest = draws.colour();
    for _ in 0..8 {
        if distance(&farthest) > 160.0 {
            break;
        }
        let colour = draws.colour();
        if distance(&colour) > distance(&farthest) {
            farthest = colour;
        }
    }
    farthest
}

/// Blends `colour` into the pixels that `outline` covers, in proportion to the covered part of each pixel.
fn paint(
    canvas: &mut [[f32; CHANNELS]],
    [x, y]: [f32; 2],
    radius: f32,
    (cos, sin): (f32, f32),
    colour: [f32; CHANNELS],
    outline: Outline,
) {
    let step = 1.0 / SAMPLES as f32;
    // No outline reaches farther than 1.3 radii from its centre. The cast returns 0 for negative values.
    let span =
        |centre: f32| (centre - 1.3 * radius) as usize..((centre + 1.3 * radius) as usize + 1).min(SIDE);
    for (i, j) in span(y).flat_map(|i| span(x).map(move |j| (i, j))) {
        let (row, column, under) = (i as f32, j as f32, &mut canvas[i * SIDE + j]);
        let covered = (0..SAMPLES * SAMPLES)
            .filter(|sample| {
                let dx = column + ((sample % SAMPLES) as f32 + 0.5) * step - x;
                let dy = row + ((sample / SAMPLES) as f32 + 0.5) * step - y;
                outline((cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius)
            })
            .count();
        let share = covered as f32 / (SAMPLES * SAMPLES) as f32;
        for (value, &target) in under.iter_mut().zip(&colour) {
            *value += share * (target - *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> DatasetPair {
        ShapesSettings { train: 200, test: 50, seed: 3 }.generate().unwrap()
    }

    #[test]
    fn the_set_is_balanced_and_determined_by_its_seed() {
        let pair = small();
        assert_eq!(pair.train.class_counts(), [20; 10]);
        assert_eq!(pair.test.class_counts(), [5; 10]);
        assert_eq!(pair.checksum(), small().checksum());
        assert_ne!(pair.train.image(0), pair.test.image(0));
        let other = ShapesSettings { train: 200, test: 50, seed: 4 }.generate().unwrap();
        assert_ne!(pair.checksum(), other.checksum());
    }

    /// This checksum must hold on every machine, because images are drawn with exact arithmetic.
    #[test]
    fn the_pixels_are_the_same_everywhere() {
        assert_eq!(small().checksum(), "43a491f062f773543aa59aaa0266c3801217432c605225837a4245a3f65947d1");
    }

    #[test]
    fn a_larger_set_begins_with_the_images_of_a_smaller_one() {
        let larger = ShapesSettings { train: 301, test: 50, seed: 3 }.generate().unwrap();
        assert_eq!(larger.train.images()[..200 * IMAGE], small().train.images()[..]);
    }

    #[test]
    fn the_constants_match_the_pixels() {
        let measured = ShapesSettings { train: 2000, test: 1, seed: 1 }.generate().unwrap().train.measure();
        for c in 0..CHANNELS {
            assert!(
                (measured.mean[c] - 0.5).abs() < 0.02 && (measured.std[c] - 0.24).abs() < 0.03,
                "{measured:?}"
            );
        }
    }

    #[test]
    fn the_error_for_a_size_out_of_range_names_its_key() {
        let error = ShapesSettings { train: 0, ..ShapesSettings::default() }.generate().unwrap_err();
        assert_eq!(error.to_string(), "train: expected 1 to 1000000, found 0");
    }
}
