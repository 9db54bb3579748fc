//! y\[i\] += deviation · n\[i\], with counted normal numbers

use std::f64::consts::TAU;

use ndarray::Array1;

use super::Violation;
use super::case::{Case, Expected, Found, Output, equals_default, equals_twin, random, wide};
use crate::Backend;
use crate::random::{Purpose, Stream};

#[derive(Debug)]
struct Noise {
    len: usize,
    deviation: f32,
}

impl Noise {
    fn stream(&self) -> Stream {
        Stream::new(7, Purpose::Noise).at(self.len as u64)
    }
}

impl Case for Noise {
    fn run<B: Backend>(&self, backend: &B) -> Result<Vec<Found>, Violation> {
        let mut y = Output::holding(backend, "y", 0, &random(1, self.len))?;
        backend.add_noise(self.len, self.stream(), self.deviation, &mut y.buffer)?;
        Ok(vec![y.read(backend)?])
    }

    fn twin(&self) -> Vec<Expected> {
        // The two numbers of each block by Box and Muller's formula.
        let normal = |i: usize| {
            let bits = self.stream().bits(i as u64 / 2);
            let a = ((bits & 0xffff_ffff) + 1) as f64 / 2f64.powi(32);
            let b = (bits >> 32) as f64 / 2f64.powi(32);
            let angle = TAU * b;
            (-2.0 * a.ln()).sqrt() * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() }
        };
        let noise = f64::from(self.deviation) * Array1::from_iter((0..self.len).map(normal));
        let y = wide(&random(1, self.len));
        vec![Expected::rounded("y", &y + &noise, 4.0, &(y.abs() + noise.abs()))]
    }
}

fn cases() -> Vec<Noise> {
    let lengths = [1, 2, 3, 66, 1023, 1025, 5003];
    lengths.into_iter().flat_map(|len| [0.1, 3.0].map(|deviation| Noise { len, deviation })).collect()
}

/// The noise is added to y. Among the cases are odd numbers of elements.
pub fn add_noise_equals_its_twin<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_twin(backend, &cases())
}

/// The default adds numbers that the host computes.
pub fn add_noise_equals_its_default<B: Backend>(backend: &B) -> Result<(), Violation> {
    equals_default(backend, &cases())
}

pub(super) fn sample() -> impl Case {
    Noise { len: 5003, deviation: 0.1 }
}
