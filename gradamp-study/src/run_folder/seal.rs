//! Seals: how long a file was and its SHA-256, by which a changed bit is noticed.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use gradamp_core::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, Result};

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSeal {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

impl FileSeal {
    /// The seal of a file as it is now.
    ///
    /// **Errors:** a file that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = files::open(path).map_err(Error::io(path, "read"))?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut block = vec![0; 1 << 20];
        loop {
            let n = file.read(&mut block).map_err(Error::io(path, "read"))?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            bytes += n as u64;
        }
        Ok(Self { bytes, sha256: hex(hash) })
    }

    /// The seal of what a file holds.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: sha256(bytes) }
    }

    /// **Errors:** another seal than this one was `found` of the file at `path`.
    pub fn check(&self, path: &Path, found: &Self) -> Result<()> {
        if found.bytes != self.bytes {
            let message =
                format!("is truncated or changed: expected {} bytes, found {}", self.bytes, found.bytes);
            return Err(Error::broken(path, message));
        }
        if found.sha256 != self.sha256 {
            let message = format!("is changed: expected SHA-256 {}, found {}", self.sha256, found.sha256);
            return Err(Error::broken(path, message));
        }
        Ok(())
    }
}

/// What a run of a sweep knows of its study when it begins, so that a reader can see which questions preceded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySeal {
    /// The SHA-256 of the study's file.
    pub file: String,
    /// The SHA-256 of the study's contrasts and the cells that they compare; `None` if the study declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrasts: Option<String>,
}

impl StudySeal {
    /// The seal of a study with this text and these contrasts, written as JSON.
    pub fn new(text: &str, contrasts: Option<&str>) -> Self {
        let hash = |text: &str| sha256(text.as_bytes());
        Self { file: hash(text), contrasts: contrasts.map(hash) }
    }
}

/// As an argument of a program: `FILE` or `FILE:CONTRASTS`.
impl fmt::Display for StudySeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.contrasts.as_ref().map_or(Ok(()), |contrasts| write!(f, ":{contrasts}"))
    }
}

impl FromStr for StudySeal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (file, contrasts) = match text.split_once(':') {
            Some((file, contrasts)) => (file, Some(contrasts)),
            None => (text, None),
        };
        for hash in [Some(file), contrasts].into_iter().flatten() {
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!("found {hash:?}, expected a SHA-256 in 64 hexadecimal digits"));
            }
        }
        Ok(Self { file: file.to_owned(), contrasts: contrasts.map(str::to_owned) })
    }
}

/// A JSON object's text with a seal: its last key is the SHA-256 of the text without that key.
pub(crate) struct Sealed {
    /// What follows the other keys.
    key: &'static str,
    /// What follows the digits.
    end: &'static str,
    /// How the text ends without its seal.
    bare_end: &'static str,
}

/// An object over several lines.
pub(crate) const FILE: Sealed = Sealed { key: ",\n  \"sha256\": \"", end: "\"\n}\n", bare_end: "\n}\n" };
/// An object on one line, without the line's end.
pub(crate) const LINE: Sealed = Sealed { key: ",\"sha256\":\"", end: "\"}", bare_end: "}" };

impl Sealed {
    /// Seals a text.
    pub fn seal(&self, text: &str) -> String {
        match text.strip_suffix(self.bare_end) {
            Some(body) => format!("{body}{}{}{}", self.key, sha256(text.as_bytes()), self.end),
            None => text.to_owned(), // no object
        }
    }

    /// The text that was sealed; `None` for one that has no seal, as earlier versions of the program wrote it.
    ///
    /// **Errors:** a text that is not the one that was sealed, in words.
    pub fn unseal(&self, text: &str) -> Result<Option<String>, String> {
        let Some((body, expected)) = text
            .strip_suffix(self.end)
            .and_then(|text| text.split_at_checked(text.len().checked_sub(64)?))
            .and_then(|(body, digits)| Some((body.strip_suffix(self.key)?, digits)))
        else {
            return Ok(None);
        };
        let text = format!("{body}{}", self.bare_end);
        let found = sha256(text.as_bytes());
        if found != expected {
            let expected: String = expected.escape_default().collect();
            return Err(format!(
                "is changed: expected SHA-256 {expected} of what precedes it, found {found}"
            ));
        }
        Ok(Some(text))
    }
}

/// The SHA-256 of `bytes`, as sixty-four digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

/// What a running SHA-256 has come to.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_s_seal_survives_as_an_argument() {
        for seal in [StudySeal::new("a", None), StudySeal::new("a", Some("[]"))] {
            assert_eq!(seal.to_string().parse(), Ok(seal.clone()));
            let short = seal.to_string()[1..].to_owned();
            assert!(short.parse::<StudySeal>().unwrap_err().contains("expected a SHA-256"), "{short}");
        }
    }

    /// A changed bit is either noticed, or takes the seal away from a text that is otherwise as it was.
    #[test]
    fn every_bit_of_a_sealed_text_is_guarded() {
        let texts =
            [(FILE, "{\n  \"format\": 2,\n  \"a\": \"b\"\n}\n"), (LINE, "{\"format\":2,\"a\":\"b\"}")];
        for (form, text) in texts {
            let sealed = form.seal(text);
            assert_eq!(form.unseal(&sealed).unwrap().as_deref(), Some(text));
            assert_eq!(form.unseal(text).unwrap(), None);
            let body = text.strip_suffix(form.bare_end).unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                match form.unseal(&changed) {
                    Err(error) => assert!(error.starts_with("is changed"), "{error}"),
                    Ok(None) => assert!(bit / 8 >= body.len() && changed.starts_with(body), "{changed}"),
                    Ok(Some(found)) => panic!("bit {bit} is not noticed: {found}"),
                }
            }
        }
    }
}
