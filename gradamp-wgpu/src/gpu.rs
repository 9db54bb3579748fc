//! The opened adapter, and the calls through which operations use it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytemuck::NoUninit;
use gradamp_core::backend::Precision;
use gradamp_core::geometry::Conv2d;
use gradamp_core::{Error, Result};

use crate::algorithm::{Algorithm, Algorithms, ConvOp, Matrices};
use crate::device::adapter::Adapter;
use crate::device::memory::{Allocator, Block, Buffer, Shortage, mib};
use crate::device::pipeline::{Interface, Pipeline, Pipelines};
use crate::device::stream::Stream;
use crate::shaders::kernel::{Kernel, Variant};

/// The GPU backend: a handle to one opened adapter, cheap to clone.
///
/// A call records its work and returns. Recorded work runs in the order of the calls once it is submitted: by
/// [`submit`](gradamp_core::backend::Device::submit) at the end of a step, by any read, or when much work has accumulated.
#[derive(Clone)]
pub struct Wgpu(Arc<Shared>);

struct Shared {
    adapter: Adapter,
    device: wgpu::Device,
    allocator: Arc<Allocator>,
    faults: Faults,
    precision: Precision,
    /// The cooperative matrices that passed their self-test.
    matrices: OnceLock<Matrices>,
    tiled: bool,
    /// The algorithms of a [`Tuning`](crate::Tuning).
    tuned: Algorithms,
    /// The algorithms that were used so far.
    used: Mutex<Algorithms>,
    work: Mutex<Work>,
}

struct Work {
    stream: Stream,
    pipelines: Pipelines,
}

/// What a device has created and submitted since it was opened. A training step in steady state creates nothing and
/// submits once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Blocks of device memory.
    pub buffers: u64,
    /// Chunks of memory through which the host writes.
    pub uploads: u64,
    /// Buffers through which the host reads.
    pub downloads: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Compiled kernels.
    pub pipelines: u64,
    /// Submissions of work.
    pub submissions: u64,
}

/// The settings of [`Wgpu::new`].
pub(crate) struct Setup {
    pub(crate) precision: Precision,
    /// The algorithms to use instead of the default ones.
    pub(crate) tuned: Algorithms,
    /// The largest number of bytes of tensors; `None` for as many as the device has.
    pub(crate) memory: Option<u64>,
    /// Whether a software adapter also runs the kernels that are made for GPUs.
    pub(crate) tiled: bool,
    /// The kernels that may run, with checks at run time; `None` for all, without checks.
    pub(crate) allowed: Option<Vec<Variant>>,
}

impl Wgpu {
    pub(crate) fn new(adapter: &Adapter, device: wgpu::Device, queue: wgpu::Queue, setup: Setup) -> Self {
        Self(Arc::new(Shared {
            adapter: adapter.clone(),
            allocator: Allocator::new(setup.memory),
            faults: Faults::watch(&device),
            tiled: setup.tiled,
            tuned: setup.tuned,
            used: Mutex::default(),
            precision: setup.precision,
            matrices: OnceLock::new(),
            work: Mutex::new(Work {
                stream: Stream::new(device.clone(), queue, adapter),
                pipelines: Pipelines::new(setup.allowed),
            }),
            device,
        }))
    }

    /// The adapter that was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// How precisely convolutions multiply.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The side of the cooperative matrices that multiply convolutions; `None` if they are not used, not supported, or have failed
    /// their self-test.
    pub fn cooperative(&self) -> Option<usize> {
        self.matrices().map(|matrices| matrices.side)
    }

    pub(crate) fn matrices(&self) -> Option<Matrices> {
        self.0.matrices.get().copied()
    }

    /// Lets convolutions multiply by `matrices` from now on.
    pub(crate) fn use_matrices(&self, matrices: Matrices) {
        self.0.matrices.get_or_init(|| matrices);
    }

    /// The algorithm for an operation of a convolution: the one used before, else the tuned one, else `default`.
    pub(crate) fn algorithm_or(
        &self,
        op: ConvOp,
        g: &Conv2d,
        default: impl FnOnce() -> Algorithm,
    ) -> Algorithm {
        let tuned = || self.0.tuned.get(&(op, *g)).copied();
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used.entry((op, *g)).or_insert_with(|| tuned().unwrap_or_else(default))
    }

