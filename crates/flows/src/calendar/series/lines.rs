//! Series as lines of RFC 5545: `RRULE`, `EXDATE`, `RDATE`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::{
    COUNT_MAX, DATES_MAX, Day, End, INTERVAL_MAX, Pattern, Series, SeriesError, original, wall_of, zoned,
};
use crate::calendar::event::{OriginalStart, When};
use crate::calendar::zones;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 20_000;

impl Day {
    /// The standard's two letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Monday => "MO",
            Self::Tuesday => "TU",
            Self::Wednesday => "WE",
            Self::Thursday => "TH",
            Self::Friday => "FR",
            Self::Saturday => "SA",
            Self::Sunday => "SU",
        }
    }

    fn read(code: &str) -> Result<Self, SeriesError> {
        let found = Self::ALL.into_iter().find(|day| day.code() == code);
        found.ok_or_else(|| SeriesError::unreadable(format!("no day of the week: {code}")))
    }
}

impl Series {
    /// Reads the lines of a series that starts then.
    ///
    /// # Errors
    /// [`SeriesError`] for what is not in the standard's form, or is a rule that we do not carry.
    pub fn from_lines<T: AsRef<str>>(lines: &[T], when: &When) -> Result<Self, SeriesError> {
        let zone = Self::zone_of(when)?;
        let mut series = Self {
            pattern: Pattern::Daily,
            interval: 1,
            end: End::Never,
            zone,
            gaps: BTreeSet::new(),
            extra: BTreeSet::new(),
        };
        let mut rule = None;
        for line in lines.iter().map(AsRef::as_ref).map(str::trim).filter(|line| !line.is_empty()) {
            if line.len() > LINE_BYTES_MAX {
                return Err(SeriesError::unsupported(format!("a line of more than {LINE_BYTES_MAX} bytes")));
            }
            let (head, value) =
                line.split_once(':').ok_or_else(|| SeriesError::unreadable("a line without colon"))?;
            let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
            match name.to_uppercase().as_str() {
                "RRULE" if rule.is_none() => rule = Some(value.to_uppercase()),
                "RRULE" => return Err(SeriesError::unsupported("more than one RRULE")),
                "EXDATE" => series.gaps.extend(series.read_dates(parameters, value, when)?),
                "RDATE" => series.extra.extend(series.read_dates(parameters, value, when)?),
                other => return Err(SeriesError::unsupported(other)),
            }
        }
        if series.gaps.len() > DATES_MAX || series.extra.len() > DATES_MAX {
            return Err(SeriesError::unsupported(format!("more than {DATES_MAX} dates left out or added")));
        }
        let rule = rule.ok_or_else(|| SeriesError::unsupported("no RRULE"))?;
        series.read_rule(&rule, when)?;
        Ok(series.canonical())
    }

