use serde::{Deserialize, Serialize};

use crate::{Backend, BatchSource, Module, Parameters, Result, Tape, ops};

/// How well a model does on a set of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// How often each class (row) was taken for each class (column).
    pub confusion: Vec<Vec<u64>>,
}

impl Evaluation {
    /// Examples.
    pub fn examples(&self) -> u64 {
        self.confusion.iter().flatten().sum()
    }

    /// Examples whose class was found.
    pub fn correct(&self) -> u64 {
        self.confusion.iter().enumerate().map(|(class, row)| row[class]).sum()
    }

    /// The fraction of examples whose class was found.
    pub fn accuracy(&self) -> f64 {
        self.correct() as f64 / self.examples().max(1) as f64
    }

    /// The fraction found of each class; `None` for a class without examples.
    pub fn class_accuracies(&self) -> Vec<Option<f64>> {
        let found = |(class, row): (usize, &Vec<u64>)| {
            let examples: u64 = row.iter().sum();
            (examples > 0).then(|| row[class] as f64 / examples as f64)
        };
        self.confusion.iter().enumerate().map(found).collect()
    }
}

/// Runs `model` in evaluation mode over one epoch of `source`.
pub fn evaluate<B: Backend>(
    model: &impl Module<B>,
    parameters: &mut Parameters<B>,
    source: &dyn BatchSource<B>,
) -> Result<Evaluation> {
    let backend = parameters.backend().clone();
    let classes = source.classes();
    let mut confusion = vec![vec![0; classes]; classes];
    let mut loss_sum = 0.0;
    for batch in source.epoch(&backend, 0, 0)? {
        let batch = batch?;
        let mut tape = Tape::evaluate(parameters);
        let x = tape.constant(batch.images);
        let logits = model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &batch.labels, 0.0)?;
        let labels = batch.labels.to_vec()?;
        loss_sum += f64::from(loss.read()?.0) * labels.len() as f64;
        let logits_host = logits.tensor().to_vec()?;
        for (row, label) in logits_host.chunks(logits.shape()[1]).zip(labels) {
            if let Some(cell) = confusion.get_mut(label as usize).and_then(|r| r.get_mut(first_largest(row)))
            {
                *cell += 1;
            }
        }
    }
    let examples: u64 = confusion.iter().flatten().sum();
    Ok(Evaluation { loss: loss_sum / examples.max(1) as f64, confusion })
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
