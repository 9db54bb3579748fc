//! The statistics are held against SciPy's, statsmodels' and lifelines', and against what must hold of any numbers.

mod small;
mod times;

use proptest::prelude::*;
use serde_json::Value;

use super::distributions::*;
use super::*;

/// Made by tests/statistics/reference.py.
const REFERENCE: &str = include_str!("../../../tests/statistics/reference.json");

fn reference(key: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(REFERENCE).unwrap();
    all[key].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn design(value: &Value) -> Design {
    serde_json::from_value(value["design"].clone()).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, case: &Value) {
    let is_close = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(is_close, "found {found:e}, expected {expected:e} ({:e}) in {case}", found - expected);
}

#[track_caller]
fn assert_interval(found: (f64, f64), expected: &Value, tolerance: f64, case: &Value) {
    assert_close(found.0, number(&expected[0]), tolerance, case);
    assert_close(found.1, number(&expected[1]), tolerance, case);
}

#[test]
fn distributions_agree_with_scipys() {
    for case in reference("students") {
        let p = student_two_sided(number(&case["t"]), number(&case["df"]));
        assert_close(p, number(&case["p"]), 1e-10, &case);
        if number(&case["p"]) > 0.0 {
            assert_close(p / number(&case["p"]), 1.0, 1e-10, &case);
        }
    }
    for case in reference("critical") {
        let t = student_critical(number(&case["alpha"]), number(&case["df"]));
        assert_close(t, number(&case["t"]), 1e-10, &case);
    }
    for case in reference("noncentral") {
        let p = noncentral_student(number(&case["t"]), number(&case["df"]), number(&case["delta"]));
        assert_close(p, number(&case["p"]), 1e-10, &case);
    }
    for case in reference("normals") {
        assert_close(normal_quantile(number(&case["p"])), number(&case["z"]), 1e-10, &case);
        assert_close(normal(number(&case["z"])), number(&case["p"]), 1e-10, &case);
    }
}

#[test]
fn summaries_agree_with_scipys() {
    for case in reference("summaries") {
        let summary = Summary::of_values(&numbers(&case["values"]));
        assert_close(summary.mean, number(&case["mean"]), 1e-12, &case);
        assert_close(summary.sd.unwrap(), number(&case["sd"]), 1e-12, &case);
        assert_interval(summary.ci.unwrap(), &case["ci"], 1e-10, &case);
    }
}

#[test]
fn tests_of_two_groups_agree_with_scipys() {
    for case in reference("groups") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let agrees = |found: MeanDifference, expected: &Value| {
            assert_close(found.t, number(&expected["t"]), 1e-10, &case);
            assert_close(found.df, number(&expected["df"]), 1e-10, &case);
            assert_close(found.p, number(&expected["p"]), 1e-10, &case);
            assert_interval(found.ci, &expected["ci"], 1e-10, &case);
        };
        agrees(welch(&a, &b).unwrap(), &case["welch"]);
        let agrees_in_effect = |found: Effect, expected: &Value| {
            assert_close(found.value, number(&expected["value"]), 1e-10, &case);
            assert_interval(found.ci.unwrap(), &expected["ci"], 1e-9, &case);
        };
        agrees_in_effect(hedges_g(&a, &b).unwrap(), &case["hedges_g"]);
        assert_eq!(paired(&a, &b).is_some(), a.len() == b.len(), "{case}");
        if let (Some(test), Some(effect)) = (paired(&a, &b), cohens_dz(&a, &b)) {
            agrees(test, &case["paired"]);
            agrees_in_effect(effect, &case["cohens_dz"]);
        }
        let ranks = rank_sum(&a, &b).unwrap();
        assert_close(ranks.u, number(&case["rank_sum"]["u"]), 1e-12, &case);
        if case["rank_sum"]["comparable"] == true {
            assert_close(ranks.p, number(&case["rank_sum"]["p"]), 1e-10, &case);
        }
    }
    for case in reference("ties") {
        let infinite = |values: &Value| {
            numbers(values).into_iter().map(|x| if x == 99.0 { f64::INFINITY } else { x }).collect::<Vec<_>>()
        };
        let ranks = rank_sum(&infinite(&case["a"]), &infinite(&case["b"])).unwrap();
        assert!(ranks.exact);
        assert_close(ranks.p, number(&case["p"]), 1e-10, &case);
    }
}

