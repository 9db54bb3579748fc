//! Sweeps that are interrupted or killed, and several sweeps that share a folder.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[cfg(unix)]
use super::long_study;
use super::{FACTORS, statuses, study};
use crate::{Report, Workplace};

#[track_caller]
fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        sleep(Duration::from_millis(5));
    }
}

/// Starts a long sweep of two runs at once, and waits until both runs are in the middle of their training.
#[cfg(unix)]
fn begin(place: &Workplace) -> Child {
    long_study(place);
    let mut command = place.command("sweep s.toml --jobs 2 --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for seed in [1, 2] {
        wait_for(&place.path(&format!("d/runs/base_seed-{seed}/metrics.jsonl")));
    }
    child
}

#[cfg(unix)]
fn signal(id: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &id.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[cfg(unix)]
#[test]
fn a_request_to_stop_lets_the_runs_save_and_prints_how_to_continue() {
    let place = Workplace::new();
    let child = begin(&place);
    // Meanwhile another process leaves the runs alone and reports their state.
    place.run("sweep --collect d").succeeds();
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "pending"));
    signal(child.id(), "-TERM");
    let report = Report::new("sweep, asked to stop", child.wait_with_output().unwrap()).ends_with(130);
    let line = "interrupted: 0 of 2 runs are finished; continue with: gradamp sweep s.toml --out d --jobs 2";
    assert!(report.err.contains(line), "{}", report.err);
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "interrupted"));
    for seed in [1, 2] {
        let record = fs::read_to_string(place.path(&format!("d/runs/base_seed-{seed}/run.json"))).unwrap();
        assert!(record.contains("\"outcome\": \"interrupted\""), "the run must be saved: {record}");
    }
}

#[cfg(unix)]
#[test]
fn killed_runs_resume_to_the_same_bits() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "");
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    let text = text.replace("threads = 1,", "threads = 1, checkpoint_seconds = 0, log_interval = 1,");
    place.write("s.toml", &text.replace("epochs = 1 }", "epochs = 4 }"));
    place.run("sweep s.toml --out whole").succeeds();
    let mut command = place.command("sweep s.toml --out d");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let metrics = place.path("d/runs/base_seed-1/metrics.jsonl");
    wait_for(&metrics);
    child.kill().unwrap();
    child.wait().unwrap();
    // The run was not killed with its sweep. A second sweep waits for the run, or resumes it where it ended.
    place.run("sweep s.toml --out d").succeeds();
    let model = |root: &str| {
        fs::read(place.path(root).join("runs/base_seed-1/checkpoints/last/model.safetensors")).unwrap()
    };
    assert!(model("whole") == model("d"));

    // Leaves the run's folder as a run that was killed after its first steps would.
    fs::remove_dir_all(place.path("d")).unwrap();
    place.run("sweep s.toml --dry-run --out d").succeeds();
    place
        .run("train --config whole/configs/base_seed-1.toml --out d/runs/base_seed-1 --max-steps 3 --quiet")
        .succeeds();
    place.run("sweep s.toml --out d").succeeds();
    let record = fs::read_to_string(place.path("d/runs/base_seed-1/run.json")).unwrap();
    assert!(record.contains("\"step\": 3"), "the run must resume at step 3: {record}");
    assert!(model("whole") == model("d"));
}

#[cfg(unix)]
#[test]
fn a_run_that_is_killed_or_loses_its_folder_is_recorded_as_failed() {
    let place = Workplace::new();
    let child = begin(&place);
    let first = place.path("d/runs/base_seed-1");
    // The run may write while its folder is being removed, so that the removal fails at first.
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::remove_dir_all(&first).is_err() && first.exists() {
        assert!(Instant::now() < deadline, "{} cannot be deleted", first.display());
    }
    // Kills the other run, which is a child process of the sweep.
    let id = child_of(child.id(), "base_seed-2");
    signal(id, "-KILL");
    let report = Report::new("sweep", child.wait_with_output().unwrap()).fails(1, &["2 of 2 runs failed:"]);
    // The run reports that its folder is gone if it notices before it ends; otherwise the sweep does.
    let reason = report.err.lines().find(|line| line.starts_with("  base_seed-1 failed: "));
    let messages = ["its folder was deleted", "this folder was removed while the run was in progress"];
    assert!(reason.is_some_and(|line| messages.iter().any(|part| line.contains(part))), "{}", report.err);
    assert!(report.err.contains("base_seed-2 failed: ended by signal: 9"), "{}", report.err);
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "failed"));
    assert!(!first.exists(), "the deleted folder must not be made again");
}

