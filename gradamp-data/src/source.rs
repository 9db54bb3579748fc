//! The data sets, and where their files are found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gradamp_core::registry::Registry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cifar::Kind;
use crate::dataset::FileState;
use crate::find::{self, Files, Wanted};
use crate::idx::Known;
use crate::published::{self, PublishedFile};
use crate::{DatasetPair, Error, Result};

/// The environment variable that names the folder or archive of the data.
pub const DATA_VARIABLE: &str = "GRADAMP_DATA";

/// The folder that is searched for data if [`DATA_VARIABLE`] is not set. It is relative to the working directory.
pub const DATA_FOLDER: &str = "data";

/// A data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Whatever the path holds: CIFAR-10, CIFAR-100, IDX files, or folders of images. Without a path: CIFAR-10 if it is
    /// found, otherwise the generated shapes.
    #[default]
    Auto,
    /// CIFAR-10.
    Cifar10,
    /// CIFAR-100 with its 100 fine labels.
    Cifar100,
    /// MNIST.
    Mnist,
    /// Fashion-MNIST.
    FashionMnist,
    /// The generated shapes.
    Shapes,
    /// A data set of another crate, by its registered name; see [`register`].
    External(&'static str),
}

/// Reads or generates the data of a set that another crate registered.
type Load = Box<dyn Fn(Option<&Path>) -> Result<DatasetPair> + Send + Sync>;

static EXTERNAL: Registry<Load> =
    Registry::new("data set", &["auto", "cifar10", "cifar100", "mnist", "fashion-mnist", "shapes"]);

/// Registers a data set of another crate under `name`, so that settings can use it, as in `data.source = "stripes"`.
/// `load` gets the configured path and reads the data from it. Without a path, it generates the data.
///
/// **Errors:** the name is taken, or has characters other than lower-case letters, digits, `_` and `-`.
pub fn register(
    name: &str,
    load: impl Fn(Option<&Path>) -> Result<DatasetPair> + Send + Sync + 'static,
) -> gradamp_core::Result<()> {
    EXTERNAL.add(name, Box::new(load))
}

/// The names of the data sets that other crates have registered.
pub fn registered() -> Vec<&'static str> {
    EXTERNAL.added()
}

/// Reads or generates the data of the registered set `name`.
///
/// **Errors:** no data set is registered under `name`; an error of the data set's own crate.
pub(crate) fn load_external(name: &str, path: Option<&Path>) -> Result<DatasetPair> {
    match EXTERNAL.find(name) {
        Some((_, load)) => load(path),
        None => Err(Error::setting("source", format!("no data set is registered as {name:?}"))),
    }
}

impl Source {
    /// The sources of this crate, in the order in which error messages list them.
    pub const ALL: [Source; 6] = [
        Source::Auto,
        Source::Cifar10,
        Source::Cifar100,
        Source::Mnist,
        Source::FashionMnist,
        Source::Shapes,
    ];

    /// The name of the source in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Source::Auto => "auto",
            Source::Cifar10 => "cifar10",
            Source::Cifar100 => "cifar100",
            Source::Mnist => "mnist",
            Source::FashionMnist => "fashion-mnist",
            Source::Shapes => "shapes",
            Source::External(name) => name,
        }
    }

    /// The source called `name`: one of this crate, or one that another crate registered.
    fn named(name: &str) -> Option<Self> {
        let own = Self::ALL.into_iter().find(|source| source.name() == name);
        own.or_else(|| EXTERNAL.find(name).map(|(name, _)| Self::External(name)))
    }

    /// What is looked for; `None` for data that is not read from files.
    fn wanted(self) -> Option<Wanted> {
        Some(match self {
            Source::Auto => Wanted::Any,
            Source::Cifar10 => Wanted::Cifar(Kind::Cifar10),
            Source::Cifar100 => Wanted::Cifar(Kind::Cifar100),
            Source::Mnist => Wanted::Idx(Known::Mnist),
            Source::FashionMnist => Wanted::Idx(Known::FashionMnist),
            Source::Shapes | Source::External(_) => return None,
        })
    }

    /// The files in which a published data set is offered for download; none for any other data.
    pub fn published(self) -> &'static [PublishedFile] {
        match self {
            Source::Cifar10 => &published::CIFAR10,
            Source::Cifar100 => &published::CIFAR100,
            Source::Mnist => &published::MNIST,
            Source::FashionMnist => &published::FASHION_MNIST,
            Source::Auto | Source::Shapes | Source::External(_) => &[],
        }
    }

    /// Whether the data is read from files that must be there, because the set was requested by its name.
    pub(crate) fn is_named(self) -> bool {
        matches!(self.wanted(), Some(Wanted::Cifar(_) | Wanted::Idx(_)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::named(text).ok_or_else(|| {
            let known = EXTERNAL.names().join(", ");
            Error::setting("source", format!("expected one of {known}, found \"{text}\""))
        })
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = EXTERNAL.deserialize(deserializer)?;
        Ok(Self::named(name).unwrap_or(Self::External(name)))
    }
}

/// A choice of data by one text, which is the name of a data set or a path. A text that could be both, such as
/// `cifar10` in a folder that contains `cifar10`, is read as the name; the path is then written `./cifar10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A data set by its name, wherever its files are found.
    Named(Source),
    /// The path of a folder or archive.
    At(PathBuf),
}

