//! Warnings that a reader should know before relying on a comparison.

use super::member::{Group, Member};
use super::settings::{self, SettingDifference};
use crate::config::KeyError;
use crate::run_folder::{RunData, VERSION};
use crate::shell;
use crate::statistics::Method;

/// With fewer seeds than this, the spread between seeds cannot be estimated.
pub const FEW_SEEDS: usize = 3;

/// The warning that the test examples chose the best epochs.
pub const NO_VALIDATION: &str = "NO VALIDATION SPLIT: the test examples chose the best epochs, so that the test accuracies in \
    these epochs are too high; compare the last epochs, or train with data.validation";

/// The warnings about two groups, each with its letter and its members, the gravest warning first.
pub fn about_groups(
    best_is_fair: bool,
    method: Method,
    differences: &[SettingDifference],
    groups: [(&'static str, &Group, &[Member]); 2],
) -> Result<Vec<String>, KeyError> {
    let mut warnings = Vec::new();
    if !best_is_fair {
        warnings.push(NO_VALIDATION.to_owned());
    }
    let runs: usize = groups.iter().map(|(_, group, _)| group.runs.len()).sum();
    warnings.extend(unexpected(differences, method == Method::Paired || runs > 2));
    for (letter, _, members) in groups {
        for (run, it) in settings::within(members)? {
            warnings.push(format!(
                "the runs of {letter} differ in more than the seed: {} is {} in {}, and {} in {run}",
                it.key, it.a, members[0].numbers.run, it.b
            ));
        }
    }
    let members = || groups.into_iter().flat_map(|(_, _, members)| members);
    let data: Vec<&RunData> = members().filter_map(|member| member.data.as_ref()).collect();
    warnings.extend(places(data.into_iter()));
    for member in members() {
        warnings.extend(unfinished(member));
    }
    for (letter, group, _) in groups {
        warnings.extend(seeds(letter, group));
    }
    let [(_, a, _), (_, b, _)] = groups;
    if method == Method::Welch && (a.runs.len() > 1 || b.runs.len() > 1) {
        let (a, b) = (list(&a.seeds()), list(&b.seeds()));
        warnings.push(format!(
            "A and B have different seeds ({a} in A, {b} in B): the test compares the groups' means and not pairs of runs, \
             and detects only larger differences"
        ));
    }
    Ok(warnings)
}

/// Warns about settings that differ although they are meant to be equal. Also warns if no setting differs, unless the groups
/// are a run and its repetition.
fn unexpected(differences: &[SettingDifference], is_repeat: bool) -> Vec<String> {
    let unexpected: Vec<String> = differences
        .iter()
        .filter(|it| !it.asked)
        .map(|it| format!("{} ({} in A, {} in B)", it.key, it.a, it.b))
        .collect();
    let mut warnings = Vec::new();
    if !unexpected.is_empty() {
        warnings.push(format!(
            "A and B differ in settings that are meant to be equal: {}; --differ KEY allows a difference",
            unexpected.join(", ")
        ));
    }
    if differences.is_empty() && is_repeat {
        warnings.push(
            "A and B have the same settings: a difference between them is due to chance or to the machine"
                .into(),
        );
    }
    warnings
}

/// Warns if the runs differ in their data, their program's version or their devices.
pub fn places<'a>(runs: impl Iterator<Item = &'a RunData> + Clone) -> Vec<String> {
    let values = |of: fn(&RunData) -> Vec<String>| {
        let mut values: Vec<String> = runs.clone().flat_map(of).filter(|value| !value.is_empty()).collect();
        values.sort();
        values.dedup();
        values
    };
    let mut warnings = Vec::new();
    let data = values(|run| {
        let checksum: String = run.record.dataset_checksum.chars().take(12).collect();
        vec![format!("{} with SHA-256 {checksum}…", run.record.dataset)]
    });
    if data.len() > 1 {
        warnings.push(format!("the runs were trained on different data: {}", data.join(", ")));
    }
    let versions = values(|run| {
        let resumed = run.record.resumed.iter().map(|session| session.version.clone());
        std::iter::once(run.record.version.clone()).chain(resumed).collect()
    });
    if versions.len() > 1 || versions.iter().any(|version| version != VERSION) {
        warnings.push(format!(
            "the runs were made by gradamp {}; this is {}",
            versions.join(" and "),
            shell::program_version()
        ));
    } else {
        let commits = values(|run| run.record.commit.iter().cloned().collect());
        if commits.len() > 1 {
            warnings.push(format!(
                "the runs were made by several builds of gradamp: commits {}",
                commits.join(", ")
            ));
        }
    }
    let devices = values(|run| {
        let resumed = run.record.resumed.iter().map(|session| session.device.clone());
        std::iter::once(run.record.device.clone()).chain(resumed).collect()
    });
    if devices.len() > 1 {
        let devices = devices.join(", ");
        warnings.push(format!(
            "the runs were made on several devices, so that their times cannot be compared: {devices}"
        ));
    }
    warnings
}

fn unfinished(member: &Member) -> Option<String> {
    let run = &member.numbers;
    if member.is_finished() {
        return None;
    }
    let of = member.data.as_ref().map(|data| format!(" of {}", data.settings.config.strategy.epochs()));
    let (epochs, of) = (run.epochs, of.unwrap_or_default());
    Some(format!(
        "{} is not finished ({}, {epochs}{of} epochs): the comparison uses the epochs that are done",
        run.run, run.outcome
    ))
}

fn seeds(letter: &str, group: &Group) -> Vec<String> {
    let mut warnings = Vec::new();
    let seeds = group.seeds();
    if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        warnings.push(format!(
            "seed {} occurs more than once in {letter}: runs of one seed are copies and add no evidence",
            pair[0]
        ));
    }
    let mut distinct = seeds.clone();
    distinct.dedup();
    if distinct.len() < FEW_SEEDS {
        let one = if distinct.len() == 1 { "1 seed" } else { "2 seeds" };
        warnings.push(format!(
            "{letter} has only {one}: at least {FEW_SEEDS} seeds are needed to estimate how much results vary between seeds"
        ));
    }
    warnings
}

/// Writes seeds as ranges: `1-5`, `1, 3, 7`.
pub fn list(seeds: &[u64]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for run in seeds.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        match run {
            [first, _, .., last] => parts.push(format!("{first}-{last}")),
            _ => parts.extend(run.iter().map(u64::to_string)),
        }
    }
    parts.join(", ")
}
