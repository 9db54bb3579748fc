//! Images that stay on the host: the twin of backends that keep images on their device.

use std::sync::Arc;

use crate::augment::{Augmentation, Choice, apply};
use crate::keep_images::{ImageSet, KeptImages, MakeBatch, check_order, check_places};
use crate::random::Stream;
use crate::{Backend, Batch, Result, Tensor};

/// Images in the host's memory. Each batch is prepared there when it is requested.
#[derive(Debug)]
pub struct HostImages<B> {
    backend: B,
    shape: [usize; 3],
    bytes: Vec<u8>,
    labels: Vec<u32>,
    table: Vec<[f32; 256]>,
}

impl<B: Backend> HostImages<B> {
    /// Copies `images`; batches are written to `backend`.
    pub fn keep(backend: &B, images: &ImageSet<'_>) -> Arc<dyn KeptImages<B>> {
        Arc::new(Self {
            backend: backend.clone(),
            shape: images.shape,
            bytes: images.bytes.to_vec(),
            labels: images.labels.to_vec(),
            table: images.table.to_vec(),
        })
    }
}

impl<B: Backend> KeptImages<B> for HostImages<B> {
    fn epoch<'a>(
        &'a self,
        order: &[u32],
        augmentation: Option<(Augmentation, Stream)>,
    ) -> Result<MakeBatch<'a, B>> {
        check_order(order, self.labels.len())?;
        let order = order.to_vec();
        let [h, w, c] = self.shape;
        let size = h * w * c;
        Ok(Box::new(move |places| {
            check_places(&places, order.len())?;
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for example in order[places].iter().map(|&example| example as usize) {
                let choice = match augmentation {
                    Some((augmentation, epoch)) => augmentation.choose(epoch, example, [h, w]),
                    None => Choice::default(),
                };
                let mut image = vec![f32::NAN; size];
                apply(&choice, self.shape, &self.table, &self.bytes[example * size..][..size], &mut image);
                images.extend(image);
                labels.push(self.labels[example] as f32);
            }
            Ok(Batch {
                images: Tensor::from_slice(&self.backend, &[labels.len(), h, w, c], &images)?,
                labels: Tensor::from_slice(&self.backend, &[labels.len()], &labels)?,
            })
        }))
    }
}
