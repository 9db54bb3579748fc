//! `gradamp tune`: measures which kernels are fastest on an adapter.

use gradamp_wgpu::{Tuned, Tuning};

use crate::args::{TuneArgs, WorkloadArgs};
use crate::bench::Workload;
use crate::device::{self, Chosen};
use crate::failure::{Failure, Result};
use crate::output;
use crate::tunings::file;
use gradamp_study::run_folder;

/// `gradamp tune`
pub fn tune(args: &TuneArgs) -> Result<()> {
    let Chosen::Gpu { adapter, .. } = device::choose_by_flag("--device", &args.device.device)? else {
        return Err(Failure::usage("--device: expected a GPU, found the CPU, which has nothing to tune"));
    };
    let gpu = device::open(&adapter, &device::options(&adapter, &args.device.opening())?)?;
    let file = file(&adapter, gpu.precision())?;
    let WorkloadArgs { model, width, batch } = &args.workload;
    output::message(format_args!(
        "measuring the convolutions of {model} of width {width}, batch {batch}, on {adapter}"
    ));
    // One step shows which convolutions the model has. Its tensors are freed before the measurements.
    Workload::new(&args.workload, gpu.clone())?.step(false)?.read()?;
    let mut convolutions = gpu.convolutions();
    convolutions.retain(|(_, g)| g.n == *batch); // leaves out the pass that finds the model's shapes, which has another batch size
    let found = gpu.tune(&convolutions, |tuned| output::result(line(tuned)))?;
    let (fixed, best) = found
        .convolutions
        .iter()
        .fold((0.0, 0.0), |(fixed, best), tuned| (fixed + tuned.default_seconds, best + tuned.seconds));
    // Keeps earlier measurements for other models or batch sizes.
    let all = match file.exists() {
        true => found.with_older(Tuning::read(&file)?),
        false => found,
    };
    run_folder::write_file(&file, all.to_json()?.as_bytes())?;
    output::result(format_args!(
        "\ntotal of one call each: {:.2} ms, with the default kernels {:.2} ms\n{}: the option `--tuned` uses this file",
        1e3 * best,
        1e3 * fixed,
        file.display()
    ));
    Ok(())
}

fn line(tuned: &Tuned) -> String {
    let gain = tuned.default_seconds / tuned.seconds;
    format!("{:9.3} ms  {gain:5.2}x  {}", 1e3 * tuned.seconds, tuned.describe())
}
