//! Reads the members of a .tar or .tar.gz one after the other.
//!
//! An archive may come from anywhere, so its use of memory and time is limited: an extended header has at most
//! [`MAX_EXTENDED`] bytes, and an unpacked archive at most [`MAX_UNPACKED`].

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use gradamp_core::files;

use crate::error::{Error, Place, Result};

/// The most bytes of an extended header. Such a header holds a member's long name, or the member's pax records.
const MAX_EXTENDED: u64 = 1 << 16;
/// The most members of an archive. The archives of CIFAR have at most eight.
const MAX_MEMBERS: usize = 10_000;
/// The most bytes of an unpacked archive. The largest archive of CIFAR takes 300 MB.
const MAX_UNPACKED: u64 = 2 << 30;
/// The bytes of a header. Members are padded to a multiple of it.
const BLOCK: usize = 512;

/// Calls `see` with the name and content of every file in the archive at `path`, then reads on to the end, because a
/// .tar.gz ends with a checksum. The inner result is an error if the archive can't be read to its end; `see` has then
/// been called for the files before the damage.
///
/// **Errors:** the file can't be read, or is not an archive.
pub(super) fn visit(path: &Path, see: impl FnMut(&str, &mut dyn Read)) -> Result<Result<()>> {
    let failed = |error| Error::read(path, error);
    let mut reader = BufReader::new(files::open(path).map_err(failed)?);
    let mut start = Vec::new();
    reader.by_ref().take(BLOCK as u64).read_to_end(&mut start).map_err(failed)?;
    let (is_gzip, is_tar) = (start.starts_with(&[0x1f, 0x8b]), is_header(&start));
    let shown = path.display().to_string();
    let found = format!("bytes {:02x?}", &start[..start.len().min(2)]);
    let whole = io::Cursor::new(start).chain(reader);
    let unpacked: Box<dyn Read> = match () {
        () if is_gzip => Box::new(MultiGzDecoder::new(whole)),
        () if is_tar => Box::new(whole),
        () => {
            let expected = "a .tar.gz (bytes 1f 8b) or a .tar";
            return Err(Error::format(&shown, Place::Byte(0), expected, found));
        }
    };
    let mut unpacked = Counted { inner: unpacked, count: 0 };
    let outcome = members(&mut unpacked, see);
    Ok(outcome.map_err(|error| {
        let place = Place::Byte(unpacked.count);
        Error::format(&shown, place, "a readable archive (bytes counted unpacked)", format!("\"{error}\""))
    }))
}

/// Whether a block is the header of a member. A header holds the sum of its bytes, in which the bytes of the sum
/// itself count as blanks.
fn is_header(block: &[u8]) -> bool {
    let Some(noted) = block.get(148..156).filter(|_| block.len() == BLOCK) else { return false };
    let digits =
        noted.iter().skip_while(|&&byte| byte == b' ').take_while(|byte| (b'0'..=b'7').contains(byte));
    let noted = digits.fold(0, |sum, &digit| sum << 3 | u32::from(digit - b'0'));
    let bytes = block[..148].iter().chain(&block[156..]);
    bytes.map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ') == noted
}

/// What extended headers say about the member that follows them.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
}

fn members(unpacked: &mut impl Read, mut see: impl FnMut(&str, &mut dyn Read)) -> io::Result<()> {
    let mut archive = tar::Archive::new(&mut *unpacked);
    let mut extended = Extended::default();
    // The library would read an extended header of any size into memory. With raw entries, this function reads such
    // headers itself and limits their size.
    for (count, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        if count == MAX_MEMBERS {
            return Err(io::Error::other(format!("more than {MAX_MEMBERS} members")));
        }
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            let name = extension(&mut entry)?;
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            extended.name = Some(String::from_utf8_lossy(&name[..end]).into_owned());
        } else if kind.is_pax_local_extensions() {
            extended.note(&extension(&mut entry)?)?;
        } else if kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
            extension(&mut entry)?; // holds nothing about a file's name or content
        } else {
            let Extended { name, size, is_sparse } = std::mem::take(&mut extended);
            if size.is_some_and(|size| size != entry.size()) {
                return Err(io::Error::other("a member with two sizes"));
            }
            if is_sparse || kind.is_gnu_sparse() {
                return Err(io::Error::other(
                    "a sparse member, which is not supported: pack the file without holes",
                ));
            }
            if kind.is_file() {
                let own = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let name = name.unwrap_or_else(own);
                see(&name, &mut entry);
            }
        }
    }
    io::copy(unpacked, &mut io::sink()).map(|_| ())
}

