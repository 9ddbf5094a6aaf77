//! Start and end of an event: a day, or an instant with the zone it was written in.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// When something starts or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum When {
    /// All day.
    Day(Date),
    /// At a time.
    At {
        instant: Timestamp,
        zone: String,
        /// Whether the writer named the zone, which a series needs.
        is_zone_given: bool,
    },
}

/// The zone of that IANA name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

impl When {
    /// Reads what a client wrote; `calendar_zone` stands in for a zone that was not given.
    pub(super) fn read(value: &Value, calendar_zone: &str) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let named = match text("timeZone") {
            Some(name) if zone(name).is_none() => return Err("Invalid time zone definition.".to_owned()),
            named => named,
        };
        match (text("date"), text("dateTime")) {
            (Some(date), None) => {
                let is_plain = date.len() == 10;
                let date = date.parse().ok().filter(|_| is_plain);
                date.map(Self::Day).ok_or_else(|| "Invalid value for: Invalid format of a date".to_owned())
            }
            (None, Some(time)) => {
                let at = |instant| {
                    let zone = named.unwrap_or(calendar_zone).to_owned();
                    Self::At { instant, zone, is_zone_given: named.is_some() }
                };
                if !time.contains('T') || time.contains('[') {
                    return Err("Invalid value for: Invalid format of a time".to_owned());
                }
                if let Ok(instant) = time.parse::<Timestamp>() {
                    return Ok(at(instant));
                }
                let local: DateTime =
                    time.parse().map_err(|_| "Invalid value for: Invalid format of a time".to_owned())?;
                let Some(zone) = named.and_then(zone) else {
                    return Err("Missing time zone definition.".to_owned());
                };
                Ok(at(instant(local, &zone)))
            }
            (None, None) => Err("Missing date and time.".to_owned()),
            (Some(_), Some(_)) => Err("Date and time are both given.".to_owned()),
        }
    }

    pub(super) fn is_day(&self) -> bool {
        matches!(self, Self::Day(_))
    }

    /// The wall time in its own zone.
    pub(super) fn local(&self) -> DateTime {
        match self {
            Self::Day(date) => date.to_datetime(jiff::civil::Time::midnight()),
            Self::At { instant, zone: name, .. } => {
                instant.to_zoned(zone(name).unwrap_or(TimeZone::UTC)).datetime()
            }
        }
    }

    /// The same kind of time at another wall time.
    pub(super) fn at_local(&self, local: DateTime) -> Self {
        match self {
            Self::Day(_) => Self::Day(local.date()),
            Self::At { zone: name, is_zone_given, .. } => Self::At {
                instant: instant(local, &zone(name).unwrap_or(TimeZone::UTC)),
                zone: name.clone(),
                is_zone_given: *is_zone_given,
            },
        }
    }

    /// The instant; a day begins at midnight of `calendar_zone`.
    pub(super) fn instant(&self, calendar_zone: &str) -> Timestamp {
        match self {
            Self::Day(_) => instant(self.local(), &zone(calendar_zone).unwrap_or(TimeZone::UTC)),
            Self::At { instant, .. } => *instant,
        }
    }

    /// From the first to the second; as wall time for days.
    pub(super) fn duration_to(&self, end: &Self) -> SignedDuration {
        match (self, end) {
            (Self::At { instant: start, .. }, Self::At { instant: end, .. }) => end.duration_since(*start),
            _ => end.local().duration_since(self.local()),
        }
    }

    /// So much later.
    pub(super) fn plus(&self, duration: SignedDuration) -> Self {
        match self {
            Self::Day(date) => Self::Day(
                date.to_datetime(jiff::civil::Time::midnight())
                    .checked_add(duration)
                    .map_or(*date, |later| later.date()),
            ),
            Self::At { instant, zone, is_zone_given } => Self::At {
                instant: instant.checked_add(duration).unwrap_or(*instant),
                zone: zone.clone(),
                is_zone_given: *is_zone_given,
            },
        }
    }

    /// What stands behind the underscore in an instance's id.
    pub(super) fn stamp(&self) -> String {
        match self {
            Self::Day(date) => date.strftime("%Y%m%d").to_string(),
            Self::At { instant, .. } => instant.strftime("%Y%m%dT%H%M%SZ").to_string(),
        }
    }

    /// As the API shows it, in this zone.
    pub(super) fn shown(&self, shown_in: &str) -> Value {
        match self {
            Self::Day(date) => json!({ "date": date.to_string() }),
            Self::At { instant, zone: name, .. } => {
                json!({ "dateTime": rfc3339(*instant, shown_in), "timeZone": name })
            }
        }
    }

    /// As the store keeps it: the zone is kept apart from the offset.
    pub(super) fn stored(&self) -> Value {
        match self {
            Self::Day(_) => self.shown("UTC"),
            Self::At { zone, .. } => self.shown(zone),
        }
    }
}

