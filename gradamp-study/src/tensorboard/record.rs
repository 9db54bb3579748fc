//! TFRecord: the format of a file of consecutive events.
//!
//! ```text
//! u64  length            little endian, as all numbers
//! u32  check(length)
//! u8   event[length]
//! u32  check(event)
//! ```
//!
//! `check` is the CRC-32C, rotated right by 15 bits, plus a constant. TensorFlow masks the CRC in this way because a CRC over
//! bytes that contain their own CRC is weak.
//!
//! **Source:** TensorFlow, `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/lib/hash/crc32c.h`.

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const MASK: u32 = 0xa282_ead8;

/// Appends an event to the bytes of a file.
pub fn append(file: &mut Vec<u8>, event: &[u8]) {
    let length = (event.len() as u64).to_le_bytes();
    file.extend_from_slice(&length);
    file.extend_from_slice(&check(&length).to_le_bytes());
    file.extend_from_slice(event);
    file.extend_from_slice(&check(event).to_le_bytes());
}

fn check(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The events of a file, each held against its checks.
    pub fn events(mut file: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
        let mut events = Vec::new();
        while let Some((head, rest)) = file.split_first_chunk::<12>() {
            let (length, length_check) = head.split_at(8);
            if check(length).to_le_bytes() != length_check {
                return Err("length");
            }
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let (event, rest) = rest.split_at_checked(length).ok_or("cut")?;
            let (event_check, rest) = rest.split_first_chunk::<4>().ok_or("cut")?;
            if check(event).to_le_bytes() != *event_check {
                return Err("event");
            }
            events.push(event);
            file = rest;
        }
        if file.is_empty() { Ok(events) } else { Err("cut") }
    }

    /// The vectors of RFC 3720, appendix B.4, and one of TensorFlow's own for the mask.
    #[test]
    fn checks_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&descending, 0x113f_db5c),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(CRC32C.checksum(bytes), crc);
        }
        // The head of every record of 24 bytes that TensorFlow writes: its file_version event.
        assert_eq!(check(&24_u64.to_le_bytes()).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    #[test]
    fn what_is_appended_is_read_back_and_damage_is_noticed() {
        let mut file = Vec::new();
        append(&mut file, b"one");
        append(&mut file, b"");
        append(&mut file, &[7; 300]);
        assert_eq!(events(&file).unwrap(), [&b"one"[..], b"", &[7; 300]]);
        for place in [0, 9, 13, 16, file.len() - 1] {
            let mut damaged = file.clone();
            damaged[place] ^= 1;
            assert!(events(&damaged).is_err(), "{place}");
        }
        assert_eq!(events(&file[..file.len() - 1]), Err("cut"));
    }
}
