//! A frame with two scales, in which lines and spans are drawn.

use std::fmt::Write;

use super::series::{Series, Span, Stroke};
use super::svg::{Anchor, fit, n, width_of};
use super::{Axis, Scale, Svg};

/// The most points of a line. If there are more than a screen can show, each group of neighbours is replaced by its mean.
const MOST_POINTS: usize = 500;
/// The most points of a line that are drawn with dots.
const MOST_DOTS: usize = 40;
/// A frame with its two scales.
pub struct Panel<'a> {
    /// Left and right.
    pub x: (f64, f64),
    /// Top and bottom.
    pub y: (f64, f64),
    /// The horizontal scale.
    pub xs: &'a Scale,
    /// The vertical scale.
    pub ys: &'a Scale,
    /// Whether points are shown.
    pub has_dots: bool,
}

impl Panel<'_> {
    /// The x coordinate of a value.
    pub fn place_x(&self, value: f64) -> Option<f64> {
        self.xs.place(value).map(|share| self.x.0 + share * (self.x.1 - self.x.0))
    }

    /// The y coordinate of a value.
    pub fn place_y(&self, value: f64) -> Option<f64> {
        self.ys.place(value).map(|share| self.y.1 - share * (self.y.1 - self.y.0))
    }

    /// Draws the shaded spans; with `named`, with their labels.
    pub fn ground(&self, svg: &mut Svg, spans: &[Span], named: bool) {
        for span in spans {
            let (Some(from), Some(to)) = (self.place_x(span.from), self.place_x(span.to)) else { continue };
            svg.rect((from, self.y.0), (to - from, self.y.1 - self.y.0), "shade", Some(&span.label));
            if named && width_of(&span.label, 10.0) + 6.0 < to - from {
                svg.text(f64::midpoint(from, to), self.y.0 + 12.0, "note", Anchor::Middle, &span.label);
            }
        }
    }

    /// Draws the ticks of the vertical axis, with lines across the frame.
    pub fn ticks(&self, svg: &mut Svg, axis: &Axis) {
        for tick in &self.ys.ticks {
            let Some(y) = self.place_y(*tick) else { continue };
            svg.line((self.x.0, y), (self.x.1, y), "grid");
            let label = fit(&self.ys.label(*tick, axis.format), 11.0, self.x.0 - 6.0);
            svg.text(self.x.0 - 6.0, y + 3.8, "tick", Anchor::End, &label);
        }
        svg.line((self.x.0, self.y.1), (self.x.1, self.y.1), "axis");
    }

    /// Draws a line with its band and its dots.
    pub fn line(&self, svg: &mut Svg, line: &Series, (x_axis, y_axis): (&Axis, &Axis)) {
        let (stroke, fill, band) = line.stroke.classes();
        let bounds: Vec<_> = line
            .band
            .iter()
            .filter_map(|(x, least, most)| {
                Some((self.place_x(*x)?, self.place_y(*least)?, self.place_y(*most)?))
            })
            .collect();
        if bounds.len() > 1 {
            let upper = bounds.iter().map(|(x, _, most)| format!("{} {}", n(*x), n(*most)));
            let lower = bounds.iter().rev().map(|(x, least, _)| format!("{} {}", n(*x), n(*least)));
            let around: Vec<String> = upper.chain(lower).collect();
            svg.path(&format!("M{}Z", around.join("L")), &band);
        }
        let points = thinned(&line.points);
        let (mut data, mut pen_is_down) = (String::new(), false);
        for (x, y) in &points {
            match (self.place_x(*x), self.place_y(*y)) {
                (Some(x), Some(y)) => {
                    let _ = write!(data, "{}{} {}", if pen_is_down { 'L' } else { 'M' }, n(x), n(y));
                    pen_is_down = true;
                }
                _ => pen_is_down = false,
            }
        }
        let weight = if line.stroke == Stroke::Quiet { "thin" } else { "line" };
        if data.contains('L') {
            svg.path(&data, format!("{weight} {stroke} {}", line.dash).trim_end());
        }
        if points.len() <= MOST_DOTS && (self.has_dots || points.len() == 1) {
            let radius = if points.len() == 1 { 3.5 } else { 2.2 };
            for (x, y) in &points {
                let (Some(place_x), Some(place_y)) = (self.place_x(*x), self.place_y(*y)) else { continue };
                let (x, y) = (x_axis.format.text(*x), y_axis.format.text(*y));
                let tip = format!("{}: {y} at {} {x}", line.name, x_axis.label);
                svg.dot((place_x, place_y), radius, &fill, Some(&tip));
            }
        }
    }
}

/// Joins neighbouring points, so that at most [`MOST_POINTS`] are left.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / count, y / count)
    };
    points.chunks(group).map(mean).collect()
}
