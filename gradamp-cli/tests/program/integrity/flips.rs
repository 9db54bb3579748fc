//! Inverts one bit in any file of a run or sweep. Every command must either refuse the file or find the same results
//! as without the damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{copy, flip};
use crate::{SMALL, Workplace, contents};

/// The bits to invert: some in every file, spread from its beginning to its end.
fn targets(root: &Path) -> Vec<(PathBuf, usize, u32)> {
    const FLIPS: usize = 8;
    let mut targets = Vec::new();
    for (path, bytes) in contents(root) {
        let name = path.strip_prefix(root).unwrap().to_owned();
        let n = bytes.len();
        let mut places: Vec<usize> = (0..FLIPS).map(|i| i * n.saturating_sub(1) / (FLIPS - 1)).collect();
        places.dedup();
        let flips = places.into_iter().filter(|at| *at < n).enumerate();
        targets.extend(flips.map(|(i, at)| (name.clone(), at, (5 * i % 8) as u32)));
    }
    targets
}

/// The folder in which no bit is inverted. All folder names have the same length, so that pages that contain them
/// have equal sizes.
const WHOLE: &str = "flipped-none";

fn folder(i: usize) -> String {
    format!("flipped-{i:04}")
}

/// What a command prints or writes, without the time and the folder's name. An error holds the program's error
/// message.
fn outcome_of(place: &Workplace, command: &str, folder: &str) -> Result<String, String> {
    let page = place.path(&format!("{folder}.html"));
    let report = place.run(&command.replace("RUN", folder).replace("PAGE", &page.display().to_string()));
    for word in ["panicked", "a bug in gradamp", "RUST_BACKTRACE"] {
        assert!(!report.err.contains(word), "{}\n{}", report.what, report.err);
    }
    match report.code {
        Some(0) => {}
        Some(1 | 2) => {
            assert!(
                report.err.lines().any(|line| line.starts_with("error: ")),
                "{}\n{}",
                report.what,
                report.err
            );
            return Err(report.err);
        }
        _ => panic!("{} ended with {:?}\n{}", report.what, report.code, report.err),
    }
    let text = match command.contains("PAGE") {
        true => {
            let text = fs::read_to_string(&page).unwrap();
            text.split("Made by gradamp").next().unwrap().to_owned()
        }
        false => report.out,
    };
    Ok(text.replace(folder, "RUN"))
}

/// The files that a resumed run leaves, without those that differ from run to run.
fn resumed(place: &Workplace, folder: &str) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let report = place.run(&format!("train --quiet --threads 1 --resume {folder}"));
    if report.code != Some(0) {
        return Err(report.fails(1, &[]).err);
    }
    let mut files = contents(&place.path(folder));
    let repeats = [
        "model.safetensors",
        "momentum.safetensors",
        "amplification.jsonl",
        "gradients.jsonl",
        "config.toml",
    ];
    files.retain(|path, _| repeats.iter().any(|name| path.ends_with(name)));
    let root = place.path(folder);
    Ok(files.into_iter().map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes)).collect())
}

/// Calls `try_one` with each target and its number, using as many threads as there are cores.
fn on_all_cores(targets: &[(PathBuf, usize, u32)], try_one: impl Fn(usize, &(PathBuf, usize, u32)) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::SeqCst);
                    let Some(target) = targets.get(i) else { return };
                    try_one(i, target);
                }
            });
        }
    });
}

/// Copies the whole folder and inverts a bit of one file; `verify` must notice it. Returns the copy's name and a
/// description of the damage.
fn damaged(place: &Workplace, i: usize, (file, at, bit): &(PathBuf, usize, u32)) -> (String, String) {
    let folder = folder(i);
    copy(&place.path(WHOLE), &place.path(&folder));
    flip(&place.path(&folder).join(file), *at, *bit);
    let what = format!("bit {bit} of byte {at} of {}", file.display());
    let Err(verified) = outcome_of(place, "verify RUN", &folder) else {
        panic!("verify does not notice {what}")
    };
    assert!(verified.contains(&file.display().to_string()), "{what}: {verified}");
    (folder, what)
}

#[test]
fn every_changed_bit_of_a_run_is_noticed() {
    let place = Workplace::new();
    place.run(&format!("{SMALL} --max-steps 8 --out {WHOLE}")).succeeds();
    place.run(&format!("{SMALL} --seed 1 --out other")).succeeds();
    let commands = [
        "eval --run RUN --device cpu --threads 1 --json",
        "eval --run RUN --last --device cpu --threads 1 --json",
        "report RUN -o PAGE",
        "compare RUN other --json",
        "watch RUN --once",
    ];
    let expected: Vec<String> =
        commands.iter().map(|command| outcome_of(&place, command, WHOLE).unwrap()).collect();
    copy(&place.path(WHOLE), &place.path("resumed"));
    let whole = resumed(&place, "resumed").unwrap();

    let refused = Mutex::new(BTreeMap::new());
    on_all_cores(&targets(&place.path(WHOLE)), |i, target| {
        let (folder, what) = damaged(&place, i, target);
        for (command, expected) in commands.iter().zip(&expected) {
            match outcome_of(&place, command, &folder) {
                Ok(found) => assert!(found == *expected, "{command} gives another result with {what}"),
                Err(_) => *refused.lock().unwrap().entry(*command).or_insert(0) += 1,
            }
        }
        if let Ok(found) = resumed(&place, &folder) {
            // Resuming carries the best checkpoint along, so it may stay damaged; `verify` reports that.
            let is_same = |(path, bytes): (&PathBuf, &Vec<u8>)| {
                path.ends_with(&target.0) || found.get(path) == Some(bytes)
            };
            assert!(whole.iter().all(is_same), "a resumed run ends in other bits with {what}");
        } else {
            *refused.lock().unwrap().entry("train").or_insert(0) += 1;
        }
        fs::remove_dir_all(place.path(&folder)).unwrap();
    });
    let refused = refused.into_inner().unwrap();
    assert_eq!(refused.len(), commands.len() + 1, "every command must refuse some of the files: {refused:?}");
}

#[test]
fn every_changed_bit_of_a_sweep_is_noticed() {
    const STUDY: &str = "\
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 16, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', validation = 16, shapes = { train = 64, test = 32 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
[axes]
'amplification.factor' = [1.5]
";
    let place = Workplace::new();
    place.write("s.toml", STUDY);
    place.run(&format!("sweep s.toml --out {WHOLE}")).succeeds();
    let commands = ["report RUN -o PAGE", "compare RUN --json", "watch RUN --once", "sweep --collect RUN"];
    let expected: Vec<String> =
        commands.iter().map(|command| outcome_of(&place, command, WHOLE).unwrap()).collect();
    let mut targets = targets(&place.path(WHOLE));
    // One run stands for all of them. The test above covers its checkpoints.
    targets.retain(|(file, ..)| {
        let name = file.display().to_string();
        !name.contains("baseline") && !name.contains(".safetensors") && !name.contains("best")
    });
    on_all_cores(&targets, |i, target| {
        let (folder, what) = damaged(&place, i, target);
        for (command, expected) in commands.iter().zip(&expected) {
            // `sweep --collect` comes last because it rewrites the results and lists a damaged run as a failed one.
            if let Ok(found) = outcome_of(&place, command, &folder) {
                assert!(
                    found == *expected,
                    "{command} gives another result with {what}:\n{found}\n{expected}"
                );
            }
        }
        fs::remove_dir_all(place.path(&folder)).unwrap();
    });
}
