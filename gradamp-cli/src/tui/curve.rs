//! A curve whose size is bounded for a run of any length.

/// The most points of a curve: at least two for each column of any screen.
const MOST: usize = 1024;

/// A value over the steps of a run. When there are too many points, each pair of neighbours is replaced by its mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    /// The number of values that are averaged into one point.
    stride: usize,
    /// The sum and the number of the values after the last point.
    open: (f64, f64, usize),
    /// The last value.
    last: Option<f64>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, open: (0.0, 0.0, 0), last: None }
    }
}

impl Curve {
    /// Adds a value. A value that is not finite becomes the last value, but adds no point.
    pub fn push(&mut self, step: f64, value: f64) {
        self.last = Some(value);
        if !value.is_finite() {
            return;
        }
        let (x, y, n) = self.open;
        self.open = (x + step, y + value, n + 1);
        if self.open.2 >= self.stride {
            self.points.extend(self.close());
            self.open = (0.0, 0.0, 0);
        }
        if self.points.len() >= MOST {
            let mean = |pair: &[(f64, f64)]| match *pair {
                [a, b] => (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1)),
                _ => pair[0],
            };
            self.points = self.points.chunks(2).map(mean).collect();
            self.stride *= 2;
        }
    }

    /// All points. The values after the last complete point form one more point.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points.iter().copied().chain(self.close())
    }

    /// The last value, which may not be finite.
    pub fn last(&self) -> Option<f64> {
        self.last
    }

    fn close(&self) -> Option<(f64, f64)> {
        let (x, y, n) = self.open;
        (n > 0).then(|| (x / n as f64, y / n as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_shape_in_few_points() {
        let mut curve = Curve::default();
        for step in 0..100_000 {
            curve.push(f64::from(step), 2.0 * f64::from(step));
        }
        let points: Vec<_> = curve.points().collect();
        assert!((MOST / 2..=MOST).contains(&points.len()), "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(points.iter().all(|(x, y)| (y - 2.0 * x).abs() < 1e-6));
        assert!(points[0].0 < 200.0 && points[points.len() - 1].0 > 99_000.0);
    }

    #[test]
    fn a_value_that_is_not_finite_becomes_the_last_value_but_no_point() {
        let mut curve = Curve::default();
        curve.push(0.0, 1.0);
        curve.push(1.0, f64::NAN);
        assert_eq!(curve.points().collect::<Vec<_>>(), [(0.0, 1.0)]);
        assert!(curve.last().unwrap().is_nan());
    }
}
