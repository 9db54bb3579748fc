//! Flushes files and folders to the disk.
//!
//! A file's bytes are on the disk once the file is flushed, its name once its folder is flushed, and the folder's
//! name once the folder above is flushed. Some file systems (CIFS, VirtualBox's shared folders, gocryptfs and others
//! behind FUSE) cannot flush folders and return EINVAL or EOPNOTSUPP. They offer no stronger guarantee, so these two
//! errors are ignored. Every other error, above all EIO, means that data was lost, and is returned.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::{Error, Result};

/// Creates the folder at `path` and the missing folders above it, and flushes the names of all of them to the disk.
///
/// Creates the folder at `path` and the missing folders above it, and flushes their names to the disk.
pub fn create_folders(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::io(path, "make this folder"))?;
    sync_above(path)
}

/// Flushes the names of the folder at `path` and of all folders above it on the same file system to the disk. A
/// process that was killed may have created any of these folders without flushing its name.
///
/// **Errors:** a folder cannot be flushed. The error names it.
pub fn sync_above(path: &Path) -> Result<()> {
    let whole = path.canonicalize().map_err(Error::io(path, "find"))?;
    #[cfg(unix)]
    {
        let device =
            |path: &Path| fs::metadata(path).map(|found| std::os::unix::fs::MetadataExt::dev(&found));
        let own = device(&whole).map_err(Error::io(path, "read"))?;
        for folder in whole.ancestors().skip(1).take_while(|folder| device(folder).is_ok_and(|it| it == own))
        {
            sync_folder(folder)?;
        }
    }
    let _ = whole;
    Ok(())
}

/// Flushes the names in a folder to the disk, if the file system can do so. On Windows, where folders cannot be
/// opened, renaming a file flushes its name.
///
/// **Errors:** the folder is missing; the disk fails.
pub fn sync_folder(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let folder = match File::open(path) {
            // A folder that may be written but not read cannot be opened. In this case the whole disk is flushed.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            opened => opened.map(|folder| folder.sync_all()),
        };
        passes(folder.and_then(|flushed| flushed)).map_err(Error::io(path, "flush to the disk"))?;
    }
    Ok(())
}

/// Flushes the bytes of a file to the disk, if the file system can do so.
///
/// **Errors:** the disk fails, or an earlier write to it failed.
pub fn sync_file(file: &File) -> io::Result<()> {
    passes(file.sync_all())
}

/// Ignores the errors of file systems that cannot flush, and returns those of a flush that failed.
fn passes(flushed: io::Result<()>) -> io::Result<()> {
    flushed.or_else(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_of_file_systems_that_cannot_flush_are_ignored_but_not_those_of_a_disk() {
        let (einval, eopnotsupp, eio, enospc) = (22, 95, 5, 28);
        let flushed = |code| passes(Err(io::Error::from_raw_os_error(code)));
        assert!(passes(Ok(())).is_ok() && flushed(einval).is_ok() && flushed(eopnotsupp).is_ok());
        for code in [eio, enospc] {
            assert_eq!(flushed(code).unwrap_err().raw_os_error(), Some(code));
        }
    }

    #[test]
    fn folders_are_made_and_a_missing_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap(); // existing folders are not an error
        assert!(deep.is_dir());
        sync_folder(&deep).unwrap();
        #[cfg(unix)]
        assert!(sync_folder(&root.path().join("gone")).unwrap_err().to_string().contains("gone"));
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = create_folders(&file.join("below")).unwrap_err().to_string();
        assert!(error.contains("file/below: cannot make this folder"), "{error}");
    }
}
