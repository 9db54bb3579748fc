//! The accuracy of each class, and the confusion matrix.

use super::super::chart::{Axis, Chart, ColourScale, Format, Heatmap, Intervals, Item, Multiples, Stroke};
use super::super::figure::Figure;
use super::super::html::{Block, Cell, Table};
use super::super::subject::Subject;
use crate::run_folder::lines::EvaluationLine;

/// The most classes whose accuracies are drawn. If there are more, only the worst and the best are drawn.
const MOST_CLASSES: usize = 30;
/// The most classes for which the cells contain the shares.
const MOST_WRITTEN: usize = 12;
/// The number of listed mistakes.
const MISTAKES: usize = 15;

/// The evaluation on the test examples that is shown: after the best epoch, or the last evaluation if there is none.
fn evaluation(run: &Subject) -> Option<&EvaluationLine> {
    let best = run.chosen().and_then(|epoch| run.data.evaluation("test", epoch.epoch));
    best.or_else(|| run.data.evaluations.iter().rev().find(|line| line.split == "test"))
}

/// The figures of one run.
pub fn blocks_of_run(run: &Subject) -> Vec<Block> {
    let Some(evaluation) = evaluation(run) else {
        return vec![Block::Text("No epoch was evaluated on the test examples yet.".into())];
    };
    let classes = Classes::new(run, evaluation);
    let matrix = classes.matrix(&scale());
    let matrix = Heatmap { has_legend: true, ..matrix };
    let matrix = Figure::new("confusion", "Confusion matrix", classes.confusion_in_words(), matrix)
        .with_note("Rows are the true classes and add up to 100 %.")
        .with_data(classes.mistakes());
    vec![Block::Figure(classes.accuracy_figure()), Block::Figure(matrix)]
}

/// The figures of several runs: differences class by class, and matrices side by side.
pub fn blocks_of_runs(runs: &[Subject]) -> Vec<Block> {
    let all: Vec<(&Subject, Classes)> = runs
        .iter()
        .filter_map(|run| evaluation(run).map(|evaluation| (run, Classes::new(run, evaluation))))
        .collect();
    if all.is_empty() {
        return vec![Block::Text("No epoch was evaluated on the test examples yet.".into())];
    }
    let mut blocks = Vec::new();
    if let [(a, first), rest @ ..] = all.as_slice() {
        for (b, second) in rest.iter().filter(|(_, second)| second.names == first.names) {
            blocks.push(Block::Figure(first.difference(a, second, b)));
        }
    }
    let scale = scale();
    let panel = |(run, classes): &(&Subject, Classes)| -> (String, Box<dyn Chart>) {
        (format!("{}, epoch {}", run.name, classes.epoch), Box::new(classes.matrix(&scale)))
    };
    let panels = all.iter().map(panel).collect();
    let words = all.iter().map(|(run, classes)| format!("{}: {}", run.name, classes.confusion_in_words()));
    let words = words.collect::<Vec<_>>().join(" ");
    let chart = Multiples {
        panels,
        least: 420.0,
        most: 2,
        legend: Some(scale.clone()),
        has_crosses: false,
        dots: None,
    };
    let figure = Figure::new("confusion", "Confusion matrices", words, chart)
        .with_note("Rows are the true classes and add up to 100 %.");
    blocks.push(Block::Figure(figure.broad()));
    blocks
}

fn scale() -> ColourScale {
    let axis = Axis::linear("share of the true class", Format::Percent(0));
    ColourScale::sequential(axis, [0.0, 1.0].into_iter())
}

/// One evaluation, class by class.
struct Classes {
    /// The epoch, from 1.
    epoch: usize,
    names: Vec<String>,
    /// Rows: true classes.
    confusion: Vec<Vec<u64>>,
}

