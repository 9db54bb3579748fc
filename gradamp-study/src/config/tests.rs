use std::path::PathBuf;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::tree::{Node, Origin, Value};
use super::*;

mod complete;
mod policies;

fn layers() -> Layers {
    Layers { preset: Some("tour".into()), ..Layers::default() }
}

fn with_file(text: &str) -> (tempfile::TempDir, Layers) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Layers { file: Some(path), ..Layers::default() })
}

/// The message for a file, without the folder's name.
fn error_of(text: &str) -> String {
    let (folder, layers) = with_file(text);
    let message = layers.resolve().unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

const PHASE: &str = "[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 2\n";

#[test]
fn every_preset_resolves_to_what_its_name_says() {
    for preset in presets::ALL {
        let layers = Layers { preset: Some(preset.name.into()), ..Layers::default() };
        let resolved = layers.resolve().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        let amplified: Vec<bool> =
            resolved.config.strategy.phases.iter().map(|p| p.amplify.is_on()).collect();
        let (epochs, expected): (usize, &[bool]) = match preset.name {
            "tour" => (resolved.config.strategy.epochs(), &[false, true, false]),
            "baseline" => (30, &[false]),
            "middle-phase" => (30, &[false, true, false]),
            "two-rate-150" => (150, &[false, true, true, false]),
            "vanishing" => (8, &[true, false]),
            other => panic!("a preset without an expectation: {other}"),
        };
        assert_eq!((resolved.config.strategy.epochs(), &*amplified), (epochs, expected), "{}", preset.name);
    }
}

#[test]
fn without_preset_and_file_it_is_the_tour() {
    assert_eq!(Layers::default().resolve().unwrap().config, layers().resolve().unwrap().config);
}

#[test]
fn each_layer_wins_over_those_below() {
    let (_folder, mut layers) =
        with_file(&format!("[train]\nbatch_size = 1\nseed = 1\nthreads = 1\n{PHASE}"));
    layers.preset = Some("tour".into());
    layers.sets = vec!["train.seed=2".into(), "train.threads=2".into()];
    layers.flags = vec![("--threads", "train.threads", Some(Value::Integer(3)))];
    let resolved = layers.resolve().unwrap();
    let train = &resolved.config.train;
    assert_eq!((train.batch_size, train.seed, train.threads), (1, 2, 3));
    assert_eq!(resolved.config.model.width, 8, "the preset's");
    assert_eq!(resolved.config.train.log_interval, 10, "the default");
    let file = layers.file.unwrap();
    for (key, origin) in [
        ("train.batch_size", Origin::File(file, 2)),
        ("train.seed", Origin::Set),
        ("train.threads", Origin::Flag("--threads")),
        ("train.log_interval", Origin::Default),
    ] {
        assert_eq!(resolved.origin(key), origin, "{key}");
    }
    assert!(matches!(resolved.origin("model.width"), Origin::Preset("tour", line) if line > 1));
}

#[test]
fn an_unknown_key_gets_its_place_and_the_nearest_right_one() {
    assert_eq!(
        error_of(&format!("[train]\nseed = 1\nbatchsize = 3\n{PHASE}")),
        "run.toml:3: train.batchsize: unknown key `batchsize`; did you mean `batch_size`?"
    );
    assert_eq!(
        error_of(&format!("{PHASE}[[strategy.phase]]\nepoch = 2\n")),
        "run.toml:6: strategy.phase.1.epoch: unknown key `epoch`; did you mean `epochs`?"
    );
    assert_eq!(
        error_of(&format!("[amplifcation]\nfactor = 2\n{PHASE}")),
        "run.toml:1: amplifcation: unknown key `amplifcation`; did you mean `amplification`?"
    );
    let far = error_of(&format!("[train]\nxyzzy = 3\n{PHASE}"));
    assert!(
        far.starts_with("run.toml:2: train.xyzzy: unknown key `xyzzy`; expected one of \"batch_size\""),
        "{far}"
    );
    let deep = error_of("[[strategy.phase]]\nepochs = 1\nlr = 0.1\namplify = { facter = 2.0 }\n");
    let expected =
        "run.toml:4: strategy.phase.0.amplify.facter: unknown key `facter`; did you mean `factor`?";
    assert_eq!(deep, expected);
}

#[test]
fn values_of_a_wrong_type_or_range_name_key_found_and_expected() {
    for (text, expected) in [
        (
            "[train]\nbatch_size = \"many\"",
            "run.toml:2: train.batch_size: found string \"many\", expected a whole number, 0 or more",
        ),
        (
            "[train]\nbatch_size = -1",
            "run.toml:2: train.batch_size: found integer `-1`, expected a whole number, 0 or more",
        ),
        ("[train]\nbatch_size = 0", "run.toml:2: train.batch_size: found 0, expected 1 to 65536"),
        (
            "[train]\ndevice = \"tpux9\"",
            "run.toml:2: train.device: found \"tpux9\", expected \"auto\", \"cpu\", \"gpu\", \"gpu:NUMBER\" or \"gpu:NAME\" (`gradamp devices` lists them)",
        ),
        ("[train]\ndevice = 1", "run.toml:2: train.device: found integer `1`, expected a text in quotes"),
        (
            "[train]\ngpu_memory = \"much\"",
            "run.toml:2: train.gpu_memory: found \"much\", expected an amount of memory such as \"512 MiB\" or \"4GiB\"",
        ),
        (
            "[train]\nprecision = \"f16\"",
            "run.toml:2: train.precision: found \"f16\", expected one of \"f32\", \"mixed\"",
        ),
        (
            "[train]\nevaluate_every = 0",
            "run.toml:2: train.evaluate_every: found 0, expected at least 1 epoch",
        ),
        ("[model]\nwidth = 0", "run.toml:2: model.width: expected a number from 1 to 1024, found 0"),
        (
            "[optimizer]\nmomentum = 1.5",
            "run.toml:2: optimizer.momentum: expected a number in [0, 1), found 1.5",
        ),
        (
            "[optimizer]\nlabel_smoothin = 0.1",
            "run.toml:2: optimizer.label_smoothin: unknown key `label_smoothin`; did you mean `label_smoothing`?",
        ),
        (
            "[optimizer]\nmomentun = 0.1",
            "run.toml:2: optimizer.momentun: unknown key `momentun`; did you mean `momentum`?",
        ),
        (
            "[optimizer]\nlabel_smoothing = 'much'",
            "run.toml:2: optimizer.label_smoothing: found string \"much\", expected a number",
        ),
        (
            "[optimizer]\nlabel_smoothing = 2",
            "run.toml:2: optimizer.label_smoothing: found 2, expected 0 to 1",
        ),
        (
            "[optimizer]\nnesterov = 1",
            "run.toml:2: optimizer.nesterov: found integer `1`, expected true or false",
        ),
        (
            "[optimizer]\nadaptive_clip = { limit = 0 }",
            "run.toml:2: optimizer.adaptive_clip.limit: expected a number above 0, found 0",
        ),
        (
            "[optimizer]\nname = 'adamw'\nmomentum = 0.9",
            "run.toml:3: optimizer.momentum: is a key of \"sgd\", but the optimizer is \"adamw\": leave it out",
        ),
        (
            "[optimizer]\nbetas = [0.9, 0.99]",
            "run.toml:2: optimizer.betas: is a key of \"adamw\", but the optimizer is \"sgd\": leave it out",
        ),
        (
            "[optimizer]\nname = 'adamw'\nbetas = [0.9, 1.0]",
            "run.toml:3: optimizer.betas.1: expected a number in [0, 1), found 1",
        ),
        (
            "[optimizer]\nname = 'adam'",
            "run.toml:2: optimizer.name: found \"adam\", expected one of \"sgd\", \"adamw\" (did you mean \"adamw\"?)",
        ),
        (
            "[optimizer]\nadaptive_clip = true",
            "run.toml:2: optimizer.adaptive_clip: found boolean `true`, expected a table",
        ),
        (
            "[optimizer.noise]\ngama = 1",
            "run.toml:2: optimizer.noise.gama: unknown key `gama`; did you mean `gamma`?",
        ),
        (
            "[optimizer]\nlars = {}\nclip_value = 1",
            "run.toml:2: optimizer.lars: uses the norm of each gradient, which `clip_value` changes afterwards: give one of the two",
        ),
        (
            "[optimizer]\nlars = {}\nnormalise = 'block'",
            "run.toml:2: optimizer.lars: divides each gradient by its norm, which undoes what `normalise` does before: give one of the two",
        ),
        (
            "[optimizer]\nnormalise = 'zscore'",
            "run.toml:2: optimizer.normalise: found \"zscore\", expected one of \"block\", \"z_score\", \"autoscale\" (did you mean \"z_score\"?)",
        ),
        (
            "[[optimizer.layer_rates]]\npaths = \"fc.*\"\nlr = -2",
            "run.toml:3: optimizer.layer_rates.0.lr: expected a number of at least 0, found -2",
        ),
        (
            "[optimizer]\nlayer_rates = [{ paths = \"[\", lr = 2 }]",
            "run.toml:2: optimizer.layer_rates.0.paths: \"[\" is no glob: unclosed character class; missing ']'",
        ),
        (
            "[optimizer]\nlayer_rates = [{ paths = \"fc.*\" }]",
            "run.toml:2: optimizer.layer_rates.0: the key `lr` is missing",
        ),
        (
            "[amplification]\nratio = 0",
            "run.toml:2: amplification.ratio: is 0, expected more than 0 and at most 1",
        ),
        (
            "[amplification]\nkinds = \"relu\"",
            "run.toml:2: amplification.kinds: found string \"relu\", expected a list",
        ),
        (
            "[train]\nseed = 1979-05-27",
            "run.toml:2: train.seed: found the date 1979-05-27, which no setting takes",
        ),
    ] {
        assert_eq!(error_of(&format!("{text}\n{PHASE}")), expected);
    }
    let model = error_of(&format!("[model]\nname = \"resnet-18\"\n{PHASE}"));
    assert!(
        model.starts_with("run.toml:2: model.name: ") && model.contains("did you mean resnet18?"),
        "{model}"
    );
    let kind = error_of(&format!("[amplification]\nkinds = [\"batchnorm\"]\n{PHASE}"));
    assert!(
        kind.starts_with("run.toml:2: amplification.kinds.0: found \"batchnorm\", expected one of"),
        "{kind}"
    );
    assert!(kind.ends_with("(did you mean \"batch_norm\"?)"), "{kind}");
}

#[test]
fn very_large_and_small_numbers_are_told_in_few_digits() {
    for (text, expected) in [
        ("[train]\nseed = 1e30", "train.seed: found floating point `1e30`, expected a whole number"),
        ("[train]\nseed = 1e-30", "train.seed: found floating point `1e-30`, expected a whole number"),
        (
            "[optimizer]\nweight_decay = -1e30",
            "optimizer.weight_decay: expected a number of at least 0, found -1e30",
        ),
        ("[optimizer]\nmomentum = 1e30", "optimizer.momentum: expected a number in [0, 1), found 1e30"),
        ("[amplification]\nratio = 1e30", "amplification.ratio: is 1e30, expected"),
        ("[amplification]\nfactor = -1e30", "amplification.factor: is -1e30, expected"),
        ("[[strategy.phase]]\nepochs = 1\nlr = -1e30", "strategy.phase.0.lr: is -1e30, expected"),
    ] {
        let message = error_of(&format!("{text}\n{}", if text.contains("phase") { "" } else { PHASE }));
        assert!(message.contains(expected), "{message}");
    }
    let tiny = layers().resolve().unwrap();
    let huge = Layers { lr: Some(1e30), ..layers() }.resolve().unwrap();
    let difference = &tiny.differences(&huge).unwrap()[0];
    assert_eq!((difference.before.as_str(), difference.after.as_str()), ("`0.1`", "`1e30`"));
}

#[test]
fn a_strategy_is_checked_phase_by_phase() {
    let zero =
        error_of("[strategy]\nlr = 0.1\n[[strategy.phase]]\nepochs = 1\n[[strategy.phase]]\nepochs = 0\n");
    assert!(zero.starts_with("run.toml:6: strategy.phase.1.epochs: is 0, expected at least 1"), "{zero}");
    let none = error_of("[train]\nseed = 1\n");
    assert_eq!(none, "run.toml:1: strategy.phase: found none, expected at least one phase");
    let empty = error_of("[train]\nseed = 1\n[strategy]\nlr = 0.1\n");
    assert_eq!(empty, "run.toml:3: strategy.phase: found none, expected at least one phase");
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let message = error_of("[train]\nseed = = 3\n");
    assert!(message.starts_with("run.toml:2: "), "{message}");
    let missing = Layers { file: Some(PathBuf::from("/nowhere/run.toml")), ..Layers::default() };
    let message = missing.resolve().unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/run.toml: cannot be read: "), "{message}");
}

#[test]
fn set_reaches_into_phases_and_names_itself() {
    let set =
        |sets: &[&str]| Layers { sets: sets.iter().map(|s| s.to_string()).collect(), ..layers() }.resolve();
    let resolved =
        set(&["strategy.phase.1.lr=0.5", "strategy.phase[2].epochs = 7", "data.source=shapes"]).unwrap();
    let phases = &resolved.config.strategy.phases;
    assert_eq!(phases[1].lr, Some(gradamp_core::amplify::LearningRate::constant(0.5)));
    assert_eq!(phases[2].epochs, 7);
    assert_eq!(resolved.origin("strategy.phase.2.epochs"), Origin::Set);
    assert_eq!(resolved.config.data.source, gradamp_data::Source::Shapes);
    for (text, expected) in [
        ("train.batchsize=3", "--set: train.batchsize: unknown key `batchsize`; did you mean `batch_size`?"),
        ("train.seed", "--set: found \"train.seed\", expected key.path=value"),
        ("strategy.phase.9.lr=1", "--set: strategy.phase.9: no item `9`; the list holds 3, numbered from 0"),
        ("train.seed.deep=1", "--set: train.seed: unknown key"),
        ("=1", "--set: an empty key; expected key.path=value"),
    ] {
        let message = set(&[text]).unwrap_err().to_string();
        if text == "train.seed.deep=1" {
            assert!(message.contains("train.seed"), "{message}");
        } else {
            assert_eq!(message, expected);
        }
    }
}

#[test]
fn ratio_and_count_take_each_other_back() {
    let resolved = Layers { sets: vec!["amplification.count=2".into()], ..layers() }.resolve().unwrap();
    assert_eq!((resolved.config.amplification.count, resolved.config.amplification.ratio), (Some(2), None));
    let both = error_of(&format!("[amplification]\ncount = 2\nratio = 0.5\n{PHASE}"));
    assert!(both.starts_with("run.toml:2: amplification.count: "), "{both}");
}

#[test]
fn epochs_and_lr_scale_the_strategy_and_are_named_as_origins() {
    let layers = Layers { epochs: Some(12), lr: Some(0.2), ..layers() };
    let resolved = layers.resolve().unwrap();
    assert_eq!(resolved.config.strategy.epochs(), 12);
    assert_eq!(resolved.config.strategy.lr.as_ref().map(|lr| lr.peak()), Some(0.2));
    assert_eq!(resolved.origin("strategy.phase.0.epochs"), Origin::Flag("--epochs"));
    assert_eq!(resolved.origin("strategy.lr.from"), Origin::Flag("--lr"));
    assert!(matches!(resolved.origin("strategy.phase.1.amplify"), Origin::Preset("tour", _)));
    let error = |layers: Layers| layers.resolve().unwrap_err().to_string();
    let none = error(Layers { epochs: Some(0), ..self::layers() });
    assert_eq!(none, "--epochs: is 0, expected 1 to 1000000");
    let negative = error(Layers { lr: Some(-1.0), ..self::layers() });
    assert!(negative.starts_with("--lr: is -1, expected"), "{negative}");
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings() {
    for preset in presets::ALL {
        let layers = Layers {
            preset: Some(preset.name.into()),
            sets: vec!["strategy.phase.0.amplify={factor=3.0}".into(), "optimizer.clip_norm=1.5".into()],
            ..Layers::default()
        };
        let resolved = layers.resolve().unwrap();
        let text = resolved.show().unwrap();
        let (_folder, again) = with_file(&text);
        assert_eq!(again.resolve().unwrap().config, resolved.config, "{text}");
        let values = text.lines().filter(|line| line.contains(" = "));
        assert!(values.clone().count() > 20 && values.clone().all(|line| line.contains(" # ")), "{text}");
        assert!(text.contains("# --set") && text.contains(&format!("# preset {}:", preset.name)), "{text}");
    }
}

#[test]
fn adamw_has_defaults_of_its_own_and_a_note_where_it_hides_amplification() {
    use gradamp_core::optim::{AdamWSettings, OptimizerSettings};
    let sets = |sets: &[&str]| {
        let sets = ["optimizer.name=adamw"].iter().chain(sets).map(|set| (*set).to_owned()).collect();
        Layers { sets, ..layers() }.resolve().unwrap()
    };
    let default = sets(&["strategy.phase=[{epochs=1, lr=0.001}]"]);
    assert_eq!(default.config.optimizer.settings(), OptimizerSettings::AdamW(AdamWSettings::default()));
    assert!(default.notes.iter().all(|note| !note.contains("AdamW")), "{:?}", default.notes);
    let text = default.show().unwrap();
    assert!(text.contains("epsilon = ") && !text.contains("momentum"), "{text}");
    assert_eq!(read_back(&text), default.config, "{text}");
    let amplified = sets(&["strategy.phase=[{epochs=1, lr=0.001, amplify=true}]", "optimizer.epsilon=1e-4"]);
    assert!(amplified.notes.iter().any(|note| note.contains("`optimizer.epsilon`")), "{:?}", amplified.notes);
    let OptimizerSettings::AdamW(settings) = amplified.config.optimizer.settings() else { panic!("SGD") };
    assert_eq!(settings, AdamWSettings::default().with_epsilon(1e-4));
}

#[test]
fn the_optimisers_options_reach_sgd_and_read_back_as_they_are_shown() {
    use gradamp_core::optim::{AdaptiveClip, GradientNoise, Lars, LayerRate, ParameterSet, SgdSettings};
    let plain = layers().resolve().unwrap();
    assert_eq!(plain.config.optimizer.settings(), SgdSettings::default().into(), "all are off");
    let sets = [
        "optimizer.centralise=true",
        "optimizer.adaptive_clip.limit=0.1",
        "optimizer.noise={}",
        "optimizer.lars={trust=0.02, exclude=[\"bias\"]}",
        "optimizer.layer_rates=[{paths=\"layer1.**\", lr=2.0}, {paths=\"fc.*\", lr=0}]",
    ];
    let resolved = Layers { sets: sets.map(String::from).to_vec(), ..layers() }.resolve().unwrap();
    let rate = |paths: &str, lr| LayerRate::new(paths, lr);
    let expected = SgdSettings::default()
        .with_centralise(true)
        .with_adaptive_clip(Some(
            AdaptiveClip::default().with_limit(0.1).with_epsilon(1e-3).with_last_linear(false),
        ))
        .with_noise(Some(GradientNoise::default().with_eta(0.01).with_gamma(0.55)))
        .with_lars(Some(
            Lars::default().with_trust(0.02).with_epsilon(1e-8).with_exclude(vec![ParameterSet::Bias]),
        ))
        .with_layer_rates(vec![rate("layer1.**", 2.0), rate("fc.*", 0.0)]);
    assert_eq!(resolved.config.optimizer.settings(), expected.into());
    let text = resolved.show().unwrap();
    assert_eq!(read_back(&text), resolved.config, "{text}");
    let place =
        |key: &str| text.find(&format!("\n{key} = ")).unwrap_or_else(|| panic!("no {key} in\n{text}"));
    assert!(place("centralise") < place("label_smoothing"), "{text}");
    let text = plain.show().unwrap();
    let place =
        |key: &str| text.find(&format!("\n{key} = ")).unwrap_or_else(|| panic!("no {key} in\n{text}"));
    assert!(place("label_smoothing") < place("layer_rates"), "{text}");
    let text = resolved.show().unwrap();
    let (_folder, again) = with_file(&text);
    assert_eq!(again.resolve().unwrap().config, resolved.config, "{text}");
}

fn plain_value() -> impl Generator<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_filter("equal to itself", |f| !f.is_nan()).prop_map(Value::Float),
        "\\PC*".prop_map(Value::String),
    ]
}

