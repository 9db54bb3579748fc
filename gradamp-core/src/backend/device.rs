//! Abilities of devices beyond computing: running behind the host, keeping images, fusing operations.

use std::sync::Arc;

use super::fused::FusedKernels;
use super::layers::Layers;
use super::optimizer::OptimizerKernels;
use crate::Result;
use crate::geometry::Conv2d;
use crate::keep_images::{ImageSet, KeptImages};

/// Abilities that only some devices have. Every method has a default that is right for a device which computes at once. A new backend
/// begins with an empty `impl`.
pub trait Device: Layers + OptimizerKernels {
    /// Hands recorded work to the device without waiting for it. The trainer calls this at the end of each step.
    fn submit(&self) -> Result<()> {
        Ok(())
    }

    /// Waits until all work is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// How many steps the host runs ahead of the device before it reads their results. With 0, the host reads the results
    /// of each step at once.
    fn steps_ahead(&self) -> usize {
        0
    }

    /// The number of buffers and other objects of the device that were created rather than used again. It is constant in
    /// steady state. `None` if the backend does not count.
    fn fresh_allocations(&self) -> Option<u64> {
        None
    }

    /// [`Layers::conv2d`](super::Layers::conv2d), and [`Layers::batch_norm_statistics`](super::Layers::batch_norm_statistics) of y while it is in cache.
    fn conv2d_with_moments(
        &self,
        g: &Conv2d,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
        mean: &mut Self::Buffer,
        variance: &mut Self::Buffer,
    ) -> Result<()> {
        self.conv2d(g, x, w, bias, y)?;
        self.batch_norm_statistics(&g.y_rows(), y, mean, variance)
    }

    /// The kernels that compute a rectified batch norm together with its reader; `None` if the device has none, and then
    /// each operation runs its own kernel.
    fn fused_kernels(&self) -> Option<&dyn FusedKernels<Self>> {
        None
    }

    /// Copies images to the device, which then makes the batches; see [`KeptImages`]. `None` if the device does not support
    /// this, or has no memory for the images: the host then prepares the batches.
    fn keep_images(&self, _images: &ImageSet<'_>) -> Result<Option<Arc<dyn KeptImages<Self>>>> {
        Ok(None)
    }
}
