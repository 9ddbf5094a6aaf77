//! Tables from the vendors' pages, and properties against a naive counter that walks from day to day.

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use proptest::prelude::*;

use super::graph::{PatternType, PatternedRecurrence, RecurrencePattern, RecurrenceRange, WeekIndex};
use super::*;
use crate::calendar::event::{Event, Place, Window};

fn timed(start: &str) -> When {
    let start: Zoned = start.parse().unwrap();
    let end = start.checked_add(1.hour()).unwrap();
    When::Timed { start, end }
}

fn whole(first: Date, days: i32) -> When {
    When::AllDay { first, after: first.checked_add(days.days()).unwrap() }
}

fn series(rule: &str, when: &When) -> Series {
    Series::from_lines(&[rule], when).unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn starts(series: &Series, when: &When, from: &str, to: &str) -> Vec<String> {
    let found = series.occurrences(when, instant(from), instant(to)).unwrap();
    let show = |when: &When| match when {
        When::Timed { start, .. } => start.strftime("%m-%dT%H:%M%:z").to_string(),
        When::AllDay { first, .. } => first.strftime("%m-%d").to_string(),
    };
    found.iter().map(|occurrence| show(&occurrence.when)).collect()
}

#[test]
fn the_clock_stays_when_daylight_saving_time_comes_and_goes() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    let weekly = series("RRULE:FREQ=WEEKLY;BYDAY=MO", &when);
    assert_eq!(
        starts(&weekly, &when, "2026-03-20T00:00:00Z", "2026-04-07T00:00:00Z"),
        ["03-23T09:00+01:00", "03-30T09:00+02:00", "04-06T09:00+02:00"]
    );
    assert_eq!(
        starts(&weekly, &when, "2026-10-18T00:00:00Z", "2026-11-01T00:00:00Z"),
        ["10-19T09:00+02:00", "10-26T09:00+01:00"]
    );
}

#[test]
fn an_hour_that_is_left_out_or_comes_twice_has_one_occurrence() {
    let when = timed("2026-03-28T02:30[Europe/Berlin]");
    let daily = series("RRULE:FREQ=DAILY;COUNT=3", &when);
    assert_eq!(
        starts(&daily, &when, "2026-03-01T00:00:00Z", "2026-04-07T00:00:00Z"),
        ["03-28T02:30+01:00", "03-29T03:30+02:00", "03-30T02:30+02:00"]
    );
    let when = timed("2026-10-24T02:30[Europe/Berlin]");
    let daily = series("RRULE:FREQ=DAILY;UNTIL=20261026T225959Z", &when);
    assert_eq!(
        starts(&daily, &when, "2026-10-01T00:00:00Z", "2026-11-07T00:00:00Z"),
        ["10-24T02:30+02:00", "10-25T02:30+02:00", "10-26T02:30+01:00"]
    );
}

#[test]
fn what_is_left_out_is_left_out_in_any_notation() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    for gap in [
        "EXDATE:20260330T070000Z",
        "EXDATE;TZID=Europe/Berlin:20260330T090000",
        "EXDATE;TZID=\"W. Europe Standard Time\":20260330T090000",
        "EXDATE;VALUE=DATE:20260330",
    ] {
        let weekly = Series::from_lines(&["RRULE:FREQ=WEEKLY", gap], &when).unwrap();
        assert_eq!(weekly.to_lines(), ["RRULE:FREQ=WEEKLY;BYDAY=MO", "EXDATE:20260330T070000Z"]);
        assert_eq!(
            starts(&weekly, &when, "2026-03-20T00:00:00Z", "2026-04-07T00:00:00Z"),
            ["03-23T09:00+01:00", "04-06T09:00+02:00"],
            "{gap}"
        );
    }
    let days = whole(date(2026, 12, 24), 2);
    let lines = ["RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20271224", "RDATE;VALUE=DATE:20270102"];
    let yearly = Series::from_lines(&lines, &days).unwrap();
    assert_eq!(
        starts(&yearly, &days, "2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z"),
        ["12-24", "01-02", "12-24"]
    );
}

