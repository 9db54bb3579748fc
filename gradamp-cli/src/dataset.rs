//! The data of a run: reading it, and preparing its batches.

use std::path::Path;

use gradamp_core::{Backend, BatchSource, Error};
use gradamp_data::{DataSettings, DatasetPair, Loader, Normalisation, Origin, Resident, Source};

use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::config::Config;
use gradamp_study::shell;

/// A data set in memory.
#[derive(Debug)]
pub struct Data {
    pair: DatasetPair,
    checksum: String,
}

impl Data {
    /// Reads or generates the data, and passes a line that describes it to `say`.
    ///
    /// **Errors:** those of [`DataSettings::load`].
    pub fn load(settings: &DataSettings, say: &dyn Fn(&str)) -> Result<Self, Error> {
        remarks(settings).iter().for_each(|remark| say(remark));
        let pair = settings.load().map_err(|error| with_table(offer(error, settings)))?;
        let (train, test) = (pair.train.len(), pair.test.len());
        match &pair.origin {
            Origin::Files { path, form } => {
                say(&format!("data: {form}, {train} + {test} images, in {}", path.display()));
            }
            Origin::Generated if settings.source == Source::Auto => say(&format!(
                "data: found no CIFAR-10 in data/ or $GRADAMP_DATA, so {train} + {test} generated shapes are used; to get CIFAR-10: {}",
                download(Source::Cifar10)
            )),
            Origin::Generated => match settings.source {
                Source::External(name) => say(&format!("data: {name}, {train} + {test} images")),
                _ => say(&format!("data: {train} + {test} generated shapes")),
            },
        }
        let checksum = pair.checksum();
        Ok(Self { pair, checksum })
    }

    /// The name of the data set.
    pub fn name(&self) -> &str {
        self.pair.train.name()
    }

    /// The SHA-256 of the data set's content.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// The shape of an image, `[h, w, c]`.
    pub fn image(&self) -> [usize; 3] {
        self.pair.train.image_shape()
    }

    /// The constants with which images are normalised.
    pub fn normalisation(&self) -> &Normalisation {
        self.pair.train.normalisation()
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        self.pair.train.classes()
    }
}

/// Adds the command that downloads a published data set to the error that it is missing.
fn offer(error: gradamp_data::Error, settings: &DataSettings) -> gradamp_data::Error {
    match error {
        gradamp_data::Error::Setting { key, message }
            if cfg!(feature = "download") && key == "source" && !settings.source.published().is_empty() =>
        {
            let message = format!("{message}; to download it: {}", download(settings.source));
            gradamp_data::Error::Setting { key, message }
        }
        other => other,
    }
}

/// The command that downloads a published data set.
fn download(source: Source) -> String {
    match cfg!(feature = "download") {
        true => format!("{} data download {source}", shell::program()),
        false => "see docs/data.md".into(),
    }
}

/// Names the table `data` in an error of the data crate, as in `data.crop_padding`.
fn with_table(error: gradamp_data::Error) -> gradamp_data::Error {
    error.within("data")
}

/// Notes about another data set that the user may have meant.
fn remarks(settings: &DataSettings) -> Vec<String> {
    let mut remarks = Vec::new();
    match (&settings.path, settings.source) {
        (None, source) if Path::new(source.name()).exists() => remarks.push(format!(
            "data: {source} is read as the name of a data set; to read the file or folder of that name, write ./{source}"
        )),
        (Some(path), Source::Auto) => {
            if let [taken, other] = gradamp_data::sources_in(path)[..] {
                remarks.push(format!(
                    "data: {} holds {taken} and {other}; {taken} is used (to use {other}, set data.source = \"{other}\")",
                    path.display()
                ));
            }
        }
        _ => {}
    }
    remarks
}

/// Adds an explanation to an error if the settings of the run in `run` hold a relative path that does not exist: the
/// path is relative to the folder in which the run was started.
pub fn explain_relative_path(error: Error, settings: &DataSettings, run: Option<&Path>) -> Error {
    match (run, &settings.path) {
        (Some(run), Some(path)) if path.is_relative() && !path.exists() => Error::external(format!(
            "{error}; {} names the relative path {}, which starts in the folder where the run was started; give the current path with --data PATH",
            run.display(),
            path.display()
        )),
        _ => error,
    }
}

/// The sources of a run's batches.
pub struct Sources<B: Backend> {
    train: Box<dyn BatchSource<B>>,
    validation: Option<Box<dyn BatchSource<B>>>,
    test: Box<dyn BatchSource<B>>,
    resident: bool,
}

impl<B: Backend> Sources<B> {
    /// Splits the data and prepares its batches: on the device if `data.resident` is set and `backend` can keep images,
    /// otherwise on the host.
    ///
    /// **Errors:** the data is too small for its splits or batches (the error names the key); those of the backend.
    pub fn new(config: &Config, data: Data, backend: &B) -> Result<Self, Error> {
        let (settings, batch_size, seed) = (&config.data, config.train.batch_size, config.train.seed);
        let parts = settings.split(data.pair, seed).map_err(with_table)?;
        let in_train = |error: gradamp_data::Error| match Error::from(error) {
            Error::Setting { field, message } if field == "batch_size" => {
                Error::setting("train.batch_size", message)
            }
            other => other.within("data"),
        };
        let train = settings.train_loader(&parts, batch_size, seed).map_err(in_train)?;
        let validation = settings.validation_loader(&parts, batch_size).map_err(in_train)?;
        let test = settings.test_loader(&parts, batch_size).map_err(in_train)?;
        let kept = keep(settings, &train, backend)?;
        let of_validation = |loader: Loader| {
            let shared = kept.as_ref().and_then(|kept| kept.share(&loader)); // validation images are part of the training set
            source(loader, shared)
        };
        Ok(Self {
            resident: kept.is_some(),
            validation: validation.map(of_validation),
            train: source(train, kept),
            test: resident_or_host(settings, test, backend)?,
        })
    }

