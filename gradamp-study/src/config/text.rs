//! What a text has to be before it is read as TOML: no larger, no deeper and in no other encoding than settings need.
//! Whoever hands over a file of gigabytes, or a key of a million dots, gets an error rather than a program that runs out
//! of memory or of stack.

use std::io::Read;
use std::path::Path;

use gradamp_core::files;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::KeyError;
use super::origin::{Origin, shown};

/// The largest file of settings, in bytes. The largest study of this project takes 2 KiB.
const LARGEST: u64 = 1 << 20;

/// How deep keys, tables and lists may lie inside one another. The deepest setting lies 7 deep; everything that walks
/// through settings does so by recursion.
pub const DEEPEST: usize = 32;

/// The most values in one document. Layers of settings are joined key by key, each being looked for among the others.
pub const MOST_VALUES: usize = 20_000;

/// Reads a file of settings.
///
/// **Errors:** a file that cannot be read, is no regular file, is larger than 1 MiB, or holds no UTF-8; each with the file, and
/// the line where there is one.
pub fn read_file(path: &Path) -> Result<String, KeyError> {
    let fail = |line, message| KeyError::new(message).at("", &Origin::File(path.to_owned(), line));
    let whole = |message: String| KeyError::new(format!("{}: {message}", shown(path)));
    let mut bytes = Vec::new();
    let read = files::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(whole(format!(
            "is larger than {LARGEST} bytes, expected settings (TOML) of at most that size"
        )));
    }
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes[..] {
        return Err(fail(1, "is text in UTF-16, expected UTF-8; save it anew in that encoding".into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
        let found = error.as_bytes()[valid];
        fail(line, format!("found the byte {found:#04x}, which is no UTF-8; expected text (TOML) in UTF-8"))
    })?;
    // Editors on Windows put this mark before a text in UTF-8; it is no part of it.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// **Errors:** the place, in bytes, of the first key, table or list that lies deeper than [`DEEPEST`], and the message.
///
/// The parser limits brackets itself, but no dots, of which it makes tables within tables, whose destruction recurses.
/// Looking at the tokens one by one builds nothing deep. A header and the keys below it are counted apart here, and
/// together once they are read.
pub fn check_depth(text: &str) -> Result<(), (usize, String)> {
    let mut around: Vec<usize> = Vec::new(); // how deep each open bracket lies
    let mut depth = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => depth += 1,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                around.push(depth);
                depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                depth = around.pop().unwrap_or(0);
            }
            TokenKind::Comma | TokenKind::Newline => depth = around.last().map_or(0, |depth| depth + 1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err((token.span().start(), too_deep()));
        }
    }
    Ok(())
}

/// What is said of keys, tables or lists deeper than [`DEEPEST`].
pub fn too_deep() -> String {
    format!("found keys, tables or lists more than {DEEPEST} deep in one another, expected {DEEPEST} at most")
}
