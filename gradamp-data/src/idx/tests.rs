use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Error, Source, open, verify};

fn idx(shape: &[usize], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Values that differ from place to place.
fn pixels(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + seed * 13) as u8).collect()
}

/// Files of 3 training images and 2 test images of `image`, with the given labels.
fn write(folder: &Path, image: &[usize], train: [u8; 3], test: [u8; 2]) {
    fs::create_dir_all(folder).unwrap();
    let size: usize = image.iter().product();
    let images = |n: usize, seed| idx(&[&[n], image].concat(), &pixels(n * size, seed));
    for (name, bytes) in
        NAMES.into_iter().zip([images(3, 1), idx(&[3], &train), images(2, 2), idx(&[2], &test)])
    {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn fault(folder: &TempDir) -> String {
    let message = open(folder.path(), Source::Auto).unwrap_err().to_string();
    message.replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn files_of_any_image_and_packing_are_read() {
    for image in [&[28, 28][..], &[3, 5], &[4, 2, 3]] {
        let folder = TempDir::new().unwrap();
        write(&folder.path().join("sub"), image, [0, 4, 2], [4, 1]);
        let plain = open(folder.path(), Source::Auto).unwrap();
        let size: usize = image.iter().product();
        assert_eq!(plain.train.image_shape(), [image[0], image[1], image.get(2).copied().unwrap_or(1)]);
        assert_eq!(plain.train.images(), pixels(3 * size, 1));
        assert_eq!(plain.test.image(1), Some(&pixels(2 * size, 2)[size..]));
        assert_eq!((plain.train.labels(), plain.test.labels()), (&[0, 4, 2][..], &[4, 1][..]));
        assert_eq!(
            (plain.train.name(), plain.train.classes()),
            ("IDX", &["0", "1", "2", "3", "4"].map(String::from)[..])
        );
        assert_eq!(
            plain.test.normalisation(),
            &plain.train.measure(),
            "the test set is normalised as the training set"
        );
        assert!(verify(folder.path(), Source::Auto).unwrap().is_good());

        // Packed, and with the names that some programs give to unpacked files.
        for (number, name) in NAMES.into_iter().enumerate() {
            let path = folder.path().join("sub").join(name);
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let pointed = path.with_file_name(name.replace("-idx", ".idx"));
            match number % 3 {
                0 => fs::write(path.with_extension("gz"), packed(&bytes)).unwrap(),
                1 => fs::write(pointed, bytes).unwrap(),
                _ => fs::write(pointed.with_file_name(name.replace("-idx", ".idx") + ".gz"), packed(&bytes))
                    .unwrap(),
            }
        }
        assert_eq!(open(folder.path(), Source::Auto).unwrap().checksum(), plain.checksum());
    }
}

#[test]
fn a_set_requested_by_its_name_has_its_classes() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &[2, 2], [0, 1, 9], [9, 3]);
    let fashion = open(folder.path(), Source::FashionMnist).unwrap();
    assert_eq!((fashion.train.name(), fashion.train.classes()[9].as_str()), ("Fashion-MNIST", "ankle boot"));
    assert_eq!(open(folder.path(), Source::Mnist).unwrap().train.classes()[9], "9");
    assert!(open(folder.path(), Source::Cifar10).is_err());
    // Asked for by its name, it is compared with the published files.
    let verification = verify(folder.path(), Source::Mnist).unwrap();
    assert!(
        verification
            .files
            .iter()
            .all(|file| file.is_compared && matches!(file.outcome, Err(Error::Differs { .. })))
    );
    assert!(verification.to_string().contains("differs from the published file: expected SHA-256 ba891046"));
    let verification = verify(folder.path(), Source::Auto).unwrap();
    assert!(verification.is_good() && verification.files.iter().all(|file| !file.is_compared));
    write(folder.path(), &[2, 2], [0, 10, 9], [9, 3]);
    assert!(open(folder.path(), Source::Auto).is_ok());
    let error = open(folder.path(), Source::Mnist).unwrap_err().to_string();
    assert!(
        error.ends_with("train-labels-idx1-ubyte, byte 9: expected a label below 10, found 10"),
        "{error}"
    );
}

#[test]
fn files_that_do_not_fit_are_errors_that_name_file_and_place() {
    let folder = TempDir::new().unwrap();
    let put = |number: usize, bytes: Vec<u8>| fs::write(folder.path().join(NAMES[number]), bytes).unwrap();
    let fresh = || write(folder.path(), &[2, 3], [0, 1, 2], [2, 1]);
    let cases: [(usize, Vec<u8>, &str); 9] = [
        (
            0,
            idx(&[3, 2, 3], &pixels(17, 1)),
            "DIR/train-images-idx3-ubyte, byte 33: expected 18 bytes for the shape [3, 2, 3], found the end of the file after 17",
        ),
        (
            0,
            idx(&[3, 2, 3], &pixels(19, 1)),
            "DIR/train-images-idx3-ubyte, byte 34: expected 18 bytes for the shape [3, 2, 3], found more",
        ),
        (
            1,
            idx(&[4], &[0, 1, 2, 0]),
            "DIR/train-labels-idx1-ubyte, byte 4: expected 3 labels for the images of DIR/train-images-idx3-ubyte, found 4",
        ),
        (
            2,
            idx(&[2, 3, 3], &pixels(18, 1)),
            "DIR/t10k-images-idx3-ubyte, byte 8: expected images of 2x3 as in the training set, found 3x3",
        ),
        (
            3,
            idx(&[2, 1], &[0, 1]),
            "DIR/t10k-labels-idx1-ubyte, byte 3: expected labels, which have 1 dimension, found shape [2, 1]",
        ),
        (
            0,
            idx(&[18], &pixels(18, 1)),
            "DIR/train-images-idx3-ubyte, byte 3: expected images, which have 3 dimensions, or 4 with channels, found shape [18]",
        ),
        (
            1,
            b"\x00\x00\x0d\x01\0\0\0\x03".to_vec(),
            "DIR/train-labels-idx1-ubyte, byte 0: expected an IDX file of bytes (00 00 08, then 1 to 4 dimensions), found bytes [00, 00, 0d, 01]",
        ),
        (
            1,
            vec![0, 0, 8],
            "DIR/train-labels-idx1-ubyte, byte 0: expected the header of an IDX file, found the end of the file",
        ),
        (
            2,
            idx(&[1 << 20, 1 << 20, 1 << 20], &[]),
            "DIR/t10k-images-idx3-ubyte, byte 4: expected an array of at most 2147483648 bytes, found shape [1048576, 1048576, 1048576]",
        ),
    ];
    for (number, bytes, expected) in cases {
        fresh();
        put(number, bytes);
        assert_eq!(fault(&folder), expected);
        let verification = verify(folder.path(), Source::Auto).unwrap();
        let bad: Vec<usize> = (0..4).filter(|&file| verification.files[file].outcome.is_err()).collect();
        assert_eq!(bad, [number], "{verification}");
    }
    fresh();
    fs::remove_file(folder.path().join(NAMES[3])).unwrap();
    assert!(
        fault(&folder)
            .starts_with("DIR/t10k-labels-idx1-ubyte: missing; a data set of IDX files needs train-images")
    );
    put(3, packed(&idx(&[2], &[0, 1]))[..20].to_vec());
    assert!(fault(&folder).contains("t10k-labels-idx1-ubyte, byte"), "{}", fault(&folder));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// An array is read as it was written; a file of any other length is refused.
    #[test]
    fn arrays_are_read_as_written(shape in prop::collection::vec(0usize..6, 1..5), seed: usize, cut in 0usize..300) {
        let values = pixels(shape.iter().product(), seed % 1000);
        let bytes = idx(&shape, &values);
        let expected = Array { shape, values };
        prop_assert_eq!(read_array("f", &bytes[..]).unwrap(), expected.clone());
        prop_assert_eq!(read_array("f", &packed(&bytes)[..]).unwrap(), expected);
        if cut < bytes.len() {
            prop_assert!(read_array("f", &bytes[..cut]).is_err());
        }
        prop_assert!(read_array("f", &[&bytes[..], &[0]].concat()[..]).is_err());
    }

    #[test]
    fn damaged_files_never_panic(place: prop::sample::Index, byte: u8, is_packed: bool) {
        let plain = idx(&[2, 3, 3], &pixels(18, 5));
        let mut bytes = if is_packed { packed(&plain) } else { plain };
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Err(error) = read_array("file", &bytes[..]) {
            prop_assert!(error.to_string().starts_with("file, byte "), "{error}");
        }
    }
}
