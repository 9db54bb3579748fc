//! Policies that decide by measured gradients, and the measurements for them.

use gradamp_core::amplify::{
    AmplificationPolicy, AmplificationSettings, Amplify, EqualiseSettings, FluctuationSettings, LearningRate,
    Measure, Measured, Moments, Phase, Placement, PolicyContext, PolicyName, Side, Strategy, Timing,
};
use gradamp_core::optim::SgdSettings;
use gradamp_core::train::{TrainSettings, Trainer};
use gradamp_core::{Backend, Batch, BatchSource, LayerKind, Reference, Result, Tensor};

use crate::lagging::Lagging;
use crate::run::{IMAGE, Log, Noise, assert_resumes, fresh, settings, train, values};

/// Six epochs, of which the second to the fifth are amplified.
fn by(policy: PolicyName, change: AmplificationSettings) -> TrainSettings {
    let phases = [(1, Amplify::Off), (4, Amplify::on()), (1, Amplify::Off)].map(|(epochs, amplify)| {
        Phase::new(epochs).with_lr(Some(LearningRate::constant(0.1))).with_amplify(amplify)
    });
    let strategy = Strategy::default().with_phases(phases.to_vec());
    let kinds = vec![LayerKind::Conv, LayerKind::BatchNorm, LayerKind::Linear];
    let amplification = change.with_policy(policy).with_kinds(kinds);
    settings().with_strategy(strategy).with_amplification(amplification)
}

fn fluctuation(measure: Measure, every: usize) -> TrainSettings {
    let fluctuation = FluctuationSettings::default()
        .with_measure(measure)
        .with_every(every)
        .with_of(Some(Measured::Params));
    by(PolicyName::Fluctuation, AmplificationSettings::default().with_fluctuation(fluctuation))
}

fn equalise() -> TrainSettings {
    let change = AmplificationSettings::default().with_max_gain(Some(3.0));
    by(PolicyName::Equalise, change)
}

#[test]
fn a_run_whose_policy_decides_by_measurements_resumes_in_the_same_bits() {
    for settings in
        [fluctuation(Measure::Cancellation, 2), fluctuation(Measure::RelativeChange, 1), equalise()]
    {
        let (whole, ..) = train(&Reference, settings.clone(), None).unwrap();
        let sites: Vec<_> = whole.draws.iter().map(|draw| draw.sites.len()).collect();
        assert!(sites.iter().any(|&n| n > 0), "nothing was ever amplified: {sites:?}");
        assert_resumes(&Reference, &settings);
    }
    assert_resumes(&Lagging::new(3), &equalise());
}

#[test]
fn a_lag_changes_no_decision() {
    for settings in [fluctuation(Measure::Cancellation, 1), equalise()] {
        let (at_once, parameters, _) = train(&Lagging::new(0), settings.clone(), None).unwrap();
        let (late, late_parameters, _) = train(&Lagging::new(100), settings, None).unwrap();
        assert_eq!(late.draws, at_once.draws);
        assert_eq!(values(&late_parameters), values(&parameters));
    }
}

#[test]
fn a_policy_that_looks_back_needs_measured_gradients() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let settings = equalise().with_gradients_every(0);
    let error = Trainer::new(&model, parameters, IMAGE, settings).err().unwrap().to_string();
    assert!(error.starts_with("gradients_every: is 0, but the policy"), "{error}");
}

/// A source that repeats its first batch, so that gradients change with the parameters only.
struct Same;

impl<B: Backend> BatchSource<B> for Same {
    fn examples(&self) -> usize {
        24
    }
    fn batches(&self) -> usize {
        3
    }
    fn batch_size(&self) -> usize {
        8
    }
    fn image_shape(&self) -> [usize; 3] {
        IMAGE
    }
    fn classes(&self) -> usize {
        3
    }
    fn epoch<'a>(
        &'a self,
        backend: &B,
        _: usize,
        first: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Batch<B>>> + 'a>> {
        let backend = backend.clone();
        let batch = move |_| Noise { poison: None }.epoch(&backend, 0, 0).into_iter().flatten().take(1);
        Ok(Box::new((first..3).flat_map(batch)))
    }
}

/// Trains on the same batch in every step.
fn train_on_same(settings: TrainSettings) -> (Log<Reference>, Vec<Vec<f32>>) {
    let (model, parameters) = fresh(&Reference).unwrap();
    let mut log = Log::new(None);
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.observe(&mut log);
    trainer.run(&Same, &[]).unwrap();
    let parameters = trainer.parameters().iter().map(|(_, p)| p.value.to_vec().unwrap()).collect();
    drop(trainer);
    (log, parameters)
}

