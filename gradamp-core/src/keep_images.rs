//! Images that are kept on a device. The host copies them to the device once, as bytes, and the device makes the batches.
//!
//! Batches are then not copied from the host, and the host computes no crop, flip, cutout or normalisation. Every choice is a
//! counted random number ([`augment`](crate::augment)) and every value comes from a table, so that batches have the bits that a host
//! computes.

use std::fmt::Debug;
use std::ops::Range;

use crate::augment::Augmentation;
use crate::backend::Memory;
use crate::random::Stream;
use crate::{Batch, Error, Result};

/// Labelled images in the host's memory, with a table of the values that bytes stand for.
///
/// **Shapes:** bytes `[n, h, w, c]`, labels `[n]`, a row of `table` for each channel.
#[derive(Clone, Copy, Debug)]
pub struct ImageSet<'a> {
    /// The shape of one image, `[h, w, c]`.
    pub shape: [usize; 3],
    /// The pixels of all images.
    pub bytes: &'a [u8],
    /// The class index of each image, below 2^24.
    pub labels: &'a [u32],
    /// The normalised value of every byte, for each channel.
    pub table: &'a [[f32; 256]],
}

impl<'a> ImageSet<'a> {
    /// A set of these images, after checking that the parts fit each other.
    ///
    /// **Errors:** an empty shape or set; parts that do not fit each other; more images than a u32 can count.
    pub fn new(
        shape: [usize; 3],
        bytes: &'a [u8],
        labels: &'a [u32],
        table: &'a [[f32; 256]],
    ) -> Result<Self> {
        let [h, w, c] = shape;
        let n = labels.len();
        if n * h * w * c == 0 || u32::try_from(n).is_err() || bytes.len() != n * h * w * c || table.len() != c
        {
            let (bytes, rows) = (bytes.len(), table.len());
            return fail(format!(
                "[{n}, {h}, {w}, {c}] does not fit {bytes} bytes and {rows} rows of values"
            ));
        }
        Ok(Self { shape, bytes, labels, table })
    }

    /// The number of images; at least 1.
    #[allow(clippy::len_without_is_empty)] // a set is never empty
    pub fn len(&self) -> usize {
        self.labels.len()
    }
}

/// Images that a backend keeps on its device; see [`Device::keep_images`](crate::backend::Device::keep_images).
pub trait KeptImages<B: Memory>: Debug + Send + Sync {
    /// Prepares an epoch. `order` holds the images in the order in which they are served, by their number in the set. The choices for an
    /// image are drawn from `stream.at(image)`, with the stream of the epoch. Without an augmentation, images are only normalised.
    ///
    /// **Errors:** those of [`check_order`]; an augmentation with more pixels than the device can count.
    fn epoch<'a>(
        &'a self,
        order: &[u32],
        augmentation: Option<(Augmentation, Stream)>,
    ) -> Result<MakeBatch<'a, B>>;
}

/// Makes the batch of some places in an epoch's order: images `[places, h, w, c]` and labels `[places]`.
///
/// **Errors:** those of [`check_places`]; out of memory.
pub type MakeBatch<'a, B> = Box<dyn Fn(Range<usize>) -> Result<Batch<B>> + 'a>;

/// **Errors:** the order is empty, or holds a number that is not below `images`.
pub fn check_order(order: &[u32], images: usize) -> Result<()> {
    match order.iter().find(|&&image| image as usize >= images) {
        Some(past) => fail(format!("the order has image {past}, of {images}")),
        None if order.is_empty() => fail("the order has no images".into()),
        None => Ok(()),
    }
}

/// **Errors:** there are no places, or a place is not below `len`, the length of the order.
pub fn check_places(places: &Range<usize>, len: usize) -> Result<()> {
    match places.start < places.end && places.end <= len {
        true => Ok(()),
        false => fail(format!("the order has {len} images, a batch is made of places {places:?}")),
    }
}

fn fail<T>(message: String) -> Result<T> {
    Err(Error::shape("keep_images", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_do_not_fit_are_errors() {
        let table = [[0.0; 256]; 3];
        let fits = |shape, bytes, labels, rows| {
            ImageSet::new(shape, &[0; 60][..bytes], &[0; 5][..labels], &table[..rows]).is_ok()
        };
        assert!(fits([2, 2, 3], 60, 5, 3));
        assert!(!fits([2, 2, 3], 59, 5, 3), "a byte too few");
        assert!(!fits([2, 2, 3], 60, 4, 3), "a label too few");
        assert!(!fits([2, 2, 3], 60, 5, 2), "a row too few");
        assert!(!fits([2, 0, 3], 0, 5, 3), "empty images");
        assert!(!fits([2, 2, 3], 0, 0, 3), "no images");
    }

    #[test]
    fn what_is_not_there_is_an_error_with_both_numbers() {
        assert!(check_order(&[4, 0, 4], 5).is_ok());
        let message = check_order(&[4, 5], 5).unwrap_err().to_string();
        assert_eq!(message, "keep_images: the order has image 5, of 5");
        assert!(check_order(&[], 5).is_err());
        assert!(check_places(&(3..5), 5).is_ok());
        let message = check_places(&(3..6), 5).unwrap_err().to_string();
        assert_eq!(message, "keep_images: the order has 5 images, a batch is made of places 3..6");
        assert!(check_places(&(3..3), 5).is_err());
    }
}
