use std::path::Path;

use gradamp_core::amplify::Curve;
use proptest::prelude::*;

use super::data::SweepData;
use super::expand::{Expansion, expand};
use super::plan::{Plan, Role};
use super::study::Study;

/// What every study here begins with: two phases, the second amplified.
const BASE: &str = "[base]\nstrategy.lr = 0.1\nstrategy.phase = [{ epochs = 2 }, { epochs = 3, amplify = true }]\n\
     amplification.kinds = [\"batch_norm\"]\n";

fn expanded(text: &str) -> Expansion {
    let study = Study::parse(Path::new("s.toml"), text.into()).unwrap();
    expand(&study, false).unwrap()
}

fn error_of(text: &str) -> String {
    let study = Study::parse(Path::new("s.toml"), text.into());
    study.and_then(|study| expand(&study, false)).unwrap_err().to_string()
}

fn cells(expansion: &Expansion) -> Vec<&str> {
    expansion.plan.cells()
}

#[test]
fn a_grid_changes_its_first_axis_slowest_and_its_seeds_fastest() {
    let text = format!(
        "seeds = [3, 1]\n{BASE}[axes]\n\"amplification.factor\" = [1.5, 2]\nstrategy.lr = [0.1, 0.2]\n"
    );
    let expansion = expanded(&text);
    let expected = [
        "baseline_lr-0.1",
        "baseline_lr-0.2",
        "factor-1.5_lr-0.1",
        "factor-1.5_lr-0.2",
        "factor-2_lr-0.1",
        "factor-2_lr-0.2",
    ];
    assert_eq!(cells(&expansion), expected);
    let Plan { runs, axes, amplification_axes, .. } = &expansion.plan;
    assert_eq!(runs[5].name, "factor-1.5_lr-0.1_seed-1");
    assert_eq!((runs[4].seed, runs[5].seed, runs[5].epochs), (3, 1, 5));
    assert_eq!(runs[7].baseline.as_deref(), Some("baseline_lr-0.2"));
    assert_eq!(*axes, ["amplification.factor", "strategy.lr"]);
    assert_eq!(*amplification_axes, ["amplification.factor"]);
    let config = &expansion.settings[10].config;
    assert_eq!((config.amplification.factor, config.train.seed), (2.0, 3));
    assert_eq!(config.strategy.lr.as_ref().map(|lr| lr.peak()), Some(0.2));
}

#[test]
fn baselines_are_off_in_all_phases_and_shared() {
    let strategies = "\
[[axis]]
name = 'strategy'
[[axis.value]]
name = 'off'
set = { 'strategy.phase' = [{ epochs = 5 }] }
[[axis.value]]
name = 'first'
set = { 'strategy.phase' = [{ epochs = 2, amplify = true }, { epochs = 3 }] }
[[axis.value]]
name = 'all'
set = { 'strategy.phase.0.amplify' = true }
[[axis]]
key = 'amplification.factor'
values = [2.0, 3.0]
";
    let expansion = expanded(&format!("seeds = 2\n{BASE}{strategies}"));
    // `off` amplifies nothing and is the baseline itself, at either factor; phases of one rate are no difference.
    let expected = [
        "baseline",
        "strategy-first_factor-2",
        "strategy-first_factor-3",
        "strategy-all_factor-2",
        "strategy-all_factor-3",
    ];
    assert_eq!(cells(&expansion), expected);
    assert_eq!(expansion.plan.runs.len(), 10);
    assert!(expansion.plan.runs[..2].iter().all(|run| run.role == Role::Baseline && run.axes.is_empty()));
    let phases = |i: usize| &expansion.settings[i].config.strategy.phases;
    assert_eq!((phases(0).len(), phases(0)[0].epochs, phases(0)[0].amplify.is_on()), (1, 5, false));
    assert!(phases(6).iter().all(|phase| phase.amplify.is_on()));
    assert!(expansion.plan.runs[2..].iter().all(|run| run.baseline.as_deref() == Some("baseline")));
    assert_eq!(expansion.plan.amplification_axes, ["strategy", "amplification.factor"]);
}

