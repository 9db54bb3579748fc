//! Tensors at their edges: ndarray arrays in and out, shapes, shared buffers.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

use gradamp_core::{Reference, Tensor};
use ndarray::{Array3, ArrayD, IxDyn};
use proptest::prelude::*;

proptest! {
    /// Whatever the order of its axes in memory, an array comes back as it went in.
    #[test]
    fn an_array_survives_the_round_trip(a in 1usize..6, b in 1usize..6, c in 1usize..6, order in 0usize..6) {
        let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order];
        let array = Array3::from_shape_fn((a, b, c), |(i, j, k)| (i * 100 + j * 10 + k) as f32).permuted_axes(axes);
        let tensor = Tensor::from_array(&Reference, &array).unwrap();
        prop_assert_eq!(&**tensor.shape(), array.shape());
        prop_assert_eq!(tensor.to_array().unwrap(), array.into_dyn());
    }
}

#[test]
fn values_are_row_major() {
    let tensor = Tensor::from_slice(&Reference, &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let expected = ArrayD::from_shape_fn(IxDyn(&[2, 3]), |i| (i[0] * 3 + i[1]) as f32);
    assert_eq!(tensor.to_array().unwrap(), expected);
}

#[test]
fn writing_leaves_other_tensors_of_the_same_buffer_alone() {
    let first = Tensor::from_slice(&Reference, &[3], &[1.0, 2.0, 3.0]).unwrap();
    let mut second = first.clone();
    assert!(first.shares_buffer_with(&second) && !first.is_unique());
    second.buffer_mut().unwrap()[0] = 9.0;
    assert_eq!(first.to_vec().unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(second.to_vec().unwrap(), [9.0, 2.0, 3.0]);
    assert!(first.is_unique() && second.is_unique());
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let message = |result: gradamp_core::Result<Tensor<Reference>>| result.unwrap_err().to_string();
    assert_eq!(
        message(Tensor::from_slice(&Reference, &[2, 2], &[0.0; 3])),
        "tensor: shape [2, 2] does not hold 3 values"
    );
    assert!(message(Tensor::full(&Reference, &[1, 1, 1, 1, 1], 0.0)).contains("at most 4 dimensions"));
    let tensor = Tensor::full(&Reference, &[2, 3], 1.0).unwrap();
    assert_eq!(message(tensor.reshape(&[4])), "reshape: x [2, 3] does not fit [4]");
    assert_eq!(&**tensor.reshape(&[3, 2]).unwrap().shape(), [3, 2]);
}
