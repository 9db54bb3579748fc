//! Charts as SVG text. Every text is escaped, every colour is a CSS class, and every coordinate is finite.
//!
//! A chart is laid out for a given width. A page contains layouts of several widths and shows the one that fits, so that
//! letters keep their size.

pub mod colour;
mod format;
mod heatmap;
mod intervals;
mod lines;
mod multiples;
mod panel;
mod scale;
mod series;
mod svg;
#[cfg(test)]
mod tests;

pub use format::{Format, p, p_in_words, significant};
pub use heatmap::{ColourScale, Heatmap};
pub use intervals::{Intervals, Item};
pub use lines::{Lane, LineChart, Strip};
pub use multiples::Multiples;
pub use scale::{Axis, Scale};
pub use series::{Series, Span, Stroke};
pub use svg::{Svg, escape};

/// The CSS rules of the classes in a drawing. The colours are CSS variables; see [`colour::variables`].
pub const STYLE: &str = include_str!("chart.css");

/// A chart that is laid out: its size, and the text between `<svg>` and `</svg>`.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// The width.
    pub width: f64,
    /// The height, which follows from the width.
    pub height: f64,
    /// The elements.
    pub svg: Svg,
}

/// A chart that can be laid out for any width.
pub trait Chart {
    /// Lays the chart out for `width` units. A unit is a CSS pixel.
    fn draw(&self, width: f64) -> Drawing;
}