#[cfg(unix)]
#[test]
fn the_reason_names_both_the_runs_error_and_its_deleted_folder() {
    let place = Workplace::new();
    let child = begin(&place);
    let first = place.path("d/runs/base_seed-1");
    // A file in place of the folder of checkpoints makes the next save fail.
    let checkpoints = first.join("checkpoints");
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::write(&checkpoints, "").is_err() {
        assert!(Instant::now() < deadline, "{} cannot be replaced", checkpoints.display());
        let _ = fs::remove_dir_all(&checkpoints); // fails while the run writes to it
    }
    while statuses(&place, "d")[0] != ("base_seed-1".into(), "failed".into()) {
        assert!(Instant::now() < deadline, "the first run does not fail");
    }
    fs::remove_dir_all(&first).unwrap();
    signal(child_of(child.id(), "base_seed-2"), "-KILL");
    let report = Report::new("sweep", child.wait_with_output().unwrap()).fails(1, &["2 of 2 runs failed:"]);
    let reason = report.err.lines().find(|line| line.starts_with("  base_seed-1 failed: ")).unwrap();
    assert!(reason.contains("checkpoints") && reason.ends_with("; its folder was deleted"), "{reason}");
}

#[cfg(unix)]
#[test]
fn a_run_whose_folder_is_deleted_after_its_end_is_recorded_as_failed() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "[axes]\n'strategy.phase.0.epochs' = [1, 200]");
    let mut command = place.command("sweep s.toml --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place.path("d/runs/epochs-200_seed-1/metrics.jsonl"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while statuses(&place, "d")[0] != ("epochs-1_seed-1".into(), "finished".into()) {
        assert!(Instant::now() < deadline, "the first run does not end");
    }
    fs::remove_dir_all(place.path("d/runs/epochs-1_seed-1")).unwrap();
    signal(child.id(), "-TERM");
    Report::new("sweep, asked to stop", child.wait_with_output().unwrap()).ends_with(130);
    let found: Vec<String> = statuses(&place, "d").into_iter().map(|(_, status)| status).collect();
    assert_eq!(found, ["failed", "interrupted"]);
    let results = fs::read_to_string(place.path("d/results.jsonl")).unwrap();
    assert!(results.contains("its folder was deleted after the run had ended"), "{results}");
}

#[cfg(unix)]
#[test]
fn a_sweep_whose_folder_is_renamed_fails_and_does_not_make_it_again() {
    let place = Workplace::new();
    let child = begin(&place);
    fs::rename(place.path("d"), place.path("elsewhere")).unwrap();
    Report::new("sweep", child.wait_with_output().unwrap()).fails(1, &["d/"]);
    assert!(!place.path("d").exists());
}

/// The process id of the child that `parent` started for the run called `name`.
#[cfg(unix)]
fn child_of(parent: u32, name: &str) -> u32 {
    let output = std::process::Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&parent.to_string()) && line.contains(name)
    });
    line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn shards_share_one_folder() {
    let place = Workplace::new();
    study(&place, "seeds = 1", FACTORS);
    place.run("sweep s.toml --shard 2/2").succeeds();
    let status = |i: usize| statuses(&place, "sweeps/s")[i].1.clone();
    assert_eq!([status(0), status(1), status(2)], ["pending", "finished", "pending"]);
    place.run("sweep s.toml --shard 1/2").succeeds();
    assert_eq!([status(0), status(1), status(2)], ["finished"; 3].map(str::to_owned));
    place.run("sweep s.toml --shard 3/2").ends_with(2);
}

