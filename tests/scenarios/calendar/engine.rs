//! A worker and a producer in small, on a clock that is moved by hand: keys that wait, one run at a time, retries by
//! that clock, sweeps, notifications. Everything happens in one order, so that a seed plays the same again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::{Clock as _, ManualClock, elapsed, later};
use shared::envelope::{Cause, Operation};
use shared::fault::Fault;
use shared::flow::{
    Failure, Flow, NoHints, Run, Unguarded, WebhookContent, WebhookItem, WebhookRefusal, WebhookRequest,
};
use shared::record_key::RecordKey;
use shared::settlement::{Circumstances, Settlement, decide};

use super::hooks::Received;
use super::store::Tearing;
use super::world::tracing_wanted;

/// Longest time of one run, by the machine's clock.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a process knows whose a calendar is.
const OWNER_KNOWN: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Clone)]
struct Waiting {
    due: Timestamp,
    since: Timestamp,
    attempts: u32,
    cause: Cause,
    /// The sweep that asked for it.
    sweep_id: Option<String>,
}

/// How a run ended.
#[derive(Debug)]
enum End {
    Done(Vec<&'static str>),
    Failed(Fault),
    Torn,
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            Self::Done(actions) if actions.is_empty() => "nothing to do",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Torn => "torn",
        }
    }
}

/// What was run.
#[derive(Debug, Default, Clone)]
pub struct Runs {
    /// Runs that came to their end, by what their keys begin with.
    pub done: BTreeMap<&'static str, u64>,
    pub failed: u64,
    pub torn: u64,
    pub sweeps: u64,
    /// Processes that began after another one had died: they know nothing of whose calendars are, nor who people are.
    pub begun_again: u64,
    /// Calendars of which a process had to ask whose they are: once a day.
    pub opened: u64,
    /// Requests of runs that failed or were torn away: what had to be done again.
    pub spent_requests: u64,
    /// What the runs that came to their end did.
    pub actions: BTreeMap<&'static str, u64>,
    pub refused: Vec<String>,
    /// Why runs failed, and how often.
    pub faults: BTreeMap<String, u64>,
}

pub struct Engine {
    pub flow: Arc<dyn Flow>,
    clock: Arc<ManualClock>,
    store: Arc<Tearing>,
    waiting: BTreeMap<String, (RecordKey, Waiting)>,
    parked: BTreeMap<String, RecordKey>,
    /// What was given up, with the reason.
    pub dead: BTreeMap<String, (RecordKey, String)>,
    pub runs: Runs,
    requests: Counting,
    /// Requests so far, by what was run, how that ended, and endpoint.
    asked: BTreeMap<(&'static str, &'static str), BTreeMap<String, u64>>,
    /// Calendars that this process has read, and since when it knows whose they are.
    opened: BTreeMap<String, Timestamp>,
    /// How often each calendar was looked at to the end.
    looks: BTreeMap<String, u64>,
}

/// Requests of clients so far, by endpoint.
pub type Counting = Box<dyn Fn() -> BTreeMap<String, u64> + Send>;

