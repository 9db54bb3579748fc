//! The settings of a model: its architecture, its size, and the layers between its convolutions.

use std::fmt;

use derive_setters::Setters;
use gradamp_core::nn::{ActivationFunction, BatchNorm2d};
use gradamp_core::{Backend, Parameters};
use serde::{Deserialize, Serialize};

use crate::{Architecture, Result};

/// The normalisation after each convolution, or after each fully connected layer of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Norm {
    /// A batch norm.
    #[default]
    Batch,
    /// No normalisation. A ResNet's convolutions then have biases; a VGG's always have them.
    None,
}

impl Norm {
    /// The normalisation of `c` channels, with its parameters registered under `path`; `None` without normalisation.
    pub(crate) fn layer<B: Backend>(
        self,
        parameters: &mut Parameters<B>,
        path: &str,
        c: usize,
    ) -> Result<Option<BatchNorm2d>> {
        Ok(match self {
            Norm::Batch => Some(BatchNorm2d::new(parameters, path, c)?),
            Norm::None => None,
        })
    }

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Norm::Batch => "batch",
            Norm::None => "none",
        }
    }
}

/// The settings of a model. [`ModelSettings::new`] returns those of an architecture's standard model.
///
/// ```
/// use gradamp_models::{Architecture, ModelSettings, Norm};
///
/// let plain = ModelSettings::new(Architecture::Vgg19).with_norm(Norm::None);
/// assert_eq!(plain.to_string(), "vgg19 of width 64 with 10 classes, norm none");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct ModelSettings {
    /// The architecture.
    pub architecture: Architecture,
    /// The number of channels of the first stage, or of units in each hidden layer of an MLP; 64 in the standard
    /// models. The other stages are wider in a fixed proportion.
    pub width: usize,
    /// The number of classes.
    pub classes: usize,
    /// The height, width and channels of an image. Standard: 32, 32 and 3.
    pub image: [usize; 3],
    /// The normalisation after each layer. Standard: a batch norm; none in an MLP.
    pub norm: Norm,
    /// The activation after each layer. Standard: ReLU; the sigmoid in an MLP.
    pub activation: ActivationFunction,
    /// Whether the blocks of a ResNet add their input to their output. Standard: true.
    pub skip: bool,
    /// The number of hidden layers of an MLP. Standard: 6.
    pub depth: usize,
    /// How many times a VGG repeats each of its convolutions. Standard: 1.
    pub repeat: usize,
    /// The probability with which each feature that the classifier reads is dropped in training, in [0, 1). Standard: 0.
    pub dropout: f32,
    /// The probability with which the last block of a ResNet is skipped for an example in training, in [0, 1). That of
    /// block l of L is l/L of it. Standard: 0.
    pub stochastic_depth: f32,
}

impl ModelSettings {
    /// The largest width, with which a ResNet-18 has 2.9 billion parameters. A larger number is most likely a typing
    /// error.
    pub const MAX_WIDTH: usize = 1024;
    /// The largest number of classes.
    pub const MAX_CLASSES: usize = 1 << 20;
    /// The largest height, width or number of channels of an image.
    pub const MAX_SIDE: usize = 1 << 16;
    /// The image of the standard models, which is that of CIFAR: `[h, w, c]`.
    pub const STANDARD_IMAGE: [usize; 3] = [32, 32, 3];
    /// The largest depth of an MLP.
    pub const MAX_DEPTH: usize = 100;
    /// The largest number of times that a VGG repeats its convolutions.
    pub const MAX_REPEAT: usize = 8;

    /// The settings of the standard model of `architecture`: width 64 and 10 classes, for images of 32x32 pixels in
    /// three channels.
    pub fn new(architecture: Architecture) -> Self {
        let is_mlp = architecture == Architecture::Mlp;
        Self {
            architecture,
            width: 64,
            classes: 10,
            image: Self::STANDARD_IMAGE,
            norm: if is_mlp { Norm::None } else { Norm::Batch },
            activation: if is_mlp { ActivationFunction::Sigmoid } else { ActivationFunction::Relu },
            skip: true,
            depth: 6,
            repeat: 1,
            dropout: 0.0,
            stochastic_depth: 0.0,
        }
    }

