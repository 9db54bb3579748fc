//! Tuning: measures on the adapter which algorithm is the fastest for each convolution.
//!
//! Nothing is measured unless [`Wgpu::tune`] is called, and measurements are used only if they are given in
//! [`Options::tuning`](crate::Options::tuning). Another algorithm adds in another order, so that it gives other bits than the
//! default algorithm.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use gradamp_core::backend::{Device, Memory};
use gradamp_core::geometry::Conv2d;
use gradamp_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::algorithm::{Algorithm, Algorithms, ConvOp};
use crate::device::adapter::Adapter;
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::ops::kernels;
use crate::shaders::Shader;
use gradamp_core::backend::Precision;

/// The fastest algorithms, as measured for one adapter, driver and set of kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The adapter and its driver, in words.
    pub adapter: String,
    /// Identifies the adapter, driver, precision and set of kernels; see [`Tuning::key`].
    pub key: String,
    /// The measurements.
    pub convolutions: Vec<Tuned>,
}

/// The fastest algorithm for one operation of one convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    #[serde(rename = "pass")]
    op: ConvOp,
    /// x as `[n, h, w, c]`.
    x: [usize; 4],
    /// w as `[kh, kw, c_in, c_out]`.
    w: [usize; 4],
    stride: usize,
    padding: usize,
    #[serde(rename = "way")]
    algorithm: Algorithm,
    /// The seconds that the fastest algorithm takes.
    pub seconds: f64,
    /// The seconds that the default algorithm takes.
    #[serde(rename = "fixed_seconds")]
    pub default_seconds: f64,
}

impl Tuning {
    /// The key for `adapter`. It changes with the adapter, its driver, the precision and the text of any kernel.
    pub fn key(adapter: &Adapter, precision: Precision) -> String {
        let texts = Shader::ALL.iter().map(|shader| shader.text().to_owned());
        let variants = kernels().into_iter().map(|kernel| format!("{kernel:?}"));
        Self::hash(adapter, precision, texts.chain(variants))
    }

    /// The key for an adapter, a precision and `kernels`: the texts of the shaders, and the parameters of all variants.
    fn hash(adapter: &Adapter, precision: Precision, kernels: impl Iterator<Item = String>) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{adapter} {} {precision:?}", adapter.driver));
        kernels.for_each(|part| hash.update(part));
        let mut key = String::new();
        for byte in &hash.finalize()[..8] {
            let _ = write!(key, "{byte:02x}"); // writing to a String cannot fail
        }
        key
    }

    /// Reads a file that holds the text of [`Tuning::to_json`].
    ///
    /// **Errors:** the file cannot be read, does not hold a tuning, or holds an impossible geometry. The error names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |message: String| Error::external(format!("{}: {message}", path.display()));
        let text = gradamp_core::files::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let tuning: Self = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        tuning.algorithms().map_err(|error| fail(error.to_string()))?;
        Ok(tuning)
    }

    /// The tuning as JSON.
    ///
    /// **Errors:** JSON cannot represent a number, for example an infinite time.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(Error::external)
    }

    /// Adds the measurements of `older`, except those of convolutions that this tuning has measured again.
    #[must_use]
    pub fn with_older(mut self, older: Self) -> Self {
        let same = |a: &Tuned, b: &Tuned| {
            (a.op, a.x, a.w, a.stride, a.padding) == (b.op, b.x, b.w, b.stride, b.padding)
        };
        let new = self.convolutions.len();
        for tuned in older.convolutions {
            if !self.convolutions[..new].iter().any(|newer| same(newer, &tuned)) {
                self.convolutions.push(tuned);
            }
        }
        self
    }

    /// The measured algorithm for each operation of each convolution.
    ///
    /// **Errors:** an impossible geometry.
    pub(crate) fn algorithms(&self) -> Result<Algorithms> {
        let entry = |t: &Tuned| Ok(((t.op, Conv2d::new(&t.x, &t.w, t.stride, t.padding)?), t.algorithm));
        self.convolutions.iter().map(entry).collect()
    }
}

