//! When hooks run, which values they see, and how several hooks act together.

use std::sync::Arc;

use super::case::every;
use super::network::{
    Everywhere, Form, Notes, PLACES, Place, agree, gradients, gradients_with, map, near, times,
};
use super::{Broken, Violation};
use crate::{Backend, Error, Gradient, GradientAction, Hooks, Initial, Parameters, Role, Tape, Tensor, ops};

const FORMS: [Form; 2] = [Form::Fused, Form::Unfused];

/// Every place with its values, in the order in which a hook sees them.
fn seen<B: Backend>(backend: &B, hooks: &Hooks<B>, form: Form) -> Result<Vec<(Place, Vec<f32>)>, Violation> {
    let notes = Notes::new();
    let writer = notes.clone();
    let _guard = hooks.add(Everywhere::new(move |place, gradient: &Gradient<B>| {
        writer.push((place, gradient.values()?.to_vec()?));
        Ok(GradientAction::Keep)
    }));
    gradients(backend, hooks, form)?;
    Ok(notes.take())
}

fn values_at(seen: &[(Place, Vec<f32>)], place: Place) -> &[f32] {
    seen.iter().find(|(here, _)| *here == place).map_or(&[], |(_, values)| values)
}

fn expect(holds: bool, message: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Broken::Other(message()).into()) }
}

/// Hooks see the output and the input of each site and each parameter once, from the loss upstream. They see a container's output
/// before the layers inside it, and its input after these layers. Fusion changes nothing of this.
pub fn hooks_meet_each_place_once_in_order<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&FORMS, |&form| {
        let met: Vec<Place> =
            seen(backend, &Hooks::new(), form)?.into_iter().map(|(place, _)| place).collect();
        let differs = met.iter().zip(&PLACES).find(|(met, expected)| met != expected);
        expect(met == PLACES, || {
            format!("{} places met, expected {}; the first that differ: {differs:?}", met.len(), PLACES.len())
        })
    })
}

/// Hooks see the gradient of a value with two consumers after both consumers have added their shares.
pub fn hooks_see_the_sum_of_all_shares<B: Backend>(backend: &B) -> Result<(), Violation> {
    use Place::{Input, Output};
    let sums = [
        (Output("block.relu1"), [Input("block.conv2"), Input("block.bn2")]),
        (Input("block"), [Input("block.conv1"), Input("block.shortcut.0")]),
    ];
    for form in FORMS {
        let seen = seen(backend, &Hooks::new(), form)?;
        every(&sums, |(sum, [a, b])| {
            let shares = values_at(&seen, *a).iter().zip(values_at(&seen, *b));
            near("gradient", values_at(&seen, *sum), &shares.map(|(a, b)| a + b).collect::<Vec<_>>())
        })?;
    }
    Ok(())
}

/// Hooks see true values and their statistics, even if gradients further downstream were scaled.
pub fn hooks_see_true_values<B: Backend>(backend: &B) -> Result<(), Violation> {
    let place = Place::Output("block.relu2");
    for form in FORMS {
        let plain = seen(backend, &Hooks::new(), form)?;
        let hooks = Hooks::new();
        let _scale = hooks.add(Everywhere::at(place, |_| Ok(GradientAction::Scale(-1.5))));
        let statistics = Notes::new();
        let writer = statistics.clone();
        let _statistics = hooks.add(Everywhere::new(move |_, gradient: &Gradient<B>| {
            writer.push(gradient.statistics()?);
            Ok(GradientAction::Keep)
        }));
        let scaled = seen(backend, &hooks, form)?;
        let upstream = plain.iter().skip_while(|(here, _)| *here != place).map(|(here, _)| *here);
        every(&upstream.collect::<Vec<_>>(), |&here| {
            let expected: Vec<f32> = values_at(&plain, here).iter().map(|value| -1.5 * value).collect();
            near("gradient", values_at(&scaled, here), &expected)
        })?;
        for ((place, values), statistics) in scaled.iter().zip(statistics.take()) {
            let sum_abs = values.iter().map(|value| value.abs()).sum();
            let sum_squares = values.iter().map(|value| value * value).sum();
            let max_abs = values.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
            every(&[place], |_| {
                near("sum_abs", &[statistics.sum_abs], &[sum_abs])?;
                near("sum_squares", &[statistics.sum_squares], &[sum_squares])?;
                near("max_abs", &[statistics.max_abs], &[max_abs])
            })?;
        }
    }
    Ok(())
}

/// A hook may keep a tensor. The values of this tensor do not change when later operations work in place.
pub fn what_a_hook_keeps_stays<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&FORMS, |&form| {
        let kept = Notes::new();
        let writer = kept.clone();
        let hook = Everywhere::new(move |place, gradient: &Gradient<B>| {
            let values: Tensor<B> = gradient.values()?;
            writer.push((place, values.to_vec()?, values));
            Ok(GradientAction::Keep)
        });
        gradients_with(backend, form, hook)?;
        for (place, then, tensor) in kept.take() {
            let now = tensor.to_vec()?;
            expect(then == now, || format!("the values kept at {place:?} changed from {then:?} to {now:?}"))?;
        }
        Ok(())
    })
}

/// Hooks that only read gradients change no bit.
pub fn looking_changes_nothing<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&FORMS, |&form| {
        let hooks = Hooks::new();
        let plain = gradients(backend, &hooks, form)?;
        let looked = gradients_with(
            backend,
            form,
            Everywhere::new(|_, gradient: &Gradient<B>| gradient.values().map(|_| GradientAction::Keep)),
        )?;
        agree(&looked, &plain)
    })
}

