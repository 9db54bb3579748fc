//! What a run's device decides, and what `gradamp train --verbose` tells of it.

use gradamp_core::Backend;
use gradamp_core::train::TrainSettings;
use gradamp_study::config::LoopSettings;
use gradamp_study::config::tree::shown;

use super::Run;
use crate::dataset::Sources;
use crate::failure::Result;
use crate::{device, output};

impl<B: Backend> Run<'_, B> {
    /// The trainer's settings. On a CPU the loss is scaled only if that is asked for, or if the run began so on another device: bf16
    /// has the range of f32.
    pub(super) fn train_settings(&self, was_scaled: bool) -> TrainSettings {
        let config = &self.resolved.config;
        let settings = config.train_settings();
        match device::is_cpu(&self.backend) && config.train.loss_scaling.is_none() && !was_scaled {
            true => settings.with_loss_scaling(None),
            false => settings,
        }
    }

    /// Prints the device, the place of the data and of the batches, and the settings that differ from their defaults.
    pub(super) fn tell_choices(&self, sources: &Sources<B>) -> Result<()> {
        let config = &self.resolved.config;
        let LoopSettings { device: wanted, precision, tuned, .. } = &config.train;
        let backend = &self.backend;
        let (precision, kernels) = match device::cpu_precision(backend) {
            Some(precision) => (precision.name(), ""),
            None if *tuned => (precision.name(), ", with the kernels that `tune` measured"),
            None => (precision.name(), ", with the default kernels"),
        };
        let ahead = match backend.steps_ahead() {
            0 => "reads the result of each step at once".to_owned(),
            steps => format!("runs up to {steps} steps ahead"),
        };
        output::message(format_args!(
            "device: {} (asked for {wanted}), multiplies in {precision}{kernels}, {ahead}",
            backend.name()
        ));
        let path =
            config.data.path.as_ref().map_or("no path was given".to_owned(), |path| shown(path).to_string());
        let place = match sources.are_resident() {
            true => "the device keeps the images and makes the batches".to_owned(),
            false => {
                format!("the host makes the batches, on {} threads beside training", config.data.workers)
            }
        };
        output::message(format_args!("data: {path}; {place}"));
        for change in self.resolved.changes_from_defaults()? {
            output::message(format_args!(
                "setting: {} = {}  ({})",
                change.path,
                change.after.trim_matches('`'),
                change.origin
            ));
        }
        Ok(())
    }
}
