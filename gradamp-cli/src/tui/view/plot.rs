//! Draws curves over the steps of a run. The horizontal axis marks the amplified epochs.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::canvas::{Canvas, Line as Stroke, Points};

use super::super::curve::Curve;
use super::super::dashboard::Dashboard;
use super::frame::{FAINT, FIRM, fitted};
use super::numbers::{percent, short};
use super::scale::Scale;

/// The horizontal axis.
#[derive(Debug)]
pub struct EpochAxis<'a> {
    dashboard: &'a Dashboard,
    /// The end, in steps.
    steps: f64,
    /// The end, in epochs; `None` if the length of an epoch is not known.
    epochs: Option<f64>,
}

impl<'a> EpochAxis<'a> {
    /// An axis over the first 1/2ⁿ of the run, in whole epochs. This is the smallest such part that includes all
    /// finished steps.
    pub fn new(dashboard: &'a Dashboard) -> Self {
        let done = dashboard.steps_done().max(1) as f64;
        let Some(per_epoch) = dashboard.steps_per_epoch().map(|steps| steps as f64) else {
            return Self { dashboard, steps: done, epochs: None };
        };
        let done = done / per_epoch;
        let mut epochs = (dashboard.epochs() as f64).max(done.ceil()).max(1.0);
        while epochs / 2.0 >= done && epochs >= 2.0 {
            epochs = (epochs / 2.0).ceil();
            if epochs <= 2.0 {
                break;
            }
        }
        Self { dashboard, steps: epochs * per_epoch, epochs: Some(epochs) }
    }

    /// The epoch in the middle of column `column` of `columns`.
    pub fn epoch(&self, column: u16, columns: u16) -> Option<usize> {
        let share = (f64::from(column) + 0.5) / f64::from(columns.max(1));
        Some((share * self.epochs?) as usize)
    }

    /// The axis as a line. The line is heavy under amplified epochs.
    pub fn rule(&self, columns: u16) -> Line<'static> {
        let heavy = Style::new().fg(Color::Yellow);
        let cell = |column| match self.is_amplified(column, columns) {
            true => Span::styled("━", heavy),
            false => Span::styled("─", FAINT),
        };
        Line::from((0..columns).map(cell).collect::<Vec<_>>())
    }

    /// The labels: the ends of the axis, and what its heavy parts mean.
    pub fn labels(&self, columns: u16) -> Line<'static> {
        let right = match self.epochs {
            Some(epochs) => format!("{epochs:.0} epochs"),
            None => format!("{:.0} steps", self.steps),
        };
        let mut spans = vec![Span::styled("0", FAINT)];
        let mut free = usize::from(columns).saturating_sub(1 + right.len());
        let legend = "━ amplified";
        if free > legend.chars().count() + 2 && (0..columns).any(|column| self.is_amplified(column, columns))
        {
            free -= legend.chars().count();
            spans.push(Span::raw(" ".repeat(free / 2)));
            spans.push(Span::styled(legend, Style::new().fg(Color::Yellow)));
            free -= free / 2;
        }
        spans.push(Span::raw(" ".repeat(free)));
        spans.push(Span::styled(right, FAINT));
        Line::from(spans)
    }

    fn is_amplified(&self, column: u16, columns: u16) -> bool {
        let phase = self.epoch(column, columns).and_then(|epoch| self.dashboard.strategy.phase_at(epoch));
        phase.is_some_and(|(_, phase)| phase.amplify.is_on())
    }
}

/// One curve.
#[derive(Debug)]
pub struct Series<'a> {
    pub name: &'a str,
    pub color: Color,
    pub curve: &'a Curve,
    /// Whether the curve is drawn as dots, with one mean value for each column, instead of a line.
    pub is_dots: bool,
}

impl Series<'_> {
    fn points(&self, columns: u16) -> Vec<(f64, f64)> {
        let points: Vec<(f64, f64)> = self.curve.points().map(|(x, y)| (x, clamped(y))).collect();
        let a_column = points.len().div_ceil(usize::from(columns.max(1)));
        if !self.is_dots || a_column <= 1 {
            return points;
        }
        // The values of single steps scatter so much that they would fill the plot if all of them were drawn.
        let mean = |some: &[(f64, f64)]| {
            let (x, y) = some.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (x / some.len() as f64, y / some.len() as f64)
        };
        points.chunks(a_column).map(mean).collect()
    }
}