impl From<&Path> for Choice {
    fn from(text: &Path) -> Self {
        text.to_str().and_then(Source::named).map_or_else(|| Choice::At(text.to_owned()), Choice::Named)
    }
}

impl From<&str> for Choice {
    fn from(text: &str) -> Self {
        Path::new(text).into()
    }
}

impl Choice {
    /// Combines this choice with a configured source and returns the new source and path. A name replaces both. A
    /// path keeps the configured source if it is a published data set, which the path must then hold; otherwise the
    /// source is whatever the path holds.
    pub fn over(self, configured: Source) -> (Source, Option<PathBuf>) {
        match self {
            Choice::Named(source) => (source, None),
            Choice::At(path) if configured == Source::Shapes => (Source::Auto, Some(path)),
            Choice::At(path) => (configured, Some(path)),
        }
    }
}

/// Data that was found but not yet read.
pub(crate) struct FoundData {
    files: Files,
    /// The value of [`DATA_VARIABLE`], if the path came from it.
    variable: Option<PathBuf>,
}

impl FoundData {
    /// Reads all files, and returns the state of each.
    ///
    /// **Errors:** those of [`Files::states`].
    pub fn states(&self) -> Result<Vec<FileState>> {
        self.files.states().map_err(|error| self.explain(error))
    }

    /// Reads the training set and the test set.
    ///
    /// **Errors:** the first error of any file.
    pub fn read(&self) -> Result<DatasetPair> {
        self.files.read().map_err(|error| self.explain(error))
    }

    /// Adds the environment variable to an error, if the path came from it.
    fn explain(&self, error: Error) -> Error {
        error.by_variable(self.variable.as_deref())
    }

    fn into_path(self) -> PathBuf {
        self.files.path().to_owned()
    }
}

/// Finds the files of `source` at `path`.
pub(crate) fn find(path: &Path, source: Source) -> Result<FoundData> {
    let Some(wanted) = source.wanted() else {
        let message = format!("the {source} set is generated and is not read from {}", path.display());
        return Err(Error::setting("path", message));
    };
    Ok(FoundData { files: find::find(path, wanted)?, variable: None })
}

/// Reads a data set from `path`. What lies there decides the format:
///
/// | format | what lies at `path` |
/// |---|---|
/// | CIFAR-10 and CIFAR-100, binary or python version | the folder of its files, a .tar or .tar.gz, or a folder that holds one of these |
/// | CIFAR as Hugging Face publishes it | a folder with `train*.parquet` and `test*.parquet`, or a folder that holds it |
/// | IDX files, such as MNIST and Fashion-MNIST | a folder with the four files, plain or .gz, or a folder that holds it |
/// | images | a folder with `train/CLASS/*.png` and `test/CLASS/*.png` (or jpg, jpeg) |
///
/// **Errors:** nothing exists at `path`; it holds another data set than `source`; a file is missing, too short, too
/// long or corrupt; a label is out of range. Each error names the file and the place in it.
pub fn open(path: impl AsRef<Path>, source: Source) -> Result<DatasetPair> {
    find(path.as_ref(), source)?.read()
}

/// Which of CIFAR-10 and CIFAR-100 the folder `path` holds. The one that [`Source::Auto`] would read comes first.
pub fn sources_in(path: &Path) -> Vec<Source> {
    let found = |source| path.is_dir().then(|| find(path, source).ok()).flatten().map(FoundData::into_path);
    let preferred = found(Source::Auto);
    let place = |source| Some((source, found(source)?));
    let mut sources: Vec<_> = [Source::Cifar10, Source::Cifar100].into_iter().filter_map(place).collect();
    sources.sort_by_key(|(_, at)| Some(at) != preferred.as_ref());
    sources.into_iter().map(|(source, _)| source).collect()
}

/// Finds the data of `source`: at the path in [`DATA_VARIABLE`], or in [`DATA_FOLDER`] if the variable is not set.
/// [`Source::Auto`] means CIFAR-10 here. Returns `None` if there is no such folder, or if it does not hold the data.
///
/// **Errors:** the variable names a path that can't be read, or that does not hold the data.
pub fn discover(source: Source) -> Result<Option<PathBuf>> {
    Ok(discover_data(source)?.map(FoundData::into_path))
}

