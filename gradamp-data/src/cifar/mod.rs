//! CIFAR-10 and CIFAR-100 in the binary and the python version.
//!
//! **Source:** A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the description of
//! the files that comes with them.

mod archive;
mod binary;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod names;
mod pickle;
mod python;
mod scan;

use std::io::Read;

pub use scan::FileState;
pub(crate) use scan::{Location, Scan, locate};

use crate::{Normalisation, Result};

/// Height and width of an image.
pub(crate) const SIDE: usize = 32;
/// Colours of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;
/// Bytes of an image.
pub(crate) const PIXELS: usize = SIDE * SIDE * CHANNELS;

/// Which of the two data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cifar10,
    /// With its 100 fine labels.
    Cifar100,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cifar10 => "CIFAR-10",
            Kind::Cifar100 => "CIFAR-100",
        }
    }

    /// The classes' names, by label.
    pub fn classes(self) -> &'static [&'static str] {
        match self {
            Kind::Cifar10 => &names::CIFAR10,
            Kind::Cifar100 => &names::CIFAR100,
        }
    }

    /// Coarse labels, where the set has them.
    pub fn coarse_classes(self) -> Option<usize> {
        match self {
            Kind::Cifar10 => None,
            Kind::Cifar100 => Some(20),
        }
    }

    /// Measured over the training set's pixels and rounded to four digits, as is usual.
    pub fn normalisation(self) -> Normalisation {
        let (mean, std) = match self {
            Kind::Cifar10 => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
            Kind::Cifar100 => ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
        };
        Normalisation { mean: mean.to_vec(), std: std.to_vec() }
    }
}

/// How the files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Records of label bytes and three colour planes.
    Binary,
    /// Pickled dictionaries with a NumPy array.
    Python,
}

/// The files of one data set in one form. All names differ, so a name tells its layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub kind: Kind,
    pub form: Form,
    /// The files of the training set, in order.
    pub train: &'static [&'static str],
    /// The file of the test set.
    pub test: &'static str,
    /// Examples in each file of the training set.
    pub train_records: usize,
    /// Examples in the test set.
    pub test_records: usize,
    /// The archive's name as it is published.
    pub archive: &'static str,
}

/// All that can be read; where several lie together, the first is taken.
pub(crate) const LAYOUTS: [Layout; 4] = [
    Layout {
        kind: Kind::Cifar10,
        form: Form::Binary,
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
        train_records: 10_000,
        test_records: 10_000,
        archive: "cifar-10-binary.tar.gz",
    },
    Layout {
        kind: Kind::Cifar10,
        form: Form::Python,
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
        train_records: 10_000,
        test_records: 10_000,
        archive: "cifar-10-python.tar.gz",
    },
    Layout {
        kind: Kind::Cifar100,
        form: Form::Binary,
        train: &["train.bin"],
        test: "test.bin",
        train_records: 50_000,
        test_records: 10_000,
        archive: "cifar-100-binary.tar.gz",
    },
    Layout {
        kind: Kind::Cifar100,
        form: Form::Python,
        train: &["train"],
        test: "test",
        train_records: 50_000,
        test_records: 10_000,
        archive: "cifar-100-python.tar.gz",
    },
];

impl Layout {
    /// The files of the training set, then that of the test set, each with its number of examples.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        let (train_records, test_records) = (self.train_records, self.test_records);
        let train = self.train.iter().map(move |&name| (name, train_records));
        train.chain(std::iter::once((self.test, test_records)))
    }

    /// For people.
    pub fn describe(&self) -> String {
        let form = match self.form {
            Form::Binary => "binary",
            Form::Python => "python",
        };
        format!("{}, {form} version", self.kind.name())
    }

    /// All file names, for errors.
    pub fn list(&self) -> String {
        self.files().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// Reads one file: images `[n, 32, 32, 3]` and labels `[n]`.
    fn decode(&self, file: &str, reader: impl Read, images: &mut [u8], labels: &mut [u8]) -> Result<()> {
        match self.form {
            Form::Binary => binary::decode(self.kind, file, reader, images, labels),
            Form::Python => python::decode(self.kind, file, reader, images, labels),
        }
    }
}

/// Turns three colour planes `[c, h, w]` into pixels `[h, w, c]`.
fn interleave(planes: &[u8], pixels: &mut [u8]) {
    let (red, rest) = planes.split_at(SIDE * SIDE);
    let (green, blue) = rest.split_at(SIDE * SIDE);
    for (pixel, ((&r, &g), &b)) in pixels.chunks_exact_mut(CHANNELS).zip(red.iter().zip(green).zip(blue)) {
        pixel.copy_from_slice(&[r, g, b]);
    }
}

#[cfg(test)]
mod tests;