impl Tuned {
    /// The operation, the shapes and the algorithm, in words.
    pub fn describe(&self) -> String {
        let Self { op, x: [n, h, w, c], w: [kh, kw, _, c_out], stride, algorithm, .. } = self;
        format!("{op} {kh}x{kw}/{stride} [{n}, {h}, {w}, {c}] to {c_out}: {algorithm}")
    }
}

impl Wgpu {
    /// Measures every algorithm for each of `convolutions`, and calls `progress` with each result. The convolutions are usually those
    /// of a training step: see [`Wgpu::convolutions`].
    ///
    /// **Errors:** out of memory; a fault of the device.
    pub fn tune(
        &self,
        convolutions: &[(ConvOp, Conv2d)],
        mut progress: impl FnMut(&Tuned),
    ) -> Result<Tuning> {
        let mut found = Vec::with_capacity(convolutions.len());
        for &(op, g) in convolutions {
            let trial = Trial::new(self, &g, op)?;
            let default = self.default_algorithm(op, &g);
            let default_seconds = trial.seconds(default)?;
            let (mut algorithm, mut seconds) = (default, default_seconds);
            for candidate in self.algorithms(op, &g).into_iter().filter(|&candidate| candidate != default) {
                let candidate_seconds = trial.seconds(candidate)?;
                if candidate_seconds < seconds {
                    (algorithm, seconds) = (candidate, candidate_seconds);
                }
            }
            let (x, w, stride, padding) = (g.x_shape(), g.w_shape(), g.stride, g.padding);
            let tuned = Tuned { op, x, w, stride, padding, algorithm, seconds, default_seconds };
            progress(&tuned);
            found.push(tuned);
        }
        let adapter = self.adapter();
        let key = Tuning::key(adapter, self.precision());
        Ok(Tuning { adapter: format!("{adapter}, {}", adapter.driver), key, convolutions: found })
    }
}

/// An operation of a convolution with its operands, to measure algorithms on.
struct Trial<'a> {
    gpu: &'a Wgpu,
    g: &'a Conv2d,
    op: ConvOp,
    operands: [Buffer; 2],
    out: Buffer,
}

/// The number of series of repetitions. The result is the median of their times.
const SERIES: usize = 5;
/// The shortest duration of a series, long enough for the clock's resolution.
const SERIES_TIME: Duration = Duration::from_millis(8);

impl<'a> Trial<'a> {
    fn new(gpu: &'a Wgpu, g: &'a Conv2d, op: ConvOp) -> Result<Self> {
        let [x, w, y] = [g.x_shape(), g.w_shape(), g.y_shape()].map(|shape| shape.iter().product::<usize>());
        let (operands, out) = match op {
            ConvOp::Forward => ([x, w], y),
            ConvOp::InputGradient => ([w, y], x),
            ConvOp::WeightGradient => ([x, y], w),
        };
        let ones = |len: usize| -> Result<Buffer> {
            let mut buffer = gpu.new_buffer(len)?;
            gpu.write(&vec![1.0; len], &mut buffer)?;
            Ok(buffer)
        };
        let [a, b] = operands.map(ones);
        Ok(Self { gpu, g, op, operands: [a?, b?], out: gpu.new_buffer(out)? })
    }

    fn run(&self, algorithm: Algorithm) -> Result<()> {
        let Self { gpu, g, operands: [a, b], out, .. } = self;
        match self.op {
            ConvOp::Forward => gpu.conv2d_with(algorithm, g, a, b, None, out),
            ConvOp::InputGradient => gpu.conv2d_backward_input_with(algorithm, g, a, b, out),
            ConvOp::WeightGradient => gpu.conv2d_backward_weight_with(algorithm, g, a, b, out),
        }
    }

