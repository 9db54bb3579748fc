//! The baseline that follows a run: the same run without amplification, in a folder beside it.

use std::path::{Path, PathBuf};

use gradamp_study::config::Resolved;
use gradamp_study::run_folder::{self, RunFolder};
use gradamp_study::sweep;

use crate::failure::{Result, SUCCESS};
use crate::output;

/// The folders of a baseline and of the run that the baseline belongs to.
pub struct BaselineFolders {
    /// The baseline's folder.
    pub baseline: PathBuf,
    /// The run's folder. Resuming the run also continues the baseline.
    pub run: PathBuf,
}

/// Whether all epochs of the run in `root` are done.
pub fn is_finished(root: &Path) -> Result<bool> {
    Ok(RunFolder::record_of(root)?.is_some_and(|record| record.is_finished()))
}

/// Whether the baseline in `root` has fewer epochs than the run with these settings, which was extended.
fn is_shorter(root: &Path, run: &Resolved) -> Result<bool> {
    Ok(RunFolder::settings_of(root)?.config.strategy.epochs() < run.config.strategy.epochs())
}

/// Calls `train` to train or continue the baseline of the finished run in `root`, unless the baseline is finished,
/// and prints both runs side by side. Returns the exit code. If the run amplifies nothing, prints that no baseline
/// follows.
pub fn follow(
    root: &Path,
    resolved: &Resolved,
    quiet: bool,
    train: impl FnOnce(Resolved, Option<RunFolder>, &BaselineFolders) -> Result<u8>,
) -> Result<u8> {
    if !sweep::amplifies(&resolved.config) {
        output::message("train.baseline: no baseline follows, because no phase of the run is amplified");
        return Ok(SUCCESS);
    }
    let mut name = root.file_name().unwrap_or_default().to_os_string();
    name.push("-baseline");
    let folders = BaselineFolders { baseline: root.with_file_name(name), run: root.to_owned() };
    if !is_finished(&folders.baseline)? || is_shorter(&folders.baseline, resolved)? {
        if !quiet {
            output::message(format_args!(
                "the baseline: the same run without amplification, in {}",
                folders.baseline.display()
            ));
        }
        let begun = RunFolder::record_of(&folders.baseline)?;
        let folder = begun.map(|_| RunFolder::open(&folders.baseline)).transpose()?;
        let code = train(sweep::unamplified(resolved)?, folder, &folders)?;
        if code != SUCCESS || !is_finished(&folders.baseline)? {
            return Ok(code);
        }
    }
    if !quiet {
        output::result(format_args!("\n{}", run_folder::side_by_side(root, &folders.baseline).trim_end()));
    }
    Ok(SUCCESS)
}
