//! Finds the files of a data set and reads them from a folder, a .tar or a .tar.gz.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use gradamp_core::files;

use super::layout::{CHANNELS, Form, Layout, PIXELS, SIDE};
use super::{archive, binary, python};
use crate::dataset::{Dataset, DatasetPair, FileState, Origin};
use crate::error::{Error, Place, Result};
use crate::published::Summed;

/// Where the files of a data set are.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// A folder with the files of a layout.
    Folder(PathBuf, Layout),
    /// A .tar or .tar.gz, and the layouts whose files it may hold.
    Archive(PathBuf, Vec<Layout>),
}

/// Looks for the files of one of `layouts`. `path` may be an archive, a folder of files, or a folder that holds such
/// a folder or a published archive.
///
/// **Errors:** nothing exists at `path`, or it holds none of `layouts`.
pub(crate) fn locate(path: &Path, layouts: &[Layout]) -> Result<Location> {
    if !fs::metadata(path).map_err(|e| Error::read(path, e))?.is_dir() {
        files::open(path).map_err(|e| Error::read(path, e))?;
        return Ok(Location::Archive(path.to_owned(), layouts.to_vec()));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| Error::read(path, e))? {
        entries.push(entry.map_err(|e| Error::read(path, e))?.path());
    }
    entries.sort(); // a system may list entries in any order
    let folders = entries.iter().filter(|entry| entry.is_dir());
    for folder in std::iter::once(&path.to_owned()).chain(folders) {
        let has_any = |layout: &&Layout| layout.files().any(|(name, _)| is_there(&folder.join(name)));
        if let Some(&layout) = layouts.iter().find(has_any) {
            return Ok(Location::Folder(folder.clone(), layout));
        }
    }
    for layout in layouts {
        let packed = path.join(layout.archive);
        let plain = packed.with_extension("");
        if let Some(archive) = [packed, plain].into_iter().find(|path| is_there(path)) {
            return Ok(Location::Archive(archive, vec![*layout]));
        }
    }
    let names: Vec<_> = entries.iter().filter_map(|e| e.file_name()).map(|n| n.to_string_lossy()).collect();
    let found = match names.len() {
        0 => "an empty folder".to_owned(),
        1..=8 => names.join(", "),
        more => format!("{}, ... ({more} entries)", names[..8].join(", ")),
    };
    Err(Error::NoDataset { path: path.to_owned(), expected: any_of(layouts), found })
}

/// Whether a file exists at `path`. A folder does not count. An unreadable file counts: reading it then returns the
/// error.
fn is_there(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_dir())
}

fn any_of(layouts: &[Layout]) -> String {
    layouts.iter().map(Layout::in_words).collect::<Vec<_>>().join("; or ")
}

/// The published MD5 of the file with a name; `None` for a file that has none.
pub(crate) type Sums = fn(&str) -> Option<&'static str>;

/// Everything that was read, and the state of each file.
pub(crate) struct Scan {
    layout: Layout,
    path: PathBuf,
    /// The published checksums, if the files are compared with them.
    sums: Option<Sums>,
    /// The state of each file, in the layout's order; `None` for a file that was not found.
    files: Vec<Option<FileState>>,
    train: Records,
    test: Records,
    /// The error that stopped the reading of an archive, if it occurred outside the content of a file.
    stopped: Option<Error>,
}

/// The images and labels of a set.
///
/// **Shapes:** images `[n, 32, 32, 3]`, labels `[n]`.
struct Records {
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    fn new(n: usize) -> Self {
        Self { images: vec![0; n * PIXELS], labels: vec![0; n] }
    }
}

impl Location {
    /// Reads all files, and compares each with its published checksum in `sums`, if there is one. An unreadable file does not stop the
    /// reading of the files after it.
    ///
    /// **Errors:** no file could be read.
    pub fn scan(&self, sums: Option<Sums>) -> Result<Scan> {
        match self {
            Location::Folder(folder, layout) => {
                let mut scan = Scan::new(folder, *layout, sums);
                for (index, (name, _)) in layout.files().enumerate() {
                    let path = folder.join(name);
                    if is_there(&path) {
                        let file = path.display().to_string();
                        match files::open(&path) {
                            Ok(reader) => scan.read_file(index, file, reader),
                            Err(error) => scan.set_state(index, file, Err(Error::read(&path, error))),
                        }
                    }
                }
                Ok(scan)
            }
            Location::Archive(archive, layouts) => scan_archive(archive, layouts, sums),
        }
    }
}

fn scan_archive(path: &Path, layouts: &[Layout], sums: Option<Sums>) -> Result<Scan> {
    let shown = path.display();
    let mut scan = None;
    let outcome = archive::visit(path, |member, reader| {
        let name = member.rsplit('/').next().unwrap_or("");
        let holds = |layout: &&Layout| layout.files().any(|(file, _)| file == name);
        if let Some(&layout) = layouts.iter().find(holds) {
            let scan = scan.get_or_insert_with(|| Scan::new(path, layout, sums));
            // The first file found decides the layout. Files of a second layout in the same archive are ignored.
            if let Some(index) = scan.layout.files().position(|(file, _)| file == name) {
                scan.read_file(index, format!("{shown}: {member}"), reader);
            }
        }
    })?;
    match (scan, outcome.err()) {
        (Some(scan), stopped) => Ok(Scan { stopped: scan.stopped.or(stopped), ..scan }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::NoDataset {
            path: path.to_owned(),
            expected: any_of(layouts),
            found: "an archive without these files".into(),
        }),
    }
}

