//! Compares amplification with the control of equal step length, on whole networks.

use std::error::Error;

use gradamp_core::amplify::{AmplificationSettings, Amplify, LearningRate, Redraw, Strategy, Through};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{LayerKind, Parameters};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};

/// The values of parameters, with their paths.
type Values = Vec<(String, Vec<f32>)>;

/// Trains for some steps of plain SGD on generated shapes, with a random half of the layers of `kind` amplified.
/// Returns the parameters.
fn train(
    architecture: Architecture,
    kind: LayerKind,
    through: Through,
    factor: f32,
    steps: u64,
) -> Result<Values, Box<dyn Error>> {
    let shapes = ShapesSettings::default().with_train(48).with_test(16).with_seed(1);
    let data = DataSettings::default().with_source(Source::Shapes).with_shapes(shapes);
    let loader = data.train_loader(&data.split(data.load()?, 7)?, 16, 7)?;
    let mut parameters = Parameters::new(&Cpu::new()?, 7);
    let model = Model::new(&ModelSettings::new(architecture).with_width(4), &mut parameters)?;
    let amplification = AmplificationSettings::default()
        .with_kinds(vec![kind])
        .with_ratio(Some(0.5))
        .with_redraw(Redraw::Step)
        .with_factor(factor)
        .with_through(through);
    let strategy = Strategy::single(3, LearningRate::constant(0.005), Amplify::on());
    let sgd = SgdSettings::default().with_momentum(0.0).with_weight_decay(0.0);
    let settings =
        TrainSettings::new(7, strategy, amplification).with_optimizer(sgd.into()).with_max_steps(Some(steps));
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings)?;
    trainer.run(&loader, &[])?;
    let trained = trainer.parameters().iter().filter(|(_, p)| p.role.is_trained());
    trained.map(|(_, p)| Ok((p.path.to_string(), p.value.to_vec()?))).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// How far the control's parameters are from the amplified ones, relative to the change that amplification makes; the
/// largest value over all parameters.
fn worst_distance(architecture: Architecture, steps: u64) -> Result<f64, Box<dyn Error>> {
    let run = |through, factor| train(architecture, LayerKind::BatchNorm, through, factor, steps);
    let gradient = run(Through::Gradient, 1.5)?;
    let lengths = run(Through::StepLengthPerLayer, 1.5)?;
    let plain = run(Through::Gradient, 1.0)?;
    let mut worst = 0.0_f64;
    for (((path, a), (_, b)), (_, plain)) in gradient.iter().zip(&lengths).zip(&plain) {
        let (apart, effect) = (distance(a, b), distance(a, plain));
        if effect > 1e-6 {
            worst = worst.max(apart / effect);
        } else {
            assert!(
                apart < 2e-6,
                "{path}: a distance of {apart:.3e}, although amplification changes the parameter by {effect:.3e}"
            );
        }
    }
    Ok(worst)
}

/// In a network without branches, a layer's factor multiplies the gradients of all parameters before the layer and
/// has no other effect. The plain gradient of each layer, scaled to the norm of the amplified one, is therefore the
/// amplified gradient.
#[test]
fn in_a_vgg_the_control_of_each_layers_step_length_equals_amplification() -> Result<(), Box<dyn Error>> {
    let worst = worst_distance(Architecture::Vgg11, 2)?;
    assert!(worst < 1e-2, "{worst:.3e}");
    Ok(())
}

/// In a residual block, amplification also changes the direction of gradients.
#[test]
fn in_a_resnet_no_control_of_step_length_equals_amplification() -> Result<(), Box<dyn Error>> {
    let worst = worst_distance(Architecture::ResNet18, 1)?;
    assert!(worst > 0.1, "{worst:.3e}");
    Ok(())
}