    /// The seconds that the operation takes by `algorithm`.
    fn seconds(&self, algorithm: Algorithm) -> Result<f64> {
        self.run(algorithm)?; // compiles the kernels
        self.gpu.synchronize()?;
        let series = |times: u32| -> Result<f64> {
            let start = Instant::now();
            (0..times).try_for_each(|_| self.run(algorithm))?;
            self.gpu.synchronize()?;
            Ok(start.elapsed().as_secs_f64() / f64::from(times))
        };
        let once = series(1)?;
        let times = (SERIES_TIME.as_secs_f64() / once).ceil().clamp(1.0, 1000.0) as u32;
        let mut all = (0..SERIES).map(|_| series(times)).collect::<Result<Vec<f64>>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[SERIES / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Tile;
    use crate::open::{OpenError, Options};
    use crate::testing;
    use gradamp_core::backend::Layers;

    /// A tuning survives being written and read, and a device that is opened with it uses its algorithms.
    #[test]
    fn a_tuned_device_uses_the_algorithms_of_its_tuning() {
        for gpu in testing::gpus() {
            let g = Conv2d::new(&[2, 8, 8, 8], &[3, 3, 8, 16], 1, 1).unwrap();
            let [x, w, mut y] = [g.x_shape(), g.w_shape(), g.y_shape()]
                .map(|shape| gpu.new_buffer(shape.iter().product()).unwrap());
            gpu.conv2d(&g, &x, &w, None, &mut y).unwrap();
            let used = gpu.convolutions();
            assert!(used.contains(&(ConvOp::Forward, g)) && !used.contains(&(ConvOp::WeightGradient, g)));
            let mut calls = 0;
            let mut tuning = gpu.tune(&ConvOp::ALL.map(|op| (op, g)), |_| calls += 1).unwrap();
            assert_eq!((calls, tuning.convolutions.len()), (3, 3));
            assert_eq!(tuning.key, Tuning::key(gpu.adapter(), Precision::F32));

            let newer = gpu.tune(&[(ConvOp::Forward, g)], |_| ()).unwrap();
            let both = newer.clone().with_older(tuning.clone());
            assert_eq!(both.convolutions.len(), 3);
            assert_eq!(both.convolutions[0], newer.convolutions[0]);

            // Replaces the measured algorithms by one that is never the default.
            let other = Algorithm::Winograd(Tile::Shared(4, 4));
            tuning.convolutions.iter_mut().for_each(|tuned| tuned.algorithm = other);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tuning.json");
            std::fs::write(&path, tuning.to_json().unwrap()).unwrap();
            assert_eq!(Tuning::read(&path).unwrap(), tuning);

            let options = Options { checked: true, tuning: Some(tuning), ..Options::default() };
            let tuned = Wgpu::open(gpu.adapter(), &options).unwrap();
            let default = || tuned.default_algorithm(ConvOp::Forward, &g);
            assert_eq!(tuned.algorithm_or(ConvOp::Forward, &g, default), other);
            assert_ne!(gpu.algorithm_or(ConvOp::Forward, &g, default), other);
        }
    }

    #[test]
    fn adapter_driver_precision_and_kernels_each_change_the_key() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let texts = ["one", "two"];
        let key = |adapter: &Adapter, precision, texts: [&'static str; 2]| {
            Tuning::hash(adapter, precision, texts.into_iter().map(str::to_owned))
        };
        let first = key(&adapter, Precision::F32, texts);
        assert_eq!(key(&adapter.clone(), Precision::F32, texts), first);
        let named = Adapter { name: "another".into(), ..adapter.clone() };
        let driven = Adapter { driver: "a newer one".into(), ..adapter.clone() };
        for other in [
            key(&named, Precision::F32, texts),
            key(&driven, Precision::F32, texts),
            key(&adapter, Precision::Mixed, texts),
            key(&adapter, Precision::F32, ["one", "twp"]),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn a_tuning_that_cannot_be_read_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuning.json");
        assert!(Tuning::read(&path).unwrap_err().to_string().contains("tuning.json"));
        std::fs::write(&path, "{\"adapter\": 3").unwrap();
        assert!(Tuning::read(&path).unwrap_err().to_string().contains("tuning.json"));
    }

    #[test]
    fn a_tuning_for_another_adapter_is_refused() {
        for gpu in testing::gpus() {
            let tuning = Tuning { adapter: "another".into(), key: "0".into(), convolutions: Vec::new() };
            let options = Options { tuning: Some(tuning), ..Options::default() };
            let error = Wgpu::open(gpu.adapter(), &options).unwrap_err();
            assert!(matches!(&error, OpenError::OtherTuning { measured_on, .. } if measured_on == "another"));
            assert!(error.to_string().contains("measured on another: expected this adapter"), "{error}");
        }
    }
}
