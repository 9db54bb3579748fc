//! A fixture's steps, with the real tape, hooks and optimiser.
//!
//! A step is not continuous in its inputs. A rectifier's input of 1e-8, or two values of a pooling window that differ by
//! as little, fall to one side or the other by rounding alone, and from then on the gradients differ by that pixel's
//! share, far beyond the limits. PyTorch itself, run in f64, on another number of threads or on another processor, does
//! not reproduce all of its own fixtures then. So where the plain replay ends beyond the limits, a crowd of replays sets
//! out whose weights are nudged in their last bits before every step; after each step those that are closest to the
//! fixture go on. An error in the code is no matter of last bits: with a wrong factor, sign or formula no nudge comes
//! within the limits, as a test shows.

use std::error::Error;

use gradamp_core::optim::{Sgd, SgdSettings};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Gradients, Hooks, Module, Parameters, Role, Tape, Tensor, ops};
use gradamp_models::Model;

use crate::errors::{Errors, Worst, distance, norm, relative};
use crate::fixture::Fixture;

/// How far nudges go, relative to each weight: a change of the last bit or two. The sizes take turns.
const SIZES: [f32; 4] = [1e-7, 3e-7, 1e-6, 3e-6];
/// How many replays take each step at most.
const CROWD: usize = 192;
/// How many of them go on.
pub const KEPT: usize = 32;
/// A smaller crowd, tried first where replays are slow: it is mostly enough, and ends when so few are close.
pub const FEW: usize = 4;
/// Logits that differ this little from those of the fixture's next step have taken PyTorch's sides.
const CLOSE: f64 = 1e-4;

/// What is replayed.
pub struct Replay<'a, B: Backend> {
    fixture: &'a Fixture<B>,
    model: Model,
    hooks: Hooks<B>,
}

/// Where a replay stands after some steps.
#[derive(Clone)]
pub struct State<B: Backend> {
    parameters: Parameters<B>,
    velocities: Vec<Option<Tensor<B>>>,
    pub errors: Errors,
    /// Whether weights were nudged on the way.
    pub is_nudged: bool,
}

impl<'a, B: Backend> Replay<'a, B> {
    /// Replays all steps of `fixture` and measures them; where that does not do, with crowds of which so many go on.
    pub fn run(fixture: &'a Fixture<B>, crowds: &[usize]) -> Result<State<B>, Box<dyn Error>> {
        let (model, mut parameters) = fixture.model("init.")?;
        let hooks = fixture.hooks(&model, &mut parameters)?;
        let replay = Self { fixture, model, hooks };
        let velocities = vec![None; parameters.len()];
        let begin = State { parameters, velocities, errors: Errors::default(), is_nudged: false };

        let mut plain = begin.clone();
        for step in 1..=fixture.case.steps {
            plain = replay.step(&plain, step, 0)?;
        }
        replay.measure_end(&mut plain)?;
        if plain.errors.beyond_limits().is_empty() {
            return Ok(plain);
        }
        for &kept in crowds {
            if let Some(state) = replay.crowd(begin.clone(), kept)? {
                return Ok(state);
            }
        }
        Ok(plain)
    }

