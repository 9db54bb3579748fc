use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use image::{ImageFormat, RgbImage};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{Source, open, verify};

fn image(side: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| image::Rgb([(x * 3 + seed) as u8, (y * 5 + seed) as u8, seed as u8]))
}

fn png(side: u32, seed: u32) -> ByteArray {
    let mut bytes = Cursor::new(Vec::new());
    image(side, seed).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

/// A file with the columns of CIFAR-10 or CIFAR-100 and these images and labels, packed as Hugging Face does.
fn table(is_100: bool, images: &[ByteArray], labels: &[i64]) -> Vec<u8> {
    let columns = if is_100 {
        "required int64 fine_label; required int64 coarse_label;"
    } else {
        "required int64 label;"
    };
    let schema = format!(
        "message schema {{ optional group img {{ optional binary bytes; optional binary path (UTF8); }} {columns} }}"
    );
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(
        &mut bytes,
        Arc::new(parse_message_type(&schema).unwrap()),
        Arc::new(properties),
    )
    .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let n = images.len();
    let defined = vec![2i16; n];
    let paths = vec![ByteArray::from("x.png"); n];
    for values in [images, &paths] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(values, Some(&defined), None).unwrap();
        column.close().unwrap();
    }
    for _ in 0..1 + usize::from(is_100) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(labels, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn both_data_sets_are_read_from_one_file_or_several() {
    for (is_100, source, name, labels) in
        [(false, Source::Cifar10, "CIFAR-10", [3, 9, 0]), (true, Source::Cifar100, "CIFAR-100", [99, 50, 3])]
    {
        let folder = TempDir::new().unwrap();
        let plain_text = folder.path().join("plain_text");
        put(&plain_text, "train-00000-of-00002.parquet", &table(is_100, &[png(32, 1)], &labels[..1]));
        put(
            &plain_text,
            "train-00001-of-00002.parquet",
            &table(is_100, &[png(32, 2), png(32, 3)], &labels[1..]),
        );
        put(&plain_text, "test-00000-of-00001.parquet", &table(is_100, &[png(32, 4)], &[7]));
        for asked in [source, Source::Auto] {
            let pair = open(folder.path(), asked).unwrap();
            assert_eq!((pair.train.name(), pair.train.len(), pair.test.labels()), (name, 3, &[7][..]));
            assert!(pair.train.labels().iter().map(|&label| i64::from(label)).eq(labels));
            for place in 0..3 {
                assert_eq!(pair.train.image(place), Some(image(32, place as u32 + 1).as_raw().as_slice()));
            }
        }
        assert!(verify(folder.path(), source).unwrap().is_good());
        let other = if is_100 { Source::Cifar10 } else { Source::Cifar100 };
        assert!(open(folder.path(), other).is_err());
        assert!(open(folder.path(), Source::Mnist).is_err());
    }
}

#[test]
fn what_is_no_cifar_is_named_with_its_row() {
    let folder = TempDir::new().unwrap();
    let fault = |train: &[u8]| {
        put(folder.path(), "train.parquet", train);
        put(folder.path(), "test.parquet", &table(false, &[png(32, 4)], &[7]));
        let message = open(folder.path(), Source::Auto).unwrap_err().to_string();
        assert!(!verify(folder.path(), Source::Auto).unwrap().is_good());
        message.replace(&folder.path().display().to_string(), "DIR")
    };
    let good = || png(32, 1);
    assert_eq!(
        fault(&table(false, &[good(), good()], &[1, 10])),
        "DIR/train.parquet, row 1: expected a label below 10 in the column label, found 10"
    );
    assert_eq!(
        fault(&table(false, &[good()], &[-1])),
        "DIR/train.parquet, row 0: expected a label below 10 in the column label, found -1"
    );
    assert_eq!(
        fault(&table(false, &[png(28, 1)], &[1])),
        "DIR/train.parquet, row 0: expected an image of 32x32 pixels, found 28x28"
    );
    assert_eq!(
        fault(&table(false, &["x".into()], &[1])),
        "DIR/train.parquet, row 0: expected a PNG or a JPEG, found bytes [78]"
    );
    assert!(
        fault(&table(true, &[good()], &[1]))
            .contains("test.parquet, byte 0: expected CIFAR-100, as the other files")
    );
    let whole = table(false, &[good()], &[1]);
    assert!(
        fault(&whole[..whole.len() / 2])
            .starts_with("DIR/train.parquet, byte 0: expected a parquet file, found \"")
    );
    fs::remove_file(folder.path().join("test.parquet")).unwrap();
    let message = open(folder.path(), Source::Auto).unwrap_err().to_string();
    assert!(message.contains("test*.parquet: missing; CIFAR as parquet needs"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_files_never_panic(place: prop::sample::Index, byte: u8, cut: prop::sample::Index, from_end in 0usize..400) {
        let folder = TempDir::new().unwrap();
        let mut bytes = table(false, &[png(32, 1), png(32, 2)], &[1, 2]);
        put(folder.path(), "test.parquet", &bytes);
        put(folder.path(), "train.parquet", &bytes[..cut.index(bytes.len())]);
        prop_assert!(open(folder.path(), Source::Auto).is_err());
        // Half of the damage is in the description of the columns, which is at the end.
        let place = if byte % 2 == 0 { place.index(bytes.len()) } else { bytes.len() - 1 - from_end.min(bytes.len() - 1) };
        bytes[place] = byte;
        put(folder.path(), "train.parquet", &bytes);
        if let Err(error) = open(folder.path(), Source::Auto) {
            prop_assert!(error.to_string().contains("train.parquet"), "{error}");
        }
    }
}
