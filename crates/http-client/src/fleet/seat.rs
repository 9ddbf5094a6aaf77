//! What a process may do under the fleet's limits: its slots, for how long it may trust them, and when to look at
//! the shared document again. Pure: time is an argument, counted from any fixed instant.

use std::time::Duration;

use super::ledger::{Ledger, Moment, News, Report, TrialWish, Watch};

/// A process that has not been seen to live for so long loses its slots.
pub(crate) const TIME_TO_LIVE: Duration = Duration::from_secs(10);
/// How long a process trusts its slots after it has shown that it lives: less than the others wait.
pub(crate) const TRUST: Duration = Duration::from_secs(9);
/// How old knowledge may be when a request goes out: a slow store must not hold requests up at once.
pub(crate) const FRESH: Duration = Duration::from_secs(4);
/// For how long a failed look says that the store is away: longer than until the next one has failed.
const FAILURE_KNOWN: Duration = Duration::from_secs(7);
/// How often the document is looked at while requests go out,
const BEAT: Duration = Duration::from_millis(500);
/// while slots are to change hands,
const BEAT_FAST: Duration = Duration::from_millis(100);
/// and while the account is not used.
const BEAT_IDLE: Duration = Duration::from_secs(2);
/// How long slots are kept while others have none.
const TENURE: Duration = Duration::from_secs(1);
/// For how long a peak of requests counts as what a process wants.
const PEAK: Duration = Duration::from_secs(2);

/// What a seat's name begins with whose process serves the store alone; its tenure follows.
const SERVING: &str = "serving-";

/// The name of a seat, with the tenure of its process, where that has one.
pub(crate) fn name(tenure: Option<&str>, number: u64) -> String {
    match tenure {
        Some(tenure) => format!("{SERVING}{tenure}-{number:016x}"),
        None => format!("{number:016x}"),
    }
}

/// The tenure in the name of a seat.
fn tenure(name: &str) -> Option<&str> {
    name.strip_prefix(SERVING)?.split_once('-').map(|(tenure, _)| tenure)
}

/// Whether the one trial of the fleet is this process's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Trial {
    #[default]
    Free,
    Mine,
    Others,
}

/// How requests stand at this process when it reports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) in_flight: u32,
    pub(crate) queued: u32,
    pub(crate) trial: TrialWish,
}

/// A process's seat.
#[derive(Debug)]
pub(crate) struct Seat {
    name: String,
    slots_max: u32,
    watch: Watch,
    /// Slots that may be used, at most those held.
    cap: u32,
    /// Slots that the document says it holds; `None` before it was first read.
    held: Option<u32>,
    held_since: Duration,
    target: u32,
    members: u32,
    pub(crate) trial: Trial,
    trusted_until: Duration,
    renewed_at: Option<Duration>,
    looked_at: Option<Duration>,
    /// When the last look failed, where it did.
    failed_at: Option<Duration>,
    peak: (u32, Duration),
    reported: u32,
}

