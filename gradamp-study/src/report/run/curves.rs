//! Accuracy and loss over epochs with the learning rate below, and accuracy over time.

use super::super::chart::{Axis, Format, Lane, LineChart, Series, Span, Strip, Stroke};
use super::super::figure::Figure;
use super::super::html::{Block, Table};
use super::super::subject::{Subject, spans_in_words};
use crate::rate::rate;
use crate::run_folder::lines::EpochLine;

type Value = fn(&EpochLine) -> Option<f64>;

const TEST: Value = |line| line.test_accuracy;
const VALIDATION: Value = |line| line.validation_accuracy;
const TRAIN: Value = |line| Some(line.train_accuracy);
const TEST_LOSS: Value = |line| line.test_loss;
const VALIDATION_LOSS: Value = |line| line.validation_loss;
const TRAIN_LOSS: Value = |line| Some(line.train_loss);

/// The figures of one run.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let mut blocks = Vec::new();
    let data = super::super::html::Block::Figure;
    let accuracy = LineChart::new(
        epochs_axis(),
        Axis::linear("accuracy", Format::Percent(1)),
        splits(run, [TEST, VALIDATION, TRAIN]),
    );
    blocks.push(data(
        Figure::new("accuracy", "Accuracy and learning rate", accuracy_in_words(run), shaded(accuracy, run))
            .with_data(table(run)),
    ));
    let losses = splits(run, [TEST_LOSS, VALIDATION_LOSS, TRAIN_LOSS]);
    let axis = loss_axis(&losses);
    let note = if axis.log { "The loss is on a logarithmic scale." } else { "The loss is cross-entropy." };
    let loss = LineChart::new(epochs_axis(), axis, losses);
    blocks.push(data(
        Figure::new("loss", "Loss and learning rate", loss_in_words(run), shaded(loss, run)).with_note(note),
    ));
    blocks
}

/// The figures of several runs: all runs in one chart.
pub fn blocks_of_runs(runs: &[Subject]) -> Vec<Block> {
    let over = |x: fn(&EpochLine) -> f64, value: Value| -> Vec<Series> {
        let line = |(i, run): (usize, &Subject)| {
            let points = run.data.epochs.iter().filter_map(|line| Some((x(line), value(line)?)));
            Series::new(&run.name, Stroke::Colour(i), points.collect())
        };
        runs.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
    };
    let epoch: fn(&EpochLine) -> f64 = |line| (line.epoch + 1) as f64;
    let ends = |value: Value| -> String {
        let end = |run: &Subject| {
            let last = run.data.epochs.iter().rev().find_map(|line| Some((line.epoch, value(line)?)));
            last.map(|(epoch, value)| {
                format!("{} ends at {} (epoch {})", run.name, Format::Percent(1).text(value), epoch + 1)
            })
        };
        let ends: Vec<String> = runs.iter().filter_map(end).collect();
        if ends.is_empty() { "No epoch was evaluated yet.".into() } else { format!("{}.", ends.join("; ")) }
    };
    let rates = runs.iter().enumerate().map(|(i, run)| Series::new(&run.name, Stroke::Colour(i), rates(run)));
    let strip = Strip { y: rate_axis(), series: rates.collect() };
    let accuracy = Axis::linear("test accuracy", Format::Percent(1));
    let mut chart = LineChart::new(epochs_axis(), accuracy.clone(), over(epoch, TEST));
    chart.strip = Some(strip);
    let lane = |(i, run): (usize, &Subject)| Lane {
        name: run.name.clone(),
        spans: amplified(run),
        stroke: Stroke::Colour(i),
    };
    chart.lanes = ("amplified epochs".into(), runs.iter().enumerate().map(lane).collect());
    let note = runs.iter().map(|run| format!("{}: {}", run.name, amplified_in_words(run)));
    let note = note.collect::<Vec<_>>().join(" ");
    let mut figures = vec![
        Figure::new("test-accuracy", "Test accuracy and learning rate", ends(TEST), chart)
            .with_note(&note)
            .with_data(overlay_table(runs)),
    ];
    if runs.iter().any(|run| run.data.epochs.iter().any(|line| line.validation_accuracy.is_some())) {
        let axis = Axis::linear("validation accuracy", Format::Percent(1));
        let chart = LineChart::new(epochs_axis(), axis, over(epoch, VALIDATION));
        figures.push(Figure::new("validation-accuracy", "Validation accuracy", ends(VALIDATION), chart));
    }
    let losses = over(epoch, TRAIN_LOSS);
    let axis = Axis { label: "training loss".into(), ..loss_axis(&losses) };
    let last = |run: &Subject| {
        let loss = run.data.epochs.last().map_or(f64::NAN, |line| line.train_loss);
        format!("{} ends at {}", run.name, Format::Number.text(loss))
    };
    let words = format!("{}.", runs.iter().map(last).collect::<Vec<_>>().join("; "));
    figures.push(Figure::new(
        "train-loss",
        "Training loss",
        words,
        LineChart::new(epochs_axis(), axis, losses),
    ));
    let chart = LineChart::new(
        Axis::linear("time since the beginning", Format::Seconds).including(&[0.0]),
        accuracy,
        over(|line| line.total_seconds, TEST),
    );
    let took = |run: &Subject| {
        let seconds = run.data.epochs.last().map_or(0.0, |line| line.total_seconds);
        format!("{} took {}", run.name, Format::Seconds.text(seconds))
    };
    let words = format!("{}.", runs.iter().map(took).collect::<Vec<_>>().join("; "));
    figures.push(
        Figure::new("accuracy-over-time", "Test accuracy over time", words, chart)
            .with_note("Times are comparable only if the runs had the same machine to themselves."),
    );
    figures.into_iter().map(Block::Figure).collect()
}

