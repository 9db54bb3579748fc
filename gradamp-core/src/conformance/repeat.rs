//! What must be the same every time: the bits of each kernel, and the number of buffers in use.

use super::case::{Case, Found};
use super::{Broken, Violation, axpby, batch_norm, conv2d, gemm, loss, pool, relu, rows, sgd, statistics};
use crate::Backend;

/// Runs every kernel once, on a size that is split among threads.
fn every_kernel<B: Backend>(backend: &B) -> Result<Vec<(&'static str, Vec<Found>)>, Violation> {
    let mut found = vec![
        ("gemm", gemm::sample().run(backend)?),
        ("axpby", axpby::sample().run(backend)?),
        ("add_bias", rows::add_bias().run(backend)?),
        ("sum_rows", rows::sum_rows().run(backend)?),
        ("relu", relu::forward().run(backend)?),
        ("relu_backward", relu::backward().run(backend)?),
        ("batch_norm_statistics", batch_norm::statistics().run(backend)?),
        ("max_pool2d", pool::max_sample()?.run(backend)?),
        ("max_pool2d_backward", pool::max_backward_sample()?.run(backend)?),
        ("mean_pool", pool::mean_sample().run(backend)?),
        ("mean_pool_backward", pool::mean_backward_sample().run(backend)?),
        ("softmax_cross_entropy", loss::sample().run(backend)?),
        ("sgd", sgd::sample().run(backend)?),
        ("sgd_all", sgd::all_sample().run(backend)?),
        ("statistics", statistics::sample().run(backend)?),
    ];
    for case in batch_norm::samples() {
        found.push(("batch_norm", case.run(backend)?));
    }
    for case in conv2d::samples()? {
        found.push(("conv2d", case.run(backend)?));
    }
    Ok(found)
}

/// Sums have a fixed order, so that a run can be repeated and resumed bit for bit.
pub fn every_kernel_gives_the_same_bits_twice<B: Backend>(backend: &B) -> Result<(), Violation> {
    let (first, second) = (every_kernel(backend)?, every_kernel(backend)?);
    for ((kernel, first), (_, second)) in first.iter().zip(&second) {
        for (a, b) in first.iter().zip(second) {
            let differs = |place: &usize| a.values[*place].to_bits() != b.values[*place].to_bits();
            if let Some(place) = (0..a.values.len()).find(differs) {
                let (first, second) = (a.values[place], b.values[place]);
                let broken = Broken::Repeat { output: a.name, place, first, second };
                return Err(Violation { case: kernel.to_string(), broken });
            }
        }
    }
    Ok(())
}

/// After two rounds of every kernel, the next three take no buffer from the system, where the backend counts.
pub fn steady_state_allocates_nothing<B: Backend>(backend: &B) -> Result<(), Violation> {
    let mut counts = Vec::new();
    for _ in 0..5 {
        every_kernel(backend)?;
        backend.synchronize()?;
        counts.push(backend.fresh_allocations());
    }
    match (counts[1], counts[4]) {
        (Some(warm), Some(end)) if warm != end => Err(Broken::Allocation { count: end - warm }.into()),
        _ => Ok(()),
    }
}
