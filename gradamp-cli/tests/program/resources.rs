//! Machines with too few resources: the system refuses to start threads or to allocate memory.

use std::fs;
use std::process::Command;

use crate::devices::record;
use crate::reliability::trace::{can_trace, strace};
use crate::{Report, SMALL, Workplace};

/// Runs the program while the system refuses to start some threads. For example, `which` is `1+` to refuse all of
/// them, or `3` to refuse each thread's third attempt.
fn without_threads(place: &Workplace, which: &str, arguments: &str) -> Report {
    let inject = format!("inject=clone3:error=EAGAIN:when={which}");
    let options = ["-o", "/dev/null", "-e", "trace=clone3", "-e", &inject];
    Report::new(arguments, strace(place, &options, arguments).output().unwrap())
}

#[test]
fn a_run_without_threads_ends_in_the_same_bits() {
    if !can_trace("a run without threads") {
        return;
    }
    let place = Workplace::new();
    place.run(&format!("{SMALL} --out whole")).succeeds();
    let report = without_threads(
        &place,
        "1+",
        &format!("{} --out alone", SMALL.replace("--threads 1", "--threads 3")),
    );
    let report = report.succeeds();
    assert!(report.err.contains("the system started only 1 of 3 threads"), "{}", report.err);
    assert!(report.err.contains("no thread can be started to answer signals"), "{}", report.err);
    assert!(!report.err.contains("a bug in gradamp"), "{}", report.err);
    let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(model("alone") == model("whole"));
}

#[test]
fn a_comparison_without_threads_finds_the_same_numbers() {
    if !can_trace("a comparison without threads") {
        return;
    }
    let place = Workplace::new();
    for seed in [1, 2] {
        place.run(&format!("{SMALL} --seed {seed} --out a/{seed}")).succeeds();
        place.run(&format!("{SMALL} --lr 0.02 --seed {seed} --out b/{seed}")).succeeds();
    }
    let expected = place.run("compare --json a b").succeeds();
    let found = without_threads(&place, "1+", "compare --json a b").succeeds();
    assert!(expected.out.contains("bootstrap"), "{}", expected.out);
    assert_eq!(found.out, expected.out);
}

#[test]
fn a_sweep_without_threads_fails_and_one_with_fewer_threads_continues() {
    if !can_trace("a sweep without threads") {
        return;
    }
    let place = Workplace::new();
    crate::sweep::study(&place, "seeds = 2\nbaseline = false", "");
    without_threads(&place, "1+", "sweep s.toml --out none")
        .fails(1, &["no thread can be started to train the runs"]);
    // First come the threads that generate both data sets, then one that answers signals, then two that do runs.
    let helpers = std::thread::available_parallelism().map_or(1, usize::from) - 1;
    let last = (2 * helpers + 3).to_string();
    let report = without_threads(&place, &last, "sweep s.toml --jobs 2 --out fewer").succeeds();
    assert!(report.err.contains("no more threads can be started"), "{}", report.err);
    for seed in [1, 2] {
        assert_eq!(record(&place, &format!("fewer/runs/base_seed-{seed}"))["outcome"], "finished");
    }
}

/// Runs the program with a limit of `kib` KiB on its address space.
fn with_memory(place: &Workplace, kib: usize, arguments: &str) -> Report {
    let program = place.command(arguments);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {kib}; exec \"$0\" \"$@\"")).arg(program.get_program());
    Report::new(arguments, crate::signals::with_setup_of(command, &program).output().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn the_error_for_too_little_memory_says_what_would_fit() {
    let place = Workplace::new();
    let report =
        with_memory(&place, 2_500_000, &format!("{SMALL} --set data.shapes.train=1000000 --out run"));
    let parts =
        ["out of memory", "1000000 generated images", "data.shapes.train", " would fit into the free memory"];
    let report = report.fails(1, &parts);
    let fitting = report.err.split("about ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!((100_000..900_000).contains(&fitting.parse::<usize>().unwrap()), "{}", report.err);
    assert!(!place.path("run").exists());

    let batch = SMALL.replace("--batch-size 16", "--batch-size 10000");
    let batch = format!("{batch} --set data.shapes.train=10000 --out batch");
    with_memory(&place, 300_000, &batch).fails(1, &["out of memory", "a smaller batch"]);
    assert_eq!(record(&place, "batch")["outcome"], "failed");
}

#[cfg(target_os = "linux")]
#[test]
fn the_error_on_a_cpu_without_memory_does_not_suggest_the_cpu() {
    let place = Workplace::new();
    let arguments = SMALL.replace("--width 2 --batch-size 16", "--width 32 --batch-size 2000");
    let report = with_memory(&place, 700_000, &format!("{arguments} --set data.shapes.train=2000 --out run"));
    let report = report.fails(1, &["out of memory", "a smaller batch or a narrower model needs less"]);
    assert!(!report.err.contains("--device cpu"), "{}", report.err);
    assert_eq!(record(&place, "run")["outcome"], "failed");
}
