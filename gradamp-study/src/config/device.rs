//! The device of a run, as settings and options name it.

use std::fmt;
use std::str::FromStr;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The device of a run: `auto`, `cpu`, `gpu`, `gpu:NUMBER` or `gpu:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The best GPU that is no software rasteriser, or the CPU if there is none.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A graphics adapter.
    Gpu(Gpu),
}

/// The choice of a graphics adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Gpu {
    /// The best adapter that is no software rasteriser.
    #[default]
    Best,
    /// The adapter with this number in the list of `gradamp devices`.
    Number(usize),
    /// The adapter whose name contains this text.
    Name(String),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("gpu:").map(str::trim)) {
            ("auto", _) => Ok(Device::Auto),
            ("cpu", _) => Ok(Device::Cpu),
            ("gpu", _) => Ok(Device::Gpu(Gpu::Best)),
            (_, Some(which)) if !which.is_empty() => {
                Ok(Device::Gpu(which.parse().map_or_else(|_| Gpu::Name(which.to_owned()), Gpu::Number)))
            }
            _ => Err(format!(
                "found {text:?}, expected \"auto\", \"cpu\", \"gpu\", \"gpu:NUMBER\" or \"gpu:NAME\" \
                 (`{} devices` lists them)",
                crate::shell::program()
            )),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(Gpu::Best) => f.write_str("gpu"),
            Device::Gpu(Gpu::Number(number)) => write!(f, "gpu:{number}"),
            Device::Gpu(Gpu::Name(name)) => write!(f, "gpu:{name}"),
        }
    }
}

/// A number of bytes as people write it: `512 MiB`, `4GiB`, `1.5 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A number without a unit would be bytes, which nobody means.
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        match text.parse::<ByteSize>() {
            Ok(ByteSize(bytes)) if has_unit && (1..=1 << 60).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(format!("found {text:?}, expected an amount of memory such as \"512 MiB\" or \"4GiB\"")),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl fmt::Display for Memory {
    /// In the largest binary unit that leaves no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        let (name, unit) =
            units.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).unwrap_or(("B", 1));
        write!(f, "{} {name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for (text, device) in [
            ("auto", Device::Auto),
            ("cpu", Device::Cpu),
            ("gpu", Device::Gpu(Gpu::Best)),
            ("gpu:3", Device::Gpu(Gpu::Number(3))),
            ("gpu:RTX 3080", Device::Gpu(Gpu::Name("RTX 3080".into()))),
        ] {
            assert_eq!(text.parse::<Device>(), Ok(device.clone()), "{text}");
            assert_eq!(device.to_string(), text);
        }
        for wrong in ["", "gpu:", "gpu: ", "gpu3", "cuda", "CPU"] {
            let message = wrong.parse::<Device>().unwrap_err();
            assert!(message.contains(&format!("found {wrong:?}, expected \"auto\"")), "{message}");
        }
    }

    #[test]
    fn memory_is_read_in_any_unit_and_written_without_a_fraction() {
        for (text, bytes, written) in [
            ("4GiB", 4 << 30, "4 GiB"),
            ("512 MiB", 512 << 20, "512 MiB"),
            ("1.5 gib", 3 << 29, "1536 MiB"),
            ("2 GB", 2_000_000_000, "1953125 KiB"),
            ("1001 B", 1001, "1001 B"),
        ] {
            assert_eq!(text.parse(), Ok(Memory(bytes)), "{text}");
            assert_eq!(Memory(bytes).to_string(), written);
            assert_eq!(written.parse(), Ok(Memory(bytes)));
        }
        for wrong in
            ["", "4", "GiB", "-1 GiB", "4 Gib/s", "0 B", "0.1 B", "1e3 MiB", "1.2.3 GiB", "9999999 TiB"]
        {
            let message = wrong.parse::<Memory>().unwrap_err();
            assert!(message.starts_with(&format!("found {wrong:?}, expected")), "{message}");
        }
    }
}
