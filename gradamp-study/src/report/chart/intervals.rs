//! Rows of points with intervals, compared with a reference.

use super::series::Stroke;
use super::svg::{Anchor, fit, width_of};
use super::{Axis, Chart, Drawing, Svg};

/// A row.
#[derive(Clone, Debug)]
pub struct Item {
    /// The label.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The interval around the value.
    pub interval: Option<(f64, f64)>,
    /// The colour.
    pub stroke: Stroke,
    /// The text behind the interval; by default the value.
    pub text: Option<String>,
}

/// A chart of rows, each a point with an interval.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// The horizontal axis.
    pub axis: Axis,
    /// The rows, from top to bottom.
    pub items: Vec<Item>,
    /// The reference: a line through all rows, and the interval around the line.
    pub reference: Option<(f64, Option<(f64, f64)>)>,
}

impl Chart for Intervals {
    fn draw(&self, width: f64) -> Drawing {
        let of = |item: &Item| {
            let (least, most) = item.interval.unwrap_or((item.value, item.value));
            [item.value, least, most]
        };
        let reference = self.reference.iter().flat_map(|(value, around)| {
            let (least, most) = around.unwrap_or((*value, *value));
            [*value, least, most]
        });
        let values = self.items.iter().flat_map(of).chain(reference);
        let (step, size) = if self.items.len() > 40 { (13.0, 9.0) } else { (19.0, 11.0) };
        let text = |item: &Item| item.text.clone().unwrap_or_else(|| self.axis.format.text(item.value));
        let texts: Vec<String> = self.items.iter().map(text).collect();
        let widest = |names: &mut dyn Iterator<Item = &String>, size: f64| {
            names.map(|name| width_of(name, size)).fold(0.0, f64::max)
        };
        let names = widest(&mut self.items.iter().map(|item| &item.name), size);
        let numbers = widest(&mut texts.iter(), size).min(0.3 * width);
        // Names that would take the room of the values stand above their rows.
        let are_above = names > 0.4 * width;
        let (step, x0) = if are_above { (step + size + 3.0, 12.0) } else { (step, names + 12.0) };
        let x1 = width - numbers - 12.0;
        let scale = self.axis.scale(values, ((x1 - x0) / 60.0).max(4.0) as usize).rounded();
        let place = |value: f64| scale.place(value).map(|share| x0 + share * (x1 - x0));
        let (top, bottom) = (6.0, 10.0 + step * self.items.len() as f64);

        let mut svg = Svg::default();
        if let Some((least, most)) = self.reference.and_then(|(_, around)| around)
            && let (Some(from), Some(to)) = (place(least), place(most))
        {
            svg.rect((from, top), (to - from, bottom - top), "quiet-band", None);
        }
        let mut free = f64::NEG_INFINITY;
        for tick in &scale.ticks {
            let label = scale.label(*tick, self.axis.format);
            let half = width_of(&label, 11.0) / 2.0;
            let Some(x) = place(*tick) else { continue };
            svg.line((x, top), (x, bottom), "grid");
            if x - half > free {
                svg.text(x, bottom + 14.0, "tick", Anchor::Middle, &label);
                free = x + half + 6.0;
            }
        }
        if let Some(x) = self.reference.and_then(|(value, _)| place(value)) {
            svg.line((x, top), (x, bottom), "reference");
        }
        for (row, (item, text)) in self.items.iter().zip(&texts).enumerate() {
            let end = top + 4.0 + (row + 1) as f64 * step;
            let y = if are_above { end - 0.6 * size } else { end - 0.5 * step };
            let (stroke, fill, _) = item.stroke.classes();
            let class = if size < 10.0 { "tiny" } else { "" };
            if are_above {
                let name = fit(&item.name, size, width - 2.0);
                svg.text(0.0, y - 0.7 * size, class, Anchor::Start, &name);
            } else {
                svg.text(x0 - 10.0, y + 0.35 * size, class, Anchor::End, &item.name);
            }
            svg.text(width, y + 0.35 * size, class, Anchor::End, &fit(text, size, numbers + 1.0));
            if let Some((least, most)) = item.interval
                && let (Some(from), Some(to)) = (place(least), place(most))
            {
                svg.line((from, y), (to, y), &format!("whisker {stroke}"));
            }
            if let Some(x) = place(item.value) {
                svg.dot((x, y), if size < 10.0 { 2.6 } else { 3.6 }, &fill, Some(&self.tip(item, text)));
            }
        }
        if self.items.is_empty() {
            svg.text(width / 2.0, bottom, "empty", Anchor::Middle, "no values");
        }
        let middle = f64::midpoint(x0, x1);
        svg.text(middle, bottom + 30.0, "label", Anchor::Middle, &fit(&self.axis.label, 11.0, width));
        Drawing { width, height: bottom + 36.0, svg }
    }
}

impl Intervals {
    fn tip(&self, item: &Item, text: &str) -> String {
        match item.interval {
            Some((least, most)) => {
                let (least, most) = (self.axis.format.text(least), self.axis.format.text(most));
                format!("{}: {text}, {least} to {most}", item.name)
            }
            None => format!("{}: {text}", item.name),
        }
    }
}
