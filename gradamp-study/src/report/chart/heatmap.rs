//! Heat maps: tables whose cells are colours.

use std::fmt::Write;

use super::colour::LEVELS;
use super::svg::{Anchor, fit, width_of, wrap};
use super::{Axis, Chart, Drawing, Format, Svg};

/// The most rows and the most columns that are drawn. If there are more, neighbours are joined.
pub const MOST_CELLS: usize = 120;
/// The radius of a dot on a cell.
const DOT: f64 = 2.3;

/// The meaning of the colours of a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hue {
    /// From small to large values.
    Sequential,
    /// Less than, equal to and more than a centre.
    Diverging,
}

/// Assigns colours to values.
#[derive(Clone, Debug)]
pub struct ColourScale {
    /// The quantity and the format of its values.
    pub axis: Axis,
    /// The values of the first and the last colour.
    pub bounds: (f64, f64),
    /// The meaning of the colours.
    pub hue: Hue,
}

impl ColourScale {
    /// A scale from the least to the greatest of `values`.
    pub fn sequential(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let scale = axis.scale(values, 4);
        Self { axis, bounds: (scale.lo, scale.hi), hue: Hue::Sequential }
    }

    /// A scale that contains `values` and extends equally far to both sides of `centre`.
    pub fn diverging(axis: Axis, centre: f64, values: impl Iterator<Item = f64>) -> Self {
        let far = values.filter(|value| value.is_finite()).map(|value| (value - centre).abs());
        let far = far.fold(0.0, f64::max);
        let far = if far > 0.0 { far } else { 1.0 };
        Self { axis, bounds: (centre - far, centre + far), hue: Hue::Diverging }
    }

    /// The number of the colour of `value`; `None` if `value` has no colour.
    pub fn level(&self, value: f64) -> Option<usize> {
        let (lo, hi) = self.bounds;
        let scale = super::Scale { lo, hi, log: self.axis.log, ticks: Vec::new(), step: 1.0 };
        scale.place(value).map(|share| (share * (LEVELS - 1) as f64).round() as usize)
    }

    /// The classes of cells and of the text on them.
    fn classes(&self) -> (&'static str, &'static str) {
        match self.hue {
            Hue::Sequential => ("q", "qi"),
            Hue::Diverging => ("d", "di"),
        }
    }

    /// A bar of all colours with ticks, and what crosses and dots say; `dots` says what a dot on a cell means.
    pub fn legend(&self, width: f64, has_crosses: bool, dots: Option<&str>) -> Drawing {
        let mut svg = Svg::default();
        let bar = 240.0_f64.min(width - 40.0);
        let label = fit(&self.axis.label, 11.0, width);
        svg.text(0.0, 11.0, "label", Anchor::Start, &label);
        let (x0, y) = (12.0, 18.0);
        let step = bar / LEVELS as f64;
        for level in 0..LEVELS {
            let class = format!("{}{level}", self.classes().0);
            svg.rect((x0 + level as f64 * step, y), (step + 0.5, 10.0), &class, None);
        }
        svg.rect((x0, y), (bar, 10.0), "frame", None);
        let (lo, hi) = self.bounds;
        let scale = self.axis.scale([lo, hi].into_iter(), 4);
        let mut free = 0.0;
        for tick in scale.ticks.iter().filter(|tick| (lo..=hi).contains(*tick)) {
            let Some(share) = scale.place(*tick) else { continue };
            let (x, label) = (x0 + share * bar, scale.label(*tick, self.axis.format));
            let half = width_of(&label, 11.0) / 2.0;
            if x - half >= free {
                svg.line((x, y + 10.0), (x, y + 13.0), "axis");
                svg.text(x, y + 24.0, "tick", Anchor::Middle, &label);
                free = x + half + 6.0;
            }
        }
        let mut height = 46.0;
        if has_crosses {
            let beside = x0 + bar + 24.0;
            let at = if beside + 70.0 < width { (beside, y) } else { (x0, y + 34.0) };
            height = f64::max(height, at.1 + 16.0);
            svg.rect(at, (12.0, 10.0), "frame", None);
            svg.line((at.0, at.1 + 10.0), (at.0 + 12.0, at.1), "missing");
            svg.text(at.0 + 18.0, at.1 + 9.0, "tick", Anchor::Start, "none");
        }
        if let Some(dots) = dots {
            let top = height + 4.0;
            svg.rect((x0, top), (12.0, 10.0), "frame", None);
            svg.dot((x0 + 8.5, top + 3.5), DOT, "dot", None);
            let lines = wrap(dots, 11.0, width - x0 - 18.0);
            for (line, text) in lines.iter().enumerate() {
                svg.text(x0 + 18.0, top + 9.0 + 14.0 * line as f64, "tick", Anchor::Start, text);
            }
            height = top + 14.0 * lines.len() as f64 + 4.0;
        }
        Drawing { width, height, svg }
    }
}

