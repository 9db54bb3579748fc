//! Time limits as Slurm writes them.

use std::str::FromStr;

/// The seconds before the end of a task at which Slurm sends the signal to save, unless the time limit is short.
const WARNING: u64 = 120;

/// A time limit: minutes, `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`, or `UNLIMITED`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeLimit {
    /// The limit as it was written.
    pub text: String,
    /// The limit in seconds; `None` if there is none.
    pub seconds: Option<u64>,
}

impl TimeLimit {
    /// The seconds before the end at which a task is asked to save: two minutes, or less for limits below twenty minutes.
    pub fn warning(limit: Option<&Self>) -> u64 {
        let seconds = limit.and_then(|limit| limit.seconds);
        seconds.map_or(WARNING, |seconds| WARNING.min((seconds / 10).max(10)))
    }
}

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found {text:?}, expected minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS or UNLIMITED, such as 8:00:00"
            )
        };
        if ["unlimited", "infinite"].contains(&text.to_lowercase().as_str()) {
            return Ok(Self { text: text.to_owned(), seconds: None });
        }
        let (days, clock) = match text.split_once('-') {
            Some((days, clock)) => (Some(whole(days).ok_or_else(wrong)?), clock),
            None => (None, text),
        };
        let parts: Option<Vec<u64>> = clock.split(':').map(whole).collect();
        let seconds = match (days, parts.ok_or_else(wrong)?.as_slice()) {
            (None, [minutes]) => minutes * 60,
            (None, [minutes, seconds]) => minutes * 60 + seconds,
            (None, [hours, minutes, seconds]) => (hours * 60 + minutes) * 60 + seconds,
            (Some(days), [hours]) => (days * 24 + hours) * 3600,
            (Some(days), [hours, minutes]) => (days * 24 + hours) * 3600 + minutes * 60,
            (Some(days), [hours, minutes, seconds]) => (days * 24 + hours) * 3600 + minutes * 60 + seconds,
            _ => return Err(wrong()),
        };
        if seconds == 0 { Err(wrong()) } else { Ok(Self { text: text.to_owned(), seconds: Some(seconds) }) }
    }
}

/// A number of at most six digits, so that no sum overflows.
fn whole(text: &str) -> Option<u64> {
    let is_number = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_as_slurm_reads_them() {
        for (text, seconds) in [
            ("90", 5400),
            ("1:30", 90),
            ("8:00:00", 28_800),
            ("1-12", 129_600),
            ("1-0:30", 88_200),
            ("2-00:00:01", 172_801),
        ] {
            assert_eq!(text.parse::<TimeLimit>().unwrap().seconds, Some(seconds), "{text}");
        }
        assert_eq!("UNLIMITED".parse::<TimeLimit>().unwrap().seconds, None);
        for wrong in ["", "0", "1h", "-1", "1-", "1:2:3:4", "1-2:3:4:5", "9999999", "+1", " 1"] {
            assert!(wrong.parse::<TimeLimit>().unwrap_err().contains("expected minutes"), "{wrong}");
        }
    }

    #[test]
    fn a_short_limit_leaves_most_of_the_time_to_training() {
        let warning = |text: &str| TimeLimit::warning(text.parse().ok().as_ref());
        assert_eq!((warning("8:00:00"), warning("UNLIMITED"), TimeLimit::warning(None)), (120, 120, 120));
        assert_eq!((warning("10"), warning("1"), warning("0:05")), (60, 10, 10));
    }

    proptest! {
        #[test]
        fn every_text_is_a_limit_or_an_error(text in "[0-9:-]{0,12}") {
            if let Ok(limit) = text.parse::<TimeLimit>() {
                prop_assert!(limit.seconds.is_some_and(|seconds| seconds > 0));
            }
        }
    }
}
