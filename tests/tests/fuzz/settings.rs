//! Reads damaged settings: configuration files, `--set` and studies.

use std::collections::BTreeSet;
use std::path::Path;

use gradamp_study::config::tree::{Node, Origin};
use gradamp_study::config::{KeyError, Layers, Resolved};

use crate::damage::Damage;
use crate::files;

const WORDS: [&str; 30] = [
    "1e999",
    "-1",
    "nan",
    "inf",
    "0.1",
    "9223372036854775807",
    "true",
    "\"\"",
    "\"\"\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "\\u0000",
    "\\u001b",
    "\"a\\u0000b\"",
    "\u{1b}",
    "strategy.phase",
    "lr = 0.5\n",
    "amplify = true\n",
    "seed = 3\n",
    "epochs = 2\n",
];

fn read(text: &str) -> Result<Resolved, KeyError> {
    Resolved::from_tree(Node::parse(text, &|line| Origin::File("file".into(), line))?)
}

/// Settings that are accepted must not change when they are shown and read again.
fn assert_read_back(resolved: &Resolved) {
    let shown = resolved.show().unwrap();
    match read(&shown) {
        Ok(again) => assert!(
            again.config == resolved.config,
            "the settings were shown as\n{shown}\nand read back differently"
        ),
        Err(error) => panic!("the settings were shown as\n{shown}\nand refused: {error}"),
    }
}

#[test]
fn configuration_files() {
    let corpus = [files("gradamp-study/presets"), files("tests/tests/fuzz/corpus/settings")].concat();
    for preset in files("gradamp-study/presets") {
        assert_read_back(&read(std::str::from_utf8(&preset).unwrap()).unwrap());
    }
    Damage { corpus, near: 100, words: &WORDS, iterations: 10_000 }.check(|bytes| {
        if let Ok(text) = std::str::from_utf8(bytes)
            && let Ok(resolved) = read(text)
        {
            assert_read_back(&resolved);
        }
    });
}

#[test]
fn values_after_set() {
    let lines = files("tests/tests/fuzz/corpus/sets").concat();
    let corpus = lines.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    Damage { corpus, near: 20, words: &WORDS, iterations: 10_000 }.check(|bytes| {
        let sets = vec![String::from_utf8_lossy(bytes).into_owned()];
        if let Ok(resolved) = (Layers { sets, ..Layers::default() }).resolve() {
            assert_read_back(&resolved);
        }
    });
}

#[test]
fn studies() {
    let runs = |text: &str| gradamp_study::sweep::runs_of(Path::new("no/such/study.toml"), text.to_owned());
    // These studies need no other file, so that most damaged copies are still accepted.
    let whole = files("tests/tests/fuzz/corpus/studies");
    for study in &whole {
        assert!(!runs(std::str::from_utf8(study).unwrap()).unwrap().is_empty());
    }
    let corpus = [whole, files("studies")].concat();
    Damage { corpus, near: 100, words: &WORDS, iterations: 4_000 }.check(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Ok(names) = runs(text) else { return };
        // The name of a run is also the name of its folder.
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        for name in &names {
            let mut parts = Path::new(name).components();
            let only = (parts.next(), parts.next());
            assert!(matches!(only, (Some(std::path::Component::Normal(_)), None)), "{name:?}");
            assert!(!name.chars().any(char::is_control), "{name:?}");
        }
    });
}
