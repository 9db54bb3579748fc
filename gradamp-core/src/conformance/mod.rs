//! The laws every backend must keep, as plain functions that one macro lists.
//!
//! Each kernel is held against a slow, obvious f64 twin on odd shapes: sizes that are no multiple of any vector or
//! block, stride 2, 1x1, a batch of 1, more rows than a thread takes at once. Output buffers begin as NaN, so that a
//! kernel which reads old contents is caught, and every buffer is longer than needed: NaN behind the inputs, marks
//! around the outputs, so that a kernel which reads or writes beyond its part is caught too. A method that a backend
//! overrides must agree with the trait's own composition; every kernel gives the same bits twice; and a backend that
//! counts its allocations takes nothing from the system in steady state.
//!
//! On top of the kernels, the backward of every operation meets finite differences, hooks meet each gradient once and
//! in order, and a scale changes what its placement reaches and nothing else, in fused operations too.
//!
//! For a new backend, in a test of its crate:
//!
//! ```text
//! gradamp_core::conformance!(MyBackend::new());
//! ```
//!
//! lists one `#[test]` per law; [`laws`] is the same list as a table.

mod case;
mod network;
mod required;
mod violation;

mod activation;
pub mod agreement;
mod axpby;
mod batch_norm;
mod conv2d;
mod fused;
mod gate;
mod gemm;
mod gradients;
mod hooks;
mod host_images;
mod im2col;
mod keep_images;
mod loss;
pub mod memory;
mod modules;
mod noise;
mod placement;
mod pool;
mod relu;
pub mod repeat;
mod rows;
mod sgd;
mod statistics;

pub use host_images::HostImages;
pub use required::Required;
pub use violation::{Broken, Violation};

use crate::Backend;

/// A law: its name and the function that holds a backend against it.
#[derive(Clone, Copy, Debug)]
pub struct Law<B: Backend> {
    /// The file and the function, such as `gemm::gemm_equals_its_twin`.
    pub name: &'static str,
    /// Says how the backend breaks the law, if it does.
    pub check: fn(&B) -> Result<(), Violation>,
}

/// All laws, in the order of their files.
pub fn laws<B: Backend>() -> Vec<Law<B>> {
    crate::conformance!(@table;)
}

/// Holds `backend` against the law of this name, for a test.
///
/// **Panics:** where the law is broken, with a message that says how; where there is no such law.
#[expect(clippy::panic, reason = "a broken law fails its test")]
pub fn assert_law<B: Backend>(backend: &B, name: &str) {
    let Some(law) = laws().into_iter().find(|law| law.name == name) else {
        panic!("there is no law {name}");
    };
    if let Err(violation) = (law.check)(backend) {
        panic!("{} breaks {name}: {violation}", backend.name());
    }
}

