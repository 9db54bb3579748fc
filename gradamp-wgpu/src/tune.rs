//! Which way is fastest for each convolution, measured on the adapter at hand.
//!
//! Nothing is measured unless asked for, and nothing measured is used unless asked for: the fixed choices repeat bit for
//! bit, and another way sums in another order.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use gradamp_core::geometry::Conv2d;
use gradamp_core::{Backend, Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::algorithm::{SHARED, Tile};
use crate::device::adapter::Adapter;
use crate::device::memory::Buffer;
use crate::gpu::Wgpu;
use crate::open::Precision;
use crate::ops::conv2d::implicit_gemm::Pass;
use crate::ops::conv2d::{Way, cooperative};
use crate::ops::conv2d::{im2col_gemm, winograd};
use crate::shaders::{Shader, kernels};

/// The fastest ways that were found, for one adapter, driver and set of kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The adapter and driver, in words.
    pub adapter: String,
    /// What it holds for: another adapter, driver, precision or set of kernels has another key.
    pub key: String,
    /// What was measured.
    pub convolutions: Vec<Tuned>,
}

/// The fastest way of one pass of one convolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    pass: Pass,
    /// x as `[n, h, w, c]`.
    x: [usize; 4],
    /// w as `[kh, kw, c_in, c_out]`.
    w: [usize; 4],
    stride: usize,
    padding: usize,
    way: Way,
    /// Seconds that it takes.
    pub seconds: f64,
    /// Seconds that the fixed choice takes.
    pub fixed_seconds: f64,
}

/// The ways by pass and geometry, as they are looked up.
pub(crate) type Ways = HashMap<(Pass, Conv2d), Way>;

impl Tuning {
    /// The key for `adapter`: changes with the adapter, its driver, the precision and any kernel.
    pub fn key(adapter: &Adapter, precision: Precision) -> String {
        let texts = Shader::ALL.iter().map(|shader| shader.text().to_owned());
        let variants = kernels().into_iter().map(|kernel| format!("{kernel:?}"));
        Self::key_of(adapter, precision, texts.chain(variants))
    }

    /// A kernel is its shader's text and the numbers of its variant.
    fn key_of(adapter: &Adapter, precision: Precision, kernels: impl Iterator<Item = String>) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{adapter} {} {precision:?}", adapter.driver));
        kernels.for_each(|part| hash.update(part));
        let mut key = String::new();
        for byte in &hash.finalize()[..8] {
            let _ = write!(key, "{byte:02x}"); // a String takes everything
        }
        key
    }

    /// Reads what [`Tuning::write`] wrote.
    ///
    /// **Errors:** no such file, or other contents; a geometry that cannot be. Each names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let fail = |message: String| Error::external(format!("{}: {message}", path.display()));
        let text = gradamp_core::files::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let tuning: Self = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        tuning.ways().map_err(|error| fail(error.to_string()))?;
        Ok(tuning)
    }

    /// Writes a JSON file; a reader never meets half of it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fail = |error: std::io::Error| Error::external(format!("{}: {error}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(Error::external)?;
        let part = path.with_extension("part");
        std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(fail)
    }

    /// These measurements, and those of `older` that were not made anew.
    #[must_use]
    pub fn over(mut self, older: Self) -> Self {
        let same = |a: &Tuned, b: &Tuned| {
            (a.pass, a.x, a.w, a.stride, a.padding) == (b.pass, b.x, b.w, b.stride, b.padding)
        };
        let new = self.convolutions.len();
        for tuned in older.convolutions {
            if !self.convolutions[..new].iter().any(|newer| same(newer, &tuned)) {
                self.convolutions.push(tuned);
            }
        }
        self
    }

    pub(crate) fn ways(&self) -> Result<Ways> {
        let entry = |t: &Tuned| Ok(((t.pass, Conv2d::new(&t.x, &t.w, t.stride, t.padding)?), t.way));
        self.convolutions.iter().map(entry).collect()
    }
}

