//! `gradamp completions` and `gradamp man`: what a shell and `man` can show of the command line.

use std::fs;
use std::path::Path;

use clap_mangen::Man;

use crate::args::{self, CompletionsArgs, ManArgs};
use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::shell;

/// Prints the script for the running program, additions of other crates included.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), shell::program(), &mut script);
    output::result(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Writes a page for the program and for each command, such as `gradamp-train.1`, and prints their paths.
///
/// **Errors:** a folder that cannot be made or written.
pub fn man(args: &ManArgs) -> Result<()> {
    let failed =
        |path: &Path, error| Failure::failed(format!("{}: cannot be written: {error}", path.display()));
    fs::create_dir_all(&args.folder).map_err(|error| failed(&args.folder, error))?;
    let mut command = args::command().name(shell::program());
    command.build();
    pages(&command, shell::program(), &mut |name, command| {
        let path = args.folder.join(format!("{name}.1"));
        let mut page = Vec::new();
        let written = Man::new(command.clone().name(name.to_owned())).render(&mut page);
        written.and_then(|()| fs::write(&path, page)).map_err(|error| failed(&path, error))?;
        output::result(path.display());
        Ok(())
    })
}

/// Calls `write` with the name and the command of each page: the command's and those of its subcommands.
fn pages(
    command: &clap::Command,
    name: &str,
    write: &mut impl FnMut(&str, &clap::Command) -> Result<()>,
) -> Result<()> {
    write(name, command)?;
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help");
    for subcommand in shown {
        pages(subcommand, &format!("{name}-{}", subcommand.get_name()), write)?;
    }
    Ok(())
}
