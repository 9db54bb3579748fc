use proptest::prelude::*;

use super::small_resnet;
use crate::LayerKind;
use crate::amplify::{
    AmplificationSettings, Amplifier, Amplify, Draw, Draws, History, LearningRate, Phase, Placement, Redraw,
    Selection, Strategy,
};

fn eligible(settings: &AmplificationSettings) -> Result<Vec<String>, String> {
    let trace = small_resnet();
    let selection = Selection::new(settings, &trace, 0).map_err(|error| error.to_string())?;
    Ok(selection.eligible().iter().map(|&i| trace.sites[i].path.to_string()).collect())
}

fn kinds(kinds: &[LayerKind]) -> AmplificationSettings {
    AmplificationSettings { kinds: kinds.to_vec(), ..Default::default() }
}

fn paths(paths: &[&str]) -> AmplificationSettings {
    AmplificationSettings { paths: paths.iter().map(|p| p.to_string()).collect(), ..Default::default() }
}

fn sites(sites: &[&str]) -> AmplificationSettings {
    AmplificationSettings { sites: sites.iter().map(|p| p.to_string()).collect(), ..Default::default() }
}

#[test]
fn globs_keep_to_the_parts_of_a_path() {
    assert_eq!(eligible(&paths(&["layer2.*.bn1"])).unwrap(), ["layer2.0.bn1", "layer2.1.bn1"]);
    assert_eq!(eligible(&paths(&["*"])).unwrap(), ["conv1", "bn1", "relu1", "linear"]);
    assert_eq!(eligible(&paths(&["layer?.0"])).unwrap(), ["layer1.0", "layer2.0"]);
    assert_eq!(eligible(&paths(&["layer1.1.{bn,conv}2"])).unwrap(), ["layer1.1.conv2", "layer1.1.bn2"]);
    assert_eq!(eligible(&paths(&["layer[2-4].0.bn[12]"])).unwrap(), ["layer2.0.bn1", "layer2.0.bn2"]);
    assert_eq!(eligible(&paths(&["layer1.0.**"])).unwrap().len(), 6);
    let everywhere = ["bn1", "layer1.0.bn1", "layer1.1.bn1", "layer2.0.bn1", "layer2.1.bn1"];
    assert_eq!(eligible(&paths(&["**.bn1"])).unwrap(), everywhere);
}

#[test]
fn kinds_and_paths_must_both_fit() {
    assert_eq!(eligible(&kinds(&[LayerKind::Linear, LayerKind::BatchNorm])).unwrap().len(), 10);
    let both = AmplificationSettings { paths: vec!["layer1.0.*".into()], ..kinds(&[LayerKind::Relu]) };
    assert_eq!(eligible(&both).unwrap(), ["layer1.0.relu1", "layer1.0.relu2"]);
}

#[test]
fn the_kind_activation_includes_every_activation() {
    let mut trace = small_resnet();
    for (site, kind) in [(3, LayerKind::Tanh), (6, LayerKind::Sigmoid), (9, LayerKind::Activation)] {
        trace.sites[site].kind = kind;
    }
    let names = |kind| {
        let selection = Selection::new(&kinds(&[kind]), &trace, 0).unwrap();
        selection.eligible().len()
    };
    assert_eq!([LayerKind::Tanh, LayerKind::Sigmoid].map(names), [1, 1]);
    let relus = trace.sites.iter().filter(|site| site.kind == LayerKind::Relu).count();
    assert_eq!(names(LayerKind::Activation), relus + 3);
}

#[test]
fn two_kinds_are_drawn_independently_unless_draws_go_by_position() {
    let trace = small_resnet();
    // As many layers of each kind: the draws can be compared position by position.
    let drawn = |paths: [&str; 4], draws| -> Vec<Vec<usize>> {
        let settings = AmplificationSettings { count: Some(2), draws, ..sites(&paths) };
        let selection = Selection::new(&settings, &trace, 7).unwrap();
        let position = |site: &usize| selection.eligible().iter().position(|it| it == site).unwrap();
        let draw = |epoch| selection.draw(epoch, 0, &History::default()).unwrap();
        (0..32).map(|epoch| draw(epoch).sites.iter().map(position).collect()).collect()
    };
    let conv = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1"];
    let bn = ["bn1", "layer1.0.bn1", "layer1.0.bn2", "layer1.1.bn1"];
    assert_eq!(drawn(conv, Draws::Positions), drawn(bn, Draws::Positions));
    let (conv, bn) = (drawn(conv, Draws::Layers), drawn(bn, Draws::Layers));
    let same = conv.iter().zip(&bn).filter(|(a, b)| a == b).count();
    assert!(same < 16, "{same} of 32 draws are the same; one in six is by chance");
}