impl Classes {
    fn new(run: &Subject, evaluation: &EvaluationLine) -> Self {
        let known = &run.data.record.classes;
        let name = |class: usize| known.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
        let names = (0..evaluation.confusion.len()).map(name).collect();
        Self { epoch: evaluation.epoch + 1, names, confusion: evaluation.confusion.clone() }
    }

    fn examples(&self, class: usize) -> u64 {
        self.confusion[class].iter().sum()
    }

    fn share(&self, class: usize, taken_for: usize) -> f64 {
        let count = self.confusion[class].get(taken_for).copied().unwrap_or(0);
        count as f64 / self.examples(class) as f64 // NaN for a class without examples
    }

    fn right(&self, class: usize) -> f64 {
        self.share(class, class)
    }

    fn total(&self) -> f64 {
        let right: u64 = (0..self.names.len()).map(|class| self.confusion[class][class]).sum();
        right as f64 / self.confusion.iter().flatten().sum::<u64>() as f64
    }

    fn accuracy_figure(&self) -> Figure {
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|a, b| self.right(*b).total_cmp(&self.right(*a)));
        let middle = MOST_CLASSES / 2;
        let is_drawn =
            |place: usize| order.len() <= MOST_CLASSES || place < middle || place + middle >= order.len();
        let item = |class: usize| Item {
            name: self.names[class].clone(),
            value: self.right(class),
            interval: wilson(self.confusion[class][class], self.examples(class)),
            stroke: Stroke::Colour(0),
            text: None,
        };
        let drawn = order.iter().enumerate().filter(|(place, _)| is_drawn(*place));
        let chart = Intervals {
            axis: Axis::linear("test accuracy", Format::Percent(1)).including(&[0.0]),
            items: drawn.map(|(_, class)| item(*class)).collect(),
            reference: Some((self.total(), None)),
        };
        let mut table =
            Table::new("Accuracy of each class", &["class", "examples", "accuracy", "95 % interval"]);
        for &class in &order {
            let item = item(class);
            let percent = |value| Format::Percent(1).text(value);
            let interval = item
                .interval
                .map_or("–".into(), |(least, most)| format!("{} to {}", percent(least), percent(most)));
            table.add(&item.name, [self.examples(class).to_string(), percent(item.value), interval]);
        }
        let percent = |class: &usize| {
            format!("{} ({})", self.names[*class], Format::Percent(1).text(self.right(*class)))
        };
        let words = match (order.first(), order.last()) {
            (Some(best), Some(worst)) => format!(
                "After epoch {}, {} is found best and {} worst; all together {} (dotted).",
                self.epoch,
                percent(best),
                percent(worst),
                Format::Percent(1).text(self.total())
            ),
            _ => "There are no classes.".into(),
        };
        let note = if order.len() > MOST_CLASSES {
            "Bars are 95 % intervals (Wilson). Only the best and the worst classes are drawn; the table holds all."
        } else {
            "Bars are 95 % intervals (Wilson)."
        };
        Figure::new("class-accuracy", "Accuracy by class", words, chart).with_note(note).with_data(table)
    }

    /// The shares of each true class.
    fn matrix(&self, scale: &ColourScale) -> Heatmap {
        let count = self.names.len();
        Heatmap {
            row_label: "true class".into(),
            rows: self.names.clone(),
            column_label: "taken for".into(),
            columns: self.names.clone(),
            values: (0..count)
                .map(|row| (0..count).map(|column| self.share(row, column)).collect())
                .collect(),
            scale: scale.clone(),
            text: (count <= MOST_WRITTEN).then_some(Format::Percent(0)),
            has_legend: false,
            crosses_empty: true,
            dotted: Vec::new(),
        }
        .capped()
    }

    /// The mistakes, the most frequent first: the true class, the predicted class, the count.
    fn worst(&self) -> Vec<(usize, usize, u64)> {
        let count = self.names.len();
        let pairs = (0..count).flat_map(|row| (0..count).map(move |column| (row, column)));
        let mut mistakes: Vec<(usize, usize, u64)> = pairs
            .filter(|(row, column)| row != column)
            .map(|(row, column)| (row, column, self.confusion[row].get(column).copied().unwrap_or(0)))
            .filter(|(.., count)| *count > 0)
            .collect();
        mistakes.sort_by_key(|(row, column, count)| (std::cmp::Reverse(*count), *row, *column));
        mistakes
    }

    fn confusion_in_words(&self) -> String {
        match self.worst().first() {
            Some((class, taken_for, count)) => format!(
                "The most frequent mistake takes {} for {}: {count} of {} examples.",
                self.names[*class],
                self.names[*taken_for],
                self.examples(*class)
            ),
            None => "No example was taken for another class.".into(),
        }
    }

    fn mistakes(&self) -> Table {
        let head = ["true class", "taken for", "examples", "share of the class"];
        let mut table = Table::new("The most frequent mistakes", &head);
        for (class, taken_for, count) in self.worst().into_iter().take(MISTAKES) {
            table.rows.push(vec![
                Cell::Text(self.names[class].clone()),
                Cell::Text(self.names[taken_for].clone()),
                Cell::Number(count.to_string()),
                Cell::Number(Format::Percent(1).text(self.share(class, taken_for))),
            ]);
        }
        table
    }

    /// The accuracy of `other` minus that of `self`, class by class.
    fn difference(&self, a: &Subject, other: &Self, b: &Subject) -> Figure {
        let difference = |class: &usize| other.right(*class) - self.right(*class);
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|a, b| difference(b).total_cmp(&difference(a)));
        let middle = MOST_CLASSES / 2;
        let is_drawn =
            |place: usize| order.len() <= MOST_CLASSES || place < middle || place + middle >= order.len();
        let item = |class: &usize| Item {
            name: self.names[*class].clone(),
            value: difference(class),
            interval: None,
            stroke: Stroke::Colour(usize::from(difference(class) < 0.0)),
            text: None,
        };
        let drawn = order.iter().enumerate().filter(|(place, _)| is_drawn(*place));
        let label = format!("accuracy of {} less that of {}, percentage points", b.name, a.name);
        let chart = Intervals {
            axis: Axis::linear(&label, Format::Points),
            items: drawn.map(|(_, class)| item(class)).collect(),
            reference: Some((0.0, None)),
        };
        let better = order.iter().filter(|class| difference(class) > 0.0).count();
        let worse = order.iter().filter(|class| difference(class) < 0.0).count();
        let words =
            format!("{} finds more of {better} classes than {}, and less of {worse}.", b.name, a.name);
        let mut table = Table::new("Accuracy of each class", &["class", &a.name, &b.name, "points"]);
        for class in &order {
            let percent = |value| Format::Percent(1).text(value);
            let cells = [
                percent(self.right(*class)),
                percent(other.right(*class)),
                Format::Points.text(difference(class)),
            ];
            table.add(&self.names[*class], cells);
        }
        let id = b.id("class-differences");
        Figure::new(&id, &format!("Classes: {} against {}", b.name, a.name), words, chart).with_data(table)
    }
}

/// The 95 % interval of a class's true accuracy.
///
/// **Source:** E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
fn wilson(right: u64, examples: u64) -> Option<(f64, f64)> {
    if examples == 0 {
        return None;
    }
    let (z, n) = (1.959963984540054_f64, examples as f64);
    let share = right as f64 / n;
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Some(((centre - half).max(0.0), (centre + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels.stats.proportion.proportion_confint(.., method="wilson").
    #[test]
    fn intervals_of_shares_are_wilsons() {
        let (least, most) = wilson(8, 10).unwrap();
        assert!((least - 0.490162).abs() < 1e-5 && (most - 0.943318).abs() < 1e-5, "{least} {most}");
        assert_eq!(wilson(0, 0), None);
        assert!(wilson(0, 5).unwrap().0 == 0.0 && wilson(5, 5).unwrap().1 == 1.0);
    }
}