impl Tuned {
    /// The pass, the shapes and the way in words.
    pub fn describe(&self) -> String {
        let Self { pass, x: [n, h, w, c], w: [kh, kw, _, c_out], stride, way, .. } = self;
        format!("{pass} {kh}x{kw}/{stride} [{n}, {h}, {w}, {c}] to {c_out}: {way}")
    }
}

impl Wgpu {
    /// Measures every way of each of `convolutions`, such as those that a training step
    /// [left behind](Wgpu::convolutions), and tells `progress` of each as it is found.
    pub fn tune(&self, convolutions: &[(Pass, Conv2d)], mut progress: impl FnMut(&Tuned)) -> Result<Tuning> {
        let mut found = Vec::with_capacity(convolutions.len());
        for &(pass, g) in convolutions {
            let trial = Trial::new(self, &g, pass)?;
            let fixed = self.fixed_way(pass, &g);
            let fixed_seconds = trial.seconds(fixed)?;
            let (mut way, mut seconds) = (fixed, fixed_seconds);
            for other in self.candidates(pass, &g).into_iter().filter(|&other| other != fixed) {
                let others = trial.seconds(other)?;
                if others < seconds {
                    (way, seconds) = (other, others);
                }
            }
            let (x, w, stride, padding) = (g.x_shape(), g.w_shape(), g.stride, g.padding);
            let tuned = Tuned { pass, x, w, stride, padding, way, seconds, fixed_seconds };
            progress(&tuned);
            found.push(tuned);
        }
        let adapter = self.adapter();
        let key = Tuning::key(adapter, self.precision());
        Ok(Tuning { adapter: format!("{adapter}, {}", adapter.driver), key, convolutions: found })
    }

    /// All ways that this adapter has for a pass.
    fn candidates(&self, pass: Pass, g: &Conv2d) -> Vec<Way> {
        let [least, most] = self.adapter().limits.subgroup;
        let fixed = least == most && [4, 8, 16, 32].contains(&least) && self.adapter().fast_paths.subgroups;
        let mut tiles: Vec<Tile> = fixed.then_some(Tile::Subgroup(least as usize)).into_iter().collect();
        if self.runs_tiled() {
            let shared = SHARED.map(|(rows, columns)| Tile::Shared(rows, columns));
            let memory = self.adapter().limits.workgroup_memory;
            tiles.extend(shared.into_iter().filter(|tile| tile.fits(pass, memory)));
        }
        let winograd = self.precision() == Precision::F32 && winograd::fits(g);
        let transformed: Vec<Way> = tiles.iter().copied().filter(|_| winograd).map(Way::Winograd).collect();
        let stored: Vec<Way> =
            tiles.iter().copied().filter(|_| im2col_gemm::fits(pass, g)).map(Way::Columns).collect();
        let cooperative = self.matrices().and_then(|matrices| cooperative(pass, g, matrices));
        tiles.into_iter().chain(cooperative).map(Way::Direct).chain(stored).chain(transformed).collect()
    }
}

/// One pass of one convolution, to be timed.
struct Trial<'a> {
    gpu: &'a Wgpu,
    g: &'a Conv2d,
    pass: Pass,
    operands: [Buffer; 2],
    out: Buffer,
}

/// What a way is measured by: the median of a few stretches, each long enough for the clock.
const STRETCHES: usize = 5;
const STRETCH: Duration = Duration::from_millis(8);

impl<'a> Trial<'a> {
    fn new(gpu: &'a Wgpu, g: &'a Conv2d, pass: Pass) -> Result<Self> {
        let [x, w, y] = [g.x_shape(), g.w_shape(), g.y_shape()].map(|shape| shape.iter().product::<usize>());
        let (operands, out) = match pass {
            Pass::Forward => ([x, w], y),
            Pass::Input => ([w, y], x),
            Pass::Weight => ([x, y], w),
        };
        let ones = |len: usize| -> Result<Buffer> {
            let mut buffer = gpu.alloc(len)?;
            gpu.write(&vec![1.0; len], &mut buffer)?;
            Ok(buffer)
        };
        let [a, b] = operands.map(ones);
        Ok(Self { gpu, g, pass, operands: [a?, b?], out: gpu.alloc(out)? })
    }

