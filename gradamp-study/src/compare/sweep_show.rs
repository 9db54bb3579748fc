//! A sweep's cells and their baselines as a page.

use super::contrast::Contrast;
use super::page::{Form, Page, chance, interval, or_dash, points, signed};
use super::show::{count, effect, warnings};
use super::sweep::{CellComparison, SweepComparison};
use crate::columns::header;
use crate::statistics::Summary;

impl SweepComparison {
    /// The page, for a terminal or in Markdown.
    pub fn page(&self, form: Form) -> String {
        page(self, form)
    }
}

fn page(sweep: &SweepComparison, form: Form) -> String {
    let mut page = Page::new(form);
    page.heading(&format!(
        "{}: {} cells; each cell - its baseline, with 95 % intervals, p corrected by {}",
        sweep.name,
        sweep.cells.len(),
        sweep.correction
    ));
    warnings(&mut page, &sweep.warnings);
    page.heading("Test accuracy at the last epoch, %");
    page.table(&accuracies(sweep, |cell| cell.last, |comparison| Some(&comparison.last)));
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
    if sweep.cells.iter().any(|cell| target_of(cell).is_some()) {
        page.heading("Time to a test accuracy");
        page.table(&times(sweep));
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
    let names = ["cell", "runs", "mean", "sd", "difference", "p", &corrected, "Hedges' g", "seeds needed"];
    let mut rows = vec![header(names)];
    for (name, cell) in in_blocks(sweep) {
        let summary = summary(cell);
        let mut row = vec![
            name,
            runs(cell),
            or_dash(summary, |summary| points(summary.mean)),
            or_dash(summary.and_then(|summary| summary.sd), points),
        ];
        match cell.comparison.as_ref().and_then(contrast) {
            Some(contrast) => row.extend([
                difference(contrast),
                chance(contrast.test.map(|test| test.p)),
                chance(contrast.corrected_p),
                effect(contrast.hedges_g.as_ref()),
                or_dash(contrast.seeds, |seeds| count(seeds.seeds)),
            ]),
            None => row.extend(["", "", "", "", ""].map(str::to_owned)),
        }
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

fn target_of(cell: &CellComparison) -> Option<&super::Target> {
    cell.comparison.as_ref()?.target.as_ref()
}

fn times(sweep: &SweepComparison) -> Vec<Vec<String>> {
    let corrected = format!("p {}", sweep.correction.short());
    let mut rows = vec![header([
        "cell",
        "target, %",
        "arrive",
        "median epochs",
        "median seconds",
        "p of ranks",
        &corrected,
    ])];
    for (name, cell) in in_blocks(sweep) {
        let own = target_of(cell).map(|target| (target, &target.epochs.b, &target.seconds.b));
        // A baseline's arrivals are in the comparisons of its cells.
        let as_baseline = || {
            let target = sweep.against(Some(&cell.name)).find_map(target_of)?;
            Some((target, &target.epochs.a, &target.seconds.a))
        };
        let is_baseline = own.is_none();
        let Some((target, epochs, seconds)) = own.or_else(as_baseline) else { continue };
        let ranks = target.epochs.ranks.filter(|_| !is_baseline).map(|ranks| ranks.p);
        let corrected = target.epochs.corrected_p.filter(|_| !is_baseline);
        rows.push(vec![
            name,
            points(target.accuracy),
            format!("{} of {}", epochs.arrived.n, epochs.runs),
            or_dash(epochs.median, |median| format!("{median:.1}")),
            or_dash(seconds.median, |median| format!("{median:.1}")),
            if is_baseline { String::new() } else { chance(ranks) },
            if is_baseline { String::new() } else { chance(corrected) },
        ]);
    }
    rows
}
