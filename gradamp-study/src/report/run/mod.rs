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
pub fn of_one(run: &Subject) -> Result<Vec<Section>> {
    let runs = std::slice::from_ref(run);
    let mut sections = vec![
        summary::section(runs),
        Section::new("learning", "How it learned", curves::of_one(run)),
        Section::new("gradients", "Gradient flow", gradients::of_one(run)),
        Section::new("amplification", "What was amplified", amplification(run)),
        Section::new("classes", "Classes", classes::of_one(run)),
        settings::configuration(runs)?,
        settings::reproduction(runs),
    ];
    let signals = signals::of_one(run);
    if !signals.is_empty() {
        sections.insert(3, Section::new("signals", "Forward signal and gradient noise", signals));
    }
    Ok(sections)
}

/// The sections about several runs, without the comparison of the runs.
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
