//! Checks the structure of the workspace's crates in their sources: no import cycles, short files, no unsafe code in
//! crates that need none, a small core, and libraries whose messages do not mention the program's flags and keys.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy allows these in test functions, but not in their helpers

mod cycles;
mod modules;
mod public;
mod strings;

use std::path::{Path, PathBuf};

use modules::Crate;

/// The most lines of a source file. Test modules may be longer.
const LONGEST_FILE: usize = 450;
/// The most public items of gradamp-core that a user can reach.
const CORE_ITEMS: usize = 250;

/// Crates that forbid unsafe code.
const WITHOUT_UNSAFE: &[&str] = &["gradamp-core", "gradamp-models", "gradamp-data", "gradamp-study"];

/// Crates that can be used without the program. Their messages must name fields and methods instead of the program's
/// flags and keys.
const LIBRARIES: &[&str] = &["gradamp-core", "gradamp-wgpu", "gradamp-models", "gradamp-data", "gradamp-cpu"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names of the workspace's crates: all folders with a `src/lib.rs`, except for this one, which holds tests only.
fn crates() -> Vec<String> {
    let entries = std::fs::read_dir(workspace()).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("src/lib.rs").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "tests")
        .collect();
    names.sort();
    assert!(names.iter().any(|name| name == "gradamp-core"), "{names:?}");
    names
}

fn read(name: &str) -> Crate {
    Crate::read(&workspace().join(name).join("src/lib.rs"))
}

#[test]
fn files_of_a_crate_do_not_import_each_other_in_a_cycle() {
    let mut failures = Vec::new();
    for name in crates() {
        let cycles = cycles::find(&read(&name));
        failures.extend(cycles.iter().map(|cycle| format!("{name}: {cycle}")));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// `cargo run` in the workspace's folder starts the program only if exactly one package names its default binary.
#[test]
fn cargo_run_starts_the_program() {
    let mut metadata = std::process::Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(workspace());
    let output = metadata.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let programs: Vec<&str> = packages.iter().filter_map(|package| package["default_run"].as_str()).collect();
    assert_eq!(programs, ["gradamp"]);
}

#[test]
fn the_citation_names_this_version_and_licence() {
    let citation = std::fs::read_to_string(workspace().join("CITATION.cff")).unwrap();
    let values = |key: &str| -> Vec<&str> {
        citation.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
    };
    assert_eq!(values("cff-version"), ["1.2.0"]);
    assert_eq!(values("version"), [env!("CARGO_PKG_VERSION")]);
    assert_eq!(values("license"), [env!("CARGO_PKG_LICENSE")]);
}

#[test]
fn files_are_short() {
    let mut failures = Vec::new();
    for name in crates() {
        for file in read(&name).files {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            if lines > LONGEST_FILE {
                failures.push(format!("{}: {lines} lines, more than {LONGEST_FILE}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn unsafe_code_is_forbidden_where_none_is_needed() {
    for name in WITHOUT_UNSAFE {
        let root = workspace().join(name).join("src/lib.rs");
        assert!(forbids_unsafe(&root), "{}: expected #![forbid(unsafe_code)]", root.display());
    }
}

fn forbids_unsafe(root: &Path) -> bool {
    let file = syn::parse_file(&std::fs::read_to_string(root).unwrap()).unwrap();
    file.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid")
            && attribute.parse_args::<syn::Path>().is_ok_and(|lint| lint.is_ident("unsafe_code"))
    })
}

#[test]
fn the_core_is_small() {
    let items = public::items(&read("gradamp-core"));
    assert!(
        items.len() <= CORE_ITEMS,
        "{} public items, more than {CORE_ITEMS}:\n{}",
        items.len(),
        items.join("\n")
    );
}

#[test]
fn libraries_do_not_mention_the_programs_flags_and_keys() {
    let mut failures = Vec::new();
    for name in crates().iter().filter(|name| LIBRARIES.contains(&&***name)) {
        for file in read(name).files {
            let texts = strings::that_name_the_program(&std::fs::read_to_string(&file).unwrap());
            failures.extend(texts.into_iter().map(|text| format!("{}: {text:?}", file.display())));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Writes a crate with the given files into a temporary folder and reads it.
fn crate_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Crate) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root: PathBuf = folder.path().join("lib.rs");
    let read = Crate::read(&root);
    (folder, read)
}
