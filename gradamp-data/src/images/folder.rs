//! Finds the classes and images of a folder, and reads them.

use std::fs;
use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::decode::{Pixels, decode, memory};
use crate::dataset::{Dataset, DatasetPair, FileState, Normalisation, Origin};
use crate::error::{Error, Result};

/// The endings of images that can be read, and those of images that must be converted first.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];
const CONVERT: [&str; 9] = ["webp", "gif", "bmp", "tif", "tiff", "heic", "avif", "jp2", "ppm"];

/// A folder of images.
#[derive(Clone, Debug)]
pub(crate) struct ImageFolder {
    path: PathBuf,
    /// Both sets: the images of each class, by label.
    sets: [Vec<Class>; 2],
}

/// The images of one class in one set.
#[derive(Clone, Debug)]
struct Class {
    name: String,
    folder: PathBuf,
    images: Vec<PathBuf>,
}

/// Looks for a folder of images. Returns `None` if `path` has neither a folder `train` nor folders of images.
///
/// **Errors:** there are images, but not in the form `train/CLASS` and `test/CLASS`; an image has to be converted.
pub(crate) fn locate(path: &Path) -> Result<Option<ImageFolder>> {
    let expected = "train/CLASS/*.png and test/CLASS/*.png (or jpg, jpeg)";
    let fault = |found: String| Error::NoDataset { path: path.to_owned(), expected: expected.into(), found };
    let train = path.join("train");
    if !train.is_dir() {
        let classes = classes(path)?;
        if classes.iter().all(|class| class.images.is_empty()) {
            return Ok(None);
        }
        let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).take(4).collect();
        let found = format!(
            "images in {}, ... without the folders train and test; move the folders of classes into train, and a part of \
             each class's images into test",
            names.join(", ")
        );
        return Err(fault(found));
    }
    let train = classes(&train)?;
    if train.iter().all(|class| class.images.is_empty()) {
        return Ok(None);
    }
    let Some(test) = ["test", "val"].map(|name| path.join(name)).into_iter().find(|path| path.is_dir())
    else {
        let found = "train without test: move a part of each class's images into test/CLASS".to_owned();
        return Err(fault(found));
    };
    let mut test = classes(&test)?;
    if let Some(unknown) = test.iter().find(|class| !train.iter().any(|known| known.name == class.name)) {
        return Err(fault(format!("the class {} in test, but not in train", unknown.name)));
    }
    if train.len() < 2 {
        return Err(fault(format!("one class ({}), where there is nothing to tell apart", train[0].name)));
    }
    // A class may have no images to test.
    for (label, class) in train.iter().enumerate() {
        if test.get(label).is_none_or(|found| found.name != class.name) {
            test.insert(label, Class { images: Vec::new(), ..class.clone() });
        }
    }
    Ok(Some(ImageFolder { path: path.to_owned(), sets: [train, test] }))
}

/// The folders in `path` with their images, both in the order of their names.
fn classes(path: &Path) -> Result<Vec<Class>> {
    let mut classes = Vec::new();
    for folder in entries(path)?.into_iter().filter(|entry| entry.is_dir()) {
        let mut images = Vec::new();
        for file in entries(&folder)? {
            let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if CONVERT.contains(&ending.as_str()) {
                let message = format!(
                    "expected png, jpg or jpeg, found {ending}; convert it, for example with: mogrify -format png"
                );
                return Err(Error::Image { file: file.display().to_string(), message });
            }
            if READ.contains(&ending.as_str()) && !file.is_dir() {
                images.push(file);
            }
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        classes.push(Class { name, folder, images });
    }
    Ok(classes)
}

/// What a folder holds, without hidden entries, in the order of the names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::read(folder, error))? {
        let path = entry.map_err(|error| Error::read(folder, error))?.path();
        if path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The first image, whose size all images must have.
struct First {
    file: String,
    size: [usize; 2],
}

impl ImageFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of images in both sets.
    fn len(&self) -> usize {
        self.sets.iter().flatten().map(|class| class.images.len()).sum()
    }

    /// Reads every image. A broken image does not stop the reading of the folders after it.
    pub fn states(&self) -> Vec<FileState> {
        let mut first = None;
        let mut states = Vec::new();
        for class in self.sets.iter().flatten().filter(|class| !class.images.is_empty()) {
            let outcome = class.images.iter().try_for_each(|path| self.image(path, &mut first).map(drop));
            states.push(FileState {
                file: class.folder.display().to_string(),
                examples: class.images.len(),
                is_compared: false,
                outcome,
            });
        }
        states
    }

    /// Reads one image and checks that it has the size of the first one.
    fn image(&self, path: &Path, first: &mut Option<First>) -> Result<Pixels> {
        let bytes = files::read(path).map_err(|error| Error::read(path, error))?;
        let file = path.display().to_string();
        let pixels = decode(&file, &bytes)?;
        let First { file: of, size: [h, w] } =
            first.get_or_insert_with(|| First { file: file.clone(), size: pixels.size });
        if pixels.size != [*h, *w] {
            let [found_h, found_w] = pixels.size;
            let message = format!(
                "expected {h}x{w} pixels as in {of}, found {found_h}x{found_w}; images of a data set have one size: convert \
                 them, for example with: mogrify -resize '{w}x{h}!' {}/*/*/*",
                self.path.display()
            );
            return Err(Error::Image { file, message });
        }
        Ok(pixels)
    }

    /// Reads both sets.
    ///
    /// **Errors:** an image can't be read, or has another size than the first one; there is not enough memory.
    pub fn read(&self) -> Result<DatasetPair> {
        let (mut first, mut is_grey) = (None, true);
        let count = self.len();
        let mut sets = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        for (classes, (images, labels)) in self.sets.iter().zip(&mut sets) {
            for (label, class) in classes.iter().enumerate() {
                for path in &class.images {
                    let pixels = self.image(path, &mut first)?;
                    images
                        .try_reserve(pixels.rgb.len())
                        .map_err(|_| memory(format!("{count} images"), count * pixels.rgb.len()))?;
                    images.extend(pixels.rgb);
                    labels.push(label as u32);
                    is_grey &= pixels.is_grey;
                }
            }
        }
        let [h, w] = first.map_or([0, 0], |first| first.size);
        let channels = if is_grey { 1 } else { 3 };
        let name = self.path.file_name().map_or("images".into(), |name| name.to_string_lossy().into_owned());
        let classes: Vec<String> = self.sets[0].iter().map(|class| class.name.clone()).collect();
        let set = |(images, labels): (Vec<u8>, Vec<u32>), constants: Option<Normalisation>| {
            let images = if is_grey { images.into_iter().step_by(3).collect() } else { images };
            let constants = constants.unwrap_or_else(|| Normalisation::measure(&images, channels));
            Dataset::new(name.clone(), [h, w, channels], images, labels, classes.clone(), constants)
        };
        let [train, test] = sets;
        let train = set(train, None)?;
        let test = set(test, Some(train.normalisation().clone()))?;
        let form = "folders of images".to_owned();
        Ok(DatasetPair { train, test, origin: Origin::Files { path: self.path.clone(), form } })
    }
}
