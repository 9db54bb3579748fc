//! VGG, ResNet and MLP for CIFAR, with PyTorch's names, initialisation and safetensors layouts.
//!
//! ```
//! use gradamp_core::{Parameters, Reference};
//! use gradamp_models::{Architecture, Model, ModelSettings};
//!
//! let settings = ModelSettings::new(Architecture::ResNet18).with_width(4);
//! let mut parameters = Parameters::new(&Reference, 0);
//! let model = Model::new(&settings, &mut parameters)?;
//! let bytes = gradamp_models::to_bytes(&parameters, &Default::default())?;
//! # Ok::<(), gradamp_models::Error>(())
//! ```

#![forbid(unsafe_code)]

mod architecture;
mod archive;
mod atomic;
mod durable;
mod error;
mod external;
mod interchange;
mod layout;
mod mlp;
mod model;
mod naming;
mod resnet;
mod settings;
mod vgg;
mod wrapped;

pub use architecture::Architecture;
pub use archive::{Archive, Metadata};
pub use atomic::{file_behind, write_atomically};
pub use durable::{create_folders, sync_above, sync_file, sync_folder};
pub use error::{Error, Result};
pub use external::{ModelDefinition, OnBackend, register, registered};
pub use interchange::{
    ParameterValues, export, export_tensors, export_values, import, import_values, to_bytes,
};
pub use mlp::Mlp;
pub use model::{Model, build};
pub use naming::{Naming, Skip};
pub use resnet::ResNet;
pub use settings::{ModelSettings, Norm};
pub use vgg::Vgg;
