//! Writes files atomically.

use std::fs::{self, FileType, Metadata};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::durable::{sync_file, sync_folder};
use crate::{Error, Result};

/// The most symbolic links to follow to a file. Linux has the same limit.
const MOST_LINKS: usize = 40;

/// Writes the file at `path` atomically: readers find either the old file or the new one, never a part of it, even
/// after a power cut. `fill` writes to a temporary file in the same folder, which is then flushed to the disk and
/// renamed.
///
/// If `path` is a symbolic link, the link is kept, and the file that it leads to is replaced. The new file gets the
/// permissions of the old one, and its owner if the system allows it.
///
/// **Errors:** the folder is missing, full or not writable; something other than a file is at `path`; `fill` fails.
/// After an error the old file is unchanged.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let path = &file_behind(path)?;
    let folder = folder_of(path);
    let old = fs::metadata(path).ok();
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)] // a new file gets the permissions that the user's umask allows
    builder.permissions(
        old.as_ref()
            .map_or_else(|| std::os::unix::fs::PermissionsExt::from_mode(0o666), Metadata::permissions),
    );
    let temporary = builder
        .prefix(".")
        .suffix(".partial")
        .tempfile_in(folder)
        .map_err(Error::io(folder, "create a file in this folder"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file());
    fill(&mut writer)?;
    writer.flush().map_err(Error::io(path, "write"))?;
    drop(writer);
    if let Some(old) = &old {
        keep_access(temporary.as_file(), old).map_err(Error::io(path, "keep the permissions of"))?;
    }
    sync_file(temporary.as_file()).map_err(Error::io(path, "flush to the disk"))?;
    temporary.persist(path).map_err(|e| Error::io(path, "put in place")(e.error))?;
    sync_folder(folder)
}

/// Follows the symbolic links of `path` to the path of a file. The file need not exist.
///
/// **Errors:** the path leads to something other than a file, such as a folder, a device or a pipe; the links form a
/// circle.
pub fn file_behind(path: &Path) -> Result<PathBuf> {
    let refused = |found| Error::NotAFile { file: path.display().to_string(), found };
    let mut end = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(link) = fs::read_link(&end) else {
            return match fs::metadata(&end) {
                Ok(found) if !found.is_file() => Err(refused(kind(found.file_type()))),
                _ => Ok(end),
            };
        };
        let folder = folder_of(&end);
        // Paths such as `/dev/stdout` lead to open handles, which a file cannot replace.
        if folder.canonicalize().is_ok_and(|folder| folder.starts_with("/proc")) {
            return Err(refused("an open handle"));
        }
        end = folder.join(link);
    }
    Err(refused("symbolic links in a circle"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn kind(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match () {
        () if found.is_dir() => "a folder",
        () if found.is_char_device() || found.is_block_device() => "a device",
        () if found.is_fifo() => "a pipe",
        () if found.is_socket() => "a socket",
        () => "something else",
    }
}

#[cfg(not(unix))]
fn kind(found: FileType) -> &'static str {
    if found.is_dir() { "a folder" } else { "something else" }
}

/// Gives a new file the permissions of the file that it replaces.
fn keep_access(new: &fs::File, old: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let _ = fchown(new, Some(old.uid()), Some(old.gid())); // only the superuser may change a file's owner
    }
    new.set_permissions(old.permissions())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn write(path: &Path, text: &str) -> Result<()> {
        write_atomically(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path, "write")))
    }

    #[test]
    fn links_are_kept_and_the_file_they_lead_to_is_written() {
        let root = tempfile::tempdir().unwrap();
        let (file, link, far) =
            (root.path().join("file"), root.path().join("link"), root.path().join("d/far"));
        fs::create_dir(root.path().join("d")).unwrap();
        symlink("file", &link).unwrap();
        symlink("../link", &far).unwrap();
        write(&far, "one").unwrap(); // the file does not exist yet
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        write(&far, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::read_link(&link).is_ok() && fs::read_link(&far).is_ok());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "no other file may be left");
    }

    #[test]
    fn folders_devices_and_sockets_are_refused_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        symlink("folder", at("link to a folder")).unwrap();
        symlink("circle", at("circle")).unwrap();
        symlink("/dev/null", at("link to a device")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (path, found) in [
            (at("folder"), "a folder"),
            (at("link to a folder"), "a folder"),
            (at("circle"), "circle"),
            (at("link to a device"), "a device"),
            (at("socket"), "a socket"),
        ] {
            let before = fs::symlink_metadata(&path).unwrap().file_type();
            let error = write(&path, "text").unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains(found), "{error}");
            assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_handle_is_refused() {
        let error = write(Path::new("/dev/stdout"), "text").unwrap_err().to_string();
        assert!(error.contains("/dev/stdout: expected the path of a file to write"), "{error}");
    }
}
