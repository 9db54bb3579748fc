//! Replaces a folder atomically.
//!
//! A new version is written beside the old one as `NAME.new`. Then `NAME` is renamed to `NAME.old`, `NAME.new` to `NAME`,
//! and `NAME.old` is removed. An interruption at any point leaves one complete version, which [`recover`] finds.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Result};

/// Replaces the folder at `path` by a new folder that `fill` fills.
///
/// **Errors:** an error of `fill`, after which the old folder stays; a folder that cannot be written; no folder above `path`.
pub(super) fn replace(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    remove(&new)?;
    // The folders above are not created: if the run's folder was removed, it must stay removed.
    fs::create_dir(&new).map_err(Error::io(&new, "make this folder"))?;
    fill(&new)?;
    gradamp_models::sync_folder(&new)?;
    if path.exists() {
        remove(&old)?;
        rename(path, &old)?;
    }
    rename(&new, path)?;
    gradamp_models::sync_folder(path.parent().unwrap_or(path))?;
    remove(&old)
}

/// Finishes or undoes an interrupted replacement. `is_complete` says whether all of `NAME.new` was written.
///
/// Returns whether a folder is at `path` now.
pub(super) fn recover(path: &Path, is_complete: impl Fn(&Path) -> bool) -> Result<bool> {
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    if !path.exists() {
        if new.exists() && is_complete(&new) {
            rename(&new, path)?;
        } else if old.exists() {
            rename(&old, path)?;
        }
    }
    Ok(path.exists())
}

/// The version that [`recover`] would put at `path`; `None` if there is none. Changes nothing. `is_complete` says whether all
/// of `NAME.new` was written; `NAME` becomes `NAME.old` only after that.
pub(super) fn find(path: &Path, is_complete: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let (new, old) = (beside(path, "new"), beside(path, "old"));
    let is_there = |path: &PathBuf| path.exists();
    let new = Some(new).filter(|new| is_there(new) && is_complete(new));
    Some(path.to_owned()).filter(is_there).or(new).or(Some(old).filter(is_there))
}

/// The folders that an interrupted replacement may have left beside `path`, the newer version first.
pub(super) fn leftovers(path: &Path) -> [PathBuf; 2] {
    [beside(path, "new"), beside(path, "old")]
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io(to, "put in place"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, text: &str) -> Result<()> {
        fs::write(folder.join("file"), text).map_err(Error::io(folder, "write"))
    }

    fn text(folder: &Path) -> String {
        fs::read_to_string(folder.join("file")).unwrap()
    }

    #[test]
    fn a_replacement_leaves_the_new_folder_alone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("checkpoints")).unwrap();
        let path = root.path().join("checkpoints/last");
        replace(&path, |folder| write(folder, "one")).unwrap();
        replace(&path, |folder| write(folder, "two")).unwrap();
        assert_eq!(text(&path), "two");
        assert_eq!(fs::read_dir(root.path().join("checkpoints")).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("last");
        replace(&path, |folder| write(folder, "one")).unwrap();
        assert!(replace(&path, |folder| Err(Error::broken(folder, "full"))).is_err());
        assert_eq!(text(&path), "one");
    }

    /// Every state in which an interruption can leave the folders.
    #[test]
    fn an_interrupted_replacement_is_recovered() {
        let whole = |folder: &Path| folder.join("file").exists();
        for (folders, expected) in [
            (vec![("last", "one"), ("last.new", "")], Some("one")),
            (vec![("last", "one"), ("last.new", "two")], Some("one")),
            (vec![("last.old", "one"), ("last.new", "two")], Some("two")),
            (vec![("last", "two"), ("last.old", "one")], Some("two")),
            (vec![("last.old", "one"), ("last.new", "")], Some("one")),
            (vec![("last.new", "one")], Some("one")),
            (vec![("last.new", "")], None),
            (vec![], None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (name, content) in &folders {
                let folder = root.path().join(name);
                fs::create_dir(&folder).unwrap();
                if !content.is_empty() {
                    write(&folder, content).unwrap();
                }
            }
            let path = root.path().join("last");
            assert_eq!(recover(&path, whole).unwrap(), expected.is_some(), "{folders:?}");
            if let Some(expected) = expected {
                assert_eq!(text(&path), expected, "{folders:?}");
                replace(&path, |folder| write(folder, "three")).unwrap();
                assert_eq!(text(&path), "three");
            }
        }
    }
}
