//! The time to target accuracies: the share of runs that arrived, over epochs, and the means.

use super::super::chart::{Axis, Chart, Format, LineChart, Multiples, Series, Stroke, p};
use super::super::compared::capitalised;
use super::super::figure::Figure;
use super::super::html::{Block, Section, Table};
use super::cell::MeasuredCell;
use crate::compare::{Arrivals, CellAnalysis, SweepAnalysis, Target, TimeUnit};

/// Most cells that are drawn: the best.
const MOST_PANELS: usize = 24;

/// The section about the times to each target; `None` if there is no target and nothing to say.
pub fn section(analysis: &SweepAnalysis, ranked: &[&MeasuredCell]) -> Option<Section> {
    let cells: Vec<&CellAnalysis> = ranked
        .iter()
        .filter_map(|measured| analysis.cells.iter().find(|cell| cell.cell.name == measured.cell.name))
        .collect();
    let targets = |cell: &CellAnalysis| cell.against.as_ref().map_or(0, |against| against.targets.len());
    let count = cells.iter().map(|cell| targets(cell)).max().unwrap_or(0);
    let mut blocks: Vec<Block> =
        analysis.notes.iter().map(|note| Block::Notice(format!("{}.", capitalised(note)))).collect();
    for number in 0..count {
        let timed: Vec<(&CellAnalysis, &Target)> = cells
            .iter()
            .filter_map(|cell| Some((*cell, cell.against.as_ref()?.targets.get(number)?)))
            .collect();
        if timed.iter().any(|(_, target)| target.is_reached()) {
            blocks.push(Block::Figure(figure(number, &timed)));
            blocks.push(Block::Table(table(&timed, &cells, analysis)));
        }
    }
    if count > 0 {
        blocks.push(Block::Text(
            "A time is that of the first evaluation with the target accuracy. Runs that never arrive are censored at their last \
             evaluation, runs that diverged at the end of the longest run; none is left out. A mean counts the time up to the common \
             end of both groups for such runs (restricted mean of the Kaplan-Meier curve)."
                .into(),
        ));
    }
    (!blocks.is_empty()).then(|| Section::new("times", "Time to accuracy", blocks))
}

/// The accuracy of a target, and how it was chosen. The cells of different baselines may have different accuracies.
fn named(timed: &[(&CellAnalysis, &Target)]) -> String {
    let Some((_, first)) = timed.first() else { return String::new() };
    let is_one = timed.iter().all(|(_, target)| target.accuracy == first.accuracy);
    match is_one {
        true => format!("{} ({})", Format::Percent(2).text(first.accuracy), first.chosen),
        false => format!("the target ({})", first.chosen),
    }
}

/// The share of runs that have arrived, over epochs: 1 less the Kaplan-Meier estimate.
fn course(arrivals: &Arrivals) -> Vec<(f64, f64)> {
    let (mut points, mut last) = (vec![(0.0, 0.0)], 0.0);
    for step in arrivals.curve().steps {
        points.extend([(step.time, last), (step.time, 1.0 - step.share)]);
        last = 1.0 - step.share;
    }
    let end = arrivals.observations.iter().map(|it| it.time).fold(0.0, f64::max);
    points.push((end, last));
    points.dedup();
    points
}

