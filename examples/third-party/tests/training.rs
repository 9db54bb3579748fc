//! Trains a small ResNet on generated shapes, with the policy and the hook of this crate.

use std::error::Error;
use std::sync::{Arc, Mutex};

use gradamp_core::amplify::{AmplificationSettings, Amplify, DrawRecord, LearningRate, Strategy};
use gradamp_core::train::{Control, EpochReport, Observer, Outcome, Snapshot, TrainSettings, Trainer};
use gradamp_core::{Backend, BackwardHook, Gradient, GradientAction, LayerKind, Parameters, Result, Site};
use gradamp_cpu::Cpu;
use gradamp_data::{DataSettings, Loader, ShapesSettings, Source};
use gradamp_models::{Architecture, Model, ModelSettings};
use third_party::{Ceiling, Faded};

const EPOCHS: usize = 3;

fn shapes() -> Result<Loader, gradamp_data::Error> {
    let shapes = ShapesSettings::default().with_train(48).with_test(16).with_seed(1);
    let data = DataSettings::default().with_source(Source::Shapes).with_shapes(shapes);
    data.train_loader(&data.split(data.load()?, 7)?, 16, 7)
}

fn model(parameters: &mut Parameters<Cpu>) -> Result<Model, gradamp_models::Error> {
    Model::new(&ModelSettings::new(Architecture::ResNet18).with_width(2), parameters)
}

/// Batch norms are eligible for amplification, no path may amplify a gradient more than eightfold, and every step is
/// measured.
fn settings() -> TrainSettings {
    let strategy = Strategy::single(EPOCHS, LearningRate::constant(0.05), Amplify::on());
    let kinds = vec![LayerKind::BatchNorm];
    let amplification = AmplificationSettings::default().with_kinds(kinds).with_max_gain(Some(8.0));
    TrainSettings::new(7, strategy, amplification).with_gradients_every(1)
}

/// Records the reports of a run.
#[derive(Default)]
struct Notes {
    draws: Vec<DrawRecord>,
    epochs: Vec<EpochReport>,
}

impl<B: Backend> Observer<B> for Notes {
    fn on_draw(&mut self, draw: &DrawRecord) -> Result<()> {
        self.draws.push(draw.clone());
        Ok(())
    }

    fn on_epoch(&mut self, report: &EpochReport, _: &Snapshot<'_, B>) -> Result<Control> {
        self.epochs.push(report.clone());
        Ok(Control::Continue)
    }
}

#[test]
fn the_policy_of_this_crate_decides_by_measured_gradients() -> Result<(), Box<dyn Error>> {
    let mut parameters = Parameters::new(&Cpu::new()?, 7);
    let model = model(&mut parameters)?;
    let mut notes = Notes::default();
    let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings())?;
    trainer.set_policy(Box::new(Faded { share: 0.5, factor: 3.0 }))?;
    trainer.observe(&mut notes);
    assert_eq!(trainer.run(&shapes()?, &[])?, Outcome::Finished);
    drop(trainer);

    assert!(notes.draws[0].sites.is_empty(), "there are no statistics in the first epoch");
    let is_batch_norm = |site: &str| site.contains("bn") || site.ends_with("shortcut.1");
    let measured = notes.epochs[0].gradients.iter().filter(|gradient| is_batch_norm(&gradient.site));
    let largest = measured.clone().map(|gradient| gradient.norm_before).fold(0.0, f64::max);
    let faded = measured.filter(|gradient| gradient.norm_before < 0.5 * largest);
    let faded: Vec<_> = faded.map(|gradient| gradient.site.clone()).collect();
    assert!(!faded.is_empty());
    assert_eq!(notes.draws[1].sites, faded);
    Ok(())
}

/// A hook that records the norm of every gradient of a convolution's output.
struct Norms(Arc<Mutex<Vec<f32>>>);

impl<B: Backend> BackwardHook<B> for Norms {
    fn on_gradient(&mut self, site: &Site, gradient: &Gradient<B>) -> Result<GradientAction<B>> {
        if let (LayerKind::Conv, Ok(mut norms)) = (site.kind, self.0.lock()) {
            norms.push(gradient.statistics()?.sum_squares.sqrt());
        }
        Ok(GradientAction::Keep)
    }
}

#[test]
fn the_hook_of_this_crate_limits_every_gradient() -> Result<(), Box<dyn Error>> {
    let norms_under = |ceiling: Option<Ceiling>| -> Result<Vec<f32>, Box<dyn Error>> {
        let mut parameters = Parameters::new(&Cpu::new()?, 7);
        let model = model(&mut parameters)?;
        let settings = settings().with_max_steps(Some(2));
        let mut trainer = Trainer::new(&model, parameters, [32, 32, 3], settings)?;
        let norms = Arc::new(Mutex::new(Vec::new()));
        if let Some(ceiling) = ceiling {
            trainer.hooks().add(ceiling).forget(); // the hook stays until the end of the run
        }
        let _guard = trainer.hooks().add(Norms(norms.clone()));
        trainer.run(&shapes()?, &[])?;
        Ok(norms.lock().map(|mut norms| std::mem::take(&mut *norms)).unwrap_or_default())
    };
    let free = norms_under(None)?;
    let ceiling = free.iter().sum::<f32>() / free.len() as f32;
    let held = norms_under(Some(Ceiling { norm: ceiling }))?;
    assert_eq!(held.len(), free.len());
    assert!(free.iter().any(|norm| *norm > 1.1 * ceiling));
    assert!(held.iter().all(|norm| *norm <= 1.0001 * ceiling), "{held:?} beyond {ceiling}");
    Ok(())
}
