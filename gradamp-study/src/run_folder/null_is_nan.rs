//! Numbers in the lines of logs. JSON has no NaN: a number that is not finite is `null`.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value in a line. Earlier versions wrote words for numbers that are not finite.
#[derive(Deserialize)]
#[serde(untagged)]
enum Found {
    Number(Option<f64>),
    Word(String),
}

pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Found::deserialize(deserializer)? {
        Found::Number(number) => Ok(number.unwrap_or(f64::NAN)),
        Found::Word(word) if matches!(word.as_str(), "NaN" | "inf" | "-inf") => Ok(f64::NAN),
        Found::Word(word) => Err(D::Error::invalid_value(Unexpected::Str(&word), &"a number or null")),
    }
}
