//! Every law, on one GPU: that of `GRADAMP_TEST_ADAPTER` (a number or a part of its name), else the best real one, else
//! the software rasteriser. A machine without any skips them.

#![allow(clippy::unwrap_used, reason = "a test's way to fail")]

use std::io::Write;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use gradamp_core::conformance::{assert_law, laws};
use gradamp_wgpu::{Adapter, Choice, Options, Wgpu, adapters};

/// The laws take turns: some count what the device allocates meanwhile.
static GPU: LazyLock<Option<Mutex<Wgpu>>> = LazyLock::new(|| {
    let options = Options { checked: true, ..Options::default() };
    adapter().map(|adapter| Mutex::new(Wgpu::open(&adapter, &options).unwrap()))
});

fn adapter() -> Option<Adapter> {
    match std::env::var("GRADAMP_TEST_ADAPTER") {
        Ok(wanted) => {
            let Ok(choice) = wanted.parse::<Choice>();
            Some(choice.find(adapters()).unwrap())
        }
        Err(_) => {
            let best = Choice::Best.find(adapters()).ok();
            best.or_else(|| adapters().into_iter().find(Adapter::is_software))
        }
    }
}

fn gpu() -> Option<MutexGuard<'static, Wgpu>> {
    let Some(gpu) = &*GPU else {
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no graphics adapter"); // past libtest's capture
        return None;
    };
    Some(gpu.lock().unwrap_or_else(PoisonError::into_inner)) // a broken law leaves no half-made state
}

gradamp_core::conformance!(*match gpu() {
    Some(gpu) => gpu,
    None => return,
});

/// Software rasterisers have kernels of their own; those made for GPUs must hold there too.
#[test]
fn the_laws_of_products_hold_for_tiles_of_workgroup_memory() {
    let Some(_turn) = gpu() else { return };
    let Some(adapter) = adapter() else { return };
    let options = Options { checked: true, tiled: true, ..Options::default() };
    let tiled = Wgpu::open(&adapter, &options).unwrap();
    let products = laws::<Wgpu>().into_iter().filter(|law| {
        ["conv2d::", "gemm::", "gradients::conv", "gradients::linear"]
            .iter()
            .any(|name| law.name.starts_with(name))
    });
    let held = products.map(|law| assert_law(&tiled, law.name, law.check)).count();
    assert!(held > 8, "{held} laws");
}
