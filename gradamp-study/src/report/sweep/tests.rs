//! Sweeps that nobody ran, with numbers that tell tests apart.

use crate::run_folder::RunStatus;
use std::fs;

use serde_json::json;

use super::super::chart::Chart;
use super::super::html::Table;
use super::*;
use crate::compare::{CellRuns, Contest, Course, Options, RunNumbers, SweepComparison, Targets, Trained};
use crate::run_folder::RunRecord;
use crate::run_folder::lines::EpochLine;
use crate::statistics::{Correction, Method, Observation, holm};
use crate::sweep::{Axes, Cell, Plan, PlannedRun, ResultLine};

/// Two baselines, one for each learning rate, and cells over factor, ratio and learning rate, each with three seeds.
fn sweep(root: &std::path::Path) -> SweepData {
    fs::write(root.join("sweep.toml"), "# <the study>\n").unwrap();
    let (mut runs, mut results) = (Vec::new(), Vec::new());
    let mut add = |cell: &str, role: Role, axes: serde_json::Value, baseline: Option<&str>, mean: f64| {
        let axes: Axes = serde_json::from_value(axes).unwrap();
        for seed in 1..=3_u64 {
            // The seeds' own shares are large and common to all cells: pairs see what groups do not.
            let accuracy =
                mean + 0.02 * seed as f64 + 0.001 * ((5 * seed * seed + (1000.0 * mean) as u64) % 7) as f64;
            let name = format!("{cell}_seed-{seed}");
            runs.push(PlannedRun {
                name: name.clone(),
                cell: cell.into(),
                role,
                axes: axes.clone(),
                seed,
                epochs: 2,
                baseline: baseline.map(str::to_owned),
                control_of: None,
            });
            results.push(ResultLine {
                run: name,
                cell: cell.into(),
                role,
                axes: axes.clone(),
                seed,
                status: RunStatus::Finished,
                error: None,
                epochs: 2,
                last_test_accuracy: Some(accuracy - 0.01),
                best_epoch: Some(1),
                best_validation_accuracy: Some(accuracy + 0.01),
                test_accuracy_at_best: Some(accuracy),
                last_train_loss: Some(1.0),
                seconds: 10.0,
                version: "0.1.0".into(),
            });
        }
    };
    for (lr, mean) in [(0.1, 0.50), (0.4, 0.45)] {
        let base = format!("baseline_lr-{lr}");
        add(&base, Role::Baseline, json!({"strategy.lr": lr}), None, mean);
        for (i, factor) in [10.0, 1.5, 2.0].into_iter().enumerate() {
            for (j, ratio) in [0.5, 1.0].into_iter().enumerate() {
                let cell = format!("factor-{factor}_ratio-{ratio}_lr-{lr}");
                let axes =
                    json!({"amplification.factor": factor, "amplification.ratio": ratio, "strategy.lr": lr});
                add(&cell, Role::Cell, axes, Some(&base), mean + 0.01 * i as f64 - 0.004 * j as f64);
            }
        }
    }
    let plan = Plan {
        format: 1,
        version: "0.1.0".into(),
        name: "study".into(),
        axes: ["amplification.factor", "amplification.ratio", "strategy.lr"].map(str::to_owned).to_vec(),
        amplification_axes: Vec::new(),
        halving: None,
        contrasts: Vec::new(),
        study: None,
        files: Default::default(),
        runs,
    };
    SweepData { root: root.to_owned(), plan, results, warnings: vec!["runs of <two> versions".into()] }
}

fn cells(sweep: &SweepData) -> Vec<MeasuredCell> {
    MeasuredCell::all(&SweepAnalysis::read(sweep).unwrap(), Measure::Best)
}

fn html(sweep: &SweepData) -> String {
    let page = super::super::html::Page {
        title: "study".into(),
        lead: String::new(),
        sections: sections(sweep, &Options::default()).unwrap(),
        foot: String::new(),
    };
    super::super::tests::checked(&page)
}

/// The number of rows of tables that have this name, which may be broken behind each of its parts.
fn rows_called(name: &str, html: &str) -> usize {
    html.replace("<wbr/>", "").matches(&format!(">{name}</th>")).count()
}