impl Seat {
    pub(crate) fn new(name: String, slots_max: u32) -> Self {
        Self {
            name,
            slots_max,
            watch: Watch::default(),
            cap: 0,
            held: None,
            held_since: Duration::ZERO,
            target: 0,
            members: 0,
            trial: Trial::Free,
            trusted_until: Duration::ZERO,
            renewed_at: None,
            looked_at: None,
            failed_at: None,
            peak: (0, Duration::ZERO),
            reported: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether what it knows is the fleet's. Without the store it goes on by itself.
    pub(crate) fn is_shared(&self, now: Duration) -> bool {
        now < self.trusted_until || !self.is_alone(now)
    }

    /// Whether the store has just been found to be away. Somebody who was frozen since knows nothing.
    fn is_alone(&self, now: Duration) -> bool {
        self.failed_at.is_some_and(|at| now < at.saturating_add(FAILURE_KNOWN))
    }

    /// Whether requests may go out on what is known; else the document must be looked at first.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        let recent = self.looked_at.is_some_and(|at| now < at.saturating_add(FRESH));
        self.is_alone(now) || (recent && now < self.trusted_until)
    }

    /// Requests that may be on their way at once. Without the store, what was held goes on for as long as nobody
    /// else can have it; after that at most the fair share of it. So the fleet stays within the limit, whoever
    /// knows how many it is.
    pub(crate) fn cap(&self, now: Duration) -> u32 {
        if now < self.trusted_until {
            return self.cap;
        }
        match (self.is_alone(now), self.held) {
            (false, _) => 0,
            (true, Some(_)) => self.cap.min((self.slots_max / self.members.max(1)).max(1)),
            (true, None) => 1,
        }
    }

    /// Notes how many requests are or want to be on their way.
    pub(crate) fn want(&mut self, count: u32, now: Duration) {
        if count >= self.peak.0 || now >= self.peak.1.saturating_add(PEAK) {
            self.peak = (count.min(self.slots_max), now);
        }
    }

    /// Notes that the rate holds requests back: more slots carry a higher rate.
    pub(crate) fn want_all(&mut self, now: Duration) {
        self.peak = (self.slots_max, now);
    }

    /// Whether the fleet should hear at once of what is wanted.
    pub(crate) fn has_new_wish(&self) -> bool {
        self.peak.0 > self.reported && self.failed_at.is_none()
    }

    /// Works this process's part into the document that was found. From here on no more slots are used than that
    /// leaves: what is given away may be taken as soon as it is written. Answers the document, and whether it must
    /// be written.
    pub(crate) fn report(
        &mut self,
        found: Option<&Ledger>,
        moment: Moment,
        load: Load,
        news: &[News],
    ) -> (Ledger, bool) {
        let now = moment.own;
        self.want(load.in_flight + load.queued, now);
        let absent = found.is_none_or(|ledger| !ledger.seats.contains_key(&self.name));
        let renew = absent || self.renewed_at.is_none_or(|at| now >= at.saturating_add(TIME_TO_LIVE / 3));
        let mut vanished = found.map(|ledger| self.watch.look(ledger, now, TIME_TO_LIVE)).unwrap_or_default();
        if let Some(own) = tenure(&self.name) {
            let is_over = |name: &&String| tenure(name).is_some_and(|other| other != own);
            vanished.extend(found.iter().flat_map(|ledger| ledger.seats.keys().filter(is_over).cloned()));
        }
        let report = Report {
            me: &self.name,
            held: self.held,
            in_flight: load.in_flight,
            wants: self.peak.0,
            renew,
            had_its_turn: self.held > Some(0) && now >= self.held_since.saturating_add(TENURE),
            trial: load.trial,
            news,
            vanished: &vanished,
            quiet: TIME_TO_LIVE,
        };
        let ledger = Ledger::after(found, &report, moment, self.slots_max);
        self.cap = self.cap.min(ledger.granted(&self.name, self.slots_max).0);
        let write = found != Some(&ledger);
        if write && !renew {
            // Whatever is written shows that it lives.
            let ledger = Ledger::after(found, &Report { renew: true, ..report }, moment, self.slots_max);
            return (ledger, true);
        }
        (ledger, write)
    }

    /// Takes over what stands in the document; `began` is when the look at it began, and `wrote` whether this
    /// process wrote it.
    pub(crate) fn looked(&mut self, ledger: &Ledger, wrote: bool, began: Duration, now: Duration) {
        let (cap, held) = ledger.granted(&self.name, self.slots_max);
        if self.held.unwrap_or(0) == 0 && held > 0 {
            self.held_since = now;
        }
        (self.cap, self.held) = (cap, Some(held));
        self.target = ledger.target(&self.name, self.slots_max);
        self.members = u32::try_from(ledger.seats.len()).unwrap_or(u32::MAX);
        self.trial = match ledger.trial.as_deref() {
            None => Trial::Free,
            Some(holder) if holder == self.name => Trial::Mine,
            Some(_) => Trial::Others,
        };
        if wrote {
            self.renewed_at = Some(began);
            self.trusted_until = began.saturating_add(TRUST);
        }
        self.looked_at = Some(now);
        self.failed_at = None;
        self.reported = self.peak.0;
    }

    /// The store did not answer.
    pub(crate) fn look_failed(&mut self, now: Duration) {
        // After a time without any look, others may long have what was held.
        if self.held.is_some() && self.looked_at.max(self.failed_at) < Some(now.saturating_sub(FAILURE_KNOWN))
        {
            (self.cap, self.held) = (0, Some(0));
        }
        self.failed_at = Some(now);
    }

    /// How long until the next look; `waiting` says that requests wait.
    pub(crate) fn next_look(&self, now: Duration, waiting: bool) -> Duration {
        let used = self.peak.0 > 0 && now < self.peak.1.saturating_add(PEAK);
        let held = self.held.unwrap_or(0);
        if self.failed_at.is_some() {
            return if used || waiting { BEAT } else { BEAT_IDLE };
        }
        if held != self.target || self.cap != held || (waiting && (held == 0 || self.trial == Trial::Others))
        {
            return BEAT_FAST;
        }
        if used || waiting { BEAT } else { BEAT_IDLE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Load = Load { in_flight: 0, queued: 1, trial: TrialWish::Nothing };

    /// What a process finds and leaves that comes to the account for the first time.
    fn seated(found: Option<&Ledger>, tenure: Option<&str>, number: u64) -> (Ledger, u32) {
        let mut seat = Seat::new(name(tenure, number), 4);
        let moment = Moment { own: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH };
        let (ledger, _) = seat.report(found, moment, NOTHING, &[]);
        seat.looked(&ledger, true, Duration::ZERO, Duration::ZERO);
        (ledger, seat.cap(Duration::ZERO))
    }

    #[test]
    fn who_serves_the_store_alone_has_the_places_of_a_tenure_before_at_once() {
        let (left, _) = seated(None, Some("7"), 1);
        assert_eq!(seated(Some(&left), Some("8"), 2).1, 4, "the one before was killed");
        assert_eq!(seated(Some(&left), None, 2).1, 0, "a visitor does not know that");
        assert_eq!(seated(Some(&left), Some("7"), 2).1, 0, "another client of the same process");
        let (visited, _) = seated(None, None, 1);
        assert_eq!(seated(Some(&visited), Some("8"), 2).1, 0, "visitors may live");
    }
}