#[test]
fn two_processes_that_share_a_folder_do_each_run_once() {
    let place = Workplace::new();
    study(&place, "seeds = 2", FACTORS);
    let start =
        || place.command("sweep s.toml").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both =
        [start(), start()].map(|child| Report::new("sweep", child.wait_with_output().unwrap()).succeeds());
    let finished_in = |run: &str| {
        both.iter().map(|report| report.err.matches(&format!("{run}: finished")).count()).sum::<usize>()
    };
    for (run, status) in statuses(&place, "sweeps/s") {
        assert_eq!((status.as_str(), finished_in(&run)), ("finished", 1), "{run}");
        let record = fs::read_to_string(place.path(&format!("sweeps/s/runs/{run}/run.json"))).unwrap();
        assert!(record.contains("\"resumed\": []"), "{record}");
    }
}

#[test]
fn a_run_claimed_by_another_process_is_left_alone_until_that_process_ends() {
    let place = Workplace::new();
    study(&place, "seeds = 2\nbaseline = false", "");
    let claim = fs::File::create(place.write("d/.claims/base_seed-1", "")).unwrap();
    claim.lock().unwrap();
    let child = place.command("sweep s.toml --out d").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    wait_for(&place.path("d/results.jsonl"));
    let deadline = Instant::now() + Duration::from_secs(120);
    while statuses(&place, "d")[1].1 != "finished" {
        assert!(Instant::now() < deadline, "the other run does not end");
        sleep(Duration::from_millis(20));
    }
    assert!(
        !place.path("d/runs/base_seed-1").exists(),
        "the run was started although another process had claimed it"
    );
    drop(claim);
    Report::new("sweep", child.unwrap().wait_with_output().unwrap()).succeeds();
    assert_eq!(statuses(&place, "d")[0].1, "finished");
}