#[test]
fn a_baseline_can_be_left_out_or_be_other_settings() {
    let axes = "[axes]\n'optimizer.momentum' = [0.5, 0.9]\n";
    let without = expanded(&format!("baseline = false\n{BASE}{axes}"));
    assert_eq!(cells(&without), ["momentum-0.5", "momentum-0.9"]);
    let other = expanded(&format!("baseline = {{ 'optimizer.momentum' = 0.5 }}\n{BASE}{axes}"));
    assert_eq!(cells(&other), ["baseline", "momentum-0.9"], "one cell is the baseline itself");
    let plain = BASE.replace("amplify = true", "amplify = false");
    assert_eq!(
        cells(&expanded(&format!("{plain}{axes}"))),
        ["momentum-0.5", "momentum-0.9"],
        "nothing amplifies"
    );
}

#[test]
fn a_control_follows_its_cell_and_is_compared_with_its_baseline() {
    let axes = "[axes]\n'model.name' = ['vgg11', 'resnet18']\n";
    let study = Study::parse(Path::new("s.toml"), format!("{BASE}{axes}")).unwrap();
    let plan = expand(&study, true).unwrap().plan;
    let expected = [
        "baseline_model-vgg11",
        "baseline_model-resnet18",
        "model-vgg11",
        "model-vgg11_through-step_length",
        "model-resnet18",
        "model-resnet18_through-step_length",
    ];
    assert_eq!(plan.cells(), expected);
    let run = &plan.runs[3];
    assert_eq!((run.role, run.control_of.as_deref()), (Role::Control, Some("model-vgg11")));
    assert_eq!(run.baseline.as_deref(), Some("baseline_model-vgg11"));
    let own = "[axes]\n'amplification.through' = ['gradient', 'step_length']\n";
    let study = Study::parse(Path::new("s.toml"), format!("{BASE}{own}")).unwrap();
    let same = "through-step_length has the same settings as through-gradient_through-step_length";
    assert_eq!(expand(&study, true).unwrap().warnings, [same]);
}

#[test]
fn layers_of_the_base_win_in_their_order_and_labels_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.toml"), "[train]\nbatch_size = 7\n[model]\nwidth = 3\n").unwrap();
    let text = "base.model.width = 4\nconfig = 'run.toml'\npreset = 'tour'\n[axes]\n'model.name' = ['vgg11']\n\
                'data.workers' = [0, 1]\n'amplification.seed' = [1]\n'data.shapes.seed' = [1]\n";
    let study = Study::parse(&folder.path().join("s.toml"), text.into()).unwrap();
    let expansion = expand(&study, false).unwrap();
    let config = &expansion.settings[0].config;
    assert_eq!((config.model.width, config.train.batch_size, config.strategy.epochs()), (4, 7, 9));
    let last = expansion.plan.runs.last().unwrap();
    assert_eq!(last.name, "model-vgg11_workers-1_amplification.seed-1_data.shapes.seed-1_seed-0");
}

