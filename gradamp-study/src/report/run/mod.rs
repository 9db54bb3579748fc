//! The sections about runs: one alone, or several side by side.

mod amplified;
mod classes;
mod curves;
mod gains;
mod gradients;
mod settings;
mod signals;
mod summary;

use super::html::Section;
use super::subject::Subject;
use crate::Result;

pub use summary::status;

/// The sections about one run.
pub fn sections_of_run(run: &Subject) -> Result<Vec<Section>> {
    let runs = std::slice::from_ref(run);
    let mut sections = vec![
        summary::section(runs),
        Section::new("learning", "How it learned", curves::blocks_of_run(run)),
        Section::new("gradients", "Gradient flow", gradients::blocks_of_run(run)),
        Section::new("amplification", "What was amplified", amplification(run)),
        Section::new("classes", "Classes", classes::blocks_of_run(run)),
        settings::configuration(runs)?,
        settings::reproduction(runs),
    ];
    let signals = signals::blocks_of_run(run);
    if !signals.is_empty() {
        sections.insert(3, Section::new("signals", "Forward signal and gradient noise", signals));
    }
    Ok(sections)
}

/// The sections about several runs, without the comparison of the runs.
pub fn sections_of_runs(runs: &[Subject]) -> Result<(Section, Vec<Section>)> {
    let amplified = runs.iter().flat_map(amplification).collect();
    let sections = vec![
        Section::new("learning", "How they learned", curves::blocks_of_runs(runs)),
        Section::new("gradients", "Gradient flow", gradients::blocks_of_runs(runs)),
        Section::new("amplification", "What was amplified", amplified),
        Section::new("classes", "Classes", classes::blocks_of_runs(runs)),
        settings::configuration(runs)?,
        settings::reproduction(runs),
    ];
    Ok((summary::section(runs), sections))
}

fn amplification(run: &Subject) -> Vec<super::html::Block> {
    let mut blocks = amplified::blocks_of_run(run);
    blocks.extend(gains::blocks_of_run(run));
    blocks
}
