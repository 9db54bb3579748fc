//! The command line of `gradamp runs`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use gradamp_study::run_folder::CheckpointName;

/// `gradamp runs`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// The command; `list` if there is none.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// The options of `list`.
    #[command(flatten)]
    pub list: ListArgs,
}

/// A command of `gradamp runs`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List the runs in a folder and in the folders below it: how far each is, its accuracies, its size and its age.
    List(ListArgs),
    /// Show one run: the settings that differ from the defaults, its results and its checkpoints.
    Show(ShowArgs),
    /// Remove files that interrupted writes left and, on request, checkpoints of finished runs.
    ///
    /// A run that a process is writing to is left alone. The checkpoints `best` and `last` stay unless --checkpoints
    /// names them. Without --yes, the program lists the files and asks.
    Clean(CleanArgs),
}

/// `gradamp runs list`
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// The folder; by default the one in which `train` makes the folders of runs.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
    /// The order of the runs.
    #[arg(long, value_enum, default_value_t = Order::Name)]
    pub sort: Order,
    /// Print the runs as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// The order of a list of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By the path of the folder.
    Name,
    /// The oldest run first.
    Age,
    /// The lowest best accuracy first; runs without one come before all others.
    Accuracy,
    /// The smallest folder first.
    Size,
}

/// `gradamp runs show`
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The folder of the run.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Print the run as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp runs clean`
#[derive(Args, Debug)]
pub struct CleanArgs {
    /// The folder of a run, or a folder with runs in it and below it.
    #[arg(value_name = "DIR", default_value = "runs")]
    pub dir: PathBuf,
    /// Of finished runs, also remove these checkpoints: best, last, or both with a comma between them. Without `last`, a
    /// run cannot be extended; without both, it has no model.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = checkpoint())]
    pub checkpoints: Vec<CheckpointName>,
    /// List the files and remove nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Remove the files without asking.
    #[arg(long, short)]
    pub yes: bool,
}

fn checkpoint() -> impl TypedValueParser<Value = CheckpointName> {
    let named = |name: String| CheckpointName::ALL.into_iter().find(|it| it.name() == name);
    PossibleValuesParser::new(CheckpointName::ALL.map(CheckpointName::name))
        .map(move |name| named(name).unwrap_or(CheckpointName::Last))
}
