//! Opening files that a user names. A pipe, a socket or a device has no end, or waits for a writer that may never come:
//! a program that reads one may stand still for ever. So only regular files are read, and links to them.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file, or a link to one, for reading.
///
/// **Errors:** what the system says of a file that it does not open; a folder, pipe, socket or device, by what it is.
/// None of these is opened.
pub fn open(path: &Path) -> io::Result<File> {
    check(&path.metadata()?)?; // before it is opened: to open a pipe is to wait for its writer
    let file = File::open(path)?;
    check(&file.metadata()?)?; // another file may have taken the name meanwhile
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

/// What a file is that is not regular.
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