fn instant(local: DateTime, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_zoned(local).compatible().map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
}

fn rfc3339(instant: Timestamp, shown_in: &str) -> String {
    let zoned = instant.to_zoned(zone(shown_in).unwrap_or(TimeZone::UTC));
    if zoned.offset().is_zero() && shown_in.ends_with("UTC") {
        return zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// `created` and `updated`.
pub(super) fn millis(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<When, String> {
        When::read(&value, "Europe/Berlin")
    }

    #[test]
    fn a_time_is_read_by_offset_or_zone_and_shown_in_the_calendar_s() {
        let berlin = read(json!({ "dateTime": "2026-03-09T10:00:00", "timeZone": "Europe/Berlin" })).unwrap();
        assert_eq!(
            berlin.shown("Europe/Berlin"),
            json!({ "dateTime": "2026-03-09T10:00:00+01:00", "timeZone": "Europe/Berlin" })
        );
        let york = read(json!({ "dateTime": "2026-03-09T10:00:00-04:00", "timeZone": "America/New_York" }));
        assert_eq!(
            york.unwrap().shown("Europe/Berlin"),
            json!({ "dateTime": "2026-03-09T15:00:00+01:00", "timeZone": "America/New_York" })
        );
        let utc = read(json!({ "dateTime": "2026-03-09T10:00:00Z" })).unwrap();
        assert_eq!(utc.shown("UTC")["dateTime"], "2026-03-09T10:00:00Z");
        assert_eq!(utc.shown("UTC")["timeZone"], "Europe/Berlin");
        assert_eq!(read(json!({ "date": "2026-04-03" })).unwrap().stored(), json!({ "date": "2026-04-03" }));
    }

    #[test]
    fn what_is_stored_is_read_as_the_same() {
        for value in [
            json!({ "dateTime": "2026-10-25T02:30:00+01:00", "timeZone": "Europe/Berlin" }),
            json!({ "dateTime": "2026-10-25T02:30:00+02:00", "timeZone": "Europe/Berlin" }),
            json!({ "dateTime": "2026-03-29T02:30:00", "timeZone": "Europe/Berlin" }),
        ] {
            let when = read(value).unwrap();
            assert_eq!(When::read(&when.stored(), "UTC").unwrap(), when);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in [
            json!({}),
            json!({ "dateTime": "2026-03-09T10:00:00" }),
            json!({ "dateTime": "2026-03-09T10:00:00Z", "timeZone": "W. Europe Standard Time" }),
            json!({ "dateTime": "2026-03-09" }),
            json!({ "date": "2026-03-09T10:00:00Z" }),
            json!({ "date": "2026-02-30" }),
            json!({ "date": "2026-03-09", "dateTime": "2026-03-09T10:00:00Z" }),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn stamps_are_in_utc() {
        let at =
            read(json!({ "dateTime": "2026-03-30T10:00:00+02:00", "timeZone": "Europe/Berlin" })).unwrap();
        assert_eq!(at.stamp(), "20260330T080000Z");
        assert_eq!(read(json!({ "date": "2026-03-16" })).unwrap().stamp(), "20260316");
    }
}
