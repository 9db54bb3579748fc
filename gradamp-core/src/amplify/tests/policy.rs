//! The policies on made-up statistics, whose decisions can be computed by hand.

use proptest::prelude::*;

use super::small_resnet;
use crate::amplify::{
    AmplificationPolicy, AmplificationSettings, Amplifier, Amplify, DepthSettings, EpochStatistics,
    EqualiseSettings, FluctuationSettings, History, LearningRate, Measure, Measured, Moments, Phase,
    Placement, PolicyContext, PolicyName, Profile, Redraw, Selection, Side, SiteStatistics, Strategy, Timing,
    gain,
};
use crate::{LayerKind, Mode, Parameters, Reference, Result, Tape, Tensor, Trace};

/// `sites` layers in a row. `s0` reads the images.
fn chain(sites: usize) -> Trace {
    let mut parameters = Parameters::new(&Reference, 0);
    let mut tape = Tape::new(&mut parameters, Mode::Train, true);
    let mut x = tape.leaf(Tensor::full(&Reference, &[1], 1.0).unwrap());
    for i in 0..sites {
        x = tape.site(&format!("s{i}"), LayerKind::Relu, x).unwrap();
    }
    tape.trace()
}

fn settings(policy: PolicyName) -> AmplificationSettings {
    AmplificationSettings { policy, kinds: vec![LayerKind::Relu], ..Default::default() }
}

/// The moments of 10 steps of this mean norm, which went so far together.
fn moments(norm: f64, net: f64) -> Moments {
    Moments { steps: 10, norm: 10.0 * norm, net: Some(net) }
}

/// An epoch with these gradients at the outputs of the sites.
fn epoch(epoch: usize, outputs: &[Moments]) -> EpochStatistics {
    let site = |output: &Moments| SiteStatistics {
        output: Moments { net: None, ..*output },
        params: Moments::default(),
    };
    EpochStatistics { epoch, sites: outputs.iter().map(site).collect() }
}

/// An epoch with these gradients of the sites' parameters.
fn of_params(epoch: usize, params: &[Moments]) -> EpochStatistics {
    let site = |params: &Moments| SiteStatistics { output: Moments::default(), params: *params };
    EpochStatistics { epoch, sites: params.iter().map(site).collect() }
}

/// Layers in a row, each with a weight.
fn weighted_chain(sites: usize) -> Trace {
    Trace { parameters: (0..sites).map(|i| format!("s{i}.weight").into()).collect(), ..chain(sites) }
}

/// An epoch whose gradients at the outputs have these norms.
fn norms(number: usize, norms: &[f64]) -> EpochStatistics {
    epoch(number, &norms.iter().map(|&norm| moments(norm, 1.0)).collect::<Vec<_>>())
}

fn chosen(settings: &AmplificationSettings, trace: &Trace, at: usize, history: &History) -> Vec<usize> {
    Selection::new(settings, trace, 0).unwrap().draw(at, 0, history).unwrap().sites
}

fn by(fluctuation: FluctuationSettings) -> AmplificationSettings {
    AmplificationSettings { fluctuation, ..settings(PolicyName::Fluctuation) }
}

#[test]
fn cancellation_selects_by_hand_computed_thresholds() {
    let trace = weighted_chain(5);
    // ‖Σ g‖ / Σ ‖g‖: 0.1, 0.8, 0.4, not defined, 0.2.
    let found = [(1.0, 1.0), (8.0, 1.0), (4.0, 1.0), (0.0, 0.0), (2.0, 1.0)];
    let found = found.map(|(net, norm)| moments(norm, net));
    let history = History::new(vec![of_params(0, &found)]);
    let select = |threshold, quantile, select| {
        let fluctuation = FluctuationSettings { threshold, quantile, select, ..Default::default() };
        chosen(&by(fluctuation), &trace, 1, &history)
    };
    assert_eq!(select(Some(0.3), None, Side::Below), [0, 4]);
    assert_eq!(select(Some(0.3), None, Side::Above), [1, 2]);
    assert_eq!(select(Some(0.4), None, Side::Above), [1, 2], "a layer at the threshold is selected");
    assert_eq!(select(Some(0.05), None, Side::Below), [] as [usize; 0]);
    // Of 0.1, 0.2, 0.4, 0.8, the quantile 0.5 is 0.3, the quantile 0.25 is 0.175, 1/3 is 0.2, and 1 is 0.8.
    assert_eq!(select(None, None, Side::Below), [0, 4]);
    assert_eq!(select(None, Some(0.25), Side::Below), [0]);
    assert_eq!(select(None, Some(0.25), Side::Above), [1, 2, 4]);
    assert_eq!(select(None, Some(1.0), Side::Below), [0, 1, 2, 4]);
    assert_eq!(select(None, Some(1.0), Side::Above), [1]);
}

