//! The vertical axis of a plot.

use super::numbers::short;

/// A vertical axis with ticks at round numbers.
#[derive(Debug, PartialEq)]
pub struct Scale {
    pub low: f64,
    pub high: f64,
    /// The distance between two ticks.
    pub step: f64,
}

impl Scale {
    /// A scale over `range` with about `parts` steps and at least two ticks. If the range is a single value, the
    /// scale extends on both sides of it, within `bounds`.
    pub fn over(range: Option<(f64, f64)>, parts: usize, bounds: (f64, f64)) -> Self {
        let (mut low, mut high) = range.unwrap_or((0.0, 1.0));
        if high - low <= 1e-9 * high.abs().max(low.abs()).max(1e-30) {
            let around = (0.1 * high.abs()).max(1e-6);
            let (least, most) = (bounds.0.min(low), bounds.1.max(high));
            (low, high) = ((low - around).max(least), (high + around).min(most));
        }
        let rough = (high - low) / parts.max(1) as f64;
        let power = 10.0_f64.powf(rough.log10().floor());
        let steps = [10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1].map(|n| n * power);
        let enough = |step: f64| Self { low, high, step }.ticks().count() >= 2;
        let fits = steps.into_iter().filter(|&step| enough(step));
        let step = fits.min_by(|a, b| (a - rough).abs().total_cmp(&(b - rough).abs())).unwrap_or(power);
        Self { low, high, step }
    }

    /// The label of a tick. All labels have the same number of decimals.
    pub fn label(&self, value: f64, is_percent: bool) -> String {
        let (value, step) = if is_percent { (100.0 * value, 100.0 * self.step) } else { (value, self.step) };
        if value.abs() >= 1e5 || step < 1e-4 {
            return short(value);
        }
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let unit = if is_percent { " %" } else { "" };
        format!("{:.digits$}{unit}", value + 0.0) // turns -0 into 0
    }

    /// The multiples of the step within the range.
    pub fn ticks(&self) -> impl Iterator<Item = f64> {
        let step = self.step;
        let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
        let count = (last - first + 1.0).clamp(0.0, 100.0) as usize;
        (0..count).map(move |i| (first + i as f64) * step)
    }

    /// The row in which a value is drawn, counted from the top.
    pub fn row(&self, value: f64, rows: u16) -> u16 {
        let share = (self.high - value) / (self.high - self.low);
        (share * f64::from(rows.saturating_sub(1))).round().clamp(0.0, f64::from(rows.saturating_sub(1)))
            as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let ticks =
            |low, high, parts| Scale::over(Some((low, high)), parts, (0.0, 1.0)).ticks().collect::<Vec<_>>();
        assert_eq!(ticks(0.12, 0.57, 3), [0.2, 0.30000000000000004, 0.4, 0.5]);
        assert_eq!(ticks(101.0, 149.0, 2), [120.0, 140.0]);
        assert_eq!(ticks(0.0, 1.0, 1), [0.0, 1.0]);
        assert_eq!(Scale::over(None, 2, (0.0, 1.0)).ticks().collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
        for value in [0.0, 1.0, 0.5, 1e30, -1e30, 1e-30] {
            let scale = Scale::over(Some((value, value)), 3, (0.0, 1.0));
            assert!(scale.low < scale.high && scale.step > 0.0, "{value}: {scale:?}");
            assert!(scale.low <= value && value <= scale.high, "{value}: {scale:?}");
        }
    }

    #[test]
    fn ticks_have_as_many_digits_as_needed() {
        let labels = |low, high, is_percent| {
            let scale = Scale::over(Some((low, high)), 3, (0.0, 1.0));
            scale.ticks().map(|value| scale.label(value, is_percent)).collect::<Vec<_>>()
        };
        assert_eq!(labels(0.12, 0.57, true), ["20 %", "30 %", "40 %", "50 %"]);
        assert_eq!(labels(0.0, 0.15, false), ["0.00", "0.05", "0.10", "0.15"]);
        assert_eq!(labels(0.0, 2.9, false), ["0", "1", "2"]);
        assert_eq!(labels(0.0, 3e7, false), ["0", "1.0e7", "2.0e7", "3.0e7"]);
    }
}
