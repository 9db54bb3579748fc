//! Tests of the real CIFAR-10. `GRADAMP_CIFAR10` names its folder or archive; without the data the tests are skipped.

use std::path::PathBuf;

use gradamp_data::{DatasetPair, Result, Source, open};

fn cifar10() -> Option<Result<DatasetPair>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cifar10"));
    let path = std::env::var_os("GRADAMP_CIFAR10").map_or_else(beside, PathBuf::from);
    if !path.exists() {
        eprintln!("SKIPPED: no CIFAR-10 at {}; set GRADAMP_CIFAR10 to its folder or archive", path.display());
        return None;
    }
    Some(open(&path, Source::Auto))
}

#[test]
fn the_real_set_has_its_published_counts_and_constants() {
    let Some(pair) = cifar10() else { return };
    let pair = pair.unwrap();
    assert_eq!((pair.train.len(), pair.test.len()), (50_000, 10_000));
    assert_eq!(pair.train.class_counts(), [5_000; 10]);
    assert_eq!(pair.test.class_counts(), [1_000; 10]);
    let (measured, constants) = (pair.train.measure(), pair.train.normalisation());
    for (measured, constant) in [(&measured.mean, &constants.mean), (&measured.std, &constants.std)] {
        for (m, c) in measured.iter().zip(constant) {
            assert!((m - c).abs() < 2e-4, "measured {m}, constant {c}"); // the constant has four digits
        }
    }
    // The first training image shows a frog, the first test image a cat.
    assert_eq!(pair.train.classes()[pair.train.labels()[0] as usize], "frog");
    assert_eq!(pair.test.classes()[pair.test.labels()[0] as usize], "cat");
    assert_eq!(pair.train.image(0).map(|image| &image[..3]), Some(&[59, 62, 63][..]));
}
