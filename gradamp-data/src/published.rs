//! The sizes and checksums under which data sets are published.
//!
//! **Sources:** the archives of CIFAR: <https://www.cs.toronto.edu/~kriz/cifar.html>. The files in their python version,
//! and the packed files of MNIST and Fashion-MNIST: torchvision's `datasets/cifar.py` and `datasets/mnist.py`. The files
//! in CIFAR's binary version: rai-project's `dldataset`, `vision/cifar10.go` and `vision/cifar100.go`. The unpacked files of
//! MNIST and Fashion-MNIST (in `idx`): several projects that read these files publish the same sums.

use std::io::{self, Read};

use md5::{Digest, Md5};

use crate::dataset::hexadecimal;

/// A file of a published data set, as its mirrors offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// The file's name.
    pub name: &'static str,
    /// The file's size in bytes.
    pub bytes: u64,
    /// The MD5 of the file, in hexadecimal.
    pub md5: &'static str,
}

pub(crate) const CIFAR10: [PublishedFile; 1] = [PublishedFile {
    name: "cifar-10-python.tar.gz",
    bytes: 170_498_071,
    md5: "c58f30108f718f92721af3b95e74349a",
}];

pub(crate) const CIFAR100: [PublishedFile; 1] = [PublishedFile {
    name: "cifar-100-python.tar.gz",
    bytes: 169_001_437,
    md5: "eb9058c3a382ffc7106e4002c42a8d85",
}];

pub(crate) const MNIST: [PublishedFile; 4] = [
    PublishedFile {
        name: "train-images-idx3-ubyte.gz",
        bytes: 9_912_422,
        md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    },
    PublishedFile {
        name: "train-labels-idx1-ubyte.gz",
        bytes: 28_881,
        md5: "d53e105ee54ea40749a09fcbcd1e9432",
    },
    PublishedFile {
        name: "t10k-images-idx3-ubyte.gz",
        bytes: 1_648_877,
        md5: "9fb629c4189551a2d022fa330f9573f3",
    },
    PublishedFile {
        name: "t10k-labels-idx1-ubyte.gz",
        bytes: 4_542,
        md5: "ec29112dd5afa0611ce80d1b7f02629c",
    },
];

pub(crate) const FASHION_MNIST: [PublishedFile; 4] = [
    PublishedFile {
        name: "train-images-idx3-ubyte.gz",
        bytes: 26_421_880,
        md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    },
    PublishedFile {
        name: "train-labels-idx1-ubyte.gz",
        bytes: 29_515,
        md5: "25c81989df183df01b3e8a0aad5dffbe",
    },
    PublishedFile {
        name: "t10k-images-idx3-ubyte.gz",
        bytes: 4_422_102,
        md5: "bef4ecab320f06d8554ea6380940ec79",
    },
    PublishedFile {
        name: "t10k-labels-idx1-ubyte.gz",
        bytes: 5_148,
        md5: "bb300cfdad3c16e7a12a480ee83cd310",
    },
];

/// The MD5 of a file of CIFAR in an archive or a folder. The names of all versions differ.
pub(crate) fn cifar_file(name: &str) -> Option<&'static str> {
    CIFAR.iter().find(|(file, _)| *file == name).map(|(_, md5)| *md5)
}

const CIFAR: [(&str, &str); 16] = [
    ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
    ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
    ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
    ("data_batch_4", "634d18415352ddfa80567beed471001a"),
    ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ("test_batch", "40351d587109b95175f43aff81a1287e"),
    ("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
    ("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
    ("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
    ("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
    ("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
    ("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
    ("train", "16019d7e3df5f24257cddd939b257f8d"),
    ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ("train.bin", "6172c7755cfe09b2fe270c85cebc1b15"),
    ("test.bin", "4499cfba6c016c1be1438163640a0898"),
];

/// The MD5 and the number of bytes of everything that `reader` gives.
///
/// **Errors:** those of the reader.
pub fn md5(reader: impl Read) -> io::Result<(String, u64)> {
    let mut summed = Summed::new(reader);
    let bytes = io::copy(&mut summed, &mut io::sink())?;
    Ok((summed.sum(), bytes))
}

/// A reader that sums what is read.
pub(crate) struct Summed<R> {
    inner: R,
    hash: Md5,
}

impl<R: Read> Summed<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Md5::new() }
    }

    /// The MD5 of all bytes that were read, in hexadecimal.
    pub fn sum(self) -> String {
        hexadecimal(&self.hash.finalize())
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        // RFC 1321, appendix A.5.
        assert_eq!(md5(&b""[..]).unwrap(), ("d41d8cd98f00b204e9800998ecf8427e".into(), 0));
        assert_eq!(md5(&b"message digest"[..]).unwrap(), ("f96b697d7cb7938d525a2f31aaf161d0".into(), 14));
    }

    #[test]
    fn every_published_sum_is_a_sum_of_its_own() {
        let files = CIFAR10.iter().chain(&CIFAR100).chain(&MNIST).chain(&FASHION_MNIST).map(|file| file.md5);
        let mut sums: Vec<&str> = files.chain(CIFAR.iter().map(|(_, md5)| *md5)).collect();
        assert!(
            sums.iter().all(|sum| sum.len() == 32 && sum.chars().all(|c| "0123456789abcdef".contains(c)))
        );
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), 26);
    }
}
