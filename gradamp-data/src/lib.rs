//! CIFAR-10, CIFAR-100 and generated shapes: readers, augmentation, batches.

mod cifar;
pub mod dataset;
pub mod error;
pub mod source;

pub use cifar::FileState;
pub use dataset::{Dataset, DatasetPair, Normalisation, Origin};
pub use error::{Error, Place, Result};
pub use source::{Source, discover, open};
