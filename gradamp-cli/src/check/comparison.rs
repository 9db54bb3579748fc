//! Compares a short training on a device with the same training on the CPU.

use gradamp_core::conformance::agreement::{self, FirstStep, LayerDifference};
use gradamp_core::{Backend, Batch, BatchSource, Error, Parameters, Result};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, Loader, ShapesSettings, Source};
use gradamp_models::{Model, ModelSettings};
use serde_json::{Value, json};

use gradamp_study::columns::{columns, header};

/// The largest difference allowed for a gradient in the first step, relative to the largest value of its tensor.
pub const GRADIENT_LIMIT: f64 = 1e-4;
/// The largest difference allowed for a loss in the first steps, relative to the CPU's loss. Later losses have no
/// limit: some rectifier then opens on one device only, after which two trainings drift apart on any two devices.
pub const LOSS_LIMIT: f64 = 1e-3;
const LIMITED_STEPS: usize = 4;
const BATCH: usize = 16;
const SEED: u64 = 1;
const LR: f32 = 1e-3;
/// The most batches to try until one is found in which no rectifier's input is within rounding of 0.
const BATCHES: usize = 8;

/// A short training of a model on a device and on the CPU.
pub struct Comparison {
    settings: ModelSettings,
    layers: Vec<LayerDifference>,
    /// The number of places at which a gradient flows on only one of the two devices.
    switched: usize,
    /// The losses on the device and on the CPU.
    losses: [Vec<f32>; 2],
}

impl Comparison {
    /// Trains the model on `backend` and on `cpu`.
    ///
    /// **Errors:** those of the device.
    pub fn run<B: Backend>(backend: &B, cpu: &Cpu, settings: ModelSettings, steps: usize) -> Result<Self> {
        let shapes = ShapesSettings::default().with_train(BATCH * BATCHES).with_test(1).with_seed(SEED);
        let data = DataSettings::default().with_source(Source::Shapes).with_shapes(shapes).with_workers(0);
        let source = data.train_loader(&data.split(data.load()?, SEED)?, BATCH, SEED)?;
        let (device, host) = (Trainee::new(backend, &settings)?, Trainee::new(cpu, &settings)?);
        let mut batches = source.epoch(backend, 0, 0)?.zip(source.epoch(cpu, 0, 0)?);
        let mut compare = || -> Result<_> {
            let Some((on_device, on_host)) = batches.next() else { return Ok(None) };
            let (found, expected) = (device.first_step(&on_device?)?, host.first_step(&on_host?)?);
            Ok(Some((found.differences(&expected), found.switched(&expected))))
        };
        let (mut layers, mut switched) = (Vec::new(), 1);
        while let (true, Some(next)) = (switched > 0, compare()?) {
            (layers, switched) = next;
        }
        let losses = [device.losses(&source, steps)?, host.losses(&source, steps)?];
        Ok(Self { settings, layers, switched, losses })
    }

    /// The largest difference of the losses of the first `steps` steps.
    fn worst_loss(&self, steps: usize) -> f64 {
        let [found, expected] = &self.losses;
        let relative = |(a, b): (&f32, &f32)| agreement::relative(&[*a], &[*b]);
        found.iter().zip(expected).take(steps).map(relative).fold(0.0, f64::max)
    }

    fn worst_gradient(&self) -> Option<&LayerDifference> {
        self.layers.iter().max_by(|a, b| a.worst_gradient().total_cmp(&b.worst_gradient()))
    }

