//! The sections about a sweep.

mod cell;
mod contrasts;
mod curves;
mod map;
mod table;
#[cfg(test)]
mod tests;
mod times;

use std::path::Path;

use gradamp_core::files;

use super::chart::{Axis, Format, Intervals, Item, Stroke, p_in_words};
use super::figure::Figure;
use super::html::{Block, Section, Tile};
use crate::Result;
use crate::compare::{BestCell, ChosenBy, Options, SweepAnalysis};
use crate::run_folder::{Error, FileSeal, RunStatus};
use crate::shell;
use crate::sweep::{Measure, Role, SweepData, roles_in_words};
use cell::{MeasuredCell, accuracy_measure};

/// The most rows of the plot of intervals: the best cells and the baselines.
const MOST_ROWS: usize = 48;

/// The sections about `sweep`.
pub fn sections(sweep: &SweepData, options: &Options) -> Result<Vec<Section>> {
    // The course of a run whose folder was removed is left out; a damaged run is an error.
    let analysis = SweepAnalysis::read_with(sweep, options)?;
    let measure = accuracy_measure(&analysis);
    let cells = MeasuredCell::all(&analysis, measure);
    let mut ranked: Vec<&MeasuredCell> = cells.iter().collect();
    ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
    let mut results = vec![Block::Figure(intervals(&ranked, measure))];
    results.extend(table::cells(&ranked, measure, analysis.has_seconds).into_iter().map(Block::Table));
    results.extend(table::note(&cells, measure, analysis.correction).map(Block::Text));
    let mut sections = vec![Section::new("summary", "In short", summary(sweep, &analysis, &cells, &ranked))];
    let questions = contrasts::blocks(sweep, &analysis);
    if !questions.is_empty() {
        sections.push(Section::new("contrasts", "What the study asks", questions));
    }
    sections.extend([Section::new("cells", "Every cell against its baseline", results)]);
    let axes = map::axes(&cells);
    let map = map::blocks(&cells, measure);
    if !map.is_empty() {
        sections.push(Section::new("axes", "Over the axes", map));
    }
    sections.extend(times::section(&analysis, &ranked, &axes));
    sections.push(Section::new("learning", "How they learned", curves::blocks(sweep, &ranked, &axes)));
    sections.extend(
        table::unfinished(sweep).map(|blocks| Section::new("unfinished", "Runs that did not finish", blocks)),
    );
    sections.push(reproduction(sweep)?);
    Ok(sections)
}

/// The number by which cells are sorted. Cells without a finished run come last.
fn rank(cell: &MeasuredCell) -> f64 {
    if cell.accuracy.mean.is_nan() { f64::NEG_INFINITY } else { cell.accuracy.mean }
}

