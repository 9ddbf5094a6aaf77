//! The document that the processes of a fleet share about one account: who holds how many of its slots, and what
//! is known about it. Pure.
//!
//! A slot is the right to one request at a time, and carries its share of the rate. Each process writes its own
//! seat and takes only what is free, in one compare-and-set: so the slots never add up to more than there are.
//! Who should have how many follows from what all want, the same for everyone who looks.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::{Pause, PauseKind};

/// Longest reason of a pause that is kept, in characters.
const WHY_CHARS_MAX: usize = 300;

/// A moment, by this process's own clock and by the wall clock, which the machines of a fleet agree on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) own: Duration,
    pub(crate) wall: Timestamp,
}

impl Moment {
    /// What this process's clock shows at `at`, at most `RETRY_AFTER_MAX` from now: a wrong clock must not pause an account for
    /// years.
    pub(crate) fn own_time(&self, at: Timestamp) -> Duration {
        let left = shared::clock::elapsed(self.wall, at).min(crate::retry_after::RETRY_AFTER_MAX);
        self.own.saturating_add(left).saturating_sub(shared::clock::elapsed(at, self.wall))
    }

    /// What the wall clock will show when this process's shows `own`.
    pub(crate) fn wall_time(&self, own: Duration) -> Timestamp {
        shared::clock::later(self.wall, own.saturating_sub(self.own))
    }
}

/// What a process has learnt about the account. Times are of its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    Paused(Pause),
    Accepted,
    Opened { probe_at: Duration },
    Closed,
}

/// A pause, in terms of the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerPause {
    kind: PauseKind,
    until: Timestamp,
    why: String,
}

/// One process's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// Slots it holds.
    pub(crate) slots: u32,
    /// Slots it could use.
    pub(crate) wants: u32,
    /// Rises while it lives.
    beat: u64,
    /// Its place in the row of those who wait: the lower, the sooner.
    turn: u64,
}

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    /// By the processes' names.
    pub(crate) seats: BTreeMap<String, Seat>,
    next_turn: u64,
    /// Until then nobody takes more than it had, since the document was lost and not all may have come back.
    quiet_until: Option<Timestamp>,
    pub(crate) pause: Option<LedgerPause>,
    pub(crate) proven: bool,
    /// When the open circuit breaker lets a probe out.
    pub(crate) probe_at: Option<Timestamp>,
    /// Who may find out whether the account works.
    pub(crate) trial: Option<String>,
}

/// What a process wants of the one trial of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrialWish {
    Nothing,
    Take,
    Keep,
    GiveBack,
}

/// What a process says when it writes.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) me: &'a str,
    /// Slots it held when it last read the document; `None` when it never did.
    pub(crate) held: Option<u32>,
    pub(crate) in_flight: u32,
    pub(crate) wants: u32,
    /// It must show that it lives.
    pub(crate) renew: bool,
    /// It has had slots for long enough, should others have none.
    pub(crate) had_its_turn: bool,
    pub(crate) trial: TrialWish,
    pub(crate) news: &'a [News],
    /// Processes that show no life.
    pub(crate) vanished: &'a [String],
    /// For how long a document that was lost stays quiet.
    pub(crate) quiet: Duration,
}

impl Ledger {
    /// The document with a process's report worked in; `found` is what was read.
    pub(crate) fn after(found: Option<&Self>, report: &Report<'_>, moment: Moment, slots_max: u32) -> Self {
        let mut ledger = found.cloned().unwrap_or_else(|| Self {
            quiet_until: report.held.map(|_| shared::clock::later(moment.wall, report.quiet)),
            ..Self::default()
        });
        if ledger.quiet_until.is_some_and(|until| until <= moment.wall) {
            ledger.quiet_until = None;
        }
        ledger.seats.retain(|name, _| name == report.me || !report.vanished.contains(name));
        ledger.be_seated(report);
        ledger.wish(report, slots_max);
        ledger.take_or_give(report, slots_max);
        ledger.try_out(report);
        report.news.iter().for_each(|news| ledger.learn(news, moment));
        ledger
    }

