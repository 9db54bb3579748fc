//! Declared contrasts: the questions that a study asks before its first run.
//!
//! ```toml
//! [[contrast]]
//! name = "amplified against a step of the same length"
//! cells = { "amplification.factor" = [2.0, 4.0] }   # values on axes; without it, all cells
//! axis = "model.depth"                              # one test for each value; without it, one test in all
//! against = "control"                               # "baseline", "control", or a table of values on axes
//! measure = "last"                                  # or "best", "trained", "epochs", "images", "steps", "seconds"
//! target = 60.0                                     # for the four times: a test accuracy in percent
//! smallest_difference = 1.0                         # in percentage points, or in the unit of the time
//! tuned = "strategy.lr"                             # each side at its own best value on this axis, by validation accuracy
//! ```
//!
//! One test compares the mean over its cells with the mean over the cells that they are compared with, seed by seed.

use serde::Deserialize;
use serde_json::Value as Json;

use super::axis::{Axis, Values, settings};
use super::names;
use super::plan::{Choice, Measure, PlannedContrast, PlannedRun, Role, plain};
use crate::config::tree::{Node, Origin, Value};
use crate::config::{KeyError, read};

/// A question of a study, as it was written.
#[derive(Clone, Debug)]
pub struct DeclaredContrast {
    name: String,
    cells: Vec<(String, Node)>,
    axis: Option<String>,
    against: Against,
    measure: Measure,
    target: Option<f64>,
    smallest_difference: Option<f64>,
    tuned: Option<String>,
    origin: Origin,
}

/// What cells are compared with.
#[derive(Clone, Debug)]
enum Against {
    /// Each cell with its baseline.
    Baseline,
    /// Each cell with its control.
    Control,
    /// Each cell with the cell that has these values instead of its own on these axes.
    Values(Vec<(String, Node)>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum AgainstWord {
    Baseline,
    Control,
}

const KEYS: [&str; 8] =
    ["name", "cells", "axis", "against", "measure", "target", "smallest_difference", "tuned"];

impl DeclaredContrast {
    /// Reads the tables `[[contrast]]` of a study.
    ///
    /// **Errors:** an unknown key; a value of the wrong type; a time without a target, or a target without a time; two
    /// contrasts of one name.
    pub fn read_all(node: &Node) -> Result<Vec<Self>, KeyError> {
        let Value::Array(items) = &node.value else {
            let message = format!("found {}, expected tables [[contrast]]", node.value.describe());
            return Err(KeyError::new(message).at("", &node.origin));
        };
        let mut all: Vec<Self> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let contrast = Self::read(item).map_err(|error| error.below(&i.to_string()))?;
            if all.iter().any(|before| before.name == contrast.name) {
                let message = format!("two contrasts are called `{}`", contrast.name);
                return Err(KeyError::new(message).at(&i.to_string(), &item.origin));
            }
            all.push(contrast);
        }
        Ok(all)
    }

    fn read(node: &Node) -> Result<Self, KeyError> {
        let Value::Table(entries) = &node.value else {
            let message = format!("found {}, expected a table", node.value.describe());
            return Err(KeyError::new(message).at("", &node.origin));
        };
        if let Some((key, child)) = entries.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
            return Err(KeyError::unknown_key(&KEYS).naming(key).at(key, &child.origin));
        }
        fn at<T: serde::de::DeserializeOwned>(node: &Node, key: &str) -> Result<Option<T>, KeyError> {
            node.get(key).map(read).transpose().map_err(|error| error.below(key))
        }
        let values = |key: &str, node: &Node| settings(node).map_err(|error| error.below(key));
        let missing = |key: &str, expected: &str| {
            KeyError::new(format!("the key `{key}` is missing: expected {expected}")).at("", &node.origin)
        };
        let name: String = at(node, "name")?.ok_or_else(|| missing("name", "a name that results show"))?;
        let against = match node.get("against") {
            Some(table @ Node { value: Value::Table(_), .. }) => Against::Values(values("against", table)?),
            Some(word) => match read(word).map_err(|error| error.below("against"))? {
                AgainstWord::Baseline => Against::Baseline,
                AgainstWord::Control => Against::Control,
            },
            None => return Err(missing("against", "\"baseline\", \"control\" or a table of values on axes")),
        };
        let measure = at(node, "measure")?.unwrap_or(Measure::Last);
        let percent = |key: &str| -> Result<Option<f64>, KeyError> {
            let Some(value) = at::<f64>(node, key)? else { return Ok(None) };
            if value > 0.0 && value <= 100.0 {
                return Ok(Some(value / 100.0));
            }
            let origin = &node.get(key).unwrap_or(node).origin;
            Err(KeyError::new(format!("found {value}, expected percent, above 0 to 100")).at(key, origin))
        };
        let target = percent("target")?;
        match (measure.is_time(), target) {
            (true, None) => {
                return Err(missing("target", "a test accuracy in percent, whose arrival is timed"));
            }
            (false, Some(_)) => {
                let message = "is for the measures \"epochs\", \"steps\", \"images\" and \"seconds\" alone";
                let origin = &node.get("target").unwrap_or(node).origin;
                return Err(KeyError::new(message.into()).at("target", origin));
            }
            _ => {}
        }
        let smallest_difference = match measure.is_time() {
            true => at::<f64>(node, "smallest_difference")?,
            false => percent("smallest_difference")?,
        };
        if let Some(value) = smallest_difference.filter(|value| !(value.is_finite() && *value > 0.0)) {
            let origin = &node.get("smallest_difference").unwrap_or(node).origin;
            let message = format!("found {value}, expected a number above 0");
            return Err(KeyError::new(message).at("smallest_difference", origin));
        }
        Ok(Self {
            name,
            cells: node.get("cells").map_or(Ok(Vec::new()), |cells| values("cells", cells))?,
            axis: at(node, "axis")?,
            tuned: at(node, "tuned")?,
            against,
            measure,
            target,
            smallest_difference,
            origin: node.origin.clone(),
        })
    }