#[test]
fn equal_rules_have_one_form() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    for (rule, canonical) in [
        ("RRULE:FREQ=WEEKLY", "RRULE:FREQ=WEEKLY;BYDAY=MO"),
        ("rrule:freq=weekly;byday=we,mo;wkst=su", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE"),
        (
            "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=WE,MO;WKST=SU",
            "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;WKST=SU;INTERVAL=2",
        ),
        ("RRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
        ("RRULE:FREQ=MONTHLY", "RRULE:FREQ=MONTHLY;BYMONTHDAY=23"),
        ("RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1", "RRULE:FREQ=MONTHLY;BYDAY=-1MO"),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1"),
        ("RRULE:FREQ=YEARLY", "RRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=23"),
        ("RRULE:FREQ=YEARLY;BYMONTH=3", "RRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=23"),
        ("RRULE:FREQ=YEARLY;BYDAY=4MO;BYMONTH=3", "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=4MO"),
        // Ends early on the day after: the last one is the day before.
        ("RRULE:FREQ=DAILY;UNTIL=20260401T060000Z", "RRULE:FREQ=DAILY;UNTIL=20260331T215959Z"),
        ("RRULE:FREQ=DAILY;UNTIL=20260331", "RRULE:FREQ=DAILY;UNTIL=20260331T215959Z"),
    ] {
        assert_eq!(series(rule, &when).to_lines(), [canonical], "{rule}");
    }
}

#[test]
fn what_is_not_carried_is_refused_with_a_reason() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    for rule in [
        "RRULE:FREQ=HOURLY",
        "RRULE:FREQ=DAILY;BYHOUR=9",
        "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
        "EXRULE:FREQ=DAILY",
        "DTSTART:20260323T090000",
        "EXDATE:20260330T070000Z",
    ] {
        let lines: Vec<&str> = rule.split('\n').collect();
        let refused = Series::from_lines(&lines, &when);
        assert!(matches!(refused, Err(SeriesError::Unsupported(_))), "{rule}: {refused:?}");
    }
    for rule in [
        "RRULE",
        "RRULE:FREQ",
        "RRULE:INTERVAL=2",
        "RRULE:FREQ=DAILY;INTERVAL=0",
        "RRULE:FREQ=DAILY;INTERVAL=1000000",
        "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20260331",
        "RRULE:FREQ=DAILY;COUNT=-1",
        "RRULE:FREQ=DAILY;UNTIL=tomorrow",
        "RRULE:FREQ=WEEKLY;BYDAY=XX",
        "RRULE:FREQ=WEEKLY;BYDAY=ü",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=32",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=99999999999",
    ] {
        let refused = Series::from_lines(&[rule], &when);
        assert!(matches!(refused, Err(SeriesError::Unreadable(_))), "{rule}: {refused:?}");
    }
}

#[test]
fn rules_that_only_the_standard_can_say_are_counted_and_kept_from_outlook() {
    let when = timed("2026-03-27T09:00[Europe/Berlin]");
    let second_last = series("RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", &when);
    assert_eq!(
        starts(&second_last, &when, "2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z"),
        ["03-30T09:00+02:00", "04-29T09:00+02:00", "05-28T09:00+02:00"]
    );
    let never = series("RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", &when);
    assert_eq!(starts(&never, &when, "2026-03-01T00:00:00Z", "2030-06-01T00:00:00Z"), [""; 0]);
    for rule in [
        "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=31",
        "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "RRULE:FREQ=YEARLY;BYYEARDAY=100",
    ] {
        let refused = series(rule, &when).to_graph(&when);
        assert!(matches!(refused, Err(SeriesError::NotInOutlook(_))), "{rule}: {refused:?}");
    }
    let extra = Series::from_lines(&["RRULE:FREQ=DAILY", "RDATE:20260330T120000Z"], &when).unwrap();
    assert!(matches!(extra.to_graph(&when), Err(SeriesError::NotInOutlook(_))));
    // A day that its month always has is the same in both.
    let last_of_march = series("RRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=31", &when).to_graph(&when).unwrap();
    assert_eq!((last_of_march.pattern.month, last_of_march.pattern.day_of_month), (3, 31));
}

