//! Line charts over epochs or seconds, with bands and shaded spans. Smaller charts below share the horizontal axis.

use super::panel::Panel;
use super::series::{Series, Span, Stroke};
use super::svg::{Anchor, fit, width_of};
use super::{Axis, Chart, Drawing, Scale, Svg};

/// The least distance between the labels of two lines.
const LABEL_STEP: f64 = 13.0;
/// The size of letters by which the width of lines' names is estimated: bold letters are wider than plain ones.
const NAME_SIZE: f64 = 13.2;

/// A small chart below the large one.
#[derive(Clone, Debug)]
pub struct Strip {
    /// The vertical axis.
    pub y: Axis,
    /// The lines, without labels.
    pub series: Vec<Series>,
}

/// A row of bars below the charts, which shows when something was on.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The text behind the row.
    pub name: String,
    /// The spans in which it was on.
    pub spans: Vec<Span>,
    /// The colour.
    pub stroke: Stroke,
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines. The first line is drawn on top.
    pub series: Vec<Series>,
    /// The shaded spans behind the lines.
    pub spans: Vec<Span>,
    /// The small charts below.
    pub strip: Option<Strip>,
    /// The rows of bars.
    pub lanes: (String, Vec<Lane>),
    /// The height of the large chart.
    pub height: f64,
    /// Whether the names of the lines are at their ends.
    pub labelled: bool,
    /// Whether the points of short lines have dots.
    pub has_dots: bool,
}

impl LineChart {
    /// A chart of lines only.
    pub fn new(x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self {
            x,
            y,
            series,
            spans: Vec::new(),
            strip: None,
            lanes: (String::new(), Vec::new()),
            height: 210.0,
            labelled: true,
            has_dots: true,
        }
    }
}

impl Chart for LineChart {
    fn draw(&self, width: f64) -> Drawing {
        let values = |series: &[Series]| -> Vec<f64> {
            let of = |line: &Series| {
                let band = line.band.iter().flat_map(|(_, least, most)| [*least, *most]);
                line.points.iter().map(|(_, y)| *y).chain(band).collect::<Vec<_>>()
            };
            series.iter().flat_map(of).collect()
        };
        let strip_series = self.strip.iter().flat_map(|strip| &strip.series);
        let places = self.series.iter().chain(strip_series).flat_map(|line| line.points.iter());
        let spans = self.spans.iter().flat_map(|span| [span.from, span.to]);
        let xs = self.x.scale(places.map(|(x, _)| *x).chain(spans), (width / 60.0) as usize);
        let ys =
            self.y.scale(values(&self.series).into_iter(), ((self.height / 42.0) as usize).max(3)).rounded();
        let strip = self.strip.as_ref().map(|strip| {
            let scale = strip.y.scale(values(&strip.series).into_iter(), 2);
            (strip, if scale.log { scale } else { scale.rounded() })
        });

        let labels = |scale: &Scale, axis: &Axis| {
            let label = |tick: &f64| width_of(&scale.label(*tick, axis.format), 11.0);
            scale.ticks.iter().map(label).fold(0.0, f64::max)
        };
        let strip_labels = strip.as_ref().map_or(0.0, |(strip, scale)| labels(scale, &strip.y));
        let left = labels(&ys, &self.y).max(strip_labels).min(0.25 * width) + 8.0;
        let names = self.series.iter().map(|line| width_of(&line.name, NAME_SIZE)).fold(0.0, f64::max);
        let names = if self.labelled { names.min(0.36 * width) } else { 4.0 };
        let (x0, x1) = (left, width - names - 10.0);
        let top = 20.0;
        let panel =
            Panel { x: (x0, x1), y: (top, top + self.height), xs: &xs, ys: &ys, has_dots: self.has_dots };

        let mut svg = Svg::default();
        panel.ground(&mut svg, &self.spans, true);
        svg.text(0.0, 10.0, "label", Anchor::Start, &fit(&self.y.label, 11.0, width));
        panel.ticks(&mut svg, &self.y);
        for line in self.series.iter().rev() {
            panel.line(&mut svg, line, (&self.x, &self.y));
        }
        if self.series.iter().all(|line| line.points.iter().all(|(_, y)| ys.place(*y).is_none())) {
            svg.text((x0 + x1) / 2.0, top + self.height / 2.0, "empty", Anchor::Middle, "no values");
        }
        if self.labelled {
            self.names(&mut svg, &panel, names);
        }
        let mut bottom = top + self.height;
        if let Some((strip, ys)) = &strip {
            let y = (bottom + 30.0, bottom + 74.0);
            let panel = Panel { x: (x0, x1), y, xs: &xs, ys, has_dots: false };
            panel.ground(&mut svg, &self.spans, false);
            svg.text(0.0, bottom + 21.0, "label", Anchor::Start, &strip.y.label);
            panel.ticks(&mut svg, &strip.y);
            for line in strip.series.iter().rev() {
                panel.line(&mut svg, line, (&self.x, &strip.y));
            }
            bottom += 74.0;
        }
        bottom = self.lanes(&mut svg, &panel, bottom, names);
        let mut free = f64::NEG_INFINITY;
        for tick in &xs.ticks {
            let label = xs.label(*tick, self.x.format);
            let half = width_of(&label, 11.0) / 2.0;
            if let Some(x) = panel.place_x(*tick).filter(|x| x - half > free) {
                svg.line((x, bottom), (x, bottom + 4.0), "axis");
                svg.text(x, bottom + 15.0, "tick", Anchor::Middle, &label);
                free = x + half + 6.0;
            }
        }
        svg.text((x0 + x1) / 2.0, bottom + 30.0, "label", Anchor::Middle, &self.x.label);
        Drawing { width, height: bottom + 36.0, svg }
    }
}

