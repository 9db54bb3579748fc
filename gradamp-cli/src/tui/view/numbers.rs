//! Numbers, shortened for narrow columns.

/// A number with up to three significant digits: `0`, `0.012`, `1.25`, `830`, `1.2e-5`.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        _ if value == 0.0 => "0".into(),
        _ if !value.is_finite() => format!("{value}").to_lowercase(),
        0.01..0.1 => format!("{value:.3}"),
        0.1..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..10_000.0 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

/// A fraction as a percentage: `56.2 %`.
pub fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

/// A count in thousands or millions: `77k`, `11.2M`.
pub fn count(value: usize) -> String {
    match value as f64 {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.2345, "1.23"),
            (-0.0123, "-0.012"),
            (830.4, "830"),
            (0.00123, "1.2e-3"),
            (1.234e-5, "1.2e-5"),
            (2.5e7, "2.5e7"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(
            (count(999).as_str(), count(77_123).as_str(), count(11_173_962).as_str()),
            ("999", "77k", "11.2M")
        );
        assert_eq!(percent(0.5625), "56.2 %");
    }
}
