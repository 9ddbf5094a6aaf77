//! What a process knows about an account and may do with it: whether the next request may go out. Pure: time is
//! an argument, counted from any fixed instant.

use std::time::Duration;

use crate::account::{Account, Pause, PauseKind};
use crate::breaker::{Admission, Breaker, PROBE_WAIT};
use crate::fleet::ledger::{Ledger, Moment, News, TrialWish};
use crate::fleet::seat::{Load, Seat, Trial};
use crate::limiter::{Bucket, Spread};
use crate::settings::Limits;

/// After a refusal the next request waits for so long, while the account is not proven: whoever sent it then has
/// had the time to say that it pauses.
const REFUSAL_WAIT: Duration = Duration::from_millis(100);
/// Most news that are kept for the fleet while the store is away.
const NEWS_MAX: usize = 32;
/// How long whoever waits for something goes without looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What happens to the request that is next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes out.
    Go(Pass),
    /// It is looked at again when something has changed, and after this time at the latest.
    Wait(Duration),
    /// The same, and the fleet's document is to be looked at now.
    Ask(Duration),
    /// It is sent back: the account is paused.
    Paused(Pause),
    /// It is sent back: the breaker is open for so long.
    BreakerOpen(Duration),
}

/// A request that is on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) admission: Admission,
    /// It finds out whether the account works; until then no other goes out.
    pub(crate) trial: bool,
}

/// What an operator would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) breaker_open: bool,
    pub(crate) refused: bool,
    pub(crate) shared: bool,
}

/// Where requests stand in line.
#[derive(Debug)]
pub(crate) struct Desk {
    limits: Limits,
    account: Account,
    breaker: Breaker,
    bucket: Bucket,
    /// The process's part of the fleet's limits; `None` where the limits are its own.
    seat: Option<Seat>,
    in_flight: u32,
    queued: u32,
    /// Whether a request of this very process was accepted: its credentials may be others than the fleet's.
    own_proof: bool,
    trial_out: bool,
    /// Whether the trial that is this process's has been used.
    trial_used: bool,
    trial_after: Duration,
    /// What the fleet has not heard of yet.
    news: Vec<News>,
}

impl Desk {
    /// A desk of a process for itself, or with a seat in a fleet.
    pub(crate) fn new(limits: Limits, seat: Option<Seat>) -> Self {
        let rate = f64::from(limits.requests_per_second_max.max(1));
        // A process that was just started again must not begin with a burst.
        let bucket = if seat.is_some() { Bucket::empty(rate) } else { Bucket::full(rate) };
        Self {
            limits,
            account: Account::default(),
            breaker: Breaker::new(limits.breaker),
            bucket,
            seat,
            in_flight: 0,
            queued: 0,
            own_proof: false,
            trial_out: false,
            trial_used: false,
            trial_after: Duration::ZERO,
            news: Vec::new(),
        }
    }

    /// The process's name in the fleet.
    pub(crate) fn seat_name(&self) -> &str {
        self.seat.as_ref().map_or("", Seat::name)
    }

    /// How the account stands.
    pub(crate) fn standing(&self, now: Duration) -> Standing {
        Standing {
            breaker_open: self.breaker.is_open(),
            refused: self.account.is_refused(),
            shared: self.seat.as_ref().is_none_or(|seat| seat.is_shared(now)),
        }
    }

    /// A request has come to the end of the line.
    pub(crate) fn queue(&mut self, now: Duration) {
        self.queued += 1;
        let load = self.in_flight + self.queued;
        if let Some(seat) = &mut self.seat {
            seat.want(load, now);
        }
    }

    /// A request has left the line, whether it went out or not.
    pub(crate) fn leave_queue(&mut self) {
        self.queued = self.queued.saturating_sub(1);
    }

    /// Whether a request would be sent back now.
    pub(crate) fn held_back(&self, now: Duration) -> Option<Step> {
        if let Some(pause) = self.account.paused(now) {
            return Some(Step::Paused(pause.clone()));
        }
        self.breaker.held(now).map(Step::BreakerOpen)
    }

