//! Planning before a sweep: how many seeds a difference needs, and which difference the study's seeds can detect.

use gradamp_study::compare::{Deviation, SweepAnalysis, plan_seeds};
use gradamp_study::sweep::SweepData;

use super::args::SweepArgs;
use crate::failure::{Failure, Result};
use crate::output;

/// The deviation of the differences between runs of one seed, as given on the command line; `None` if it is not
/// given.
///
/// **Errors:** a deviation or a difference is not above 0; the earlier sweep cannot be read, or none of its cells has
/// two runs with the seeds of its baseline.
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
            "--deviation-from: {}: all differences between runs of one seed are equal, so the deviation is 0",
            root.display()
        ))),
        None => Err(Failure::failed(format!(
            "--deviation-from: {}: expected a cell with two finished runs that have the seeds of finished runs of its baseline",
            root.display()
        ))),
    }
}

/// Prints the plan for `seeds` seeds and `tests` declared contrasts. Prints nothing without a deviation.
pub fn print(args: &SweepArgs, deviation: Option<Deviation>, seeds: usize, tests: usize) {
    if let Some(deviation) = deviation {
        let lines = plan_seeds(args.difference.map(|points| points / 100.0), deviation, seeds, tests);
        output::result(format_args!("\n{}", lines.join("\n")));
    }
}
