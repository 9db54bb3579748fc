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
}

impl Shown {
    fn value(self, cell: &MeasuredCell) -> f64 {
        match self {
            Shown::Difference => cell.difference().unwrap_or(f64::NAN),
            Shown::Mean => cell.accuracy.mean,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Shown::Difference => format!("{} points", Format::Points.text(value)),
            Shown::Mean => Format::Percent(2).text(value),
        }
    }
}

/// The figures over the axes; none if only the seed differs.
pub fn blocks(cells: &[MeasuredCell], measure: Measure) -> Vec<Block> {
    let axes = axes(cells);
    let studied: Vec<&MeasuredCell> = cells.iter().filter(|cell| cell.cell.role == Role::Cell).collect();
    let has_baseline = studied.iter().any(|cell| cell.against.is_some());
    let shown = if has_baseline { Shown::Difference } else { Shown::Mean };
    match axes.as_slice() {
        [] => Vec::new(),
        [only] => along(only, &studied, shown, measure).into_iter().map(Block::Figure).collect(),
        [a, b, others @ ..] => vec![Block::Figure(over(a, b, others, &studied, shown, measure))],
    }
}

/// Chooses the vertical one of two axes: the ratio if there is one, otherwise the axis with fewer values.
fn ordered<'a>(a: &'a StudyAxis, b: &'a StudyAxis) -> (&'a StudyAxis, &'a StudyAxis) {
    if short(&a.name) == "ratio" { (a, b) } else { (b, a) }
}

fn over(
    a: &StudyAxis,
    b: &StudyAxis,
    others: &[StudyAxis],
    studied: &[&MeasuredCell],
    shown: Shown,
    measure: Measure,
) -> Figure {
    let (rows, columns) = ordered(a, b);
    let values = || studied.iter().map(|cell| shown.value(cell));
    let scale = match shown {
        Shown::Difference => ColourScale::diverging(
            Axis::linear("difference to the baseline, percentage points", Format::Points),
            0.0,
            values(),
        ),
        Shown::Mean => ColourScale::sequential(Axis::linear(measure.name(), Format::Percent(1)), values()),
    };
    let mut combinations: Vec<Vec<&str>> = Vec::new();
    for cell in studied {
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
    let map = |chosen: &Vec<&str>| {
        let cell_at = |row: &String, column: &String| {
            let is_here = |cell: &&&MeasuredCell| {
                value_on(cell, &rows.name) == Some(row)
                    && value_on(cell, &columns.name) == Some(column)
                    && combination(cell, others) == *chosen
            };
            studied.iter().find(is_here)
        };
        let value =
            |row: &String, column: &String| cell_at(row, column).map_or(f64::NAN, |cell| shown.value(cell));
        let is_dotted =
            |row: &String, column: &String| cell_at(row, column).is_some_and(|cell| cell.is_uncertain());
        Heatmap {
            row_label: rows.name.clone(),
            rows: rows.values.clone(),
            column_label: columns.name.clone(),
            columns: columns.values.clone(),
            values: rows
                .values
                .iter()
                .map(|row| columns.values.iter().map(|column| value(row, column)).collect())
                .collect(),
            scale: scale.clone(),
            text: Some(match shown {
                Shown::Difference => Format::Points,
                Shown::Mean => Format::Percent(1),
            }),
            has_legend: false,
            crosses_empty: true,
            dotted: rows
                .values
                .iter()
                .map(|row| columns.values.iter().map(|column| is_dotted(row, column)).collect())
                .collect(),
        }
        .capped()
    };
    let maps: Vec<Heatmap> = combinations.iter().map(map).collect();
    let has_crosses = maps.iter().any(Heatmap::has_crosses);
    let meaning = if shown == Shown::Difference { UNCERTAIN } else { INCOMPLETE };
    let dots = maps.iter().any(Heatmap::has_dots).then(|| meaning.to_owned());
    let title = format!("Accuracy by {} and {}", short(&rows.name), short(&columns.name));
    let words = words(studied, shown);
    let panel = |(combination, map): (&Vec<&str>, Heatmap)| -> (String, Box<dyn Chart>) {
        (titled(others.iter().zip(combination.iter().copied())), Box::new(map))
    };
    let is_alone = maps.len() == 1;
    let panels = combinations.iter().zip(maps).map(panel).collect();
    // A row of maps for all values of the first axis, where there is room.
    let most = others.first().map_or(4, |axis| axis.values.len()).clamp(2, 4);
    let chart = Multiples { panels, least: 250.0, most, legend: Some(scale), has_crosses, dots };
    let figure = Figure::new("map", &title, words, chart);
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
fn along(axis: &StudyAxis, studied: &[&MeasuredCell], shown: Shown, measure: Measure) -> Option<Figure> {
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
