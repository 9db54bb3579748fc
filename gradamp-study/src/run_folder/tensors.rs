//! The tensors of a checkpoint beside the model: the optimiser's state, and the sums of gradients.
//!
//! | file | holds |
//! |---|---|
//! | `momentum.safetensors` | SGD's velocities |
//! | `exp_avg.safetensors`, `exp_avg_sq.safetensors` | AdamW's averages; another optimiser has files of its own names |
//! | `optimizer.safetensors` | the optimiser's tensors that belong to no parameter |
//! | `ema.safetensors` | the moving average of the model's parameters and running statistics, in a run that has one: a model like that of `model.safetensors` |
//! | `gradient_sums.safetensors` | the sums of gradients in an epoch that is going on, if the run's policy needs them |

use std::collections::BTreeMap;
use std::path::Path;

use gradamp_core::optim::StateTensor;
use gradamp_core::train::Snapshot;
use gradamp_core::{Backend, ParameterId, Parameters, Tensor};
use gradamp_models::{Archive, Metadata, export, export_tensors, export_values};

use super::error::{Error, Result};

pub(super) const MODEL: &str = "model.safetensors";
pub(super) const EXTENSION: &str = ".safetensors";
/// The average of the weights.
pub(super) const EMA: &str = "ema.safetensors";
pub(super) const SUMS: &str = "gradient_sums.safetensors";
/// The tensors of the optimiser that belong to no parameter.
pub(super) const WHOLE: &str = "optimizer.safetensors";

/// A tensor of an optimiser's state: its name, the parameter that it belongs to, and its values.
pub type OptimizerTensor<B> = (String, Option<ParameterId>, Tensor<B>);

/// Writes the tensors into `folder` and returns the files' names.
///
/// **Errors:** a folder that cannot be written or is full; a state whose name is no file's name, or that of another file.
pub(super) fn write<B: Backend>(
    folder: &Path,
    snapshot: &Snapshot<'_, B>,
    metadata: &Metadata,
) -> Result<Vec<String>> {
    let Snapshot { parameters, ema, optimizer, gradient_sums, .. } = snapshot;
    let mut by_name: BTreeMap<String, Vec<Option<&Tensor<B>>>> = BTreeMap::new();
    let mut whole = Vec::new();
    for StateTensor { name, parameter, tensor } in optimizer.state() {
        match parameter {
            Some(id) => {
                let none = || vec![None; parameters.iter().count()];
                by_name.entry(file_of(folder, name)?).or_insert_with(none)[id.index()] = Some(tensor);
            }
            None => whole.push((name.to_owned(), tensor.shape().to_vec(), tensor.to_vec()?)),
        }
    }
    if !gradient_sums.is_empty() {
        by_name.insert(SUMS.into(), gradient_sums.iter().map(Option::as_ref).collect());
    }
    for (name, tensors) in &by_name {
        export_values(&folder.join(name), parameters, metadata, |id| {
            Ok(tensors[id.index()].map(Tensor::to_vec).transpose()?)
        })?;
    }
    let mut names: Vec<String> = by_name.into_keys().collect();
    if let Some(average) = ema {
        export(&folder.join(EMA), average, metadata)?;
        names.push(EMA.into());
    }
    if !whole.is_empty() {
        export_tensors(&folder.join(WHOLE), whole, metadata)?;
        names.push(WHOLE.into());
    }
    Ok(names)
}

/// The file of a state.
fn file_of(folder: &Path, name: &str) -> Result<String> {
    let file = format!("{name}{EXTENSION}");
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain && ![MODEL, EMA, SUMS, WHOLE].contains(&file.as_str()) {
        return Ok(file);
    }
    let message = format!(
        "expected letters, digits and underscores for the name of an optimiser's state, other than `model`, `ema`, \
         `optimizer` and `gradient_sums`; found `{name}`"
    );
    Err(Error::broken(folder, message))
}

/// The tensors of a file of [`export_values`], as tensors of the parameters that it names.
pub(super) fn of_parameters<B: Backend>(
    archive: &Archive,
    parameters: &Parameters<B>,
) -> Result<Vec<(ParameterId, Tensor<B>)>> {
    let values = archive.values("", parameters, |p| archive.shape(&p.path).is_some())?;
    let tensor = |(id, values): (ParameterId, Vec<f32>)| {
        let shape = parameters.get(id).value.shape();
        Ok((id, Tensor::from_slice(parameters.backend(), shape, &values)?))
    };
    values.into_iter().map(tensor).collect()
}

/// The tensors that belong to no parameter.
pub(super) fn of_the_model<B: Backend>(archive: &Archive, backend: &B) -> Result<Vec<OptimizerTensor<B>>> {
    let tensor = |name: String| {
        let shape = archive.shape(&name).unwrap_or_default();
        let tensor = Tensor::from_slice(backend, shape, &archive.floats(&name)?)?;
        Ok((name, None, tensor))
    };
    archive.names().into_iter().map(tensor).collect()
}
