//! The time to target accuracies: the share of runs that arrived, over epochs, and the means.

use super::super::chart::{Axis, Chart, Format, LineChart, Multiples, Series, Stroke, p};
use super::super::compared::capitalised;
use super::super::figure::Figure;
use super::super::html::{Block, Section, Table};
use super::cell::MeasuredCell;
use super::map::{StudyAxis, coordinates};
use crate::compare::{Arrivals, CellAnalysis, SweepAnalysis, Target, TimeUnit};
use crate::sweep::Role;

/// Most cells that are drawn: the best.
const MOST_PANELS: usize = 24;

/// A cell with its target.
type Timed<'a> = (&'a CellAnalysis, &'a Target);

/// The section about the times to each target, whose panels are titled by their values on `axes`; `None` if there is no target and
/// nothing to say.
pub fn section(analysis: &SweepAnalysis, ranked: &[&MeasuredCell], axes: &[StudyAxis]) -> Option<Section> {
    let title = |cell: &CellAnalysis| {
        let measured = ranked.iter().find(|measured| measured.cell.name == cell.cell.name);
        let title = measured.map(|measured| coordinates(measured, axes)).unwrap_or_default();
        if title.is_empty() { cell.cell.name.clone() } else { title }
    };
    let cells: Vec<&CellAnalysis> = ranked
        .iter()
        .filter_map(|measured| analysis.cells.iter().find(|cell| cell.cell.name == measured.cell.name))
        .collect();
    let targets = |cell: &CellAnalysis| cell.against.as_ref().map_or(0, |against| against.targets.len());
    let count = cells.iter().map(|cell| targets(cell)).max().unwrap_or(0);
    let mut blocks: Vec<Block> =
        analysis.notes.iter().map(|note| Block::Notice(format!("{}.", capitalised(note)))).collect();
    for number in 0..count {
        let timed: Vec<Timed<'_>> = cells
            .iter()
            .filter_map(|cell| Some((*cell, cell.against.as_ref()?.targets.get(number)?)))
            .collect();
        if timed.iter().any(|(_, target)| target.is_reached()) {
            blocks.push(Block::Figure(figure(number, &timed, title)));
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
fn named(timed: &[Timed<'_>]) -> String {
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

/// The 95 % band of the same share, between the first arrival and the last.
pub(super) fn band(arrivals: &Arrivals) -> Vec<(f64, f64, f64)> {
    let curve = arrivals.curve();
    let end = curve.steps.last().map_or(0.0, |last| last.time);
    let ends = curve.steps.iter().skip(1).map(|next| next.time).chain([end]);
    let steps = curve.steps.iter().zip(ends);
    let known = steps.filter_map(|(step, end)| Some((step.time, end, step.ci?)));
    known.flat_map(|(from, to, (least, most))| [from, to].map(|at| (at, 1.0 - most, 1.0 - least))).collect()
}

fn figure(number: usize, timed: &[Timed<'_>], title: impl Fn(&CellAnalysis) -> String) -> Figure {
    let end = timed.iter().filter_map(|(_, target)| target.epochs.horizon).fold(0.0, f64::max);
    // Controls are in the table.
    let cells: Vec<&Timed<'_>> = timed.iter().filter(|(cell, _)| cell.cell.role != Role::Control).collect();
    let panel = |(cell, target): &&Timed<'_>| -> (String, Box<dyn Chart>) {
        let line = |name: &str, stroke, arrivals: &Arrivals| Series {
            band: band(arrivals),
            ..Series::new(name, stroke, course(arrivals))
        };
        let mut series = vec![
            line("cell", Stroke::Colour(0), &target.epochs.b),
            line("baseline", Stroke::Quiet, &target.epochs.a),
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
        (chart.height, chart.labelled, chart.has_dots) = (110.0, false, false);
        (title(cell), Box::new(chart))
    };
    let panels: Vec<_> = cells.iter().take(MOST_PANELS).map(panel).collect();
    let left_out = cells.len() - panels.len();
    let chart = Multiples { panels, least: 230.0, most: 4, legend: None, has_crosses: false, dots: None };
    let heading = format!("Share of runs that reached {} by each epoch", named(timed));
    let finding = words(&cells, title);
    let figure = Figure::new(&format!("arrival-{}", number + 1), &heading, finding, chart).broad();
    let more =
        if left_out > 0 { format!(" The {left_out} lowest cells are left out.") } else { String::new() };
    figure.with_note(&format!(
        "Kaplan-Meier curves with their pointwise 95 % bands. Blue: the cell. Grey: its baseline. Further left is sooner, higher is \
         more runs. A band begins at the first arrival and ends where all runs have arrived.{more}"
    ))
}

fn words(timed: &[&Timed<'_>], title: impl Fn(&CellAnalysis) -> String) -> String {
    let sentence = |(cell, target): &&Timed<'_>| {
        let (own, base) = (&target.epochs.b, &target.epochs.a);
        format!(
            "{}: {} of {} runs, its baseline {} of {}",
            title(cell),
            own.arrived.n,
            own.runs,
            base.arrived.n,
            base.runs
        )
    };
    let sentences: Vec<String> = timed.iter().take(3).map(sentence).collect();
    format!("{}.", sentences.join("; "))
}

fn table(timed: &[Timed<'_>], cells: &[&CellAnalysis], analysis: &SweepAnalysis) -> Table {
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
    table.folds = true;
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
