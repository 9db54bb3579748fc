//! What operations are measured on: buffers, and the texts of their shapes.

use gradamp_core::Result;
use gradamp_core::backend::{Backend, BatchNormOperands};
use gradamp_core::geometry::{Conv2d, Pool2d, Rows};

/// An operation on buffers of its own, to be run as often as one likes.
pub type Call = Box<dyn FnMut() -> Result<()>>;

/// A batch norm's numbers per channel.
pub struct Channels<B: Backend>([B::Buffer; 3]);

impl<B: Backend> Channels<B> {
    /// Buffers of numbers from `values`.
    ///
    /// **Errors:** out of memory.
    pub fn new(values: &impl Fn(usize) -> Result<B::Buffer>, g: Rows) -> Result<Self> {
        Ok(Self([values(g.channels)?, values(g.channels)?, values(g.channels)?]))
    }

    /// The variances may be negative, so epsilon keeps the roots real.
    pub fn operands(&self) -> BatchNormOperands<'_, B> {
        let Self([mean, variance, gamma]) = self;
        BatchNormOperands { mean, variance, gamma, beta: gamma, epsilon: 1.0 }
    }
}

/// The shapes of a convolution.
pub fn of_convolution(g: &Conv2d) -> String {
    let Conv2d { kh, kw, stride, c_out, .. } = g;
    format!("{kh}x{kw}/{stride} {:?} to {c_out}", g.x_shape())
}

/// The shapes of a max pool.
pub fn of_pool(g: &Pool2d) -> String {
    format!("{}x{}/{} {:?}", g.size, g.size, g.stride, g.x_shape())
}

/// The shape of rows of channels.
pub fn of_rows(g: &Rows) -> String {
    format!("[{}, {}]", g.rows, g.channels)
}
