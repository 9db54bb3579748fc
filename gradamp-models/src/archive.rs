//! Reads and writes safetensors files, which hold named tensors and some strings.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorInfo};
use safetensors::{SafeTensorError, SafeTensors};
use serde::ser::{SerializeMap, Serializer};

use crate::{Error, Naming, Result};

/// The strings in the header of a file.
pub type Metadata = BTreeMap<String, String>;

/// An open safetensors file.
#[derive(Debug)]
pub struct Archive {
    origin: String,
    bytes: Vec<u8>,
    /// The offset of the first tensor.
    data: usize,
    header: safetensors::tensor::Metadata,
    naming: Naming,
}

impl Archive {
    /// Reads the file at `path`.
    ///
    /// **Errors:** the file is missing, truncated or in another format.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = gradamp_core::files::read(path).map_err(Error::io(path, "read"))?;
        Self::from_bytes(&path.display().to_string(), bytes)
    }

    /// Reads the bytes of a file. Errors call the file `origin`.
    ///
    /// **Errors:** those of [`Archive::open`].
    pub fn from_bytes(origin: &str, bytes: Vec<u8>) -> Result<Self> {
        match SafeTensors::read_metadata(&bytes) {
            Ok((header_len, header)) => Ok(Self {
                origin: origin.into(),
                data: 8 + header_len,
                header,
                bytes,
                naming: Naming::Gradamp,
            }),
            Err(error) => {
                let message = match error {
                    SafeTensorError::MetadataIncompleteBuffer => {
                        "its header is for another size (is the file truncated?)".into()
                    }
                    SafeTensorError::InvalidHeaderLength => {
                        "it ends inside its header (is the file truncated?)".into()
                    }
                    error => error.to_string(),
                };
                if let Some(b"PK\x03\x04" | [0x80, 2..=5, ..]) = bytes.get(..4) {
                    return Err(Error::TorchSave { file: origin.into() });
                }
                Err(Error::Format { file: origin.into(), bytes: bytes.len(), message })
            }
        }
    }

    /// The name of the file in error messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The same file, whose tensors have the names of another program. All methods still take and return this project's
    /// names; errors name the tensors as the file does.
    #[must_use]
    pub fn with_names(self, naming: Naming) -> Self {
        Self { naming, ..self }
    }

    /// Whose names the tensors have.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// The strings in the header.
    pub fn metadata(&self) -> Metadata {
        self.header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// The names of the tensors, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        let names = self.header.offset_keys();
        let mut names: Vec<String> =
            names.into_iter().map(|name| self.naming.translate(&name).into_owned()).collect();
        names.sort();
        names
    }

    /// The shape of a tensor; `None` if the file has no tensor called `name`.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(&self.naming.translate(name)).map(|info| &*info.shape)
    }

    /// The values of a tensor of floating-point numbers. Values of type f64 are rounded to f32.
    ///
    /// **Errors:** the file has no tensor called `name`, or the tensor has another type.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let (dtype, bytes) = self.tensor(name)?;
        match dtype {
            Dtype::F32 => Ok(elements(bytes).map(f32::from_le_bytes).collect()),
            Dtype::F64 => Ok(elements(bytes).map(|b| f64::from_le_bytes(b) as f32).collect()),
            Dtype::F16 => Ok(elements(bytes).map(|b| f16::from_le_bytes(b).to_f32()).collect()),
            Dtype::BF16 => Ok(elements(bytes).map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
            other => Err(self.error(name, format!("expected F32, F64, F16 or BF16, found {other:?}"))),
        }
    }

    /// The values of a tensor of whole numbers. The tensor may have any numeric type, since casting a model in
    /// PyTorch also casts its counters. A counter that is too large for f16 becomes infinite there; it is read as the
    /// largest f16.
    ///
    /// **Errors:** the file has no tensor called `name`; the tensor has another type; a value is not a whole number
    /// or takes more than 63 bits.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        let (dtype, bytes) = self.tensor(name)?;
        let wide: Vec<i128> = match dtype {
            Dtype::I64 => elements(bytes).map(i64::from_le_bytes).map(i128::from).collect(),
            Dtype::I32 => elements(bytes).map(i32::from_le_bytes).map(i128::from).collect(),
            Dtype::I16 => elements(bytes).map(i16::from_le_bytes).map(i128::from).collect(),
            Dtype::I8 => elements(bytes).map(i8::from_le_bytes).map(i128::from).collect(),
            Dtype::U64 => elements(bytes).map(u64::from_le_bytes).map(i128::from).collect(),
            Dtype::U32 => elements(bytes).map(u32::from_le_bytes).map(i128::from).collect(),
            Dtype::U16 => elements(bytes).map(u16::from_le_bytes).map(i128::from).collect(),
            Dtype::U8 => elements(bytes).map(u8::from_le_bytes).map(i128::from).collect(),
            Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16 => {
                // f64 can hold a counter that f32 would round.
                let values: Vec<f64> = match dtype {
                    Dtype::F64 => elements(bytes).map(f64::from_le_bytes).collect(),
                    _ => self.floats(name)?.into_iter().map(f64::from).collect(),
                };
                let whole = |value: f64| match value {
                    f64::INFINITY if dtype == Dtype::F16 => Ok(65504),
                    value if value.fract() == 0.0 => Ok(value as i128),
                    value => Err(self.error(name, format!("expected a whole number, found {value}"))),
                };
                values.into_iter().map(whole).collect::<Result<_>>()?
            }
            other => return Err(self.error(name, format!("expected numbers, found {other:?}"))),
        };
        let narrow = |value| {
            i64::try_from(value)
                .map_err(|_| self.error(name, format!("expected at most 63 bits, found {value}")))
        };
        wide.into_iter().map(narrow).collect()
    }

    fn tensor(&self, name: &str) -> Result<(Dtype, &[u8])> {
        let there = self.naming.translate(name);
        let info = self.header.info(&there).ok_or_else(|| self.error(name, "is missing"))?;
        let (begin, end) = info.data_offsets;
        let bytes = self.bytes.get(self.data + begin..self.data + end);
        // The header was checked against the size of the file when the file was read.
        Ok((info.dtype, bytes.ok_or_else(|| self.error(name, "lies outside the file"))?))
    }

    pub(crate) fn error(&self, tensor: &str, message: impl Into<String>) -> Error {
        let tensor = self.naming.translate(tensor).into_owned();
        Error::Tensor { file: self.origin.clone(), tensor, message: message.into() }
    }
}