/// The value as a user would type it in TOML.
fn typed(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => toml::Value::from(*value).to_string(),
        Value::String(value) => toml::Value::from(value.clone()).to_string(),
        _ => String::new(),
    }
}

/// What a reader of the folder of a run finds of settings.
fn read_back(text: &str) -> Config {
    Resolved::from_tree(Node::parse(text, &|_| Origin::Set).unwrap()).unwrap().config
}

proptest! {
    #[test]
    fn what_is_shown_reads_back_wherever_it_came_from(path in "(\\PC|[\0-\u{9f}]){0,12}") {
        let mut resolved = layers().resolve().unwrap();
        resolved.tree = resolved.tree.with_origin(&Origin::File(PathBuf::from(path), 3));
        let text = resolved.show().unwrap();
        prop_assert_eq!(read_back(&text), resolved.config, "{}", text);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_of_any_bytes_is_shown_on_one_line(bytes in prop::collection::vec(1_u8.., 0..12)) {
        use std::os::unix::ffi::OsStringExt;
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        let text = tree::shown(&path).to_string();
        prop_assert!(!text.contains(char::is_control), "{:?}", text);
    }

    #[test]
    fn fewer_epochs_than_phases_leave_some_out_and_read_back(
        lengths in prop::collection::vec(1_usize..50, 1..8), total in 1_usize..8,
    ) {
        let phases: String = lengths
            .iter()
            .enumerate()
            .map(|(i, epochs)| format!("[[strategy.phase]]\nepochs = {epochs}\namplify = {{ factor = {}.5 }}\n", i + 1))
            .collect();
        let (_folder, layers) = with_file(&format!("[strategy]\nlr = 0.1\n{phases}"));
        let resolved = Layers { epochs: Some(total), ..layers }.resolve().unwrap();
        prop_assert_eq!(resolved.config.strategy.epochs(), total);
        prop_assert_eq!(resolved.notes.len(), usize::from(total < lengths.len()));
        let text = resolved.show().unwrap();
        prop_assert_eq!(&read_back(&text), &resolved.config, "{}", &text);
        // What is kept of a phase is told to come from its own line.
        for (i, phase) in resolved.config.strategy.phases.iter().enumerate() {
            let number = phase.amplify.settings(&resolved.config.amplification).unwrap().factor as usize - 1;
            let origin = resolved.origin(&format!("strategy.phase.{i}.amplify.factor"));
            prop_assert!(matches!(origin, Origin::File(_, line) if line == 3 * number + 5), "{}: {}", number, origin);
        }
    }

    #[test]
    fn the_highest_layer_that_sets_a_key_wins(seeds in prop::collection::vec(prop::option::of(0..i64::MAX), 3)) {
        let (_folder, mut layers) = with_file(&match seeds[0] {
            Some(seed) => format!("[train]\nseed = {seed}\n{PHASE}"),
            None => PHASE.to_owned(),
        });
        layers.sets.extend(seeds[1].map(|seed| format!("train.seed={seed}")));
        layers.flags.extend(seeds[2].map(|seed| ("--seed", "train.seed", Some(Value::Integer(seed)))));
        let expected = seeds.iter().rev().flatten().next().copied().unwrap_or(0);
        let resolved = layers.resolve().unwrap();
        prop_assert_eq!(resolved.config.train.seed, expected as u64);
        let is_default = seeds.iter().all(Option::is_none);
        prop_assert_eq!(resolved.origin("train.seed") == Origin::Default, is_default);
    }

    #[test]
    fn a_value_that_is_set_is_the_value_that_is_found(
        path in prop::collection::vec("[a-z_]{1,6}", 1..4), value in plain_value(),
    ) {
        let mut tree = Node::empty();
        let node = Node::parse_value(&typed(&value), &Origin::Set);
        tree.set(&path.join("."), node).unwrap();
        prop_assert_eq!(&tree.get(&path.join(".")).unwrap().value, &value);
    }

    #[test]
    fn any_text_after_set_is_an_answer_and_no_panic(text in "\\PC*") {
        let _ = Layers { sets: vec![text], ..layers() }.resolve();
    }

    #[test]
    fn any_file_is_an_answer_and_no_panic(text in "(\\[?\\[?[a-z.]{0,9}\\]?\\]?( = )?[-0-9.\"a-z{}]{0,5}\n){0,8}") {
        let (_folder, layers) = with_file(&text);
        let _ = layers.resolve();
    }
}
