//! `gradamp sweep --slurm` with scripts in place of Slurm's commands. `tests/slurm/run.sh` submits to a real Slurm.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{FACTORS, study};
use crate::{Report, Workplace};

/// A folder that is not in the machine's memory, where `--slurm` refuses sweeps, with the commands that the study's sweep needs.
fn workplace() -> Workplace {
    let place = Workplace(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    study(&place, "seeds = 1", FACTORS);
    fs::create_dir(place.path("bin")).unwrap();
    place
}

fn command(place: &Workplace, name: &str, script: &str) {
    let path = place.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Gives each job the next number, and keeps its arguments and its script.
fn accept_jobs(place: &Workplace) {
    let script = "[ \"$1\" = --version ] && exit\nn=$(($(cat number 2>/dev/null || echo 6) + 1)); echo $n > number\n\
                  printf '%s\\n' \"$@\" > $n.arguments; cat > $n.script; echo $n";
    command(place, "sbatch", script);
    command(place, "scontrol", "echo 'MaxArraySize            = 1001'");
}

fn run(place: &Workplace, arguments: &str) -> Report {
    let path = format!("{}:/usr/bin:/bin", place.path("bin").display());
    Report::new(arguments, place.command(arguments).env("PATH", path).output().unwrap())
}

const SUBMIT: &str = "sweep s.toml --out d --slurm --time 30 --max-parallel 2 --sbatch-arg=--account=me";

#[test]
fn a_sweep_is_submitted_once_and_later_only_what_is_missing() {
    let place = workplace();
    accept_jobs(&place);
    let report = run(&place, SUBMIT).succeeds();
    for part in [
        "submitted job 7: 3 tasks, at most 2 at a time, for 3 of 3 runs (0 are done)",
        "submitted job 8: collects the results at the end",
        "to watch: gradamp watch d; to end: gradamp watch d --cancel",
    ] {
        assert!(report.out.contains(part), "{part} in\n{}", report.out);
    }
    let read = |name: &str| fs::read_to_string(place.path(name)).unwrap();
    let arguments = read("7.arguments");
    for part in ["--array=0-2%2", "--requeue", "--open-mode=append", "--signal=B:USR1@120", "--time=30"] {
        assert!(arguments.lines().any(|argument| argument == part), "{part} in\n{arguments}");
    }
    assert!(arguments.ends_with("--account=me\n"), "{arguments}");
    assert!(read("7.script") == read("d/slurm/7.sh") && read("7.script").contains("  factor-1.5_seed-1\n"));
    assert!(read("8.arguments").contains("--dependency=afterany:7\n"));
    assert_eq!(fs::read_dir(place.path("d/runs")).unwrap().count(), 0, "nothing may be trained here");

    // One run is done, one waits, and one has failed: the last one is submitted again.
    run(&place, "sweep --planned d --run baseline_seed-1 --jobs 1 --quiet").succeeds();
    command(
        &place,
        "squeue",
        "echo '7|0|COMPLETED|n1|None|0|'; echo '7|1|PENDING||Resources|0|'; echo '7|2|FAILED|n2|NonZeroExitCode|0|'",
    );
    let table = run(&place, "watch d --once --size 160x10").succeeds().out;
    for part in ["finished on n1", "queued (Resources)", "failed on n2 (NonZeroExitCode)"] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    let report = run(&place, SUBMIT).succeeds();
    assert!(
        report.out.contains("submitted job 9: 1 tasks") && report.out.contains("(1 are done)"),
        "{}",
        report.out
    );
    assert!(read("9.script").contains("runs=(\n  factor-2_seed-1\n)"), "{}", read("9.script"));
    assert!(read("10.arguments").contains("--dependency=afterany:7:9\n"), "{}", read("10.arguments"));
    command(&place, "squeue", "echo '7|1|RUNNING|n1|None|1|'; echo '9|0|PENDING||Priority|0|'");
    let report = run(&place, SUBMIT).succeeds();
    assert!(
        report.out.contains("nothing to submit: of 3 runs 1 are done, and 2 are queued"),
        "{}",
        report.out
    );

    command(&place, "scancel", "echo \"$@\" > cancelled");
    assert!(
        run(&place, "watch d --cancel").succeeds().out.contains("cancelled job 7, 9; runs that are being")
    );
    assert_eq!(read("cancelled"), "7 9\n");
    // Slurm has forgotten all jobs.
    command(&place, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
    assert!(run(&place, "watch d --cancel").succeeds().out.contains("nothing to cancel"));
    assert!(run(&place, SUBMIT).succeeds().out.contains("submitted job 11: 2 tasks"));
}

#[test]
fn what_slurm_refuses_is_one_error_and_nothing_is_submitted() {
    let place = workplace();
    fs::remove_dir(place.path("bin")).unwrap();
    let nothing =
        Report::new("no sbatch", place.command(SUBMIT).env("PATH", place.path("bin")).output().unwrap());
    nothing.fails(1, &["found no sbatch on the path", "login node"]);
    assert!(!place.path("d").exists(), "nothing may be written");
    fs::create_dir(place.path("bin")).unwrap();
    command(
        &place,
        "sbatch",
        "[ \"$1\" = --version ] && exit\necho 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1",
    );
    run(&place, SUBMIT).fails(1, &["sbatch: Batch job submission failed: Invalid account"]);
    assert!(!place.path("d/slurm/jobs.jsonl").exists());
    accept_jobs(&place);
    run(&place, SUBMIT).succeeds();
    // Whether runs are queued is not known, so that none is submitted again.
    command(&place, "squeue", "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1");
    run(&place, SUBMIT).fails(1, &["squeue: Unable to contact slurm controller"]);
    assert!(!place.path("9.script").exists());
    for (arguments, parts) in [
        ("sweep s.toml --partition p", &["required arguments were not provided"][..]),
        ("sweep s.toml --slurm --jobs 2", &["cannot be used with"]),
        ("sweep s.toml --slurm --time 1h", &["found \"1h\", expected minutes"]),
        ("sweep --planned d --run none", &["has no run called \"none\""]),
        ("watch . --cancel", &["expected"]),
    ] {
        run(&place, arguments).fails(if arguments.starts_with("watch") { 1 } else { 2 }, parts);
    }
    run(&place, "sweep s.toml --out e --dry-run").succeeds();
    run(&place, "sweep --planned nowhere").fails(1, &["nowhere: expected the folder of a sweep"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_only_this_machine_has_is_refused() {
    let place = workplace();
    accept_jobs(&place);
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: there is no /dev/shm");
        return;
    };
    let root = memory.path().join("d");
    run(&place, &format!("sweep s.toml --slurm --out {}", root.display()))
        .fails(2, &["in the memory of this machine (tmpfs)"]);
    assert!(!root.exists());
}

#[test]
fn the_scripts_are_shown_and_nothing_is_written() {
    let place = workplace();
    let report = run(&place, &format!("{SUBMIT} --dry-run --device gpu")).succeeds(); // without sbatch and without a GPU
    for part in
        ["sbatch --parsable", "'--array=0-2%2'", "runs=(", "--jobs 1 --device gpu &", "afterany:ARRAY"]
    {
        assert!(report.out.contains(part), "{part} in\n{}", report.out);
    }
    assert!(!place.path("d").exists());
}

/// As on a file system without locks: each call of `flock` fails. Two sweeps share a folder all the same.
#[cfg(target_os = "linux")]
#[test]
fn without_locks_two_sweeps_train_each_run_once() {
    use crate::reliability::trace::{can_trace, strace};
    if !can_trace("file systems without locks") {
        return;
    }
    let place = workplace();
    run(&place, "sweep s.toml --out d --slurm --dry-run").succeeds();
    let options = ["-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS"];
    let start = || strace(&place, &options, "sweep s.toml --out d --jobs 1 --quiet");
    let children = [start().spawn().unwrap(), start().spawn().unwrap()];
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    for name in ["baseline_seed-1", "factor-1.5_seed-1", "factor-2_seed-1"] {
        let record = fs::read_to_string(place.path(&format!("d/runs/{name}/run.json"))).unwrap();
        assert!(
            record.contains("\"outcome\": \"finished\"") && record.contains("\"resumed\": []"),
            "{record}"
        );
        assert!(!place.path(&format!("d/failures/{name}.json")).exists(), "{name}");
    }
}
