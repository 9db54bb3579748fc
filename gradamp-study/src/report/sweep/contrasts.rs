//! The contrasts that the study declares, with their results.

use super::super::chart::{Axis, Format, Intervals, Item, Stroke};
use super::super::figure::Figure;
use super::super::html::{Block, Cell, Table};
use crate::compare::{Conclusion, ContrastResult, SweepAnalysis, contrast_table};
use crate::sweep::{Measure, SweepData};

/// The results; empty if the study declares no contrast.
pub fn blocks(sweep: &SweepData, analysis: &SweepAnalysis) -> Vec<Block> {
    let (results, notes) = ContrastResult::all(&sweep.plan, &analysis.cells);
    if results.is_empty() {
        return Vec::new();
    }
    let mut blocks: Vec<Block> = notes.into_iter().map(|note| Block::Notice(format!("{note}."))).collect();
    blocks.extend(intervals(&results).map(Block::Figure));
    let rows = contrast_table(&results);
    let head: Vec<&str> = rows[0].iter().map(|name| name.trim()).collect();
    let mut table = Table::new("Declared contrasts", &head);
    for row in &rows[1..] {
        let cell = |(column, text): (usize, &String)| match column {
            0 | 1 | 9 => Cell::Text(text.trim().to_owned()),
            _ => Cell::Number(text.trim().to_owned()),
        };
        table.rows.push(row.iter().enumerate().map(cell).collect());
    }
    blocks.push(Block::Table(table));
    blocks.push(Block::Text(
        "A and B are means over cells, seed by seed, and the tests compare pairs of seeds: B are the contrast's cells, A the cells that \
         they are compared with. p-values are corrected by Holm's method over all tests of this table, those of equivalence among \
         themselves; p of sign flips is not corrected. A run that diverged counts as a run at chance that reaches no target. The tables \
         of cells below ask no declared question: they explore."
            .into(),
    ));
    blocks
}

/// The differences of accuracies with their intervals; `None` if no contrast compares accuracies.
fn intervals(results: &[ContrastResult]) -> Option<Figure> {
    let is_accuracy =
        |result: &&ContrastResult| matches!(result.planned.measure, Measure::Last | Measure::Best);
    let shown: Vec<&ContrastResult> = results.iter().filter(is_accuracy).collect();
    let item = |result: &&ContrastResult| {
        let comparison = result.comparison.as_ref()?;
        let stroke = match result.conclusion {
            Conclusion::Larger => Stroke::Colour(0),
            Conclusion::Smaller => Stroke::Colour(1),
            Conclusion::Equivalent | Conclusion::Undecided => Stroke::Quiet,
        };
        Some(Item {
            name: result.title(),
            value: comparison.difference,
            interval: comparison.test.map(|test| test.ci),
            stroke,
            text: Some(Format::Points.text(comparison.difference)),
        })
    };
    let items: Vec<Item> = shown.iter().filter_map(item).collect();
    if items.is_empty() {
        return None;
    }
    let mut margins = shown.iter().map(|result| result.planned.smallest_difference);
    let first = margins.next().flatten();
    let margin = first.filter(|_| margins.all(|margin| margin == first));
    let count = |conclusion| shown.iter().filter(|result| result.conclusion == conclusion).count();
    let words = format!(
        "Of {} contrasts of accuracies, {} show B above A, {} B below A, {} equivalence.",
        shown.len(),
        count(Conclusion::Larger),
        count(Conclusion::Smaller),
        count(Conclusion::Equivalent)
    );
    let chart = Intervals {
        axis: Axis::linear("B - A, points", Format::Points),
        items,
        reference: Some((0.0, margin.map(|margin| (-margin, margin)))),
    };
    let band = if margin.is_some() { ", the band the smallest difference of interest" } else { "" };
    let note = format!(
        "Points are differences, bars their 95 % intervals, not corrected; the dotted line is no difference{band}."
    );
    Some(
        Figure::new("contrast-intervals", "Differences of the declared contrasts", words, chart)
            .broad()
            .with_note(&note),
    )
}
