//! Finds the first parameter or site that is not finite.

use crate::backend::Statistics;
use crate::{Backend, Batch, Module, Parameters, Result, Role, Tensor};
use crate::{Mode, Tape};

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

/// Says which site and which parameter are not finite first. Repeats the forward pass of the batch with a probe at every
/// site, at the same moment: the run's seed and the step.
pub(super) fn explain<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    batch: &Batch<B>,
    (seed, step): (u64, u64),
) -> Result<String> {
    let mut site = None;
    let tape = Tape::new(parameters, Mode::Train, false).with_random(seed, step);
    let mut tape = tape.with_probe(Box::new(|at, value| {
        if site.is_none() && !is_finite(value)? {
            site = Some(at.path.to_string());
        }
        Ok(())
    }));
    let x = tape.constant(batch.images.clone());
    model.forward(&mut tape, x)?;
    drop(tape);
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
