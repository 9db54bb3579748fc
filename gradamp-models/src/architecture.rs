//! The architectures that settings can name.

use std::fmt;
use std::str::FromStr;

use gradamp_core::error::nearest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::external::EXTERNAL;
use crate::{Error, Result};

/// A network's architecture.
///
/// **Sources:** VGG: Simonyan and Zisserman, 2015, with batch norms and one linear classifier, as is customary for
/// CIFAR. ResNet: He et al., 2016, with a 3x3 stem and projection shortcuts. MLP: fully connected layers on the
/// flattened image.
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
    /// Fully connected layers, each followed by an activation, and a linear classifier.
    Mlp,
    /// A model of another crate, by the name under which it was registered (see [`register`](crate::register)).
    External(&'static str),
}

impl Architecture {
    /// The architectures of this crate.
    pub const ALL: [Self; 7] =
        [Self::Vgg11, Self::Vgg13, Self::Vgg16, Self::Vgg19, Self::ResNet18, Self::ResNet34, Self::Mlp];

    /// Whether the architecture is a VGG.
    pub fn is_vgg(self) -> bool {
        matches!(self, Self::Vgg11 | Self::Vgg13 | Self::Vgg16 | Self::Vgg19)
    }

    /// Whether the architecture is a ResNet.
    pub fn is_resnet(self) -> bool {
        matches!(self, Self::ResNet18 | Self::ResNet34)
    }

    /// The least height and width of an image, in pixels.
    pub(crate) fn least_side(self) -> usize {
        if self.is_vgg() { 32 } else { 1 } // each of the five max pools of a VGG halves the image, rounded down
    }

    /// The name in configurations and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vgg11 => "vgg11",
            Self::Vgg13 => "vgg13",
            Self::Vgg16 => "vgg16",
            Self::Vgg19 => "vgg19",
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::Mlp => "mlp",
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
    fn the_error_for_an_unknown_name_suggests_the_nearest_one() {
        for (name, nearest) in
            [("resnet-18", "resnet18"), ("ResNet34", "resnet34"), ("vgg", "vgg11"), ("vg19", "vgg19")]
        {
            let error = name.parse::<Architecture>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
            assert!(error.contains(&format!("did you mean {nearest}?")), "{error}");
        }
    }
}
