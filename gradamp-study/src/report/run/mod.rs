//! The sections about runs: one alone, or several side by side.

mod amplified;
mod classes;
mod curves;
mod gains;
mod gradients;
mod settings;
mod summary;

use super::html::Section;
use crate::Result;
use crate::run_folder::RunData;
use crate::run_folder::lines::EpochLine;

pub use summary::status;

/// A run, and its name on the page.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called: its folder's name, with more of the path where names are the same.
    pub name: String,
    /// What begins the names of its figures where there are several runs, such as `b-`.
    pub prefix: String,
    /// The run.
    pub data: RunData,
}

impl Subject {
    /// The epoch that was found best, else the last that was evaluated.
    fn chosen(&self) -> Option<&EpochLine> {
        self.data.best().or_else(|| self.data.last())
    }

    /// Epochs that are done.
    fn epochs(&self) -> usize {
        self.data.epochs.iter().map(|line| line.epoch + 1).max().unwrap_or(0)
    }

    /// `id` for this run.
    fn id(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// `title` for this run.
    fn title(&self, title: &str) -> String {
        if self.prefix.is_empty() { title.to_owned() } else { format!("{title}: {}", self.name) }
    }

    /// Spans of amplified epochs: from the end of the epoch before, to the end of the last one.
    fn amplified_spans(&self) -> Vec<(usize, usize)> {
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

/// The sections about one run.
pub fn of_one(run: &Subject) -> Result<Vec<Section>> {
    let runs = std::slice::from_ref(run);
    Ok(vec![
        summary::section(runs),
        Section::new("learning", "How it learned", curves::of_one(run)),
        Section::new("gradients", "Gradient flow", gradients::of_one(run)),
        Section::new("amplification", "What was amplified", amplification(run)),
        Section::new("classes", "Classes", classes::of_one(run)),
        settings::configuration(runs)?,
        settings::reproduction(runs),
    ])
}

/// The sections about several runs, without those that judge their differences.
pub fn of_several(runs: &[Subject]) -> Result<(Section, Vec<Section>)> {
    let amplified = runs.iter().flat_map(amplification).collect();
    let sections = vec![
        Section::new("learning", "How they learned", curves::of_several(runs)),
        Section::new("gradients", "Gradient flow", gradients::of_several(runs)),
        Section::new("amplification", "What was amplified", amplified),
        Section::new("classes", "Classes", classes::of_several(runs)),
        settings::configuration(runs)?,
        settings::reproduction(runs),
    ];
    Ok((summary::section(runs), sections))
}

fn amplification(run: &Subject) -> Vec<super::html::Block> {
    let mut blocks = amplified::of_run(run);
    blocks.extend(gains::of_run(run));
    blocks
}

/// `3`, `3 to 5`, or `3 to 5 and 9`: epochs as people count them, from spans counted from 0.
fn spans_in_words(spans: &[(usize, usize)]) -> String {
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
