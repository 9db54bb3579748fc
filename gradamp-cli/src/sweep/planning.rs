//! Planning before a sweep: how many seeds a difference needs, and what the study's seeds see.

use gradamp_study::compare::{Deviation, SweepAnalysis, plan_seeds};
use gradamp_study::sweep::SweepData;

use super::args::SweepArgs;
use crate::failure::{Failure, Result};
use crate::output;

/// The deviation of the differences between runs of one seed that the command line gives, if it gives one.
///
/// **Errors:** a deviation or a difference that is not above 0; an earlier sweep that cannot be read, or in which no cell has two
/// runs with the seeds of its baseline.
pub fn deviation(args: &SweepArgs) -> Result<Option<Deviation>> {
    for (flag, value) in [("--difference", args.difference), ("--deviation", args.deviation)] {
        if let Some(points) = value.filter(|points| !(*points > 0.0 && *points <= 100.0)) {
            let message = format!("{flag}: found {points}, expected percentage points, above 0 to 100");
            return Err(Failure::usage(message));
        }
    }
    if let Some(points) = args.deviation {
        return Ok(Some(Deviation::given(points / 100.0)));
    }
    let Some(root) = &args.deviation_from else { return Ok(None) };
    let analysis = SweepAnalysis::read(&SweepData::read(root)?)?;
    match Deviation::of_sweep(&analysis) {
        Some(deviation) if deviation.sd > 0.0 => Ok(Some(deviation)),
        Some(_) => Err(Failure::failed(format!(
            "--deviation-from: {}: all differences between runs of one seed are equal, so that there is no deviation",
            root.display()
        ))),
        None => Err(Failure::failed(format!(
            "--deviation-from: {}: expected a cell with two finished runs that have the seeds of finished runs of its baseline",
            root.display()
        ))),
    }
}

/// Prints the plan for `seeds` seeds and `tests` declared contrasts; nothing without a deviation.
pub fn print(args: &SweepArgs, deviation: Option<Deviation>, seeds: usize, tests: usize) {
    if let Some(deviation) = deviation {
        let lines = plan_seeds(args.difference.map(|points| points / 100.0), deviation, seeds, tests);
        output::result(format_args!("\n{}", lines.join("\n")));
    }
}
