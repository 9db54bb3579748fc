//! Which data set, and where it is looked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cifar::{Kind, LAYOUTS, Layout, Location, locate};
use crate::{DatasetPair, Error, Result};

/// The environment variable that names a folder or archive with data.
pub const DATA_VARIABLE: &str = "GRADAMP_DATA";

/// Where data is looked for when [`DATA_VARIABLE`] is not set, from the working directory.
pub const DATA_FOLDER: &str = "data";

/// Which data set to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Whatever the path holds; without a path, CIFAR-10 where it is found, else the shapes set.
    #[default]
    Auto,
    /// CIFAR-10.
    Cifar10,
    /// CIFAR-100 with its 100 fine labels.
    Cifar100,
    /// The generated shapes.
    Shapes,
}

impl Source {
    /// All of them, in the order in which errors list them.
    pub const ALL: [Source; 4] = [Source::Auto, Source::Cifar10, Source::Cifar100, Source::Shapes];

    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Source::Auto => "auto",
            Source::Cifar10 => "cifar10",
            Source::Cifar100 => "cifar100",
            Source::Shapes => "shapes",
        }
    }

    fn layouts(self) -> Vec<Layout> {
        let wanted = |layout: &Layout| match self {
            Source::Auto => true,
            Source::Cifar10 => layout.kind == Kind::Cifar10,
            Source::Cifar100 => layout.kind == Kind::Cifar100,
            Source::Shapes => false,
        };
        LAYOUTS.into_iter().filter(wanted).collect()
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
        Self::ALL.into_iter().find(|source| source.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Source::name).join(", ");
            Error::setting("data.source", format!("expected one of {known}, found \"{text}\""))
        })
    }
}

/// Finds the files of `source` at `path`.
pub(crate) fn find(path: &Path, source: Source) -> Result<Location> {
    if source == Source::Shapes {
        let message = format!("the shapes set is generated and is not read from {}", path.display());
        return Err(Error::setting("data.path", message));
    }
    locate(path, &source.layouts())
}

/// Reads CIFAR-10 or CIFAR-100 from `path`: a folder of its files, a .tar.gz, or a folder that holds either. The form
/// (binary or python) is recognised by the files' names.
///
/// **Errors:** nothing at `path`, another data set than `source`, a file that is missing, truncated, too long or
/// corrupt, a label out of range; each with the file and the place.
pub fn open(path: impl AsRef<Path>, source: Source) -> Result<DatasetPair> {
    find(path.as_ref(), source)?.scan()?.into_pair()
}

/// Where the data of `source` lies: at `$GRADAMP_DATA`, or without that variable under `data/`. `Auto` means CIFAR-10.
/// `None` where there is no `data/` or nothing of the kind in it.
///
/// **Errors:** a variable that names nothing readable, or nothing of the kind.
pub fn discover(source: Source) -> Result<Option<PathBuf>> {
    let variable = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    discover_at(variable.as_deref(), Path::new(DATA_FOLDER), source)
}

fn discover_at(variable: Option<&Path>, folder: &Path, source: Source) -> Result<Option<PathBuf>> {
    let source = if source == Source::Auto { Source::Cifar10 } else { source };
    let found = match (source, variable) {
        (Source::Shapes, _) => return Ok(None),
        (_, Some(path)) => find(path, source)?,
        (_, None) if !folder.is_dir() => return Ok(None),
        (_, None) => match find(folder, source) {
            Err(Error::NoDataset { .. }) => return Ok(None),
            other => other?,
        },
    };
    let (Location::Folder(path, _) | Location::Archive(path, _)) = found;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_discovered_at_the_variable_else_in_the_folder() {
        let folder = tempfile::TempDir::new().unwrap();
        let (data, elsewhere) = (folder.path().join("data"), folder.path().join("elsewhere"));
        let at = |variable: Option<&Path>, source| discover_at(variable, &data, source);
        assert!(at(None, Source::Auto).unwrap().is_none(), "no data folder");
        for (place, file) in [(&data, "train.bin"), (&elsewhere, "test_batch.bin")] {
            let sub = place.join("sub");
            std::fs::create_dir_all(&sub).unwrap();
            std::fs::write(sub.join(file), "").unwrap();
        }
        assert!(at(None, Source::Auto).unwrap().is_none(), "CIFAR-100 is no CIFAR-10");
        assert_eq!(at(None, Source::Cifar100).unwrap(), Some(data.join("sub")));
        assert_eq!(at(Some(&elsewhere), Source::Auto).unwrap(), Some(elsewhere.join("sub")));
        assert!(
            matches!(at(Some(&data), Source::Auto), Err(Error::NoDataset { .. })),
            "a variable must hold"
        );
        assert!(at(Some(&elsewhere.join("no")), Source::Auto).is_err());
        assert!(at(Some(&elsewhere), Source::Shapes).unwrap().is_none());
    }

    #[test]
    fn a_name_is_read_or_refused_with_the_known_ones() {
        for source in Source::ALL {
            assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
        }
        let message = "mnist".parse::<Source>().unwrap_err().to_string();
        assert_eq!(message, "data.source: expected one of auto, cifar10, cifar100, shapes, found \"mnist\"");
    }
}
