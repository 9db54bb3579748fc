//! The settings of a model: its architecture, width and number of classes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use gradamp_core::error::nearest;

use crate::external::EXTERNAL;
use crate::{Error, Result};

/// An architecture.
///
/// **Source:** VGG: Simonyan, Zisserman, 2015, with batch norm and one linear classifier, as is usual for CIFAR. ResNet:
/// He et al., 2016, with a 3x3 stem and projection shortcuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// 8 convolutions and a linear layer.
    Vgg11,
    /// 10 convolutions and a linear layer.
    Vgg13,
    /// 13 convolutions and a linear layer.
    Vgg16,
    /// 16 convolutions and a linear layer.
    Vgg19,
    /// 17 convolutions on the longest path and a linear layer.
    ResNet18,
    /// 33 convolutions on the longest path and a linear layer.
    ResNet34,
    /// A model of another crate, by the name under which [`register`](crate::register) knows it.
    External(&'static str),
}

impl Architecture {
    /// The architectures of this crate.
    pub const ALL: [Self; 6] =
        [Self::Vgg11, Self::Vgg13, Self::Vgg16, Self::Vgg19, Self::ResNet18, Self::ResNet34];

    /// The name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::External(name) => name,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some(found) = Self::ALL.into_iter().find(|a| a.name() == name) {
            return Ok(found);
        }
        if let Some((name, _)) = EXTERNAL.find(name) {
            return Ok(Self::External(name));
        }
        let names = EXTERNAL.names();
        let nearest = nearest(name, names.iter().copied());
        Err(Error::Architecture { found: name.into(), nearest, known: names.join(", ") })
    }
}

/// The settings of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The architecture.
    pub architecture: Architecture,
    /// The channels of the first stage, 64 in the standard models. The widths of all stages are proportional to it.
    #[serde(default = "standard_width")]
    pub width: usize,
    /// The number of classes.
    #[serde(default = "ten_classes")]
    pub classes: usize,
}

fn standard_width() -> usize {
    64
}

fn ten_classes() -> usize {
    10
}

impl ModelSettings {
    /// The largest width, which gives a ResNet-18 of 2.9 billion parameters. A larger number is most likely a typing error.
    pub const MAX_WIDTH: usize = 1024;
    /// The largest number of classes.
    pub const MAX_CLASSES: usize = 1 << 20;

    /// The standard model of `architecture`: width 64 and 10 classes.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture, width: standard_width(), classes: ten_classes() }
    }

    /// Checks the ranges of all fields.
    ///
    /// **Errors:** a width or a number of classes out of range.
    pub fn check(&self) -> Result<()> {
        let ranges =
            [("width", self.width, 1, Self::MAX_WIDTH), ("classes", self.classes, 2, Self::MAX_CLASSES)];
        for (key, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                let message = format!("expected a number from {least} to {most}, found {found}");
                return Err(gradamp_core::Error::setting(key, message).into());
            }
        }
        Ok(())
    }
}

impl ModelSettings {
    /// Reads what `Display` writes: the form in which a model file names its model.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (architecture, rest) = text.split_once(" of width ")?;
        let (width, rest) = rest.split_once(" with ")?;
        let classes = rest.strip_suffix(" classes")?;
        Some(Self {
            architecture: architecture.parse().ok()?,
            width: width.parse().ok()?,
            classes: classes.parse().ok()?,
        })
    }
}

impl fmt::Display for ModelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of width {} with {} classes", self.architecture, self.width, self.classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_architecture() {
        assert_eq!(EXTERNAL.names(), Architecture::ALL.map(Architecture::name));
        for architecture in Architecture::ALL {
            assert_eq!(architecture.to_string().parse::<Architecture>().unwrap(), architecture);
            let json = serde_json::to_string(&architecture).unwrap();
            assert_eq!(json, format!("\"{}\"", architecture.name()));
            assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap(), architecture);
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_right_one() {
        for (name, nearest) in
            [("resnet-18", "resnet18"), ("ResNet34", "resnet34"), ("vgg", "vgg11"), ("vg19", "vgg19")]
        {
            let error = name.parse::<Architecture>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
            assert!(error.contains(&format!("did you mean {nearest}?")), "{error}");
        }
        let error = serde_json::from_str::<ModelSettings>(r#"{"architecture": "resnet19"}"#).unwrap_err();
        assert!(error.to_string().contains("did you mean resnet18?"), "{error}");
    }

    #[test]
    fn settings_have_the_standard_defaults_and_refuse_unknown_keys() {
        let settings: ModelSettings = serde_json::from_str(r#"{"architecture": "vgg16"}"#).unwrap();
        let expected = ModelSettings { architecture: Architecture::Vgg16, width: 64, classes: 10 };
        assert_eq!(settings, expected);
        assert!(serde_json::from_str::<ModelSettings>(r#"{"architecture": "vgg16", "widht": 3}"#).is_err());
    }

    #[test]
    fn a_model_is_read_back_from_its_description() {
        for architecture in Architecture::ALL {
            let settings = ModelSettings { architecture, width: 7, classes: 12 };
            assert_eq!(ModelSettings::parse(&settings.to_string()), Some(settings));
        }
        for text in
            ["", "resnet18", "resnet18 of width x with 10 classes", "resnet19 of width 1 with 10 classes"]
        {
            assert_eq!(ModelSettings::parse(text), None);
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let good = ModelSettings { architecture: Architecture::Vgg11, width: 1, classes: 2 };
        assert!(good.check().is_ok());
        let cases = [
            (ModelSettings { width: 0, ..good }, "width", "found 0"),
            (ModelSettings { width: 1025, ..good }, "width", "found 1025"),
            (ModelSettings { classes: 1, ..good }, "classes", "found 1"),
            (ModelSettings { classes: usize::MAX, ..good }, "classes", "found 18446744073709551615"),
        ];
        for (settings, key, found) in cases {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(key) && error.contains(found), "{error}");
        }
    }
}