/// A heat map.
#[derive(Clone, Debug)]
pub struct Heatmap {
    /// The label of the rows.
    pub row_label: String,
    /// The rows' names, from top to bottom.
    pub rows: Vec<String>,
    /// The label of the columns.
    pub column_label: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// The values of each row. The cell of a NaN is empty.
    pub values: Vec<Vec<f64>>,
    /// The colours.
    pub scale: ColourScale,
    /// The format of the values in the cells, which are written if the cells have room.
    pub text: Option<Format>,
    /// Whether the chart has a legend. Charts side by side share one.
    pub has_legend: bool,
    /// Whether empty cells are crossed out, so that nobody mistakes them for a colour.
    pub crosses_empty: bool,
    /// For each row, which of its cells have a dot; without rows, none has.
    pub dotted: Vec<Vec<bool>>,
}

impl Heatmap {
    /// Joins neighbours, so that at most [`MOST_CELLS`] rows and columns are left. The value of a group is the mean of its
    /// numbers.
    #[must_use]
    pub fn capped(mut self) -> Self {
        if self.rows.len().max(self.columns.len()) > MOST_CELLS {
            self.dotted.clear(); // a mean of cells is not one of them
        }
        let group = self.columns.len().div_ceil(MOST_CELLS);
        if group > 1 {
            self.columns = joined_names(&self.columns, group);
            self.values = self.values.iter().map(|row| row.chunks(group).map(mean).collect()).collect();
        }
        let group = self.rows.len().div_ceil(MOST_CELLS);
        if group > 1 {
            self.rows = joined_names(&self.rows, group);
            let columns = self.columns.len();
            let joined = |rows: &[Vec<f64>]| -> Vec<f64> {
                let column =
                    |c: usize| mean(&rows.iter().filter_map(|row| row.get(c).copied()).collect::<Vec<_>>());
                (0..columns).map(column).collect()
            };
            self.values = self.values.chunks(group).map(joined).collect();
        }
        self
    }

    fn value(&self, row: usize, column: usize) -> f64 {
        self.values.get(row).and_then(|row| row.get(column)).copied().unwrap_or(f64::NAN)
    }

    /// One path for each colour, in units of cells. Neighbouring cells of a row with one colour are one piece of the path.
    fn cells(&self) -> Svg {
        let mut paths = vec![String::new(); LEVELS];
        let mut missing = String::new();
        for row in 0..self.rows.len() {
            let mut column = 0;
            while column < self.columns.len() {
                let level = self.scale.level(self.value(row, column));
                let same = (column..self.columns.len())
                    .take_while(|c| self.scale.level(self.value(row, *c)) == level)
                    .count();
                // Writing to a String cannot fail.
                let _ = match level.and_then(|level| paths.get_mut(level)) {
                    Some(path) => write!(path, "M{column} {row}h{same}v1h-{same}z"),
                    None => {
                        (column..column + same).try_for_each(|c| write!(missing, "M{c} {}l1 -1", row + 1))
                    }
                };
                column += same;
            }
        }
        let mut svg = Svg::default();
        for (level, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            svg.path(path, &format!("cells {}{level}", self.scale.classes().0));
        }
        if !missing.is_empty() && self.crosses_empty {
            svg.path(&missing, "missing");
        }
        svg
    }

    /// Whether any cell has a dot.
    pub fn has_dots(&self) -> bool {
        self.dotted.iter().flatten().any(|is_dotted| *is_dotted)
    }

    /// Whether a cell is crossed out.
    pub fn has_crosses(&self) -> bool {
        self.crosses_empty
            && (0..self.rows.len())
                .any(|row| (0..self.columns.len()).any(|c| self.scale.level(self.value(row, c)).is_none()))
    }
}

impl Chart for Heatmap {
    fn draw(&self, width: f64) -> Drawing {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let mut svg = Svg::default();
        svg.text(0.0, 10.0, "label", Anchor::Start, &fit(&self.row_label, 11.0, width));
        if rows == 0 || columns == 0 {
            svg.text(width / 2.0, 48.0, "empty", Anchor::Middle, "no values");
            return Drawing { width, height: 80.0, svg };
        }
        let is_told = self.text.is_some() && columns <= 24;
        let (height, size, class) = match rows {
            _ if is_told => (26.0, 11.0, "tick"),
            0..=16 => (18.0, 11.0, "tick"),
            17..=72 => (11.0, 9.0, "tiny"),
            _ => (8.0, 9.0, "tiny"),
        };
        let names = self.rows.iter().map(|name| width_of(name, size)).fold(0.0, f64::max).min(0.5 * width);
        let (x0, y0) = (names + 7.0, 18.0);
        let most = if is_told { 74.0 } else { 46.0 };
        let step = ((width - x0 - 4.0) / columns as f64).min(most);
        let (right, bottom) = (x0 + step * columns as f64, y0 + height * rows as f64);
        svg.group((x0, y0), (step, height), &self.cells());
        svg.rect((x0, y0), (right - x0, bottom - y0), "frame", None);

        let every = (size / height).ceil() as usize;
        for (row, name) in self.rows.iter().enumerate().step_by(every.max(1)) {
            let y = y0 + (row as f64 + 0.5) * height + 0.35 * size;
            svg.text(x0 - 5.0, y, class, Anchor::End, &fit(name, size, names + 1.0));
        }
        let bottom = self.column_names(&mut svg, (x0, bottom), step);
        svg.text(x0, bottom + 13.0, "label", Anchor::Start, &fit(&self.column_label, 11.0, width - x0));
        if let Some(format) = self.text.filter(|_| is_told) {
            self.write(&mut svg, format, (x0, y0), (step, height));
        }
        self.dots(&mut svg, (x0, y0), (step, height));
        let mut total = bottom + 18.0;
        if self.has_legend {
            let legend = self.scale.legend(width, self.has_crosses(), None);
            svg.group((0.0, total + 8.0), (1.0, 1.0), &legend.svg);
            total += 8.0 + legend.height;
        }
        Drawing { width, height: total, svg }
    }
}

