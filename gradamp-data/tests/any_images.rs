//! Data sets of any image size, number of channels and number of classes.

#![allow(clippy::unwrap_used)] // a failed preparation may end a test

use std::sync::Arc;

use gradamp_data::{Augmentation, DataSettings, Dataset, DatasetPair, Loader, Normalisation, Origin, Subset};
use proptest::prelude::*;

/// A set of `n` images whose pixels are all drawn from `seed`, with every label of `classes` that `n` images can have.
fn set(shape: [usize; 3], n: usize, classes: usize, seed: u64) -> Dataset {
    let size = n * shape.iter().product::<usize>();
    let pixels = (0..size as u64)
        .map(|i| ((i + 1).wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    let labels = (0..n).map(|i| ((i * 7 + seed as usize % 1000) % classes) as u32).collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    let plain = Normalisation { mean: vec![0.0; shape[2]], std: vec![1.0; shape[2]] };
    Dataset::new("any", shape, pixels.collect(), labels, names, plain).unwrap()
}

fn shapes() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![
        (1usize..14, 1usize..14, 1usize..6).prop_map(|(h, w, c)| [h, w, c]),
        Just([28, 28, 1]),
        Just([48, 40, 3]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every batch has the images' shape and their labels, and values that a pixel of its channel can have.
    #[test]
    fn batches_hold_any_images(
        shape in shapes(), n in 1usize..40, classes in 2usize..400, seed: u64, batch_size in 1usize..9,
        crop_padding in 0usize..20, flip: bool, cutout in 0usize..20, training: bool,
    ) {
        let data = Arc::new(set(shape, n, classes, seed));
        let part = Subset::all(data.clone());
        let augmentation = Augmentation { crop_padding, flip, cutout };
        let loader = match training {
            true => Loader::training(part, batch_size.min(n), seed, augmentation).unwrap().drop_last(false).unwrap(),
            false => Loader::evaluation(part, batch_size).unwrap(),
        };
        let (size, table) = (shape.iter().product::<usize>(), data.normalisation().table());
        let mut labels: Vec<u32> = Vec::new();
        for batch in loader.host_epoch(3, 0).unwrap() {
            let batch = batch.unwrap();
            prop_assert_eq!(batch.images.len(), batch.labels.len() * size);
            for (i, value) in batch.images.iter().enumerate() {
                let row = &table[i % shape[2]];
                prop_assert!(row.contains(value) || (*value == 0.0 && training && cutout > 0));
            }
            labels.extend(batch.labels.iter().map(|&label| label as u32));
        }
        let mut expected = data.labels().to_vec();
        if training {
            labels.sort_unstable();
            expected.sort_unstable();
        }
        prop_assert_eq!(labels, expected);
    }

    /// Splits keep the share of each class, and every part serves labels of the whole set.
    #[test]
    fn splits_hold_any_classes(shape in shapes(), n in 4usize..60, classes in 2usize..400, seed: u64) {
        let pair = DatasetPair { train: set(shape, n, classes, seed), test: set(shape, 3, classes, !seed), origin: Origin::Generated };
        let settings = DataSettings::default().with_validation(n / 4).with_crop_padding(0);
        let all = pair.train.class_counts();
        let parts = settings.split(pair, seed).unwrap();
        prop_assert_eq!(parts.train.len() + n / 4, n);
        let mut counts = vec![0; classes];
        for part in [Some(&parts.train), parts.validation.as_ref()].into_iter().flatten() {
            part.examples().iter().for_each(|&example| counts[part.data().labels()[example] as usize] += 1);
        }
        prop_assert_eq!(counts, all);
    }
}

/// A label above 255 is not the label of the same low byte, in the set, in its checksum and in its batches.
#[test]
fn labels_above_255_stay_apart() {
    let with = |label: u32| {
        let names = (0..300).map(|class| class.to_string()).collect();
        let plain = Normalisation { mean: vec![0.0], std: vec![1.0] };
        let set = Dataset::new("many", [1, 1, 1], vec![9], vec![label], names, plain).unwrap();
        let batch = Loader::evaluation(Subset::all(Arc::new(set.clone())), 1).unwrap();
        let batch = batch.host_epoch(0, 0).unwrap().next().unwrap().unwrap();
        (DatasetPair { train: set.clone(), test: set, origin: Origin::Generated }.checksum(), batch.labels)
    };
    let ((first, low), (second, high)) = (with(299 - 256), with(299));
    assert_ne!(first, second);
    assert_eq!((low, high), (vec![43.0], vec![299.0]));
}

/// The checksums of sets whose classes a byte can count are those that earlier versions recorded.
#[test]
fn the_checksum_of_a_set_of_few_classes_is_the_old_one() {
    let names = ["a", "b"].map(str::to_owned).to_vec();
    let plain = Normalisation { mean: vec![0.5], std: vec![0.25] };
    let train = Dataset::new("tiny", [1, 2, 1], vec![1, 2, 3, 4], vec![0, 1], names, plain).unwrap();
    let checksum = DatasetPair { test: train.clone(), train, origin: Origin::Generated }.checksum();
    assert_eq!(checksum, "5c8c086df33d4ae557816bde4e31efc87daba6ab6ea6442637479686a3224631");
}
