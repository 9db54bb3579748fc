//! Copies from the host to the device, through memory that both see.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

use crate::device::memory::{create_buffer, mib};

/// Copies of a step fit in one chunk; a larger one gets a chunk of its size.
const CHUNK: u64 = 4 << 20;
/// Submissions whose copies may be under way at once. Chunks are used in turn, so that once each was used none is made.
const TURNS: usize = 3;
/// What a map must begin at.
const ALIGNMENT: u64 = wgpu::MAP_ALIGNMENT;

/// The chunks, in the order in which submissions use them.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    turns: [Turn; TURNS],
    current: usize,
    /// How many chunks were ever made.
    pub(crate) made: u64,
}

/// The chunks of one submission.
#[derive(Debug, Default)]
struct Turn {
    chunks: Vec<Chunk>,
    /// The submission that reads them.
    sent: Option<wgpu::SubmissionIndex>,
}

#[derive(Debug)]
struct Chunk {
    buffer: wgpu::Buffer,
    used: u64,
    /// Tells when the host may write again.
    mapping: Option<Receiver<Result<(), wgpu::BufferAsyncError>>>,
}

impl Uploads {
    /// Records a copy of `bytes` to the beginning of `target`.
    ///
    /// **Errors:** no memory to copy through.
    pub(crate) fn write(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        target: &wgpu::Buffer,
        bytes: &[u8],
    ) -> Result<(), String> {
        let turn = &mut self.turns[self.current];
        turn.take_back(device);
        let size = bytes.len() as u64;
        let fits = |chunk: &Chunk| chunk.used + size <= chunk.buffer.size();
        let place = match turn.chunks.iter().position(fits) {
            Some(place) => place,
            None => {
                let size = size.next_power_of_two().max(CHUNK);
                let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
                let buffer = create_buffer(device, size, usage, true).ok_or_else(|| {
                    format!("out of memory: {} are wanted to copy through; a smaller batch fits", mib(size))
                })?;
                self.made += 1;
                turn.chunks.push(Chunk { buffer, used: 0, mapping: None });
                turn.chunks.len() - 1
            }
        };
        let chunk = &mut turn.chunks[place];
        let slice = chunk.buffer.slice(chunk.used..chunk.used + size);
        slice.get_mapped_range_mut().map_err(|error| error.to_string())?.copy_from_slice(bytes);
        encoder.copy_buffer_to_buffer(&chunk.buffer, chunk.used, target, 0, size);
        chunk.used += size.next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Gives the chunks to the device; before the submission that reads them.
    pub(crate) fn finish(&self) {
        self.turns[self.current].chunks.iter().for_each(|chunk| chunk.buffer.unmap());
    }

    /// Asks for the chunks back, and goes on to the next; after the submission.
    pub(crate) fn sent(&mut self, submission: wgpu::SubmissionIndex) {
        let turn = &mut self.turns[self.current];
        for chunk in &mut turn.chunks {
            let (sender, receiver) = channel();
            chunk.buffer.slice(..).map_async(wgpu::MapMode::Write, move |result| {
                let _ = sender.send(result); // nobody listens only where the chunk is gone
            });
            chunk.mapping = Some(receiver);
        }
        turn.sent = Some(submission);
        self.current = (self.current + 1) % TURNS;
    }
}

impl Turn {
    /// Waits until the host may write to the chunks. Those of a device that is lost are let go.
    fn take_back(&mut self, device: &wgpu::Device) {
        let Some(submission) = self.sent.take() else { return };
        let mut waits = true;
        self.chunks.retain_mut(|chunk| {
            let Some(mapping) = chunk.mapping.take() else { return true };
            chunk.used = 0;
            let mut told = mapping.try_recv();
            if told == Err(TryRecvError::Empty) && waits {
                let wait = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: None };
                waits = device.poll(wait).is_ok();
                told = mapping.try_recv();
            }
            told == Ok(Ok(()))
        });
    }
}