    /// The document without a process that leaves.
    pub(crate) fn without(mut self, me: &str) -> Self {
        self.seats.remove(me);
        self.trial = self.trial.filter(|holder| holder != me);
        self
    }

    /// How many slots each should hold, in the order of the seats: an even share of those who want any; where that is
    /// too few for some, what each wants, dealt out one by one in turn, and then the rest. While there are two for
    /// each, everyone keeps one, so that it can begin at once and go on without the store.
    fn targets(&self, slots_max: u32) -> Vec<u32> {
        let seats: Vec<&Seat> = self.seats.values().collect();
        let mut row: Vec<usize> = (0..seats.len()).collect();
        row.sort_by_key(|place| seats[*place].turn);
        let kept = u32::from(seats.len() as u64 * 2 <= u64::from(slots_max));
        let any_number = |place: usize| if seats[place].wants > 0 { u32::MAX } else { kept };
        let nothing_dealt = Dealt { targets: vec![0; seats.len()], left: slots_max };
        let mut even = nothing_dealt.clone();
        even.deal(&row, any_number);
        // The usual case, and one that does not change with every request.
        if seats.iter().zip(&even.targets).all(|(seat, target)| seat.wants <= *target) {
            return even.targets;
        }
        let mut wanted = nothing_dealt;
        wanted.deal(&row, |place| seats[place].wants.max(kept));
        wanted.deal(&row, any_number);
        wanted.targets
    }

    /// How many slots a process should hold.
    pub(crate) fn target(&self, me: &str, slots_max: u32) -> u32 {
        let place = self.seats.keys().position(|name| name == me);
        place.map_or(0, |place| self.targets(slots_max)[place])
    }

    /// Where the breaker stands, by this process's clock.
    pub(crate) fn own_probe_at(&self, moment: Moment) -> Option<Duration> {
        self.probe_at.map(|at| moment.own_time(at))
    }

    /// The pause, by this process's clock.
    pub(crate) fn own_pause(&self, moment: Moment) -> Option<Pause> {
        let LedgerPause { kind, until, why } = self.pause.as_ref()?;
        // Throttling from before this process began, and over by then, is nothing to it.
        if *kind == PauseKind::Throttled && shared::clock::elapsed(*until, moment.wall) > moment.own {
            return None;
        }
        Some(Pause { kind: *kind, until: moment.own_time(*until), why: why.clone() })
    }

    fn be_seated(&mut self, report: &Report<'_>) {
        if !self.seats.contains_key(report.me) {
            // Whoever comes back after the document was lost still has what it had.
            let slots = if self.quiet_until.is_some() { report.held.unwrap_or(0) } else { 0 };
            let turn = self.take_number();
            self.seats.insert(report.me.to_owned(), Seat { slots, turn, ..Seat::default() });
        }
        if let Some(seat) = self.seats.get_mut(report.me) {
            seat.slots = seat.slots.max(report.in_flight);
            seat.beat += u64::from(report.renew);
        }
    }

    /// Writes down what the process wants, where that makes a difference to anybody, and sends it to the end of
    /// the row when it has had its turn.
    fn wish(&mut self, report: &Report<'_>, slots_max: u32) {
        let before = self.targets(slots_max);
        let Some(seat) = self.seats.get_mut(report.me) else { return };
        let (wants, wanted) = (report.wants.min(slots_max), seat.wants);
        seat.wants = wants;
        let targets = self.targets(slots_max);
        let makes_a_difference = (wants > 0) != (wanted > 0) || targets != before;
        if !makes_a_difference && let Some(seat) = self.seats.get_mut(report.me) {
            seat.wants = wanted;
        }
        let is_empty_handed = |(seat, target): (&Seat, &u32)| seat.wants > 0 && *target == 0;
        if report.had_its_turn && self.seats.values().zip(&targets).any(is_empty_handed) {
            self.go_to_the_end(report.me);
        }
    }

