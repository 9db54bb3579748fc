//! The parameters of a model: a flat list of named tensors, so that optimisers, checkpoints and exports are loops over the list.
//!
//! A model's layers hold only [`ParameterId`]s and settings, and work on any backend.

use std::sync::Arc;

use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use crate::random::{Purpose, Stream};
use crate::tensor::Shape;
use crate::{Backend, Error, Result, Tensor, memory};

/// A parameter's place in [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(usize);

impl ParameterId {
    /// The parameter's number, from 0, in the order of registration.
    pub fn index(self) -> usize {
        self.0
    }

    /// The parameter with this number.
    pub(crate) fn at(index: usize) -> Self {
        Self(index)
    }
}

/// The role of a parameter in its layer. It decides the layout in files, and whether the parameter is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[kh, kw, c_in, c_out]`, PyTorch's `[c_out, c_in, kh, kw]`.
    ConvWeight,
    /// `[c_in, c_out]`, PyTorch's `[c_out, c_in]`; on images `[h, w, c_in, c_out]`, PyTorch's `[c_out, c_in · h · w]`.
    LinearWeight,
    /// `[c]`: the bias of a convolution or linear layer.
    Bias,
    /// `[c]`: a batch norm's scale.
    Gamma,
    /// `[c]`: a batch norm's shift.
    Beta,
    /// `[c]`: a batch norm's running mean or variance; not trained.
    Running,
}

impl Role {
    /// Whether the optimiser changes parameters of this role.
    pub fn is_trained(self) -> bool {
        self != Role::Running
    }
}

/// A set of parameters that a method can leave unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSet {
    /// The biases of convolutions and linear layers.
    Bias,
    /// The scales and shifts of batch norms.
    BatchNorm,
}

impl ParameterSet {
    /// Whether a parameter of this role belongs to the set.
    pub fn covers(self, role: Role) -> bool {
        match self {
            ParameterSet::Bias => role == Role::Bias,
            ParameterSet::BatchNorm => matches!(role, Role::Gamma | Role::Beta),
        }
    }
}

/// The initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// One value everywhere.
    Constant(f32),
    /// A weight's values, as the [`Initialisation`] of the parameters says.
    Weight {
        /// The number of inputs of one output.
        fan_in: usize,
        /// The number of outputs that read one input.
        fan_out: usize,
    },
    /// A bias's values, as the [`Initialisation`] of the parameters says.
    Bias {
        /// The number of inputs of one output.
        fan_in: usize,
    },
}

/// From which distribution the weights and biases of convolutions and linear layers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Initialisation {
    /// The distribution.
    pub scheme: InitialScheme,
    /// A factor for all values. Default: 1.
    pub gain: f32,
}

impl Default for Initialisation {
    fn default() -> Self {
        Self { scheme: InitialScheme::Pytorch, gain: 1.0 }
    }
}

impl Initialisation {
    /// Checks the gain.
    ///
    /// **Errors:** a gain that is not above 0, or not finite.
    pub fn check(&self) -> Result<()> {
        match self.gain.is_finite() && self.gain > 0.0 {
            true => Ok(()),
            false => Err(Error::setting("gain", format!("expected a number above 0, found {}", self.gain))),
        }
    }
}

/// A distribution of initial weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InitialScheme {
    /// Weights and biases uniform in ±gain/√fan_in.
    ///
    /// **Source:** `reset_parameters` of PyTorch's `Conv2d` and `Linear`.
    #[default]
    Pytorch,
    /// Weights normal with mean 0 and variance gain² · 2/fan_in; biases 0.
    ///
    /// **Source:** He et al., *Delving deep into rectifiers*, 2015; `torch.nn.init.kaiming_normal_`.
    He,
    /// Weights uniform in ±gain · √(6/(fan_in + fan_out)); biases 0.
    ///
    /// **Source:** Glorot, Bengio, *Understanding the difficulty of training deep feedforward neural networks*, 2010;
    /// `torch.nn.init.xavier_uniform_`.
    Xavier,
}

/// What initial values are drawn from.
enum Distribution {
    Constant(f32),
    /// Uniform in ±bound.
    Uniform {
        bound: f32,
    },
    /// Normal with mean 0.
    Normal {
        deviation: f32,
    },
}

