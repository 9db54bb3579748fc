//! Words of commands that are printed, so that who pastes them into a shell runs what was meant.

use std::ffi::OsStr;
use std::path::Path;

/// A path as a word of a command. One that begins with a dash would be taken for an option; `./` before it says that it is
/// none.
pub fn path(path: &Path) -> String {
    let begins_with_dash = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    match begins_with_dash {
        true => word(Path::new(".").join(path).as_os_str()),
        false => word(path.as_os_str()),
    }
}

/// A word of a command.
#[cfg(unix)]
pub fn word(word: &OsStr) -> String {
    let mut quoted = String::new();
    for chunk in word.as_encoded_bytes().utf8_chunks() {
        // Control characters would reach the terminal that shows the command; a line break cannot be made by `printf`,
        // whose last ones a shell drops, and harms nobody.
        let mut valid = chunk.valid();
        while let Some(at) = valid.find(|c: char| c.is_control() && c != '\n') {
            let end = at + valid[at..].chars().next().map_or(1, char::len_utf8);
            quoted += &quoted_text(&valid[..at]);
            quoted += &printed(&valid.as_bytes()[at..end]);
            valid = &valid[end..];
        }
        quoted += &quoted_text(valid);
        quoted += &printed(chunk.invalid());
    }
    if quoted.is_empty() { "''".into() } else { quoted }
}

/// A word of a command, as PowerShell and cmd read it. No file's name holds a quotation mark there.
#[cfg(not(unix))]
pub fn word(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "\\/:._-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.into_owned() } else { format!("\"{text}\"") }
}

/// Text in as many quotes as it needs; nothing of nothing.
#[cfg(unix)]
fn quoted_text(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        // Only a NUL cannot be quoted, which no path and no argument holds.
        false => shlex::try_quote(text).map_or_else(|_| String::new(), |quoted| quoted.into_owned()),
    }
}

/// Bytes that cannot be shown, in a form that every POSIX shell makes them of.
#[cfg(unix)]
fn printed(bytes: &[u8]) -> String {
    match bytes.is_empty() {
        true => String::new(),
        false => {
            let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
            format!("\"$(printf '{octal}')\"")
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What a shell makes of words: each, ended by a NUL.
    fn by_a_shell(words: &[String]) -> Vec<u8> {
        let script = format!("printf '%s\\0' {}", words.join(" "));
        Command::new("sh").args(["-c", &script]).output().map(|output| output.stdout).unwrap_or_default()
    }

    fn ended_by_nul<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        words.into_iter().flat_map(|word| [word, b"\0"].concat()).collect()
    }

    #[test]
    fn ordinary_paths_stay_as_they_are_and_others_are_quoted() {
        for (name, expected) in [
            ("runs/tour-2026", "runs/tour-2026"),
            ("my runs/a", "'my runs/a'"),
            ("-run", "./-run"),
            ("it's", "\"it's\""),
            ("$HOME", "'$HOME'"),
            ("", "''"),
            ("a\u{1b}[2J", "a\"$(printf '\\033')\"'[2J'"),
        ] {
            assert_eq!(path(Path::new(name)), expected);
        }
        let no_text = Path::new(OsStr::from_bytes(b"a\xffb"));
        assert_eq!(path(no_text), "a\"$(printf '\\377')\"b");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// Many words by one call of the shell, which is what takes time.
        #[test]
        fn a_shell_reads_back_every_word(
            words in prop::collection::vec(prop::collection::vec(1_u8.., 0..12), 1..60),
            texts in prop::collection::vec("[-~ '\"$`\\\\!#&*()?\\[\\]{}<>|;\n\t\u{1b}\u{85}éa=,^]{0,12}", 1..60),
        ) {
            let all: Vec<&[u8]> =
                words.iter().map(Vec::as_slice).chain(texts.iter().map(|text| text.as_bytes())).collect();
            let quoted: Vec<String> = all.iter().map(|bytes| word(OsStr::from_bytes(bytes))).collect();
            prop_assert_eq!(by_a_shell(&quoted), ended_by_nul(all), "{:?}", quoted);
            let is_shown = |c: char| c == '\n' || !c.is_control();
            prop_assert!(quoted.iter().all(|word| word.chars().all(is_shown)));
        }

        #[test]
        fn no_path_is_taken_for_an_option(name in "-[^\0/]{0,8}") {
            let quoted = path(Path::new(&name));
            let read = by_a_shell(&[quoted]);
            prop_assert_eq!(read, ended_by_nul([[b"./", name.as_bytes()].concat().as_slice()]));
        }
    }
}
