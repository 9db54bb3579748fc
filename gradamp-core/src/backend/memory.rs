//! Buffers on a device, and copies from and to the host.

use std::fmt::Debug;

use crate::{Result, memory};

/// A device with memory: a cheap handle, cloned freely. All values are f32.
pub trait Memory: Clone + Debug + Send + Sync + 'static {
    /// Device memory for f32 elements. Dropping a buffer gives the memory back.
    type Buffer: Debug + Send + Sync + 'static;

    /// The device's name, for run folders and errors.
    fn name(&self) -> String;

    /// A buffer of at least `len` elements, of unspecified contents.
    ///
    /// **Errors:** out of memory.
    fn allocate(&self, len: usize) -> Result<Self::Buffer>;

    /// Copies `src` to the beginning of `dst`.
    fn write(&self, src: &[f32], dst: &mut Self::Buffer) -> Result<()>;

    /// Copies the beginning of `src` to `dst`, waiting for all work before it.
    fn read(&self, src: &Self::Buffer, dst: &mut [f32]) -> Result<()>;

    /// Copies the beginnings of several buffers, each with its number of elements. A backend may wait once for all buffers; the
    /// default waits for each.
    fn read_all(&self, sources: &[(&Self::Buffer, usize)]) -> Result<Vec<Vec<f32>>> {
        let read = |&(source, len): &(&Self::Buffer, usize)| {
            let mut values = memory::filled(len, 0.0, "values that are read from the device")?;
            self.read(source, &mut values).map(|()| values)
        };
        sources.iter().map(read).collect()
    }
}
