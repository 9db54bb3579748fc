//! Checks the table of a sweep.

use std::fs;

use ratatui::Frame;

use gradamp_study::run_folder::RunStatus;

use super::table::{Row, Table};
use super::{Role, view};
use crate::tui::view::text;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let run = |name: &str| serde_json::json!({"name": name, "cell": "c", "role": "cell", "axes": {}, "seed": 1, "epochs": 9});
    let runs = ["baseline_seed-1", "factor-2_seed-1", "factor-3_seed-1", "factor-4_seed-1"].map(run);
    let plan = serde_json::json!({
        "format": 1, "version": "0.1.0", "name": "s", "axes": [], "amplification_axes": [], "runs": runs,
    });
    write("plan.json", &plan.to_string());
    let line = |name: &str, status: &str, error: Option<&str>| {
        let line = serde_json::json!({
            "run": name, "cell": "c", "role": "cell", "axes": {}, "seed": 1, "status": status, "error": error,
            "epochs": 9, "last_test_accuracy": 0.5, "best_epoch": 7, "best_validation_accuracy": null,
            "test_accuracy_at_best": 0.625, "last_train_loss": 1.0, "seconds": 75.0, "version": "0.1.0",
        });
        line.to_string() + "\n"
    };
    let half = &line("factor-3_seed-1", "finished", None)[..40];
    let lines = line("baseline_seed-1", "finished", None)
        + &line("factor-2_seed-1", "diverged", Some("the loss is not finite"))
        + half;
    write("results.jsonl", &lines);
    folder
}

#[test]
fn the_runs_of_a_sweep_are_listed_in_the_order_of_the_plan() {
    let folder = folder();
    let mut table = Table::open(folder.path()).unwrap();
    let statuses: Vec<&str> = table.rows.iter().map(|row| row.status.name()).collect();
    assert_eq!(statuses, ["finished", "diverged", "pending", "pending"], "a half-written line is left out");
    assert!(!table.poll(), "nothing has changed");
    let draw = |size| text(size, |frame: &mut Frame<'_>| view::draw(frame, &table, Role::Print));
    let wide = draw((100, 10));
    let row = wide.lines().find(|line| line.contains("baseline")).unwrap();
    assert_eq!(row, "  baseline_seed-1 finished             9/9  50.0 %  62.5 %  1 min 15 s");
    assert!(wide.contains("4 runs  1 finished  1 diverged  2 pending"), "{wide}");
    let narrow = draw((40, 10));
    assert!(narrow.contains("  baseline_seed-1 finished      50.0 %\n"), "{narrow}");
}

#[test]
fn the_selected_row_is_always_visible_with_its_error() {
    let folder = folder();
    let mut table = Table::open(folder.path()).unwrap();
    let row = |i: usize| Row { name: format!("run-{i}"), status: RunStatus::Pending, ..Row::default() };
    table.rows.extend((0..40).map(row));
    for (chosen, seen) in [(0, "▶ baseline_seed-1"), (1, "▶ factor-2_seed-1"), (43, "▶ run-39")] {
        table.chosen = chosen;
        let text = text((60, 12), |frame: &mut Frame<'_>| view::draw(frame, &table, Role::Watch));
        assert!(text.contains(seen), "{text}");
        assert_eq!(text.contains("the loss is not finite"), chosen == 1, "{text}");
    }
    for size in [(1, 1), (3, 2), (20, 5), (200, 60)] {
        text(size, |frame: &mut Frame<'_>| view::draw(frame, &table, Role::Watch));
    }
}

#[test]
fn damage_is_reported_with_its_line_and_a_missing_folder_is_reported() {
    let folder = folder();
    let path = folder.path().join("results.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let mut table = Table::open(folder.path()).unwrap();
    fs::write(&path, format!("{}\n{good}", &good[..40])).unwrap();
    let error = Table::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("results.jsonl: line 1: is damaged"), "{error}");
    assert!(table.poll() && table.trouble.as_ref().is_some_and(|trouble| trouble.contains("line 1")));
    assert!(!table.poll(), "an error is reported only once");
    fs::write(&path, &good).unwrap();
    assert!(table.poll() && table.trouble.is_none());
    fs::remove_file(folder.path().join("plan.json")).unwrap();
    assert!(table.poll() && table.trouble.as_ref().is_some_and(|trouble| trouble.contains("plan.json")));
    assert_eq!(table.rows.len(), 4, "the earlier rows are still shown");
}
