use proptest::prelude::*;

use crate::amplify::{Curve, LearningRate, Moment, Schedule, Score, WarmUp};

fn rate(schedule: &dyn Schedule, step: u64, steps: u64, steps_per_epoch: u64) -> f64 {
    schedule.lr(&Moment { step, steps, steps_per_epoch, scores: &[] })
}

fn cosine(from: f64, to: f64) -> LearningRate {
    LearningRate { curve: Curve::Cosine { from, to }, warmup: None }
}

/// PyTorch 2's `CosineAnnealingLR(SGD(lr=0.1), T_max=10, eta_min=0.001)` in its recursive form:
/// lr_t = eta_min + (lr_{t−1} − eta_min) · (1 + cos(π t/T)) / (1 + cos(π (t−1)/T)).
#[test]
fn cosine_follows_pytorchs_recursion() {
    let (from, to, steps) = (0.1, 0.001, 10);
    let part = |t: u64| 1.0 + (std::f64::consts::PI * t as f64 / steps as f64).cos();
    let mut lr = from;
    for t in 0..steps {
        if t > 0 {
            lr = to + (lr - to) * part(t) / part(t - 1);
        }
        assert!((rate(&cosine(from, to), t, steps, 5) - lr).abs() < 1e-15, "step {t}");
    }
}

#[test]
fn cosine_is_halfway_at_half_time() {
    assert_eq!(rate(&cosine(0.1, 0.0), 0, 100, 10), 0.1);
    assert!((rate(&cosine(0.1, 0.02), 50, 100, 10) - 0.06).abs() < 1e-15);
}

#[test]
fn milestones_count_epochs_and_take_effect_at_their_first_step() {
    let curve = Curve::MultiStep { from: 0.4, milestones: vec![1.0, 2.5], gamma: 0.5 };
    let schedule = LearningRate { curve, warmup: None };
    let rates: Vec<f64> = [0, 9, 10, 24, 25, 39].map(|t| rate(&schedule, t, 40, 10)).into();
    assert_eq!(rates, [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]);
}

#[test]
fn a_warm_up_rises_to_the_curve_which_then_has_the_rest_of_the_span() {
    let schedule = LearningRate {
        curve: Curve::Linear { from: 0.5, to: 0.0 },
        warmup: Some(WarmUp { epochs: 0.5, from: 0.1 }),
    };
    // The rate rises in the first 4 of 12 steps, and falls in the other 8.
    let rates: Vec<f64> = (0..12).map(|t| rate(&schedule, t, 12, 8)).collect();
    let expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625];
    for (rate, expected) in rates.iter().zip(expected) {
        assert!((rate - expected).abs() < 1e-15, "{rates:?}");
    }
}

/// PyTorch 2's `OneCycleLR(max_lr=0.1, total_steps=10)`, whose other settings are the defaults.
#[test]
fn one_cycle_follows_pytorchs() {
    let expected = [
        0.004,
        0.052,
        0.1,
        0.09504846320134738,
        0.0811745653949763,
        0.06112620219362893,
        0.03887419780637107,
        0.0188258346050237,
        0.004951936798652629,
        4e-07,
    ];
    let schedule = parse("{ schedule = 'one_cycle', from = 0.004, peak = 0.1 }").unwrap();
    for (t, expected) in (0..).zip(expected) {
        assert!((rate(&schedule, t, 10, 5) - expected).abs() < 1e-15, "step {t}");
    }
}

/// PyTorch 2's `ReduceLROnPlateau(factor=0.5, patience=1, threshold=0.01, min_lr=0.02)` over these losses.
#[test]
fn a_plateau_lowers_the_rate_as_pytorchs() {
    let losses = [2.0, 1.5, 1.495, 1.49, 1.2, 1.3, f64::NAN, 1.25, 1.24, 1.0, 1.1, 1.1, 1.1, 1.1];
    let expected = [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02];
    let table =
        "{ schedule = 'plateau', from = 0.1, factor = 0.5, patience = 1, threshold = 0.01, to = 0.02 }";
    let schedule = parse(table).unwrap();
    let scores: Vec<Score> =
        losses.iter().enumerate().map(|(epoch, &loss)| Score { epoch, loss, accuracy: None }).collect();
    for (epoch, expected) in expected.into_iter().enumerate() {
        let at = Moment { step: epoch as u64, steps: 15, steps_per_epoch: 1, scores: &scores[..epoch] };
        assert_eq!(schedule.lr(&at), expected, "epoch {epoch}");
    }
}

