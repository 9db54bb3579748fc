//! Random crop, horizontal flip and cutout, then normalisation.
//!
//! Every choice is an integer of a counted stream of random numbers, `Stream::new(seed, Purpose::Augment).at(epoch).at(example)`, where
//! `example` is the image's number in its data set. An image is therefore augmented in the same way for every order, batch size
//! and number of threads, and a GPU can repeat the augmentation bit for bit. The draws, by index:
//!
//! | index | draw |
//! |---|---|
//! | 0, 1 | rows and columns of the crop's corner in the padded image, each below 2·padding + 1 |
//! | 2 | below 2; 1 flips the image |
//! | 3, 4 | row and column of the cutout's centre, below h and w |
//!
//! **Source:** crop and flip as in He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2; cutout:
//! DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", 2017.

use crate::random::Stream;

/// The augmentation of training images. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels added on each side before an image-sized window is cut out; 0 for no crop.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// Side in pixels of a square that is set to 0 after normalisation; 0 for none. The square may extend over the border.
    pub cutout: usize,
}

/// The augmentation of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Rows from the image's first to the window's first; negative above the image.
    pub down: isize,
    /// Columns from the image's first to the window's first, before the flip.
    pub right: isize,
    /// Whether the image is mirrored left to right.
    pub flip: bool,
    /// The rows and the columns of the result that are cut out: each from the first number up to, but without, the second.
    pub cutout: [(usize, usize); 2],
}

impl Augmentation {
    /// The choice for an image of `h` times `w` pixels; `epoch` is `Stream::new(seed, Purpose::Augment).at(epoch)`.
    pub fn choose(&self, epoch: Stream, example: usize, [h, w]: [usize; 2]) -> Choice {
        let stream = epoch.at(example as u64);
        let shift =
            |index| stream.below(index, 2 * self.crop_padding + 1) as isize - self.crop_padding as isize;
        let span = |index, size: usize| {
            let first = stream.below(index, size) as isize - (self.cutout / 2) as isize;
            let clamp = |edge: isize| edge.clamp(0, size as isize) as usize;
            (clamp(first), clamp(first + self.cutout as isize))
        };
        Choice {
            down: shift(0),
            right: shift(1),
            flip: self.flip && stream.below(2, 2) == 1,
            cutout: if self.cutout == 0 { [(0, 0); 2] } else { [span(3, h), span(4, w)] },
        }
    }
}