impl Heatmap {
    /// Draws the names of the columns below the cells, upright if they do not fit side by side. Returns the y below the names.
    fn column_names(&self, svg: &mut Svg, (x0, bottom): (f64, f64), step: f64) -> f64 {
        let longest = self.columns.iter().map(|name| width_of(name, 11.0)).fold(0.0, f64::max);
        let place = |column: usize| x0 + (column as f64 + 0.5) * step;
        let are_numbers = self.columns.iter().all(|name| name.parse::<f64>().is_ok());
        if longest + 6.0 <= step || are_numbers || self.columns.len() > 40 {
            // If the names are numbers and do not all fit, only round numbers are drawn.
            let every = ((longest + 8.0) / step).ceil().max(1.0) as usize;
            let every = [1, 2, 5, 10, 20, 25, 50, 100].into_iter().find(|n| *n >= every).unwrap_or(every);
            let is_shown = |column: &usize| match self.columns[*column].parse::<usize>() {
                Ok(number) if every > 1 => number % every == 0,
                _ => column.is_multiple_of(every),
            };
            for column in (0..self.columns.len()).filter(is_shown) {
                svg.text(place(column), bottom + 13.0, "tick", Anchor::Middle, &self.columns[column]);
            }
            return bottom + 16.0;
        }
        let size = if step < 12.0 { 9.0 } else { 11.0 };
        let length = (longest * size / 11.0).min(150.0);
        let every = (size / step).ceil().max(1.0) as usize;
        for (column, name) in self.columns.iter().enumerate().step_by(every) {
            let name = fit(name, size, length + 2.0);
            let at = bottom + 6.0 + width_of(&name, size) / 2.0;
            let class = if size < 10.0 { "tiny" } else { "tick" };
            svg.upward_text(place(column) + 0.35 * size, at, class, &name);
        }
        bottom + 10.0 + length
    }

    /// Dots in the upper right corners of cells.
    fn dots(&self, svg: &mut Svg, (x0, y0): (f64, f64), (step, height): (f64, f64)) {
        for (row, dotted) in self.dotted.iter().enumerate() {
            for (column, _) in dotted.iter().enumerate().filter(|(_, is_dotted)| **is_dotted) {
                let Some(level) = self.scale.level(self.value(row, column)) else { continue };
                let at = (x0 + (column + 1) as f64 * step - 5.5, y0 + row as f64 * height + 5.5);
                svg.dot(at, DOT, &format!("dot {}{level}", self.scale.classes().1), None);
            }
        }
    }

    /// Draws each value on its cell if the cell has room.
    fn write(&self, svg: &mut Svg, format: Format, (x0, y0): (f64, f64), (step, height): (f64, f64)) {
        for row in 0..self.rows.len() {
            for column in 0..self.columns.len() {
                let value = self.value(row, column);
                let Some(level) = self.scale.level(value) else { continue };
                let text = format.text(value);
                let (size, class) =
                    if width_of(&text, 10.5) + 3.0 <= step { (10.5, "cell") } else { (9.0, "cell small") };
                if width_of(&text, size) * 0.94 > step {
                    continue;
                }
                let (x, y) = (x0 + (column as f64 + 0.5) * step, y0 + (row as f64 + 0.5) * height);
                let class = format!("{class} {}{level}", self.scale.classes().1);
                svg.text(x, y + 0.35 * size, &class, Anchor::Middle, &text);
            }
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    let (sum, count) = values
        .iter()
        .filter(|value| value.is_finite())
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count // NaN without numbers
}

fn joined_names(names: &[String], group: usize) -> Vec<String> {
    let joined = |names: &[String]| match names {
        [first, .., last] => format!("{first}–{last}"),
        [only] => only.clone(),
        [] => String::new(),
    };
    names.chunks(group).map(joined).collect()
}
