//! The operands of timed operations: their buffers, and descriptions of their shapes.

use gradamp_core::Result;
use gradamp_core::backend::{Backend, BatchNormOperands};
use gradamp_core::geometry::{Conv2d, Pool2d, Rows};

/// An operation with its own buffers. It can be run any number of times.
pub type Call = Box<dyn FnMut() -> Result<()>>;

/// The values per channel of a batch norm: mean, variance and gamma.
pub struct Channels<B: Backend>([B::Buffer; 3]);

impl<B: Backend> Channels<B> {
    /// Allocates the buffers with `values`.
    ///
    /// **Errors:** out of memory.
    pub fn new(values: &impl Fn(usize) -> Result<B::Buffer>, g: Rows) -> Result<Self> {
        Ok(Self([values(g.channels)?, values(g.channels)?, values(g.channels)?]))
    }

    /// The operands. Epsilon is 1 because the variances are arbitrary values, which may be negative.
    pub fn operands(&self) -> BatchNormOperands<'_, B> {
        let Self([mean, variance, gamma]) = self;
        BatchNormOperands { mean, variance, gamma, beta: gamma, epsilon: 1.0 }
    }
}

/// Describes the shapes of a convolution.
pub fn of_convolution(g: &Conv2d) -> String {
    let Conv2d { kh, kw, stride, c_out, .. } = g;
    format!("{kh}x{kw}/{stride} {:?} to {c_out}", g.x_shape())
}

/// Describes the shapes of a max pool.
pub fn of_pool(g: &Pool2d) -> String {
    format!("{}x{}/{} {:?}", g.size, g.size, g.stride, g.x_shape())
}

/// Describes the shape of rows of channels.
pub fn of_rows(g: &Rows) -> String {
    format!("[{}, {}]", g.rows, g.channels)
}
