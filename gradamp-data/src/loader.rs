//! Batches for a trainer. Threads prepare them while a training step runs.

use std::ops::Range;
use std::sync::Arc;

use gradamp_core::augment::{Augmentation, Choice, apply};
use gradamp_core::memory::filled;
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Batch, BatchSource, Tensor};

use crate::ordered::Ordered;
use crate::{Error, Result, Subset};

/// One batch in the host's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostBatch {
    /// The images, `[n, h, w, c]`, normalised and augmented.
    pub images: Vec<f32>,
    /// The class indices, `[n]`.
    pub labels: Vec<f32>,
}

/// Serves some examples of a data set in batches.
///
/// The content of a batch is a function of the examples, the batch size, the mode (training or evaluation), the seed,
/// the epoch and the number of the batch. Its bits depend neither on the number of workers nor on the batch with
/// which an epoch starts.
///
/// ```
/// use std::sync::Arc;
///
/// use gradamp_core::{BatchSource, Reference};
/// use gradamp_data::{Augmentation, Loader, ShapesSettings, Subset};
///
/// let pair = ShapesSettings::default().with_train(50).with_test(20).generate()?;
/// let part = Subset::all(Arc::new(pair.train));
/// let augmentation = Augmentation { crop_padding: 4, flip: true, cutout: 0 };
/// let loader = Loader::training(part, 16, 7, augmentation)?.workers(2);
/// assert_eq!(loader.batches(), 3); // the last 2 of 50 examples do not fill a batch
///
/// // The batches of epoch 0, as tensors of a backend.
/// for batch in loader.epoch(&Reference, 0, 0)? {
///     let batch = batch?;
///     assert_eq!(batch.images.shape()[..], [16, 32, 32, 3]);
///     assert_eq!(batch.labels.shape()[..], [16]);
/// }
/// # Ok::<(), gradamp_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Loader {
    part: Subset,
    batch_size: usize,
    /// The seed and the augmentation of a training loader.
    training: Option<(u64, Augmentation)>,
    drop_last: bool,
    workers: usize,
    table: Arc<[[f32; 256]]>,
}

impl Loader {
    /// Creates a loader for training: each epoch has its own order, images are augmented, and a last batch that would
    /// be smaller is left out.
    ///
    /// The order of an epoch is the permutation of `Stream::new(seed, Purpose::Shuffle).at(epoch)`, applied to the
    /// examples.
    ///
    /// **Errors:** a batch size of 0, or one larger than the number of examples, which would leave no batch.
    pub fn training(part: Subset, batch_size: usize, seed: u64, augmentation: Augmentation) -> Result<Self> {
        let loader = Self { training: Some((seed, augmentation)), ..Self::evaluation(part, batch_size)? };
        loader.drop_last(true)
    }