#[test]
fn a_list_is_taken_in_forward_order() {
    assert_eq!(eligible(&sites(&["layer2.0", "bn1"])).unwrap(), ["bn1", "layer2.0"]);
}

#[test]
fn entries_that_select_nothing_are_named() {
    let with = |change: AmplificationSettings| eligible(&change).unwrap_err();
    let bn = || kinds(&[LayerKind::BatchNorm]);
    for (settings, expected) in [
        (AmplificationSettings::default(), "kinds: selects no layer"),
        (
            kinds(&[LayerKind::Conv, LayerKind::Pool]),
            "kinds[1]: no layer is of kind pool; there are conv, batch_norm",
        ),
        (paths(&["**.bn1", "features.*"]), "paths[1]: \"features.*\" matches no layer"),
        (paths(&["layer[1"]), "paths[0]: \"layer[1\" is no glob"),
        (
            AmplificationSettings { paths: vec!["layer1.0.relu*".into()], ..bn() },
            "paths[0]: \"layer1.0.relu*\" matches 2 layers, none of kind batch_norm",
        ),
        (
            AmplificationSettings {
                paths: vec!["layer1.**".into()],
                ..kinds(&[LayerKind::Conv, LayerKind::Linear])
            },
            "kinds[1]: no layer that `paths` match is of kind linear, but of",
        ),
        (
            sites(&["bn1", "layer1.0.bn11"]),
            "sites[1]: no layer is named \"layer1.0.bn11\"; the nearest is \"layer1.0.bn1\"",
        ),
        (sites(&["something.else.entirely"]), "sites[0]: no layer is named \"something.else.entirely\""),
        (sites(&["bn1", "bn1"]), "sites[1]: \"bn1\" is listed twice"),
        (AmplificationSettings { sites: vec!["bn1".into()], ..bn() }, "sites: lists layers exactly"),
        (AmplificationSettings { count: Some(10), ..bn() }, "count: is 10, but only 9 layers are eligible"),
        (AmplificationSettings { count: Some(0), ..bn() }, "count: is 0"),
        (
            AmplificationSettings { count: Some(1), ratio: Some(0.5), ..bn() },
            "count: is given beside `ratio`",
        ),
        (AmplificationSettings { ratio: Some(0.0), ..bn() }, "ratio: is 0"),
        (AmplificationSettings { ratio: Some(1.5), ..bn() }, "ratio: is 1.5"),
        (AmplificationSettings { ratio: Some(f64::NAN), ..bn() }, "ratio: is NaN"),
        (AmplificationSettings { factor: f32::INFINITY, ..bn() }, "factor: is inf"),
        (AmplificationSettings { factor: 0.0, ..bn() }, "factor: is 0"),
        (
            AmplificationSettings { placement: Placement::Params, ..kinds(&[LayerKind::Relu]) },
            "placement: is \"params\", but none of the 9 eligible layers",
        ),
    ] {
        let error = with(settings);
        assert!(error.starts_with(expected), "{error}\nshould begin with\n{expected}");
    }
    assert!(!with(sites(&["something.else.entirely"])).contains("nearest"));
}

#[test]
fn unknown_keys_are_errors_and_everything_has_a_default() {
    assert_eq!(toml::from_str::<AmplificationSettings>("").unwrap(), AmplificationSettings::default());
    let error = toml::from_str::<AmplificationSettings>("facter = 2.0").unwrap_err().to_string();
    assert!(error.contains("unknown field `facter`"), "{error}");
    let error = toml::from_str::<AmplificationSettings>("kinds = ['batchnorm']").unwrap_err().to_string();
    assert!(error.contains("unknown variant `batchnorm`"), "{error}");
}

#[test]
fn an_error_names_the_field_of_the_run_or_of_its_phase() {
    let error = |settings: AmplificationSettings, amplify: Amplify| {
        let phase = |amplify| Phase { epochs: 1, lr: Some(LearningRate::constant(0.1)), amplify };
        let strategy = Strategy { lr: None, phases: vec![phase(Amplify::Off), phase(amplify)] };
        Amplifier::new(&strategy, &settings, &small_resnet(), 0).unwrap_err().to_string()
    };
    let good = kinds(&[LayerKind::BatchNorm]);
    let nowhere = AmplificationSettings { paths: vec!["nowhere".into()], ..good.clone() };
    let negative = AmplificationSettings { factor: -1.0, ..good.clone() };
    let found = error(good.clone(), Amplify::with(nowhere.clone()));
    assert!(found.starts_with("strategy.phases[1].amplify.paths[0]: "), "{found}");
    let found = error(good, Amplify::with(negative));
    assert!(found.starts_with("strategy.phases[1].amplify.factor: is -1"), "{found}");
    let found = error(nowhere, Amplify::on());
    assert!(found.starts_with("amplification.paths[0]: "), "{found}");
}

