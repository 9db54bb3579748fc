//! Amplification against learning rates of each layer's own, on whole networks.

use std::error::Error;

use gradamp_core::amplify::{AmplificationSettings, Amplify, Redraw, Schedule, Strategy, Through};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{LayerKind, Parameters};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};

/// Parameters by their paths.
type Values = Vec<(String, Vec<f32>)>;

/// The parameters after some steps of plain SGD on shapes, a random half of the layers of `kind` amplified.
fn train(
    architecture: Architecture,
    kind: LayerKind,
    through: Through,
    factor: f32,
    steps: u64,
) -> Result<Values, Box<dyn Error>> {
    let shapes = ShapesSettings { train: 48, test: 16, seed: 1 };
    let data = DataSettings { source: Source::Shapes, shapes, ..DataSettings::default() };
    let loader = data.train_loader(&data.split(data.load()?, 7)?, 16, 7)?;
    let mut parameters = Parameters::new(&Cpu::new()?, 7);
    let model = Model::new(&ModelSettings { width: 4, ..ModelSettings::new(architecture) }, &mut parameters)?;
    let amplification = AmplificationSettings {
        kinds: vec![kind],
        ratio: Some(0.5),
        redraw: Redraw::Step,
        factor,
        through,
        ..AmplificationSettings::default()
    };
    let strategy = Strategy::single(3, Schedule::constant(0.005), Amplify::on());
    let sgd = SgdSettings { momentum: 0.0, weight_decay: 0.0, ..SgdSettings::default() };
    let settings =
        TrainSettings { sgd, max_steps: Some(steps), ..TrainSettings::new(7, strategy, amplification) };
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
fn in_a_vgg_learning_rates_of_their_own_agree_with_amplification() -> Result<(), Box<dyn Error>> {
    let run =
        |through, factor, steps| train(Architecture::Vgg11, LayerKind::BatchNorm, through, factor, steps);
    // A power of two is multiplied without rounding, in the gradient as in the rate: the same bits, step after step.
    assert_eq!(run(Through::Gradient, 2.0, 6)?, run(Through::LearningRate, 2.0, 6)?);

    // Any other factor rounds, and differences grow from step to step as rectifiers open and shut.
    let gradient = run(Through::Gradient, 1.5, 2)?;
    let rate = run(Through::LearningRate, 1.5, 2)?;
    let plain = run(Through::Gradient, 1.0, 2)?;
    let mut most = 0.0_f64;
    for (((path, a), (_, b)), (_, plain)) in gradient.iter().zip(&rate).zip(&plain) {
        let (apart, effect) = (distance(a, b), distance(a, plain));
        most = most.max(effect);
        assert!(
            apart <= 1e-6 + 1e-4 * effect,
            "{path}: {apart:.3e} apart, where amplification does {effect:.3e}"
        );
    }
    assert!(most > 0.01, "amplification did nothing");
    Ok(())
}

#[test]
fn in_a_resnet_no_learning_rate_does_what_amplification_does() -> Result<(), Box<dyn Error>> {
    let run = |kind, through| train(Architecture::ResNet18, kind, through, 1.5, 1);
    let error = run(LayerKind::BatchNorm, Through::LearningRate).unwrap_err().to_string();
    let expected =
        "amplification.through: is \"learning_rate\", but the gain of conv1.weight depends on the path";
    assert!(error.starts_with(expected), "{error}");
    // All paths pass a block's output, and the mean rate has only one number for all.
    run(LayerKind::Block, Through::LearningRate)?;
    run(LayerKind::BatchNorm, Through::MeanLearningRate)?;
    Ok(())
}