/// Writes one image after crop, flip, normalisation and cutout.
///
/// y[i, j, c] = table[c, x[i + down, j' + right, c]], where j' = w − 1 − j if mirrored, else j; table[c, 0] outside x;
/// 0 inside the cutout.
///
/// **Shapes:** image and out `[h, w, c]`; a row of `table` for each channel: the normalised value of every byte.
pub fn apply(choice: &Choice, [h, w, c]: [usize; 3], table: &[[f32; 256]], image: &[u8], out: &mut [f32]) {
    let [rows, columns] = choice.cutout;
    for (i, line) in out.chunks_exact_mut(w * c).enumerate().take(h) {
        let y = i.checked_add_signed(choice.down).filter(|&y| y < h);
        let source = y.map(|y| &image[y * w * c..(y + 1) * w * c]);
        let cut_row = (rows.0..rows.1).contains(&i);
        for (j, pixel) in line.chunks_exact_mut(c).enumerate() {
            if cut_row && (columns.0..columns.1).contains(&j) {
                pixel.fill(0.0);
                continue;
            }
            let mirrored = if choice.flip { w - 1 - j } else { j };
            let x = mirrored.checked_add_signed(choice.right).filter(|&x| x < w);
            match (source, x) {
                (Some(source), Some(x)) => {
                    let values = pixel.iter_mut().zip(&source[x * c..(x + 1) * c]);
                    values.zip(table).for_each(|((y, &value), row)| *y = row[usize::from(value)]);
                }
                _ => pixel.iter_mut().zip(table).for_each(|(y, row)| *y = row[0]), // black
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::Purpose;

    const SHAPE: [usize; 3] = [4, 5, 2];

    fn table() -> [[f32; 256]; 2] {
        [0.5, 3.0].map(|mean| std::array::from_fn(|value| value as f32 / 64.0 - mean))
    }

    fn epoch(seed: u64, epoch: u64) -> Stream {
        Stream::new(seed, Purpose::Augment).at(epoch)
    }

    fn image() -> Vec<u8> {
        (1..=40).collect()
    }

    fn run(choice: Choice) -> Vec<f32> {
        let mut out = vec![f32::NAN; 40];
        apply(&choice, SHAPE, &table(), &image(), &mut out);
        out
    }

    #[test]
    fn the_default_only_normalises() {
        let choice = Augmentation::default().choose(epoch(1, 2), 3, [4, 5]);
        assert_eq!(choice, Choice::default());
        let expected: Vec<f32> =
            image().iter().enumerate().map(|(i, &v)| table()[i % 2][usize::from(v)]).collect();
        assert_eq!(run(choice), expected);
    }

    #[test]
    fn two_flips_are_none() {
        let flipped = run(Choice { flip: true, ..Choice::default() });
        let plain = run(Choice::default());
        for i in 0..4 {
            for j in 0..5 {
                assert_eq!(flipped[(i * 5 + j) * 2..][..2], plain[(i * 5 + 4 - j) * 2..][..2]);
            }
        }
    }

    #[test]
    fn every_shift_flip_and_cutout_is_drawn() {
        let augmentation = Augmentation { crop_padding: 4, flip: true, cutout: 3 };
        let choices: Vec<Choice> = (0..2000).map(|i| augmentation.choose(epoch(9, 0), i, [32, 32])).collect();
        for shift in -4..=4 {
            assert!(choices.iter().any(|c| c.down == shift) && choices.iter().any(|c| c.right == shift));
        }
        let flips = choices.iter().filter(|c| c.flip).count();
        assert!((900..1100).contains(&flips), "{flips} flips of 2000");
        assert!(choices.iter().any(|c| c.cutout[0] == (0, 2)), "a square over the upper border");
        assert!(choices.iter().any(|c| c.cutout[1] == (30, 32)), "a square over the right border");
        let [first, second] = [0, 1].map(|number| augmentation.choose(epoch(9, number), 0, [32, 32]));
        assert_ne!(first, second);
    }

    proptest! {
        /// Against the formula, pixel by pixel.
        #[test]
        fn pixels_come_from_where_the_formula_says(
            down in -6isize..=6, right in -6isize..=6, flip: bool, rows in (0usize..5, 0usize..5), columns in (0usize..6, 0usize..6),
        ) {
            let choice = Choice { down, right, flip, cutout: [rows, columns] };
            let out = run(choice);
            let (image, table) = (image(), table());
            for (index, &value) in out.iter().enumerate() {
                let (i, j, c) = (index / 10, index / 2 % 5, index % 2);
                let x = if flip { 4 - j } else { j } as isize + right;
                let y = i as isize + down;
                let inside = (0..4).contains(&y) && (0..5).contains(&x);
                let pixel = if inside { image[((y * 5 + x) * 2) as usize + c] } else { 0 };
                let cut = (rows.0..rows.1).contains(&i) && (columns.0..columns.1).contains(&j);
                prop_assert_eq!(value, if cut { 0.0 } else { table[c][usize::from(pixel)] });
            }
        }

        #[test]
        fn a_cutout_has_its_size_but_for_the_border(seed: u64, size in 1usize..20) {
            let choice = Augmentation { cutout: size, ..Augmentation::default() }.choose(epoch(seed, 0), 0, [16, 16]);
            for (first, end) in choice.cutout {
                prop_assert!(first < end && end <= 16 && end - first <= size);
                prop_assert!(end - first == size || first == 0 || end == 16);
            }
        }
    }
}
