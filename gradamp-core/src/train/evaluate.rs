use std::mem::take;
use std::time::{Duration, Instant};

use super::{Control, Evaluation};
use crate::{Backend, Batch, BatchSource, Error, Module, Parameters, Result, Tape, Tensor, ops};

/// The largest number of batches whose results are read together: enough to hide the wait for a device, in little memory.
const TOGETHER: usize = 16;
/// The longest time between two reads. A request to stop waits for the next read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs `model` in evaluation mode over one epoch of `source`.
pub fn evaluate<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    source: &dyn BatchSource<B>,
) -> Result<Evaluation> {
    let whole = evaluate_unless(model, parameters, source, &mut || Control::Continue)?;
    whole.ok_or_else(|| Error::external("the evaluation stopped without a request"))
}

/// Like [`evaluate`]. Calls `ask` before every batch, and returns `None` as soon as the answer is to stop.
pub fn evaluate_unless<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    source: &dyn BatchSource<B>,
    ask: &mut dyn FnMut() -> Control,
) -> Result<Option<Evaluation>> {
    let backend = parameters.backend().clone();
    let classes = source.classes();
    let mut evaluation =
        Evaluation { loss: 0.0, confusion: vec![vec![0; classes]; classes], hits: Vec::new() };
    let mut pending = Vec::with_capacity(TOGETHER);
    // The number of batches between two reads is doubled while they take little time.
    let (mut together, mut start) = (1, Instant::now());
    for batch in source.epoch(&backend, 0, 0)? {
        if ask() == Control::Stop {
            return Ok(None);
        }
        let Batch { images, labels } = batch?;
        let mut tape = Tape::evaluate(parameters);
        let x = tape.constant(images);
        let logits = model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &labels, 0.0)?;
        pending.push([loss.mean.tensor()?, logits.tensor()?, labels]);
        backend.submit()?;
        if pending.len() >= together {
            evaluation.add(&backend, take(&mut pending))?;
            let is_slow = start.elapsed() > PATIENCE;
            together = if is_slow { together / 2 } else { 2 * together }.clamp(1, TOGETHER);
            start = Instant::now();
        }
    }
    evaluation.add(&backend, pending)?;
    evaluation.loss /= evaluation.examples().max(1) as f64;
    Ok(Some(evaluation))
}

impl Evaluation {
    /// Adds batches of (mean loss, logits, labels) while `self.loss` is a sum over examples.
    fn add<B: Backend>(&mut self, backend: &B, batches: Vec<[Tensor<B>; 3]>) -> Result<()> {
        let sources: Vec<_> = batches.iter().flatten().map(|t| (t.buffer(), t.elements())).collect();
        for results in backend.read_all(&sources)?.as_chunks().0 {
            let [loss, logits, labels] = results;
            self.loss += f64::from(loss[0]) * labels.len() as f64;
            for (row, label) in logits.chunks(logits.len() / labels.len()).zip(labels) {
                let (class, found) = (*label as usize, first_largest(row));
                if let Some(cell) = self.confusion.get_mut(class).and_then(|counts| counts.get_mut(found)) {
                    *cell += 1;
                }
                self.hits.push(found == class);
            }
        }
        Ok(())
    }
}

fn first_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}
