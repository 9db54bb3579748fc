//! Memory that is used again: buffers return to their pool when dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Elements of a cache line: buffers begin on one, so that no vector load straddles two.
const LINE: usize = 16;

/// Idle memory by capacity, and a count of what was taken from the system.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<BTreeMap<usize, Vec<Vec<f32>>>>,
    fresh: AtomicU64,
}

/// f32 elements in main memory, 64-byte aligned; they go back to their pool when dropped.
pub struct Buffer {
    memory: Vec<f32>,
    start: usize,
    len: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A buffer of `len` elements of unspecified contents; `None` where the system has no memory left.
    ///
    /// The smallest idle memory of less than twice the size serves again. A network's activations halve from stage
    /// to stage, so a small request never takes a large buffer away from the layer that will ask for it next, and
    /// a batch cut short still fits the memory of the whole ones.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Option<Buffer> {
        let capacity = len.max(1).checked_add(LINE)?;
        let memory = match self.reuse(capacity) {
            Some(memory) => memory,
            None => self.fresh(capacity)?,
        };
        let start = memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Some(Buffer { memory, start, len, pool: self.clone() })
    }

    /// How many buffers were taken from the system.
    pub(crate) fn fresh_allocations(&self) -> u64 {
        self.fresh.load(Ordering::Relaxed)
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<usize, Vec<Vec<f32>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner) // a list of memory cannot be half changed
    }

    fn reuse(&self, capacity: usize) -> Option<Vec<f32>> {
        let mut idle = self.idle();
        let (&size, list) = idle.range_mut(capacity..capacity.saturating_mul(2)).next()?;
        let memory = list.pop();
        if list.is_empty() {
            idle.remove(&size);
        }
        memory
    }

    fn fresh(&self, capacity: usize) -> Option<Vec<f32>> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(capacity).ok()?;
        memory.resize(capacity, 0.0);
        self.fresh.fetch_add(1, Ordering::Relaxed);
        Some(memory)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.pool.idle().entry(memory.len()).or_default().push(memory);
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {} elements", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_serves_again() {
        let pool = Arc::new(Pool::default());
        for _ in 0..3 {
            let a = pool.take(1000).unwrap();
            let b = pool.take(1000).unwrap();
            assert_eq!((a.len(), b.len()), (1000, 1000));
        }
        assert_eq!(pool.fresh_allocations(), 2);
        drop(pool.take(800).unwrap());
        assert_eq!(pool.fresh_allocations(), 2, "a shorter batch fits");
        drop(pool.take(400).unwrap());
        assert_eq!(pool.fresh_allocations(), 3, "a small request leaves large memory alone");
    }

    #[test]
    fn buffers_begin_on_a_cache_line() {
        let pool = Arc::new(Pool::default());
        for len in [0, 1, 15, 16, 17, 1000, 100_000] {
            let buffer = pool.take(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
        }
    }

    #[test]
    fn an_impossible_size_is_refused() {
        assert!(Arc::new(Pool::default()).take(usize::MAX / 2).is_none());
    }
}
