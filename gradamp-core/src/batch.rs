//! Where a trainer's examples come from.

use crate::{Backend, Result, Tensor};

/// One batch of images and their labels.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// The images, `[n, h, w, c]`, normalised and augmented.
    pub images: Tensor<B>,
    /// The class indices, `[n]`, stored as f32 (exact below 2^24).
    pub labels: Tensor<B>,
}

/// A set of labelled images that is served in batches.
///
/// What a batch holds is a function of (the source's settings, epoch, step), so that a run resumes at any step.
pub trait BatchSource<B: Backend> {
    /// Examples in an epoch.
    fn examples(&self) -> usize;

    /// Batches in an epoch.
    fn batches(&self) -> usize;

    /// Images per batch; the last batch of an epoch may hold fewer.
    fn batch_size(&self) -> usize;

    /// The shape of one image, `[h, w, c]`.
    fn image_shape(&self) -> [usize; 3];

    /// How many classes there are.
    fn classes(&self) -> usize;

    /// The batches of `epoch` (from 0), beginning with batch `first`.
    fn epoch<'a>(
        &'a self,
        backend: &B,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>>;
}
