//! Measures the ceilings of a device in the same process as the operations that are compared with them.

use gradamp_core::backend::Backend;
use gradamp_core::geometry::{Conv2d, Gemm};
use gradamp_wgpu::ConvOp;
use serde_json::{Value, json};

use super::operation::Operation;
use super::stopwatch::Stopwatch;
use crate::failure::Result;

/// The sides of the smallest and the largest square matrix product to try.
const SIDES: [usize; 2] = [256, 4096];
/// The least duration of a product, in seconds. A faster product does not fill the device, so twice its side is
/// tried.
const ENOUGH: f64 = 0.01;
/// The number of elements to copy: 64 MiB are read and 64 MiB written, more than caches hold.
const COPIED: usize = 1 << 24;

/// The highest rates measured on a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceilings {
    /// Floating-point operations per second in registers alone; 0 if the device can't measure that.
    registers: f64,
    /// Floating-point operations per second of the fastest large matrix product.
    product: f64,
    /// Bytes per second of a copy: bytes read plus bytes written.
    copy: f64,
}

impl Ceilings {
    /// Measures the ceilings. `registers` is the peak rate in registers alone, or 0 if it is not known.
    ///
    /// **Errors:** those of the device.
    pub fn measure<B: Backend>(backend: &B, registers: f64, stopwatch: Stopwatch) -> Result<Self> {
        let copy = Operation::Axpby { len: COPIED, adds: false };
        Ok(Self {
            registers,
            product: fastest(backend, matrix_product, stopwatch)?
                .max(fastest(backend, pointwise, stopwatch)?),
            copy: copy.bytes() / stopwatch.seconds(&copy, backend)?,
        })
    }

    /// The higher value of each of two measurements, because a machine with other users has slow moments.
    #[must_use]
    pub fn highest(self, other: Self) -> Self {
        Self {
            registers: self.registers.max(other.registers),
            product: self.product.max(other.product),
            copy: self.copy.max(other.copy),
        }
    }

    fn flops(&self) -> f64 {
        self.registers.max(self.product)
    }

    /// The fraction of the roofline that an operation reaches if it takes `seconds`. The roofline is the time that
    /// the operation's arithmetic or its memory traffic, whichever is longer, would take at the ceilings.
    ///
    /// The fraction is above 1 if the algorithm needs fewer multiplications than the formula (Winograd), or if the
    /// operands are in caches.
    pub fn share(&self, operation: &Operation, seconds: f64) -> f64 {
        (operation.flops() / self.flops()).max(operation.bytes() / self.copy) / seconds
    }

    pub fn as_json(&self) -> Value {
        let Self { registers, product, copy } = *self;
        json!({
            "registers_gflops": (registers > 0.0).then_some(1e-9 * registers),
            "product_gflops": 1e-9 * product, "copy_gbps": 1e-9 * copy,
        })
    }

    pub fn as_text(&self) -> String {
        let Self { registers, product, copy } = *self;
        let product = format!("{:.1} GFLOP/s in a large matrix product", 1e-9 * product);
        let copy = format!("{:.1} GB/s in a copy of {} MiB", 1e-9 * copy, (4 * COPIED) >> 20);
        match registers > 0.0 {
            true => format!("{:.1} GFLOP/s in registers, {product}, {copy}", 1e-9 * registers),
            false => format!("{product}, {copy}"),
        }
    }
}

/// Floating-point operations per second of `operation`, at a side that is large enough to fill the device.
fn fastest<B: Backend>(
    backend: &B,
    product: fn(usize) -> gradamp_core::Result<Operation>,
    stopwatch: Stopwatch,
) -> Result<f64> {
    let [mut side, largest] = SIDES;
    loop {
        let operation = product(side)?;
        let seconds = stopwatch.seconds(&operation, backend)?;
        if seconds >= ENOUGH || side == largest {
            return Ok(operation.flops() / seconds);
        }
        side *= 2;
    }
}

fn matrix_product(side: usize) -> gradamp_core::Result<Operation> {
    Ok(Operation::Product(Gemm { m: side, n: side, k: side, ..Gemm::default() }))
}

/// The same product as a 1x1 convolution, for which some devices have faster kernels.
fn pointwise(side: usize) -> gradamp_core::Result<Operation> {
    let g = Conv2d::new(&[side, 1, 1, side], &[1, 1, side, side], 1, 0)?;
    Ok(Operation::Convolution { op: ConvOp::Forward, g, bias: false, moments: false })
}

#[cfg(test)]
mod tests {
    use gradamp_core::geometry::Rows;

    use super::*;

    #[test]
    fn the_roofline_is_the_longer_of_arithmetic_and_traffic() {
        let ceilings = Ceilings { registers: 0.0, product: 2e9, copy: 4e9 };
        let product = Operation::Product(Gemm { m: 100, n: 100, k: 100, ..Gemm::default() });
        assert!((ceilings.share(&product, 2e-3) - 0.5).abs() < 1e-12, "2 MFLOP take 1 ms");
        let statistics = Operation::BatchNormStatistics(Rows { rows: 1000, channels: 10 });
        assert!((ceilings.share(&statistics, 1e-5) - 1.0).abs() < 1e-12, "40 kB take 10 µs");
        let faster = ceilings.highest(Ceilings { registers: 4e9, product: 1e9, copy: 1e9 });
        assert!((faster.share(&product, 1e-3) - 0.5).abs() < 1e-12, "registers are faster than the product");
    }
}
