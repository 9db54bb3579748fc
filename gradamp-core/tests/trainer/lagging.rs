//! A backend whose results are read late, and which counts how often the host waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradamp_core::backend::{Device, Layers, LinearAlgebra, Memory, OptimizerKernels};
use gradamp_core::{Reference, Result, forward_backend};

/// The kernels of the reference backend, on a device that may be `ahead` steps behind the host.
#[derive(Clone, Debug)]
pub struct Lagging {
    reference: Reference,
    ahead: usize,
    waits: Arc<AtomicUsize>,
    submits: Arc<AtomicUsize>,
}

impl Lagging {
    pub fn new(ahead: usize) -> Self {
        Self { reference: Reference, ahead, waits: Arc::default(), submits: Arc::default() }
    }

    fn inner(&self) -> &Reference {
        &self.reference
    }

    /// How often the host has waited, and how often it has submitted work.
    pub fn counts(&self) -> (usize, usize) {
        (self.waits.load(Ordering::Relaxed), self.submits.load(Ordering::Relaxed))
    }
}

type Buffer = Vec<f32>;

impl Memory for Lagging {
    type Buffer = Buffer;

    fn name(&self) -> String {
        format!("{} ({} steps behind)", self.reference.name(), self.ahead)
    }
    fn read(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.reference.read(src, dst)
    }
    fn read_all(&self, sources: &[(&Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.reference.read_all(sources)
    }
    forward_backend!(Memory only allocate, write);
}

impl LinearAlgebra for Lagging {
    forward_backend!(LinearAlgebra);
}

impl Layers for Lagging {
    forward_backend!(Layers);
}

impl OptimizerKernels for Lagging {
    forward_backend!(OptimizerKernels);
}

impl Device for Lagging {
    fn submit(&self) -> Result<()> {
        self.submits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn steps_ahead(&self) -> usize {
        self.ahead
    }
}
