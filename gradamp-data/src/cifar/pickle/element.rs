//! The types of array elements.

use std::fmt;

/// The type of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    signed: bool,
    width: usize,
    /// Whether the highest byte comes first.
    big_endian: bool,
}

impl Default for Element {
    fn default() -> Self {
        Self::BYTE
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.signed { 'i' } else { 'u' }, self.width)
    }
}

impl Element {
    /// An unsigned byte: the type of an image's values.
    pub const BYTE: Self = Self { signed: false, width: 1, big_endian: false };

    /// The type for NumPy's code, which is a letter and a number of bytes; `None` for an unsupported code.
    pub fn parse(code: &[u8]) -> Option<Self> {
        let (signed, width) = match code {
            [b'i', width] => (true, width),
            [b'u', width] => (false, width),
            _ => return None,
        };
        let width = [1, 2, 4, 8].into_iter().find(|bytes| b'0' + bytes == *width)?;
        Some(Self { signed, width: width.into(), big_endian: false })
    }

    /// This type with the byte order that NumPy writes as `order`.
    pub fn ordered(self, order: &[u8]) -> Self {
        Self { big_endian: order == b">", ..self }
    }

    /// The number of bytes of an element.
    pub fn width(self) -> usize {
        self.width
    }

    /// Reads the number in `bytes`, which has `width` elements. Returns `None` if the number takes more than 63 bits.
    pub fn number(self, bytes: &[u8]) -> Option<i64> {
        let highest = if self.big_endian { bytes.first() } else { bytes.last() };
        let fill = if self.signed && highest.is_some_and(|byte| byte & 0x80 != 0) { u64::MAX } else { 0 };
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        let bits = match self.big_endian {
            true => bytes.iter().fold(fill, add),
            false => bytes.iter().rev().fold(fill, add),
        };
        if self.signed { Some(bits as i64) } else { i64::try_from(bits).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_read() {
        let number = |code: &[u8], order: &[u8], bytes: &[u8]| {
            let element = Element::parse(code).unwrap().ordered(order);
            assert_eq!((element.width(), element.to_string().as_bytes()), (bytes.len(), code));
            element.number(bytes)
        };
        assert_eq!(number(b"u1", b"|", &[200]), Some(200));
        assert_eq!(number(b"i1", b"|", &[200]), Some(-56));
        assert_eq!(number(b"i2", b"<", &[1, 2]), Some(513));
        assert_eq!(number(b"i4", b">", &[0, 0, 2, 1]), Some(513));
        assert_eq!(number(b"i8", b"<", &[254, 255, 255, 255, 255, 255, 255, 255]), Some(-2));
        assert_eq!(number(b"u8", b">", &[255; 8]), None);
        for other in [&b"f4"[..], b"i3", b"u16", b"O8", b"", b"i"] {
            assert_eq!(Element::parse(other), None);
        }
    }
}
