//! Equivalence, rearrangements and planning against SciPy's and statsmodels'.

use proptest::prelude::*;

use super::*;
use crate::statistics::chance;

#[test]
fn equivalence_agrees_with_statsmodels() {
    for case in reference("equivalences") {
        let (a, b, margin) = (numbers(&case["a"]), numbers(&case["b"]), number(&case["smallest_difference"]));
        for (method, key) in [(Method::Welch, "welch"), (Method::Paired, "paired")] {
            let found = equivalence(&a, &b, method, margin);
            assert_eq!(found.is_some(), case[key].is_object(), "{case}");
            let Some(found) = found else { continue };
            for (value, name) in [(found.p, "p"), (found.p_lower, "p_lower"), (found.p_upper, "p_upper")] {
                assert_close(value, number(&case[key][name]), 1e-10, &case);
            }
            assert_interval(found.ci90, &case[key]["ci90"], 1e-10, &case);
        }
    }
    let (a, b) = ([1.0, 2.0], [1.5, 2.0]);
    for margin in [0.0, -1.0, f64::NAN] {
        assert_eq!(equivalence(&a, &b, Method::Paired, margin), None, "{margin}");
    }
}

#[test]
fn rearrangements_agree_with_scipys() {
    for case in reference("permutations") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let found = if case["kind"] == "samples" { sign_flips(&a, &b) } else { permutation(&a, &b) }.unwrap();
        assert_close(found.p, number(&case["p"]), 1e-12, &case);
        assert_eq!(
            (found.exact, found.arrangements),
            (true, case["arrangements"].as_u64().unwrap()),
            "{case}"
        );
    }
}

#[test]
fn many_values_are_drawn_and_few_cannot_be_told_apart() {
    let a: Vec<f64> = (0..30).map(f64::from).collect();
    let b: Vec<f64> = a.iter().enumerate().map(|(i, x)| x + f64::from(i % 7 == 0) * 9.0 - 1.0).collect();
    // The normal approximation is near enough for thirty values to show a wrong draw.
    for (found, test) in [(sign_flips(&a, &b), paired(&a, &b)), (permutation(&a, &b), welch(&a, &b))] {
        let (found, test) = (found.unwrap(), test.unwrap());
        assert!(!found.exact && (found.p - test.p).abs() < 0.03, "{found:?} {test:?}");
    }
    let far: Vec<f64> = a.iter().map(|x| x + 100.0 + (x % 3.0)).collect();
    assert!(sign_flips(&a, &far).unwrap().p < 2e-5 && permutation(&a, &far).unwrap().p < 2e-5);
    let five = sign_flips(&[0.0; 5], &[1.0, 2.0, 1.0, 1.5, 1.0]).unwrap();
    assert_eq!((five.p, five.smallest_p), (0.0625, 0.0625));
    let four = permutation(&[0.0; 4], &[1.0; 4]).unwrap();
    assert_eq!((four.p, four.smallest_p), (2.0 / 70.0, 2.0 / 70.0));
    assert_eq!((permutation(&[0.0], &[1.0, 2.0, 3.0]).unwrap().smallest_p), 0.25);
    assert_eq!(sign_flips(&[1.0], &[2.0]).unwrap().smallest_p, 1.0);
    assert_eq!((sign_flips(&[], &[]), sign_flips(&[1.0], &[]), permutation(&[], &[1.0])), (None, None, None));
}

#[test]
fn more_hits_than_chance_agree_with_scipys() {
    for case in reference("chances") {
        let count = |key: &str| case[key].as_u64().unwrap();
        let (hits, examples, classes) = (count("hits"), count("examples"), count("classes") as usize);
        let tail = chance::binomial_tail(hits, examples, 1.0 / classes as f64);
        assert_close(tail, number(&case["p"]), 1e-10, &case);
        assert_close(tail / number(&case["p"]), 1.0, 1e-9, &case);
        assert_eq!(is_above_chance(hits, examples, classes), number(&case["p"]) < 0.001, "{case}");
    }
    assert!(!is_above_chance(0, 0, 10) && !is_above_chance(0, 10, 10) && !is_above_chance(10, 10, 1));
    assert!(is_above_chance(10, 10, 10));
}

#[test]
fn the_smallest_effect_agrees_with_statsmodels() {
    for case in reference("smallest_effects") {
        let n = case["n"].as_u64().unwrap() as usize;
        let found = smallest_effect(design(&case), n, number(&case["power"]), ALPHA);
        assert_close(found.unwrap(), number(&case["effect"]), 1e-9, &case);
    }
    assert_eq!(smallest_effect(Design::Paired, 1, 0.8, ALPHA), None);
    assert_eq!(smallest_effect(Design::Paired, 5, 1.0, ALPHA), None);
}

proptest! {
    #[test]
    fn the_ninety_per_cent_interval_lies_within_the_margin_exactly_where_groups_are_equivalent(
        (a, b) in pairs(), margin in 0.001..2.0_f64
    ) {
        for method in [Method::Paired, Method::Welch] {
            let Some(found) = equivalence(&a, &b, method, margin) else { continue };
            prop_assert_eq!(found.is_equivalent(), found.ci90.0 > -margin && found.ci90.1 < margin, "{:?}", found);
            let swapped = equivalence(&b, &a, method, margin).unwrap();
            prop_assert!(close(swapped.p, found.p) && close(swapped.p_lower, found.p_upper));
        }
    }

    #[test]
    fn rearrangements_see_neither_side_nor_shift_nor_scale((a, b) in pairs()) {
        for test in [sign_flips, permutation] {
            let found = test(&a, &b).unwrap();
            prop_assert!(found.p >= found.smallest_p * (1.0 - 1e-12) && found.p <= 1.0, "{:?}", found);
            prop_assert_eq!(test(&b, &a).unwrap().p, found.p);
            let (x, y) = (map(&a, |x| 4.0 * x + 1.0), map(&b, |x| 4.0 * x + 1.0));
            prop_assert_eq!(test(&x, &y).unwrap().p, found.p);
        }
    }

    #[test]
    fn the_smallest_effect_is_seen_with_the_power_that_was_wanted(n in 2usize..40, wanted in 0.1..0.95_f64, is_paired: bool) {
        let design = if is_paired { Design::Paired } else { Design::Independent };
        let effect = smallest_effect(design, n, wanted, ALPHA).unwrap();
        prop_assert!((power(design, effect, n, ALPHA) - wanted).abs() < 1e-7);
    }
}
