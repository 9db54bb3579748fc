//! Planning a study before it starts: how many seeds a difference needs, and which difference a number of seeds detects.

use super::analysis::SweepAnalysis;
use super::page::points;
use crate::statistics::{ALPHA, Design, MOST_SEEDS, Summary, seeds_needed, smallest_effect};

/// The deviation of the differences between runs of one seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation {
    /// The deviation, as a fraction.
    pub sd: f64,
    /// The number of cells that it was estimated from; 0 if it was given.
    pub cells: usize,
    /// The number of pairs of runs that it was estimated from; 0 if it was given.
    pub pairs: usize,
}

impl Deviation {
    /// A deviation that is given.
    pub fn given(sd: f64) -> Self {
        Self { sd, cells: 0, pairs: 0 }
    }

    /// The deviation of an earlier sweep: of the differences in last test accuracy between a cell's runs and the runs of its
    /// baseline with the same seeds, pooled over the cells.
    ///
    /// √(Σ (nᵢ − 1) sᵢ² / Σ (nᵢ − 1)), with the deviation sᵢ of the nᵢ pairs of cell i. `None` if no cell has two pairs.
    pub fn of_sweep(analysis: &SweepAnalysis) -> Option<Self> {
        let (mut squares, mut df, mut cells, mut pairs) = (0.0, 0.0, 0, 0);
        for cell in &analysis.cells {
            let baseline =
                analysis.cells.iter().find(|other| Some(&other.cell.name) == cell.baseline.as_ref());
            let Some(baseline) = baseline else { continue };
            let difference = |run: &super::RunNumbers| {
                let other = baseline.runs.iter().find(|other| other.seed == run.seed)?;
                Some(run.last_test_accuracy - other.last_test_accuracy)
            };
            let differences: Vec<f64> = cell.runs.iter().filter_map(difference).collect();
            if let Summary { n, sd: Some(sd), .. } = Summary::of_values(&differences) {
                squares += (n as f64 - 1.0) * sd * sd;
                df += n as f64 - 1.0;
                (cells, pairs) = (cells + 1, pairs + n);
            }
        }
        (df > 0.0).then(|| Self { sd: (squares / df).sqrt(), cells, pairs })
    }
}

/// The powers for which a study is planned.
const POWERS: [f64; 2] = [0.8, 0.9];

/// What a paired design with this deviation sees, a line for each answer: the number of seeds that `difference` needs, and the
/// differences that `seeds` seeds see. With several `tests` also for the level that Holm's correction asks of the first of them.
pub fn plan_seeds(difference: Option<f64>, deviation: Deviation, seeds: usize, tests: usize) -> Vec<String> {
    let source = match deviation.cells {
        0 => "as given".to_owned(),
        1 => format!("of a cell with {} pairs of runs", deviation.pairs),
        cells => format!("pooled over {cells} cells and {} pairs of runs", deviation.pairs),
    };
    let mut lines = vec![format!(
        "Deviation of the differences between runs of one seed: {} points ({source}).",
        points(deviation.sd)
    )];
    let levels = if tests > 1 { vec![1, tests] } else { vec![1] };
    for tests in levels {
        let alpha = ALPHA / tests as f64;
        let level = match tests {
            1 => format!("at the level {alpha}"),
            _ => format!("as the first of {tests} tests by Holm, at the level {alpha:.4}"),
        };
        if let Some(difference) = difference {
            let needed = POWERS.map(|power| {
                let seeds = seeds_needed(Design::Paired, difference / deviation.sd, power, alpha);
                seeds.map_or_else(|| format!("more than {MOST_SEEDS}"), |seeds| seeds.to_string())
            });
            lines.push(format!(
                "A difference of {} points needs {} seeds for a power of {}, and {} seeds for {} ({level}).",
                points(difference),
                needed[0],
                POWERS[0],
                needed[1],
                POWERS[1]
            ));
        }
        let seen = POWERS.map(|power| smallest_effect(Design::Paired, seeds, power, alpha));
        lines.push(match seen {
            [Some(most), Some(more)] => format!(
                "The study's {seeds} seeds see {} points with a power of {}, and {} points with {} ({level}).",
                points(most * deviation.sd),
                POWERS[0],
                points(more * deviation.sd),
                POWERS[1]
            ),
            _ => format!("With {seeds} seed there is no test: a study needs at least two."),
        });
    }
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_is_needed_and_what_is_seen() {
        // statsmodels' TTestPower().solve_power: 9.94 and 12.59 seeds for an effect of 1, an effect of 1.682 and 1.966 for five.
        let lines = plan_seeds(Some(0.01), Deviation::given(0.01), 5, 1);
        assert_eq!(
            lines,
            [
                "Deviation of the differences between runs of one seed: 1.00 points (as given).",
                "A difference of 1.00 points needs 10 seeds for a power of 0.8, and 13 seeds for 0.9 (at the level 0.05).",
                "The study's 5 seeds see 1.68 points with a power of 0.8, and 1.97 points with 0.9 (at the level 0.05).",
            ]
        );
        let corrected = plan_seeds(Some(0.01), Deviation { sd: 0.01, cells: 3, pairs: 12 }, 5, 4);
        assert_eq!(corrected.len(), 5);
        assert!(corrected[0].contains("pooled over 3 cells and 12 pairs"), "{}", corrected[0]);
        assert!(
            corrected[3].ends_with("(as the first of 4 tests by Holm, at the level 0.0125)."),
            "{}",
            corrected[3]
        );
        assert!(plan_seeds(None, Deviation::given(0.01), 1, 1)[1].contains("no test"));
    }
}
