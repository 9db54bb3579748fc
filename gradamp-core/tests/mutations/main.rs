//! The laws can fail: a backend with a fault in one kernel breaks the laws of this kernel, and differs from the reference in training.

#![allow(clippy::unwrap_used)] // a test that cannot begin may stop where it is

mod agreement;
mod faulty;

use gradamp_core::conformance::repeat::{
    every_kernel_gives_the_same_bits_twice, steady_state_of_kernels_allocates_nothing,
    steady_state_of_steps_allocates_nothing,
};
use gradamp_core::conformance::{Broken, laws};

use faulty::{Fault, Faulty};

/// Asserts that a fault in `kernel` breaks every law whose name begins with `kernel`, each in the expected way.
fn breaks(kernel: &'static str, fault: Fault, expected: fn(&Broken) -> bool) {
    let backend = Faulty::new(kernel, fault);
    // The laws of finite differences are left out: they compare values only, in buffers without marks.
    let of_kernel = |name: &str| {
        let law = name.split_once("::").map_or(name, |(_, law)| law);
        law.starts_with(kernel) && !law.ends_with("_differences")
    };
    let mut checked = 0;
    for law in laws::<Faulty>().into_iter().filter(|law| of_kernel(law.name)) {
        let violation = (law.check)(&backend).err();
        let seen = violation.as_ref().is_some_and(|violation| expected(&violation.broken));
        assert!(seen, "{} with {fault:?}: {violation:?}", law.name);
        checked += 1;
    }
    assert!(checked > 0, "no law of {kernel}");
}

const KERNELS: [&str; 36] = [
    "gemm",
    "im2col",
    "col2im",
    "axpby",
    "add_bias",
    "sum_rows",
    "sum_squares_equals",
    "scale_channels",
    "add_noise",
    "relu_equals",
    "relu_backward",
    "tanh_equals",
    "tanh_backward",
    "sigmoid_equals",
    "sigmoid_backward",
    "batch_norm_statistics",
    "batch_norm_equals",
    "batch_norm_backward",
    "max_pool2d_equals",
    "max_pool2d_backward",
    "mean_pool_equals",
    "mean_pool_backward",
    "sgd_equals",
    "step_gate",
    "statistics",
    "conv2d_equals",
    "conv2d_with_moments",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "batch_norm_relu_equals",
    "batch_norm_relu_backward",
    "fused_forward",
    "fused_input_gradient",
    "fused_pool",
    "fused_rest",
    "softmax_cross_entropy_equals",
];

#[test]
fn a_wrong_sign_is_found() {
    KERNELS
        .iter()
        .chain(&["keep_images"])
        .for_each(|kernel| breaks(kernel, Fault::Sign, |broken| matches!(broken, Broken::Value { .. })));
}

#[test]
fn an_element_that_is_not_written_is_found() {
    KERNELS
        .iter()
        .for_each(|kernel| breaks(kernel, Fault::Rest, |broken| matches!(broken, Broken::Value { .. })));
    for kernel in ["sgd_all", "keep_images"] {
        breaks(kernel, Fault::Rest, |broken| matches!(broken, Broken::Value { .. }));
    }
}

#[test]
fn an_element_written_after_the_last_is_found() {
    KERNELS
        .iter()
        .for_each(|kernel| breaks(kernel, Fault::Overrun, |broken| matches!(broken, Broken::Overrun { .. })));
}

#[test]
fn a_bit_that_differs_between_runs_is_found() {
    for kernel in ["gemm", "conv2d_backward_weight", "statistics"] {
        let backend = Faulty::new(kernel, Fault::Jitter);
        let violation = every_kernel_gives_the_same_bits_twice(&backend).unwrap_err();
        assert!(matches!(violation.broken, Broken::Repeat { .. }), "{violation}");
    }
}

#[test]
fn a_step_through_a_closed_gate_is_found() {
    breaks("sgd_rests", Fault::Rest, |broken| matches!(broken, Broken::Other(_)));
}

#[test]
fn a_short_read_is_found() {
    breaks("read_all", Fault::Rest, |broken| matches!(broken, Broken::Other(_)));
}

#[test]
fn allocations_of_repeated_steps_are_found() {
    let backend = Faulty::new("allocate", Fault::Sign);
    let laws = [steady_state_of_kernels_allocates_nothing, steady_state_of_steps_allocates_nothing];
    for violation in laws.map(|law| law(&backend).unwrap_err()) {
        assert!(matches!(violation.broken, Broken::Allocation { .. }), "{violation}");
    }
}
