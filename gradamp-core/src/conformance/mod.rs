//! The laws that every backend must keep. Each law is a function that checks a backend.
//!
//! **Kernels.** Each kernel is compared with its twin: slow, obvious code in f64. The shapes are odd: sizes that are no multiple of
//! any vector or block, stride 2, 1x1 kernels, a batch of 1, more rows than one task computes. Output buffers are filled with NaN,
//! which shows kernels that read old contents. Every buffer is longer than needed, with NaN after the inputs and marks around the
//! outputs, which shows kernels that read or write outside their part.
//!
//! **Overrides.** A method that a backend overrides must agree with the trait's default.
//!
//! **Repetition.** Every kernel gives the same bits twice. A backend that counts its allocations takes no memory from the system
//! once a step has been repeated.
//!
//! **Training.** The gradients of every operation agree with finite differences. Hooks see each gradient once, and in order. A scale
//! changes exactly the gradients that its placement reaches, in fused operations too.
//!
//! A test of a new backend's crate makes one `#[test]` for each law by
//!
//! ```text
//! gradamp_core::conformance!(MyBackend::new());
//! ```
//!
//! [`laws`] returns the same list as a table.

mod case;
mod network;
mod required;
mod violation;

mod activation;
mod adamw;
pub mod agreement;
mod axpby;
mod batch_norm;
mod conv2d;
mod dropout;
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
mod mix;
mod modules;
mod multiply;
mod noise;
mod placement;
mod pool;
mod relu;
pub mod repeat;
mod rows;
mod sgd;
mod soft_loss;
mod statistics;

pub use host_images::HostImages;
pub use required::Required;
pub use violation::{Broken, Violation};

use crate::Backend;

/// A law: its name, and the function that checks it.
#[derive(Clone, Copy, Debug)]
pub struct Law<B: Backend> {
    /// The file and the function, such as `gemm::gemm_equals_its_twin`.
    pub name: &'static str,
    /// Checks a backend. The error says how the backend breaks the law.
    pub check: fn(&B) -> Result<(), Violation>,
}

/// All laws, in the order of their files.
pub fn laws<B: Backend>() -> Vec<Law<B>> {
    crate::conformance!(@table;)
}

/// Checks the law called `name` in a test.
///
/// **Panics:** if `backend` breaks the law, with a message that says how; if there is no law of this name.
#[expect(clippy::panic, reason = "a broken law fails its test")]
pub fn assert_law<B: Backend>(backend: &B, name: &str) {
    let Some(law) = laws().into_iter().find(|law| law.name == name) else {
        panic!("there is no law {name}");
    };
    if let Err(violation) = (law.check)(backend) {
        panic!("{} breaks {name}: {violation}", backend.name());
    }
}

/// Defines one `#[test]` for each law of a backend: `gradamp_core::conformance!(MyBackend::new());`
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
        soft_loss: soft_cross_entropy_equals_its_twin, soft_cross_entropy_equals_its_default,
            soft_cross_entropy_of_one_class_is_that_of_its_label, soft_cross_entropy_shows_nan;
        mix: mix_images_equals_its_twin, mix_images_equals_its_default, mix_labels_equals_its_twin,
            mix_labels_equals_its_default, mix_images_shows_nan;
        multiply: multiply_equals_its_twin, multiply_equals_its_default;
        adamw: adamw_equals_its_twin, adamw_equals_its_default, adamw_all_equals_its_twin,
            adamw_all_equals_its_default, adamw_keeps_nan, adamw_rests_behind_a_shut_gate,
            adamw_corrections_equal_their_twin, adamw_corrections_equal_their_default;
        sgd: sgd_equals_its_twin, sgd_keeps_nan, sgd_rests_behind_a_shut_gate, sgd_all_equals_its_twin,
            sgd_all_equals_its_default;
        gate: step_gate_equals_its_twin, step_gate_equals_its_default, step_gate_shows_nan_and_infinity;
        statistics: statistics_equal_their_twin, statistics_show_nan_and_infinity;
        conv2d: conv2d_equals_its_twin, conv2d_equals_its_default, conv2d_with_moments_equals_its_twin,
            conv2d_backward_input_equals_its_twin, conv2d_backward_input_equals_its_default,
            conv2d_backward_weight_equals_its_twin, conv2d_backward_weight_equals_its_default;
        dropout: dropout_equals_its_twin, dropout_equals_its_default, dropout_keeps_nan,
            dropout_backward_meets_differences;
        fused: fused_forward_equals_its_twin, fused_forward_equals_its_default,
            fused_input_gradient_equals_its_twin, fused_input_gradient_equals_its_default,
            fused_weight_gradient_equals_its_twin, fused_weight_gradient_equals_its_default,
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
