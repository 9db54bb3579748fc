use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use proptest::prelude::*;
use tempfile::TempDir;

use super::decode;
use crate::{Source, open, verify};

/// A colour image whose values depend on `seed`.
fn rgb(w: u32, h: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| {
        image::Rgb([(x * 7 + seed) as u8, (y * 11 + seed) as u8, (x * y + 3 * seed) as u8])
    })
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn put(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A folder with two classes.
fn small() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (seed, path) in
        ["train/dog/b.png", "train/dog/a.PNG", "train/cat/1.png", "test/cat/x.png"].iter().enumerate()
    {
        put(folder.path(), path, &encoded(rgb(5, 4, seed as u32), ImageFormat::Png));
    }
    folder
}

fn fault(folder: &TempDir) -> String {
    let message = open(folder.path(), Source::Auto).unwrap_err().to_string();
    message.replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn classes_and_images_come_in_the_order_of_their_names() {
    let folder = small();
    put(folder.path(), "train/dog/.hidden.png", b"");
    put(folder.path(), "train/dog/notes.txt", b"");
    put(folder.path(), "readme.md", b"");
    let pair = open(folder.path(), Source::Auto).unwrap();
    assert_eq!(pair.train.classes(), ["cat", "dog"]);
    assert_eq!((pair.train.labels(), pair.test.labels()), (&[0, 1, 1][..], &[0][..]));
    assert_eq!(pair.train.image_shape(), [4, 5, 3]);
    for (place, seed) in [2, 1, 0].into_iter().enumerate() {
        assert_eq!(pair.train.image(place), Some(rgb(5, 4, seed).as_raw().as_slice()));
    }
    assert_eq!(pair.train.normalisation(), &pair.train.measure());
    let states = verify(folder.path(), Source::Auto).unwrap();
    assert!(states.is_good());
    assert_eq!(states.files.iter().map(|state| state.examples).collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn grey_images_have_one_channel_and_others_three() {
    let folder = TempDir::new().unwrap();
    let grey = |seed: u32| GrayImage::from_fn(3, 3, |x, y| image::Luma([(x * 30 + y * 5 + seed) as u8]));
    for (seed, path) in ["train/a/1.png", "train/b/1.png", "test/a/1.png"].iter().enumerate() {
        put(folder.path(), path, &encoded(grey(seed as u32), ImageFormat::Png));
    }
    let pair = open(folder.path(), Source::Auto).unwrap();
    assert_eq!(pair.train.image_shape(), [3, 3, 1]);
    assert_eq!(pair.train.image(1), Some(grey(1).as_raw().as_slice()));
    put(folder.path(), "test/b/1.png", &encoded(rgb(3, 3, 9), ImageFormat::Png));
    let pair = open(folder.path(), Source::Auto).unwrap();
    assert_eq!(pair.train.image_shape(), [3, 3, 3]);
    assert_eq!(pair.train.image(1).unwrap()[..3], [1, 1, 1]);
}

#[test]
fn transparency_is_dropped_and_16_bits_are_rounded() {
    let seen = RgbaImage::from_pixel(2, 1, image::Rgba([10, 20, 30, 0]));
    assert_eq!(decode("f", &encoded(seen, ImageFormat::Png)).unwrap().rgb, [10, 20, 30, 10, 20, 30]);
    let deep =
        image::ImageBuffer::<image::Rgb<u16>, _>::from_pixel(1, 1, image::Rgb([0, 257 * 128, u16::MAX]));
    assert_eq!(decode("f", &encoded(deep, ImageFormat::Png)).unwrap().rgb, [0, 128, 255]);
}

#[test]
fn a_jpeg_is_read() {
    let flat = RgbImage::from_pixel(16, 8, image::Rgb([200, 100, 50]));
    let read = decode("f", &encoded(flat, ImageFormat::Jpeg)).unwrap();
    assert_eq!((read.size, read.is_grey), ([8, 16], false));
    let off = read.rgb.iter().zip([200u8, 100, 50].iter().cycle()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off.unwrap() < 6, "{off:?}");
}

#[test]
fn an_image_of_another_size_is_named_with_both_sizes() {
    let folder = small();
    put(folder.path(), "test/dog/y.png", &encoded(rgb(6, 4, 1), ImageFormat::Png));
    let expected = "DIR/test/dog/y.png: expected 4x5 pixels as in DIR/train/cat/1.png, found 4x6; images of a data set have one \
                    size: convert them, for example with: mogrify -resize '5x4!' DIR/*/*/*";
    assert_eq!(fault(&folder), expected);
    let states = verify(folder.path(), Source::Auto).unwrap();
    assert_eq!(
        states.files.iter().map(|state| state.outcome.is_ok()).collect::<Vec<_>>(),
        [true, true, true, false]
    );
}

#[test]
fn folders_in_another_form_are_explained() {
    let png = encoded(rgb(2, 2, 1), ImageFormat::Png);
    let message = |paths: &[&str]| {
        let folder = TempDir::new().unwrap();
        paths.iter().for_each(|path| put(folder.path(), path, &png));
        fault(&folder)
    };
    let only = message(&["train/a/1.png", "train/b/1.png"]);
    assert!(
        only.ends_with("found train without test: move a part of each class's images into test/CLASS"),
        "{only}"
    );
    let flat = message(&["a/1.png", "b/1.png"]);
    assert!(flat.contains("found images in a, b, ... without the folders train and test"), "{flat}");
    let unknown = message(&["train/a/1.png", "train/b/1.png", "test/c/1.png"]);
    assert!(unknown.ends_with("found the class c in test, but not in train"), "{unknown}");
    let single = message(&["train/a/1.png", "test/a/1.png"]);
    assert!(single.contains("one class (a)"), "{single}");
    let webp = message(&["train/a/1.webp", "train/b/1.png", "test/a/1.png"]);
    assert!(
        webp.starts_with("DIR/train/a/1.webp: expected png, jpg or jpeg, found webp; convert it"),
        "{webp}"
    );
    assert!(message(&["train/a/1.txt"]).contains("; or images (train/CLASS/*.png"), "nothing to read");
}

#[test]
fn a_file_that_is_no_image_is_named() {
    let folder = small();
    put(folder.path(), "train/cat/1.png", b"GIF89a..");
    assert_eq!(fault(&folder), "DIR/train/cat/1.png: expected a PNG or a JPEG, found Gif");
    put(folder.path(), "train/cat/1.png", b"");
    assert_eq!(fault(&folder), "DIR/train/cat/1.png: expected a PNG or a JPEG, found bytes []");
    let whole = encoded(rgb(5, 4, 1), ImageFormat::Png);
    put(folder.path(), "train/cat/1.png", &whole[..whole.len() / 2]);
    assert!(fault(&folder).starts_with("DIR/train/cat/1.png: cannot be decoded: "), "{}", fault(&folder));
}

/// The header of an image says how much memory it asks for. A header that asks for too much is refused.
#[test]
fn an_image_that_asks_for_much_memory_is_refused() {
    let mut png = encoded(rgb(2, 2, 1), ImageFormat::Png);
    png[16..20].copy_from_slice(&50_000u32.to_be_bytes());
    let sum = crc(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    let error = decode("f", &png).unwrap_err().to_string();
    assert!(error.starts_with("f: cannot be decoded: "), "{error}");
}

/// The checksum of PNG's chunks.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_png_is_read_as_written(w in 1u32..20, h in 1u32..20, seed in 0u32..256) {
        let image = rgb(w, h, seed);
        let read = decode("f", &encoded(image.clone(), ImageFormat::Png)).unwrap();
        prop_assert_eq!(read.size, [h as usize, w as usize]);
        prop_assert_eq!(read.rgb, image.into_raw());
    }

    #[test]
    fn damaged_images_never_panic(place: prop::sample::Index, byte: u8, cut: prop::sample::Index, is_jpeg: bool) {
        let format = if is_jpeg { ImageFormat::Jpeg } else { ImageFormat::Png };
        let mut bytes = encoded(rgb(9, 7, 3), format);
        let end = cut.index(bytes.len());
        let _ = decode("file", &bytes[..end]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Err(error) = decode("file", &bytes) {
            prop_assert!(error.to_string().starts_with("file: "), "{error}");
        }
    }
}
