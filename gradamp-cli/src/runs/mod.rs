//! `gradamp runs`: lists the runs below a folder, shows one, and removes what they can spare.

pub mod args;
mod clean;
mod list;
mod show;

use args::{RunsArgs, RunsCommand};

use crate::failure::Result;

/// `gradamp runs`
pub fn runs(args: &RunsArgs) -> Result<()> {
    match &args.command {
        None => list::list(&args.list),
        Some(RunsCommand::List(args)) => list::list(args),
        Some(RunsCommand::Show(args)) => show::show(args),
        Some(RunsCommand::Clean(args)) => clean::clean(args),
    }
}
