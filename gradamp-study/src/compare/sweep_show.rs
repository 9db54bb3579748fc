//! A sweep's cells and their baselines as a page.

use super::arrival::Contest;
use super::contrast::Contrast;
use super::course::TimeUnit;
use super::declared;
use super::page::{Form, Page, chance, interval, or_dash, points, signed};
use super::show::{count, effect, too_few, warnings};
use super::sweep::{CellComparison, SweepComparison};
use super::times_show;
use crate::columns::header;
use crate::statistics::Summary;
use crate::sweep::roles_in_words;

impl SweepComparison {
    /// The page, for a terminal or in Markdown.
    pub fn page(&self, form: Form) -> String {
        page(self, form)
    }
}

fn page(sweep: &SweepComparison, form: Form) -> String {
    let mut page = Page::new(form);
    page.heading(&format!(
        "{}: {}; each cell - its baseline, with 95 % intervals, p corrected by {}",
        sweep.name,
        roles_in_words(sweep.cells.iter().map(|cell| cell.role)),
        sweep.correction
    ));
    warnings(&mut page, &sweep.warnings);
    if !sweep.contrasts.is_empty() {
        declared::show(&mut page, &sweep.contrasts);
        page.line("The tables below ask no declared question: they explore.");
    }
    page.heading("Test accuracy at the last epoch, %");
    page.table(&accuracies(sweep, |cell| cell.last, |comparison| Some(&comparison.last)));
    let tests = sweep.cells.iter().filter_map(|cell| cell.comparison.as_ref()?.last.permutation);
    if let Some(note) =
        tests.min_by(|a, b| a.smallest_p.total_cmp(&b.smallest_p)).and_then(|test| too_few(&test))
    {
        page.line(&note);
    }
    let is_fair = sweep.cells.iter().all(|cell| cell.runs.is_empty() || cell.validation.is_some());
    page.heading(if is_fair {
        "Test accuracy in the epoch that was best on validation, %"
    } else {
        "Test accuracy in the epoch that was best ON TEST, %"
    });
    page.table(&accuracies(sweep, |cell| cell.best, |comparison| comparison.best.as_ref()));
    if let Some(line) = choice(sweep) {
        page.line(&line);
    }
    for (number, chosen) in reached(sweep) {
        page.heading(&format!("Time to a test accuracy ({chosen}); means up to the common end of the runs"));
        page.table(&times(sweep, number));
    }
    page.finish()
}

/// Each baseline followed by its cells, then the cells without a baseline.
fn in_blocks(sweep: &SweepComparison) -> Vec<(String, &CellComparison)> {
    let is_baseline = |name: &str| sweep.cells.iter().any(|cell| cell.baseline.as_deref() == Some(name));
    let mut rows = Vec::new();
    for cell in sweep.against(None) {
        rows.push((cell.name.clone(), cell));
        if is_baseline(&cell.name) {
            rows.extend(sweep.against(Some(&cell.name)).map(|below| (format!("  {}", below.name), below)));
        }
    }
    rows
}

fn runs(cell: &CellComparison) -> String {
    match cell.runs.len() {
        n if n == cell.planned => n.to_string(),
        n => format!("{n} of {}", cell.planned),
    }
}

