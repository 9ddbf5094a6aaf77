//! Values as EspoCRM writes them, and what it does to the values it is sent.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const DATETIME: &str = "%Y-%m-%d %H:%M:%S";
const DATE: &str = "%Y-%m-%d";

/// A time in EspoCRM's form: `YYYY-MM-DD HH:MM:SS`, UTC, always with seconds. Fractions, which EspoCRM refuses,
/// are left out.
pub fn datetime(at: Timestamp) -> String {
    at.strftime(DATETIME).to_string()
}

/// Reads a time in EspoCRM's form; `None` when it is another.
pub fn parse_datetime(text: &str) -> Option<Timestamp> {
    if text.len() != "YYYY-MM-DD HH:MM:SS".len() {
        return None;
    }
    let civil = DateTime::strptime(DATETIME, text).ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A date in EspoCRM's form: `YYYY-MM-DD`.
pub fn date(date: Date) -> String {
    date.strftime(DATE).to_string()
}

/// Reads a date in EspoCRM's form; `None` when it is another.
pub fn parse_date(text: &str) -> Option<Date> {
    if text.len() != "YYYY-MM-DD".len() {
        return None;
    }
    Date::strptime(DATE, text).ok()
}

/// What EspoCRM makes of a varchar: trimmed as PHP's `trim` does it (so a no-break space stays), and nothing
/// when it is empty.
pub fn normalise(text: &str) -> Option<&str> {
    Some(text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0B'])).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_utc_with_seconds() {
        let at: Timestamp = "2026-11-20T09:15:00.987Z".parse().unwrap();
        assert_eq!(datetime(at), "2026-11-20 09:15:00");
        assert_eq!(parse_datetime("2026-11-20 09:15:00"), Some("2026-11-20T09:15:00Z".parse().unwrap()));
        for bad in ["", "2026-11-20 09:15", "2026-11-20T09:15:00", "2026-02-30 00:00:00", "20.11.2026 09:15"]
        {
            assert_eq!(parse_datetime(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_dates() {
        assert_eq!(parse_date("1980-05-17").map(date).as_deref(), Some("1980-05-17"));
        for bad in ["", "17.05.1980", "1980-02-30", "1980-05-17T00:00:00"] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn varchars_are_trimmed_and_empty_is_nothing() {
        assert_eq!(normalise("  HRB 9 \r\n"), Some("HRB 9"));
        assert_eq!(normalise(" \t"), None);
        assert_eq!(normalise("\u{a0}x"), Some("\u{a0}x"));
    }

    proptest! {
        #[test]
        fn every_time_of_this_age_survives(second in 0_i64..4_102_444_800) {
            let at = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(parse_datetime(&datetime(at)), Some(at));
        }
    }
}
