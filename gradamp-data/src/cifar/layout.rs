//! The data sets, and the layouts of their files.

use crate::Normalisation;

/// Height and width of an image.
pub(crate) const SIDE: usize = 32;
/// The colours of a pixel: red, green, blue.
pub(crate) const CHANNELS: usize = 3;
/// The bytes of an image.
pub(crate) const PIXELS: usize = SIDE * SIDE * CHANNELS;

/// CIFAR-10 or CIFAR-100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cifar10,
    /// CIFAR-100, with its 100 fine labels.
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
            Kind::Cifar10 => &CIFAR10_CLASSES,
            Kind::Cifar100 => &CIFAR100_CLASSES,
        }
    }

    /// The number of coarse classes; `None` if the set has none.
    pub fn coarse_classes(self) -> Option<usize> {
        match self {
            Kind::Cifar10 => None,
            Kind::Cifar100 => Some(20),
        }
    }

    /// The constants of normalisation, measured over the training pixels and rounded to four digits, as is customary.
    pub fn normalisation(self) -> Normalisation {
        let (mean, std) = match self {
            Kind::Cifar10 => ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
            Kind::Cifar100 => ([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]),
        };
        Normalisation { mean: mean.to_vec(), std: std.to_vec() }
    }
}

/// The file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Records of label bytes and three colour planes.
    Binary,
    /// Pickled dictionaries with a NumPy array.
    Python,
}

/// The names and sizes of the files of one data set in one format. No two layouts share a file name, so a name
/// identifies its layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub kind: Kind,
    pub form: Form,
    /// The files of the training set, in order.
    pub train: &'static [&'static str],
    /// The file of the test set.
    pub test: &'static str,
    /// The number of examples in each file of the training set.
    pub train_records: usize,
    /// The number of examples in the test set.
    pub test_records: usize,
    /// The name under which the archive is published.
    pub archive: &'static str,
}

/// All layouts that can be read. If a folder holds several, the first one in this list is read.
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
    /// The files of the training set, then the file of the test set, each with its number of examples.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        let (train_records, test_records) = (self.train_records, self.test_records);
        let train = self.train.iter().map(move |&name| (name, train_records));
        train.chain(std::iter::once((self.test, test_records)))
    }

    /// The data set and the file format in words.
    pub fn describe(&self) -> String {
        let form = match self.form {
            Form::Binary => "binary",
            Form::Python => "python",
        };
        format!("{}, {form} version", self.kind.name())
    }

    /// The data set, the format, its files and its archive, for error messages.
    pub fn in_words(&self) -> String {
        format!("{} ({} or {})", self.describe(), self.list(), self.archive)
    }

    /// The names of all files, for error messages.
    pub fn list(&self) -> String {
        self.files().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }
}

/// Turns three colour planes `[c, h, w]` into pixels `[h, w, c]`.
pub(super) fn interleave(planes: &[u8], pixels: &mut [u8]) {
    let (red, rest) = planes.split_at(SIDE * SIDE);
    let (green, blue) = rest.split_at(SIDE * SIDE);
    for (pixel, ((&r, &g), &b)) in pixels.chunks_exact_mut(CHANNELS).zip(red.iter().zip(green).zip(blue)) {
        pixel.copy_from_slice(&[r, g, b]);
    }
}

/// The names of the classes, by label. Spaces replace the underscores of the original names.
const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The names of the 100 fine classes, written as in [`CIFAR10_CLASSES`].
#[rustfmt::skip]
const CIFAR100_CLASSES: [&str; 100] = [
    "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn mower", "leopard", "lion", "lizard", "lobster", "man", "maple tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak tree", "orange", "orchid", "otter", "palm tree", "pear", "pickup truck", "pine tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf", "woman", "worm",
];
