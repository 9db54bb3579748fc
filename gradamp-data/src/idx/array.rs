//! Decodes one IDX file.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Place, Result};

/// The most bytes of an unpacked file. The largest file of MNIST takes 47 MB.
const MAX_BYTES: u64 = 2 << 30;
/// The most dimensions: images, rows, columns and channels.
const MAX_DIMENSIONS: usize = 4;
/// The type of bytes.
const BYTE: u8 = 8;

/// The content of an IDX file of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// The sizes of its dimensions; one to four.
    pub shape: Vec<usize>,
    /// The values. The last dimension varies fastest.
    pub values: Vec<u8>,
}

/// Reads an IDX file of bytes, plain or packed with gzip. `file` is its name in errors.
///
/// **Errors:** the file can't be read; it is not an IDX file of bytes with one to four dimensions; it is shorter or
/// longer than its header says; it has more than 2 GiB.
pub fn read(file: &str, reader: impl Read) -> Result<Array> {
    let mut reader = BufReader::new(reader);
    let mut start = Vec::new();
    reader.by_ref().take(2).read_to_end(&mut start).map_err(|error| unreadable(file, 0, &error))?;
    let whole = io::Cursor::new(start.clone()).chain(reader);
    if start == [0x1f, 0x8b] { plain(file, MultiGzDecoder::new(whole)) } else { plain(file, whole) }
}

fn plain(file: &str, mut reader: impl Read) -> Result<Array> {
    let mut magic = [0; 4];
    header(file, &mut reader, 0, &mut magic)?;
    let dimensions = usize::from(magic[3]);
    if magic[..3] != [0, 0, BYTE] || !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        let expected = "an IDX file of bytes (00 00 08, then 1 to 4 dimensions)";
        return Err(Error::format(file, Place::Byte(0), expected, format!("bytes {magic:02x?}")));
    }
    let mut shape = Vec::with_capacity(dimensions);
    for d in 0..dimensions {
        let mut size = [0; 4];
        header(file, &mut reader, 4 + 4 * d as u64, &mut size)?;
        shape.push(u32::from_be_bytes(size) as usize);
    }
    let start = 4 + 4 * dimensions as u64;
    let size = shape.iter().try_fold(1u64, |size, &n| size.checked_mul(n as u64));
    let Some(size) = size.filter(|&size| size <= MAX_BYTES) else {
        let expected = format!("an array of at most {MAX_BYTES} bytes");
        return Err(Error::format(file, Place::Byte(4), expected, format!("shape {shape:?}")));
    };
    // Memory grows with the bytes that are there, whatever the header says.
    let mut values = Vec::new();
    let read = reader.take(size + 1).read_to_end(&mut values);
    let found = values.len() as u64;
    read.map_err(|error| unreadable(file, start + found, &error))?;
    if found != size {
        let place = Place::Byte(start + found.min(size));
        let end = if found < size { format!("the end of the file after {found}") } else { "more".into() };
        return Err(Error::format(file, place, format!("{size} bytes for the shape {shape:?}"), end));
    }
    Ok(Array { shape, values })
}

/// Fills `bytes` with the bytes of the header that begin at `at`.
fn header(file: &str, reader: &mut impl Read, at: u64, bytes: &mut [u8]) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::format(file, Place::Byte(at), "the header of an IDX file", "the end of the file")
        }
        _ => unreadable(file, at, &error),
    })
}

fn unreadable(file: &str, at: u64, error: &io::Error) -> Error {
    Error::format(file, Place::Byte(at), "readable data", format!("\"{error}\""))
}
