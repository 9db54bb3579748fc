//! The python version: a pickled dictionary with `data`, an array of bytes `[n, 3072]` (each row the planes red, green,
//! blue), and `labels` (CIFAR-100: `fine_labels`), a list of n numbers.

use std::io::Read;

use super::pickle::{self, Array, Pickle, Value};
use super::{Kind, PIXELS, interleave};
use crate::error::{Error, Place, Result};

/// Bytes a record may take beside its pixels: its file name, its labels and what surrounds them.
const MAX_RECORD_EXTRA: usize = 512;

/// Reads exactly `labels.len()` records.
///
/// **Shapes:** images `[n, 32, 32, 3]`, labels `[n]`.
///
/// **Errors:** a truncated or longer file, an unreadable byte, a pickle that builds anything else, another number of
/// images or labels, a label out of range.
pub(super) fn decode(
    kind: Kind,
    file: &str,
    reader: impl Read,
    images: &mut [u8],
    labels: &mut [u8],
) -> Result<()> {
    let n = labels.len();
    let limit = n * (PIXELS + MAX_RECORD_EXTRA) + 4096;
    let mut bytes = Vec::new();
    if let Err(error) = reader.take(limit as u64 + 1).read_to_end(&mut bytes) {
        let place = Place::Byte(bytes.len() as u64);
        return Err(Error::format(file, place, "readable data", format!("\"{error}\"")));
    }
    if bytes.len() > limit {
        let expected = format!("at most {limit} bytes for {n} images");
        return Err(Error::format(file, Place::Byte(limit as u64), expected, "more data"));
    }
    let pickle = pickle::parse(&bytes)
        .map_err(|r| Error::format(file, Place::Byte(r.offset as u64), r.expected, r.found))?;
    let key = if kind == Kind::Cifar100 { "fine_labels" } else { "labels" };
    copy_images(file, &pickle, images, n)?;
    copy_labels(file, &pickle, key, kind.classes().len(), labels)
}

fn wrong(file: &str, expected: String, found: Option<&Value<'_>>) -> Error {
    let found = found.map_or("nothing".into(), Value::describe);
    Error::format(file, Place::Byte(0), expected, found)
}

fn copy_images(file: &str, pickle: &Pickle<'_>, images: &mut [u8], n: usize) -> Result<()> {
    let expected = || format!("a dictionary with \"data\", an array of shape [{n}, {PIXELS}]");
    let data = pickle.get("data");
    let (fortran, bytes) = match data {
        Some(Value::Array(Array { shape, fortran, bytes })) if shape[..] == [n, PIXELS] => {
            (*fortran, pickle.bytes(*bytes).unwrap_or(&[]))
        }
        _ => return Err(wrong(file, expected(), data)),
    };
    if bytes.len() != n * PIXELS {
        return Err(wrong(file, expected(), data));
    }
    let mut row = [0; PIXELS];
    for (r, image) in images.chunks_exact_mut(PIXELS).enumerate() {
        if fortran {
            row.iter_mut().enumerate().for_each(|(column, value)| *value = bytes[column * n + r]);
        } else {
            row.copy_from_slice(&bytes[r * PIXELS..(r + 1) * PIXELS]);
        }
        interleave(&row, image);
    }
    Ok(())
}

fn copy_labels(file: &str, pickle: &Pickle<'_>, key: &str, classes: usize, labels: &mut [u8]) -> Result<()> {
    let n = labels.len();
    let list = match pickle.get(key) {
        Some(Value::List(list)) if list.len() == n => list,
        other => return Err(wrong(file, format!("\"{key}\", a list of {n} labels"), other)),
    };
    for (element, (label, &id)) in labels.iter_mut().zip(list).enumerate() {
        *label = match pickle.value(id) {
            &Value::Int(code) if (0..classes as i64).contains(&code) => code as u8,
            other => {
                let expected = format!("a label below {classes}");
                return Err(Error::format(file, Place::Element(element), expected, other.describe()));
            }
        };
    }
    Ok(())
}