#[cfg(unix)]
fn outcome(place: &Workplace, run: &str) -> String {
    crate::devices::record(place, &format!("d/runs/{run}"))["outcome"].as_str().unwrap().to_owned()
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn runs_of_a_killed_sweep_are_saved_and_the_next_call_resumes_them() {
    let place = Workplace::new();
    let mut child = begin(&place);
    signal(child.id(), "-KILL");
    child.wait().unwrap();
    let runs = ["base_seed-1", "base_seed-2"];
    wait_until("the end of the runs", || runs.iter().all(|run| outcome(&place, run) == "interrupted"));
    // Once the record of a run says `interrupted`, its checkpoint is complete.
    let steps: Vec<String> = runs
        .iter()
        .map(|run| {
            fs::read_to_string(place.path(&format!("d/runs/{run}/checkpoints/last/state.json"))).unwrap()
        })
        .collect();
    let mut command = place.command("sweep s.toml --jobs 2 --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let resumed = |run: &str| crate::devices::record(&place, &format!("d/runs/{run}"))["resumed"].clone();
    wait_until("the next session", || runs.iter().all(|run| resumed(run).as_array().unwrap().len() == 1));
    signal(child.id(), "-TERM");
    Report::new("sweep, SIGTERM", child.wait_with_output().unwrap()).ends_with(130);
    for (run, state) in runs.iter().zip(steps) {
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        assert_eq!(resumed(run)[0]["step"], state["train"]["step"], "{run} must resume where it was saved");
    }
}

#[cfg(unix)]
#[test]
fn a_run_stopped_by_another_process_is_interrupted_and_the_next_call_resumes_it() {
    let place = Workplace::new();
    let child = begin(&place);
    for (run, name) in [("base_seed-1", "-TERM"), ("base_seed-2", "-USR1")] {
        signal(child_of(child.id(), run), name);
    }
    let report = Report::new("sweep", child.wait_with_output().unwrap()).ends_with(130);
    let line = "some runs were interrupted by another process; not finished: base_seed-1, base_seed-2; continue with: gradamp sweep s.toml --out d --jobs 2";
    assert!(report.err.contains(line) && !report.err.contains("failed"), "{}", report.err);
    assert!(statuses(&place, "d").iter().all(|(_, status)| status == "interrupted"));
    assert!(!place.path("d/failures").exists(), "an interrupted run is not a failure");
    for run in ["base_seed-1", "base_seed-2"] {
        assert_eq!(outcome(&place, run), "interrupted");
    }
    let mut command = place.command("sweep s.toml --jobs 2 --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the next session", || {
        let record = crate::devices::record(&place, "d/runs/base_seed-1");
        !record["resumed"].as_array().unwrap().is_empty()
    });
    signal(child.id(), "-TERM");
    Report::new("sweep, asked to stop", child.wait_with_output().unwrap()).ends_with(130);
}

/// A run that is interrupted before a rung of successive halving reaches the rung in the next call. The other runs
/// must not wait for it.
#[cfg(unix)]
#[test]
fn cells_at_a_rung_do_not_wait_for_an_interrupted_run() {
    let place = Workplace::new();
    let head = "seeds = 1\nbaseline = false\nhalving = { epochs = [1], eta = 2 }";
    let axes = "[axes]\n'train.checkpoint_seconds' = [0.0, 60.0]";
    study(&place, head, axes);
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    // This epoch continues until it is stopped.
    place.write(
        "s.toml",
        &text
            .replace("train = 96,", "train = 40000,")
            .replace("threads = 1,", "threads = 1, log_interval = 1,"),
    );
    let mut command = place.command("sweep s.toml --out d");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for run in ["checkpoint_seconds-0_seed-1", "checkpoint_seconds-60_seed-1"] {
        wait_for(&place.path(&format!("d/runs/{run}/metrics.jsonl")));
        signal(child_of(child.id(), run), "-TERM");
    }
    let report = Report::new("sweep", child.wait_with_output().unwrap()).ends_with(130);
    assert!(
        report.err.contains("some runs were interrupted by another process; not finished: "),
        "{}",
        report.err
    );
}

/// A scheduler may signal each process of a job, and more than once.
#[cfg(unix)]
#[test]
fn a_sweep_whose_processes_are_all_signalled_twice_is_saved() {
    for name in ["-TERM", "-HUP", "-USR1"] {
        let place = Workplace::new();
        let child = begin(&place);
        let runs = ["base_seed-1", "base_seed-2"].map(|run| child_of(child.id(), run));
        let all: Vec<String> = runs.into_iter().chain([child.id()]).map(|id| id.to_string()).collect();
        for _ in 0..2 {
            // A process that has ended meanwhile gets no signal.
            std::process::Command::new("kill").arg(name).args(&all).stderr(Stdio::null()).status().unwrap();
        }
        Report::new(&format!("sweep, {name}"), child.wait_with_output().unwrap()).ends_with(130);
        for run in ["base_seed-1", "base_seed-2"] {
            assert_eq!(outcome(&place, run), "interrupted", "{name} {run}");
        }
        assert!(statuses(&place, "d").iter().all(|(_, status)| status == "interrupted"), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_sweep_that_ignores_interrupts_and_hang_ups_continues() {
    let place = Workplace::new();
    long_study(&place);
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("epochs = 100000", "epochs = 30").replace("seeds = 2", "seeds = 1"));
    let inner = place.command("sweep s.toml --out d");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.current_dir(inner.get_current_dir().unwrap());
    let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place.path("d/runs/base_seed-1/metrics.jsonl"));
    for name in ["-HUP", "-INT"] {
        signal(child.id(), name);
    }
    Report::new("sweep, signals ignored", child.wait_with_output().unwrap()).succeeds();
    assert_eq!(statuses(&place, "d")[0].1, "finished");
}
