//! Batches of labelled images, and the trait of their sources.

use crate::backend::Memory;
use crate::{Result, Tensor};

/// One batch of images and their labels.
#[derive(Clone, Debug)]
pub struct Batch<B: Memory> {
    /// The images, `[n, h, w, c]`, normalised and augmented.
    pub images: Tensor<B>,
    /// What the objective compares the model's output with: class indices `[n]`, stored as f32 (exact below 2^24), shares of classes
    /// `[n, K]`, or the values of a regression `[n, ..]`.
    pub labels: Tensor<B>,
}

impl<B: Memory> Batch<B> {
    /// The number of images.
    pub fn examples(&self) -> usize {
        self.images.shape().first().copied().unwrap_or(0)
    }
}

/// A source of batches of labelled images.
///
/// A batch is a function of (the source's settings, epoch, step), so that a run can be resumed at any step.
pub trait BatchSource<B: Memory> {
    /// The number of examples in an epoch.
    fn examples(&self) -> usize;

    /// The number of batches in an epoch.
    fn batches(&self) -> usize;

    /// The number of images in a batch; the last batch of an epoch may hold fewer.
    fn batch_size(&self) -> usize;

    /// The shape of one image, `[h, w, c]`.
    fn image_shape(&self) -> [usize; 3];

    /// The number of classes.
    fn classes(&self) -> usize;

    /// The batches of `epoch` (from 0), beginning with batch `first`.
    fn epoch<'a>(
        &'a self,
        backend: &B,
        epoch: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>>;
}