/// At every place, hooks run in the order in which they were added. Each hook sees the gradient as the hook before left it.
pub fn hooks_compose_in_their_order<B: Backend>(backend: &B) -> Result<(), Violation> {
    for form in FORMS {
        let plain = seen(backend, &Hooks::new(), form)?;
        every(&PLACES, |&place| {
            let hooks = Hooks::new();
            let _first = hooks.add(Everywhere::at(place, |_| Ok(GradientAction::Scale(3.0))));
            let _second = hooks.add(Everywhere::at(place, |gradient: &Gradient<B>| {
                Ok(GradientAction::Replace(map(gradient, |value| value + 1.0)?))
            }));
            let _third = hooks.add(Everywhere::at(place, |_| Ok(GradientAction::Scale(0.5))));
            let composed = seen(backend, &hooks, form)?;
            let expected: Vec<f32> =
                values_at(&plain, place).iter().map(|value| (3.0 * value + 1.0) * 0.5).collect();
            near("gradient", values_at(&composed, place), &expected)
        })?;
    }
    Ok(())
}

/// A hook acts until its guard is dropped, which does not affect other hooks. A hook whose guard is forgotten stays.
pub fn a_dropped_guard_removes_its_hook<B: Backend>(backend: &B) -> Result<(), Violation> {
    let scale = |factor| Everywhere::at(Place::Output("linear"), move |_| Ok(GradientAction::Scale(factor)));
    let hooks = Hooks::new();
    let dx = || -> Result<Vec<f32>, Violation> {
        let mut all = gradients(backend, &hooks, Form::Fused)?;
        all.remove("x").ok_or_else(|| Broken::Other("x has no gradient".into()).into())
    };
    let by = |values: &[f32], factor: f32| values.iter().map(|value| factor * value).collect::<Vec<_>>();
    let plain = dx()?;
    let (twice, thrice) = (hooks.add(scale(2.0)), hooks.add(scale(3.0)));
    hooks.add(scale(5.0)).forget();
    near("x", &dx()?, &by(&plain, 30.0))?;
    drop(twice);
    near("x", &dx()?, &by(&plain, 15.0))?;
    drop(thrice);
    near("x", &dx()?, &by(&plain, 5.0))?;
    expect(hooks.len() == 1, || format!("{} hooks are left, expected 1", hooks.len()))
}

/// An error of a hook, or a replacement of another shape, stops the backward pass. The error names the place, and later hooks do not
/// run.
pub fn a_hooks_error_names_its_place<B: Backend>(backend: &B) -> Result<(), Violation> {
    for form in FORMS {
        every(&PLACES, |&place| {
            let wrong_shape = Tensor::full(backend, &[7, 7, 7, 7], 0.0)?;
            let hooks: [Everywhere<B>; 2] = [
                Everywhere::at(place, |_| Err(Error::setting("law", "on purpose"))),
                Everywhere::at(place, move |_| Ok(GradientAction::Replace(wrong_shape.clone()))),
            ];
            hooks.into_iter().try_for_each(|hook| {
                let all = Hooks::new();
                let later = Notes::new();
                let writer = later.clone();
                let _failing = all.add(hook);
                let _later = all.add(Everywhere::at(place, move |_| {
                    writer.push(());
                    Ok(GradientAction::Keep)
                }));
                let result = gradients(backend, &all, form);
                let named = matches!(&result, Err(Error::Hook { site, .. }) if site == place.name());
                expect(named, || {
                    format!("expected the hook's error with its place, got {:?}", result.err())
                })?;
                expect(later.take().is_empty(), || "the hook after the failing one ran".into())
            })
        })?;
    }
    Ok(())
}

/// Hooks see the gradient of a parameter with two uses once, as the sum of both shares.
pub fn a_shared_parameter_is_met_once<B: Backend>(backend: &B) -> Result<(), Violation> {
    let path = "block.conv2.weight";
    let mut parameters = Parameters::new(backend, 0);
    let weight =
        parameters.add(path, Role::ConvWeight, &[1, 1, 2, 2], Initial::Weight { fan_in: 2, fan_out: 2 })?;
    let notes = Notes::new();
    let writer = notes.clone();
    let hooks = Hooks::new();
    let _guard = hooks.add(Everywhere::at(Place::Parameter(path), move |gradient: &Gradient<B>| {
        writer.push(gradient.values()?.to_vec()?);
        Ok(GradientAction::Replace(times(gradient, 2.0)?))
    }));
    let mut tape = Tape::train(&mut parameters);
    let mut y = tape.constant(Tensor::full(backend, &[1, 2, 2, 2], 0.5)?);
    for site in ["block.conv1", "block.conv2"] {
        let layer = ops::Convolution { weight, bias: None, stride: 1, padding: 0 };
        y = ops::conv2d(&mut tape, &y, &layer, &Arc::from(site))?;
    }
    let gradients = tape.backward(&y, &hooks)?;
    let met = notes.take();
    expect(met.len() == 1, || format!("met {} times, expected once", met.len()))?;
    let left = match gradients.parameter(weight) {
        Some(gradient) => gradient.values()?.to_vec()?,
        None => Vec::new(),
    };
    near("gradient", &left, &met[0].iter().map(|value| 2.0 * value).collect::<Vec<_>>())
}
