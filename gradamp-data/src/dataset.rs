//! Labelled images in memory.

use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The constants that normalise pixels to mean 0 and standard deviation 1, for each channel.
///
/// y = (pixel / 255 − mean) / std
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// The mean of each channel, where pixels range from 0 to 1.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, where pixels range from 0 to 1.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// The normalised value of each of the 256 pixel values, for each channel.
    ///
    /// **Shapes:** one row of 256 values for each channel.
    pub fn table(&self) -> Vec<[f32; 256]> {
        let row =
            |(&mean, &std): (&f32, &f32)| std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std);
        self.mean.iter().zip(&self.std).map(row).collect()
    }

    /// The constants of `images`: the mean and standard deviation of each channel over all pixels. A channel whose
    /// pixels are all equal has the deviation 1, so that its normalised values are 0.
    ///
    /// **Shapes:** images `[.., channels]`.
    pub fn measure(images: &[u8], channels: usize) -> Self {
        let mut measured = measured(images, channels);
        measured.std.iter_mut().filter(|std| **std == 0.0).for_each(|std| *std = 1.0);
        measured
    }
}

/// The mean and standard deviation of each channel over all pixels, scaled to [0, 1]. The sums are integers and
/// therefore exact.
fn measured(images: &[u8], channels: usize) -> Normalisation {
    let (mut sum, mut squares) = (vec![0u64; channels], vec![0u64; channels]);
    for pixel in images.chunks_exact(channels) {
        for (c, &value) in pixel.iter().enumerate() {
            sum[c] += u64::from(value);
            squares[c] += u64::from(value) * u64::from(value);
        }
    }
    let n = (images.len() / channels) as f64;
    let mean = |c: usize| sum[c] as f64 / n / 255.0;
    let std = |c: usize| (squares[c] as f64 / n / (255.0 * 255.0) - mean(c).powi(2)).max(0.0).sqrt();
    Normalisation {
        mean: (0..channels).map(|c| mean(c) as f32).collect(),
        std: (0..channels).map(|c| std(c) as f32).collect(),
    }
}

/// A set of labelled images, stored as bytes with channels last.
///
/// **Shapes:** images `[n, h, w, c]`, labels `[n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    name: String,
    image_shape: [usize; 3],
    images: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
    normalisation: Normalisation,
}

impl Dataset {
    /// The largest number of classes: batches hold labels as f32, which is exact up to it.
    pub const MAX_CLASSES: usize = 1 << 24;

    /// Creates a data set from `images` (`[n, h, w, c]`) and `labels` (`[n]`), where `image_shape` is `[h, w, c]`.
    ///
    /// **Errors:** the shape or the set is empty; the number of bytes is not n·h·w·c; there are more than
    /// [`Dataset::MAX_CLASSES`] classes; a label has no class; the constants are for another number of channels; a standard deviation is not
    /// positive.
    pub fn new(
        name: impl Into<String>,
        image_shape: [usize; 3],
        images: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
        normalisation: Normalisation,
    ) -> Result<Self> {
        let name = name.into();
        let set = Self { name, image_shape, images, labels, classes, normalisation };
        match set.fault() {
            Some(message) => Err(Error::Dataset { name: set.name, message }),
            None => Ok(set),
        }
    }

    fn fault(&self) -> Option<String> {
        let [h, w, c] = self.image_shape;
        let (n, k) = (self.labels.len(), self.classes.len());
        let Normalisation { mean, std } = &self.normalisation;
        if n == 0 || h * w * c == 0 {
            return Some(format!("expected images, found {n} of shape {:?}", self.image_shape));
        }
        if self.images.len() != n * h * w * c {
            let found = self.images.len();
            return Some(format!("expected {} bytes for [{n}, {h}, {w}, {c}], found {found}", n * h * w * c));
        }
        if k > Self::MAX_CLASSES {
            return Some(format!("expected at most {} classes, found {k}", Self::MAX_CLASSES));
        }
        if let Some(i) = self.labels.iter().position(|&label| label as usize >= k) {
            return Some(format!("expected labels below {k}, found {} at example {i}", self.labels[i]));
        }
        if mean.len() != c || std.len() != c {
            return Some(format!(
                "expected constants for {c} channels, found {} and {}",
                mean.len(),
                std.len()
            ));
        }
        if std.iter().any(|s| !s.is_finite() || *s <= 0.0) || mean.iter().any(|m| !m.is_finite()) {
            return Some(format!(
                "expected finite means and positive deviations, found {mean:?} and {std:?}"
            ));
        }
        None
    }

