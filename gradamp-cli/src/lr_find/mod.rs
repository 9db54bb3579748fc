//! `gradamp lr-find`: a learning-rate range test, without and with amplification.

pub mod args;
mod chart;

use gradamp_core::amplify::{Amplify, Curve, LearningRate, Strategy};
use gradamp_core::train::{Control, Observer, OnDivergence, Snapshot, StepReport, TrainSettings, Trainer};
use gradamp_core::{Backend, Parameters};
use gradamp_models::file_behind;
use gradamp_study::config::{Config, KeyError, Resolved};
use gradamp_study::range_test::RangeTest;
use gradamp_study::rate::rate;
use gradamp_study::report::range_page;
use gradamp_study::run_folder::{check_not_owned, write_file};
use serde_json::json;

use self::args::LrFindArgs;
use crate::dataset::{Data, Sources};
use crate::device::{self, Opening, Task};
use crate::failure::{FAILED, Failure, Result};
use crate::{interrupt, output, train};

/// Runs the test and prints its curves and the suggested rates.
///
/// **Errors:** an option that sets the learning rate or the length of the run, which the test sets itself; numbers out of
/// their ranges; those of a training.
pub fn lr_find(args: &LrFindArgs) -> Result<()> {
    interrupt::leave_with(FAILED, "error: interrupted; nothing was written")?;
    let settings = &args.settings;
    for (flag, is_given) in [
        ("--lr", settings.lr.is_some()),
        ("--epochs", settings.epochs.is_some()),
        ("--max-steps", settings.max_steps.is_some()),
    ] {
        if is_given {
            let message =
                "cannot be used with lr-find, which sets the learning rate and the number of steps itself";
            return Err(Failure::usage(format!("{flag}: {message}")));
        }
    }
    if !(args.from > 0.0 && args.to > args.from) {
        let message = format!("found --from {} and --to {}, expected 0 < from < to", args.from, args.to);
        return Err(Failure::usage(message));
    }
    if !(0.0..1.0).contains(&args.smoothing) {
        return Err(Failure::usage(format!(
            "--smoothing: found {}, expected 0 or more and below 1",
            args.smoothing
        )));
    }
    if let Some(path) = &args.output {
        check_not_owned(&file_behind(path)?)?;
    }
    let resolved = settings.layers().resolve()?;
    resolved.notes.iter().for_each(output::message);
    let chosen = device::choose(&resolved.config.train.device)
        .map_err(|error| resolved.locate(KeyError::from(error)))?;
    let (tests, lead) =
        chosen.run(&Opening::from(&resolved.config.train), Find { args, resolved: &resolved })?;
    if let Some(path) = &args.output {
        write_file(path, range_page(&tests, &lead).html().as_bytes())?;
        output::message(format_args!("page: {}", path.display()));
    }
    if args.json {
        let test = |test: &RangeTest| {
            json!({
                "test": test.name, "diverged": test.has_diverged, "points": test.points,
                "suggestion": test.suggestion(),
            })
        };
        output::result(json!({"subject": lead, "tests": tests.iter().map(test).collect::<Vec<_>>()}));
    } else {
        output::result(chart::text(&tests).trim_end());
        tests.iter().for_each(|test| output::result(suggestion(test)));
    }
    Ok(())
}

/// The suggested rates in words.
fn suggestion(test: &RangeTest) -> String {
    let end = match (test.has_diverged, test.points.last()) {
        (true, Some(last)) => format!("; it diverges at {}", rate(last.lr)),
        _ => String::new(),
    };
    match test.suggestion() {
        Some(found) => format!(
            "{}: the loss falls fastest at {}, and a tenth of the rate of the lowest loss is {}{end}",
            test.name,
            rate(found.steepest),
            rate(found.tenth_of_minimum)
        ),
        None => format!("{}: the loss does not fall{end}", test.name),
    }
}

/// The tests, before their device is opened.
struct Find<'a> {
    args: &'a LrFindArgs,
    resolved: &'a Resolved,
}

