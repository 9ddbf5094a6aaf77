//! How many requests there were, and how many there must be at least.

use std::collections::BTreeMap;
use std::fmt;

use super::engine::Runs;

/// What people and trouble did in it.
#[derive(Debug)]
pub struct Time {
    pub days: u64,
    pub calendars: u64,
    /// Windows that were set, each read on both sides.
    pub windows: u64,
    /// Pages of links, each day as many as there were then.
    pub link_pages: u64,
    pub removals: u64,
    pub further_pages: u64,
    /// For what had to be written, by the oracle.
    pub writes: u64,
}

/// Requests of a time, and the least that could have done.
#[derive(Debug)]
pub struct Calls {
    made: BTreeMap<String, u64>,
    least: Vec<(&'static str, u64)>,
}

/// Where instances of a series are read.
const INSTANCES: [&str; 2] = ["/instances", "calendar.events.instances"];

impl Calls {
    /// `removals` were reported of events that are known, and each is looked at; `full_rounds` go through all pages of
    /// a calendar.
    pub fn of(made: BTreeMap<String, u64>, runs: &Runs, time: &Time) -> Self {
        let done = |kind: &str| runs.done.get(kind).copied().unwrap_or(0);
        let notices = runs.actions.get("notify").copied().unwrap_or(0);
        let is_instances = |name: &&String| INSTANCES.iter().any(|end| name.ends_with(end));
        let instances: u64 = made.iter().filter(|(name, _)| is_instances(name)).map(|(_, count)| count).sum();
        let calendar_days = time.calendars * time.days;
        let least = vec![
            ("a page for each look at a calendar", done("calendar")),
            ("further pages of calendars that are read as a whole", time.further_pages),
            ("each record that was told of", done("record")),
            ("each event that is looked at by itself", done("event")),
            ("writes that people's edits ask for, with what is read for them", time.writes),
            ("what people are told", notices),
            ("removed events, each looked at", time.removals),
            ("series, and their instances", 2 * instances),
            ("meetings and calls in each sweep", 2 * runs.sweeps),
            ("links compared with the CRM each day", time.link_pages),
            ("whose a calendar is, each day and in each process", runs.opened),
            ("watches, each three days", calendar_days / 3 + time.calendars),
            ("a user's meetings and calls in each window that is set", 2 * time.windows),
            (
                "who users, contacts and leads are, each day and in each process",
                3 * (time.days + runs.begun_again),
            ),
            ("runs that failed, done again", runs.spent_requests),
        ];
        Self { made, least }
    }

    fn total(&self) -> u64 {
        self.made.values().sum()
    }

    fn minimum(&self) -> u64 {
        self.least.iter().map(|(_, count)| count).sum()
    }

    /// How many times the least it was.
    #[expect(clippy::cast_precision_loss, reason = "there are no 2^53 requests")]
    pub fn factor(&self) -> f64 {
        self.total() as f64 / self.minimum().max(1) as f64
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} requests, at least {}: {:.3} times", self.total(), self.minimum(), self.factor())?;
        for (what, count) in &self.made {
            writeln!(f, "  {count:>7} {what}")?;
        }
        for (what, count) in &self.least {
            writeln!(f, "  at least {count:>7}: {what}")?;
        }
        Ok(())
    }
}
