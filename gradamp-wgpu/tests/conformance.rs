//! Checks every law of the conformance suite on one adapter, which [`gradamp_wgpu::testing::adapter`] chooses. On a machine without an
//! adapter the laws are skipped.

#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gradamp_core::backend::{Device, Layers, Memory};
use gradamp_core::conformance::{assert_law, laws};
use gradamp_core::geometry::Conv2d;
use gradamp_core::keep_images::ImageSet;
use gradamp_wgpu::{Adapter, Options, Precision, Wgpu};

/// Laws run one after the other, since some count the device's allocations.
static GPU: LazyLock<Option<Mutex<Wgpu>>> = LazyLock::new(|| {
    let options = Options::default().with_checked(true);
    adapter().map(|adapter| Mutex::new(Wgpu::open(&adapter, &options).unwrap()))
});

fn adapter() -> Option<Adapter> {
    gradamp_wgpu::testing::adapter().unwrap()
}

fn gpu() -> Option<MutexGuard<'static, Wgpu>> {
    let gpu = GPU.as_ref()?;
    Some(gpu.lock().unwrap_or_else(PoisonError::into_inner)) // a law that fails leaves the device usable
}

gradamp_core::conformance!(*match gpu() {
    Some(gpu) => gpu,
    None => return,
});

/// Software rasterisers use other kernels for products than GPUs, and longer chunks for sums. This test runs the kernels made for GPUs
/// on any adapter.
#[test]
fn the_laws_of_products_and_sums_hold_for_the_kernels_of_gpus() {
    let Some(_turn) = gpu() else { return };
    let Some(adapter) = adapter() else { return };
    let options = Options::default().with_checked(true).with_tiled(true);
    let tiled = Wgpu::open(&adapter, &options).unwrap();
    let laws = laws::<Wgpu>().into_iter().filter(|law| {
        ["conv2d::", "gemm::", "rows::", "batch_norm::", "repeat::", "gradients::conv", "gradients::linear"]
            .iter()
            .any(|name| law.name.starts_with(name))
    });
    let checked = laws.map(|law| assert_law(&tiled, law.name)).count();
    assert!(checked > 20, "{checked} laws");
}

/// Mesa's rasteriser has subgroups as wide as its vectors. A run with `LP_NATIVE_VECTOR_WIDTH` therefore tests subgroups of this width.
#[test]
fn the_rasteriser_s_subgroups_have_the_requested_width() {
    let Ok(bits) = std::env::var("LP_NATIVE_VECTOR_WIDTH") else { return };
    let Some(adapter) = adapter().filter(|adapter| adapter.name.starts_with("llvmpipe")) else { return };
    assert_eq!(adapter.limits.subgroup, [bits.parse::<u32>().unwrap() / 32; 2]);
}

#[test]
fn a_machine_without_an_adapter_skips_and_says_so() {
    if !cfg!(target_os = "linux") {
        return; // other systems find their drivers in another way
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "what_is_written_is_read"]).env_remove("GRADAMP_TEST_ADAPTER");
    // These variables replace the Vulkan loader's list of drivers.
    let output =
        command.env("VK_DRIVER_FILES", "/nowhere").env("VK_ICD_FILENAMES", "/nowhere").output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    assert!(err.contains("SKIPPED: a test on a GPU; this machine has no graphics adapter"), "{err}");
}

/// A software rasteriser leaves images to the host, unless it is opened with the kernels made for GPUs.
#[test]
fn the_laws_of_kept_images_hold_with_the_kernels_of_gpus() {
    let Some(_turn) = gpu() else { return };
    let Some(adapter) = adapter() else { return };
    let software = adapter.is_software();
    let open =
        |tiled| Wgpu::open(&adapter, &Options::default().with_checked(true).with_tiled(tiled)).unwrap();
    let gpu = open(true);
    let images = ImageSet::new([1, 1, 1], &[1], &[0], &[[0.0; 256]]).unwrap();
    assert!(gpu.keep_images(&images).unwrap().is_some());
    assert_eq!(open(false).keep_images(&images).unwrap().is_none(), software);
    let kept = laws::<Wgpu>().into_iter().filter(|law| law.name.starts_with("keep_images::"));
    let checked = kept.map(|law| assert_law(&gpu, law.name)).count();
    assert_eq!(checked, 3);
}

/// A copy too long for the chunks of uploads runs in its order among short copies.
#[test]
fn long_and_short_copies_keep_their_order() {
    let Some(gpu) = gpu() else { return };
    let mut expected: Vec<f32> = (0..17 << 20).map(|i| (i % 1000) as f32).collect();
    let mut buffer = gpu.allocate(expected.len()).unwrap();
    gpu.write(&[-1.0; 5], &mut buffer).unwrap();
    gpu.write(&expected, &mut buffer).unwrap();
    gpu.write(&[-2.0; 3], &mut buffer).unwrap();
    expected[..3].fill(-2.0);
    let mut found = vec![0.0; expected.len()];
    gpu.read(&buffer, &mut found).unwrap();
    assert!(found == expected);
}