#[test]
fn a_window_of_cancellation_is_the_quotient_of_the_sums_over_its_epochs() {
    let trace = weighted_chain(2);
    // (1 + 9) / 20 = 0.5 and (8 + 0) / 40 = 0.2.
    let history = History::new(vec![
        of_params(0, &[moments(1.0, 1.0), moments(3.0, 8.0)]),
        of_params(1, &[moments(1.0, 9.0), moments(1.0, 0.0)]),
    ]);
    let select = |threshold| {
        let fluctuation = FluctuationSettings { threshold: Some(threshold), window: 2, ..Default::default() };
        chosen(&by(fluctuation), &trace, 2, &history)
    };
    assert_eq!((select(0.499), select(0.5), select(0.199)), (vec![1], vec![0, 1], vec![]));
}

#[test]
fn cancellation_is_refused_for_outputs_and_without_sums() {
    let refused = FluctuationSettings { of: Some(Measured::Output), ..Default::default() };
    let error = Selection::new(&by(refused), &weighted_chain(2), 0).unwrap_err().to_string();
    assert!(error.starts_with("fluctuation.of: is \"output\", but cancellation"), "{error}");
    let selection = Selection::new(&by(FluctuationSettings::default()), &weighted_chain(1), 0).unwrap();
    let old = History::new(vec![of_params(0, &[Moments { steps: 1, norm: 1.0, net: None }])]);
    let error = selection.draw(1, 0, &old).unwrap_err().to_string();
    assert!(error.starts_with("fluctuation.measure: needs sums of gradients"), "{error}");
}

#[test]
fn relative_change_compares_two_windows() {
    let trace = chain(3);
    // The mean norms of the windows {0, 1} and {2, 3} are 2 and 3, 4 and 4, 1 and 0.25. The changes are 0.5, 0 and 0.75.
    let history = History::new(vec![
        norms(0, &[1.0, 4.0, 1.0]),
        norms(1, &[3.0, 4.0, 1.0]),
        norms(2, &[2.0, 3.0, 0.25]),
        norms(3, &[4.0, 5.0, 0.25]),
    ]);
    let select = |threshold, select, at| {
        let measure = Measure::RelativeChange;
        let fluctuation = FluctuationSettings {
            measure,
            threshold: Some(threshold),
            select,
            window: 2,
            ..Default::default()
        };
        chosen(&by(fluctuation), &trace, at, &history)
    };
    assert_eq!(select(0.4, Side::Above, 4), [0, 2]);
    assert_eq!(select(0.4, Side::Below, 4), [1]);
    assert_eq!(select(0.6, Side::Above, 4), [2]);
    assert_eq!(select(0.0, Side::Above, 3), [] as [usize; 0], "three epochs are no two windows");
}

#[test]
fn the_parameters_may_be_measured_instead() {
    let mut measured = norms(0, &[1.0; 3]);
    measured.sites[1].params = moments(1.0, 0.0);
    let trace = Trace { parameters: vec!["s1.weight".into()], ..chain(3) };
    let fluctuation =
        FluctuationSettings { of: Some(Measured::Params), threshold: Some(0.1), ..Default::default() };
    assert_eq!(chosen(&by(fluctuation.clone()), &trace, 1, &History::new(vec![measured])), [1]);
    let error = Selection::new(&by(fluctuation), &chain(3), 0).unwrap_err().to_string();
    assert!(error.starts_with("fluctuation.of: measures \"params\", but none of the 3"), "{error}");
}

