//! A sweep that was made, cell by cell.

use std::fs;

use serde_json::Value;

use super::{compared, warnings};
use crate::Workplace;

/// Two cells with a baseline, three seeds, runs of a second.
const STUDY: &str = "\
seeds = 3
[base]
model = { name = 'resnet18', width = 2 }
train = { batch_size = 16, device = 'cpu', threads = 1, gradients_every = 0 }
data = { source = 'shapes', validation = 16, shapes = { train = 64, test = 64 } }
strategy.lr = 0.05
strategy.phase = [{ epochs = 1 }, { epochs = 1, amplify = true }]
amplification = { kinds = ['batch_norm'], ratio = 0.5 }
[axes]
'amplification.factor' = [1.5, 3.0]
";

#[test]
fn a_sweeps_cells_are_held_against_their_baseline() {
    let place = Workplace::new();
    place.write("s.toml", STUDY);
    place.run("sweep s.toml --jobs 2").succeeds();
    let sweep = compared(&place, "sweeps/s");
    let cell = |sweep: &Value, name: &str| {
        let cells = sweep["cells"].as_array().unwrap();
        cells
            .iter()
            .find(|cell| cell["name"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("no {name} in {sweep:#}"))
    };
    assert_eq!(sweep["cells"].as_array().unwrap().len(), 3);
    assert_eq!(cell(&sweep, "baseline")["comparison"], Value::Null);
    let names = ["factor-1.5", "factor-3"];
    // The smaller of two p-values is doubled by Holm, the larger one is at least that.
    let p: Vec<(f64, f64)> = names
        .iter()
        .filter_map(|name| {
            let last = cell(&sweep, name)["comparison"]["last"].clone();
            Some((last["test"]["p"].as_f64()?, last["corrected_p"].as_f64().unwrap()))
        })
        .collect();
    let smallest = p.iter().map(|it| it.0).fold(1.0, f64::min);
    for &(raw, corrected) in &p {
        assert!(corrected >= raw && corrected >= (smallest * p.len() as f64).min(1.0) - 1e-12, "{p:?}");
    }
    // The same as its runs compared by themselves.
    let by_hand = compared(&place, "--a sweeps/s/runs/baseline_* --b sweeps/s/runs/factor-3_*");
    let in_sweep = cell(&sweep, "factor-3")["comparison"].clone();
    for key in ["a", "b", "best", "examples", "method"] {
        let without_name = |mut value: Value| {
            if let Some(entry) = value.as_object_mut() {
                entry.remove("name");
                entry.remove("corrected_p");
            }
            value
        };
        assert_eq!(without_name(by_hand[key].clone()), without_name(in_sweep[key].clone()), "{key}");
    }
    let text = place.run("compare sweeps/s").succeeds().out;
    assert!(
        text.contains("p Holm") && text.contains("  factor-3 ") && text.contains("Best on validation is"),
        "{text}"
    );
    assert!(place.run("compare sweeps/s --markdown --correction bh").succeeds().out.contains("| p BH |"));
    let other = compared(&place, "sweeps/s --baseline factor-3");
    assert_eq!(cell(&other, "baseline")["baseline"], "factor-3");
    place
        .run("compare sweeps/s --baseline factor-4")
        .fails(2, &["no cell factor-4; expected one of baseline, factor-1.5"]);

    // A folder that is gone leaves the numbers of results.jsonl.
    fs::remove_dir_all(place.path("sweeps/s/runs/factor-3_seed-2")).unwrap();
    let without = compared(&place, "sweeps/s");
    assert_eq!(cell(&without, "factor-3")["last"], cell(&sweep, "factor-3")["last"]);
    assert!(warnings(&without).iter().any(|it| it.contains("factor-3_seed-2: this run's folder is gone")));
    assert_eq!(cell(&without, "factor-3")["comparison"]["examples"], Value::Null);

    // Runs that diverged are told of; a half-written file of results is refused.
    let path = place.path("sweeps/s/results.jsonl");
    let results = fs::read_to_string(&path).unwrap();
    let (first, rest) = results.rsplit_once("\"finished\"").unwrap();
    fs::write(&path, format!("{first}\"diverged\"{rest}")).unwrap();
    let diverged = compared(&place, "sweeps/s");
    assert!(
        warnings(&diverged).iter().any(|it| it.contains("factor-3: 1 of 3 runs diverged and are in no mean"))
    );
    assert_eq!(cell(&diverged, "factor-3")["last"]["n"], 2);
    fs::write(&path, &results[..results.len() - 20]).unwrap();
    place.run("compare sweeps/s").fails(1, &["results.jsonl", "half-written"]);
}
