//! Readers of IDX files, the format of MNIST and Fashion-MNIST: an array of bytes behind a header with its shape. The
//! files may be packed with gzip.
//!
//! | bytes | content |
//! |---|---|
//! | 2 | zero |
//! | 1 | the type of the values; 8 is a byte |
//! | 1 | the number of dimensions, d |
//! | 4·d | the sizes, highest byte first |
//! | the rest | the values |
//!
//! **Sources:** Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits"; H. Xiao, K. Rasul and R.
//! Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017.

mod array;
mod folder;

pub use array::{Array, read as read_array};
pub(crate) use folder::{IdxFiles, Known, NAMES, locate};

#[cfg(test)]
mod tests;
