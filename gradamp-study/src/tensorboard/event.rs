//! The bytes of the TensorFlow protobuf messages that scalars need.
//!
//! A field is a key, which holds the field's number and the encoding of its value, and then the value. An integer has a
//! variable length, with 7 bits in each byte, lowest first. Doubles and floats are little endian. Texts and messages follow
//! their length.
//!
//! **Source:** `tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto`.

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

fn begin(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, DOUBLE);
    event.extend_from_slice(&time.to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, step);
    event
}

fn key(out: &mut Vec<u8>, field: u64, way: u64) {
    varint(out, field << 3 | way);
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
}
