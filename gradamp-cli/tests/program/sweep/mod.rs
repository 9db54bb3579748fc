//! `gradamp sweep` as a user runs it.

mod processes;
mod slurm;

use std::fs;

use gradamp_study::run_folder::FileSeal;
use serde_json::Value;

use crate::integrity::{reseal, resealed_line};
use crate::{Workplace, contents, json_lines};

/// Runs of a second each: two epochs of five steps, the second one amplified.
const TINY: &str = "\
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 16, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', validation = 16, shapes = { train = 96, test = 32 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1 }, { epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
";

pub fn study(place: &Workplace, head: &str, axes: &str) {
    place.write("s.toml", &format!("{head}\n{TINY}{axes}\n"));
}

/// Writes a study of two runs that would take hours.
#[cfg(unix)]
pub fn long_study(place: &Workplace) {
    study(place, "seeds = 2\nbaseline = false", "");
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    let text = text.replace("threads = 1,", "threads = 1, log_interval = 1,");
    place.write("s.toml", &text.replace("{ epochs = 1 }", "{ epochs = 100000 }"));
}

const FACTORS: &str = "[axes]\n'amplification.factor' = [1.5, 2.0]";

fn results(place: &Workplace, root: &str) -> Vec<Value> {
    json_lines(&place.path(root).join("results.jsonl"))
}

#[test]
fn a_study_inside_the_program_needs_no_file_and_a_file_of_its_name_wins() {
    let place = Workplace::new();
    let plan = place.run("sweep first-comparison --dry-run --device cpu").succeeds();
    assert!(plan.out.contains("first-comparison: 6 runs in 2 cells"), "{}", plan.out);
    let text = place.run("config print first-comparison").succeeds().out;
    assert!(text.starts_with("# A first comparison: ") && text.ends_with("[2.5]\n"), "{text}");
    study(&place, "seeds = 1\nbaseline = false", "");
    fs::copy(place.path("s.toml"), place.path("first-comparison")).unwrap();
    let plan = place.run("sweep first-comparison --dry-run").succeeds();
    assert!(plan.out.contains("first-comparison: 1 runs in 1 cells"), "{}", plan.out);
    place
        .run("sweep strategy")
        .fails(2, &["found \"strategy\"", "kind-ratio-factor", "did you mean strategies?"]);
    place.run("config print middlephase").fails(2, &["vanishing-tanh", "did you mean middle-phase?"]);
    let list = place.run("config list").succeeds().out;
    for line in [
        "  tour                 The tour: a first look at gradient amplification in about two minutes on two cores.",
        "  full-paper           The paper's question at full size: does",
    ] {
        assert!(list.lines().any(|found| found.starts_with(line)), "{line}\n{list}");
    }
}

