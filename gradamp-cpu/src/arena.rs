//! An arena: buffers are cut out of large regions of memory, and return to their region when dropped.
//!
//! A buffer that returns is joined with the idle memory beside it. The memory of many small activations can thus hold one large
//! gradient later, and a training step needs little more memory than its buffers occupy at the peak.
//!
//! Regions are mapped from the system, which provides a page when it is first touched. Large pages are requested, since the tiles
//! of images are spread over more small pages than a processor's TLB holds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

/// Elements of a cache line. Each buffer begins at the start of a cache line, so that no aligned vector load straddles two lines.
const LINE: usize = 16;

/// The smallest number of elements of a region: 64 MiB. The system provides no memory for pages that are never touched.
const REGION: usize = 64 << 20 >> 2;

/// The regions with their idle memory, and a count of allocations from memory that was never used before.
#[derive(Default)]
pub(crate) struct Arena {
    regions: Mutex<Regions>,
    fresh: AtomicU64,
}

#[derive(Default)]
struct Regions {
    mapped: Vec<Region>,
    /// The length of each idle piece of memory, by its beginning. No two pieces are adjacent.
    idle: BTreeMap<Place, usize>,
}

struct Region {
    memory: Arc<MmapRaw>,
    /// The number of elements, from the region's beginning, that have been in use at some time.
    touched: usize,
}

/// A position in the arena: a region, and an element of this region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    region: usize,
    element: usize,
}

/// A buffer of f32 elements in main memory, aligned to 64 bytes. The memory returns to its arena when the buffer is dropped.
pub struct Buffer {
    memory: Arc<MmapRaw>,
    place: Place,
    len: usize,
    arena: Arc<Arena>,
}

/// The number of elements that a buffer of `len` elements occupies: whole cache lines and one more line. Without the extra line,
/// buffers whose size is a power of two would all begin in the same cache set. Returns `None` if the number overflows.
fn occupied(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(LINE)?.checked_add(LINE)
}

impl Arena {
    /// A buffer of `len` elements of unspecified contents; `None` if the system has no memory left.
    pub(crate) fn allocate(self: &Arc<Self>, len: usize) -> Option<Buffer> {
        let wanted = occupied(len)?;
        let mut regions = self.regions();
        let place = match regions.cut(wanted) {
            Some(place) => place,
            None => {
                regions.map(wanted)?;
                regions.cut(wanted)?
            }
        };
        let region = &mut regions.mapped[place.region];
        if place.element + wanted > region.touched {
            region.touched = place.element + wanted;
            self.fresh.fetch_add(1, Ordering::Relaxed);
        }
        Some(Buffer { memory: region.memory.clone(), place, len, arena: self.clone() })
    }

    /// The number of buffers whose memory, or a part of it, no buffer had used before.
    pub(crate) fn fresh_allocations(&self) -> u64 {
        self.fresh.load(Ordering::Relaxed)
    }

    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner) // no code that holds the lock panics halfway
    }
}

impl Regions {
    /// Cuts `wanted` elements out of the smallest idle piece that holds them, and out of the first one if several are equally
    /// small. Returns `None` if no idle piece is large enough.
    fn cut(&mut self, wanted: usize) -> Option<Place> {
        let fits = self.idle.iter().filter(|&(_, &length)| length >= wanted);
        let (&place, &length) = fits.min_by_key(|&(_, length)| length)?;
        self.idle.remove(&place);
        if length > wanted {
            self.idle.insert(Place { element: place.element + wanted, ..place }, length - wanted);
        }
        Some(place)
    }

    /// Returns memory that [`Regions::cut`] gave out, and joins it with the idle pieces before and after it.
    fn join(&mut self, mut place: Place, mut length: usize) {
        if let Some((&before, &other)) = self.idle.range(..place).next_back()
            && (before.region, before.element + other) == (place.region, place.element)
        {
            self.idle.remove(&before);
            (place, length) = (before, other + length);
        }
        if let Some(other) = self.idle.remove(&Place { element: place.element + length, ..place }) {
            length += other;
        }
        self.idle.insert(place, length);
    }