#[test]
fn what_is_wrong_with_a_study_is_said_with_its_line_and_key() {
    let with = |head: &str, axes: &str| format!("{head}\n{BASE}{axes}");
    for (text, expected) in [
        (with("sedes = 3", ""), "s.toml:1: sedes: unknown key `sedes`; did you mean `seeds`?"),
        (
            with("", "[axes]\n'amplification.facter' = [2.0]"),
            "s.toml:7: amplification.facter: unknown key `facter`; did you mean `factor`?",
        ),
        (
            with("", "[axes]\n'amplification.factor' = [0.0]"),
            "s.toml:7: amplification.factor: is 0, expected a finite",
        ),
        (
            with("", "[axes]\n'amplification.factor' = ['big']"),
            "s.toml:7: amplification.factor: found string \"big\", expected a number",
        ),
        (with("", "[axes]\n'amplification.factor' = []"), "s.toml:7: axes.amplification.factor: is empty"),
        (
            with("", "[axes]\n'amplification.factor' = 2.0"),
            "s.toml:7: axes.amplification.factor: found `2`, expected a list",
        ),
        (
            with("", "[axes]\n'amplification.factor' = [2, 2.0]"),
            "s.toml:1: two runs are called factor-2_seed-0: an axis",
        ),
        (with("seeds = [1, 1]", "[axes]\n'strategy.lr' = [1]"), "s.toml:1: two runs are called"),
        (with("seeds = 0", ""), "s.toml:1: seeds: found 0, expected 1 to 10000 seeds"),
        (with("seeds = []", ""), "s.toml:1: seeds: is empty"),
        (with("seeds = [1, -1]", ""), "s.toml:1: seeds.1: found integer `-1`, expected a whole number"),
        (with("seeds = 'all'", ""), "s.toml:1: seeds: found \"all\", expected a number or a list"),
        (
            with("", "[axes]\n'train.seed' = [1]"),
            "s.toml:7: train.seed: cannot be set in a study: give the study's `seeds`",
        ),
        (with("", "[axes]\n'strategy.phase.7.lr' = [1.0]"), "s.toml:7: strategy.phase.7: no item `7`"),
        (
            with("sample = { runs = 3 }", "[axes]\n'strategy.lr' = [1.0]"),
            "s.toml:1: sample.runs: is 3, but the grid holds only 1",
        ),
        (with("sample = { runs = 0 }", ""), "s.toml:1: sample.runs: is 0"),
        (with("sample = { run = 1 }", ""), "s.toml:1: sample.run: unknown key `run`; did you mean `runs`?"),
        (
            with("", "[axes]\n'strategy.lr' = { uniform = [0.1, 1.0] }"),
            "s.toml:7: strategy.lr: is a range: say how many",
        ),
        (
            with("sample = { runs = 2 }", "[axes]\n'strategy.lr' = { log_uniform = [0.0, 1.0] }"),
            "s.toml:7: axes.strategy.lr: found [0, 1], expected numbers above 0",
        ),
        (with("", "[[axis]]\nname = 'a'"), "s.toml:6: axis.0: expected a `key` with `values`"),
        (with("", "[[axis]]\nnam = 'a'"), "s.toml:7: axis.0.nam: unknown key `nam`; did you mean `name`?"),
        (
            with("", "[[axis]]\nname = 'a'\n[[axis.value]]\nname = 'b'"),
            "s.toml:8: axis.0.value.0: expected a `name` and what",
        ),
        (
            with(
                "",
                "[axes]\n'strategy.lr' = [1.0]\n[[axis]]\nkey = 'strategy.lr'\nname = 'x'\nvalues = [1]",
            ),
            "s.toml:8: the axis `x` sets strategy.lr, which the axis `strategy.lr` sets too",
        ),
        (
            with(
                "",
                "[[axis]]\nkey = 'model.width'\nname = 'x'\nvalues = [1]\n[[axis]]\nkey = 'model.name'\nname = 'x'\nvalues = ['vgg11']",
            ),
            "s.toml:10: two axes are called `x`",
        ),
        (with("preset = 'tuor'", ""), "s.toml:1: preset: found \"tuor\", expected one of"),
        (with("config = 'no.toml'", ""), "s.toml:1: config: no.toml: cannot be read"),
        (with("baseline = 3", ""), "s.toml:1: baseline: found `3`, expected true, false or a table"),
        (with("halving = { epochs = [] }", ""), "s.toml:1: halving.epochs: found [], expected ascending"),
        (
            with("halving = { epochs = [2, 2] }", ""),
            "s.toml:1: halving.epochs: found [2, 2], expected ascending",
        ),
        (
            with("halving = { epochs = [5] }", ""),
            "s.toml:1: halving.epochs: compares cells after 5 epochs, but runs have 5",
        ),
        (
            with("halving = { epochs = [1], eta = 1 }", ""),
            "s.toml:1: halving.eta: found 1, expected 2 or more",
        ),
        (with("controls = 'yes'", ""), "s.toml:1: controls: found string \"yes\", expected true or false"),
        ("seeds = = 2".to_owned(), "s.toml:1: "),
        ("seeds = 2".to_owned(), "s.toml:1: strategy.phase: found none"),
    ] {
        let message = error_of(&text);
        assert!(message.starts_with(expected), "{text}\nexpected {expected}\n   found {message}");
    }
    let missing = Study::read(Path::new("/nowhere/s.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/s.toml: cannot be read"), "{missing}");
}

