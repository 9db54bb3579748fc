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
use crate::{Error, ModelSettings, Result, Skip, write_atomically};

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
///
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
        self.import_but(&Skip::default(), prefix, parameters)
    }

    /// Fills the parameters as [`Archive::import`] does, apart from those that `skip` leaves as they are.
    pub(crate) fn import_but<B: Backend>(
        &self,
        skip: &Skip,
        prefix: &str,
        parameters: &mut Parameters<B>,
    ) -> Result<()> {
        skip.check(parameters)?;
        let paths = parameters.counters().iter().map(|(path, _)| path.clone());
        let counters: Vec<Arc<str>> = paths.filter(|path| !skip.holds(path)).collect();
        self.check(prefix, parameters, |p| !skip.holds(&p.path), &counters, skip)?;
        let mut counts = Vec::with_capacity(counters.len());
        for path in &counters {
            counts.push(self.count(&format!("{prefix}{path}"))?);
        }
        let values = self.read(prefix, parameters, |p| !skip.holds(&p.path))?;
        for (id, values) in values {
            parameters.set(id, &values)?;
        }
        let read = parameters.counters_mut().iter_mut().filter(|(path, _)| !skip.holds(path));
        for ((_, counter), count) in read.zip(counts) {
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
        self.check(prefix, parameters, &expected, &[], &Skip::default())?;
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
        skip: &Skip,
    ) -> Result<()> {
        let shape = |p: &Parameter<B>| torch_shape(p.role, p.value.shape());
        let ours = ModelSettings::from_tensors(|name| Some(shape(parameters.get(parameters.find(name)?))));
        let theirs =
            ModelSettings::from_tensors(|name| Some(self.shape(&format!("{prefix}{name}"))?.to_vec()));
        self.check_structure(prefix, skip)?;
        if let (Some(ours), Some(theirs)) = (ours, theirs)
            && ours != theirs
            && skip.is_empty()
        {
            let file = self.origin().into();
            let has_other_classes = ours == ModelSettings { classes: ours.classes, ..theirs };
            let tip = if has_other_classes { OTHER_CLASSES } else { "" };
            let (expected, found) = (ours.to_string(), format!("{theirs}{tip}"));
            return Err(Error::Model { file, expected, found });
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
        let is_unexpected = |name: &String| {
            name.strip_prefix(prefix).is_some_and(|own| !known.contains(name) && !skip.holds(own))
        };
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

    /// **Errors:** a ResNet of other blocks or with another stem than this project's, which its names alone do not show.
    fn check_structure(&self, prefix: &str, skip: &Skip) -> Result<()> {
        let bottleneck = format!("{prefix}layer1.0.conv3.weight");
        if self.shape(&bottleneck).is_some() {
            let message = "is of a bottleneck block, as in ResNet-50; expected the basic blocks of ResNet-18 or ResNet-34";
            return Err(self.error(&bottleneck, message));
        }
        let stem = format!("{prefix}conv1.weight");
        match self.shape(&stem) {
            Some(&[c_out, c_in, kh, kw]) if kh > 3 && !skip.holds("conv1.weight") => {
                let message = format!(
                    "expected shape {:?}, found {:?}: the file's network is for large images and begins with a {kh}x{kw} \
                     convolution and a max-pool; a 3x3 convolution without a pool, for small images, is expected \
                     (init_skip = [\"conv1.*\"] keeps new values there)",
                    [c_out, c_in, 3, 3],
                    [c_out, c_in, kh, kw]
                );
                Err(self.error(&stem, message))
            }
            _ => Ok(()),
        }
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

/// What to do with a model of another number of classes.
const OTHER_CLASSES: &str = " (to keep a new last layer and read all others, use init_skip = [\"linear.*\"], or \"classifier.*\" for a VGG or an MLP)";

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
