//! Estimates the duration of a sweep from its finished runs, or from a few steps on this device if there are none.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use gradamp_core::Backend;

use super::preflight::Extent;
use crate::bench::{FORWARD, Workload};
use crate::device::{self, Opening, Task};
use crate::failure::Result;
use gradamp_study::config::{Config, Device, LoopSettings};
use gradamp_study::run_folder::RunStatus;
use gradamp_study::sweep::Expansion;
use gradamp_study::sweep::RunSnapshot;

/// The number of timed steps. One step that is not timed precedes them.
const STEPS: usize = 3;

/// An estimate of a sweep's duration.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The seconds of all unfinished runs together.
    pub seconds: f64,
    /// Where the numbers of the estimate come from, one line for each model.
    pub sources: Vec<String>,
}

/// Estimates the duration of the unfinished runs for which `is_mine` returns true.
///
/// **Errors:** the device cannot be opened.
pub fn estimate(
    root: &Path,
    expansion: &Expansion,
    extents: &[Extent],
    device: Option<&Device>,
    is_mine: &dyn Fn(usize) -> bool,
) -> Result<Estimate> {
    let mut estimate = Estimate { seconds: 0.0, sources: Vec::new() };
    let snapshots: Vec<RunSnapshot> =
        expansion.plan.runs.iter().map(|run| RunSnapshot::read(root, &run.name)).collect();
    // The seconds per epoch, by the description of the work.
    let mut known: HashMap<String, f64> = HashMap::new();
    for (i, snapshot) in snapshots.iter().enumerate() {
        if let (RunStatus::Finished, Some(last)) = (snapshot.status, snapshot.epochs.last()) {
            let subject = subject(&expansion.settings[i].config, extents[i], device)?;
            let seconds = last.total_seconds / snapshot.epochs.len() as f64;
            if known.insert(subject.clone(), seconds).is_none() {
                estimate.sources.push(format!("{subject}: {seconds:.2} s per epoch, from a finished run"));
            }
        }
    }
    for (i, run) in expansion.plan.runs.iter().enumerate() {
        let (snapshot, extent, config) = (&snapshots[i], extents[i], &expansion.settings[i].config);
        if !is_mine(i) || matches!(snapshot.status, RunStatus::Finished | RunStatus::Diverged) {
            continue;
        }
        let epochs = run.epochs.saturating_sub(snapshot.epochs.len()) as f64;
        let subject = subject(config, extent, device)?;
        let seconds = match known.get(&subject) {
            Some(seconds) => *seconds,
            None => {
                let step = step(config, extent, device)?;
                let evaluations = 1.0 / config.train.evaluate_every as f64;
                let batches = extent.steps as f64 + FORWARD * evaluations * extent.evaluated as f64;
                estimate.sources.push(format!("{subject}: {step:.4} s per step, timed on this device"));
                known.insert(subject, step * batches);
                step * batches
            }
        };
        estimate.seconds += epochs * seconds;
    }
    Ok(estimate)
}

/// Describes the work of an epoch. Epochs with the same description take the same time.
fn subject(config: &Config, extent: Extent, device: Option<&Device>) -> Result<String> {
    let LoopSettings { batch_size, device: own, evaluate_every, .. } = &config.train;
    let (model, steps) = (config.model.settings(extent.image, extent.classes)?, extent.steps);
    let (evaluated, device) = (extent.evaluated / evaluate_every, device.unwrap_or(own));
    Ok(format!(
        "{model}, batch {batch_size}, on {device}; an epoch of {steps} steps and {evaluated} batches \
         of evaluation"
    ))
}

/// Measures the seconds per step.
fn step(config: &Config, extent: Extent, device: Option<&Device>) -> Result<f64> {
    let train = &config.train;
    let steps = Steps { config, extent, batch_size: train.batch_size };
    device::choose(device.unwrap_or(&train.device))?.run(&Opening::from(train), steps)
}

struct Steps<'a> {
    config: &'a Config,
    extent: Extent,
    batch_size: usize,
}

impl Task for Steps<'_> {
    type Output = f64;

    fn run<B: Backend>(self, backend: B) -> Result<f64> {
        let settings = self.config.model.settings(self.extent.image, self.extent.classes)?;
        let mut workload = Workload::with_model(&settings, self.batch_size, backend)?;
        workload.steps(false)?;
        let start = Instant::now();
        let mut seconds = Vec::with_capacity(STEPS);
        // One step of a large model on a slow device is long enough for the clock.
        while seconds.len() < STEPS && (seconds.is_empty() || start.elapsed().as_secs_f64() < 5.0) {
            seconds.push(workload.steps(false)?.0);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }
}
