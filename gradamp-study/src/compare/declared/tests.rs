//! Tests of declared contrasts.

use std::path::Path;

use serde_json::json;

use super::super::analysis::{CellRuns, SweepAnalysis};
use super::super::member::RunNumbers;
use super::*;
use crate::run_folder::RunRecord;
use crate::statistics::paired;
use crate::sweep::{Cell, Choice, Role};

const QUESTIONS: &str = "q";

fn record(seed: u64, outcome: &str) -> RunRecord {
    let json = json!({
        "version": "0", "model": "m", "parameters": 1, "seed": seed, "device": "cpu", "dataset": "shapes",
        "dataset_checksum": "", "classes": ["a", "b", "c", "d"], "start": "1970-01-01T00:01:40Z",
        "study": { "file": "f", "contrasts": QUESTIONS }, "outcome": outcome, "resumed": [], "expected_gains": [],
    });
    serde_json::from_value(json).unwrap()
}

/// A run that has these test accuracies after its epochs of ten steps.
fn run(seed: u64, accuracies: &[f64]) -> RunNumbers {
    let epoch = |(epoch, accuracy): (usize, &f64)| {
        let json = json!({
            "epoch": epoch, "step": 10 * epoch + 10, "phase": 0, "lr": 0.1, "amplified": false, "train_loss": 1.0,
            "train_accuracy": 0.5, "validation_accuracy": accuracy, "test_accuracy": accuracy, "best": true,
            "images_per_second": 1.0, "seconds": 100.0,
        });
        serde_json::from_value(json).unwrap()
    };
    let epochs: Vec<_> = accuracies.iter().enumerate().map(epoch).collect();
    RunNumbers::of_epochs(Path::new("run"), &record(seed, "finished"), &epochs, Some(1000)).unwrap()
}

fn cell(name: &str, planned: &[u64], runs: Vec<RunNumbers>) -> CellRuns {
    let line = |seed: &u64| {
        let json = json!({
            "run": name, "cell": name, "role": "cell", "axes": {}, "seed": seed, "status": "finished",
            "error": null, "epochs": 2, "last_test_accuracy": null, "best_epoch": null,
            "best_validation_accuracy": null, "test_accuracy_at_best": null, "last_train_loss": null,
            "seconds": 1.0, "version": "0",
        });
        serde_json::from_value(json).unwrap()
    };
    let cell = Cell {
        name: name.into(),
        role: Role::Cell,
        axes: Vec::new(),
        baseline: None,
        runs: planned.iter().map(line).collect(),
    };
    CellRuns { cell, runs, diverged: Vec::new() }
}

fn contrast(name: &str, pairs: &[[&str; 2]], measure: Measure) -> PlannedContrast {
    PlannedContrast {
        choices: Vec::new(),
        name: name.into(),
        value: None,
        pairs: pairs.iter().map(|pair| pair.map(str::to_owned)).collect(),
        measure,
        target: measure.is_time().then_some(0.5),
        smallest_difference: None,
    }
}

fn answer(contrasts: Vec<PlannedContrast>, cells: Vec<CellRuns>) -> (Vec<ContrastResult>, Vec<String>) {
    let json = json!({
        "format": 1, "version": "0", "name": "s", "axes": [], "amplification_axes": [], "runs": [],
        "study": { "file": "f", "contrasts": QUESTIONS },
    });
    let plan = Plan { contrasts, ..serde_json::from_value(json).unwrap() };
    let analysis = SweepAnalysis::new(cells, &Options::default(), Correction::Holm, None);
    ContrastResult::all(&plan, &analysis.cells)
}

#[test]
fn cells_are_averaged_by_seed_and_tests_corrected_over_all_contrasts() {
    let of = |name: &str, last: [f64; 3]| {
        cell(name, &[1, 2, 3], last.iter().zip(1..).map(|(last, seed)| run(seed, &[0.3, *last])).collect())
    };
    let cells = vec![
        of("a", [0.40, 0.42, 0.41]),
        of("b", [0.50, 0.51, 0.53]),
        of("c", [0.60, 0.58, 0.62]),
        of("d", [0.61, 0.58, 0.61]),
    ];
    let mut same = contrast("same", &[["d", "c"]], Measure::Last);
    same.smallest_difference = Some(0.05);
    let both = contrast("both", &[["b", "a"], ["d", "c"]], Measure::Last);
    let (results, notes) = answer(vec![both, same], cells);
    assert!(notes.is_empty(), "{notes:?}");
    let by_hand = paired(&[0.50, 0.50, 0.515], &[0.555, 0.545, 0.57]).unwrap();
    let both = results[0].comparison.as_ref().unwrap();
    assert!((both.difference - (0.055 + 0.045 + 0.055) / 3.0).abs() < 1e-12);
    assert!((results[0].p.unwrap() - 2.0 * by_hand.p).abs() < 1e-9, "twice p: the smaller of two");
    assert_eq!((results[0].conclusion, results[0].equivalence_p), (Conclusion::Larger, None));
    assert_eq!((results[1].conclusion, results[1].p), (Conclusion::Equivalent, Some(1.0)));
}

