//! Compares gains with backward passes over random networks of sums. In such a network a gradient is the number of paths.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::BackwardRule;
use crate::amplify::{
    AmplificationSettings, Amplifier, Amplify, Gain, History, LearningRate, Placement, PolicyName, Redraw,
    Selection, Strategy as Phases, gain,
};
use crate::{
    BackwardHook, Gradient, GradientAction, Hooks, Initial, LayerKind, Mode, ParameterId, Parameters, Pass,
    Reference, Result, Role, Site, Tape, Tensor, Trace, Var,
};

/// A layer: the sum of some earlier values and of parameters, with or without a site.
#[derive(Clone, Debug)]
struct Layer {
    inputs: Vec<prop::sample::Index>,
    has_site: bool,
    has_parameter: bool,
    /// Whether the layer also reads the parameter of the layer before.
    is_tied: bool,
    /// Whether the layer is inside a container of its own.
    is_wrapped: bool,
    /// Whether a site without an operation follows the layer.
    is_marked: bool,
}

fn layer() -> impl Strategy<Value = Layer> {
    let flag = any::<bool>;
    (prop::collection::vec(any::<prop::sample::Index>(), 1..3), flag(), flag(), flag(), flag(), flag())
        .prop_map(|(inputs, has_site, has_parameter, is_tied, is_wrapped, is_marked)| Layer {
            inputs,
            has_site,
            has_parameter: has_parameter && has_site,
            is_tied: is_tied && has_site,
            is_wrapped,
            is_marked,
        })
}

struct Sum {
    inputs: usize,
    parameters: usize,
}

impl BackwardRule<Reference> for Sum {
    fn backward(self: Box<Self>, dy: Gradient<Reference>, pass: &mut Pass<Reference>) -> Result<()> {
        (0..self.parameters).try_for_each(|i| pass.parameter(i, dy.clone()))?;
        (0..self.inputs).try_for_each(|i| pass.give(i, dy.clone()))
    }
}

struct Net {
    layers: Vec<Layer>,
    weights: Vec<Option<ParameterId>>,
    parameters: Parameters<Reference>,
    one: Tensor<Reference>,
}

impl Net {
    fn new(layers: Vec<Layer>) -> Result<Self> {
        let mut parameters = Parameters::new(&Reference, 0);
        let weights = layers.iter().enumerate().map(|(k, layer)| {
            let path = format!("block{k}.s0.weight");
            let id =
                layer.has_parameter.then(|| parameters.add(&path, Role::Bias, &[1], Initial::Constant(0.0)));
            id.transpose()
        });
        let weights = weights.collect::<Result<_>>()?;
        Ok(Self { layers, weights, parameters, one: Tensor::full(&Reference, &[1], 1.0)? })
    }

    fn forward(&mut self) -> Result<(Tape<'_, Reference>, Var<Reference>)> {
        let mut tape = Tape::new(&mut self.parameters, Mode::Train, true);
        let mut values = vec![tape.leaf(self.one.clone())];
        for (k, layer) in self.layers.iter().enumerate() {
            let mut inputs: Vec<_> = layer.inputs.iter().map(|i| i.get(&values).clone()).collect();
            let mut container = None;
            if layer.is_wrapped {
                let (site, x) =
                    tape.begin_site(&format!("block{k}").into(), LayerKind::Block, inputs[0].clone())?;
                (inputs[0], container) = (x, Some(site));
            }
            let path = format!("block{k}.s0").into();
            let site = layer.has_site.then(|| tape.add_site(&path, LayerKind::Other)).transpose()?;
            let mut weights: Vec<_> = self.weights[k].into_iter().collect();
            if layer.is_tied && k > 0 {
                weights.extend(self.weights[k - 1]);
            }
            let rule = Sum { inputs: inputs.len(), parameters: weights.len() };
            let inputs: Vec<_> = inputs.iter().collect();
            let mut y = tape.record("sum", &inputs, &weights, site, self.one.clone(), rule)?;
            if let Some(site) = container {
                y = tape.end_site(site, y)?;
            }
            if layer.is_marked {
                y = tape.site(&format!("mark{k}"), LayerKind::Other, y)?;
            }
            values.push(y);
        }
        let rule = Sum { inputs: values.len(), parameters: 0 };
        let loss =
            tape.record("loss", &values.iter().collect::<Vec<_>>(), &[], None, self.one.clone(), rule)?;
        Ok((tape, loss))
    }

    fn trace(&mut self) -> Result<Trace> {
        Ok(self.forward()?.0.trace())
    }

    /// The gradients of all parameters, by path.
    fn gradients(&mut self, hooks: &Hooks<Reference>) -> Result<Vec<(Arc<str>, f64)>> {
        let (tape, loss) = self.forward()?;
        let gradients = tape.backward(&loss, hooks)?;
        let value =
            |id| -> Result<f64> { Ok(f64::from(gradients.parameter(id).unwrap().values()?.to_vec()?[0])) };
        self.parameters.iter().map(|(id, p)| Ok((p.path.clone(), value(id)?))).collect()
    }

