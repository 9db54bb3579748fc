//! Batches that the device makes of images in its memory. They have the bits of the host's batches.
//!
//! A backend that keeps no images passes these laws.

use std::ops::Range;

use super::case::{every, unravel};
use super::host_images::HostImages;
use super::repeat::steady;
use super::{Broken, Violation};
use crate::augment::Augmentation;
use crate::keep_images::ImageSet;
use crate::random::{Purpose, Stream};
use crate::{Backend, Batch, Error, Result};

#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// The number of images in the set, and the shape of each.
    n: usize,
    shape: [usize; 3],
    /// How many of the images are served, in a random order.
    served: usize,
    batch_size: usize,
    augmentation: Option<Augmentation>,
    seed: u64,
}

impl Epoch {
    /// Calls `look` with the set. All images differ, and all channels differ.
    fn with_set<T>(&self, look: impl FnOnce(&ImageSet<'_>) -> Result<T, Violation>) -> Result<T, Violation> {
        let stream = Stream::new(self.seed, Purpose::Test);
        let len = self.n * self.shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..len as u64).map(|i| stream.below(i, 256) as u8).collect();
        // More classes than a byte can count, up to the largest number that f32 holds exactly.
        let labels: Vec<u32> = (0..self.n as u64).map(|i| stream.at(1).below(i, 1 << 24) as u32).collect();
        let value = |c: usize, byte: usize| 2.0 * stream.at(2 + c as u64).uniform(byte as u64) - 1.0;
        let table: Vec<[f32; 256]> =
            (0..self.shape[2]).map(|c| std::array::from_fn(|byte| value(c, byte))).collect();
        look(&ImageSet::new(self.shape, &bytes, &labels, &table)?)
    }

    fn order(&self) -> Vec<u32> {
        let mut order = Stream::new(self.seed, Purpose::Shuffle).permutation(self.n);
        order.truncate(self.served);
        order.into_iter().map(|example| example as u32).collect()
    }

    fn augmentation(&self) -> Option<(Augmentation, Stream)> {
        Some((self.augmentation?, Stream::new(self.seed, Purpose::Augment).at(self.seed % 7)))
    }

    /// The places of each batch; the last one may be smaller.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { served, batch_size, .. } = *self;
        (0..served).step_by(batch_size).map(move |first| first..served.min(first + batch_size))
    }
}

fn cases() -> Vec<Epoch> {
    let all = Augmentation { crop_padding: 4, flip: true, cutout: 8 };
    let kinds = [
        None,
        Some(Augmentation::default()),
        Some(Augmentation { crop_padding: 4, ..Augmentation::default() }),
        Some(Augmentation { flip: true, ..Augmentation::default() }),
        Some(Augmentation { cutout: 3, ..Augmentation::default() }), // often reaches over the border
        Some(Augmentation { crop_padding: 0, flip: true, cutout: 16 }), // larger than most images
        Some(all),
    ];
    let sizes = [
        (1, [1, 1, 1], 1, 1),
        (5, [3, 7, 1], 5, 2),
        (9, [5, 3, 3], 4, 3),
        (37, [8, 8, 2], 37, 16),
        (23, [11, 13, 3], 20, 7),
        (150, [32, 32, 3], 140, 128),
        (700, [6, 6, 4], 700, 300),
    ];
    let mut cases = Vec::new();
    for (n, shape, served, batch_size) in sizes {
        for augmentation in kinds {
            let seed = (cases.len() as u64) << 31 | 5; // both words of the key differ from 0
            cases.push(Epoch { n, shape, served, batch_size, augmentation, seed });
        }
    }
    let (shape, augmentation) = (WIDE, Some(Augmentation { cutout: 1, ..Augmentation::default() }));
    let wide = |seed| Epoch { n: 1, shape, served: 1, batch_size: 1, augmentation, seed };
    cases.extend((0..8).chain([carrying_seed()]).map(wide));
    cases
}

/// The shape of a wide image. Its width has more than 16 bits; shaders may have to multiply such numbers in halves.
const WIDE: [usize; 3] = [1, 100_003, 1];

