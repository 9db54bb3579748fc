//! The data of a run: which set, where it was found, and the batches made of it.

use std::path::Path;

use gradamp_core::{Backend, BatchSource, Error};
use gradamp_data::{DataSettings, DatasetPair, Loader, Origin, ShapesSettings, Source};

use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::output;

/// A data set in memory.
#[derive(Debug)]
pub struct Data {
    pair: DatasetPair,
    checksum: String,
}

impl Data {
    /// Reads or generates the data, and says in one line which it is.
    ///
    /// **Errors:** what [`DataSettings::load`] finds wrong.
    pub fn load(settings: &DataSettings, say: &dyn Fn(&str)) -> Result<Self, Error> {
        let pair = settings.load()?;
        let (train, test) = (pair.train.len(), pair.test.len());
        match &pair.origin {
            Origin::Files { path, form } => {
                say(&format!("data: {form}, {train} + {test} images, in {}", path.display()));
            }
            Origin::Generated if settings.source == Source::Auto => say(&format!(
                "data: no CIFAR-10 under data/ or $GRADAMP_DATA, so {train} + {test} generated shapes; to get CIFAR-10: {GET}"
            )),
            Origin::Generated => say(&format!("data: {train} + {test} generated shapes")),
        }
        let checksum = pair.checksum();
        Ok(Self { pair, checksum })
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        self.pair.train.name()
    }

    /// The SHA-256 of its content.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// The classes' names.
    pub fn classes(&self) -> &[String] {
        self.pair.train.classes()
    }
}

/// How to get CIFAR-10.
const GET: &str = "mkdir -p data && curl -L https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz -o data/cifar-10-binary.tar.gz";

/// The batches of a run.
#[derive(Debug)]
pub struct Sources {
    train: Loader,
    validation: Option<Loader>,
    test: Loader,
}

impl Sources {
    /// Splits the data and makes batches of it.
    ///
    /// **Errors:** splits or batches that the data is too small for, with their keys.
    pub fn new(config: &Config, data: Data) -> Result<Self, Error> {
        let (settings, batch_size, seed) = (&config.data, config.train.batch_size, config.train.seed);
        let parts = settings.split(data.pair, seed)?;
        let in_train = |error: gradamp_data::Error| match Error::from(error) {
            Error::Setting { key, message } if key == "batch_size" => {
                Error::setting("train.batch_size", message)
            }
            other => other,
        };
        Ok(Self {
            train: settings.train_loader(&parts, batch_size, seed).map_err(in_train)?,
            validation: settings.validation_loader(&parts, batch_size).map_err(in_train)?,
            test: settings.test_loader(&parts, batch_size).map_err(in_train)?,
        })
    }

    /// The batches to train on.
    pub fn train<B: Backend>(&self) -> &dyn BatchSource<B> {
        &self.train
    }

    /// What is evaluated, by name; the first decides which epoch is the best.
    pub fn evaluations<B: Backend>(&self) -> Vec<(&'static str, &dyn BatchSource<B>)> {
        let validation = self.validation.as_ref().map(|loader| ("validation", loader as &dyn BatchSource<B>));
        validation.into_iter().chain([("test", &self.test as &dyn BatchSource<B>)]).collect()
    }

    /// The shape of one image, `[h, w, c]`.
    pub fn image_shape(&self) -> [usize; 3] {
        self.train.part().data().image_shape()
    }
}

/// The batches of the test set alone.
pub fn test_batches(config: &Config, data: Data) -> Result<Loader> {
    let parts = config.data.split(data.pair, config.train.seed)?;
    Ok(config.data.test_loader(&parts, config.train.batch_size)?)
}

fn is_shapes(path: &Path) -> bool {
    path.as_os_str() == Source::Shapes.name() && !path.exists()
}

fn pair_at(path: &Path) -> Result<DatasetPair> {
    match is_shapes(path) {
        true => Ok(ShapesSettings::default().generate()?),
        false => Ok(gradamp_data::open(path, Source::Auto)?),
    }
}

/// `gradamp data info`
pub fn info(path: &Path) -> Result<()> {
    output::result(gradamp_data::info(&pair_at(path)?));
    Ok(())
}

/// `gradamp data verify`
pub fn verify(path: &Path) -> Result<()> {
    if is_shapes(path) {
        output::result(gradamp_data::info(&pair_at(path)?));
        return Ok(());
    }
    let verification = gradamp_data::verify(path, Source::Auto)?;
    output::result(&verification);
    if verification.is_good() {
        return Ok(());
    }
    Err(Failure::failed(format!("{}: is not whole", path.display())))
}