#[test]
fn a_table_stands_for_its_keys_and_one_at_a_dotted_key_for_itself() {
    let base = "[base]\nmodel.width = 4\nstrategy.lr = { schedule = 'cosine', from = 0.1, to = 0.0 }\n\
                strategy.phase = [{ epochs = 1, amplify = { factor = 3.0, ratio = 0.5 } }]\n\
                amplification.kinds = ['relu']\n";
    let axis = "[[axis]]\nname = 'a'\n[[axis.value]]\nname = 'b'\n\
                set = { model = { name = 'vgg11' }, strategy = { lr = { schedule = 'linear', from = 0.2, to = 0.1 } }, \
                'strategy.phase.0.amplify' = { ratio = 0.25 } }\n";
    let expansion = expanded(&format!("baseline = false\n{base}{axis}"));
    let config = &expansion.settings[0].config;
    assert_eq!((config.model.name.name(), config.model.width), ("vgg11", 4), "joined");
    assert!(
        matches!(config.strategy.lr.as_ref().unwrap().curve, Curve::Linear { from: 0.2, to: 0.1 }),
        "replaced"
    );
    let amplification = config.strategy.phases[0].amplify.settings(&config.amplification).unwrap();
    assert_eq!((amplification.factor, amplification.ratio), (2.0, Some(0.25)), "replaced");
}

#[test]
fn settings_that_have_no_effect_are_told() {
    let phases = "[base.amplification]\nkinds = ['relu']\n[[base.strategy.phase]]\nepochs = 1\nlr = 0.1\n\
                  amplify = { factor = 3.0 }\n";
    let expansion =
        expanded(&format!("baseline = false\n{phases}[axes]\n'amplification.factor' = [2.0, 2.5]\n"));
    assert!(expansion.warnings.is_empty(), "the settings differ, though a phase hides it");
    let axis = "[[axis]]\nname = 'a'\n[[axis.value]]\nname = 'one'\nset = { strategy.lr = 0.1 }\n\
                [[axis.value]]\nname = 'two'\nset = { strategy = { lr = 0.1 } }\n";
    let expansion = expanded(&format!("baseline = false\n{BASE}{axis}"));
    assert_eq!(expansion.warnings, ["a-two has the same settings as a-one"]);
}

