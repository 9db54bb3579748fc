//! Dropout and stochastic depth: in training alone, anew at each step, and the same for the same step.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

use gradamp_core::{Mode, Module, Parameters, Reference, Result, Tape, Tensor};
use gradamp_models::{Architecture, ModelSettings, build};

const IMAGE: [usize; 4] = [2, 32, 32, 3];

fn images() -> Tensor<Reference> {
    let values: Vec<f32> = (0..IMAGE.iter().product::<usize>()).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::from_slice(&Reference, &IMAGE, &values).unwrap()
}

/// The logits of a pass at `step`; `None` for a tape without random numbers.
fn logits(settings: &ModelSettings, mode: Mode, step: Option<u64>) -> Result<Vec<f32>> {
    let mut parameters = Parameters::new(&Reference, 1);
    let model = build(settings, &mut parameters).unwrap();
    let mut tape = Tape::new(&mut parameters, mode, false);
    if let Some(step) = step {
        tape = tape.with_random(5, step);
    }
    let x = tape.constant(images());
    model.forward(&mut tape, x)?.tensor()?.to_vec()
}

/// A VGG and an MLP with dropout, and a ResNet with stochastic depth.
fn random() -> [ModelSettings; 3] {
    let small = |architecture| ModelSettings::new(architecture).with_width(2);
    [
        small(Architecture::Vgg11).with_dropout(0.4),
        small(Architecture::Mlp).with_dropout(0.4).with_width(8).with_depth(2),
        small(Architecture::ResNet18).with_stochastic_depth(0.9),
    ]
}

#[test]
fn evaluation_drops_nothing() {
    for settings in random() {
        let standard = settings.with_dropout(0.0).with_stochastic_depth(0.0);
        let expected = logits(&standard, Mode::Evaluate, None).unwrap();
        assert_eq!(logits(&settings, Mode::Evaluate, None).unwrap(), expected, "{settings}");
        assert_ne!(logits(&settings, Mode::Train, Some(0)).unwrap(), expected, "{settings}");
    }
}

#[test]
fn a_step_drops_the_same_again_and_another_step_drops_others() {
    for settings in random() {
        let at = |step| logits(&settings, Mode::Train, Some(step)).unwrap();
        assert_eq!(at(3), at(3), "{settings}");
        assert_ne!(at(3), at(4), "{settings}");
    }
}

#[test]
fn a_pass_of_training_needs_random_numbers() {
    for settings in random() {
        let error = logits(&settings, Mode::Train, None).unwrap_err().to_string();
        assert!(error.contains("tape: has no random numbers"), "{error}");
    }
}
