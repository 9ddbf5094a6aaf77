//! Graph's JSON of a rule, from and to the plain values of [`crate::calendar::series::graph`]. Pure.

use connector_msgraph as wire;

use crate::calendar::series::graph::{
    PatternType, PatternedRecurrence, RecurrencePattern, RecurrenceRange, WeekIndex,
};
use crate::calendar::series::{Day, End, SeriesError};

/// Reads a rule.
pub(super) fn read(rule: &wire::Recurrence) -> Result<PatternedRecurrence, SeriesError> {
    let wire::Recurrence { pattern, range } = rule;
    let unreadable = |what: &str| SeriesError::Unreadable(what.to_owned());
    let end = match range.kind {
        wire::RangeType::NoEnd => End::Never,
        wire::RangeType::EndDate => End::On(range.end_date.ok_or_else(|| unreadable("no last day"))?),
        wire::RangeType::Numbered => {
            let count = range.number_of_occurrences.and_then(|count| u32::try_from(count).ok());
            End::After(count.ok_or_else(|| unreadable("no number of occurrences"))?)
        }
    };
    Ok(PatternedRecurrence {
        pattern: RecurrencePattern {
            kind: match pattern.kind {
                wire::PatternType::Daily => PatternType::Daily,
                wire::PatternType::Weekly => PatternType::Weekly,
                wire::PatternType::AbsoluteMonthly => PatternType::AbsoluteMonthly,
                wire::PatternType::RelativeMonthly => PatternType::RelativeMonthly,
                wire::PatternType::AbsoluteYearly => PatternType::AbsoluteYearly,
                wire::PatternType::RelativeYearly => PatternType::RelativeYearly,
            },
            interval: pattern.interval,
            month: pattern.month,
            day_of_month: pattern.day_of_month,
            days_of_week: pattern.days_of_week.iter().flatten().map(|day| day_of(*day)).collect(),
            // What the vendor says of one that is not named.
            first_day_of_week: pattern.first_day_of_week.map_or(Day::Sunday, day_of),
            index: match pattern.index {
                None | Some(wire::WeekIndex::First) => WeekIndex::First,
                Some(wire::WeekIndex::Second) => WeekIndex::Second,
                Some(wire::WeekIndex::Third) => WeekIndex::Third,
                Some(wire::WeekIndex::Fourth) => WeekIndex::Fourth,
                Some(wire::WeekIndex::Last) => WeekIndex::Last,
            },
        },
        range: RecurrenceRange {
            end,
            start_date: range.start_date,
            time_zone: range.recurrence_time_zone.clone(),
        },
    })
}

/// Writes a rule.
pub(super) fn write(rule: &PatternedRecurrence) -> wire::Recurrence {
    let PatternedRecurrence { pattern, range } = rule;
    let (kind, end_date, number_of_occurrences) = match range.end {
        End::Never => (wire::RangeType::NoEnd, None, None),
        End::On(day) => (wire::RangeType::EndDate, Some(day), None),
        End::After(count) => {
            (wire::RangeType::Numbered, None, Some(i32::try_from(count).unwrap_or(i32::MAX)))
        }
    };
    wire::Recurrence {
        pattern: wire::Pattern {
            kind: match pattern.kind {
                PatternType::Daily => wire::PatternType::Daily,
                PatternType::Weekly => wire::PatternType::Weekly,
                PatternType::AbsoluteMonthly => wire::PatternType::AbsoluteMonthly,
                PatternType::RelativeMonthly => wire::PatternType::RelativeMonthly,
                PatternType::AbsoluteYearly => wire::PatternType::AbsoluteYearly,
                PatternType::RelativeYearly => wire::PatternType::RelativeYearly,
            },
            interval: pattern.interval,
            month: pattern.month,
            day_of_month: pattern.day_of_month,
            days_of_week: Some(pattern.days_of_week.iter().map(|day| wire_day(*day)).collect()),
            first_day_of_week: Some(wire_day(pattern.first_day_of_week)),
            index: Some(match pattern.index {
                WeekIndex::First => wire::WeekIndex::First,
                WeekIndex::Second => wire::WeekIndex::Second,
                WeekIndex::Third => wire::WeekIndex::Third,
                WeekIndex::Fourth => wire::WeekIndex::Fourth,
                WeekIndex::Last => wire::WeekIndex::Last,
            }),
        },
        range: wire::Range {
            kind,
            start_date: range.start_date,
            end_date,
            number_of_occurrences,
            recurrence_time_zone: range.time_zone.clone(),
        },
    }
}

fn day_of(day: wire::Day) -> Day {
    match day {
        wire::Day::Monday => Day::Monday,
        wire::Day::Tuesday => Day::Tuesday,
        wire::Day::Wednesday => Day::Wednesday,
        wire::Day::Thursday => Day::Thursday,
        wire::Day::Friday => Day::Friday,
        wire::Day::Saturday => Day::Saturday,
        wire::Day::Sunday => Day::Sunday,
    }
}

fn wire_day(day: Day) -> wire::Day {
    match day {
        Day::Monday => wire::Day::Monday,
        Day::Tuesday => wire::Day::Tuesday,
        Day::Wednesday => wire::Day::Wednesday,
        Day::Thursday => wire::Day::Thursday,
        Day::Friday => wire::Day::Friday,
        Day::Saturday => wire::Day::Saturday,
        Day::Sunday => wire::Day::Sunday,
    }
}
