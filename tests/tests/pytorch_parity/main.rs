//! Training steps against PyTorch's: losses, gradients, parameters, running statistics, with amplification.
//!
//! A fixture is a safetensors file with a batch, a model's weights, and what PyTorch made of them in a few steps; the
//! case itself is JSON in the file's metadata. `GRADAMP_FIXTURES` names a folder of them (from the workspace's folder,
//! where it is relative); without it `../shared/fixtures` is taken where there is one. Small ones are always tested. A GPU
//! has to keep the same limits as the CPU.

#![allow(clippy::unwrap_used, clippy::panic)] // a test ends where its preparations fail

mod errors;
mod fixture;
mod replay;

use std::io::Write;
use std::path::{Path, PathBuf};

use fixture::{Case, Fixture};
use gradamp_core::Backend;
use gradamp_core::amplify::Placement;
use gradamp_cpu::Cpu;
use gradamp_wgpu::{Options, Wgpu};
use replay::{FEW, KEPT, Replay};

#[test]
fn the_fixtures_of_this_project_are_reproduced() {
    check_folder(&own_folder(), &Cpu::default(), &[KEPT]);
}

#[test]
fn the_fixtures_of_the_named_folder_are_reproduced() {
    if let Some(folder) = named_folder() {
        check_folder(&folder, &Cpu::default(), &[KEPT]);
    }
}

#[test]
fn the_gpu_reproduces_the_fixtures() {
    let Some(adapter) = gradamp_wgpu::testing::adapter().unwrap() else { return };
    let gpu = Wgpu::open(&adapter, &Options::default()).unwrap();
    for folder in [Some(own_folder()), named_folder()].into_iter().flatten() {
        check_folder(&folder, &gpu, &[FEW, KEPT]);
    }
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The folder of further fixtures; `None`, and a line that says so, where there is none.
fn named_folder() -> Option<PathBuf> {
    // `join` leaves an absolute path as it is.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = std::env::var_os("GRADAMP_FIXTURES").map(|folder| workspace.join(folder));
    let folder =
        named.or_else(|| Some(workspace.join("../shared/fixtures")).filter(|folder| folder.is_dir()));
    if folder.is_none() {
        say("SKIPPED: PyTorch parity on further fixtures; GRADAMP_FIXTURES names no folder of them");
    }
    folder
}

/// A line that is seen although the test passes, unlike those of `println!`.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Replays every fixture of a folder and only then fails, with all that is wrong.
fn check_folder(folder: &Path, backend: &impl Backend, crowds: &[usize]) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    assert!(!files.is_empty(), "{}: holds no .safetensors file", folder.display());
    let failures: Vec<String> = files.iter().flat_map(|file| failures(file, backend, crowds)).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Replays the fixture in `file`, prints its largest errors and gives what is wrong, each naming the file.
fn failures(file: &Path, backend: &impl Backend, crowds: &[usize]) -> Vec<String> {
    let name = |what: String| format!("{} on {}: {what}", file.display(), backend.name());
    match Fixture::open(file, backend)
        .and_then(|fixture| Ok((Replay::run(&fixture, crowds)?, fixture.case.name)))
    {
        Ok((end, case)) => {
            let how = if end.is_nudged { "nudged" } else { "plain" };
            say(&format!("parity {case} on {} ({how}): {}", backend.name(), end.errors));
            end.errors.beyond_limits().into_iter().map(name).collect()
        }
        Err(error) => vec![name(error.to_string())],
    }
}

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/resnet18_output.safetensors");

/// What keeps the nudges honest.
#[test]
fn no_nudge_makes_up_for_a_wrong_setting() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 5] = [
        ("factor", |case| case.factor *= 1.001),
        ("site", |case| case.sites[0] = "conv1".into()),
        ("placement", |case| case.placement = Placement::Input),
        ("learning rate", |case| case.lr *= 1.02),
        ("momentum", |case| case.momentum = 0.88),
    ];
    for (what, change) in changes {
        let mut fixture = Fixture::open(Path::new(OWN), &Cpu::default()).unwrap();
        change(&mut fixture.case);
        let beyond = Replay::run(&fixture, &[KEPT]).unwrap().errors.beyond_limits();
        assert!(!beyond.is_empty(), "another {what} goes unnoticed");
    }
}

#[test]
fn what_a_fixture_asks_for_in_vain_is_named_with_its_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let cases = [
        ("width", "widht", "unknown field `widht`"),
        ("layer2.0.relu1", "layer2.0.relu7", "layer2.0.relu7"),
        ("resnet18", "resnet19", "did you mean resnet18?"),
        ("\"output", "\"inwith", "unknown variant `inwith"),
        ("step2.loss", "step9.loss", "step2.loss: is missing"),
        ("final.bn1.bias", "final.bn1.bais", "final.bn1.bias: is missing"),
    ];
    for (i, (right, wrong, message)) in cases.into_iter().enumerate() {
        let file = folder.join(format!("parity_{i}.safetensors"));
        let bytes = std::fs::read(OWN).unwrap();
        let header_end = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header = std::str::from_utf8(&bytes[8..header_end]).unwrap().replace(right, wrong);
        std::fs::write(&file, [&bytes[..8], header.as_bytes(), &bytes[header_end..]].concat()).unwrap();
        let failures = failures(&file, &Cpu::default(), &[KEPT]);
        let [failure] = &*failures else { panic!("{wrong}: {failures:?}") };
        assert!(
            failure.contains(message) && failure.contains(&format!("parity_{i}.safetensors")),
            "{failure}"
        );
    }
}
