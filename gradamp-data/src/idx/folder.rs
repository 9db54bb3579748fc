//! The four files of a data set in a folder.

use std::path::{Path, PathBuf};

use gradamp_core::files;
use sha2::{Digest, Sha256};

use super::array::{Array, read};
use crate::dataset::{Dataset, DatasetPair, FileState, Normalisation, Origin, hexadecimal};
use crate::error::{Error, Place, Result};

/// The names of the files: images and labels of the training set, then of the test set.
pub(crate) const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// A published data set in this format. All have files of the same names; the labels tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Mnist,
    FashionMnist,
}

impl Known {
    pub const ALL: [Known; 2] = [Known::Mnist, Known::FashionMnist];

    pub fn name(self) -> &'static str {
        match self {
            Known::Mnist => "MNIST",
            Known::FashionMnist => "Fashion-MNIST",
        }
    }

    /// The SHA-256 of the unpacked files, in the order of [`NAMES`].
    fn sums(self) -> [&'static str; 4] {
        match self {
            Known::Mnist => [
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ],
            Known::FashionMnist => [
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ],
        }
    }

    fn classes(self) -> Vec<String> {
        match self {
            Known::Mnist => (0..10).map(|digit| digit.to_string()).collect(),
            Known::FashionMnist => FASHION.map(str::to_owned).to_vec(),
        }
    }

    /// The constants of normalisation, rounded to four digits, as is customary.
    fn normalisation(self) -> Normalisation {
        let (mean, std) = match self {
            Known::Mnist => (0.1307, 0.3081),
            Known::FashionMnist => (0.2860, 0.3530),
        };
        Normalisation { mean: vec![mean], std: vec![std] }
    }
}

const FASHION: [&str; 10] = [
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];

/// A folder with at least one of the files.
#[derive(Clone, Debug)]
pub(crate) struct IdxFiles {
    folder: PathBuf,
    /// The data set that was asked for by its name.
    wanted: Option<Known>,
}

/// Looks for the files in `folder` itself. With `wanted`, a folder whose labels are those of another published set is
/// passed over.
pub(crate) fn locate(folder: &Path, wanted: Option<Known>) -> Option<IdxFiles> {
    NAMES.iter().any(|name| file(folder, name).is_some()).then_some(())?;
    let found = IdxFiles { folder: folder.to_owned(), wanted };
    let is_other = wanted.is_some() && found.labels_of().is_some_and(|known| Some(known) != wanted);
    (!is_other).then_some(found)
}

/// The file called `name`, packed or not. Some programs that unpack write a point for the first hyphen of the ending.
fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    let pointed = name.replacen("-idx", ".idx", 1);
    [name.to_owned(), format!("{name}.gz"), pointed.clone(), format!("{pointed}.gz")]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.metadata().is_ok_and(|metadata| !metadata.is_dir()))
}

/// What the files hold.
struct Content {
    /// The shape of an image, `[h, w, c]`.
    image: [usize; 3],
    known: Option<Known>,
    classes: Vec<String>,
}

impl IdxFiles {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The published set that has these labels; `None` for other labels, and for labels that can't be read.
    fn labels_of(&self) -> Option<Known> {
        self.array(1).1.ok().and_then(|labels| known(&labels))
    }

    /// The name and content of the file with this number.
    fn array(&self, number: usize) -> (String, Result<Array>) {
        let name = NAMES[number];
        let Some(path) = file(&self.folder, name) else {
            let missing = self.folder.join(name).display().to_string();
            let expected = format!("a data set of IDX files needs {}, plain or .gz", NAMES.join(", "));
            return (missing.clone(), Err(Error::Missing { file: missing, expected }));
        };
        let shown = path.display().to_string();
        let array = files::open(&path)
            .map_err(|error| Error::read(&path, error))
            .and_then(|reader| read(&shown, reader))
            .and_then(|array| check_dimensions(&shown, number % 2 == 1, array));
        (shown, array)
    }

    /// Reads every file. A broken file does not stop the reading of the files after it. If the set was asked for by its
    /// name, or one of its files is a published one, all of them are compared with the published checksums.
    pub fn states(&self) -> Vec<FileState> {
        let arrays = [0, 1, 2, 3].map(|number| self.array(number));
        let sums = [0, 1, 2, 3].map(|number| arrays[number].1.as_ref().map_or(String::new(), sum));
        let is_of =
            |known: &Known| known.sums().iter().zip(&sums).any(|(published, found)| published == found);
        let known = self.wanted.or_else(|| Known::ALL.into_iter().find(is_of));
        let mut states: Vec<FileState> = arrays
            .iter()
            .map(|(file, array)| FileState {
                file: file.clone(),
                examples: array.as_ref().map_or(0, |array| array.shape[0]),
                is_compared: known.is_some(),
                outcome: Ok(()),
            })
            .collect();
        let fits = self.check(&arrays);
        for (state, (_, array)) in states.iter_mut().zip(arrays) {
            state.outcome = array.map(drop);
        }
        if let Err((number, error)) = fits
            && states.iter().all(|state| state.outcome.is_ok())
        {
            states[number].outcome = Err(error);
        }
        let published = known.map_or([""; 4], Known::sums);
        for (state, (expected, found)) in states.iter_mut().zip(published.into_iter().zip(sums)) {
            if known.is_some() && state.outcome.is_ok() && expected != found {
                state.outcome =
                    Err(Error::Differs { file: state.file.clone(), sum: "SHA-256", expected, found });
            }
        }
        states
    }