proptest! {
    #[test]
    fn names_are_unique_stable_and_blind_to_what_is_added(
        factors in prop::collection::btree_set(10_u32..50, 1..5), rates in prop::collection::btree_set(1_u32..90, 1..4),
        seeds in prop::collection::btree_set(0_u64..100, 1..4),
    ) {
        let text = |factors: &[f64]| format!(
            "seeds = {seeds:?}\n{BASE}[axes]\n'amplification.factor' = {factors:?}\n'strategy.lr' = {:?}\n",
            rates.iter().map(|r| f64::from(*r) / 100.0).collect::<Vec<_>>()
        ).replace('{', "[").replace('}', "]").replace("[ epochs = 2 ]", "{ epochs = 2 }")
            .replace("[ epochs = 3, amplify = true ]", "{ epochs = 3, amplify = true }");
        let mut values: Vec<f64> = factors.iter().map(|f| f64::from(*f) / 10.0).collect();
        let names = |expansion: &Expansion| expansion.plan.runs.iter().map(|run| run.name.clone()).collect::<Vec<_>>();
        let few = names(&expanded(&text(&values)));
        prop_assert_eq!(few.len(), (factors.len() + 1) * rates.len() * seeds.len());
        let unique: std::collections::HashSet<_> = few.iter().collect();
        prop_assert_eq!(unique.len(), few.len());
        values.push(9.75);
        let more = names(&expanded(&text(&values)));
        prop_assert!(few.iter().all(|name| more.contains(name)));
    }

    #[test]
    fn a_sample_is_a_part_of_the_grid_in_its_order_and_the_same_each_time(runs in 1_usize..24, seed in 0_u64..1000) {
        let axes = "[axes]\n'amplification.factor' = [1.5, 2.0, 2.5, 3.0]\n'amplification.ratio' = [0.25, 0.5, 1.0]\n\
                    'strategy.lr' = [0.1, 0.2]\n";
        let sample = |seed| expanded(&format!("baseline = false\nsample = {{ runs = {runs}, seed = {seed} }}\n{BASE}{axes}"));
        let grid = expanded(&format!("baseline = false\n{BASE}{axes}"));
        let (drawn, again) = (sample(seed), sample(seed));
        prop_assert_eq!(&drawn.plan, &again.plan);
        prop_assert_eq!(drawn.plan.runs.len(), runs);
        let mut rest = grid.plan.runs.iter();
        prop_assert!(drawn.plan.runs.iter().all(|run| rest.any(|other| other == run)));
    }

    #[test]
    fn ranges_are_drawn_within_their_bounds_and_alike_each_time(seed in 0_u64..1000) {
        let axes = "[axes]\n'strategy.lr' = { log_uniform = [0.01, 1.0] }\n'amplification.count' = { integer = [1, 3] }\n\
                    'amplification.factor' = { uniform = [1.5, 4.0] }\n";
        let text = format!("sample = {{ runs = 6, seed = {seed} }}\n{BASE}{axes}");
        let expansion = expanded(&text);
        prop_assert_eq!(&expansion.plan, &expanded(&text).plan);
        let cells = || expansion.plan.runs.iter().zip(&expansion.settings).filter(|(run, _)| run.role == Role::Cell);
        prop_assert_eq!(cells().count(), 6);
        for (run, settings) in cells() {
            let config = &settings.config;
            let lr = config.strategy.lr.as_ref().map_or(0.0, |lr| lr.peak());
            prop_assert!((0.01..=1.0).contains(&lr) && (1.5..=4.0).contains(&config.amplification.factor));
            prop_assert!((1..=3).contains(&config.amplification.count.unwrap()));
            prop_assert_eq!(run.axes["strategy.lr"].as_f64(), Some(lr), "what is named is what is run");
        }
    }

    #[test]
    fn any_study_is_an_answer_and_no_panic(text in "(\\[?\\[?[a-z.]{0,9}\\]?\\]?( = )?[-0-9.\"a-z{}]{0,5}\n){0,8}") {
        let study = Study::parse(Path::new("s.toml"), text);
        let _ = study.and_then(|study| expand(&study, true));
    }
}

#[test]
fn a_plan_survives_its_file_and_one_of_another_form_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let plan =
        expanded(&format!("halving = {{ epochs = [1, 2] }}\n{BASE}[axes]\n'strategy.lr' = [0.1, 0.2]\n"))
            .plan;
    let text = serde_json::to_string(&plan).unwrap();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(Plan::read(&path).unwrap(), plan);
    std::fs::write(&path, text.replace("\"format\":1", "\"format\":2")).unwrap();
    assert!(Plan::read(&path).unwrap_err().to_string().ends_with("plan.json: expected format 1, found 2"));
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(Plan::read(&path).unwrap_err().to_string().contains("is damaged or of another version"));
    let error = SweepData::read(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("expected the folder of a sweep, found no such folder"), "{error}");
}