fn elements<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

/// The values of a tensor to write.
pub(crate) enum Values {
    F32(Vec<f32>),
    I64(i64),
}

/// A tensor to write. Its values are read from `source` only when the tensor is written, so that one tensor at a time
/// is in memory.
pub(crate) struct Entry<T> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub source: T,
}

/// Writes a safetensors file with the same bytes as the format's own library (wider types first, then by name). The
/// metadata also have a fixed order, so that equal contents give equal files.
pub(crate) fn write_archive<T>(
    out: &mut dyn Write,
    file: &Path,
    mut entries: Vec<Entry<T>>,
    metadata: &Metadata,
    mut values: impl FnMut(T) -> Result<Values>,
) -> Result<()> {
    entries.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let io = Error::io(file, "write");
    let mut header = serialize_header(&entries, metadata).map_err(|e| io(e.into()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(&io)?;
    out.write_all(&header).map_err(&io)?;
    for entry in entries {
        let bytes: Vec<u8> = match values(entry.source)? {
            Values::F32(values) => values.into_iter().flat_map(f32::to_le_bytes).collect(),
            Values::I64(value) => value.to_le_bytes().to_vec(),
        };
        out.write_all(&bytes).map_err(&io)?;
    }
    Ok(())
}

fn serialize_header<T>(entries: &[Entry<T>], metadata: &Metadata) -> serde_json::Result<Vec<u8>> {
    let mut header = Vec::new();
    let mut json = serde_json::Serializer::new(&mut header);
    let mut map = json.serialize_map(None)?;
    if !metadata.is_empty() {
        map.serialize_entry("__metadata__", metadata)?;
    }
    let mut begin = 0;
    for Entry { name, dtype, shape, .. } in entries {
        let end = begin + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let info = TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets: (begin, end) };
        map.serialize_entry(name, &info)?;
        begin = end;
    }
    map.end()?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_floating_point_type_is_read() {
        use safetensors::tensor::TensorView;
        let f64s: Vec<u8> = [1.5f64, -2.0].into_iter().flat_map(f64::to_le_bytes).collect();
        let halves = [0x3c00u16.to_le_bytes(), 0xc000u16.to_le_bytes()].concat();
        let special = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        let nan = 0x7e00u16.to_le_bytes();
        let bits: Vec<u8> = special.iter().flat_map(|(bits, _)| u16::to_le_bytes(*bits)).collect();
        let brains = [0x3f80u16.to_le_bytes(), 0xc000u16.to_le_bytes()].concat();
        let tensors = [
            ("double", TensorView::new(Dtype::F64, vec![2], &f64s).unwrap()),
            ("half", TensorView::new(Dtype::F16, vec![2], &halves).unwrap()),
            ("special", TensorView::new(Dtype::F16, vec![special.len()], &bits).unwrap()),
            ("not a number", TensorView::new(Dtype::F16, vec![1], &nan).unwrap()),
            ("brain", TensorView::new(Dtype::BF16, vec![2], &brains).unwrap()),
            ("byte", TensorView::new(Dtype::U8, vec![2], &[1, 2]).unwrap()),
        ];
        let archive = Archive::from_bytes("memory", safetensors::serialize(tensors, None).unwrap()).unwrap();
        assert_eq!(archive.floats("double").unwrap(), [1.5, -2.0]);
        assert_eq!(archive.floats("half").unwrap(), [1.0, -2.0]);
        assert_eq!(archive.floats("special").unwrap(), special.map(|(_, value)| value));
        assert!(archive.floats("not a number").unwrap()[0].is_nan());
        assert_eq!(archive.floats("brain").unwrap(), [1.0, -2.0]);
        let error = archive.floats("byte").unwrap_err().to_string();
        assert_eq!(error, "memory: tensor byte: expected F32, F64, F16 or BF16, found U8");
        assert_eq!(archive.integers("half").unwrap(), [1, -2]);
        let error = archive.integers("double").unwrap_err().to_string();
        assert_eq!(error, "memory: tensor double: expected a whole number, found 1.5");
    }
}
