//! Writes learning rates for people.

/// The significant digits of a rate, enough to show the change of a schedule from one step to the next.
const DIGITS: i32 = 4;

/// Writes a rate with four significant digits and without trailing zeros: `0.1`, `0.08415`, `1e-5`, `1.234e-7`, `1e30`. A
/// rate that is not 0 is never written as 0.
pub fn rate(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}").trim_start_matches('-').to_lowercase();
    }
    // The value is rounded first, because rounding up to a power of ten may change the form.
    let scientific = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.decimals$}")).to_owned();
    }
    format!("{}e{exponent}", trimmed(mantissa))
}

/// Without zeros at the end of the decimals.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_read_well() {
        for (value, text) in [
            (0.1, "0.1"),
            (0.05, "0.05"),
            (0.084_149_9, "0.08415"),
            (1e-5, "1e-5"),
            (0.000_123_456, "0.0001235"),
            (9.999_96e-5, "0.0001"),
            (1.0, "1"),
            (30.0, "30"),
            (123_456.7, "123457"),
            (1e30, "1e30"),
            (1.234_56e-7, "1.235e-7"),
            (0.0, "0"),
            (-0.0, "0"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(rate(value), text, "{value:?}");
        }
    }

    proptest! {
        /// Of any positive rate: what is read back is the rate to four digits, and the text is short.
        #[test]
        fn a_rate_is_short_and_read_back_to_four_digits(value in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL) {
            let value = value.abs();
            prop_assume!(value > 0.0 && value.is_finite() && value < 1e308);
            let text = rate(value);
            let back: f64 = text.parse().unwrap();
            prop_assert!((back / value - 1.0).abs() <= 0.5e-3 + 1e-9 || value < 1e-320, "{value:?} reads {text}");
            prop_assert!(back > 0.0 && text.len() <= 10, "{value:?} reads {text}");
        }

        /// Rates as people set them: the order of two is that of their texts.
        #[test]
        fn a_higher_rate_never_reads_lower(a in 1e-9..10.0_f64, b in 1e-9..10.0_f64) {
            let read = |value: f64| rate(value).parse::<f64>().unwrap();
            prop_assert!(a > b || read(a) <= read(b), "{a} and {b}");
        }
    }
}
