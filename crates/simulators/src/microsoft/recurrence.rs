//! The dates of a series: `pattern` and `range` of a patternedRecurrence, without time of day.
//!
//! `[A]` a day of the month that a month has not is its last day, as Exchange has it.

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Slots looked at in one series; a series that is longer ends there.
const STEPS_MAX: usize = 40_000;

/// Which dates come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Daily,
    Weekly,
    AbsoluteMonthly,
    RelativeMonthly,
    AbsoluteYearly,
    RelativeYearly,
}

/// Which of the days that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Index {
    First,
    Second,
    Third,
    Fourth,
    Last,
}

/// Where a series ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum End {
    Never,
    On(Date),
    After(u32),
}

/// A series' rule, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recurrence {
    kind: Kind,
    interval: i32,
    days: Vec<u8>,
    first_day: u8,
    index: Index,
    day_of_month: i8,
    month: i8,
    start: Date,
    end: End,
    /// `recurrenceTimeZone`, as it was sent or as the start has it.
    pub(super) zone: String,
}

const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn day_number(name: &str) -> Option<u8> {
    DAYS.iter().position(|day| *day == name).and_then(|day| u8::try_from(day).ok())
}

fn weekday(date: Date) -> u8 {
    u8::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or(0)
}

fn kind(pattern: &Value) -> Option<Kind> {
    serde_json::from_value(pattern.get("type")?.clone()).ok()
}

impl Recurrence {
    /// Reads a patternedRecurrence whose enumerations are in the service's case; `start` is the date of the event's start.
    pub(super) fn read(recurrence: &Value, start: Date, zone: &str) -> Result<Self, String> {
        let (pattern, range) = (&recurrence["pattern"], &recurrence["range"]);
        let kind = kind(pattern).ok_or("recurrence.pattern.type is missing")?;
        let number = |from: &Value, name: &str| from.get(name).and_then(Value::as_i64).unwrap_or(0);
        let interval = i32::try_from(number(pattern, "interval")).unwrap_or(0);
        if !(1..=99).contains(&interval) {
            return Err("recurrence.pattern.interval is not from 1 to 99".to_owned());
        }
        let mut days: Vec<u8> = pattern["daysOfWeek"]
            .as_array()
            .map(|days| days.iter().filter_map(Value::as_str).filter_map(day_number).collect())
            .unwrap_or_default();
        days.sort_unstable();
        days.dedup();
        let needs_days = matches!(kind, Kind::Weekly | Kind::RelativeMonthly | Kind::RelativeYearly);
        if needs_days && days.is_empty() {
            return Err("recurrence.pattern.daysOfWeek is missing".to_owned());
        }
        let day_of_month = i8::try_from(number(pattern, "dayOfMonth")).unwrap_or(0);
        if matches!(kind, Kind::AbsoluteMonthly | Kind::AbsoluteYearly) && !(1..=31).contains(&day_of_month) {
            return Err("recurrence.pattern.dayOfMonth is not from 1 to 31".to_owned());
        }
        let month = i8::try_from(number(pattern, "month")).unwrap_or(0);
        if matches!(kind, Kind::AbsoluteYearly | Kind::RelativeYearly) && !(1..=12).contains(&month) {
            return Err("recurrence.pattern.month is not from 1 to 12".to_owned());
        }
        let date =
            |name: &str| range.get(name).and_then(Value::as_str).and_then(|text| text.parse::<Date>().ok());
        if date("startDate").ok_or("recurrence.range.startDate is missing")? != start {
            return Err("recurrence.range.startDate is not the date of start".to_owned());
        }
        let end = match range["type"].as_str() {
            Some("noEnd") => End::Never,
            Some("endDate") => {
                let end = date("endDate").ok_or("recurrence.range.endDate is missing")?;
                if end < start {
                    return Err("recurrence.range.endDate lies before startDate".to_owned());
                }
                End::On(end)
            }
            Some("numbered") => match u32::try_from(number(range, "numberOfOccurrences")) {
                Ok(count @ 1..=999) => End::After(count),
                _ => return Err("recurrence.range.numberOfOccurrences is not from 1 to 999".to_owned()),
            },
            _ => return Err("recurrence.range.type is missing".to_owned()),
        };
        let named = range["recurrenceTimeZone"].as_str().filter(|zone| !zone.is_empty());
        let recurrence = Self {
            kind,
            interval,
            days,
            first_day: pattern["firstDayOfWeek"].as_str().and_then(day_number).unwrap_or(0),
            index: serde_json::from_value(pattern["index"].clone()).unwrap_or(Index::First),
            day_of_month,
            month,
            start,
            end,
            zone: named.unwrap_or(zone).to_owned(),
        };
        if recurrence.dates().next().is_none() {
            return Err("the recurrence has no occurrence".to_owned());
        }
        Ok(recurrence)
    }

