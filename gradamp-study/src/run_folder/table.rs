//! The table at the end of a run: what each phase of the strategy did. Its source is the run folder.

use std::collections::BTreeMap;
use std::path::Path;

use super::Log;
use super::lines::{EpochLine, MetricsLine};
use crate::columns::columns;
use crate::duration::duration;
use crate::rate::rate;
use gradamp_core::amplify::{DrawRecord, Strategy};
use gradamp_core::files;
use serde::de::DeserializeOwned;

/// A row: a phase as far as it went.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    first: usize,
    last: usize,
    lr: Vec<f64>,
    /// The fewest and the most sites of a draw.
    sites: Option<(usize, usize)>,
    train: Option<f64>,
    validation: Option<f64>,
    test: Option<f64>,
    seconds: f64,
}

/// The table of the run in `folder`; lines that cannot be read are left out; `gradamp verify` reports damage.
pub fn phase_table(folder: &Path, strategy: &Strategy) -> String {
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    for epoch in epochs(folder) {
        let row = rows.entry(epoch.phase).or_insert_with(|| Row { first: epoch.epoch, ..Row::default() });
        row.last = epoch.epoch;
        row.lr.push(epoch.lr);
        row.train = Some(epoch.train_accuracy);
        row.validation = epoch.validation_accuracy.or(row.validation);
        row.test = epoch.test_accuracy.or(row.test);
        row.seconds += epoch.seconds;
    }
    for draw in readable_lines::<DrawRecord>(folder, Log::Amplification) {
        let phase = strategy.phase_at(draw.epoch).map(|(phase, _)| phase);
        if let Some(row) = phase.and_then(|phase| rows.get_mut(&phase)) {
            let n = draw.sites.len();
            row.sites = Some(row.sites.map_or((n, n), |(least, most)| (least.min(n), most.max(n))));
        }
    }
    render(&rows)
}

/// The lines of a log that can be read.
pub(super) fn readable_lines<T: DeserializeOwned>(folder: &Path, log: Log) -> Vec<T> {
    let text = files::read_to_string(&log.path_in(folder)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The epochs of a run whose lines can be read.
pub(super) fn epochs(folder: &Path) -> impl Iterator<Item = EpochLine> {
    readable_lines(folder, Log::Metrics).into_iter().filter_map(|line| match line {
        MetricsLine::Epoch(epoch) => Some(epoch),
        MetricsLine::Step(_) => None,
    })
}

fn render(rows: &BTreeMap<usize, Row>) -> String {
    if rows.is_empty() {
        return "no epoch is done yet\n".into();
    }
    let has_validation = rows.values().any(|row| row.validation.is_some());
    let mut header = vec!["phase", "epochs", "learning rate", "amplified sites", "train"];
    if has_validation {
        header.push("validation");
    }
    header.extend(["test", "time"]);
    let mut table = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (phase, row) in rows {
        let mut cells = vec![
            (phase + 1).to_string(),
            span(row.first + 1, row.last + 1),
            rates(&row.lr),
            row.sites.map_or("off".into(), |(least, most)| span(least, most)),
            percent(row.train),
        ];
        if has_validation {
            cells.push(percent(row.validation));
        }
        cells.extend([percent(row.test), duration(row.seconds)]);
        table.push(cells);
    }
    columns(&table, &">".repeat(table[0].len()))
}

fn span<T: std::fmt::Display + PartialEq>(first: T, last: T) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn rates(rates: &[f64]) -> String {
    match rates {
        [] => String::new(),
        [first, .., last] if first != last => format!("{} to {}", rate(*first), rate(*last)),
        [first, ..] => rate(*first),
    }
}

pub(super) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".into(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_table_tells_each_phase() {
        let folder = tempfile::tempdir().unwrap();
        let strategy: Strategy =
            toml::from_str("lr = 0.1\n[[phase]]\nepochs = 2\n[[phase]]\nepochs = 1\namplify = true\n")
                .unwrap();
        let epoch = |epoch: usize, (phase, lr): (usize, f64), train: f64, test: Option<f64>, seconds: f64| {
            let line = serde_json::json!({
                "kind": "epoch", "epoch": epoch, "step": 10, "phase": phase, "lr": lr, "amplified": false, "train_loss": 1.0,
                "train_accuracy": train, "test_accuracy": test, "best": false, "images_per_second": 1.0, "seconds": seconds,
            });
            line.to_string() + "\n"
        };
        let mut metrics = String::from("{\"kind\":\"step\",\"epoch\":0}\n");
        metrics += &epoch(0, (0, 0.1), 0.25, None, 61.0);
        metrics += &epoch(1, (0, 0.1), 0.5, Some(0.4567), 4.0);
        metrics += &epoch(2, (1, 0.05), 0.75, Some(0.7), 3.0);
        metrics += "{\"kind\":\"epo";
        fs::write(folder.path().join("metrics.jsonl"), metrics).unwrap();
        let draw = r#"{"epoch":2,"step":20,"sites":["bn1","layer1.0.bn1"],"factors":[2.0,2.0],"placement":"output"}"#;
        fs::write(folder.path().join("amplification.jsonl"), draw).unwrap();
        let expected = "\
phase  epochs  learning rate  amplified sites   train    test        time
-------------------------------------------------------------------------
    1     1-2            0.1              off  50.0 %  45.7 %  1 min 05 s
    2       3           0.05                2  75.0 %  70.0 %         3 s
";
        assert_eq!(phase_table(folder.path(), &strategy), expected);
    }
}
