//! The settings of data, as they stand under `[data]` in a configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::shapes::ShapesSettings;
use crate::source::{Choice, Place, discover_place, find, load_external};
use crate::subset::{Parts, split};
use crate::{Augmentation, DatasetPair, Error, Loader, Result, Source, Verification};

/// Which data, how much of it, and what happens to its images. 0 turns a limit, a split or a change of images off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Which data set.
    pub source: Source,
    /// A folder or archive; without it, data is looked for as [`discover`](crate::discover) says.
    #[serde(with = "crate::any_path", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Training examples at most, after the validation split; 0 for all.
    pub train_limit: usize,
    /// Test examples at most; 0 for all.
    pub test_limit: usize,
    /// Training examples split off for validation; 0 for none.
    pub validation: usize,
    /// Black pixels around an image before it is cropped at random; 0 for no crop.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Side of the square that is cut out of every image, in pixels; 0 for none.
    pub cutout: usize,
    /// Whether the images lie on the device, which then makes the batches, where it can. The batches are the same.
    pub resident: bool,
    /// Threads that prepare batches on the host; 0 prepares them between the steps.
    pub workers: usize,
    /// The generated set.
    pub shapes: ShapesSettings,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            path: None,
            train_limit: 0,
            test_limit: 0,
            validation: 0,
            crop_padding: 4,
            flip: true,
            cutout: 0,
            resident: true,
            workers: 1,
            shapes: ShapesSettings::default(),
        }
    }
}

impl DataSettings {
    /// **Errors:** a value out of its range, or a path for the generated set; each names its key.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("data.crop_padding", self.crop_padding, 16),
            ("data.cutout", self.cutout, 32),
            ("data.workers", self.workers, 64),
        ];
        for (key, value, largest) in ranges {
            if value > largest {
                return Err(Error::setting(key, format!("expected 0 to {largest}, found {value}")));
            }
        }
        if let (Source::Shapes, Some(path)) = (self.source, &self.path) {
            let message = format!("the shapes set is generated and is not read from {}", path.display());
            return Err(Error::setting("data.path", message));
        }
        self.shapes.check()
    }

    /// What happens to training images.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation { crop_padding: self.crop_padding, flip: self.flip, cutout: self.cutout }
    }

    /// Reads or generates the data. `auto` without a path takes CIFAR-10 where [`discover`](crate::discover) finds it, else generates
    /// the shapes: the pair's [`Origin`](crate::Origin) tells which.
    ///
    /// **Errors:** those of [`DataSettings::check`], [`discover`](crate::discover) and [`open`](crate::open); a data set that was asked for by name
    /// and is not found.
    pub fn load(&self) -> Result<DatasetPair> {
        self.check()?;
        if let Source::External(name) = self.source {
            return load_external(name, self.path.as_deref());
        }
        match self.place()? {
            Some(place) => place.read(),
            None => self.shapes.generate(),
        }
    }

    /// Reads every file of the data, also behind a broken one. `None` where [`DataSettings::load`] would generate it.
    ///
    /// **Errors:** as [`DataSettings::load`], but for what is wrong in the files, which the verification tells.
    pub fn verify(&self) -> Result<Option<Verification>> {
        self.check()?;
        let verified = |place: Place| Ok(Verification { files: place.scan()?.states() });
        self.place()?.map(verified).transpose()
    }

    /// Where the data lies; `None` where it is generated.
    fn place(&self) -> Result<Option<Place>> {
        let place = match (self.source, &self.path) {
            (Source::Shapes | Source::External(_), _) => None,
            (source, Some(path)) => Some(find(path, source)?),
            (source, None) => discover_place(source)?,
        };
        match (self.source, place) {
            (Source::Cifar10 | Source::Cifar100, None) => {
                let message = format!(
                    "no {} found under data/; set data.path or GRADAMP_DATA to its folder or archive",
                    self.source
                );
                Err(Error::setting("data.source", message))
            }
            (_, place) => Ok(place),
        }
    }

    /// Takes the data that a command line chooses; see [`Choice::over`].
    pub fn choose(&mut self, choice: Choice) {
        (self.source, self.path) = choice.over(self.source);
    }

    /// Splits and limits the data; the draw is a function of `seed`.
    ///
    /// **Errors:** as many validation examples as training examples, or more.
    pub fn split(&self, pair: DatasetPair, seed: u64) -> Result<Parts> {
        split(pair, seed, self.validation, self.train_limit, self.test_limit)
    }

    /// The loader of the training examples.
    ///
    /// **Errors:** a batch size of 0, or larger than the part.
    pub fn train_loader(&self, parts: &Parts, batch_size: usize, seed: u64) -> Result<Loader> {
        let loader = Loader::training(parts.train.clone(), batch_size, seed, self.augmentation())?;
        Ok(loader.workers(self.workers))
    }

    /// The loader of the test examples.
    ///
    /// **Errors:** a batch size of 0.
    pub fn test_loader(&self, parts: &Parts, batch_size: usize) -> Result<Loader> {
        Ok(Loader::evaluation(parts.test.clone(), batch_size)?.workers(self.workers))
    }

    /// The loader of the validation examples; `None` where there are none.
    ///
    /// **Errors:** a batch size of 0.
    pub fn validation_loader(&self, parts: &Parts, batch_size: usize) -> Result<Option<Loader>> {
        let build = |part: &crate::Subset| Loader::evaluation(part.clone(), batch_size);
        Ok(parts.validation.as_ref().map(build).transpose()?.map(|loader| loader.workers(self.workers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_toml_and_refuse_unknown_keys() {
        let settings =
            DataSettings { source: Source::Cifar100, path: Some("a/b".into()), ..Default::default() };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<DataSettings>(&text).unwrap(), settings);
        assert_eq!(toml::from_str::<DataSettings>("").unwrap(), DataSettings::default());
        assert!(toml::from_str::<DataSettings>("croppadding = 4").is_err());
        assert!(toml::from_str::<DataSettings>("shapes = { size = 4 }").is_err());
        assert!(toml::from_str::<DataSettings>("source = \"mnist\"").is_err());
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        let message = |settings: DataSettings| settings.check().unwrap_err().to_string();
        let base = DataSettings::default;
        assert_eq!(
            message(DataSettings { crop_padding: 40, ..base() }),
            "data.crop_padding: expected 0 to 16, found 40"
        );
        assert_eq!(message(DataSettings { cutout: 33, ..base() }), "data.cutout: expected 0 to 32, found 33");
        assert_eq!(
            message(DataSettings { workers: 65, ..base() }),
            "data.workers: expected 0 to 64, found 65"
        );
        let path = DataSettings { source: Source::Shapes, path: Some("x".into()), ..base() };
        assert_eq!(message(path), "data.path: the shapes set is generated and is not read from x");
        assert!(base().check().is_ok());
    }

    #[test]
    fn shapes_become_loaders() {
        let settings = DataSettings {
            source: Source::Shapes,
            validation: 20,
            test_limit: 15,
            shapes: ShapesSettings { train: 100, test: 30, seed: 1 },
            ..Default::default()
        };
        let parts = settings.split(settings.load().unwrap(), 5).unwrap();
        assert_eq!((parts.train.len(), parts.test.len()), (80, 15));
        assert_eq!(settings.train_loader(&parts, 16, 5).unwrap().batches(), 5);
        assert_eq!(settings.test_loader(&parts, 10).unwrap().batches(), 2);
        assert_eq!(settings.validation_loader(&parts, 10).unwrap().unwrap().batches(), 2);
    }
}
