use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::schedule::schedules;
use crate::LayerKind;
use crate::amplify::{
    AmplificationSettings, Amplify, Curve, LearningRate, Moment, Phase, Placement, Redraw, Strategy,
};

const EXAMPLE: &str = "
    lr = { schedule = 'cosine', from = 0.1, to = 0.0 }

    [[phase]]
    epochs = 2

    [[phase]]
    epochs = 2
    lr = { schedule = 'linear', from = 0.2, to = 0.1, warmup_epochs = 1 }
    amplify = true

    [[phase]]
    epochs = 4
    lr = 0.01
    amplify = { factor = 3.0, kinds = ['relu'] }
";

fn example() -> Strategy {
    toml::from_str(EXAMPLE).unwrap()
}

#[test]
fn a_strategy_is_read_from_its_configuration() {
    let cosine = LearningRate { curve: Curve::Cosine { from: 0.1, to: 0.0 }, warmup: None };
    let strategy = example();
    assert_eq!(strategy.lr, Some(cosine));
    assert_eq!(strategy.phases.iter().map(|p| p.epochs).collect::<Vec<_>>(), [2, 2, 4]);
    assert_eq!(strategy.phases[0].amplify, Amplify::Off);
    assert_eq!(strategy.phases[1].amplify, Amplify::on());
    let own = AmplificationSettings { factor: 3.0, kinds: vec![LayerKind::Relu], ..Default::default() };
    assert_eq!(strategy.phases[2].amplify, Amplify::with(own.clone()));
    let run = AmplificationSettings::default();
    let settings = strategy.phases.iter().map(|phase| phase.amplify.settings(&run)).collect::<Vec<_>>();
    assert_eq!(settings, [None, Some(&run), Some(&own)]);
    assert_eq!(strategy.phases[2].lr, Some(LearningRate::constant(0.01)));
}