#[test]
fn outlook_holds_the_31st_on_the_last_day_of_short_months() {
    let when = timed("2026-01-31T09:00[Europe/Berlin]");
    let pattern = |day| RecurrencePattern {
        kind: PatternType::AbsoluteMonthly,
        interval: 1,
        month: 0,
        day_of_month: day,
        days_of_week: Vec::new(),
        first_day_of_week: Day::Sunday,
        index: WeekIndex::First,
    };
    let range = RecurrenceRange {
        end: End::After(4),
        start_date: date(2026, 1, 31),
        time_zone: Some("W. Europe Standard Time".into()),
    };
    let read = |day| {
        let recurrence = PatternedRecurrence { pattern: pattern(day), range: range.clone() };
        Series::from_graph(&recurrence, &when, None, BTreeSet::new()).unwrap()
    };
    assert_eq!(read(31).to_lines(), ["RRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=4"]);
    assert_eq!(read(30).to_lines(), ["RRULE:FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1;COUNT=4"]);
    assert_eq!(
        starts(&read(31), &when, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ["01-31T09:00+01:00", "02-28T09:00+01:00", "03-31T09:00+02:00", "04-30T09:00+02:00"]
    );
    assert_eq!(read(31).to_graph(&when).unwrap().pattern, pattern(31));
    assert_eq!(read(30).to_graph(&when).unwrap().pattern, pattern(30));
}

#[test]
fn a_series_from_outlook_keeps_its_true_zone() {
    let when = timed("2026-03-23T08:00[UTC]");
    let recurrence = |zone: Option<&str>| PatternedRecurrence {
        pattern: RecurrencePattern {
            kind: PatternType::Weekly,
            interval: 1,
            month: 0,
            day_of_month: 0,
            days_of_week: vec![Day::Monday],
            first_day_of_week: Day::Sunday,
            index: WeekIndex::First,
        },
        range: RecurrenceRange {
            end: End::Never,
            start_date: date(2026, 3, 23),
            time_zone: zone.map(str::to_owned),
        },
    };
    let read = |zone, mailbox: Option<&TimeZone>| {
        Series::from_graph(&recurrence(zone), &when, mailbox, BTreeSet::new())
    };
    let weekly = read(Some("W. Europe Standard Time"), None).unwrap();
    assert_eq!(
        starts(&weekly, &when, "2026-03-20T00:00:00Z", "2026-04-07T00:00:00Z"),
        ["03-23T09:00+01:00", "03-30T09:00+02:00", "04-06T09:00+02:00"]
    );
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    assert_eq!(read(Some("tzone://Microsoft/Custom"), Some(&berlin)), Ok(weekly.clone()));
    assert_eq!(read(Some("tzone://Microsoft/Custom"), None), Err(SeriesError::Zone(ZoneError::Custom)));
    assert!(matches!(read(Some("Nowhere"), Some(&berlin)), Err(SeriesError::Zone(ZoneError::Unknown(_)))));
    assert_eq!(weekly.to_graph(&when).unwrap().range.time_zone.as_deref(), Some("W. Europe Standard Time"));
    let vienna = Series { zone: Some("Europe/Vienna".into()), ..weekly.clone() };
    assert!(weekly.is_like(&vienna) && weekly != vienna);
    assert!(!weekly.is_like(&read(None, None).unwrap()));
}

#[test]
fn nonsense_from_outlook_is_refused() {
    let when = timed("2026-03-23T08:00[UTC]");
    let base = RecurrencePattern {
        kind: PatternType::Weekly,
        interval: 1,
        month: 0,
        day_of_month: 0,
        days_of_week: vec![Day::Monday],
        first_day_of_week: Day::Sunday,
        index: WeekIndex::First,
    };
    let range = RecurrenceRange { end: End::Never, start_date: date(2026, 3, 23), time_zone: None };
    for pattern in [
        RecurrencePattern { interval: 0, ..base.clone() },
        RecurrencePattern { interval: -1, ..base.clone() },
        RecurrencePattern { days_of_week: Vec::new(), ..base.clone() },
        RecurrencePattern { kind: PatternType::AbsoluteMonthly, day_of_month: 32, ..base.clone() },
        RecurrencePattern { kind: PatternType::AbsoluteYearly, day_of_month: 1, ..base.clone() },
    ] {
        let recurrence = PatternedRecurrence { pattern, range: range.clone() };
        let refused = Series::from_graph(&recurrence, &when, None, BTreeSet::new());
        assert!(matches!(refused, Err(SeriesError::Unreadable(_))), "{recurrence:?}");
    }
}

#[test]
fn a_rule_that_does_not_fit_falls_back_to_occurrences() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    let weekly = series("RRULE:FREQ=WEEKLY", &when);
    assert_eq!(weekly.holding(&CrmSeries::default()), Holding::Series);
    assert_eq!(
        weekly.holding(&CrmSeries { has_fields: false, ..CrmSeries::default() }),
        Holding::Occurrences
    );
    assert_eq!(
        weekly.holding(&CrmSeries { rule_chars_max: 20, ..CrmSeries::default() }),
        Holding::Occurrences
    );
}

#[test]
fn too_many_occurrences_are_refused_and_long_ago_is_reached() {
    let when = timed("1990-01-01T09:00[Europe/Berlin]");
    let daily = series("RRULE:FREQ=DAILY", &when);
    assert_eq!(starts(&daily, &when, "2026-03-23T00:00:00Z", "2026-03-24T00:00:00Z"), ["03-23T09:00+01:00"]);
    let refused = daily.occurrences(&when, instant("2000-01-01T00:00:00Z"), instant("2026-01-01T00:00:00Z"));
    assert!(matches!(refused, Err(SeriesError::Unsupported(_))));
}

