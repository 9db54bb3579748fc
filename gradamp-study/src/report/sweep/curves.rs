//! The accuracy of every cell over epochs, together with that of its baseline.

use std::collections::BTreeMap;

use super::super::chart::{Axis, Chart, Format, LineChart, Multiples, Series, Stroke};
use super::super::figure::Figure;
use super::super::html::Block;
use super::cell::MeasuredCell;
use super::map::{StudyAxis, coordinates};
use crate::run_folder::lines::EpochLine;
use crate::run_folder::{RunData, RunRecord};
use crate::sweep::{Cell, Role, SweepData};

/// The most cells that are drawn: the best cells.
const MOST_PANELS: usize = 24;

/// The record of the first run that has one.
pub fn first_record(sweep: &SweepData) -> Option<RunRecord> {
    let outline = |name: &String| RunData::outline(&sweep.run_dir(name)).ok()?.0;
    sweep.results.iter().find_map(|run| outline(&run.run))
}

/// The mean over seeds and the band around the mean, by epoch.
type Course = (Vec<(f64, f64)>, Vec<(f64, f64, f64)>);

/// The figure, whose panels are titled by their values on `axes`, and a notice about runs whose folders cannot be read.
pub fn blocks(sweep: &SweepData, ranked: &[&MeasuredCell], axes: &[StudyAxis]) -> Vec<Block> {
    let mut unread = Vec::new();
    let mut course = |cell: &Cell| {
        let mut runs = Vec::new();
        for run in cell.finished() {
            match RunData::outline(&sweep.run_dir(&run.run)) {
                Ok((_, epochs)) if epochs.is_empty() => unread.push(format!("{}: holds no epochs", run.run)),
                Ok((_, epochs)) => runs.push(epochs),
                Err(error) => unread.push(error.to_string()),
            }
        }
        over_seeds(&runs)
    };
    let is_drawn = |cell: &&&MeasuredCell| cell.cell.role == Role::Cell && cell.accuracy.mean.is_finite();
    let cells: Vec<&&MeasuredCell> = ranked.iter().filter(is_drawn).take(MOST_PANELS).collect();
    let mut baselines: BTreeMap<&str, Course> = BTreeMap::new();
    for cell in ranked.iter().filter(|cell| cell.is_baseline()) {
        baselines.insert(&cell.cell.name, course(&cell.cell));
    }
    let courses: Vec<Course> = cells.iter().map(|cell| course(&cell.cell)).collect();
    let controls: Vec<Option<Course>> = cells
        .iter()
        .map(|cell| control_of(sweep, cell, ranked).map(|control| course(&control.cell)))
        .collect();
    // All panels have one vertical scale.
    let shown = courses.iter().chain(controls.iter().flatten());
    let used = |name: &str| cells.iter().any(|cell| cell.cell.baseline.as_deref() == Some(name));
    let shown = shown.chain(baselines.iter().filter(|(name, _)| used(name)).map(|(_, course)| course));
    let bounds: Vec<f64> = shown
        .flat_map(|(line, band)| {
            line.iter().map(|(_, y)| *y).chain(band.iter().flat_map(|(_, least, most)| [*least, *most]))
        })
        .collect();
    let panel =
        |(cell, (own, control)): (&&&MeasuredCell, (&Course, &Option<Course>))| -> (String, Box<dyn Chart>) {
            let with_band = |name: &str, stroke, (line, band): &Course| Series {
                band: band.clone(),
                ..Series::new(name, stroke, line.clone())
            };
            let baseline = cell.cell.baseline.as_ref().and_then(|name| baselines.get(name.as_str()));
            let mut series = vec![with_band("mean", Stroke::Colour(0), own)];
            series.extend(control.as_ref().map(|course| with_band("control", Stroke::Colour(1), course)));
            series.extend(baseline.map(|course| with_band("baseline", Stroke::Quiet, course)));
            let x = Axis::linear("epoch", Format::Whole);
            let y = Axis::linear("test accuracy", Format::Percent(1)).including(&bounds);
            let mut chart = LineChart::new(x, y, series);
            (chart.height, chart.labelled) = (110.0, false);
            let title = match coordinates(cell, axes) {
                title if title.is_empty() => cell.cell.name.clone(),
                title => title,
            };
            (title, Box::new(chart))
        };
    let has_controls = controls.iter().any(Option::is_some);
    let panels: Vec<_> = cells.iter().zip(courses.iter().zip(&controls)).map(panel).collect();
    let mut blocks = Vec::new();
    if panels.is_empty() {
        blocks.push(Block::Text("No run is finished yet.".into()));
    } else {
        let words = words(&cells, &courses);
        let chart = Multiples { panels, least: 230.0, most: 4, legend: None, has_crosses: false, dots: None };
        let figure = Figure::new("curves", "Test accuracy of every cell over epochs", words, chart).broad();
        let left_out = ranked.iter().filter(is_drawn).count() - cells.len();
        let more =
            if left_out > 0 { format!(" The {left_out} lowest cells are left out.") } else { String::new() };
        let control = if has_controls { " Red or orange: its control." } else { "" };
        blocks.push(Block::Figure(figure.with_note(&format!(
            "Blue: the mean over seeds, in a band from the lowest seed to the highest.{control} Grey: its baseline.{more}"
        ))));
    }
    if !unread.is_empty() {
        blocks.push(Block::Notice(format!("Runs whose course could not be read: {}", unread.join("; "))));
    }
    blocks
}

fn words(cells: &[&&MeasuredCell], courses: &[Course]) -> String {
    let end = |(cell, (line, _)): (&&&MeasuredCell, &Course)| {
        let (epoch, accuracy) = *line.last()?;
        Some(format!("{} ends at {} after epoch {epoch}", cell.cell.name, Format::Percent(1).text(accuracy)))
    };
    let ends: Vec<String> = cells.iter().zip(courses).filter_map(end).take(3).collect();
    if ends.is_empty() { "No epoch was evaluated.".into() } else { format!("{}.", ends.join("; ")) }
}

/// The first control of a cell.
fn control_of<'a>(
    sweep: &SweepData,
    cell: &MeasuredCell,
    cells: &[&'a MeasuredCell],
) -> Option<&'a MeasuredCell> {
    let control = sweep.plan.runs.iter().find(|run| run.control_of.as_ref() == Some(&cell.cell.name))?;
    cells.iter().find(|other| other.cell.name == control.cell).copied()
}

/// The epochs that all runs evaluated.
fn over_seeds(runs: &[Vec<EpochLine>]) -> Course {
    let mut values: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for line in runs.iter().flatten() {
        if let Some(accuracy) = line.test_accuracy {
            values.entry(line.epoch + 1).or_default().push(accuracy);
        }
    }
    values.retain(|_, values| values.len() == runs.len());
    let mean = |(epoch, values): (&usize, &Vec<f64>)| {
        (*epoch as f64, values.iter().sum::<f64>() / values.len() as f64)
    };
    let around = |(epoch, values): (&usize, &Vec<f64>)| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (*epoch as f64, least, most)
    };
    let band = if runs.len() > 1 { values.iter().map(around).collect() } else { Vec::new() };
    (values.iter().map(mean).collect(), band)
}
