//! Runs that are finished: after their last epoch, or earlier, when no evaluation was better for `train.patience` epochs.

use gradamp_study::config::Resolved;
use gradamp_study::run_folder::{self, RunData, RunFolder, phase_table};
use gradamp_study::shell;

use crate::failure::{Failure, Result};
use crate::output;

/// Handles the resume of a finished run: prints its results and changes nothing.
pub fn show(quiet: bool, folder: &RunFolder, resolved: &Resolved) -> Result<()> {
    let damages: Vec<String> =
        run_folder::findings(folder.root())?.iter().filter_map(run_folder::Finding::damage).collect();
    if !damages.is_empty() {
        let message = format!("{}: finished, but damaged: {}", folder.root().display(), damages.join("; "));
        return Err(Failure::failed(message));
    }
    if !quiet {
        let root = folder.root().display();
        let again = shell::resume_command(folder.root());
        output::message(match ended_early(folder, resolved)? {
            true => {
                format!("{root}: the run has ended early; for more patience: {again} --set train.patience=N")
            }
            false => format!(
                "{root}: the run is finished already; to train it for more than its {} epochs: {again} --epochs N",
                resolved.config.strategy.epochs()
            ),
        });
        let table = phase_table(folder.root(), &resolved.config.strategy);
        output::result(format_args!("\n{table}\n{root}"));
    }
    Ok(())
}

/// Whether the finished run in `folder` ended early and now has another patience.
pub fn goes_on(folder: &RunFolder, resolved: &Resolved) -> Result<bool> {
    let own = RunFolder::settings_of(folder.root())?.config.train.patience;
    Ok(own != resolved.config.train.patience && ended_early(folder, resolved)?)
}

/// Whether the finished run in `folder` has fewer epochs than its strategy.
fn ended_early(folder: &RunFolder, resolved: &Resolved) -> Result<bool> {
    let (_, epochs) = RunData::outline(folder.root())?;
    Ok(epochs.last().is_some_and(|line| line.epoch + 1 < resolved.config.strategy.epochs()))
}
