//! Sweeps: many runs by one file.
//!
//! | file of a sweep's folder | content |
//! |---|---|
//! | `sweep.toml` | the study as given |
//! | `base.toml` | the file of settings that it names, if it names one |
//! | `plan.json` | all runs in their order, the seals of the settings, its own seal |
//! | `configs/NAME.toml` | each run's settings, resolved: `gradamp train --config` makes the run by itself |
//! | `runs/NAME/` | the run folders |
//! | `failures/NAME.json` | why a run failed, if the run could not record the error itself |
//! | `slurm/` | the jobs that were submitted, their scripts and outputs |
//! | `results.csv`, `results.jsonl` | a line for each run of the plan, always made from the run folders |

mod axis;
mod baseline;
mod claim;
mod collect;
mod contrast;
mod data;
mod draft;
mod embedded;
mod expand;
mod findings;
mod folder;
mod halving;
mod lease;
mod names;
mod plan;
mod results;
mod study;
#[cfg(test)]
mod tests;

pub use baseline::{amplifies, unamplified};
pub use claim::Claim;
pub use collect::{RunSnapshot, collect, different_data, fates, forget_failure, has_begun, record_failure};
pub use data::{Cell, SweepData, cell_table, roles_in_words};
pub use embedded::{EMBEDDED, EmbeddedStudy};
pub use expand::{Expansion, expand};
pub use findings::findings;
pub use folder::{check_runs, default_root, keep_draws, planned, prepare};
pub use halving::Fate;
pub(crate) use plan::plain;
pub use plan::{Axes, Choice, Measure, Plan, PlannedContrast, PlannedRun, Role};
pub use results::ResultLine;
pub use study::Study;

/// The names of the runs of a study, in plan order.
///
/// **Errors:** a study that cannot be read or expanded, with the place.
pub fn runs_of(path: &std::path::Path, study: String) -> Result<Vec<String>, crate::config::KeyError> {
    let study = study::Study::parse(path, study)?;
    let plan = expand::expand(&study, study.controls)?.plan;
    Ok(plan.runs.into_iter().map(|run| run.name).collect())
}