/// A named tensor of a model.
#[derive(Clone, Debug)]
pub struct Parameter<B: Backend> {
    /// The path, as in PyTorch's state_dict, such as `layer2.0.bn1.weight`.
    pub path: Arc<str>,
    /// The role.
    pub role: Role,
    /// The values.
    pub value: Tensor<B>,
}

impl<B: Backend> Parameter<B> {
    /// The path of the layer that the parameter belongs to: `fc` of `fc.weight`.
    pub(crate) fn layer(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(layer, _)| layer)
    }
}

/// All parameters and running statistics of a model, on one backend.
#[derive(Clone, Debug)]
pub struct Parameters<B: Backend> {
    backend: B,
    seed: u64,
    initialisation: Initialisation,
    list: Vec<Parameter<B>>,
    /// The number of training batches that each batch norm has seen: PyTorch's `num_batches_tracked`.
    counters: Vec<(Arc<str>, u64)>,
}

impl<B: Backend> Parameters<B> {
    /// An empty list. `seed` decides the initial values of the parameters that are added.
    pub fn new(backend: &B, seed: u64) -> Self {
        let initialisation = Initialisation::default();
        Self { backend: backend.clone(), seed, initialisation, list: Vec::new(), counters: Vec::new() }
    }

    /// The same list, whose parameters from now on are drawn as `initialisation` says. Without this call they are drawn as
    /// PyTorch does.
    #[must_use]
    pub fn with_initialisation(mut self, initialisation: Initialisation) -> Self {
        self.initialisation = initialisation;
        self
    }

    /// Registers a parameter. Its initial values are a function of the seed and the parameter's number.
    ///
    /// **Errors:** a path that is registered already; out of memory.
    pub fn add(&mut self, path: &str, role: Role, shape: &[usize], initial: Initial) -> Result<ParameterId> {
        if self.find(path).is_some() {
            return Err(Error::Parameter { path: path.into(), message: "is registered twice".into() });
        }
        let elements = Shape::new(shape)?.elements();
        let mut values = memory::room_for(elements, path)?;
        let stream = Stream::new(self.seed, Purpose::Initialise).at(self.list.len() as u64);
        match self.distribution(initial) {
            Distribution::Constant(value) => values.resize(elements, value),
            Distribution::Uniform { bound } => {
                values.extend((0..elements as u64).map(|i| (2.0 * stream.uniform(i) - 1.0) * bound));
            }
            Distribution::Normal { deviation } => {
                values.resize(elements, 0.0);
                stream.normals(0, &mut values);
                values.iter_mut().for_each(|value| *value *= deviation);
            }
        }
        let value = Tensor::from_slice(&self.backend, shape, &values)?;
        self.list.push(Parameter { path: path.into(), role, value });
        Ok(ParameterId(self.list.len() - 1))
    }

    fn distribution(&self, initial: Initial) -> Distribution {
        let Initialisation { scheme, gain } = self.initialisation;
        match (initial, scheme) {
            (Initial::Constant(value), _) => Distribution::Constant(value),
            (Initial::Weight { fan_in, .. } | Initial::Bias { fan_in }, InitialScheme::Pytorch) => {
                Distribution::Uniform { bound: gain / (fan_in as f32).sqrt() }
            }
            (Initial::Bias { .. }, _) => Distribution::Constant(0.0),
            (Initial::Weight { fan_in, .. }, InitialScheme::He) => {
                Distribution::Normal { deviation: gain * (2.0 / fan_in as f32).sqrt() }
            }
            (Initial::Weight { fan_in, fan_out }, InitialScheme::Xavier) => {
                Distribution::Uniform { bound: gain * (6.0 / (fan_in + fan_out) as f32).sqrt() }
            }
        }
    }