    /// What happens to the first in line.
    pub(crate) fn step(&mut self, now: Duration) -> Step {
        if let Some(held) = self.held_back(now) {
            return held;
        }
        if self.seat.as_ref().is_some_and(|seat| !seat.is_fresh(now)) {
            return Step::Ask(LOOK_AGAIN);
        }
        if self.in_flight >= self.set_rate(now) {
            return self.wait_for_more(LOOK_AGAIN);
        }
        let trial = self.needs_trial();
        if trial && let Some(step) = self.wait_for_trial(now) {
            return step;
        }
        if let Err(wait) = self.bucket.take(now) {
            if let Some(seat) = &mut self.seat {
                seat.want_all(now);
            }
            return self.wait_for_more(wait.min(LOOK_AGAIN));
        }
        self.in_flight += 1;
        self.trial_out |= trial;
        self.trial_used |= trial;
        Step::Go(Pass { admission: self.breaker.admit(now), trial })
    }

    /// Sets the rate to what the slots carry, and answers how many there are.
    fn set_rate(&mut self, now: Duration) -> u32 {
        let slots_max = self.limits.concurrency_max.max(1);
        let cap = self.seat.as_ref().map_or(slots_max, |seat| seat.cap(now));
        let rate = f64::from(self.limits.requests_per_second_max.max(1));
        let spread = if self.account.was_throttled(now) { Spread::Even } else { Spread::Bursts };
        self.bucket.set_rate(rate * f64::from(cap) / f64::from(slots_max), spread, now);
        cap
    }

    fn needs_trial(&self) -> bool {
        !self.account.is_proven() || !self.own_proof || self.breaker.is_open()
    }

    /// Whether the request that finds out whether the account works must wait: there is one in the whole fleet.
    fn wait_for_trial(&self, now: Duration) -> Option<Step> {
        if self.trial_out {
            return Some(Step::Wait(LOOK_AGAIN));
        }
        if now < self.trial_after {
            return Some(Step::Wait(self.trial_after - now));
        }
        let seat = self.seat.as_ref().filter(|seat| seat.is_shared(now))?;
        match seat.trial {
            Trial::Mine if !self.trial_used => None,
            Trial::Others if self.breaker.is_open() => Some(Step::BreakerOpen(PROBE_WAIT)),
            // The beat comes soon enough.
            Trial::Others => Some(Step::Wait(LOOK_AGAIN)),
            Trial::Free | Trial::Mine => Some(Step::Ask(LOOK_AGAIN)),
        }
    }

    fn wait_for_more(&self, wait: Duration) -> Step {
        if self.seat.as_ref().is_some_and(Seat::has_new_wish) { Step::Ask(wait) } else { Step::Wait(wait) }
    }

    /// The upstream answered.
    pub(crate) fn succeeded(&mut self, admission: Admission) {
        let was_open = self.breaker.is_open();
        self.breaker.succeeded(admission);
        if was_open && !self.breaker.is_open() {
            self.tell(News::Closed);
        }
    }

    /// The upstream failed. Answers whether that counts against the message.
    pub(crate) fn failed(&mut self, admission: Admission, now: Duration) -> bool {
        let before = self.breaker.probe_at();
        let counts = self.breaker.failed(admission, now);
        if let Some(probe_at) = self.breaker.probe_at()
            && before != Some(probe_at)
        {
            self.tell(News::Opened { probe_at });
        }
        counts
    }

    /// The request was given up without an outcome.
    pub(crate) fn abandoned(&mut self, admission: Admission, now: Duration) {
        self.breaker.abandoned(admission, now);
    }

    /// The credentials were accepted.
    pub(crate) fn accepted(&mut self, now: Duration) {
        self.own_proof |= self.account.paused(now).is_none();
        if self.account.accepted(now) {
            self.tell(News::Accepted);
        }
    }

    /// The account is paused.
    pub(crate) fn pause(&mut self, kind: PauseKind, until: Duration, why: String) {
        self.own_proof &= kind != PauseKind::Refused;
        let pause = Pause { kind, until, why };
        self.account.pause(pause.clone());
        self.tell(News::Paused(pause));
    }