pub(crate) fn discover_data(source: Source) -> Result<Option<FoundData>> {
    let variable = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    discover_at(variable.as_deref(), Path::new(DATA_FOLDER), source)
}

fn discover_at(variable: Option<&Path>, folder: &Path, source: Source) -> Result<Option<FoundData>> {
    let source = if source == Source::Auto { Source::Cifar10 } else { source };
    match (source, variable) {
        (Source::Shapes, _) => Ok(None),
        (_, Some(path)) => {
            let found = find(path, source).map_err(|error| error.by_variable(Some(path)))?;
            Ok(Some(FoundData { variable: Some(path.to_owned()), ..found }))
        }
        (_, None) if !folder.is_dir() => Ok(None),
        (_, None) => match find(folder, source) {
            Err(Error::NoDataset { .. }) => Ok(None),
            other => other.map(Some),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_lists_the_names_of_this_crates_sources() {
        let added = EXTERNAL.added();
        let own: Vec<&str> = EXTERNAL.names().iter().filter(|name| !added.contains(name)).copied().collect();
        assert_eq!(own, Source::ALL.map(Source::name));
    }

    #[test]
    fn data_is_found_through_the_variable_or_else_in_the_folder() {
        let folder = tempfile::TempDir::new().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        let at = |variable: Option<&Path>, source| {
            Ok(discover_at(variable, &data, source)?.map(FoundData::into_path))
        };
        assert!(at(None, Source::Auto).unwrap().is_none(), "no data folder");
        for (place, file) in [(&data, "train.bin"), (&elsewhere, "test_batch.bin")] {
            let sub = place.join("sub");
            std::fs::create_dir_all(&sub).unwrap();
            std::fs::write(sub.join(file), "").unwrap();
        }
        assert!(at(None, Source::Auto).unwrap().is_none(), "CIFAR-100 must not be found as CIFAR-10");
        assert_eq!(at(None, Source::Cifar100).unwrap(), Some(data.join("sub")));
        assert_eq!(at(Some(&elsewhere), Source::Auto).unwrap(), Some(elsewhere.join("sub")));
        assert!(
            matches!(at(Some(&data), Source::Auto), Err(Error::Variable { ref error, .. })
                if matches!(**error, Error::NoDataset { .. })),
            "the path in the variable must hold the data"
        );
        let error: Error = at(Some(&data), Source::Auto).unwrap_err();
        let expected = format!("; the environment variable GRADAMP_DATA names {}", data.display());
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert!(at(Some(&elsewhere.join("no")), Source::Auto).is_err());
        assert!(at(Some(&elsewhere), Source::Shapes).unwrap().is_none());
    }

    #[test]
    fn both_data_sets_in_a_folder_are_found() {
        let folder = tempfile::TempDir::new().unwrap();
        assert_eq!(sources_in(folder.path()), []);
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/test.bin"), "").unwrap();
        assert_eq!(sources_in(folder.path()), [Source::Cifar100]);
        std::fs::write(folder.path().join("cifar-10-python.tar"), "").unwrap();
        assert_eq!(
            sources_in(folder.path()),
            [Source::Cifar100, Source::Cifar10],
            "files come before archives"
        );
        std::fs::write(folder.path().join("data_batch_3.bin"), "").unwrap();
        assert_eq!(
            sources_in(folder.path()),
            [Source::Cifar10, Source::Cifar100],
            "files in the folder itself come before its sub-folders"
        );
    }

    #[test]
    fn a_choice_combines_with_the_configured_source() {
        for source in Source::ALL {
            assert_eq!(Choice::from(source.name()), Choice::Named(source));
            assert_eq!(Choice::Named(source).over(Source::Cifar100), (source, None));
        }
        for path in ["./cifar10", "cifar10/", "CIFAR10", "data", ""] {
            assert_eq!(Choice::from(path), Choice::At(path.into()));
            for (configured, expected) in [
                (Source::Auto, Source::Auto),
                (Source::Cifar10, Source::Cifar10),
                (Source::Cifar100, Source::Cifar100),
                (Source::Mnist, Source::Mnist),
                (Source::Shapes, Source::Auto),
            ] {
                assert_eq!(Choice::from(path).over(configured), (expected, Some(path.into())));
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_list_of_names() {
        for source in Source::ALL {
            assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
        }
        let message = "svhn".parse::<Source>().unwrap_err().to_string();
        assert_eq!(
            message,
            "source: expected one of auto, cifar10, cifar100, mnist, fashion-mnist, shapes, found \"svhn\""
        );
    }
}
