//! Times the three passes of every convolution of a ResNet-18 (3x3 stem, 32x32 images), and measures the arithmetic peak to
//! compare them with: `cargo bench -p gradamp-cpu --bench conv -- [WIDTH] [BATCH] [THREADS]`.

use std::time::Instant;

use gradamp_core::Result;
use gradamp_core::backend::{Layers, Memory};
use gradamp_core::geometry::Conv2d;
use gradamp_cpu::Cpu;

/// Size, c_in and c_out (in multiples of the width; 0 stands for 3 channels), kernel, stride, and how many such convolutions the
/// model has.
const SHAPES: [(usize, usize, usize, usize, usize, usize); 11] = [
    (32, 0, 1, 3, 1, 1),
    (32, 1, 1, 3, 1, 4),
    (32, 1, 2, 3, 2, 1),
    (32, 1, 2, 1, 2, 1),
    (16, 2, 2, 3, 1, 3),
    (16, 2, 4, 3, 2, 1),
    (16, 2, 4, 1, 2, 1),
    (8, 4, 4, 3, 1, 3),
    (8, 4, 8, 3, 2, 1),
    (8, 4, 8, 1, 2, 1),
    (4, 8, 8, 3, 1, 3),
];

fn main() -> Result<()> {
    let mut numbers = std::env::args().filter_map(|a| a.parse::<usize>().ok());
    let (width, batch) = (numbers.next().unwrap_or(64), numbers.next().unwrap_or(64));
    let cpu = match numbers.next() {
        Some(threads) => Cpu::with_threads(threads)?,
        None => Cpu::new()?,
    };
    println!("{}, width {width}, batch {batch}", cpu.name());
    println!("peak of all threads, fused multiply-adds in registers: {:.1} GFLOP/s", 1e-9 * cpu.peak());
    println!("{:>28} {:>8} {:>8} {:>8}  GFLOP/s", "x, weight, stride", "forward", "dx", "dw");
    let (mut total_time, mut total_work) = (0.0, 0.0);
    for (size, c_in, c_out, kernel, stride, count) in SHAPES {
        let (c_in, c_out) = (if c_in == 0 { 3 } else { c_in * width }, c_out * width);
        let (x_shape, w_shape) = ([batch, size, size, c_in], [kernel, kernel, c_in, c_out]);
        let g = Conv2d::new(&x_shape, &w_shape, stride, kernel / 2)?;
        let filled = |shape: [usize; 4]| -> Result<_> {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i % 17) as f32 - 8.0).collect();
            let mut buffer = cpu.allocate(values.len())?;
            cpu.write(&values, &mut buffer)?;
            Ok(buffer)
        };
        let (mut x, mut w, mut y) = (filled(g.x_shape())?, filled(g.w_shape())?, filled(g.y_shape())?);
        let times = [
            median(|| cpu.conv2d(&g, &x, &w, None, &mut y))?,
            median(|| cpu.conv2d_backward_input(&g, &w, &y, &mut x))?,
            median(|| cpu.conv2d_backward_weight(&g, &x, &y, &mut w))?,
        ];
        let work = 2e-9 * g.multiplications() as f64;
        let [forward, dx, dw] = times.map(|time| work / time);
        println!(
            "{:>28} {forward:>8.1} {dx:>8.1} {dw:>8.1}  x{count}",
            format!("{size}x{size}x{c_in} {kernel}x{kernel}x{c_out}/{stride}"),
        );
        total_time += count as f64 * times.iter().sum::<f64>();
        total_work += count as f64 * 3.0 * work;
    }
    println!("together {total_time:.4} s a step, {:.1} GFLOP/s", total_work / total_time);
    Ok(())
}

/// The median time of a call, in seconds.
fn median(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let mut times = Vec::new();
    while times.len() < 5 || (times.iter().sum::<f64>() < 0.2 && times.len() < 100) {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
