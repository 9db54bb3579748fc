//! The headline figures of runs, and what a reader must know before trusting them.

use super::super::chart::Format;
use super::super::html::{Block, Cell, Section, Table, Tile};
use super::super::subject::{Subject, spans_in_words};
use crate::run_folder::{RunData, RunFolder, RunStatus};

/// The status of a run in words.
pub fn status(run: &RunData) -> String {
    match run.record.outcome {
        RunStatus::Running if RunFolder::is_in_use(&run.root) => "still going on".into(),
        RunStatus::Running => "was killed, or its machine was".into(),
        RunStatus::StepLimit => "stopped at its limit of steps".into(),
        other => other.to_string(),
    }
}

/// The headline figures: tiles for one run, a table for several.
pub fn section(runs: &[Subject]) -> Section {
    let mut blocks = Vec::new();
    match runs {
        [run] => blocks.push(Block::Tiles(tiles(run))),
        _ => blocks.push(Block::Table(table(runs))),
    }
    for run in runs {
        let notices = notices(run).into_iter().map(|text| match runs.len() {
            1 => text,
            _ => format!("{}: {text}", run.name),
        });
        blocks.extend(notices.map(Block::Notice));
    }
    Section::new("summary", "In short", blocks)
}

fn percent(value: Option<f64>) -> String {
    Format::Percent(2).text(value.unwrap_or(f64::NAN))
}

fn tiles(run: &Subject) -> Vec<Tile> {
    let data = &run.data;
    let tile = |name: &str, value: String, note: String| Tile { name: name.into(), value, note };
    let last = data.last();
    let mut tiles = vec![tile(
        "Test accuracy, last epoch",
        percent(last.and_then(|line| line.test_accuracy)),
        last.map_or("no evaluation yet".into(), |line| format!("epoch {}", line.epoch + 1)),
    )];
    if let Some(best) = data.best() {
        let note = match best.validation_accuracy {
            Some(accuracy) => format!("epoch {}, validation {}", best.epoch + 1, percent(Some(accuracy))),
            None => format!("epoch {}, chosen by the test examples", best.epoch + 1),
        };
        tiles.push(tile("Test accuracy, best epoch", percent(best.test_accuracy), note));
    }
    let seconds = data.epochs.last().map_or(0.0, seconds_of);
    let speed = data.epochs.last().map_or(f64::NAN, |line| line.images_per_second);
    let speed = format!("{} images a second", Format::Whole.text(speed));
    let total = data.settings.config.strategy.epochs();
    tiles.push(tile("Training time", Format::Seconds.text(seconds), speed));
    tiles.push(tile("Epochs", format!("{} of {total}", run.epochs()), status(data)));
    let amplified = data.epochs.iter().filter(|line| line.amplified).count();
    let when = match spans_in_words(&run.amplified_spans()) {
        none if none.is_empty() => "amplification was off".into(),
        spans => format!("epochs {spans}"),
    };
    tiles.push(tile("Amplified epochs", amplified.to_string(), when));
    let record = &data.record;
    tiles.push(tile("Parameters", grouped(record.parameters), record.model.clone()));
    tiles.push(tile("Seed", record.seed.to_string(), format!("data: {}", record.dataset)));
    let devices = devices(data);
    let device = devices.first().cloned().unwrap_or_default();
    let (kind, detail) = device.split_once(" (").unwrap_or((&device, ""));
    let notes = [detail.trim_end_matches(')').to_owned(), later(&devices)];
    let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    tiles.push(tile("Device", kind.to_owned(), notes.join("; ")));
    tiles
}

fn later(devices: &[String]) -> String {
    if devices.len() < 2 { String::new() } else { format!("later {}", devices[1..].join(", ")) }
}

/// The devices of all sessions, each once.
fn devices(run: &RunData) -> Vec<String> {
    let mut devices = vec![run.record.device.clone()];
    for session in run.record.resumed.iter().filter(|session| !session.device.is_empty()) {
        if !devices.contains(&session.device) {
            devices.push(session.device.clone());
        }
    }
    devices
}

fn table(runs: &[Subject]) -> Table {
    let head = [
        "run",
        "state",
        "epochs",
        "amplified",
        "test, last",
        "test, best epoch",
        "validation, best epoch",
        "time",
        "seed",
        "device",
    ];
    let mut table = Table::new("The runs. The best epoch is chosen by validation where there is one", &head);
    for run in runs {
        let data = &run.data;
        let best = data.best();
        let number = |text: String| Cell::Number(text);
        let amplified = spans_in_words(&run.amplified_spans());
        table.rows.push(vec![
            Cell::Text(run.name.clone()),
            Cell::Text(status(data)),
            number(format!("{} of {}", run.epochs(), data.settings.config.strategy.epochs())),
            Cell::Text(if amplified.is_empty() { "off".into() } else { format!("epochs {amplified}") }),
            number(percent(data.last().and_then(|line| line.test_accuracy))),
            number(percent(best.and_then(|line| line.test_accuracy))),
            number(percent(best.and_then(|line| line.validation_accuracy))),
            number(Format::Seconds.text(data.epochs.last().map_or(0.0, seconds_of))),
            number(data.record.seed.to_string()),
            Cell::Text(devices(data).join(", ")),
        ]);
    }
    table
}

fn seconds_of(line: &crate::run_folder::lines::EpochLine) -> f64 {
    if line.total_seconds > 0.0 { line.total_seconds } else { line.seconds }
}

/// What a reader must know before trusting the figures.
fn notices(run: &Subject) -> Vec<String> {
    let data = &run.data;
    let mut notices = Vec::new();
    let (done, total) = (run.epochs(), data.settings.config.strategy.epochs());
    if !data.is_finished() {
        let error = data.record.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let state = status(data);
        notices.push(match state.as_str() {
            "still going on" => format!("This run is still going on: {done} of {total} epochs are done."),
            _ => format!("This run is not finished ({state}{error}): {done} of {total} epochs are done."),
        });
    }
    if data.best().is_some_and(|best| best.validation_accuracy.is_none()) {
        notices.push(
            "There was no validation split, so the test examples chose the best epoch, and its accuracy is too \
             high. Set data.validation, or compare last epochs."
                .into(),
        );
    }
    if data.epochs.iter().any(|line| !line.train_loss.is_finite()) {
        notices.push("The loss was not finite in some epochs.".into());
    }
    let skipped = data.epochs.last().and_then(|line| line.skipped_steps).unwrap_or(0);
    if skipped > 0 {
        notices.push(format!("{skipped} steps overflowed and changed no parameter."));
    }
    notices
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
