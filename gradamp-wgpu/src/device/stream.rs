//! The order of work: kernels are recorded as they are called, and submitted to the device together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::device::adapter::Adapter;
use crate::device::memory::{Block, create_buffer, mib};
use crate::device::pipeline::Pipeline;
use crate::device::uploads::Uploads;

/// The largest number of buffers that one kernel binds.
pub(crate) const MAX_BINDINGS: usize = 8;
/// The workgroups in a row of the dispatch grid; rows lie along the second dimension. The shaders repeat this number.
const GRID_ROW: u64 = 32768;
/// The number of cached bind groups at which the cache is emptied. Bind groups of freed blocks stay in the cache until then.
const MAX_BIND_GROUPS: usize = 1 << 16;
/// The longest copy that goes through [`Uploads`], which keeps its memory. The memory for a longer copy, such as a data set, is freed
/// after the copy.
const MAX_STAGED: usize = 64 << 20;

type GroupKey = (u32, [u64; MAX_BINDINGS]);

/// The work that is recorded and not yet submitted.
pub(crate) struct Stream {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Copies to the device, which run before all recorded kernels.
    copies: Option<wgpu::CommandEncoder>,
    pub(crate) uploads: Uploads,
    pass: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    dispatches: usize,
    /// The number of the submission that is being recorded, from 1.
    serial: u64,
    groups: HashMap<GroupKey, wgpu::BindGroup>,
    /// The number of bind groups created so far.
    pub(crate) groups_created: u64,
    downloads: Vec<wgpu::Buffer>,
    /// The number of buffers for reading created so far.
    pub(crate) downloads_created: u64,
    /// The number of dispatches after which the stream submits. A watchdog may reset a GPU that works long on one submission.
    most_dispatches: usize,
    /// The number of multiplications after which the stream submits.
    pub(crate) most_multiplications: u64,
    /// The multiplications recorded so far.
    multiplications: u64,
}

impl Stream {
    pub(crate) fn new(device: wgpu::Device, queue: wgpu::Queue, adapter: &Adapter) -> Self {
        Self {
            device,
            queue,
            copies: None,
            uploads: Uploads::default(),
            pass: None,
            dispatches: 0,
            serial: 1,
            groups: HashMap::new(),
            groups_created: 0,
            downloads: Vec::new(),
            downloads_created: 0,
            most_dispatches: adapter.most_dispatches(),
            most_multiplications: adapter.most_multiplications(),
            multiplications: 0,
        }
    }

    /// The number of submissions so far.
    pub(crate) fn submissions(&self) -> u64 {
        self.serial - 1
    }

