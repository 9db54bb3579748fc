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

/// The kernel whose law this is: the law compares the kernel with its twin or with its default.
fn kernel_of(law: &'static str) -> Option<&'static str> {
    let (_, name) = law.split_once("::")?;
    ["_equals_its_twin", "_equal_their_twin", "_equals_its_default", "_equal_their_default"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
}

/// Every kernel that has a twin, so that a new one is broken here without being listed.
fn kernels() -> Vec<&'static str> {
    let laws = laws::<Faulty>().into_iter();
    laws.filter(|law| law.name.ends_with("twin")).filter_map(|law| kernel_of(law.name)).collect()
}

/// Asserts that a fault in `kernel` breaks every law that `concerns` it, each in the expected way.
fn breaks_each(
    kernel: &'static str,
    fault: Fault,
    concerns: impl Fn(&'static str) -> bool,
    expected: fn(&Broken) -> bool,
) {
    let backend = Faulty::new(kernel, fault);
    let mut checked = 0;
    for law in laws::<Faulty>().into_iter().filter(|law| concerns(law.name)) {
        let violation = (law.check)(&backend).err();
        let seen = violation.as_ref().is_some_and(|violation| expected(&violation.broken));
        assert!(seen, "{} with {fault:?} in {kernel}: {violation:?}", law.name);
        checked += 1;
    }
    assert!(checked > 0, "no law of {kernel}");
}

/// Asserts that a fault in `kernel` breaks the laws that compare it with its twin and with its default.
fn breaks(kernel: &'static str, fault: Fault, expected: fn(&Broken) -> bool) {
    breaks_each(kernel, fault, |law| kernel_of(law) == Some(kernel), expected);
}

fn is_value(broken: &Broken) -> bool {
    matches!(broken, Broken::Value { .. })
}

#[test]
fn every_kernel_with_a_twin_is_broken() {
    let kernels = kernels();
    assert!(kernels.len() >= 41, "{kernels:?}");
    for kernel in ["gemm", "sum_squares", "softmax_cross_entropy", "sgd_all", "fused_rest", "statistics"] {
        assert!(kernels.contains(&kernel), "{kernel} is not in {kernels:?}");
    }
}

#[test]
fn a_wrong_sign_is_found() {
    // The fault of `sgd_all` and `adamw_all` is a slot that is not stepped.
    kernels()
        .into_iter()
        .filter(|kernel| !kernel.ends_with("_all"))
        .for_each(|kernel| breaks(kernel, Fault::Sign, is_value));
    for (kernel, law) in [
        ("step_gate", "gate::step_gate_shows_nan_and_infinity"),
        ("statistics", "statistics::statistics_show_nan_and_infinity"),
    ] {
        breaks_each(kernel, Fault::Sign, |name| name == law, is_value);
    }
}

#[test]
fn an_element_that_is_not_written_is_found() {
    kernels().into_iter().for_each(|kernel| breaks(kernel, Fault::Rest, is_value));
}

#[test]
fn an_element_written_after_the_last_is_found() {
    // Kept images are written by the test's own copy, which has no mark after its last element.
    let kernels =
        kernels().into_iter().filter(|kernel| !kernel.ends_with("_all") && *kernel != "keep_images");
    kernels
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
    let rests = |law: &str| law == "sgd::sgd_rests_behind_a_shut_gate";
    breaks_each("sgd_rests", Fault::Rest, rests, |broken| matches!(broken, Broken::Other(_)));
}

#[test]
fn a_short_read_is_found() {
    let reads = |law: &str| law == "memory::read_all_equals_single_reads";
    breaks_each("read_all", Fault::Rest, reads, |broken| matches!(broken, Broken::Other(_)));
}

#[test]
fn allocations_of_repeated_steps_are_found() {
    let backend = Faulty::new("allocate", Fault::Sign);
    let laws = [steady_state_of_kernels_allocates_nothing, steady_state_of_steps_allocates_nothing];
    for violation in laws.map(|law| law(&backend).unwrap_err()) {
        assert!(matches!(violation.broken, Broken::Allocation { .. }), "{violation}");
    }
}