    /// The operations of convolutions that were computed so far, ordered from the most multiplications to the fewest: an argument
    /// for [`Wgpu::tune`].
    pub fn convolutions(&self) -> Vec<(ConvOp, Conv2d)> {
        let used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = used.keys().copied().collect();
        all.sort_by_key(|(op, g)| (std::cmp::Reverse(g.multiplications()), g.x_shape(), g.w_shape(), *op));
        all
    }

    /// The size of a subgroup, if kernels should broadcast operands within subgroups: on software rasterisers, whose subgroups have
    /// one size and whose workgroup memory is slow. Otherwise `None`.
    pub(crate) fn broadcast_lanes(&self) -> Option<usize> {
        let adapter = &self.0.adapter;
        let [least, most] = adapter.limits.subgroup;
        let fits = least == most && [4, 8, 16].contains(&least) && adapter.fast_paths.subgroups;
        (adapter.is_software() && fits && !self.0.tiled).then_some(least as usize)
    }

    /// Whether kernels use workgroup memory.
    pub(crate) fn runs_tiled(&self) -> bool {
        self.0.tiled || !self.0.adapter.is_software()
    }

    /// The bytes of device memory held for tensors, in use or free for reuse.
    pub fn memory(&self) -> u64 {
        self.0.allocator.held()
    }

    /// What the device has created and submitted so far.
    pub fn counters(&self) -> Counters {
        let work = self.work();
        Counters {
            buffers: self.0.allocator.created(),
            uploads: work.stream.uploads.created,
            downloads: work.stream.downloads_created,
            bind_groups: work.stream.groups_created,
            pipelines: work.pipelines.len() as u64,
            submissions: work.stream.submissions(),
        }
    }

    /// Destroys the device, as if it had been lost: every later call returns an error. Tests use it.
    pub fn destroy(&self) {
        self.0.device.destroy();
    }

    /// A buffer of at least `len` elements, with unspecified content.
    ///
    /// **Errors:** the buffer is larger than the adapter's limit for a tensor; out of memory; an earlier fault of the device.
    pub(crate) fn new_buffer(&self, len: usize) -> Result<Buffer> {
        self.check()?;
        let bytes = 4 * len as u64;
        let most = self.0.adapter.limits.tensor;
        if bytes > most {
            return Err(self.error(format!(
                "a tensor of {len} elements takes {}, but this adapter's limit is {}; a smaller batch fits",
                mib(bytes),
                mib(most)
            )));
        }
        self.0.allocator.allocate(&self.0.device, bytes).map_err(|shortage| {
            self.error(match shortage {
                Shortage::Budget { budget, held } => format!(
                    "out of memory: {} more are needed beside {} held, and the budget is {}; \
                     a smaller batch or a larger budget fits",
                    mib(bytes),
                    mib(held),
                    mib(budget)
                ),
                Shortage::Device => format!(
                    "out of memory: {} more are needed beside {} held; a smaller batch fits",
                    mib(bytes),
                    mib(self.0.allocator.held())
                ),
            })
        })
    }

    /// A buffer of at least `len` elements; `None` if there is no memory for it.
    ///
    /// **Errors:** a fault of the device.
    pub(crate) fn try_allocate(&self, len: usize) -> Result<Option<Buffer>> {
        let buffer = self.new_buffer(len).ok();
        self.check()?; // a lost device is not a shortage of memory
        Ok(buffer)
    }

    /// Records `groups` workgroups of `kernel`. `buffers` are in the order of the kernel's bindings.
    pub(crate) fn run(
        &self,
        kernel: Kernel<'_>,
        buffers: &[&Buffer],
        immediates: &impl NoUninit,
        groups: usize,
    ) -> Result<()> {
        self.check()?;
        let blocks: Vec<&Arc<Block>> = buffers.iter().map(|buffer| buffer.block()).collect();
        let Work { stream, pipelines } = &mut *self.work();
        let pipeline = pipelines.get(&self.0.device, kernel).map_err(|message| self.error(message))?;
        stream.dispatch(&pipeline, &blocks, bytemuck::bytes_of(immediates), groups as u64);
        Ok(())
    }