impl Task for Find<'_> {
    type Output = (Vec<RangeTest>, String);

    fn run<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let config = &self.resolved.config;
        let setting = |error| train::with_origin(self.resolved, error);
        let data = Data::load(&config.data, &|line| output::message(line)).map_err(setting)?;
        let name = data.name().to_owned();
        let model_settings = config.model.settings(data.image(), data.classes().len()).map_err(setting)?;
        let sources = Sources::new(config, data, &backend).map_err(setting)?;
        let mut parameters =
            Parameters::new(&backend, config.train.seed).with_initialisation(config.model.initialisation());
        let model = gradamp_models::build(&model_settings, &mut parameters)?;
        train::initialise(self.resolved, &mut parameters)?;
        let lead =
            format!("{model_settings}, {name}, batch {}, on {}", config.train.batch_size, backend.name());
        output::message(&lead);
        let amplified = config.strategy.phases.iter().find(|phase| phase.amplify.is_on());
        let mut tests = Vec::new();
        for (name, amplify) in [
            ("without amplification", Some(Amplify::Off)),
            ("with amplification", amplified.map(|p| p.amplify.clone())),
        ] {
            let Some(amplify) = amplify else {
                output::message("no phase of the run is amplified, so there is no test with amplification");
                continue;
            };
            let per_epoch = config.train.steps_per_epoch(sources.train().batches());
            let settings = ramp(self.args, config, amplify, per_epoch);
            let mut test = Watch(RangeTest::new(name, self.args.smoothing));
            let image = sources.train().image_shape();
            let mut trainer = Trainer::new(&model, parameters.clone(), image, settings).map_err(setting)?;
            trainer.observe(&mut test);
            trainer.run(sources.train(), &[])?;
            drop(trainer);
            tests.push(test.0);
        }
        Ok((tests, lead))
    }
}

/// The settings of a training whose rate grows by the same factor at each step.
fn ramp(args: &LrFindArgs, config: &Config, amplify: Amplify, per_epoch: usize) -> TrainSettings {
    let per_epoch = per_epoch.max(1) as f64;
    let steps = args.steps as f64;
    let gamma = (args.to / args.from).powf(1.0 / (steps - 1.0));
    // A milestone at each step but the first. A quarter of a step before it, rounding cannot move the milestone.
    let milestones = (1..args.steps).map(|step| (step as f64 - 0.25) / per_epoch).collect();
    let lr = LearningRate::new(Curve::MultiStep { from: args.from, milestones, gamma });
    let epochs = (steps / per_epoch).ceil() as usize;
    config
        .train_settings()
        .with_strategy(Strategy::single(epochs, lr, amplify))
        .with_max_steps(Some(args.steps))
        .with_on_divergence(OnDivergence::Continue)
        .with_signals(false)
        .with_ema(None)
        .with_patience(None)
}

/// The observer that records the losses, and stops the training where the test ends.
struct Watch(RangeTest);

impl<B: Backend> Observer<B> for Watch {
    fn on_steps(&mut self, reports: &[StepReport], _: &Snapshot<'_, B>) -> gradamp_core::Result<Control> {
        let goes_on = reports.iter().fold(true, |_, report| self.0.add(report.lr, f64::from(report.loss)));
        Ok(if goes_on { Control::Continue } else { Control::Stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::settings::SettingsArgs;

    #[test]
    fn the_rate_grows_by_one_factor_at_each_step() {
        let args = LrFindArgs {
            settings: SettingsArgs::default(),
            from: 1e-5,
            to: 10.0,
            steps: 100,
            smoothing: 0.9,
            output: None,
            json: false,
        };
        for per_epoch in [1, 7, 100, 390] {
            let strategy = ramp(&args, &Config::default(), Amplify::Off, per_epoch).strategy;
            strategy.check().unwrap();
            for step in 0..100 {
                let found = strategy.lr_at(step, per_epoch as u64, &[]).unwrap();
                let expected = 1e-5 * 1e6f64.powf(step as f64 / 99.0);
                assert!((found / expected - 1.0).abs() < 1e-9, "{per_epoch} {step}: {found} {expected}");
            }
        }
    }
}