    /// The gradients that a hook sees at each site and parameter. The hook runs before the amplifier.
    fn seen(&mut self, settings: Option<&AmplificationSettings>) -> Result<HashMap<Arc<str>, f64>> {
        let hooks = Hooks::new();
        let seen = Arc::default();
        hooks.add(Watch(Arc::clone(&seen))).forget();
        if let Some(settings) = settings {
            let strategy = Phases::single(1, LearningRate::constant(0.1), Amplify::on());
            let mut amplifier = Amplifier::new(&strategy, settings, &self.trace()?, 0)?;
            amplifier.begin_step(0, 0, &History::default())?;
            hooks.add(amplifier).forget();
        }
        self.gradients(&hooks)?;
        Ok(std::mem::take(&mut *seen.lock().unwrap()))
    }

    fn amplified(&mut self, settings: &AmplificationSettings, step: u64) -> Result<Vec<(Arc<str>, f64)>> {
        let strategy = Phases::single(1, LearningRate::constant(0.1), Amplify::on());
        let mut amplifier = Amplifier::new(&strategy, settings, &self.trace()?, 0)?;
        amplifier.begin_step(0, step, &History::default())?;
        let hooks = Hooks::new();
        let _guard = hooks.add_shared(Arc::new(Mutex::new(amplifier)));
        self.gradients(&hooks)
    }
}

/// A hook that records every gradient.
struct Watch(Arc<Mutex<HashMap<Arc<str>, f64>>>);

impl Watch {
    fn note(&self, name: &str, gradient: &Gradient<Reference>) -> Result<GradientAction<Reference>> {
        let value = f64::from(gradient.values()?.to_vec()?[0]);
        self.0.lock().unwrap().insert(name.into(), value);
        Ok(GradientAction::Keep)
    }
}

impl BackwardHook<Reference> for Watch {
    fn on_gradient(
        &mut self,
        site: &Site,
        gradient: &Gradient<Reference>,
    ) -> Result<GradientAction<Reference>> {
        self.note(&site.path, gradient)
    }

    fn on_parameter_gradient(
        &mut self,
        path: &str,
        gradient: &Gradient<Reference>,
    ) -> Result<GradientAction<Reference>> {
        self.note(path, gradient)
    }
}

/// A network with some sites and parameters, and settings for up to six of the sites.
fn cases() -> impl Strategy<Value = (Vec<Layer>, AmplificationSettings)> {
    let placement = prop_oneof![Just(Placement::Output), Just(Placement::Input), Just(Placement::Params)];
    (
        prop::collection::vec(layer(), 1..6),
        prop::collection::vec(any::<prop::sample::Index>(), 1..7),
        placement,
    )
        .prop_filter_map("nothing to amplify", |(layers, chosen, placement)| {
            let trace = Net::new(layers.clone()).ok()?.trace().ok()?;
            let mut sites: Vec<String> = match trace.sites.is_empty() || trace.parameters.is_empty() {
                true => return None,
                false => chosen.iter().map(|i| i.get(&trace.sites).path.to_string()).collect(),
            };
            sites.sort();
            sites.dedup();
            let settings =
                AmplificationSettings { sites, placement, redraw: Redraw::Step, ..Default::default() };
            Selection::new(&settings, &trace, 0).is_ok().then_some((layers, settings))
        })
}

/// ⌊log of x to the base 2^16⌋
fn exponent(x: f64) -> i32 {
    (x.log2() / 16.0).floor() as i32
}

