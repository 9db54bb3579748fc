use crate::{Error, Result};

/// The mixture of each image of a batch with another one, in a window of the image.
///
/// y\[i\] = share · x\[i\] + (1 − share) · x\[(i + shift) mod n\] inside the window; y\[i\] = x\[i\] outside
///
/// Mixup has a window of the whole image. CutMix has a share of 0, so that the window shows the other image.
///
/// **Shapes:** x and y `[n, h, w, c]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// n, h, w, c
    pub images: [usize; 4],
    /// The distance to the other image in the batch.
    pub shift: usize,
    /// The share of the image's own values inside the window.
    pub share: f32,
    /// The first row and the first column of the window.
    pub begin: [usize; 2],
    /// The row and the column after its last.
    pub end: [usize; 2],
}

impl Mix {
    /// A mixture of whole images.
    ///
    /// **Errors:** as [`Mix::cutmix`].
    pub fn mixup(images: &[usize], shift: usize, share: f32) -> Result<Self> {
        let Ok(images) = <[usize; 4]>::try_from(images) else { return Err(not_images(images)) };
        let [_, h, w, _] = images;
        Self { images, shift, share, begin: [0, 0], end: [h, w] }.checked()
    }

    /// The other image in a window.
    ///
    /// **Errors:** a shape that is not that of images; a share outside [0, 1]; a window that is not inside the image.
    pub fn cutmix(images: &[usize], shift: usize, begin: [usize; 2], end: [usize; 2]) -> Result<Self> {
        let Ok(images) = <[usize; 4]>::try_from(images) else { return Err(not_images(images)) };
        Self { images, shift, share: 0.0, begin, end }.checked()
    }

    fn checked(self) -> Result<Self> {
        let [_, h, w, _] = self.images;
        let is_inside = self.begin[0] <= self.end[0]
            && self.begin[1] <= self.end[1]
            && self.end[0] <= h
            && self.end[1] <= w;
        if !is_inside || !(0.0..=1.0).contains(&self.share) {
            let message = format!(
                "expects a window inside images of {h} x {w} and a share in [0, 1], got {:?} to {:?} and {}",
                self.begin, self.end, self.share
            );
            return Err(Error::shape("mix", message));
        }
        Ok(self)
    }

    /// Elements of all images.
    pub fn len(&self) -> usize {
        self.images.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the image that image `i` is mixed with.
    pub fn partner(&self, i: usize) -> usize {
        (i + self.shift) % self.images[0]
    }

    /// Whether a pixel is inside the window.
    pub fn covers(&self, row: usize, column: usize) -> bool {
        (self.begin[0]..self.end[0]).contains(&row) && (self.begin[1]..self.end[1]).contains(&column)
    }

    /// The share of the image's own label: 1 − (1 − share) · (pixels of the window) / (pixels of the image).
    pub fn label_share(&self) -> f32 {
        let [_, h, w, _] = self.images;
        let window = (self.end[0] - self.begin[0]) * (self.end[1] - self.begin[1]);
        (1.0 - (1.0 - f64::from(self.share)) * window as f64 / (h * w).max(1) as f64) as f32
    }
}

fn not_images(shape: &[usize]) -> Error {
    Error::shape("mix", format!("expects images [n, h, w, c], got {shape:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Mix;

    proptest! {
        /// The share of a label is the part of the image's values that are its own.
        #[test]
        fn a_label_keeps_the_share_that_its_image_keeps(h in 1usize..9, w in 1usize..9, seed in 0usize..10_000) {
            let begin = [seed % (h + 1), seed / 10 % (w + 1)];
            let end = [begin[0] + (h - begin[0]) / 2, begin[1] + (w - begin[1]) / 2];
            let mix = Mix::cutmix(&[2, h, w, 1], 1, begin, end).unwrap();
            let pixels = (0..h).flat_map(|row| (0..w).map(move |column| (row, column)));
            let own = pixels.filter(|&(row, column)| !mix.covers(row, column)).count();
            prop_assert!((mix.label_share() - own as f32 / (h * w) as f32).abs() < 1e-6);
        }
    }

    #[test]
    fn mixtures_without_sense_are_refused() {
        let message = |result: crate::Result<Mix>| result.unwrap_err().to_string();
        assert!(message(Mix::mixup(&[2, 3], 1, 0.5)).contains("expects images"));
        assert!(message(Mix::mixup(&[2, 4, 4, 3], 1, f32::NAN)).contains("a share in [0, 1]"));
        assert!(message(Mix::cutmix(&[2, 4, 4, 3], 1, [0, 0], [5, 2])).contains("inside images of 4 x 4"));
        assert_eq!(Mix::mixup(&[2, 4, 4, 3], 1, 0.25).unwrap().label_share(), 0.25);
    }
}