#[test]
fn an_occurrence_is_its_series_at_another_time_and_what_is_not_found_is_a_gap() {
    let when = timed("2026-03-23T09:00[Europe/Berlin]");
    let weekly = series("RRULE:FREQ=WEEKLY", &when);
    let master = Event { place: Place::Master(weekly.clone()), ..Event::new("Jour fixe", when.clone()) };
    let window = Window { from: instant("2026-03-20T00:00:00Z"), to: instant("2026-04-25T00:00:00Z") };
    let all = weekly.occurrences(&when, window.from, window.to).unwrap();
    let second = all[1].event(&master, "e1");
    assert_eq!((second.subject.as_str(), &second.when), ("Jour fixe", &all[1].when));
    assert_eq!(second.place.original(), Some(&all[1].original));
    assert_eq!(second.place.series(), None);
    let originals = |which: &[usize]| which.iter().map(|n| all[*n].original.clone()).collect::<BTreeSet<_>>();
    assert_eq!(all.len(), 5);
    // The second is gone, the fourth was moved out of the window.
    let gaps = weekly.gaps_in(&when, &window, &originals(&[0, 2, 4]), &originals(&[3])).unwrap();
    assert_eq!(gaps, originals(&[1]));
    let known = Series { gaps, ..weekly };
    assert_eq!(known.gaps_in(&when, &window, &originals(&[0, 2, 4]), &originals(&[3])), Ok(BTreeSet::new()));
}

fn days() -> impl Strategy<Value = BTreeSet<Day>> {
    proptest::collection::btree_set(proptest::sample::select(Day::ALL.to_vec()), 1..4)
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let nth = proptest::sample::select(vec![1i8, 2, 3, 4, -1]);
    let day = || prop_oneof![Just(-1i8), 1i8..=31];
    prop_oneof![
        Just(Pattern::Daily),
        (days(), proptest::sample::select(Day::ALL.to_vec()))
            .prop_map(|(days, week_start)| Pattern::Weekly { days, week_start }),
        (day(), any::<bool>()).prop_map(|(day, clamped)| Pattern::MonthlyOn { day, clamped }),
        (days(), nth.clone()).prop_map(|(days, nth)| Pattern::MonthlyNth { days, nth }),
        (1i8..=12, 1i8..=31, any::<bool>()).prop_map(|(month, day, clamped)| Pattern::YearlyOn {
            month,
            day,
            clamped
        }),
        (1i8..=12, days(), nth).prop_map(|(month, days, nth)| Pattern::YearlyNth { month, days, nth }),
    ]
}

prop_compose! {
    /// A series that starts at 09:00 in Berlin on some day of 2026, or is of whole days.
    fn started()(
        pattern in pattern(), interval in 1u16..4, end in 0u32..5, length in 0i32..400, day in 0i32..365, all_day: bool,
        gap in proptest::option::of(0i32..60),
    ) -> (Series, When) {
        let first = date(2026, 1, 1).checked_add(day.days()).unwrap();
        let when = if all_day { whole(first, 1) } else { timed(&format!("{first}T09:00[Europe/Berlin]")) };
        let end = match end {
            0 => End::Never,
            1 | 2 => End::On(first.checked_add(length.days()).unwrap()),
            n => End::After(n),
        };
        let gap = gap.map(|gap| {
            let day = first.checked_add(gap.days()).unwrap();
            if all_day { OriginalStart::On(day) } else {
                OriginalStart::At(format!("{day}T09:00[Europe/Berlin]").parse::<Zoned>().unwrap().timestamp())
            }
        });
        let zone = Series::zone_of(&when).unwrap();
        let series = Series { pattern, interval, end, zone, gaps: gap.into_iter().collect(), extra: BTreeSet::new() };
        (series.canonical(), when)
    }
}

fn month_length(day: Date) -> i8 {
    day.days_in_month()
}

fn is_nth(day: Date, days: &BTreeSet<Day>, nth: i8) -> bool {
    let all: Vec<Date> = (1..=month_length(day))
        .map(|n| date(day.year(), day.month(), n))
        .filter(|day| days.contains(&Day::of(*day)))
        .collect();
    let index = if nth > 0 { usize::try_from(nth).unwrap() - 1 } else { all.len() - 1 };
    all.get(index) == Some(&day)
}

fn is_day(day: Date, wanted: i8, clamped: bool) -> bool {
    let last = month_length(day);
    match wanted {
        -1 => day.day() == last,
        wanted if clamped => day.day() == wanted.min(last),
        wanted => day.day() == wanted,
    }
}