    fn read_rule(&mut self, rule: &str, when: &When) -> Result<(), SeriesError> {
        let mut parts = BTreeMap::new();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| SeriesError::unreadable(part))?;
            if parts.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(SeriesError::unreadable(format!("{name} twice")));
            }
        }
        if let Some(interval) = parts.remove("INTERVAL") {
            self.interval = number(&interval, 1, INTERVAL_MAX)?;
        }
        let start = self.wall_start(when)?;
        self.end = match (parts.remove("UNTIL"), parts.remove("COUNT")) {
            (Some(_), Some(_)) => return Err(SeriesError::unreadable("both UNTIL and COUNT")),
            (Some(until), None) => End::On(self.read_until(&until, start)?),
            (None, Some(count)) => End::After(number(&count, 1, COUNT_MAX)?),
            (None, None) => End::Never,
        };
        (self.pattern, self.interval) = read_pattern(&parts, self.interval, start)?;
        Ok(())
    }

    /// The last day on which the series may take place: `UNTIL` is an instant.
    fn read_until(&self, until: &str, start: DateTime) -> Result<Date, SeriesError> {
        let last = match read_time(until)? {
            (last, false) if until.len() == 8 => return Ok(last.date()),
            (last, false) => last,
            (last, true) => wall_of(zoned(last, &TimeZone::UTC)?.timestamp(), &self.time_zone()?),
        };
        if last.time() >= start.time() {
            return Ok(last.date());
        }
        last.date().yesterday().map_err(SeriesError::unreadable)
    }

    fn read_dates(
        &self,
        parameters: &str,
        value: &str,
        when: &When,
    ) -> Result<Vec<OriginalStart>, SeriesError> {
        let own = self.time_zone()?;
        let named = parameters.split(';').find_map(|parameter| parameter.strip_prefix("TZID="));
        let zone = named.map_or(Ok(own.clone()), |name| zones::read(name.trim_matches('"'), None))?;
        let start = self.wall_start(when)?;
        let read = |text: &str| {
            let (time, utc) = read_time(text.trim())?;
            match when {
                When::AllDay { .. } => Ok(OriginalStart::On(time.date())),
                When::Timed { .. } if text.trim().len() == 8 => {
                    original(time.date().to_datetime(start.time()), Some(&own))
                }
                When::Timed { .. } if utc => original(time, Some(&TimeZone::UTC)),
                When::Timed { .. } => original(time, Some(&zone)),
            }
        };
        value.split(',').filter(|text| !text.trim().is_empty()).take(DATES_MAX + 1).map(read).collect()
    }

    /// The lines, the same for equal series.
    pub fn to_lines(&self) -> Vec<String> {
        let mut rule = format!("RRULE:{}", self.pattern_text());
        if self.interval > 1 {
            let _ = write!(rule, ";INTERVAL={}", self.interval);
        }
        match self.end {
            End::Never => {}
            End::On(day) => {
                let _ = write!(rule, ";UNTIL={}", self.until(day));
            }
            End::After(count) => {
                let _ = write!(rule, ";COUNT={count}");
            }
        }
        let dates = [("EXDATE", &self.gaps), ("RDATE", &self.extra)];
        let lines = dates.into_iter().filter(|(_, dates)| !dates.is_empty()).map(|(name, dates)| {
            let whole = dates.iter().all(|date| matches!(date, OriginalStart::On(_)));
            let texts: Vec<String> = dates.iter().map(date_text).collect();
            format!("{name}{}:{}", if whole { ";VALUE=DATE" } else { "" }, texts.join(","))
        });
        std::iter::once(rule).chain(lines).collect()
    }

    /// The end of the last day, so that nobody has to know at what hour the series takes place.
    fn until(&self, day: Date) -> String {
        if self.zone.is_none() {
            return day.strftime("%Y%m%d").to_string();
        }
        let end = day.at(23, 59, 59, 0);
        let utc = self.time_zone().map_err(SeriesError::from).and_then(|zone| zoned(end, &zone));
        utc.map_or_else(|_| day.strftime("%Y%m%d").to_string(), |end| time_text(end.timestamp()))
    }

    /// The rule without interval and end.
    pub(super) fn pattern_text(&self) -> String {
        match &self.pattern {
            Pattern::Daily => "FREQ=DAILY".to_owned(),
            Pattern::Weekly { days, week_start: Day::Monday } => format!("FREQ=WEEKLY;BYDAY={}", codes(days)),
            Pattern::Weekly { days, week_start } => {
                format!("FREQ=WEEKLY;BYDAY={};WKST={}", codes(days), week_start.code())
            }
            Pattern::MonthlyOn { day, clamped } => format!("FREQ=MONTHLY;{}", month_day(*day, *clamped)),
            Pattern::MonthlyNth { days, nth } => format!("FREQ=MONTHLY;{}", nth_day(days, *nth)),
            Pattern::YearlyOn { month, day, clamped } => {
                format!("FREQ=YEARLY;BYMONTH={month};{}", month_day(*day, *clamped))
            }
            Pattern::YearlyNth { month, days, nth } => {
                format!("FREQ=YEARLY;BYMONTH={month};{}", nth_day(days, *nth))
            }
            Pattern::Other(parts) => parts.clone(),
        }
    }
}

fn codes(days: &BTreeSet<Day>) -> String {
    days.iter().map(|day| day.code()).collect::<Vec<_>>().join(",")
}

/// A day that short months have on their last day is the last of the days from the 28th up to it.
fn month_day(day: i8, clamped: bool) -> String {
    if !clamped {
        return format!("BYMONTHDAY={day}");
    }
    let days: Vec<String> = (28..=day).map(|day| day.to_string()).collect();
    format!("BYMONTHDAY={};BYSETPOS=-1", days.join(","))
}