#[test]
fn a_plan_is_shown_even_if_its_data_is_missing() {
    let place = Workplace::new();
    let named = "data = { source = 'cifar10', validation = 5000, test_limit = 1000 }";
    let at_path = named.replace("'cifar10'", "'cifar100', path = 'no/such/place'");
    for (data, reason) in
        [(named, "no cifar10 found under data/"), (&at_path, "no/such/place: cannot be read")]
    {
        study(&place, "seeds = 1\nbaseline = false", "");
        let text = fs::read_to_string(place.path("s.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("data =")).unwrap();
        place.write("s.toml", &text.replace(line, data));
        let plan = place.run("sweep s.toml --dry-run").succeeds();
        for part in ["note: ", reason, "The plan is for 50000 + 10000 images, as in CIFAR."] {
            assert!(plan.err.contains(part), "{part} in\n{}", plan.err);
        }
        // Two epochs of 45,000 / 16 steps, rounded down.
        assert!(plan.out.contains(" 5624 ") && plan.out.contains("s: 1 runs in 1 cells"), "{}", plan.out);
        assert!(
            plan.out.contains("376 batches of evaluation"),
            "(5,000 + 1,000) / 16, rounded up: {}",
            plan.out
        );
        let report = place.run("sweep s.toml");
        assert!(report.code != Some(0) && report.err.contains(reason), "{}", report.err);
        assert!(!place.path("sweeps").exists());
    }
}

/// The name and status of each run.
fn statuses(place: &Workplace, root: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    results(place, root).iter().map(|line| (text(&line["run"]), text(&line["status"]))).collect()
}

/// All files in the run folders, except for locks.
fn runs(place: &Workplace, root: &str) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    contents(&place.path(root).join("runs"))
}

#[test]
fn a_study_is_planned_and_run_and_a_second_call_finds_it_done() {
    let place = Workplace::new();
    study(&place, "seeds = 2", FACTORS);
    let plan = place.run("sweep s.toml --dry-run").succeeds();
    for part in ["factor-2_seed-2", "baseline", "s: 6 runs in 3 cells", "timed on this device", "about "] {
        assert!(plan.out.contains(part), "{part} in\n{}", plan.out);
    }
    assert!(!place.path("sweeps").exists(), "a dry run creates no folder");

    let done = place.run("sweep s.toml --jobs 2").succeeds();
    assert!(
        done.out.contains("factor-1.5") && done.out.contains("±") && done.out.contains("2/2"),
        "{}",
        done.out
    );
    assert!(done.err.contains("6 runs in 3 cells, 2 at a time; folder: "), "{}", done.err);
    assert!(done.err.contains("[6/6] "), "without a terminal, progress is printed in lines: {}", done.err);
    let lines = results(&place, "sweeps/s");
    assert_eq!(lines.len(), 6);
    for line in &lines {
        assert_eq!((&line["status"], &line["epochs"]), (&"finished".into(), &2.into()));
        assert!(line["last_test_accuracy"].is_f64() && line["best_validation_accuracy"].is_f64());
    }
    assert_eq!(lines[4]["axes"]["amplification.factor"], 2.0);
    assert_eq!(lines[0]["role"], "baseline");
    let csv = fs::read_to_string(place.path("sweeps/s/results.csv")).unwrap();
    assert!(csv.starts_with("run,cell,role,amplification.factor,seed,status,"), "{csv}");
    assert_eq!(csv.lines().count(), 7);

    // Training one run from its settings, outside the sweep, ends in the same bits.
    place.run("train --config sweeps/s/configs/factor-2_seed-1.toml --out alone --quiet").succeeds();
    let model = |run: &str| fs::read(place.path(run).join("checkpoints/last/model.safetensors")).unwrap();
    assert!(model("alone") == model("sweeps/s/runs/factor-2_seed-1"));

    let before = runs(&place, "sweeps/s");
    let again = place.run("sweep s.toml").succeeds();
    assert!(!again.err.contains("factor-2_seed-1"), "{}", again.err);
    assert!(runs(&place, "sweeps/s") == before, "finished runs are unchanged");
    let timed = place.run("sweep s.toml --dry-run").succeeds();
    assert!(timed.out.contains("from a finished run") && timed.out.contains("about 0 s"), "{}", timed.out);

    // A new seed adds runs to the folder. A changed setting is refused.
    study(&place, "seeds = 3", FACTORS);
    place.run("sweep s.toml --dry-run").succeeds();
    study(&place, "seeds = 2", &format!("{FACTORS}\n'optimizer.momentum' = [0.5]"));
    place.run("sweep s.toml --dry-run").succeeds();
    study(&place, "seeds = 2", FACTORS);
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("data =", "optimizer.momentum = 0.5\ndata ="));
    let parts = [
        "runs/baseline_seed-1/config.toml",
        "optimizer.momentum is `0.9` in the folder, and `0.5` in the plan (s.toml:5)",
        "--out",
    ];
    place.run("sweep s.toml").fails(2, &parts);
    assert!(runs(&place, "sweeps/s") == before, "a refused command overwrites nothing");
}

#[test]
fn runs_record_the_contrasts_declared_before_they_started() {
    let place = Workplace::new();
    let question = "[[contrast]]\nname = 'a'\nagainst = 'control'\n";
    let text = TINY
        .replace("'resnet18', width = 2", "'mlp', depth = 2, width = 2")
        .replace("batch_norm", "activation");
    let write = |head: &str, tail: &str| place.write("s.toml", &format!("{head}\n{text}{tail}"));
    write("seeds = 1", question);
    let plan = place.run("sweep s.toml --dry-run").succeeds();
    let model = "mlp of width 2 with 10 classes, depth 2, batch 16";
    assert!(plan.out.contains("3 runs in 3 cells") && plan.out.contains(model), "{}", plan.out);

    place.run("sweep s.toml --quiet").succeeds();
    let seal = |run: &str| {
        let text = fs::read_to_string(place.path("sweeps/s/runs").join(run).join("run.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["study"].clone()
    };
    let before = seal("base_seed-1");
    let text = fs::read(place.path("sweeps/s/sweep.toml")).unwrap();
    assert_eq!(before["file"], FileSeal::of_bytes(&text).sha256);
    assert_eq!(before["contrasts"].as_str().unwrap().len(), 64);
    // With another seed, the contrasts are the same. Other contrasts are recorded in the runs that start after the
    // change.
    write("seeds = 2", question);
    place.run("sweep s.toml --quiet").succeeds();
    assert!(seal("base_seed-2")["file"] != before["file"]);
    assert_eq!(seal("base_seed-2")["contrasts"], before["contrasts"]);
    write("seeds = 3", &question.replace("control", "baseline"));
    place.run("sweep s.toml --quiet").succeeds();
    assert!(seal("base_seed-3")["contrasts"] != before["contrasts"]);
    assert_eq!(seal("base_seed-1"), before, "earlier runs keep their record");
}

#[test]
fn a_failed_or_diverged_run_is_recorded_and_the_others_continue() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "[axes]\n'strategy.lr' = [1e30, 0.05, 0.06]");
    // This run cannot start, because its folder holds another file.
    place.write("sweeps/s/runs/lr-0.06_seed-1/metrics.jsonl", "");
    let parts = ["2 of 3 runs failed:"];
    let report = place.run("sweep s.toml").fails(1, &parts);
    assert!(
        report.err.contains("lr-0.06_seed-1 failed: ") && report.err.contains("already holds a run"),
        "{}",
        report.err
    );
    let lines = results(&place, "sweeps/s");
    let status: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["diverged", "finished", "failed"]);
    assert!(lines[0]["error"].as_str().unwrap().contains("the loss is"), "{}", lines[0]);
    // A failed run is done again after its cause is removed. A diverged run is not, because it would diverge again.
    fs::remove_dir_all(place.path("sweeps/s/runs/lr-0.06_seed-1")).unwrap();
    let report = place.run("sweep s.toml").fails(1, &["1 of 3 runs failed:"]);
    assert!(!report.err.contains("] lr-1e30"), "{}", report.err);
    assert_eq!(statuses(&place, "sweeps/s")[2].1, "finished");
}