#[test]
fn equalised_gradients_of_a_chain_have_one_norm_and_keep_it() {
    for placement in [Placement::Output, Placement::Params] {
        let mut settings = equalise();
        settings.amplification.max_gain = None;
        settings.amplification.placement = placement;
        settings.amplification.equalise = EqualiseSettings::default().with_target(Some(0.05));
        settings.amplification.equalise.max_factor = 1000.0;
        settings.amplification.equalise.min_factor = 0.001;
        settings.strategy.phases.iter_mut().for_each(|phase| phase.lr = Some(LearningRate::constant(0.0)));
        let (log, _) = train_on_same(settings);
        // Later measurements see amplified gradients. The policy computes the same factors from them.
        let [first, rest @ ..] = &*log.draws else { panic!("nothing was decided") };
        assert_eq!((first.sites.len(), rest.len()), (3, 3));
        for draw in rest {
            for (a, b) in draw.factors.iter().zip(&first.factors) {
                assert!(
                    (a / b - 1.0).abs() < 1e-4,
                    "{placement:?}: {:?} after {:?}",
                    draw.factors,
                    first.factors
                );
            }
        }
        if placement == Placement::Output {
            for epoch in &log.epochs[1..5] {
                let eligible =
                    epoch.gradients.iter().filter(|g| ["conv", "bn", "linear"].contains(&&*g.site));
                let norms: Vec<f64> = eligible.map(|gradient| gradient.norm_after).collect();
                assert!(norms.iter().all(|norm| (norm / 0.05 - 1.0).abs() < 1e-4), "{norms:?}");
            }
        }
    }
}

#[test]
fn the_history_holds_gradients_without_amplification() {
    let gathered = |settings: TrainSettings| {
        let (model, parameters) = fresh(&Reference).unwrap();
        let settings = settings.with_max_steps(Some(6));
        let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
        trainer.set_policy(Box::new(Watchful)).unwrap();
        trainer.run(&Same, &[]).unwrap();
        trainer.state().history.clone()
    };
    let still = |placement| {
        let change = AmplificationSettings::default().with_placement(placement);
        let mut settings = by(PolicyName::Random, change);
        settings.strategy = Strategy::single(3, LearningRate::constant(0.0), Amplify::on());
        settings
    };
    let off = still(Placement::Output).with_strategy(Strategy::single(
        3,
        LearningRate::constant(0.0),
        Amplify::Off,
    ));
    let mut plain = off;
    plain.strategy.phases.push(still(Placement::Output).strategy.phases.remove(0)); // so that it is kept
    let plain = gathered(plain);
    assert!(!plain.is_empty());
    for placement in [Placement::Output, Placement::Input, Placement::Params] {
        let found = gathered(still(placement));
        for (a, b) in found.epochs().iter().zip(plain.epochs()) {
            for (a, b) in a.sites.iter().zip(&b.sites) {
                for (a, b) in [(&a.output, &b.output), (&a.params, &b.params)] {
                    let near = |a: f64, b: f64, size: f64| (a - b).abs() <= 1e-5 * size;
                    assert_eq!(a.steps, b.steps);
                    let net = |it: &Moments| it.net.unwrap_or_default();
                    assert!(near(a.norm, b.norm, b.norm) && near(net(a), net(b), b.norm), "{a:?} {b:?}");
                }
            }
        }
    }
}

/// At learning rate 0 and on the same batch every step has the same gradient, so that nothing cancels.
#[test]
fn gradients_that_point_the_same_way_do_not_cancel_and_turned_ones_do() {
    let mut settings = by(PolicyName::Random, AmplificationSettings::default());
    settings.strategy = Strategy::single(2, LearningRate::constant(0.0), Amplify::on());
    let (model, parameters) = fresh(&Reference).unwrap();
    let gathered = |source: &dyn BatchSource<Reference>| {
        let mut trainer = Trainer::new(&model, parameters.clone(), IMAGE, settings.clone()).unwrap();
        trainer.set_policy(Box::new(Watchful)).unwrap();
        trainer.run(source, &[]).unwrap();
        let history = trainer.state().history.clone();
        history.epochs()[0].sites.iter().filter_map(|site| site.params.cancellation()).collect::<Vec<f64>>()
    };
    let (same, noise) = (gathered(&Same), gathered(&Noise { poison: None }));
    assert_eq!((same.len(), noise.len()), (3, 3), "conv, bn and linear");
    assert!(same.iter().all(|it| (it - 1.0).abs() < 1e-5), "{same:?}");
    assert!(noise.iter().all(|it| (0.05..0.995).contains(it)), "other images, other gradients: {noise:?}");
}

/// Amplifies every eligible layer by 3 from the first epoch on. Asks for the statistics of an earlier epoch, but does not use them.
#[derive(Debug)]
struct Watchful;

