//! Reads and writes a model's parameters as safetensors, with PyTorch's names and layouts, and other values that
//! belong to parameters, such as velocities and gradients.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use gradamp_core::parameters::Parameter;
use gradamp_core::{Backend, ParameterId, Parameters};
use safetensors::tensor::Dtype;

use crate::archive::{Archive, Entry, Metadata, Values, write_archive};
use crate::layout::{from_torch, to_torch, torch_shape};
use crate::{Error, ModelSettings, Result, write_atomically};

/// Values for some parameters, in this project's layout.
pub type ParameterValues = Vec<(ParameterId, Vec<f32>)>;

/// Writes all parameters, running statistics and counters atomically, as PyTorch's `state_dict` holds them.
///
/// **Errors:** the folder cannot be written to.
pub fn export<B: Backend>(path: &Path, parameters: &Parameters<B>, metadata: &Metadata) -> Result<()> {
    write_atomically(path, |out| write_state(out, path, parameters, metadata))
}

/// The bytes that [`export`] would write.
///
/// **Errors:** those of the backend when values are read.
pub fn to_bytes<B: Backend>(parameters: &Parameters<B>, metadata: &Metadata) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_state(&mut bytes, Path::new("memory"), parameters, metadata)?;
    Ok(bytes)
}

/// Fills the parameters from a file that [`export`] or PyTorch wrote, and returns the file's metadata.
/// See [`Archive::import`].
///
/// **Errors:** the file is missing or broken; those of [`Archive::import`]. After an error the parameters are
/// unchanged.
pub fn import<B: Backend>(path: &Path, parameters: &mut Parameters<B>) -> Result<Metadata> {
    let archive = Archive::open(path)?;
    archive.import("", parameters)?;
    Ok(archive.metadata())
}

/// Writes a tensor for every parameter for which `values` returns values, such as an optimiser's velocities. The
/// tensors have the parameters' names and PyTorch's layouts. The file is written atomically.
///
/// **Errors:** the folder cannot be written to; `values` fails; the number of values differs from the parameter's.
pub fn export_values<B: Backend>(
    path: &Path,
    parameters: &Parameters<B>,
    metadata: &Metadata,
    mut values: impl FnMut(ParameterId) -> Result<Option<Vec<f32>>>,
) -> Result<()> {
    let mut entries = Vec::new();
    for (id, parameter) in parameters.iter() {
        let Some(values) = values(id)? else { continue };
        if values.len() != parameter.value.elements() {
            let message = format!("{} values for shape {:?}", values.len(), parameter.value.shape());
            return Err(gradamp_core::Error::Parameter { path: parameter.path.to_string(), message }.into());
        }
        let values = to_torch(parameter.role, parameter.value.shape(), values);
        entries.push(entry(parameter, values));
    }
    write_atomically(path, |out| {
        write_archive(out, path, entries, metadata, |values| Ok(Values::F32(values)))
    })
}

/// Writes tensors that belong to no parameter, each with its name and shape. The file is written atomically.
///
/// **Errors:** the folder cannot be written to.
pub fn export_tensors(
    path: &Path,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    metadata: &Metadata,
) -> Result<()> {
    let entry = |(name, shape, source)| Entry { name, dtype: Dtype::F32, shape, source };
    let entries: Vec<Entry<Vec<f32>>> = tensors.into_iter().map(entry).collect();
    write_atomically(path, |out| {
        write_archive(out, path, entries, metadata, |values| Ok(Values::F32(values)))
    })
}

/// Reads the values that [`export_values`] wrote for all parameters that `expected` selects, in this project's layout, and the
/// file's metadata. See [`Archive::values`].
/// **Errors:** the file is missing or broken; those of [`Archive::values`].
/// **Errors:** a file that is missing or broken; those of [`Archive::values`].
pub fn import_values<B: Backend>(
    path: &Path,
    parameters: &Parameters<B>,
    expected: impl Fn(&Parameter<B>) -> bool,
) -> Result<(ParameterValues, Metadata)> {
    let archive = Archive::open(path)?;
    Ok((archive.values("", parameters, expected)?, archive.metadata()))
}

impl Archive {
    /// Fills the parameters, running statistics and counters from the tensors whose names begin with `prefix`.
    /// Counters (`num_batches_tracked`) that are missing in the file become 0.
    ///
    /// **Errors:** the file holds another model, width or number of classes; a tensor is missing, unexpected, or of
    /// another shape or type. After an error the parameters are unchanged.
    pub fn import<B: Backend>(&self, prefix: &str, parameters: &mut Parameters<B>) -> Result<()> {
        let counters: Vec<Arc<str>> = parameters.counters().iter().map(|(path, _)| path.clone()).collect();
        self.check(prefix, parameters, |_| true, &counters)?;
        let mut counts = Vec::with_capacity(counters.len());
        for path in &counters {
            counts.push(self.count(&format!("{prefix}{path}"))?);
        }
        let values = self.read(prefix, parameters, |_| true)?;
        for (id, values) in values {
            parameters.set(id, &values)?;
        }
        for ((_, counter), count) in parameters.counters_mut().iter_mut().zip(counts) {
            *counter = count;
        }
        Ok(())
    }