/// Decodes one file.
///
/// **Shapes:** images `[n, 32, 32, 3]`, labels `[n]`.
fn decode(
    layout: &Layout,
    file: &str,
    reader: impl Read,
    images: &mut [u8],
    labels: &mut [u32],
) -> Result<()> {
    match layout.form {
        Form::Binary => binary::decode(layout.kind, file, reader, images, labels),
        Form::Python => python::decode(layout.kind, file, reader, images, labels),
    }
}

/// Decodes one file and compares it with its published checksum.
///
/// **Errors:** those of [`decode`]; the file can be read, but differs from the published one.
fn decode_published(
    (layout, index, sums): (&Layout, usize, Sums),
    file: &str,
    reader: impl Read,
    images: &mut [u8],
    labels: &mut [u32],
) -> Result<()> {
    let mut summed = Summed::new(reader);
    decode(layout, file, &mut summed, images, labels)?;
    let rest = io::copy(&mut summed, &mut io::sink());
    rest.map_err(|error| Error::read(Path::new(file), error))?;
    let name = layout.files().nth(index).map_or("", |(name, _)| name);
    match (sums(name), summed.sum()) {
        (Some(expected), found) if found != expected => {
            Err(Error::Differs { file: file.to_owned(), sum: "MD5", expected, found })
        }
        _ => Ok(()),
    }
}

impl Scan {
    fn new(path: &Path, layout: Layout, sums: Option<Sums>) -> Self {
        let train = Records::new(layout.train.len() * layout.train_records);
        let test = Records::new(layout.test_records);
        let files = layout.files().map(|_| None).collect();
        Self { layout, path: path.to_owned(), sums, files, train, test, stopped: None }
    }

    /// Decodes one file into the images and labels of its set.
    fn read_file(&mut self, index: usize, file: String, reader: impl Read) {
        if self.files[index].is_some() {
            let again = Error::format(&file, Place::Byte(0), "each file once", "a second one of this name");
            self.stopped.get_or_insert(again);
            return;
        }
        let n = self.layout.train_records;
        let (records, examples) = match index {
            i if i < self.layout.train.len() => (&mut self.train, i * n..(i + 1) * n),
            _ => (&mut self.test, 0..self.layout.test_records),
        };
        let images = &mut records.images[examples.start * PIXELS..examples.end * PIXELS];
        let (layout, labels) = (&self.layout, &mut records.labels[examples]);
        let outcome = match self.sums {
            Some(sums) => decode_published((layout, index, sums), &file, reader, images, labels),
            None => decode(layout, &file, reader, images, labels),
        };
        self.set_state(index, file, outcome);
    }

    fn set_state(&mut self, index: usize, file: String, outcome: Result<()>) {
        let examples = self.layout.files().nth(index).map_or(0, |(_, examples)| examples);
        self.files[index] = Some(FileState { file, examples, is_compared: self.sums.is_some(), outcome });
    }

    /// The state of every file. An error that belongs to no single file is listed under the archive's name.
    pub fn states(self) -> Vec<FileState> {
        let Self { layout, path, files, stopped, .. } = self;
        let mut states: Vec<FileState> = layout
            .files()
            .zip(files)
            .map(|((name, examples), state)| {
                state.unwrap_or_else(|| {
                    let file = path.join(name).display().to_string();
                    let expected = format!("{} needs {}", layout.describe(), layout.list());
                    FileState {
                        file: file.clone(),
                        examples,
                        is_compared: false,
                        outcome: Err(Error::Missing { file, expected }),
                    }
                })
            })
            .collect();
        if let Some(error) = stopped {
            states.push(FileState {
                file: path.display().to_string(),
                examples: 0,
                is_compared: false,
                outcome: Err(error),
            });
        }
        states
    }

    /// Returns both data sets.
    ///
    /// **Errors:** the first error of any file. If an archive ends early, its error is returned, and not the files
    /// that are missing because of it.
    pub fn into_pair(mut self) -> Result<DatasetPair> {
        let layout = self.layout;
        let train = std::mem::replace(&mut self.train, Records::new(0));
        let test = std::mem::replace(&mut self.test, Records::new(0));
        let origin = Origin::Files { path: self.path.clone(), form: layout.describe() };
        let (missing, broken): (Vec<_>, Vec<_>) = self
            .states()
            .into_iter()
            .filter_map(|state| state.outcome.err())
            .partition(|error| matches!(error, Error::Missing { .. }));
        if let Some(error) = broken.into_iter().chain(missing).next() {
            return Err(error);
        }
        let build = |records: Records| {
            Dataset::new(
                layout.kind.name(),
                [SIDE, SIDE, CHANNELS],
                records.images,
                records.labels,
                layout.kind.classes().iter().map(|&class| class.to_owned()).collect(),
                layout.kind.normalisation(),
            )
        };
        Ok(DatasetPair { train: build(train)?, test: build(test)?, origin })
    }
}
