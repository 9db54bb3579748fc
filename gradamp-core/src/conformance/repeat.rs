//! Repetition: kernels and steps give the same bits again, and take no more memory.

use super::case::{Case, Found};
use super::network::{Form, gradients};
use super::{
    Broken, Violation, activation, adamw, axpby, batch_norm, conv2d, dropout, fused, gate, gemm, loss, mix,
    multiply, noise, pool, relu, rows, sgd, soft_loss, statistics,
};
use crate::{Backend, Hooks};

/// Runs every kernel once, on a size that several threads share.
fn every_kernel<B: Backend>(backend: &B) -> Result<Vec<(&'static str, Vec<Found>)>, Violation> {
    let mut found = vec![
        ("gemm", gemm::sample().run(backend)?),
        ("axpby", axpby::sample().run(backend)?),
        ("add_bias", rows::add_bias().run(backend)?),
        ("sum_rows", rows::sum_rows().run(backend)?),
        ("sum_squares", rows::sum_squares().run(backend)?),
        ("scale_channels", rows::scale_channels().run(backend)?),
        ("add_noise", noise::sample().run(backend)?),
        ("dropout", dropout::sample()?.run(backend)?),
        ("relu", relu::forward().run(backend)?),
        ("relu_backward", relu::backward().run(backend)?),
        ("batch_norm_statistics", batch_norm::statistics().run(backend)?),
        ("max_pool2d", pool::max_sample()?.run(backend)?),
        ("max_pool2d_backward", pool::max_backward_sample()?.run(backend)?),
        ("mean_pool", pool::mean_sample().run(backend)?),
        ("mean_pool_backward", pool::mean_backward_sample().run(backend)?),
        ("softmax_cross_entropy", loss::sample().run(backend)?),
        ("soft_cross_entropy", soft_loss::sample().run(backend)?),
        ("mix_images", mix::samples()?.0.run(backend)?),
        ("mix_labels", mix::samples()?.1.run(backend)?),
        ("multiply", multiply::sample().run(backend)?),
        ("adamw", adamw::sample().run(backend)?),
        ("adamw_corrections", adamw::corrections_sample().run(backend)?),
        ("sgd", sgd::sample().run(backend)?),
        ("sgd_all", sgd::all_sample().run(backend)?),
        ("step_gate", gate::sample().run(backend)?),
        ("statistics", statistics::sample().run(backend)?),
    ];
    for case in activation::samples() {
        found.push(("activation", case.run(backend)?));
    }
    for case in batch_norm::samples() {
        found.push(("batch_norm", case.run(backend)?));
    }
    for case in conv2d::samples()? {
        found.push(("conv2d", case.run(backend)?));
    }
    for case in fused::samples()? {
        found.push(("fused", case.run(backend)?));
    }
    Ok(found)
}

/// Sums have a fixed order. A run could not be repeated or resumed bit for bit otherwise.
pub fn every_kernel_gives_the_same_bits_twice<B: Backend>(backend: &B) -> Result<(), Violation> {
    kernels_agree(backend, backend)
}

/// A forward and backward pass gives the same gradients twice, bit for bit.
pub fn every_step_gives_the_same_bits_twice<B: Backend>(backend: &B) -> Result<(), Violation> {
    steps_agree(backend, backend)
}

/// Two backends, for example one with 1 thread and one with 7, give the same bits.
pub fn two_backends_give_the_same_bits<B: Backend>(a: &B, b: &B) -> Result<(), Violation> {
    kernels_agree(a, b)?;
    steps_agree(a, b)
}

fn kernels_agree<B: Backend>(a: &B, b: &B) -> Result<(), Violation> {
    for ((kernel, first), (_, second)) in every_kernel(a)?.iter().zip(every_kernel(b)?) {
        for (first, second) in first.iter().zip(second) {
            same_bits(kernel, first.name, &first.values, &second.values)?;
        }
    }
    Ok(())
}

fn steps_agree<B: Backend>(a: &B, b: &B) -> Result<(), Violation> {
    let hooks = Hooks::new();
    let (first, second) = (gradients(a, &hooks, Form::Fused)?, gradients(b, &hooks, Form::Fused)?);
    first.iter().zip(&second).try_for_each(|((name, a), (_, b))| same_bits(name, "gradient", a, b))
}

fn same_bits(case: &str, output: &'static str, first: &[f32], second: &[f32]) -> Result<(), Violation> {
    match first.iter().zip(second).position(|(a, b)| a.to_bits() != b.to_bits()) {
        Some(place) => {
            let broken = Broken::Repeat { output, place, first: first[place], second: second[place] };
            Err(Violation { case: case.into(), broken })
        }
        None => Ok(()),
    }
}

/// After every kernel has run twice, further runs take no buffer from the system, if the backend counts its allocations.
pub fn steady_state_of_kernels_allocates_nothing<B: Backend>(backend: &B) -> Result<(), Violation> {
    steady(backend, || every_kernel(backend).map(drop))
}

/// After two training steps, fused and unfused, further steps take no buffer from the system, if the backend counts its allocations.
pub fn steady_state_of_steps_allocates_nothing<B: Backend>(backend: &B) -> Result<(), Violation> {
    let hooks = Hooks::new();
    steady(backend, || {
        gradients(backend, &hooks, Form::Fused)?;
        gradients(backend, &hooks, Form::Unfused)?;
        Ok(())
    })
}

/// Checks that `work` takes no buffer from the system after it has run twice, if the backend counts its allocations.
pub(super) fn steady<B: Backend>(
    backend: &B,
    work: impl Fn() -> Result<(), Violation>,
) -> Result<(), Violation> {
    let Some(_) = backend.fresh_allocations() else { return Ok(()) };
    let mut counts = Vec::new();
    for _ in 0..4 {
        work()?;
        backend.synchronize()?;
        counts.push(backend.fresh_allocations().unwrap_or(0));
    }
    match counts[3] - counts[1] {
        0 => Ok(()),
        count => Err(Broken::Allocation { count }.into()),
    }
}
