//! Parses numbers as people type them: `3`, `+3`, `1_000`, `.9`, `1e-3`, and `1e3` for a whole number.

use std::ops::RangeInclusive;

/// The largest whole number in a configuration, because TOML's whole numbers are signed and have 64 bits.
pub const LARGEST: u64 = i64::MAX as u64;

/// Whole numbers up to this one are exact as `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Parses a finite number; `None` for any other text, including infinities and NaN.
pub fn number(text: &str) -> Option<f64> {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '0'..='9' | '.' | '+' | '-' | 'e' | 'E' => plain.push(c),
            // As in TOML, underscores may stand only between digits.
            '_' if is_digit(plain.chars().last()) && is_digit(chars.peek().copied()) => {}
            _ => return None,
        }
    }
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Converts a number to a whole number, if it is one and `f64` represents its neighbours exactly.
pub fn as_whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Parses the whole number of a flag.
///
/// **Errors:** a text that is no whole number in `range`. The message names what was found and what was expected.
pub fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let digits = text.strip_prefix('+').unwrap_or(text).replace('_', "");
        let found = match (number(text), digits.parse::<u64>()) {
            (Some(_), Ok(exact)) => Some(exact),
            (Some(number), Err(_)) => as_whole(number).and_then(|whole| u64::try_from(whole).ok()),
            (None, _) => None,
        };
        let found = found.filter(|found| range.contains(found)).and_then(|found| T::try_from(found).ok());
        found.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("found {text:?}, expected a whole number from {least} to {most}")
        })
    }
}

/// Parses the number of a flag.
///
/// **Errors:** a text that is no finite number. The message names what was found and what was expected.
pub fn real(text: &str) -> Result<f64, String> {
    number(text).ok_or_else(|| format!("found {text:?}, expected a number"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_people_type_them() {
        for (text, expected) in [
            ("3", Some(3.0)),
            ("+3", Some(3.0)),
            (".9", Some(0.9)),
            ("-.9", Some(-0.9)),
            ("9.", Some(9.0)),
            ("1e-3", Some(1e-3)),
            ("1_000.5", Some(1000.5)),
            ("", None),
            (".", None),
            ("-", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
            ("0x10", None),
            ("3 ", None),
        ] {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }

    #[test]
    fn whole_numbers_are_exact_up_to_the_end_of_their_range() {
        let seed = whole::<u64>(0..=LARGEST);
        for (text, expected) in
            [("0", 0), ("+7", 7), ("1_000", 1000), ("1e3", 1000), ("9223372036854775807", LARGEST)]
        {
            assert_eq!(seed(text), Ok(expected));
        }
        for wrong in ["-1", "1.5", "9223372036854775808", "1e30", "99999999999999999999", "", "x", "1e-3"] {
            assert_eq!(
                seed(wrong),
                Err(format!("found {wrong:?}, expected a whole number from 0 to 9223372036854775807"))
            );
        }
        assert!(whole::<u16>(1..=256)("0").is_err() && whole::<u16>(1..=256)("257").is_err());
    }

    proptest! {
        #[test]
        fn every_whole_number_is_read_as_it_is_written(number in 0..=LARGEST) {
            prop_assert_eq!(whole::<u64>(0..=LARGEST)(&number.to_string()), Ok(number));
        }

        #[test]
        fn every_number_is_read_as_it_is_written(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            prop_assert_eq!(real(&number.to_string()), Ok(number));
            prop_assert_eq!(real(&format!("{number:e}")), Ok(number));
        }
    }
}
