//! Commands in messages and reports: the program's name, and words that are quoted so that a shell reads them as they are.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// The running program's name, once it is known.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// Names the running program by the first argument of its command line. Only the first call counts.
pub fn name_program(argument: &OsStr) {
    PROGRAM.get_or_init(|| Path::new(argument).file_stem().map_or_else(|| "gradamp".into(), word));
}

/// The running program's name as a word of a command: the file stem given to [`name_program`], or `gradamp` if there is none.
pub fn program() -> &'static str {
    PROGRAM.get().map_or("gradamp", String::as_str)
}

/// The running program and its version: `gradamp 0.1.0`; for another program, `my-program (gradamp 0.1.0)`.
pub fn program_version() -> String {
    let version = concat!("gradamp ", env!("CARGO_PKG_VERSION"));
    match program() {
        "gradamp" => version.into(),
        program => format!("{program} ({version})"),
    }
}

/// The command that continues the run in `folder`.
pub fn resume_command(folder: &Path) -> String {
    format!("{} train --resume {}", program(), path(folder))
}

/// Quotes a path as a word of a command. A path that begins with a dash gets `./` before it, because it would otherwise be
/// read as an option.
pub fn path(path: &Path) -> String {
    let begins_with_dash = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    match begins_with_dash {
        true => word(Path::new(".").join(path).as_os_str()),
        false => word(path.as_os_str()),
    }
}

/// Quotes a word of a command for a POSIX shell.
#[cfg(unix)]
pub fn word(word: &OsStr) -> String {
    let mut quoted = String::new();
    for chunk in word.as_encoded_bytes().utf8_chunks() {
        // Control characters would act on the terminal that shows the command, so they are written as `printf` calls. A line
        // break stays, because a shell drops line breaks at the end of `printf`'s output, and because it is harmless.
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

/// Quotes a word of a command for PowerShell and cmd. File names cannot contain quotation marks on Windows.
#[cfg(not(unix))]
pub fn word(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "\\/:._-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text.into_owned() } else { format!("\"{text}\"") }
}

/// Quotes text if necessary. Empty text stays empty.
#[cfg(unix)]
fn quoted_text(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        // Only a NUL cannot be quoted, and no path or argument contains one.
        false => shlex::try_quote(text).map_or_else(|_| String::new(), |quoted| quoted.into_owned()),
    }
}

/// Writes bytes that cannot be shown as a call of `printf` that every POSIX shell can run.
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

    /// The words as a shell reads them, each ended by a NUL.
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

        /// Quotes many words for one call of the shell, because the call takes most of the time.
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
