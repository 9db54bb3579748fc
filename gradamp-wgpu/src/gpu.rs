//! The opened adapter: what kernels ask of it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytemuck::NoUninit;
use gradamp_core::geometry::Conv2d;
use gradamp_core::{Error, Result};

use crate::algorithm::Matrices;
use crate::device::adapter::Adapter;
use crate::device::faults::{Faults, fault};
use crate::device::memory::{Block, Buffer, Pool, Shortage, mib};
use crate::device::stream::Stream;
use crate::open::{Options, Precision, request};
use crate::ops::conv2d::Way;
use crate::ops::conv2d::implicit_gemm::Pass;
use crate::self_test;
use crate::shaders::kernel::{Kernel, Pipelines};
use crate::tune::Ways;

/// The backend: a cheap handle on one opened adapter.
///
/// Calls record work and return; what was recorded runs in order when it is handed over: by
/// [`submit`](gradamp_core::Backend::submit) at the end of a step, by any read, or when much has gathered.
#[derive(Clone)]
pub struct Wgpu(Arc<Shared>);

struct Shared {
    adapter: Adapter,
    device: wgpu::Device,
    pool: Arc<Pool>,
    faults: Faults,
    checked: bool,
    precision: Precision,
    /// The cooperative matrices that passed their test.
    matrices: OnceLock<Option<Matrices>>,
    tiled: bool,
    /// What was measured.
    ways: Ways,
    /// What was asked for, and the way it took.
    taken: Mutex<Ways>,
    work: Mutex<Work>,
}

struct Work {
    stream: Stream,
    pipelines: Pipelines,
}

/// How much was ever made on a device; a steady step makes nothing, and is one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Buffers taken from the system.
    pub buffers: u64,
    /// Buffers through which the host writes.
    pub uploads: u64,
    /// Buffers through which it reads.
    pub downloads: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Compiled kernels.
    pub pipelines: u64,
    /// Times that work was handed to the device.
    pub submissions: u64,
}

impl Wgpu {
    /// Opens `adapter`.
    ///
    /// **Errors:** the driver's word; a driver that computes wrongly.
    pub fn open(adapter: &Adapter, options: &Options) -> Result<Self> {
        let precision = if adapter.fast_paths.f16 { options.precision } else { Precision::F32 };
        let ways = options.ways(adapter, precision)?;
        let (device, queue) = request(adapter, precision)?;
        let gpu = Self(Arc::new(Shared {
            adapter: adapter.clone(),
            pool: Pool::new(options.memory),
            faults: Faults::watch(&device),
            checked: options.checked,
            tiled: options.tiled,
            ways,
            taken: Mutex::default(),
            precision,
            matrices: OnceLock::new(),
            work: Mutex::new(Work {
                stream: Stream::new(device.clone(), queue, adapter),
                pipelines: Pipelines::default(),
            }),
            device,
        }));
        if !options.trusted {
            self_test::arithmetic(&gpu)?;
        }
        let matrices = match precision {
            Precision::Mixed => adapter.matrices().filter(|&matrices| self_test::cooperative(&gpu, matrices)),
            Precision::F32 => None,
        };
        gpu.0.matrices.get_or_init(|| matrices);
        Ok(gpu)
    }

    /// The adapter that was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// How exactly convolutions multiply.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// Side of the cooperative matrices that multiply convolutions, where that is asked for and works.
    pub fn cooperative(&self) -> Option<usize> {
        self.matrices().map(|matrices| matrices.side)
    }

    pub(crate) fn matrices(&self) -> Option<Matrices> {
        self.0.matrices.get().copied().flatten()
    }

    /// The way to compute a pass: what was measured for it, else the fixed one.
    pub(crate) fn way(&self, pass: Pass, g: &Conv2d) -> Way {
        let measured = || self.0.ways.get(&(pass, *g)).copied();
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken.entry((pass, *g)).or_insert_with(|| measured().unwrap_or_else(|| self.fixed_way(pass, g)))
    }

    /// The convolutions that were computed so far, the largest first: what there is to [`Wgpu::tune`].
    pub fn convolutions(&self) -> Vec<(Pass, Conv2d)> {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = taken.keys().copied().collect();
        all.sort_by_key(|(pass, g)| {
            (std::cmp::Reverse(g.multiplications()), g.x_shape(), g.w_shape(), *pass)
        });
        all
    }

    /// Invocations of a subgroup where operands are best sent through subgroups: on software rasterisers, whose
    /// subgroups have one size and whose workgroup memory is slow.
    pub(crate) fn fixed_subgroup(&self) -> Option<usize> {
        let adapter = &self.0.adapter;
        let [least, most] = adapter.limits.subgroup;
        let fits = least == most && [4, 8, 16].contains(&least) && adapter.fast_paths.subgroups;
        (adapter.is_software() && fits && !self.0.tiled).then_some(least as usize)
    }

