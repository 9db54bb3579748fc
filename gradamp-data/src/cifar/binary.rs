//! The binary version. A record is one label byte (CIFAR-100: two, coarse and fine) followed by the red, green and
//! blue planes.

use std::io::Read;

use super::layout::{Kind, PIXELS, interleave};
use crate::error::{Error, Place, Result};

/// Reads exactly `labels.len()` records.
///
/// **Shapes:** images `[n, 32, 32, 3]`, labels `[n]`.
///
/// **Errors:** the file is too short or too long, a byte can't be read, or a label is out of range.
pub(super) fn decode(
    kind: Kind,
    file: &str,
    mut reader: impl Read,
    images: &mut [u8],
    labels: &mut [u32],
) -> Result<()> {
    let records = labels.len();
    let label_bytes = 1 + usize::from(kind.coarse_classes().is_some());
    let mut record = vec![0; label_bytes + PIXELS];
    let size = record.len();
    for (r, (image, label)) in images.chunks_exact_mut(PIXELS).zip(labels).enumerate() {
        let place = Place::Record { record: r, byte: (r * size) as u64 };
        let read = fill(file, &mut reader, (r * size) as u64, &mut record)?;
        if read < size {
            return Err(Error::format(
                file,
                place,
                format!("{size} bytes a record and {records} records"),
                format!("the end of the file after {} bytes", r * size + read),
            ));
        }
        let (codes, planes) = record.split_at(label_bytes);
        let bounds = kind.coarse_classes().into_iter().chain([kind.classes().len()]);
        for (&code, bound) in codes.iter().zip(bounds) {
            if usize::from(code) >= bound {
                return Err(Error::format(file, place, format!("a label below {bound}"), code.to_string()));
            }
        }
        *label = u32::from(codes[label_bytes - 1]);
        interleave(planes, image);
    }
    let end = (records * size) as u64;
    if fill(file, &mut reader, end, &mut [0])? > 0 {
        return Err(Error::format(
            file,
            Place::Byte(end),
            format!("the end of the file after {records} records of {size} bytes"),
            "more data",
        ));
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends. Returns the number of bytes read.
fn fill(file: &str, reader: &mut impl Read, start: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let place = Place::Byte(start + filled as u64);
                return Err(Error::format(file, place, "readable data", format!("\"{error}\"")));
            }
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(kind: Kind, n: usize, bytes: &[u8]) -> Result<(Vec<u8>, Vec<u32>)> {
        let (mut images, mut labels) = (vec![0; n * PIXELS], vec![0; n]);
        decode(kind, "f.bin", bytes, &mut images, &mut labels)?;
        Ok((images, labels))
    }

    #[test]
    fn colour_planes_become_pixels() {
        let mut record = vec![7];
        record.extend((0..PIXELS).map(|i| (i / 1024 * 100 + i % 32) as u8));
        let (images, labels) = decode_all(Kind::Cifar10, 1, &record).unwrap();
        assert_eq!(labels, [7]);
        assert_eq!(images[..6], [0, 100, 200, 1, 101, 201]);
        assert_eq!(images[PIXELS - 3..], [31, 131, 231]);
    }

    #[test]
    fn cifar100_returns_the_fine_label_and_checks_both_labels() {
        let record = |coarse, fine| [&[coarse, fine][..], &[0; PIXELS]].concat();
        assert_eq!(decode_all(Kind::Cifar100, 1, &record(19, 99)).unwrap().1, [99]);
        for (coarse, fine) in [(20, 0), (0, 100)] {
            assert!(decode_all(Kind::Cifar100, 1, &record(coarse, fine)).is_err());
        }
    }

    #[test]
    fn errors_name_the_file_and_record_and_what_was_expected_and_found() {
        let message = |bytes: &[u8]| decode_all(Kind::Cifar10, 2, bytes).unwrap_err().to_string();
        let mut bytes = vec![0; 2 * 3073];
        bytes[3073] = 10;
        assert_eq!(message(&bytes), "f.bin, record 1 (byte 3073): expected a label below 10, found 10");
        assert_eq!(
            message(&bytes[..3072]),
            "f.bin, record 0 (byte 0): expected 3073 bytes a record and 2 records, \
             found the end of the file after 3072 bytes"
        );
        bytes[3073] = 9;
        bytes.push(0);
        assert_eq!(
            message(&bytes),
            "f.bin, byte 6146: expected the end of the file after 2 records of 3073 bytes, found more data"
        );
    }

    proptest! {
        #[test]
        fn a_file_of_any_other_length_is_refused(length in 0usize..3 * 3073) {
            let refused = decode_all(Kind::Cifar10, 2, &vec![0; length]).is_err();
            prop_assert_eq!(refused, length != 2 * 3073);
        }

        #[test]
        fn labels_and_pixels_are_read_as_written(labels in prop::collection::vec(0u8..10, 1..4), seed: u8) {
            let image: Vec<u8> = (0..PIXELS).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let bytes: Vec<u8> = labels.iter().flat_map(|&l| std::iter::once(l).chain(image.clone())).collect();
            let (images, read) = decode_all(Kind::Cifar10, labels.len(), &bytes).unwrap();
            prop_assert!(read.into_iter().eq(labels.iter().map(|&label| u32::from(label))));
            for (i, &value) in images.iter().enumerate() {
                let (pixel, channel) = (i % PIXELS / 3, i % 3);
                prop_assert_eq!(value, image[channel * 1024 + pixel]);
            }
        }
    }
}
