//! The bytes of the TensorFlow protobuf messages that scalars, texts and hyperparameters need.
//!
//! A field is a key, which holds the field's number and the encoding of its value, and then the value. An integer has a
//! variable length, with 7 bits in each byte, lowest first. Doubles and floats are little endian. Texts and messages follow
//! their length.
//!
//! **Source:** `tensorflow/core/util/event.proto`, `tensorflow/core/framework/summary.proto` and `tensor.proto`, TensorBoard's
//! `plugins/hparams/plugin_data.proto` and `plugins/text/plugin_data.proto`, and `google/protobuf/struct.proto`.

use crate::config::tree::Value;

/// The encoding of a field's value.
const VARINT: u64 = 0;
const DOUBLE: u64 = 1;
const BYTES: u64 = 2;
const FLOAT: u64 = 5;

/// `Event { file_version }`: the first event of every file.
pub fn file_version(time: f64) -> Vec<u8> {
    let mut event = begin(time, 0);
    bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { session_log: START }`: a reader discards the events of other files of this run from `step` on.
pub fn start(time: f64, step: u64) -> Vec<u8> {
    let mut log = Vec::new();
    key(&mut log, 1, VARINT);
    varint(&mut log, 1);
    let mut event = begin(time, step);
    bytes(&mut event, 7, &log);
    event
}

/// `Event { summary }` with a number for each tag.
pub fn scalars(time: f64, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in values {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, FLOAT);
        value.extend_from_slice(&(*number as f32).to_le_bytes());
        bytes(&mut summary, 1, &value);
    }
    let mut event = begin(time, step);
    bytes(&mut event, 5, &summary);
    event
}

/// `Event { summary }` with a text, which TensorBoard shows as Markdown.
pub fn text(time: f64, tag: &str, text: &str) -> Vec<u8> {
    let mut tensor = Vec::new();
    key(&mut tensor, 1, VARINT);
    varint(&mut tensor, STRING_TENSOR);
    bytes(&mut tensor, 2, &[]); // a tensor of no dimension
    bytes(&mut tensor, 8, text.as_bytes());
    tensor_event(time, tag, "text", &[], &tensor)
}

/// `Event { summary }` with the hyperparameters of a run (`SessionStartInfo`), each with its name. Lists and tables have no place among hyperparameters and are left out.
pub fn hyperparameters(time: f64, settings: &[(String, Value)]) -> Vec<u8> {
    let mut session = Vec::new();
    for (name, value) in settings {
        let mut number = Vec::new();
        match value {
            Value::Integer(value) => double(&mut number, 2, *value as f64),
            Value::Float(value) => double(&mut number, 2, *value),
            Value::String(value) => bytes(&mut number, 3, value.as_bytes()),
            Value::Boolean(value) => {
                key(&mut number, 4, VARINT);
                varint(&mut number, u64::from(*value));
            }
            Value::Array(_) | Value::Table(_) => continue,
        }
        let mut entry = Vec::new();
        bytes(&mut entry, 1, name.as_bytes());
        bytes(&mut entry, 2, &number);
        bytes(&mut session, 1, &entry);
    }
    double(&mut session, 5, time);
    let mut data = Vec::new();
    bytes(&mut data, 3, &session); // the version of the format is 0, which is not written
    let mut tensor = Vec::new();
    key(&mut tensor, 1, VARINT);
    varint(&mut tensor, FLOAT_TENSOR);
    bytes(&mut tensor, 2, &[0x12, 2, 0x08, 1]); // one dimension of size 1
    bytes(&mut tensor, 5, &0.0_f32.to_le_bytes());
    tensor_event(time, "_hparams_/session_start_info", "hparams", &data, &tensor)
}

/// The types of tensors, of `tensorflow/core/framework/types.proto`.
const FLOAT_TENSOR: u64 = 1;
const STRING_TENSOR: u64 = 7;
/// `DATA_CLASS_TENSOR` of `summary.proto`.
const TENSOR_CLASS: u64 = 2;

/// `Event { summary }` at step 0 with a tensor that belongs to a plugin of TensorBoard.
fn tensor_event(time: f64, tag: &str, plugin: &str, data: &[u8], tensor: &[u8]) -> Vec<u8> {
    let mut owner = Vec::new();
    bytes(&mut owner, 1, plugin.as_bytes());
    if !data.is_empty() {
        bytes(&mut owner, 2, data);
    }
    let mut metadata = Vec::new();
    bytes(&mut metadata, 1, &owner);
    key(&mut metadata, 4, VARINT);
    varint(&mut metadata, TENSOR_CLASS);
    let mut value = Vec::new();
    bytes(&mut value, 1, tag.as_bytes());
    bytes(&mut value, 8, tensor);
    bytes(&mut value, 9, &metadata);
    let mut summary = Vec::new();
    bytes(&mut summary, 1, &value);
    let mut event = begin(time, 0);
    bytes(&mut event, 5, &summary);
    event
}

fn begin(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, time);
    key(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

fn key(out: &mut Vec<u8>, field: u64, way: u64) {
    varint(out, field << 3 | way);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, DOUBLE);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field's number and its value.
    #[derive(Debug, PartialEq)]
    pub enum Field<'a> {
        Number(u64, u64),
        Double(u64, f64),
        Bytes(u64, &'a [u8]),
        Float(u64, f32),
    }

    fn read_varint(bytes: &mut &[u8]) -> u64 {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let (number, rest) = bytes.split_at(end + 1);
        *bytes = rest;
        number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
    }

    /// The fields of a message.
    pub fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = read_varint(&mut bytes);
            let mut take = |n: usize| {
                let (value, rest) = bytes.split_at(n);
                bytes = rest;
                value
            };
            fields.push(match key & 7 {
                DOUBLE => Field::Double(key >> 3, f64::from_le_bytes(take(8).try_into().unwrap())),
                FLOAT => Field::Float(key >> 3, f32::from_le_bytes(take(4).try_into().unwrap())),
                VARINT => Field::Number(key >> 3, read_varint(&mut bytes)),
                BYTES => {
                    let len = read_varint(&mut bytes) as usize;
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    Field::Bytes(key >> 3, value)
                }
                other => panic!("way {other}"),
            });
        }
        fields
    }

    #[test]
    fn numbers_of_variable_length_are_written_as_the_format_has_them() {
        for (number, expected) in
            [(0, &[0][..]), (1, &[1]), (127, &[127]), (128, &[0x80, 1]), (300, &[0xac, 2])]
        {
            let mut out = Vec::new();
            varint(&mut out, number);
            assert_eq!(out, expected);
            assert_eq!(read_varint(&mut out.as_slice()), number);
        }
        let mut out = Vec::new();
        varint(&mut out, u64::MAX);
        assert_eq!((out.len(), read_varint(&mut out.as_slice())), (10, u64::MAX));
    }

    #[test]
    fn a_scalar_is_a_tag_and_a_float_in_a_summary_in_an_event() {
        let event = scalars(1.5, 300, &[("loss/train".into(), 0.25), ("lr".into(), f64::NAN)]);
        let [Field::Double(1, 1.5), Field::Number(2, 300), Field::Bytes(5, summary)] = fields(&event)[..]
        else {
            panic!("{:?}", fields(&event));
        };
        let [Field::Bytes(1, loss), Field::Bytes(1, lr)] = fields(summary)[..] else { panic!("{summary:?}") };
        assert_eq!(fields(loss), [Field::Bytes(1, b"loss/train"), Field::Float(2, 0.25)]);
        assert!(matches!(fields(lr)[1], Field::Float(2, value) if value.is_nan()));
    }

    /// The metadata of the only value of an event, and its tag and tensor.
    fn tensor_of(event: &[u8]) -> (&[u8], Vec<Field<'_>>, Vec<Field<'_>>) {
        let [Field::Double(1, 1.5), Field::Number(2, 0), Field::Bytes(5, summary)] = fields(event)[..] else {
            panic!("{:?}", fields(event));
        };
        let [Field::Bytes(1, value)] = fields(summary)[..] else { panic!("{summary:?}") };
        let [Field::Bytes(1, tag), Field::Bytes(8, tensor), Field::Bytes(9, metadata)] = fields(value)[..]
        else {
            panic!("{value:?}")
        };
        (tag, fields(tensor), fields(metadata))
    }

    #[test]
    fn a_text_is_a_tensor_of_the_plugin_for_texts() {
        let event = text(1.5, "configuration", "width = 4");
        let (tag, tensor, metadata) = tensor_of(&event);
        assert_eq!(tag, b"configuration");
        assert_eq!(tensor, [Field::Number(1, 7), Field::Bytes(2, b""), Field::Bytes(8, b"width = 4")]);
        assert_eq!(metadata, [Field::Bytes(1, b"\x0a\x04text"), Field::Number(4, 2)]);
    }

    #[test]
    fn hyperparameters_are_a_map_in_the_metadata_of_their_plugin() {
        let settings = [
            ("width", Value::Integer(4)),
            ("lr", Value::Float(0.1)),
            ("name", Value::String("mlp".into())),
            ("skip", Value::Boolean(true)),
            ("list", Value::Array(Vec::new())),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let event = hyperparameters(1.5, &settings);
        let (tag, tensor, metadata) = tensor_of(&event);
        assert_eq!(tag, b"_hparams_/session_start_info");
        assert_eq!(
            tensor,
            [Field::Number(1, 1), Field::Bytes(2, &[0x12, 2, 8, 1]), Field::Bytes(5, &[0; 4])]
        );
        let [Field::Bytes(1, owner), Field::Number(4, 2)] = metadata[..] else { panic!("{metadata:?}") };
        let [Field::Bytes(1, b"hparams"), Field::Bytes(2, data)] = fields(owner)[..] else {
            panic!("{owner:?}")
        };
        let [Field::Bytes(3, session)] = fields(data)[..] else { panic!("{data:?}") };
        let entries = fields(session);
        let (end, entries) = entries.split_last().unwrap();
        assert_eq!(*end, Field::Double(5, 1.5));
        let expected = [
            (&b"width"[..], Field::Double(2, 4.0)),
            (b"lr", Field::Double(2, 0.1)),
            (b"name", Field::Bytes(3, b"mlp")),
            (b"skip", Field::Number(4, 1)),
        ];
        assert_eq!(entries.len(), expected.len(), "a list is left out");
        for (entry, (name, value)) in entries.iter().zip(expected) {
            let Field::Bytes(1, entry) = entry else { panic!("{entry:?}") };
            let [Field::Bytes(1, found), Field::Bytes(2, number)] = fields(entry)[..] else {
                panic!("{entry:?}")
            };
            assert_eq!((found, fields(number)), (name, vec![value]));
        }
    }
}
