//! The accuracy of every cell over epochs, together with that of its baseline.

use std::collections::BTreeMap;

use super::super::chart::{Axis, Chart, Format, LineChart, Multiples, Series, Stroke};
use super::super::figure::Figure;
use super::super::html::Block;
use super::cell::MeasuredCell;
use crate::run_folder::lines::EpochLine;
use crate::run_folder::{RunData, RunRecord};
use crate::sweep::{Cell, SweepData};

/// The most cells that are drawn: the best cells.
const MOST_PANELS: usize = 24;

/// The record of the first run that has one.
pub fn first_record(sweep: &SweepData) -> Option<RunRecord> {
    let outline = |name: &String| RunData::outline(&sweep.run_dir(name)).ok()?.0;
    sweep.results.iter().find_map(|run| outline(&run.run))
}

/// The mean over seeds and the band around the mean, by epoch.
type Course = (Vec<(f64, f64)>, Vec<(f64, f64, f64)>);

/// The figure, and a notice about runs whose folders cannot be read.
pub fn blocks(sweep: &SweepData, ranked: &[&MeasuredCell]) -> Vec<Block> {
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
    let is_drawn = |cell: &&&MeasuredCell| !cell.is_baseline() && cell.accuracy.mean.is_finite();
    let cells: Vec<&&MeasuredCell> = ranked.iter().filter(is_drawn).take(MOST_PANELS).collect();
    let mut baselines: BTreeMap<&str, Course> = BTreeMap::new();
    for cell in ranked.iter().filter(|cell| cell.is_baseline()) {
        baselines.insert(&cell.cell.name, course(&cell.cell));
    }
    let courses: Vec<Course> = cells.iter().map(|cell| course(&cell.cell)).collect();
    let bounds: Vec<f64> =
        courses.iter().chain(baselines.values()).flat_map(|(line, _)| line.iter().map(|(_, y)| *y)).collect();
    let panel = |(cell, (line, band)): (&&&MeasuredCell, &Course)| -> (String, Box<dyn Chart>) {
        let mut own = Series::new("mean", Stroke::Colour(0), line.clone());
        own.band.clone_from(band);
        let mut series = vec![own];
        if let Some((line, band)) = cell.cell.baseline.as_ref().and_then(|name| baselines.get(name.as_str()))
        {
            let mut baseline = Series::new("baseline", Stroke::Quiet, line.clone());
            baseline.band.clone_from(band);
            series.push(baseline);
        }
        let x = Axis::linear("epoch", Format::Whole).including(&[0.0]);
        let y = Axis::linear("test accuracy", Format::Percent(1)).including(&bounds);
        let mut chart = LineChart::new(x, y, series);
        (chart.height, chart.labelled) = (110.0, false);
        (cell.cell.name.clone(), Box::new(chart))
    };
    let panels: Vec<_> = cells.iter().zip(&courses).map(panel).collect();
    let mut blocks = Vec::new();
    if panels.is_empty() {
        blocks.push(Block::Text("No run is finished yet.".into()));
    } else {
        let words = words(&cells, &courses);
        let chart = Multiples { panels, least: 230.0, most: 4, legend: None, has_crosses: false };
        let figure = Figure::new("curves", "Test accuracy of every cell over epochs", words, chart).broad();
        let left_out = ranked.iter().filter(is_drawn).count() - cells.len();
        let more =
            if left_out > 0 { format!(" The {left_out} lowest cells are left out.") } else { String::new() };
        blocks.push(Block::Figure(figure.with_note(&format!(
            "Blue: the mean over seeds, in a band from the lowest seed to the highest. Grey: its baseline.{more}"
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
