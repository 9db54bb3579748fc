//! A slice that several tasks write at once.

use std::marker::PhantomData;
use std::ops::Range;

/// Elements of which each task writes its own, though they do not lie together.
#[derive(Clone, Copy)]
pub(super) struct SharedMut<'a> {
    start: *mut f32,
    len: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a place in memory; who reads or writes there promises that nobody else does.
unsafe impl Send for SharedMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedMut<'_> {}

impl<'a> SharedMut<'a> {
    /// All of `values`.
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), borrowed: PhantomData }
    }

    /// Where some elements lie; a panic where there are none.
    pub(super) fn at(&self, elements: Range<usize>) -> *mut f32 {
        assert!(elements.start <= elements.end && elements.end <= self.len);
        // Inside the slice, as was just asserted.
        self.start.wrapping_add(elements.start)
    }

    /// Elements that are written; a panic where there are none.
    ///
    /// # Safety
    ///
    /// Nobody else reads or writes them as long as the slice lives.
    #[allow(clippy::mut_from_ref)] // several tasks have the whole, each its own elements
    pub(super) unsafe fn written(&self, elements: Range<usize>) -> &'a mut [f32] {
        // SAFETY: inside the slice, as `at` asserts; the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(elements.clone()), elements.len()) }
    }
}
