//! The names of policies, as settings have them.

use std::any::Any;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::registry::Registry;

/// Who decides among the eligible layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyName {
    /// A random subset of the eligible layers, all by one factor.
    #[default]
    Random,
    /// The listed layers, each by a factor of its own.
    List,
    /// All eligible layers, by one factor.
    All,
    /// The layers whose gradients fluctuate more than a threshold, or less, by one factor.
    Fluctuation,
    /// All eligible layers, each by the factor that brings its gradient's norm to a common target.
    Equalise,
    /// All eligible layers, by factors that depend on their depth.
    Depth,
    /// A policy of another crate, by the name under which [`register_policy`](super::register_policy) knows it.
    External(&'static str),
}

/// The policies of this crate, in the order in which errors list them.
const OWN: [PolicyName; 6] = [
    PolicyName::Random,
    PolicyName::List,
    PolicyName::All,
    PolicyName::Fluctuation,
    PolicyName::Equalise,
    PolicyName::Depth,
];

const NAMES: [&str; 6] = ["random", "list", "all", "fluctuation", "equalise", "depth"];

impl PolicyName {
    /// The name, as a configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            PolicyName::Random => "random",
            PolicyName::List => "list",
            PolicyName::All => "all",
            PolicyName::Fluctuation => "fluctuation",
            PolicyName::Equalise => "equalise",
            PolicyName::Depth => "depth",
            PolicyName::External(name) => name,
        }
    }

    /// Whether the policy decides by measured gradients, so that a run has to measure some.
    pub fn looks_back(self) -> bool {
        matches!(self, PolicyName::Fluctuation | PolicyName::Equalise)
    }
}

impl Serialize for PolicyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for PolicyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = EXTERNAL.deserialize(deserializer)?;
        let own = OWN.into_iter().find(|policy| policy.name() == name);
        Ok(own.unwrap_or(PolicyName::External(name)))
    }
}

/// What makes the policies of other crates. A builder reads the settings that this name is part of, so its type is known
/// to `registered.rs` alone.
pub(super) static EXTERNAL: Registry<Box<dyn Any + Send + Sync>> = Registry::new("policy", &NAMES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_name_that_is_read_back() {
        assert_eq!(OWN.map(PolicyName::name), NAMES);
        for (name, policy) in NAMES.into_iter().zip(OWN) {
            assert_eq!(serde_json::from_str::<PolicyName>(&format!("\"{name}\"")).unwrap(), policy);
        }
        assert!(serde_json::from_str::<PolicyName>("\"fastest\"").is_err());
    }
}