/// A plateau sees the evaluations of its own span that are behind the step.
#[test]
fn a_plateau_counts_the_epochs_of_its_phase() {
    let plateau = "{ schedule = 'plateau', from = 0.1, patience = 0 }";
    let text = format!("[[phase]]\nepochs = 3\nlr = 0.5\n[[phase]]\nepochs = 4\nlr = {plateau}");
    let strategy: crate::amplify::Strategy = toml::from_str(&text).unwrap();
    let scores: Vec<Score> = (0..7).map(|epoch| Score { epoch, loss: 1.0, accuracy: None }).collect();
    let rates: Vec<f64> = (0..7).map(|epoch| strategy.lr_at(epoch, 1, &scores).unwrap()).collect();
    let expected = [0.5, 0.5, 0.5, 0.1, 0.1, 0.01, 0.001];
    assert!(rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-15), "{rates:?}");
}

fn parse(lr: &str) -> Result<LearningRate, String> {
    #[derive(serde::Deserialize)]
    struct Wrapper {
        lr: LearningRate,
    }
    toml::from_str::<Wrapper>(&format!("lr = {lr}")).map(|w| w.lr).map_err(|error| error.to_string())
}

#[test]
fn a_number_is_a_constant_rate() {
    assert_eq!(parse("0.1").unwrap(), LearningRate::constant(0.1));
    assert_eq!(parse("1").unwrap(), LearningRate::constant(1.0));
}

#[test]
fn tables_name_their_schedule() {
    assert_eq!(parse("{ schedule = 'cosine', from = 0.1 }").unwrap(), cosine(0.1, 0.0));
    let curve = Curve::MultiStep { from: 0.1, milestones: vec![60.0, 120.0], gamma: 0.1 };
    assert_eq!(
        parse("{ schedule = 'multi_step', from = 0.1, milestones = [60, 120], warmup_epochs = 1 }").unwrap(),
        LearningRate { curve, warmup: Some(WarmUp { epochs: 1.0, from: 0.0 }) }
    );
}

