//! What neither the vendor's documentation nor a production write-up says. A site where reality differs needs a
//! change here and nowhere else.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

/// The life of a token that comes without one: assumed to be short.
pub(crate) const TOKEN_SECONDS_DEFAULT: u64 = 600;

/// The parameters of a search are assumed to have the names of the fields. Whether the server compares exactly,
/// ignores case, takes prefixes, or ignores a parameter it does not know, is not documented: so what comes back is
/// filtered again (`parties::matches`).
pub(crate) const SEARCH_NAME: &str = "name";
/// See [`SEARCH_NAME`].
pub(crate) const SEARCH_VORNAME: &str = "vorname";
/// See [`SEARCH_NAME`].
pub(crate) const SEARCH_GEBURTSDATUM: &str = "geburtsdatum";
/// See [`SEARCH_NAME`].
pub(crate) const SEARCH_HANDELSREGISTER: &str = "handelsRegisterNummer";

/// A field is emptied by writing null; an empty text is assumed to mean the same where it is read.
pub(crate) const EMPTY: Value = Value::Null;

/// Dates are written date-only (documented for `geburtsdatum`), and are assumed to be read in that form as well,
/// or with a time of midnight behind it, as .NET writes it, whatever its offset.
pub(crate) fn read_date(text: &str) -> Option<Date> {
    let (date, time) = text.split_at_checked("YYYY-MM-DD".len())?;
    let midnight = time.is_empty() || time.starts_with("T00:00:00") || time.starts_with(" 00:00:00");
    midnight.then(|| Date::strptime("%Y-%m-%d", date).ok()).flatten()
}

/// `geaendertAm`, where it is there, is assumed to be ISO 8601, and UTC where it names no offset. The zone of the
/// firm's server would be as likely; it only matters where there is neither base nor row version.
pub(crate) fn read_changed_at(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_may_carry_midnight_and_nothing_else() {
        for good in ["1980-05-17", "1980-05-17T00:00:00", "1980-05-17T00:00:00.000Z", "1980-05-17 00:00:00"] {
            assert_eq!(read_date(good).unwrap().to_string(), "1980-05-17", "{good}");
        }
        for bad in ["", "1980-5-17", "17.05.1980", "1980-02-30", "1980-05-17T12:00:00", "1980-05-1ä"] {
            assert_eq!(read_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_without_offset_is_utc() {
        let expected: Timestamp = "2026-11-20T09:15:00Z".parse().unwrap();
        for text in ["2026-11-20T09:15:00", "2026-11-20T09:15:00Z", "2026-11-20T10:15:00+01:00"] {
            assert_eq!(read_changed_at(text), Some(expected), "{text}");
        }
        assert_eq!(read_changed_at("yesterday"), None);
    }
}
