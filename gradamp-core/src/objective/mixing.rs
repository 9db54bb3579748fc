use derive_setters::Setters;

use crate::geometry::Mix;
use crate::random::Stream;
use crate::{Backend, Batch, Error, Result, Tensor};

/// The mixture of each batch's images and labels: mixup, CutMix, or for each batch one of the two.
///
/// Image i is mixed with image (i + shift) mod n of its batch, by a random shift that is not 0. With λ from Beta(α, α) for each batch:
///
/// - mixup: λ · x\[i\] + (1 − λ) · x\[i + shift\]
/// - CutMix: image i + shift in a window of √(1 − λ) of the height and of the width, around a random centre and cut at the border;
///   image i elsewhere
///
/// A label becomes shares of classes: those of the pixels that each image has, or λ and 1 − λ.
///
/// **Source:** H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018; S. Yun, D. Han,
/// S. Oh, S. Chun, J. Choe, Y. Yoo, "CutMix", ICCV 2019. Both draw a permutation of the batch; a shift of a shuffled batch pairs
/// as random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Setters)]
#[setters(prefix = "with_")]
#[non_exhaustive]
pub struct Mixing {
    /// α of mixup; 0 for none.
    pub mixup: f32,
    /// α of CutMix; 0 for none.
    pub cutmix: f32,
}

impl Mixing {
    /// Whether batches are mixed.
    pub fn is_on(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }

    /// Checks both numbers.
    ///
    /// **Errors:** an α that is negative or not finite.
    pub fn check(&self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(alpha.is_finite() && alpha >= 0.0) {
                return Err(Error::setting(
                    name,
                    format!("expected a finite number of at least 0, found {alpha}"),
                ));
            }
        }
        Ok(())
    }

    /// Mixes a batch with the random numbers of `stream`. The labels become shares `[n, classes]`.
    ///
    /// **Errors:** images that are not `[n, h, w, c]`.
    pub fn mix<B: Backend>(&self, batch: Batch<B>, classes: usize, stream: Stream) -> Result<Batch<B>> {
        if !self.is_on() {
            return Ok(batch);
        }
        let g = self.draw(batch.images.shape(), stream)?;
        let backend = batch.images.backend();
        let images = Tensor::build(backend, batch.images.shape(), |y| {
            backend.mix_images(&g, batch.images.buffer(), y)
        })?;
        let labels = match batch.labels.shape().len() {
            1 => Tensor::build(backend, &[g.images[0], classes], |targets| {
                backend.mix_labels(&g, classes, batch.labels.buffer(), targets)
            })?,
            _ => {
                // Shares are mixed as images of one pixel, whose channels are the classes.
                let one_pixel = [g.images[0], 1, 1, batch.labels.elements() / g.images[0].max(1)];
                let g = Mix::mixup(&one_pixel, g.shift, g.label_share())?;
                Tensor::build(backend, batch.labels.shape(), |targets| {
                    backend.mix_images(&g, batch.labels.buffer(), targets)
                })?
            }
        };
        Ok(Batch { images, labels })
    }

    fn draw(&self, images: &[usize], stream: Stream) -> Result<Mix> {
        let n = images.first().copied().unwrap_or(0);
        let shift = if n > 1 { 1 + stream.below(0, n - 1) } else { 0 };
        let is_mixup = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => stream.uniform(1) < 0.5,
            (is_mixup, _) => is_mixup,
        };
        let alpha = if is_mixup { self.mixup } else { self.cutmix };
        let share = symmetric_beta(f64::from(alpha), stream.at(0));
        if is_mixup {
            return Mix::mixup(images, shift, share as f32);
        }
        let sizes = [images.get(1), images.get(2)].map(|size| size.copied().unwrap_or(0));
        let windows = [0, 1].map(|axis| {
            let size = sizes[axis];
            let half = (size as f64 * (1.0 - share).sqrt()) as usize / 2;
            let centre = stream.below(2 + axis as u64, size);
            (centre.saturating_sub(half), (centre + half).min(size))
        });
        Mix::cutmix(images, shift, windows.map(|(begin, _)| begin), windows.map(|(_, end)| end))
    }
}

/// A number in [0, 1] from Beta(α, α): X / (X + Y), where X and Y are from Gamma(α).
fn symmetric_beta(alpha: f64, stream: Stream) -> f64 {
    let [x, y] = [0, 1].map(|part| log_gamma_variate(alpha, stream.at(part)));
    1.0 / (1.0 + (y - x).exp()) // by logarithms, since for a small α both may be too small for a number
}

