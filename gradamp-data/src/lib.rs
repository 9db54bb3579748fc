//! CIFAR-10, CIFAR-100, MNIST, Fashion-MNIST, folders of images and generated shapes: reading, augmentation and batches.
//!
//! A data set is read ([`open`]) or generated ([`ShapesSettings`]), split and limited ([`split`]), and served in
//! batches ([`Loader`]) that threads prepare ahead of time. Every random choice is a function of the seed and the
//! place where it is used. An epoch can therefore start at any batch, and has the same bits for any number of
//! threads. [`DataSettings`] holds all settings as one table of a configuration.
//!
//! ```
//! use gradamp_data::{DataSettings, ShapesSettings, Source};
//!
//! let shapes = ShapesSettings::default().with_train(200).with_test(50);
//! let settings = DataSettings::default().with_source(Source::Shapes).with_shapes(shapes).with_validation(40);
//! let parts = settings.split(settings.load()?, 7)?;
//! let loader = settings.train_loader(&parts, 32, 7)?;
//! for batch in loader.host_epoch(0, 0)? {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), 32 * 32 * 32 * 3); // [n, h, w, c]
//!     assert_eq!(batch.labels.len(), 32);
//! }
//! assert_eq!(loader.batches(), 5); // 160 examples
//! # Ok::<(), gradamp_data::Error>(())
//! ```
//!
//! A [`Loader`] is also a [`BatchSource`](gradamp_core::BatchSource) for every backend. If a backend can keep images
//! on its device, [`Loader::keep_on`] returns a source of the same batches that makes them on the device.

#![forbid(unsafe_code)]

pub mod any_path;
mod cifar;
mod dataset;
mod error;
mod find;
mod guard;
pub mod idx;
#[cfg(feature = "images")]
pub mod images;
mod loader;
mod ordered;
#[cfg(feature = "parquet")]
mod parquet;
pub mod published;
mod report;
mod resident;
mod settings;
mod shapes;
mod source;
mod subset;

#[cfg(feature = "fuzzing")]
pub use cifar::fuzzing;
pub use dataset::{Dataset, DatasetPair, FileState, Normalisation, Origin};
pub use error::{Error, Place, Result};
pub use gradamp_core::augment::Augmentation;
pub use guard::is_guarded;
pub use loader::{HostBatch, HostBatches, Loader};
pub use report::{Info, Verification, info, verify};
pub use resident::Resident;
pub use settings::DataSettings;
pub use shapes::ShapesSettings;
pub use source::{
    Choice, DATA_FOLDER, DATA_VARIABLE, Source, discover, open, register, registered, sources_in,
};
pub use subset::{Parts, SplitSizes, Subset, split};