fn nth_day(days: &BTreeSet<Day>, nth: i8) -> String {
    match days.first() {
        Some(day) if days.len() == 1 => format!("BYDAY={nth}{}", day.code()),
        _ => format!("BYDAY={};BYSETPOS={nth}", codes(days)),
    }
}

fn read_pattern(
    parts: &BTreeMap<String, String>,
    interval: u16,
    start: DateTime,
) -> Result<(Pattern, u16), SeriesError> {
    let mut parts = parts.clone();
    let freq = parts.remove("FREQ").ok_or_else(|| SeriesError::unreadable("no FREQ"))?;
    let week_start = parts.remove("WKST").map_or(Ok(Day::Monday), |code| Day::read(&code))?;
    let week_start_part =
        (week_start != Day::Monday).then(|| ("WKST".to_owned(), week_start.code().to_owned()));
    let names: Vec<&str> = parts.keys().map(String::as_str).collect();
    let known = ["BYDAY", "BYMONTH", "BYMONTHDAY", "BYSETPOS", "BYYEARDAY", "BYWEEKNO"];
    if let Some(other) = names.iter().find(|name| !known.contains(name)) {
        return Err(SeriesError::unsupported(other));
    }
    let get = |name: &str| parts.get(name).map(String::as_str).unwrap_or_default();
    let pattern = match (freq.as_str(), names.as_slice()) {
        ("DAILY", []) => Some(Pattern::Daily),
        // On these days of every week.
        ("DAILY", ["BYDAY"]) if interval == 1 => {
            plain_days(get("BYDAY"))?.map(|days| weekly(days, week_start))
        }
        ("WEEKLY", []) => Some(weekly(BTreeSet::from([Day::of(start.date())]), week_start)),
        ("WEEKLY", ["BYDAY"]) => plain_days(get("BYDAY"))?.map(|days| weekly(days, week_start)),
        ("MONTHLY", []) => Some(Pattern::MonthlyOn { day: start.day(), clamped: false }),
        ("MONTHLY", ["BYMONTHDAY"] | ["BYMONTHDAY", "BYSETPOS"]) => {
            on_day(get("BYMONTHDAY"), get("BYSETPOS"))?
                .map(|(day, clamped)| Pattern::MonthlyOn { day, clamped })
        }
        ("MONTHLY", ["BYDAY"] | ["BYDAY", "BYSETPOS"]) => {
            nth_of(get("BYDAY"), get("BYSETPOS"))?.map(|(days, nth)| Pattern::MonthlyNth { days, nth })
        }
        ("YEARLY", []) => Some(Pattern::YearlyOn { month: start.month(), day: start.day(), clamped: false }),
        ("YEARLY", ["BYMONTH"]) => single_month(get("BYMONTH"))?.map(|month| Pattern::YearlyOn {
            month,
            day: start.day(),
            clamped: false,
        }),
        ("YEARLY", ["BYMONTH", "BYMONTHDAY"] | ["BYMONTH", "BYMONTHDAY", "BYSETPOS"]) => {
            let on = on_day(get("BYMONTHDAY"), get("BYSETPOS"))?;
            let month = single_month(get("BYMONTH"))?;
            // The last day of a month is nothing that Outlook could say of a year; it stays in the standard's form.
            on.filter(|(day, _)| *day > 0).zip(month).map(|((day, clamped), month)| Pattern::YearlyOn {
                month,
                day,
                clamped,
            })
        }
        ("YEARLY", ["BYDAY", "BYMONTH"] | ["BYDAY", "BYMONTH", "BYSETPOS"]) => {
            nth_of(get("BYDAY"), get("BYSETPOS"))?
                .zip(single_month(get("BYMONTH"))?)
                .map(|((days, nth), month)| Pattern::YearlyNth { month, days, nth })
        }
        ("DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY", _) => None,
        (other, _) => return Err(SeriesError::unsupported(format!("FREQ={other}"))),
    };
    let other = || {
        let rest = parts.iter().map(|(name, value)| format!(";{name}={value}"));
        let week = week_start_part.iter().map(|(name, value)| format!(";{name}={value}"));
        Pattern::Other(format!("FREQ={freq}{}", rest.chain(week).collect::<String>()))
    };
    Ok((pattern.unwrap_or_else(other), interval))
}

