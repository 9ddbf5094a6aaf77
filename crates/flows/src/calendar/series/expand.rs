//! The occurrences of a series inside a window. Pure.
//!
//! The crate `rrule` counts on the wall clock only: it is told that the zone is UTC, so it never meets daylight saving
//! time, and there is one database of zones (jiff's), not two that may differ.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rrule::RRuleSet;

use super::{End, Series, SeriesError, original, wall_of, zoned};
use crate::calendar::event::{Event, OriginalStart, Place, When, Window};

/// Occurrences looked at from the start of a series on: 270 years of days.
const LOOKED_AT_MAX: usize = 100_000;
/// Occurrences inside a window at most.
pub const OCCURRENCES_MAX: usize = 2_000;

/// One of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Its start by the rule.
    pub original: OriginalStart,
    /// When it takes place by the rule.
    pub when: When,
}

impl Occurrence {
    /// The event: all but time and place in the series is the series'. Graph says no more of an occurrence than that.
    pub fn event(&self, master: &Event, series_id: &str) -> Event {
        let place = Place::Occurrence { series_id: series_id.to_owned(), original: self.original.clone() };
        Event { when: self.when.clone(), place, ..master.clone() }
    }
}

impl Series {
    /// The occurrences that touch a stretch of time, in order, without those left out.
    ///
    /// # Errors
    /// [`SeriesError`] for a rule that cannot be counted, or that has too many occurrences.
    pub fn occurrences(
        &self,
        when: &When,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Occurrence>, SeriesError> {
        let zone = match when {
            When::Timed { .. } => Some(self.time_zone()?),
            When::AllDay { .. } => None,
        };
        let start = self.wall_start(when)?;
        // A day for the widest zone, and one for its daylight saving time.
        let margin = SignedDuration::from_hours(48);
        let latest = to.saturating_add(margin).map_err(SeriesError::unreadable)?;
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let extra = self.extra.iter().map(|date| wall(date, zone.as_ref()));
        for wall in self.walls(start, wall_of(latest, &TimeZone::UTC))?.into_iter().chain(extra) {
            let original = original(wall, zone.as_ref())?;
            if self.gaps.contains(&original) || !seen.insert(original.clone()) {
                continue;
            }
            let when = shifted(when, wall, zone.as_ref())?;
            if when.touches(from, to) {
                found.push(Occurrence { original, when });
            }
            if found.len() > OCCURRENCES_MAX {
                return Err(SeriesError::unsupported(format!(
                    "more than {OCCURRENCES_MAX} occurrences in the window"
                )));
            }
        }
        found.sort_by(|a, b| a.original.cmp(&b.original));
        Ok(found)
    }

    /// The occurrences that are left out though no rule says so: those of the window that a look at the instances of the
    /// series did not find. `found` are their starts by the rule; `elsewhere` those of exceptions that are known, and
    /// may have been moved out of the window.
    ///
    /// # Errors
    /// As [`Series::occurrences`].
    pub fn gaps_in(
        &self,
        when: &When,
        window: &Window,
        found: &BTreeSet<OriginalStart>,
        elsewhere: &BTreeSet<OriginalStart>,
    ) -> Result<BTreeSet<OriginalStart>, SeriesError> {
        let originals = self.occurrences(when, window.from, window.to)?.into_iter().map(|o| o.original);
        Ok(originals.filter(|original| !found.contains(original) && !elsewhere.contains(original)).collect())
    }

    /// What the clock shows at each occurrence by the rule, up to `latest`.
    fn walls(&self, start: DateTime, latest: DateTime) -> Result<Vec<DateTime>, SeriesError> {
        let end = match self.end {
            End::Never => String::new(),
            End::On(day) => format!(";UNTIL={}", day.at(23, 59, 59, 0).strftime("%Y%m%dT%H%M%SZ")),
            End::After(count) => format!(";COUNT={count}"),
        };
        if matches!(self.end, End::On(day) if day < start.date()) {
            return Ok(Vec::new());
        }
        let text = format!(
            "DTSTART:{}\nRRULE:{};INTERVAL={}{end}",
            start.strftime("%Y%m%dT%H%M%SZ"),
            self.pattern_text(),
            self.interval
        );
        let set: RRuleSet = text.parse().map_err(SeriesError::unreadable)?;
        let mut walls = Vec::new();
        for (index, date) in set.limit().into_iter().enumerate() {
            if index >= LOOKED_AT_MAX {
                return Err(SeriesError::unsupported(format!(
                    "more than {LOOKED_AT_MAX} occurrences since its start"
                )));
            }
            let at = Timestamp::from_second(date.timestamp()).map_err(SeriesError::unreadable)?;
            let wall = wall_of(at, &TimeZone::UTC);
            if wall > latest {
                break;
            }
            walls.push(wall);
        }
        Ok(walls)
    }
}

fn wall(date: &OriginalStart, zone: Option<&TimeZone>) -> DateTime {
    match date {
        OriginalStart::On(day) => day.at(0, 0, 0, 0),
        OriginalStart::At(at) => match zone {
            Some(zone) => wall_of(*at, zone),
            None => wall_of(*at, &TimeZone::UTC),
        },
    }
}

/// The same length, starting then: as exact time, so that a night shift is as long in any night.
fn shifted(when: &When, wall: DateTime, zone: Option<&TimeZone>) -> Result<When, SeriesError> {
    match (when, zone) {
        (When::Timed { start, end }, Some(zone)) => {
            let length = start.timestamp().duration_until(end.timestamp());
            let start = zoned(wall, zone)?;
            let end = start.checked_add(length).map_err(SeriesError::unreadable)?;
            Ok(When::Timed { start, end })
        }
        (When::Timed { .. } | When::AllDay { .. }, _) => {
            let days = match when {
                When::AllDay { first, after } => first.until(*after).map_err(SeriesError::unreadable)?,
                When::Timed { .. } => jiff::Span::new(),
            };
            let first = wall.date();
            Ok(When::AllDay { first, after: first.checked_add(days).map_err(SeriesError::unreadable)? })
        }
    }
}
