//! Which files are a run's or a sweep's own, so that nothing else is written in their place.

use std::path::{Component, Path};

use super::disk::{CHECKPOINTS, CONFIG, RECORD};
use super::{Error, Log, Result};

const LOCK: &str = ".lock";
/// What a run keeps in its folder besides its logs.
const OF_A_RUN: [&str; 5] = [CONFIG, RECORD, CHECKPOINTS, "tensorboard", LOCK];
const PLAN: &str = "plan.json";
/// What a sweep keeps in its folder besides its runs.
const OF_A_SWEEP: [&str; 9] = [
    PLAN,
    "sweep.toml",
    "base.toml",
    "results.jsonl",
    "results.csv",
    "configs",
    "failures",
    "slurm",
    ".claims",
];

/// Checks that a user may write to `path`, whether or not something is there yet.
///
/// **Errors:** a path that belongs to a run or a sweep, such as its checkpoints. Other files may be written into their folders.
pub fn check_not_owned(path: &Path) -> Result<()> {
    let Ok(path_from_root) = std::path::absolute(path) else { return Ok(()) };
    // Through symbolic links as far as there are folders; the path itself may be a link that is to be written through.
    let there = path_from_root.ancestors().skip(1).find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, folder)) = there else { return Ok(()) };
    let whole = folder.join(path_from_root.strip_prefix(part).unwrap_or(path));
    for root in folder.ancestors() {
        let inside = whole.strip_prefix(root).unwrap_or(&whole);
        let Some(Component::Normal(first)) = inside.components().next() else { continue };
        let is_run = root.join(CONFIG).is_file() && (root.join(RECORD).exists() || root.join(LOCK).exists());
        if is_run && OF_A_RUN.into_iter().chain(Log::ALL.map(Log::name)).any(|own| first == own) {
            return Err(Error::broken(path, format!("belongs to the run in {}", root.display())));
        }
        if root.join(PLAN).is_file() && OF_A_SWEEP.iter().any(|own| first == *own) {
            return Err(Error::broken(path, format!("belongs to the sweep in {}", root.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_runs_and_a_sweeps_files_are_told_from_a_users() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["run/checkpoints/last", "sweep/runs/a/checkpoints", "sweep/configs", "project"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["run/config.toml", "run/run.json", "sweep/plan.json", "project/config.toml"] {
            fs::write(at(file), "").unwrap();
        }
        for file in ["sweep/runs/a/config.toml", "sweep/runs/a/.lock"] {
            fs::write(at(file), "").unwrap();
        }
        for (path, owner) in [
            ("run/metrics.jsonl", "the run"),
            ("run/config.toml", "the run"),
            ("run/../run/.lock", "the run"),
            ("run/checkpoints/page.html", "the run"),
            ("run/checkpoints/no/such/page.html", "the run"),
            ("run/checkpoints/last/model.safetensors", "the run"),
            ("sweep/results.csv", "the sweep"),
            ("sweep/configs/page.html", "the sweep"),
            ("sweep/runs/a/run.json", "the run"),
        ] {
            let error = check_not_owned(&at(path)).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(owner), "{error}");
        }
        for path in [
            "run/report.html",
            "run",
            "sweep/page.html",
            "sweep/runs/b",
            "project/config.toml",
            "no/such/metrics.jsonl",
        ] {
            check_not_owned(&at(path)).unwrap();
        }
    }
}
