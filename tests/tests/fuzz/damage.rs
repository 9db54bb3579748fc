//! Damages files: inverts bits, replaces bytes and numbers, and removes, copies and inserts pieces.

use std::panic::RefUnwindSafe;
use std::time::Duration;

/// One change: its kind, its position, its size and its content. They come from a generator of bytes; every
/// combination is valid.
type Edit = (u8, u32, u16, u8);

/// How the files of a fuzz target are damaged.
pub struct Damage<'a> {
    /// Valid files, and damaged ones that once caused a failure.
    pub corpus: Vec<Vec<u8>>,
    /// Half of the changes are at most this far from the beginning or the end of a file, where its structure is.
    pub near: usize,
    /// Words of the format. Some changes insert one of them.
    pub words: &'a [&'a str],
    /// The number of damaged files to try in a normal run of the tests.
    pub iterations: usize,
}

impl Damage<'_> {
    /// Checks that `law` holds for every file of the corpus and for damaged ones.
    pub fn check(&self, law: impl Fn(&[u8]) + RefUnwindSafe) {
        super::limit_memory();
        self.corpus.iter().for_each(|file| law(file));
        let (corpus, near) = (&self.corpus, self.near);
        let words: Vec<String> = self.words.iter().map(|&word| word.to_owned()).collect();
        bolero::check!()
            .with_type::<(u8, u8, Vec<Edit>)>()
            .with_iterations(self.iterations)
            .with_test_time(Duration::from_secs(30)) // a slow machine tries fewer files
            .for_each(move |(file, changes, edits)| {
                let file = &corpus[usize::from(*file) % corpus.len()];
                // With few changes most of a file stays valid, so that the reader gets far into it.
                let edits = &edits[..edits.len().min(1 + usize::from(*changes) % 4)];
                law(&damaged(file, edits, near, &words));
            });
    }
}

fn damaged(file: &[u8], edits: &[Edit], near: usize, words: &[String]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for &(kind, at, count, with) in edits {
        let place = at as usize >> 2;
        let at = match at & 3 {
            0 => place % near.min(bytes.len() + 1).max(1),
            1 => bytes.len() - place % near.min(bytes.len() + 1).max(1),
            _ => place % (bytes.len() + 1),
        };
        let end = (at + usize::from(count) % 64).min(bytes.len());
        let word =
            words.get(usize::from(with) % words.len().max(1)).map_or(&b"x"[..], |word| word.as_bytes());
        match kind % 10 {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << (with % 8),
            2 if at < bytes.len() => bytes[at] = with,
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = usize::from(with) * bytes.len() / 255;
                bytes.splice(to..to, piece);
            }
            // A number of 1 to 8 bytes at or near the limits of its type.
            5 => {
                let number =
                    [0, 1, i64::MAX as u64, u64::MAX, 1 << 31, u64::from(count)][usize::from(with >> 2) % 6];
                let width = 1 << (with & 3);
                for (byte, value) in bytes[at..].iter_mut().zip(number.to_le_bytes()).take(width) {
                    *byte = value;
                }
            }
            6 if with < 64 => bytes.truncate(at),
            7 => overwrite(&mut bytes, at, at, word),
            // Replaces the next occurrence of one word of the format by another word.
            8 => {
                let other = words
                    .get(usize::from(count) % words.len().max(1))
                    .map_or(&b""[..], |word| word.as_bytes());
                let found = bytes[at..].windows(other.len().max(1)).position(|piece| piece == other);
                if let Some(place) = found.map(|place| at + place) {
                    overwrite(&mut bytes, place, place + other.len(), word);
                }
            }
            _ => drop(bytes.splice(at..at, word.iter().copied())),
        }
    }
    bytes
}

/// Replaces the bytes `from..to` by `word`. If the range is empty, overwrites as many bytes as the word has.
fn overwrite(bytes: &mut Vec<u8>, from: usize, to: usize, word: &[u8]) {
    let end = if from == to { (from + word.len()).min(bytes.len()) } else { to };
    bytes.splice(from..end, word.iter().copied());
}
