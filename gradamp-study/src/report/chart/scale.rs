//! Axes and scales: positions of values, and ticks at round numbers.

use super::Format;

/// Most of a rounded scale's length, in lengths of the data.
const MOST_ROOM: f64 = 1.3;
/// The most ticks of an axis.
const MOST_TICKS: usize = 24;

/// The quantity that an axis shows.
#[derive(Clone, Debug)]
pub struct Axis {
    /// The name of the quantity, with its unit.
    pub label: String,
    /// The format of the values.
    pub format: Format,
    /// Whether the axis is logarithmic. A logarithmic axis leaves out values that are not positive.
    pub log: bool,
    /// Values that the axis contains even if no data is near them.
    pub include: Vec<f64>,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: &str, format: Format) -> Self {
        Self { label: label.into(), format, log: false, include: Vec::new() }
    }

    /// A logarithmic axis.
    pub fn log(label: &str, format: Format) -> Self {
        Self { log: true, ..Self::linear(label, format) }
    }

    /// The same axis, which also contains `values`.
    #[must_use]
    pub fn including(mut self, values: &[f64]) -> Self {
        self.include.extend(values);
        self
    }

    /// The scale for `values`, with about `wanted` ticks.
    pub fn scale(&self, values: impl Iterator<Item = f64>, wanted: usize) -> Scale {
        let values = values.chain(self.include.iter().copied());
        let usable = values.filter(|value| value.is_finite() && (!self.log || *value > 0.0));
        let (lo, hi) =
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), value| (lo.min(value), hi.max(value)));
        if self.log { Scale::log(lo, hi, wanted) } else { Scale::linear(lo, hi, wanted, self.format) }
    }
}

/// An interval of values with its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The least value.
    pub lo: f64,
    /// The greatest value.
    pub hi: f64,
    /// Whether the scale is logarithmic.
    pub log: bool,
    /// The values with ticks, in ascending order.
    pub ticks: Vec<f64>,
    /// The distance between two ticks; on a logarithmic scale, between the two smallest ticks.
    pub step: f64,
}

impl Scale {
    /// A linear scale from `lo` to `hi`, with about `wanted` ticks at multiples of 1, 2, 2.5 or 5 times a power of ten.
    ///
    /// An interval that is empty or not finite is widened.
    pub fn linear(lo: f64, hi: f64, wanted: usize, format: Format) -> Self {
        let (mut lo, mut hi) =
            if lo.is_finite() && hi.is_finite() && lo <= hi { (lo, hi) } else { (0.0, 1.0) };
        if hi - lo <= 1e-12 * hi.abs().max(lo.abs()) {
            let room = if hi == 0.0 { 1.0 } else { 0.1 * hi.abs() };
            // A share has no room above all or below nothing.
            let is_share = matches!(format, Format::Percent(_)) && (0.0..=1.0).contains(&hi);
            (lo, hi) =
                if is_share { ((lo - room).max(0.0), (hi + room).min(1.0)) } else { (lo - room, hi + room) };
        }
        let wanted = wanted.clamp(2, MOST_TICKS);
        let rough = ((hi - lo) / wanted as f64).max(f64::MIN_POSITIVE);
        let step = match format {
            Format::Seconds => whole_time(rough),
            Format::Whole => match round_step(rough.max(1.0)) {
                2.5 => 5.0,
                step => step,
            },
            _ => round_step(rough),
        };
        let first = (lo / step - 1e-9).ceil();
        let ticks = (0..=MOST_TICKS).map(|i| (first + i as f64) * step);
        let ticks = ticks.take_while(|tick| *tick <= hi + 1e-9 * step).map(|tick| tick + 0.0).collect();
        Self { lo, hi, log: false, ticks, step }
    }

