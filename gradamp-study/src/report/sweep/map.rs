//! Accuracy over two axes: one small map for every combination of the values on the other axes.

use super::super::chart::{Axis, Chart, ColourScale, Format, Heatmap, LineChart, Multiples, Series, Stroke};
use super::super::figure::Figure;
use super::super::html::Block;
use super::cell::MeasuredCell;
use crate::sweep::{Measure, Role};

/// The most maps.
const MOST_PANELS: usize = 16;

/// What a dot on a cell of a map says.
const UNCERTAIN: &str = "uncertain: the 95 % interval of the difference to the baseline holds 0 or is not known, or not all \
                         seeds are finished";
const INCOMPLETE: &str = "uncertain: not all seeds are finished";

/// The number that the maps show for a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// The difference to the baseline.
    Difference,
    /// The mean accuracy.
    Mean,
    /// The share of runs that train at all.
    Trained,
}

impl Shown {
    fn value(self, cell: &MeasuredCell) -> f64 {
        match self {
            Shown::Difference => cell.difference().unwrap_or(f64::NAN),
            Shown::Mean => cell.accuracy.mean,
            Shown::Trained => cell.trained.map_or(f64::NAN, |share| share.trained as f64 / share.runs as f64),
        }
    }

    /// The anchor of the figure, and the beginning of its title.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Shown::Difference => ("map", "Difference to the baseline"),
            Shown::Mean => ("map-accuracy", "Accuracy"),
            Shown::Trained => ("map-trained", "Share of runs that train"),
        }
    }

    /// What the dot on a cell says.
    fn doubt(self) -> &'static str {
        match self {
            Shown::Difference => UNCERTAIN,
            Shown::Mean | Shown::Trained => INCOMPLETE,
        }
    }

    fn is_doubtful(self, cell: &MeasuredCell) -> bool {
        match self {
            Shown::Difference => cell.is_uncertain(),
            Shown::Mean => cell.accuracy.n != cell.cell.runs.len(),
            Shown::Trained => cell.trained.is_none_or(|share| share.runs != cell.cell.runs.len()),
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Shown::Difference => format!("{} points", Format::Points.text(value)),
            Shown::Mean => Format::Percent(2).text(value),
            Shown::Trained => Format::Percent(0).text(value),
        }
    }
}

/// The figures over the axes; none if only the seed differs.
pub fn blocks(cells: &[MeasuredCell], measure: Measure) -> Vec<Block> {
    let axes = axes(cells);
    let studied: Vec<&MeasuredCell> = cells.iter().filter(|cell| cell.cell.role == Role::Cell).collect();
    let has_baseline = studied.iter().any(|cell| cell.against.is_some());
    let has_untrained = cells.iter().filter_map(|cell| cell.trained).any(|share| share.trained < share.runs);
    let mut shown = vec![Shown::Mean];
    if has_baseline {
        shown.insert(0, Shown::Difference);
    }
    if has_untrained {
        shown.insert(0, Shown::Trained);
    }
    match axes.as_slice() {
        [] => Vec::new(),
        [only] => along(only, &studied, has_baseline, measure).into_iter().map(Block::Figure).collect(),
        [a, b, others @ ..] => {
            let figure = |shown| Block::Figure(over(a, b, others, cells, shown, measure));
            shown.into_iter().map(figure).collect()
        }
    }
}

/// The name of the row of baselines.
const BASELINE: &str = "baseline";

/// The baseline of the cells in a column of a map, if the maps can hold baselines in a row of their own: if the cells have one
/// baseline, which the rows' axis does not change, but the columns' axis does.
fn baseline_of<'a>(
    cells: &'a [MeasuredCell],
    rows: &StudyAxis,
    columns: &StudyAxis,
    is_in_column: impl Fn(&MeasuredCell) -> bool,
) -> Option<&'a MeasuredCell> {
    let mut names = cells
        .iter()
        .filter(|cell| cell.cell.role == Role::Cell && is_in_column(cell))
        .map(|cell| cell.cell.baseline.as_deref());
    let name = names.next()??;
    let baseline = cells.iter().find(|cell| cell.cell.name == name)?;
    let has_place = value_on(baseline, &rows.name).is_none() && value_on(baseline, &columns.name).is_some();
    (has_place && names.all(|other| other == Some(name))).then_some(baseline)
}

/// The vertical and the horizontal one of two axes. Vertical is the ratio, if there is one, or else the axis on which baselines have
/// no value, so that baselines can have a row; otherwise the axis with fewer values.
fn ordered<'a>(a: &'a StudyAxis, b: &'a StudyAxis, cells: &[MeasuredCell]) -> (&'a StudyAxis, &'a StudyAxis) {
    let has_baselines = |axis: &StudyAxis| {
        cells.iter().any(|cell| cell.is_baseline() && value_on(cell, &axis.name).is_some())
    };
    let is_first = short(&a.name) == "ratio" || (!has_baselines(a) && has_baselines(b));
    if is_first { (a, b) } else { (b, a) }
}

