//! When sweeps are due: cron expressions in a time zone, as cron users expect. Pure.
//!
//! Where the clocks change, the rules are Vixie cron's. A line with one hour and one minute (`30 2 * * *`) fires once
//! that day: at the first instant after the hour that is left out, and in the first of the two hours that are the
//! same. Any other line (`0 * * * *`, `*/15 * * * *`, `0 2,3 * * *`) goes by the hours that there are: nothing is made
//! up for the one that is left out, and in the one that comes twice it fires twice.

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron expression in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// A schedule from its checked parts.
    pub fn new(cron: Cron, zone: TimeZone) -> Self {
        Self { cron, zone }
    }

    /// The first tick after `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let at = at.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&at, false).ok().map(|tick| tick.timestamp())
    }

    /// The tick to fire now, if one is due: the latest one since `last`. Ticks that were missed in between
    /// fire once, as that one. Without a last tick, the first one is due at once; so it is where the last one lies
    /// beyond the next two, which only a wrong clock can have fired.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let horizon = self.next_after(now).and_then(|next| self.next_after(next));
        let credible = |last: &Timestamp| horizon.is_none_or(|horizon| *last <= horizon);
        let Some(last) = last.filter(credible) else { return Some(now) };
        let zoned = now.to_zoned(self.zone.clone());
        let latest = self.cron.find_previous_occurrence(&zoned, true).ok()?.timestamp();
        (latest > last && latest <= now).then_some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(cron: &str) -> Schedule {
        Schedule::new(cron.parse().unwrap(), TimeZone::get("Europe/Berlin").unwrap())
    }

    fn quarter_hourly() -> Schedule {
        schedule("*/15 * * * *")
    }

    #[test]
    fn missed_ticks_fire_once() {
        let schedule = quarter_hourly();
        let now = at("2026-11-20T12:07:00Z");
        assert_eq!(schedule.due(Some(at("2026-11-20T09:00:00Z")), now), Some(at("2026-11-20T12:00:00Z")));
        assert_eq!(schedule.due(Some(at("2026-11-20T12:00:00Z")), now), None);
        assert_eq!(schedule.due(None, now), Some(now));
        assert_eq!(schedule.next_after(now), Some(at("2026-11-20T12:15:00Z")));
    }

    #[test]
    fn a_tick_that_a_wrong_clock_fired_in_the_far_future_stops_nothing() {
        let schedule = quarter_hourly();
        let now = at("2026-11-20T12:07:00Z");
        assert_eq!(schedule.due(Some(at("2036-01-01T00:00:00Z")), now), Some(now));
        // Another leader's clock is a little ahead: its tick is not fired again.
        assert_eq!(schedule.due(Some(at("2026-11-20T12:15:00Z")), now), None);
    }

    /// What fires from `start` on, looked at each minute for some hours.
    fn fired(cron: &str, start: &str, hours: i64) -> Vec<String> {
        let (schedule, start) = (schedule(cron), at(start));
        let mut last = start;
        let mut fired = Vec::new();
        for minute in 0..=hours * 60 {
            let now = start + jiff::SignedDuration::from_mins(minute);
            if let Some(tick) = schedule.due(Some(last), now) {
                assert_eq!(schedule.next_after(last), Some(tick), "{cron}: both directions agree");
                fired.push(tick.strftime("%H:%M").to_string());
                last = tick;
            }
        }
        fired
    }

    /// Times are in UTC. In Berlin, 01:00 UTC of 2026-03-29 is 03:00 where 02:00 would have been, and both 00:00 and
    /// 01:00 UTC of 2026-10-25 are 02:00.
    #[test]
    fn where_the_clocks_change_lines_fire_as_cron_users_expect() {
        let (spring, autumn) = ("2026-03-28T22:59:00Z", "2026-10-24T21:59:00Z");
        let hourly = ["23:00", "00:00", "01:00", "02:00", "03:00"];
        let cases: [(&str, &str, &[&str]); 10] = [
            ("30 2 * * *", spring, &["01:00"]),
            ("0 3 * * *", spring, &["01:00"]),
            ("30 1 * * *", spring, &["00:30"]),
            ("0 2,3 * * *", spring, &["01:00"]),
            ("0 * * * *", spring, &hourly),
            ("30 2 * * *", autumn, &["00:30"]),
            ("0 3 * * *", autumn, &["02:00"]),
            ("0 2,3 * * *", autumn, &["00:00", "01:00", "02:00"]),
            ("0 * * * *", autumn, &["22:00", "23:00", "00:00", "01:00", "02:00"]),
            ("0 */2 * * *", autumn, &["22:00", "00:00", "01:00"]),
        ];
        for (cron, start, expected) in cases {
            assert_eq!(fired(cron, start, 5), expected, "{cron} from {start}");
        }
        for start in [spring, autumn] {
            let quarters = fired("*/15 * * * *", start, 5);
            assert_eq!(quarters.len(), 20, "four in each hour that there is: {quarters:?}");
        }
    }

    #[test]
    fn ticks_that_were_missed_while_the_clocks_changed_fire_once() {
        let (before, after) = (at("2026-10-24T21:30:00Z"), at("2026-10-25T03:10:00Z"));
        for (cron, latest) in [
            ("30 2 * * *", "2026-10-25T00:30:00Z"),
            ("0 * * * *", "2026-10-25T03:00:00Z"),
            ("*/15 * * * *", "2026-10-25T03:00:00Z"),
        ] {
            let tick = schedule(cron).due(Some(before), after);
            assert_eq!(tick, Some(at(latest)), "{cron}");
            assert_eq!(schedule(cron).due(tick, after), None, "{cron}");
        }
    }

    proptest! {
        #[test]
        fn a_tick_fires_exactly_once(start in 1_700_000_000i64..1_900_000_000, steps in proptest::collection::vec(1i64..4_000, 1..60)) {
            let schedule = quarter_hourly();
            let mut now = start;
            let mut last = Timestamp::from_second(start).unwrap();
            let mut fired = Vec::new();
            for step in steps {
                now += step;
                if let Some(tick) = schedule.due(Some(last), Timestamp::from_second(now).unwrap()) {
                    prop_assert!(tick > last);
                    fired.push(tick);
                    last = tick;
                }
                prop_assert!(schedule.due(Some(last), Timestamp::from_second(now).unwrap()).is_none());
            }
            fired.dedup();
            prop_assert!(fired.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