    /// Checks the ranges of all fields, and that no field is changed that the architecture does not have.
    ///
    /// **Errors:** a number is out of its range; the image is too small for the architecture; a field that the
    /// architecture does not have differs from the standard model's.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("width", self.width, 1, Self::MAX_WIDTH),
            ("classes", self.classes, 2, Self::MAX_CLASSES),
            ("depth", self.depth, 1, Self::MAX_DEPTH),
            ("repeat", self.repeat, 1, Self::MAX_REPEAT),
        ];
        for (field, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                let message = format!("expected a number from {least} to {most}, found {found}");
                return Err(gradamp_core::Error::setting(field, message).into());
            }
        }
        self.check_image()?;
        for (field, found) in [("dropout", self.dropout), ("stochastic_depth", self.stochastic_depth)] {
            if !(0.0..1.0).contains(&found) {
                let message = format!("expected a probability of at least 0 and below 1, found {found}");
                return Err(gradamp_core::Error::setting(field, message).into());
            }
        }
        if self.stochastic_depth > 0.0 && !self.skip {
            let message =
                "skips blocks, which then pass their input on, but `skip` is false: give one of the two";
            return Err(gradamp_core::Error::setting("stochastic_depth", message).into());
        }
        let standard = Self::new(self.architecture);
        let differs = [
            ("norm", self.norm != standard.norm),
            ("activation", self.activation != standard.activation),
            ("skip", self.skip != standard.skip),
            ("depth", self.depth != standard.depth),
            ("repeat", self.repeat != standard.repeat),
            ("dropout", self.dropout != standard.dropout),
            ("stochastic_depth", self.stochastic_depth != standard.stochastic_depth),
        ];
        for (field, differs) in differs {
            if let (true, Some(message)) = (differs, Self::why_missing(self.architecture, field)) {
                return Err(gradamp_core::Error::setting(field, message).into());
            }
        }
        Ok(())
    }

    fn check_image(&self) -> Result<()> {
        let [h, w, c] = self.image;
        let fault = |message| Err(gradamp_core::Error::setting("image", message).into());
        if self.image.iter().any(|size| !(1..=Self::MAX_SIDE).contains(size)) {
            let most = Self::MAX_SIDE;
            return fault(format!("expected a height, width and channels of 1 to {most}, found {h}x{w}x{c}"));
        }
        let least = self.architecture.least_side();
        if h < least || w < least {
            let architecture = self.architecture;
            return fault(format!(
                "the five max pools of {architecture} need images of at least {least}x{least} pixels, found images of {h}x{w} \
                 pixels; a resnet18, a resnet34 and an mlp take images of any size"
            ));
        }
        Ok(())
    }

    /// Whether a model with these settings computes something for images of the shape `image` (`[h, w, c]`): an MLP
    /// needs as many values, and any other model as many channels.
    pub fn takes(&self, image: [usize; 3]) -> bool {
        match self.architecture {
            Architecture::Mlp => image.iter().product::<usize>() == self.image.iter().product::<usize>(),
            _ => image[2] == self.image[2],
        }
    }

    /// Why `architecture` does not have a field; `None` if it does.
    pub fn why_missing(architecture: Architecture, field: &str) -> Option<String> {
        let has = match field {
            "skip" | "stochastic_depth" => architecture.is_resnet(),
            "depth" => architecture == Architecture::Mlp,
            "repeat" => architecture.is_vgg(),
            "norm" | "activation" | "dropout" => !matches!(architecture, Architecture::External(_)),
            _ => true,
        };
        let what = match field {
            "skip" => "has no skip connections to leave out; a ResNet has",
            "stochastic_depth" => "has no residual blocks to skip; a ResNet has",
            "depth" => "has a fixed depth; that of mlp can be set",
            "repeat" => "has no convolutions that can be repeated; a VGG has",
            _ => "is registered by another crate, which decides this itself",
        };
        (!has).then(|| format!("the model {architecture} {what}"))
    }

    /// The settings under which the same network is recognised by its tensors. For example, a VGG-11 with each
    /// convolution twice is a VGG-19.
    pub(crate) fn canonical(self) -> Self {
        match self.architecture {
            Architecture::Vgg11 if self.repeat.is_multiple_of(2) => {
                Self { architecture: Architecture::Vgg19, repeat: self.repeat / 2, ..self }
            }
            _ => self,
        }
    }

    /// Parses the text that `Display` writes, which is how a model file describes its model.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (architecture, rest) = text.split_once(" of width ")?;
        let (width, rest) = rest.split_once(" with ")?;
        let mut parts = rest.split(", ");
        let classes = parts.next()?.strip_suffix(" classes")?;
        let mut settings = Self::new(architecture.parse().ok()?);
        (settings.width, settings.classes) = (width.parse().ok()?, classes.parse().ok()?);
        for part in parts {
            let (name, value) = part.split_once(' ')?;
            match name {
                "image" => {
                    let sizes: Vec<usize> =
                        value.split('x').map(|size| size.parse().ok()).collect::<Option<_>>()?;
                    settings.image = sizes.try_into().ok()?;
                }
                "norm" => {
                    settings.norm = [Norm::Batch, Norm::None].into_iter().find(|n| n.name() == value)?
                }
                "activation" => {
                    settings.activation =
                        ActivationFunction::ALL.into_iter().find(|function| function.name() == value)?;
                }
                "skip" => settings.skip = value.parse().ok()?,
                "depth" => settings.depth = value.parse().ok()?,
                "repeat" => settings.repeat = value.parse().ok()?,
                "dropout" => settings.dropout = value.parse().ok()?,
                "stochastic_depth" => settings.stochastic_depth = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(settings)
    }
}