#[test]
fn mcnemars_test_agrees_with_statsmodels() {
    for case in reference("mcnemar") {
        let count = |key: &str| case[key].as_u64().unwrap();
        let found = mcnemar(count("only_a"), count("only_b"));
        assert_eq!(found.method == McNemarMethod::Exact, case["exact"].as_bool().unwrap(), "{case}");
        assert_close(found.p, number(&case["p"]), 1e-10, &case);
    }
    let found =
        McNemar::of_hits(&[true, true, false, false, true], &[true, false, true, false, false]).unwrap();
    assert_eq!((found.only_a, found.only_b), (2, 1));
    assert_eq!(McNemar::of_hits(&[true], &[]), None);
}

#[test]
fn corrections_agree_with_statsmodels() {
    for case in reference("corrections") {
        let p = numbers(&case["p"]);
        for (correction, key) in [(Correction::Holm, "holm"), (Correction::Bh, "bh")] {
            for (found, expected) in correction.apply(&p).into_iter().zip(numbers(&case[key])) {
                assert_close(found, expected, 1e-12, &case);
            }
        }
    }
}

#[test]
fn power_and_the_number_of_seeds_agree_with_statsmodels() {
    for case in reference("powers") {
        let n = case["n"].as_u64().unwrap() as usize;
        let found = power(design(&case), number(&case["effect"]), n, ALPHA);
        assert_close(found, number(&case["power"]), 1e-9, &case);
    }
    for case in reference("seeds") {
        let found = seeds_needed(design(&case), number(&case["effect"]), number(&case["power"]), ALPHA);
        assert_eq!(found.map(|n| n as u64), case["seeds"].as_u64(), "{case}");
    }
    assert_eq!(seeds_needed(Design::Paired, 0.0, 0.8, ALPHA), None);
    assert_eq!(seeds_needed(Design::Paired, 1e9, 0.8, ALPHA), Some(2));
}

#[test]
fn bootstrap_intervals_agree_with_scipys() {
    let all: Value = serde_json::from_str(REFERENCE).unwrap();
    let case = &all["bootstrap"];
    let (values, means) = (numbers(&case["values"]), numbers(&case["means"]));
    let percentile = (bootstrap::quantile(&means, 0.025), bootstrap::quantile(&means, 0.975));
    assert_interval(percentile, &case["percentile"], 1e-10, &case["percentile"]);
    assert_interval(bootstrap::bca(&means, &values).unwrap(), &case["bca"], 1e-10, &case["bca"]);
    // With random numbers of our own: as near as the draws allow, and the same whenever asked.
    let large = numbers(&case["large"]);
    let found = bootstrap(&large, 4000, 1).unwrap();
    assert_interval(found.bca.unwrap(), &case["large_bca"], 2e-3, &case["large_bca"]);
    assert_eq!(bootstrap(&large, 4000, 1).unwrap(), found);
    assert_ne!(bootstrap(&large, 4000, 2).unwrap().bca, found.bca);
}

#[test]
fn what_cannot_be_said_is_not_said() {
    assert!(Summary::of_values(&[]).mean.is_nan());
    assert_eq!(Summary::of_values(&[0.1]), Summary { n: 1, mean: 0.1, sd: None, ci: None });
    assert_eq!(Summary::of_values(&[0.1; 3]).sd, Some(0.0));
    let same = [0.1, 0.1, 0.1];
    assert_eq!((welch(&same, &same), paired(&same, &[0.2, 0.3])), (None, None));
    assert_eq!(
        (paired(&same, &[0.4, 0.4, 0.4]), hedges_g(&same, &same), cohens_dz(&same, &same)),
        (None, None, None)
    );
    assert_eq!((welch(&[0.1], &same), rank_sum(&[], &same), bootstrap(&[], 100, 0)), (None, None, None));
    let alike = bootstrap(&[0.0; 10], 100, 0).unwrap();
    assert_eq!((alike.percentile, alike.bca), ((0.0, 0.0), None));
    let summary: Summary =
        serde_json::from_str(&serde_json::to_string(&Summary::of_values(&[])).unwrap()).unwrap();
    assert!(summary.mean.is_nan());
}

fn group() -> impl Strategy<Value = Vec<f64>> {
    // Steps of 1/1024, so that sums and shifts are exact and equal values do occur.
    proptest::collection::vec((0i32..2048).prop_map(|x| f64::from(x) / 1024.0), 2..8)
}

/// Two groups with a spread of at least a step, and of one size.
fn pairs() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    proptest::collection::vec((0i32..2048, 0i32..2048), 2..8).prop_map(|pairs| {
        let values =
            |pick: fn(&(i32, i32)) -> i32| pairs.iter().map(|pair| f64::from(pick(pair)) / 1024.0).collect();
        (values(|pair| pair.0), values(|pair| pair.1))
    })
}

fn map(values: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    values.iter().map(|&value| f(value)).collect()
}

fn close(x: f64, y: f64) -> bool {
    (x - y).abs() <= 1e-7 * x.abs().max(1.0)
}