    /// Creates a loader for evaluation: examples come in the order of `part`, images are normalised but not
    /// augmented, and the last batch may be smaller.
    ///
    /// **Errors:** a batch size of 0.
    pub fn evaluation(part: Subset, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::setting("batch_size", "expected at least 1, found 0"));
        }
        let table = part.data().normalisation().table().into();
        Ok(Self { part, batch_size, training: None, drop_last: false, workers: 1, table })
    }

    /// Sets whether a last batch that would be smaller is left out.
    ///
    /// **Errors:** there would be no batch.
    pub fn drop_last(self, drop_last: bool) -> Result<Self> {
        if drop_last && self.batch_size > self.part.len() {
            let message = format!(
                "expected at most the {} training examples, found {}",
                self.part.len(),
                self.batch_size
            );
            return Err(Error::setting("batch_size", message));
        }
        Ok(Self { drop_last, ..self })
    }

    /// Sets the number of threads that prepare batches; the default is 1. If the system refuses to start that many,
    /// fewer are used. With 0, each batch is prepared by the thread that asks for it.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// The examples that the loader serves.
    pub fn part(&self) -> &Subset {
        &self.part
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.part.len() / self.batch_size,
            false => self.part.len().div_ceil(self.batch_size),
        }
    }

    /// The batches of `epoch` (counted from 0) in the host's memory, beginning with batch `first`.
    ///
    /// **Errors:** `first` is past the end of the epoch. An item of the iterator is an error if a thread failed.
    pub fn host_epoch(&self, epoch: usize, first: usize) -> Result<HostBatches> {
        let batches = self.rest(first)?;
        let (loader, order, augmentation) = (self.clone(), self.order(epoch), self.augmentation(epoch));
        let produce = move |batch| loader.prepare(&order[loader.places(batch)], augmentation);
        Ok(HostBatches(Ordered::new(batches, self.workers, produce)))
    }

    /// The numbers of the batches of an epoch, beginning with `first`.
    pub(crate) fn rest(&self, first: usize) -> Result<Range<usize>> {
        let batches = self.batches();
        if first > batches {
            let message =
                format!("expected at most {batches}, the number of batches of an epoch, found {first}");
            return Err(Error::setting("first batch", message));
        }
        Ok(first..batches)
    }

    /// The examples of `epoch` in order, as indices into the data set.
    pub(crate) fn order(&self, epoch: usize) -> Vec<usize> {
        let examples = self.part.examples();
        match self.training {
            None => examples.to_vec(),
            Some((seed, _)) => {
                let order = Stream::new(seed, Purpose::Shuffle).at(epoch as u64).permutation(self.part.len());
                order.into_iter().map(|place| examples[place]).collect()
            }
        }
    }

    /// The augmentation of `epoch`, and its source of random numbers; `None` for evaluation.
    pub(crate) fn augmentation(&self, epoch: usize) -> Option<(Augmentation, Stream)> {
        let (seed, augmentation) = self.training?;
        Some((augmentation, Stream::new(seed, Purpose::Augment).at(epoch as u64)))
    }

    /// The positions of a batch's examples in the order of its epoch.
    pub(crate) fn places(&self, batch: usize) -> Range<usize> {
        batch * self.batch_size..self.part.len().min((batch + 1) * self.batch_size)
    }

    /// Makes a batch from `examples`.
    ///
    /// **Errors:** there is not enough memory for the images.
    fn prepare(&self, examples: &[usize], augmentation: Option<(Augmentation, Stream)>) -> Result<HostBatch> {
        let data = self.part.data();
        let shape @ [h, w, _] = data.image_shape();
        let size = data.image_bytes();
        let elements = examples.len() * size;
        let mut images = filled(elements, 0.0, "images").map_err(|_| Error::Memory {
            what: format!("the images of a batch of {}", examples.len()),
            bytes: elements * size_of::<f32>(),
            advice: "a smaller batch fits".into(),
            field: None,
        })?;
        for (&example, out) in examples.iter().zip(images.chunks_exact_mut(size)) {
            let choice = match augmentation {
                Some((augmentation, epoch)) => augmentation.choose(epoch, example, [h, w]),
                None => Choice::default(),
            };
            apply(&choice, shape, &self.table, &data.images()[example * size..(example + 1) * size], out);
        }
        let labels = examples.iter().map(|&example| data.labels()[example] as f32).collect();
        Ok(HostBatch { images, labels })
    }
}

/// The batches of one epoch, in order. Dropping the iterator stops the threads that prepare them.
pub struct HostBatches(Ordered<HostBatch>);

impl Iterator for HostBatches {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<B: Backend> BatchSource<B> for Loader {
    fn examples(&self) -> usize {
        self.part.len().min(self.batches() * self.batch_size)
    }

    fn batches(&self) -> usize {
        self.batches()
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn image_shape(&self) -> [usize; 3] {
        self.part.data().image_shape()
    }

    fn classes(&self) -> usize {
        self.part.data().classes().len()
    }

    fn epoch<'a>(
        &'a self,
        backend: &B,
        epoch: usize,
        first: usize,
    ) -> gradamp_core::Result<Box<dyn Iterator<Item = gradamp_core::Result<Batch<B>>> + 'a>> {
        let backend = backend.clone();
        let [h, w, c] = self.part.data().image_shape();
        let batches = self.host_epoch(epoch, first)?.map(move |batch| {
            let HostBatch { images, labels } = batch?;
            Ok(Batch {
                images: Tensor::from_slice(&backend, &[labels.len(), h, w, c], &images)?,
                labels: Tensor::from_slice(&backend, &[labels.len()], &labels)?,
            })
        });
        Ok(Box::new(batches))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dataset, Normalisation};