fn any_selection(redraw: Redraw, ratio: f64, seed: u64) -> Selection {
    let settings = AmplificationSettings {
        ratio: Some(ratio),
        redraw,
        ..kinds(&[LayerKind::BatchNorm, LayerKind::Relu])
    };
    Selection::new(&settings, &small_resnet(), seed).unwrap()
}

fn draw(selection: &Selection, epoch: usize, step: u64) -> Draw {
    selection.draw(epoch, step, &History::default()).unwrap()
}

#[test]
fn a_seed_of_its_own_goes_before_the_runs() {
    let own = |seed, run| {
        let settings = AmplificationSettings { seed, count: Some(4), ..kinds(&[LayerKind::Relu]) };
        draw(&Selection::new(&settings, &small_resnet(), run).unwrap(), 0, 0)
    };
    assert_eq!(own(Some(7), 1), own(Some(7), 2));
    assert_eq!(own(Some(7), 1), own(None, 7));
    assert_ne!(own(None, 1), own(None, 2));
}

#[test]
fn every_eligible_layer_is_drawn_as_often_as_its_share() {
    let selection = any_selection(Redraw::Step, 0.25, 3);
    let mut drawn = [0; 64];
    let steps = 4000;
    (0..steps).flat_map(|step| draw(&selection, 0, step).sites).for_each(|site| drawn[site] += 1);
    let share = draw(&selection, 0, 0).sites.len() as f64 / selection.eligible().len() as f64;
    for &site in selection.eligible() {
        let seen = f64::from(drawn[site]) / steps as f64;
        assert!((seen - share).abs() < 0.035, "site {site}: {seen}, expected {share}"); // 5 standard deviations
    }
}

proptest! {
    #[test]
    fn a_draw_is_a_subset_of_its_size_and_the_same_again(
        seed: u64, ratio in 0.001..=1.0f64, epoch in 0usize..200, step in 0u64..100_000,
    ) {
        let selection = any_selection(Redraw::Step, ratio, seed);
        let n = selection.eligible().len();
        let drawn = draw(&selection, epoch, step);
        prop_assert_eq!(drawn.sites.len(), ((ratio * n as f64).round() as usize).max(1));
        prop_assert!(drawn.sites.windows(2).all(|w| w[0] < w[1]));
        prop_assert!(drawn.sites.iter().all(|site| selection.eligible().contains(site)));
        prop_assert_eq!(&draw(&any_selection(Redraw::Step, ratio, seed), epoch, step), &drawn);
    }

    #[test]
    fn draws_last_as_long_as_asked(seed: u64, a in (0usize..90, 0u64..9000), b in (0usize..90, 0u64..9000)) {
        let [once, epoch, step] = [Redraw::Once, Redraw::Epoch, Redraw::Step].map(|r| any_selection(r, 0.5, seed));
        prop_assert_eq!(draw(&once, a.0, a.1), draw(&once, b.0, b.1));
        prop_assert_eq!(draw(&epoch, a.0, a.1), draw(&epoch, a.0, b.1));
        prop_assert_eq!(draw(&once, a.0, a.1), draw(&epoch, 0, b.1));
        prop_assert_eq!(draw(&epoch, a.0, b.1), draw(&step, a.0, 0));
    }

    #[test]
    fn a_smaller_draw_lies_inside_a_larger_one(seed: u64, epoch in 0usize..200, small in 0.01..1.0f64, more in 0.0..1.0f64) {
        let large = small + (1.0 - small) * more;
        let large = draw(&any_selection(Redraw::Epoch, large, seed), epoch, 0).sites;
        let small = draw(&any_selection(Redraw::Epoch, small, seed), epoch, 0).sites;
        prop_assert!(small.iter().all(|site| large.contains(site)));
    }
}

#[test]
fn consecutive_draws_differ() {
    for redraw in [Redraw::Epoch, Redraw::Step] {
        let selection = any_selection(redraw, 0.5, 5);
        let draws: Vec<_> = (0..20).map(|i| draw(&selection, i, i as u64).sites).collect();
        assert!(draws.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
