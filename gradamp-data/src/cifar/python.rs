//! The python version. A file is a pickled dictionary with two entries: `data`, an array of bytes `[n, 3072]` (each
//! row holds the red, green and blue planes), and `labels` (CIFAR-100: `fine_labels`), a list, tuple or array of n
//! numbers.

use std::io::Read;

use super::layout::{Kind, PIXELS, interleave};
use super::pickle;
use super::pickle::element::Element;
use super::pickle::value::{Array, Id, Pickle, Value};
use crate::error::{Error, Place, Result};

/// The most bytes that a record takes in addition to its pixels: its file name, its labels and their instructions.
const MAX_RECORD_EXTRA: usize = 512;

/// The most bytes that one colour value takes. Before protocol 3, Python 3 writes bytes as text, in which values of
/// 128 and more take two bytes. In protocol 0 a zero takes six bytes, but few pixels are zero.
const MAX_COLOUR: usize = 2;

/// Reads exactly `labels.len()` records.
///
/// **Shapes:** images `[n, 32, 32, 3]`, labels `[n]`.
///
/// **Errors:** the file is too short or too long, a byte can't be read, the pickle builds other data or another
/// number of images or labels, or a label is out of range.
pub(super) fn decode(
    kind: Kind,
    file: &str,
    reader: impl Read,
    images: &mut [u8],
    labels: &mut [u32],
) -> Result<()> {
    let n = labels.len();
    let limit = n * (MAX_COLOUR * PIXELS + MAX_RECORD_EXTRA) + 4096;
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
        Some(Value::Array(Array { element: Element::BYTE, shape, fortran, bytes }))
            if shape[..] == [n, PIXELS] =>
        {
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

fn copy_labels(file: &str, pickle: &Pickle<'_>, key: &str, classes: usize, labels: &mut [u32]) -> Result<()> {
    let n = labels.len();
    let held = pickle.get(key);
    let numbers: Vec<Result<i64, String>> = match held {
        Some(Value::List(items) | Value::Tuple(items)) if items.len() == n => {
            let number = |&id: &Id| match pickle.value(id) {
                &Value::Int(number) => Ok(number),
                other => Err(other.describe()),
            };
            items.iter().map(number).collect()
        }
        Some(Value::Array(Array { element, shape, bytes, .. })) if matches!(shape[..], [m] | [m, 1] if m == n) =>
        {
            let bytes = pickle.bytes(*bytes).unwrap_or(&[]);
            let number = |bytes| element.number(bytes).ok_or_else(|| "a number of 64 bits".to_owned());
            bytes.chunks_exact(element.width()).map(number).collect()
        }
        other => return Err(wrong(file, format!("\"{key}\", a list, tuple or array of {n} labels"), other)),
    };
    for (at, (label, number)) in labels.iter_mut().zip(numbers).enumerate() {
        let found = match number {
            Ok(code) if (0..classes as i64).contains(&code) => {
                *label = code as u32;
                continue;
            }
            Ok(code) => format!("the number {code}"),
            Err(found) => found,
        };
        return Err(Error::format(file, Place::Element(at), format!("a label below {classes}"), found));
    }
    Ok(())
}
