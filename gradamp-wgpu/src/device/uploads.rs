//! Copies from the host to the device, through chunks of memory that both can access.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use crate::device::memory::{create_buffer, mib};

/// The smallest size of a chunk. The copies of one step fit into it. A larger copy gets a chunk of its own size.
const CHUNK: u64 = 4 << 20;
/// The number of submissions whose copies may be in flight at once. The sets of chunks are used in rotation. After each set has been
/// used once, no more chunks are created.
const SETS: usize = 3;
/// The alignment of a mapped range.
const ALIGNMENT: u64 = wgpu::MAP_ALIGNMENT;

/// The sets of chunks, in the order in which submissions use them.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    sets: [ChunkSet; SETS],
    current: usize,
    /// The number of chunks created so far.
    pub(crate) created: u64,
}

/// The chunks of one submission.
#[derive(Debug, Default)]
struct ChunkSet {
    chunks: Vec<Chunk>,
    /// The submission that reads the chunks.
    submission: Option<wgpu::SubmissionIndex>,
}

#[derive(Debug)]
struct Chunk {
    buffer: wgpu::Buffer,
    used: u64,
    /// Reports when the host may write to the chunk again.
    mapping: Option<Receiver<Result<(), wgpu::BufferAsyncError>>>,
}

impl Uploads {
    /// Records a copy of `bytes` to the beginning of `target`.
    ///
    /// **Errors:** out of memory for a chunk.
    pub(crate) fn write(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        target: &wgpu::Buffer,
        bytes: &[u8],
    ) -> Result<(), String> {
        let set = &mut self.sets[self.current];
        set.reclaim(device);
        let size = bytes.len() as u64;
        let fits = |chunk: &Chunk| chunk.used + size <= chunk.buffer.size();
        let place = match set.chunks.iter().position(fits) {
            Some(place) => place,
            None => {
                let size = size.next_power_of_two().max(CHUNK);
                let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
                let buffer = create_buffer(device, size, usage, true).ok_or_else(|| {
                    format!("out of memory: copying to the device needs {}; a smaller batch fits", mib(size))
                })?;
                self.created += 1;
                set.chunks.push(Chunk { buffer, used: 0, mapping: None });
                set.chunks.len() - 1
            }
        };
        let chunk = &mut set.chunks[place];
        let slice = chunk.buffer.slice(chunk.used..chunk.used + size);
        slice.get_mapped_range_mut().map_err(|error| error.to_string())?.copy_from_slice(bytes);
        encoder.copy_buffer_to_buffer(&chunk.buffer, chunk.used, target, 0, size);
        chunk.used += size.next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Unmaps the current chunks. Call before the submission that reads them.
    pub(crate) fn finish(&self) {
        self.sets[self.current].chunks.iter().for_each(|chunk| chunk.buffer.unmap());
    }

    /// Requests that the current chunks are mapped again, and moves on to the next set. Call after the submission that reads the
    /// chunks.
    pub(crate) fn submitted(&mut self, submission: wgpu::SubmissionIndex) {
        let set = &mut self.sets[self.current];
        for chunk in &mut set.chunks {
            let (sender, receiver) = channel();
            chunk.buffer.slice(..).map_async(wgpu::MapMode::Write, move |result| {
                let _ = sender.send(result); // fails only if the chunk was dropped
            });
            chunk.mapping = Some(receiver);
        }
        set.submission = Some(submission);
        self.current = (self.current + 1) % SETS;
    }
}

impl ChunkSet {
    /// Waits until the host may write to the chunks. Drops chunks that cannot be mapped because the device is lost.
    fn reclaim(&mut self, device: &wgpu::Device) {
        let Some(submission) = self.submission.take() else { return };
        let mut waits = true;
        self.chunks.retain_mut(|chunk| {
            let Some(mapping) = chunk.mapping.take() else { return true };
            chunk.used = 0;
            let mut outcome = mapping.try_recv();
            if outcome == Err(TryRecvError::Empty) && waits {
                let wait = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: None };
                waits = device.poll(wait).is_ok();
                outcome = mapping.try_recv();
            }
            outcome == Ok(Ok(()))
        });
    }
}
