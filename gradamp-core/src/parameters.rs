//! The parameters of a model: a flat list of named tensors, so that optimisers, checkpoints and exports are loops over the list.
//!
//! A model's layers hold only [`ParameterId`]s and settings, and work on any backend.

use std::sync::Arc;

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
}

/// The role of a parameter in its layer. It decides the layout in files, and whether the parameter is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[kh, kw, c_in, c_out]`, PyTorch's `[c_out, c_in, kh, kw]`.
    ConvWeight,
    /// `[c_in, c_out]`, PyTorch's `[c_out, c_in]`.
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
    /// Uniform in ±1/√fan_in: PyTorch's default for the weights and biases of convolutions and linear layers.
    ///
    /// **Source:** `torch.nn.init.kaiming_uniform_` with a = √5, which `reset_parameters` calls.
    Uniform {
        /// The number of inputs of one output.
        fan_in: usize,
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

/// All parameters and running statistics of a model, on one backend.
#[derive(Clone, Debug)]
pub struct Parameters<B: Backend> {
    backend: B,
    seed: u64,
    list: Vec<Parameter<B>>,
    /// The number of training batches that each batch norm has seen: PyTorch's `num_batches_tracked`.
    counters: Vec<(Arc<str>, u64)>,
}

impl<B: Backend> Parameters<B> {
    /// An empty list. `seed` decides the initial values of the parameters that are added.
    pub fn new(backend: &B, seed: u64) -> Self {
        Self { backend: backend.clone(), seed, list: Vec::new(), counters: Vec::new() }
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
        match initial {
            Initial::Constant(value) => values.resize(elements, value),
            Initial::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in as f32).sqrt();
                let stream = Stream::new(self.seed, Purpose::Initialise).at(self.list.len() as u64);
                values.extend((0..elements as u64).map(|i| (2.0 * stream.uniform(i) - 1.0) * bound));
            }
        }
        let value = Tensor::from_slice(&self.backend, shape, &values)?;
        self.list.push(Parameter { path: path.into(), role, value });
        Ok(ParameterId(self.list.len() - 1))
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