/// A seed with which the position of a wide image's cutout depends on the carry from the lower half of the random bits to the product
/// of the upper half. This is rare, and arithmetic in words of 32 bits easily gets it wrong.
fn carrying_seed() -> u64 {
    let width = WIDE[1];
    let carries = |&seed: &u64| {
        let stream = Stream::new(seed, Purpose::Augment).at(seed % 7).at(0);
        let without = ((stream.bits(4) >> 32) * width as u64) >> 32;
        stream.below(4, width) as u64 != without
    };
    (0..1 << 24).find(carries).unwrap_or(0)
}

/// Batches have the bits of the host's, with and without augmentation, also in a smaller last batch and in an order of some images
/// only. Making a batch changes no other batch, and two epochs at the same time do not disturb each other.
pub fn keep_images_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    every(&cases(), |case| {
        case.with_set(|set| {
            let Some(kept) = backend.keep_images(set)? else { return Ok(()) };
            let twin = HostImages::keep(backend, set);
            let plain: Vec<u32> = (0..case.n as u32).collect();
            let other = kept.epoch(&plain, None)?;
            let (make, expect) = (
                kept.epoch(&case.order(), case.augmentation())?,
                twin.epoch(&case.order(), case.augmentation())?,
            );
            let mut found = Vec::new();
            for places in case.batches() {
                found.push(make(places)?);
                drop(other(0..case.n.div_ceil(2))?);
            }
            case.batches().zip(found).try_for_each(|(places, found)| same(&found, &expect(places)?))
        })
    })
}

fn same<B: Backend>(found: &Batch<B>, expected: &Batch<B>) -> Result<(), Violation> {
    let outputs = [("images", &found.images, &expected.images), ("labels", &found.labels, &expected.labels)];
    for (output, found, expected) in outputs {
        if **found.shape() != **expected.shape() {
            let shapes = format!("{:?}, expected {:?}", found.shape(), expected.shape());
            return Err(Broken::Other(format!("{output} has the shape {shapes}")).into());
        }
        let (values, twin) = (found.to_vec()?, expected.to_vec()?);
        let differs = |&place: &usize| values[place].to_bits() != twin[place].to_bits();
        if let Some(place) = (0..values.len()).find(differs) {
            return Err(Broken::Value {
                output,
                index: unravel(place, found.shape()),
                found: values[place],
                expected: f64::from(twin[place]),
                tolerance: 0.0,
                wrong: (0..values.len()).filter(differs).count(),
                elements: values.len(),
            }
            .into());
        }
    }
    Ok(())
}

/// An order or a batch with images that the set does not have is an error, and no other memory is read.
pub fn kept_images_refuse_what_is_not_there<B: Backend>(backend: &B) -> Result<(), Violation> {
    let case = Epoch { n: 5, shape: [3, 7, 1], served: 5, batch_size: 2, augmentation: None, seed: 1 };
    case.with_set(|set| {
        let Some(kept) = backend.keep_images(set)? else { return Ok(()) };
        let refused = |what: &str, error: Option<Error>| match error {
            Some(Error::Shape { .. }) => Ok(()),
            other => {
                Err(Violation::from(Broken::Other(format!("{what} gives {other:?}, expected a shape error"))))
            }
        };
        refused("an order of image 5 of 5", kept.epoch(&[0, 5], None).err())?;
        refused("an empty order", kept.epoch(&[], None).err())?;
        let make = kept.epoch(&[4, 0, 2], None)?;
        refused("a batch of places 1..4 of 3", make(1..4).err())?;
        refused("a batch of no places", make(1..1).err())
    })
}

/// After the first ones, further batches and epochs take no buffer from the system, if the backend counts its allocations.
pub fn batches_of_kept_images_allocate_nothing<B: Backend>(backend: &B) -> Result<(), Violation> {
    let augmentation = Some(Augmentation { crop_padding: 4, flip: true, cutout: 8 });
    let case = Epoch { n: 50, shape: [32, 32, 3], served: 45, batch_size: 20, augmentation, seed: 1 };
    case.with_set(|set| {
        let Some(kept) = backend.keep_images(set)? else { return Ok(()) };
        steady(backend, || {
            let make = kept.epoch(&case.order(), case.augmentation())?;
            case.batches().try_for_each(|places| Ok(make(places).map(drop)?))
        })
    })
}
