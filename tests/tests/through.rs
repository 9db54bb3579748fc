//! Amplification against learning rates of each layer's own, on whole networks.

use std::error::Error;

use gradamp_core::amplify::{AmplificationSettings, Amplify, Redraw, Schedule, Strategy, Through};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{Cpu, LayerKind, Parameters};
use gradamp_data::{DataSettings, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};

const STEPS: u64 = 6;

/// The parameters after some steps of plain SGD on shapes, a random half of the layers of `kind` amplified.
fn train(
    architecture: Architecture,
    kind: LayerKind,
    through: Through,
    amplify: Amplify,
) -> Result<Vec<(String, Vec<f32>)>, Box<dyn Error>> {
    let shapes = ShapesSettings { train: 48, test: 16, seed: 1 };
    let data = DataSettings { source: Source::Shapes, shapes, ..DataSettings::default() };
    let loader = data.train_loader(&data.split(data.load()?, 7)?, 16, 7)?;
    let mut parameters = Parameters::new(&Cpu::new()?, 7);
    let model = Model::new(&ModelSettings { architecture, width: 4, classes: 10 }, &mut parameters)?;
    let amplification = AmplificationSettings {
        kinds: vec![kind],
        ratio: Some(0.5),
        redraw: Redraw::Step,
        factor: 1.5,
        through,
        ..AmplificationSettings::default()
    };
    let strategy = Strategy::single(3, Schedule::constant(0.005), amplify);
    let sgd = SgdSettings { momentum: 0.0, weight_decay: 0.0, ..SgdSettings::default() };
    let settings =
        TrainSettings { sgd, max_steps: Some(STEPS), ..TrainSettings::new(7, strategy, amplification) };
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings)?;
    trainer.run(&loader, &[])?;
    let trained = trainer.parameters().iter().filter(|(_, p)| p.role.is_trained());
    trained.map(|(_, p)| Ok((p.path.to_string(), p.value.to_vec()?))).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// Without branches a layer's factor multiplies the gradients of all parameters in front of it, and nothing else does
/// under plain SGD: each parameter's learning rate can do the same.
#[test]
fn in_a_vgg_learning_rates_of_their_own_agree_with_amplification_to_rounding() -> Result<(), Box<dyn Error>> {
    let run = |through, amplify| train(Architecture::Vgg11, LayerKind::BatchNorm, through, amplify);
    let gradient = run(Through::Gradient, Amplify::on())?;
    let rate = run(Through::LearningRate, Amplify::on())?;
    let plain = run(Through::Gradient, Amplify::Off)?;
    for (((path, a), (_, b)), (_, plain)) in gradient.iter().zip(&rate).zip(&plain) {
        let (apart, effect) = (distance(a, b), distance(a, plain));
        // A convolution's bias in front of a batch norm has no gradient but noise, nor has the last layer's amplification.
        let is_noise = effect < 1e-5 * distance(a, &vec![0.0; a.len()]).max(1.0);
        assert!(
            is_noise || apart < 1e-3 * effect,
            "{path}: {apart:.3e} apart, where amplification does {effect:.3e}"
        );
    }
    let effects = gradient.iter().zip(&plain).map(|((_, a), (_, plain))| distance(a, plain));
    assert!(effects.fold(0.0, f64::max) > 0.01, "amplification did nothing");
    Ok(())
}

#[test]
fn in_a_resnet_no_learning_rate_does_what_amplification_does() -> Result<(), Box<dyn Error>> {
    let run = |kind, through| train(Architecture::ResNet18, kind, through, Amplify::on());
    let error = run(LayerKind::BatchNorm, Through::LearningRate).unwrap_err().to_string();
    let expected = "amplification.through: is \"learning_rate\", but what amplification makes of conv1.weight's gradient depends";
    assert!(error.starts_with(expected), "{error}");
    // All paths pass a block's output, and the mean rate has only one number for all.
    run(LayerKind::Block, Through::LearningRate)?;
    run(LayerKind::BatchNorm, Through::MeanLearningRate)?;
    Ok(())
}
