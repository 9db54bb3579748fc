//! Successive halving: at each rung only the best share of the cells continues.
//!
//! The seeds of a cell stay together. Cells are compared by their means over the seeds: of the validation accuracy if all runs
//! have one, otherwise of the training loss. A cell with a run that diverged comes last, because its settings caused that. A run that failed
//! before the rung, such as by a full disk, says nothing about its settings: its cell is ranked by its other runs,
//! and comes last only if no run is left. Baselines run to their end, because all cells are compared with them; a control
//! goes as far as its cell. All decisions are made from the files on the disk, so that several processes decide alike, and
//! a run that was stopped can be resumed later.
//!
//! **Source:** Jamieson, Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS
//! 2016.

use super::plan::Halving;

/// The progress of a run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Whether an error ended the run.
    pub failed: bool,
    /// Whether the run diverged: a loss was not finite.
    pub diverged: bool,
    /// The validation accuracy, if there is one, and the training loss of each epoch.
    pub epochs: Vec<(Option<f64>, f64)>,
    /// The number of epochs in all.
    pub total: usize,
}

/// Whether a cell continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The runs of the cell continue up to this number of epochs, at which cells are compared; with `None`, to their end.
    Continues(Option<usize>),
    /// The cell was not among the best after this number of epochs.
    Stopped(usize),
}

/// The fate of each cell, by its runs.
pub fn cell_fates(halving: &Halving, cells: &[Vec<Progress>]) -> Vec<Fate> {
    let mut fates = vec![Fate::Continues(None); cells.len()];
    let mut alive: Vec<usize> = (0..cells.len()).collect();
    for &rung in &halving.epochs {
        let is_there = |run: &Progress| run.failed || run.diverged || run.is_at(rung);
        if !alive.iter().all(|&cell| cells[cell].iter().all(is_there)) {
            alive.iter().for_each(|&cell| fates[cell] = Fate::Continues(Some(rung)));
            break;
        }
        let by_accuracy = alive
            .iter()
            .flat_map(|&cell| &cells[cell])
            .filter(|run| run.is_at(rung) && !run.diverged)
            .all(|run| accuracy(run, rung).is_some());
        let score = |cell: &usize| score(&cells[*cell], rung, by_accuracy);
        let mut ranked = alive.clone();
        ranked.sort_by(|a, b| score(b).total_cmp(&score(a))); // stable: of equal cells, the first in the plan continues
        for loser in ranked.split_off(alive.len().div_ceil(halving.eta)) {
            fates[loser] = Fate::Stopped(rung);
        }
        alive.retain(|&cell| fates[cell] == Fate::Continues(None));
    }
    fates
}

impl Progress {
    /// Whether the epochs up to the rung are done.
    fn is_at(&self, rung: usize) -> bool {
        self.epochs.len() >= rung.min(self.total)
    }
}

/// The mean over the runs that reached the rung or diverged.
fn score(runs: &[Progress], rung: usize, by_accuracy: bool) -> f64 {
    let run_score = |run: &Progress| match (run.diverged, by_accuracy) {
        (true, _) => f64::NEG_INFINITY,
        (_, true) => accuracy(run, rung).unwrap_or(f64::NEG_INFINITY),
        (_, false) => run.epochs.iter().take(rung).next_back().map_or(f64::NEG_INFINITY, |(_, loss)| -loss),
    };
    let scores: Vec<f64> = runs.iter().filter(|run| run.diverged || run.is_at(rung)).map(run_score).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    if mean.is_nan() { f64::NEG_INFINITY } else { mean } // no runs, or losses that are not finite
}

