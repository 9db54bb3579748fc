//! `plan.json`: all runs of a sweep, in their order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names;
use crate::run_folder::{Error, FileSeal, Result, StudySeal, read_json};

/// The format of `plan.json`. A plan with another number is refused.
pub(super) const FORMAT: u32 = 1;

/// An axis's name and the value that a run has on it, in the study's order.
pub type Axes = Map<String, Value>;

/// `plan.json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form of the file.
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// The study's name.
    pub name: String,
    /// The axes' names, in the study's order.
    pub axes: Vec<String>,
    /// The axes that change nothing in the baseline.
    pub amplification_axes: Vec<String>,
    /// Successive halving, if the study asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halving: Option<Halving>,
    /// The tests that the study declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contrasts: Vec<PlannedContrast>,
    /// What runs that begin now record of their study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<StudySeal>,
    /// The seals of the study and of each run's settings, by their names in the sweep's folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileSeal>,
    /// The runs: for each baseline its runs, then cell by cell, each cell followed by its controls.
    pub runs: Vec<PlannedRun>,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// The name, which is also the name of the folder.
    pub name: String,
    /// The name of its cell: all runs that differ in the seed only.
    pub cell: String,
    /// Its role.
    pub role: Role,
    /// Its value on each axis; a baseline has values only on the axes that change it.
    pub axes: Axes,
    /// The seed.
    pub seed: u64,
    /// Epochs in all.
    pub epochs: usize,
    /// The cell that this run's cell is compared with, if there is a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// If the run is a control, the cell that it controls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_of: Option<String>,
}

/// The role of a run in its sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// One of the combinations that are studied.
    Cell,
    /// A run that cells are compared with.
    Baseline,
    /// A run whose factor does not act through the gradient, such as one along the plain gradient with steps of the amplified
    /// length.
    Control,
}

/// Successive halving: after each rung only the best share of the cells continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// The rungs: the numbers of epochs after which cells are compared, in ascending order.
    pub epochs: Vec<usize>,
    /// One in `eta` cells continues.
    pub eta: usize,
}

/// What a contrast compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Test accuracy at the last evaluation.
    Last,
    /// Test accuracy in the epoch that was best on validation.
    Best,
    /// The share of runs whose last test accuracy is above chance.
    Trained,
    /// Epochs until the target accuracy.
    Epochs,
    /// Steps until the target accuracy.
    Steps,
    /// Images until the target accuracy.
    Images,
    /// Seconds of training steps until the target accuracy.
    Seconds,
}

/// One test of `plan.json`: cells, and what each of them is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedContrast {
    /// The contrast's name.
    pub name: String,
    /// The value on the contrast's axis, if the contrast has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Cells, each with the cell that it is compared with; empty if the contrast is tuned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<[String; 2]>,
    /// The choices of a tuned contrast; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// What is compared.
    pub measure: Measure,
    /// The test accuracy whose arrival is timed, as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// The smallest difference of interest: a fraction for accuracies and shares, else in the measure's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_difference: Option<f64>,
}

/// Two sides of a tuned contrast. Each takes the cell with the best validation accuracy: its own best learning rate, for example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The cells, which differ on the tuned axis only.
    pub cells: Vec<String>,
    /// What they are compared with, on the whole tuned axis.
    pub against: Vec<String>,
}

impl PlannedContrast {
    /// The names of all cells that take part.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let chosen = self.choices.iter().flat_map(|choice| choice.cells.iter().chain(&choice.against));
        self.pairs.iter().flatten().chain(chosen)
    }
}

impl Plan {
    /// Reads `plan.json`.
    ///
    /// **Errors:** a file that is missing, damaged or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let Form { format } = read_json(path)?;
        if format != FORMAT {
            return Err(Error::broken(path, format!("expected format {FORMAT}, found {format}")));
        }
        read_json(path)
    }

    /// The name of a file of the sweep in `root` in [`files`](Self::files).
    pub(super) fn name_of(root: &Path, path: &Path) -> String {
        let parts = path.strip_prefix(root).unwrap_or(path).components();
        parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// The run called `name`.
    pub fn run(&self, name: &str) -> Option<&PlannedRun> {
        self.runs.iter().find(|run| run.name == name)
    }

    /// The names of all cells, in plan order.
    pub fn cells(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in &self.runs {
            // A cell's runs stand side by side.
            if names.last() != Some(&run.cell.as_str()) {
                names.push(&run.cell);
            }
        }
        names
    }
}

impl Measure {
    /// The measure's name in sentences and on axes.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Last => "test accuracy after the last epoch",
            Measure::Best => "test accuracy at the best validation epoch",
            Measure::Trained => "share of runs that train",
            Measure::Epochs => "epochs to the target",
            Measure::Steps => "steps to the target",
            Measure::Images => "images to the target",
            Measure::Seconds => "seconds to the target",
        }
    }

    /// Whether the measure is a time to the target accuracy.
    pub fn is_time(self) -> bool {
        matches!(self, Measure::Epochs | Measure::Steps | Measure::Images | Measure::Seconds)
    }
}

impl Role {
    /// The word for it in files.
    pub fn name(self) -> &'static str {
        match self {
            Role::Cell => "cell",
            Role::Baseline => "baseline",
            Role::Control => "control",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value on an axis as people write it: a text without its quotes, a number without a needless `.0`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), names::number),
        other => other.to_string(),
    }
}
