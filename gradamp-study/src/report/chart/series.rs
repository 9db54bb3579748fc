//! Lines with their bands and looks, and shaded spans.

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// One of the colours that are told apart.
    Colour(usize),
    /// In the background.
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
    /// What is written at its end.
    pub name: String,
    /// Its points, from left to right; what is no number leaves a gap.
    pub points: Vec<(f64, f64)>,
    /// Around it: place, least, greatest.
    pub band: Vec<(f64, f64, f64)>,
    /// Its colour.
    pub stroke: Stroke,
    /// `""`, `"dashed"` or `"dotted"`.
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
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// What it is.
    pub label: String,
}
