//! The mean gain over the draws of a run, where it is known in advance.

use super::{ParameterGain, for_draw, gains, most};
use crate::Result;
use crate::Trace;
use crate::amplify::draw::Draw;
use crate::amplify::history::History;
use crate::amplify::policy::Predictability;
use crate::amplify::selection::Selection;

/// The mean gain of every parameter over the decisions of `selection`, in the form of [`for_draw`]. `None` if the gain is not known in
/// advance: it is known for policies whose decisions are all the same, and for random draws that no bound can change.
///
/// Paths with equally many eligible layers have equal mean gains, even if their gains differ in a single draw.
///
/// **Errors:** what the policy's decision returns.
pub fn expected(trace: &Trace, selection: &Selection) -> Result<Option<Vec<ParameterGain>>> {
    Ok(match selection.policy().predictability() {
        Predictability::Unknown => None,
        Predictability::Fixed => Some(for_draw(trace, &selection.draw(0, 0, &History::default())?)),
        Predictability::Drawn { count, factor } => {
            let eligible = selection.eligible();
            let factors = vec![factor; eligible.len()];
            let all =
                Draw { sites: eligible.to_vec(), factors, placement: selection.placement(), power: None };
            if count == eligible.len() {
                return Ok(Some(for_draw(trace, &selection.draw(0, 0, &History::default())?)));
            }
            if selection.max_gain().is_some_and(|bound| most(trace, &all) > bound) {
                return Ok(None); // each draw would be shrunk by itself
            }
            let sites: Vec<_> = eligible.iter().map(|&site| (site, 1)).collect();
            Some(gains(trace, &sites, selection.placement(), |passed| {
                expected_power(f64::from(factor), eligible.len(), count, passed)
            }))
        }
    })
}

/// E[f^X], where X counts the drawn among `passed` layers when `drawn` of `total` are drawn.
///
/// The first of the passed layers is drawn with probability k/N. Then k − 1 of N − 1 remain to be drawn, otherwise k of
/// N − 1. So E(N, k, m) = k/N · f · E(N − 1, k − 1, m − 1) + (1 − k/N) · E(N − 1, k, m − 1), and E(N, k, 0) = 1.
fn expected_power(f: f64, total: usize, drawn: usize, passed: usize) -> f64 {
    let mut e = vec![1.0; drawn + 1]; // e[k] = E(n − 1, k, m − 1), beginning at m = 1
    for n in total - passed + 1..=total {
        for k in (0..=drawn.min(n)).rev() {
            e[k] = match k as f64 / n as f64 {
                0.0 => e[0],
                1.0 => f * e[k - 1],
                p => p * f * e[k - 1] + (1.0 - p) * e[k],
            };
        }
    }
    e[drawn]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All draws of `drawn` among `total`, one by one.
    fn enumerated(f: f64, total: usize, drawn: usize, passed: usize) -> f64 {
        let draws: Vec<u32> =
            (0..1_u32 << total).filter(|draw| draw.count_ones() as usize == drawn).collect();
        let on_path = (1_u32 << passed) - 1;
        let sum: f64 = draws.iter().map(|draw| f.powi((draw & on_path).count_ones() as i32)).sum();
        sum / draws.len() as f64
    }

    #[test]
    fn the_mean_gain_is_that_of_all_draws_one_by_one() {
        for total in 1..=9 {
            for drawn in 1..=total {
                for passed in 0..=total {
                    for f in [0.5, 1.0, 2.0, 10.0] {
                        let (fast, slow) =
                            (expected_power(f, total, drawn, passed), enumerated(f, total, drawn, passed));
                        assert!(
                            (fast / slow - 1.0).abs() < 1e-12,
                            "{drawn} of {total}, {passed} passed: {fast} against {slow}"
                        );
                    }
                }
            }
        }
    }
}