/// Images that do not fit into the device's memory are left to the host. A lost device is an error instead.
#[test]
fn images_that_do_not_fit_are_not_kept() {
    let Some(_turn) = gpu() else { return };
    let Some(adapter) = adapter() else { return };
    let options = Options::default().with_memory(Some(8 << 20)).with_tiled(true);
    let gpu = Wgpu::open(&adapter, &options).unwrap();
    let (bytes, labels, table) = (vec![1; 4000 * 3072], vec![0; 4000], [[0.0; 256]; 3]);
    let keep = |n: usize| {
        let images = ImageSet::new([32, 32, 3], &bytes[..n * 3072], &labels[..n], &table).unwrap();
        gpu.keep_images(&images)
    };
    assert!(keep(1000).unwrap().is_some());
    assert!(keep(4000).unwrap().is_none());
    gpu.destroy();
    let _ = gpu.synchronize(); // the device reports its loss at the next call
    assert!(keep(4000).is_err());
}

/// If f16 represents the factors exactly, mixed precision gives the results of f32. Otherwise the results differ a little.
#[test]
fn mixed_precision_rounds_factors_and_nothing_else() {
    let Some(_turn) = gpu() else { return };
    let Some(adapter) = adapter().filter(|adapter| adapter.fast_paths.f16) else { return };
    for tiled in [false, true] {
        let [mixed, exact] = [Precision::Mixed, Precision::F32].map(|precision| {
            let options = Options::default().with_checked(true).with_tiled(tiled).with_precision(precision);
            Wgpu::open(&adapter, &options).unwrap()
        });
        for (x, w, stride) in [
            ([2, 8, 8, 16], [3, 3, 16, 32], 1),
            ([2, 7, 5, 3], [3, 3, 3, 8], 1),
            ([1, 9, 8, 8], [1, 1, 8, 6], 2),
            ([2, 8, 8, 128], [3, 3, 128, 128], 1), // by cooperative matrices, if there are any
        ] {
            let g = Conv2d::new(&x, &w, stride, w[0] / 2).unwrap();
            let [exact_in_f16, rounded] =
                [0.0, 1e-4].map(|share| [&mixed, &exact].map(|gpu| passes(gpu, &g, share)));
            for pass in 0..3 {
                let difference = |[found, expected]: &[[Vec<f32>; 3]; 2]| {
                    let largest =
                        expected[pass].iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                    let differences = found[pass].iter().zip(&expected[pass]).map(|(a, b)| (a - b).abs());
                    differences.fold(0.0, f32::max) / largest
                };
                let (exact_in_f16, rounded) = (difference(&exact_in_f16), difference(&rounded));
                assert!(exact_in_f16 < 1e-6, "{g:?}, pass {pass}: {exact_in_f16}");
                // A driver may omit the rounding of a value that stays in a register.
                let least = if tiled { 1e-6 } else { 0.0 };
                assert!(
                    (least..5e-3).contains(&rounded),
                    "{g:?}, pass {pass}: {rounded} where factors are rounded"
                );
            }
        }
    }
}

/// The results of the three passes of a convolution. Its factors are multiples of 1/64, times 1 + `share`.
fn passes(gpu: &Wgpu, g: &Conv2d, share: f32) -> [Vec<f32>; 3] {
    let buffer = |shape: [usize; 4], step: usize| {
        let value = |i: usize| (((i * step) % 61) as f32 - 29.0) / 64.0 * (1.0 + share);
        let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        let mut buffer = gpu.allocate(values.len()).unwrap();
        gpu.write(&values, &mut buffer).unwrap();
        buffer
    };
    let (x, w, dy) = (buffer(g.x_shape(), 7), buffer(g.w_shape(), 11), buffer(g.y_shape(), 13));
    let read = |shape: [usize; 4], compute: &dyn Fn(&mut gradamp_wgpu::Buffer)| {
        let len = shape.iter().product();
        let (mut out, mut values) = (gpu.allocate(len).unwrap(), vec![0.0; len]);
        compute(&mut out);
        gpu.read(&out, &mut values).unwrap();
        values
    };
    [
        read(g.y_shape(), &|y| gpu.conv2d(g, &x, &w, None, y).unwrap()),
        read(g.x_shape(), &|dx| gpu.conv2d_backward_input(g, &w, &dy, dx).unwrap()),
        read(g.w_shape(), &|dw| gpu.conv2d_backward_weight(g, &x, &dy, dw).unwrap()),
    ]
}
