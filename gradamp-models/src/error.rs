//! The error type of the models.

use std::io;
use std::path::Path;

/// What can go wrong with a model's settings or its files. A message about a file names the file and the place in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An unknown name of an architecture.
    #[error("there is no model {found:?}{} The models are {known}", nearest.map_or_else(|| ".".into(), |name| format!(": did you mean {name}?")))]
    Architecture {
        /// The name.
        found: String,
        /// The most similar known name, if there is a similar one.
        nearest: Option<&'static str>,
        /// All known names.
        known: String,
    },
    /// A failed operation of the operating system.
    #[error("{file}: cannot {action}: {source}")]
    Io {
        /// The file or folder.
        file: String,
        /// The operation that failed.
        action: &'static str,
        /// The system's own error.
        source: io::Error,
    },
    /// A path to write to at which there is something other than a file.
    #[error("{file}: expected the path of a file to write, found {found}")]
    NotAFile {
        /// The path.
        file: String,
        /// What is there.
        found: &'static str,
    },
    /// A file that is not a complete safetensors file.
    #[error("{file}: expected a whole safetensors file, found {bytes} bytes that are not one: {message}")]
    Format {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A file of `torch.save`: a zip archive of pickled objects, or pickled objects alone.
    #[error(
        "{file}: expected a safetensors file, found a file of torch.save, whose pickled objects are programs, which \
         gradamp does not run; convert it with PyTorch (where the state lies inside, as in state[\"state_dict\"] or \
         state[\"model\"], take that):\n  \
         state = torch.load({file:?}, map_location=\"cpu\", weights_only=True)\n  \
         safetensors.torch.save_file({{name: t.contiguous() for name, t in state.items()}}, \"model.safetensors\")"
    )]
    TorchSave {
        /// The file.
        file: String,
    },
    /// A tensor that is missing, unexpected, or of another shape or type.
    #[error("{file}: tensor {tensor}: {message}")]
    Tensor {
        /// The file.
        file: String,
        /// The tensor's name.
        tensor: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A file whose tensors are not a model of this crate.
    #[error("{file}: {message}")]
    Unknown {
        /// The file.
        file: String,
        /// What was expected and what was found.
        message: String,
    },
    /// A file that holds another model than expected.
    #[error("{file}: expected {expected}, found {found}")]
    Model {
        /// The file.
        file: String,
        /// The model whose parameters were to be filled.
        expected: String,
        /// The model in the file.
        found: String,
    },
    /// An error of the core.
    #[error(transparent)]
    Core(#[from] gradamp_core::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(file: &Path, action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Error::Io { file: file.display().to_string(), action, source }
    }
}