/// Lists one `#[test]` per law for a backend: `gradamp_core::conformance!(MyBackend::new());`
#[macro_export]
macro_rules! conformance {
    (@test $backend:expr; $($file:ident: $($law:ident),+;)+) => { $($(
        #[test]
        fn $law() {
            $crate::conformance::assert_law(&$backend, concat!(stringify!($file), "::", stringify!($law)));
        }
    )+)+ };
    (@table; $($file:ident: $($law:ident),+;)+) => { vec![$($($crate::conformance::Law {
        name: concat!(stringify!($file), "::", stringify!($law)),
        check: $crate::conformance::$file::$law,
    },)+)+] };
    (@$form:ident $($backend:expr)?;) => { $crate::conformance! { @$form $($backend)?;
        memory: what_is_written_is_read, a_write_leaves_the_rest, read_all_equals_single_reads;
        gemm: gemm_equals_its_twin;
        im2col: im2col_equals_its_twin, col2im_equals_its_twin;
        axpby: axpby_equals_its_twin;
        rows: add_bias_equals_its_twin, sum_rows_equals_its_twin, sum_squares_equals_its_twin,
            sum_squares_equals_its_default, sum_squares_show_nan_and_infinity, scale_channels_equals_its_twin,
            scale_channels_equals_its_default;
        noise: add_noise_equals_its_twin, add_noise_equals_its_default;
        relu: relu_equals_its_twin, relu_backward_equals_its_twin, relu_keeps_nan,
            relu_backward_meets_differences;
        activation: tanh_equals_its_twin, tanh_equals_its_default, tanh_backward_equals_its_twin,
            tanh_backward_equals_its_default, tanh_backward_meets_differences, sigmoid_equals_its_twin,
            sigmoid_equals_its_default, sigmoid_backward_equals_its_twin, sigmoid_backward_equals_its_default,
            sigmoid_backward_meets_differences;
        batch_norm: batch_norm_statistics_equal_their_twin, batch_norm_equals_its_twin,
            batch_norm_backward_equals_its_twin, batch_norm_relu_equals_its_twin,
            batch_norm_relu_equals_its_default, batch_norm_relu_backward_equals_its_twin,
            batch_norm_relu_backward_equals_its_default, batch_norm_shows_nan;
        pool: max_pool2d_equals_its_twin, max_pool2d_takes_the_first_of_equals,
            max_pool2d_takes_nan_for_the_largest, max_pool2d_backward_equals_its_twin,
            mean_pool_equals_its_twin, mean_pool_backward_equals_its_twin;
        loss: softmax_cross_entropy_equals_its_twin, softmax_cross_entropy_survives_large_logits,
            softmax_cross_entropy_counts_the_first_of_equals, softmax_cross_entropy_shows_nan;
        sgd: sgd_equals_its_twin, sgd_keeps_nan, sgd_rests_behind_a_shut_gate, sgd_all_equals_its_twin,
            sgd_all_equals_its_default;
        gate: step_gate_equals_its_twin, step_gate_equals_its_default, step_gate_shows_nan_and_infinity;
        statistics: statistics_equal_their_twin, statistics_show_nan_and_infinity;
        conv2d: conv2d_equals_its_twin, conv2d_equals_its_default, conv2d_with_moments_equals_its_twin,
            conv2d_backward_input_equals_its_twin, conv2d_backward_input_equals_its_default,
            conv2d_backward_weight_equals_its_twin, conv2d_backward_weight_equals_its_default;
        fused: fused_forward_equals_its_twin, fused_forward_equals_its_default,
            fused_input_gradient_equals_its_twin, fused_input_gradient_equals_its_default,
            fused_pool_equals_its_twin, fused_pool_equals_its_default, fused_rest_equals_its_twin, fused_rest_equals_its_default;
        gradients: conv2d_backward_meets_differences, linear_backward_meets_differences,
            batch_norm_backward_meets_differences, batch_norm_relu_backward_meets_differences,
            fused_backward_meets_differences, skipped_backward_meets_differences, pooled_backward_meets_differences, max_pool2d_backward_meets_differences,
            mean_pool_backward_meets_differences, add_backward_meets_differences,
            loss_backward_meets_differences, loss_scale_backward_meets_differences, shared_weights_meet_differences,
            residual_block_meets_differences;
        hooks: hooks_meet_each_place_once_in_order, hooks_see_the_sum_of_all_shares, hooks_see_true_values,
            what_a_hook_keeps_stays, looking_changes_nothing, hooks_compose_in_their_order,
            a_dropped_guard_removes_its_hook, a_hooks_error_names_its_place, a_shared_parameter_is_met_once;
        placement: fused_equals_unfused, a_scale_equals_the_scaled_values, each_placement_has_its_reach;
        keep_images: keep_images_equals_its_twin, kept_images_refuse_what_is_not_there,
            batches_of_kept_images_allocate_nothing;
        repeat: every_kernel_gives_the_same_bits_twice, every_step_gives_the_same_bits_twice,
            steady_state_of_kernels_allocates_nothing, steady_state_of_steps_allocates_nothing;
    } };
    ($backend:expr) => { $crate::conformance! { @test $backend; } };
}
