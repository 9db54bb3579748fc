//! Finds the first parameter or site that is not finite.

use super::batches::StepBatches;
use crate::backend::Statistics;
use crate::objective::Objective;
use crate::{Backend, Mode, Module, Parameters, Result, Role, Tape, Tensor};

/// The path of the first parameter or running statistic that is not finite.
pub(super) fn first_bad_parameter<B: Backend>(parameters: &Parameters<B>) -> Result<Option<String>> {
    first_bad(parameters, |_| true)
}

fn first_bad<B: Backend>(
    parameters: &Parameters<B>,
    counts: impl Fn(Role) -> bool,
) -> Result<Option<String>> {
    let all = parameters.iter().map(|(_, parameter)| parameter);
    let counted: Vec<_> = all.filter(|parameter| counts(parameter.role)).collect();
    let sources: Vec<_> = counted.iter().map(|p| (p.value.buffer(), p.value.elements())).collect();
    let found = Statistics::compute(parameters.backend(), &sources)?;
    let bad = found.iter().position(|statistics| !statistics.max_abs.is_finite());
    Ok(bad.map(|place| counted[place].path.to_string()))
}

/// Says which site and which parameter are not finite first. Repeats the forward pass of the first batch whose loss is not finite
/// with a probe at every site, and with the random numbers of that pass.
pub(super) fn explain<B: Backend>(
    model: &impl Module<B>,
    objective: &dyn Objective<B>,
    parameters: &mut Parameters<B>,
    batches: &StepBatches<B>,
    seed: u64,
) -> Result<String> {
    let mut site = None;
    for (number, batch) in batches.numbered() {
        let tape = Tape::new(parameters, Mode::Train, false).with_random(seed, number);
        let mut tape = tape.with_probe(Box::new(|at, value| {
            if site.is_none() && !is_finite(value)? {
                site = Some(at.path.to_string());
            }
            Ok(())
        }));
        let x = tape.constant(batch.images.clone());
        let output = model.forward(&mut tape, x)?;
        let loss = objective.loss(&mut tape, &output, &batch.labels)?;
        if !loss.read()?.0.is_finite() {
            break;
        }
    }
    // Running statistics are left out, since the forward pass above has just made them not finite too.
    let parameter = first_bad(parameters, Role::is_trained)?;
    let site = site.map_or("the loss is not finite, though every site is".into(), |site| {
        format!("the first site that is not finite is {site}")
    });
    Ok(match parameter {
        Some(path) => format!("{site}; the first parameter that is not finite is {path}"),
        None => site,
    })
}

fn is_finite<B: Backend>(tensor: &Tensor<B>) -> Result<bool> {
    Ok(tensor.statistics()?.max_abs.is_finite())
}
