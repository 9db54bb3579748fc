//! The time of day, for names and records.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(jiff::Timestamp);

/// Now.
pub fn timestamp() -> Timestamp {
    // A clock before 1970 is no reason not to train.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Timestamp::from_seconds(seconds)
}

impl Timestamp {
    /// The moment `seconds` after the beginning of 1970; moments after the year 9999 are the last one.
    fn from_seconds(seconds: u64) -> Self {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Self(jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX))
    }

    /// The moment that [`rfc3339`](Self::rfc3339) wrote; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = Self(text.parse().ok()?);
        (moment.rfc3339() == text).then_some(moment)
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.0.as_second()).unwrap_or(0)
    }

    /// As RFC 3339 writes it: `2026-03-01T12:00:00Z`.
    pub fn rfc3339(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// For the names of files: `20260301-120000`.
    pub fn compact(self) -> String {
        self.0.strftime("%Y%m%d-%H%M%S").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_seconds(seconds).rfc3339(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp::from_seconds(seconds)));
        }
        assert_eq!(Timestamp::from_seconds(951_782_399).compact(), "20000228-235959");
        for text in
            ["", "2000-02-30T00:00:00Z", "2000-00-01T00:00:00Z", "2000-01-01 00:00:00Z", "äöüäöüäöüäöü"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