fn over(
    a: &StudyAxis,
    b: &StudyAxis,
    others: &[StudyAxis],
    cells: &[MeasuredCell],
    shown: Shown,
    measure: Measure,
) -> Figure {
    let (rows, columns) = ordered(a, b, cells);
    let studied: Vec<&MeasuredCell> = cells.iter().filter(|cell| cell.cell.role == Role::Cell).collect();
    let has_place = |cell: &&MeasuredCell| {
        cell.is_baseline()
            && baseline_of(cells, rows, columns, |other| {
                other.cell.baseline.as_ref() == Some(&cell.cell.name)
            })
            .is_some()
    };
    let baselines: Vec<&MeasuredCell> = match shown {
        Shown::Difference => Vec::new(),
        Shown::Mean | Shown::Trained => cells.iter().filter(has_place).collect(),
    };
    let values = || studied.iter().chain(&baselines).map(|cell| shown.value(cell));
    let scale = match shown {
        Shown::Difference => ColourScale::diverging(
            Axis::linear("difference to the baseline, percentage points", Format::Points),
            0.0,
            values(),
        ),
        Shown::Mean => ColourScale::sequential(Axis::linear(measure.name(), Format::Percent(1)), values()),
        Shown::Trained => ColourScale::sequential(
            Axis::linear(Measure::Trained.name(), Format::Percent(0)).including(&[0.0, 1.0]),
            values(),
        ),
    };
    let mut combinations: Vec<Vec<&str>> = Vec::new();
    for cell in &studied {
        let combination = combination(cell, others);
        if !combinations.contains(&combination) {
            combinations.push(combination);
        }
    }
    // In the order of the axes, the first of them from left to right.
    combinations.sort_by_key(|combination| {
        let place = |(axis, value): (&StudyAxis, &&str)| axis.values.iter().position(|other| other == value);
        others.iter().zip(combination).rev().map(place).collect::<Vec<_>>()
    });
    let left_out = combinations.len().saturating_sub(MOST_PANELS);
    combinations.truncate(MOST_PANELS);
    let mut row_names = rows.values.clone();
    if !baselines.is_empty() {
        row_names.insert(0, BASELINE.to_owned());
    }
    let map = |chosen: &Vec<&str>| {
        let cell_at = |row: &String, column: &String| {
            let is_in_column = |cell: &MeasuredCell| {
                value_on(cell, &columns.name) == Some(column) && combination(cell, others) == *chosen
            };
            if row == BASELINE && !baselines.is_empty() {
                return baseline_of(cells, rows, columns, is_in_column);
            }
            let is_here =
                |cell: &&&MeasuredCell| value_on(cell, &rows.name) == Some(row) && is_in_column(cell);
            studied.iter().find(is_here).copied()
        };
        let value =
            |row: &String, column: &String| cell_at(row, column).map_or(f64::NAN, |cell| shown.value(cell));
        let is_dotted =
            |row: &String, column: &String| cell_at(row, column).is_some_and(|cell| shown.is_doubtful(cell));
        Heatmap {
            row_label: rows.name.clone(),
            rows: row_names.clone(),
            column_label: columns.name.clone(),
            columns: columns.values.clone(),
            values: row_names
                .iter()
                .map(|row| columns.values.iter().map(|column| value(row, column)).collect())
                .collect(),
            scale: scale.clone(),
            text: Some(match shown {
                Shown::Difference => Format::Points,
                Shown::Mean => Format::Percent(1),
                Shown::Trained => Format::Percent(0),
            }),
            has_legend: false,
            crosses_empty: true,
            dotted: row_names
                .iter()
                .map(|row| columns.values.iter().map(|column| is_dotted(row, column)).collect())
                .collect(),
        }
        .capped()
    };
    let maps: Vec<Heatmap> = combinations.iter().map(map).collect();
    let has_crosses = maps.iter().any(Heatmap::has_crosses);
    let dots = maps.iter().any(Heatmap::has_dots).then(|| shown.doubt().to_owned());
    let (anchor, subject) = shown.names();
    let title = format!("{subject} by {} and {}", short(&rows.name), short(&columns.name));
    let words = words(&studied, shown);
    let panel = |(combination, map): (&Vec<&str>, Heatmap)| -> (String, Box<dyn Chart>) {
        (titled(others.iter().zip(combination.iter().copied())), Box::new(map))
    };
    let is_alone = maps.len() == 1;
    let panels = combinations.iter().zip(maps).map(panel).collect();
    // A row of maps for all values of the first axis, where there is room.
    let most = others.first().map_or(4, |axis| axis.values.len()).clamp(2, 4);
    let chart = Multiples { panels, least: 250.0, most, legend: Some(scale), has_crosses, dots };
    let figure = Figure::new(anchor, &title, words, chart);
    let figure = if is_alone { figure } else { figure.broad() };
    match left_out {
        0 => figure,
        n => figure.with_note(&format!("{n} further combinations are in the table of cells only.")),
    }
}

