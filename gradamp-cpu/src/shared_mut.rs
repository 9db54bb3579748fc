//! A slice that several tasks write at the same time.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice whose elements are shared out among tasks; the elements of a task need not be adjacent.
pub(super) struct SharedMut<'a, T = f32> {
    start: *mut T,
    len: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer alone accesses nothing. Code that reads or writes through it promises that no other task accesses the same
// elements.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<T> Clone for SharedMut<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Shares `values` among tasks.
    pub(super) fn new(values: &'a mut [T]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), borrowed: PhantomData }
    }

    /// A pointer to the first element of the range.
    ///
    /// **Panics:** if the range is not within the slice.
    pub(super) fn at(&self, elements: Range<usize>) -> *mut T {
        assert!(elements.start <= elements.end && elements.end <= self.len);
        // Inside the slice, by the assertion above.
        self.start.wrapping_add(elements.start)
    }

    /// The elements of the range, to be written.
    ///
    /// **Panics:** if the range is not within the slice.
    ///
    /// # Safety
    ///
    /// No other code reads or writes these elements while the returned slice lives.
    #[allow(clippy::mut_from_ref)] // several tasks hold a copy, and each writes only its own elements
    pub(super) unsafe fn written(&self, elements: Range<usize>) -> &'a mut [T] {
        // SAFETY: the range is inside the slice, as `at` asserts; the caller promises that nobody else accesses it.
        unsafe { std::slice::from_raw_parts_mut(self.at(elements.clone()), elements.len()) }
    }
}
