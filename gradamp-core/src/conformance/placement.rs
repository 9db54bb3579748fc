//! What a scale or a replacement changes, at the output, at the input and at the parameters of a layer.

use super::case::every;
use super::network::{ByName, Everywhere, Form, PLACES, Place, agree, gradients, gradients_with, times};
use super::{Broken, Violation};
use crate::{Backend, Gradient, GradientAction, Hooks};

const FACTOR: f32 = 1.75;

/// At every place, inner sites of fused operations included: a scale is carried as a number, or multiplied into the
/// values; the operations run fused or one by one. All four agree.
pub fn a_scale_equals_the_scaled_values<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&PLACES, |&place| {
        let scale = || Everywhere::at(place, |_| Ok(GradientAction::Scale(FACTOR)));
        let replace = || {
            Everywhere::at(place, |gradient: &Gradient<B>| {
                Ok(GradientAction::Replace(times(gradient, FACTOR)?))
            })
        };
        let expected = gradients_with(backend, Form::Unfused, replace())?;
        agree(&gradients_with(backend, Form::Fused, scale())?, &expected)?;
        agree(&gradients_with(backend, Form::Unfused, scale())?, &expected)?;
        agree(&gradients_with(backend, Form::Fused, replace())?, &expected)
    })
}

/// Without a hook fused and unfused operations agree.
pub fn fused_equals_unfused<B: Backend>(backend: &B) -> Result<(), Violation> {
    let hooks = Hooks::new();
    agree(&gradients(backend, &hooks, Form::Fused)?, &gradients(backend, &hooks, Form::Unfused)?)
}

/// Which gradients a factor at `place` multiplies; `x` is missing where it multiplies one of its two branches.
struct Reach {
    place: Place,
    scaled: &'static [&'static str],
    partly: &'static [&'static str],
}

const BN1: [&str; 3] = ["block.conv1.weight", "block.bn1.weight", "block.bn1.bias"];
const BN2: [&str; 6] = [
    "block.conv1.weight",
    "block.bn1.weight",
    "block.bn1.bias",
    "block.conv2.weight",
    "block.bn2.weight",
    "block.bn2.bias",
];
/// What a factor at the pool multiplies, from there upstream.
const ALL: [&str; 14] = [
    "conv3.weight",
    "bn3.weight",
    "bn3.bias",
    "skipped.weight",
    "x",
    "block.conv1.weight",
    "block.bn1.weight",
    "block.bn1.bias",
    "block.conv2.weight",
    "block.bn2.weight",
    "block.bn2.bias",
    "block.shortcut.0.weight",
    "block.shortcut.1.weight",
    "block.shortcut.1.bias",
];
/// From the block on.
const BLOCK: &[&str] = ALL.split_at(4).1;

/// The layer's own parameters are within the reach of its output, not of its input; a branch does not reach its
/// neighbour.
const REACHES: [Reach; 26] = {
    use Place::{Input, Output, Parameter};
    const fn reach(place: Place, scaled: &'static [&'static str], partly: &'static [&'static str]) -> Reach {
        Reach { place, scaled, partly }
    }
    const X: &[&str] = &["x"];
    [
        reach(Input("linear"), &ALL, &[]),
        reach(Parameter("linear.weight"), &["linear.weight"], &[]),
        reach(Output("pool"), &ALL, &[]),
        reach(Output("conv3"), &ALL, &[]),
        reach(Input("conv3"), ALL.split_at(1).1, &[]),
        reach(Output("relu3"), ALL.split_at(1).1, &[]),
        reach(Input("relu3"), ALL.split_at(1).1, &[]),
        reach(Output("bn3"), ALL.split_at(1).1, &[]),
        reach(Input("bn3"), ALL.split_at(3).1, &[]),
        reach(Output("skipped"), &["skipped.weight"], BLOCK),
        reach(Input("skipped"), &[], BLOCK),
        reach(Output("block"), BLOCK, &[]),
        reach(Output("block.relu2"), BLOCK, &[]),
        reach(Input("block.relu2"), BLOCK, &[]),
        reach(Output("block.bn2"), &BN2, X),
        reach(Input("block.bn2"), BN2.split_at(4).0, X),
        reach(Parameter("block.bn2.weight"), &["block.bn2.weight"], &[]),
        reach(Output("block.shortcut.1"), BLOCK.split_at(7).1, X),
        reach(Input("block.shortcut.1"), &["block.shortcut.0.weight"], X),
        reach(Output("block.conv2"), &["block.conv2.weight"], &["x", BN1[0], BN1[1], BN1[2]]),
        reach(Input("block.conv2"), &[], &["x", BN1[0], BN1[1], BN1[2]]),
        reach(Output("block.relu1"), &BN1, X),
        reach(Output("block.bn1"), &BN1, X),
        reach(Input("block.bn1"), &["block.conv1.weight"], X),
        reach(Input("block.conv1"), &[], X),
        reach(Input("block"), X, &[]),
    ]
};

/// At the output: the layer's own parameters and all upstream. At the input: all upstream. At a parameter: it alone.
pub fn each_placement_has_its_reach<B: Backend>(backend: &B) -> Result<(), Violation> {
    let plain = gradients(backend, &Hooks::new(), Form::Fused)?;
    for Reach { place, scaled, partly } in REACHES {
        every(&[place], |&place| {
            let hook = Everywhere::at(place, |_| Ok(GradientAction::Scale(FACTOR)));
            let mut found = gradients_with(backend, Form::Fused, hook)?;
            let mut expected: ByName = plain.clone();
            for (name, values) in &mut expected {
                if scaled.contains(&name.as_str()) {
                    values.iter_mut().for_each(|value| *value *= FACTOR);
                }
            }
            for name in partly {
                let (found, plain) = (found.remove(*name), expected.remove(*name));
                if found == plain {
                    return Err(Broken::Other(format!("{name} did not change")).into());
                }
            }
            agree(&found, &expected)
        })?;
    }
    Ok(())
}