    /// Whether kernels go through workgroup memory.
    pub(crate) fn runs_tiled(&self) -> bool {
        self.0.tiled || !self.0.adapter.is_software()
    }

    /// Bytes of device memory held for tensors, in use or free for the next.
    pub fn memory(&self) -> u64 {
        self.0.pool.held()
    }

    /// How much was ever made.
    pub fn made(&self) -> Made {
        let work = self.work();
        Made {
            buffers: self.0.pool.fresh(),
            uploads: work.stream.uploads.made,
            downloads: work.stream.downloads_made,
            bind_groups: work.stream.groups_made,
            pipelines: work.pipelines.len() as u64,
            submissions: work.stream.submissions(),
        }
    }

    /// Gives the device up, as when it is lost: every later call is an error. For tests of what follows.
    pub fn destroy(&self) {
        self.0.device.destroy();
    }

    /// A buffer of at least `len` elements.
    pub(crate) fn take(&self, len: usize) -> Result<Buffer> {
        self.check()?;
        let bytes = 4 * len as u64;
        let most = self.0.adapter.limits.tensor;
        if bytes > most {
            return Err(self.fault(format!(
                "a tensor of {len} elements takes {}, but this adapter's limit is {}; a smaller batch fits",
                mib(bytes),
                mib(most)
            )));
        }
        self.0.pool.take(&self.0.device, bytes).map_err(|shortage| {
            self.fault(match shortage {
                Shortage::Budget { budget, held } => format!(
                    "out of memory: {} more are wanted beside {} held, and the budget is {}; \
                     a smaller batch or a larger budget fits",
                    mib(bytes),
                    mib(held),
                    mib(budget)
                ),
                Shortage::Device => format!(
                    "out of memory: {} more are wanted beside {} held; a smaller batch fits",
                    mib(bytes),
                    mib(self.0.pool.held())
                ),
            })
        })
    }

    /// The same, or nothing where there is no room for it.
    pub(crate) fn take_if_free(&self, len: usize) -> Result<Option<Buffer>> {
        let buffer = self.take(len).ok();
        self.check()?; // a device that is lost is no shortage
        Ok(buffer)
    }

    /// Records `groups` workgroups of `kernel` over `buffers`, in the order of its bindings.
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
        let pipeline =
            pipelines.get(&self.0.device, self.0.checked, kernel).map_err(|message| self.fault(message))?;
        stream.dispatch(&pipeline, &blocks, bytemuck::bytes_of(immediates), groups as u64);
        Ok(())
    }

    /// Counts the multiplications of what was recorded last, for a watchdog may wait.
    pub(crate) fn count(&self, multiplications: u64) {
        self.work().stream.count(multiplications);
    }

    /// Copies `bytes` to the beginning of `buffer`.
    pub(crate) fn upload(&self, bytes: &[u8], buffer: &Buffer) -> Result<()> {
        self.check()?;
        let done = self.work().stream.upload(bytes, buffer.block());
        self.check()?;
        done.map_err(|message| self.fault(message))
    }

    /// Copies the beginnings of some buffers to the host.
    pub(crate) fn download(&self, parts: &mut [(&Buffer, &mut [u8])]) -> Result<()> {
        self.check()?;
        let mut parts: Vec<_> =
            parts.iter_mut().map(|(buffer, bytes)| (buffer.block(), &mut **bytes)).collect();
        let done = self.work().stream.download(&mut parts);
        self.check()?; // a device that is lost meanwhile says so itself
        done.map_err(|message| self.fault(message))
    }

    /// Hands over what was recorded; with `wait`, until it is done.
    pub(crate) fn flush(&self, wait: bool) -> Result<()> {
        self.check()?;
        let stream = &mut self.work().stream;
        if !wait {
            stream.submit();
            return Ok(());
        }
        let done = stream.wait();
        self.check()?;
        done.map_err(|message| self.fault(message))
    }

    /// The first fault of the device becomes the error of whatever is called next.
    fn check(&self) -> Result<()> {
        match self.0.faults.first() {
            Some(message) => Err(self.fault(message)),
            None => Ok(()),
        }
    }

    fn fault(&self, message: String) -> Error {
        fault(&self.0.adapter, message)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Wgpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wgpu on {}", self.0.adapter)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// The adapter for tests with the kernels it would choose, and with those of real GPUs; none where there is no adapter.
    pub(crate) fn each() -> Vec<Wgpu> {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return Vec::new() };
        let open =
            |tiled| Wgpu::open(&adapter, &Options { checked: true, tiled, ..Options::default() }).unwrap();
        vec![open(false), open(true)]
    }

    /// Hands work over after so many multiplications.
    pub(crate) fn limit(gpu: &Wgpu, multiplications: u64) {
        gpu.work().stream.most_multiplications = multiplications;
    }
}
