//! Series of events in one canonical form, so that RRULE lines (Google, EspoCRM's field) and Graph's
//! `patternedRecurrence` can be compared and turned into each other. Pure.

pub mod expand;
pub mod graph;
pub mod lines;

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use super::event::{OriginalStart, When};
use super::zones::{self, ZoneError};

/// Dates of a series that are left out, or added, at most.
pub const DATES_MAX: usize = 1_000;
/// Longest interval of a rule.
pub const INTERVAL_MAX: u16 = 999;
/// Occurrences that a rule may count.
pub const COUNT_MAX: u32 = 10_000;

/// A day of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Day {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// The day of a date.
    pub fn of(date: Date) -> Self {
        let index = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or_default();
        Self::ALL[index % 7]
    }
}

/// On which days a series takes place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Every n-th day.
    Daily,
    /// On these days of every n-th week.
    Weekly {
        /// Which, at least one.
        days: BTreeSet<Day>,
        /// Where a week begins; Monday where it makes no difference.
        week_start: Day,
    },
    /// On a day of every n-th month.
    MonthlyOn {
        /// 1 to 31, or -1 for the last.
        day: i8,
        /// Whether a month that is too short has it on its last day, as Outlook does, or not at all, as RRULE does.
        /// Set only from the 29th on.
        clamped: bool,
    },
    /// On the n-th of these days of every n-th month.
    MonthlyNth {
        /// Which days, at least one.
        days: BTreeSet<Day>,
        /// 1 to 4, or -1 for the last.
        nth: i8,
    },
    /// On a day of a month of every n-th year.
    YearlyOn {
        /// 1 to 12.
        month: i8,
        /// 1 to 31.
        day: i8,
        /// As in `MonthlyOn`; never set where the month always has that day.
        clamped: bool,
    },
    /// On the n-th of these days of a month of every n-th year.
    YearlyNth {
        /// 1 to 12.
        month: i8,
        /// Which days, at least one.
        days: BTreeSet<Day>,
        /// 1 to 4, or -1 for the last.
        nth: i8,
    },
    /// A rule that only RRULE can say: its parts, sorted, without interval and end.
    Other(String),
}

/// How long a series goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// For ever.
    Never,
    /// Until this day, in the series' zone, inclusive.
    On(Date),
    /// So many times, the left out ones included.
    After(u32),
}

/// A series: its rule, and what deviates from it. Where it starts is the event's affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// On which days.
    pub pattern: Pattern,
    /// Every how many days, weeks, months, years.
    pub interval: u16,
    /// How long.
    pub end: End,
    /// The zone whose clock the rule follows, by IANA's name; none for whole days.
    pub zone: Option<String>,
    /// Occurrences that do not take place.
    #[serde(default)]
    pub gaps: BTreeSet<OriginalStart>,
    /// Occurrences beside the rule.
    #[serde(default)]
    pub extra: BTreeSet<OriginalStart>,
}

/// Why a series cannot be read, or be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// Not in the form of the standard.
    #[error("its recurrence rule cannot be read ({0}); set the recurrence anew")]
    Unreadable(String),
    /// In the form of the standard, but nothing that we carry.
    #[error(
        "its recurrence is of a kind that is not synchronised ({0}); make single events of it, or simplify the rule"
    )]
    Unsupported(String),
    /// Outlook has no such rule.
    #[error("Outlook has no recurrence of this kind ({0}); it is left alone there")]
    NotInOutlook(String),
    /// Its zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

impl SeriesError {
    pub(super) fn unreadable(what: impl ToString) -> Self {
        Self::Unreadable(what.to_string().chars().take(200).collect())
    }

    pub(super) fn unsupported(what: impl ToString) -> Self {
        Self::Unsupported(what.to_string().chars().take(200).collect())
    }
}

/// How the CRM holds a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// As one meeting with its rule, and one for each exception.
    Series,
    /// As a meeting for each occurrence in the window.
    Occurrences,
}

/// What the CRM can hold of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrmSeries {
    /// Whether it has the fields for them at all.
    pub has_fields: bool,
    /// Length of the field for the rule.
    pub rule_chars_max: usize,
}

impl Default for CrmSeries {
    fn default() -> Self {
        Self { has_fields: true, rule_chars_max: 10_000 }
    }
}

impl Series {
    /// How the CRM holds it: as such where it has the fields and the rule fits in, else by its occurrences.
    pub fn holding(&self, crm: &CrmSeries) -> Holding {
        let length: usize = self.to_lines().iter().map(|line| line.chars().count() + 1).sum();
        if crm.has_fields && length <= crm.rule_chars_max { Holding::Series } else { Holding::Occurrences }
    }