/// Reads the content of an extended header.
fn extension(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let size = entry.size();
    if size > MAX_EXTENDED {
        let message = format!("an extended header of {size} bytes; at most {MAX_EXTENDED} are allowed");
        return Err(io::Error::other(message));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Extended {
    /// Keeps what the pax records say about the next member.
    fn note(&mut self, records: &[u8]) -> io::Result<()> {
        for record in tar::PaxExtensions::new(records) {
            let record = record?;
            let value = String::from_utf8_lossy(record.value_bytes());
            match record.key_bytes() {
                b"path" => self.name = Some(value.into_owned()),
                b"size" => self.size = Some(value.parse().map_err(io::Error::other)?),
                key => self.is_sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}

/// A reader that counts the bytes read, and fails after [`MAX_UNPACKED`] bytes.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        if self.count > MAX_UNPACKED {
            return Err(io::Error::other(format!("more than {MAX_UNPACKED} bytes")));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn header(kind: tar::EntryType, name: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn padded(bytes: &[u8]) -> Vec<u8> {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(BLOCK), 0);
        padded
    }

    fn member(kind: tar::EntryType, name: &str, bytes: &[u8]) -> Vec<u8> {
        [header(kind, name, bytes.len() as u64).as_bytes(), &padded(bytes)[..]].concat()
    }

    /// The names and contents of the files read, and the error that stopped the reading.
    fn visited(tar: &[u8]) -> (Vec<(String, Vec<u8>)>, Option<String>) {
        let folder = tempfile::TempDir::new().unwrap();
        let path: PathBuf = folder.path().join("a.tar");
        std::fs::write(&path, tar).unwrap();
        let mut met = Vec::new();
        let outcome = visit(&path, |name, reader| {
            let mut bytes = Vec::new();
            let _ = reader.read_to_end(&mut bytes);
            met.push((name.to_owned(), bytes));
        });
        (met, outcome.unwrap().err().map(|error| error.to_string()))
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn long_names_of_both_formats_are_read() {
        let long = format!("{}/name", "deep/".repeat(60));
        let gnu = member(tar::EntryType::GNULongName, "././@LongLink", &[long.as_bytes(), b"\0"].concat());
        let record = format!(" path={long}\n30 mtime=1700000000.123456789\n");
        let pax = format!("{}{record}", record.find("\n30").unwrap() + 4);
        let pax = member(tar::EntryType::XHeader, "PaxHeaders/x", pax.as_bytes());
        let global = member(tar::EntryType::XGlobalHeader, "pax_global_header", b"11 a=bcdef\n");
        let file = member(FILE, "short", b"content");
        let tar = [&global[..], &gnu, &file, &pax, &file, &file, &[0; 1024]].concat();
        let (read, stopped) = visited(&tar);
        assert_eq!(stopped, None);
        let expected = [long.as_str(), &long, "short"].map(|name| (name.to_owned(), b"content".to_vec()));
        assert_eq!(read, expected);
    }

    #[test]
    fn headers_beyond_the_limits_are_refused_before_they_are_read() {
        let kinds = [
            tar::EntryType::GNULongName,
            tar::EntryType::GNULongLink,
            tar::EntryType::XHeader,
            tar::EntryType::XGlobalHeader,
        ];
        for kind in kinds {
            for size in [MAX_EXTENDED + 1, 1 << 40, u64::MAX >> 1] {
                let (read, stopped) = visited(header(kind, "x", size).as_bytes());
                assert_eq!(read, []);
                let expected = format!("an extended header of {size} bytes");
                assert!(stopped.as_ref().is_some_and(|message| message.contains(&expected)), "{stopped:?}");
            }
        }
    }

    #[test]
    fn sparse_members_and_second_sizes_are_refused() {
        let cases = [
            (member(tar::EntryType::GNUSparse, "x", b"abc"), "a sparse member"),
            (member(tar::EntryType::XHeader, "x", b"22 GNU.sparse.major=1\n"), "a sparse member"),
            (member(tar::EntryType::XHeader, "x", b"9 size=8\n"), "a member with two sizes"),
            (member(tar::EntryType::XHeader, "x", b"9 size=x\n"), "invalid digit"),
            (member(tar::EntryType::XHeader, "x", b"99 size=1\n"), "malformed pax extension"),
        ];
        for (bytes, expected) in cases {
            let (read, stopped) = visited(&[bytes, member(FILE, "f", b"content")].concat());
            assert_eq!(read, []);
            assert!(
                stopped.as_ref().is_some_and(|message| message.contains(expected)),
                "{expected}: {stopped:?}"
            );
        }
    }

    #[test]
    fn too_many_members_or_bytes_are_refused() {
        let many = header(FILE, "f", 0).as_bytes().repeat(MAX_MEMBERS + 1);
        let (read, stopped) = visited(&many);
        assert_eq!(read.len(), MAX_MEMBERS);
        assert!(stopped.unwrap().contains("more than 10000 members"));

        let mut endless = Counted { inner: io::repeat(0), count: MAX_UNPACKED - 5 };
        assert_eq!(endless.read(&mut [0; 5]).unwrap(), 5);
        assert!(endless.read(&mut [0; 1]).is_err());
    }
}
