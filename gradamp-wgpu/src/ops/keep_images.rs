//! Images kept in device memory, and the batches that the device makes from them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use gradamp_core::augment::Augmentation;
use gradamp_core::keep_images::{ImageSet, KeptImages, MakeBatch, check_order, check_places};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Batch, Error, Result, Tensor};

use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::shaders::Shader;
use crate::shaders::kernel::Kernel;

/// The parameters of `augment.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub(crate) struct Params {
    len: u32,
    first: u32,
    key_low: u32,
    key_high: u32,
    crop_padding: u32,
    flip: u32,
    cutout: u32,
    h: u32,
    w: u32,
    c: u32,
}

/// All kernels of `augment.wgsl`.
pub(crate) const KERNELS: &[Kernel<'static>] = &[kernel("choose"), kernel("apply")];

const fn kernel(entry: &'static str) -> Kernel<'static> {
    Kernel { shader: Shader::Augment, entry, parameters: &[] }
}

/// The largest number of bytes of a set, and of pixels of a shift or a cutout. The shader adds two such numbers in an i32.
const MAX: usize = 1 << 30;
/// The images of a workgroup of `choose`, and the pixels of a workgroup of `apply`.
const CHOOSE_GROUP: usize = 64;
const APPLY_GROUP: usize = 256;

/// A set of images in device memory.
#[derive(Debug)]
struct DeviceImages {
    gpu: Wgpu,
    n: usize,
    shape: [usize; 3],
    bytes: Buffer,
    labels: Buffer,
    table: Buffer,
}

impl Wgpu {
    /// Copies `images` to the device. Returns `None` if there is no memory for them, and on a software rasteriser. The rasteriser runs
    /// on the host's cores, but takes 16 ms to gather 128 images of CIFAR's size, for which the host's own code takes 1 ms.
    pub(crate) fn keep(&self, images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        if !self.runs_tiled() || images.bytes.len() > MAX {
            return Ok(None);
        }
        let labels: Vec<f32> = images.labels.iter().map(|&label| label as f32).collect();
        let table: &[f32] = images.table.as_flattened();
        // Uploads consist of whole words.
        let bytes = match images.bytes.len() % 4 {
            0 => Cow::Borrowed(images.bytes),
            rest => Cow::Owned([images.bytes, &[0; 3][..4 - rest]].concat()),
        };
        let (Some(bytes), Some(labels), Some(table)) = (
            self.try_upload(&bytes)?,
            self.try_upload(bytemuck::cast_slice(&labels))?,
            self.try_upload(bytemuck::cast_slice(table))?,
        ) else {
            return Ok(None);
        };
        let (n, shape) = (images.len(), images.shape);
        Ok(Some(Arc::new(DeviceImages { gpu: self.clone(), n, shape, bytes, labels, table })))
    }

    /// A new buffer that begins with `bytes`; `None` if there is no memory for it.
    fn try_upload(&self, bytes: &[u8]) -> Result<Option<Buffer>> {
        let Some(buffer) = self.try_allocate(bytes.len().div_ceil(4))? else { return Ok(None) };
        self.upload(bytes, &buffer)?;
        Ok(Some(buffer))
    }
}

impl DeviceImages {
    /// The parameters for `len` invocations and images of this shape.
    fn params(&self, len: usize) -> Params {
        let [h, w, c] = self.shape.map(|size| size as u32);
        Params { len: len as u32, h, w, c, ..Params::default() }
    }

    /// Draws the augmentation of each image of an order.
    fn choose(
        &self,
        order: &Buffer,
        len: usize,
        augmentation: Augmentation,
        epoch: Stream,
    ) -> Result<Buffer> {
        let Augmentation { crop_padding, flip, cutout } = augmentation;
        if crop_padding > MAX || cutout > MAX {
            let message =
                format!("expected a padding and a cutout of at most {MAX} pixels, found {augmentation:?}");
            return Err(Error::shape("keep_images", message));
        }
        let [key_low, key_high] = epoch.key();
        let params = Params {
            key_low,
            key_high,
            crop_padding: crop_padding as u32,
            flip: u32::from(flip),
            cutout: cutout as u32,
            ..self.params(len)
        };
        let choices = self.gpu.new_buffer(8 * len)?;
        self.gpu.run(kernel("choose"), &[order, &choices], &params, len.div_ceil(CHOOSE_GROUP))?;
        Ok(choices)
    }

    fn batch(&self, order: &Buffer, choices: &Buffer, places: Range<usize>) -> Result<Batch<Wgpu>> {
        let ([h, w, c], n) = (self.shape, places.len());
        let pixels = n * h * w;
        let images = self.gpu.new_buffer(pixels * c)?;
        let labels = self.gpu.new_buffer(n)?;
        let buffers = [order, choices, &self.bytes, &self.table, &self.labels, &images, &labels];
        let params = Params { first: places.start as u32, ..self.params(pixels) };
        self.gpu.run(kernel("apply"), &buffers, &params, pixels.div_ceil(APPLY_GROUP))?;
        Ok(Batch {
            images: Tensor::from_buffer(&self.gpu, &[n, h, w, c], images)?,
            labels: Tensor::from_buffer(&self.gpu, &[n], labels)?,
        })
    }
}

impl KeptImages<Wgpu> for DeviceImages {
    fn epoch<'a>(
        &'a self,
        order: &[u32],
        augmentation: Option<(Augmentation, Stream)>,
    ) -> Result<MakeBatch<'a, Wgpu>> {
        check_order(order, self.n)?;
        let len = order.len();
        let buffer = self.gpu.new_buffer(len)?;
        self.gpu.upload(bytemuck::cast_slice(order), &buffer)?;
        // The default augmentation changes nothing, whichever random numbers are drawn.
        let nothing = (Augmentation::default(), Stream::new(0, Purpose::Augment));
        let (augmentation, epoch) = augmentation.unwrap_or(nothing);
        let choices = self.choose(&buffer, len, augmentation, epoch)?;
        Ok(Box::new(move |places| {
            check_places(&places, len)?;
            self.batch(&buffer, &choices, places)
        }))
    }
}