    fn take_or_give(&mut self, report: &Report<'_>, slots_max: u32) {
        let target = self.target(report.me, slots_max);
        let (free, above) = self.free(slots_max);
        let quiet = self.quiet_until.is_some();
        let Some(seat) = self.seats.get_mut(report.me) else { return };
        if seat.slots > target || above > 0 {
            seat.slots = seat.slots.min(target).saturating_sub(above).max(report.in_flight);
            if seat.slots == 0 {
                self.go_to_the_end(report.me);
            }
        } else if !quiet {
            seat.slots += free.min(target - seat.slots);
        }
    }

    /// Slots that nobody holds, and how many more are held than there are: somebody who had lost its seat came
    /// back with requests still on their way.
    fn free(&self, slots_max: u32) -> (u32, u32) {
        let held: u64 = self.seats.values().map(|seat| u64::from(seat.slots)).sum();
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        (slots_max.saturating_sub(held), held.saturating_sub(slots_max))
    }

    /// How many slots a process may use, and how many it holds.
    pub(crate) fn granted(&self, me: &str, slots_max: u32) -> (u32, u32) {
        let held = self.seats.get(me).map_or(0, |seat| seat.slots);
        (held.min(self.target(me, slots_max)).saturating_sub(self.free(slots_max).1), held)
    }

    fn try_out(&mut self, report: &Report<'_>) {
        let mine = self.trial.as_deref() == Some(report.me);
        let abandoned = self.trial.as_ref().is_some_and(|holder| !self.seats.contains_key(holder));
        match report.trial {
            TrialWish::Take if self.trial.is_none() || abandoned => self.trial = Some(report.me.to_owned()),
            TrialWish::Take | TrialWish::Keep => {}
            TrialWish::GiveBack | TrialWish::Nothing if mine || abandoned => self.trial = None,
            TrialWish::GiveBack | TrialWish::Nothing => {}
        }
    }

    fn learn(&mut self, news: &News, moment: Moment) {
        match news {
            News::Paused(Pause { kind, until, why }) => {
                self.proven &= *kind != PauseKind::Refused;
                let until = moment.wall_time(*until);
                if self.pause.as_ref().is_none_or(|present| present.until < until) {
                    let why = shared::fault::cut(why, WHY_CHARS_MAX);
                    self.pause = Some(LedgerPause { kind: *kind, until, why });
                }
            }
            // An acceptance during a pause is an answer to a request from before it.
            News::Accepted if self.pause.as_ref().is_some_and(|pause| moment.wall < pause.until) => {}
            News::Accepted => {
                self.proven = true;
                self.pause = None;
            }
            News::Opened { probe_at } => self.probe_at = Some(moment.wall_time(*probe_at)),
            News::Closed => self.probe_at = None,
        }
    }

    fn go_to_the_end(&mut self, name: &str) {
        let turn = self.take_number();
        if let Some(seat) = self.seats.get_mut(name) {
            seat.turn = turn;
        }
    }

    fn take_number(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}

#[derive(Clone)]
struct Dealt {
    targets: Vec<u32>,
    left: u32,
}

impl Dealt {
    /// Deals slots out one by one in turn, until all have what they wish or none is left.
    fn deal(&mut self, row: &[usize], wish: impl Fn(usize) -> u32) {
        loop {
            let before = self.left;
            for place in row {
                if self.left > 0 && self.targets[*place] < wish(*place) {
                    self.targets[*place] += 1;
                    self.left -= 1;
                }
            }
            if self.left == 0 || self.left == before {
                return;
            }
        }
    }
}

/// Who has shown no life for how long, as one process sees it: no two clocks are compared.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: BTreeMap<String, (u64, Duration)>,
    looked_at: Duration,
}

