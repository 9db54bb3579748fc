//! Gradient flow: the norm at every site, before and after amplification, over epochs and over depth.

use gradamp_core::train::SiteGradient;

use super::super::chart::{Axis, Chart, ColourScale, Format, Heatmap, LineChart, Multiples, Series, Stroke};
use super::super::figure::Figure;
use super::super::html::{Block, Table};
use super::super::subject::Subject;
use super::curves::amplified;
use crate::run_folder::lines::attenuations;

/// Most columns of a table of values; the others are in the run's folder.
const MOST_COLUMNS: usize = 12;

/// Values by site (rows, in forward order) and epoch (columns).
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// The sites' paths.
    pub(super) sites: Vec<String>,
    /// The epochs, from 0.
    pub(super) epochs: Vec<usize>,
    /// The values; NaN if nothing was measured.
    pub(super) values: Vec<Vec<f64>>,
}

impl Grid {
    /// The results of `value` for every line of the run's gradients. Sites without a value are left out.
    pub(super) fn new(run: &Subject, value: impl Fn(&SiteGradient) -> Option<f64>) -> Self {
        let mut epochs: Vec<usize> = run.data.gradients.iter().map(|line| line.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        let mut places = std::collections::HashMap::new();
        let (mut sites, mut values) = (Vec::new(), Vec::<Vec<f64>>::new());
        for line in &run.data.gradients {
            let Some(value) = value(&line.gradient) else { continue };
            let row = *places.entry(line.gradient.site.as_str()).or_insert_with(|| {
                sites.push(line.gradient.site.clone());
                values.push(vec![f64::NAN; epochs.len()]);
                sites.len() - 1
            });
            if let Ok(column) = epochs.binary_search(&line.epoch) {
                values[row][column] = value;
            }
        }
        Self { sites, epochs, values }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sites.is_empty() || self.epochs.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = f64> {
        self.values.iter().flatten().copied()
    }

    /// The map of these values in the colours of `scale`.
    pub(super) fn heatmap(&self, scale: &ColourScale) -> Heatmap {
        Heatmap {
            row_label: "site, in forward order".into(),
            rows: self.sites.clone(),
            column_label: "epoch".into(),
            columns: self.epochs.iter().map(|epoch| (epoch + 1).to_string()).collect(),
            values: self.values.clone(),
            scale: scale.clone(),
            text: None,
            has_legend: false,
            crosses_empty: true,
            dotted: Vec::new(),
        }
        .capped()
    }

    /// Some of the epochs, evenly spread, the first and the last among them.
    pub(super) fn table(&self, caption: &str, format: Format) -> Table {
        let count = self.epochs.len();
        let shown = count.min(MOST_COLUMNS);
        let column = |i: usize| if shown < 2 { 0 } else { i * (count - 1) / (shown - 1) };
        let columns: Vec<usize> = (0..shown).map(column).collect();
        let mut table = Table::new(caption, &["site"]);
        table.head.extend(columns.iter().map(|&column| format!("epoch {}", self.epochs[column] + 1)));
        for (site, row) in self.sites.iter().zip(&self.values) {
            table.add(site, columns.iter().map(|&column| format.text(row[column])));
        }
        table
    }

    /// The geometric mean of a site's positive values over the epochs that `is_chosen`.
    fn profile(&self, is_chosen: impl Fn(usize) -> bool) -> Vec<(f64, f64)> {
        let mean = |row: &Vec<f64>| {
            let chosen = row.iter().zip(&self.epochs).filter(|(_, epoch)| is_chosen(**epoch));
            let (sum, count) = chosen
                .filter(|(value, _)| value.is_finite() && **value > 0.0)
                .fold((0.0, 0.0), |(sum, count), (value, _)| (sum + value.ln(), count + 1.0));
            f64::exp(sum / count) // NaN where there is none
        };
        self.values.iter().enumerate().map(|(site, row)| ((site + 1) as f64, mean(row))).collect()
    }
}

fn before(gradient: &SiteGradient) -> Option<f64> {
    Some(gradient.norm_before)
}

fn after(gradient: &SiteGradient) -> Option<f64> {
    Some(gradient.norm_after)
}

fn norm_axis() -> Axis {
    Axis::log("norm of the gradient at a site's output", Format::Number)
}

/// The figures of one run.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let (before, after) = (Grid::new(run, before), Grid::new(run, after));
    if after.is_empty() {
        return vec![Block::Text(
            "No gradients were measured; train.gradients_every sets the number of steps between measurements.".into(),
        )];
    }
    let scale = ColourScale::sequential(norm_axis(), before.all().chain(after.all()));
    let maps = [before.heatmap(&scale), after.heatmap(&scale)];
    let has_crosses = maps.iter().any(Heatmap::has_crosses);
    let headings = ["before amplification at the site", "after it"];
    let panel =
        |(heading, map): (&str, Heatmap)| -> (String, Box<dyn Chart>) { (heading.into(), Box::new(map)) };
    let panels = headings.into_iter().zip(maps).map(panel).collect();
    let chart = Multiples { panels, least: 380.0, most: 2, legend: Some(scale), has_crosses, dots: None };
    let words = flow_in_words(&after);
    let data = after.table("Norm of the gradient after amplification", Format::Number);
    let flow = Figure::new("gradient-flow", "Gradient flow, site by epoch", words, chart).with_data(data).with_note(
        "Each cell is the mean over the measured steps of an epoch. Gradients flow from the bottom row upward; an amplified site \
         shows in the second map alone, and what it does to the sites above it in both.",
    );
    let mut blocks = vec![Block::Figure(flow.broad()), Block::Figure(profile(run, &after))];
    blocks.extend(attenuation(std::slice::from_ref(run)).map(Block::Figure));
    blocks.extend(updates(run).map(Block::Figure));
    blocks
}

/// The attenuation of each epoch, run by run; `None` where nothing was measured.
fn attenuation(runs: &[Subject]) -> Option<Figure> {
    let line = |(i, run): (usize, &Subject)| {
        let points = attenuations(&run.data.gradients);
        let points = points.into_iter().map(|(epoch, ratio)| ((epoch + 1) as f64, ratio)).collect();
        Series::new(&run.name, Stroke::Colour(i), points)
    };
    let lines: Vec<Series> =
        runs.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect();
    let number = |value| Format::Number.text(value);
    let course = |line: &Series| match line.points.as_slice() {
        [] => String::new(),
        [(epoch, only)] => format!("{}: {} in epoch {epoch}.", line.name, number(*only)),
        [(_, from), .., (_, to)] => format!("{}: from {} to {}.", line.name, number(*from), number(*to)),
    };
    let words = lines.iter().map(course).collect::<Vec<_>>().join(" ");
    if lines.is_empty() {
        return None;
    }
    let label = "first site's gradient / last site's";
    let mut chart = LineChart::new(
        Axis::linear("epoch", Format::Whole).including(&[0.0]),
        Axis::log(label, Format::Number),
        lines,
    );
    if let [run] = runs {
        chart.spans = amplified(run);
        chart.labelled = false;
    }
    let figure = Figure::new("attenuation", "Attenuation of the gradient", words, chart);
    Some(figure.with_note(
        "The norm of the gradient at the first site's output, divided by that at the last one's, before amplification at these \
         sites. Far below 1 the gradient vanishes on its way, far above 1 it explodes.",
    ))
}

/// The change of a site's parameters in a step, divided by their norm; `None` if nothing was measured.
fn updates(run: &Subject) -> Option<Figure> {
    let grid = Grid::new(run, |gradient| gradient.update_ratio);
    let measured = || grid.all().filter(|value| value.is_finite() && *value > 0.0);
    measured().next()?;
    let scale = ColourScale::sequential(Axis::log("‖Δw‖ / ‖w‖ of a step", Format::Number), grid.all());
    let map = Heatmap { has_legend: true, ..grid.heatmap(&scale) };
    let mut sorted: Vec<f64> = measured().collect();
    sorted.sort_by(f64::total_cmp);
    let share = |part: f64| sorted[((sorted.len() - 1) as f64 * part).round() as usize];
    let number = |value| Format::Number.text(value);
    let words = format!(
        "A step moves a layer's parameters by {} of their norm in the median, in nine of ten cases by {} to {}.",
        number(share(0.5)),
        number(share(0.05)),
        number(share(0.95))
    );
    let data = grid.table("Update-to-weight ratio", Format::Number);
    let figure = Figure::new("update-ratio", "Update-to-weight ratio, site by epoch", words, map);
    Some(
        figure
            .with_data(data)
            .with_note("Means over the measured steps of an epoch, of the parameters of the site's layer."),
    )
}

/// The figures of several runs: maps side by side, and the profiles of all runs in one chart.
pub fn blocks_of_runs(runs: &[Subject]) -> Vec<Block> {
    let grids: Vec<Grid> = runs.iter().map(|run| Grid::new(run, after)).collect();
    if grids.iter().all(Grid::is_empty) {
        return vec![Block::Text("No gradients were measured.".into())];
    }
    let scale = ColourScale::sequential(norm_axis(), grids.iter().flat_map(Grid::all));
    let map = |(run, grid): (&Subject, &Grid)| -> (String, Box<dyn Chart>) {
        (run.name.clone(), Box::new(grid.heatmap(&scale)))
    };
    let has_crosses = grids.iter().any(|grid| grid.heatmap(&scale).has_crosses());
    let panels = runs.iter().zip(&grids).map(map).collect();
    let words = runs.iter().zip(&grids).map(|(run, grid)| format!("{}: {}", run.name, flow_in_words(grid)));
    let words = words.collect::<Vec<_>>().join(" ");
    let chart =
        Multiples { panels, least: 380.0, most: 2, legend: Some(scale.clone()), has_crosses, dots: None };
    let flow = Figure::new("gradient-flow", "Gradient flow after amplification, site by epoch", words, chart);
    let line = |(i, (run, grid)): (usize, (&Subject, &Grid))| {
        Series::new(&run.name, Stroke::Colour(i), grid.profile(|_| true))
    };
    let lines = runs.iter().zip(&grids).enumerate().map(line).collect();
    let chart = LineChart::new(depth_axis(), norm_axis(), lines);
    let words = "The geometric mean over all epochs of the gradient's norm at each site.".to_owned();
    let profile = Figure::new("gradient-profile", "Gradient by depth", words, chart);
    let mut blocks = vec![Block::Figure(flow.broad()), Block::Figure(profile)];
    blocks.extend(attenuation(runs).map(Block::Figure));
    let grids: Vec<Grid> = runs.iter().map(|run| Grid::new(run, |gradient| gradient.update_ratio)).collect();
    if grids.iter().any(|grid| grid.all().any(f64::is_finite)) {
        let line = |(i, (run, grid)): (usize, (&Subject, &Grid))| {
            Series::new(&run.name, Stroke::Colour(i), grid.profile(|_| true))
        };
        let lines: Vec<Series> = runs.iter().zip(&grids).enumerate().map(line).collect();
        let middle = |line: &Series| {
            let mut values: Vec<f64> =
                line.points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
            format!("{} has a median of {}", line.name, Format::Number.text(median))
        };
        let words = format!("{}.", lines.iter().map(middle).collect::<Vec<_>>().join("; "));
        let x = Axis::linear("layer with parameters, from the input to the loss", Format::Whole);
        let chart = LineChart::new(x, Axis::log("‖Δw‖ / ‖w‖ of a step", Format::Number), lines);
        blocks.push(Block::Figure(Figure::new(
            "update-ratio",
            "Update-to-weight ratio by depth",
            words,
            chart,
        )));
    }
    blocks
}

fn depth_axis() -> Axis {
    Axis::linear("site number, from the input to the loss", Format::Whole)
}

fn flow_in_words(grid: &Grid) -> String {
    let (Some(first), Some(last)) = (grid.sites.first(), grid.sites.last()) else {
        return "nothing was measured.".into();
    };
    let column = grid.epochs.len().saturating_sub(1);
    let at = |row: usize| grid.values[row][column];
    let (input, output) = (at(0), at(grid.sites.len() - 1));
    let epoch = grid.epochs.last().map_or(0, |epoch| epoch + 1);
    let measured = grid.all().filter(|value| value.is_finite() && *value > 0.0);
    let (least, most) =
        measured.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let number = |value| Format::Number.text(value);
    let course = if input.is_finite() && output.is_finite() && output > 0.0 {
        format!(
            "In epoch {epoch} the gradient's norm is {} at the last site ({last}) and {} at the first ({first}), {} times as much.",
            number(output),
            number(input),
            number(input / output)
        )
    } else {
        format!("In epoch {epoch} the gradient was not finite at the first or the last site.")
    };
    format!("{course} All norms lie between {} and {}.", number(least), number(most))
}

/// The norm over depth, with and without amplification.
fn profile(run: &Subject, after: &Grid) -> Figure {
    let is_amplified =
        |epoch: usize| run.data.epochs.iter().any(|line| line.epoch == epoch && line.amplified);
    let lines = [
        Series::new("amplified epochs", Stroke::Colour(1), after.profile(is_amplified)),
        Series::new("other epochs", Stroke::Colour(0), after.profile(|epoch| !is_amplified(epoch))),
    ];
    let lines: Vec<Series> =
        lines.into_iter().filter(|line| line.points.iter().any(|(_, value)| value.is_finite())).collect();
    let end = |line: &Series| {
        let first = line.points.iter().find(|(_, value)| value.is_finite());
        format!(
            "{} at the first site in {}",
            Format::Number.text(first.map_or(f64::NAN, |(_, value)| *value)),
            line.name
        )
    };
    let words = format!("The mean norm is {}.", lines.iter().map(end).collect::<Vec<_>>().join(", and "));
    let chart = LineChart::new(depth_axis(), norm_axis(), lines);
    Figure::new("gradient-profile", "Gradient by depth", words, chart).with_note(
        "Geometric means over epochs, after amplification; sites are numbered as in the map above.",
    )
}