    /// A data set in which every pixel of an image holds the image's number.
    fn part(n: usize) -> Subset {
        let images = (0..n).flat_map(|i| [i as u8; 12]).collect();
        let labels = (0..n).map(|i| (i % 4) as u32).collect();
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let constants = Normalisation { mean: vec![0.0], std: vec![1.0 / 255.0] };
        Subset::all(Arc::new(Dataset::new("n", [3, 4, 1], images, labels, classes, constants).unwrap()))
    }

    fn image_numbers(batches: &[HostBatch]) -> Vec<usize> {
        batches.iter().flat_map(|b| b.images.chunks(12).map(|i| i[0].round() as usize)).collect()
    }

    fn collect(loader: &Loader, epoch: usize, first: usize) -> Vec<HostBatch> {
        loader.host_epoch(epoch, first).unwrap().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn evaluation_keeps_the_order_and_ends_with_a_smaller_batch() {
        let batches = collect(&Loader::evaluation(part(11), 4).unwrap(), 3, 0);
        assert_eq!(batches.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(image_numbers(&batches), (0..11).collect::<Vec<_>>());
        assert_eq!(batches[2].labels, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn each_epoch_of_training_has_every_example_once_in_a_new_order() {
        let loader = Loader::training(part(12), 4, 7, Augmentation::default()).unwrap();
        let epochs = [0, 1].map(|epoch| image_numbers(&collect(&loader, epoch, 0)));
        assert_ne!(epochs[0], epochs[1]);
        for mut order in epochs {
            order.sort_unstable();
            assert_eq!(order, (0..12).collect::<Vec<_>>());
        }
        let loader = Loader::training(part(11), 4, 7, Augmentation::default()).unwrap();
        assert_eq!(loader.batches(), 2);
        assert_eq!(loader.drop_last(false).unwrap().batches(), 3);
    }

    #[test]
    fn impossible_batch_sizes_are_errors() {
        assert!(Loader::evaluation(part(3), 0).is_err());
        let message = Loader::training(part(3), 4, 0, Augmentation::default()).unwrap_err().to_string();
        assert_eq!(message, "batch_size: expected at most the 3 training examples, found 4");
        let loader = Loader::evaluation(part(3), 2).unwrap();
        assert_eq!(loader.host_epoch(0, 2).unwrap().count(), 0);
        assert!(loader.host_epoch(0, 3).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn bits_do_not_depend_on_workers_or_the_first_batch(
            seed: u64, epoch in 0usize..5, batch_size in 1usize..9, workers in 0usize..6, first in 0usize..4,
        ) {
            let augmentation = Augmentation { crop_padding: 1, flip: true, cutout: 2 };
            let loader = Loader::training(part(37), batch_size, seed, augmentation).unwrap().workers(0);
            let whole = collect(&loader, epoch, 0);
            prop_assert_eq!(whole.len(), loader.batches());
            prop_assert_eq!(&collect(&loader.workers(workers), epoch, first)[..], &whole[first..]);
        }

        /// An example is augmented in the same way for any batch size.
        #[test]
        fn augmentation_does_not_depend_on_the_batch_size(seed: u64, batch_size in 1usize..9) {
            let augmentation = Augmentation { crop_padding: 1, flip: true, cutout: 2 };
            let images = |size| {
                let loader = Loader::training(part(36), size, seed, augmentation).unwrap();
                let batches = collect(&loader.drop_last(false).unwrap(), 0, 0);
                batches.into_iter().flat_map(|b| b.images).collect::<Vec<f32>>()
            };
            prop_assert_eq!(images(batch_size), images(36));
        }
    }
}
