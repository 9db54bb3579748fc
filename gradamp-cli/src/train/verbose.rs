//! `gradamp train --verbose`: what was chosen for a run.

use gradamp_core::Backend;
use gradamp_study::config::LoopSettings;
use gradamp_study::config::tree::shown;

use super::Run;
use crate::dataset::Sources;
use crate::failure::Result;
use crate::{device, output};

impl<B: Backend> Run<'_, B> {
    /// Prints the device, the place of the data and of the batches, and the settings that differ from their defaults.
    pub(super) fn tell_choices(&self, sources: &Sources<B>) -> Result<()> {
        let config = &self.resolved.config;
        let LoopSettings { device: wanted, precision, tuned, .. } = &config.train;
        let backend = &self.backend;
        let (precision, kernels) = match device::is_cpu(backend) {
            true => ("f32", ""),
            false if *tuned => (precision.name(), ", with the kernels that `tune` measured"),
            false => (precision.name(), ", with the default kernels"),
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