/// The logarithm of a number from Gamma(α).
///
/// **Source:** G. Marsaglia, W. Tsang, "A Simple Method for Generating Gamma Variables", 2000. For α < 1 a number from Gamma(α + 1)
/// is multiplied by U^(1/α).
fn log_gamma_variate(alpha: f64, stream: Stream) -> f64 {
    let uniform = |index| ((stream.at(1).bits(index) >> 11) as f64 + 0.5) / (1u64 << 53) as f64; // never 0
    let boosted = if alpha < 1.0 { alpha + 1.0 } else { alpha };
    let d = boosted - 1.0 / 3.0;
    let mut found = d.ln(); // of x = 0; one in a hundred attempts fails, so that a hundred in a row never do
    for attempt in 1..=100 {
        let mut normals = [0.0; 2];
        stream.normals(attempt, &mut normals);
        let x = f64::from(normals[0]);
        let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
        if v > 0.0 && uniform(attempt).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            found = (d * v).ln();
            break;
        }
    }
    if alpha < 1.0 { found + uniform(0).ln() / alpha } else { found }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Reference;
    use crate::random::Purpose;

    fn stream(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Test)
    }

    /// Beta(α, α) has the mean 1/2 and the variance 1 / (4 · (2α + 1)).
    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.01, 0.2, 1.0, 4.0] {
            let n = 20_000;
            let shares: Vec<f64> = (0..n).map(|i| symmetric_beta(alpha, stream(1).at(i))).collect();
            let mean = shares.iter().sum::<f64>() / n as f64;
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / n as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: mean {mean}");
            assert!((variance / expected - 1.0).abs() < 0.04, "{alpha}: variance {variance}");
        }
    }

    proptest! {
        /// The window is inside the image, and the shift is never 0.
        #[test]
        fn what_is_drawn_is_valid(seed: u64, n in 2usize..9, h in 1usize..40, w in 1usize..40, alpha in 0.01f32..3.0) {
            for mixing in [Mixing { mixup: alpha, cutmix: 0.0 }, Mixing { mixup: 0.0, cutmix: alpha }] {
                let g = mixing.draw(&[n, h, w, 3], stream(seed)).unwrap();
                prop_assert!((1..n).contains(&g.shift));
                prop_assert_eq!(g.share == 0.0 && g.end != [h, w], mixing.cutmix > 0.0 && g.end != [h, w]);
            }
        }

        /// The shares of each image sum to 1, and mixing shares is mixing labels.
        #[test]
        fn labels_become_shares(seed: u64, n in 1usize..6) {
            let mixing = Mixing { mixup: 1.0, cutmix: 1.0 };
            let images = Tensor::full(&Reference, &[n, 4, 4, 1], 1.0).unwrap();
            let indices: Vec<f32> = (0..n).map(|i| (i % 3) as f32).collect();
            let one_hot: Vec<f32> = indices.iter().flat_map(|i| (0..3).map(move |k| f32::from(*i == k as f32))).collect();
            let labels = Tensor::from_slice(&Reference, &[n], &indices).unwrap();
            let shares = Tensor::from_slice(&Reference, &[n, 3], &one_hot).unwrap();
            let mixed = [labels, shares].map(|labels| {
                let batch = Batch { images: images.clone(), labels };
                mixing.mix(batch, 3, stream(seed)).unwrap().labels.to_vec().unwrap()
            });
            for (of_labels, of_shares) in mixed[0].iter().zip(&mixed[1]) {
                prop_assert!((of_labels - of_shares).abs() < 1e-6);
            }
            for row in mixed[0].chunks(3) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn both_methods_take_turns() {
        let both = Mixing { mixup: 1.0, cutmix: 1.0 };
        let whole =
            (0..1000).filter(|i| both.draw(&[4, 8, 8, 3], stream(2).at(*i)).unwrap().share > 0.0).count();
        assert!((400..600).contains(&whole), "{whole} of 1000 are mixup");
    }

    #[test]
    fn numbers_without_sense_are_refused() {
        let error = Mixing { mixup: -1.0, cutmix: 0.0 }.check().unwrap_err().to_string();
        assert_eq!(error, "mixup: expected a finite number of at least 0, found -1");
        assert!(Mixing { mixup: 0.0, cutmix: f32::NAN }.check().is_err());
        assert!(!Mixing::default().is_on() && Mixing::default().check().is_ok());
    }
}
