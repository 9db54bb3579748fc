//! Counted randomness: every random number is a function of (seed, purpose, epoch, step, index).
//!
//! There is no generator whose state moves. A run therefore resumes bit for bit at any step, every backend starts from
//! the same weights, and any decision can be repeated.
//!
//! **Source:** Threefry-2x32 with 20 rounds; Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as
//! 1, 2, 3", SC 2011. It needs only 32-bit additions, rotations and exclusive ors, which every GPU has.

/// The use of a random number. Two purposes never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial parameters.
    Initialise = 1,
    /// The order of examples in an epoch.
    Shuffle = 2,
    /// Crop, flip and cutout.
    Augment = 3,
    /// The draws of amplified sites.
    Amplify = 4,
    /// The split into training and validation examples, and subsets.
    Split = 5,
    /// Generated images.
    Generate = 6,
    /// Tests and benchmarks.
    Test = 7,
    /// Resampled examples, for bootstrap intervals.
    Resample = 8,
    /// Noise that is added to gradients.
    Noise = 9,
    /// Random layers of a forward pass, such as dropout.
    Forward = 10,
    /// The mixture of a batch's images.
    Mix = 11,
}

/// A stream of random numbers, addressed by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// The stream of `(seed, purpose)`; narrow it further with [`Stream::at`].
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        Self { key: threefry2x32(key, [purpose as u32, 0]) }
    }

    /// The sub-stream at `position`: an epoch, a step, an example, a parameter's number.
    /// Streams at different positions are independent of each other and of their parent's numbers.
    #[must_use]
    pub fn at(self, position: u64) -> Self {
        // The complement keeps sub-keys apart from `bits`, which uses the counter as it is.
        Self { key: threefry2x32([self.key[0], !self.key[1]], [position as u32, (position >> 32) as u32]) }
    }

    /// The key, with which a shader can compute the same numbers.
    pub fn key(self) -> [u32; 2] {
        self.key
    }

    /// 64 random bits at `index`.
    pub fn bits(self, index: u64) -> u64 {
        let [low, high] = threefry2x32(self.key, [index as u32, (index >> 32) as u32]);
        u64::from(low) | u64::from(high) << 32
    }

    /// 32 random bits at `index`: two neighbours share a block of bits, the lower half first.
    pub fn word(self, index: u64) -> u32 {
        (self.bits(index / 2) >> (32 * (index % 2))) as u32
    }

    /// A number in [0, 1) at `index`, with 24 random bits: exact in f32.
    pub fn uniform(self, index: u64) -> f32 {
        (self.bits(index) >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// An integer in `0..bound` at `index`; 0 if `bound` is 0.
    /// A multiply-shift of 64 bits: the bias is below 2^-32 for any bound this project uses.
    pub fn below(self, index: u64, bound: usize) -> usize {
        ((u128::from(self.bits(index)) * bound as u128) >> 64) as usize
    }

    /// Fills `out` with the standard normal numbers from index `2 · pair` on. Two neighbours share a block of bits:
    ///
    /// a and b are the halves of `bits(pair)`; r = sqrt(−2 · ln((a + 1) / 2³²)), φ = 2π · b / 2³²; r · cos φ and r · sin φ
    ///
    /// The numbers are computed in f64 and then rounded. No number is larger than 6.7 in magnitude.
    ///
    /// **Source:** G. Box, M. Muller, "A Note on the Generation of Random Normal Deviates", 1958.
    pub fn normals(self, pair: u64, out: &mut [f32]) {
        const UNIT: f64 = 1.0 / (1u64 << 32) as f64;
        for (pair, out) in (pair..).zip(out.chunks_mut(2)) {
            let bits = self.bits(pair);
            let (a, b) = (f64::from(bits as u32), f64::from((bits >> 32) as u32));
            let radius = (-2.0 * ((a + 1.0) * UNIT).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * b * UNIT).sin_cos();
            for (out, part) in out.iter_mut().zip([cos, sin]) {
                *out = (radius * part) as f32;
            }
        }
    }

    /// A permutation of `0..len` (Fisher-Yates).
    pub fn permutation(self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for i in (1..len).rev() {
            order.swap(i, self.below(i as u64, i + 1));
        }
        order
    }

    /// `count` distinct members of `0..len`, in ascending order; all of them if `count >= len`.
    pub fn choose(self, len: usize, count: usize) -> Vec<usize> {
        let mut chosen = self.permutation(len);
        chosen.truncate(count);
        chosen.sort_unstable();
        chosen
    }
}

/// One block of Threefry-2x32-20.
fn threefry2x32(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let keys = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let [mut a, mut b] = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for round in 0..20 {
        a = a.wrapping_add(b);
        b = b.rotate_left(ROTATIONS[round % 8]) ^ a;
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            a = a.wrapping_add(keys[injection % 3]);
            b = b.wrapping_add(keys[(injection + 1) % 3]).wrapping_add(injection as u32);
        }
    }
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The known answers published with the authors' library.
    #[test]
    fn threefry_gives_the_published_answers() {
        assert_eq!(threefry2x32([0, 0], [0, 0]), [0x6b20_0159, 0x99ba_4efe]);
        assert_eq!(threefry2x32([u32::MAX; 2], [u32::MAX; 2]), [0x1cb9_96fc, 0xbb00_2be7]);
        assert_eq!(
            threefry2x32([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]),
            [0xc492_3a9c, 0x483d_f7a0]
        );
    }

    #[test]
    fn uniform_numbers_have_the_mean_and_variance_of_the_unit_interval() {
        let stream = Stream::new(1, Purpose::Test);
        let n = 100_000;
        let values: Vec<f64> = (0..n).map(|i| f64::from(stream.uniform(i))).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.004, "mean {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.002, "variance {variance}");
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_normal_distribution() {
        let mut values = vec![0.0; 100_001];
        Stream::new(1, Purpose::Test).normals(0, &mut values);
        let moment = |k| values.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / values.len() as f64;
        for (k, expected, within) in [(1, 0.0, 0.015), (2, 1.0, 0.02), (3, 0.0, 0.05), (4, 3.0, 0.15)] {
            assert!((moment(k) - expected).abs() < within, "moment {k}: {}", moment(k));
        }
        // The two numbers of a block are independent of each other.
        let product = values.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / values.len() as f64;
        assert!(product.abs() < 0.015, "{product}");
        let within_one = values.iter().filter(|v| v.abs() < 1.0).count() as f64 / values.len() as f64;
        assert!((within_one - 0.6827).abs() < 0.006, "{within_one}");
    }

    #[test]
    fn normal_numbers_are_addressed_by_pairs() {
        let stream = Stream::new(2, Purpose::Test);
        let mut whole = vec![0.0; 41];
        stream.normals(3, &mut whole);
        let mut part = vec![0.0; 7];
        stream.normals(3 + 5, &mut part);
        assert_eq!(part, whole[10..17]);
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_position() {
        let base = Stream::new(1, Purpose::Test).at(3);
        let others = [
            Stream::new(2, Purpose::Test).at(3),
            Stream::new(1 << 32 | 1, Purpose::Test).at(3),
            Stream::new(1, Purpose::Shuffle).at(3),
            Stream::new(1, Purpose::Test).at(4),
            Stream::new(1, Purpose::Test),
        ];
        for other in others {
            assert_ne!(base.bits(0), other.bits(0));
        }
    }

    proptest! {
        #[test]
        fn a_permutation_holds_every_index_once(seed: u64, len in 0usize..300) {
            let mut order = Stream::new(seed, Purpose::Test).permutation(len);
            order.sort_unstable();
            prop_assert_eq!(order, (0..len).collect::<Vec<_>>());
        }

        #[test]
        fn a_choice_is_ascending_distinct_and_of_the_asked_size(seed: u64, len in 0usize..100, count in 0usize..120) {
            let chosen = Stream::new(seed, Purpose::Test).choose(len, count);
            prop_assert_eq!(chosen.len(), count.min(len));
            prop_assert!(chosen.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(chosen.iter().all(|&i| i < len));
        }

        #[test]
        fn below_stays_below(seed: u64, index: u64, bound in 1usize..1_000_000) {
            prop_assert!(Stream::new(seed, Purpose::Test).below(index, bound) < bound);
        }
    }
}