    /// Registers a counter of training batches at `path` and returns its number.
    pub fn add_counter(&mut self, path: &str) -> usize {
        self.counters.push((path.into(), 0));
        self.counters.len() - 1
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// One parameter.
    pub fn get(&self, id: ParameterId) -> &Parameter<B> {
        &self.list[id.0]
    }

    /// One parameter, to change.
    pub fn get_mut(&mut self, id: ParameterId) -> &mut Parameter<B> {
        &mut self.list[id.0]
    }

    /// The parameter at `path`.
    pub fn find(&self, path: &str) -> Option<ParameterId> {
        self.list.iter().position(|p| &*p.path == path).map(ParameterId)
    }

    /// All parameters, in the order of registration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParameterId, &Parameter<B>)> {
        self.list.iter().enumerate().map(|(i, p)| (ParameterId(i), p))
    }

    /// All parameters, to change.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParameterId, &mut Parameter<B>)> {
        self.list.iter_mut().enumerate().map(|(i, p)| (ParameterId(i), p))
    }

    /// The counters of training batches: path and count.
    pub fn counters(&self) -> &[(Arc<str>, u64)] {
        &self.counters
    }

    /// The counters, to change.
    pub fn counters_mut(&mut self) -> &mut [(Arc<str>, u64)] {
        &mut self.counters
    }

    /// The number of parameters and running statistics.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of elements of all trained parameters: the 11 million of "a model of 11 million parameters".
    pub fn trained_elements(&self) -> usize {
        self.list.iter().filter(|p| p.role.is_trained()).map(|p| p.value.elements()).sum()
    }

    /// Sets a parameter's values (row-major, in this project's layout).
    ///
    /// **Errors:** a number of values that does not fit the parameter's shape.
    pub fn set(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        let parameter = &mut self.list[id.0];
        if parameter.value.elements() != values.len() {
            return Err(Error::Parameter {
                path: parameter.path.to_string(),
                message: format!("shape {:?} does not hold {} values", parameter.value.shape(), values.len()),
            });
        }
        parameter.value = Tensor::from_slice(&self.backend, parameter.value.shape(), values)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    /// The values of a weight of 300 inputs and 100 outputs, and of its bias.
    fn drawn(scheme: InitialScheme, gain: f32) -> [Vec<f32>; 2] {
        let initialisation = Initialisation { scheme, gain };
        let mut parameters = Parameters::new(&Reference, 3).with_initialisation(initialisation);
        let weight = Initial::Weight { fan_in: 300, fan_out: 100 };
        let ids = [
            parameters.add("weight", Role::LinearWeight, &[300, 100], weight).unwrap(),
            parameters.add("bias", Role::Bias, &[100], Initial::Bias { fan_in: 300 }).unwrap(),
        ];
        ids.map(|id| parameters.get(id).value.to_vec().unwrap())
    }

    fn deviation(values: &[f32]) -> f32 {
        (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt()
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, x| most.max(x.abs()))
    }

    fn is_close(found: f32, expected: f32) -> bool {
        (found / expected - 1.0).abs() < 0.02
    }

    #[test]
    fn each_scheme_has_its_distribution() {
        for gain in [1.0, 2.5] {
            let [weight, bias] = drawn(InitialScheme::Pytorch, gain);
            let bound = gain / 300.0f32.sqrt();
            assert!(is_close(largest(&weight), bound) && is_close(deviation(&weight), bound / 3.0f32.sqrt()));
            assert!(largest(&bias) < bound && largest(&bias) > 0.9 * bound);

            let [weight, bias] = drawn(InitialScheme::He, gain);
            let expected = gain * (2.0 / 300.0f32).sqrt();
            assert!(is_close(deviation(&weight), expected) && largest(&weight) > 3.0 * expected, "normal");
            assert_eq!(largest(&bias), 0.0);

            let [weight, bias] = drawn(InitialScheme::Xavier, gain);
            let bound = gain * (6.0 / 400.0f32).sqrt();
            assert!(is_close(largest(&weight), bound) && is_close(deviation(&weight), bound / 3.0f32.sqrt()));
            assert_eq!(largest(&bias), 0.0);
        }
    }

    #[test]
    fn a_gain_without_sense_is_refused() {
        for gain in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = Initialisation { gain, ..Initialisation::default() }.check().unwrap_err();
            assert!(error.to_string().starts_with("gain: expected a number above 0"), "{error}");
        }
        assert!(Initialisation::default().check().is_ok());
    }
}
