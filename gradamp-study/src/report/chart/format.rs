//! Formats of numbers.

use crate::duration::duration;

/// The largest fraction that is written in percent. Larger values are written as powers of ten.
const LARGE: f64 = 100.0;

/// The format of the values on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Three significant digits.
    Number,
    /// Whole numbers.
    Whole,
    /// Fractions in percent, with this number of decimals.
    Percent(usize),
    /// Differences of fractions in percentage points, with a sign.
    Points,
    /// Numbers of two decimals with a sign.
    Signed,
    /// Factors: `×2`.
    Factor,
    /// Seconds, as hours, minutes and seconds.
    Seconds,
}

impl Format {
    /// `value` in this format; a dash for NaN.
    pub fn text(self, value: f64) -> String {
        if !value.is_finite() {
            return if value.is_nan() {
                "–".into()
            } else {
                format!("{}∞", if value < 0.0 { "−" } else { "" })
            };
        }
        match self {
            Format::Number => significant(value, 3),
            Format::Whole => significant(value.round(), 15),
            Format::Percent(_) | Format::Points if value.abs() >= LARGE => {
                format!("{} %", significant(100.0 * value, 3))
            }
            Format::Percent(decimals) => minus(&format!("{:.decimals$} %", 100.0 * value)),
            Format::Points => {
                let text = format!("{:+.2}", 100.0 * value);
                minus(if matches!(text.as_str(), "-0.00" | "+0.00") { "0.00" } else { &text })
            }
            Format::Signed if value.abs() >= LARGE => minus(&format!("{value:+.0}")),
            Format::Signed => minus(&format!("{value:+.2}")),
            Format::Factor => format!("×{}", significant(value, 3)),
            Format::Seconds => duration(value),
        }
    }

    /// The label of a tick. Ticks are `step` apart, and neighbours have different labels.
    pub fn tick(self, value: f64, step: f64) -> String {
        match self {
            Format::Percent(_) | Format::Points if value.abs() >= LARGE => {
                format!("{} %", significant(100.0 * value, digits(value, step)))
            }
            Format::Percent(_) => {
                let decimals = decimals(100.0 * step);
                minus(&format!("{:.decimals$} %", 100.0 * value))
            }
            Format::Points => {
                let decimals = decimals(100.0 * step);
                let sign = if value > step / 2.0 { "+" } else { "" };
                minus(&format!("{sign}{:.decimals$}", 100.0 * value))
            }
            Format::Seconds => match step {
                3600.0.. => format!("{} h", significant(value / 3600.0, 3)),
                60.0.. => format!("{} min", significant(value / 60.0, 3)),
                _ => format!("{} s", significant(value, 3)),
            },
            Format::Factor | Format::Signed => self.text(value),
            Format::Number | Format::Whole if value.abs() >= 1e5 || (step > 0.0 && step < 1e-4) => {
                significant(value, digits(value, step))
            }
            Format::Number | Format::Whole => minus(&format!("{:.*}", decimals(step), value)),
        }
    }
}

/// `value` with at most `digits` significant digits, with a power of ten if that is shorter.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return Format::Number.text(value);
    }
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) || (0..digits as i32).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        return minus(trimmed(&format!("{value:.decimals$}")));
    }
    let power = superscript(exponent);
    match trimmed(mantissa) {
        "1" => format!("10{power}"),
        "-1" => format!("−10{power}"),
        mantissa => minus(&format!("{mantissa}·10{power}")),
    }
}

/// Removes zeros at the end of the decimals.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn minus(text: &str) -> String {
    text.replace('-', "−")
}

fn superscript(number: i32) -> String {
    let digit = |letter: char| match letter {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        other => char::from_u32('⁰' as u32 + (other as u32).saturating_sub('0' as u32)).unwrap_or(other),
    };
    number.to_string().chars().map(digit).collect()
}

/// The number of significant digits by which `value` differs from `value + step`: at least three, at most those of an f64.
fn digits(value: f64, step: f64) -> usize {
    let orders = value.abs().log10().floor() - step.abs().log10().floor();
    // One more than the orders of magnitude, and one for steps of 2.5.
    if orders.is_finite() { (orders + 2.0).clamp(3.0, 15.0) as usize } else { 3 }
}

/// The number of decimals of a multiple of `step`.
fn decimals(step: f64) -> usize {
    (0..10)
        .find(|&decimals| {
            let scaled = step * 10_f64.powi(decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1e-300) && scaled.abs() > 0.5
        })
        .unwrap_or(0) as usize
}

/// A p-value as text.
pub fn p(value: f64) -> String {
    if value < 1e-4 { "< 0.0001".into() } else { significant(value, 2) }
}

/// A p-value within a sentence: `p = 0.02` or `p < 0.0001`.
pub fn p_in_words(value: f64) -> String {
    let text = p(value);
    if text.starts_with('<') { format!("p {text}") } else { format!("p = {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "−1.5"),
            (0.1234567, "0.123"),
            (123456.0, "123456"),
            (1e-5, "10⁻⁵"),
            (-2.54e-12, "−2.54·10⁻¹²"),
            (1e20, "10²⁰"),
            (99.96, "100"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "−∞"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value, 3), expected, "{value}");
        }
        assert_eq!(Format::Percent(1).text(0.5), "50.0 %");
        assert_eq!(Format::Points.text(-0.0123), "−1.23");
        assert_eq!(Format::Points.text(-1e-9), "0.00");
        assert_eq!(Format::Factor.text(1.5), "×1.5");
        assert_eq!(Format::Number.tick(0.30000000000000004, 0.1), "0.3");
        assert_eq!(Format::Percent(0).tick(0.025, 0.025), "2.5 %");
        assert_eq!(Format::Number.tick(1.005e6, 5e3), "1.005·10⁶", "told apart from 1.01·10⁶");
    }
}
