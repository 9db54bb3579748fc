//! Lines with their bands, colours and dashes, and shaded spans.

/// The colour of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// One of the distinguishable colours, by its number.
    Colour(usize),
    /// Grey, in the background.
    Quiet,
}

impl Stroke {
    /// The classes of lines, fills and bands.
    pub(super) fn classes(self) -> (String, String, String) {
        match self {
            Stroke::Colour(number) => {
                let number = number % super::colour::SERIES;
                (format!("s{number}"), format!("f{number}"), format!("b{number}"))
            }
            Stroke::Quiet => ("quiet-line".into(), "quiet-fill".into(), "quiet-band".into()),
        }
    }
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// The label at the line's end.
    pub name: String,
    /// The points, from left to right; a NaN leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// The band around the line: x, the least and the greatest value.
    pub band: Vec<(f64, f64, f64)>,
    /// The line's colour.
    pub stroke: Stroke,
    /// The line's dashes: `""`, `"dashed"` or `"dotted"`.
    pub dash: &'static str,
}

impl Series {
    /// A line without a band.
    pub fn new(name: &str, stroke: Stroke, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, band: Vec::new(), stroke, dash: "" }
    }

    /// The same line, dashed.
    #[must_use]
    pub fn dashed(self) -> Self {
        Self { dash: "dashed", ..self }
    }
}

/// A shaded part of the horizontal axis.
#[derive(Clone, Debug)]
pub struct Span {
    /// The span's beginning.
    pub from: f64,
    /// The span's end.
    pub to: f64,
    /// The span's label.
    pub label: String,
}