fn accuracies(
    sweep: &SweepComparison,
    summary: fn(&CellComparison) -> Option<Summary>,
    contrast: fn(&super::Comparison) -> Option<&Contrast>,
) -> Vec<Vec<String>> {
    let corrected = format!("p {}", sweep.correction.short());
    let contrasts = || sweep.cells.iter().filter_map(|cell| contrast(cell.comparison.as_ref()?));
    let has_equivalence = contrasts().any(|contrast| contrast.equivalence.is_some());
    let has_seeds = contrasts().any(|contrast| contrast.seeds.is_some());
    let is_trained = |cell: &CellComparison| cell.trained.is_none_or(|share| share.trained == share.runs);
    let has_untrained = !sweep.cells.iter().all(is_trained);
    let mut names = vec!["cell", "runs"];
    names.extend(has_untrained.then_some("above chance"));
    names.extend(["mean", "sd", "difference", "p", &corrected, "p of flips", &corrected, "Hedges' g"]);
    names.extend(has_equivalence.then_some(["p of equivalence", &corrected]).into_iter().flatten());
    names.extend(has_seeds.then_some("seeds needed"));
    let width = names.len();
    let mut rows = vec![names.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (name, cell) in in_blocks(sweep) {
        let summary = summary(cell);
        let mut row = vec![name, runs(cell)];
        if has_untrained {
            row.push(or_dash(cell.trained, |share| format!("{} of {}", share.trained, share.runs)));
        }
        row.extend([
            or_dash(summary, |summary| points(summary.mean)),
            or_dash(summary.and_then(|summary| summary.sd), points),
        ]);
        if let Some(contrast) = cell.comparison.as_ref().and_then(contrast) {
            row.extend([
                difference(contrast),
                chance(contrast.test.map(|test| test.p)),
                chance(contrast.corrected_p),
                chance(contrast.permutation.map(|test| test.p)),
                chance(contrast.corrected_permutation_p),
                effect(contrast.hedges_g.as_ref()),
            ]);
            if has_equivalence {
                row.push(chance(contrast.equivalence.map(|test| test.p)));
                row.push(chance(contrast.corrected_equivalence_p));
            }
            if has_seeds {
                row.push(or_dash(contrast.seeds, |seeds| count(seeds.seeds)));
            }
        }
        row.resize(width, String::new());
        rows.push(row);
    }
    rows
}

fn difference(contrast: &Contrast) -> String {
    let write = |value: f64| signed(&points(value));
    let ci = contrast.test.map_or(String::new(), |test| format!(" ({})", interval(test.ci, write)));
    format!("{}{ci}", write(contrast.difference))
}

/// Describes the cell with the highest validation accuracy, and its accuracy on the test examples.
fn choice(sweep: &SweepComparison) -> Option<String> {
    let cell = sweep.cells.iter().find(|cell| Some(&cell.name) == sweep.chosen.as_ref())?;
    let (validation, best) = (points(cell.validation?.mean), points(cell.best?.mean));
    let against = cell.comparison.as_ref().and_then(|comparison| comparison.best.as_ref());
    let against =
        against.map_or(String::new(), |best| format!(", {} points against its baseline", difference(best)));
    let name = &cell.name;
    Some(format!(
        "The cell with the best validation accuracy is {name} ({validation} %): {best} % on the test examples{against}."
    ))
}

/// The times of every cell to one target; a baseline's times are in the comparisons of its cells.
fn times(sweep: &SweepComparison, number: usize) -> Vec<Vec<String>> {
    let corrected = format!("p {}", sweep.correction.short());
    let mut rows = vec![header([
        "cell",
        "target, %",
        "arrive",
        "median epochs",
        "mean epochs",
        "difference",
        "p of log-rank",
        &corrected,
        "mean images",
        "mean seconds",
    ])];
    let target_of = |cell: &CellComparison| cell.comparison.as_ref()?.targets.get(number).cloned();
    for (name, cell) in in_blocks(sweep) {
        let own = target_of(cell);
        let is_baseline = own.is_none();
        let Some(target) = own.or_else(|| sweep.against(Some(&cell.name)).find_map(target_of)) else {
            continue;
        };
        let arrivals = |contest: &Contest| if is_baseline { contest.a.clone() } else { contest.b.clone() };
        let epochs = arrivals(&target.epochs);
        let mean = |unit: TimeUnit| {
            let mean = target.contest(unit).and_then(|contest| arrivals(contest).restricted);
            or_dash(mean, |mean| times_show::write(unit, mean.mean))
        };
        let mut row = vec![
            name,
            points(target.accuracy),
            format!("{} of {}", epochs.arrived.n, epochs.runs),
            or_dash(epochs.median, |median| times_show::write(TimeUnit::Epochs, median)),
            mean(TimeUnit::Epochs),
        ];
        if is_baseline {
            row.extend(["", "", ""].map(str::to_owned));
        } else {
            let write = |value: f64| signed(&times_show::write(TimeUnit::Epochs, value));
            let test = target.epochs.restricted;
            let ci = test.map_or(String::new(), |test| format!(" ({})", interval(test.ci, write)));
            row.extend([
                or_dash(target.epochs.difference(), |difference| format!("{}{ci}", write(difference))),
                chance(target.epochs.log_rank.map(|test| test.p)),
                chance(target.epochs.corrected_log_rank_p),
            ]);
        }
        row.extend([mean(TimeUnit::Images), mean(TimeUnit::Seconds)]);
        rows.push(row);
    }
    rows
}

/// The targets that some run reaches, by their numbers.
fn reached(sweep: &SweepComparison) -> Vec<(usize, String)> {
    let targets = |cell: &'_ CellComparison| cell.comparison.as_ref().map_or(0, |it| it.targets.len());
    let count = sweep.cells.iter().map(targets).max().unwrap_or(0);
    let heading = |number: usize| {
        let mut targets = sweep
            .cells
            .iter()
            .filter_map(|cell| cell.comparison.as_ref()?.targets.get(number))
            .filter(|it| it.is_reached());
        targets.next().map(|target| (number, target.chosen.clone()))
    };
    (0..count).filter_map(heading).collect()
}