/// The validation accuracy of the last epoch up to the rung that was evaluated.
fn accuracy(run: &Progress, rung: usize) -> Option<f64> {
    run.epochs.iter().take(rung).rev().find_map(|(accuracy, _)| *accuracy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(accuracies: &[f64]) -> Progress {
        let epochs = accuracies.iter().map(|&accuracy| (Some(accuracy), 1.0)).collect();
        Progress { epochs, total: 8, ..Progress::default() }
    }

    const HALVING: fn() -> Halving = || Halving { epochs: vec![1, 2], eta: 2 };

    #[test]
    fn only_the_best_half_goes_on_once_all_are_there() {
        let mut cells: Vec<Vec<Progress>> =
            [0.2, 0.5, 0.4, 0.3, 0.1].map(|a| vec![run(&[a]), run(&[a])]).to_vec();
        let going = |rung| Fate::Continues(Some(rung));
        let stopped = Fate::Stopped;
        let expected = [stopped(1), going(2), going(2), going(2), stopped(1)];
        assert_eq!(cell_fates(&HALVING(), &cells), expected);
        cells[4][1].epochs.clear();
        assert_eq!(cell_fates(&HALVING(), &cells), [going(1); 5], "one run is not there yet");
        cells[4][1].failed = true;
        assert_eq!(cell_fates(&HALVING(), &cells), expected, "and never will be");
        for (cell, last) in [(1, 0.1), (2, 0.9), (3, 0.95)] {
            cells[cell].iter_mut().for_each(|run| run.epochs.push((Some(last), 1.0)));
        }
        let end = Fate::Continues(None);
        assert_eq!(cell_fates(&HALVING(), &cells), [stopped(1), stopped(2), end, end, stopped(1)]);
    }

    #[test]
    fn a_run_that_diverged_is_the_last_and_one_that_failed_pushes_no_other_out() {
        let halving = Halving { epochs: vec![1], eta: 2 };
        let (end, stopped) = (Fate::Continues(None), Fate::Stopped(1));
        let against = |other: Progress| {
            cell_fates(&halving, &[vec![run(&[0.2]), run(&[0.2])], vec![run(&[0.9]), other]])
        };
        let failed = |accuracies: &[f64]| Progress { failed: true, ..run(accuracies) };
        assert_eq!(against(failed(&[])), [stopped, end], "judged by the run that is left");
        assert_eq!(against(failed(&[0.9])), [stopped, end], "it failed behind the rung");
        assert_eq!(against(failed(&[0.1, 0.9])), [stopped, end], "its epoch at the rung counts");
        assert_eq!(against(Progress { diverged: true, ..run(&[0.9]) }), [end, stopped]);
        assert_eq!(against(Progress { diverged: true, ..run(&[]) }), [end, stopped]);
        // A cell of which nothing is left takes no place from one that lives, wherever it stands.
        let gone = || vec![failed(&[]), failed(&[])];
        let cells = [gone(), vec![run(&[0.1])], gone(), vec![run(&[0.2])]];
        assert_eq!(cell_fates(&halving, &cells), [stopped, end, stopped, end]);
        // Without accuracies a failed run's place is no reason to look at losses.
        let without = Progress { failed: true, total: 8, ..Progress::default() };
        let cells = [vec![run(&[0.1]), without.clone()], vec![run(&[0.2]), without]];
        assert_eq!(cell_fates(&halving, &cells), [stopped, end]);
    }

    #[test]
    fn losses_decide_where_accuracies_are_missing() {
        let halving = Halving { epochs: vec![1], eta: 2 };
        let end = Fate::Continues(None);
        let by_loss = |losses: [f64; 2]| {
            let run = |loss| Progress { epochs: vec![(None, loss)], total: 8, ..Progress::default() };
            cell_fates(&halving, &losses.map(|loss| vec![run(loss)]))
        };
        assert_eq!(by_loss([1.0, 0.5]), [Fate::Stopped(1), end]);
        assert_eq!(by_loss([0.4, f64::NAN]), [end, Fate::Stopped(1)]);
        assert_eq!(by_loss([0.5, 0.5]), [end, Fate::Stopped(1)], "of equals the first");
    }

    proptest! {
        #[test]
        fn a_share_goes_on_and_none_is_worse_than_one_that_stops(
            scores in prop::collection::vec(0.0..1.0_f64, 1..20), eta in 2_usize..5,
        ) {
            let halving = Halving { epochs: vec![1], eta };
            let cells: Vec<_> = scores.iter().map(|&score| vec![run(&[score])]).collect();
            let fates = cell_fates(&halving, &cells);
            let (mut on, mut off) = (Vec::new(), Vec::new());
            for (fate, score) in fates.iter().zip(&scores) {
                if *fate == Fate::Continues(None) { on.push(*score) } else { off.push(*score) }
            }
            prop_assert_eq!(on.len(), scores.len().div_ceil(eta));
            prop_assert!(on.iter().all(|a| off.iter().all(|b| a >= b)));
        }
    }
}
