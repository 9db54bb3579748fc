//! The names of all settings.

use gradamp_core::amplify::{AmplificationSettings, Strategy};
use gradamp_data::DataSettings;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{KeyError, LoopSettings, ModelSettings, OptimizerSettings};

/// The tables of a configuration, each with the keys that it takes.
pub fn tables() -> [(&'static str, &'static [&'static str]); 6] {
    [
        ("model", keys_of::<ModelSettings>()),
        ("data", keys_of::<DataSettings>()),
        ("train", keys_of::<LoopSettings>()),
        ("optimizer", keys_of::<OptimizerSettings>()),
        ("amplification", keys_of::<AmplificationSettings>()),
        ("strategy", keys_of::<Strategy>()),
    ]
}

/// The keys that a table read as `T` takes, those included that are not written where they are not set.
fn keys_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &[&str] = &[];
    let _ = T::deserialize(Names(&mut keys)); // fails once it has told its keys
    keys
}

/// Holds no value, but notes which keys it is asked for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = KeyError;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, KeyError> {
        *self.0 = keys;
        Err(nothing())
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, KeyError> {
        Err(nothing())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map option newtype_struct enum identifier ignored_any
    }
}

fn nothing() -> KeyError {
    KeyError::new("there is no value".into())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn every_table_tells_its_keys() {
        let tables = tables();
        assert_eq!(tables.map(|(name, _)| name), keys_of::<Config>());
        for (name, keys) in tables {
            assert!(!keys.is_empty(), "{name}");
        }
        assert!(tables[2].1.contains(&"max_steps"), "a key that has no default is among them");
    }
}