    /// The values of the tensors whose names begin with `prefix`, one tensor for each parameter that `expected` selects, in this
    /// project's layout. Only the names and shapes of the parameters are used.
    ///
    /// **Errors:** those of [`Archive::import`].
    pub fn values<B: Backend>(
        &self,
        prefix: &str,
        parameters: &Parameters<B>,
        expected: impl Fn(&Parameter<B>) -> bool,
    ) -> Result<ParameterValues> {
        self.check(prefix, parameters, &expected, &[])?;
        self.read(prefix, parameters, expected)
    }

    fn read<B: Backend>(
        &self,
        prefix: &str,
        parameters: &Parameters<B>,
        expected: impl Fn(&Parameter<B>) -> bool,
    ) -> Result<ParameterValues> {
        let read = |(id, p): (ParameterId, &Parameter<B>)| {
            let values = self.floats(&format!("{prefix}{}", p.path))?;
            Ok((id, from_torch(p.role, p.value.shape(), values)))
        };
        parameters.iter().filter(|(_, p)| expected(p)).map(read).collect()
    }

    /// Compares the names and shapes of the tensors with those of the parameters.
    fn check<B: Backend>(
        &self,
        prefix: &str,
        parameters: &Parameters<B>,
        expected: impl Fn(&Parameter<B>) -> bool,
        counters: &[Arc<str>],
    ) -> Result<()> {
        let shape = |p: &Parameter<B>| torch_shape(p.role, p.value.shape());
        let ours = ModelSettings::from_tensors(|name| Some(shape(parameters.get(parameters.find(name)?))));
        let theirs =
            ModelSettings::from_tensors(|name| Some(self.shape(&format!("{prefix}{name}"))?.to_vec()));
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
        {
            let file = self.origin().into();
            return Err(Error::Model { file, expected: ours.to_string(), found: theirs.to_string() });
        }
        let mut missing = Vec::new();
        let mut known: BTreeSet<String> = counters.iter().map(|path| format!("{prefix}{path}")).collect();
        for (_, parameter) in parameters.iter().filter(|(_, p)| expected(p)) {
            let (name, expected) = (format!("{prefix}{}", parameter.path), shape(parameter));
            match self.shape(&name) {
                None => missing.push(name.clone()),
                Some(found) if *found != *expected => {
                    let message = format!("expected shape {expected:?}, found {found:?}");
                    return Err(self.error(&name, message));
                }
                Some(_) => {}
            }
            known.insert(name);
        }
        let is_unexpected = |name: &String| name.starts_with(prefix) && !known.contains(name);
        let unexpected: Vec<String> = self.names().into_iter().filter(is_unexpected).collect();
        for (names, what) in
            [(missing, "is missing"), (unexpected, "is unexpected: no parameter has this name")]
        {
            if let [first, others @ ..] = &*names {
                let others = match others.len() {
                    0 => String::new(),
                    n => format!(" (and so are {n} more)"),
                };
                return Err(self.error(first, format!("{what}{others}")));
            }
        }
        Ok(())
    }

    /// The value of a counter; 0 if the file does not have it.
    fn count(&self, name: &str) -> Result<u64> {
        if self.shape(name).is_none() {
            return Ok(0);
        }
        match *self.integers(name)? {
            [count] => u64::try_from(count)
                .map_err(|_| self.error(name, format!("expected a number of batches, found {count}"))),
            ref values => Err(self.error(name, format!("expected one number, found {}", values.len()))),
        }
    }
}

fn entry<B: Backend, T>(parameter: &Parameter<B>, source: T) -> Entry<T> {
    let shape = torch_shape(parameter.role, parameter.value.shape());
    Entry { name: parameter.path.to_string(), dtype: Dtype::F32, shape, source }
}

fn write_state<B: Backend>(
    out: &mut dyn Write,
    file: &Path,
    parameters: &Parameters<B>,
    metadata: &Metadata,
) -> Result<()> {
    enum Source {
        Parameter(ParameterId),
        Counter(u64),
    }
    let counters = parameters.counters().iter().map(|(path, count)| Entry {
        name: path.to_string(),
        dtype: Dtype::I64,
        shape: Vec::new(),
        source: Source::Counter(*count),
    });
    let entries = parameters.iter().map(|(id, p)| entry(p, Source::Parameter(id))).chain(counters).collect();
    write_archive(out, file, entries, metadata, |source| match source {
        Source::Counter(count) => Ok(Values::I64(i64::try_from(count).unwrap_or(i64::MAX))),
        Source::Parameter(id) => {
            let p = parameters.get(id);
            Ok(Values::F32(to_torch(p.role, p.value.shape(), p.value.to_vec()?)))
        }
    })
}
