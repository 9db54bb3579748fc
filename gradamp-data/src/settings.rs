//! The settings of the data.

use std::path::PathBuf;

use derive_setters::Setters;
use serde::{Deserialize, Serialize};

use crate::shapes::ShapesSettings;
use crate::source::{Choice, FoundData, discover_data, find, load_external};
use crate::subset::{Parts, SplitSizes, split};
use crate::{Augmentation, DatasetPair, Error, Loader, Result, Source, Verification};

/// Which data set to use, how much of it, and how its images are augmented. A limit, split or augmentation of 0 is
/// off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Setters)]
#[serde(default, deny_unknown_fields)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct DataSettings {
    /// The data set.
    pub source: Source,
    /// The data's folder or archive. If it is not set, [`discover`](crate::discover) looks for the data.
    #[serde(with = "crate::any_path", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The most training examples, not counting the validation split; 0 for all.
    pub train_limit: usize,
    /// The most test examples; 0 for all.
    pub test_limit: usize,
    /// The number of training examples that are split off for validation; 0 for none.
    pub validation: usize,
    /// The width of the black border that is added around an image before it is cropped at random, in pixels; 0 for
    /// no crop.
    pub crop_padding: usize,
    /// Whether images are mirrored left to right, each with probability 1/2.
    pub flip: bool,
    /// The side of the square that is cut out of every image, in pixels; 0 for none.
    pub cutout: usize,
    /// Whether the device keeps the images and makes the batches, if it can. The batches are the same either way.
    pub resident: bool,
    /// The number of threads that prepare batches on the host. With 0, batches are prepared between training steps.
    pub workers: usize,
    /// The settings of the generated shapes.
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
    /// Checks the ranges of all fields.
    ///
    /// **Errors:** a value out of range, or a path for the generated set. The error names the field.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("crop_padding", self.crop_padding, 1 << 16),
            ("cutout", self.cutout, 1 << 16),
            ("workers", self.workers, 64),
        ];
        for (key, value, largest) in ranges {
            if value > largest {
                return Err(Error::setting(key, format!("expected 0 to {largest}, found {value}")));
            }
        }
        if let (Source::Shapes, Some(path)) = (self.source, &self.path) {
            let message = format!("the shapes set is generated and is not read from {}", path.display());
            return Err(Error::setting("path", message));
        }
        self.shapes.check().map_err(|error| error.within("shapes"))
    }

    /// Checks that the augmentation leaves something of images of `h` times `w` pixels.
    ///
    /// **Errors:** the padding of a crop is larger than half of the longer side, and than 4; the square of a cutout is
    /// larger than the longer side. The error names the field.
    pub fn check_image(&self, [h, w]: [usize; 2]) -> Result<()> {
        let side = h.max(w);
        let ranges = [("crop_padding", self.crop_padding, 4.max(side / 2)), ("cutout", self.cutout, side)];
        match ranges.into_iter().find(|(_, value, largest)| value > largest) {
            Some((key, value, largest)) => {
                let message = format!("expected 0 to {largest} for images of {h}x{w} pixels, found {value}");
                Err(Error::setting(key, message))
            }
            None => Ok(()),
        }
    }

    /// The augmentation of training images.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation { crop_padding: self.crop_padding, flip: self.flip, cutout: self.cutout }
    }

    /// Reads or generates the data. [`Source::Auto`] without a path reads CIFAR-10 if [`discover`](crate::discover)
    /// finds it, and otherwise generates the shapes; the pair's [`Origin`](crate::Origin) says which.
    ///
    /// **Errors:** those of [`DataSettings::check`], [`discover`](crate::discover) and [`open`](crate::open); a data
    /// set was requested by name and is not found.
    pub fn load(&self) -> Result<DatasetPair> {
        self.check()?;
        if let Source::External(name) = self.source {
            return load_external(name, self.path.as_deref());
        }
        match self.find()? {
            Some(found) => found.read(),
            None => self.shapes.generate().map_err(|error| error.within("shapes")),
        }
    }

    /// Reads every file of the data. A broken file does not stop the reading of the files after it. Returns `None` if
    /// [`DataSettings::load`] would generate the data.
    ///
    /// **Errors:** those of [`DataSettings::load`], except for errors in the files; the verification reports them.
    pub fn verify(&self) -> Result<Option<Verification>> {
        self.check()?;
        let verified = |found: FoundData| Ok(Verification { files: found.states()? });
        self.find()?.map(verified).transpose()
    }

    /// Finds the data. Returns `None` if it is generated.
    fn find(&self) -> Result<Option<FoundData>> {
        let found = match (self.source, &self.path) {
            (Source::Shapes | Source::External(_), _) => None,
            (source, Some(path)) => Some(find(path, source)?),
            (source, None) => discover_data(source)?,
        };
        match (self.source, found) {
            (source, None) if source.is_named() => {
                let message = format!(
                    "no {source} found under data/; set the path, or GRADAMP_DATA, to its folder or archive"
                );
                Err(Error::setting("source", message))
            }
            (_, found) => Ok(found),
        }
    }

    /// Why the data can't be found: nothing exists at the path, or a data set that was requested by name is not
    /// there. Returns `None` if the data is found or generated; its files may still be damaged.
    pub fn missing(&self) -> Option<Error> {
        self.find().err().filter(Error::is_missing)
    }

    /// Sets the source and the path as [`Choice::over`] describes.
    pub fn choose(&mut self, choice: Choice) {
        (self.source, self.path) = choice.over(self.source);
    }

    /// Splits and limits the data. The examples are drawn at random as a function of `seed`.
    ///
    /// **Errors:** there are as many validation examples as training examples, or more.
    pub fn split(&self, pair: DatasetPair, seed: u64) -> Result<Parts> {
        let Self { validation, train_limit, test_limit, .. } = *self;
        split(pair, seed, &SplitSizes { validation, train_limit, test_limit })
    }

    /// Creates the loader of the training examples.
    ///
    /// **Errors:** a batch size of 0, or one larger than the number of training examples; those of
    /// [`DataSettings::check_image`].
    pub fn train_loader(&self, parts: &Parts, batch_size: usize, seed: u64) -> Result<Loader> {
        let [h, w, _] = parts.train.data().image_shape();
        self.check_image([h, w])?;
        let loader = Loader::training(parts.train.clone(), batch_size, seed, self.augmentation())?;
        Ok(loader.workers(self.workers))
    }

    /// Creates the loader of the test examples.
    ///
    /// **Errors:** a batch size of 0.
    pub fn test_loader(&self, parts: &Parts, batch_size: usize) -> Result<Loader> {
        Ok(Loader::evaluation(parts.test.clone(), batch_size)?.workers(self.workers))
    }

    /// Creates the loader of the validation examples. Returns `None` without a validation split.
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
    fn settings_are_read_back_from_toml_and_unknown_keys_are_refused() {
        let settings =
            DataSettings { source: Source::Cifar100, path: Some("a/b".into()), ..Default::default() };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<DataSettings>(&text).unwrap(), settings);
        assert_eq!(toml::from_str::<DataSettings>("").unwrap(), DataSettings::default());
        assert!(toml::from_str::<DataSettings>("croppadding = 4").is_err());
        assert!(toml::from_str::<DataSettings>("shapes = { size = 4 }").is_err());
        assert!(toml::from_str::<DataSettings>("source = \"svhn\"").is_err());
    }

    #[test]
    fn errors_name_the_field_that_is_out_of_range() {
        let message = |settings: DataSettings| settings.check().unwrap_err().to_string();
        let base = DataSettings::default;
        assert_eq!(
            message(DataSettings { crop_padding: 1 << 17, ..base() }),
            "crop_padding: expected 0 to 65536, found 131072"
        );
        assert_eq!(
            message(DataSettings { cutout: 65537, ..base() }),
            "cutout: expected 0 to 65536, found 65537"
        );
        assert_eq!(message(DataSettings { workers: 65, ..base() }), "workers: expected 0 to 64, found 65");
        let path = DataSettings { source: Source::Shapes, path: Some("x".into()), ..base() };
        assert_eq!(message(path), "path: the shapes set is generated and is not read from x");
        assert!(base().check().is_ok());
    }

    #[test]
    fn an_augmentation_that_leaves_nothing_of_an_image_is_refused() {
        let message = |settings: DataSettings, h, w| settings.check_image([h, w]).unwrap_err().to_string();
        let base = DataSettings::default;
        assert_eq!(
            message(DataSettings { crop_padding: 17, ..base() }, 32, 28),
            "crop_padding: expected 0 to 16 for images of 32x28 pixels, found 17"
        );
        assert_eq!(
            message(DataSettings { cutout: 29, ..base() }, 3, 28),
            "cutout: expected 0 to 28 for images of 3x28 pixels, found 29"
        );
        assert!(DataSettings { crop_padding: 14, cutout: 28, ..base() }.check_image([28, 28]).is_ok());
        assert!(base().check_image([1, 1]).is_ok(), "the default settings suit images of any size");

        let shapes = ShapesSettings { train: 20, test: 5, seed: 1 };
        let settings = DataSettings { source: Source::Shapes, shapes, cutout: 40, ..base() };
        let parts = settings.split(settings.load().unwrap(), 5).unwrap();
        assert!(settings.train_loader(&parts, 4, 5).unwrap_err().to_string().starts_with("cutout: "));
    }

    #[test]
    fn generated_shapes_are_served_by_loaders() {
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