fn summary(
    sweep: &SweepData,
    analysis: &SweepAnalysis,
    cells: &[MeasuredCell],
    ranked: &[&MeasuredCell],
) -> Vec<Block> {
    let tile = |name: &str, value: String, note: String| Tile { name: name.into(), value, note };
    let percent = |value: f64| Format::Percent(2).text(value);
    let count = |status: RunStatus| sweep.results.iter().filter(|run| run.status == status).count();
    let total = sweep.results.len();
    let done = count(RunStatus::Finished);
    let rest: Vec<String> = [
        RunStatus::Failed,
        RunStatus::Diverged,
        RunStatus::Interrupted,
        RunStatus::StoppedEarly,
        RunStatus::Pending,
    ]
    .into_iter()
    .filter(|status| count(*status) > 0)
    .map(|status| format!("{} {}", count(status), status.name().replace('_', " ")))
    .collect();
    let mut tiles = vec![tile("Runs finished", format!("{done} of {total}"), rest.join(", "))];
    let named = |best: &BestCell| cells.iter().find(|cell| cell.cell.name == best.name);
    if let Some((best, chosen_by)) =
        analysis.best.as_ref().and_then(|best| Some((named(best)?, best.chosen_by)))
    {
        let how = match chosen_by {
            ChosenBy::Validation => "chosen by validation",
            ChosenBy::Test => "chosen by the test examples",
        };
        tiles.push(tile(
            "Best cell, mean",
            percent(best.accuracy.mean),
            format!("{}; {how}", best.cell.name),
        ));
        if let Some(against) = &best.against {
            let corrected = against
                .corrected_p
                .map_or("too few runs to test".into(), |p| format!("corrected {}", p_in_words(p)));
            tiles.push(tile(
                "Against its baseline",
                format!("{} points", Format::Points.text(against.difference)),
                corrected,
            ));
        }
    }
    let baselines: Vec<_> = ranked.iter().filter(|cell| cell.is_baseline()).collect();
    if let Some(highest) = baselines.first() {
        let (name, note) = match baselines.len() {
            1 => ("Baseline, mean", highest.cell.name.clone()),
            n => ("Best baseline, mean", format!("{}, of {n} baselines", highest.cell.name)),
        };
        tiles.push(tile(name, percent(highest.accuracy.mean), note));
    }
    let is_tested =
        |cell: &&MeasuredCell| cell.against.as_ref().is_some_and(|against| against.test.is_some());
    let tested: Vec<&MeasuredCell> =
        cells.iter().filter(|cell| cell.cell.role == Role::Cell).filter(is_tested).collect();
    if !tested.is_empty() {
        let clear = |sign: f64| {
            tested
                .iter()
                .filter(|cell| cell.is_clear() && cell.difference().is_some_and(|d| d * sign > 0.0))
                .count()
        };
        let note = format!("{} clearly worse, of {} tested", clear(-1.0), tested.len());
        tiles.push(tile("Clearly better cells", clear(1.0).to_string(), note));
    }
    let seconds: f64 =
        sweep.results.iter().map(|run| run.seconds).filter(|seconds| seconds.is_finite()).sum();
    let roles = roles_in_words(cells.iter().map(|cell| cell.cell.role));
    tiles.push(tile("Time of all runs", Format::Seconds.text(seconds), roles));

    let mut blocks = vec![Block::Tiles(tiles)];
    blocks.extend(sweep.warnings.iter().map(|warning| Block::Notice(format!("{warning}."))));
    if count(RunStatus::Pending) + count(RunStatus::Interrupted) > 0 {
        blocks
            .push(Block::Notice(format!("The sweep is not complete: {done} of {total} runs are finished.")));
    }
    if !analysis.is_validated() && cells.len() > 2 {
        blocks.push(Block::Notice(
            "Some runs have no validation split, so that the test examples chose the best cell, whose accuracy is too high. \
             Set data.validation in the study's base."
                .into(),
        ));
    }
    blocks
}

