//! A backward pass that returns gradients chosen by a test.

use gradamp_core::optim::{OptimizerSettings, SgdSettings};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{
    Backend, BackwardRule, Gradient, Gradients, Hooks, Initial, ParameterId, Parameters, Pass, Result, Role,
    Tape, Tensor,
};

/// The parameters: odd sizes, two linear layers, and one running statistic, which is not trained.
pub const MODEL: [(&str, Role, &[usize]); 10] = [
    ("conv.weight", Role::ConvWeight, &[3, 2, 5, 7]),
    ("conv.bias", Role::Bias, &[7]),
    ("bn.weight", Role::Gamma, &[7]),
    ("bn.bias", Role::Beta, &[7]),
    ("bn.running_mean", Role::Running, &[7]),
    ("block.0.conv.weight", Role::ConvWeight, &[1, 1, 7, 1]),
    ("hidden.weight", Role::LinearWeight, &[7, 13]),
    ("hidden.bias", Role::Bias, &[13]),
    ("fc.weight", Role::LinearWeight, &[13, 3]),
    ("fc.bias", Role::Bias, &[3]),
];

/// The parameters of [`MODEL`]. The weight of the batch norm begins at 1, its bias at 0.
pub fn parameters<B: Backend>(backend: &B) -> Parameters<B> {
    let mut parameters = Parameters::new(backend, 9);
    for (path, role, shape) in MODEL {
        let initial = match role {
            Role::Gamma => Initial::Constant(1.0),
            Role::Beta | Role::Running => Initial::Constant(0.0),
            _ => Initial::Weight { fan_in: 9, fan_out: 9 },
        };
        parameters.add(path, role, shape, initial).unwrap();
    }
    parameters
}

/// The parameters that get a gradient.
pub fn trained<B: Backend>(parameters: &Parameters<B>) -> Vec<ParameterId> {
    parameters.iter().filter(|(_, parameter)| parameter.role.is_trained()).map(|(id, _)| id).collect()
}

/// Values of a gradient for each trained parameter. They differ from step to step, and their means are not 0.
pub fn values(step: u64) -> Vec<Vec<f32>> {
    let trained = MODEL.iter().filter(|(_, role, _)| role.is_trained());
    let values = |(number, (_, _, shape)): (usize, &(&str, Role, &[usize]))| {
        let stream = Stream::new(step, Purpose::Test).at(number as u64);
        (0..shape.iter().product::<usize>() as u64).map(|i| stream.uniform(i) - 0.4).collect()
    };
    trained.enumerate().map(values).collect()
}

struct Plant<B: Backend>(Vec<Tensor<B>>, f32);

impl<B: Backend> BackwardRule<B> for Plant<B> {
    fn backward(self: Box<Self>, _: Gradient<B>, pass: &mut Pass<B>) -> Result<()> {
        let Self(tensors, scale) = *self;
        let mut shares = tensors.into_iter().enumerate();
        shares.try_for_each(|(i, tensor)| pass.parameter(i, Gradient::new(tensor).scaled(scale)))
    }
}

/// The gradients `scale` times `values`. The scale is the gradients' scalar, and is not multiplied into the values.
pub fn gradients<B: Backend>(
    parameters: &mut Parameters<B>,
    values: &[Vec<f32>],
    scale: f32,
) -> Gradients<B> {
    let ids = trained(parameters);
    let backend = parameters.backend().clone();
    let tensor = |(id, values): (&ParameterId, &Vec<f32>)| {
        Tensor::from_slice(&backend, parameters.get(*id).value.shape(), values).unwrap()
    };
    let tensors = ids.iter().zip(values).map(tensor).collect();
    let mut tape = Tape::train(parameters);
    let one = Tensor::full(&backend, &[1], 1.0).unwrap();
    let loss = tape.record("plant", &[], &ids, None, one, Plant(tensors, scale)).unwrap();
    tape.backward(&loss, &Hooks::new()).unwrap()
}

/// The bits of every trained parameter.
pub fn bits<B: Backend>(parameters: &Parameters<B>) -> Vec<Vec<u32>> {
    let bits = |id| parameters.get(id).value.to_vec().unwrap().into_iter().map(f32::to_bits).collect();
    trained(parameters).into_iter().map(bits).collect()
}

/// The seed of every run of these tests.
pub const SEED: u64 = 11;
/// The learning rate of every run of these tests.
pub const LR: f32 = 0.25;

/// Takes `steps` steps of SGD with gradients `scale` times [`values`].
pub fn train<B: Backend>(backend: &B, settings: &SgdSettings, scale: f32, steps: u64) -> Parameters<B> {
    train_by(backend, &settings.clone().into(), steps, |_| scale)
}

/// Takes `steps` steps with gradients `scale(step)` times [`values`].
pub fn train_by<B: Backend>(
    backend: &B,
    settings: &OptimizerSettings,
    steps: u64,
    scale: impl Fn(u64) -> f32,
) -> Parameters<B> {
    let mut parameters = parameters(backend);
    let mut optimizer = settings.build(&parameters).unwrap();
    optimizer.count_from(SEED, 0);
    for step in 0..steps {
        let gradients = gradients(&mut parameters, &values(step), scale(step));
        optimizer.step(&mut parameters, &gradients, LR).unwrap();
    }
    parameters
}
