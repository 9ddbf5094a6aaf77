//! Time zones by the names that the service takes: Windows names and a fixed list of IANA names. Others are refused, though
//! they are zones of this world (`Europe/Vienna`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// The zone of an event whose maker had rules of its own; nobody else can read it.
pub(super) const CUSTOM: &str = "tzone://Microsoft/Custom";

#[derive(Debug, Deserialize)]
struct Zones {
    windows: BTreeMap<String, String>,
    iana: BTreeSet<String>,
}

fn zones() -> Option<&'static Zones> {
    static ZONES: OnceLock<Option<Zones>> = OnceLock::new();
    ZONES.get_or_init(|| serde_json::from_str(include_str!("data/zones.json")).ok()).as_ref()
}

/// The zone of a name; none when the service refuses it.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    static KNOWN: OnceLock<BTreeMap<String, TimeZone>> = OnceLock::new();
    let known = KNOWN.get_or_init(|| {
        let Some(zones) = zones() else { return BTreeMap::new() };
        // Windows names have no case, IANA names have.
        let windows = zones.windows.iter().map(|(name, iana)| (name.to_lowercase(), iana));
        let iana = zones.iana.iter().map(|name| (name.clone(), name));
        let mut known: BTreeMap<String, TimeZone> =
            windows.chain(iana).filter_map(|(name, iana)| Some((name, TimeZone::get(iana).ok()?))).collect();
        known.insert("utc".to_owned(), TimeZone::UTC);
        known
    });
    known.get(name).filter(|_| name.contains('/')).or_else(|| known.get(&name.to_lowercase())).cloned()
}

/// As `outlook/supportedTimeZones` lists them.
pub(super) fn windows_names() -> Vec<&'static str> {
    zones().map(|zones| zones.windows.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// The instant of a wall time in a zone that was accepted before; one within a gap is that after it, as the service has it.
pub(super) fn instant(wall: DateTime, zone: &str) -> Timestamp {
    let zone = find(zone).unwrap_or(TimeZone::UTC);
    zone.to_ambiguous_timestamp(wall).compatible().unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_names_and_the_listed_iana_names_are_zones() {
        for (name, zone) in [
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("w. europe standard time", "Europe/Berlin"),
            ("Pacific Standard Time", "America/Los_Angeles"),
            ("Europe/Berlin", "Europe/Berlin"),
        ] {
            assert_eq!(find(name).unwrap().iana_name(), Some(zone), "{name}");
        }
        for name in ["Europe/Vienna", "europe/berlin", "Middle Earth", ""] {
            assert!(find(name).is_none(), "{name}");
        }
        assert_eq!(find("UTC"), Some(TimeZone::UTC));
        assert!(windows_names().iter().all(|name| find(name).is_some()));
        assert!(zones().unwrap().iana.iter().all(|name| find(name).is_some()));
    }

    #[test]
    fn a_wall_time_within_a_gap_is_read_as_the_time_after_it() {
        let wall = "2026-03-29T02:30:00".parse().unwrap();
        assert_eq!(instant(wall, "Europe/Berlin"), "2026-03-29T01:30:00Z".parse::<Timestamp>().unwrap());
    }
}