    /// Whether cells are compared with their controls.
    pub fn needs_controls(&self) -> bool {
        matches!(self.against, Against::Control)
    }

    /// Whether each side is compared at its own best value of an axis, which validation examples choose.
    pub fn needs_validation(&self) -> bool {
        self.tuned.is_some()
    }

    /// An error at the contrast's key.
    pub fn error_at(&self, key: &str, message: &str) -> KeyError {
        KeyError::new(message.to_owned()).at(key, &self.origin)
    }

    /// The contrast's tests, in the order of its axis's values.
    ///
    /// **Errors:** an axis or a value that the study does not have; no cell with these values; a cell that has nothing to be
    /// compared with; a tuned axis that the contrast tells apart.
    pub fn plan(&self, axes: &[Axis], runs: &[PlannedRun]) -> Result<Vec<PlannedContrast>, KeyError> {
        let fail = |key: &str, message: String| Err(KeyError::new(message).at(key, &self.origin));
        let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
        let against = match &self.against {
            Against::Values(values) => values.as_slice(),
            _ => &[],
        };
        let written = self.cells.iter().map(|(axis, _)| ("cells", axis));
        let written = written.chain(self.axis.iter().map(|axis| ("axis", axis)));
        let written = written.chain(self.tuned.iter().map(|axis| ("tuned", axis)));
        for (key, axis) in written.chain(against.iter().map(|(axis, _)| ("against", axis))) {
            if !names.contains(&axis.as_str()) {
                let known = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                return fail(key, format!("the study has no axis `{axis}`; expected one of {known}"));
            }
        }
        if let Some(tuned) = &self.tuned
            && (self.axis.as_ref() == Some(tuned) || against.iter().any(|(axis, _)| axis == tuned))
        {
            let message = format!("is `{tuned}`, which the contrast compares; expected another axis");
            return fail("tuned", message);
        }
        let is_asked = |run: &PlannedRun| self.cells.iter().all(|(axis, node)| has(axes, run, axis, node));
        let asked = |role| {
            let mut cells: Vec<&PlannedRun> =
                runs.iter().filter(|run| run.role == role && is_asked(run)).collect();
            cells.dedup_by_key(|run| &run.cell);
            cells
        };
        // Baselines are meant only where no other cell has the values.
        let mut cells = asked(Role::Cell);
        if cells.is_empty() && !self.cells.is_empty() {
            cells = asked(Role::Baseline);
        }
        if cells.is_empty() {
            return fail("cells", format!("the contrast `{}` names no cell of the study", self.name));
        }
        let mut tests: Vec<PlannedContrast> = Vec::new();
        for cell in cells {
            let value = match &self.axis {
                None => None,
                Some(axis) => match cell.axes.get(axis) {
                    Some(value) => Some(text(axes, axis, value)),
                    None => continue, // a baseline that the axis does not change
                },
            };
            let Some(other) = self.other(axes, runs, cell) else {
                let what = match &self.against {
                    Against::Baseline => "has no baseline".to_owned(),
                    Against::Control => "has no control; only cells that amplify have one".to_owned(),
                    Against::Values(_) => "has no cell with those values beside it".to_owned(),
                };
                return fail("against", format!("the cell {} {what}", cell.cell));
            };
            let i = tests.iter().position(|test| test.value == value).unwrap_or_else(|| {
                tests.push(PlannedContrast {
                    name: self.name.clone(),
                    value,
                    pairs: Vec::new(),
                    choices: Vec::new(),
                    measure: self.measure,
                    target: self.target,
                    smallest_difference: self.smallest_difference,
                });
                tests.len() - 1
            });
            match &self.tuned {
                None => tests[i].pairs.push([cell.cell.clone(), other]),
                Some(tuned) => self.add_choice(&mut tests[i].choices, tuned, axes, runs, cell),
            }
        }
        match tests.is_empty() {
            true => fail("axis", format!("the contrast `{}` names no cell of the study", self.name)),
            false => Ok(tests),
        }
    }

