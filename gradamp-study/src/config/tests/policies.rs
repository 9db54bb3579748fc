//! The settings of amplification's policies.

use gradamp_core::amplify::{Measure, Measured, PolicyName, Profile, Side, Through};

use super::*;

#[test]
fn threshold_and_quantile_take_each_other_back() {
    let sets = ["amplification.fluctuation.quantile=0.3", "amplification.fluctuation.threshold=0.2"];
    let resolved = Layers { sets: sets.map(str::to_owned).to_vec(), ..layers() }.resolve().unwrap();
    let found = resolved.config.amplification.fluctuation;
    assert_eq!((found.threshold, found.quantile), (Some(0.2), None));
}

/// Settings of every policy, in the run's table and in a phase's.
const POLICIES: &str = "
[amplification]
policy = 'fluctuation'
kinds = ['batch_norm']
max_gain = 16
through = 'mean_learning_rate'

[amplification.fluctuation]
measure = 'relative_change'
of = 'params'
quantile = 0.25
select = 'above'
window = 2
every = 3

[strategy]
lr = 0.1

[[strategy.phase]]
epochs = 2
amplify = { policy = 'equalise', equalise = { target = 0.5, max_factor = 4.0, every = 2 } }

[[strategy.phase]]
epochs = 2

[strategy.phase.amplify]
policy = 'list'
sites = ['bn1', 'linear']
factors = [2.0, 0.5]

[[strategy.phase]]
epochs = 1
amplify = { policy = 'depth', depth = { first = 3.0, profile = 'linear' }, fluctuation = { threshold = 0.1 } }
";

