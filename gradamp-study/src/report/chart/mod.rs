//! Charts as SVG: typed values in, text out. Every text is escaped, every colour is a class, every number is finite.
//!
//! A chart is laid out for a width and can be laid out for another: a page shows the layout that fits, instead of shrinking
//! letters along with lines.

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

/// The rules that the classes in a drawing follow; their colours are variables, see [`colour::variables`].
pub const STYLE: &str = include_str!("chart.css");

/// A chart that is laid out: its size, and what goes between `<svg>` and `</svg>`.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// The width it was laid out for.
    pub width: f64,
    /// The height it came to.
    pub height: f64,
    /// The elements.
    pub svg: Svg,
}

/// What can be drawn at a given width.
pub trait Chart {
    /// Lays the chart out for `width` units, a unit being a pixel at the width it is shown at.
    fn draw(&self, width: f64) -> Drawing;
}
