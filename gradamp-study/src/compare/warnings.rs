//! What a reader has to know before believing a comparison.

use super::comparison::{Comparison, Group};
use super::member::Member;
use super::settings;
use crate::config::KeyError;
use crate::run_folder::{RunData, VERSION};
use crate::statistics::Method;

/// Fewer seeds say little about the spread between seeds.
pub const FEW_SEEDS: usize = 3;

/// The best epochs are no fair choice.
pub const NO_VALIDATION: &str = "NO VALIDATION SPLIT: the best epochs were chosen on the test examples themselves, so that \
    their accuracies are too good to be true; compare last epochs, or train with data.validation";

/// The warnings, the gravest first.
pub fn of(comparison: &Comparison, a: &[Member], b: &[Member]) -> Result<Vec<String>, KeyError> {
    let mut warnings = Vec::new();
    if !comparison.best_is_fair {
        warnings.push(NO_VALIDATION.to_owned());
    }
    warnings.extend(unasked(comparison));
    for (letter, group) in [("A", a), ("B", b)] {
        for (run, it) in settings::within(group)? {
            warnings.push(format!(
                "the runs of {letter} differ in more than the seed: {} is {} in {}, and {} in {run}",
                it.key, it.a, group[0].numbers.run, it.b
            ));
        }
    }
    warnings.extend(places(a.iter().chain(b).filter_map(|member| member.data.as_ref())));
    for member in a.iter().chain(b) {
        warnings.extend(unfinished(member));
    }
    for (letter, group) in comparison.groups() {
        warnings.extend(seeds(letter, group));
    }
    if comparison.method == Method::Welch && (comparison.a.runs.len() > 1 || comparison.b.runs.len() > 1) {
        let (a, b) = (list(&comparison.a.seeds()), list(&comparison.b.seeds()));
        warnings.push(format!(
            "the seeds are not the same ({a} in A, {b} in B): the groups are compared as a whole and not pair by pair, \
             which sees less"
        ));
    }
    Ok(warnings)
}

/// Settings that differ though nobody asked about them, or none that does.
fn unasked(comparison: &Comparison) -> Vec<String> {
    let differences = &comparison.differences;
    let unasked: Vec<String> = differences
        .iter()
        .filter(|it| !it.asked)
        .map(|it| format!("{} ({} in A, {} in B)", it.key, it.a, it.b))
        .collect();
    let mut warnings = Vec::new();
    if !unasked.is_empty() {
        warnings.push(format!(
            "A and B differ in more than was asked: {}; name what is meant with --differ KEY",
            unasked.join(", ")
        ));
    }
    let is_repeat =
        comparison.method == Method::Paired || comparison.a.runs.len() + comparison.b.runs.len() > 2;
    if differences.is_empty() && is_repeat {
        warnings.push("A and B have the same settings: what differs is chance, or the machine".into());
    }
    warnings
}

/// Data, programs and devices that are not the same everywhere.
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
        warnings.push(format!("the runs did not see the same data: {}", data.join(", ")));
    }
    let versions = values(|run| {
        let resumed = run.record.resumed.iter().map(|session| session.version.clone());
        std::iter::once(run.record.version.clone()).chain(resumed).collect()
    });
    if versions.len() > 1 || versions.iter().any(|version| version != VERSION) {
        warnings.push(format!("the runs were made by gradamp {}, this is {VERSION}", versions.join(" and ")));
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
            "the runs were made on several devices, so that seconds do not compare: {devices}"
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
        "{} is not finished ({}, {epochs}{of} epochs): it is compared as it stands",
        run.run, run.outcome
    ))
}

fn seeds(letter: &str, group: &Group) -> Vec<String> {
    let mut warnings = Vec::new();
    let seeds = group.seeds();
    if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
        warnings.push(format!(
            "seed {} occurs more than once in {letter}: runs of one seed are copies and no evidence of their own",
            pair[0]
        ));
    }
    let mut distinct = seeds.clone();
    distinct.dedup();
    if distinct.len() < FEW_SEEDS {
        let one = if distinct.len() == 1 { "1 seed" } else { "2 seeds" };
        warnings.push(format!(
            "{letter} has {one} only: how much chance there is between seeds takes {FEW_SEEDS} or more to know"
        ));
    }
    warnings
}

/// Seeds as people write them: `1-5`, `1, 3, 7`.
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
