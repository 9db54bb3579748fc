//! Backward hooks without a trainer: one step of a plain VGG, whose gradients vanish on their way down, with two hooks that
//! print the gradient of each activation and amplify it.
//!
//! ```sh
//! cargo run --release -p third-party --example hooks_only
//! ```

use std::error::Error;

use gradamp_core::{
    Backend, BackwardHook, Gradient, GradientAction, Hooks, LayerKind, Module, Parameters, Result, Site,
    Tape, Tensor, ops,
};
use gradamp_cpu::Cpu;
use gradamp_models::{Architecture, Model, ModelSettings, Norm};

/// Prints the root mean square of the gradient at each activation.
struct Print;

impl<B: Backend> BackwardHook<B> for Print {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        if LayerKind::Activation.includes(site.kind) {
            let elements = gradient.shape().iter().product::<usize>();
            let rms = (f64::from(gradient.statistics()?.sum_squares) / elements as f64).sqrt();
            println!("{:<16} {rms:.2e}", site.path);
        }
        Ok(GradientAction::Keep)
    }
}

/// Multiplies the gradient at each activation. Only a scalar changes, so that this takes no time.
struct Amplifier {
    factor: f32,
}

impl<B: Backend> BackwardHook<B> for Amplifier {
    fn on_gradient(&mut self, site: &Site, _: &Gradient<B>) -> Result<GradientAction<B>> {
        let amplified = LayerKind::Activation.includes(site.kind);
        Ok(if amplified { GradientAction::Scale(self.factor) } else { GradientAction::Keep })
    }
}

/// Runs the example; an error where it does not do what it says.
pub fn main() -> Result<(), Box<dyn Error>> {
    let cpu = Cpu::new()?;
    let mut parameters = Parameters::new(&cpu, 7);
    let settings = ModelSettings::new(Architecture::Vgg11).with_width(4).with_norm(Norm::None);
    let model = Model::new(&settings, &mut parameters)?;
    let pixels: Vec<f32> = (0..8 * 32 * 32 * 3).map(|i| (0.37 * i as f32).sin()).collect();
    let images = Tensor::from_slice(&cpu, &[8, 32, 32, 3], &pixels)?;
    let labels = Tensor::from_slice(&cpu, &[8], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])?;

    let first = parameters.find("features.0.weight").ok_or("the model has no first convolution")?;
    let hooks = Hooks::new();
    let _print = hooks.add(Print); // a hook goes when its guard does
    let mut norms = Vec::new();
    for factor in [1.0, 4.0] {
        println!("\nfactor {factor}");
        let _amplifier = hooks.add(Amplifier { factor });
        let mut tape = Tape::train(&mut parameters);
        let x = tape.constant(images.clone());
        let logits = model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &labels, 0.0)?;
        let gradients = tape.backward(&loss.mean, &hooks)?;
        let gradient = gradients.parameter(first).ok_or("the first convolution has no gradient")?;
        norms.push(gradient.statistics()?.sum_squares.sqrt());
    }
    let gain = norms[1] / norms[0];
    println!("\nthe first convolution's gradient is {gain} times as large");
    if gain != 4_f32.powi(8) {
        return Err("expected 4 to the power of 8, the number of activations".into());
    }
    Ok(())
}
