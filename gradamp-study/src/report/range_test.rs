//! The page of a learning-rate range test.

use super::chart::{Axis, Format, LineChart, Series, Stroke, significant};
use super::figure::Figure;
use super::html::{Block, Page, Section};
use super::table::Table;
use crate::range_test::{DIVERGED, RangeTest};
use crate::shell;

/// The page of the tests of one network. `lead` describes the network, the data and the batch.
pub fn range_page(tests: &[RangeTest], lead: &str) -> Page {
    let lines = tests.iter().enumerate().map(|(i, test)| {
        let points = test.points.iter().filter(|point| point.smoothed.is_finite());
        Series::new(&test.name, Stroke::Colour(i), points.map(|point| (point.lr, point.smoothed)).collect())
    });
    let x = Axis::log("learning rate", Format::Number);
    let mut chart = LineChart::new(x, Axis::linear("smoothed loss", Format::Number), lines.collect());
    chart.has_dots = false;
    let mut values = Table::new(
        "Suggested rates",
        &["test", "steepest descent", "a tenth of the minimum", "minimum", "end"],
    );
    for test in tests {
        let rate = |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| significant(rate, 3));
        let found = test.suggestion();
        let end = test.points.last().map_or("no step".to_owned(), |last| {
            let word = if test.has_diverged { "diverged at " } else { "" };
            format!("{word}{}", significant(last.lr, 3))
        });
        values.add(
            &test.name,
            [
                rate(found.map(|found| found.steepest)),
                rate(found.map(|found| found.tenth_of_minimum)),
                rate(found.map(|found| found.minimum)),
                end,
            ],
        );
    }
    let mut steps = Table::new("Losses", &["test", "learning rate", "loss", "smoothed loss"]);
    steps.folds = true;
    for test in tests {
        for point in &test.points {
            steps.add(
                &test.name,
                [point.lr, point.loss, point.smoothed].map(|value| Format::Number.text(value)),
            );
        }
    }
    let finding = tests.iter().map(finding).collect::<Vec<_>>().join(" ");
    let figure = Figure::new("range-test", "Smoothed loss at each learning rate", finding, chart).broad();
    let how = format!(
        "The rate grows exponentially from step to step. The loss is smoothed exponentially, and the test ends where the smoothed \
         loss is not finite or exceeds {DIVERGED} times its lowest value (Smith, WACV 2017). The steepest descent is the rate at \
         which the smoothed loss falls fastest with the logarithm of the rate; it is a usual choice for the highest rate of a \
         training, as is a tenth of the rate of the lowest loss."
    );
    let blocks = vec![
        Block::Figure(figure),
        Block::Table(values),
        Block::Text(how),
        Block::Details("All steps".into(), vec![Block::Table(steps)]),
    ];
    Page {
        title: "Learning-rate range test".into(),
        lead: lead.into(),
        sections: vec![Section::new("range", "Range test", blocks)],
        foot: shell::program_version(),
    }
}

fn finding(test: &RangeTest) -> String {
    let mut name = test.name.clone();
    name.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    match test.suggestion() {
        Some(found) => format!(
            "{name}, the loss falls fastest at {} and is lowest at {}.",
            significant(found.steepest, 3),
            significant(found.minimum, 3)
        ),
        None => format!("{name}, the loss does not fall."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_well_formed_and_names_the_rates_of_each_test() {
        let mut plain = RangeTest::new("without amplification", 0.0);
        for step in 0..30 {
            let lr = 1e-3 * 1.3f64.powi(step);
            plain.add(lr, 3.0 - (lr / 0.1).min(2.0));
        }
        let mut flat = RangeTest::new("with amplification", 0.0);
        flat.add(1e-3, f64::NAN);
        let html = range_page(&[plain.clone(), flat], "a < b & c").html();
        let text = html.split_once('\n').unwrap().1;
        roxmltree::Document::parse(text).unwrap();
        let steepest = significant(plain.suggestion().unwrap().steepest, 3);
        for part in [
            steepest.as_str(),
            "Without amplification, the loss falls fastest at",
            "With amplification, the loss does not fall.",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }
}
