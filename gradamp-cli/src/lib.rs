//! The program `gradamp`, which trains, evaluates and measures networks with gradient amplification.
//!
//! The library contains the whole program; `main.rs` only runs a [`Program`]. Another crate can build its own program
//! by adding policies, models and data sets to a [`Program`].
//!
//! ```no_run
//! /// The program `gradamp` itself.
//! fn main() -> std::process::ExitCode {
//!     gradamp_cli::Program::new().run()
//! }
//! ```

mod added;
mod args;
mod bench;
mod check;
mod commands;
mod compare;
mod dataset;
mod device;
mod devices;
#[cfg(feature = "download")]
mod download;
mod export;
mod failure;
mod hangup;
mod init;
mod interrupt;
mod lr_find;
mod manual;
mod output;
mod printable;
mod program;
mod progress;
mod report;
mod resume;
mod runs;
mod screen;
mod slurm;
mod stderr;
mod sweep;
mod tensorboard;
mod terminal;
mod train;
mod tui;
mod tune;
mod tunings;
mod verify;
mod watch;

use std::ffi::OsString;
use std::panic::PanicHookInfo;

use clap::FromArgMatches;

use args::{BenchCommand, Cli, Command, DevicesArgs};
pub use failure::{FAILED, Failure, INTERRUPTED, Result, SUCCESS, USAGE};
use gradamp_study::shell;
use printable::printable;
pub use program::Program;

/// Runs the program with a command line and returns its exit code. An error is printed to stderr as one message.
fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    std::panic::set_hook(Box::new(report_panic));
    interrupt::begin();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let code = match parse(&arguments) {
        Ok(cli) => outcome(&cli),
        Err(error) if error.use_stderr() => {
            // The error quotes the arguments, which may contain control characters. Parsing the escaped arguments
            // gives a message that is safe to print.
            let shown = arguments.iter().map(|argument| printable(&argument.to_string_lossy()).into_owned());
            let error = parse(shown).err().unwrap_or(error);
            let _ = error.print(); // fails only if stderr is closed
            if let Some(tip) = args::tip(&error) {
                output::message(format_args!("\n  tip: {tip}"));
            }
            USAGE
        }
        Err(help) => {
            output::note(help.print());
            SUCCESS
        }
    };
    match output::check_all_was_printed() {
        Ok(()) => code,
        Err(failure) => {
            output::error(&failure);
            if code == SUCCESS { failure.code } else { code }
        }
    }
}

/// Runs the command, prints its error if there is one, and returns the exit code.
fn outcome(cli: &Cli) -> u8 {
    output::quiet(cli.command.is_quiet());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(cli)));
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            output::error(&failure);
            failure.code
        }
        Err(_) => FAILED, // the panic hook has printed the message
    }
}

fn parse<S: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = S>) -> Result<Cli, clap::Error> {
    let mut command = args::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn dispatch(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Command::Train(args) => return train::train(args),
        Command::Sweep(args) => return sweep::sweep(args),
        Command::Compare(args) => compare::compare(args)?,
        Command::Eval(args) => commands::eval(args)?,
        Command::Report(args) => report::report(args)?,
        Command::Export(args) => export::export(args)?,
        Command::Verify(args) => verify::verify(args)?,
        Command::Init(args) => init::init(args)?,
        Command::LrFind(args) => lr_find::lr_find(args)?,
        Command::Runs(args) => runs::runs(args)?,
        Command::Data(command) => commands::data(command)?,
        Command::Config(command) => commands::config(command)?,
        Command::Devices(DevicesArgs { check: Some(device), steps, json }) => {
            check::check(device, *steps, *json)?
        }
        Command::Devices(args) => devices::list(args.json)?,
        Command::Watch(args) => return watch::watch(args),
        Command::Tensorboard(args) => tensorboard::convert(args)?,
        Command::Tune(args) => tune::tune(args)?,
        Command::Bench(BenchCommand::Step(args)) => bench::step(args)?,
        Command::Bench(BenchCommand::Amplify(args)) => bench::amplify(args)?,
        Command::Bench(BenchCommand::Ops(args)) => bench::ops(args)?,
        Command::Completions(args) => manual::completions(args)?,
        Command::Man(args) => manual::man(args)?,
    }
    Ok(SUCCESS)
}

/// The panic hook. It prints the message of the panic and its place in the code in one line.
fn report_panic(info: &PanicHookInfo<'_>) {
    if gradamp_data::is_guarded() {
        return; // an error about a damaged file follows
    }
    screen::restore();
    let place =
        info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let message = format!("a bug in {}, please report it: {message}{place}", shell::program());
    failure::note_panic(&message);
    output::error(format_args!("error: {message}"));
}