/// Curves with axes, a title and the last value of each curve.
#[derive(Debug)]
pub struct Plot<'a> {
    pub title: &'a str,
    pub series: [Series<'a>; 4],
    /// Whether the values are fractions, which are shown as percentages.
    pub is_percent: bool,
    pub x: &'a EpochAxis<'a>,
    /// The range of possible values.
    pub bounds: (f64, f64),
}

impl Plot<'_> {
    pub fn draw(&self, frame: &mut Frame<'_>, area: Rect) {
        let has_labels = area.height >= 7;
        let rows = [
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(u16::from(area.height >= 4)),
            Constraint::Length(u16::from(has_labels)),
        ];
        let [head, middle, rule, labels] = Layout::vertical(rows).areas(area);
        let scale = Scale::over(self.range(middle.width), usize::from(middle.height / 3).max(1), self.bounds);
        frame.render_widget(self.head(&scale, head.width), head);
        if middle.is_empty() {
            return;
        }
        let ticks: Vec<(f64, String)> =
            scale.ticks().map(|value| (value, scale.label(value, self.is_percent))).collect();
        let widest = ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0) as u16;
        let margin = if middle.width >= widest + 12 { widest + 1 } else { 0 };
        let shifted = |row: Rect| Rect { x: row.x + margin, width: row.width - margin, ..row };
        let canvas = shifted(middle);
        if margin > 0 {
            for (value, text) in &ticks {
                let row = scale.row(*value, middle.height);
                let place = Rect { y: middle.y + row, height: 1, width: widest, ..middle };
                frame.render_widget(Line::styled(text.as_str(), FAINT).right_aligned(), place);
            }
        }
        self.curves(frame, canvas, &scale);
        frame.render_widget(self.x.rule(canvas.width), shifted(rule));
        frame.render_widget(self.x.labels(canvas.width), shifted(labels));
    }

    fn head(&self, scale: &Scale, width: u16) -> Line<'_> {
        let lines = self.series.iter().filter(|series| !series.is_dots);
        let mut shown: Vec<&Series<'_>> = lines.filter(|series| series.curve.last().is_some()).collect();
        if shown.is_empty() {
            shown.extend(self.series.iter().filter(|series| series.curve.last().is_some()));
        }
        let value = |series: &&Series<'_>| {
            let last = series.curve.last().map_or("-".into(), |value| self.number(value));
            let name = if width < 48 && series.name == "validation" { "val" } else { series.name };
            Span::styled(format!("{name} {last}"), Style::new().fg(series.color))
        };
        let peak = self.peak(scale).map(|peak| Span::styled(format!("↑ {}", self.number(peak)), FAINT));
        let title = std::iter::once(Span::styled(self.title, FIRM));
        fitted(title.chain(shown.iter().map(value)).chain(peak), width)
    }

    fn number(&self, value: f64) -> String {
        if self.is_percent { percent(value) } else { short(value) }
    }

    fn curves(&self, frame: &mut Frame<'_>, area: Rect, scale: &Scale) {
        let canvas = Canvas::default()
            .marker(Marker::Braille)
            .x_bounds([0.0, self.x.steps])
            .y_bounds([scale.low, scale.high])
            .paint(|context| {
                for series in &self.series {
                    let points = series.points(area.width);
                    let [.., _] = points[..] else { continue };
                    if series.is_dots || points.len() == 1 {
                        context.draw(&Points { coords: &points, color: series.color });
                    }
                    if !series.is_dots {
                        for pair in points.windows(2) {
                            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                            context.draw(&Stroke { x1, y1, x2, y2, color: series.color });
                        }
                    }
                    context.layer(); // each curve is drawn above the curves before it
                }
            });
        frame.render_widget(canvas, area);
    }

    /// The range of values on the vertical axis. Isolated peaks are left out.
    fn range(&self, columns: u16) -> Option<(f64, f64)> {
        let sorted = |is_dots| {
            let series = self.series.iter().filter(|series| series.is_dots == is_dots);
            let mut values: Vec<f64> =
                series.flat_map(|series| series.points(columns)).map(|(_, y)| y).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (lines, dots) = (without_peaks(sorted(false)), without_peaks(sorted(true)));
        let ends = [lines.first(), lines.last(), dots.first(), dots.last()];
        let low = ends.into_iter().flatten().copied().reduce(f64::min)?;
        Some((low, ends.into_iter().flatten().copied().reduce(f64::max)?))
    }

    /// The highest value of a curve; `None` if it is within the vertical axis.
    fn peak(&self, scale: &Scale) -> Option<f64> {
        let lines = self.series.iter().filter(|series| !series.is_dots);
        let highest = lines.flat_map(|series| series.curve.points()).map(|(_, y)| y).reduce(f64::max)?;
        (highest > scale.high).then_some(highest)
    }
}

