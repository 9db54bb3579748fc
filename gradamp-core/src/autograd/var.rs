//! Values on a tape.

use std::sync::Arc;

use crate::fusion::Value;
use crate::{Backend, Result, Tensor};

/// A value on the tape: the output of an operation, which later operations read.
///
/// The tensor may be computed at its first read, so that an operation which knows how runs one kernel for itself and
/// the operation before it. A layer takes its input by value: pass a clone where another layer reads the value too, and
/// the original to the last reader, as in `conv(tape, x.clone())` for the first of two.
#[derive(Clone, Debug)]
pub struct Var<B: Backend> {
    value: Arc<Value<B>>,
    /// Counts the clones of this variable. Each clone may still read the value.
    readers: Arc<()>,
    id: Option<usize>,
}

impl<B: Backend> Var<B> {
    pub(crate) fn new(value: Value<B>, id: Option<usize>) -> Self {
        Self { value: Arc::new(value), readers: Arc::default(), id }
    }

    /// The same value under another number, as the output of an identity.
    pub(crate) fn with_id(self, id: Option<usize>) -> Self {
        Self { id, ..self }
    }

    /// The value's tensor, computed now if this is the first read.
    ///
    /// **Errors:** out of memory; other errors of the backend.
    pub fn tensor(&self) -> Result<Tensor<B>> {
        self.value.tensor()
    }

    /// The value's shape, known before the tensor is computed.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    /// Whether a gradient flows to the value.
    pub fn needs_gradient(&self) -> bool {
        self.id.is_some()
    }

    pub(crate) fn id(&self) -> Option<usize> {
        self.id
    }

    pub(crate) fn value(&self) -> &Arc<Value<B>> {
        &self.value
    }

    /// Whether this is the only clone of the variable, so that nobody else can read it.
    pub(crate) fn has_one_reader(&self) -> bool {
        Arc::strong_count(&self.readers) == 1
    }
}
