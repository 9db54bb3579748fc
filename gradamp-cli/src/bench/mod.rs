//! `gradamp bench`: times training steps, as a whole and operation by operation.

mod ceilings;
mod fused;
mod operands;
mod operation;
mod ops;
mod stopwatch;
mod survey;
mod workload;

use gradamp_core::Backend;
use serde_json::json;

use crate::args::{BenchArgs, DeviceArgs, WorkloadArgs};
use crate::device::{self, Task};
use crate::failure::{Failure, Result};
use crate::output;
use gradamp_study::config::Precision;
pub use ops::ops;
use stopwatch::{median, round};
pub use workload::Workload;

/// `gradamp bench step`
pub fn step(args: &BenchArgs) -> Result<()> {
    run(&args.device, |precision| Step { args, precision })
}

/// Does the task that `task` makes of the precision in which the device multiplies.
fn run<T: Task<Output = ()>>(args: &DeviceArgs, task: impl FnOnce(Precision) -> T) -> Result<()> {
    let chosen = device::choose_by_flag("--device", &args.device)?;
    let precision = chosen.precision(args.precision);
    chosen.run(&args.opening(), task(precision))
}

struct Step<'a> {
    args: &'a BenchArgs,
    /// The precision in which the device multiplies.
    precision: Precision,
}

impl Task for Step<'_> {
    type Output = ();

    fn run<B: Backend>(self, backend: B) -> Result<()> {
        let Self { args, precision } = self;
        let mut bench = Workload::new(&args.workload, backend)?;
        for _ in 0..args.warmup {
            timed(&mut bench, args)?;
        }
        let mut seconds = Vec::with_capacity(args.steps);
        let mut last = f32::NAN;
        for _ in 0..args.steps {
            let (time, value) = timed(&mut bench, args)?;
            seconds.push(time);
            last = value;
        }
        let WorkloadArgs { model, width, batch } = &args.workload;
        let typical = median(&mut seconds);
        let images = *batch as f64 / typical;
        let peak = peak_bytes();
        if args.json {
            let mut line = json!({
                "model": model, "width": width, "batch": batch, "threads": threads(args),
                "steps": args.steps, "warmup": args.warmup, "steps_ahead": bench.backend.steps_ahead(),
                "device": bench.backend.name(), "precision": precision.name(),
                "amplify": args.amplify, "evaluate": args.evaluate,
                "gradamp": env!("CARGO_PKG_VERSION"), "seconds_per_step": round(typical, 6),
                "min": round(seconds[0], 6), "images_per_second": round(images, 2), "peak_bytes": peak,
            });
            if !args.evaluate {
                line["loss"] = round(f64::from(last), 4).into();
            }
            output::result(line);
        } else {
            let peak =
                peak.map(|bytes| format!(", {:.0} MiB of host memory at the peak", bytes as f64 / 1048576.0));
            output::result(format_args!(
                "{}, on {} in {}: {typical:.5} s {}, {images:.1} images/s{}",
                args.workload,
                bench.backend.name(),
                precision.name(),
                if args.evaluate { "an evaluation" } else { "a step" },
                peak.unwrap_or_default()
            ));
        }
        Ok(())
    }
}

/// One step, or one evaluation: its seconds, and a number that it computed.
fn timed<B: Backend>(bench: &mut Workload<B>, args: &BenchArgs) -> Result<(f64, f32)> {
    if args.evaluate { bench.evaluate() } else { bench.steps(args.amplify) }
}

/// `gradamp bench amplify`
pub fn amplify(args: &BenchArgs) -> Result<()> {
    if args.evaluate {
        return Err(Failure::usage(
            "--evaluate: expected `bench step`, since an evaluation has no gradients to amplify",
        ));
    }
    run(&args.device, |precision| Amplified { args, precision })
}

struct Amplified<'a> {
    args: &'a BenchArgs,
    /// The precision in which the device multiplies.
    precision: Precision,
}

impl Task for Amplified<'_> {
    type Output = ();

    fn run<B: Backend>(self, backend: B) -> Result<()> {
        let Self { args, precision } = self;
        let mut bench = Workload::new(&args.workload, backend)?;
        for _ in 0..args.warmup {
            bench.steps(false)?;
            bench.steps(true)?;
        }
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for pair in 0..args.steps {
            // Plain and amplified steps alternate, so that a machine that slows down slows both.
            for amplified in [pair % 2 == 1, pair % 2 == 0] {
                let (seconds, _) = bench.steps(amplified)?;
                if amplified { with.push(seconds) } else { without.push(seconds) }
            }
        }
        // Two consecutive steps run under the same load, so their ratio is steadier than the ratio of the medians.
        let mut ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        let paired = median(&mut ratios);
        let (without, with) = (median(&mut without), median(&mut with));
        let (sites, ratio) = (bench.amplified_sites, with / without);
        if args.json {
            let WorkloadArgs { model, width, batch } = &args.workload;
            let line = json!({
                "model": model, "width": width, "batch": batch, "threads": threads(args),
                "device": bench.backend.name(), "precision": precision.name(), "pairs": args.steps, "amplified_sites": sites,
                "seconds_without": round(without, 6), "seconds_with": round(with, 6), "ratio": round(ratio, 5),
                "paired_ratio": round(paired, 5),
            });
            output::result(line);
        } else {
            output::result(format_args!(
                "in {}: without amplification {without:.5} s a step, with {sites} sites amplified {with:.5} s: ratio {ratio:.4} (median ratio of consecutive steps {paired:.4})",
                precision.name()
            ));
        }
        Ok(())
    }
}

fn threads(args: &BenchArgs) -> usize {
    match args.device.threads {
        0 => device::cores(),
        threads => threads,
    }
}

/// The work of a forward pass as a fraction of a step. Backward is twice as much work as forward.
pub const FORWARD: f64 = 1.0 / 3.0;

/// The peak memory of the process; `None` if the system does not report it (only Linux does).
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
