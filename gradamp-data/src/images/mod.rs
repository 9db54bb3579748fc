//! Images in folders: `train/CLASS/*.png` and `test/CLASS/*.png`, as PNG or JPEG.
//!
//! The folders' names are the classes, in sorted order, and the images of a class come in the order of their names.
//! All images have one size. They have one channel if all of them are grey, and otherwise three; transparency is
//! dropped, and 16 bits are rounded to 8.

mod decode;
mod folder;

pub use decode::Pixels;
pub use decode::decode;
pub(crate) use folder::{ImageFolder, locate};

#[cfg(test)]
mod tests;