fn epochs_axis() -> Axis {
    Axis::linear("epoch", Format::Whole).including(&[0.0])
}

fn rate_axis() -> Axis {
    Axis::linear("learning rate", Format::Number).including(&[0.0])
}

/// The axis of the loss. It is logarithmic if the loss falls by a large factor: a linear axis would flatten the later epochs.
fn loss_axis(lines: &[Series]) -> Axis {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, loss)| *loss));
    let finite = || values().filter(|loss| loss.is_finite() && *loss > 0.0);
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
    if most > 8.0 * least { Axis::log("loss", Format::Number) } else { Axis::linear("loss", Format::Number) }
}

fn splits(run: &Subject, [test, validation, train]: [Value; 3]) -> Vec<Series> {
    let line = |name: &str, stroke, value: Value| {
        let points = run.data.epochs.iter().filter_map(|line| Some(((line.epoch + 1) as f64, value(line)?)));
        Series::new(name, stroke, points.collect())
    };
    let lines = [
        line("test", Stroke::Colour(0), test),
        line("validation", Stroke::Colour(1), validation),
        line("training", Stroke::Quiet, train).dashed(),
    ];
    lines.into_iter().filter(|line| !line.points.is_empty()).collect()
}

/// Adds the amplified phases behind `chart` and the learning rate below.
fn shaded(mut chart: LineChart, run: &Subject) -> LineChart {
    chart.spans = amplified(run);
    let rate = Series::new("learning rate", Stroke::Colour(3), rates(run));
    chart.strip = Some(Strip { y: rate_axis(), series: vec![rate] });
    chart
}

/// The amplified epochs, to be shaded.
pub(super) fn amplified(run: &Subject) -> Vec<Span> {
    let span =
        |(from, to): (usize, usize)| Span { from: from as f64, to: to as f64, label: "amplified".into() };
    run.amplified_spans().into_iter().map(span).collect()
}

/// The learning rate of every logged step.
fn rates(run: &Subject) -> Vec<(f64, f64)> {
    let data = &run.data;
    let per_epoch = data.epochs.first().map_or(0, |line| line.step / (line.epoch as u64 + 1));
    if per_epoch > 0 && data.steps.len() > data.epochs.len() {
        return data.steps.iter().map(|step| (step.step as f64 / per_epoch as f64, step.lr)).collect();
    }
    data.epochs.iter().map(|line| ((line.epoch + 1) as f64, line.lr)).collect()
}

fn amplified_in_words(run: &Subject) -> String {
    match spans_in_words(&run.amplified_spans()) {
        none if none.is_empty() => "amplification was off.".into(),
        spans => format!("amplification was on in epochs {spans}."),
    }
}

fn accuracy_in_words(run: &Subject) -> String {
    let percent = |value: f64| Format::Percent(1).text(value);
    let tested: Vec<(usize, f64)> =
        run.data.epochs.iter().filter_map(|line| Some((line.epoch + 1, line.test_accuracy?))).collect();
    let course = match tested.as_slice() {
        [] => "No epoch was evaluated yet".to_owned(),
        [(epoch, only)] => format!("Test accuracy is {} after epoch {epoch}", percent(*only)),
        [(first, from), .., (last, to)] => format!(
            "Test accuracy went from {} after epoch {first} to {} after epoch {last}",
            percent(*from),
            percent(*to)
        ),
    };
    format!("{course}; {}", amplified_in_words(run))
}

fn loss_in_words(run: &Subject) -> String {
    let number = |value: f64| Format::Number.text(value);
    let (Some(first), Some(last)) = (run.data.epochs.first(), run.data.epochs.last()) else {
        return "No epoch is done yet.".into();
    };
    let test = last.test_loss.map(|loss| format!(", the test loss ends at {}", number(loss)));
    format!(
        "Training loss went from {} to {}{}.",
        number(first.train_loss),
        number(last.train_loss),
        test.unwrap_or_default()
    )
}

fn table(run: &Subject) -> Table {
    let head = [
        "epoch",
        "learning rate",
        "amplified",
        "train loss",
        "train",
        "validation loss",
        "validation",
        "test loss",
        "test",
    ];
    let mut table = Table::new("Each epoch", &head);
    let number = |value: Option<f64>| Format::Number.text(value.unwrap_or(f64::NAN));
    let percent = |value: Option<f64>| Format::Percent(2).text(value.unwrap_or(f64::NAN));
    for line in &run.data.epochs {
        let cells = [
            rate(line.lr),
            if line.amplified { "yes" } else { "no" }.into(),
            number(Some(line.train_loss)),
            percent(Some(line.train_accuracy)),
            number(line.validation_loss),
            percent(line.validation_accuracy),
            number(line.test_loss),
            percent(line.test_accuracy),
        ];
        table.add(&(line.epoch + 1).to_string(), cells);
    }
    table
}

fn overlay_table(runs: &[Subject]) -> Table {
    let names = runs.iter().map(|run| run.name.clone());
    let mut table = Table::new("Test accuracy after each epoch", &["epoch"]);
    table.head.extend(names);
    let epochs = runs.iter().map(Subject::epochs).max().unwrap_or(0);
    for epoch in 0..epochs {
        let of = |run: &Subject| {
            let line = run.data.epochs.iter().find(|line| line.epoch == epoch);
            Format::Percent(2).text(line.and_then(|line| line.test_accuracy).unwrap_or(f64::NAN))
        };
        table.add(&(epoch + 1).to_string(), runs.iter().map(of));
    }
    table
}