/// A cell's values on the axes, in words: `depth 8, activation tanh`.
pub fn coordinates(cell: &MeasuredCell, axes: &[StudyAxis]) -> String {
    titled(axes.iter().filter_map(|axis| Some((axis, value_on(cell, &axis.name)?))))
}

fn titled<'a>(values: impl Iterator<Item = (&'a StudyAxis, &'a str)>) -> String {
    let part = |(axis, value): (&StudyAxis, &str)| format!("{} {value}", short(&axis.name));
    values.map(part).collect::<Vec<_>>().join(", ")
}

fn combination<'a>(cell: &'a MeasuredCell, others: &[StudyAxis]) -> Vec<&'a str> {
    others.iter().map(|axis| value_on(cell, &axis.name).unwrap_or("–")).collect()
}

/// The figure over one axis: a line if the values are numbers; otherwise none, because the plot of intervals shows the same.
fn along(
    axis: &StudyAxis,
    studied: &[&MeasuredCell],
    has_baseline: bool,
    measure: Measure,
) -> Option<Figure> {
    let shown = if has_baseline { Shown::Difference } else { Shown::Mean };
    let points: Option<Vec<(f64, &MeasuredCell)>> = studied
        .iter()
        .map(|cell| {
            value_on(cell, &axis.name).and_then(|value| value.parse().ok()).map(|value| (value, *cell))
        })
        .collect();
    let mut points = points?;
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (least, most) = (points.first()?.0, points.last()?.0);
    let x = if least > 0.0 && most > 10.0 * least {
        Axis::log(&axis.name, Format::Number)
    } else {
        Axis::linear(&axis.name, Format::Number)
    };
    let mut line = Series::new(
        "mean",
        Stroke::Colour(0),
        points.iter().map(|(x, cell)| (*x, cell.accuracy.mean)).collect(),
    );
    line.band = points
        .iter()
        .filter_map(|(x, cell)| cell.accuracy.ci.map(|(least, most)| (*x, least, most)))
        .collect();
    let chart = LineChart::new(x, Axis::linear(measure.name(), Format::Percent(1)), vec![line]);
    let title = format!("Accuracy by {}", short(&axis.name));
    let figure = Figure::new("axis", &title, words(studied, shown), chart);
    Some(figure.with_note("The band is the 95 % interval of the mean at each value."))
}

/// A sentence about the best and the worst cell.
fn words(studied: &[&MeasuredCell], shown: Shown) -> String {
    let known = || studied.iter().filter(|cell| shown.value(cell).is_finite());
    let best = known().max_by(|a, b| shown.value(a).total_cmp(&shown.value(b)));
    let worst = known().min_by(|a, b| shown.value(a).total_cmp(&shown.value(b)));
    match (best, worst) {
        (Some(best), Some(worst)) => {
            let text =
                |cell: &MeasuredCell| format!("{} ({})", shown.text(shown.value(cell)), cell.cell.name);
            format!("From {} to {}.", text(worst), text(best))
        }
        _ => "No cell has a finished run yet.".into(),
    }
}

/// An axis and its values.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyAxis {
    /// The name.
    pub name: String,
    /// The values: numbers in ascending order, other values in plan order.
    pub values: Vec<String>,
}

/// The axes on which studied cells have more than one value. Ratio and factor come first, because they belong on one map. The
/// other axes follow, those with the most values first, and in plan order if they have equally many.
pub fn axes(cells: &[MeasuredCell]) -> Vec<StudyAxis> {
    let mut axes: Vec<StudyAxis> = Vec::new();
    for (name, value) in
        cells.iter().filter(|cell| cell.cell.role == Role::Cell).flat_map(|cell| &cell.cell.axes)
    {
        match axes.iter_mut().find(|axis| axis.name == *name) {
            Some(axis) if axis.values.contains(value) => {}
            Some(axis) => axis.values.push(value.clone()),
            None => axes.push(StudyAxis { name: name.clone(), values: vec![value.clone()] }),
        }
    }
    axes.retain(|axis| axis.values.len() > 1);
    for axis in &mut axes {
        let numbers: Option<Vec<f64>> = axis.values.iter().map(|value| value.parse().ok()).collect();
        if numbers.is_some() {
            let number = |value: &String| value.parse::<f64>().unwrap_or(f64::NAN);
            axis.values.sort_by(|a, b| number(a).total_cmp(&number(b)));
        }
    }
    let is_amount = |axis: &StudyAxis| matches!(short(&axis.name), "ratio" | "factor");
    let both = axes.iter().filter(|axis| is_amount(axis)).count() == 2;
    axes.sort_by_key(|axis| (!(both && is_amount(axis)), std::cmp::Reverse(axis.values.len())));
    axes
}

/// A cell's value on an axis.
pub fn value_on<'a>(cell: &'a MeasuredCell, axis: &str) -> Option<&'a str> {
    cell.cell.axes.iter().find(|(name, _)| name == axis).map(|(_, value)| value.as_str())
}

/// The last part of a key: `ratio` of `amplification.ratio`.
pub fn short(name: &str) -> &str {
    name.rsplit('.').find(|part| part.parse::<usize>().is_err()).unwrap_or(name)
}
