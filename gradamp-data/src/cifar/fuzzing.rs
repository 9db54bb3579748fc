//! Readers of CIFAR for files with any number of images. Fuzz tests damage small files, because real files are too
//! large to be read a million times.

use std::path::Path;

use super::layout::{Form, Kind, LAYOUTS, Layout, PIXELS};
use super::{binary, locate, python};
use crate::{DatasetPair, Result};

/// Images `[n, 32, 32, 3]` and their labels `[n]`.
pub type Decoded = (Vec<u8>, Vec<u32>);

/// Reads a file of the binary version with `n` images.
///
/// **Errors:** those for a real file.
pub fn binary(bytes: &[u8], cifar100: bool, n: usize) -> Result<Decoded> {
    let (mut images, mut labels) = (vec![0; n * PIXELS], vec![0; n]);
    binary::decode(kind(cifar100), "file", bytes, &mut images, &mut labels)?;
    Ok((images, labels))
}

/// Reads a file of the python version with `n` images.
///
/// **Errors:** those for a real file.
pub fn python(bytes: &[u8], cifar100: bool, n: usize) -> Result<Decoded> {
    let (mut images, mut labels) = (vec![0; n * PIXELS], vec![0; n]);
    python::decode(kind(cifar100), "file", bytes, &mut images, &mut labels)?;
    Ok((images, labels))
}

/// Reads an archive of the binary version with `n` images in each file.
///
/// **Errors:** those for a real archive.
pub fn archive(path: &Path, n: usize) -> Result<DatasetPair> {
    let of_binary = LAYOUTS.into_iter().filter(|layout| layout.form == Form::Binary);
    let few = of_binary.map(|layout| Layout { train_records: n, test_records: n, ..layout });
    locate(path, &few.collect::<Vec<_>>())?.scan(None)?.into_pair()
}

fn kind(cifar100: bool) -> Kind {
    if cifar100 { Kind::Cifar100 } else { Kind::Cifar10 }
}
