//! Names that other crates add to a list of this workspace: models, policies, data sets.
//!
//! A configuration names its model, its policies and its data set. A program registers its own entries before it reads the first
//! configuration. From then on, a configuration may use their names.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::de::{Deserializer, EnumAccess, Error as _, VariantAccess, Visitor};

use crate::{Error, Result};

/// The entries that other crates have added to a list, by name. Each list is a `static` of this type.
///
/// An entry stays for the life of the process.
pub struct Registry<T: 'static> {
    /// The kind of the entries, such as `"policy"`, for errors.
    what: &'static str,
    /// The names that cannot be added: those of the crate itself.
    built_in: &'static [&'static str],
    added: RwLock<Added<T>>,
}

struct Added<T: 'static> {
    entries: Vec<(&'static str, &'static T)>,
    /// The names of the crate and the added ones; `None` as long as nothing was added.
    names: Option<&'static [&'static str]>,
}

impl<T: Send + Sync> Registry<T> {
    /// An empty list beside the names that the crate itself knows.
    pub const fn new(what: &'static str, built_in: &'static [&'static str]) -> Self {
        Self { what, built_in, added: RwLock::new(Added { entries: Vec::new(), names: None }) }
    }

    /// Adds `value` under `name`.
    ///
    /// **Errors:** a name that is taken, or that has other characters than lower-case letters, digits, `_` and `-`.
    pub fn add(&self, name: &str, value: T) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_plain) {
            let message = format!("{name:?} has characters other than a to z, 0 to 9, _ and -");
            return Err(Error::setting(self.what, message));
        }
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        if self.built_in.contains(&name) || added.entries.iter().any(|(taken, _)| *taken == name) {
            return Err(Error::setting(self.what, format!("{name:?} is taken")));
        }
        // Settings hold registered names as `&'static str`, like the names of built-in variants. A name is registered once, so that
        // little memory is leaked.
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        added.entries.push((name, Box::leak(Box::new(value))));
        let names = self.built_in.iter().copied().chain(added.entries.iter().map(|(name, _)| *name));
        added.names = Some(Box::leak(names.collect::<Vec<_>>().into_boxed_slice()));
        Ok(())
    }

    /// The entry that was added under `name`, with the name as it is stored.
    pub fn find(&self, name: &str) -> Option<(&'static str, &'static T)> {
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        added.entries.iter().find(|(known, _)| *known == name).copied()
    }

    /// The names that were added, in their order.
    pub fn added(&self) -> Vec<&'static str> {
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        added.entries.iter().map(|(name, _)| *name).collect()
    }

    /// All names: the crate's own, then those that were added.
    pub fn names(&self) -> &'static [&'static str] {
        self.added.read().unwrap_or_else(PoisonError::into_inner).names.unwrap_or(self.built_in)
    }

    /// Deserialises one of [`Registry::names`], like the variant of an enumeration.
    ///
    /// **Errors:** any other name.
    pub fn deserialize<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<&'static str, D::Error> {
        let names = self.names();
        deserializer.deserialize_enum(self.what, names, Name { what: self.what, names })
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry of a {}", self.what)
    }
}

struct Name {
    what: &'static str,
    names: &'static [&'static str],
}

impl<'de> Visitor<'de> for Name {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", self.what)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Self::Value, A::Error> {
        let (found, variant) = data.variant::<String>()?;
        let known = self.names.iter().find(|name| **name == found);
        let name = known.ok_or_else(|| A::Error::unknown_variant(&found, self.names))?;
        variant.unit_variant()?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static THINGS: Registry<u32> = Registry::new("thing", &["old"]);

    #[derive(Debug, PartialEq)]
    struct Thing(&'static str);

    impl<'de> serde::Deserialize<'de> for Thing {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            THINGS.deserialize(deserializer).map(Self)
        }
    }

    #[test]
    fn an_added_name_is_as_good_as_one_that_was_there() {
        let read = |text: &str| serde_json::from_str::<Thing>(text);
        assert!(read("\"new\"").is_err());
        THINGS.add("new", 7).unwrap();
        assert_eq!(read("\"new\"").unwrap(), Thing("new"));
        assert_eq!(read("\"old\"").unwrap(), Thing("old"));
        assert_eq!(THINGS.find("new"), Some(("new", &7)));
        assert_eq!((THINGS.names(), THINGS.added()), (&["old", "new"][..], vec!["new"]));
        let error = read("\"newer\"").unwrap_err().to_string();
        assert!(error.contains("newer") && error.contains("old") && error.contains("new"), "{error}");
        for (name, message) in
            [("new", "is taken"), ("old", "is taken"), ("a b", "characters"), ("", "characters")]
        {
            let error = THINGS.add(name, 1).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
