//! Times of events against lifelines' and statsmodels'.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn observations(case: &Value) -> Vec<Observation> {
    let happened = numbers(&case["happened"]);
    numbers(&case["times"])
        .into_iter()
        .zip(happened)
        .map(|(time, happened)| Observation { time, happened: happened > 0.0 })
        .collect()
}

#[test]
fn curves_and_restricted_means_agree_with_lifelines() {
    for case in reference("survival") {
        for group in ["a", "b"] {
            let expected = &case[group];
            let curve = KaplanMeier::new(&observations(expected));
            let steps = expected["steps"].as_array().unwrap();
            assert_eq!(curve.steps.len(), steps.len(), "{expected}");
            for (found, expected) in curve.steps.iter().zip(steps) {
                assert_close(found.time, number(&expected["time"]), 0.0, expected);
                assert_close(found.share, number(&expected["share"]), 1e-12, expected);
                assert_close(found.standard_error, number(&expected["standard_error"]), 1e-10, expected);
                let interval = expected["ci"].as_array().map(|ci| (number(&ci[0]), number(&ci[1])));
                assert_eq!(found.ci.is_some(), interval.is_some(), "{expected}");
                if let (Some(found), Some(interval)) = (found.ci, interval) {
                    assert_close(found.0, interval.0, 1e-10, expected);
                    assert_close(found.1, interval.1, 1e-10, expected);
                }
                let counts = [found.at_risk, found.events, found.censored];
                assert_eq!(
                    counts,
                    ["at_risk", "events", "censored"].map(|key| number(&expected[key]) as usize)
                );
                assert_close(curve.share(found.time), found.share, 0.0, expected);
            }
            assert_eq!(curve.median(), expected["median"].as_f64());
            for restricted in expected["restricted"].as_array().unwrap() {
                let found = curve.restricted_mean(number(&restricted["horizon"])).unwrap();
                assert_close(found.mean, number(&restricted["mean"]), 1e-10, restricted);
                assert_close(
                    found.standard_error.unwrap(),
                    number(&restricted["standard_error"]),
                    1e-9,
                    restricted,
                );
            }
        }
    }
}

#[test]
fn the_log_rank_test_agrees_with_lifelines() {
    for case in reference("survival") {
        let (a, b) = (observations(&case["a"]), observations(&case["b"]));
        let (found, swapped) = (log_rank(&a, &b).unwrap(), log_rank(&b, &a).unwrap());
        assert_close(found.chi_square, number(&case["log_rank"]["chi_square"]), 1e-10, &case["log_rank"]);
        assert_close(found.p, number(&case["log_rank"]["p"]), 1e-10, &case["log_rank"]);
        assert_close(swapped.p, found.p, 1e-10, &case["log_rank"]);
    }
}

#[test]
fn nothing_is_said_of_times_without_events() {
    let never = [Observation { time: 8.0, happened: false }; 3];
    assert_eq!((log_rank(&never, &never), log_rank(&[], &never)), (None, None));
    let curve = KaplanMeier::new(&never);
    assert_eq!((curve.median(), curve.share(9.0)), (None, 1.0));
    let mean = curve.restricted_mean(8.0).unwrap();
    assert_eq!((mean.mean, mean.standard_error), (8.0, Some(0.0)));
    assert_eq!(RestrictedMean::difference(&mean, &mean), None, "there is no spread");
    assert_eq!(KaplanMeier::new(&[]).restricted_mean(1.0), None);
    assert_eq!((curve.restricted_mean(0.0), curve.restricted_mean(f64::NAN)), (None, None));
    assert_eq!(KaplanMeier::new(&never[..1]).restricted_mean(4.0).unwrap().standard_error, None);
}

proptest! {
    #[test]
    fn where_all_arrive_the_curve_is_the_share_still_waiting_and_the_means_are_means(
        a in proptest::collection::vec(1u32..12, 2..9), b in proptest::collection::vec(1u32..12, 2..9), at in 0u32..14
    ) {
        let times = |values: &[u32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
        let all = |values: &[u32]| {
            let observation = |time: f64| Observation { time, happened: true };
            KaplanMeier::new(&times(values).into_iter().map(observation).collect::<Vec<_>>())
        };
        let waiting = a.iter().filter(|&&x| x > at).count() as f64 / a.len() as f64;
        prop_assert!(close(all(&a).share(at.into()), waiting));
        // Up to a horizon, which cuts off some of the times.
        for horizon in [20.0, f64::from(at) + 0.5] {
            let cut = |values: &[u32]| map(&times(values), |x| x).into_iter().map(|x| x.min(horizon)).collect::<Vec<_>>();
            let (mean_a, mean_b) = (all(&a).restricted_mean(horizon).unwrap(), all(&b).restricted_mean(horizon).unwrap());
            let summary = Summary::of_values(&cut(&a));
            prop_assert!(close(mean_a.mean, summary.mean));
            let error = mean_a.standard_error.unwrap();
            prop_assert!((error - summary.sd.unwrap() / (a.len() as f64).sqrt()).abs() < 1e-7, "{error} {summary:?}");
            let (ci, expected) = (mean_a.ci.unwrap(), summary.ci.unwrap());
            prop_assert!((ci.0 - expected.0).abs() < 1e-5 && (ci.1 - expected.1).abs() < 1e-5);
            if let Some(expected) = welch(&cut(&a), &cut(&b)) {
                let found = RestrictedMean::difference(&mean_a, &mean_b).unwrap();
                prop_assert!(close(found.difference, expected.difference) && (found.p - expected.p).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_curve_falls_and_a_later_horizon_adds_no_more_than_the_time(
        values in proptest::collection::vec((1u32..12, any::<bool>()), 1..12)
    ) {
        let observations: Vec<Observation> =
            values.iter().map(|&(time, happened)| Observation { time: time.into(), happened }).collect();
        let curve = KaplanMeier::new(&observations);
        let mut last = 1.0;
        for step in &curve.steps {
            prop_assert!((0.0..=last).contains(&step.share));
            if let Some((least, most)) = step.ci {
                prop_assert!((0.0..step.share).contains(&least) && step.share < most && most <= 1.0, "{step:?}");
            }
            last = step.share;
        }
        let means: Vec<f64> = (1..14_u32).map(|h| curve.restricted_mean(h.into()).unwrap().mean).collect();
        prop_assert!(means.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12 && pair[1] - pair[0] <= 1.0 + 1e-12));
    }
}