    /// Checks that the files fit each other. The error comes with the
    /// number of the file that does not fit.
    fn check(&self, arrays: &[(String, Result<Array>); 4]) -> Result<Content, (usize, Error)> {
        let mut shapes = [&[][..]; 4];
        for (shape, (_, array)) in shapes.iter_mut().zip(arrays) {
            *shape = array.as_ref().map_or(&[][..], |array| &array.shape);
        }
        if let Some(number) = shapes.iter().position(|shape| shape.is_empty()) {
            let missing = Error::Missing { file: arrays[number].0.clone(), expected: String::new() };
            return Err((number, missing)); // reported with the file itself
        }
        let fault = |number: usize, byte, expected: String, found: String| {
            (number, Error::format(&arrays[number].0, Place::Byte(byte), expected, found))
        };
        if shapes[0][1..] != shapes[2][1..] {
            let expected = format!("images of {} as in the training set", in_words(shapes[0]));
            return Err(fault(2, 8, expected, in_words(shapes[2])));
        }
        for images in [0, 2] {
            let (n, labels) = (shapes[images][0], shapes[images + 1][0]);
            if n != labels {
                let expected = format!("{n} labels for the images of {}", arrays[images].0);
                return Err(fault(images + 1, 4, expected, labels.to_string()));
            }
        }
        let values = |number: usize| arrays[number].1.as_ref().map_or(&[][..], |array| &array.values);
        let known = arrays[1].1.as_ref().ok().and_then(known).or(self.wanted);
        let most = values(1).iter().chain(values(3)).copied().max().unwrap_or(0);
        let numbered = || (0..=most.max(1)).map(|class| class.to_string()).collect();
        let classes = known.map_or_else(numbered, Known::classes);
        for number in [1, 3] {
            let wrong = values(number).iter().position(|&label| usize::from(label) >= classes.len());
            if let Some(at) = wrong {
                let expected = format!("a label below {}", classes.len());
                return Err(fault(number, 8 + at as u64, expected, values(number)[at].to_string()));
            }
        }
        let image = [shapes[0][1], shapes[0][2], shapes[0].get(3).copied().unwrap_or(1)];
        Ok(Content { image, known, classes })
    }

    /// Reads both sets.
    ///
    /// **Errors:** a file is missing or broken; the files do not fit each other.
    pub fn read(&self) -> Result<DatasetPair> {
        let arrays = [0, 1, 2, 3].map(|number| self.array(number));
        let checked = self.check(&arrays);
        let mut whole = Vec::with_capacity(4);
        for (_, array) in arrays {
            whole.push(array?.values);
        }
        let Content { image, known, classes } = checked.map_err(|(_, error)| error)?;
        let name = known.map_or("IDX", Known::name);
        let mut parts = whole.into_iter();
        let mut set = |constants: Option<Normalisation>| {
            let (images, labels) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let labels = labels.into_iter().map(u32::from).collect();
            let constants = constants.unwrap_or_else(|| Normalisation::measure(&images, image[2]));
            Dataset::new(name, image, images, labels, classes.clone(), constants)
        };
        let train = set(known.map(Known::normalisation))?;
        let test = set(Some(train.normalisation().clone()))?;
        let form = if known.is_some() { format!("{name}, IDX files") } else { "IDX files".into() };
        Ok(DatasetPair { train, test, origin: Origin::Files { path: self.folder.clone(), form } })
    }
}

/// The published set with these labels of its training set.
fn known(labels: &Array) -> Option<Known> {
    let sum = sum(labels);
    Known::ALL.into_iter().find(|known| known.sums()[1] == sum)
}

/// The SHA-256 of the unpacked file that holds an array.
fn sum(array: &Array) -> String {
    let mut hash = Sha256::new();
    hash.update([0, 0, 8, array.shape.len() as u8]);
    array.shape.iter().for_each(|&size| hash.update((size as u32).to_be_bytes()));
    hash.update(&array.values);
    hexadecimal(&hash.finalize())
}

fn check_dimensions(file: &str, are_labels: bool, array: Array) -> Result<Array> {
    let (expected, fits) = match are_labels {
        true => ("labels, which have 1 dimension", array.shape.len() == 1),
        false => ("images, which have 3 dimensions, or 4 with channels", array.shape.len() >= 3),
    };
    if !fits || array.values.is_empty() {
        return Err(Error::format(file, Place::Byte(3), expected, format!("shape {:?}", array.shape)));
    }
    Ok(array)
}

fn in_words(shape: &[usize]) -> String {
    shape[1..].iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
