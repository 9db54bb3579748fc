//! Reads damaged files of data sets: pickles, the binary version and archives of CIFAR, IDX files, images.

use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use gradamp_data::fuzzing;

use crate::damage::Damage;
use crate::files;

#[test]
fn pickles() {
    let unpacked = |packed: Vec<u8>| {
        let mut bytes = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let corpus = files("gradamp-data/tests/fixtures").into_iter().filter_map(unpacked).collect();
    let words = [
        "K\u{a}",
        "K\u{9}",
        "K\u{64}",
        "\u{2}",
        "h\0",
        "R",
        "b",
        "(",
        "t",
        "}",
        "]",
        "e",
        "u",
        "cnumpy\ndtype\n",
        "I3\n",
        "p0\n",
        "g0\n",
    ];
    Damage { corpus, near: 400, words: &words, iterations: 100_000 }.check(|bytes| {
        for cifar100 in [false, true] {
            match fuzzing::python(bytes, cifar100, 3) {
                Ok((images, labels)) => {
                    assert_eq!((images.len(), labels.len()), (3 * 3072, 3));
                    assert!(labels.iter().all(|&label| label < if cifar100 { 100 } else { 10 }));
                }
                Err(error) => assert!(error.to_string().starts_with("file, "), "{error}"),
            }
        }
    });
}

/// A file of the binary version with `n` images.
fn records(n: usize, label_bytes: usize) -> Vec<u8> {
    let record =
        |r: usize| (0..label_bytes).map(move |_| r as u8).chain((0..3072).map(move |i| (i * 7 + r) as u8));
    (0..n).flat_map(record).collect()
}

#[test]
fn binary_files() {
    let corpus = vec![records(2, 1), records(2, 2), Vec::new()];
    Damage { corpus, near: 4, words: &["\t", "\n", "\u{13}", "\u{14}", "c", "d"], iterations: 60_000 }.check(
        |bytes| {
            for (cifar100, bounds) in [(false, &[10_u8][..]), (true, &[20, 100])] {
                let size = bounds.len() + 3072;
                let labels_of = |record: &[u8]| record.iter().zip(bounds).all(|(label, bound)| label < bound);
                let is_right = bytes.len() == 2 * size && bytes.chunks(size).all(labels_of);
                let read = fuzzing::binary(bytes, cifar100, 2);
                assert_eq!(read.is_ok(), is_right);
                let Ok((images, labels)) = read else { continue };
                for (r, record) in bytes.chunks(size).enumerate() {
                    assert_eq!(labels[r], u32::from(record[bounds.len() - 1]));
                    let planes = &record[bounds.len()..];
                    for (i, &byte) in planes.iter().enumerate() {
                        assert_eq!(images[r * 3072 + i % 1024 * 3 + i / 1024], byte);
                    }
                }
            }
        },
    );
}

/// A tar with long names in both formats and the six files of CIFAR-10, one image in each.
fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |name: &str, kind: tar::EntryType, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    append("PaxHeaders/x", tar::EntryType::XHeader, b"30 mtime=1700000000.123456789\n17 path=data_b.x\n");
    append("short", tar::EntryType::Regular, b"a member that is ignored");
    for name in (1..=5).map(|i| format!("data_batch_{i}.bin")).chain(["test_batch.bin".to_owned()]) {
        append(&format!("{}{name}", "folder/".repeat(20)), tar::EntryType::Regular, &records(1, 1));
    }
    tar.into_inner().unwrap()
}

/// Writes the correct checksum into every header, so that damage reaches the code after the check of this sum.
fn with_sums(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + 512) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let Some(size) = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()) else { break };
        let Some(next) = size.checked_next_multiple_of(512).and_then(|size| at.checked_add(512 + size))
        else {
            break;
        };
        at = next;
    }
    tar
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar.gz");
    let tar = tar();
    fs::write(&path, &tar).unwrap();
    let whole = fuzzing::archive(&path, 1).unwrap();
    assert_eq!((whole.train.len(), whole.test.len()), (5, 1), "the undamaged archive must be valid");
    let corpus = vec![tar.clone(), packed(&tar), tar[..2048].to_vec()];
    let words = [
        "\0",
        "path=",
        "size=",
        "GNU.sparse.major=1",
        "11 path=abc\n",
        "9 size=8\n",
        "L",
        "x",
        "S",
        "\u{7f}",
    ];
    Damage { corpus, near: 2600, words: &words, iterations: 4_000 }.check(|bytes| {
        let forms = if bytes.starts_with(&[0x1f, 0x8b]) {
            vec![bytes.to_vec()]
        } else {
            let repaired = with_sums(bytes);
            vec![packed(&repaired), repaired]
        };
        let outcomes: Vec<Result<String, String>> = forms
            .iter()
            .map(|form| {
                fs::write(&path, form).unwrap();
                match fuzzing::archive(&path, 1) {
                    Ok(pair) => Ok(pair.checksum()),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains("a.tar.gz"), "{error}");
                        Err(error)
                    }
                }
            })
            .collect();
        if let [packed, plain] = &outcomes[..] {
            assert_eq!(packed.as_ref().ok(), plain.as_ref().ok(), "packed {packed:?}, plain {plain:?}");
        }
    });
}

#[test]
fn idx_files() {
    let file = |shape: &[u8]| {
        let sizes = shape.iter().flat_map(|&size| [0, 0, 0, size]);
        let values = (0..shape.iter().map(|&size| usize::from(size)).product()).map(|i: usize| i as u8);
        [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).chain(values).collect::<Vec<u8>>()
    };
    let plain = [file(&[3, 4, 5]), file(&[7]), file(&[2, 2, 2, 3])];
    let corpus = plain.iter().cloned().chain(plain.iter().map(|bytes| packed(bytes))).collect();
    let words = ["\0\0\u{8}\u{3}", "\0\0\0\u{1}", "\u{7f}", "\0"];
    Damage { corpus, near: 24, words: &words, iterations: 60_000 }.check(|bytes| {
        match gradamp_data::idx::read_array("file", bytes) {
            Ok(array) => assert_eq!(array.values.len(), array.shape.iter().product::<usize>()),
            Err(error) => assert!(error.to_string().starts_with("file, byte "), "{error}"),
        }
    });
}

#[test]
fn images() {
    use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};

    let colour = RgbImage::from_fn(9, 7, |x, y| image::Rgb([(x * 20) as u8, (y * 30) as u8, 7]));
    let kinds: [DynamicImage; 3] = [colour.into(), GrayImage::new(5, 3).into(), RgbaImage::new(4, 4).into()];
    let encoded = |image: &DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).ok().map(|()| bytes.into_inner())
    };
    let corpus = kinds
        .iter()
        .flat_map(|image| [ImageFormat::Png, ImageFormat::Jpeg].map(|format| encoded(image, format)));
    let words = ["IHDR", "IDAT", "PLTE", "tRNS", "IEND", "\u{10}", "\0\0\u{7f}\0"];
    Damage { corpus: corpus.flatten().collect(), near: 200, words: &words, iterations: 10_000 }.check(
        |bytes| match gradamp_data::images::decode("file", bytes) {
            Ok(pixels) => assert_eq!(pixels.rgb.len(), 3 * pixels.size[0] * pixels.size[1]),
            Err(error) => assert!(error.to_string().starts_with("file: "), "{error}"),
        },
    );
}