proptest! {
    /// Gradients without amplification count paths, of which there are fewer than 2^16. Amplified by 2^16, a gradient has the exponent
    /// of the path that is amplified most; amplified by 2^−16, the exponent of the path that is amplified least.
    #[test]
    fn the_gain_of_a_draw_is_that_of_backward((layers, settings) in cases()) {
        let mut net = Net::new(layers).unwrap();
        let trace = net.trace().unwrap();
        let with = |factor| AmplificationSettings { factor, ..settings.clone() };
        let draw = Selection::new(&with(2.0), &trace, 0).unwrap().draw(0, 0, &History::default()).unwrap();
        let gains = gain::for_draw(&trace, &draw);
        let plain = net.gradients(&Hooks::new()).unwrap();
        let by_two = net.amplified(&with(2.0), 0).unwrap();
        let most = net.amplified(&with(65536.0), 0).unwrap();
        let least = net.amplified(&with(1.0 / 65536.0), 0).unwrap();
        prop_assert_eq!(gains.len(), plain.len());
        for (i, found) in gains.iter().enumerate() {
            prop_assert_eq!(&found.path, &plain[i].0);
            let (min, max) = match found.gain {
                Gain::Factor(factor) => {
                    prop_assert_eq!(by_two[i].1, factor * plain[i].1);
                    (factor, factor)
                }
                Gain::DependsOnPath { min, max } => (min, max),
            };
            prop_assert_eq!(f64::from(exponent(most[i].1)), max.log2());
            prop_assert_eq!(f64::from(-exponent(least[i].1)), min.log2());
        }
    }

    /// The mean gradient over all draws of k of the eligible sites is the expected gain times the gradient without amplification.
    #[test]
    fn the_expected_gain_is_the_mean_over_all_draws((layers, settings) in cases(), k in 1usize..6) {
        let mut net = Net::new(layers).unwrap();
        let trace = net.trace().unwrap();
        let n = settings.sites.len();
        let k = k.min(n);
        let selection =
            Selection::new(&AmplificationSettings { count: Some(k), ..settings.clone() }, &trace, 0);
        prop_assume!(selection.is_ok());
        let plain = net.gradients(&Hooks::new()).unwrap();
        let mut sums = vec![0.0; plain.len()];
        let draws: Vec<u32> = (0..1_u32 << n).filter(|draw| draw.count_ones() as usize == k).collect();
        for draw in &draws {
            let sites = (0..n).filter(|i| draw >> i & 1 == 1).map(|i| settings.sites[i].clone()).collect();
            let amplified = match net.amplified(&AmplificationSettings { sites, ..settings.clone() }, 0) {
                Ok(amplified) => amplified,
                Err(_) => plain.clone(), // the placement `params` for layers without parameters is an error
            };
            sums.iter_mut().zip(amplified).for_each(|(sum, (_, value))| *sum += value);
        }
        for (i, found) in gain::expected(&trace, &selection.unwrap()).unwrap().unwrap().iter().enumerate() {
            let mean = sums[i] / draws.len() as f64 / plain[i].1;
            let (min, max) = match found.gain {
                Gain::Factor(factor) => (factor, factor),
                Gain::DependsOnPath { min, max } => (min, max),
            };
            prop_assert!(mean >= min * (1.0 - 1e-9) && mean <= max * (1.0 + 1e-9), "{:?} {}", found, mean);
        }
    }

    /// No parameter's gradient is multiplied by more than the bound. If the factors were shrunk, the gain of some gradient equals the
    /// bound.
    #[test]
    fn no_gradient_is_multiplied_by_more_than_the_bound(
        (layers, settings) in cases(), factors in prop::collection::vec(0.1f32..20.0, 6), max_gain in 1.0f32..50.0,
    ) {
        let mut net = Net::new(layers).unwrap();
        let trace = net.trace().unwrap();
        let factors = factors[..settings.sites.len()].to_vec();
        let settings =
            AmplificationSettings { policy: PolicyName::List, factors, max_gain: Some(max_gain), ..settings };
        let draw = Selection::new(&settings, &trace, 0).unwrap().draw(0, 0, &History::default()).unwrap();
        let most = gain::most(&trace, &draw);
        prop_assert!(most <= f64::from(max_gain) * (1.0 + 1e-9), "{} beyond {}", most, max_gain);
        if let Some(power) = draw.power {
            prop_assert!((0.0..1.0).contains(&power));
            prop_assert!(most >= f64::from(max_gain) * (1.0 - 1e-6), "{} short of {}", most, max_gain);
        }
        for (plain, amplified) in net.gradients(&Hooks::new()).unwrap().iter().zip(net.amplified(&settings, 0).unwrap()) {
            // Gradients are f32, too.
            prop_assert!(amplified.1 <= f64::from(max_gain) * plain.1 * (1.0 + 1e-5), "{:?} {:?}", plain, amplified);
        }
    }

    /// The computed gain of a gradient that arrives at a site or parameter is the one that a hook before the amplifier sees.
    #[test]
    fn arriving_gains_are_those_that_a_hook_before_the_amplifier_sees((layers, settings) in cases()) {
        let mut net = Net::new(layers).unwrap();
        let trace = net.trace().unwrap();
        let all = |factor| AmplificationSettings { policy: PolicyName::All, factor, ..settings.clone() };
        let draw = Selection::new(&all(2.0), &trace, 0).unwrap().draw(0, 0, &History::default()).unwrap();
        let gains = gain::arriving(&trace, &draw);
        let plain = net.seen(None).unwrap();
        let (by_two, by_much) = (net.seen(Some(&all(2.0))).unwrap(), net.seen(Some(&all(65536.0))).unwrap());
        let names = trace.sites.iter().map(|site| &site.path).chain(&trace.parameters);
        for (name, gain) in names.zip(gains.sites.iter().chain(&gains.parameters)) {
            let Some(plain) = plain.get(name) else { continue };
            let found = by_two[name] / plain;
            // Compared where all paths pass the same number of sites: the exponent with the factor 2^16 is then 16 times that with 2.
            if (by_much[name] / plain).log2() == 16.0 * found.log2() {
                prop_assert_eq!(found, *gain, "{}", name);
            }
        }
    }
}
