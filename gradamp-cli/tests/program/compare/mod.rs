//! `gradamp compare` as a user runs it, on runs whose numbers are chosen and on a real sweep.

mod fake_run;
mod sweep;

use std::fs;

use serde_json::{Value, json};

use self::fake_run::{FakeRun, OFF, ON};
use crate::{Report, Workplace};

/// Writes two groups of runs. The last accuracies of `off/1` to `off/3` are 0.70, 0.71 and 0.72; those of `on/1` to
/// `on/3` are 0.72, 0.74 and 0.73.
fn two_groups() -> Workplace {
    let place = Workplace::new();
    for (seed, off, on) in [(1, 0.70, 0.72), (2, 0.71, 0.74), (3, 0.72, 0.73)] {
        FakeRun::new(seed, off, OFF).write(&place, &format!("off/{seed}"));
        FakeRun { hits: "1111111110", ..FakeRun::new(seed, on, ON) }.write(&place, &format!("on/{seed}"));
    }
    place
}

#[track_caller]
fn compared(place: &Workplace, arguments: &str) -> Value {
    let report = place.run(&format!("compare --json {arguments}")).succeeds();
    serde_json::from_str(&report.out).unwrap()
}

#[track_caller]
fn assert_close(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap_or_else(|| panic!("expected {expected}, found {value}"));
    assert!((found - expected).abs() < 1e-7, "found {found}, expected {expected}");
}

