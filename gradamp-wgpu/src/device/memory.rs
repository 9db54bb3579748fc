//! Device memory. Freed blocks are kept and handed out again, so that after the first steps of training no block is created.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// f32 elements in device memory. Dropping the buffer returns its block to the allocator's free list.
#[derive(Debug)]
pub struct Buffer {
    block: Option<Arc<Block>>,
    allocator: Arc<Allocator>,
}

impl Buffer {
    pub(crate) fn block(&self) -> &Arc<Block> {
        // Only `drop` removes the block.
        self.block.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.allocator.release(block);
        }
    }
}

/// One allocation of device memory.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) raw: wgpu::Buffer,
    /// Unique for the life of the device, so that a bind group can be cached by the ids of its blocks.
    pub(crate) id: u64,
    /// The number of the submission in which a kernel last used the block.
    pub(crate) used: AtomicU64,
}

/// The free blocks, by size class and id. The block with the lowest id is handed out first: steps that allocate and free
/// in the same order then get the same blocks, and find the bind groups of the previous step.
type FreeList = HashMap<u64, BTreeMap<u64, Arc<Block>>>;

/// Allocates device memory and keeps freed blocks for reuse.
///
/// A freed block may be handed out at once. Kernels run in the order in which they were recorded, so that the next kernel that uses
/// the block runs after the last one that used it before. A block is a whole buffer and not a part of one large buffer, because
/// the graphics API tracks barriers per buffer.
#[derive(Debug)]
pub(crate) struct Allocator {
    free: Mutex<FreeList>,
    next_id: AtomicU64,
    /// The bytes of all blocks, in use or free.
    held: AtomicU64,
    budget: Option<u64>,
}

/// Why an allocation failed.
#[derive(Debug)]
pub(crate) enum Shortage {
    /// The allocation would exceed the user's budget.
    Budget { budget: u64, held: u64 },
    /// The device has no memory left.
    Device,
}

impl Allocator {
    pub(crate) fn new(budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), next_id: AtomicU64::new(1), held: AtomicU64::new(0), budget })
    }

    /// The number of blocks created so far.
    pub(crate) fn created(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed) - 1
    }

    /// The bytes of all blocks, in use or free.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A buffer of at least `bytes` bytes, with unspecified content.
    pub(crate) fn allocate(self: &Arc<Self>, device: &wgpu::Device, bytes: u64) -> Result<Buffer, Shortage> {
        let class = size_class(bytes);
        let free = self.lock().get_mut(&class).and_then(BTreeMap::pop_first).map(|(_, block)| block);
        let block = match free {
            Some(block) => block,
            None => Arc::new(self.create(device, class)?),
        };
        Ok(Buffer { block: Some(block), allocator: self.clone() })
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
                // The device frees a block's memory only when the work that uses the block is done.
                let _ = device.poll(wgpu::PollType::wait_indefinitely());
                create().ok_or(Shortage::Device)?
            }
        };
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(Block { raw, id: self.next_id.fetch_add(1, Ordering::Relaxed), used: AtomicU64::new(0) })
    }

    /// Returns all free blocks to the system.
    fn trim(&self) {
        let freed: u64 = self.lock().drain().map(|(class, blocks)| class * blocks.len() as u64).sum();
        self.held.fetch_sub(freed, Ordering::Relaxed);
    }

    fn release(&self, block: Arc<Block>) {
        self.lock().entry(block.raw.size()).or_default().insert(block.id, block);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FreeList> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of the smallest class that holds `bytes`. There are eight classes between two powers of two. At most an eighth of a
/// block is wasted, and a freed block fits buffers of nearly the same size.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let unit = (bytes.next_power_of_two() / 16).max(256);
    bytes.next_multiple_of(unit)
}

/// Creates a buffer; `None` if there is no memory for it.
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

/// A number of bytes as text.
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
    fn free_blocks_are_returned_before_a_budget_is_exceeded() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let options = Options { memory: Some(8 * MIB), trusted: true, ..Options::default() };
        let gpu = Wgpu::open(&adapter, &options).unwrap();
        let allocate = |mib: u64| gpu.new_buffer((mib * MIB / 4) as usize);
        let first = allocate(4).unwrap();
        let error = allocate(6).unwrap_err().to_string();
        let expected = "6.0 MiB more are needed beside 4.0 MiB held, and the budget is 8.0 MiB";
        assert!(error.contains(expected), "{error}");
        drop(first);
        let _second = allocate(6).unwrap();
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