    /// As the service answers it.
    pub(super) fn shown(&self) -> Value {
        let (kind, end, count) = match self.end {
            End::Never => ("noEnd", "0001-01-01".to_owned(), 0),
            End::On(date) => ("endDate", date.to_string(), 0),
            End::After(count) => ("numbered", "0001-01-01".to_owned(), count),
        };
        let days: Vec<&str> =
            self.days.iter().filter_map(|day| DAYS.get(usize::from(*day)).copied()).collect();
        json!({
            "pattern": {
                "type": self.kind, "interval": self.interval, "month": self.month, "dayOfMonth": self.day_of_month,
                "daysOfWeek": days, "firstDayOfWeek": DAYS.get(usize::from(self.first_day)), "index": self.index,
            },
            "range": {
                "type": kind, "startDate": self.start.to_string(), "endDate": end,
                "recurrenceTimeZone": self.zone, "numberOfOccurrences": count,
            },
        })
    }

    /// The dates of all slots in order, whether or not something was made of them since.
    pub(super) fn dates(&self) -> impl Iterator<Item = Date> + '_ {
        let count_max = match self.end {
            End::After(count) => usize::try_from(count).unwrap_or(STEPS_MAX),
            End::Never | End::On(_) => STEPS_MAX,
        };
        (0_i32..)
            .map_while(|step| self.period(step))
            .take(STEPS_MAX)
            .flatten()
            .filter(|date| *date >= self.start)
            .take_while(|date| !matches!(self.end, End::On(end) if *date > end))
            .take(count_max)
    }

    /// The slots of the n-th day, week, month or year; none past the end of time.
    fn period(&self, step: i32) -> Option<Vec<Date>> {
        let steps = step.checked_mul(self.interval)?;
        match self.kind {
            Kind::Daily => self.start.checked_add(steps.days()).ok().map(|date| vec![date]),
            Kind::Weekly => {
                let into_week = i32::from((weekday(self.start) + 7 - self.first_day) % 7);
                let week = self.start.checked_sub(into_week.days()).ok()?.checked_add(steps.weeks()).ok()?;
                let mut dates: Vec<Date> = self
                    .days
                    .iter()
                    .filter_map(|day| week.checked_add(i32::from((day + 7 - self.first_day) % 7).days()).ok())
                    .collect();
                dates.sort_unstable();
                Some(dates)
            }
            Kind::AbsoluteMonthly | Kind::RelativeMonthly => {
                let month = self.start.first_of_month().checked_add(steps.months()).ok()?;
                Some(self.in_month(month).into_iter().collect())
            }
            Kind::AbsoluteYearly | Kind::RelativeYearly => {
                let year = i16::try_from(i32::from(self.start.year()).checked_add(steps)?).ok()?;
                let month = Date::new(year, self.month, 1).ok()?;
                Some(self.in_month(month).into_iter().collect())
            }
        }
    }

    fn in_month(&self, first: Date) -> Option<Date> {
        let days = first.days_in_month();
        let absolute = matches!(self.kind, Kind::AbsoluteMonthly | Kind::AbsoluteYearly);
        if absolute {
            return Date::new(first.year(), first.month(), self.day_of_month.min(days)).ok();
        }
        let mut fitting = (1..=days)
            .filter_map(|day| Date::new(first.year(), first.month(), day).ok())
            .filter(|date| self.days.contains(&weekday(*date)));
        match self.index {
            Index::First => fitting.next(),
            Index::Second => fitting.nth(1),
            Index::Third => fitting.nth(2),
            Index::Fourth => fitting.nth(3),
            Index::Last => fitting.next_back(),
        }
    }

    /// The first slot at or after the start: where the event itself is moved to when its start fits no slot.
    pub(super) fn first(&self) -> Date {
        self.dates().next().unwrap_or(self.start)
    }

    /// With another first date, as when the whole series moves.
    pub(super) fn starting(mut self, start: Date) -> Self {
        self.start = start;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates_of(pattern: Value, range: Value, take: usize) -> Vec<String> {
        let start = range["startDate"].as_str().unwrap().parse().unwrap();
        let recurrence = json!({ "pattern": pattern, "range": range });
        let read = Recurrence::read(&recurrence, start, "UTC").unwrap();
        read.dates().take(take).map(|date| date.to_string()).collect()
    }

    fn endless(start: &str) -> Value {
        json!({ "type": "noEnd", "startDate": start })
    }

    #[test]
    fn every_kind_of_pattern_yields_its_dates() {
        for (pattern, start, expected) in [
            (
                json!({ "type": "daily", "interval": 2 }),
                "2026-02-27",
                ["2026-02-27", "2026-03-01", "2026-03-03"],
            ),
            (
                json!({ "type": "weekly", "interval": 2, "daysOfWeek": ["monday", "sunday"], "firstDayOfWeek": "monday" }),
                "2026-03-02",
                ["2026-03-02", "2026-03-08", "2026-03-16"],
            ),
            (
                json!({ "type": "weekly", "interval": 2, "daysOfWeek": ["monday", "sunday"] }),
                "2026-03-02",
                ["2026-03-02", "2026-03-15", "2026-03-16"],
            ),
            (
                json!({ "type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31 }),
                "2026-01-31",
                ["2026-01-31", "2026-02-28", "2026-03-31"],
            ),
            (
                json!({ "type": "relativeMonthly", "interval": 1, "daysOfWeek": ["tuesday"], "index": "last" }),
                "2026-01-27",
                ["2026-01-27", "2026-02-24", "2026-03-31"],
            ),
            (
                json!({ "type": "relativeMonthly", "interval": 3, "index": "first",
                        "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"] }),
                "2026-02-02",
                ["2026-02-02", "2026-05-01", "2026-08-03"],
            ),
            (
                json!({ "type": "absoluteYearly", "interval": 1, "dayOfMonth": 29, "month": 2 }),
                "2028-02-29",
                ["2028-02-29", "2029-02-28", "2030-02-28"],
            ),
            (
                json!({ "type": "relativeYearly", "interval": 1, "daysOfWeek": ["thursday"], "index": "fourth", "month": 11 }),
                "2026-11-26",
                ["2026-11-26", "2027-11-25", "2028-11-23"],
            ),
        ] {
            assert_eq!(dates_of(pattern.clone(), endless(start), 3), expected, "{pattern}");
        }
    }

    #[test]
    fn a_series_ends_with_its_date_or_its_number() {
        let daily = json!({ "type": "daily", "interval": 1 });
        let until = json!({ "type": "endDate", "startDate": "2026-03-01", "endDate": "2026-03-03" });
        assert_eq!(dates_of(daily.clone(), until, 9).len(), 3);
        let counted = json!({ "type": "numbered", "startDate": "2026-03-01", "numberOfOccurrences": 4 });
        assert_eq!(dates_of(daily, counted, 9).len(), 4);
    }

    #[test]
    fn what_cannot_be_a_series_is_refused() {
        let start: Date = "2026-03-01".parse().unwrap();
        for (pattern, range) in [
            (json!({ "type": "daily", "interval": 0 }), endless("2026-03-01")),
            (json!({ "type": "weekly", "interval": 1 }), endless("2026-03-01")),
            (json!({ "type": "absoluteMonthly", "interval": 1 }), endless("2026-03-01")),
            (json!({ "type": "absoluteYearly", "interval": 1, "dayOfMonth": 1 }), endless("2026-03-01")),
            (json!({ "type": "daily", "interval": 1 }), endless("2026-03-02")),
            (json!({ "type": "daily", "interval": 1 }), json!({ "startDate": "2026-03-01" })),
            (
                json!({ "type": "daily", "interval": 1 }),
                json!({ "type": "endDate", "startDate": "2026-03-01", "endDate": "2026-02-01" }),
            ),
            (json!({ "interval": 1 }), endless("2026-03-01")),
        ] {
            let recurrence = json!({ "pattern": pattern, "range": range });
            assert!(Recurrence::read(&recurrence, start, "UTC").is_err(), "{recurrence}");
        }
    }

    #[test]
    fn what_was_read_is_answered_in_full() {
        let recurrence = json!({
            "pattern": { "type": "weekly", "interval": 1, "daysOfWeek": ["monday"] },
            "range": { "type": "endDate", "startDate": "2017-09-04", "endDate": "2017-12-31" },
        });
        let read =
            Recurrence::read(&recurrence, "2017-09-04".parse().unwrap(), "Pacific Standard Time").unwrap();
        assert_eq!(
            read.shown(),
            json!({
                "pattern": { "type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": ["monday"],
                             "firstDayOfWeek": "sunday", "index": "first" },
                "range": { "type": "endDate", "startDate": "2017-09-04", "endDate": "2017-12-31",
                           "recurrenceTimeZone": "Pacific Standard Time", "numberOfOccurrences": 0 },
            })
        );
    }
}
