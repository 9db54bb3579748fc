//! The time of day, for names and records.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    seconds: u64,
}

/// Now.
pub fn timestamp() -> Timestamp {
    // A clock before 1970 is no reason not to train.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Timestamp { seconds }
}

impl Timestamp {
    /// The moment that [`rfc3339`](Self::rfc3339) wrote; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: std::ops::Range<usize>| text.get(part)?.parse::<u64>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        // In years that begin on 1 March, as in `date` below.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
        let day_of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
        let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
        let moment = Self { seconds };
        (moment.rfc3339() == text).then_some(moment)
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// As RFC 3339 writes it: `2026-03-01T12:00:00Z`.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// For the names of files: `20260301-120000`.
    pub fn compact(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
    }

    fn time(self) -> (u64, u64, u64) {
        let seconds = self.seconds % 86_400;
        (seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Year, month and day.
    ///
    /// In years that begin on 1 March a leap day comes last, so that the month follows from the day of the year by one
    /// division: 153 days every five months.
    fn date(self) -> (u64, u64, u64) {
        let days = self.seconds / 86_400 + 719_468; // since 1 March of the year 0
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153; // from March, 0
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (400 * era + year_of_era + u64::from(month <= 2), month, day)
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
            assert_eq!(Timestamp { seconds }.rfc3339(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp { seconds }));
        }
        assert_eq!(Timestamp { seconds: 951_782_399 }.compact(), "20000228-235959");
        for text in
            ["", "2000-02-30T00:00:00Z", "2000-00-01T00:00:00Z", "2000-01-01 00:00:00Z", "äöüäöüäöüäöü"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
