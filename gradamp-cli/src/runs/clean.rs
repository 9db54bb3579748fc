//! `gradamp runs clean`

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::path::PathBuf;

use super::args::CleanArgs;
use super::list::folders;
use crate::devices::in_units;
use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::columns::{columns, header};
use gradamp_study::run_folder::{RunFolder, Spare, remove_spares, spares};

/// Lists what runs can spare, asks, and removes it.
///
/// **Errors:** no such folder; neither `--yes` nor a terminal on which to ask; a file that cannot be removed.
pub fn clean(args: &CleanArgs) -> Result<()> {
    let mut found: Vec<(PathBuf, Vec<Spare>)> = Vec::new();
    for root in folders(&args.dir)? {
        if RunFolder::is_in_use(&root) {
            let message = "another process is writing to this run; nothing is removed there";
            output::message(format_args!("{}: {message}", root.display()));
            continue;
        }
        let spares = spares(&root, &args.checkpoints)?;
        if !spares.is_empty() {
            found.push((root, spares));
        }
    }
    let all = || found.iter().flat_map(|(_, spares)| spares);
    if found.is_empty() {
        output::result(format_args!("{}: nothing to remove", args.dir.display()));
        return Ok(());
    }
    let mut rows = vec![header(["size", "path", "what"])];
    rows.extend(
        all().map(|spare| {
            vec![in_units(spare.bytes), spare.path.display().to_string(), spare.what.to_owned()]
        }),
    );
    output::result(columns(&rows, "><<").trim_end());
    let total = in_units(all().map(|spare| spare.bytes).sum());
    let count = all().count();
    if args.dry_run {
        output::result(format_args!("\n{count} to remove, {total}; nothing was removed"));
        return Ok(());
    }
    if !args.yes && !is_agreed(&format!("\nRemove these {count} ({total})? [y/N] "))? {
        output::message("nothing was removed");
        return Ok(());
    }
    for (root, _) in &found {
        remove_spares(root, &args.checkpoints)?;
    }
    output::result(format_args!("\n{count} removed, {total} freed"));
    Ok(())
}

/// Asks on the terminal.
///
/// **Errors:** stdin is not a terminal.
fn is_agreed(question: &str) -> Result<bool> {
    if !stdin().is_terminal() {
        return Err(Failure::usage(
            "the command asks before it removes files, but stdin is not a terminal: expected --yes or --dry-run",
        ));
    }
    let mut answer = String::new();
    write!(stderr(), "{question}").and_then(|()| stderr().flush()).map_err(Failure::failed)?;
    stdin().lock().read_line(&mut answer).map_err(Failure::failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