#[test]
fn cells_are_compared_as_gradamp_compare_does() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    // One cell has lost a seed, so that it cannot be compared pair by pair.
    let lost = sweep.results.iter_mut().find(|run| run.run == "factor-2_ratio-1_lr-0.1_seed-2").unwrap();
    (lost.status, lost.error) = (RunStatus::Failed, Some("out of <memory>".into()));
    let compared = SweepComparison::read(&sweep, &Options::default(), Correction::Holm, None).unwrap();
    let analysis = SweepAnalysis::read(&sweep).unwrap();
    let measured = MeasuredCell::all(&analysis, accuracy_measure(&analysis));
    assert_eq!(measured.len(), compared.cells.len());
    assert_eq!(analysis.best.map(|best| best.name), compared.chosen);
    let mut tested = 0;
    for (ours, theirs) in measured.iter().zip(&compared.cells) {
        assert_eq!(ours.cell.name, theirs.name);
        assert_eq!(Some(ours.accuracy), theirs.best);
        assert_eq!(Some(ours.last), theirs.last);
        let contrast = theirs.comparison.as_ref().and_then(|comparison| comparison.best.as_ref());
        assert_eq!(ours.difference(), contrast.map(|contrast| contrast.difference));
        let against = ours.against.as_ref();
        assert_eq!(against.and_then(|against| against.test), contrast.and_then(|contrast| contrast.test));
        assert_eq!(
            against.and_then(|against| against.corrected_p),
            contrast.and_then(|contrast| contrast.corrected_p)
        );
        tested += usize::from(against.is_some_and(|against| against.corrected_p.is_some()));
    }
    assert!(tested >= 8, "{tested} cells were tested");
}

/// A control and a baseline may have the highest accuracies; neither is the cell to choose, for the page or for a comparison.
#[test]
fn the_best_cell_is_one_of_the_cells_studied_and_the_same_for_both() {
    let root = tempfile::tempdir().unwrap();
    for highest in ["baseline_lr-0.1", "factor-10_ratio-1_lr-0.4"] {
        for is_validated in [true, false] {
            let mut sweep = sweep(root.path());
            for (planned, run) in sweep.plan.runs.iter_mut().zip(&mut sweep.results) {
                if run.cell != highest {
                    continue;
                }
                if planned.role == Role::Cell {
                    (planned.role, run.role) = (Role::Control, Role::Control);
                }
                run.best_validation_accuracy = Some(0.99);
                run.last_test_accuracy = Some(0.99);
            }
            if !is_validated {
                sweep.results[0].best_validation_accuracy = None;
            }
            let compared =
                SweepComparison::read(&sweep, &Options::default(), Correction::Holm, None).unwrap();
            let best = SweepAnalysis::read(&sweep).unwrap().best.map(|best| best.name);
            assert_eq!(best.as_deref(), Some("factor-2_ratio-0.5_lr-0.1"), "{highest}, {is_validated}");
            assert_eq!(compared.chosen, best.filter(|_| is_validated), "{highest}, {is_validated}");
        }
    }
}

#[test]
fn a_page_shows_every_cell_and_every_failure() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    for (run, status) in [
        (7, RunStatus::Failed),
        (11, RunStatus::Diverged),
        (14, RunStatus::Pending),
        (1, RunStatus::Interrupted),
    ] {
        sweep.results[run].status = status;
        sweep.results[run].error = Some("out of <memory>".into());
    }
    let html = html(&sweep);
    for part in [
        "38 of 42",
        "1 failed, 1 diverged, 1 interrupted, 1 pending",
        "out of &lt;memory&gt;",
        "runs of &lt;two&gt; versions",
        "lr 0.1",
        "lr 0.4",
        "A baseline is among these runs",
        "1 runs have not begun",
        "&lt;the study&gt;",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(html.contains("could not be read"), "the run folders are gone");
    for cell in sweep.plan.cells() {
        assert_eq!(rows_called(cell, &html), 1, "{cell}");
    }
}

#[test]
fn sweeps_without_a_finished_run_or_a_baseline_are_shown() {
    let root = tempfile::tempdir().unwrap();
    let mut begun = sweep(root.path());
    begun.results.iter_mut().for_each(|run| run.status = RunStatus::Pending);
    assert!(html(&begun).contains("No run is finished yet."));
    let mut alone = sweep(root.path());
    alone.plan.runs.iter_mut().for_each(|run| run.baseline = None);
    let page = html(&alone);
    assert!(
        page.contains("Accuracy by ratio and factor") && !page.contains("corrected by"),
        "means, not differences"
    );
    alone.plan.runs.clear();
    alone.results.clear();
    html(&alone);
}

