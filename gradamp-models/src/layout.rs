//! Converts parameters between this project's layouts and PyTorch's.
//!
//! | role | here | PyTorch |
//! |---|---|---|
//! | convolution | `[kh, kw, c_in, c_out]` | `[c_out, c_in, kh, kw]` |
//! | linear layer | `[c_in, c_out]` | `[c_out, c_in]` |
//! | linear layer on images | `[h, w, c_in, c_out]` | `[c_out, c_in · h · w]` |
//! | all others | `[c]` | `[c]` |

use gradamp_core::Role;

/// The shape of a weight as `[k, c_in, c_out]`, where k is the number of taps of the kernel; `None` if the two
/// layouts are equal.
fn weight(role: Role, shape: &[usize]) -> Option<[usize; 3]> {
    match (role, shape) {
        (Role::ConvWeight | Role::LinearWeight, &[kh, kw, c_in, c_out]) => Some([kh * kw, c_in, c_out]),
        (Role::LinearWeight, &[c_in, c_out]) => Some([1, c_in, c_out]),
        _ => None,
    }
}

/// The shape in PyTorch of a parameter whose shape here is `shape`.
pub(crate) fn torch_shape(role: Role, shape: &[usize]) -> Vec<usize> {
    match (role, shape) {
        (Role::ConvWeight, &[kh, kw, c_in, c_out]) => vec![c_out, c_in, kh, kw],
        (Role::LinearWeight, &[c_in, c_out]) => vec![c_out, c_in],
        (Role::LinearWeight, &[h, w, c_in, c_out]) => vec![c_out, c_in * h * w],
        _ => shape.to_vec(),
    }
}

/// The values of a parameter in PyTorch's order. `shape` is its shape in this project's layout.
pub(crate) fn to_torch(role: Role, shape: &[usize], values: Vec<f32>) -> Vec<f32> {
    let Some([k, c_in, c_out]) = weight(role, shape) else { return values };
    let mut y = Vec::with_capacity(values.len());
    for o in 0..c_out {
        for i in 0..c_in {
            y.extend((0..k).map(|p| values[(p * c_in + i) * c_out + o]));
        }
    }
    y
}

/// The inverse of [`to_torch`]. `shape` is again the shape in this project's layout.
pub(crate) fn from_torch(role: Role, shape: &[usize], values: Vec<f32>) -> Vec<f32> {
    let Some([k, c_in, c_out]) = weight(role, shape) else { return values };
    let mut y = Vec::with_capacity(values.len());
    for p in 0..k {
        for i in 0..c_in {
            y.extend((0..c_out).map(|o| values[(o * c_in + i) * k + p]));
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A slow reference computes the position of each value from its four indices.
        #[test]
        fn every_value_of_a_convolution_moves_to_its_position(kh in 1usize..4, kw in 1usize..4, i in 1usize..5, o in 1usize..5) {
            let shape = [kh, kw, i, o];
            let values: Vec<f32> = (0..kh * kw * i * o).map(|v| v as f32).collect();
            let torch = to_torch(Role::ConvWeight, &shape, values.clone());
            for (p, q, c, n) in indices(kh, kw, i, o) {
                prop_assert_eq!(torch[((n * i + c) * kh + p) * kw + q], values[((p * kw + q) * i + c) * o + n]);
            }
            // PyTorch flattens an image by channel, row and column. A linear layer on images therefore has the same
            // order as a convolution.
            prop_assert_eq!(&to_torch(Role::LinearWeight, &shape, values.clone()), &torch);
            prop_assert_eq!(torch_shape(Role::LinearWeight, &shape), vec![o, i * kh * kw]);
            prop_assert_eq!(torch_shape(Role::ConvWeight, &shape), vec![o, i, kh, kw]);
            prop_assert_eq!(from_torch(Role::ConvWeight, &shape, torch), values);
        }

        #[test]
        fn a_linear_weight_is_transposed(i in 1usize..6, o in 1usize..6) {
            let values: Vec<f32> = (0..i * o).map(|v| v as f32).collect();
            let torch = to_torch(Role::LinearWeight, &[i, o], values.clone());
            for c in 0..i {
                for n in 0..o {
                    prop_assert_eq!(torch[n * i + c], values[c * o + n]);
                }
            }
            prop_assert_eq!(from_torch(Role::LinearWeight, &[i, o], torch), values);
        }
    }

    fn indices(
        kh: usize,
        kw: usize,
        i: usize,
        o: usize,
    ) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..kh * kw * i * o).map(move |v| (v / (kw * i * o), v / (i * o) % kw, v / o % i, v % o))
    }

    #[test]
    fn vectors_keep_their_order() {
        for role in [Role::Bias, Role::Gamma, Role::Running] {
            assert_eq!(to_torch(role, &[3], vec![1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]);
            assert_eq!(torch_shape(role, &[3]), [3]);
        }
    }
}