impl AmplificationPolicy for Watchful {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        Ok(context.eligible.iter().map(|&site| (site, 3.0)).collect())
    }

    fn timing(&self) -> Timing {
        Timing::Epochs(1)
    }

    fn memory(&self) -> usize {
        1
    }
}

#[test]
fn the_update_ratio_is_that_of_the_step() {
    let plain = SgdSettings::default().with_momentum(0.0).with_weight_decay(0.0);
    let strategy = Strategy::single(1, LearningRate::constant(0.1), Amplify::Off);
    let settings = settings()
        .with_strategy(strategy)
        .with_optimizer(plain.into())
        .with_gradients_every(3)
        .with_max_steps(Some(3));
    let (model, parameters) = fresh(&Reference).unwrap();
    let before: Vec<(String, Vec<f32>)> =
        parameters.iter().map(|(_, p)| (p.path.to_string(), p.value.to_vec().unwrap())).collect();
    let mut one = Trainer::new(&model, parameters, IMAGE, settings.clone().with_max_steps(Some(1))).unwrap();
    one.run(&Same, &[]).unwrap();
    let norm = |values: Vec<f64>| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let after = |i: usize| one.parameters().iter().nth(i).map(|(_, p)| p.value.to_vec().unwrap()).unwrap();
    let (log, _) = train_on_same(settings.with_max_steps(None));
    for found in &log.epochs[0].gradients {
        let own: Vec<usize> = (0..before.len())
            .filter(|&i| {
                before[i].0.starts_with(&format!("{}.", found.site)) && !before[i].0.contains("running")
            })
            .collect();
        let of = |value: &dyn Fn(usize) -> Vec<f64>| norm(own.iter().flat_map(|&i| value(i)).collect());
        let widened = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let weights = of(&|i| widened(&before[i].1));
        let update =
            of(&|i| widened(&after(i)).iter().zip(widened(&before[i].1)).map(|(a, b)| a - b).collect());
        match found.update_ratio {
            None => assert!(own.is_empty(), "{}", found.site),
            Some(ratio) => {
                assert!((ratio * weights / update - 1.0).abs() < 1e-3, "{found:?} {update} {weights}")
            }
        }
    }
    assert!(log.epochs[0].gradients.iter().any(|gradient| gradient.update_ratio.is_some()));
}

/// Chooses every other eligible layer, beginning with the first one in even epochs and with the second one in odd epochs.
#[derive(Debug)]
struct Alternate(Tensor<Reference>);

impl AmplificationPolicy for Alternate {
    fn decide(&self, context: &PolicyContext<'_>) -> Result<Vec<(usize, f32)>> {
        let factor = self.0.to_vec()?[0];
        let sites = context.sites().skip(context.epoch % 2).step_by(2);
        Ok(sites.map(|site| (site.index, factor)).collect())
    }
}

#[test]
fn a_users_policy_decides_in_the_phases_that_amplify() {
    let (model, parameters) = fresh(&Reference).unwrap();
    let mut log = Log::new(None);
    let settings = by(PolicyName::Random, AmplificationSettings::default().with_max_gain(Some(4.0)));
    let mut trainer = Trainer::new(&model, parameters, IMAGE, settings).unwrap();
    trainer.set_policy(Box::new(Alternate(Tensor::full(&Reference, &[1], 4.0).unwrap()))).unwrap();
    trainer.observe(&mut log);
    trainer.run(&Noise { poison: None }, &[]).unwrap();
    assert_eq!(trainer.expected_gains().unwrap()[0].1, None);
    drop(trainer);
    let drawn: Vec<_> = log.draws.iter().map(|draw| (draw.epoch, &*draw.sites, &*draw.factors)).collect();
    let two: (&[_], &[_]) = (&["conv".to_owned(), "linear".to_owned()], &[2.0, 2.0]);
    let one: (&[_], &[_]) = (&["bn".to_owned()], &[4.0]);
    assert_eq!(drawn, [(1, one.0, one.1), (2, two.0, two.1), (3, one.0, one.1), (4, two.0, two.1)]);
}

#[test]
fn the_side_of_the_threshold_decides_which_layers_are_amplified() {
    let run = |select| {
        let mut settings = fluctuation(Measure::Cancellation, 1);
        settings.amplification.fluctuation.select = select;
        let (log, ..) = train(&Reference, settings, None).unwrap();
        log.draws.into_iter().next().unwrap().sites
    };
    let (below, above) = (run(Side::Below), run(Side::Above));
    // The median of three layers meets the threshold from both sides.
    assert_eq!((below.len(), above.len()), (2, 2));
    assert_ne!(below, above);
}