#[test]
fn poor_cells_are_stopped_early_and_can_be_finished_later() {
    let place = Workplace::new();
    let axes = "[axes]\n'strategy.lr' = [1e-9, 0.02, 0.05, 2e-9]";
    study(&place, "seeds = 1\nhalving = { epochs = [1] }", axes);
    place.run("sweep s.toml --shard 1/2").fails(2, &["s.toml:2: halving: compares all cells"]);
    let report = place.run("sweep s.toml --jobs 2").succeeds();
    assert!(report.out.contains("stopped early"), "{}", report.out);
    let lines = results(&place, "sweeps/s");
    let with_status = |status: &str| lines.iter().filter(|line| line["status"] == status).collect::<Vec<_>>();
    let (finished, stopped) = (with_status("finished"), with_status("stopped_early"));
    assert_eq!((finished.len(), stopped.len()), (6, 2), "four baselines and the better two cells: {lines:?}");
    assert!(stopped.iter().all(|line| line["role"] == "cell" && line["epochs"] == 1));
    let accuracy = |line: &&Value| {
        let run = line["run"].as_str().unwrap();
        let metrics = json_lines(&place.path("sweeps/s/runs").join(run).join("metrics.jsonl"));
        let first = metrics.iter().find(|line| line["kind"] == "epoch").unwrap();
        first["validation_accuracy"].as_f64().unwrap()
    };
    let kept: Vec<&Value> = finished.into_iter().filter(|line| line["role"] == "cell").collect();
    for better in &kept {
        assert!(stopped.iter().all(|worse| accuracy(better) >= accuracy(worse)));
    }
    let again = place.run("sweep s.toml").succeeds();
    assert!(!again.err.contains("[8/8]"), "{}", again.err);
    study(&place, "seeds = 1", axes);
    place.run("sweep s.toml").succeeds();
    assert!(statuses(&place, "sweeps/s").iter().all(|(_, status)| status == "finished"));
}

#[test]
fn amplified_cells_get_a_control_with_the_same_step_length() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "[axes]\n'model.name' = ['resnet18', 'vgg11']");
    place.run("sweep s.toml --controls --jobs 2").succeeds();
    let lines = results(&place, "sweeps/s");
    let text =
        |key: &str| lines.iter().map(|line| line[key].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let expected = [
        "model-resnet18_seed-1",
        "model-resnet18_through-step_length_seed-1",
        "model-vgg11_seed-1",
        "model-vgg11_through-step_length_seed-1",
    ];
    assert_eq!(text("run"), expected);
    assert_eq!(text("role"), ["cell", "control", "cell", "control"]);
    assert!(text("status").iter().all(|status| status == "finished"));
    assert_eq!(lines[3]["axes"]["amplification.through"], "step_length");
    let loss = |i: usize| lines[i]["last_train_loss"].as_f64().unwrap();
    assert_ne!(loss(2), loss(3), "a control differs from its cell");
}