/// A run whose test accuracy rises in eight steps to the one of its line.
fn course(line: &ResultLine) -> Course {
    let record: RunRecord = serde_json::from_value(json!({
        "version": "0.1.0", "commit": null, "model": "mlp", "parameters": 1, "seed": line.seed, "device": "cpu",
        "dataset": "shapes", "dataset_checksum": "", "start": "", "end": null, "outcome": line.status.name(), "error": null,
        "resumed": [], "expected_gains": [],
    }))
    .unwrap();
    let epoch = |epoch: usize| -> EpochLine {
        serde_json::from_value(json!({
            "epoch": epoch, "step": 20 * epoch + 20, "phase": 0, "lr": 0.1, "amplified": false, "train_loss": 1.0,
            "train_accuracy": 0.5, "test_loss": 1.0, "best": false, "skipped_steps": null, "images_per_second": 250.0,
            "seconds": 2.0, "test_accuracy": line.last_test_accuracy.unwrap() * (epoch as f64 + 1.0) / 8.0,
        }))
        .unwrap()
    };
    Course::new(&record, &(0..8).map(epoch).collect::<Vec<_>>())
}

#[test]
fn the_times_to_each_target_are_curves_and_a_table() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    let lost = sweep.results.iter_mut().find(|run| run.run == "factor-2_ratio-1_lr-0.1_seed-2").unwrap();
    lost.status = RunStatus::Diverged;
    let runs = |cell: Cell| CellRuns {
        runs: cell
            .finished()
            .map(|line| RunNumbers {
                course: Some(course(line)),
                ..RunNumbers::of_line(root.path(), line).unwrap()
            })
            .collect(),
        diverged: cell.runs.iter().filter(|it| it.status == RunStatus::Diverged).map(course).collect(),
        cell,
    };
    let targets = Targets::Fixed(vec![0.4, 0.5, 0.99], "as asked".into());
    let options = Options { targets, ..Options::default() };
    let cells = sweep.cells().into_iter().map(runs).collect();
    let analysis = SweepAnalysis::new(cells, &options, Correction::Holm, None);
    let measured = MeasuredCell::all(&analysis, Measure::Last);
    let section =
        times::section(&analysis, &measured.iter().collect::<Vec<_>>(), &map::axes(&measured)).unwrap();
    let page = super::super::html::Page {
        title: String::new(),
        lead: String::new(),
        sections: vec![section],
        foot: String::new(),
    };
    let html = super::super::tests::checked(&page);
    for part in [
        "No run reaches a test accuracy of 99.00 %",
        "Share of runs that reached 40.00 % (as asked) by each epoch",
        "id=\"figure-arrival-2\"",
        "as asked",
        "method of Holm",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("figure-arrival-3"), "nobody arrives there");
    // Panels are titled by values on the axes, and have bands of both groups.
    for part in ["factor 10, ratio 0.5, lr 0.1", "class=\"b0\"", "class=\"quiet-band\""] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("class=\"heading\">factor-"), "no panel is titled by a cell's name");
    // Each cell and each baseline stands in the table of each target; the run that diverged is counted.
    for cell in sweep.plan.cells() {
        assert_eq!(rows_called(cell, &html), 2, "{cell}");
    }
    assert!(html.contains("<td class=\"num\">2 of 3</td>"));
}

/// The bands of the shares that have arrived stay within 0 and 1, around the share between the first arrival and the last.
#[test]
fn bands_of_arrivals_are_shares() {
    let observations: Vec<Observation> = [(1.0, true), (2.0, true), (2.0, false), (4.0, true), (5.0, false)]
        .map(|(time, happened)| Observation { time, happened })
        .to_vec();
    let contest = Contest::between(observations.clone(), observations, Method::Welch, 5.0);
    let band = times::band(&contest.a);
    let times: Vec<f64> = band.iter().map(|(time, ..)| *time).collect();
    assert_eq!(times, [1.0, 2.0, 2.0, 4.0, 4.0, 5.0, 5.0, 5.0]);
    assert!(band.iter().all(|(_, least, most)| 0.0 < *least && least < most && *most < 1.0), "{band:?}");
    let (_, least, most) = band[0];
    assert!(least < 0.2 && 0.2 < most, "one of five has arrived at 1");
}