impl Watch {
    /// Looks at the seats, and answers who has not moved for `time_to_live`. Only what was watched counts: after a
    /// time without a look, such as while the store was away, the others have as long again.
    pub(crate) fn look(&mut self, ledger: &Ledger, now: Duration, time_to_live: Duration) -> Vec<String> {
        if now.saturating_sub(self.looked_at) > time_to_live / 2 {
            self.seen.clear();
        }
        self.looked_at = now;
        self.seen.retain(|name, _| ledger.seats.contains_key(name));
        let mut vanished = Vec::new();
        for (name, seat) in &ledger.seats {
            match self.seen.get(name) {
                Some((beat, since)) if *beat == seat.beat => {
                    if now.saturating_sub(*since) >= time_to_live {
                        vanished.push(name.clone());
                    }
                }
                _ => drop(self.seen.insert(name.clone(), (seat.beat, now))),
            }
        }
        vanished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seats(wants: &[u32]) -> Ledger {
        let seat = |(i, wants): (usize, &u32)| {
            (format!("p{i:02}"), Seat { wants: *wants, turn: i as u64, ..Seat::default() })
        };
        Ledger { seats: wants.iter().enumerate().map(seat).collect(), ..Ledger::default() }
    }

    fn check(slots_max: u32, wants: &[u32], expected: &[u32]) {
        let ledger = seats(wants);
        let targets = ledger.targets(slots_max);
        assert_eq!(targets, expected, "{slots_max} slots for {wants:?}");
    }

    #[test]
    fn slots_are_dealt_out_fairly() {
        check(8, &[8], &[8]);
        check(8, &[1], &[8]);
        check(8, &[0], &[1]);
        check(8, &[8, 0], &[7, 1]);
        check(8, &[8, 8], &[4, 4]);
        check(8, &[8, 2], &[6, 2]);
        check(8, &[8, 8, 8], &[3, 3, 2]);
        check(4, &[9, 0, 9], &[2, 0, 2]);
        check(2, &[5, 5, 5], &[1, 1, 0]);
        check(1, &[0, 5], &[0, 1]);
    }

    fn moment(seconds: i64) -> Moment {
        Moment { own: Duration::from_secs(7), wall: Timestamp::from_second(seconds).unwrap() }
    }

    fn report<'a>(me: &'a str, news: &'a [News], trial: TrialWish) -> Report<'a> {
        Report {
            me,
            held: None,
            in_flight: 0,
            wants: 1,
            renew: false,
            had_its_turn: false,
            trial,
            news,
            vanished: &[],
            quiet: Duration::from_secs(10),
        }
    }

    fn refused(seconds: u64) -> News {
        let until = Duration::from_secs(7 + seconds);
        News::Paused(Pause { kind: PauseKind::Refused, until, why: "its key is refused".into() })
    }

    #[test]
    fn when_a_pause_ended_stays_known_for_as_long_as_a_process_lives() {
        let until = Duration::from_secs(60);
        let throttled = News::Paused(Pause { kind: PauseKind::Throttled, until, why: "a test".into() });
        let beginning = Moment { own: Duration::ZERO, ..moment(1_000) };
        let ledger = Ledger::after(None, &report("a", &[throttled], TrialWish::Nothing), beginning, 4);
        let until = |own| {
            let found = ledger.own_pause(Moment { own: Duration::from_secs(own), ..moment(1_100) });
            found.map(|pause| pause.until.as_secs())
        };
        assert_eq!((until(100), until(300), until(40), until(39)), (Some(60), Some(260), Some(0), None));
    }

    #[test]
    fn what_one_learns_all_know() {
        let ledger =
            Ledger::after(None, &report("a", &[News::Accepted], TrialWish::Nothing), moment(1_000), 4);
        assert!(ledger.proven);
        let ledger =
            Ledger::after(Some(&ledger), &report("b", &[refused(60)], TrialWish::Nothing), moment(1_000), 4);
        let elsewhere = Moment { own: Duration::from_secs(500), ..moment(1_010) };
        assert_eq!(ledger.own_pause(elsewhere).unwrap().until, Duration::from_secs(550));
        assert!(!ledger.proven);
        let late = Ledger::after(
            Some(&ledger),
            &report("a", &[News::Accepted], TrialWish::Nothing),
            moment(1_059),
            4,
        );
        assert_eq!(late.pause, ledger.pause, "an answer from before the pause");
        let over = Ledger::after(
            Some(&ledger),
            &report("a", &[News::Accepted], TrialWish::Nothing),
            moment(1_060),
            4,
        );
        assert!(over.proven && over.pause.is_none());
    }

    #[test]
    fn there_is_one_trial_and_it_outlives_nobody() {
        let ledger = Ledger::after(None, &report("a", &[], TrialWish::Take), moment(0), 4);
        let ledger = Ledger::after(Some(&ledger), &report("b", &[], TrialWish::Take), moment(0), 4);
        assert_eq!(ledger.trial.as_deref(), Some("a"));
        let vanished = ["a".to_owned()];
        let report_b = Report { vanished: &vanished, ..report("b", &[], TrialWish::Take) };
        assert_eq!(Ledger::after(Some(&ledger), &report_b, moment(0), 4).trial.as_deref(), Some("b"));
        let given = Ledger::after(Some(&ledger), &report("a", &[], TrialWish::GiveBack), moment(0), 4);
        assert_eq!(given.trial, None);
        assert_eq!(ledger.without("a").trial, None);
    }

    #[test]
    fn a_lost_document_is_written_again_without_a_grab() {
        let first = Report { held: Some(3), wants: 9, ..report("a", &[], TrialWish::Nothing) };
        let ledger = Ledger::after(None, &first, moment(0), 8);
        assert_eq!(ledger.seats["a"].slots, 3);
        let second = Report { held: Some(5), wants: 9, ..report("b", &[], TrialWish::Nothing) };
        let ledger = Ledger::after(Some(&ledger), &second, moment(1), 8);
        assert_eq!(ledger.seats["b"].slots, 4, "gives back what is above its share");
        let later = Ledger::after(Some(&ledger), &first, moment(10), 8);
        assert_eq!(later.seats["a"].slots, 4);
    }

    #[test]
    fn a_wish_that_changes_nothing_is_not_written() {
        let ledger = Ledger::after(None, &report("a", &[], TrialWish::Nothing), moment(0), 8);
        let more = Report { wants: 5, ..report("a", &[], TrialWish::Nothing) };
        assert_eq!(Ledger::after(Some(&ledger), &more, moment(1), 8), ledger);
    }

    #[test]
    fn whoever_shows_no_life_has_vanished_but_not_while_nobody_looked() {
        let ttl = Duration::from_secs(10);
        let ledger = seats(&[1]);
        let mut watch = Watch::default();
        for seconds in (0..10).step_by(3) {
            assert!(watch.look(&ledger, Duration::from_secs(seconds), ttl).is_empty());
        }
        assert_eq!(watch.look(&ledger, ttl, ttl), ["p00"]);
        assert!(watch.look(&ledger, Duration::from_secs(60), ttl).is_empty());
    }

    #[test]
    fn the_document_can_be_read_back_and_a_strange_one_is_none() {
        let ledger = Ledger::after(None, &report("a", &[refused(5)], TrialWish::Take), moment(1_000), 4);
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
        assert_eq!(serde_json::from_str::<Ledger>("{}").unwrap(), Ledger::default());
    }

    proptest! {
        #[test]
        fn targets_never_exceed_what_there_is_and_waste_nothing(
            slots_max in 1_u32..40, wants in prop::collection::vec(0_u32..50, 1..60),
        ) {
            let ledger = seats(&wants);
            let targets = ledger.targets(slots_max);
            let sum: u32 = targets.iter().sum();
            prop_assert!(sum <= slots_max);
            if wants.iter().any(|w| *w > 0) {
                prop_assert_eq!(sum, slots_max);
            }
            // Nobody has less than another by more than one, unless it wants no more.
            let wishing = wants.iter().zip(&targets).filter(|(wants, _)| **wants > 0);
            let most = wishing.clone().map(|(_, target)| *target).max().unwrap_or(0);
            for (wants, target) in wishing {
                prop_assert!(target >= wants.min(&slots_max) || target + 1 >= most);
            }
        }
    }
}
