//! An optimiser of your own, with a state that a checkpoint would hold: Lion trains a small ResNet on generated shapes.
//!
//! ```sh
//! cargo run --release -p third-party --example own_optimizer
//! ```

use std::error::Error;

use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Strategy};
use gradamp_core::optim::{Optimizer, StateTensor};
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{Backend, Gradients, ParameterId, Parameters, Result, Tensor};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};

/// w ← w − lr · sign(β₁ m + (1 − β₁) g), then m ← β₂ m + (1 − β₂) g.
///
/// A sign does not change with the length of the gradient: a factor that is always the same is without effect here.
///
/// **Source:** X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023.
#[derive(Debug)]
struct Lion<B: Backend> {
    betas: [f32; 2],
    /// Of each parameter, once it has had a gradient.
    momentum: Vec<Option<(ParameterId, Tensor<B>)>>,
}

impl<B: Backend> Lion<B> {
    fn new(parameters: &Parameters<B>) -> Self {
        Self { betas: [0.9, 0.99], momentum: parameters.iter().map(|_| None).collect() }
    }
}

/// a · x + (1 − a) · y
fn mean<B: Backend>(a: f32, x: &Tensor<B>, y: &Tensor<B>) -> Result<Tensor<B>> {
    x.scale(a)?.add(&y.scale(1.0 - a)?)
}

impl<B: Backend> Optimizer<B> for Lion<B> {
    fn step(
        &mut self,
        parameters: &mut Parameters<B>,
        gradients: &Gradients<B>,
        lr: f32,
    ) -> Result<Option<Tensor<B>>> {
        for ((id, parameter), momentum) in parameters.iter_mut().zip(&mut self.momentum) {
            let Some(gradient) = gradients.parameter(id) else { continue };
            let gradient = gradient.values()?;
            let old = match momentum.take() {
                Some((_, old)) => old,
                None => gradient.scale(0.0)?,
            };
            // `map` computes on the host. A kernel of its own would compute the sign on the device; see `gelu.rs`.
            let direction = mean(self.betas[0], &old, &gradient)?.map(f32::signum)?;
            parameter.value = parameter.value.subtract(&direction.scale(lr)?)?;
            *momentum = Some((id, mean(self.betas[1], &old, &gradient)?));
        }
        Ok(None)
    }

    fn state(&self) -> Vec<StateTensor<'_, B>> {
        let held = self.momentum.iter().flatten();
        held.map(|(id, tensor)| StateTensor { name: "momentum", parameter: Some(*id), tensor }).collect()
    }

    fn restore(
        &mut self,
        _: &Parameters<B>,
        name: &str,
        parameter: Option<ParameterId>,
        tensor: Tensor<B>,
    ) -> Result<()> {
        match (name, parameter) {
            ("momentum", Some(id)) => self.momentum[id.index()] = Some((id, tensor)),
            _ => return Err(gradamp_core::Error::external(format!("Lion has no state called `{name}`"))),
        }
        Ok(())
    }
}

/// Runs the example; an error where it does not do what it says.
pub fn main() -> Result<(), Box<dyn Error>> {
    let data = DataSettings::default().with_source(Source::Shapes);
    let parts = data.split(data.load()?, 7)?;
    let (train, test) = (data.train_loader(&parts, 32, 7)?, data.test_loader(&parts, 64)?);

    let mut parameters = Parameters::new(&Cpu::new()?, 7);
    let model = Model::new(&ModelSettings::new(Architecture::ResNet18).with_width(4), &mut parameters)?;
    let optimizer = Lion::new(&parameters);

    let strategy = Strategy::single(2, LearningRate::constant(1e-3), Amplify::Off);
    let settings = TrainSettings::new(7, strategy, AmplificationSettings::default());
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings)?;
    trainer.set_optimizer(Box::new(optimizer))?;
    trainer.run(&train, &[("test", &test)])?;
    let (accuracy, epoch) = trainer.state().best.ok_or("the run has no evaluation")?;
    println!("best accuracy: {accuracy:.2}, after epoch {}", epoch + 1);
    if accuracy < 0.2 {
        return Err("the network learned nothing: one of ten classes is right by chance".into());
    }
    Ok(())
}