#[test]
fn malformed_schedules_say_what_is_wrong() {
    for (lr, expected) in [
        ("{ schedule = 'cosin', from = 0.1 }", "unknown variant `cosin`"),
        ("{ schedule = 'cosine', form = 0.1 }", "unknown field `form`"),
        ("{ schedule = 'cosine' }", "missing field `from`"),
        (
            "{ schedule = 'constant', from = 0.1, to = 0.0 }",
            "`to` belongs to linear, cosine, one_cycle and plateau schedules only",
        ),
        ("{ schedule = 'cosine', from = 0.1, gamma = 0.1 }", "`gamma` belongs to multi_step schedules only"),
        ("{ schedule = 'multi_step', from = 0.1 }", "needs `milestones`"),
        ("{ schedule = 'one_cycle', from = 0.1 }", "needs a `peak`"),
        ("{ schedule = 'cosine', from = 0.1, patience = 3 }", "`patience` belongs to plateau schedules only"),
        ("{ schedule = 'cosine', from = 0.1, warmup_from = 0.1 }", "`warmup_from` needs `warmup_epochs`"),
        ("'fast'", "expected a learning rate, or a table"),
    ] {
        let error = parse(lr).unwrap_err();
        assert!(error.contains(expected), "{lr}: {error}");
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    for (lr, expected) in [
        ("-0.1", "x: is -0.1"),
        ("inf", "x: is inf"),
        ("{ schedule = 'cosine', from = nan }", "x.from: is NaN"),
        ("{ schedule = 'linear', from = 0.1, to = -1 }", "x.to: is -1"),
        ("{ schedule = 'multi_step', from = 0.1, milestones = [2], gamma = 0 }", "x.gamma: is 0"),
        ("{ schedule = 'multi_step', from = 0.1, milestones = [2, 4] }", "x.milestones[1]: is 4"),
        (
            "{ schedule = 'multi_step', from = 0.1, milestones = [2, 1] }",
            "x.milestones[1]: is 1, expected more than",
        ),
        ("{ schedule = 'multi_step', from = 0.1, milestones = [0] }", "x.milestones[0]: is 0"),
        ("{ schedule = 'one_cycle', from = 0.1, peak = -1 }", "x.peak: is -1"),
        (
            "{ schedule = 'one_cycle', from = 0.1, peak = 1, rise = 1 }",
            "x.rise: is 1, expected a number between",
        ),
        (
            "{ schedule = 'plateau', from = 0.1, factor = 0 }",
            "x.factor: is 0, expected a number between 0 and 1",
        ),
        ("{ schedule = 'cosine', from = 0.1, warmup_epochs = 5 }", "x.warmup_epochs: is 5, expected 0 to 4"),
        (
            "{ schedule = 'cosine', from = 0.1, warmup_epochs = 1, warmup_from = inf }",
            "x.warmup_from: is inf",
        ),
    ] {
        let error = parse(lr).unwrap().check("x", 4).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{lr}: {error}");
    }
}

/// Generates schedules that pass their check over `epochs`.
pub(super) fn schedules(epochs: usize) -> impl Strategy<Value = LearningRate> {
    let height = || 0.0..2.0;
    let span = epochs as f64;
    let curve = prop_oneof![
        height().prop_map(|from| Curve::Constant { from }),
        (height(), height()).prop_map(|(from, to)| Curve::Linear { from, to }),
        (height(), height()).prop_map(|(from, to)| Curve::Cosine { from, to }),
        (height(), height(), height(), 0.05..0.95).prop_map(|(from, peak, to, rise)| Curve::OneCycle {
            from,
            peak,
            to,
            rise
        }),
        (height(), height(), 0.05..0.95, 0usize..9).prop_map(|(from, to, factor, patience)| {
            Curve::Plateau { from, factor, patience, threshold: 1e-4, to }
        }),
        (height(), proptest::collection::btree_set(1..1000u32, 0..4), 0.05..1.5).prop_map(
            move |(from, at, gamma)| {
                let milestones = at.into_iter().map(|m| f64::from(m) / 1000.0 * span).collect();
                Curve::MultiStep { from, milestones, gamma }
            }
        ),
    ];
    let warmup =
        proptest::option::of((0.0..=span, height()).prop_map(|(epochs, from)| WarmUp { epochs, from }));
    (curve, warmup).prop_map(|(curve, warmup)| LearningRate { curve, warmup })
}

proptest! {
    #[test]
    fn rates_stay_between_zero_and_the_peak(
        (epochs, schedule) in (1usize..20).prop_flat_map(|e| (Just(e), schedules(e))), per_epoch in 1u64..50,
    ) {
        schedule.check("lr", epochs).unwrap();
        let steps = epochs as u64 * per_epoch;
        for t in 0..steps {
            let lr = rate(&schedule, t, steps, per_epoch);
            prop_assert!(lr >= 0.0 && lr <= schedule.peak() * (1.0 + 1e-12), "step {}: {}", t, lr);
        }
    }

    #[test]
    fn scaling_a_schedule_scales_every_rate(schedule in schedules(4), factor in 0.1f64..10.0, t in 0u64..40) {
        let mut scaled = schedule.clone();
        scaled.scale(factor);
        let (plain, scaled) = (rate(&schedule, t, 40, 10), rate(&scaled, t, 40, 10));
        prop_assert!((plain * factor - scaled).abs() <= 1e-12 * (1.0 + scaled), "{} {}", plain, scaled);
    }

    #[test]
    fn falling_curves_never_rise(from in 0.0..1.0f64, share in 0.0..1.0f64, steps in 1u64..200) {
        let to = from * share;
        for curve in [Curve::Linear { from, to }, Curve::Cosine { from, to }] {
            let schedule = LearningRate { curve, warmup: None };
            let rates: Vec<f64> = (0..steps).map(|t| rate(&schedule, t, steps, 10)).collect();
            prop_assert!(rates.windows(2).all(|w| w[1] <= w[0]), "{:?}", rates);
        }
    }
}
