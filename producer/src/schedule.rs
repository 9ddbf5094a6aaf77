//! When sweeps are due: cron expressions in a time zone, as cron users expect. Pure.

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

    #[test]
    fn daylight_saving_neither_skips_nor_doubles_a_daily_job() {
        let daily = schedule("30 2 * * *");
        // 2026-03-29: 02:00 to 03:00 does not exist; the job runs once that day.
        let spring = daily.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert!(spring >= at("2026-03-29T00:00:00Z") && spring < at("2026-03-29T02:00:00Z"), "{spring}");
        let after = daily.next_after(spring).unwrap();
        assert_eq!(after, at("2026-03-30T00:30:00Z"));
        // 2026-10-25: 02:30 exists twice; the job runs once.
        let autumn = daily.next_after(at("2026-10-24T12:00:00Z")).unwrap();
        let next = daily.next_after(autumn).unwrap();
        assert_eq!(next, at("2026-10-26T01:30:00Z"), "after {autumn}");
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
