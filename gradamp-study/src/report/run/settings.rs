//! The configuration, the differences between runs, and the commands that repeat them.

use super::super::html::{Block, Cell, Section, Table};
use super::super::subject::Subject;
use crate::Result;
use crate::shell;

/// The configuration of every run. With several runs, the differences come first.
pub fn configuration(runs: &[Subject]) -> Result<Section> {
    let mut blocks = super::super::compared::differences(runs)?;
    for run in runs {
        let text = run.data.config_text()?;
        let summary = match runs.len() {
            1 => "Every setting, with where it came from".to_owned(),
            _ => format!("Every setting of {}, with where it came from", run.name),
        };
        let name = format!("Configuration of {}", run.name);
        blocks.push(Block::Details(summary, vec![Block::Code(name, text.trim_end().to_owned())]));
    }
    Ok(Section::new("configuration", "Configuration", blocks))
}

/// Commands, versions, checksums and seeds.
pub fn reproduction(runs: &[Subject]) -> Section {
    let mut blocks = vec![Block::Text(
        "The same version, configuration and data give the same bits on a CPU, whatever the number of threads, and \
         on one GPU with one driver. Across devices results agree to rounding only."
            .into(),
    )];
    let mut table = Table::new("What was run", &["run"]);
    table.head.extend(runs.iter().map(|run| run.name.clone()));
    let row = |name: &str, value: &dyn Fn(&Subject) -> String| {
        let values = runs.iter().map(|run| Cell::Code(value(run)));
        std::iter::once(Cell::Text(name.into())).chain(values).collect::<Vec<_>>()
    };
    let record = |run: &Subject| run.data.record.clone();
    table.rows.extend([
        row("gradamp", &|run| record(run).version),
        row("commit", &|run| record(run).commit.unwrap_or_else(|| "not known".into())),
        row("model", &|run| record(run).model),
        row("data", &|run| record(run).dataset),
        row("data, SHA-256", &|run| record(run).dataset_checksum),
        row("seed", &|run| record(run).seed.to_string()),
        row("device", &|run| record(run).device),
        row("began", &|run| record(run).start),
        row("ended", &|run| record(run).end.unwrap_or_else(|| "–".into())),
        row("continued", &|run| match run.data.record.resumed.len() {
            0 => "never".into(),
            n => format!("{n} times, at step {}", steps(run)),
        }),
    ]);
    blocks.push(Block::Code("How to repeat what was run".into(), commands(runs)));
    blocks.push(Block::Table(table));
    Section::new("reproduction", "How to reproduce", blocks)
}

fn steps(run: &Subject) -> String {
    let steps = run.data.record.resumed.iter().map(|session| session.step.to_string());
    steps.collect::<Vec<_>>().join(", ")
}

fn commands(runs: &[Subject]) -> String {
    let mut lines = Vec::new();
    let mut built = None;
    for run in runs {
        if let Some(commit) = run.data.record.commit.as_ref().filter(|commit| built != Some(*commit)) {
            lines.push(format!("git checkout {}", shell::word(commit.as_ref())));
            lines.push("cargo build --release".into());
            built = Some(commit);
        }
        let config = shell::path(&run.data.root.join("config.toml"));
        let again = shell::path(format!("{}-again", run.data.name()).as_ref());
        lines.push(format!("{} train --config {config} --out {again}", shell::program()));
        if run.data.last().is_some() {
            lines.push(format!("{} eval --run {}", shell::program(), shell::path(&run.data.root)));
        }
    }
    lines.join("\n")
}
