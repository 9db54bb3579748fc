use std::mem::take;
use std::time::{Duration, Instant};

use super::{Control, Evaluation};
use crate::backend::on_host::first_largest;
use crate::objective::{CrossEntropy, Objective};
use crate::{Backend, BatchSource, Error, Module, Parameters, Result, Tape, Tensor};

/// The largest number of batches whose results are read together: enough to hide the wait for a device, in little memory.
const TOGETHER: usize = 16;
/// The longest time between two reads. A request to stop waits for the next read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs the model of a classifier in evaluation mode over one epoch of `source`.
///
/// The loss is the cross-entropy; [`evaluate_unless`] takes any objective.
pub fn evaluate<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    source: &dyn BatchSource<B>,
) -> Result<Evaluation> {
    let objective = CrossEntropy::default();
    let whole = evaluate_unless(model, &objective, parameters, source, &mut || Control::Continue)?;
    whole.ok_or_else(|| Error::external("the evaluation stopped without a request"))
}

/// Like [`evaluate`], by any objective. Calls `ask` before every batch, and returns `None` as soon as the answer is to stop.
pub fn evaluate_unless<B: Backend>(
    model: &impl Module<B>,
    objective: &dyn Objective<B>,
    parameters: &mut Parameters<B>,
    source: &dyn BatchSource<B>,
    ask: &mut dyn FnMut() -> Control,
) -> Result<Option<Evaluation>> {
    let backend = parameters.backend().clone();
    let mut evaluation = Evaluation { loss: 0.0, examples: 0, confusion: Vec::new(), hits: Vec::new() };
    let mut pending = Vec::with_capacity(TOGETHER);
    // The number of batches between two reads is doubled while they take little time.
    let (mut together, mut start) = (1, Instant::now());
    for batch in source.epoch(&backend, 0, 0)? {
        if ask() == Control::Stop {
            return Ok(None);
        }
        let batch = batch?;
        let mut tape = Tape::evaluate(parameters);
        let x = tape.constant(batch.images.clone());
        let output = model.forward(&mut tape, x)?;
        let loss = objective.evaluate(&mut tape, &output, &batch.labels)?;
        let mut results = vec![loss.mean.tensor()?];
        if loss.correct.is_some() {
            evaluation.confusion.resize(source.classes(), vec![0; source.classes()]);
            results.extend([output.tensor()?, batch.labels.clone()]);
        }
        pending.push((batch.examples(), results));
        backend.submit()?;
        if pending.len() >= together {
            evaluation.add(&backend, take(&mut pending))?;
            let is_slow = start.elapsed() > PATIENCE;
            together = if is_slow { together / 2 } else { 2 * together }.clamp(1, TOGETHER);
            start = Instant::now();
        }
    }
    evaluation.add(&backend, pending)?;
    evaluation.loss /= evaluation.examples.max(1) as f64;
    Ok(Some(evaluation))
}

impl Evaluation {
    /// Adds batches while `self.loss` is a sum over examples: their examples, and their mean loss, followed by logits and labels if
    /// there are classes.
    fn add<B: Backend>(&mut self, backend: &B, batches: Vec<(usize, Vec<Tensor<B>>)>) -> Result<()> {
        let tensors = batches.iter().flat_map(|(_, results)| results);
        let sources: Vec<_> = tensors.map(|t| (t.buffer(), t.elements())).collect();
        let mut values = backend.read_all(&sources)?.into_iter();
        let mut next = || values.next().unwrap_or_default();
        for (examples, results) in batches {
            self.loss += f64::from(next()[0]) * examples as f64;
            self.examples += examples as u64;
            if results.len() == 1 {
                continue;
            }
            let (logits, labels) = (next(), next());
            let shares = results[2].shape().len() > 1; // of classes, in place of class indices
            let rows = logits.chunks(logits.len() / examples).zip(labels.chunks(labels.len() / examples));
            for (row, label) in rows {
                let class = if shares { first_largest(label) } else { label[0] as usize };
                let found = first_largest(row);
                if let Some(cell) = self.confusion.get_mut(class).and_then(|counts| counts.get_mut(found)) {
                    *cell += 1;
                }
                self.hits.push(found == class);
            }
        }
        Ok(())
    }
}
