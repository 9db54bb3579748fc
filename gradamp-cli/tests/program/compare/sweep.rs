//! `gradamp compare` on a real sweep, cell by cell.

use std::fs;

use serde_json::Value;

use super::fake_run::{FakeRun, OFF, ON};
use super::{assert_close, compared, warnings};
use crate::Workplace;

/// Two cells and a baseline with three seeds; each run takes about a second.
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

fn cell(sweep: &Value, name: &str) -> Value {
    let cells = sweep["cells"].as_array().unwrap();
    cells
        .iter()
        .find(|cell| cell["name"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("no {name} in {sweep:#}"))
}

#[test]
fn the_cells_of_a_sweep_are_compared_to_their_baseline() {
    let place = Workplace::new();
    place.write("s.toml", STUDY);
    place.run("sweep s.toml --jobs 2").succeeds();
    let sweep = compared(&place, "sweeps/s");
    assert_eq!(sweep["cells"].as_array().unwrap().len(), 3);
    assert_eq!(cell(&sweep, "baseline")["comparison"], Value::Null);
    // The result must equal a comparison of the same runs without the sweep.
    let by_hand = compared(&place, "--a sweeps/s/runs/baseline_* --b sweeps/s/runs/factor-3_*");
    let in_sweep = cell(&sweep, "factor-3")["comparison"].clone();
    for key in ["a", "b", "best", "examples", "method"] {
        let without_name = |mut value: Value| {
            if let Some(entry) = value.as_object_mut() {
                entry.remove("name");
                entry.remove("corrected_p");
                entry.remove("corrected_permutation_p");
            }
            value
        };
        assert_eq!(without_name(by_hand[key].clone()), without_name(in_sweep[key].clone()), "{key}");
    }
    let text = place.run("compare sweeps/s").succeeds().out;
    assert!(
        text.contains("p Holm")
            && text.contains("  factor-3 ")
            && text.contains("The cell with the best validation accuracy is"),
        "{text}"
    );
    assert!(place.run("compare sweeps/s --markdown --correction bh").succeeds().out.contains("| p BH |"));
    let other = compared(&place, "sweeps/s --baseline factor-3");
    assert_eq!(cell(&other, "baseline")["baseline"], "factor-3");
    place
        .run("compare sweeps/s --baseline factor-4")
        .fails(2, &["no cell factor-4; expected one of baseline, factor-1.5"]);

    // Without a run's folder, its numbers come from results.jsonl.
    fs::remove_dir_all(place.path("sweeps/s/runs/factor-3_seed-2")).unwrap();
    let without = compared(&place, "sweeps/s");
    assert_eq!(cell(&without, "factor-3")["last"], cell(&sweep, "factor-3")["last"]);
    assert!(
        warnings(&without).iter().any(|text| text.contains("factor-3_seed-2: this run's folder was removed"))
    );
    assert_eq!(cell(&without, "factor-3")["comparison"]["examples"], Value::Null);

    // A warning counts runs that diverged. A half-written file of results is refused.
    let path = place.path("sweeps/s/results.jsonl");
    let sealed = fs::read_to_string(&path).unwrap();
    // Removes the seals, as in results of the first version, which had none.
    let unsealed = |line: &str| format!("{}}}\n", line.split(",\"sha256\"").next().unwrap());
    let results: String = sealed.lines().map(unsealed).collect();
    let (first, rest) = results.rsplit_once("\"finished\"").unwrap();
    fs::write(&path, format!("{first}\"diverged\"{rest}")).unwrap();
    let diverged = compared(&place, "sweeps/s");
    assert!(
        warnings(&diverged)
            .iter()
            .any(|text| text.contains("factor-3: 1 of 3 runs diverged and are left out of the means"))
    );
    assert_eq!(cell(&diverged, "factor-3")["last"]["n"], 2);
    fs::write(&path, &results[..results.len() - 20]).unwrap();
    place.run("compare sweeps/s").fails(1, &["results.jsonl", "half-written"]);

    // With chosen numbers, p is 0.0742 and 0.1835 before Holm's correction.
    fs::write(&path, &results).unwrap();
    for seed in 1..=3_u8 {
        let base = 0.70 + 0.01 * f64::from(seed);
        let lasts =
            [("baseline", base, OFF), ("factor-1.5", base + [0.01, 0.03, 0.02][usize::from(seed) - 1], ON)];
        for (name, last, settings) in
            lasts.into_iter().chain([("factor-3", base - 0.01 * f64::from(seed / 2), ON)])
        {
            let run = format!("sweeps/s/runs/{name}_seed-{seed}");
            let _ = fs::remove_dir_all(place.path(&run)); // also removes the checkpoints, which seal the earlier logs
            FakeRun::new(seed.into(), last, settings).write(&place, &run);
        }
    }
    let sweep = compared(&place, "sweeps/s");
    for (name, key, p, corrected) in [
        ("factor-1.5", "last", 0.0741799, 0.1483598),
        ("factor-1.5", "best", 0.0741799, 0.1483598),
        ("factor-3", "last", 0.1835034, 0.1835034),
        ("factor-3", "best", 0.1835034, 0.1835034),
    ] {
        let contrast = cell(&sweep, name)["comparison"][key].clone();
        assert_close(&contrast["test"]["p"], p);
        assert_close(&contrast["corrected_p"], corrected);
    }
    let target = cell(&sweep, "factor-3")["comparison"]["target"].clone();
    assert_eq!(
        (target["chosen"].clone(), target["epochs"]["b"]["runs"].clone()),
        ("the baseline's mean last accuracy".into(), 3.into())
    );

    // The deviations of this study, 1 and 0.577 points, are used to plan the next one.
    let planned = |arguments: &str| place.run(&format!("sweep s.toml --out next --dry-run {arguments}"));
    let plan = planned("--difference 1 --deviation-from sweeps/s").succeeds().out;
    for part in [
        "Deviation of the differences between runs of one seed: 0.82 points (pooled over 2 cells and 6 pairs of runs).",
        "A difference of 1.00 points needs 8 seeds for a power of 0.8, and 10 seeds for 0.9 (at the level 0.05).",
        "The study's 3 seeds see 2.67 points with a power of 0.8, and 3.20 points with 0.9 (at the level 0.05).",
    ] {
        assert!(plan.contains(part), "{part} in\n{plan}");
    }
    assert!(planned("--deviation 0.5").succeeds().out.contains("The study's 3 seeds see"));
    planned("--deviation 0").fails(2, &["--deviation: found 0, expected percentage points"]);
    planned("--difference 1").fails(2, &["required arguments were not provided"]);
    planned("--deviation 1 --deviation-from sweeps/s").fails(2, &["cannot be used with"]);
    planned("--deviation-from nowhere").fails(1, &["nowhere", "expected the folder of a sweep"]);
    place
        .run("sweep s.toml --difference 1 --deviation 1")
        .fails(2, &["required arguments were not provided"]);

    // A run that diverged counts in the times as a run that never reaches the target.
    fs::write(&path, format!("{first}\"diverged\"{rest}")).unwrap();
    let diverged = compared(&place, "sweeps/s --target 60,99");
    let arrivals = &cell(&diverged, "factor-3")["comparison"]["targets"][0]["epochs"]["b"];
    assert_eq!((&arrivals["runs"], &arrivals["values"][2]), (&3.into(), &Value::Null));
    assert_eq!(arrivals["observations"][2], serde_json::json!({"time": 3.0, "happened": false}));
    let missed: Vec<String> = warnings(&diverged)
        .into_iter()
        .filter(|text| text.contains("no run reaches a test accuracy of 99.00 %"))
        .collect();
    assert_eq!(missed.len(), 1, "one note for all cells");
    let text = place.run("compare sweeps/s --target 60,99").succeeds().out;
    let page = place.run("report sweeps/s --target 60,99 --smallest-difference 1.5").succeeds();
    assert!(page.err.contains("report.html"), "{}", page.err);
    let page = fs::read_to_string(place.path("report.html")).unwrap();
    for part in [
        "Time to accuracy",
        "figure-arrival-1",
        "No run reaches a test accuracy of 99.00 %",
        "p, equivalence",
    ] {
        assert!(page.contains(part), "{part}");
    }
    place.run("report sweeps/s --target 0").fails(2, &["--target: found 0"]);
    assert!(text.contains("Time to a test accuracy (as asked)") && text.contains("2 of 3"), "{text}");
}
