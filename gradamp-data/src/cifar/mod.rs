//! Readers of CIFAR-10 and CIFAR-100, in the binary and the python version.
//!
//! **Source:** A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the description of
//! the files that comes with them.

mod archive;
mod binary;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod layout;
mod pickle;
mod python;
mod scan;

#[cfg(feature = "parquet")]
pub(crate) use layout::{CHANNELS, SIDE};
pub(crate) use layout::{Kind, LAYOUTS, Layout};
pub(crate) use scan::{Location, locate};

#[cfg(test)]
mod tests;
