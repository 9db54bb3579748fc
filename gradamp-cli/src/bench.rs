//! `gradamp bench`: whole training steps against the clock.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use gradamp_core::amplify::{AmplificationSettings, Amplifier, Amplify, Schedule, Strategy};
use gradamp_core::optim::{Sgd, SgdSettings};
use gradamp_core::random::{Purpose, Stream};
use gradamp_core::{Backend, Hooks, LayerKind, Parameters, Tape, Tensor, nn, ops};
use gradamp_models::{Model, ModelSettings};
use serde_json::json;

use crate::args::BenchArgs;
use crate::failure::{Failure, Result};
use crate::{device, output};

const CLASSES: usize = 10;
const IMAGE: [usize; 3] = [32, 32, 3];
/// Close to 1, so that amplified steps compute the same numbers, subnormal ones included.
const FACTOR: f32 = 1.0001;

/// `gradamp bench step`
pub fn step(args: &BenchArgs) -> Result<()> {
    let mut bench = Bench::new(args, device::open(args.device, args.threads)?)?;
    for _ in 0..args.warmup {
        bench.step(args.amplify)?;
    }
    let mut seconds = Vec::with_capacity(args.steps);
    let mut loss = f32::NAN;
    for _ in 0..args.steps {
        let start = Instant::now();
        loss = bench.step(args.amplify)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let typical = median(&mut seconds);
    let images = args.batch as f64 / typical;
    let peak = peak_bytes();
    if args.json {
        let line = json!({
            "model": args.model, "width": args.width, "batch": args.batch, "threads": bench.threads(args),
            "steps": args.steps, "warmup": args.warmup, "device": bench.backend.name(), "amplify": args.amplify,
            "gradamp": env!("CARGO_PKG_VERSION"), "seconds_per_step": round(typical, 5),
            "min": round(seconds[0], 5), "images_per_second": round(images, 2), "peak_bytes": peak,
            "loss": round(f64::from(loss), 4),
        });
        output::result(line);
    } else {
        let peak = peak.map(|bytes| format!(", {:.0} MiB at the peak", bytes as f64 / 1048576.0));
        let name = format!("{} of width {}, batch {}", args.model, args.width, args.batch);
        output::result(format_args!(
            "{name}: {typical:.5} s a step, {images:.1} images/s{}",
            peak.unwrap_or_default()
        ));
    }
    Ok(())
}

/// `gradamp bench amplify`
pub fn amplify(args: &BenchArgs) -> Result<()> {
    let mut bench = Bench::new(args, device::open(args.device, args.threads)?)?;
    for _ in 0..args.warmup {
        bench.step(false)?;
        bench.step(true)?;
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for pair in 0..args.steps {
        // Each goes first every other time, so that a machine that slows down slows both.
        for amplified in [pair % 2 == 1, pair % 2 == 0] {
            let start = Instant::now();
            bench.step(amplified)?;
            let seconds = start.elapsed().as_secs_f64();
            if amplified { with.push(seconds) } else { without.push(seconds) }
        }
    }
    // Neighbours in time share what else the machine does: their ratios are steadier than that of the medians.
    let mut ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
    let paired = median(&mut ratios);
    let (without, with) = (median(&mut without), median(&mut with));
    let (sites, ratio) = (bench.amplified_sites, with / without);
    if args.json {
        let line = json!({
            "model": args.model, "width": args.width, "batch": args.batch, "threads": bench.threads(args),
            "pairs": args.steps, "amplified_sites": sites, "seconds_without": round(without, 6),
            "seconds_with": round(with, 6), "ratio": round(ratio, 5), "paired_ratio": round(paired, 5),
        });
        output::result(line);
    } else {
        output::result(format_args!(
            "without amplification {without:.5} s a step, with {sites} sites amplified {with:.5} s: ratio {ratio:.4} (of neighbouring steps {paired:.4})"
        ));
    }
    Ok(())
}

/// A model, its optimiser and one batch.
struct Bench<B: Backend> {
    backend: B,
    model: Model,
    parameters: Parameters<B>,
    sgd: Sgd<B>,
    images: Tensor<B>,
    labels: Tensor<B>,
    plain: Hooks<B>,
    amplified: Hooks<B>,
    amplified_sites: usize,
}

impl<B: Backend> Bench<B> {
    fn new(args: &BenchArgs, backend: B) -> Result<Self> {
        if args.steps == 0 || args.batch == 0 {
            return Err(Failure::usage(format!(
                "--steps and --batch: expected at least 1, found {} and {}",
                args.steps, args.batch
            )));
        }
        let architecture = args.model.parse().map_err(Failure::usage)?;
        let settings = ModelSettings { architecture, width: args.width, classes: CLASSES };
        let mut parameters = Parameters::new(&backend, 0);
        let model = Model::new(&settings, &mut parameters).map_err(Failure::usage)?;
        let trace = nn::trace(&model, &mut parameters, IMAGE)?;

        let everything = AmplificationSettings {
            kinds: vec![LayerKind::BatchNorm, LayerKind::Relu],
            factor: FACTOR,
            ..AmplificationSettings::default()
        };
        let strategy = Strategy::single(1, Schedule::constant(1e-3), Amplify::on());
        let mut amplifier = Amplifier::new(&strategy, &everything, &trace, 0)?;
        amplifier.begin_step(0, 0);
        let amplified_sites = amplifier.draw().map_or(0, |draw| draw.sites.len());
        let amplified = Hooks::new();
        amplified.add_shared(Arc::new(Mutex::new(amplifier))).forget();

        let [h, w, c] = IMAGE;
        let stream = Stream::new(0, Purpose::Test);
        let pixels = (args.batch * h * w * c) as u64;
        // Uniform with the variance of a normalised image.
        let images: Vec<f32> = (0..pixels).map(|i| (stream.uniform(i) - 0.5) * 12.0_f32.sqrt()).collect();
        let labels: Vec<f32> =
            (0..args.batch).map(|i| stream.at(1).below(i as u64, CLASSES) as f32).collect();
        let sgd = Sgd::new(SgdSettings::default(), &parameters)?;
        Ok(Self {
            images: Tensor::from_slice(&backend, &[args.batch, h, w, c], &images)?,
            labels: Tensor::from_slice(&backend, &[args.batch], &labels)?,
            plain: Hooks::new(),
            amplified,
            amplified_sites,
            backend,
            model,
            parameters,
            sgd,
        })
    }

    /// One step; its loss. Reading the loss waits for all that was to be computed.
    fn step(&mut self, amplified: bool) -> Result<f32> {
        use gradamp_core::Module;
        let mut tape = Tape::train(&mut self.parameters);
        let x = tape.constant(self.images.clone());
        let logits = self.model.forward(&mut tape, x)?;
        let loss = ops::softmax_cross_entropy(&mut tape, &logits, &self.labels, 0.0)?;
        drop(logits);
        let hooks = if amplified { &self.amplified } else { &self.plain };
        let gradients = tape.backward(&loss.var, hooks)?;
        self.sgd.step(&mut self.parameters, &gradients, 1e-3)?;
        Ok(loss.read()?.0)
    }

    fn threads(&self, args: &BenchArgs) -> usize {
        match args.threads {
            0 => device::cores(),
            threads => threads,
        }
    }
}

/// Sorts; the middle one, or the mean of the two in the middle.
fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let n = seconds.len();
    if n % 2 == 1 { seconds[n / 2] } else { (seconds[n / 2 - 1] + seconds[n / 2]) / 2.0 }
}

fn round(value: f64, digits: i32) -> f64 {
    let unit = 10.0_f64.powi(digits);
    (value * unit).round() / unit
}

/// The most memory that the process ever held, where the system tells (Linux).
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
    }
}