fn weekly(days: BTreeSet<Day>, week_start: Day) -> Pattern {
    Pattern::Weekly { days, week_start }
}

/// Days without number; none where one has a number.
fn plain_days(value: &str) -> Result<Option<BTreeSet<Day>>, SeriesError> {
    let days = value.split(',').map(numbered_day).collect::<Result<Vec<_>, _>>()?;
    let plain = days.iter().all(|(number, _)| number.is_none());
    Ok(plain.then(|| days.into_iter().map(|(_, day)| day).collect()))
}

fn numbered_day(value: &str) -> Result<(Option<i8>, Day), SeriesError> {
    let split = value.len().checked_sub(2).filter(|at| value.is_char_boundary(*at));
    let (number, code) = value.split_at(split.ok_or_else(|| SeriesError::unreadable(value))?);
    let day = Day::read(code)?;
    if number.is_empty() {
        return Ok((None, day));
    }
    let number = number.trim_start_matches('+').parse().map_err(|_| SeriesError::unreadable(value))?;
    Ok((Some(number), day))
}

/// `BYDAY=2MO`, or `BYDAY=MO,TU;BYSETPOS=2`.
fn nth_of(days: &str, position: &str) -> Result<Option<(BTreeSet<Day>, i8)>, SeriesError> {
    let is_nth = |nth: &i8| matches!(nth, 1..=4 | -1);
    if position.is_empty() {
        let day = if days.contains(',') { None } else { Some(numbered_day(days)?) };
        let single =
            day.and_then(|(number, day)| number.filter(is_nth).map(|nth| (BTreeSet::from([day]), nth)));
        return Ok(single);
    }
    let nth = position.parse().ok().filter(is_nth);
    Ok(plain_days(days)?.zip(nth))
}

/// `BYMONTHDAY=15`, or the last of `28,29,30,31`.
fn on_day(days: &str, position: &str) -> Result<Option<(i8, bool)>, SeriesError> {
    let read =
        |day: &str| day.parse::<i8>().map_err(|_| SeriesError::unreadable(format!("BYMONTHDAY={day}")));
    let days = days.split(',').map(read).collect::<Result<Vec<_>, _>>()?;
    if days.iter().any(|day| *day == 0 || !(-31..=31).contains(day)) {
        return Err(SeriesError::unreadable("no day of a month"));
    }
    Ok(match (days.as_slice(), position) {
        ([day @ (1..=31 | -1)], "") => Some((*day, false)),
        (several, "-1") if several.len() > 1 => {
            let last = several[several.len() - 1];
            several.iter().copied().eq(28..=last).then_some((last, true))
        }
        _ => None,
    })
}

fn single_month(value: &str) -> Result<Option<i8>, SeriesError> {
    if value.contains(',') {
        return Ok(None);
    }
    number(value, 1, 12).map(Some)
}

fn number<T: std::str::FromStr + PartialOrd>(value: &str, min: T, max: T) -> Result<T, SeriesError> {
    let read = value.parse::<T>().ok().filter(|number| *number >= min && *number <= max);
    read.ok_or_else(|| SeriesError::unreadable(format!("no usable number: {value}")))
}

/// `20260316`, `20260316T100000` or `20260316T090000Z`; whether it is in UTC.
fn read_time(text: &str) -> Result<(DateTime, bool), SeriesError> {
    let utc = text.ends_with('Z');
    let plain = text.trim_end_matches('Z');
    let format = if plain.len() == 8 { "%Y%m%d" } else { "%Y%m%dT%H%M%S" };
    let broken = |_| SeriesError::unreadable(format!("no date: {text}"));
    if plain.len() == 8 {
        return Ok((Date::strptime(format, plain).map_err(broken)?.at(0, 0, 0, 0), utc));
    }
    Ok((DateTime::strptime(format, plain).map_err(broken)?, utc))
}

fn time_text(at: jiff::Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn date_text(date: &OriginalStart) -> String {
    match date {
        OriginalStart::At(at) => time_text(*at),
        OriginalStart::On(day) => day.strftime("%Y%m%d").to_string(),
    }
}