    fn run(&self, way: Way) -> Result<()> {
        let Self { gpu, g, operands: [a, b], out, .. } = self;
        match self.pass {
            Pass::Forward => gpu.conv2d_by(way, g, a, b, None, out),
            Pass::Input => gpu.conv2d_backward_input_by(way, g, a, b, out),
            Pass::Weight => gpu.conv2d_backward_weight_by(way, g, a, b, out),
        }
    }

    /// Seconds that the pass takes in this way.
    fn seconds(&self, way: Way) -> Result<f64> {
        self.run(way)?; // compiles
        self.gpu.synchronize()?;
        let stretch = |times: u32| -> Result<f64> {
            let start = Instant::now();
            (0..times).try_for_each(|_| self.run(way))?;
            self.gpu.synchronize()?;
            Ok(start.elapsed().as_secs_f64() / f64::from(times))
        };
        let once = stretch(1)?;
        let times = (STRETCH.as_secs_f64() / once).ceil().clamp(1.0, 1000.0) as u32;
        let mut all = (0..STRETCHES).map(|_| stretch(times)).collect::<Result<Vec<f64>>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[STRETCHES / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;
    use crate::open::Options;

    /// What is measured is written, read, and taken by a device that is opened with it; and every way gives the same
    /// numbers, to rounding.
    #[test]
    fn a_tuned_device_takes_the_ways_that_were_found() {
        for gpu in testing::each() {
            let g = Conv2d::new(&[2, 8, 8, 8], &[3, 3, 8, 16], 1, 1).unwrap();
            let [x, w, mut y] = [g.x_shape(), g.w_shape(), g.y_shape()]
                .map(|shape| gpu.alloc(shape.iter().product()).unwrap());
            gpu.conv2d(&g, &x, &w, None, &mut y).unwrap();
            let asked = gpu.convolutions();
            assert!(asked.contains(&(Pass::Forward, g)) && !asked.contains(&(Pass::Weight, g)));
            let mut told = 0;
            let mut tuning = gpu.tune(&Pass::ALL.map(|pass| (pass, g)), |_| told += 1).unwrap();
            assert_eq!((told, tuning.convolutions.len()), (3, 3));
            assert_eq!(tuning.key, Tuning::key(gpu.adapter(), Precision::F32));

            let others = gpu.tune(&[(Pass::Forward, g)], |_| ()).unwrap();
            let both = others.clone().over(tuning.clone());
            assert_eq!(both.convolutions.len(), 3);
            assert_eq!(both.convolutions[0], others.convolutions[0]);

            // Another way than the fixed one, whatever was the fastest.
            let other = Way::Winograd(Tile::Shared(4, 4));
            tuning.convolutions.iter_mut().for_each(|tuned| tuned.way = other);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("tuning.json");
            tuning.write(&path).unwrap();
            assert_eq!(Tuning::read(&path).unwrap(), tuning);

            let options = Options { checked: true, tuning: Some(tuning), ..Options::default() };
            let tuned = Wgpu::open(gpu.adapter(), &options).unwrap();
            assert_eq!(tuned.way(Pass::Forward, &g), other);
            assert_ne!(gpu.way(Pass::Forward, &g), other);
        }
    }

    #[test]
    fn adapter_driver_precision_and_kernels_each_change_the_key() {
        let Some(adapter) = crate::testing::adapter().unwrap() else { return };
        let texts = ["one", "two"];
        let key = |adapter: &Adapter, precision, texts: [&'static str; 2]| {
            Tuning::key_of(adapter, precision, texts.into_iter().map(str::to_owned))
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
        for gpu in testing::each() {
            let tuning = Tuning { adapter: "another".into(), key: "0".into(), convolutions: Vec::new() };
            let options = Options { tuning: Some(tuning), ..Options::default() };
            let error = Wgpu::open(gpu.adapter(), &options).unwrap_err().to_string();
            assert!(error.contains("another") && error.contains("gradamp tune"), "{error}");
        }
    }
}
