//! Batches for a trainer, which threads prepare while a training step runs.

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

/// Serves a part of a data set in batches.
///
/// The content of batch b of an epoch is a function of (part, batch size, mode, seed, epoch, b). It has the same bits for
/// any number of workers, and whichever batch an epoch starts with.
///
/// ```
/// use std::sync::Arc;
///
/// use gradamp_core::{BatchSource, Reference};
/// use gradamp_data::{Augmentation, Loader, ShapesSettings, Subset};
///
/// let pair = ShapesSettings { train: 50, test: 20, seed: 1 }.generate()?;
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
    /// A loader for training: every epoch has an order of its own, and images are augmented. A last, smaller batch is left
    /// out.
    ///
    /// The order of an epoch is the permutation of `Stream::new(seed, Purpose::Shuffle).at(epoch)`, applied to the part.
    ///
    /// **Errors:** a batch size of 0, or one larger than the part, which would leave no batch.
    pub fn training(part: Subset, batch_size: usize, seed: u64, augmentation: Augmentation) -> Result<Self> {
        let loader = Self { training: Some((seed, augmentation)), ..Self::evaluation(part, batch_size)? };
        loader.drop_last(true)
    }

    /// A loader for evaluation: examples in the part's order, images normalised only, and a last, smaller batch.
    ///
    /// **Errors:** a batch size of 0.
    pub fn evaluation(part: Subset, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::setting("batch_size", "expected at least 1, found 0"));
        }
        let table = part.data().normalisation().table().into();
        Ok(Self { part, batch_size, training: None, drop_last: false, workers: 1, table })
    }

    /// Sets whether a last, smaller batch is left out.
    ///
    /// **Errors:** no batch would be left.
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

    /// Sets the number of threads that prepare batches; the default is 1. Where the system starts fewer threads, fewer are
    /// used. With 0, the thread that asks for a batch prepares it.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// The part of the data set that the loader serves.
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

    /// The batches of `epoch` (from 0) in the host's memory, beginning with batch `first`.
    ///
    /// **Errors:** `first` past the end of the epoch. An item is an error where a thread failed.
    pub fn host_epoch(&self, epoch: usize, first: usize) -> Result<HostBatches> {
        let batches = self.rest(first)?;
        let (loader, order, augmentation) = (self.clone(), self.order(epoch), self.augmentation(epoch));
        let produce = move |batch| loader.prepare(&order[loader.places(batch)], augmentation);
        Ok(HostBatches(Ordered::new(batches, self.workers, produce)))
    }

    /// The numbers of the batches of an epoch, from `first` on.
    pub(crate) fn rest(&self, first: usize) -> Result<Range<usize>> {
        let batches = self.batches();
        if first > batches {
            let message =
                format!("expected at most {batches}, the number of batches of an epoch, found {first}");
            return Err(Error::setting("first batch", message));
        }
        Ok(first..batches)
    }

    /// The examples of `epoch`, by their place in the data set.
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

    /// The augmentation of `epoch`, and the random numbers that it draws from; `None` for evaluation.
    pub(crate) fn augmentation(&self, epoch: usize) -> Option<(Augmentation, Stream)> {
        let (seed, augmentation) = self.training?;
        Some((augmentation, Stream::new(seed, Purpose::Augment).at(epoch as u64)))
    }

    /// The places of a batch in its epoch's order.
    pub(crate) fn places(&self, batch: usize) -> Range<usize> {
        batch * self.batch_size..self.part.len().min((batch + 1) * self.batch_size)
    }

    /// Makes a batch of `examples`.
    ///
    /// **Errors:** not enough memory for the images.
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
        let labels = examples.iter().map(|&example| f32::from(data.labels()[example])).collect();
        Ok(HostBatch { images, labels })
    }
}

/// The batches of one epoch, in order. Dropping the iterator ends the threads that prepare them.
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

    /// Each image's pixels hold its number.
    fn part(n: usize) -> Subset {
        let images = (0..n).flat_map(|i| [i as u8; 12]).collect();
        let labels = (0..n).map(|i| (i % 4) as u8).collect();
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let constants = Normalisation { mean: vec![0.0], std: vec![1.0 / 255.0] };
        Subset::all(Arc::new(Dataset::new("n", [3, 4, 1], images, labels, classes, constants).unwrap()))
    }

    fn numbers(batches: &[HostBatch]) -> Vec<usize> {
        batches.iter().flat_map(|b| b.images.chunks(12).map(|i| i[0].round() as usize)).collect()
    }

    fn collect(loader: &Loader, epoch: usize, first: usize) -> Vec<HostBatch> {
        loader.host_epoch(epoch, first).unwrap().collect::<Result<_>>().unwrap()
    }

    #[test]
    fn evaluation_is_in_order_with_a_last_smaller_batch() {
        let batches = collect(&Loader::evaluation(part(11), 4).unwrap(), 3, 0);
        assert_eq!(batches.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(numbers(&batches), (0..11).collect::<Vec<_>>());
        assert_eq!(batches[2].labels, [0.0, 1.0, 2.0]);
    }

    #[test]
    fn training_sees_each_example_once_in_another_order_each_epoch() {
        let loader = Loader::training(part(12), 4, 7, Augmentation::default()).unwrap();
        let epochs = [0, 1].map(|epoch| numbers(&collect(&loader, epoch, 0)));
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
    fn impossible_batches_are_errors() {
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
        fn the_bits_depend_on_neither_workers_nor_where_an_epoch_begins(
            seed: u64, epoch in 0usize..5, batch_size in 1usize..9, workers in 0usize..6, first in 0usize..4,
        ) {
            let augmentation = Augmentation { crop_padding: 1, flip: true, cutout: 2 };
            let loader = Loader::training(part(37), batch_size, seed, augmentation).unwrap().workers(0);
            let whole = collect(&loader, epoch, 0);
            prop_assert_eq!(whole.len(), loader.batches());
            prop_assert_eq!(&collect(&loader.workers(workers), epoch, first)[..], &whole[first..]);
        }

        /// An image is changed in the same way whatever batch it falls into.
        #[test]
        fn augmentation_follows_the_example(seed: u64, batch_size in 1usize..9) {
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
