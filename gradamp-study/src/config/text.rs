//! Checks the size, nesting and encoding of a text before it is parsed as TOML. A file of gigabytes, or a key with a million
//! dots, is an error and does not exhaust memory or stack.

use std::io::Read;
use std::path::Path;

use gradamp_core::files;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::KeyError;
use super::origin::{Origin, shown};

/// The largest file of settings, in bytes. The largest study of this project takes 2 KiB.
const LARGEST: u64 = 1 << 20;

/// The deepest nesting of keys, tables and lists. The deepest setting has 7 levels. The limit protects the functions that
/// process settings by recursion.
pub const DEEPEST: usize = 32;

/// The most values in one document. The limit bounds the time to merge layers, which searches for each key in a list.
pub const MOST_VALUES: usize = 20_000;

/// Reads a file of settings.
///
/// **Errors:** a file that cannot be read, is not a regular file, is larger than 1 MiB, or is not valid UTF-8; each with the file, and
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
        return Err(fail(1, "is text in UTF-16, expected UTF-8; save the file in UTF-8".into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
        let found = error.as_bytes()[valid];
        fail(
            line,
            format!("found the byte {found:#04x}, which is not valid UTF-8; expected text (TOML) in UTF-8"),
        )
    })?;
    // Editors on Windows write a byte order mark before UTF-8 text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Checks the nesting of keys, tables and lists by looking at tokens, before anything nested is built.
///
/// The parser limits the nesting of brackets but not the number of dots in a key, each of which makes a nested table that is
/// dropped by recursion. Headers and the keys below them are counted separately here, and together when they are read.
///
/// **Errors:** a key, table or list deeper than [`DEEPEST`], with its place in bytes and the message.
pub fn check_depth(text: &str) -> Result<(), (usize, String)> {
    let mut around: Vec<usize> = Vec::new(); // the depth of each open bracket
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

/// The message about keys, tables or lists deeper than [`DEEPEST`].
pub fn too_deep() -> String {
    format!("found keys, tables or lists nested more than {DEEPEST} levels deep, expected {DEEPEST} at most")
}
