//! An arena: buffers are cut out of large regions of memory, and return to their region when dropped.
//!
//! A buffer that returns is joined with the idle memory beside it. The memory of many small activations can so become that of one
//! large gradient, and a training step needs little more memory than is in use at its worst moment.
//!
//! Regions are mapped from the system, which provides a page when it is first touched. Large pages are requested, since tiles of
//! images are spread over more small pages than a processor caches addresses of.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

/// Elements of a cache line: buffers begin on one, so that no vector load straddles two.
const LINE: usize = 16;

/// The least number of elements of a region. The system provides no memory for pages that are never touched.
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
    /// Lengths; no two of them touch.
    idle: BTreeMap<Place, usize>,
}

struct Region {
    memory: Arc<MmapRaw>,
    /// How many elements, from the beginning, were in use at some time.
    touched: usize,
}

/// Where memory begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    region: usize,
    element: usize,
}

/// f32 elements in main memory, aligned to 64 bytes. The memory returns to its arena when the buffer is dropped.
pub struct Buffer {
    memory: Arc<MmapRaw>,
    place: Place,
    len: usize,
    arena: Arc<Arena>,
}

/// Elements that a buffer of `len` elements occupies: whole cache lines and one more line, so that buffers of equal size do not
/// all begin in the same cache set.
fn occupied(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(LINE)?.checked_add(LINE)
}

impl Arena {
    /// A buffer of `len` elements of unspecified contents; `None` where the system has no memory left.
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

    /// How many buffers were given memory that none had before.
    pub(crate) fn fresh_allocations(&self) -> u64 {
        self.fresh.load(Ordering::Relaxed)
    }

    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner) // nothing in here panics half-way
    }
}

impl Regions {
    /// Cuts `wanted` elements out of the smallest idle memory that holds them; of equals, the first.
    fn cut(&mut self, wanted: usize) -> Option<Place> {
        let fits = self.idle.iter().filter(|&(_, &length)| length >= wanted);
        let (&place, &length) = fits.min_by_key(|&(_, length)| length)?;
        self.idle.remove(&place);
        if length > wanted {
            self.idle.insert(Place { element: place.element + wanted, ..place }, length - wanted);
        }
        Some(place)
    }

    /// Takes back what [`Regions::cut`] gave, and joins it with its neighbours.
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

    /// Maps another region, all of it idle: a large one, or one of `wanted` elements where the system has no more.
    fn map(&mut self, wanted: usize) -> Option<()> {
        let map = |elements: usize| {
            let memory = MmapOptions::new().len(elements.checked_mul(size_of::<f32>())?).map_anon().ok()?;
            Some((MmapRaw::from(memory), elements))
        };
        let (memory, elements) = map(wanted.max(REGION)).or_else(|| map(wanted))?;
        // Small pages do as well, only slower.
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
        // SAFETY: as for `deref`; the buffer is borrowed mutably.
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
    fn a_dropped_buffer_serves_again() {
        let arena = Arc::new(Arena::default());
        for _ in 0..3 {
            let a = arena.allocate(1000).unwrap();
            let b = arena.allocate(1000).unwrap();
            assert_eq!((a.len(), b.len()), (1000, 1000));
        }
        assert_eq!(arena.fresh_allocations(), 2);
        drop(arena.allocate(800).unwrap());
        assert_eq!(arena.fresh_allocations(), 2, "a shorter batch fits");
    }

    #[test]
    fn small_buffers_that_return_make_room_for_a_large_one() {
        let arena = Arc::new(Arena::default());
        let small: Vec<_> = (0..10).map(|_| arena.allocate(1000).unwrap()).collect();
        let fresh = arena.fresh_allocations();
        drop(small);
        drop(arena.allocate(10_000).unwrap());
        assert_eq!(arena.fresh_allocations(), fresh);
    }

    #[test]
    fn a_buffer_larger_than_a_region_has_one_of_its_own() {
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
        /// Buffers come and go: each begins on a line and keeps its values, and what all of them leave behind is whole.
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