impl Engine {
    pub fn new(
        flow: Arc<dyn Flow>,
        clock: Arc<ManualClock>,
        store: Arc<Tearing>,
        requests: Counting,
    ) -> Self {
        let (waiting, parked, dead) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            flow,
            clock,
            store,
            waiting,
            parked,
            dead,
            runs: Runs::default(),
            requests,
            asked: BTreeMap::new(),
            opened: BTreeMap::new(),
            looks: BTreeMap::new(),
        }
    }

    /// How often this calendar was looked at to the end.
    pub fn looks_at(&self, calendar: &RecordKey) -> u64 {
        self.looks.get(&calendar.to_string()).copied().unwrap_or(0)
    }

    /// What kinds of runs asked for most often, a line for each kind and end.
    pub fn asked(&self) -> String {
        let mut lines = String::new();
        for ((kind, how), endpoints) in &self.asked {
            let mut endpoints: Vec<_> = endpoints.iter().collect();
            endpoints.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let most = endpoints.iter().take(8).map(|(name, count)| format!("{count} {name}"));
            lines += &format!("  {kind}, {how}: {}\n", most.collect::<Vec<_>>().join(", "));
        }
        lines
    }

    /// The process has died, and this is another one's.
    pub fn begin_again(&mut self, flow: Arc<dyn Flow>) {
        (self.flow, self.opened) = (flow, BTreeMap::new());
        self.runs.begun_again += 1;
    }

    /// Somebody asks for it.
    pub fn ask(&mut self, key: RecordKey) {
        self.publish(key, Cause::Manual, None);
    }

    fn publish(&mut self, key: RecordKey, cause: Cause, sweep_id: Option<String>) {
        let now = self.clock.now();
        let fresh = Waiting { due: now, since: now, attempts: 0, cause, sweep_id };
        self.waiting.entry(key.to_string()).or_insert((key, fresh));
    }

    /// What came in is verified and published.
    pub async fn take(&mut self, received: &Received) {
        let headers: Vec<(&str, &str)> =
            received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let query = received.query.as_deref();
        let request =
            WebhookRequest { query, ..WebhookRequest::post(&received.path, &headers, &received.body) };
        let mut read = self.flow.read_webhook(&request);
        if matches!(read, Err(WebhookRefusal::Unverified(_))) && matches!(self.flow.learn().await, Ok(true)) {
            read = self.flow.read_webhook(&request);
        }
        match read {
            Ok(WebhookContent::Challenge(_)) => {}
            Ok(WebhookContent::Items(items)) => {
                for item in items {
                    match item {
                        WebhookItem::Record(key, _) => self.publish(key, Cause::Webhook, None),
                        WebhookItem::Echo | WebhookItem::Forward { .. } => {}
                        WebhookItem::Malformed(why) => self.runs.refused.push(why),
                    }
                }
            }
            Err(refusal) => self.runs.refused.push(format!("{}: {refusal}", received.path)),
        }
    }

    /// The flow looks for what needs a run.
    pub async fn sweep(&mut self) -> Result<(), Fault> {
        self.runs.sweeps += 1;
        let id = format!("sweep-{}", self.runs.sweeps);
        let mut cursor = None;
        loop {
            let page = tokio::select! {
                biased;
                page = self.flow.sweep(cursor.as_ref(), &id, self.clock.now()) => page?,
                () = self.store.torn.notified() => {
                    self.runs.torn += 1;
                    return Err(Fault::retryable("torn", "The process crashed in a sweep."));
                }
            };
            page.records.into_iter().for_each(|hit| self.publish(hit.key, Cause::Sweep, Some(id.clone())));
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Runs what is due, until nothing is; answers whether the process crashed before that.
    pub async fn work(&mut self) -> bool {
        let (mut rounds, torn) = (0, self.runs.torn);
        while let Some(key) = self.next() {
            rounds += 1;
            assert!(rounds < 10_000, "it never ends: {key}");
            self.run(&key).await;
            if self.runs.torn > torn {
                return true;
            }
        }
        false
    }

    fn next(&self) -> Option<String> {
        let now = self.clock.now();
        let due = self.waiting.iter().filter(|(_, (_, waiting))| waiting.due <= now);
        due.min_by_key(|(key, (_, waiting))| (waiting.due, (*key).clone())).map(|(key, _)| key.clone())
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.waiting.values().map(|(_, waiting)| waiting.due).min()
    }

    fn requests_so_far(&self) -> u64 {
        (self.requests)().values().sum()
    }

    fn opened(&mut self, calendar: &str) {
        let now = self.clock.now();
        let since = self.opened.get(calendar);
        if since.is_none_or(|since| elapsed(*since, now) >= OWNER_KNOWN) {
            self.opened.insert(calendar.to_owned(), now);
            self.runs.opened += 1;
        }
    }

    /// Requests since then, by endpoint.
    fn since(&self, then: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let mut all = (self.requests)();
        all.iter_mut().for_each(|(name, count)| *count -= then.get(name).copied().unwrap_or(0));
        all.retain(|_, count| *count > 0);
        all
    }

    pub fn parked_keys(&self) -> impl Iterator<Item = &String> {
        self.parked.keys()
    }

    pub fn waiting_keys(&self) -> Vec<&String> {
        self.waiting.keys().collect()
    }

    async fn run(&mut self, name: &str) {
        let Some((key, waiting)) = self.waiting.remove(name) else { return };
        let mut asked = (self.requests)();
        let before: u64 = asked.values().sum();
        let mut reruns = 0;
        loop {
            let run = Run {
                key: key.clone(),
                operation: Operation::Check,
                cause: waiting.cause,
                sweep_id: waiting.sweep_id.clone(),
                attempts_before: waiting.attempts,
                is_suspect: false,
                trace_id: "0".repeat(32),
                guard: Arc::new(Unguarded),
                clock: Arc::clone(&self.clock) as Arc<_>,
                hints: Arc::new(NoHints),
            };
            let end = tokio::select! {
                biased;
                result = self.flow.handle(&run) => match result {
                    Ok(outcome) => End::Done(outcome.actions),
                    Err(fault) => End::Failed(fault),
                },
                () = self.store.torn.notified() => End::Torn,
                () = tokio::time::sleep(RUN_TIME_MAX) => panic!("a run of {name} hangs: {:?}", self.runs),
            };
            let spent = self.since(&asked);
            asked = (self.requests)();
            if tracing_wanted() {
                println!("  {} {name}: {end:?} by {spent:?}", self.clock.now());
            }
            let sums = self.asked.entry((kind(name), end.name())).or_default();
            spent.into_iter().for_each(|(endpoint, count)| *sums.entry(endpoint).or_default() += count);
            match end {
                End::Done(actions) => {
                    if kind(name) == "calendar" {
                        self.opened(name);
                        *self.looks.entry(name.to_owned()).or_default() += 1;
                    }
                    *self.runs.done.entry(kind(name)).or_default() += 1;
                    actions.into_iter().for_each(|action| *self.runs.actions.entry(action).or_default() += 1);
                    self.dead.remove(name);
                    return;
                }
                End::Torn => {
                    self.runs.torn += 1;
                    self.again(&key, &waiting, Duration::ZERO, false);
                    break;
                }
                End::Failed(fault) => {
                    let now = Circumstances {
                        attempts_before: waiting.attempts,
                        reruns,
                        age: elapsed(waiting.since, self.clock.now()),
                        random: 0.5,
                    };
                    let settlement = decide(&fault, now, &self.flow.spec().retry);
                    if settlement == Settlement::RunAgain {
                        reruns += 1;
                        continue;
                    }
                    self.settle(&run, &waiting, &fault, settlement).await;
                    break;
                }
            }
        }
        self.runs.spent_requests += self.requests_so_far() - before;
    }

    async fn settle(&mut self, run: &Run, waiting: &Waiting, fault: &Fault, settlement: Settlement) {
        self.runs.failed += 1;
        let why = format!("{}: {}", fault.code, fault.text).chars().take(160).collect();
        *self.runs.faults.entry(why).or_default() += 1;
        let dead_letter = match settlement {
            Settlement::DeadLetter(reason) => Some(reason),
            _ => None,
        };
        let failure = Failure { fault, attempts: waiting.attempts + 1, dead_letter };
        tokio::select! {
            biased;
            _ = self.flow.report(run, &failure) => {}
            () = self.store.torn.notified() => self.runs.torn += 1,
        }
        match settlement {
            Settlement::Retry { delay, counts } => {
                self.again(&run.key, waiting, delay, counts);
            }
            Settlement::Park(_) => {
                self.parked.insert(run.key.to_string(), run.key.clone());
            }
            Settlement::DeadLetter(reason) => {
                let why = format!("{reason:?}: {fault}");
                self.dead.insert(run.key.to_string(), (run.key.clone(), why));
            }
            Settlement::Ack | Settlement::Return | Settlement::RunAgain => {}
        }
    }

    fn again(&mut self, key: &RecordKey, waiting: &Waiting, delay: Duration, counts: bool) {
        let attempts = waiting.attempts + u32::from(counts);
        let due = later(self.clock.now(), delay);
        let again = Waiting { due, attempts, ..waiting.clone() };
        self.waiting.insert(key.to_string(), (key.clone(), again));
    }

    /// What waited for an account is set going again.
    pub fn wake(&mut self) {
        std::mem::take(&mut self.parked)
            .into_values()
            .for_each(|key| self.publish(key, Cause::Webhook, None));
    }

    /// What was given up only because it failed too often, somebody sends again.
    pub fn replay(&mut self) {
        let spent: Vec<String> = self
            .dead
            .iter()
            .filter(|(_, (_, why))| why.starts_with("AttemptsSpent"))
            .map(|(key, _)| key.clone())
            .collect();
        for key in spent {
            if let Some((key, _)) = self.dead.remove(&key) {
                self.publish(key, Cause::Webhook, None);
            }
        }
    }
}

/// What a key is about: a calendar, an event of one by itself, a calendar's watch, a record.
fn kind(name: &str) -> &'static str {
    let (_, id) = name.split_once(':').unwrap_or(("", name));
    match id.split('.').collect::<Vec<_>>().as_slice() {
        ["meeting" | "call", _] => "record",
        ["watch", ..] => "watch",
        [_, _] => "calendar",
        _ => "event",
    }
}
