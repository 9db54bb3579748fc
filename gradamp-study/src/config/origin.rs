//! The origins of settings, for messages and for the comments of `config show`.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The value was not set.
    Default,
    /// A line of a preset that ships inside the program.
    Preset(&'static str, usize),
    /// A line of a file.
    File(PathBuf, usize),
    /// `--set key=value`.
    Set,
    /// A flag of its own, such as `--lr`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Preset(name, line) => write!(f, "preset {name}:{line}"),
            Origin::File(path, line) => write!(f, "{}:{line}", shown(path)),
            Origin::Set => f.write_str("--set"),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Writes a path for a message or a comment on one line. Control characters and bytes that are not UTF-8 are escaped.
pub fn shown(path: &Path) -> impl fmt::Display {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() {
                true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
                false => text.push(c),
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| text.extend(std::ascii::escape_default(*byte).map(char::from)));
    }
    text
}