    /// The zone whose clock the rule follows; that of no clock for whole days.
    ///
    /// # Errors
    /// [`ZoneError`] for a zone that nobody knows.
    pub fn time_zone(&self) -> Result<TimeZone, ZoneError> {
        self.zone.as_ref().map_or(Ok(TimeZone::UTC), |name| zones::read(name, None))
    }

    /// The zone's name, for a series that starts then.
    fn zone_of(when: &When) -> Result<Option<String>, ZoneError> {
        match when {
            When::Timed { start, .. } => {
                zones::iana_name(start.time_zone()).map(|name| Some(name.to_owned()))
            }
            When::AllDay { .. } => Ok(None),
        }
    }

    /// Where the rule starts counting, on the clock of its zone.
    fn wall_start(&self, when: &When) -> Result<jiff::civil::DateTime, ZoneError> {
        Ok(match when {
            When::Timed { start, .. } => start.with_time_zone(self.time_zone()?).datetime(),
            When::AllDay { first, .. } => first.to_datetime(Time::midnight()),
        })
    }

    /// The start by the rule on a day, for a series that starts then.
    ///
    /// # Errors
    /// [`SeriesError`] for a zone that nobody knows.
    pub fn original_on(&self, when: &When, day: Date) -> Result<OriginalStart, SeriesError> {
        match when {
            When::AllDay { .. } => Ok(OriginalStart::On(day)),
            When::Timed { .. } => {
                let time = self.wall_start(when)?.time();
                original(day.to_datetime(time), Some(&self.time_zone()?))
            }
        }
    }

    /// In the one form in which equal rules are equal.
    fn canonical(mut self) -> Self {
        if let (Pattern::Weekly { days, week_start }, interval) = (&mut self.pattern, self.interval)
            && (interval == 1 || days.len() == 1)
        {
            *week_start = Day::Monday;
        }
        if let Pattern::MonthlyOn { day, clamped } | Pattern::YearlyOn { day, clamped, .. } =
            &mut self.pattern
        {
            *clamped &= *day >= 29;
        }
        let always = graph::is_always_there(&self.pattern);
        if let Pattern::YearlyOn { clamped, .. } = &mut self.pattern {
            *clamped &= !always;
        }
        if let Pattern::MonthlyOn { day: day @ 31, clamped: clamped @ true } = &mut self.pattern {
            // What is on the 31st, or else on the last day, is on the last day.
            (*day, *clamped) = (-1, false);
        }
        self
    }

    /// Whether two series follow one clock, as far as vendors can tell, and are the same otherwise.
    pub fn is_like(&self, other: &Self) -> bool {
        let alike = match (self.time_zone(), other.time_zone()) {
            (Ok(a), Ok(b)) => self.zone.is_some() == other.zone.is_some() && zones::alike(&a, &b),
            _ => self.zone == other.zone,
        };
        alike && Self { zone: None, ..self.clone() } == Self { zone: None, ..other.clone() }
    }

    /// Whether two series are alike but for the occurrences that they leave out.
    pub fn has_rule_of(&self, other: &Self) -> bool {
        self.leaving_out(BTreeSet::new()).is_like(&other.leaving_out(BTreeSet::new()))
    }

    /// The same one, which leaves out these occurrences and no others.
    pub fn leaving_out(&self, gaps: BTreeSet<OriginalStart>) -> Self {
        Self { gaps, ..self.clone() }
    }
}

/// The start by the rule of what is on that wall clock.
fn original(wall: jiff::civil::DateTime, zone: Option<&TimeZone>) -> Result<OriginalStart, SeriesError> {
    match zone {
        None => Ok(OriginalStart::On(wall.date())),
        Some(zone) => zoned(wall, zone).map(|at| OriginalStart::At(at.timestamp())),
    }
}

/// What a clock shows, as an instant. An hour that is left out in spring is taken an hour later, one that comes twice
/// in autumn is taken the first time.
fn zoned(wall: jiff::civil::DateTime, zone: &TimeZone) -> Result<Zoned, SeriesError> {
    zone.to_ambiguous_zoned(wall).compatible().map_err(SeriesError::unreadable)
}

fn wall_of(at: Timestamp, zone: &TimeZone) -> jiff::civil::DateTime {
    at.to_zoned(zone.clone()).datetime()
}

#[cfg(test)]
mod tests;
