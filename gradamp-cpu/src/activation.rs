//! tanh and sigmoid. Plain arithmetic without branches, so that the loops are vectorised, and without fused
//! multiplications, so that every instruction set gives the same bits.

use crate::device::Cpu;
use crate::elementwise::CHUNK;
use crate::simd::vectorised;

/// Elements of one task: a function costs about ten times as much as a copy.
const TASK: usize = CHUNK / 4;

/// y = tanh(x)
pub(crate) fn tanh(cpu: &Cpu, x: &[f32], y: &mut [f32]) {
    cpu.threads().each(x.chunks(TASK).zip(y.chunks_mut(TASK)), |(x, y)| tanh_of(cpu, x, y));
}

vectorised! {
    /// tanh(x) = x + x³ · P(x²) for small |x|, and otherwise 1 − 2 / (exp(2 · |x|) + 1) with x's sign.
    ///
    /// P is the minimax polynomial of (tanh(x)/x − 1)/x² over |x| < 0.625; its relative error there is 4e-9.
    fn tanh_of<'a>(x: &'a [f32], y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let z = x * x;
            let p = -0.005_704_987;
            let p = p * z + 0.020_639_088;
            let p = p * z - 0.053_739_715;
            let p = p * z + 0.133_314_42;
            let p = p * z - 0.333_332_8;
            let small = x + x * z * p;
            // Beyond 10, tanh rounds to ±1, and the exponential would overflow at 44.
            let magnitude = if x.abs() > 10.0 { 10.0 } else { x.abs() };
            let large = (1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0)).copysign(x);
            *y = if x.abs() < 0.625 { small } else { large };
        }
    }
}

/// dx = (1 − y²) · dy
pub(crate) fn tanh_backward(cpu: &Cpu, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let parts = y.chunks(CHUNK).zip(dy.chunks(CHUNK)).zip(dx.chunks_mut(CHUNK));
    cpu.threads().each(parts, |((y, dy), dx)| tanh_gradient(cpu, y, dy, dx));
}

vectorised! {
    /// (1 − y) · (1 + y) keeps the digits that 1 − y² loses where y is near ±1.
    fn tanh_gradient<'a>(y: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = (1.0 - y) * (1.0 + y) * dy;
        }
    }
}

/// y = 1 / (1 + exp(−x))
pub(crate) fn sigmoid(cpu: &Cpu, x: &[f32], y: &mut [f32]) {
    cpu.threads().each(x.chunks(TASK).zip(y.chunks_mut(TASK)), |(x, y)| sigmoid_of(cpu, x, y));
}

vectorised! {
    /// With e = exp(−|x|), which cannot overflow: 1 / (1 + e) for x > 0, otherwise e / (1 + e).
    fn sigmoid_of<'a>(x: &'a [f32], y: &'a mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            // Below exp(−87) there are no normal numbers.
            let e = if x.abs() > 87.0 { 0.0 } else { exp(-x.abs()) };
            *y = if x > 0.0 { 1.0 } else { e } / (1.0 + e);
        }
    }
}

/// dx = y · (1 − y) · dy
pub(crate) fn sigmoid_backward(cpu: &Cpu, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let parts = y.chunks(CHUNK).zip(dy.chunks(CHUNK)).zip(dx.chunks_mut(CHUNK));
    cpu.threads().each(parts, |((y, dy), dx)| sigmoid_gradient(cpu, y, dy, dx));
}

vectorised! {
    fn sigmoid_gradient<'a>(y: &'a [f32], dy: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = y * (1.0 - y) * dy;
        }
    }
}

/// exp(x) for |x| ≤ 87, within two roundings; NaN where x is NaN.
///
/// exp(x) = 2^n · exp(r) with n = round(x / ln 2) and |r| ≤ ln 2 / 2; exp(r) = 1 + r + r² · P(r), where P is the minimax
/// polynomial, of relative error 3e-9.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Added to a number below 2^22, this leaves the rounded number in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23
    /// ln 2 in two parts. A product of the first with a whole number up to 2^14 is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let p = 0.001_381_46;
    let p = p * r + 0.008_368_717;
    let p = p * r + 0.041_668_39;
    let p = p * r + 0.166_665_21;
    let p = p * r + 0.499_999_94;
    // n + 127, moved to the place of the exponent: 2^n.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (1.0 + (r + r * r * p)) * power
}