fn warnings(document: &Value) -> Vec<String> {
    document["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_groups_are_compared_pair_by_pair() {
    let place = two_groups();
    let found = compared(&place, "off on");
    assert_eq!(warnings(&found), Vec::<String>::new());
    // The differences are 0.02, 0.03 and 0.01: mean 0.02, deviation 0.01, t = 2√3 with 2 degrees of freedom.
    for (key, offset) in [("last", 0.0), ("best", -0.05)] {
        let contrast = &found[key];
        assert_close(&contrast["a"]["mean"], 0.71 + offset);
        assert_close(&contrast["b"]["mean"], 0.73 + offset);
        assert_eq!(contrast["test"]["method"], "paired");
        assert_close(&contrast["difference"], 0.02);
        assert_close(&contrast["test"]["t"], 2.0 * 3.0_f64.sqrt());
        assert_close(&contrast["test"]["p"], 0.0741799002);
        assert_close(&contrast["test"]["ci"][0], -0.0048413771);
        assert_close(&contrast["cohens_dz"]["value"], 2.0);
        assert_close(&contrast["hedges_g"]["value"], 1.5957691216); // 2 J(4)
        assert_eq!(
            contrast["seeds"],
            Value::Null,
            "the number of seeds is not estimated from the observed difference"
        );
        assert_close(&contrast["permutation"]["p"], 0.25);
        assert_close(&contrast["permutation"]["smallest_p"], 0.25);
        assert_eq!(contrast["equivalence"], Value::Null);
    }
    // The second epoch is the best on the validation examples, although the third is better on the test examples.
    assert_eq!(
        (found["best_is_fair"].clone(), found["a"]["runs"][0]["best_epoch"].clone()),
        (true.into(), 1.into())
    );
    assert_eq!(
        found["differences"],
        json!([{"key": "strategy.phase.0.amplify", "a": "false", "b": "true", "asked": true}])
    );

    let target = &found["target"];
    assert_close(&target["accuracy"], 0.71);
    assert!(target["chosen"].as_str().unwrap().starts_with("A's mean last accuracy"));
    assert_eq!(target["epochs"]["a"]["values"], json!([null, 3.0, 3.0]));
    assert_eq!(target["epochs"]["b"]["values"], json!([3.0, 3.0, 3.0]));
    assert_eq!(
        target["seconds"]["b"]["values"],
        json!([33.0, 36.0, 39.0]),
        "three epochs of 10 s each, plus as many seconds as the seed"
    );

    let examples = &found["examples"];
    assert_close(&examples["bootstrap"]["difference"], 0.3);
    let mcnemar = &examples["pairs"][2]["mcnemar"];
    assert_eq!(
        (mcnemar["only_a"].clone(), mcnemar["only_b"].clone(), mcnemar["method"].clone()),
        (0.into(), 3.into(), "exact".into())
    );
    assert_close(&mcnemar["p"], 0.25);
}

#[test]
fn all_forms_of_the_arguments_and_of_the_output_agree() {
    let place = two_groups();
    let numbers = |arguments: &str| {
        let mut found = compared(&place, arguments);
        for group in ["a", "b"] {
            found[group]["name"] = Value::Null;
        }
        found
    };
    let expected = numbers("off on");
    assert_eq!(numbers("off/1 off/2 off/3 -- on/1 on/2 on/3"), expected);
    assert_eq!(numbers("off/3 off/1 off/2 -- on/2 on/1 on/3"), expected);
    assert_eq!(numbers("--a o?f/* --b on/[1-3]"), expected);

    let text = place.run("compare off on").succeeds().out;
    for part in [
        "A: off (3 runs, seeds 1-3)",
        "strategy.phase.0.amplify: false in A, true in B",
        "+2.00",
        "0.0742",
        "So few runs give no p below 0.2500 by sign flips",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let markdown = place.run("compare off on --markdown").succeeds().out;
    assert!(markdown.contains("| last epoch, A | 3 | 71.00 | 1.00 | 68.52 to 73.48 |"), "{markdown}");
    assert!(!markdown.contains("----"), "{markdown}");
}

#[test]
fn numbers_given_as_options_are_used() {
    let place = two_groups();
    let arguments = "off on --target 0.69 --difference 0.005 --power 0.9";
    assert!(place.run(&format!("compare {arguments}")).succeeds().out.contains("44 seeds are needed"));
    let found = compared(&place, arguments);
    assert_eq!(found["target"]["chosen"], "as asked");
    assert_eq!(found["target"]["epochs"]["a"]["values"], json!([3.0, 3.0, 3.0]));
    assert_eq!(found["target"]["epochs"]["b"]["values"], json!([3.0, 2.0, 3.0]));
    assert_close(&found["last"]["seeds"]["effect"], 0.5);
    assert_eq!(found["last"]["seeds"]["seeds"], 44); // TTestPower().solve_power(0.5, alpha=0.05, power=0.9) = 43.99
    let never = compared(&place, "off on --target 0.99");
    assert_eq!(never["target"]["seconds"]["a"]["arrived"]["n"], 0);
    assert_eq!(never["target"]["seconds"]["test"], Value::Null);
    for (arguments, part) in [
        ("--target 70,0", "--target: found 0, expected percent, above 0 to 100"),
        ("--target 170", "--target: found 170, expected percent"),
        ("--target-quantile 50,101", "--target-quantile: found 101, expected percent, from 0 to 100"),
        ("--target 70 --target-quantile 50", "cannot be used with"),
        ("--smallest-difference 0", "--smallest-difference: found 0, expected percentage points"),
        ("--difference 0", "--difference: found 0"),
        ("--power NaN", "'--power <CHANCE>': found \"NaN\", expected a number"),
    ] {
        place.run(&format!("compare off on {arguments}")).fails(2, &[part]);
    }
}

#[test]
fn times_to_a_target_have_every_unit_and_include_runs_that_never_reach_it() {
    let place = two_groups();
    let arguments = "off on --target 67.5,0.72,99 --smallest-difference 2.5";
    let found = compared(&place, arguments);
    let targets = found["targets"].as_array().unwrap();
    assert_eq!(
        targets.iter().map(|it| it["accuracy"].as_f64().unwrap()).collect::<Vec<_>>(),
        [0.675, 0.72, 0.99]
    );
    assert_eq!(found["target"], targets[0]);
    for (unit, b) in
        [("epochs", [3.0, 2.0, 2.0]), ("steps", [30.0, 20.0, 20.0]), ("images", [33.0, 24.0, 26.0])]
    {
        assert_eq!(targets[0][unit]["b"]["values"], json!(b), "{unit}");
    }
    // The differences are 0, -1 and -1: t = -2 with 2 degrees of freedom. Log-rank test: 3 runs of B reach the
    // target, 2 are expected to.
    let epochs = &targets[0]["epochs"];
    assert_close(&epochs["restricted"]["p"], 0.1835034191);
    assert_close(&epochs["b"]["restricted"]["mean"], 7.0 / 3.0);
    assert_close(&epochs["log_rank"]["chi_square"], 2.5);
    assert_close(&epochs["log_rank"]["p"], 0.1138462980);
    let some = &targets[1]["epochs"]["a"];
    assert_eq!(some["values"], json!([null, null, 3.0]));
    assert_eq!(some["observations"][0], json!({"time": 3.0, "happened": false}));
    assert!(
        warnings(&found)[0].contains("no run reaches a test accuracy of 99.00 %"),
        "{:?}",
        warnings(&found)
    );
    assert_close(&found["last"]["equivalence"]["p"], 0.2388835161);
    assert_close(&found["last"]["equivalence"]["ci90"][0], 0.0031414554);
    let text = place.run(&format!("compare {arguments}")).succeeds().out;
    for part in [
        "Time to a test accuracy of 67.50 % (as asked)",
        "B - A, by pairs (up to 3.0)",
        "Equivalence, last epoch: it is not shown that the difference is smaller than 2.50 points (90 % interval +0.31 to +3.69",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("Time to a test accuracy of 99.00 %"), "{text}");
    let quantiles = compared(&place, "off on --target-quantile 50,100");
    assert_close(&quantiles["targets"][1]["accuracy"], 0.72);
    assert_eq!(quantiles["target"]["chosen"], "the 50 % quantile of A's last accuracies");
}

#[test]
fn seconds_of_runs_that_ran_at_the_same_time_are_not_compared() {
    let place = two_groups();
    let at = |run: FakeRun, from: &str, to: &str| {
        let time = |minutes: &str| format!("2026-01-01T00:{minutes}:00Z");
        run.with("start", time(from)).with("end", time(to))
    };
    at(FakeRun::new(1, 0.70, OFF), "00", "10").write(&place, "off/1");
    at(FakeRun::new(1, 0.72, ON), "10", "20").write(&place, "on/1");
    assert_ne!(compared(&place, "off on")["target"]["seconds"], Value::Null);
    at(FakeRun::new(1, 0.72, ON), "05", "20").write(&place, "on/1");
    let found = compared(&place, "off on");
    assert_eq!(found["target"]["seconds"], Value::Null);
    assert!(warnings(&found)[0].contains("times in seconds are left out"), "{:?}", warnings(&found));
    assert!(!place.run("compare off on").succeeds().out.contains("seconds, A"));
}

#[test]
fn runs_at_chance_are_counted_apart_from_runs_that_train() {
    let place = Workplace::new();
    for (seed, accuracy) in [(1, 0.7), (2, 0.2)] {
        let fake = |accuracy, settings| {
            FakeRun::new(seed, accuracy, settings).with("classes", json!(["a", "b", "c", "d", "e"]))
        };
        fake(accuracy, OFF).write(&place, &format!("off/{seed}"));
        fake(0.9, ON).write(&place, &format!("on/{seed}"));
    }
    let found = compared(&place, "off on");
    let trained = |run: usize| found["a"]["runs"][run]["trained"].clone();
    assert_eq!(
        (trained(0), trained(1)),
        (true.into(), false.into()),
        "7 and 2 of 10 examples, of five classes"
    );
    let text = place.run("compare off on").succeeds().out;
    assert!(text.contains("Runs whose last accuracy is above chance: 1 of 2 in A, 2 of 2 in B."), "{text}");
}

#[test]
fn doubtful_comparisons_are_warned_about() {
    let place = two_groups();
    let made = |seed| FakeRun::new(seed, 0.7, ON);
    let mut unfair = made(1);
    unfair.accuracies.iter_mut().for_each(|it| it.0 = None);
    let cases: [(&str, Vec<FakeRun>, &[&str]); 11] = [
        ("validation", vec![unfair], &["NO VALIDATION SPLIT"]),
        (
            "few",
            vec![made(1), made(2)],
            &["B has only 2 seeds", "A and B have different seeds (1-3 in A, 1, 2 in B)"],
        ),
        ("twice", vec![made(1), made(2), made(2)], &["seed 2 occurs more than once in B"]),
        (
            "cut",
            vec![made(1).with("outcome", "interrupted")],
            &["b/0 is not finished (interrupted, 3 of 3 epochs)"],
        ),
        ("data", vec![made(1).with("dataset_checksum", "b")], &["the runs were trained on different data"]),
        ("version", vec![made(1).with("version", "0.0.9")], &["made by gradamp 0.0.9 and "]),
        ("device", vec![made(1).with("device", "gpu")], &["several devices", "cpu, gpu"]),
        (
            "batch",
            vec![made(1).set("batch_size = 64\n")],
            &["differ in settings that are meant to be equal: train.batch_size (128 in A, 64 in B)"],
        ),
        (
            "group",
            vec![made(1), made(2).set("batch_size = 64\n")],
            &["the runs of B differ in more than the seed: train.batch_size"],
        ),
        (
            "same",
            vec![FakeRun::new(1, 0.7, OFF), FakeRun::new(2, 0.7, OFF)],
            &["A and B have the same settings"],
        ),
        (
            "none",
            vec![made(1), FakeRun { accuracies: Vec::new(), ..made(2) }],
            &["b/1 was never evaluated on test examples and is left out"],
        ),
    ];
    for (name, runs, expected) in cases {
        let _ = fs::remove_dir_all(place.path("b"));
        for (i, run) in runs.iter().enumerate() {
            run.write(&place, &format!("b/{i}"));
        }
        let report = place.run("compare off b --json").succeeds();
        let found = warnings(&serde_json::from_str(&report.out).unwrap());
        for part in expected {
            assert!(found.iter().any(|warning| warning.contains(part)), "{name}: {part} in {found:#?}");
        }
        assert!(report.err.contains(&format!("warning: {}", found[0])), "{}", report.err);
        assert!(place.run("compare off b").succeeds().out.contains(&found[0]), "{name}");
    }
}

#[test]
fn runs_that_share_one_seed_are_not_paired() {
    let place = Workplace::new();
    for (i, seed) in [1, 2, 2].into_iter().enumerate() {
        FakeRun::new(seed, 0.7 + 0.01 * i as f64, OFF).write(&place, &format!("off/{i}"));
        FakeRun::new(seed, 0.8 - 0.01 * i as f64, ON).write(&place, &format!("on/{i}"));
    }
    assert_eq!(compared(&place, "off on")["method"], "welch");
}

#[test]
fn settings_that_change_no_result_or_are_named_cause_no_warning() {
    let place = two_groups();
    let harmless = "threads = 3\nlog_interval = 1\ngradients_every = 7\ncheckpoint_seconds = 1.0\n[data]\nworkers = 2\nresident = false\n";
    for seed in 1..=3 {
        FakeRun::new(seed, 0.7 + 0.01 * seed as f64, ON)
            .set(harmless)
            .write(&place, &format!("harmless/{seed}"));
        FakeRun::new(seed, 0.7 + 0.01 * seed as f64, &OFF.replace("lr = 0.1", "lr = 0.2"))
            .write(&place, &format!("lr/{seed}"));
    }
    assert_eq!(warnings(&compared(&place, "off harmless")), Vec::<String>::new());
    let unnamed = warnings(&compared(&place, "off lr"));
    assert!(unnamed.len() == 1 && unnamed[0].contains("strategy.lr (0.1 in A, 0.2 in B)"), "{unnamed:?}");
    assert_eq!(warnings(&compared(&place, "off lr --differ strategy.lr")), Vec::<String>::new());
    assert_eq!(warnings(&compared(&place, "off lr --differ strategy")), Vec::<String>::new());
    assert_eq!(warnings(&compared(&place, "off lr --differ strat")).len(), 1);
}

#[test]
fn limited_test_sets_are_compared_only_between_runs_of_one_seed() {
    let place = Workplace::new();
    let limited =
        |seed, hits| FakeRun { hits, ..FakeRun::new(seed, 0.7, ON).set("[data]\ntest_limit = 10\n") };
    limited(1, "1111100000").write(&place, "x");
    limited(1, "1111100011").write(&place, "y");
    limited(2, "1111100011").write(&place, "z");
    assert_eq!(compared(&place, "x y")["examples"]["pairs"][0]["mcnemar"]["only_b"], 2);
    assert_eq!(compared(&place, "x z")["examples"], Value::Null);
}

#[test]
fn arguments_that_cannot_be_compared_are_refused() {
    let place = two_groups();
    place
        .run("compare nowhere")
        .fails(1, &["nowhere", "expected the folder of a sweep, found no such folder"]);
    place
        .run("compare off")
        .fails(2, &["off: found a single folder, which is not a sweep; expected two runs"]);
    place.run("compare off/1 off/2 off/3").fails(2, &["found 3 runs and no --"]);
    place.run("compare off/1 -- on/1 --json").fails(2, &["--json: expected options before the --"]);
    place.run("compare off/1 nowhere").fails(1, &["nowhere", "expected the folder of a run"]);
    place.write("empty/readme", "");
    place.run("compare off empty").fails(1, &["empty", "found no config.toml in it"]);
    place.run("compare --a off/* --b no/*").fails(1, &["group B is empty: no folder matches no/*"]);
    place.run("compare off off/2").fails(2, &["off/2 is in both groups"]);
    place.run("compare --a off/1 off/1 --b on/1").fails(2, &["off/1 is twice in group A"]);
    place.run("compare off on --baseline x").fails(2, &["--baseline names a cell of a sweep"]);
    FakeRun { accuracies: Vec::new(), ..FakeRun::new(1, 0.0, ON) }.write(&place, "fresh");
    place
        .run("compare off fresh")
        .fails(1, &["group B (fresh) is empty: none of its 1 runs was ever evaluated"]);

    let damage = |file: &str, change: fn(String) -> String| {
        FakeRun::new(1, 0.7, ON).write(&place, "bad");
        let path = place.path("bad").join(file);
        fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
        place.run("compare off/1 bad")
    };
    let fails = |report: Report, parts: &[&str]| drop(report.fails(1, parts));
    fails(
        damage("metrics.jsonl", |text| text.replacen("\"epoch\":1", "\"epoch\":x", 1)),
        &["metrics.jsonl", "line 2", "damaged"],
    );
    fails(
        damage("evaluations.jsonl", |text| text.replacen("1111110000", "11111100x0", 1)),
        &["evaluations.jsonl", "line 1"],
    );
    fails(damage("run.json", |text| text[..40].to_owned()), &["run.json", "damaged or of another version"]);
    damage("config.toml", |text| format!("{text}frobnicate = 1\n")).fails(2, &["config.toml", "frobnicate"]);
}