impl LineChart {
    /// Draws the rows of bars below `bottom`. Returns the y below the rows.
    fn lanes(&self, svg: &mut Svg, panel: &Panel<'_>, bottom: f64, room: f64) -> f64 {
        let (label, lanes) = &self.lanes;
        if lanes.is_empty() {
            return bottom;
        }
        svg.text(0.0, bottom + 21.0, "label", Anchor::Start, label);
        let top = bottom + 28.0;
        for (row, lane) in lanes.iter().enumerate() {
            let (_, fill, _) = lane.stroke.classes();
            let y = top + LABEL_STEP * row as f64;
            svg.line((panel.x.0, y + 5.0), (panel.x.1, y + 5.0), "grid");
            for span in &lane.spans {
                let (Some(from), Some(to)) = (panel.place_x(span.from), panel.place_x(span.to)) else {
                    continue;
                };
                svg.rect(
                    (from, y + 1.0),
                    (to - from, 8.0),
                    &fill,
                    Some(&format!("{}: {}", lane.name, span.label)),
                );
            }
            let name = fit(&lane.name, NAME_SIZE, room + 2.0);
            svg.text(panel.x.1 + 7.0, y + 9.0, &format!("name {fill}"), Anchor::Start, &name);
        }
        let end = top + LABEL_STEP * lanes.len() as f64 + 3.0;
        svg.line((panel.x.0, end), (panel.x.1, end), "axis");
        end
    }

    /// Draws the name of each line at the line's end. Names of lines that end close together are moved apart.
    fn names(&self, svg: &mut Svg, panel: &Panel<'_>, room: f64) {
        let mut names: Vec<(f64, &Series)> = Vec::new();
        for line in &self.series {
            let last = line.points.iter().rev().find_map(|(_, y)| panel.place_y(*y));
            names.extend(last.map(|y| (y, line)));
        }
        names.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (top, bottom) = panel.y;
        let mut places: Vec<f64> = Vec::with_capacity(names.len());
        for (y, _) in &names {
            let free = places.last().map_or(top, |last| last + LABEL_STEP);
            places.push(y.max(free));
        }
        let mut limit = bottom + 4.0;
        for place in places.iter_mut().rev() {
            *place = place.min(limit);
            limit = *place - LABEL_STEP;
        }
        for ((_, line), y) in names.iter().zip(places) {
            let (_, fill, _) = line.stroke.classes();
            let name = fit(&line.name, NAME_SIZE, room + 2.0);
            svg.text(panel.x.1 + 7.0, y + 3.5, &format!("name {fill}"), Anchor::Start, &name);
        }
    }
}
