//! The division of the rows of a matrix `[rows, channels]` among invocations.

use bytemuck::{Pod, Zeroable};

/// The invocations of a workgroup that computes chunks.
const GROUP: usize = 256;

/// The invocations of a workgroup that joins the partial sums of chunks. Each invocation adds about four partial sums before the tree
/// begins. If there are few chunks, several vectors of channels share a workgroup.
const JOINING: usize = 128;

/// The largest number of rows of a chunk that is summed. The rounding error of a variance grows with this number.
const LONGEST: usize = 64;

/// A matrix cut into chunks of `chunk` consecutive rows. An invocation computes one vector of channels in one chunk. Neighbouring
/// invocations compute the neighbouring vectors, so that together they read whole rows.
///
/// The numbers depend on the geometry and the kind of device only, since the bits of a sum must not depend on the number of cores.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct RowChunks {
    rows: u32,
    /// The vectors in a row.
    channels: u32,
    chunk: u32,
    /// The number of chunks.
    pub(crate) count: u32,
    /// The vectors whose partial sums one workgroup joins.
    span: u32,
}

impl RowChunks {
    /// The chunks of elementwise kernels. There are enough to fill a large GPU, and each has several rows, so that the numbers per
    /// channel are loaded once for several rows.
    pub(crate) fn for_elements(rows: usize, channels: usize) -> Self {
        Self::for_vectors(rows, vectors(channels))
    }

    /// Like [`for_elements`](Self::for_elements), for rows of `vectors` vectors.
    pub(crate) fn for_vectors(rows: usize, vectors: usize) -> Self {
        Self::new(rows, vectors, ((rows * vectors) >> 18).clamp(4, 16))
    }

    /// The chunks of sums. There are fewer, since each chunk leaves a partial sum. The rows of a chunk are a multiple of the rows that
    /// a kernel loads at once. A software rasteriser gets longer chunks, since it has few cores and slow barriers.
    pub(crate) fn for_sums(rows: usize, channels: usize, software: bool) -> Self {
        let vectors = vectors(channels);
        let least = if software { LONGEST } else { 8 };
        Self::new(rows, vectors, ((rows * vectors) >> 16).clamp(least, LONGEST).next_multiple_of(4))
    }

    /// Chunks of `chunk` rows.
    pub(crate) fn new(rows: usize, vectors: usize, chunk: usize) -> Self {
        Self {
            rows: rows as u32,
            channels: vectors as u32,
            chunk: chunk as u32,
            count: rows.div_ceil(chunk) as u32,
            span: (JOINING / (rows.div_ceil(chunk) / 4).next_power_of_two().min(JOINING)) as u32,
        }
    }

    /// The number of workgroups that compute all chunks.
    pub(crate) fn groups(&self) -> usize {
        (self.count as usize * self.channels as usize).div_ceil(GROUP)
    }

    /// The number of workgroups that join the partial sums of all vectors.
    pub(crate) fn joining_groups(&self) -> usize {
        self.channels.div_ceil(self.span) as usize
    }
}

/// The option `V4` of a kernel over `channels` channels: 1 (vectors of four channels) if the channels are a multiple of four, else 0.
pub(crate) fn v4(channels: usize) -> usize {
    usize::from(channels.is_multiple_of(4))
}

/// The number of vectors in a row of `channels` channels.
pub(crate) fn vectors(channels: usize) -> usize {
    match v4(channels) {
        0 => channels,
        _ => channels / 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_cover_each_row_once(rows in 1usize..300_000, channels in 1usize..600) {
            let sums = [false, true].map(|software| RowChunks::for_sums(rows, channels, software));
            for chunks in [RowChunks::for_elements(rows, channels), sums[0], sums[1]] {
                let (chunk, count) = (chunks.chunk as usize, chunks.count as usize);
                prop_assert!(chunk * (count - 1) < rows && rows <= chunk * count);
                let vectors = chunks.channels as usize;
                prop_assert!(chunks.groups() * GROUP >= count * vectors);
                prop_assert!(chunks.joining_groups() * chunks.span as usize >= vectors);
                prop_assert!(chunks.span.is_power_of_two() && chunks.span as usize <= JOINING);
                let width = if v4(channels) == 1 { 4 } else { 1 };
                prop_assert_eq!(vectors * width, channels);
            }
            prop_assert!(sums.iter().all(|sums| sums.chunk % 4 == 0));
        }
    }
}