#[test]
fn unknown_keys_and_wrong_types_are_errors() {
    for (text, expected) in [
        ("learning_rate = 0.1", "unknown field `learning_rate`"),
        ("[[phase]]\nepochs = 1\namplifi = true", "unknown field `amplifi`"),
        ("[[phase]]\nepochs = 1\namplify = { facter = 2.0 }", "unknown field `facter`"),
        ("[[phase]]\nepochs = 1\namplify = 2.0", "expected true, false, or a table"),
        ("[[phase]]\nepochs = -1", "expected usize"),
        ("[[phase]]\nlr = 0.1", "missing field `epochs`"),
    ] {
        let error = toml::from_str::<Strategy>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_phase_is_found_by_its_epoch() {
    let strategy = example();
    let phases: Vec<_> = (0..9).map(|epoch| strategy.phase_at(epoch).map(|(i, _)| i)).collect();
    assert_eq!(phases[..8], [0, 0, 1, 1, 2, 2, 2, 2].map(Some));
    assert_eq!(phases[8], None);
}

#[test]
fn a_schedule_spans_its_phase_and_the_schedule_of_the_run_spans_the_run() {
    let strategy = example();
    let lr = |step| strategy.lr_at(step, 10, &[]).unwrap();
    let run_wide = strategy.lr.clone().unwrap();
    assert_eq!(lr(13), run_wide.lr_at(&Moment { step: 13, steps: 80, steps_per_epoch: 10, scores: &[] }));
    assert_eq!(lr(20), 0.0); // the second phase warms up
    assert_eq!(lr(30), 0.2);
    assert!((lr(35) - 0.15).abs() < 1e-15);
    assert_eq!(lr(40), 0.01);
    assert!(strategy.lr_at(80, 10, &[]).unwrap_err().to_string().contains("no step 80"));
    assert!(strategy.lr_at(0, 0, &[]).is_err());
}

#[test]
fn an_error_names_the_wrong_field() {
    let with = |change: fn(&mut Strategy)| {
        let mut strategy = example();
        change(&mut strategy);
        strategy.check().unwrap_err().to_string()
    };
    assert!(with(|s| s.phases.clear()).starts_with("phases: found none"));
    assert!(with(|s| s.phases[1].epochs = 0).starts_with("phases[1].epochs: is 0"));
    assert!(with(|s| s.phases[1].epochs = usize::MAX).starts_with("phases[1].epochs: is 18446"));
    assert!(with(|s| s.lr = None).starts_with("phases[0].lr: is missing"));
    assert!(with(|s| s.lr = Some(LearningRate::constant(-1.0))).starts_with("lr: is -1"));
    assert!(
        with(|s| s.phases[2].lr = Some(LearningRate::constant(f64::NAN))).starts_with("phases[2].lr: is NaN")
    );
}

#[test]
fn scaling_epochs_keeps_shares_and_stretches_schedules() {
    let mut strategy = example();
    strategy.phases[2].lr = Some(LearningRate {
        curve: Curve::MultiStep { from: 1.0, milestones: vec![1.0, 2.0], gamma: 0.5 },
        warmup: None,
    });
    strategy.scale_epochs(20).unwrap();
    assert_eq!(strategy.phases.iter().map(|p| p.epochs).collect::<Vec<_>>(), [5, 5, 10]);
    assert_eq!(strategy.phases[1].lr.as_ref().unwrap().warmup.unwrap().epochs, 2.5);
    let Curve::MultiStep { milestones, .. } = &strategy.phases[2].lr.as_ref().unwrap().curve else {
        panic!()
    };
    assert_eq!(milestones, &[2.5, 5.0]);
}

#[test]
fn every_phase_keeps_an_epoch() {
    let mut strategy = example();
    strategy.phases[2].epochs = 100;
    strategy.scale_epochs(4).unwrap();
    assert_eq!(strategy.phases.iter().map(|p| p.epochs).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn phases_without_a_share_in_few_epochs_are_left_out() {
    let epochs = |lengths: [usize; 3], total| {
        let mut strategy = example();
        strategy.phases.iter_mut().zip(lengths).for_each(|(phase, epochs)| phase.epochs = epochs);
        let dropped = strategy.scale_epochs(total).unwrap();
        (strategy.phases.iter().map(|phase| phase.epochs).collect::<Vec<_>>(), dropped)
    };
    assert_eq!(
        epochs([3, 3, 3], 2),
        (vec![1, 1], vec![2]),
        "of phases with equal shares, earlier ones come first"
    );
    assert_eq!(epochs([3, 3, 3], 1), (vec![1], vec![1, 2]));
    assert_eq!(epochs([1, 3, 3], 2), (vec![1, 1], vec![0]));
    assert_eq!(epochs([1, 1, 98], 2), (vec![2], vec![0, 1]));
    assert_eq!(epochs([2, 2, 4], 3), (vec![1, 1, 1], vec![]));
    for wrong in [0, 1_000_001] {
        let error = example().scale_epochs(wrong).unwrap_err().to_string();
        assert_eq!(error, format!("total: is {wrong}, expected 1 to 1000000"));
    }
}

#[test]
fn an_initial_rate_scales_all_rates() {
    let strategy = example().with_initial_lr(0.05).unwrap();
    assert_eq!(strategy.lr_at(0, 10, &[]).unwrap(), 0.05);
    assert_eq!(strategy.lr_at(30, 10, &[]).unwrap(), 0.1);
    assert_eq!(strategy.phases[2].lr, Some(LearningRate::constant(0.005)));
    assert!(example().with_initial_lr(f64::NAN).is_err());
    let zero = Strategy::single(1, LearningRate::constant(0.0), Amplify::Off);
    assert!(
        zero.with_initial_lr(0.1).unwrap_err().to_string().starts_with("initial_lr: 0.1 cannot be reached")
    );
}

fn amplification() -> impl Generator<Value = AmplificationSettings> {
    use proptest::option::of;
    let kinds = Just(vec![LayerKind::BatchNorm, LayerKind::Relu]);
    let paths = Just(vec!["layer1.**".to_owned()]);
    let redraw = prop_oneof![Just(Redraw::Once), Just(Redraw::Epoch), Just(Redraw::Step)];
    let placement = prop_oneof![Just(Placement::Output), Just(Placement::Input), Just(Placement::Params)];
    (kinds, paths, of(0.01..1.0), of(1usize..9), redraw, 0.001f32..1e6, placement, of(0..1u64 << 62))
        .prop_map(|(kinds, paths, ratio, count, redraw, factor, placement, seed)| AmplificationSettings {
            kinds,
            paths,
            ratio,
            count,
            redraw,
            factor,
            placement,
            seed,
            ..Default::default()
        })
}

/// Generates strategies that pass their check.
fn strategies() -> impl Generator<Value = Strategy> {
    let amplify =
        || prop_oneof![Just(Amplify::Off), Just(Amplify::on()), amplification().prop_map(Amplify::with)];
    let phase = move |epochs: usize| {
        (proptest::option::of(schedules(epochs)), amplify()).prop_map(move |(lr, amplify)| Phase {
            epochs,
            lr,
            amplify,
        })
    };
    proptest::collection::vec(1usize..60, 1..7).prop_flat_map(move |epochs| {
        let total = epochs.iter().sum();
        let phases: Vec<_> = epochs.into_iter().map(phase).collect();
        (schedules(total), phases).prop_map(|(lr, phases)| Strategy { lr: Some(lr), phases })
    })
}

proptest! {
    #[test]
    fn a_strategy_survives_toml_and_json(strategy in strategies()) {
        let text = toml::to_string(&strategy).unwrap();
        prop_assert_eq!(&toml::from_str::<Strategy>(&text).unwrap(), &strategy, "{}", text);
        let text = serde_json::to_string(&strategy).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Strategy>(&text).unwrap(), &strategy, "{}", text);
    }

    #[test]
    fn scaled_epochs_have_the_requested_total_and_nearly_the_same_shares(strategy in strategies(), more in 0usize..500) {
        let total = strategy.phases.len() + more;
        let mut scaled = strategy.clone();
        scaled.scale_epochs(total).unwrap();
        prop_assert_eq!(scaled.epochs(), total);
        scaled.check().unwrap();
        for (old, new) in strategy.phases.iter().zip(&scaled.phases) {
            let due = (old.epochs * total) as f64 / strategy.epochs() as f64;
            prop_assert!(new.epochs >= 1);
            // No phase gets more than its share, rounded up. A phase gets less only if other phases need their minimum of one epoch.
            prop_assert!(new.epochs as f64 <= (due + 1.0).max(1.0), "{} of {}", new.epochs, due);
        }
        let mut unchanged = strategy.clone();
        unchanged.scale_epochs(strategy.epochs()).unwrap();
        prop_assert_eq!(unchanged, strategy);
    }

    #[test]
    fn few_epochs_go_to_the_phases_with_the_largest_shares(strategy in strategies(), share in 0.0..1.0) {
        let total = 1 + ((strategy.phases.len() - 1) as f64 * share) as usize;
        let mut scaled = strategy.clone();
        let dropped = scaled.scale_epochs(total).unwrap();
        prop_assert_eq!(scaled.epochs(), total);
        scaled.check().unwrap();
        prop_assert_eq!(scaled.phases.len() + dropped.len(), strategy.phases.len());
        let mut kept = scaled.phases.iter();
        for (number, old) in strategy.phases.iter().enumerate() {
            let due = (old.epochs * total) as f64 / strategy.epochs() as f64;
            if dropped.contains(&number) {
                prop_assert!(due < 1.0, "phase {} was due {}", number, due);
                continue;
            }
            let new = kept.next().unwrap();
            prop_assert_eq!(&new.amplify, &old.amplify, "the order is kept");
            let least = if total < strategy.phases.len() { due - 1.0 } else { 1.0 };
            prop_assert!(new.epochs as f64 >= least && (new.epochs as f64) < due + 1.0, "{} of {}", new.epochs, due);
        }
    }

    #[test]
    fn every_step_of_a_checked_strategy_has_a_rate(strategy in strategies(), per_epoch in 1u64..5) {
        strategy.check().unwrap();
        for step in 0..strategy.epochs() as u64 * per_epoch {
            let lr = strategy.lr_at(step, per_epoch, &[]).unwrap();
            prop_assert!(lr.is_finite() && lr >= 0.0);
        }
    }
}