    /// The first of a crowd of replays beginning at `begin`, of which `most` go on, that ends within all limits.
    fn crowd(&self, begin: State<B>, most: usize) -> Result<Option<State<B>>, Box<dyn Error>> {
        let (mut kept, steps) = (vec![begin], self.fixture.case.steps);
        for step in 1..steps {
            let next = self.fixture.archive.floats(&format!("step{}.logits", step + 1))?;
            let mut crowd = Vec::new();
            let mut close = 0;
            for nudge in 1..=CROWD {
                let state = self.step(&kept[nudge % kept.len()], step, nudge)?;
                if !state.errors.beyond_limits().is_empty() {
                    continue;
                }
                let logits = self.logits(Tape::train(&mut state.parameters.clone()))?;
                // What is close is equally close: otherwise only the smallest nudges would go on.
                let remoteness = relative(&logits, &next).max(CLOSE);
                crowd.push((remoteness, state));
                close += usize::from(remoteness == CLOSE);
                if close == most {
                    break;
                }
            }
            crowd.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            kept = crowd.into_iter().take(most).map(|(_, state)| state).collect();
            if kept.is_empty() {
                return Ok(None);
            }
        }
        for nudge in 1..=CROWD {
            let mut state = self.step(&kept[nudge % kept.len()], steps, nudge)?;
            self.measure_end(&mut state)?;
            if state.errors.beyond_limits().is_empty() {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// The model's output on a tape that is not needed further.
    fn logits(&self, mut tape: Tape<'_, B>) -> Result<Vec<f32>, Box<dyn Error>> {
        let x = tape.constant(self.fixture.images.clone());
        Ok(self.model.forward(&mut tape, x)?.tensor().to_vec()?)
    }

    /// Step number `step` (from 1) of a replay, nudged unless `nudge` is 0.
    fn step(&self, from: &State<B>, step: usize, nudge: usize) -> Result<State<B>, Box<dyn Error>> {
        let Fixture { archive, case, .. } = self.fixture;
        let State { mut parameters, velocities, mut errors, is_nudged } = from.clone();
        if nudge > 0 {
            nudge_weights(&mut parameters, step, nudge)?;
        }
        let mut tape = Tape::train(&mut parameters);
        let x = tape.constant(self.fixture.images.clone());
        let y = self.model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &y, &self.fixture.labels, 0.0)?;
        let expected = archive.floats(&format!("step{step}.loss"))?;
        let expected = expected.first().ok_or_else(|| format!("step{step}.loss holds no number"))?;
        errors.loss.meet(f64::from(loss.read()?.0 - expected).abs(), format!("step {step}"));
        let expected = archive.floats(&format!("step{step}.logits"))?;
        errors.logits.meet(relative(&y.tensor().to_vec()?, &expected), format!("step {step}"));
        let gradients = tape.backward(&loss.var, &self.hooks)?;
        if step == 1 {
            self.compare_gradients(&parameters, &gradients, &mut errors.gradient)?;
        }

        let settings = SgdSettings {
            momentum: case.momentum,
            weight_decay: case.weight_decay,
            nesterov: case.nesterov,
            ..SgdSettings::default()
        };
        let mut sgd = Sgd::new(settings, &parameters)?;
        for ((id, _), velocity) in parameters.iter().zip(velocities) {
            if let Some(velocity) = velocity {
                sgd.set_velocity(&parameters, id, velocity)?;
            }
        }
        sgd.step(&mut parameters, &gradients, &case.lr.into())?;
        let velocities = parameters.iter().map(|(id, _)| sgd.velocity(id).cloned()).collect();
        Ok(State { parameters, velocities, errors, is_nudged: is_nudged || nudge > 0 })
    }

    /// The error of every parameter's gradient.
    ///
    /// A batch norm takes away its input's mean and scale, so two gradients in front of it are exactly 0: that of a
    /// convolution's bias, and that of a weight whose channel is a single number (a 1x1 kernel on one channel). Both
    /// programs compute some 1e-7 of the values they add up there, in other orders: noise, whose ratio says nothing.
    /// Their errors are therefore measured against the layer's gradient: the bias together with its weight (it is one
    /// more weight, whose input is 1), the single weight together with the batch norm's scale, which is what it would
    /// be without the normalisation. Every other gradient stands against itself.
    fn compare_gradients(
        &self,
        parameters: &Parameters<B>,
        gradients: &Gradients<B>,
        worst: &mut Worst,
    ) -> Result<(), Box<dyn Error>> {
        let expected = self.fixture.archive.values("step1.grad.", parameters, |p| p.role.is_trained())?;
        let norms: Vec<f64> = expected.iter().map(|(_, values)| norm(values.iter().copied())).collect();
        let role = |i: usize| parameters.get(expected[i].0).role;
        for (i, (id, expected)) in expected.iter().enumerate() {
            let p = parameters.get(*id);
            let found = gradients.parameter(*id).ok_or_else(|| format!("{} got no gradient", p.path))?;
            let mate = match (p.role, &**p.value.shape()) {
                (Role::Bias, _) if i > 0 && role(i - 1) == Role::ConvWeight => norms[i - 1],
                (Role::ConvWeight, [1, 1, 1, _]) => norms[i + 1],
                _ => 0.0,
            };
            worst.meet(distance(&found.values()?.to_vec()?, expected, norms[i].hypot(mate)), &*p.path);
        }
        Ok(())
    }

    /// The errors of every parameter and running statistic after the last step, and of the logits in evaluation mode.
    fn measure_end(&self, state: &mut State<B>) -> Result<(), Box<dyn Error>> {
        let (_, expected) = self.fixture.model("final.")?;
        if state.parameters.counters() != expected.counters() {
            return Err("num_batches_tracked: not as after PyTorch's last step".into());
        }
        let errors = &mut state.errors;
        for ((_, found), (_, expected)) in state.parameters.iter().zip(expected.iter()) {
            let worst = if found.role.is_trained() { &mut errors.parameter } else { &mut errors.statistic };
            worst.meet(relative(&found.value.to_vec()?, &expected.value.to_vec()?), &*found.path);
        }
        let y = self.logits(Tape::evaluate(&mut state.parameters))?;
        state.errors.eval_logits.meet(relative(&y, &self.fixture.archive.floats("eval.logits")?), "");
        Ok(())
    }
}

/// Every weight times a number from 1 − size to 1 + size.
fn nudge_weights<B: Backend>(
    parameters: &mut Parameters<B>,
    step: usize,
    nudge: usize,
) -> gradamp_core::Result<()> {
    let size = SIZES[nudge % SIZES.len()];
    let stream = Stream::new(nudge as u64, Purpose::Test).at(step as u64);
    for (id, parameter) in parameters.iter_mut().filter(|(_, p)| p.role.is_trained()) {
        let (stream, mut values) = (stream.at(id.index() as u64), parameter.value.to_vec()?);
        for (i, value) in values.iter_mut().enumerate() {
            *value += *value * size * (2.0 * stream.uniform(i as u64) - 1.0);
        }
        parameter.value = Tensor::from_slice(parameter.value.backend(), parameter.value.shape(), &values)?;
    }
    Ok(())
}
