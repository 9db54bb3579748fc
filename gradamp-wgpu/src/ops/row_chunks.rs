//! How the rows of a matrix `[rows, channels]` are shared out.

use bytemuck::{Pod, Zeroable};

/// Invocations of a workgroup that takes strips.
const GROUP: usize = 256;

/// Invocations of a workgroup that joins strips. They take about four chunks each before they go on together: where there
/// are few, several vectors share a workgroup.
const JOINING: usize = 128;

/// Rows of a strip at most: what a variance loses to its pivot grows with them.
const LONGEST: usize = 64;

/// A matrix cut into strips: one vector of channels in `chunk` consecutive rows. An invocation takes one strip, and its
/// neighbours the strips beside it, so that together they read whole rows.
///
/// The numbers depend on the geometry and the kind of device, for sums over strips must not depend on a device's size.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Strips {
    rows: u32,
    /// Vectors in a row.
    channels: u32,
    chunk: u32,
    /// How many chunks of rows there are.
    pub(crate) chunks: u32,
    /// Vectors whose chunks one workgroup joins.
    span: u32,
}

impl Strips {
    /// For kernels that take elements one by one: enough strips to fill a large GPU, each long enough to load what
    /// belongs to its channels once for several rows.
    pub(crate) fn of_elements(rows: usize, channels: usize) -> Self {
        Self::of_vectors(rows, vectors(channels))
    }

    /// As [`of_elements`](Self::of_elements), for rows of so many vectors.
    pub(crate) fn of_vectors(rows: usize, vectors: usize) -> Self {
        Self::new(rows, vectors, ((rows * vectors) >> 18).clamp(4, 16))
    }

    /// For sums: fewer strips, since each leaves a partial sum behind. A multiple of the rows that a kernel takes at once.
    /// A software rasteriser has few cores to fill, and joins slowly: workgroups that wait for each other are its weakness.
    pub(crate) fn of_sums(rows: usize, channels: usize, software: bool) -> Self {
        let vectors = vectors(channels);
        let least = if software { LONGEST } else { 8 };
        Self::new(rows, vectors, ((rows * vectors) >> 16).clamp(least, LONGEST).next_multiple_of(4))
    }

    /// Of `chunk` rows.
    pub(crate) fn new(rows: usize, vectors: usize, chunk: usize) -> Self {
        Self {
            rows: rows as u32,
            channels: vectors as u32,
            chunk: chunk as u32,
            chunks: rows.div_ceil(chunk) as u32,
            span: (JOINING / (rows.div_ceil(chunk) / 4).next_power_of_two().min(JOINING)) as u32,
        }
    }

    /// Workgroups for all strips.
    pub(crate) fn groups(&self) -> usize {
        (self.chunks as usize * self.channels as usize).div_ceil(GROUP)
    }

    /// Workgroups that join what the strips of each vector left.
    pub(crate) fn joining_groups(&self) -> usize {
        self.channels.div_ceil(self.span) as usize
    }
}

/// The option `V4` of a family whose vectors lie along `channels`: four channels at once, where that leaves no rest.
pub(crate) fn v4(channels: usize) -> usize {
    usize::from(channels.is_multiple_of(4))
}

/// Vectors along `channels`.
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
        fn strips_cover_each_row_once(rows in 1usize..300_000, channels in 1usize..600) {
            let sums = [false, true].map(|software| Strips::of_sums(rows, channels, software));
            for strips in [Strips::of_elements(rows, channels), sums[0], sums[1]] {
                let (chunk, chunks) = (strips.chunk as usize, strips.chunks as usize);
                prop_assert!(chunk * (chunks - 1) < rows && rows <= chunk * chunks);
                let vectors = strips.channels as usize;
                prop_assert!(strips.groups() * GROUP >= chunks * vectors);
                prop_assert!(strips.joining_groups() * strips.span as usize >= vectors);
                prop_assert!(strips.span.is_power_of_two() && strips.span as usize <= JOINING);
                let width = if v4(channels) == 1 { 4 } else { 1 };
                prop_assert_eq!(vectors * width, channels);
            }
            prop_assert!(sums.iter().all(|sums| sums.chunk % 4 == 0));
        }
    }
}
