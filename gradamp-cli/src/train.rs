//! `gradamp train`: trains from settings to a run folder.

mod baseline;
mod dry_run;
mod finished;
mod ongoing;
mod record;
mod stop;
mod verbose;

use std::path::{Path, PathBuf};

use gradamp_core::train::{Outcome, Trainer};
use gradamp_core::{Backend, Error, Parameters};
use gradamp_models::{Metadata, Skip};

use crate::args::{SettingsArgs, TrainArgs};
use crate::dataset::{self, Data, Sources};
use crate::device::{Opening, Task};
use crate::failure::{FAILED, Failure, INTERRUPTED, Result, SUCCESS};
use crate::progress::Progress;
use crate::resume::{self, Resumed};
use crate::tui::{Dashboard, Live};
use crate::{device, hangup, interrupt, output, screen};
use baseline::BaselineFolders;
use gradamp_study::config::{KeyError, Resolved, presets};
use gradamp_study::resume::{check_data, find_data};
use gradamp_study::run_folder::{
    self, Follower, LoadedCheckpoint, LogSeals, Logs, Recorder, RunFolder, RunRecord, RunStatus, phase_table,
    timestamp,
};
use gradamp_study::tensorboard::EventWriter;
use gradamp_study::{gains, shell};
use ongoing::OngoingRun;
use stop::{Ended, Stop};

/// `gradamp train`; returns the exit code.
pub fn train(args: &TrainArgs) -> Result<u8> {
    // Until the run starts, there is nothing to save: a request to stop ends the program, and a run that is resumed
    // stays unchanged.
    match &args.resume {
        _ if args.in_sweep => interrupt::leave_with(INTERRUPTED, "")?, // the next call of the sweep starts or continues the run
        Some(root) => {
            let again = shell::resume_command(root);
            interrupt::leave_with(
                INTERRUPTED,
                format_args!("interrupted before the run was continued; continue with: {again}"),
            )?;
        }
        None => {
            interrupt::leave_with(FAILED, "error: interrupted before the run started; nothing was written")?
        }
    }
    if args.in_sweep {
        output::report_errors();
        hangup::follow_sweep();
    }
    if !args.quiet {
        hangup::follow_terminal();
    }
    let (folder, resolved) = match &args.resume {
        Some(path) => {
            let Resumed { folder, settings: mut resolved, is_extended } =
                resume::settings(path, &args.settings)?;
            if let Some(record) = folder.read_record()? {
                if record.is_finished() && !is_extended && !finished::goes_on(&folder, &resolved)? {
                    finished::show(args.quiet, &folder, &resolved)?;
                    return train_baseline(args, &resolved, folder.root(), SUCCESS);
                }
                let found = find_data(&mut resolved, &record);
                found.iter().filter(|_| !args.quiet).for_each(output::message);
            }
            (Some(folder), resolved)
        }
        None => {
            let resolved = args.settings.layers().resolve()?;
            if !args.quiet {
                resolved.notes.iter().for_each(output::message);
            }
            if let Some(out) = &args.out {
                RunFolder::check_free(out)?; // checked before the data is read, which may take minutes
            }
            (None, resolved)
        }
    };
    let (code, root) = run(args, resolved.clone(), folder, None)?;
    if args.dry_run {
        return Ok(code);
    }
    train_baseline(args, &resolved, &root, code)
}

/// If the run in `root` is finished and asks for a baseline, trains or continues the baseline. Returns the exit code.
fn train_baseline(args: &TrainArgs, resolved: &Resolved, root: &Path, code: u8) -> Result<u8> {
    let wants_baseline = resolved.config.train.baseline && !args.in_sweep;
    if !wants_baseline || code != SUCCESS || !baseline::is_finished(root)? {
        return Ok(code);
    }
    baseline::follow(root, resolved, args.quiet, |settings, folder, folders| {
        run(args, settings, folder, Some(folders)).map(|(code, _)| code)
    })
}

/// Trains a new run, or continues the run in `folder`. Returns the exit code and the run's folder. With
/// `as_baseline`, the run is the baseline of another run.
fn run(
    args: &TrainArgs,
    resolved: Resolved,
    folder: Option<RunFolder>,
    as_baseline: Option<&BaselineFolders>,
) -> Result<(u8, PathBuf)> {
    let settings = &resolved.config.train;
    let chosen = device::choose(&settings.device).map_err(|error| resolved.locate(KeyError::from(error)))?;
    let opening = Opening::from(settings);
    chosen.run(&opening, Call { args, resolved, folder, as_baseline })
}