#[test]
fn every_policys_settings_are_read_merged_and_shown() {
    let (_folder, layers) = with_file(POLICIES);
    let resolved = layers.resolve().unwrap();
    let run = &resolved.config.amplification;
    assert_eq!((run.policy, run.max_gain), (PolicyName::Fluctuation, Some(16.0)));
    assert_eq!(run.through, Through::MeanLearningRate);
    let phase = |i: usize| resolved.config.strategy.phases[i].amplify.settings(run).unwrap();
    let equalise = phase(0);
    assert_eq!((equalise.policy, equalise.equalise.target), (PolicyName::Equalise, Some(0.5)));
    assert_eq!((equalise.equalise.min_factor, equalise.equalise.max_factor), (0.1, 4.0));
    let list = phase(1);
    assert_eq!((list.sites.len(), &*list.factors, list.kinds.len()), (2, [2.0, 0.5].as_slice(), 0));
    let depth = phase(2);
    assert_eq!((depth.depth.first, depth.depth.last, depth.depth.profile), (3.0, 1.0, Profile::Linear));
    let merged = &depth.fluctuation;
    assert_eq!((merged.threshold, merged.quantile, merged.window), (Some(0.1), None, 2));
    assert_eq!((merged.measure, merged.of), (Measure::RelativeChange, Some(Measured::Params)));
    assert_eq!(merged.select, Side::Above);

    let text = resolved.show().unwrap();
    for line in [
        "policy = \"fluctuation\"",
        "through = \"mean_learning_rate\"",
        "max_gain = 16.0",
        "[amplification.fluctuation]",
        "measure = \"relative_change\"",
        "[amplification.equalise]",
        "[amplification.depth]",
        "profile = \"geometric\"",
        "factors = [2.0, 0.5]",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let (_folder, again) = with_file(&text);
    assert_eq!(again.resolve().unwrap().config, resolved.config, "{text}");
}

#[test]
fn what_is_wrong_with_a_policy_names_its_key() {
    for (text, expected) in [
        (
            "[amplification]\npolicy = \"equalize\"",
            "run.toml:2: amplification.policy: found \"equalize\", expected one of \"random\", \"list\", \"all\", \"fluctuation\", \"equalise\", \"depth\" (did you mean \"equalise\"?)",
        ),
        (
            "[amplification]\nmax_gain = 0.5",
            "run.toml:2: amplification.max_gain: is 0.5, expected a finite number of at least 1",
        ),
        (
            "[amplification.fluctuation]\nquantile = 2",
            "run.toml:2: amplification.fluctuation.quantile: is 2, expected 0 to 1",
        ),
        (
            "[amplification.fluctuation]\nthreshold = 0.1\nquantile = 0.2",
            "run.toml:3: amplification.fluctuation.quantile: is given beside `threshold`: give one of the two",
        ),
        (
            "[amplification.fluctuation]\nwindow = 0",
            "run.toml:2: amplification.fluctuation.window: is 0, expected 1 to 1000 epochs",
        ),
        (
            "[amplification.fluctuation]\ntreshold = 0.1",
            "run.toml:2: amplification.fluctuation.treshold: unknown key `treshold`; did you mean `threshold`?",
        ),
        (
            "[amplification.equalise]\nmin_factor = 20",
            "run.toml:1: amplification.equalise.max_factor: is 10, expected at least `min_factor`, 20",
        ),
        (
            "[amplification.depth]\nlast = 0",
            "run.toml:2: amplification.depth.last: is 0, expected a finite number above 0",
        ),
        (
            "[amplification]\nfactors = [1.0, -1.0]",
            "run.toml:2: amplification.factors.1: is -1, expected a finite number above 0",
        ),
        (
            "[train]\ngradients_every = 0\n[amplification]\npolicy = \"fluctuation\"",
            "run.toml:2: train.gradients_every: found 0, expected at least 1, for the policy of amplification decides by measured gradients",
        ),
    ] {
        assert_eq!(error_of(&format!("{text}\n{PHASE}amplify = true\n")), expected);
    }
    let off = format!("[train]\ngradients_every = 0\n[amplification]\npolicy = \"fluctuation\"\n{PHASE}");
    let (_folder, layers) = with_file(&off);
    assert!(layers.resolve().is_ok(), "no phase amplifies");
}

#[test]
fn a_phase_changes_what_it_names_and_drops_what_that_excludes() {
    let phase = |run: &str, changes: &str| {
        let text = format!("[amplification]\n{run}\n{PHASE}amplify = {changes}\n");
        let (_folder, layers) = with_file(&text);
        let config = layers.resolve().unwrap().config;
        let settings = config.strategy.phases[0].amplify.settings(&config.amplification);
        (settings.unwrap().clone(), config.amplification.clone())
    };
    let by_kind = "kinds = ['conv']\nratio = 0.5\nfactor = 3.0";
    let (unchanged, run) = phase(by_kind, "{}");
    assert_eq!(unchanged, run);
    let (listed, run) = phase(by_kind, "{ sites = ['bn1'], count = 1 }");
    let expected = run.with_sites(vec!["bn1".into()]).with_kinds(vec![]).with_count(Some(1)).with_ratio(None);
    assert_eq!(listed, expected);
    let (narrowed, run) = phase(by_kind, "{ paths = ['layer1.**'] }");
    assert_eq!(narrowed, run.with_paths(vec!["layer1.**".into()]));
    let list = "policy = 'list'\nsites = ['bn1']\nfactors = [2.0]";
    let (by_path, run) = phase(list, "{ paths = ['bn1'] }");
    assert_eq!(by_path, run.with_paths(vec!["bn1".into()]).with_sites(vec![]));
    let (all, run) = phase(list, "{ policy = 'all' }");
    assert_eq!(all, run.with_policy(PolicyName::All).with_factors(vec![]));
}

#[test]
fn only_a_phases_changes_are_shown() {
    let phases = "[[strategy.phase]]\nepochs = 1\namplify = {}\n[[strategy.phase]]\nepochs = 1\namplify = { factor = 3, depth = { first = 4 } }\n";
    let (_folder, layers) =
        with_file(&format!("[amplification]\nkinds = ['relu']\n[strategy]\nlr = 0.1\n{phases}"));
    let resolved = layers.resolve().unwrap();
    let text = resolved.show().unwrap();
    let (_, phases) = text.split_once("[[strategy.phase]]").unwrap();
    let lines: Vec<&str> =
        phases.lines().filter_map(|line| line.split_once('#')).map(|(line, _)| line.trim()).collect();
    assert_eq!(
        lines,
        ["epochs = 1", "amplify = true", "epochs = 1", "factor = 3.0", "first = 4.0"],
        "{text}"
    );
    let (_folder, again) = with_file(&text);
    assert_eq!(again.resolve().unwrap().config, resolved.config, "{text}");
}

#[test]
fn a_field_of_the_trainers_settings_is_placed_where_its_key_was_written() {
    let text = "[amplification]\npaths = ['nowhere']\n[amplification.depth]\nfirst = 2\n[strategy]\nlr = 0.1\n\
                [[strategy.phase]]\nepochs = 1\namplify = { kinds = ['relu'], depth = { last = 3 } }\n";
    let (_folder, layers) = with_file(text);
    let resolved = layers.resolve().unwrap();
    for (field, place) in [
        ("strategy.phases[0].amplify.kinds[0]", "run.toml:9: strategy.phase.0.amplify.kinds.0"),
        ("strategy.phases[0].amplify.paths[0]", "run.toml:2: amplification.paths.0"),
        ("strategy.phases[0].amplify.depth.last", "run.toml:9: strategy.phase.0.amplify.depth.last"),
        ("strategy.phases[0].amplify.depth.first", "run.toml:4: amplification.depth.first"),
        ("strategy.phases[0].lr", "run.toml:7: strategy.phase.0.lr"),
        ("strategy.lr", "run.toml:6: strategy.lr"),
        ("amplification.paths[0]", "run.toml:2: amplification.paths.0"),
        ("optimizer.momentum", "run.toml:1: optimizer.momentum"),
        ("label_smoothing", "run.toml:1: optimizer.label_smoothing"),
        ("gradients_every", "run.toml:1: train.gradients_every"),
        ("loss_scaling.min", "run.toml:1: train.loss_scaling.min"),
    ] {
        let error = resolved.locate(gradamp_core::Error::setting(field, "is wrong").into()).to_string();
        assert!(error.ends_with(&format!("{place}: is wrong")), "{field}: {error}");
    }
}
