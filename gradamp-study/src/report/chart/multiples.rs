//! Small charts side by side.

use super::svg::{Anchor, wrap};
use super::{Chart, ColourScale, Drawing, Svg};

/// The distance between two charts.
const GAP: f64 = 24.0;
/// From one line of a heading to the next.
const LINE: f64 = 15.0;
/// The size that headings are measured in: they are bold, which is wider.
const HEADING_SIZE: f64 = 13.2;

/// Charts of one kind, each with a heading. A row holds as many as there is room for.
pub struct Multiples {
    /// Headings and charts.
    pub panels: Vec<(String, Box<dyn Chart>)>,
    /// The least width of a chart that is not alone in its row.
    pub least: f64,
    /// The most charts in a row.
    pub most: usize,
    /// The colour scale of all charts.
    pub legend: Option<ColourScale>,
    /// Whether the legend explains crossed-out cells.
    pub has_crosses: bool,
    /// What a dot on a cell says, if there are dots.
    pub dots: Option<String>,
}

impl Chart for Multiples {
    fn draw(&self, width: f64) -> Drawing {
        let fitting = ((width + GAP) / (self.least + GAP)) as usize;
        let count = fitting.min(self.most).min(self.panels.len()).max(1);
        let each = (width - GAP * (count - 1) as f64) / count as f64;
        let headings: Vec<Vec<String>> =
            self.panels.iter().map(|(heading, _)| wrap(heading, HEADING_SIZE, each)).collect();
        let is_headed = self.panels.iter().any(|(heading, _)| !heading.is_empty());
        let mut svg = Svg::default();
        let mut y = 0.0;
        for (row, headings) in self.panels.chunks(count).zip(headings.chunks(count)) {
            let lines = headings.iter().map(Vec::len).max().unwrap_or(0);
            let head = if is_headed { 7.0 + LINE * lines as f64 } else { 0.0 };
            let mut height: f64 = 0.0;
            for (column, ((_, chart), heading)) in row.iter().zip(headings).enumerate() {
                let x = column as f64 * (each + GAP);
                for (line, text) in heading.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                    // Short headings stand directly above their charts.
                    let below = (lines - heading.len() + line) as f64;
                    svg.text(x, y + 12.0 + LINE * below, "heading", Anchor::Start, text);
                }
                let drawing = chart.draw(each);
                svg.group((x, y + head), (1.0, 1.0), &drawing.svg);
                height = height.max(drawing.height);
            }
            y += height + head + 14.0;
        }
        if self.panels.is_empty() {
            svg.text(width / 2.0, 40.0, "empty", Anchor::Middle, "no values");
            y = 70.0;
        }
        if let Some(scale) = &self.legend {
            let legend = scale.legend(width, self.has_crosses, self.dots.as_deref());
            svg.group((0.0, y), (1.0, 1.0), &legend.svg);
            y += legend.height;
        }
        Drawing { width, height: y, svg }
    }
}