#[test]
fn layers_are_selected_every_k_epochs_once_there_are_enough_statistics() {
    let fluctuation = FluctuationSettings { every: 2, threshold: Some(0.9), ..Default::default() };
    let lr = Some(LearningRate::constant(0.1));
    let phases = vec![Phase { epochs: 6, lr, amplify: Amplify::on() }];
    let strategy = Strategy { lr: None, phases };
    let mut amplifier = Amplifier::new(&strategy, &by(fluctuation), &weighted_chain(2), 0).unwrap();
    let mut known = Vec::new();
    let mut recorded = Vec::new();
    for at in 0..6 {
        let history = History::new(known.clone());
        let record = amplifier.begin_step(at, at as u64, &history).unwrap();
        recorded.extend(record.map(|record| (record.epoch, record.sites)));
        // From epoch 2 on the second layer's gradients point the same way.
        known.push(of_params(at, &[moments(1.0, 0.0), moments(1.0, if at < 2 { 0.0 } else { 10.0 })]));
    }
    let expected: [(usize, &[&str]); 4] = [(0, &[]), (1, &["s0", "s1"]), (3, &["s0"]), (5, &["s0"])];
    assert_eq!(recorded, expected.map(|(at, sites)| (at, sites.iter().map(|s| s.to_string()).collect())));
    assert_eq!(
        amplifier.epochs_kept(),
        3,
        "one epoch of statistics, and two epochs from one selection to the next"
    );
}

fn equalise(equalise: EqualiseSettings) -> AmplificationSettings {
    AmplificationSettings { equalise, ..settings(PolicyName::Equalise) }
}

#[test]
fn equalised_norms_meet_their_target_though_factors_compound() {
    let trace = chain(4);
    let found = [0.5, 4.0, 1.0, 2.0];
    let history = History::new(vec![norms(0, &found)]);
    for (target, expected) in [(Some(8.0), 8.0), (None, 1.5)] {
        let settings = equalise(EqualiseSettings { target, max_factor: 1000.0, ..Default::default() });
        let draw = Selection::new(&settings, &trace, 0).unwrap().draw(1, 0, &history).unwrap();
        let gains = gain::arriving(&trace, &draw);
        for (site, norm) in found.iter().enumerate() {
            let after = norm * gains.sites[site] * f64::from(draw.factors[site]);
            assert!((after / expected - 1.0).abs() < 1e-6, "s{site}: {after}, expected {expected}");
        }
    }
    // The target is 8. s3 needs a factor of 4 and gets 2; then s2 has 1 · 2 and needs 4, s1 has 4 · 4 and needs 0.5, s0 has 0.5 · 2 and
    // needs 8.
    let bounded = EqualiseSettings { target: Some(8.0), min_factor: 0.9, max_factor: 2.0, every: 1 };
    let draw = Selection::new(&equalise(bounded), &trace, 0).unwrap().draw(1, 0, &history).unwrap();
    assert_eq!(draw.factors, [2.0, 0.9, 2.0, 2.0]);
    let nothing = Selection::new(&equalise(EqualiseSettings::default()), &trace, 0).unwrap();
    assert!(nothing.draw(0, 0, &History::default()).unwrap().sites.is_empty());
}

#[test]
fn equalised_parameters_see_the_factor_of_their_own_layers_only() {
    let mut trace = chain(3);
    trace.parameters = (0..3).map(|i| format!("s{i}.weight").into()).collect();
    let mut measured = norms(0, &[1.0; 3]);
    [1.0, 2.0, 8.0].iter().zip(&mut measured.sites).for_each(|(&n, site)| site.params = moments(n, 0.0));
    let settings = |placement| AmplificationSettings { placement, ..equalise(EqualiseSettings::default()) };
    let selection = Selection::new(&settings(Placement::Params), &trace, 0).unwrap();
    assert_eq!(selection.draw(1, 0, &History::new(vec![measured])).unwrap().factors, [2.0, 1.0, 0.25]);
    let error = Selection::new(&settings(Placement::Input), &trace, 0).unwrap_err().to_string();
    assert!(error.starts_with("placement: is \"input\", but the policy \"equalise\""), "{error}");
}

