//! The curves of a range test as text.

use gradamp_study::range_test::RangeTest;
use gradamp_study::rate::rate;
use ratatui::layout::{Alignment, Constraint};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, LegendPosition};

use crate::screen::ascii;
use crate::tui;

/// The columns and rows.
const SIZE: (u16, u16) = (76, 20);

/// Draws the smoothed losses of `tests` over the logarithm of the rate: the first as a line of dots, the second of `*`.
pub fn text(tests: &[RangeTest]) -> String {
    let curves: Vec<Vec<(f64, f64)>> = tests
        .iter()
        .map(|test| {
            let finite = test.points.iter().filter(|point| point.smoothed.is_finite());
            finite.map(|point| (point.lr.log10(), point.smoothed)).collect()
        })
        .collect();
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
    };
    let x = bounds(&mut curves.iter().flatten().map(|(x, _)| *x));
    let y = bounds(&mut curves.iter().flatten().map(|(_, y)| *y));
    if !(x[0] < x[1] && y[0].is_finite() && y[1].is_finite()) {
        return String::new();
    }
    let y = if y[0] < y[1] { y } else { [y[0] - 1.0, y[1] + 1.0] };
    let sets = tests.iter().zip(&curves).enumerate().map(|(i, (test, curve))| {
        let marker = if i == 0 { Marker::Braille } else { Marker::Custom('*') };
        Dataset::default().name(test.name.as_str()).marker(marker).graph_type(GraphType::Line).data(curve)
    });
    let rates = [x[0], (x[0] + x[1]) / 2.0, x[1]].map(|power| rate(10f64.powf(power)));
    let chart = Chart::new(sets.collect())
        .x_axis(
            Axis::default().title("learning rate").bounds(x).labels(rates).labels_alignment(Alignment::Left),
        )
        .y_axis(
            Axis::default()
                .title("smoothed loss")
                .bounds(y)
                .labels([y[0], y[1]].map(|loss| format!("{loss:.3}"))),
        )
        .legend_position(Some(LegendPosition::TopLeft))
        .hidden_legend_constraints((Constraint::Percentage(100), Constraint::Percentage(100)));
    let text = tui::view::text(SIZE, |frame| frame.render_widget(chart, frame.area()));
    match ascii::is_wanted() {
        true => text.chars().map(ascii::nearest).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_curves_and_the_ends_of_the_axes_are_drawn() {
        let mut plain = RangeTest::new("without amplification", 0.0);
        let mut amplified = RangeTest::new("with amplification", 0.0);
        for step in 0..40 {
            let lr = 1e-4 * 10f64.powf(f64::from(step) / 10.0);
            plain.add(lr, 2.0 - f64::from(step) / 40.0);
            amplified.add(lr, 1.9 - f64::from(step) / 50.0);
        }
        let drawn = text(&[plain, amplified]);
        for part in ["without amplification", "with amplification", "*", "2.000", "learning rate", "0.0001"] {
            assert!(drawn.contains(part), "{part} in\n{drawn}");
        }
        assert!(drawn.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{drawn}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 76));
        assert_eq!(text(&[RangeTest::new("empty", 0.0)]), "");
    }
}
