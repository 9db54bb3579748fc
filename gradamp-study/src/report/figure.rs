//! A chart with its title and finding, inline in the page or as an SVG file.

use super::chart::colour::{self, Theme};
use super::chart::{Chart, Drawing, STYLE, escape};
use super::table::Table;

/// The layouts of a figure in a page: a class, the width it is laid out for.
const NARROW: (&str, f64) = ("narrow", 330.0);
const MIDDLE: (&str, f64) = ("middle", 640.0);
const BROAD: (&str, f64) = ("broad", 1160.0);

/// A chart with its title and its finding in words, which readers get who cannot see the chart.
pub struct Figure {
    /// The figure's anchor in the page and the name of its file: letters, digits and `-`.
    pub id: String,
    /// The title: what the chart shows.
    pub title: String,
    /// The finding: what the chart says.
    pub finding: String,
    /// A note on how to read the chart, if it needs one.
    pub note: Option<String>,
    /// The chart.
    pub chart: Box<dyn Chart>,
    /// The table of the chart's values.
    pub data: Option<Table>,
    /// Whether the figure takes the page's whole width.
    pub is_broad: bool,
}

impl Figure {
    /// A figure of half the page's width, without values.
    pub fn new(id: &str, title: &str, finding: String, chart: impl Chart + 'static) -> Self {
        let (id, title, chart) = (id.into(), title.into(), Box::new(chart));
        Self { id, title, finding, note: None, chart, data: None, is_broad: false }
    }

    /// The same figure with a table of its values.
    #[must_use]
    pub fn with_data(self, data: Table) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The same figure with a note on how to read it.
    #[must_use]
    pub fn with_note(self, note: &str) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The same figure over the page's whole width.
    #[must_use]
    pub fn broad(self) -> Self {
        Self { is_broad: true, ..self }
    }

    /// The figure as HTML with all layouts. The style of the page shows the layout that fits.
    pub fn html(&self, number: usize) -> String {
        let layouts = if self.is_broad { vec![NARROW, MIDDLE, BROAD] } else { vec![NARROW, MIDDLE] };
        let svgs: String = layouts.iter().map(|layout| self.inline(*layout)).collect();
        let class = if self.is_broad { "figure broad-figure" } else { "figure" };
        let note = self.note.as_ref().map(|note| format!("<p class=\"how\">{}</p>", escape(note)));
        let data = self.data.as_ref().map(|table| {
            format!("<details><summary>Values of figure {number}</summary>{}</details>", table.html())
        });
        format!(
            "<figure class=\"{class}\" id=\"figure-{}\">\n<figcaption><h3><span class=\"number\">Figure {number}</span> {}</h3><p>{}</p></figcaption>\n<div class=\"drawing{}\">{svgs}</div>\n{}{}</figure>\n",
            self.id,
            escape(&self.title),
            escape(&self.finding),
            if self.is_broad { " has-broad" } else { "" },
            note.unwrap_or_default(),
            data.unwrap_or_default(),
        )
    }

    /// A complete SVG file with its own style, on a light background. Every colour is written out, because many programs that
    /// read SVG know no variables of CSS.
    pub fn file(&self) -> String {
        let (_, width) = if self.is_broad { BROAD } else { MIDDLE };
        let Drawing { width, height, svg } = self.chart.draw(width);
        let (edge, title) = (16.0, 26.0);
        let (full_width, full_height) = (width + 2.0 * edge, height.ceil() + title + 2.0 * edge);
        let style = format!("{STYLE}.ground{{fill:var(--surface)}}{}", colour::classes());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full_width} {full_height}\" width=\"{full_width}\" height=\"{full_height}\" {}>\n{}\n<style>{}</style>\n<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n<g transform=\"translate({edge} {edge})\"><text x=\"0\" y=\"12\" style=\"font-size:14px;font-weight:600\">{}</text>\n<g transform=\"translate(0 {title})\">{}</g></g>\n</svg>\n",
            self.labels(""),
            self.texts(""),
            colour::resolved(&style, Theme::Light),
            escape(&self.title),
            svg.as_str(),
        )
    }

    fn inline(&self, (layout, width): (&str, f64)) -> String {
        let Drawing { width, height, svg } = self.chart.draw(width);
        format!(
            "<svg class=\"{layout}\" viewBox=\"0 0 {width} {}\" {}>{}\n{}</svg>",
            height.ceil(),
            self.labels(layout),
            self.texts(layout),
            svg.as_str()
        )
    }

    fn labels(&self, layout: &str) -> String {
        let id = &self.id;
        format!("role=\"img\" aria-labelledby=\"{id}-{layout}-title {id}-{layout}-desc\"")
    }

    fn texts(&self, layout: &str) -> String {
        let (id, title, finding) = (&self.id, escape(&self.title), escape(&self.finding));
        format!(
            "<title id=\"{id}-{layout}-title\">{title}</title><desc id=\"{id}-{layout}-desc\">{finding}</desc>"
        )
    }
}