    /// A request is no longer on its way; `refused` says that its answer may be a refusal of the credentials.
    pub(crate) fn done(&mut self, pass: &Pass, refused: bool, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if pass.trial {
            self.trial_out = false;
            if refused {
                self.trial_after = now.saturating_add(REFUSAL_WAIT);
            }
        }
    }

    fn tell(&mut self, news: News) {
        if self.seat.is_some() && self.news.last() != Some(&news) {
            self.news.push(news);
        }
        // Without the store for long, the newest count.
        if self.news.len() > NEWS_MAX {
            self.news.remove(0);
        }
    }

    /// Whether the fleet should hear of something at once: news, or that the trial is over.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty() || self.has_old_trial()
    }

    /// Whether the trial is over, and the fleet can be told of it.
    pub(crate) fn has_trial_to_tell(&self, now: Duration) -> bool {
        self.has_old_trial() && self.seat.as_ref().is_some_and(|seat| seat.is_shared(now))
    }

    fn has_old_trial(&self) -> bool {
        let mine = self.seat.as_ref().is_some_and(|seat| seat.trial == Trial::Mine);
        mine && self.trial_used && !self.trial_out
    }

    /// Works this process's part into the document. Answers it, whether it must be written, and how much news it
    /// holds; `None` without a seat.
    pub(crate) fn report(&mut self, found: Option<&Ledger>, moment: Moment) -> Option<(Ledger, bool, usize)> {
        let trial = self.trial_wish(moment.own);
        let load = Load { in_flight: self.in_flight, queued: self.queued, trial };
        let (ledger, write) = self.seat.as_mut()?.report(found, moment, load, &self.news);
        self.set_rate(moment.own);
        Some((ledger, write, self.news.len()))
    }

    fn trial_wish(&self, now: Duration) -> TrialWish {
        let mine = self.seat.as_ref().is_some_and(|seat| seat.trial == Trial::Mine);
        let out = self.trial_out || now < self.trial_after;
        // Whoever has no slot would only keep the others waiting.
        let has_slot = self.seat.as_ref().is_some_and(|seat| seat.cap(now) > 0);
        let wanted = self.queued > 0 && has_slot && self.needs_trial() && self.held_back(now).is_none();
        match (mine, out) {
            (true, true) => TrialWish::Keep,
            (true, false) if self.trial_used || !wanted => TrialWish::GiveBack,
            (true, false) => TrialWish::Keep,
            (false, false) if wanted => TrialWish::Take,
            (false, _) => TrialWish::Nothing,
        }
    }

    /// Takes over what stands in the document: `told` is how much of the news it holds, `wrote` whether this
    /// process wrote it, and `began` when the look at it began.
    pub(crate) fn looked(
        &mut self,
        ledger: &Ledger,
        told: usize,
        wrote: bool,
        began: Duration,
        moment: Moment,
    ) {
        let Some(seat) = &mut self.seat else { return };
        let had_trial = seat.trial == Trial::Mine;
        seat.looked(ledger, wrote, began, moment.own);
        if !had_trial || seat.trial != Trial::Mine {
            self.trial_used = self.trial_out;
        }
        self.set_rate(moment.own);
        self.news.drain(..told.min(self.news.len()));
        self.account = Account { pause: ledger.own_pause(moment), proven: ledger.proven };
        let mut probe_at = ledger.own_probe_at(moment);
        for news in &self.news {
            match news {
                News::Paused(pause) => self.account.pause(pause.clone()),
                News::Accepted => drop(self.account.accepted(moment.own)),
                News::Opened { probe_at: at } => probe_at = Some(*at),
                News::Closed => probe_at = None,
            }
        }
        self.breaker.adopt(probe_at);
    }

    /// The store did not answer.
    pub(crate) fn look_failed(&mut self, now: Duration) {
        if let Some(seat) = &mut self.seat {
            seat.look_failed(now);
        }
    }

    /// How long until the document is looked at again.
    pub(crate) fn next_look(&self, now: Duration) -> Duration {
        self.seat.as_ref().map_or(Duration::MAX, |seat| seat.next_look(now, self.queued > 0))
    }
}
