//! Time zones by the names the vendors use: IANA's, Windows', and the odd ones of clients. Pure.
//!
//! Google takes IANA names only; Microsoft Graph takes Windows names and some of IANA's, and answers with what the
//! event was made with. What is not known is an error, never UTC: a series in the wrong zone is shifted by daylight
//! saving time, for months, and nobody notices at once.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::tz::TimeZone;

/// What Windows zones are in IANA's names; the file says where it is from.
const WINDOWS_ZONES: &str = include_str!("windows_zones.tsv");
/// Longest name looked up, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// What Graph says of a zone that was defined by hand and has no name.
const CUSTOM: [&str; 3] = ["tzone://microsoft/custom", "customized time zone", "custom"];

/// Why a zone cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// Nobody knows the name.
    #[error(
        "{0:?} is the name of no time zone, neither of IANA's nor of Windows'; set the event's zone in the calendar"
    )]
    Unknown(String),
    /// A zone without name, and no zone of the mailbox to take instead.
    #[error(
        "the event is in a time zone without a name, and the zone of its mailbox is not known; set the event's zone in the calendar"
    )]
    Custom,
    /// Windows has no zone for it.
    #[error("Windows has no time zone for {0}, so Outlook cannot hold the event in it; choose another zone")]
    NotInWindows(String),
}

struct Table {
    /// Windows name in lower case → IANA's.
    iana: HashMap<String, &'static str>,
    /// IANA name in lower case → Windows'.
    windows: HashMap<String, &'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { iana: HashMap::new(), windows: HashMap::new() };
    for line in WINDOWS_ZONES.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(windows), Some(iana), Some(others)) = (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        table.iana.insert(windows.to_lowercase(), iana);
        for name in std::iter::once(iana).chain(others.split_whitespace()) {
            table.windows.insert(name.to_lowercase(), windows);
        }
    }
    table
});

/// The zone of a name as a vendor gives it. `mailbox` is the zone to take for one that has no name.
///
/// # Errors
/// [`ZoneError`] for a name that nobody knows.
pub fn read(name: &str, mailbox: Option<&TimeZone>) -> Result<TimeZone, ZoneError> {
    let name = name.trim();
    let lower = name.to_lowercase();
    if CUSTOM.contains(&lower.as_str()) {
        return mailbox.cloned().ok_or(ZoneError::Custom);
    }
    let unknown = || ZoneError::Unknown(name.chars().take(NAME_BYTES_MAX).collect());
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(unknown());
    }
    if matches!(lower.as_str(), "utc" | "etc/utc" | "z" | "tzone://microsoft/utc") {
        return Ok(TimeZone::UTC);
    }
    if let Some(iana) = TABLE.iana.get(&lower) {
        return TimeZone::get(iana).map_err(|_| unknown());
    }
    // Some clients put a path of their own before IANA's name: `/mozilla.org/20050126_1/Europe/Berlin`.
    let parts: Vec<&str> = name.trim_start_matches('/').split('/').collect();
    let tails = (0..parts.len().min(8)).map(|from| parts[from..].join("/"));
    let named = |tail: &String| !name.starts_with('/') || tail.contains('/');
    let found = tails
        .take(if name.starts_with('/') { 8 } else { 1 })
        .filter(named)
        .find_map(|tail| TimeZone::get(&tail).ok());
    found.ok_or_else(unknown)
}

/// The name of a zone for Google, and for our own documents.
///
/// # Errors
/// [`ZoneError`] for a zone without name.
pub fn iana_name(zone: &TimeZone) -> Result<&str, ZoneError> {
    zone.iana_name().ok_or(ZoneError::Custom)
}

/// The name of a zone for Microsoft Graph.
///
/// # Errors
/// [`ZoneError`] where Windows has none.
pub fn windows_name(zone: &TimeZone) -> Result<&'static str, ZoneError> {
    let name = iana_name(zone)?;
    TABLE.windows.get(&name.to_lowercase()).copied().ok_or_else(|| ZoneError::NotInWindows(name.to_owned()))
}

/// Whether two zones are one, as far as both vendors can tell: what is written as Europe/Vienna to Outlook comes back
/// as W. Europe Standard Time, and that reads as Europe/Berlin.
pub fn alike(a: &TimeZone, b: &TimeZone) -> bool {
    a == b || matches!((windows_name(a), windows_name(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        read(name, None).unwrap()
    }

    #[test]
    fn every_name_of_the_table_is_a_zone_and_comes_back() {
        let mut rows = 0;
        for line in WINDOWS_ZONES.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            assert_eq!(columns.len(), 3, "{line}");
            assert_eq!(windows_name(&zone(columns[0])), Ok(columns[0]), "{line}");
            for name in columns[2].split_whitespace() {
                assert_eq!(windows_name(&zone(name)), Ok(columns[0]), "{name}");
                assert!(alike(&zone(name), &zone(columns[1])), "{name}");
            }
            rows += 1;
        }
        assert_eq!(rows, 139);
    }

    #[test]
    fn names_are_read_as_vendors_and_clients_write_them() {
        for (name, expected) in [
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("w. europe standard time", "Europe/Berlin"),
            (" Pacific Standard Time ", "America/Los_Angeles"),
            ("India Standard Time", "Asia/Kolkata"),
            ("Europe/Vienna", "Europe/Vienna"),
            ("UTC", "UTC"),
            ("tzone://Microsoft/Utc", "UTC"),
            ("Etc/UTC", "UTC"),
            ("/freeassociation.sourceforge.net/Europe/Berlin", "Europe/Berlin"),
            ("/mozilla.org/20050126_1/America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ] {
            assert_eq!(zone(name).iana_name(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_nobody_knows_is_an_error_and_not_utc() {
        let long = "x".repeat(2_000);
        for name in
            ["", "Middle-earth Standard Time", "(UTC+01:00) Amsterdam, Berlin", "/x.org/Nowhere", &long]
        {
            assert!(matches!(read(name, Some(&zone("Asia/Tokyo"))), Err(ZoneError::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn a_zone_without_name_is_that_of_the_mailbox() {
        let berlin = zone("Europe/Berlin");
        for name in ["tzone://Microsoft/Custom", "Customized Time Zone"] {
            assert_eq!(read(name, Some(&berlin)), Ok(berlin.clone()));
            assert_eq!(read(name, None), Err(ZoneError::Custom));
        }
    }

    #[test]
    fn zones_of_one_windows_name_are_alike_and_others_are_not() {
        assert!(alike(&zone("Europe/Vienna"), &zone("Europe/Berlin")));
        assert!(alike(&zone("Asia/Calcutta"), &zone("Asia/Kolkata")));
        assert!(!alike(&zone("Europe/London"), &zone("Europe/Berlin")));
        assert!(!alike(&zone("Europe/London"), &TimeZone::UTC));
        let troll = zone("Antarctica/Troll");
        assert_eq!(windows_name(&troll), Err(ZoneError::NotInWindows("Antarctica/Troll".to_owned())));
        assert!(alike(&troll, &troll));
    }
}
