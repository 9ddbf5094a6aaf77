//! The flow between both sides in memory, with a queue and workers that stand in for the engine: one run of a key at a time,
//! what fails comes again, what is parked is looked at once more and released by a success.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use shared::clock::ManualClock;
use shared::envelope::{Cause, Operation};
use shared::fault::Fault;
use shared::flow::{Flow as _, Guard, Hints, Outcome, Run};
use shared::meter::NoMeter;
use shared::ports::state::{Fence, State};
use shared::record_key::RecordKey;
use shared::retry::RetryPolicy;
use shared::settlement::{Circumstances, Settlement, decide};

use super::super::fixtures::id;
use super::super::flow::{DirectoryFlow, DirectoryParts};
use super::super::ids::DepartmentId;
use super::super::key::{Key, Subject};
use super::super::link::{DepartmentLink, MemberLink, Note};
use super::super::model::World;
use super::super::rules::Rules;
use super::super::settings::DirectorySettings;
use super::chance::{Chance, Odds};
use super::source::MemorySource;
use super::store::MemoryStore;
use super::target::MemoryTarget;

/// The lease of the shard, whose fence all runs carry.
pub const SHARD: &str = "shard/directory.000";
/// More runs than this are a loop.
const RUNS_MAX: u32 = 20_000;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub key: RecordKey,
    pub cause: Cause,
    pub sweep_id: Option<String>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Message>,
    /// Failed, and tried again later.
    later: Vec<Message>,
    /// Those whose worker died, and is noticed late: by the next [`Stage::work`].
    orphaned: Vec<Message>,
    parked: BTreeMap<RecordKey, Vec<Message>>,
    letters: BTreeMap<RecordKey, Fault>,
}

/// What the engine counts.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub runs: u32,
    pub stopped: u32,
    pub failed: u32,
    pub busy: u32,
    pub conflicts: u32,
    pub parked: u32,
    pub released: u32,
}

impl Counts {
    pub fn and(&self, other: &Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            stopped: self.stopped + other.stopped,
            failed: self.failed + other.failed,
            busy: self.busy + other.busy,
            conflicts: self.conflicts + other.conflicts,
            parked: self.parked + other.parked,
            released: self.released + other.released,
        }
    }

    /// That what a test is about has come to pass.
    pub fn assert_happened(&self) {
        assert!(self.stopped > 0 && self.failed > 0 && self.busy > 0, "{self:?}");
    }
}

#[derive(Debug)]
struct Published(Arc<Mutex<Queue>>, Arc<Chance>);

#[async_trait]
impl Hints for Published {
    async fn hint(&self, run: &Run, keys: &[RecordKey]) -> Result<(), Fault> {
        self.1.pause().await;
        for key in keys {
            publish(&self.0, Message { key: key.clone(), cause: run.cause, sweep_id: run.sweep_id.clone() });
        }
        Ok(())
    }
}

/// Those that wait for the same run are one.
fn publish(queue: &Mutex<Queue>, message: Message) {
    let waiting = &mut queue.lock().unwrap().waiting;
    if !waiting.contains(&message) {
        waiting.push_back(message);
    }
}

#[derive(Debug)]
struct OfShard(Fence);

impl Guard for OfShard {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        Ok(Some(self.0.clone()))
    }
}

/// Everything.
#[derive(Debug)]
pub struct Stage {
    pub flow: DirectoryFlow,
    pub source: Arc<MemorySource>,
    pub target: Arc<MemoryTarget>,
    pub store: Arc<MemoryStore>,
    pub clock: Arc<ManualClock>,
    pub chance: Arc<Chance>,
    pub rules: Rules,
    /// Whether two runs of one key may go on at once.
    pub has_twins: bool,
    queue: Arc<Mutex<Queue>>,
    counts: Mutex<Counts>,
    fence: Fence,
}

impl Stage {
    pub async fn new(rules: Rules, seed: u64) -> Self {
        let chance = Arc::new(Chance::new(seed));
        let source = Arc::new(MemorySource::new(chance.clone()));
        let target = Arc::new(MemoryTarget::new(rules.batch_max, chance.clone()));
        let store = Arc::new(MemoryStore::new(chance.clone()));
        let settings = DirectorySettings {
            rules: rules.clone(),
            retry: RetryPolicy { attempts_max: 1_000, ..RetryPolicy::default() },
            ..DirectorySettings::default()
        };
        let flow = DirectoryFlow::new(DirectoryParts {
            settings,
            source: source.clone(),
            target: target.clone(),
            callbacks: None,
            state: store.clone(),
            meter: Arc::new(NoMeter),
        });
        let ttl = Duration::from_secs(365 * 24 * 3_600);
        let grant = store.acquire_lease(SHARD, "worker", ttl).await.unwrap().unwrap();
        Self {
            flow: flow.unwrap(),
            source,
            target,
            store,
            clock: Arc::new(ManualClock::new("2026-11-20T09:15:00Z".parse().unwrap())),
            chance,
            rules,
            has_twins: false,
            queue: Arc::default(),
            counts: Mutex::default(),
            fence: Fence { lease: SHARD.to_owned(), term: grant.term },
        }
    }

