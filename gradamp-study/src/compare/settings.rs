//! The settings in which runs differ, and whether these differences are expected.

use serde::{Deserialize, Serialize};

use super::member::Member;
use super::options::ExpectedDifferences;
use crate::config::{Difference, KeyError, Resolved};
use crate::resume;

/// Settings that do not matter for a comparison: the seed, in which the runs of a group differ, and the logging intervals.
const HARMLESS: [&str; 4] = ["train.seed", "train.log_interval", "train.gradients_every", "train.signals"];

/// A setting in which A and B differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingDifference {
    /// The key's path.
    pub key: String,
    /// Its value in A.
    pub a: String,
    /// Its value in B.
    pub b: String,
    /// Whether A and B are meant to differ in this setting.
    pub asked: bool,
}

/// Finds the settings in which A's first run and B's first run differ.
pub fn between(
    a: &[Member],
    b: &[Member],
    expected: &ExpectedDifferences,
) -> Result<Vec<SettingDifference>, KeyError> {
    let (Some(a), Some(b)) = (first(a), first(b)) else { return Ok(Vec::new()) };
    let mut differences = differences(a, b)?;
    for difference in &mut differences {
        difference.asked = is_expected(&difference.key, expected);
    }
    Ok(differences)
}

/// Finds the settings in which runs of a group differ from the group's first run, each with the run that differs.
pub fn within(group: &[Member]) -> Result<Vec<(String, SettingDifference)>, KeyError> {
    let Some(one) = first(group) else { return Ok(Vec::new()) };
    let mut found: Vec<(String, SettingDifference)> = Vec::new();
    for member in group {
        let Some(data) = &member.data else { continue };
        for difference in differences(one, &data.settings)? {
            if found.iter().all(|(_, known)| known.key != difference.key) {
                found.push((member.numbers.run.clone(), difference));
            }
        }
    }
    Ok(found)
}

fn first(group: &[Member]) -> Option<&Resolved> {
    group.iter().find_map(|member| member.data.as_ref()).map(|data| &data.settings)
}

fn differences(a: &Resolved, b: &Resolved) -> Result<Vec<SettingDifference>, KeyError> {
    let matters = |key: &str| !resume::is_free(key) && !HARMLESS.contains(&key);
    let found = a.differences(b)?.into_iter().filter(|difference| matters(&difference.path));
    let plain = |value: &str| value.trim_matches('`').to_owned();
    let difference = |it: Difference| SettingDifference {
        a: plain(&it.before),
        b: plain(&it.after),
        key: it.path,
        asked: false,
    };
    Ok(found.map(difference).collect())
}

fn is_expected(key: &str, expected: &ExpectedDifferences) -> bool {
    let is_below =
        |table: &str| key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match expected {
        ExpectedDifferences::All => true,
        ExpectedDifferences::Keys(tables) => tables.iter().any(|table| is_below(table.trim_end_matches('.'))),
        ExpectedDifferences::Amplification => {
            let phase = key.strip_prefix("strategy.phase.").and_then(|rest| rest.split_once('.'));
            is_below("amplification")
                || phase.is_some_and(|(_, rest)| rest == "amplify" || rest.starts_with("amplify."))
        }
    }
}