fn figure(number: usize, timed: &[(&CellAnalysis, &Target)]) -> Figure {
    let end = timed.iter().filter_map(|(_, target)| target.epochs.horizon).fold(0.0, f64::max);
    let panel = |(cell, target): &(&CellAnalysis, &Target)| -> (String, Box<dyn Chart>) {
        let mut series = vec![
            Series::new("cell", Stroke::Colour(0), course(&target.epochs.b)),
            Series::new("baseline", Stroke::Quiet, course(&target.epochs.a)),
        ];
        for line in &mut series {
            // A group that has arrived as a whole stays there.
            if let Some((_, last)) =
                line.points.last().copied().filter(|(time, last)| *last == 1.0 && *time < end)
            {
                line.points.push((end, last));
            }
        }
        let x = Axis::linear("epoch", Format::Whole).including(&[0.0, end]);
        let y = Axis::linear("runs that reached it", Format::Percent(0)).including(&[0.0, 1.0]);
        let mut chart = LineChart::new(x, y, series);
        (chart.height, chart.labelled) = (110.0, false);
        (cell.cell.name.clone(), Box::new(chart))
    };
    let panels: Vec<_> = timed.iter().take(MOST_PANELS).map(panel).collect();
    let left_out = timed.len() - panels.len();
    let chart = Multiples { panels, least: 230.0, most: 4, legend: None, has_crosses: false, dots: None };
    let title = format!("Share of runs that reached {} by each epoch", named(timed));
    let figure = Figure::new(&format!("arrival-{}", number + 1), &title, words(timed), chart).broad();
    let more =
        if left_out > 0 { format!(" The {left_out} lowest cells are left out.") } else { String::new() };
    figure.with_note(&format!(
        "Kaplan-Meier curves. Blue: the cell. Grey: its baseline. Further left is sooner, higher is more runs.{more}"
    ))
}

fn words(timed: &[(&CellAnalysis, &Target)]) -> String {
    let sentence = |(cell, target): &(&CellAnalysis, &Target)| {
        let (own, base) = (&target.epochs.b, &target.epochs.a);
        format!(
            "{}: {} of {} runs, its baseline {} of {}",
            cell.cell.name, own.arrived.n, own.runs, base.arrived.n, base.runs
        )
    };
    let sentences: Vec<String> = timed.iter().take(3).map(sentence).collect();
    format!("{}.", sentences.join("; "))
}

fn table(timed: &[(&CellAnalysis, &Target)], cells: &[&CellAnalysis], analysis: &SweepAnalysis) -> Table {
    let head = [
        "cell",
        "target",
        "reach it",
        "median epochs",
        "mean epochs",
        "to baseline",
        "95 % interval",
        "p, log-rank",
        "corrected p",
        "mean images",
        "mean seconds",
    ];
    let mut table = Table::new(&format!("Time to {}", named(timed)), &head);
    let dash = || "–".to_owned();
    let number = |value: Option<f64>| value.map_or_else(dash, |value| Format::Number.text(value));
    let mut add =
        |name: &str, target: &Target, arrivals: fn(&crate::compare::Contest) -> &Arrivals, is_base: bool| {
            let epochs = arrivals(&target.epochs);
            let mean = |unit| {
                target.contest(unit).and_then(|contest| arrivals(contest).restricted).map(|it| it.mean)
            };
            let contest = (!is_base).then_some(&target.epochs);
            let test = contest.and_then(|contest| contest.restricted);
            let signed = |value: f64| {
                let text = Format::Number.text(value);
                if value > 0.0 { format!("+{text}") } else { text }
            };
            table.add(
                name,
                [
                    Format::Percent(2).text(target.accuracy),
                    format!("{} of {}", epochs.arrived.n, epochs.runs),
                    number(epochs.median),
                    number(mean(TimeUnit::Epochs)),
                    contest.and_then(|contest| contest.difference()).map_or_else(dash, signed),
                    test.map_or_else(dash, |test| format!("{} to {}", signed(test.ci.0), signed(test.ci.1))),
                    contest.and_then(|contest| contest.log_rank).map_or_else(dash, |test| p(test.p)),
                    contest.and_then(|contest| contest.corrected_log_rank_p).map_or_else(dash, p),
                    number(mean(TimeUnit::Images)),
                    number(mean(TimeUnit::Seconds)),
                ],
            );
        };
    for cell in cells {
        let own = timed.iter().find(|(timed, _)| timed.cell.name == cell.cell.name);
        // A baseline's times are in the comparisons of its cells.
        let as_baseline = || timed.iter().find(|(timed, _)| timed.baseline.as_ref() == Some(&cell.cell.name));
        match (own, as_baseline()) {
            (Some((_, target)), _) => add(&cell.cell.name, target, |contest| &contest.b, false),
            (None, Some((_, target))) => add(&cell.cell.name, target, |contest| &contest.a, true),
            (None, None) => {}
        }
    }
    table.caption += &format!("; p corrected by the method of {}", analysis.correction);
    table
}