#[test]
fn runs_that_diverge_count_as_chance_and_missing_ones_leave_their_seed_out() {
    let a = cell("a", &[1, 2, 3], (1..=3).map(|seed| run(seed, &[0.3, 0.6])).collect());
    let mut b = cell("b", &[1, 2, 3], vec![run(1, &[0.3, 0.7])]);
    b.diverged.push(Course::new(&record(2, "diverged"), &[]));
    let pair = [["b", "a"]];
    let contrasts = [Measure::Last, Measure::Trained, Measure::Epochs].map(|it| contrast("it", &pair, it));
    let (results, notes) = answer(contrasts.to_vec(), vec![a, b]);
    let means = |i: usize| {
        let it = results[i].comparison.as_ref().unwrap();
        (it.a.mean, it.b.mean)
    };
    assert_eq!(results[0].seeds, [1, 2]);
    assert_eq!(means(0), (0.6, 0.5 * (0.7 + 0.25)), "chance of four classes");
    assert_eq!((means(1), means(2)), ((1.0, 0.5), (2.0, 2.0)));
    let ci = results[1].comparison.as_ref().unwrap().test.unwrap().ci;
    assert_eq!(ci, (-1.0, 1.0), "two pairs alone leave every difference of shares possible");
    assert_eq!(notes.iter().filter(|note| note.contains("1 of 3 seeds")).count(), 3, "{notes:?}");
}

#[test]
fn times_end_with_the_shortest_run_and_late_questions_are_noted() {
    let late = |mut run: RunNumbers| {
        run.course.as_mut().unwrap().study = None;
        run
    };
    let a = cell("a", &[1, 2], vec![run(1, &[0.3, 0.4, 0.6]), run(2, &[0.3, 0.6, 0.6])]);
    let b = cell("b", &[1, 2], vec![run(1, &[0.5, 0.6]), late(run(2, &[0.3, 0.4]))]);
    let steps = contrast("steps", &[["b", "a"]], Measure::Steps);
    let images = contrast("images", &[["b", "a"]], Measure::Images);
    let never = PlannedContrast { target: Some(0.9), ..contrast("never", &[["b", "a"]], Measure::Epochs) };
    let (results, notes) = answer(vec![steps, images, never], vec![a, b]);
    let it = results[0].comparison.as_ref().unwrap();
    // Seed 1 arrives after 30 and 10 steps, seed 2 after 20 steps and never; all are observed for 20.
    assert_eq!((it.a.mean, it.b.mean), (20.0, 15.0));
    assert_eq!(results[1].comparison.as_ref().unwrap().a.mean, 200.0);
    assert!(notes.iter().any(|note| note.starts_with("never: no run reaches 90.00 %")), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("1 of 4 runs began before")), "{notes:?}");
}

#[test]
fn validation_chooses_each_side_of_a_tuned_contrast_once_all_runs_are_done() {
    let validated = |seed: u64, validation: f64, test: f64| {
        let mut run = run(seed, &[test]);
        run.best_validation_accuracy = Some(validation);
        run
    };
    let of = |name: &str, validation: f64, test: f64| {
        cell(name, &[1, 2], (1..=2).map(|seed| validated(seed, validation, test)).collect())
    };
    // The test examples would choose a1 and b2.
    let mut cells = vec![of("a1", 0.4, 0.9), of("a2", 0.5, 0.45), of("b1", 0.6, 0.6), of("b2", 0.5, 0.95)];
    let name = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let mut tuned = contrast("tuned", &[], Measure::Last);
    tuned.choices = vec![Choice { cells: name(["b1", "b2"]), against: name(["a1", "a2"]) }];
    let (results, notes) = answer(vec![tuned.clone()], cells.clone());
    assert_eq!(results[0].chosen, Some(vec![["b1".to_owned(), "a2".to_owned()]]));
    let it = results[0].comparison.as_ref().unwrap();
    assert!((it.difference - 0.15).abs() < 1e-12, "{}", it.difference);
    assert!(notes.iter().any(|note| note == "tuned: by validation accuracy, A is a2, B is b1"), "{notes:?}");

    // A run that diverged counts as chance: b1 is no longer the best.
    cells[2].runs.pop();
    let (results, notes) = answer(vec![tuned.clone()], cells.clone());
    assert_eq!((&results[0].chosen, &results[0].comparison), (&None, &None));
    assert!(notes.iter().any(|note| note.starts_with("tuned: not tested before all runs")), "{notes:?}");
    cells[2].diverged.push(Course::new(&record(2, "diverged"), &[]));
    let (results, _) = answer(vec![tuned], cells);
    assert_eq!(results[0].chosen, Some(vec![["b2".to_owned(), "a2".to_owned()]]));
}