    /// A logarithmic scale from `lo` to `hi`, with ticks at powers of ten. If there are few powers of ten, 2 and 5 times the
    /// powers have ticks too.
    pub fn log(lo: f64, hi: f64, wanted: usize) -> Self {
        let is_positive = lo > 0.0 && hi.is_finite() && lo <= hi;
        let (mut lo, mut hi) = if is_positive { (lo, hi) } else { (1.0, 10.0) };
        if hi / lo < 1.001 {
            (lo, hi) = (lo / 2.0, hi * 2.0);
        }
        let wanted = wanted.clamp(2, MOST_TICKS);
        let (first, last) = (lo.log10().floor() as i32, hi.log10().ceil() as i32);
        let inside = |tick: &f64| *tick >= lo * (1.0 - 1e-9) && *tick <= hi * (1.0 + 1e-9);
        let ticks_of = |mantissas: &[f64], stride: i32| -> Vec<f64> {
            let powers = (first..=last).filter(|power| power.rem_euclid(stride) == 0);
            powers
                .flat_map(|power| mantissas.iter().map(move |mantissa| power_of_ten(*mantissa, power)))
                .filter(inside)
                .collect()
        };
        // Takes the densest ticks that are not too dense.
        let mut choices = vec![ticks_of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1)];
        choices.push(ticks_of(&[1.0, 2.0, 5.0], 1));
        choices.extend([1, 2, 3, 5, 10, 20, 50, 100, 200].map(|stride| ticks_of(&[1.0], stride)));
        let mut ticks = choices.into_iter().find(|ticks| ticks.len() <= wanted + 1).unwrap_or_default();
        if ticks.len() < 2 {
            ticks = Self::linear(lo, hi, wanted, Format::Number).ticks; // a fraction of a decade is nearly linear
            ticks.retain(|tick| *tick > 0.0);
        }
        let step = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        Self { lo, hi, log: true, ticks, step: if step.is_finite() { step } else { 1.0 } }
    }

    /// The same scale, extended to the next tick on both sides, so that data does not touch the frame. If these ticks are far
    /// away, the scale is extended by less.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        if self.log {
            let room = (self.hi / self.lo).powf(0.04);
            (self.lo, self.hi) = (self.lo / room, self.hi * room);
            return self;
        }
        let (below, above) = ((self.lo / self.step + 1e-9).floor(), (self.hi / self.step - 1e-9).ceil());
        let range = self.hi - self.lo;
        if self.ticks.len() > 1 && (above - below) * self.step > MOST_ROOM * range {
            // Ticks around the data would leave much of the chart empty. Room never crosses the ends of shares, 0 and 1.
            let room = 0.06 * range;
            let (lo, hi) = (self.lo - room, self.hi + room);
            self.lo = if self.lo >= 0.0 { lo.max(0.0) } else { lo };
            self.hi = if self.hi <= 1.0 { hi.min(1.0) } else { hi };
            return self;
        }
        let count = (above - below).round().clamp(1.0, (MOST_TICKS + 2) as f64) as usize;
        self.ticks = (0..=count).map(|i| (below + i as f64) * self.step + 0.0).collect();
        (self.lo, self.hi) = (below * self.step, (below + count as f64) * self.step);
        self
    }

    /// The position of `value` in [0, 1]; `None` for a value that the scale cannot show.
    pub fn place(&self, value: f64) -> Option<f64> {
        let place = if self.log {
            (value > 0.0).then(|| (value / self.lo).ln() / (self.hi / self.lo).ln())?
        } else {
            (value - self.lo) / (self.hi - self.lo)
        };
        place.is_finite().then_some(place.clamp(0.0, 1.0))
    }

    /// The label of a tick.
    pub fn label(&self, tick: f64, format: Format) -> String {
        if self.log && matches!(format, Format::Number | Format::Whole) {
            return super::significant(tick, 3);
        }
        format.tick(tick, self.step)
    }
}

/// 10 to the power of an integer, correctly rounded: 0.001 and not 0.0010000000000000002.
fn power_of_ten(mantissa: f64, power: i32) -> f64 {
    format!("{mantissa}e{power}").parse().unwrap_or(mantissa)
}

fn round_step(rough: f64) -> f64 {
    let power = rough.log10().floor() as i32;
    let candidates = [1.0, 2.0, 2.5, 5.0, 10.0].map(|mantissa| power_of_ten(mantissa, power));
    candidates.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(rough)
}

fn whole_time(rough: f64) -> f64 {
    const STEPS: [f64; 14] =
        [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];
    let step = STEPS.into_iter().find(|step| *step >= rough);
    step.unwrap_or_else(|| 3600.0 * round_step(rough / 3600.0))
}
