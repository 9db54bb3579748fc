//! Small charts side by side.

use super::svg::{Anchor, fit};
use super::{Chart, ColourScale, Drawing, Svg};

/// The distance between two charts.
const GAP: f64 = 24.0;

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
}

impl Chart for Multiples {
    fn draw(&self, width: f64) -> Drawing {
        let fitting = ((width + GAP) / (self.least + GAP)) as usize;
        let count = fitting.min(self.most).min(self.panels.len()).max(1);
        let each = (width - GAP * (count - 1) as f64) / count as f64;
        let is_headed = self.panels.iter().any(|(heading, _)| !heading.is_empty());
        let head = if is_headed { 22.0 } else { 0.0 };
        let mut svg = Svg::default();
        let mut y = 0.0;
        for row in self.panels.chunks(count) {
            let mut height: f64 = 0.0;
            for (column, (heading, chart)) in row.iter().enumerate() {
                let x = column as f64 * (each + GAP);
                if is_headed {
                    svg.text(x, y + 12.0, "heading", Anchor::Start, &fit(heading, 13.0, each));
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
            let legend = scale.legend(width, self.has_crosses);
            svg.group((0.0, y), (1.0, 1.0), &legend.svg);
            y += legend.height;
        }
        Drawing { width, height: y, svg }
    }
}
