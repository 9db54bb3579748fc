//! The runs of a comparison.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::course::Course;
use crate::run_folder::lines::{EpochLine, EvaluationLine, best, last_evaluated};
use crate::run_folder::{RunData, RunRecord, RunStatus};
use crate::statistics::is_above_chance;
use crate::sweep::ResultLine;

/// The numbers of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunNumbers {
    /// The run's folder.
    pub run: String,
    /// Its seed.
    pub seed: u64,
    /// How the run ended; see `RunRecord`.
    pub outcome: RunStatus,
    /// Epochs that are done.
    pub epochs: usize,
    /// The accuracy on the test examples at the last evaluation.
    pub last_test_accuracy: f64,
    /// The best epoch, from 0: chosen by the validation examples, or by the test examples if there are no validation examples.
    pub best_epoch: Option<usize>,
    /// The accuracy on the validation examples in the best epoch.
    pub best_validation_accuracy: Option<f64>,
    /// The accuracy on the test examples in the best epoch.
    pub test_accuracy_at_best: Option<f64>,
    /// Seconds of all training steps.
    pub seconds: f64,
    /// Whether the run trains at all: whether the last test accuracy is above chance by more than the 99.9 % limit of the
    /// binomial distribution. A run that diverged does not. `None` if the number of classes or of test examples is not known.
    #[serde(default)]
    pub trained: Option<bool>,
    /// The test accuracies as training went on; `None` if the run's folder was removed.
    #[serde(skip)]
    pub course: Option<Course>,
}

impl RunNumbers {
    /// The numbers of the run in `folder`, which was evaluated on `examples` test examples, if that is known; `None` if it has
    /// never been evaluated on the test examples.
    pub fn of_epochs(
        folder: &Path,
        record: &RunRecord,
        epochs: &[EpochLine],
        examples: Option<usize>,
    ) -> Option<Self> {
        let best = best(epochs);
        let last = last_evaluated(epochs)?.test_accuracy?;
        let trained = examples.filter(|n| *n > 0 && record.classes.len() > 1).map(|n| {
            let hits = (last * n as f64).round() as u64;
            record.outcome != RunStatus::Diverged && is_above_chance(hits, n as u64, record.classes.len())
        });
        Some(Self {
            run: folder.display().to_string(),
            seed: record.seed,
            outcome: record.outcome,
            epochs: epochs.last().map_or(0, |epoch| epoch.epoch + 1),
            last_test_accuracy: last,
            best_epoch: best.map(|epoch| epoch.epoch),
            best_validation_accuracy: best.and_then(|epoch| epoch.validation_accuracy),
            test_accuracy_at_best: best.and_then(|epoch| epoch.test_accuracy),
            seconds: epochs.iter().map(|epoch| epoch.seconds).sum(),
            trained,
            course: Some(Course::new(record, epochs)),
        })
    }

    /// The numbers in `results.jsonl` for the run whose folder was `folder`; `None` if the run was never evaluated on the test
    /// examples.
    pub fn of_line(folder: &Path, line: &ResultLine) -> Option<Self> {
        Some(Self {
            run: folder.display().to_string(),
            seed: line.seed,
            outcome: line.status,
            epochs: line.epochs,
            last_test_accuracy: line.last_test_accuracy?,
            best_epoch: line.best_epoch,
            best_validation_accuracy: line.best_validation_accuracy,
            test_accuracy_at_best: line.test_accuracy_at_best,
            seconds: line.seconds,
            trained: None,
            course: None,
        })
    }
}

/// Runs that differ in the seed only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// Its runs, by seed.
    pub runs: Vec<RunNumbers>,
}

impl Group {
    /// The group called `name`.
    pub fn new(name: &str, members: &[Member]) -> Self {
        Self { name: name.to_owned(), runs: members.iter().map(|member| member.numbers.clone()).collect() }
    }

    /// How many runs train at all, and of how many; `None` if that is not known of some run.
    pub fn trained(&self) -> Option<(usize, usize)> {
        let trained = self.runs.iter().map(|run| run.trained).collect::<Option<Vec<bool>>>()?;
        Some((trained.iter().filter(|is| **is).count(), trained.len()))
    }

    /// The seeds, in order.
    pub fn seeds(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.seed).collect()
    }
}

/// A run of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its numbers.
    pub numbers: RunNumbers,
    /// The data in the run's folder; `None` if the folder was removed.
    pub data: Option<RunData>,
}

impl Member {
    /// Makes a member of a run; `None` if the run was never evaluated on the test examples.
    pub fn new(data: RunData) -> Option<Self> {
        let examples = data.evaluations.iter().find(|line| line.split == "test").map(|line| line.hits.len());
        let numbers = RunNumbers::of_epochs(&data.root, &data.record, &data.epochs, examples)?;
        Some(Self { numbers, data: Some(data) })
    }

    /// Whether all epochs of its strategy are done.
    pub fn is_finished(&self) -> bool {
        self.numbers.outcome == RunStatus::Finished
    }

    /// The last evaluation on the test examples, example by example.
    pub fn last_evaluation(&self) -> Option<&EvaluationLine> {
        let data = self.data.as_ref()?;
        data.evaluation("test", data.last()?.epoch)
    }
}
