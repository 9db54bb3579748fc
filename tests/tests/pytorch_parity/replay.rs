//! Replays the steps of a fixture with the real tape, hooks and optimiser.

use std::error::Error;

use gradamp_core::{Backend, Gradients, Module, Parameters, Role, Tape, ops};

use crate::errors::{Errors, Worst, distance, norm, relative};
use crate::fixture::Fixture;

/// Replays all steps of `fixture` and returns the largest differences from PyTorch.
pub fn replay<B: Backend>(fixture: &Fixture<B>) -> Result<Errors, Box<dyn Error>> {
    let Fixture { archive, case, .. } = fixture;
    let (model, mut parameters) = fixture.model("init.")?;
    let hooks = fixture.hooks(&model, &mut parameters)?;
    let mut optimizer = case.optimizer()?.build(&parameters)?;
    let mut errors = Errors::default();
    for step in 1..=case.steps {
        let mut tape = Tape::train(&mut parameters);
        let x = tape.constant(fixture.images.clone());
        let y = model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &y, &fixture.labels, 0.0)?;
        let expected = archive.floats(&format!("step{step}.loss"))?;
        let expected = expected.first().ok_or_else(|| format!("step{step}.loss holds no number"))?;
        errors.loss.include(f64::from(loss.read()?.0 - expected).abs(), format!("step {step}"));
        let expected = archive.floats(&format!("step{step}.logits"))?;
        errors.logits.include(relative(&y.tensor()?.to_vec()?, &expected), format!("step {step}"));
        let gradients = tape.backward(&loss.mean, &hooks)?;
        if step == 1 {
            compare_gradients(fixture, &parameters, &gradients, &mut errors.gradient)?;
        }
        optimizer.step(&mut parameters, &gradients, case.lr)?;
    }

    let (_, expected) = fixture.model("final.")?;
    if parameters.counters() != expected.counters() {
        return Err("num_batches_tracked differs from its value after PyTorch's last step".into());
    }
    for ((_, found), (_, expected)) in parameters.iter().zip(expected.iter()) {
        let worst = if found.role.is_trained() { &mut errors.parameter } else { &mut errors.statistic };
        worst.include(relative(&found.value.to_vec()?, &expected.value.to_vec()?), &*found.path);
    }
    let mut tape = Tape::evaluate(&mut parameters);
    let x = tape.constant(fixture.images.clone());
    let y = model.forward(&mut tape, x)?.tensor()?.to_vec()?;
    errors.eval_logits.include(relative(&y, &archive.floats("eval.logits")?), "");
    Ok(errors)
}

/// Compares the gradient of every parameter in the first step.
///
/// A batch norm removes the mean and scale of its input. Two kinds of gradients before a batch norm are therefore
/// exactly 0: the gradient of a convolution's or linear layer's bias, and the gradient of a weight whose channel is a
/// single number (a 1x1 kernel on one channel). Both programs compute rounding noise of about 1e-7 of the added
/// values for them, and the ratio of two noises means nothing. The errors of these gradients are divided by a larger
/// norm instead: for a bias, the norm of its gradient together with its weight's; for a single weight, together with
/// that of the batch norm's scale. Every other error is divided by the norm of the gradient itself, including that of
/// a bias that is not followed by a batch norm.
fn compare_gradients<B: Backend>(
    fixture: &Fixture<B>,
    parameters: &Parameters<B>,
    gradients: &Gradients<B>,
    worst: &mut Worst,
) -> Result<(), Box<dyn Error>> {
    let expected = fixture.archive.values("step1.grad.", parameters, |p| p.role.is_trained())?;
    let norms: Vec<f64> = expected.iter().map(|(_, values)| norm(values.iter().copied())).collect();
    let role = |i: usize| parameters.get(expected[i].0).role;
    for (i, (id, expected)) in expected.iter().enumerate() {
        let p = parameters.get(*id);
        let found = gradients.parameter(*id).ok_or_else(|| format!("{} got no gradient", p.path))?;
        let neighbour = match (p.role, &**p.value.shape()) {
            (Role::Bias, _) if i + 1 < norms.len() && role(i + 1) == Role::Gamma => norms[i - 1],
            (Role::ConvWeight, [1, 1, 1, _]) => norms[i + 1],
            _ => 0.0,
        };
        worst.include(distance(&found.values()?.to_vec()?, expected, norms[i].hypot(neighbour)), &*p.path);
    }
    Ok(())
}
