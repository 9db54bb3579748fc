//! Reads and writes a path in the settings; for `#[serde(with = "gradamp_data::any_path")]`.
//!
//! Settings are text, but a path may hold bytes that are not valid text. A path is therefore written as a string if
//! it is valid text (`path = "data/cifar"`), and as a list of bytes otherwise (`path = { bytes = [99, 255] }`).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes {
    bytes: Vec<u8>,
}

/// The bytes of a path that is not valid text. Returns `None` for a path that is.
pub fn bytes(path: &Path) -> Option<&[u8]> {
    path.to_str().is_none().then_some(path.as_os_str().as_encoded_bytes())
}

/// Writes a path as a string if it is valid text, otherwise as its bytes.
pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        None => serializer.serialize_none(),
        Some(path) => match bytes(path) {
            None => serializer.serialize_some(path),
            Some(bytes) => serializer.serialize_some(&Bytes { bytes: bytes.to_vec() }),
        },
    }
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    deserializer.deserialize_any(TextOrBytes)
}

struct TextOrBytes;

impl<'de> Visitor<'de> for TextOrBytes {
    type Value = Option<PathBuf>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path in quotes")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserialize(deserializer)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Bytes { bytes } = Bytes::deserialize(MapAccessDeserializer::new(map))?;
        from_bytes(bytes)
            .map(Some)
            .ok_or_else(|| A::Error::custom("these bytes are not a valid path on this system"))
    }
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes)))
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use crate::DataSettings;

    #[test]
    fn paths_of_any_bytes_are_read_as_they_were_written() {
        for (name, written) in [
            (&b"data/cifar"[..], "path = \"data/cifar\""),
            (b"a\nb \"c\"", "path = 'a\nb \"c\"'"),
            (b"caf\xe9", "[path]\nbytes = [99, 97, 102, 233]"),
            (b"", "path = \"\""),
        ] {
            let path = Some(OsStr::from_bytes(name).into());
            let settings = DataSettings { path, ..DataSettings::default() };
            let text = toml::to_string(&settings).unwrap();
            assert!(text.contains(written) || name.contains(&b'\n'), "{text}");
            assert_eq!(toml::from_str::<DataSettings>(&text).unwrap(), settings, "{text}");
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<DataSettings>(&json).unwrap(), settings, "{json}");
        }
        let none = DataSettings::default();
        assert_eq!(toml::from_str::<DataSettings>(&toml::to_string(&none).unwrap()).unwrap(), none);
        for wrong in ["path = 3", "path = { bytes = [256] }", "path = { byte = [1] }", "path = {}"] {
            assert!(toml::from_str::<DataSettings>(wrong).is_err(), "{wrong}");
        }
    }
}
