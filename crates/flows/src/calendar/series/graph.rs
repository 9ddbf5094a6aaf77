//! Series as Microsoft Graph says them: `patternedRecurrence`, here as plain values. Pure.
//!
//! Graph has neither dates left out nor dates added: an occurrence that was deleted is missing among the instances,
//! and is found by comparing them. See <https://learn.microsoft.com/graph/api/resources/patternedrecurrence>.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{COUNT_MAX, DATES_MAX, Day, End, INTERVAL_MAX, Pattern, Series, SeriesError};
use crate::calendar::event::{OriginalStart, When};
use crate::calendar::zones;

/// `patternedRecurrence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternedRecurrence {
    /// On which days.
    pub pattern: RecurrencePattern,
    /// From when to when.
    pub range: RecurrenceRange,
}

/// `recurrencePatternType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternType {
    /// Every n-th day.
    Daily,
    /// Days of the week.
    Weekly,
    /// A day of the month.
    AbsoluteMonthly,
    /// The n-th weekday of the month.
    RelativeMonthly,
    /// A day of the year.
    AbsoluteYearly,
    /// The n-th weekday of a month of the year.
    RelativeYearly,
}

/// `weekIndex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeekIndex {
    /// First; also what Graph says where it does not matter.
    First,
    /// Second.
    Second,
    /// Third.
    Third,
    /// Fourth.
    Fourth,
    /// Last.
    Last,
}

/// `recurrencePattern`. What does not belong to its type is 0 or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecurrencePattern {
    /// Type.
    pub kind: PatternType,
    /// Every how many.
    pub interval: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day_of_month: i32,
    /// Days of the week.
    pub days_of_week: Vec<Day>,
    /// Where a week begins.
    pub first_day_of_week: Day,
    /// Which of the days.
    pub index: WeekIndex,
}

/// `recurrenceRange`, of types `noEnd`, `endDate` and `numbered`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecurrenceRange {
    /// `type` with what belongs to it.
    pub end: End,
    /// The first day on which it may take place.
    pub start_date: Date,
    /// The zone whose clock it follows, by any name; none for that of the event.
    pub time_zone: Option<String>,
}

impl Series {
    /// Reads what Graph says of a series that starts then. `mailbox` is the zone to take for one without name, `gaps`
    /// are the occurrences that are known to be deleted.
    ///
    /// # Errors
    /// [`SeriesError`] for what makes no sense, or is in a zone that nobody knows.
    pub fn from_graph(
        recurrence: &PatternedRecurrence,
        when: &When,
        mailbox: Option<&TimeZone>,
        gaps: BTreeSet<OriginalStart>,
    ) -> Result<Self, SeriesError> {
        let zone = match (&recurrence.range.time_zone, when) {
            (_, When::AllDay { .. }) => None,
            (Some(name), When::Timed { .. }) if !name.is_empty() => {
                Some(zones::iana_name(&zones::read(name, mailbox)?)?.to_owned())
            }
            (_, When::Timed { .. }) => Self::zone_of(when)?,
        };
        if gaps.len() > DATES_MAX {
            return Err(SeriesError::unsupported(format!("more than {DATES_MAX} dates left out")));
        }
        let interval = u16::try_from(recurrence.pattern.interval)
            .ok()
            .filter(|interval| (1..=INTERVAL_MAX).contains(interval))
            .ok_or_else(|| SeriesError::unreadable(format!("interval {}", recurrence.pattern.interval)))?;
        if let End::After(count) = recurrence.range.end
            && !(1..=COUNT_MAX).contains(&count)
        {
            return Err(SeriesError::unreadable(format!("{count} occurrences")));
        }
        let pattern = recurrence.pattern.read()?;
        let series =
            Self { pattern, interval, end: recurrence.range.end, zone, gaps, extra: BTreeSet::new() };
        Ok(series.canonical())
    }

    /// What Graph is told of a series that starts then, without its gaps.
    ///
    /// # Errors
    /// [`SeriesError::NotInOutlook`] for a rule that Outlook does not have.
    pub fn to_graph(&self, when: &When) -> Result<PatternedRecurrence, SeriesError> {
        if !self.extra.is_empty() {
            return Err(SeriesError::NotInOutlook("dates beside the rule".to_owned()));
        }
        let time_zone = match &self.zone {
            None => None,
            Some(_) => Some(zones::windows_name(&self.time_zone()?)?.to_owned()),
        };
        let range = RecurrenceRange { end: self.end, start_date: self.wall_start(when)?.date(), time_zone };
        Ok(PatternedRecurrence { pattern: RecurrencePattern::write(self)?, range })
    }
}

