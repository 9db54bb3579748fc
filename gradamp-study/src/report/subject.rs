//! A run as a page shows it.

use crate::run_folder::RunData;
use crate::run_folder::lines::EpochLine;

/// A run, and its name on the page.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The run's name: its folder's name, with more of the path if two runs share it.
    pub name: String,
    /// The prefix of the names of the run's figures if the page has several runs, such as `b-`.
    pub prefix: String,
    /// The run.
    pub data: RunData,
}

impl Subject {
    /// The best epoch; if there is none, the last one that was evaluated.
    pub fn chosen(&self) -> Option<&EpochLine> {
        self.data.best().or_else(|| self.data.last())
    }

    /// The number of epochs that are done.
    pub fn epochs(&self) -> usize {
        self.data.epochs.iter().map(|line| line.epoch + 1).max().unwrap_or(0)
    }

    /// `id` for this run.
    pub fn id(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// `title` for this run.
    pub fn title(&self, title: &str) -> String {
        if self.prefix.is_empty() { title.to_owned() } else { format!("{title}: {}", self.name) }
    }

    /// Spans of amplified epochs: from the end of the epoch before, to the end of the last one.
    pub fn amplified_spans(&self) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for line in self.data.epochs.iter().filter(|line| line.amplified) {
            match spans.last_mut() {
                Some((_, end)) if *end == line.epoch => *end += 1,
                _ => spans.push((line.epoch, line.epoch + 1)),
            }
        }
        spans
    }
}

/// `3`, `3 to 5`, or `3 to 5 and 9`: epochs as people count them, from spans counted from 0.
pub fn spans_in_words(spans: &[(usize, usize)]) -> String {
    let span = |(from, to): &(usize, usize)| {
        if from + 1 == *to { to.to_string() } else { format!("{} to {to}", from + 1) }
    };
    let spans: Vec<String> = spans.iter().map(span).collect();
    match spans.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_epochs_read_well() {
        assert_eq!(spans_in_words(&[]), "");
        assert_eq!(spans_in_words(&[(0, 1)]), "1");
        assert_eq!(spans_in_words(&[(0, 2), (4, 5), (7, 10)]), "1 to 2, 5 and 8 to 10");
    }
}
