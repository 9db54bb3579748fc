//! Tests of folders and archives as users have them, with few images in each file.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tempfile::TempDir;

use super::layout::{Form, PIXELS, interleave};
use super::*;
use crate::published::md5;
use crate::{DatasetPair, Error, Result};

/// All layouts, with two images in each training file and one in the test file.
fn small() -> [Layout; 4] {
    LAYOUTS.map(|layout| Layout { train_records: 2, test_records: 1, ..layout })
}

/// Colour planes whose values depend on the file, the record and the position.
fn planes(file: usize, record: usize) -> Vec<u8> {
    (0..PIXELS).map(|i| (i * 7 + file * 50 + record * 13) as u8).collect()
}

fn label(file: usize, record: usize) -> u8 {
    (file * 2 + record) as u8 % 10
}

/// The content of a file. Python files are pickled as Python 2 does it.
fn content(layout: &Layout, file: usize, records: usize) -> Vec<u8> {
    if layout.form == Form::Binary {
        let coarse = layout.kind.coarse_classes().map(|_| 19);
        let record = |r| coarse.into_iter().chain([label(file, r)]).chain(planes(file, r));
        return (0..records).flat_map(record).collect();
    }
    let mut pickle =
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04\
        K\0\x85U\x01b\x87Rq\x05(K\x01K"
            .to_vec();
    pickle.push(records as u8);
    pickle
        .extend(b"M\0\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\0K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff");
    pickle.extend(b"J\xff\xff\xff\xffK\0tb\x89T");
    pickle.extend((records as u32 * PIXELS as u32).to_le_bytes());
    (0..records).for_each(|r| pickle.extend(planes(file, r)));
    pickle.extend(b"tb");
    match layout.kind {
        Kind::Cifar10 => pickle.extend(b"U\x06labels]("),
        Kind::Cifar100 => pickle.extend(b"U\x0bfine_labels]("),
    }
    (0..records).for_each(|r| pickle.extend([b'K', label(file, r)]));
    pickle.extend(b"eu.");
    pickle
}

fn contents(layout: &Layout) -> Vec<(&'static str, Vec<u8>)> {
    layout.files().enumerate().map(|(i, (name, records))| (name, content(layout, i, records))).collect()
}

fn write_folder(folder: &Path, files: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(folder).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, format!("cifar-folder/{name}"), &bytes[..]).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn open_small(path: &Path) -> Result<DatasetPair> {
    locate(path, &small())?.scan(None)?.into_pair()
}

fn fault(path: &Path, folder: &TempDir) -> String {
    let message = open_small(path).unwrap_err().to_string();
    message.replace(&folder.path().display().to_string(), "DIR")
}

#[test]
fn every_layout_is_read_from_folder_sub_folder_and_archive() {
    for layout in small() {
        let folder = TempDir::new().unwrap();
        let mut files = contents(&layout);
        write_folder(&folder.path().join("deeper/sub"), &files);
        files.reverse(); // files in an archive come in any order
        files.insert(1, ("readme.html", b"<html>".to_vec()));
        fs::create_dir(folder.path().join("packed")).unwrap();
        fs::write(folder.path().join("packed").join(layout.archive), tar_gz(&files)).unwrap();

        let plain = open_small(&folder.path().join("deeper/sub")).unwrap();
        assert_eq!(plain.train.len(), 2 * layout.train.len());
        assert_eq!((plain.test.len(), plain.train.name()), (1, layout.kind.name()));
        let last = layout.train.len() - 1;
        assert_eq!(plain.train.labels()[2 * last + 1], u32::from(label(last, 1)));
        let mut image = vec![0; PIXELS];
        interleave(&planes(last, 1), &mut image);
        assert_eq!(plain.train.image(2 * last + 1), Some(&image[..]));
        interleave(&planes(last + 1, 0), &mut image);
        assert_eq!(plain.test.image(0), Some(&image[..]));

        for other in ["deeper", "packed"] {
            let pair = open_small(&folder.path().join(other)).unwrap();
            assert_eq!(pair.checksum(), plain.checksum(), "{other} {}", layout.describe());
        }
    }
}

#[test]
fn pickles_of_protocols_2_to_5_are_read() {
    for name in ["protocol-2", "protocol-3", "protocol-4", "protocol-5", "fortran"] {
        let path = format!("{}/tests/fixtures/{name}.pickle.gz", env!("CARGO_MANIFEST_DIR"));
        let reader = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
        let (mut images, mut labels) = (vec![0; 3 * PIXELS], vec![0; 3]);
        python::decode(Kind::Cifar10, name, reader, &mut images, &mut labels).unwrap();
        assert_eq!(labels, [3, 0, 9]);
        for (i, &value) in images.iter().enumerate() {
            let place = i / PIXELS * PIXELS + i % 3 * 1024 + i % PIXELS / 3;
            assert_eq!(usize::from(value), place * 7 % 251, "{name}: byte {i}");
        }
    }
}

/// Pickles that Python 3 wrote with NumPy 1.26 and 2.4. Before protocol 3 they hold bytes as text. Their labels are
/// of every kind that the reader accepts.
#[test]
fn pickles_of_every_protocol_and_kind_of_labels_are_read() {
    let mut read = 0;
    for entry in fs::read_dir(format!("{}/tests/fixtures", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("numpy") {
            continue;
        }
        let reader = flate2::read::GzDecoder::new(fs::File::open(&path).unwrap());
        let (mut images, mut labels) = (vec![0; 3 * PIXELS], vec![0; 3]);
        python::decode(Kind::Cifar10, &name, reader, &mut images, &mut labels).unwrap();
        assert_eq!(labels, [3, 0, 9], "{name}");
        for (i, &value) in images.iter().enumerate() {
            let place = i / PIXELS * PIXELS + i % 3 * 1024 + i % PIXELS / 3;
            assert_eq!(usize::from(value), place * 7 % 256, "{name}: byte {i}");
        }
        read += 1;
    }
    assert_eq!(read, 12, "six protocols, each by two versions of NumPy");
}

/// Reads a whole file as Python 3 writes it with protocol 2. Most colour values are 128 and more, so the file is as
/// long as a real file can be.
#[test]
fn a_file_of_bytes_written_as_text_may_be_twice_as_long() {
    let text = |bytes: &[u8], pickle: &mut Vec<u8>| {
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        pickle.extend(b"c_codecs\nencode\nX");
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text.as_bytes());
        pickle.extend(b"X\x06\0\0\0latin1\x86R");
    };
    let n = 40;
    let mut pickle =
        b"\x80\x02}(X\x04\0\0\0datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85".to_vec();
    text(b"b", &mut pickle);
    pickle.extend(
        [b"\x87R(K\x01K", &[n as u8][..], b"M\0\x0c\x86cnumpy\ndtype\nX\x02\0\0\0u1K\0K\x01\x87R"].concat(),
    );
    pickle.extend(b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89");
    text(&vec![200; n * PIXELS], &mut pickle);
    pickle.extend(b"tbX\x06\0\0\0labels(");
    (0..n).for_each(|_| pickle.extend(b"K\x07"));
    pickle.extend(b"tu.");
    let (mut images, mut labels) = (vec![0; n * PIXELS], vec![0; n]);
    python::decode(Kind::Cifar10, "f", &pickle[..], &mut images, &mut labels).unwrap();
    assert!(images.iter().all(|&byte| byte == 200) && labels.iter().all(|&label| label == 7));
}

#[test]
fn a_tar_and_a_tar_gz_are_read_alike() {
    let layout = small()[1];
    let folder = TempDir::new().unwrap();
    let packed = tar_gz(&contents(&layout));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap();
    fs::write(folder.path().join("mine.tar"), &plain).unwrap();
    fs::write(folder.path().join("mine.tar.gz"), packed).unwrap();
    fs::create_dir(folder.path().join("named")).unwrap();
    fs::write(folder.path().join("named").join("cifar-10-python.tar"), &plain).unwrap();
    let [plain, packed, named] = ["mine.tar", "mine.tar.gz", "named"]
        .map(|name| open_small(&folder.path().join(name)).unwrap().checksum());
    assert!(plain == packed && named == packed);
}

#[test]
fn a_missing_file_is_reported_with_the_list_of_all_files() {
    let folder = TempDir::new().unwrap();
    let mut files = contents(&small()[0]);
    files.remove(2);
    write_folder(folder.path(), &files);
    assert_eq!(
        fault(folder.path(), &folder),
        "DIR/data_batch_3.bin: missing; CIFAR-10, binary version needs data_batch_1.bin, data_batch_2.bin, \
         data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, test_batch.bin"
    );
    let archive = folder.path().join("a.tar.gz");
    fs::write(&archive, tar_gz(&files)).unwrap();
    assert!(fault(&archive, &folder).starts_with("DIR/a.tar.gz/data_batch_3.bin: missing"));
}

#[test]
fn the_error_for_a_folder_without_data_lists_its_content_and_the_expected_files() {
    let folder = TempDir::new().unwrap();
    assert!(fault(folder.path(), &folder).ends_with("found an empty folder"));
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    let message = fault(folder.path(), &folder);
    assert!(message.starts_with("DIR: expected CIFAR-10, binary version (data_batch_1.bin"), "{message}");
    assert!(message.ends_with("found notes.txt"), "{message}");
    assert!(fault(&folder.path().join("nowhere"), &folder).starts_with("DIR/nowhere: cannot be read: "));
}

#[test]
fn errors_of_corrupt_archives_name_the_member_or_the_byte() {
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("a.tar.gz");
    let whole = tar_gz(&contents(&small()[0]));

    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    let message = fault(&archive, &folder);
    assert!(message.starts_with("DIR/a.tar.gz: cifar-folder/data_batch_"), "{message}");
    assert!(message.contains("expected readable data, found \""), "{message}");

    let mut flipped = whole.clone();
    let end = flipped.len() - 8; // the checksum at the end of the stream
    flipped[end] ^= 1;
    fs::write(&archive, &flipped).unwrap();
    assert!(fault(&archive, &folder).contains("expected a readable archive"), "{}", fault(&archive, &folder));

    fs::write(&archive, b"PK\x03\x04").unwrap();
    let expected = "DIR/a.tar.gz, byte 0: expected a .tar.gz (bytes 1f 8b) or a .tar, found bytes [50, 4b]";
    assert_eq!(fault(&archive, &folder), expected);

    fs::write(&archive, tar_gz(&[("readme", vec![1])])).unwrap();
    assert!(fault(&archive, &folder).ends_with("found an archive without these files"));

    let mut twice = contents(&small()[0]);
    twice.push(twice[0].clone());
    fs::write(&archive, tar_gz(&twice)).unwrap();
    assert!(fault(&archive, &folder).ends_with("expected each file once, found a second one of this name"));
}

#[test]
fn labels_and_shapes_of_a_pickle_are_checked() {
    let layout = small()[1];
    let read = |bytes: &[u8]| {
        let (mut images, mut labels) = (vec![0; 2 * PIXELS], vec![0; 2]);
        python::decode(layout.kind, "f", bytes, &mut images, &mut labels).map_err(|e| e.to_string())
    };
    let good = content(&layout, 0, 2);
    assert_eq!(read(&good), Ok(()));
    let mut bad = good.clone();
    let last = bad.len() - 4; // the last label
    bad[last] = 10;
    assert_eq!(read(&bad), Err("f, label 1: expected a label below 10, found the number 10".into()));
    assert_eq!(
        read(&content(&layout, 0, 3)),
        Err("f, byte 0: expected a dictionary with \"data\", an array of shape [2, 3072], \
             found an array of shape [3, 3072]"
            .into())
    );
    let message = read(&good[..3000]).unwrap_err();
    assert!(
        message.ends_with("expected 6144 more bytes, found the end of the file after 3000 bytes"),
        "{message}"
    );
    assert!(read(&vec![0; 100_000]).unwrap_err().contains("expected at most 17408 bytes for 2 images"));
}

/// The checksums of the files of `small()[0]`.
fn sums(name: &str) -> Option<&'static str> {
    let file = contents(&small()[0]).into_iter().find(|(file, _)| *file == name)?.1;
    Some(md5(&file[..]).unwrap().0.leak())
}

#[test]
fn a_flipped_pixel_differs_from_the_published_checksum() {
    let folder = TempDir::new().unwrap();
    let mut files = contents(&small()[0]);
    fs::write(folder.path().join("a.tar.gz"), tar_gz(&files)).unwrap();
    write_folder(&folder.path().join("plain"), &files);
    files[2].1[100] ^= 1;
    fs::write(folder.path().join("flipped.tar.gz"), tar_gz(&files)).unwrap();
    write_folder(&folder.path().join("flipped"), &files);
    for (name, wrong) in
        [("plain", None), ("a.tar.gz", None), ("flipped", Some(2)), ("flipped.tar.gz", Some(2))]
    {
        let path = folder.path().join(name);
        assert!(open_small(&path).is_ok(), "{name}: a set that differs can be read");
        let states = locate(&path, &small()).unwrap().scan(Some(sums)).unwrap().states();
        let bad: Vec<usize> = (0..6).filter(|&file| states[file].outcome.is_err()).collect();
        assert_eq!(bad, Vec::from_iter(wrong), "{name}");
        assert!(states.iter().all(|state| state.is_compared));
        if let Some(Err(error)) = wrong.map(|file: usize| &states[file].outcome) {
            let expected = format!("expected MD5 {}, found ", sums("data_batch_3.bin").unwrap());
            let error = error.to_string();
            assert!(
                error.contains("data_batch_3.bin: differs from the published file")
                    && error.contains(&expected),
                "{error}"
            );
        }
    }
}

#[test]
fn files_after_a_broken_one_are_reported_too() {
    let folder = TempDir::new().unwrap();
    let mut files = contents(&small()[0]);
    files[1].1[3073] = 11;
    files.remove(3);
    write_folder(folder.path(), &files);
    let states = locate(folder.path(), &small()).unwrap().scan(None).unwrap().states();
    let good: Vec<bool> = states.iter().map(|state| state.outcome.is_ok()).collect();
    assert_eq!(good, [true, false, true, false, true, true]);
    assert!(matches!(open_small(folder.path()), Err(Error::Format { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Damage anywhere in the file either is refused or changes the content only.
    #[test]
    fn damaged_pickles_never_panic(place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let layout = small()[3];
        let mut bytes = content(&layout, 0, 2);
        // Half of the cases damage the instructions around the pixels.
        let instructions: Vec<usize> = (0..170).chain(bytes.len() - 40..bytes.len()).collect();
        bytes[instructions[place.index(instructions.len())]] = byte;
        let (mut images, mut labels) = (vec![0; 2 * PIXELS], vec![0; 2]);
        let _ = python::decode(layout.kind, "f", &bytes[..], &mut images, &mut labels);
        let cut = cut.index(bytes.len());
        prop_assert!(python::decode(layout.kind, "f", &bytes[..cut], &mut images, &mut labels).is_err());
    }

    #[test]
    fn damaged_archives_never_panic(place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let folder = TempDir::new().unwrap();
        let archive = folder.path().join("a.tar.gz");
        let mut bytes = tar_gz(&contents(&small()[2]));
        let cut = cut.index(bytes.len());
        fs::write(&archive, &bytes[..cut]).unwrap();
        prop_assert!(open_small(&archive).is_err());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        fs::write(&archive, &bytes).unwrap();
        let _ = open_small(&archive);
    }
}
