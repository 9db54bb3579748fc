use proptest::prelude::*;

use crate::amplify::{Curve, Schedule, WarmUp};

fn cosine(from: f64, to: f64) -> Schedule {
    Schedule { curve: Curve::Cosine { from, to }, warmup: None }
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
        assert!((cosine(from, to).lr_at(t, steps, 5) - lr).abs() < 1e-15, "step {t}");
    }
}

#[test]
fn cosine_is_halfway_at_half_time() {
    assert_eq!(cosine(0.1, 0.0).lr_at(0, 100, 10), 0.1);
    assert!((cosine(0.1, 0.02).lr_at(50, 100, 10) - 0.06).abs() < 1e-15);
}

#[test]
fn milestones_count_epochs_and_take_effect_at_their_first_step() {
    let curve = Curve::MultiStep { from: 0.4, milestones: vec![1.0, 2.5], gamma: 0.5 };
    let schedule = Schedule { curve, warmup: None };
    let rates: Vec<f64> = [0, 9, 10, 24, 25, 39].map(|t| schedule.lr_at(t, 40, 10)).into();
    assert_eq!(rates, [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]);
}

#[test]
fn a_warm_up_rises_to_the_curve_which_then_has_the_rest_of_the_span() {
    let schedule = Schedule {
        curve: Curve::Linear { from: 0.5, to: 0.0 },
        warmup: Some(WarmUp { epochs: 0.5, from: 0.1 }),
    };
    // The rate rises in the first 4 of 12 steps, and falls in the other 8.
    let rates: Vec<f64> = (0..12).map(|t| schedule.lr_at(t, 12, 8)).collect();
    let expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625];
    for (rate, expected) in rates.iter().zip(expected) {
        assert!((rate - expected).abs() < 1e-15, "{rates:?}");
    }
}

fn parse(lr: &str) -> Result<Schedule, String> {
    #[derive(serde::Deserialize)]
    struct Wrapper {
        lr: Schedule,
    }
    toml::from_str::<Wrapper>(&format!("lr = {lr}")).map(|w| w.lr).map_err(|error| error.to_string())
}

#[test]
fn a_number_is_a_constant_rate() {
    assert_eq!(parse("0.1").unwrap(), Schedule::constant(0.1));
    assert_eq!(parse("1").unwrap(), Schedule::constant(1.0));
}

#[test]
fn tables_name_their_schedule() {
    assert_eq!(parse("{ schedule = 'cosine', from = 0.1 }").unwrap(), cosine(0.1, 0.0));
    let curve = Curve::MultiStep { from: 0.1, milestones: vec![60.0, 120.0], gamma: 0.1 };
    assert_eq!(
        parse("{ schedule = 'multi_step', from = 0.1, milestones = [60, 120], warmup_epochs = 1 }").unwrap(),
        Schedule { curve, warmup: Some(WarmUp { epochs: 1.0, from: 0.0 }) }
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
            "`to` belongs to linear and cosine schedules only",
        ),
        ("{ schedule = 'cosine', from = 0.1, gamma = 0.1 }", "`gamma` belongs to multi_step schedules only"),
        ("{ schedule = 'multi_step', from = 0.1 }", "needs `milestones`"),
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
pub(super) fn schedules(epochs: usize) -> impl Strategy<Value = Schedule> {
    let rate = || 0.0..2.0;
    let span = epochs as f64;
    let curve = prop_oneof![
        rate().prop_map(|from| Curve::Constant { from }),
        (rate(), rate()).prop_map(|(from, to)| Curve::Linear { from, to }),
        (rate(), rate()).prop_map(|(from, to)| Curve::Cosine { from, to }),
        (rate(), proptest::collection::btree_set(1..1000u32, 0..4), 0.05..1.5).prop_map(
            move |(from, at, gamma)| {
                let milestones = at.into_iter().map(|m| f64::from(m) / 1000.0 * span).collect();
                Curve::MultiStep { from, milestones, gamma }
            }
        ),
    ];
    let warmup =
        proptest::option::of((0.0..=span, rate()).prop_map(|(epochs, from)| WarmUp { epochs, from }));
    (curve, warmup).prop_map(|(curve, warmup)| Schedule { curve, warmup })
}

proptest! {
    #[test]
    fn rates_stay_between_zero_and_the_peak(
        (epochs, schedule) in (1usize..20).prop_flat_map(|e| (Just(e), schedules(e))), per_epoch in 1u64..50,
    ) {
        schedule.check("lr", epochs).unwrap();
        let steps = epochs as u64 * per_epoch;
        for t in 0..steps {
            let lr = schedule.lr_at(t, steps, per_epoch);
            prop_assert!(lr >= 0.0 && lr <= schedule.peak() * (1.0 + 1e-12), "step {}: {}", t, lr);
        }
    }

    #[test]
    fn scaling_a_schedule_scales_every_rate(schedule in schedules(4), factor in 0.1f64..10.0, t in 0u64..40) {
        let mut scaled = schedule.clone();
        scaled.scale(factor);
        let (plain, scaled) = (schedule.lr_at(t, 40, 10), scaled.lr_at(t, 40, 10));
        prop_assert!((plain * factor - scaled).abs() <= 1e-12 * (1.0 + scaled), "{} {}", plain, scaled);
    }

    #[test]
    fn falling_curves_never_rise(from in 0.0..1.0f64, share in 0.0..1.0f64, steps in 1u64..200) {
        let to = from * share;
        for curve in [Curve::Linear { from, to }, Curve::Cosine { from, to }] {
            let schedule = Schedule { curve, warmup: None };
            let rates: Vec<f64> = (0..steps).map(|t| schedule.lr_at(t, steps, 10)).collect();
            prop_assert!(rates.windows(2).all(|w| w[1] <= w[0]), "{:?}", rates);
        }
    }
}
