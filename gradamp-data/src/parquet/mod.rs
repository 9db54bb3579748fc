//! Reads CIFAR-10 and CIFAR-100 as Hugging Face publishes them: parquet files with a column `img` of PNGs and a column
//! `label` (CIFAR-100: `fine_label`).

use std::fs;
use std::path::{Path, PathBuf};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use gradamp_core::files;

use crate::cifar::{CHANNELS, Kind, SIDE};
use crate::dataset::{Dataset, DatasetPair, FileState, Origin};
use crate::error::{Error, Place, Result};
use crate::guard;
use crate::images::{Pixels, decode};

/// The most images of a file. The files of CIFAR have at most 50,000.
const MAX_ROWS: i64 = 1_000_000;
/// The most bytes of a file and, unpacked, of its columns. The files of CIFAR have 120 MB.
const MAX_BYTES: i64 = 2 << 30;

/// A folder of parquet files.
#[derive(Clone, Debug)]
pub(crate) struct ParquetFiles {
    folder: PathBuf,
    /// The files of the training set and of the test set, which may be cut into parts.
    sets: [Vec<PathBuf>; 2],
    /// The data set that was asked for by its name.
    wanted: Option<Kind>,
}

/// Looks for `train*.parquet` and `test*.parquet` in `folder` itself.
pub(crate) fn locate(folder: &Path, wanted: Option<Kind>) -> Option<ParquetFiles> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let of = |set: &str| -> Vec<PathBuf> {
        let is_part = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(set) && name.ends_with(".parquet") && !path.is_dir()
        };
        paths.iter().filter(is_part).cloned().collect()
    };
    let sets = ["train", "test"].map(of);
    let found = ParquetFiles { folder: folder.to_owned(), sets, wanted };
    let first = found.sets.iter().flatten().next()?;
    // A folder with the other data set is passed over.
    let is_other = wanted.is_some() && kind_of(first).is_ok_and(|kind| Some(kind) != wanted);
    (!is_other).then_some(found)
}

/// Calls `read`. The library that reads parquet files panics at some damaged ones, which becomes an error here.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    guard::guarded(read).unwrap_or_else(|| {
        let file = path.display().to_string();
        Err(Error::format(&file, Place::Byte(0), "a parquet file", "one with damaged pages or columns"))
    })
}

/// The data set that a file holds.
fn kind_of(path: &Path) -> Result<Kind> {
    guarded(path, || Ok(open(path)?.1))
}

/// Opens a file and finds out from its columns which data set it holds.
fn open(path: &Path) -> Result<(SerializedFileReader<fs::File>, Kind)> {
    let shown = path.display().to_string();
    let fault = |expected: String, found: String| Error::format(&shown, Place::Byte(0), expected, found);
    let file = files::open(path).map_err(|error| Error::read(path, error))?;
    let length = file.metadata().map_err(|error| Error::read(path, error))?.len();
    let reader = SerializedFileReader::new(file)
        .map_err(|error| fault("a parquet file".into(), format!("\"{error}\"")))?;
    let metadata = reader.metadata();
    let rows = metadata.file_metadata().num_rows();
    let bytes: i64 =
        metadata.row_groups().iter().map(|group| group.total_byte_size().max(0)).fold(0, i64::saturating_add);
    if !(1..=MAX_ROWS).contains(&rows) || bytes > MAX_BYTES {
        let expected = format!("1 to {MAX_ROWS} images in at most {MAX_BYTES} bytes");
        return Err(fault(expected, format!("{rows} in {bytes} bytes")));
    }
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let (first, size) = (column.dictionary_page_offset(), column.compressed_size());
        let first = first.unwrap_or_else(|| column.data_page_offset());
        let end = first.checked_add(size).and_then(|end| u64::try_from(end).ok());
        if first < 0 || size < 0 || end.is_none_or(|end| end > length) {
            let expected = format!("columns within the {length} bytes of the file");
            return Err(fault(expected, format!("{size} bytes from byte {first}")));
        }
    }
    let columns: Vec<&str> =
        metadata.file_metadata().schema().get_fields().iter().map(|field| field.name()).collect();
    let kind = match () {
        () if columns.contains(&"img") && columns.contains(&"fine_label") => Kind::Cifar100,
        () if columns.contains(&"img") && columns.contains(&"label") => Kind::Cifar10,
        () => {
            let expected = "the columns img and label (CIFAR-10), or img and fine_label (CIFAR-100)";
            return Err(fault(expected.into(), columns.join(", ")));
        }
    };
    Ok((reader, kind))
}