/// Of two groups.
type Of<T> = fn(&[f64], &[f64]) -> Option<T>;
const TESTS: [Of<MeanDifference>; 2] = [welch, paired];
const EFFECTS: [Of<Effect>; 2] = [hedges_g, cohens_dz];

proptest! {
    #[test]
    fn a_test_is_turned_round_by_a_swap_and_does_not_see_shift_and_scale((a, b) in pairs()) {
        for test in TESTS {
            let Some(found) = test(&a, &b) else { continue };
            prop_assert!((0.0..=1.0).contains(&found.p));
            prop_assert!(found.ci.0 <= found.difference && found.difference <= found.ci.1);
            prop_assert_eq!(found.p < ALPHA, found.ci.0 > 0.0 || found.ci.1 < 0.0, "{:?}", found);
            let swapped = test(&b, &a).unwrap();
            prop_assert!(close(swapped.t, -found.t) && close(swapped.p, found.p) && close(swapped.ci.0, -found.ci.1));
            for change in [|x| x + 3.0, |x| x * 8.0] {
                let changed = test(&map(&a, change), &map(&b, change)).unwrap();
                prop_assert!(close(changed.t, found.t) && close(changed.p, found.p));
            }
        }
        for effect in EFFECTS {
            let (Some(found), Some(swapped)) = (effect(&a, &b), effect(&b, &a)) else { continue };
            prop_assert!(close(found.value, -swapped.value));
            if let (Some(ci), Some(other)) = (found.ci, swapped.ci) {
                prop_assert!(close(ci.0, -other.1) && ci.0 <= ci.1, "{ci:?} {other:?}");
            }
        }
    }

    #[test]
    fn ranks_do_not_see_a_rising_change(a in group(), b in group()) {
        let (found, swapped) = (rank_sum(&a, &b).unwrap(), rank_sum(&b, &a).unwrap());
        prop_assert!(found.p > 0.0 && found.p <= 1.0);
        prop_assert!(close(found.u + swapped.u, (a.len() * b.len()) as f64) && close(found.p, swapped.p));
        let changed = rank_sum(&map(&a, f64::exp), &map(&b, f64::exp)).unwrap();
        prop_assert_eq!(changed, found);
    }

    #[test]
    fn corrected_chances_are_no_smaller_keep_their_order_and_stay_chances(p in proptest::collection::vec(0.0..=1.0, 0..12)) {
        let (holm, bh) = (holm(&p), benjamini_hochberg(&p));
        for (i, &raw) in p.iter().enumerate() {
            prop_assert!(raw <= bh[i] && bh[i] <= holm[i] && holm[i] <= 1.0);
            for (j, &other) in p.iter().enumerate() {
                prop_assert!(raw > other || holm[i] <= holm[j] && bh[i] <= bh[j]);
            }
        }
    }

    #[test]
    fn mcnemars_chance_is_one_and_does_not_see_the_sides(only_a in 0u64..300, only_b in 0u64..300) {
        let found = mcnemar(only_a, only_b);
        prop_assert!((0.0..=1.0).contains(&found.p));
        prop_assert_eq!(found.p, mcnemar(only_b, only_a).p);
    }

    #[test]
    fn the_seeds_needed_are_enough_and_one_less_is_not(effect in 0.2..3.0, wanted in 0.3..0.95, is_paired: bool) {
        let design = if is_paired { Design::Paired } else { Design::Independent };
        let n = seeds_needed(design, effect, wanted, ALPHA).unwrap();
        prop_assert!(power(design, effect, n, ALPHA) >= wanted);
        prop_assert!(n == 2 || power(design, effect, n - 1, ALPHA) < wanted);
    }

    #[test]
    fn bootstraps_of_many_sets_are_those_of_each(
        sets in proptest::collection::vec(proptest::collection::vec(-1.0..1.0_f64, 0..5), 0..20), seed: u64
    ) {
        let found = bootstrap_each(&sets, 50, seed);
        let alone: Vec<Option<Bootstrap>> = sets.iter().map(|values| bootstrap(values, 50, seed)).collect();
        prop_assert_eq!(found, alone);
    }

    #[test]
    fn a_bootstrap_lies_within_its_values_and_is_turned_round_by_a_swap(values in group(), seed: u64) {
        let found = bootstrap(&values, 200, seed).unwrap();
        let swapped = bootstrap(&map(&values, |x| -x), 200, seed).unwrap();
        prop_assert!(close(found.percentile.0, -swapped.percentile.1));
        let (low, high) = found.bca.unwrap_or(found.percentile);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        prop_assert!(low <= high && least <= found.percentile.0 && least <= low);
    }
}