#[test]
fn a_profile_goes_from_the_first_layer_to_the_last() {
    let factors = |profile, n| {
        let depth = DepthSettings { first: 4.0, last: 1.0, profile };
        let settings = AmplificationSettings { depth, ..settings(PolicyName::Depth) };
        Selection::new(&settings, &chain(n), 0).unwrap().draw(7, 70, &History::default()).unwrap().factors
    };
    assert_eq!(factors(Profile::Geometric, 3), [4.0, 2.0, 1.0]);
    assert_eq!(factors(Profile::Linear, 4), [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(factors(Profile::Linear, 1), [4.0]);
}

#[test]
fn a_list_gives_each_layer_its_own_factor_in_any_order() {
    let list = |sites: &[&str], factors: &[f32]| {
        let sites = sites.iter().map(|site| site.to_string()).collect();
        let policy = PolicyName::List;
        let settings =
            AmplificationSettings { policy, sites, factors: factors.to_vec(), ..Default::default() };
        let selection = Selection::new(&settings, &small_resnet(), 0).map_err(|error| error.to_string())?;
        Ok::<_, String>(selection.draw(0, 0, &History::default()).unwrap())
    };
    let draw = list(&["linear", "bn1"], &[3.0, 0.5]).unwrap();
    assert_eq!((&*draw.factors, draw.sites[0]), ([0.5, 3.0].as_slice(), 1));
    for (sites, factors, expected) in [
        (&["bn1"][..], &[][..], "factors: holds 0 factors for the 1 layers of `sites`"),
        (&[], &[2.0], "kinds: selects no layer"),
        (&["bn1"], &[-2.0], "factors[0]: is -2, expected a finite number above 0"),
    ] {
        let error = list(sites, factors).unwrap_err();
        assert!(error.starts_with(expected), "{error}\nshould begin with\n{expected}");
    }
    let stray = AmplificationSettings { factors: vec![2.0], ..settings(PolicyName::All) };
    let error = Selection::new(&stray, &chain(2), 0).unwrap_err().to_string();
    assert!(error.starts_with("factors: is given, but only the policy \"list\""), "{error}");
}

/// A policy that always returns the same layers and factors.
#[derive(Debug)]
struct Fixed(Vec<(usize, f32)>);

impl AmplificationPolicy for Fixed {
    fn decide(&self, _: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        Ok(self.0.clone())
    }

    fn timing(&self) -> Timing {
        Timing::Step
    }
}

#[test]
fn the_decisions_of_a_users_policy_are_checked() {
    let strategy = Strategy::single(1, LearningRate::constant(0.1), Amplify::on());
    let settings = AmplificationSettings { paths: vec!["s[12]".into()], ..Default::default() };
    for (decision, expected) in [
        (vec![(0, 2.0)], "Fixed([(0, 2.0)]) chose layer s0, which is not eligible"),
        (vec![(9, 2.0)], "chose layer number 9, which is not eligible"),
        (vec![(2, 2.0), (1, 2.0), (2, 3.0)], "chose layer s2 twice"),
        (vec![(1, f32::NAN)], "gave layer s1 the factor NaN"),
    ] {
        let policy = Box::new(Fixed(decision));
        let mut amplifier = Amplifier::with_policy(&strategy, &settings, &chain(3), 0, policy).unwrap();
        let error = amplifier.begin_step(0, 0, &History::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nshould hold\n{expected}");
    }
}

#[test]
fn a_bound_raises_all_factors_to_one_power_which_is_recorded() {
    let with = |max_gain| {
        let settings = AmplificationSettings { max_gain, factor: 4.0, ..settings(PolicyName::All) };
        Selection::new(&settings, &chain(3), 0).unwrap().draw(0, 0, &History::default()).unwrap()
    };
    assert_eq!((with(Some(8.0)).factors, with(Some(8.0)).power), (vec![2.0; 3], Some(0.5))); // 64 to the power 1/2
    assert_eq!((with(Some(64.0)).factors, with(Some(64.0)).power), (vec![4.0; 3], None));
    assert_eq!(with(None).power, None);
    let record = serde_json::to_value(with(Some(8.0)).record(&weighted_chain(3).sites, 0, 0)).unwrap();
    assert_eq!(record["power"], 0.5);
}

#[test]
fn gains_are_expected_only_where_they_are_known_in_advance() {
    let expected = |change: AmplificationSettings| {
        let trace = weighted_chain(3);
        gain::expected(&trace, &Selection::new(&change, &trace, 0).unwrap()).unwrap()
    };
    let random =
        |max_gain| AmplificationSettings { count: Some(1), max_gain, ..settings(PolicyName::Random) };
    for known in [random(None), random(Some(8.0)), settings(PolicyName::All), settings(PolicyName::Depth)] {
        assert!(expected(known.clone()).is_some(), "{:?}", known.policy);
    }
    // The gain is at most 2^3. With a smaller bound, each draw would be shrunk by another power.
    assert!(expected(random(Some(7.0))).is_none());
    assert!(expected(settings(PolicyName::Fluctuation)).is_none());
    assert!(expected(settings(PolicyName::Equalise)).is_none());
}

proptest! {
    /// The layers below a smaller quantile are among those below a larger one. Repeated decisions are equal.
    #[test]
    fn fluctuating_layers_are_nested_by_quantile(
        values in prop::collection::vec(0.0..1.0f64, 1..9), small in 0.0..1.0f64, more in 0.0..1.0f64, above: bool,
    ) {
        let trace = weighted_chain(values.len());
        let found: Vec<_> = values.iter().map(|&value| moments(1.0, 10.0 * value)).collect();
        let history = History::new(vec![of_params(0, &found)]);
        let select = |quantile: f64| {
            let (quantile, select) =
                if above { (Some(1.0 - quantile), Side::Above) } else { (Some(quantile), Side::Below) };
            chosen(&by(FluctuationSettings { quantile, select, ..Default::default() }), &trace, 1, &history)
        };
        let (small, large) = (select(small), select(small + (1.0 - small) * more));
        prop_assert!(small.iter().all(|site| large.contains(site)), "{:?} {:?}", small, large);
        prop_assert!(!small.is_empty());
        prop_assert_eq!(select(1.0).len(), values.len());
    }

    /// A decision does not depend on later epochs of a history, nor on epochs before those that the policy looks back on.
    #[test]
    fn a_decision_is_a_function_of_the_epochs_before_it(at in 1usize..6, every in 1usize..4) {
        let trace = chain(3);
        let all: Vec<_> = (0..9).map(|e| norms(e, &[1.0 + (e * e % 7) as f64, 2.0, 3.0 + e as f64])).collect();
        let settings = equalise(EqualiseSettings { every, ..Default::default() });
        let selection = Selection::new(&settings, &trace, 0).unwrap();
        let whole = selection.draw(at, 5, &History::new(all.clone())).unwrap();
        prop_assert_eq!(whole.sites.len(), 3);
        let kept = History::new(all[(at + 1).saturating_sub(1 + every)..=at].to_vec());
        prop_assert_eq!(selection.draw(at, 9, &kept).unwrap(), whole);
    }

    #[test]
    fn a_random_draw_in_a_late_phase_is_that_of_its_epoch(seed: u64, begin in 0usize..9, more in 0usize..9) {
        let off = Phase { epochs: begin + 1, lr: Some(LearningRate::constant(0.1)), amplify: Amplify::Off };
        let strategy = Strategy { lr: None, phases: vec![off.clone(), Phase { epochs: 20, amplify: Amplify::on(), ..off }] };
        let settings = AmplificationSettings { ratio: Some(0.5), redraw: Redraw::Epoch, ..settings(PolicyName::Random) };
        let mut amplifier = Amplifier::new(&strategy, &settings, &chain(8), seed).unwrap();
        let at = begin + 1 + more;
        amplifier.begin_step(at, 0, &History::default()).unwrap();
        let alone = Selection::new(&settings, &chain(8), seed).unwrap().draw(at, 0, &History::default()).unwrap();
        prop_assert_eq!(amplifier.draw().unwrap(), &alone);
    }
}