#[test]
fn bad_studies_are_refused_before_any_run_starts() {
    let place = Workplace::new();
    place.run("sweep").ends_with(2);
    place.run("sweep none.toml").fails(2, &["none.toml: cannot be read"]);
    for (head, axes, parts) in [
        (
            "",
            "[axes]\n'model.nam' = ['vgg11']",
            vec!["s.toml:10: model.nam: unknown key", "did you mean `name`?"],
        ),
        // Errors that only the model can find, and one that only the data can find.
        (
            "",
            "[axes]\n'amplification.paths' = [['bn1'], ['layer9.*']]",
            vec!["s.toml:10: amplification.paths.0: \"layer9.*\" matches no layer"],
        ),
        ("", "[axes]\n'train.batch_size' = [16, 1000]", vec!["s.toml:10: train.batch_size: ", "80"]),
        ("", "[axes]\n'model.init' = ['none.safetensors']", vec!["s.toml:10: model.init: found no file"]),
        ("seeds = 0", "", vec!["s.toml:1: seeds: found 0"]),
    ] {
        study(&place, head, axes);
        place.run("sweep s.toml").fails(2, &parts);
        assert!(!place.path("sweeps").exists(), "{axes}");
    }
    place.run("sweep --collect none").fails(1, &["none: expected the folder of a sweep"]);
}

#[test]
fn damaged_results_cause_a_warning_and_are_made_again() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "");
    place.run("sweep s.toml").succeeds();
    let path = place.path("sweeps/s/results.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    for (damage, expected) in [
        (whole[..whole.len() / 2].to_owned(), "results.jsonl: line 1: is half-written"),
        (String::new(), "expected the 1 runs of plan.json in its order, found 0 lines"),
        (whole.replace("\"seed\"", "\"sead\""), "line 1: is changed: expected SHA-256"),
        (
            resealed_line(&whole, |line| line.replace("\"seed\"", "\"sead\"")),
            "line 1: is damaged or of another version",
        ),
        (
            resealed_line(&whole, |line| line.replace("base_seed-1", "base_seed-9")),
            "holds the run base_seed-9, which is not in plan.json",
        ),
    ] {
        fs::write(&path, damage).unwrap();
        let report = place.run("sweep s.toml").succeeds();
        assert!(
            report.err.contains("warning: ") && report.err.contains(expected),
            "{expected}\n{}",
            report.err
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
    fs::remove_file(&path).unwrap();
    place.run("sweep --collect sweeps/s").succeeds();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    let record = place.path("sweeps/s/runs/base_seed-1/run.json");
    let version = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    reseal(&record, |text| text.replacen(&version, "\"version\": \"0.0.7\"", 1));
    let report = place.run("sweep --collect sweeps/s").succeeds();
    assert!(
        report.err.contains("1 of 1 runs were made by gradamp 0.0.7; this is gradamp "),
        "{}",
        report.err
    );
}

#[test]
fn a_sweep_can_be_repeated_from_its_folder_alone() {
    let place = Workplace::new();
    let (settings, axes) = (TINY.replace("[base]", ""), FACTORS);
    place.write("given/settings/run.toml", &settings);
    let text = format!("seeds = 1\nconfig = \"settings/run.toml\" # what all runs share\n{axes}\n");
    place.write("given/s.toml", &text);
    place.run("sweep given/s.toml --out whole").succeeds();
    fs::remove_dir_all(place.path("given")).unwrap();
    let copy = fs::read_to_string(place.path("whole/sweep.toml")).unwrap();
    assert_eq!(copy, text.replace("\"settings/run.toml\"", "'base.toml'"));
    let again = place.run("sweep whole/sweep.toml --out again").succeeds();
    assert!(!again.out.is_empty());
    let models = |root: &str| -> Vec<Vec<u8>> {
        let files = runs(&place, root).into_iter();
        files.filter(|(path, _)| path.ends_with("model.safetensors")).map(|(_, bytes)| bytes).collect()
    };
    assert!(!models("whole").is_empty() && models("whole") == models("again"));
    // If the sweep's own copy of the study is run in the same folder, everything is found done.
    let before = contents(&place.path("whole/runs"));
    place.run("sweep whole/sweep.toml --out whole").succeeds();
    assert!(contents(&place.path("whole/runs")) == before);
    assert_eq!(fs::read_to_string(place.path("whole/sweep.toml")).unwrap(), copy);
}

#[test]
fn runs_at_the_same_time_share_the_cores() {
    let place = Workplace::new();
    study(&place, "seeds = 1\nbaseline = false", "");
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    place.write("s.toml", &text.replace("threads = 1, ", ""));
    let cores = std::thread::available_parallelism().unwrap().get();
    for (jobs, threads) in [(1, cores), (2, (cores / 2).max(1)), (200, 1)] {
        place.run(&format!("sweep s.toml --jobs {jobs} --out {jobs}")).succeeds();
        let record = fs::read_to_string(place.path(&format!("{jobs}/runs/base_seed-1/run.json"))).unwrap();
        assert!(record.contains(&format!(", {threads} threads)")), "{jobs} jobs, {cores} cores: {record}");
    }
}
