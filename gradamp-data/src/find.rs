//! Finds a data set's files at a path: which format they have, and in which folder or archive they are.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "images")]
use crate::images::{self, ImageFolder};
#[cfg(feature = "parquet")]
use crate::parquet::{self, ParquetFiles};

use crate::cifar::{self, Kind, LAYOUTS, Layout, Location};
use crate::dataset::{DatasetPair, FileState};
use crate::idx::{self, IdxFiles, Known};
use crate::published;
use crate::{Error, Result};

/// The data sets that a search accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whatever is there.
    Any,
    Cifar(Kind),
    Idx(Known),
}

/// The files of a data set.
#[derive(Debug)]
pub(crate) enum Files {
    Cifar(Location),
    Idx(IdxFiles),
    #[cfg(feature = "parquet")]
    Parquet(ParquetFiles),
    #[cfg(feature = "images")]
    Images(ImageFolder),
}

/// Finds the files of a data set at `path`: in the folder itself, in a folder in it, or in a published archive in it.
///
/// **Errors:** nothing exists at `path`, or it holds no data set that is wanted.
pub(crate) fn find(path: &Path, wanted: Wanted) -> Result<Files> {
    let layouts = wanted.layouts();
    let found = if layouts.is_empty() { None } else { Some(cifar::locate(path, &layouts)) };
    let missing = match found {
        Some(Ok(location)) => return Ok(Files::Cifar(location)),
        Some(Err(missing @ Error::NoDataset { .. })) => Some(missing),
        Some(Err(other)) => return Err(other),
        None => None,
    };
    let entries = entries(path)?;
    let folders =
        || std::iter::once(path.to_owned()).chain(entries.iter().filter(|entry| entry.is_dir()).cloned());
    for folder in folders() {
        if let Some(files) = in_folder(&folder, wanted) {
            return Ok(files);
        }
    }
    #[cfg(feature = "images")]
    if wanted == Wanted::Any
        && let Some(images) = images::locate(path)?
    {
        return Ok(Files::Images(images));
    }
    let found = match missing {
        Some(Error::NoDataset { found, .. }) => found,
        _ => listed(&entries),
    };
    Err(Error::NoDataset { path: path.to_owned(), expected: wanted.in_words(), found })
}

/// The files in `folder` itself, in a format other than CIFAR's own ones.
fn in_folder(folder: &Path, wanted: Wanted) -> Option<Files> {
    #[cfg(feature = "parquet")]
    if !matches!(wanted, Wanted::Idx(_)) {
        let kind = if let Wanted::Cifar(kind) = wanted { Some(kind) } else { None };
        if let Some(files) = parquet::locate(folder, kind) {
            return Some(Files::Parquet(files));
        }
    }
    match wanted {
        Wanted::Any => idx::locate(folder, None).map(Files::Idx),
        Wanted::Idx(known) => idx::locate(folder, Some(known)).map(Files::Idx),
        Wanted::Cifar(_) => None,
    }
}

impl Wanted {
    fn layouts(self) -> Vec<Layout> {
        let is_wanted = |layout: &Layout| match self {
            Wanted::Any => true,
            Wanted::Cifar(kind) => layout.kind == kind,
            Wanted::Idx(_) => false,
        };
        LAYOUTS.into_iter().filter(is_wanted).collect()
    }

    /// The formats that are looked for, for error messages.
    fn in_words(self) -> String {
        let mut formats: Vec<String> = self.layouts().iter().map(Layout::in_words).collect();
        if cfg!(feature = "parquet") && !matches!(self, Wanted::Idx(_)) {
            formats.push("CIFAR as parquet (train*.parquet, test*.parquet)".into());
        }
        if let Wanted::Any | Wanted::Idx(_) = self {
            let name = if let Wanted::Idx(known) = self { known.name() } else { "IDX files" };
            formats.push(format!("{name} ({}, plain or .gz)", idx::NAMES.join(", ")));
        }
        if cfg!(feature = "images") && self == Wanted::Any {
            formats.push("images (train/CLASS/*.png and test/CLASS/*.png, or jpg)".into());
        }
        formats.join("; or ")
    }
}

impl Files {
    /// The folder of the files, or the archive.
    pub fn path(&self) -> &Path {
        match self {
            Files::Cifar(Location::Folder(path, _) | Location::Archive(path, _)) => path,
            Files::Idx(files) => files.folder(),
            #[cfg(feature = "parquet")]
            Files::Parquet(files) => files.folder(),
            #[cfg(feature = "images")]
            Files::Images(images) => images.path(),
        }
    }

    /// Reads the training set and the test set.
    ///
    /// **Errors:** the first error of any file.
    pub fn read(&self) -> Result<DatasetPair> {
        match self {
            Files::Cifar(location) => location.scan(None)?.into_pair(),
            Files::Idx(files) => files.read(),
            #[cfg(feature = "parquet")]
            Files::Parquet(files) => files.read(),
            #[cfg(feature = "images")]
            Files::Images(images) => images.read(),
        }
    }

    /// Reads every file and compares it with its published checksum. A broken file does not stop the reading of the files
    /// after it.
    ///
    /// **Errors:** an archive that can't be read at all.
    pub fn states(&self) -> Result<Vec<FileState>> {
        Ok(match self {
            Files::Cifar(location) => location.scan(Some(published::cifar_file))?.states(),
            Files::Idx(files) => files.states(),
            #[cfg(feature = "parquet")]
            Files::Parquet(files) => files.states(),
            #[cfg(feature = "images")]
            Files::Images(images) => images.states(),
        })
    }
}

/// What a folder holds, in the order of the names.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::read(path, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort(); // a system may list entries in any order
    Ok(entries)
}

fn listed(entries: &[PathBuf]) -> String {
    let names: Vec<_> = entries.iter().filter_map(|e| e.file_name()).map(|n| n.to_string_lossy()).collect();
    match names.len() {
        0 => "an empty folder".to_owned(),
        1..=8 => names.join(", "),
        more => format!("{}, ... ({more} entries)", names[..8].join(", ")),
    }
}