/// All cells with their intervals.
fn intervals(ranked: &[&MeasuredCell], measure: Measure) -> Figure {
    let baselines: Vec<&&MeasuredCell> = ranked.iter().filter(|cell| cell.is_baseline()).collect();
    let has_values = |cell: &&&MeasuredCell| cell.accuracy.mean.is_finite();
    // Controls are left out where there is no room for all.
    let has_room = ranked.iter().filter(has_values).count() <= MOST_ROWS;
    let is_drawn = |cell: &&&MeasuredCell| has_values(cell) && (has_room || cell.cell.role != Role::Control);
    let shown: Vec<&&MeasuredCell> = ranked.iter().filter(is_drawn).take(MOST_ROWS).collect();
    let item = |cell: &&&MeasuredCell| {
        let stroke = match (cell.cell.role, cell.difference()) {
            (Role::Baseline | Role::Control, _) => Stroke::Quiet,
            (Role::Cell, Some(difference)) if difference < 0.0 => Stroke::Colour(1),
            (Role::Cell, _) => Stroke::Colour(0),
        };
        Item {
            name: cell.cell.name.clone(),
            value: cell.accuracy.mean,
            interval: cell.accuracy.ci,
            stroke,
            text: Some(Format::Percent(2).text(cell.accuracy.mean)),
        }
    };
    let reference = match baselines.as_slice() {
        [only] if only.accuracy.mean.is_finite() => Some((only.accuracy.mean, only.accuracy.ci)),
        _ => None,
    };
    let studied = || ranked.iter().filter(|cell| cell.cell.role == Role::Cell);
    let better =
        studied().filter(|cell| cell.difference().is_some_and(|difference| difference > 0.0)).count();
    let clear = studied().filter(|cell| cell.is_clear()).count();
    let held = studied().filter(|cell| cell.against.is_some()).count();
    let words = match ranked.iter().find(|cell| cell.cell.role != Role::Control) {
        Some(best) if best.accuracy.mean.is_finite() => {
            let course = format!(
                "{} has the highest mean, {}.",
                best.cell.name,
                Format::Percent(2).text(best.accuracy.mean)
            );
            if held == 0 {
                course
            } else {
                format!(
                    "{course} {} of {held} cells lie above their baseline; {} clearly from it.",
                    count(better),
                    differ(clear)
                )
            }
        }
        _ => "No run is finished yet.".into(),
    };
    let chart = Intervals {
        axis: Axis::linear(measure.name(), Format::Percent(1)),
        items: shown.iter().map(item).collect(),
        reference,
    };
    let note = match reference {
        Some(_) => {
            "Points are means over seeds, bars their 95 % intervals (Student): blue above the baseline, red or orange below, controls grey. \
             The dotted line and the band are the baseline."
        }
        None => {
            "Points are means over seeds, bars their 95 % intervals (Student): blue above the own baseline, red or orange below; baselines \
             and controls are grey."
        }
    };
    let figure = Figure::new("cells-intervals", "Mean accuracy of every cell", words, chart).broad();
    let left_out = ranked.iter().filter(has_values).count() - shown.len();
    if left_out > 0 {
        let has_all_cells = ranked.iter().filter(is_drawn).count() == shown.len();
        let left = if has_all_cells { "controls" } else { "controls and the lowest cells" };
        figure.with_note(&format!("{note} {left_out} rows are left out ({left}); the tables contain all."))
    } else {
        figure.with_note(note)
    }
}

fn count(number: usize) -> String {
    if number == 0 { "None".into() } else { number.to_string() }
}

fn differ(number: usize) -> String {
    match number {
        0 => "none differs".into(),
        1 => "one differs".into(),
        n => format!("{n} differ"),
    }
}

/// The study and the commands that repeat it.
fn reproduction(sweep: &SweepData) -> Result<Section> {
    let path = sweep.root.join("sweep.toml");
    let study = files::read_to_string(&path).map_err(Error::io(&path, "read"))?;
    // Earlier versions of the program wrote no seals.
    if let Some(seal) = sweep.plan.files.get("sweep.toml") {
        seal.check(&path, &FileSeal::of_bytes(study.as_bytes()))?;
    }
    let again = shell::path(&Path::new("sweeps").join(format!("{}-again", sweep.plan.name)));
    let study_file = shell::path(&path);
    let mut lines = Vec::new();
    if let Some(record) = curves::first_record(sweep) {
        lines.push(format!("# data: {}, SHA-256 {}", record.dataset, record.dataset_checksum));
        if let Some(commit) = record.commit {
            lines.push(format!("git checkout {}", shell::word(commit.as_ref())));
            lines.push("cargo build --release".into());
        }
    }
    let controls = sweep.plan.runs.iter().any(|run| run.role == Role::Control);
    let is_asked_for = controls && !study.lines().any(|line| line.trim_start().starts_with("controls"));
    let controls = if is_asked_for { " --controls" } else { "" };
    lines.push(format!("{} sweep {study_file} --out {again}{controls}", shell::program()));
    lines.push(format!("{} report {again}", shell::program()));
    let blocks = vec![
        Block::Text(format!(
            "Planned by gradamp {}. Each run's own settings are in configs/, its seed in its name.",
            sweep.plan.version
        )),
        Block::Code("How to repeat this sweep".into(), lines.join("\n")),
        Block::Details(
            "The study as it was given".into(),
            vec![Block::Code("The study".into(), study.trim_end().to_owned())],
        ),
    ];
    Ok(Section::new("reproduction", "How to reproduce", blocks))
}
