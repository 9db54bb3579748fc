//! Compares training steps with PyTorch's: losses, gradients, parameters and running statistics, with amplification.
//!
//! A fixture is a safetensors file with a batch, a model's weights, and the results of a few training steps in
//! PyTorch. The file's metadata hold the case (model, sites, factor, optimiser) as JSON. The seeds of the fixtures
//! were chosen so that no rectifier's input and no pooling window is within rounding of a tie. A correct program in
//! f32 therefore meets the limits on any device.
//!
//! The three fixtures in `tests/fixtures` are always tested. `GRADAMP_FIXTURES` may name a folder of more fixtures,
//! relative to the workspace's folder. Its default is `../shared/fixtures`, if that folder exists.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed preparation may end a test

mod errors;
mod fixture;
mod replay;

use std::io::Write;
use std::path::{Path, PathBuf};

use errors::Limits;
use fixture::{Case, Fixture};
use gradamp_core::Backend;
use gradamp_core::amplify::Placement;
use gradamp_core::backend::Precision;
use gradamp_cpu::{Cpu, Isa};
use gradamp_wgpu::{Options, Wgpu};
use replay::replay;

#[test]
fn the_fixtures_of_this_project_are_reproduced() {
    check_folder(&own_folder(), &Cpu::default(), Limits::F32);
}

#[test]
fn the_fixtures_of_the_named_folder_are_reproduced() {
    for folder in named_folders() {
        check_folder(&folder, &Cpu::default(), Limits::F32);
    }
}

/// Factors in bf16, with the instructions of this machine, or else in plain Rust. Only networks without rectifiers and max-pools are
/// compared: where rounding to bf16 switches a rectifier, a gradient is 0 instead of its value.
#[test]
fn mixed_precision_reproduces_smooth_networks_within_wider_limits() {
    const SMOOTH: [&str; 3] = ["mlp_sigmoid_output", "mlp_tanh_norm_params", "resnet18_plain_sigmoid_output"];
    let isa = Isa::ALL.into_iter().rev().find(|isa| isa.has_mixed()).unwrap();
    let cpu = Cpu::with_precision(2, isa, Precision::Mixed).unwrap();
    for folder in named_folders().into_iter().filter(|folder| folder.ends_with("plain")) {
        for name in SMOOTH {
            let failures = failures(&folder.join(name).with_extension("safetensors"), &cpu, Limits::BF16);
            assert!(failures.is_empty(), "\n{}", failures.join("\n"));
        }
    }
}

#[test]
fn the_gpu_reproduces_the_fixtures() {
    let Some(adapter) = gradamp_wgpu::testing::adapter().unwrap() else { return };
    let gpu = Wgpu::open(&adapter, &Options::default()).unwrap();
    for folder in [own_folder()].into_iter().chain(named_folders()) {
        check_folder(&folder, &gpu, Limits::F32);
    }
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The folder of more fixtures and its folder `plain`, which holds networks without batch norms or skip connections.
/// If there is no such folder, prints a note and returns nothing.
fn named_folders() -> Vec<PathBuf> {
    // `join` does not change an absolute path.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let named = std::env::var_os("GRADAMP_FIXTURES").map(|folder| workspace.join(folder));
    let folder =
        named.or_else(|| Some(workspace.join("../shared/fixtures")).filter(|folder| folder.is_dir()));
    let Some(folder) = folder else {
        print_always("SKIPPED: PyTorch parity on more fixtures; set GRADAMP_FIXTURES to their folder");
        return Vec::new();
    };
    let plain = folder.join("plain");
    [folder, plain].into_iter().filter(|folder| folder.is_dir()).collect()
}

/// Prints a line that is shown even if the test passes; the test harness hides the output of `println!`.
fn print_always(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Replays every fixture in a folder. Fails at the end, with all messages.
fn check_folder(folder: &Path, backend: &impl Backend, limits: Limits) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "safetensors"));
    files.sort();
    assert!(!files.is_empty(), "{}: holds no .safetensors file", folder.display());
    let failures: Vec<String> = files.iter().flat_map(|file| failures(file, backend, limits)).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Replays the fixture in `file`, prints its largest differences, and returns a message for each one that exceeds its
/// limit.
fn failures(file: &Path, backend: &impl Backend, limits: Limits) -> Vec<String> {
    let message = |what: String| format!("{} on {}: {what}", file.display(), backend.name());
    let result = Fixture::open(file, backend).and_then(|fixture| Ok((replay(&fixture)?, fixture.case.name)));
    match result {
        Ok((errors, case)) => {
            print_always(&format!("parity {case} on {}: {errors}", backend.name()));
            errors.beyond_limits(limits).into_iter().map(message).collect()
        }
        Err(error) => vec![message(error.to_string())],
    }
}

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/resnet18_output.safetensors");

const OWN_ADAMW: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/adamw_resnet18_epsilon.safetensors");

/// The limits are narrow enough to detect an incorrect program.
#[test]
fn a_wrong_setting_exceeds_the_limits() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 5] = [
        ("factor", |case| case.factor *= 1.001),
        ("site", |case| case.sites[0] = "conv1".into()),
        ("placement", |case| case.placement = Placement::Input),
        ("learning rate", |case| case.lr *= 1.02),
        ("momentum", |case| case.momentum = Some(0.88)),
    ];
    let adamw: [(&str, Change); 5] = [
        ("factor", |case| case.factor *= 1.001),
        ("learning rate", |case| case.lr *= 1.02),
        ("weight decay", |case| case.weight_decay = 0.0),
        ("share of the squares", |case| case.betas = Some([0.8, 0.9])),
        ("epsilon", |case| case.epsilon = Some(1e-8)),
    ];
    for (file, changes) in [(OWN, changes), (OWN_ADAMW, adamw)] {
        for (what, change) in changes {
            let mut fixture = Fixture::open(Path::new(file), &Cpu::default()).unwrap();
            change(&mut fixture.case);
            let beyond = replay(&fixture).unwrap().beyond_limits(Limits::F32);
            assert!(!beyond.is_empty(), "{file}: a wrong {what} is within the limits");
        }
    }
}

#[test]
fn an_error_in_a_fixture_names_its_file() {
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
        let failures = failures(&file, &Cpu::default(), Limits::F32);
        let [failure] = &*failures else { panic!("{wrong}: {failures:?}") };
        assert!(
            failure.contains(message) && failure.contains(&format!("parity_{i}.safetensors")),
            "{failure}"
        );
    }
}
