//! Opens files that a user names. A program that reads a pipe, a socket or a device may hang for ever, because such a file has
//! no end or waits for a writer. Only regular files, and links to them, are therefore opened.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file, or a link to one, for reading.
///
/// **Errors:** those of the system; a folder, pipe, socket or device, which is not opened.
pub fn open(path: &Path) -> io::Result<File> {
    check(&path.metadata()?)?; // before the file is opened, because opening a pipe waits for its writer
    let file = File::open(path)?;
    check(&file.metadata()?)?; // another file may have got the name in the meantime
    Ok(file)
}

/// The bytes of a regular file.
///
/// **Errors:** those of [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// **Errors:** those of [`open`]; a file that is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn check(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = describe(metadata.file_type());
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, expected a regular file")))
}

/// Names the kind of a file that is not regular.
fn describe(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "no file" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_and_folders() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(read(&file).unwrap(), read_to_string(&file).unwrap().into_bytes());
        let folder = open(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
        assert_eq!(folder.to_string(), "it is a folder, expected a regular file");
        assert_eq!(open(Path::new("no/such/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_not_read() {
        for device in ["/dev/zero", "/dev/null"] {
            let error = read(Path::new(device)).unwrap_err();
            assert_eq!(error.to_string(), "it is a device, expected a regular file");
        }
    }
}