    pub fn clock_now(&self) -> jiff::Timestamp {
        use shared::clock::Clock as _;
        self.clock.now()
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock().unwrap());
    }

    pub fn record_key(&self, key: Key) -> RecordKey {
        Subject::One(key).key(&self.flow.spec().name).unwrap()
    }

    /// An event came.
    pub fn publish(&self, key: Key) {
        self.publish_as(self.record_key(key), Cause::Webhook, None);
    }

    /// A sweep found it.
    pub fn publish_swept(&self, key: Key, sweep_id: &str) {
        self.publish_as(self.record_key(key), Cause::Sweep, Some(sweep_id));
    }

    pub fn publish_as(&self, key: RecordKey, cause: Cause, sweep_id: Option<&str>) {
        publish(&self.queue, Message { key, cause, sweep_id: sweep_id.map(str::to_owned) });
    }

    /// Who was parked, under what.
    pub fn parked(&self) -> BTreeMap<RecordKey, BTreeSet<RecordKey>> {
        let queue = self.queue.lock().unwrap();
        let records = |messages: &Vec<Message>| messages.iter().map(|it| it.key.clone()).collect();
        let waits = queue.parked.iter().filter(|(_, messages)| !messages.is_empty());
        waits.map(|(key, messages)| (key.clone(), records(messages))).collect()
    }

    pub fn letters(&self) -> BTreeMap<RecordKey, Fault> {
        self.queue.lock().unwrap().letters.clone()
    }

    /// What is waiting in the queue, taken out of it.
    pub fn take_waiting(&self) -> Vec<Message> {
        self.queue.lock().unwrap().waiting.drain(..).collect()
    }

    /// A run as the engine makes it.
    pub fn run(&self, message: &Message) -> Run {
        Run {
            key: message.key.clone(),
            operation: Operation::Check,
            cause: message.cause,
            sweep_id: message.sweep_id.clone(),
            attempts_before: 0,
            is_suspect: false,
            trace_id: "0".repeat(32),
            guard: Arc::new(OfShard(self.fence.clone())),
            clock: self.clock.clone(),
            hints: Arc::new(Published(self.queue.clone(), self.chance.clone())),
        }
    }

    /// Handles one key by itself, as for an event.
    pub async fn handle(&self, key: Key) -> Result<Outcome, Fault> {
        let message = Message { key: self.record_key(key), cause: Cause::Webhook, sweep_id: None };
        self.flow.handle(&self.run(&message)).await
    }

    /// Runs all that waits, until nothing does; what fails while WeCom is down stays for later.
    pub async fn work(&self, workers: usize) {
        let mut going = FuturesUnordered::new();
        let mut keys: Vec<RecordKey> = Vec::new();
        let begun = self.counts().runs;
        let orphaned = std::mem::take(&mut self.queue.lock().unwrap().orphaned);
        orphaned.into_iter().for_each(|message| publish(&self.queue, message));
        loop {
            assert!(self.counts().runs - begun < RUNS_MAX, "does not settle: {:?}", self.queue);
            while going.len() < workers
                && let Some(message) = self.next(&keys)
            {
                keys.push(message.key.clone());
                going.push(self.deliver(message));
            }
            if let Some(key) = going.next().await {
                let at = keys.iter().position(|other| *other == key).unwrap();
                keys.swap_remove(at);
                continue;
            }
            if self.source.is_down() || self.queue.lock().unwrap().later.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let later = std::mem::take(&mut self.queue.lock().unwrap().later);
            later.into_iter().for_each(|message| publish(&self.queue, message));
        }
    }

    fn next(&self, going: &[RecordKey]) -> Option<Message> {
        let waiting = &mut self.queue.lock().unwrap().waiting;
        let is_free = |message: &Message| self.has_twins || !going.contains(&message.key);
        let at = waiting.iter().position(is_free)?;
        waiting.remove(at)
    }

    async fn deliver(&self, message: Message) -> RecordKey {
        if let Some(result) = self.attempt(&message).await {
            let park = match &result {
                Err(Settlement::Park(awaited)) => Some(awaited.clone()),
                _ => None,
            };
            match park {
                Some(awaited) => self.park(&message, awaited).await,
                None => self.settle(&message, result),
            }
        }
        message.key
    }

    /// What waits for another record is parked, and then looked at once more.
    async fn park(&self, message: &Message, awaited: RecordKey) {
        assert_ne!(awaited, message.key, "waits for itself");
        {
            let mut queue = self.queue.lock().unwrap();
            let parked = queue.parked.entry(awaited.clone()).or_default();
            if parked.iter().any(|other| other.key == message.key) {
                return;
            }
            parked.push(message.clone());
        }
        self.count(|counts| counts.parked += 1);
        let Some(second) = self.attempt(message).await else { return };
        if matches!(&second, Err(Settlement::Park(still)) if *still == awaited) {
            return;
        }
        if let Some(parked) = self.queue.lock().unwrap().parked.get_mut(&awaited) {
            parked.retain(|other| other.key != message.key);
        }
        match second {
            Err(Settlement::Park(_)) => self.queue.lock().unwrap().later.push(message.clone()),
            second => self.settle(message, second),
        }
    }

    /// One run; none when it was stopped, and the message comes again.
    async fn attempt(&self, message: &Message) -> Option<Result<Outcome, Settlement>> {
        let run = self.run(message);
        let mut reruns = 0;
        loop {
            self.count(|counts| counts.runs += 1);
            let Some(result) = self.chance.may_stop(self.flow.handle(&run)).await else {
                self.count(|counts| counts.stopped += 1);
                match self.chance.is_noticed_late() {
                    true => self.queue.lock().unwrap().orphaned.push(message.clone()),
                    false => publish(&self.queue, message.clone()),
                }
                return None;
            };
            let fault = match result {
                Ok(outcome) => return Some(Ok(outcome)),
                Err(fault) => fault,
            };
            self.count(|counts| match fault.kind {
                shared::fault::FaultKind::Busy { .. } => counts.busy += 1,
                shared::fault::FaultKind::Conflict => counts.conflicts += 1,
                shared::fault::FaultKind::Retryable { .. } => counts.failed += 1,
                _ => {}
            });
            let now = Circumstances { attempts_before: 0, reruns, age: Duration::ZERO, random: 0.0 };
            match decide(&fault, now, &self.flow.spec().retry) {
                Settlement::RunAgain => reruns += 1,
                settlement => {
                    if matches!(settlement, Settlement::DeadLetter(_)) {
                        self.queue.lock().unwrap().letters.insert(message.key.clone(), fault);
                    }
                    return Some(Err(settlement));
                }
            }
        }
    }

    fn settle(&self, message: &Message, result: Result<Outcome, Settlement>) {
        match result {
            Ok(outcome) => {
                assert!(outcome.converged, "{message:?}: {outcome:?}");
                self.queue.lock().unwrap().letters.remove(&message.key);
                self.release(&message.key);
            }
            Err(Settlement::Retry { .. }) => self.queue.lock().unwrap().later.push(message.clone()),
            Err(Settlement::DeadLetter(_)) => {}
            Err(other) => panic!("{message:?}: {other:?}"),
        }
    }

    fn release(&self, key: &RecordKey) {
        let parked = self.queue.lock().unwrap().parked.remove(key).unwrap_or_default();
        for message in parked {
            self.count(|counts| counts.released += 1);
            publish(&self.queue, Message { cause: Cause::Released, ..message });
        }
    }

    /// What the model does with WeCom.
    pub fn with_wecom<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        let mut wecom = self.source.wecom.lock().unwrap();
        let mut world = World::new(self.rules.clone());
        std::mem::swap(&mut world.wecom, &mut wecom);
        let result = edit(&mut world);
        std::mem::swap(&mut world.wecom, &mut wecom);
        result
    }

    /// All there is, as the model has it: for its oracle.
    pub async fn world(&self) -> World {
        // Leases of runs that were stopped end by themselves.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(self.store.leases_but(SHARD), Vec::<String>::new(), "leases that do not end");
        let mut world = World::new(self.rules.clone());
        world.wecom = self.source.wecom.lock().unwrap().clone();
        {
            let records = self.target.records.lock().unwrap();
            world.groups = records.groups.clone();
            world.users = records.users.clone();
        }
        for (text, version, link) in self.store.documents::<DepartmentLink>("link/directory/dept.") {
            world.department_links.insert(DepartmentId(text.parse().unwrap()), (version, link));
        }
        for (userid, version, link) in self.store.documents::<MemberLink>("link/directory/user.") {
            world.member_links.insert(id(&userid), (version, link));
        }
        for (text, _, note) in self.store.documents::<Note>("note/directory/") {
            let group = text.split('/').next().unwrap().parse().unwrap();
            world.notes.insert((DepartmentId(group), note.target.clone()), note);
        }
        let queue = self.queue.lock().unwrap();
        assert!(queue.waiting.is_empty() && queue.later.is_empty() && queue.orphaned.is_empty(), "{queue:?}");
        assert!(queue.letters.is_empty(), "{:?}", queue.letters);
        drop(queue);
        assert!(self.parked().is_empty(), "{:?}", self.parked());
        world
    }

    /// Looks at everything that is linked.
    pub async fn look_at_all(&self) {
        let links = self.store.documents::<serde_json::Value>("link/directory/");
        let keys: Vec<Key> = links.iter().map(|(id, ..)| id.parse().unwrap()).collect();
        for key in keys {
            match &key {
                Key::Department(id) => self.publish(Key::Members(*id)),
                Key::Member(id) => self.publish(Key::Leader(id.clone())),
                _ => panic!("{key}"),
            }
            self.publish(key);
        }
        self.work(1).await;
    }

    /// That looking at everything again writes nothing and saves nothing.
    pub async fn assert_quiet(&self) {
        self.chance.set(Odds::default());
        let written = || (self.target.records.lock().unwrap().writes, self.store.link_writes());
        let before = written();
        self.look_at_all().await;
        assert_eq!(written(), before);
    }
}