    /// The set's name, such as `CIFAR-10`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of examples; at least 1.
    #[allow(clippy::len_without_is_empty)] // a data set is never empty
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The shape of one image, `[h, w, c]`.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    /// The number of bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.image_shape.iter().product()
    }

    /// All images, `[n, h, w, c]`.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// One image, `[h, w, c]`; `None` if the data set has no such example.
    pub fn image(&self, example: usize) -> Option<&[u8]> {
        self.images.chunks_exact(self.image_bytes()).nth(example)
    }

    /// All labels, `[n]`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The classes' names, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The constants that normalise the set's images.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The number of examples of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in &self.labels {
            counts[label as usize] += 1; // in range: checked by `new`
        }
        counts
    }

    /// Measures the mean and standard deviation of each channel; see [`Normalisation::measure`].
    pub fn measure(&self) -> Normalisation {
        measured(&self.images, self.image_shape[2])
    }

    fn digest(&self, hash: &mut Sha256) {
        let [h, w, c] = self.image_shape;
        for number in [self.labels.len(), h, w, c, self.classes.len()] {
            hash.update((number as u64).to_le_bytes());
        }
        for class in &self.classes {
            hash.update((class.len() as u64).to_le_bytes());
            hash.update(class.as_bytes());
        }
        // A label is hashed as one byte where a byte can count the classes.
        let width = if self.classes.len() <= 256 { 1 } else { 4 };
        for label in &self.labels {
            hash.update(&label.to_le_bytes()[..width]);
        }
        hash.update(&self.images);
    }
}

/// Where a data set came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Read from a folder or an archive.
    Files {
        /// The folder that holds the files, or the archive.
        path: PathBuf,
        /// The data set and format of the files, such as `CIFAR-10, binary version`.
        form: String,
    },
    /// Generated by this crate.
    Generated,
}

/// A training set and the test set that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetPair {
    /// The set to train on.
    pub train: Dataset,
    /// The set to evaluate on.
    pub test: Dataset,
    /// Where both sets came from.
    pub origin: Origin,
}

impl DatasetPair {
    /// The SHA-256 of the shapes, class names, labels and pixels of both sets, in hexadecimal. Equal content has an
    /// equal checksum, whichever files it was read from.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        self.train.digest(&mut hash);
        self.test.digest(&mut hash);
        hexadecimal(&hash.finalize())
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// The state of one file.
#[derive(Debug)]
pub struct FileState {
    /// The file's name, preceded by its folder or archive.
    pub file: String,
    /// The number of examples that the file must hold; in formats that leave it open, the number that it holds.
    pub examples: usize,
    /// Whether the file has a published checksum, with which it was compared.
    pub is_compared: bool,
    /// Whether the file could be read, and is the published one if it was compared.
    pub outcome: Result<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constants() -> Normalisation {
        Normalisation { mean: vec![0.5], std: vec![0.25] }
    }

    fn tiny(images: Vec<u8>, labels: Vec<u32>) -> Result<Dataset> {
        Dataset::new("tiny", [1, 2, 1], images, labels, vec!["a".into(), "b".into()], constants())
    }

    #[test]
    fn mismatched_parts_are_errors_that_name_both_numbers() {
        let message = |set: Result<Dataset>| set.unwrap_err().to_string();
        assert_eq!(
            message(tiny(vec![0; 3], vec![0, 1])),
            "data set tiny: expected 4 bytes for [2, 1, 2, 1], found 3"
        );
        assert_eq!(
            message(tiny(vec![0; 4], vec![0, 2])),
            "data set tiny: expected labels below 2, found 2 at example 1"
        );
        assert!(tiny(vec![], vec![]).is_err());
        let flat = Normalisation { mean: vec![0.5], std: vec![0.0] };
        assert!(Dataset::new("flat", [1, 1, 1], vec![0], vec![0], vec!["a".into()], flat).is_err());
    }

    #[test]
    fn measured_constants_are_the_mean_and_deviation_of_the_pixels() {
        let measured = tiny(vec![0, 255, 0, 255], vec![0, 1]).unwrap().measure();
        assert_eq!(measured, Normalisation { mean: vec![0.5], std: vec![0.5] });
    }

    #[test]
    fn the_table_holds_normalised_values() {
        let table = constants().table();
        assert_eq!(table[0][0], -2.0);
        assert_eq!(table[0][255], 2.0);
    }

    #[test]
    fn the_checksum_changes_with_every_part() {
        let pair = |images: Vec<u8>, labels: Vec<u32>| {
            let train = tiny(images, labels).unwrap();
            DatasetPair { test: train.clone(), train, origin: Origin::Generated }.checksum()
        };
        let base = pair(vec![1, 2, 3, 4], vec![0, 1]);
        assert_eq!(base.len(), 64);
        assert_eq!(base, pair(vec![1, 2, 3, 4], vec![0, 1]));
        assert_ne!(base, pair(vec![1, 2, 3, 5], vec![0, 1]));
        assert_ne!(base, pair(vec![1, 2, 3, 4], vec![1, 1]));
    }
}
