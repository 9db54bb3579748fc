//! Batches made on a device that keeps the data set in its memory.

use std::sync::Arc;

use gradamp_core::keep_images::{ImageSet, KeptImages};
use gradamp_core::{Backend, Batch, BatchSource, Result};

use crate::{Dataset, Loader};

/// Serves the same batches as a [`Loader`], bit for bit, from images that a backend keeps on its device. The host
/// sends the order of the examples once per epoch, and the device makes the batches.
#[derive(Clone, Debug)]
pub struct Resident<B: Backend> {
    loader: Loader,
    data: Arc<Dataset>,
    kept: Arc<dyn KeptImages<B>>,
}

impl Loader {
    /// Copies the data set to the device of `backend` and returns a source that makes the loader's batches there.
    /// Returns `None` if the backend can't keep images.
    ///
    /// **Errors:** those of the backend.
    pub fn keep_on<B: Backend>(&self, backend: &B) -> Result<Option<Resident<B>>> {
        let data = self.part().data();
        let table = data.normalisation().table();
        let images = ImageSet::new(data.image_shape(), data.images(), data.labels(), &table)?;
        let kept = backend.keep_images(&images)?;
        Ok(kept.map(|kept| Resident { loader: self.clone(), data: data.clone(), kept }))
    }
}

impl<B: Backend> Resident<B> {
    /// Serves the batches of another loader from the same copy of the data set. For example, the loader of the
    /// validation examples can share the copy of the training set that they were split off from. Returns `None` if
    /// `loader` serves another data set.
    pub fn share(&self, loader: &Loader) -> Option<Self> {
        let same = Arc::ptr_eq(&self.data, loader.part().data());
        same.then(|| Self { loader: loader.clone(), ..self.clone() })
    }
}

/// The batches are tensors of the backend that keeps the images, whichever backend is passed to `epoch`.
impl<B: Backend> BatchSource<B> for Resident<B> {
    fn examples(&self) -> usize {
        BatchSource::<B>::examples(&self.loader)
    }

    fn batches(&self) -> usize {
        self.loader.batches()
    }

    fn batch_size(&self) -> usize {
        BatchSource::<B>::batch_size(&self.loader)
    }

    fn image_shape(&self) -> [usize; 3] {
        self.data.image_shape()
    }

    fn classes(&self) -> usize {
        self.data.classes().len()
    }

    fn epoch<'a>(
        &'a self,
        _backend: &B,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>> {
        let batches = self.loader.rest(first)?;
        // The cast is exact, because `ImageSet::new` refuses more images than a u32 can count.
        let order: Vec<u32> = self.loader.order(epoch).into_iter().map(|example| example as u32).collect();
        let make = self.kept.epoch(&order, self.loader.augmentation(epoch))?;
        Ok(Box::new(batches.map(move |batch| make(self.loader.places(batch)))))
    }
}

#[cfg(test)]
mod tests {
    use gradamp_core::Reference;
    use gradamp_core::conformance::Required;
    use proptest::prelude::*;

    use super::*;
    use crate::{Augmentation, Normalisation, Subset};

    /// A backend that keeps images. The CPU and the reference backend don't.
    type Keeping = Required<Reference>;

    fn keeping() -> Keeping {
        Required(Reference)
    }

    fn data(n: usize) -> Arc<Dataset> {
        let images = (0..n * 40).map(|i| (i * 37 % 251) as u8).collect();
        let labels = (0..n).map(|i| (i % 3) as u32).collect();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let constants = Normalisation { mean: vec![0.5, 0.25], std: vec![0.25, 0.5] };
        Arc::new(Dataset::new("n", [4, 5, 2], images, labels, classes, constants).unwrap())
    }

    /// The bits of an epoch from batch `first` on: shapes, images, labels.
    fn bits(source: &dyn BatchSource<Keeping>, epoch: usize, first: usize) -> Vec<(Vec<usize>, Vec<u32>)> {
        let batches = source.epoch(&keeping(), epoch, first).unwrap();
        let tensors = batches.map(Result::unwrap).flat_map(|batch| [batch.images, batch.labels]);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        tensors.map(|tensor| (tensor.shape().to_vec(), bits(tensor.to_vec().unwrap()))).collect()
    }

    fn resident(loader: &Loader) -> Resident<Keeping> {
        loader.keep_on(&keeping()).unwrap().unwrap()
    }

    #[test]
    fn a_backend_that_cannot_keep_images_returns_none() {
        let loader = Loader::evaluation(Subset::all(data(3)), 2).unwrap();
        assert!(loader.keep_on(&Reference).unwrap().is_none());
    }

    #[test]
    fn a_copy_is_shared_only_by_loaders_of_the_same_data_set() {
        let all = data(9);
        let part = |examples| Loader::evaluation(Subset::new(all.clone(), examples).unwrap(), 2).unwrap();
        let (train, validation) = (resident(&part(vec![0, 2, 3, 5, 8])), part(vec![7, 1, 4]));
        let shared = train.share(&validation).unwrap();
        assert!(Arc::ptr_eq(&shared.kept, &train.kept));
        assert_eq!(bits(&shared, 0, 0), bits(&validation, 0, 0));
        assert!(train.share(&Loader::evaluation(Subset::all(data(9)), 2).unwrap()).is_none());
    }

    #[test]
    fn an_epoch_cannot_begin_past_its_end() {
        let source = resident(&Loader::evaluation(Subset::all(data(3)), 2).unwrap());
        assert_eq!(bits(&source, 0, 2), []);
        assert!(source.epoch(&keeping(), 0, 3).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn batches_made_on_the_device_equal_those_of_the_loader(
            seed: u64, epoch in 0usize..5, batch_size in 1usize..9, first in 0usize..3, training: bool, drop_last: bool,
            crop_padding in 0usize..4, flip: bool, cutout in 0usize..5, skipped in 0usize..31,
        ) {
            let examples = (0..31).rev().filter(|&example| example != skipped).collect();
            let part = Subset::new(data(31), examples).unwrap();
            let augmentation = Augmentation { crop_padding, flip, cutout };
            let loader = match training {
                true => Loader::training(part, batch_size, seed, augmentation).unwrap(),
                false => Loader::evaluation(part, batch_size).unwrap(),
            };
            let loader = loader.drop_last(drop_last).unwrap();
            let (source, loader): (&dyn BatchSource<Keeping>, &dyn BatchSource<Keeping>) = (&resident(&loader), &loader);
            prop_assert_eq!(bits(source, epoch, first), bits(loader, epoch, first));
            let facts = |s: &dyn BatchSource<Keeping>| (s.examples(), s.batches(), s.batch_size(), s.image_shape(), s.classes());
            prop_assert_eq!(facts(source), facts(loader));
        }
    }
}