impl RecurrencePattern {
    fn read(&self) -> Result<Pattern, SeriesError> {
        let days: BTreeSet<Day> = self.days_of_week.iter().copied().collect();
        let needs_days = matches!(
            self.kind,
            PatternType::Weekly | PatternType::RelativeMonthly | PatternType::RelativeYearly
        );
        if needs_days && days.is_empty() {
            return Err(SeriesError::unreadable("no day of the week"));
        }
        let within = |what: &str, value: i32, max: i8| {
            let fits = i8::try_from(value).ok().filter(|value| (1..=max).contains(value));
            fits.ok_or_else(|| SeriesError::unreadable(format!("{what} {value}")))
        };
        // Outlook holds a day that a month does not have on the month's last day.
        Ok(match self.kind {
            PatternType::Daily => Pattern::Daily,
            PatternType::Weekly => Pattern::Weekly { days, week_start: self.first_day_of_week },
            PatternType::AbsoluteMonthly => {
                Pattern::MonthlyOn { day: within("day", self.day_of_month, 31)?, clamped: true }
            }
            PatternType::RelativeMonthly => Pattern::MonthlyNth { days, nth: self.index.nth() },
            PatternType::AbsoluteYearly => Pattern::YearlyOn {
                month: within("month", self.month, 12)?,
                day: within("day", self.day_of_month, 31)?,
                clamped: true,
            },
            PatternType::RelativeYearly => {
                Pattern::YearlyNth { month: within("month", self.month, 12)?, days, nth: self.index.nth() }
            }
        })
    }

    fn write(series: &Series) -> Result<Self, SeriesError> {
        let plain = Self {
            kind: PatternType::Daily,
            interval: i32::from(series.interval),
            month: 0,
            day_of_month: 0,
            days_of_week: Vec::new(),
            first_day_of_week: Day::Sunday,
            index: WeekIndex::First,
        };
        let refused = |what: &str| Err(SeriesError::NotInOutlook(what.to_owned()));
        let listed = |days: &BTreeSet<Day>| days.iter().copied().collect();
        Ok(match &series.pattern {
            Pattern::Daily => plain,
            Pattern::Weekly { days, week_start } => Self {
                kind: PatternType::Weekly,
                days_of_week: listed(days),
                first_day_of_week: *week_start,
                ..plain
            },
            Pattern::MonthlyOn { day: -1, .. } => {
                Self { kind: PatternType::AbsoluteMonthly, day_of_month: 31, ..plain }
            }
            Pattern::MonthlyOn { day: 29.., clamped: false }
            | Pattern::YearlyOn { day: 29.., clamped: false, .. }
                if !is_always_there(&series.pattern) =>
            {
                return refused("a day that not every month has");
            }
            Pattern::MonthlyOn { day, .. } => {
                Self { kind: PatternType::AbsoluteMonthly, day_of_month: i32::from(*day), ..plain }
            }
            Pattern::MonthlyNth { days, nth } => Self {
                kind: PatternType::RelativeMonthly,
                days_of_week: listed(days),
                index: WeekIndex::of(*nth),
                ..plain
            },
            Pattern::YearlyOn { month, day, .. } => Self {
                kind: PatternType::AbsoluteYearly,
                month: i32::from(*month),
                day_of_month: i32::from(*day),
                ..plain
            },
            Pattern::YearlyNth { month, days, nth } => Self {
                kind: PatternType::RelativeYearly,
                month: i32::from(*month),
                days_of_week: listed(days),
                index: WeekIndex::of(*nth),
                ..plain
            },
            Pattern::Other(parts) => return refused(parts),
        })
    }
}

/// Whether the day of a yearly rule is in every year: then it makes no difference what is done in short months.
pub(super) fn is_always_there(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::YearlyOn { month, day, .. } => match month {
            2 => *day <= 28,
            4 | 6 | 9 | 11 => *day <= 30,
            _ => *day <= 31,
        },
        _ => false,
    }
}

impl WeekIndex {
    fn nth(self) -> i8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
            Self::Third => 3,
            Self::Fourth => 4,
            Self::Last => -1,
        }
    }

    fn of(nth: i8) -> Self {
        match nth {
            2 => Self::Second,
            3 => Self::Third,
            4 => Self::Fourth,
            -1 => Self::Last,
            _ => Self::First,
        }
    }
}
