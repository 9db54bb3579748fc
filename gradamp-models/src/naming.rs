//! The names that other programs give to the tensors of the same networks, and the tensors that an import leaves out.
//!
//! | layer of a ResNet | here | timm and torchvision |
//! |---|---|---|
//! | first convolution, first batch norm | `conv1`, `bn1` | `conv1`, `bn1` |
//! | convolutions and batch norms of a block | `layer1.0.conv1`, `layer1.0.bn1`, ... | the same |
//! | shortcut of a block | `layer2.0.shortcut.0`, `.1` | `layer2.0.downsample.0`, `.1` |
//! | last layer | `linear` | `fc` |

use std::borrow::Cow;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use gradamp_core::error::nearest;
use gradamp_core::{Backend, Error, Parameters};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Whose names the tensors of a file have. The names differ for ResNets only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Naming {
    /// This project's, which are those of most ResNets for CIFAR in PyTorch.
    #[default]
    Gradamp,
    /// timm's.
    Timm,
    /// torchvision's.
    Torchvision,
}

/// Parts of names that differ: here, and in timm and torchvision.
const PARTS: [(&str, &str); 2] = [("shortcut", "downsample"), ("linear", "fc")];

impl Naming {
    /// All namings.
    pub const ALL: [Self; 3] = [Naming::Gradamp, Naming::Timm, Naming::Torchvision];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Naming::Gradamp => "gradamp",
            Naming::Timm => "timm",
            Naming::Torchvision => "torchvision",
        }
    }

    /// Translates the name of a tensor from this project's names to those of the file, and back: each of the two parts
    /// of a pair is replaced by the other one, so that different names stay different, and a second translation gives the
    /// first name.
    pub(crate) fn translate(self, name: &str) -> Cow<'_, str> {
        let other = |part: &str| {
            PARTS.iter().find_map(|(here, there)| match part {
                _ if part == *here => Some(*there),
                _ if part == *there => Some(*here),
                _ => None,
            })
        };
        match self {
            Naming::Gradamp => Cow::Borrowed(name),
            Naming::Timm | Naming::Torchvision => {
                let parts: Vec<&str> = name.split('.').map(|part| other(part).unwrap_or(part)).collect();
                Cow::Owned(parts.join("."))
            }
        }
    }
}

/// The parameters that an import leaves as they are: patterns such as `linear.*` on this project's names.
#[derive(Clone, Debug, Default)]
pub struct Skip {
    patterns: Vec<String>,
    globs: GlobSet,
}

impl Skip {
    /// Skips the parameters that match one of `patterns`. `*` stands for any characters, `?` for one, `{a,b}` for a choice.
    ///
    /// **Errors:** a text that is no pattern.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = GlobBuilder::new(pattern).build().map_err(|error| {
                Error::setting("init_skip", format!("expected a pattern such as linear.*: {error}"))
            })?;
            globs.add(glob);
        }
        let globs = globs.build().map_err(|error| Error::setting("init_skip", error.to_string()))?;
        Ok(Self { patterns: patterns.to_vec(), globs })
    }

    /// Whether the parameter called `name` is left as it is.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.globs.is_match(name)
    }

    /// Whether nothing is skipped.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// **Errors:** a pattern that matches no parameter, with the most similar name.
    pub(crate) fn check<B: Backend>(&self, parameters: &Parameters<B>) -> Result<()> {
        for (i, pattern) in self.patterns.iter().enumerate() {
            let is_used = |name: &str| self.globs.matches(name).contains(&i);
            if parameters.iter().any(|(_, parameter)| is_used(&parameter.path)) {
                continue;
            }
            let names = parameters.iter().map(|(_, parameter)| &*parameter.path);
            let hint = nearest(pattern, names).map(|name| format!(" (did you mean {name}?)"));
            let message =
                format!("{pattern:?} matches no parameter of the model{}", hint.unwrap_or_default());
            return Err(Error::setting("init_skip", message).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gradamp_core::Reference;
    use proptest::prelude::*;

    use super::*;
    use crate::{Architecture, ModelSettings, build};

    proptest! {
        #[test]
        fn a_name_that_is_translated_twice_is_the_first_name(
            parts in prop::collection::vec("[a-z0-9]{0,3}|fc|linear|downsample|shortcut", 0..6),
            naming in prop::sample::select(&Naming::ALL),
        ) {
            let name = parts.join(".");
            let there = naming.translate(&name);
            prop_assert_eq!(naming.translate(&there).into_owned(), name);
        }
    }

    #[test]
    fn the_names_of_a_resnet_are_torchvision_s() {
        let settings = ModelSettings { width: 1, ..ModelSettings::new(Architecture::ResNet18) };
        let mut parameters = Parameters::new(&Reference, 0);
        build(&settings, &mut parameters).unwrap();
        let names: BTreeSet<String> = parameters
            .iter()
            .map(|(_, parameter)| Naming::Torchvision.translate(&parameter.path).into_owned())
            .collect();
        for name in ["conv1.weight", "layer1.0.bn2.bias", "layer2.0.downsample.0.weight", "fc.bias"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(names.iter().all(|name| !name.contains("shortcut") && !name.contains("linear")));
        assert_eq!(names.len(), parameters.iter().count());
    }
}