/// One call of `gradamp train`, before its device is opened.
struct Call<'a> {
    args: &'a TrainArgs,
    resolved: Resolved,
    folder: Option<RunFolder>,
    as_baseline: Option<&'a BaselineFolders>,
}

impl Task for Call<'_> {
    type Output = (u8, PathBuf);

    fn run<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let Self { args, resolved, folder, as_baseline } = self;
        Run { args, backend, resolved, as_baseline }.go(folder)
    }
}

/// One call of `gradamp train` on its device.
struct Run<'a, B: Backend> {
    args: &'a TrainArgs,
    backend: B,
    resolved: Resolved,
    as_baseline: Option<&'a BaselineFolders>,
}

impl<B: Backend> Run<'_, B> {
    /// Trains. An error that occurs after the run has started is recorded in the run folder.
    fn go(&self, existing: Option<RunFolder>) -> Result<(u8, PathBuf)> {
        let mut ongoing = None;
        let ended = self.train(existing, &mut ongoing);
        if let (Err(failure), Some(ongoing)) = (&ended, &ongoing) {
            // The error that ended the run is more useful than an error that occurs while it is recorded, such as a
            // full disk.
            let _ = ongoing.end(RunStatus::Failed, Some(failure.reason()));
        }
        let root = ongoing.map(|ongoing| ongoing.folder().root().to_owned()).unwrap_or_default();
        ended.map(|code| (code, root))
    }

    fn train(&self, existing: Option<RunFolder>, ongoing: &mut Option<OngoingRun>) -> Result<u8> {
        let config = &self.resolved.config;
        let say = |line: &str| output::message(line);
        let run = self.args.resume.as_deref().filter(|_| self.args.settings.data.is_none());
        let data = Data::load(&config.data, &say)
            .map_err(|error| self.setting(dataset::explain_relative_path(error, &config.data, run)))?;
        let (dataset, checksum) = (data.name().to_owned(), data.checksum().to_owned());
        let normalisation = Some(data.normalisation().clone());
        let classes = data.classes().to_vec();
        let settings =
            config.model.settings(data.image(), classes.len()).map_err(|error| self.setting(error))?;
        let sources = Sources::new(config, data, &self.backend).map_err(|error| self.setting(error))?;
        let mut parameters = Parameters::new(&self.backend, config.train.seed)
            .with_initialisation(config.model.initialisation());
        let model = gradamp_models::build(&settings, &mut parameters)?;
        say(&format!("{settings}: {} parameters, on {}", parameters.trained_elements(), self.backend.name()));
        if sources.are_resident() {
            say("the images are kept on the device");
        }

        if self.args.verbose {
            self.tell_choices(&sources)?;
        }
        if self.args.dry_run {
            initialise(&self.resolved, &mut parameters)?;
            self.dry_run(&model, &settings.to_string(), parameters, &sources)?;
            return Ok(SUCCESS);
        }
        let old = existing.as_ref().map(RunFolder::read_record).transpose()?.flatten();
        let mut loaded = None;
        if let Some(folder) = &existing {
            if let Some(old) = &old {
                check_data(folder, old, &dataset, &checksum)?;
            }
            loaded = resume::checkpoint(folder, old.as_ref(), &mut parameters)?;
        }
        let seals = loaded.as_ref().map_or(LogSeals::default(), |loaded| loaded.logs.clone());
        let was_saved = loaded.is_some();
        let image = sources.train().image_shape();
        let mut trainer = match loaded {
            Some(LoadedCheckpoint { optimizer, ema, state, gradient_sums, .. }) => {
                let settings = self.train_settings(state.loss_scale.is_some());
                Trainer::resume(&model, parameters, state, image, settings).and_then(|mut trainer| {
                    for (name, parameter, tensor) in optimizer {
                        trainer.restore_optimizer(&name, parameter, tensor)?;
                    }
                    trainer.restore_gradient_sums(gradient_sums);
                    if let Some(average) = ema {
                        trainer.restore_ema(average)?;
                    }
                    Ok(trainer)
                })
            }
            None => {
                initialise(&self.resolved, &mut parameters)?;
                Trainer::new(&model, parameters, image, self.train_settings(false))
            }
        }
        .map_err(|error| self.setting(error))?;

        let is_extended = match &existing {
            Some(folder) => {
                RunFolder::settings_of(folder.root())?.config.strategy.epochs() < config.strategy.epochs()
            }
            None => false,
        };
        let mut record = match old {
            Some(old) => {
                let mut record = self.continued(old, trainer.state());
                if is_extended {
                    record.expected_gains = RunRecord::gains(&trainer.expected_gains()?);
                }
                record
            }
            None => RunRecord {
                normalisation,
                ..self.new_record(&settings, dataset, checksum, classes, &trainer)?
            },
        };
        let steps_per_epoch = config.train.steps_per_epoch(sources.train().batches());
        record.steps_per_epoch = Some(steps_per_epoch as u64);
        record.saved |= was_saved;
        // From here on the run folder exists. All settings were checked before.
        let stop = interrupt::listen()?;
        let folder = match existing {
            Some(folder) => folder,
            None => self.create_folder()?,
        };
        if is_extended {
            // Without a seal, a process that is killed between these writes leaves settings that can be read.
            record.config = None;
            folder.write_record(&record)?;
            let before =
                gradamp_core::files::read_to_string(&folder.config_path()).map_err(Failure::failed)?;
            folder.write_config(&self.resolved.show_extended(&before)?)?;
        }
        record.config = Some(folder.config_seal()?);
        let ongoing = &*ongoing.insert(OngoingRun::begin(folder, record)?);
        let folder = ongoing.folder();
        let metadata = Metadata::from([("model".to_owned(), settings.to_string())]);
        let start = trainer.state().clone();
        let (logs, mut stop) = (Logs::open(folder.root(), &seals)?, Stop(stop));
        folder.make_checkpoints()?;
        let mut recorder = Recorder::new(folder, logs, metadata, config);
        if start.step == 0 {
            recorder.save(&trainer.snapshot())?; // so that a run that is killed in its first step can be resumed
        }
        ongoing.note_saved()?;
        let mut events = match config.train.tensorboard || EventWriter::is_in(folder.root()) {
            true => Some(EventWriter::begin(folder.root(), |line| output::message(line))?),
            false => None,
        };
        let mut live = if self.args.tui { self.dashboard(folder)? } else { None };
        let mut progress = Progress::new(self.args.quiet, live.is_some(), config.strategy.epochs());
        for (phase, gains) in trainer.expected_gains()? {
            progress.say(&gains::line(phase, gains.as_deref()));
        }
        progress.say(&format!("run folder: {}", folder.root().display()));
        if start.epoch >= config.strategy.epochs() {
            progress.say("all epochs are done already; recording the end of the run");
        } else if start.step > 0 {
            progress.say(&format!("continuing at epoch {}, step {}", start.epoch + 1, start.step + 1));
        }
        trainer.observe(&mut stop);
        trainer.observe(&mut recorder);
        if let Some(events) = &mut events {
            trainer.observe(events);
        }
        if let Some(live) = &mut live {
            trainer.observe(live);
        }
        trainer.observe(&mut progress);
        let outcome = trainer.run(sources.train(), &sources.evaluations());
        let step = trainer.state().step;
        drop(trainer);
        drop(progress);
        drop(live);
        self.finish(ongoing, step, outcome)
    }

    /// Opens the live dashboard with the data in the folder. Returns `None`, after printing the reason, if that is
    /// impossible.
    fn dashboard(&self, folder: &RunFolder) -> Result<Option<Live>> {
        if let Some(obstacle) = screen::obstacle() {
            output::message(format_args!("no dashboard, because {obstacle}"));
            return Ok(None);
        }
        let strategy = self.resolved.config.strategy.clone();
        let mut dashboard = Dashboard::new(folder.root().display().to_string(), strategy);
        Follower::new(folder.root()).poll()?.into_iter().for_each(|change| dashboard.apply(change));
        match Live::begin(dashboard) {
            Ok(live) => Ok(Some(live)),
            Err(error) => {
                output::message(format_args!("no dashboard, because the terminal cannot be set up: {error}"));
                Ok(None)
            }
        }
    }

    /// Records and reports how the run ended.
    fn finish(&self, ongoing: &OngoingRun, step: u64, outcome: Result<Outcome, Error>) -> Result<u8> {
        let folder = ongoing.folder();
        let root = folder.root().display();
        let again = shell::resume_command(self.as_baseline.map_or(folder.root(), |folders| &folders.run));
        let word = match &outcome {
            Ok(Outcome::Finished | Outcome::OutOfPatience) => RunStatus::Finished,
            Ok(Outcome::Stopped) => RunStatus::Interrupted,
            Ok(Outcome::StepLimit) => RunStatus::StepLimit,
            Err(Error::Diverged { .. }) => RunStatus::Diverged,
            Err(_) => RunStatus::Failed,
        };
        let written = ongoing.end(word, outcome.as_ref().err().map(Error::to_string));
        folder.check_still_there()?; // a run without its folder cannot be continued, whatever ended it
        match outcome {
            Err(error) => {
                // The error that ended the run is more useful than an error that occurs while it is recorded, such as
                // a full disk.
                let mut kept = format!("the last good checkpoint is {}", folder.last().path().display());
                // On the CPU, an error of the CPU would occur again.
                if let (Error::Backend { .. }, false) = (&error, device::is_cpu(&self.backend)) {
                    kept += &format!("; to continue on the CPU: {again} --device cpu");
                }
                Err(Failure::failed(Ended { error, kept }))
            }
            Ok(outcome) => {
                written?;
                if !self.args.quiet {
                    let table = phase_table(folder.root(), &self.resolved.config.strategy);
                    output::result(format_args!("\n{table}\n{root}"));
                }
                match outcome {
                    Outcome::Finished => Ok(SUCCESS),
                    Outcome::OutOfPatience => {
                        let patience = self.resolved.config.train.patience.unwrap_or_default();
                        output::message(format_args!(
                            "ended after step {step}: no better evaluation in {patience} epochs (train.patience)"
                        ));
                        Ok(SUCCESS)
                    }
                    Outcome::Stopped => {
                        output::message(format_args!(
                            "interrupted after step {step}, saved; continue with: {again}"
                        ));
                        Ok(INTERRUPTED)
                    }
                    Outcome::StepLimit => {
                        output::message(format_args!(
                            "stopped after step {step} as requested; continue with: {again}"
                        ));
                        Ok(SUCCESS)
                    }
                }
            }
        }
    }

    fn create_folder(&self) -> Result<RunFolder> {
        let out = self.as_baseline.map(|folders| &folders.baseline).or(self.args.out.as_ref());
        let folder = match out {
            Some(path) => RunFolder::create(path)?,
            None => RunFolder::create_named(
                Path::new("runs"),
                &format!("{}-{}", self.name(), timestamp().compact()),
            )?,
        };
        folder.write_config(&self.resolved.show()?)?;
        Ok(folder)
    }

    /// The name of the run, which is that of its configuration file or of its preset.
    fn name(&self) -> String {
        let SettingsArgs { config, preset, .. } = &self.args.settings;
        let file =
            config.as_deref().and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned());
        file.or(preset.clone()).unwrap_or_else(|| presets::DEFAULT.into())
    }

    /// Adds the origin of the setting to an error about a setting.
    fn setting(&self, error: Error) -> Failure {
        with_origin(&self.resolved, error)
    }
}

/// Adds the origin of the setting to an error about a setting.
pub fn with_origin(settings: &Resolved, error: Error) -> Failure {
    match error {
        Error::Setting { .. } => settings.locate(KeyError::from(error)).into(),
        other => other.into(),
    }
}

/// Fills the parameters from `model.init`, if it is set.
pub fn initialise<B: Backend>(settings: &Resolved, parameters: &mut Parameters<B>) -> Result<()> {
    let model = &settings.config.model;
    let Some(path) = &model.init else { return Ok(()) };
    let skip = Skip::new(&model.init_skip)?;
    let archive = run_folder::read_model(path)?.with_names(model.init_names);
    let remark = archive.import_wrapped(&skip, parameters).map_err(|error| match error {
        gradamp_models::Error::Core(error @ Error::Setting { .. }) => {
            with_origin(settings, error.within("model"))
        }
        other => other.into(),
    })?;
    remark.iter().for_each(output::message);
    Ok(())
}