    /// Describes each difference that exceeds its limit.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let name = self.settings.architecture;
        if let Some(layer) = self.worst_gradient().filter(|layer| layer.worst_gradient() > GRADIENT_LIMIT) {
            let (worst, path) = (layer.worst_gradient(), &layer.site.path);
            faults.push(format!(
                "{name}: a gradient of {path} differs by {worst:.1e}, more than {GRADIENT_LIMIT:.0e}"
            ));
        }
        let worst = self.worst_loss(LIMITED_STEPS);
        if worst > LOSS_LIMIT {
            faults.push(format!(
                "{name}: a loss of the first {LIMITED_STEPS} steps differs by {worst:.1e}, more than {LOSS_LIMIT:.0e}"
            ));
        }
        faults
    }

    pub fn as_text(&self) -> String {
        let mut rows = vec![header(["layer", "kind", "output", "gradient", "parameters"])];
        rows.extend(self.layers.iter().map(|layer| {
            let LayerDifference { site, activation, gradient, parameters } = layer;
            let parameters = parameters.map_or(String::new(), |worst| format!("{worst:.1e}"));
            let [activation, gradient] = [activation, gradient].map(|worst| format!("{worst:.1e}"));
            vec![site.path.to_string(), site.kind.to_string(), activation, gradient, parameters]
        }));
        let Self { settings, losses: [found, expected], .. } = self;
        let mut text = format!(
            "{settings}, batch {BATCH}: largest differences in the first step, relative to a tensor's largest value\n\n{}\n",
            columns(&rows, "<<>>>")
        );
        if let Some(layer) = self.worst_gradient() {
            let (worst, path) = (layer.worst_gradient(), &layer.site.path);
            text += &format!("gradients: {worst:.1e} at most, at {path} (limit {GRADIENT_LIMIT:.0e})\n");
        }
        if self.switched > 0 {
            text += &format!(
                "in each of {BATCHES} batches some rectifier or pool selected other values than on the CPU, here at {} places\n",
                self.switched
            );
        }
        let (n, limited) = (found.len(), LIMITED_STEPS.min(found.len()));
        let last = |losses: &[f32]| losses.last().copied().unwrap_or(f32::NAN);
        text + &format!(
            "losses: {:.1e} at most in the first {limited} steps (limit {LOSS_LIMIT:.0e}), {:.1e} in {n} steps; the last one \
             is {:.5}, on the CPU {:.5}\n",
            self.worst_loss(limited),
            self.worst_loss(n),
            last(found),
            last(expected)
        )
    }

    pub fn as_json(&self) -> Value {
        let layer = |layer: &LayerDifference| {
            let LayerDifference { site, activation, gradient, parameters } = layer;
            json!({
                "layer": &*site.path, "kind": site.kind, "output": activation, "gradient": gradient,
                "parameters": parameters,
            })
        };
        let layers: Vec<Value> = self.layers.iter().map(layer).collect();
        let [found, expected] = &self.losses;
        json!({
            "model": self.settings.to_string(), "batch": BATCH, "layers": layers, "switched": self.switched,
            "losses": found, "reference_losses": expected, "loss_difference": self.worst_loss(LIMITED_STEPS),
        })
    }
}

/// A freshly initialised model on one backend.
struct Trainee<B: Backend> {
    model: Model,
    parameters: Parameters<B>,
}

impl<B: Backend> Trainee<B> {
    fn new(backend: &B, settings: &ModelSettings) -> Result<Self> {
        let mut parameters = Parameters::new(backend, SEED);
        let model = Model::new(settings, &mut parameters).map_err(Error::external)?;
        Ok(Self { model, parameters })
    }

    fn first_step(&self, batch: &Batch<B>) -> Result<FirstStep> {
        FirstStep::compute(&self.model, &self.parameters, batch)
    }

    fn losses(&self, source: &Loader, steps: usize) -> Result<Vec<f32>> {
        agreement::losses(&self.model, self.parameters.clone(), source, LR, steps)
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::{LayerKind, Site};
    use gradamp_models::Architecture;

    use super::*;

    fn comparison(gradient: f64, parameters: f64, losses: [Vec<f32>; 2]) -> Comparison {
        let layer = |path: &str, gradient, parameters| LayerDifference {
            site: Site { path: path.into(), kind: LayerKind::Conv, index: 0 },
            activation: 1e-7,
            gradient,
            parameters,
        };
        Comparison {
            settings: ModelSettings::new(Architecture::Vgg11).with_width(8),
            layers: vec![layer("conv1", gradient, Some(parameters)), layer("conv2", 1e-6, None)],
            switched: 0,
            losses,
        }
    }

    #[test]
    fn only_differences_beyond_their_limits_are_faults() {
        let same = || [vec![2.0; 6], vec![2.0; 6]];
        assert_eq!(comparison(1e-5, 9e-5, same()).faults(), [""; 0]);
        assert_eq!(
            comparison(1e-5, 2e-3, same()).faults(),
            ["vgg11: a gradient of conv1 differs by 2.0e-3, more than 1e-4"]
        );
        assert_eq!(comparison(f64::INFINITY, 0.0, same()).faults().len(), 1);
        let drifts = |step: usize| {
            let mut losses = same();
            losses[0][step] = 2.1;
            comparison(0.0, 0.0, losses).faults()
        };
        assert_eq!(drifts(3), ["vgg11: a loss of the first 4 steps differs by 5.0e-2, more than 1e-3"]);
        assert_eq!(drifts(4), [""; 0], "later steps have no limit");
    }
}
