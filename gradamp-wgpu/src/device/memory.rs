//! Device memory, taken once and used again: a steady step takes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// f32 elements on the device; they go back to the pool when dropped.
#[derive(Debug)]
pub struct Buffer {
    block: Option<Arc<Block>>,
    pool: Arc<Pool>,
}

impl Buffer {
    pub(crate) fn block(&self) -> &Arc<Block> {
        // Only `drop` takes the block out.
        self.block.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.give(block);
        }
    }
}

/// One piece of device memory.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) raw: wgpu::Buffer,
    /// Never used twice, so that bind groups can be found again by it.
    pub(crate) id: u64,
    /// The submission that is being recorded when a kernel last used it.
    pub(crate) used: AtomicU64,
}

/// The memory that nobody uses, by size class and number. The lowest number goes first: steps that take and give in the
/// same order then get the same blocks, and find the bind groups of the step before.
type Free = HashMap<u64, BTreeMap<u64, Arc<Block>>>;

/// The pool of device memory.
///
/// A block that is given back may be handed out at once: everything runs in the order of its recording, so who gets it
/// next runs after who had it before. Whole buffers and not parts of one arena, for barriers are tracked per buffer.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    next: AtomicU64,
    /// Bytes of all blocks, in use or free.
    held: AtomicU64,
    budget: Option<u64>,
}

/// Memory that is not to be had.
#[derive(Debug)]
pub(crate) enum Shortage {
    /// The user's budget does not allow it.
    Budget { budget: u64, held: u64 },
    /// The device says no.
    Device,
}

impl Pool {
    pub(crate) fn new(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), next: AtomicU64::new(1), held: AtomicU64::new(0), budget })
    }

    /// How many blocks were ever taken from the system.
    pub(crate) fn fresh(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Bytes of all blocks.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A buffer of at least `bytes`.
    pub(crate) fn take(self: &Arc<Self>, device: &wgpu::Device, bytes: u64) -> Result<Buffer, Shortage> {
        let class = size_class(bytes);
        let free = self.lock().get_mut(&class).and_then(BTreeMap::pop_first).map(|(_, block)| block);
        let block = match free {
            Some(block) => block,
            None => Arc::new(self.create(device, class)?),
        };
        Ok(Buffer { block: Some(block), pool: self.clone() })
    }

    fn create(&self, device: &wgpu::Device, bytes: u64) -> Result<Block, Shortage> {
        if let Some(budget) = self.budget
            && self.held() + bytes > budget
        {
            self.trim();
            let held = self.held();
            if held + bytes > budget {
                return Err(Shortage::Budget { budget, held });
            }
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let create = || create_buffer(device, bytes, usage, false);
        let raw = match create() {
            Some(raw) => raw,
            None => {
                self.trim();
                // Freed memory comes back when the work that used it is done.
                let _ = device.poll(wgpu::PollType::wait_indefinitely());
                create().ok_or(Shortage::Device)?
            }
        };
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(Block { raw, id: self.next.fetch_add(1, Ordering::Relaxed), used: AtomicU64::new(0) })
    }

    /// Gives free blocks back to the system.
    fn trim(&self) {
        let freed: u64 = self.lock().drain().map(|(class, blocks)| class * blocks.len() as u64).sum();
        self.held.fetch_sub(freed, Ordering::Relaxed);
    }

    fn give(&self, block: Arc<Block>) {
        self.lock().entry(block.raw.size()).or_default().insert(block.id, block);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of the smallest class that holds `bytes`: eight classes between two powers of two, so that at most an
/// eighth is wasted, and buffers of nearly equal size can stand in for each other.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let unit = (bytes.next_power_of_two() / 16).max(256);
    bytes.next_multiple_of(unit)
}

/// A buffer, or nothing where there is no memory for it.
pub(crate) fn create_buffer(
    device: &wgpu::Device,
    size: u64,
    usage: wgpu::BufferUsages,
    mapped_at_creation: bool,
) -> Option<wgpu::Buffer> {
    let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation]
        .map(|filter| device.push_error_scope(filter));
    let raw = device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation });
    let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).count();
    (errors == 0).then_some(raw)
}

/// Bytes in words.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1048576.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::size_class;
    use crate::{Options, Wgpu};

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_free_goes_home_before_a_budget_is_exceeded() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let options = Options { memory: Some(8 * MIB), trusted: true, ..Options::default() };
        let gpu = Wgpu::open(&adapter, &options).unwrap();
        let take = |mib: u64| gpu.take((mib * MIB / 4) as usize);
        let first = take(4).unwrap();
        let error = take(6).unwrap_err().to_string();
        let expected = "6.0 MiB more are wanted beside 4.0 MiB held, and the budget is 8.0 MiB";
        assert!(error.contains(expected), "{error}");
        drop(first);
        let _second = take(6).unwrap();
        assert_eq!(gpu.memory(), 6 * MIB);
    }

    proptest! {
        #[test]
        fn a_class_holds_its_bytes_and_wastes_at_most_an_eighth(bytes in 1u64..1 << 34) {
            let class = size_class(bytes);
            prop_assert!(class >= bytes && class.is_multiple_of(256));
            prop_assert!(class - bytes < 256.max(bytes.div_ceil(8)), "{bytes}: {class}");
            prop_assert_eq!(size_class(class), class);
        }
    }
}