/// Writes the architecture, the width, the number of classes, and every field that differs from the standard model's.
impl fmt::Display for ModelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standard = Self::new(self.architecture);
        write!(f, "{} of width {} with {} classes", self.architecture, self.width, self.classes)?;
        if self.image != standard.image {
            let [h, w, c] = self.image;
            write!(f, ", image {h}x{w}x{c}")?;
        }
        if self.norm != standard.norm {
            write!(f, ", norm {}", self.norm.name())?;
        }
        if self.activation != standard.activation {
            write!(f, ", activation {}", self.activation.name())?;
        }
        if self.skip != standard.skip {
            write!(f, ", skip {}", self.skip)?;
        }
        if self.depth != standard.depth {
            write!(f, ", depth {}", self.depth)?;
        }
        if self.repeat != standard.repeat {
            write!(f, ", repeat {}", self.repeat)?;
        }
        if self.dropout != standard.dropout {
            write!(f, ", dropout {}", self.dropout)?;
        }
        if self.stochastic_depth != standard.stochastic_depth {
            write!(f, ", stochastic_depth {}", self.stochastic_depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_model_is_read_back_from_its_description(
            architecture in prop::sample::select(&Architecture::ALL),
            norm in prop::sample::select(&[Norm::Batch, Norm::None]),
            activation in prop::sample::select(&ActivationFunction::ALL),
            (width, classes, depth, repeat) in (1usize..999, 2usize..999, 1usize..=100, 1usize..=8),
            image in prop::array::uniform3(1usize..999),
            skip: bool,
            (dropout, stochastic_depth) in (0f32..1.0, 0f32..1.0),
        ) {
            let settings = ModelSettings {
                architecture,
                width,
                classes,
                image,
                norm,
                activation,
                skip,
                depth,
                repeat,
                dropout,
                stochastic_depth,
            };
            prop_assert_eq!(ModelSettings::parse(&settings.to_string()), Some(settings));
        }
    }

    #[test]
    fn a_text_that_is_not_a_description_is_refused() {
        for text in [
            "",
            "resnet18",
            "resnet18 of width x with 10 classes",
            "resnet19 of width 1 with 10 classes",
            "resnet18 of width 1 with 10 classes, norm",
            "resnet18 of width 1 with 10 classes, norm layer",
            "resnet18 of width 1 with 10 classes, image 28x28",
            "resnet18 of width 1 with 10 classes, image 28x28x1x1",
            "resnet18 of width 1 with 10 classes, hat red",
        ] {
            assert_eq!(ModelSettings::parse(text), None, "{text}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_with_their_field() {
        let good = ModelSettings { width: 1, classes: 2, ..ModelSettings::new(Architecture::Vgg11) };
        assert!(good.check().is_ok());
        assert!(ModelSettings { image: [500, 32, 7], classes: 300, ..good }.check().is_ok());
        for small in [Architecture::ResNet34, Architecture::Mlp].map(ModelSettings::new) {
            assert!(ModelSettings { image: [1, 1, 1], ..small }.check().is_ok());
        }
        let mlp = ModelSettings::new(Architecture::Mlp);
        let cases = [
            (ModelSettings { width: 0, ..good }, "width", "found 0"),
            (ModelSettings { width: 1025, ..good }, "width", "found 1025"),
            (ModelSettings { classes: 1, ..good }, "classes", "found 1"),
            (ModelSettings { classes: usize::MAX, ..good }, "classes", "found 18446744073709551615"),
            (ModelSettings { image: [0, 32, 3], ..mlp }, "image", "found 0x32x3"),
            (ModelSettings { image: [32, 1 << 17, 3], ..mlp }, "image", "found 32x131072x3"),
            (
                ModelSettings { image: [31, 32, 3], ..good },
                "image",
                "vgg11 need images of at least 32x32 pixels, found images of 31x32",
            ),
            (ModelSettings { image: [64, 28, 1], ..good }, "image", "found images of 64x28 pixels"),
            (ModelSettings { depth: 101, ..mlp }, "depth", "from 1 to 100, found 101"),
            (ModelSettings { repeat: 0, ..good }, "repeat", "from 1 to 8, found 0"),
            (ModelSettings { dropout: 1.0, ..good }, "dropout", "below 1, found 1"),
            (ModelSettings { dropout: f32::NAN, ..good }, "dropout", "found NaN"),
            (ModelSettings { stochastic_depth: -0.1, ..good }, "stochastic_depth", "found -0.1"),
        ];
        for (settings, key, found) in cases {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains(found), "{error}");
        }
    }

    #[test]
    fn a_field_that_the_architecture_does_not_have_is_refused() {
        let [vgg, resnet, mlp] =
            [Architecture::Vgg11, Architecture::ResNet18, Architecture::Mlp].map(ModelSettings::new);
        let external = ModelSettings::new(Architecture::External("tiny"));
        let cases = [
            (ModelSettings { skip: false, ..vgg }, "skip: the model vgg11 has no skip connections"),
            (ModelSettings { skip: false, ..mlp }, "skip: the model mlp has no skip connections"),
            (ModelSettings { depth: 3, ..resnet }, "depth: the model resnet18 has a fixed depth"),
            (ModelSettings { repeat: 2, ..resnet }, "repeat: the model resnet18 has no convolutions"),
            (
                ModelSettings { stochastic_depth: 0.2, ..vgg },
                "stochastic_depth: the model vgg11 has no residual blocks to skip",
            ),
            (
                ModelSettings { stochastic_depth: 0.2, skip: false, ..resnet },
                "stochastic_depth: skips blocks, which then pass their input on, but `skip` is false",
            ),
            (ModelSettings { dropout: 0.5, ..external }, "dropout: the model tiny is registered"),
            (ModelSettings { norm: Norm::None, ..external }, "norm: the model tiny is registered"),
        ];
        for (settings, expected) in cases {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(ModelSettings { skip: false, norm: Norm::None, ..resnet }.check().is_ok());
        assert!(ModelSettings { norm: Norm::Batch, depth: 100, ..mlp }.check().is_ok());
        assert!(ModelSettings { repeat: 3, ..vgg }.check().is_ok());
    }
}
