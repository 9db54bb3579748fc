//! The table `[optimizer]`: the settings of SGD, with the label smoothing of the loss among them.

use std::sync::LazyLock;

use gradamp_core::optim::SgdSettings;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::read::keys_of;
use super::tree::{Node, Value};

/// `[optimizer]`
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OptimizerSettings {
    /// The settings of SGD.
    #[serde(flatten)]
    pub sgd: SgdSettings,
    /// The share of each label that is spread over all classes, in [0, 1].
    pub label_smoothing: f32,
}

const LABEL_SMOOTHING: &str = "label_smoothing";

/// The keys of the table.
static KEYS: LazyLock<&'static [&'static str]> =
    LazyLock::new(|| [keys_of::<SgdSettings>(), &[LABEL_SMOOTHING]].concat().leak());

/// Implemented by hand, because serde's `flatten` would lose the place of a wrong key or value.
impl<'de> Deserialize<'de> for OptimizerSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("OptimizerSettings", *KEYS, Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = OptimizerSettings;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("struct OptimizerSettings")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OptimizerSettings, A::Error> {
        let mut label_smoothing = 0.0;
        let rest = SgdEntries { map, label_smoothing: &mut label_smoothing };
        let sgd = SgdSettings::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(OptimizerSettings { sgd, label_smoothing })
    }
}

/// Passes the entries of SGD on, and reads the entry of the label smoothing.
struct SgdEntries<'a, A> {
    map: A,
    label_smoothing: &'a mut f32,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SgdEntries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            match self.map.next_key_seed(SgdKey(&mut seed))? {
                Some(None) => *self.label_smoothing = self.map.next_value()?,
                Some(key) => return Ok(key),
                None => return Ok(None),
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Reads a key of SGD. Returns `None` for the key of the label smoothing, and then keeps the seed for the next key.
struct SgdKey<'a, K>(&'a mut Option<K>);

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for SgdKey<'_, K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == LABEL_SMOOTHING {
            return Ok(None);
        }
        if !KEYS.contains(&&*key) {
            return Err(D::Error::unknown_field(&key, *KEYS));
        }
        let key: StringDeserializer<D::Error> = key.into_deserializer();
        self.0.take().map(|seed| seed.deserialize(key)).transpose()
    }
}

/// Moves the label smoothing behind the clipping, where earlier versions wrote it.
pub(super) fn in_order(tree: &mut Node) {
    let Value::Table(tables) = &mut tree.value else { return };
    let Some((_, optimizer)) = tables.iter_mut().find(|(name, _)| name == "optimizer") else { return };
    if let Value::Table(entries) = &mut optimizer.value {
        let place = |name: &str| entries.iter().position(|(key, _)| key == name);
        if let (Some(from), Some(to)) = (place(LABEL_SMOOTHING), place("layer_rates"))
            && to < from
        {
            entries[to..=from].rotate_right(1);
        }
    }
}