/// Calls `see` with the pixels and the label of each image of a file.
fn rows(path: &Path, kind: Kind, mut see: impl FnMut(&[u8], u32)) -> Result<usize> {
    let shown = path.display().to_string();
    let (reader, found) = open(path)?;
    if found != kind {
        let message = format!("{}, as the other files", kind.name());
        return Err(Error::format(&shown, Place::Byte(0), message, found.name()));
    }
    let rows = reader.get_row_iter(None).map_err(|error| unreadable(&shown, 0, &error))?;
    let mut count = 0;
    for (at, row) in rows.enumerate() {
        let row = row.map_err(|error| unreadable(&shown, at, &error))?;
        let (image, label) = example(&shown, at, kind, &row)?;
        see(&image.rgb, label);
        count += 1;
    }
    let promised = reader.metadata().file_metadata().num_rows();
    if i64::try_from(count) != Ok(promised) {
        return Err(Error::format(&shown, Place::Row(count), format!("{promised} rows"), count.to_string()));
    }
    Ok(count)
}

fn unreadable(file: &str, row: usize, error: &::parquet::errors::ParquetError) -> Error {
    Error::format(file, Place::Row(row), "readable data", format!("\"{error}\""))
}

/// The image and the label of a row.
fn example(file: &str, at: usize, kind: Kind, row: &Row) -> Result<(Pixels, u32)> {
    let fault = |expected: String, found: String| Error::format(file, Place::Row(at), expected, found);
    let column =
        |name: &str| row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field);
    let bytes = match column("img") {
        Some(Field::Bytes(bytes)) => Some(bytes),
        Some(Field::Group(img)) => {
            let held = img.get_column_iter().find(|(name, _)| *name == "bytes").map(|(_, field)| field);
            if let Some(Field::Bytes(bytes)) = held { Some(bytes) } else { None }
        }
        _ => None,
    };
    let Some(bytes) = bytes else { return Err(fault("bytes in the column img".into(), "none".into())) };
    let name = if kind == Kind::Cifar100 { "fine_label" } else { "label" };
    let number = match column(name) {
        Some(&Field::Long(number)) => Some(number),
        Some(&Field::Int(number)) => Some(i64::from(number)),
        Some(&Field::Short(number)) => Some(i64::from(number)),
        Some(&Field::Byte(number)) => Some(i64::from(number)),
        Some(&Field::UByte(number)) => Some(i64::from(number)),
        _ => None,
    };
    let classes = kind.classes().len();
    let label =
        number.and_then(|number| u32::try_from(number).ok()).filter(|&label| (label as usize) < classes);
    let Some(label) = label else {
        let found = number.map_or("no number".into(), |number| number.to_string());
        return Err(fault(format!("a label below {classes} in the column {name}"), found));
    };
    let image = decode(&format!("{file}, row {at}"), bytes.data())?;
    if image.size != [SIDE, SIDE] {
        let [h, w] = image.size;
        return Err(fault(format!("an image of {SIDE}x{SIDE} pixels"), format!("{h}x{w}")));
    }
    Ok((image, label))
}

impl ParquetFiles {
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data set of the files.
    ///
    /// **Errors:** a set has no file; the first file can't be read.
    fn kind(&self) -> Result<Kind> {
        for (set, files) in ["train", "test"].into_iter().zip(&self.sets) {
            if files.is_empty() {
                let file = self.folder.join(format!("{set}*.parquet")).display().to_string();
                let expected =
                    "CIFAR as parquet needs files whose names begin with train and with test".into();
                return Err(Error::Missing { file, expected });
            }
        }
        let kind = kind_of(&self.sets[0][0])?;
        match self.wanted {
            Some(wanted) if wanted != kind => {
                let file = self.sets[0][0].display().to_string();
                Err(Error::format(&file, Place::Byte(0), wanted.name(), kind.name()))
            }
            _ => Ok(kind),
        }
    }

    /// Reads every file. A broken file does not stop the reading of the files after it.
    pub fn states(&self) -> Vec<FileState> {
        let kind = match self.kind() {
            Ok(kind) => kind,
            Err(error) => {
                let file = self.folder.display().to_string();
                return vec![FileState { file, examples: 0, is_compared: false, outcome: Err(error) }];
            }
        };
        let state = |path: &PathBuf| {
            let read = guarded(path, || rows(path, kind, |_, _| ()));
            let examples = *read.as_ref().unwrap_or(&0);
            FileState {
                file: path.display().to_string(),
                examples,
                is_compared: false,
                outcome: read.map(drop),
            }
        };
        self.sets.iter().flatten().map(state).collect()
    }

    /// Reads both sets.
    ///
    /// **Errors:** a file is missing or broken, or holds another data set than the first one.
    pub fn read(&self) -> Result<DatasetPair> {
        let kind = self.kind()?;
        let set = |files: &[PathBuf]| {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for path in files {
                let see = |pixels: &[u8], label| {
                    images.extend_from_slice(pixels);
                    labels.push(label);
                };
                guarded(path, || rows(path, kind, see))?;
            }
            let classes = kind.classes().iter().map(|&class| class.to_owned()).collect();
            let shape = [SIDE, SIDE, CHANNELS];
            Dataset::new(kind.name(), shape, images, labels, classes, kind.normalisation())
        };
        let form = format!("{}, parquet files", kind.name());
        let origin = Origin::Files { path: self.folder.clone(), form };
        Ok(DatasetPair { train: set(&self.sets[0])?, test: set(&self.sets[1])?, origin })
    }
}

#[cfg(test)]
mod tests;
