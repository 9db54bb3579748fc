//! Damage to files: flipped bits, bytes and numbers replaced, pieces cut, copied and inserted.

use std::panic::RefUnwindSafe;
use std::time::Duration;

/// One change: its kind, where, how much, and with what. Bytes from a generator, each of them a right change.
type Edit = (u8, u32, u16, u8);

/// How a target's files are damaged.
pub struct Damage<'a> {
    /// Files as they should be, and damaged ones that were trouble once.
    pub corpus: Vec<Vec<u8>>,
    /// Half of the changes lie so near to a file's beginning or end, where its structure stands.
    pub near: usize,
    /// Words of the format, which are inserted now and then.
    pub words: &'a [&'a str],
    /// How many damaged files are tried with all other tests.
    pub iterations: usize,
}

impl Damage<'_> {
    /// Holds `law` for every file of the corpus and for damaged ones.
    pub fn check(&self, law: impl Fn(&[u8]) + RefUnwindSafe) {
        super::limit_memory();
        self.corpus.iter().for_each(|file| law(file));
        let (corpus, near) = (&self.corpus, self.near);
        let words: Vec<String> = self.words.iter().map(|&word| word.to_owned()).collect();
        bolero::check!()
            .with_type::<(u8, u8, Vec<Edit>)>()
            .with_iterations(self.iterations)
            .with_test_time(Duration::from_secs(30)) // a slow machine tries fewer
            .for_each(move |(file, changes, edits)| {
                let file = &corpus[usize::from(*file) % corpus.len()];
                // Few changes leave most of a file right, so that a law is held where reading goes on.
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
            // A number of 1 to 8 bytes at the edge of what it can be.
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
            // A word of the format for another of its words, wherever that stands next.
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

/// Puts a word in the place of `from..to`; where these are one place, over as many bytes as the word has.
fn overwrite(bytes: &mut Vec<u8>, from: usize, to: usize, word: &[u8]) {
    let end = if from == to { (from + word.len()).min(bytes.len()) } else { to };
    bytes.splice(from..end, word.iter().copied());
}