    /// The batches to train on.
    pub fn train(&self) -> &dyn BatchSource<B> {
        &*self.train
    }

    /// The data sets to evaluate on, with their names. The first one decides which epoch is the best.
    pub fn evaluations(&self) -> Vec<(&'static str, &dyn BatchSource<B>)> {
        let validation = self.validation.as_ref().map(|source| ("validation", &**source));
        validation.into_iter().chain([("test", &*self.test)]).collect()
    }

    /// Whether the training images are kept on the device.
    pub fn are_resident(&self) -> bool {
        self.resident
    }
}

/// The batches of the test set alone, prepared in the same way as those of [`Sources`].
pub fn test_batches<B: Backend>(config: &Config, data: Data, backend: &B) -> Result<Box<dyn BatchSource<B>>> {
    let parts = config.data.split(data.pair, config.train.seed).map_err(with_table)?;
    let loader = config.data.test_loader(&parts, config.train.batch_size)?;
    Ok(resident_or_host(&config.data, loader, backend)?)
}

fn resident_or_host<B: Backend>(
    settings: &DataSettings,
    loader: Loader,
    backend: &B,
) -> Result<Box<dyn BatchSource<B>>, Error> {
    let kept = keep(settings, &loader, backend)?;
    Ok(source(loader, kept))
}

fn keep<B: Backend>(
    settings: &DataSettings,
    loader: &Loader,
    backend: &B,
) -> Result<Option<Resident<B>>, Error> {
    if settings.resident { loader.keep_on(backend) } else { Ok(None) }
}

fn source<B: Backend>(loader: Loader, kept: Option<Resident<B>>) -> Box<dyn BatchSource<B>> {
    match kept {
        Some(kept) => Box::new(kept),
        None => Box::new(loader),
    }
}

/// The settings of a run with `--data` as its only option.
fn chosen(data: &Path) -> DataSettings {
    let mut settings = DataSettings::default();
    settings.choose(data.into());
    settings
}

/// `gradamp data info`
pub fn info(data: &Path) -> Result<()> {
    let settings = chosen(data);
    remarks(&settings).iter().for_each(output::message);
    output::result(gradamp_data::info(&settings.load().map_err(with_table)?));
    Ok(())
}

/// `gradamp data verify`
pub fn verify(data: &Path) -> Result<()> {
    let settings = chosen(data);
    remarks(&settings).iter().for_each(output::message);
    let Some(verification) = settings.verify().map_err(with_table)? else {
        output::result(gradamp_data::info(&settings.load().map_err(with_table)?)); // generated data has no files to verify
        return Ok(());
    };
    output::result(&verification);
    if verification.is_good() {
        return Ok(());
    }
    Err(Failure::failed(format!("{}: is incomplete or damaged", data.display())))
}

#[cfg(test)]
mod tests {
    use gradamp_core::conformance::Required;
    use gradamp_cpu::Cpu;
    use gradamp_data::ShapesSettings;

    use super::*;

    /// The values of every batch of an epoch.
    fn epoch<B: Backend>(source: &dyn BatchSource<B>, backend: &B) -> Vec<Vec<f32>> {
        let batches = source.epoch(backend, 1, 0).unwrap().map(Result::unwrap);
        batches
            .flat_map(|batch| [batch.images, batch.labels])
            .map(|values| values.to_vec().unwrap())
            .collect()
    }

    #[test]
    fn a_device_that_keeps_images_makes_the_same_batches_as_the_host() {
        let cpu = Cpu::with_threads(1).unwrap();
        let keeping = Required(cpu.clone());
        let mut config = Config::default();
        config.train.batch_size = 8;
        config.data.source = Source::Shapes;
        config.data.validation = 12;
        config.data.shapes = ShapesSettings::default().with_train(40).with_test(10).with_seed(3);
        let data = |config: &Config| Data::load(&config.data, &|_| ()).unwrap();
        let host = Sources::new(&config, data(&config), &cpu).unwrap();
        assert!(!host.are_resident(), "the CPU does not keep images");
        for resident in [true, false] {
            config.data.resident = resident;
            let sources = Sources::new(&config, data(&config), &keeping).unwrap();
            assert_eq!(sources.are_resident(), resident);
            assert_eq!(epoch(sources.train(), &keeping), epoch(host.train(), &cpu));
            for (found, expected) in sources.evaluations().into_iter().zip(host.evaluations()) {
                assert_eq!(found.0, expected.0);
                assert_eq!(epoch(found.1, &keeping), epoch(expected.1, &cpu), "{}", found.0);
            }
            let test = test_batches(&config, data(&config), &keeping).unwrap();
            assert_eq!(epoch(&*test, &keeping), epoch(host.evaluations()[1].1, &cpu));
        }
    }
}
