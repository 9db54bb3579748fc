//! The command line.

pub mod bench;
pub mod settings;

use std::any::TypeId;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use gradamp_core::nn::ActivationFunction;
use gradamp_models::Naming;

use crate::added;
use gradamp_study::config::Device;
use gradamp_study::config::keys;
use gradamp_study::config::number::whole;
use gradamp_study::run_folder::{StudySeal, VERSION, commit};
use gradamp_study::shell;

pub use bench::{BenchArgs, DeviceArgs, OpsArgs, TuneArgs, WorkloadArgs};
pub use settings::SettingsArgs;

/// Trains networks with gradient amplification.
///
/// Exit codes: 0: success. 1: failure (data, files, divergence, or a second Ctrl-C). 2: a wrong command line or
/// setting. 130: interrupted by Ctrl-C or another request to stop (SIGTERM, SIGHUP, SIGUSR1), and saved.
#[derive(Debug, Parser)]
#[command(name = "gradamp", version)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// A command of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network and write a run folder with its settings, logs and checkpoints.
    ///
    /// Without --config and --preset, the preset `tour` is used: a first look that takes about two minutes.
    Train(Box<TrainArgs>),
    /// Print a configuration file for a network and a data set, with every setting, its default and its meaning.
    Init(crate::init::InitArgs),
    /// Train the runs of a study and collect their results.
    Sweep(Box<crate::sweep::SweepArgs>),
    /// Find a learning rate by a range test: the loss of a short training whose rate grows exponentially, without and with
    /// amplification.
    LrFind(Box<crate::lr_find::args::LrFindArgs>),
    /// Evaluate a trained network: its loss, its accuracy, and the accuracy of each class.
    Eval(EvalArgs),
    /// Compare two runs, two groups of runs, or the cells of a sweep, with tests and intervals.
    Compare(Box<crate::compare::CompareArgs>),
    /// Show a run, several runs or a sweep as one page with figures.
    Report(crate::report::ReportArgs),
    /// Write one table of runs with a row for each epoch, as CSV or Parquet.
    Export(crate::export::ExportArgs),
    /// Check that no file of a run or a sweep has changed since it was written.
    Verify(crate::verify::VerifyArgs),
    /// List runs, show one, or remove what they can spare.
    Runs(crate::runs::args::RunsArgs),
    /// Show or check a data set.
    #[command(subcommand)]
    Data(DataCommand),
    /// Show or check settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List the graphics adapters, or check one against the CPU.
    Devices(DevicesArgs),
    /// Watch a run or a sweep in the terminal, while it is running or afterwards.
    Watch(crate::watch::WatchArgs),
    /// Write TensorBoard's event files for runs that have ended (for a new run, use train --tensorboard).
    Tensorboard(crate::tensorboard::TensorboardArgs),
    /// Measure which kernels are fastest on a GPU; the option --tuned then uses them.
    Tune(TuneArgs),
    /// Measure the speed of training steps.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a script that completes commands and options in a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands.
    Man(ManArgs),
}

impl Command {
    /// Whether the command prints nothing but errors to stderr.
    pub fn is_quiet(&self) -> bool {
        match self {
            Command::Train(args) => args.quiet,
            Command::Sweep(args) => args.quiet,
            _ => false,
        }
    }
}

/// `gradamp train`
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// The settings of the run.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The run folder to create; by default runs/NAME-TIME.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder. With --epochs, the run is extended to that number of epochs, even if it is
    /// finished; --lr is the rate of the added epochs. Without --lr, the last rate goes on.
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Print the plan of the run, with memory and time from a few steps, and write nothing.
    #[arg(long, conflicts_with_all = ["resume", "out", "tui", "quiet"])]
    pub dry_run: bool,
    /// Show a live dashboard instead of progress bars.
    #[arg(long, conflicts_with = "quiet")]
    pub tui: bool,
    /// Also print what was chosen: the device and its options, where the data lies and where batches are made, and every
    /// setting that differs from its default, with its origin.
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Print only errors.
    #[arg(long, short)]
    pub quiet: bool,
    /// For a run that a sweep starts: the run stops when stdin ends, and prints the reason of a failure to stdout.
    #[arg(long, hide = true, requires = "quiet")]
    pub in_sweep: bool,
    /// For a run that a sweep starts: the seal of the study, which the run records.
    #[arg(long, hide = true, requires = "in_sweep")]
    pub study: Option<StudySeal>,
}

/// `gradamp eval`
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// The run folder whose best checkpoint, settings and data are used.
    #[arg(long, value_name = "DIR", required_unless_present = "checkpoint")]
    pub run: Option<PathBuf>,
    /// A safetensors file with a model, or a folder with a model.safetensors.
    #[arg(long, visible_alias = "init", value_name = "FILE", conflicts_with = "run")]
    pub checkpoint: Option<PathBuf>,
    /// With --run: use the last checkpoint instead of the best one.
    #[arg(long, requires = "run")]
    pub last: bool,
    /// With --checkpoint: whose names the tensors have: gradamp, timm or torchvision.
    #[arg(long, value_name = "NAMES", requires = "checkpoint", value_parser = naming())]
    pub init_names: Option<Naming>,
    /// With --checkpoint: the model's activation. Without this flag, gradamp takes it from the header of its own files. A file of
    /// another program has none, and is read as the standard model: sigmoid for an MLP, ReLU for every other model.
    #[arg(long, value_name = "NAME", requires = "checkpoint", value_parser = activation())]
    pub activation: Option<ActivationFunction>,
    /// The data: auto, cifar10, cifar100, mnist, fashion-mnist, shapes, or the path of a data set: CIFAR's files, .tar or
    /// parquet files, IDX files, or a folder of images (train/CLASS/*.png and test/CLASS/*.png).
    #[arg(long, value_name = "NAME|PATH")]
    pub data: Option<PathBuf>,
    /// The number of images per batch.
    #[arg(long, default_value_t = 128, value_parser = whole::<usize>(1..=65536))]
    pub batch_size: usize,
    /// The device, with its options.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print the results as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// A parser for the name of an activation.
