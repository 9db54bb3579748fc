//! `[model]`: which network, its size, and the values that it begins with.

use std::path::PathBuf;

use gradamp_core::nn::ActivationFunction;
use gradamp_core::{InitialScheme, Initialisation};
use gradamp_models::{Architecture, ModelSettings, Naming, Norm, Skip};
use serde::{Deserialize, Serialize};

use super::KeyError;

/// `[model]`
///
/// `None` means that a key was not written: the network then is as the standard one. A key that does not concern the network,
/// such as `skip` of a VGG, must not be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelOptions {
    /// `vgg11`, `vgg13`, `vgg16`, `vgg19`, `resnet18`, `resnet34` or `mlp`.
    pub name: Architecture,
    /// Channels of the first stage, of which 64 is the full size, or units of each hidden layer of an `mlp`.
    pub width: usize,
    /// What normalises each layer's output: `batch` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<Norm>,
    /// The activation: `relu`, `tanh` or `sigmoid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationFunction>,
    /// Whether a ResNet's blocks add their input to their output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<bool>,
    /// The hidden layers of an `mlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// How many times a VGG has each of its convolutions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<usize>,
    /// The probability with which each feature that the classifier reads is dropped in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// The probability with which the last block of a ResNet is skipped for an example in training; earlier blocks are skipped less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stochastic_depth: Option<f32>,
    /// How initial weights are drawn: `pytorch`, `he` or `xavier`.
    pub initial: InitialScheme,
    /// A factor for all initial weights and biases.
    pub gain: f32,
    /// A safetensors file with the initial parameters, in place of random values.
    #[serde(with = "gradamp_data::any_path", skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Whose names the tensors of that file have: `gradamp`, `timm` or `torchvision`.
    #[serde(skip_serializing_if = "is_own")]
    pub init_names: Naming,
    /// The parameters that are not read from that file, by patterns on their names, such as `linear.*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_skip: Vec<String>,
}

fn is_own(names: &Naming) -> bool {
    *names == Naming::Gradamp
}

impl ModelOptions {
    /// The model for images of the shape `image` (`[h, w, c]`) in so many classes.
    ///
    /// **Errors:** a value is out of its range; the images are too small for the network. The error names the key.
    pub fn settings(&self, image: [usize; 3], classes: usize) -> Result<ModelSettings, gradamp_core::Error> {
        let standard = ModelSettings::new(self.name);
        let settings = ModelSettings::new(self.name)
            .with_width(self.width)
            .with_classes(classes)
            .with_image(image)
            .with_norm(self.norm.unwrap_or(standard.norm))
            .with_activation(self.activation.unwrap_or(standard.activation))
            .with_skip(self.skip.unwrap_or(standard.skip))
            .with_depth(self.depth.unwrap_or(standard.depth))
            .with_repeat(self.repeat.unwrap_or(standard.repeat))
            .with_dropout(self.dropout.unwrap_or(standard.dropout))
            .with_stochastic_depth(self.stochastic_depth.unwrap_or(standard.stochastic_depth));
        match settings.check() {
            Ok(()) => Ok(settings),
            Err(gradamp_models::Error::Core(gradamp_core::Error::Setting { field, message }))
                if field == "image" =>
            {
                Err(gradamp_core::Error::setting("model.name", message))
            }
            Err(gradamp_models::Error::Core(error)) => Err(error.within("model")),
            Err(other) => Err(gradamp_core::Error::external(other)),
        }
    }

    /// How the model's parameters are drawn.
    pub fn initialisation(&self) -> Initialisation {
        Initialisation::default().with_scheme(self.initial).with_gain(self.gain)
    }

    /// Checks every value against its range, and that each written key concerns the network.
    ///
    /// **Errors:** the first key that is wrong, with what is expected.
    pub(super) fn check(&self) -> Result<(), KeyError> {
        let written = [
            ("norm", self.norm.is_some()),
            ("activation", self.activation.is_some()),
            ("skip", self.skip.is_some()),
            ("depth", self.depth.is_some()),
            ("repeat", self.repeat.is_some()),
            ("dropout", self.dropout.is_some()),
            ("stochastic_depth", self.stochastic_depth.is_some()),
        ];
        for (key, is_written) in written {
            if let (true, Some(message)) = (is_written, ModelSettings::why_missing(self.name, key)) {
                return Err(KeyError::new(message).about(&format!("model.{key}")));
            }
        }
        self.settings(ModelSettings::STANDARD_IMAGE, 10)?;
        for (key, is_written) in
            [("init_names", !is_own(&self.init_names)), ("init_skip", !self.init_skip.is_empty())]
        {
            if is_written && self.init.is_none() {
                let message = "concerns the file of model.init, which is not given".to_owned();
                return Err(KeyError::new(message).about(&format!("model.{key}")));
            }
        }
        if let Err(gradamp_models::Error::Core(error)) = Skip::new(&self.init_skip) {
            return Err(error.within("model").into());
        }
        self.initialisation().check().map_err(|error| error.within("model").into())
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            name: Architecture::ResNet18,
            width: 64,
            norm: None,
            activation: None,
            skip: None,
            depth: None,
            repeat: None,
            dropout: None,
            stochastic_depth: None,
            initial: InitialScheme::Pytorch,
            gain: 1.0,
            init: None,
            init_names: Naming::Gradamp,
            init_skip: Vec::new(),
        }
    }
}