    /// Adds `cell` to the choice between the cells that differ from it on the tuned axis only.
    ///
    /// The other side is chosen on the whole axis, also where the contrast's cells have one value on it: "the baseline at its own
    /// best rate".
    fn add_choice(
        &self,
        choices: &mut Vec<Choice>,
        tuned: &str,
        axes: &[Axis],
        runs: &[PlannedRun],
        cell: &PlannedRun,
    ) {
        let is_sibling = |run: &&PlannedRun| {
            let is_equal =
                |(axis, value): (&String, &Json)| axis == tuned || cell.axes.get(axis) == Some(value);
            run.role == cell.role && run.axes.iter().all(is_equal)
        };
        let siblings: Vec<&PlannedRun> = runs.iter().filter(is_sibling).collect();
        let is_chosen_from =
            |choice: &&mut Choice| siblings.iter().any(|run| choice.cells.contains(&run.cell));
        if let Some(choice) = choices.iter_mut().find(is_chosen_from) {
            choice.cells.push(cell.cell.clone());
            return;
        }
        let mut against: Vec<String> = Vec::new();
        for other in siblings.iter().filter_map(|sibling| self.other(axes, runs, sibling)) {
            if !against.contains(&other) {
                against.push(other);
            }
        }
        choices.push(Choice { cells: vec![cell.cell.clone()], against });
    }

    /// The cell that `cell` is compared with.
    fn other(&self, axes: &[Axis], runs: &[PlannedRun], cell: &PlannedRun) -> Option<String> {
        match &self.against {
            Against::Baseline => cell.baseline.clone(),
            Against::Control => runs
                .iter()
                .find(|run| run.control_of.as_ref() == Some(&cell.cell))
                .map(|run| run.cell.clone()),
            Against::Values(values) => {
                let is_beside = |run: &&PlannedRun| {
                    run.cell != cell.cell
                        && values.iter().all(|(axis, node)| has(axes, run, axis, node))
                        && cell.axes.iter().all(|(axis, value)| {
                            values.iter().any(|(changed, _)| changed == axis)
                                || run.axes.get(axis).is_none_or(|own| own == value)
                        })
                };
                // Baselines are meant only where no other cell has the values.
                let beside = |role| runs.iter().filter(|run| run.role == role).find(is_beside);
                beside(Role::Cell).or_else(|| beside(Role::Baseline)).map(|run| run.cell.clone())
            }
        }
    }
}

/// Whether a run has the value, or one of the values, on the axis.
fn has(axes: &[Axis], run: &PlannedRun, axis: &str, wanted: &Node) -> bool {
    let Some(own) = run.axes.get(axis) else { return false };
    let own = [text(axes, axis, own), plain(own)];
    let is_own = |node: &Node| {
        let value = names::value(node);
        own.contains(&value)
    };
    is_own(wanted) || matches!(&wanted.value, Value::Array(items) if items.iter().any(is_own))
}

/// A value on an axis as the names of runs show it.
fn text(axes: &[Axis], axis: &str, value: &Json) -> String {
    let values = axes.iter().find(|it| it.name == axis).map(|it| &it.values);
    let named = match values {
        Some(Values::List(values)) => values.iter().find(|it| it.json == *value).map(|it| it.text.clone()),
        _ => None,
    };
    named.unwrap_or_else(|| plain(value))
}

#[cfg(test)]
mod tests;