fn activation() -> impl TypedValueParser<Value = ActivationFunction> {
    let named = |name: String| ActivationFunction::ALL.into_iter().find(|function| function.name() == name);
    PossibleValuesParser::new(ActivationFunction::ALL.map(ActivationFunction::name))
        .map(move |name| named(name).unwrap_or_default())
}

/// A parser for whose names tensors have.
fn naming() -> impl TypedValueParser<Value = Naming> {
    let named = |name: String| Naming::ALL.into_iter().find(|naming| naming.name() == name);
    PossibleValuesParser::new(Naming::ALL.map(Naming::name)).map(move |name| named(name).unwrap_or_default())
}

/// `gradamp devices`
#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Check a device (by default gpu) with every law of the conformance suite, and compare a short training on the
    /// device with the same training on the CPU.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "gpu")]
    pub check: Option<Device>,
    /// With --check: the number of training steps.
    #[arg(long, default_value_t = 10, requires = "check", value_parser = whole::<usize>(1..=1_000_000))]
    pub steps: usize,
    /// Print the list as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `gradamp data`
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what a data set holds: examples, classes, file format, mean and standard deviation.
    Info {
        /// A name or path as for `train --data`: auto, cifar10, cifar100, mnist, fashion-mnist, shapes, or the path of a
        /// data set.
        #[arg(value_name = "NAME|PATH")]
        data: PathBuf,
    },
    /// Download CIFAR-10, CIFAR-100, MNIST or Fashion-MNIST, and verify it by its published checksums.
    ///
    /// A download that breaks off is continued by the same command. The variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
    /// NO_PROXY are heeded.
    #[cfg(feature = "download")]
    Download(crate::download::DownloadArgs),
    /// Read every record, compare published data sets with their checksums, and report what is damaged or missing.
    Verify {
        /// A name or path as for `train --data`: auto, cifar10, cifar100, mnist, fashion-mnist, shapes, or the path of a
        /// data set.
        #[arg(value_name = "NAME|PATH")]
        data: PathBuf,
    },
}

/// `gradamp config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting with its origin, as TOML that can be used as a configuration file.
    Show(Box<SettingsArgs>),
    /// Check a configuration file.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// List the presets and the studies inside the program.
    List,
    /// Print the text of a preset or of a study inside the program, to start a file of your own from.
    Print {
        /// The name, as `config list` shows it.
        name: String,
    },
}

/// `gradamp bench`
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Time whole training steps: forward pass, loss, backward pass and SGD.
    Step(BenchArgs),
    /// Compare steps in which every batch norm and ReLU is amplified with plain steps; print the ratio of the medians.
    Amplify(BenchArgs),
    /// Time a step operation by operation, and compare each operation with the device's limits.
    Ops(OpsArgs),
}

/// `gradamp completions`
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: Shell,
}

/// `gradamp man`
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The folder for the pages, which is made if it does not exist.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Builds the command line. The word after an option that takes a number is its value, even if it begins with a dash,
/// so that a negative number is reported as out of range and not as an unknown option.
pub fn command() -> clap::Command {
    fn with_numbers(command: clap::Command) -> clap::Command {
        let taking_any = |arg: clap::Arg| match is_number(&arg) {
            true => arg.allow_hyphen_values(true),
            false => arg,
        };
        command.mut_args(taking_any).mut_subcommands(with_numbers)
    }
    let command = with_numbers(Cli::command());
    let command = match shell::program() {
        "gradamp" => command.version(version("")),
        // Another crate's program prints its own name first: `my-program (gradamp 0.1.0)`.
        program => command.display_name(program).version(version("gradamp ")),
    };
    match added::lines() {
        added if added.is_empty() => command,
        added => with_names(command, &added.join("\n")),
    }
}

/// The version behind `name`, and the commit that the program was built from if that is known.
fn version(name: &str) -> String {
    let commit = commit().map(|commit| format!(", commit {}", commit.get(..12).unwrap_or(&commit)));
    let text = format!("{name}{VERSION}{}", commit.unwrap_or_default());
    if name.is_empty() { text } else { format!("({text})") }
}

/// Appends `names`, the added policies, models and data sets, to the help of each command that takes settings.
fn with_names(command: clap::Command, names: &str) -> clap::Command {
    let takes_settings = command.get_arguments().any(|arg| arg.get_id() == "set");
    let command = command.mut_subcommands(|command| with_names(command, names));
    if takes_settings { command.after_help(names.to_owned()) } else { command }
}

/// Whether an option takes a number.
fn is_number(arg: &clap::Arg) -> bool {
    let of = arg.get_value_parser().type_id();
    let numbers = [TypeId::of::<u64>(), TypeId::of::<usize>(), TypeId::of::<u16>(), TypeId::of::<f64>()];
    arg.get_action().takes_values() && numbers.iter().any(|id| of == *id)
}

/// Suggests `--set` if an unknown option has the name of a setting.
pub fn tip(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let name = option.split('=').next().unwrap_or_default().trim_start_matches('-').replace('-', "_");
    let (table, _) = keys::tables().into_iter().find(|(_, keys)| keys.contains(&name.as_str()))?;
    Some(format!("the setting {table}.{name} has no option of its own; use --set {table}.{name}=VALUE"))
}

#[cfg(test)]
mod tests;
