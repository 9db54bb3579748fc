//! `gradamp runs show`

use serde_json::{Value, json};

use super::args::ShowArgs;
use super::list::{as_json, percent, state};
use crate::devices::in_units;
use crate::failure::Result;
use crate::output;
use gradamp_study::config::Difference;
use gradamp_study::run_folder::{CheckpointName, RunFolder, RunStatus, RunSummary, phase_table};
use gradamp_study::shell;

/// Prints one run.
///
/// **Errors:** a folder that holds no run, or whose settings are damaged.
pub fn show(args: &ShowArgs) -> Result<()> {
    let settings = RunFolder::settings_of(&args.run)?;
    let run = RunSummary::read(&args.run);
    let changes = settings.changes_from_defaults()?;
    let checkpoints = checkpoints(&run);
    if args.json {
        let mut json = as_json(&run);
        json["settings"] =
            changes.iter().map(|change| (change.path.clone(), json_value(&change.after))).collect();
        json["checkpoints"] =
            checkpoints.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect();
        output::result(json);
        return Ok(());
    }
    output::result(as_text(&run, &changes, &checkpoints).trim_end());
    output::result(format_args!("\n{}", phase_table(&args.run, &settings.config.strategy).trim_end()));
    if let Some(advice) = advice(&run) {
        output::result(format_args!("\n{advice}"));
    }
    run.trouble.iter().for_each(|trouble| output::message(format_args!("warning: {trouble}")));
    Ok(())
}

/// The checkpoints that are there, each with its size.
fn checkpoints(run: &RunSummary) -> Vec<(&'static str, u64)> {
    let sized = |name: CheckpointName| {
        let path = match name {
            CheckpointName::Best => RunFolder::best_of(&run.root),
            CheckpointName::Last => RunFolder::last_of(&run.root),
        };
        let entries = std::fs::read_dir(path.path()).ok()?.flatten();
        let bytes = entries.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum();
        Some((name.name(), bytes))
    };
    CheckpointName::ALL.into_iter().filter_map(sized).collect()
}

fn as_text(run: &RunSummary, changes: &[Difference], checkpoints: &[(&str, u64)]) -> String {
    let mut text = format!("{}: {}\n", run.root.display(), state(run));
    let mut line = |name: &str, value: String| text += &format!("  {name:<13}  {value}\n");
    if let Some(record) = &run.record {
        line("model", format!("{}, {} parameters", record.model, record.parameters));
        line("data", record.dataset.clone());
        line("device", record.device.clone());
        line("seed", record.seed.to_string());
        let end = record.end.as_ref().map_or(String::new(), |end| format!(" to {end}"));
        line("time", format!("{}{end}", record.start));
        record.error.iter().for_each(|error| line("error", error.replace('\n', " ")));
    }
    let planned = run.planned.map_or("?".into(), |epochs| epochs.to_string());
    line("epochs", format!("{} of {planned}", run.epochs));
    line("test accuracy", format!("best {}, last {}", percent(run.best), percent(run.last)));
    let sizes: Vec<String> =
        checkpoints.iter().map(|(name, bytes)| format!("{name} ({})", in_units(*bytes))).collect();
    line("checkpoints", if sizes.is_empty() { "none".into() } else { sizes.join(", ") });
    text += "\nsettings that differ from the defaults (strategy apart):\n";
    for change in changes {
        text += &format!("  {} = {}\n", change.path, value(&change.after));
    }
    if changes.is_empty() {
        text += "  none\n";
    }
    text
}

/// A value as TOML writes it.
fn value(described: &str) -> &str {
    described.trim_matches('`')
}

/// A value as JSON.
fn json_value(described: &str) -> Value {
    let text = value(described);
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// How to go on with the run.
fn advice(run: &RunSummary) -> Option<String> {
    match run.status {
        RunStatus::Finished | RunStatus::StoppedEarly | RunStatus::Running | RunStatus::Diverged => None,
        _ => Some(format!("to continue it: {}", shell::resume_command(&run.root))),
    }
}
