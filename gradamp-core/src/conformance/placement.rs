//! Which gradients change if a hook scales or replaces a gradient at a layer's output, input or parameters.

use super::case::every;
use super::network::{ByName, Everywhere, Form, PLACES, Place, agree, gradients, gradients_with, times};
use super::{Broken, Violation};
use crate::{Backend, Gradient, GradientAction, Hooks};

const FACTOR: f32 = 1.75;

/// At every place, also at inner sites of fused operations: the hook returns a scale, or replaces the values by the scaled values; the
/// operations run fused, or one by one. All four give the same gradients.
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

/// Without a hook, fused and unfused operations give the same gradients.
pub fn fused_equals_unfused<B: Backend>(backend: &B) -> Result<(), Violation> {
    let hooks = Hooks::new();
    agree(&gradients(backend, &hooks, Form::Fused)?, &gradients(backend, &hooks, Form::Unfused)?)
}

/// The gradients that a factor at `place` multiplies. The gradients in `partly` get shares from several branches, of which the factor
/// multiplies some.
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
/// The gradients upstream of the pool.
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
/// The gradients upstream of the block's output.
const BLOCK: &[&str] = ALL.split_at(4).1;

/// A factor at a layer's output multiplies the gradients of the layer's own parameters; a factor at its input does not. A factor on one
/// branch does not multiply the gradients of the other branch.
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

/// A factor at a layer's output multiplies the gradients of the layer's own parameters and all gradients upstream. A factor at the
/// input multiplies all gradients upstream. A factor at a parameter multiplies the gradient of this parameter only.
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