    /// The kernel of another crate, which is compiled now if it is new; `interface` is then called before.
    pub(crate) fn custom_pipeline(
        &self,
        wgsl: &str,
        entry: &str,
        interface: impl FnOnce() -> Result<Interface>,
    ) -> Result<(Interface, Arc<Pipeline>)> {
        self.check()?;
        if let Some(known) = self.work().pipelines.custom(wgsl, entry) {
            return Ok(known);
        }
        let interface = interface()?;
        let pipeline = self.work().pipelines.add_custom(&self.0.device, wgsl, entry, interface);
        Ok((interface, pipeline.map_err(|message| self.error(message))?))
    }

    /// Records `groups` workgroups of the kernel of another crate.
    pub(crate) fn dispatch(
        &self,
        pipeline: &Pipeline,
        buffers: &[&Buffer],
        immediates: &[u8],
        groups: usize,
    ) -> Result<()> {
        self.check()?;
        let blocks: Vec<&Arc<Block>> = buffers.iter().map(|buffer| buffer.block()).collect();
        self.work().stream.dispatch(pipeline, &blocks, immediates, groups as u64);
        Ok(())
    }

    /// Adds the multiplications of the kernel that was recorded last, and submits the recorded work if it has become much, so that
    /// no watchdog resets the device.
    pub(crate) fn count_multiplications(&self, multiplications: u64) {
        self.work().stream.count_multiplications(multiplications);
    }

    /// Copies `bytes` to the beginning of `buffer`.
    pub(crate) fn upload(&self, bytes: &[u8], buffer: &Buffer) -> Result<()> {
        self.check()?;
        let done = self.work().stream.upload(bytes, buffer.block());
        self.check()?;
        done.map_err(|message| self.error(message))
    }

    /// Copies the beginnings of some buffers to the host.
    pub(crate) fn download(&self, parts: &mut [(&Buffer, &mut [u8])]) -> Result<()> {
        self.check()?;
        let mut parts: Vec<_> =
            parts.iter_mut().map(|(buffer, bytes)| (buffer.block(), &mut **bytes)).collect();
        let done = self.work().stream.download(&mut parts);
        self.check()?; // a device lost during the copy has its own message
        done.map_err(|message| self.error(message))
    }

    /// Submits the recorded work. If `wait`, waits until the device has done it.
    pub(crate) fn flush(&self, wait: bool) -> Result<()> {
        self.check()?;
        let stream = &mut self.work().stream;
        if !wait {
            stream.submit();
            return Ok(());
        }
        let done = stream.wait();
        self.check()?;
        done.map_err(|message| self.error(message))
    }

    /// **Errors:** the first fault of the device, if one has occurred.
    fn check(&self) -> Result<()> {
        match self.0.faults.first() {
            Some(message) => Err(self.error(message)),
            None => Ok(()),
        }
    }

    fn error(&self, message: String) -> Error {
        self.0.adapter.error(message)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the number of multiplications after which recorded work is submitted.
    #[cfg(test)]
    pub(crate) fn limit_multiplications(&self, most: u64) {
        self.work().stream.most_multiplications = most;
    }
}

impl fmt::Debug for Wgpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wgpu on {}", self.0.adapter)
    }
}

/// The first fault of a device, which may occur at any time and on any thread. Later faults follow from the first.
#[derive(Clone, Debug, Default)]
struct Faults(Arc<(AtomicBool, Mutex<Option<String>>)>);

impl Faults {
    /// Records the faults of `device` from now on.
    fn watch(device: &wgpu::Device) -> Self {
        let faults = Self::default();
        let (lost, wrong) = (faults.clone(), faults.clone());
        device.set_device_lost_callback(move |reason, message| {
            lost.record(format!("the device was lost ({reason:?}): {}", first_line(&message)));
        });
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            wrong.record(match error {
                wgpu::Error::OutOfMemory { .. } => "the device is out of memory".to_owned(),
                other => first_line(&other.to_string()).to_owned(),
            });
        }));
        faults
    }

    fn record(&self, message: String) {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        self.0.0.store(true, Ordering::Release);
    }

    /// The first fault; `None` if there was none.
    fn first(&self) -> Option<String> {
        if !self.0.0.load(Ordering::Acquire) {
            return None;
        }
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim()
}