    /// Records `groups` workgroups of a kernel. `blocks` are its buffers, in the order of the kernel's bindings.
    pub(crate) fn dispatch(
        &mut self,
        pipeline: &Pipeline,
        blocks: &[&Arc<Block>],
        immediates: &[u8],
        groups: u64,
    ) {
        if groups == 0 {
            return;
        }
        let mut key = (pipeline.number, [0; MAX_BINDINGS]);
        for (id, block) in key.1.iter_mut().zip(blocks) {
            *id = block.id;
            block.used.store(self.serial, Ordering::Relaxed);
        }
        if self.groups.len() >= MAX_BIND_GROUPS {
            self.groups.clear();
        }
        let group = self.groups.entry(key).or_insert_with(|| {
            self.groups_created += 1;
            let entries: Vec<_> = blocks
                .iter()
                .zip(0..)
                .map(|(block, binding)| wgpu::BindGroupEntry {
                    binding,
                    resource: block.raw.as_entire_binding(),
                })
                .collect();
            let layout = &pipeline.layout;
            self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout,
                entries: &entries,
            })
        });
        let (_, pass) = self.pass.get_or_insert_with(|| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let pass = encoder.begin_compute_pass(&Default::default()).forget_lifetime();
            (encoder, pass)
        });
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &*group, &[]);
        if !immediates.is_empty() {
            pass.set_immediates(0, immediates);
        }
        pass.dispatch_workgroups(groups.min(GRID_ROW) as u32, groups.div_ceil(GRID_ROW) as u32, 1);
        self.dispatches += 1;
        if self.dispatches >= self.most_dispatches {
            self.submit();
        }
    }

    /// Adds the multiplications of the kernel that was recorded last, and submits if the limit is reached.
    pub(crate) fn count_multiplications(&mut self, multiplications: u64) {
        self.multiplications += multiplications;
        if self.multiplications >= self.most_multiplications {
            self.submit();
        }
    }

    /// Copies `bytes` to the beginning of `block`.
    pub(crate) fn upload(&mut self, bytes: &[u8], block: &Arc<Block>) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        // Copies run before all recorded kernels, so no recorded kernel may use the block yet.
        if block.used.load(Ordering::Relaxed) == self.serial {
            self.submit();
        }
        if bytes.len() > MAX_STAGED {
            self.submit(); // otherwise the copies recorded so far would run after this one
            self.queue.write_buffer(&block.raw, 0, bytes);
            return Ok(());
        }
        let encoder =
            self.copies.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
        self.uploads.write(&self.device, encoder, &block.raw, bytes)
    }

    /// Submits all recorded work to the device.
    pub(crate) fn submit(&mut self) {
        let copies = self.copies.take().map(|encoder| {
            self.uploads.finish();
            encoder.finish()
        });
        let work = self.pass.take().map(|(encoder, pass)| {
            drop(pass);
            encoder.finish()
        });
        if copies.is_none() && work.is_none() {
            return;
        }
        let copied = copies.is_some();
        let submission = self.queue.submit(copies.into_iter().chain(work));
        if copied {
            self.uploads.submitted(submission);
        }
        self.serial += 1;
        (self.dispatches, self.multiplications) = (0, 0);
        // Frees the resources of finished submissions, without waiting.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// Copies the beginnings of some blocks to the host, after all work recorded so far.
    pub(crate) fn download(&mut self, parts: &mut [(&Arc<Block>, &mut [u8])]) -> Result<(), String> {
        self.submit();
        let total: u64 = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if total == 0 {
            return Ok(());
        }
        let staging = self.staging(total)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for (block, bytes) in &*parts {
            let size = bytes.len() as u64;
            if size > 0 {
                encoder.copy_buffer_to_buffer(&block.raw, 0, &staging, at, size);
            }
            at += size;
        }
        self.queue.submit([encoder.finish()]);
        self.serial += 1;
        let slice = staging.slice(..total);
        let (sender, receiver) = std::sync::mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |result| {
            let _ = sender.send(result); // fails only if the wait below has failed
        });
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| error.to_string())?;
        let mapped = receiver.recv().map_err(|error| error.to_string())?;
        mapped.map_err(|error| error.to_string())?;
        let view = slice.get_mapped_range().map_err(|error| error.to_string())?;
        let mut at = 0;
        for (_, bytes) in parts {
            bytes.copy_from_slice(&view[at..at + bytes.len()]);
            at += bytes.len();
        }
        drop(view);
        staging.unmap();
        self.downloads.push(staging);
        Ok(())
    }

    /// A buffer for reading of at least `size` bytes: the smallest existing one that is large enough, else a new one.
    fn staging(&mut self, size: u64) -> Result<wgpu::Buffer, String> {
        let fits = self.downloads.iter().enumerate().filter(|(_, buffer)| buffer.size() >= size);
        if let Some((place, _)) = fits.min_by_key(|(_, buffer)| buffer.size()) {
            return Ok(self.downloads.swap_remove(place));
        }
        self.downloads.clear();
        self.downloads_created += 1;
        let size = size.next_power_of_two().max(4096);
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ;
        create_buffer(&self.device, size, usage, false)
            .ok_or_else(|| format!("out of memory: reading from the device needs {}", mib(size)))
    }

    /// Submits all recorded work and waits until the device has done it.
    pub(crate) fn wait(&mut self) -> Result<(), String> {
        self.submit();
        self.device.poll(wgpu::PollType::wait_indefinitely()).map(drop).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream: submission {}, {} dispatches recorded", self.serial, self.dispatches)
    }
}