/// A long table has its first rows in view and all rows in a fold; in LaTeX it is one table.
#[test]
fn long_tables_fold() {
    let mut table = Table::new("Numbers", &["name", "value"]);
    (0..41).for_each(|i| table.add(&format!("row-{i}"), [i.to_string()]));
    assert_eq!(table.html().matches("<details>").count(), 0, "only tables that fold");
    table.folds = true;
    let html = table.html();
    let rows = |i: usize| html.matches(&format!(">row-{i}<")).count();
    assert_eq!((rows(0), rows(19), rows(20), rows(40)), (2, 2, 1, 1));
    assert_eq!(table.latex().matches("row-0 ").count(), 1);
    table.rows.pop();
    assert!(!table.html().contains("<details>"));
}

/// The accuracies of all runs are moved to where Student's intervals would end beyond 1.
#[test]
fn intervals_of_accuracies_end_at_1() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    for run in &mut sweep.results {
        run.test_accuracy_at_best = Some(1.0 - 0.01 * (run.seed - 1) as f64);
    }
    let cells = cells(&sweep);
    assert!(
        cells.iter().all(|cell| cell.accuracy.ci.is_some_and(|(least, most)| least < 0.98 && most == 1.0))
    );
    let html = html(&sweep);
    assert!(html.contains(" to 100.00</td>") && !html.contains("105 %"));
}

/// Controls are neither counted as cells nor tested as such, and a control's curve is in the panel of its cell.
#[test]
fn controls_are_no_cells() {
    let root = tempfile::tempdir().unwrap();
    let mut sweep = sweep(root.path());
    let name = "factor-2_ratio-1_lr-0.4";
    for (planned, run) in
        sweep.plan.runs.iter_mut().zip(&mut sweep.results).filter(|(_, run)| run.cell == name)
    {
        (planned.role, run.role) = (Role::Control, Role::Control);
        planned.control_of = Some("factor-2_ratio-0.5_lr-0.4".into());
    }
    let html = html(&sweep);
    let is_tested =
        |cell: &&MeasuredCell| cell.against.as_ref().is_some_and(|against| against.test.is_some());
    let measured = cells(&sweep);
    let tested: Vec<&MeasuredCell> = measured.iter().filter(is_tested).collect();
    let cells = tested.iter().filter(|cell| cell.cell.role == Role::Cell).count();
    assert!(cells < tested.len(), "the control is tested too");
    let tested = format!("of {cells} tested");
    for part in ["11 cells, 2 baselines, 1 control", &tested, "of 11 cells lie above"] {
        assert!(html.contains(part), "{part}");
    }
    // The p-values of cells and those of controls are two families.
    let analysis = SweepAnalysis::read(&sweep).unwrap();
    let compared = SweepComparison::read(&sweep, &Options::default(), Correction::Holm, None).unwrap();
    for (is_control, size) in [(false, cells), (true, 1)] {
        let is_asked = |role: Role| (role == Role::Control) == is_control;
        let cells = analysis.cells.iter().filter(|cell| is_asked(cell.cell.role));
        let tests = cells.filter_map(|cell| cell.against.as_ref());
        let (p, corrected): (Vec<f64>, Vec<f64>) =
            tests.filter_map(|it| Some((it.last.test?.p, it.last.corrected_p?))).unzip();
        assert_eq!((p.len(), &corrected), (size, &holm(&p)), "{is_control}");
        let theirs = compared.cells.iter().filter(|cell| is_asked(cell.role));
        let theirs: Vec<f64> = theirs.filter_map(|cell| cell.comparison.as_ref()?.last.corrected_p).collect();
        assert_eq!(theirs, corrected);
    }
    assert!(html.contains(&format!("for {cells} cells; that of the control is by itself")));
    let mut roles = vec![Role::Cell, Role::Baseline];
    assert_eq!(roles_in_words(roles.iter().copied()), "1 cell, 1 baseline");
    roles.clear();
    assert_eq!(roles_in_words(roles.iter().copied()), "0 cells");
}

mod maps;