/// By the definition: every day is asked whether it belongs to the series.
fn naive(series: &Series, first: Date, until: Date) -> Vec<Date> {
    let months = |day: Date| i32::from(day.year()) * 12 + i32::from(day.month());
    let belongs = |day: Date| {
        let interval = i32::from(series.interval);
        let since = first.until(day).unwrap().get_days();
        match &series.pattern {
            Pattern::Daily => since % interval == 0,
            Pattern::Weekly { days, week_start } => {
                let from_week_start = |day: Date| {
                    let index = Day::ALL.iter().position(|d| *d == Day::of(day)).unwrap();
                    let start = Day::ALL.iter().position(|d| d == week_start).unwrap();
                    i32::try_from((index + 7 - start) % 7).unwrap()
                };
                let weeks = (since - from_week_start(day) + from_week_start(first)) / 7;
                days.contains(&Day::of(day)) && weeks % interval == 0
            }
            Pattern::MonthlyOn { day: wanted, clamped } => {
                is_day(day, *wanted, *clamped) && (months(day) - months(first)) % interval == 0
            }
            Pattern::MonthlyNth { days, nth } => {
                is_nth(day, days, *nth) && (months(day) - months(first)) % interval == 0
            }
            Pattern::YearlyOn { month, day: wanted, clamped } => {
                day.month() == *month
                    && is_day(day, *wanted, *clamped)
                    && i32::from(day.year() - first.year()) % interval == 0
            }
            Pattern::YearlyNth { month, days, nth } => {
                day.month() == *month
                    && is_nth(day, days, *nth)
                    && i32::from(day.year() - first.year()) % interval == 0
            }
            Pattern::Other(_) => unreachable!(),
        }
    };
    let mut found = Vec::new();
    let mut day = first;
    while day < until {
        if belongs(day) {
            found.push(day);
        }
        day = day.tomorrow().unwrap();
    }
    match series.end {
        End::Never => {}
        End::On(last) => found.retain(|day| *day <= last),
        End::After(count) => found.truncate(usize::try_from(count).unwrap()),
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read back from the lines is what was written.
    #[test]
    fn lines_come_back((series, when) in started()) {
        prop_assert_eq!(Series::from_lines(&series.to_lines(), &when), Ok(series));
    }

    /// What Outlook can say comes back from it, but for the gaps, which it does not say.
    #[test]
    fn graph_comes_back((series, when) in started()) {
        if let Ok(recurrence) = series.to_graph(&when) {
            let read = Series::from_graph(&recurrence, &when, None, series.gaps.clone()).unwrap();
            let clamped = matches!(series.pattern, Pattern::YearlyOn { day: 29.., clamped: false, .. });
            prop_assert!(read.is_like(&series) || clamped, "{read:?} {series:?}");
        }
    }

    /// Counted as the definition counts, at nine o'clock in Berlin in summer and in winter, for each window.
    #[test]
    fn occurrences_are_those_of_the_definition((series, when) in started(), skip in 0i32..700) {
        let first = match &when { When::Timed { start, .. } => start.date(), When::AllDay { first, .. } => *first };
        let all = naive(&series, first, date(2030, 1, 1));
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let (from, to) = (first.checked_add(skip.days()).unwrap(), first.checked_add((skip + 400).days()).unwrap());
        let midnight = |day: Date| day.to_zoned(berlin.clone()).unwrap().timestamp();
        let wanted: Vec<Date> = all.into_iter().filter(|day| (from..to).contains(day)).collect();
        let found = series.occurrences(&when, midnight(from), midnight(to)).unwrap();
        let mut days = Vec::new();
        for occurrence in &found {
            match &occurrence.when {
                When::Timed { start, end } => {
                    prop_assert_eq!(start.hour(), 9);
                    prop_assert_eq!(start.timestamp().duration_until(end.timestamp()).as_secs(), 3_600);
                    prop_assert_eq!(&occurrence.original, &OriginalStart::At(start.timestamp()));
                    days.push(start.date());
                }
                // Whole days at the edge of the window are in it somewhere on earth.
                When::AllDay { first, .. } if (from..to).contains(first) => days.push(*first),
                When::AllDay { .. } => {}
            }
        }
        let gaps: Vec<Date> = series.gaps.iter().map(|gap| match gap {
            OriginalStart::On(day) => *day,
            OriginalStart::At(at) => at.to_zoned(berlin.clone()).date(),
        }).collect();
        prop_assert_eq!(days, wanted.into_iter().filter(|day| !gaps.contains(day)).collect::<Vec<_>>());
    }
}