/// The sorted values without those at the end that are so large that all others would share one row.
fn without_peaks(mut values: Vec<f64>) -> Vec<f64> {
    let Some(&typical) = values.get(values.len() * 3 / 4) else { return values };
    if values.len() >= 4 && typical > 0.0 {
        values.retain(|value| *value <= 4.0 * typical);
    }
    values
}

/// Limits a value to the largest magnitude that is drawn. This is far more than any useful value, but small enough
/// that no difference overflows.
fn clamped(value: f64) -> f64 {
    value.clamp(-1e30, 1e30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_does_not_squeeze_the_other_values_into_one_row() {
        let mut test = Curve::default();
        for (step, loss) in [20.0, 3.0, 2.5, 2.0, 1.5, 1.0].into_iter().enumerate() {
            test.push(step as f64, loss);
        }
        let (step, train, validation) = (Curve::default(), Curve::default(), Curve::default());
        let series = |name, curve, is_dots| Series { name, color: Color::Reset, curve, is_dots };
        let dashboard = Dashboard::default();
        let plot = Plot {
            title: "loss",
            series: [
                series("step", &step, true),
                series("train", &train, false),
                series("validation", &validation, false),
                series("test", &test, false),
            ],
            is_percent: false,
            x: &EpochAxis::new(&dashboard),
            bounds: (0.0, f64::MAX),
        };
        let range = plot.range(80);
        assert_eq!(range, Some((1.0, 3.0)));
        let head = plot.head(&Scale::over(range, 3, plot.bounds), 80).to_string();
        assert_eq!(head, "loss  test 1.00  ↑ 20.0");
    }

    #[test]
    fn the_axis_covers_the_finished_steps_only() {
        use gradamp_core::amplify::{Amplify, LearningRate, Strategy};
        let strategy = Strategy::single(40, LearningRate::constant(0.1), Amplify::Off);
        for (steps, epochs) in [(1, 2.0), (25, 3.0), (51, 10.0), (200, 20.0), (201, 40.0), (400, 40.0)] {
            let mut dashboard = Dashboard::new("run".into(), strategy.clone());
            let line = serde_json::json!({
                "epoch": 0, "step": steps, "phase": 0, "lr": 0.1, "amplified": false, "train_loss": 1.0,
                "train_accuracy": 0.5, "best": true, "images_per_second": 1.0, "seconds": 8.0,
            });
            let mut line: gradamp_study::run_folder::lines::EpochLine = serde_json::from_value(line).unwrap();
            line.epoch = steps as usize / 10;
            dashboard.epoch = Some(line);
            dashboard.record = Some(
                serde_json::from_value(serde_json::json!({
                    "version": "0", "model": "m", "parameters": 1, "steps_per_epoch": 10, "seed": 0, "device": "cpu",
                    "dataset": "shapes", "dataset_checksum": "", "start": "", "outcome": "running", "resumed": [],
                    "expected_gains": [],
                }))
                .unwrap(),
            );
            assert_eq!(EpochAxis::new(&dashboard).epochs, Some(epochs), "{steps}");
        }
    }
}