    /// Maps another idle region: one of [`REGION`] elements, or one of `wanted` elements if these are more, or if the system
    /// refuses the larger region. Returns `None` if the system refuses both.
    fn map(&mut self, wanted: usize) -> Option<()> {
        let map = |elements: usize| {
            let memory = MmapOptions::new().len(elements.checked_mul(size_of::<f32>())?).map_anon().ok()?;
            Some((MmapRaw::from(memory), elements))
        };
        let (memory, elements) = map(wanted.max(REGION)).or_else(|| map(wanted))?;
        // If the system refuses large pages, small pages work too, only slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let place = Place { region: self.mapped.len(), element: 0 };
        self.mapped.push(Region { memory: Arc::new(memory), touched: 0 });
        self.idle.insert(place, elements);
        Some(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(length) = occupied(self.len) {
            self.arena.regions().join(self.place, length);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `Regions::cut` gave these elements of the region to this buffer and to no other until it is dropped; the region
        // stays mapped as long as `memory` lives; the system maps zeros, so that every element has a value.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().cast::<f32>().add(self.place.element), self.len)
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`; and the buffer is borrowed mutably, so that no other reference to its elements exists.
        unsafe {
            let start = self.memory.as_mut_ptr().cast::<f32>().add(self.place.element);
            std::slice::from_raw_parts_mut(start, self.len)
        }
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
    use proptest::prelude::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let arena = Arc::new(Arena::default());
        for _ in 0..3 {
            let a = arena.allocate(1000).unwrap();
            let b = arena.allocate(1000).unwrap();
            assert_eq!((a.len(), b.len()), (1000, 1000));
        }
        assert_eq!(arena.fresh_allocations(), 2);
        drop(arena.allocate(800).unwrap());
        assert_eq!(arena.fresh_allocations(), 2, "a smaller buffer fits into idle memory");
    }

    #[test]
    fn the_memory_of_dropped_small_buffers_holds_a_large_one() {
        let arena = Arc::new(Arena::default());
        let small: Vec<_> = (0..10).map(|_| arena.allocate(1000).unwrap()).collect();
        let fresh = arena.fresh_allocations();
        drop(small);
        drop(arena.allocate(10_000).unwrap());
        assert_eq!(arena.fresh_allocations(), fresh);
    }

    #[test]
    fn a_buffer_larger_than_a_region_gets_a_region_of_its_own() {
        let arena = Arc::new(Arena::default());
        let (_small, mut large) = (arena.allocate(1).unwrap(), arena.allocate(REGION + 1).unwrap());
        large[REGION] = 1.0;
        assert_eq!((large[0], large[REGION]), (0.0, 1.0));
        assert_eq!(arena.regions().mapped.len(), 2);
    }

    #[test]
    fn an_impossible_size_is_refused() {
        for len in [usize::MAX, usize::MAX / 2, usize::MAX / 8] {
            assert!(Arc::new(Arena::default()).allocate(len).is_none());
        }
    }

    proptest! {
        /// Buffers are allocated and dropped in any order. Each begins at a cache line and keeps its values. After the last one is
        /// dropped, the region is one idle piece again.
        #[test]
        fn no_buffer_writes_into_another(actions in prop::collection::vec((0usize..5000, any::<prop::sample::Index>()), 1..80)) {
            let arena = Arc::new(Arena::default());
            let mut alive: Vec<(f32, Buffer)> = Vec::new();
            for (step, (len, which)) in actions.into_iter().enumerate() {
                if step % 3 == 2 && !alive.is_empty() {
                    let (mark, buffer) = alive.swap_remove(which.index(alive.len()));
                    prop_assert!(buffer.iter().all(|&value| value == mark));
                }
                let mut buffer = arena.allocate(len).unwrap();
                prop_assert_eq!((buffer.len(), buffer.as_ptr() as usize % 64), (len, 0));
                buffer.fill(step as f32);
                alive.push((step as f32, buffer));
            }
            for (mark, buffer) in alive {
                prop_assert!(buffer.iter().all(|&value| value == mark));
            }
            let regions = arena.regions();
            let idle: Vec<_> = regions.idle.iter().map(|(place, length)| (place.region, place.element, *length)).collect();
            prop_assert_eq!(idle, vec![(0, 0, REGION)]);
        }
    }
}
