//! From a [`Node`] to typed settings: a serde deserializer whose errors know the key and the line.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use gradamp_core::error::{self, nearest};

use super::error::{KeyError, quoted};
use super::number::{LARGEST, as_whole};
use super::tree::{Node, Value};

/// Reads typed settings from a node.
///
/// **Errors:** an unknown key (with the nearest right one), a missing one, a value of the wrong type or out of range.
pub fn read<T: de::DeserializeOwned>(node: &Node) -> Result<T, KeyError> {
    T::deserialize(Reader(node)).map_err(|error| error.at("", &node.origin))
}

impl de::Error for KeyError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        KeyError::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Float(value) => format!("floating point `{}`", error::number(value)),
            other => other.to_string(),
        };
        KeyError::new(format!("found {found}, expected {}", plain(&expected.to_string())))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        KeyError::unknown_key(expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(found, expected.iter().copied())
            .map(|name| format!(" (did you mean \"{name}\"?)"))
            .unwrap_or_default();
        KeyError::new(format!("found {found:?}, expected one of {}{hint}", quoted(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        KeyError::new(format!("the key `{field}` is missing"))
    }
}

/// serde's names of types, in words.
fn plain(expected: &str) -> String {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" | "a nonzero usize" => "a whole number, 0 or more".into(),
        "i64" | "i32" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a string" => "a text in quotes".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.into(),
    }
}

struct Reader<'a>(&'a Node);

impl Reader<'_> {
    /// Reads a whole number, which may also be written as `1e3`.
    fn whole<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        match &self.0.value {
            Value::Float(value) => match as_whole(*value) {
                Some(whole) => visitor.visit_i64(whole),
                None => visitor.visit_f64(*value),
            },
            // A value of `--set` that is no number in TOML's form is still a text here.
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() > 18 => {
                Err(KeyError::new(format!("found {text}, expected a whole number of at most {LARGEST}")))
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = KeyError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        match &self.0.value {
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Table(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        match &self.0.value {
            Value::String(name) => visitor.visit_enum(StrDeserializer::new(name)),
            Value::Table(entries) if entries.len() == 1 => visitor.visit_enum(Variant(&entries[0])),
            other => {
                let message = format!("found {}, expected one of {}", other.describe(), quoted(variants));
                Err(KeyError::new(message))
            }
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.whole(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        self.whole(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = KeyError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, KeyError> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next.to_string();
        self.next += 1;
        seed.deserialize(Reader(node)).map(Some).map_err(|error| error.at("", &node.origin).below(&index))
    }
}

struct Entries<'a> {
    entries: &'a [(String, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = KeyError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, KeyError> {
        let Some((key, node)) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(key))
            .map(Some)
            .map_err(|error: KeyError| error.naming(key).at(key, &node.origin))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, KeyError> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(KeyError::new("a value was read before its key".into()));
        };
        self.next += 1;
        seed.deserialize(Reader(node)).map_err(|error| error.at("", &node.origin).below(key))
    }
}

struct Variant<'a>(&'a (String, Node));

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = KeyError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), KeyError> {
        let (key, node) = self.0;
        let variant = seed.deserialize(StrDeserializer::new(key));
        Ok((variant.map_err(|error: KeyError| error.at(key, &node.origin))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = KeyError;

    fn unit_variant(self) -> Result<(), KeyError> {
        Err(KeyError::new(format!("`{}` takes no settings", self.0.0)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, KeyError> {
        let (key, node) = self.0;
        seed.deserialize(Reader(node)).map_err(|error| error.at("", &node.origin).below(key))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, KeyError> {
        let (key, node) = self.0;
        Reader(node).deserialize_any(visitor).map_err(|error| error.at("", &node.origin).below(key))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.tuple_variant(0, visitor)
    }
}

/// The keys of a table that is read as `T`, including the keys that have no default.
pub(super) fn keys_of<T: de::DeserializeOwned>() -> &'static [&'static str] {
    let mut keys: &[&str] = &[];
    let _ = T::deserialize(Names(&mut keys)); // fails after `Names` has recorded the keys
    keys
}

/// A deserializer without values that records the requested keys.
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
