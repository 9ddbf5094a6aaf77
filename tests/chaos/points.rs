//! Programs that die at labelled points: right before and right after what must not be lost and must not be doubled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use simulators::{Dice, FaultKind, FaultRule};
use system_tests::{Fleet, Kind, Member};

use crate::stage::Stage;

/// The points of a worker, around a write and around a settlement.
const OF_WORKERS: [&str; 15] = [
    "parties.before_intent",
    "parties.after_intent",
    "parties.before_request",
    "parties.after_request",
    "parties.before_read_back",
    "parties.after_read_back",
    "parties.before_link_save",
    "parties.after_link_save",
    "parties.before_intent_end",
    "parties.after_intent_end",
    "worker.after_run",
    "worker.before_ack",
    "worker.before_marks",
    "queue.after_retry_published",
    "worker.after_letter_appended",
];
/// The points of a producer, from a webhook's acceptance to its answer.
const OF_PRODUCERS: [&str; 3] =
    ["producer.after_verify", "producer.before_publish", "producer.after_publish"];
/// What comes seldom is hit at the first time.
const SELDOM: [&str; 2] = ["queue.after_retry_published", "worker.after_letter_appended"];
/// How often a program comes by a point at most before it dies there.
const SPARED_MAX: usize = 4;
/// How many points a life may end at: it ends at the first that it comes by, so that lives are short.
const POINTS_OF_A_LIFE: usize = 3;
/// What a worker that died held of an account comes back after 10 s. Where there is so much, and some workers live on
/// that give way, those that begin do not have to wait for it.
const ROOM: [(&str, &str); 2] =
    [("CONNECTOR__ESPOCRM__CONCURRENCY_MAX", "200"), ("CONNECTOR__ADVOWARE__CONCURRENCY_MAX", "200")];
/// Between two things that people do: what waits for workers that die all the time must not pile up.
const PACE: Duration = Duration::from_millis(60);
/// What a program notes once that follows what it is told.
const ARMED: &str = "armed";
/// Limits of the wait for hits, which a busy machine stays below by far.
const START: Duration = Duration::from_secs(60);
const EACH: Duration = Duration::from_secs(20);

/// What the programs are told, and where they note their hits.
pub struct Hits {
    file: PathBuf,
    /// What happens in the present life of each program that was told something, by its name.
    told: RefCell<BTreeMap<String, String>>,
}

impl Hits {
    pub fn of(fleet: &Fleet) -> Self {
        Self { file: fleet.folder().join("hits"), told: RefCell::default() }
    }

    /// Says what happens at the points of a program from its next life on, as `FAILPOINTS` wants it.
    pub fn arm(&self, member: &mut Member, what: &str) {
        let points = format!("hits=return({});{what}", self.file.display());
        member.change(|program| program.env("FAILPOINTS", points));
        self.told.borrow_mut().insert(member.name().to_owned(), what.to_owned());
    }

    /// The next life of a program ends at one of the labels that were hit least, counting the lives of others that may
    /// end there; it goes on where each was hit as often as is wanted.
    pub fn next_life(&self, member: &mut Member, labels: &[&str], wanted: usize, dice: &mut Dice) {
        let count = self.count();
        let hit = |label: &str| count.get(label).copied().unwrap_or(0);
        self.told.borrow_mut().remove(member.name());
        let others = self.told.borrow().values().cloned().collect::<Vec<_>>().join(";");
        let expected =
            |label: &str| others.split(';').filter(|rule| rule.split('=').next() == Some(label)).count();
        let mut fitting: Vec<&str> = labels.iter().copied().filter(|label| hit(label) < wanted).collect();
        fitting.sort_by_cached_key(|label| (hit(label) + expected(label), dice.roll()));
        fitting.truncate(POINTS_OF_A_LIFE);
        let rules = fitting.iter().map(|label| {
            let spared = if SELDOM.contains(label) { 0 } else { dice.below(SPARED_MAX) };
            format!("{label}={spared}*off->1*return(kill)")
        });
        self.arm(member, &rules.collect::<Vec<_>>().join(";"));
        member.start().unwrap();
    }

    /// Programs die no more. Those that were told nothing live on.
    pub fn disarm(&self, fleet: &mut Fleet) {
        for member in &mut fleet.members {
            let was_told = self.told.borrow().get(member.name()).is_some_and(|what| !what.is_empty());
            if was_told || !member.is_running() {
                self.arm(member, "");
                member.start().unwrap();
            }
        }
    }

    /// How often the label was hit that was hit least of these.
    pub fn least(&self, labels: &[&str]) -> usize {
        let count = self.count();
        labels.iter().map(|label| count.get(*label).copied().unwrap_or(0)).min().unwrap_or(0)
    }

    /// All hits.
    pub fn total(&self) -> usize {
        self.count().iter().filter(|(label, _)| *label != ARMED).map(|(_, hits)| hits).sum()
    }

    /// Waits for what makes so many hits.
    pub async fn awaited(&self, hits: usize, breaking: impl Future<Output = ()>) {
        let limit = START + EACH * u32::try_from(hits).unwrap_or(u32::MAX);
        let ended = tokio::time::timeout(limit, breaking).await;
        let count = self.count();
        println!("hits: {count:?}");
        let why = "the programs have no labelled points: build them by `cargo xtask test`";
        assert!(count.contains_key(ARMED), "{why}");
        ended.expect("hits of each label in time");
    }

    /// How often each label was hit; how many programs began to follow what they were told, under `armed`.
    fn count(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut count = BTreeMap::new();
        for label in text.lines() {
            *count.entry(label.to_owned()).or_default() += 1;
        }
        count
    }
}

/// A program dies at each labelled point, several times.
pub async fn programs_die_at_labelled_points(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let (steady, mortal) = (stage.sizes.or(2, 3), stage.sizes.or(5, 8));
    let mut plan = stage.plan(backing, 2, steady + mortal);
    plan.settings.extend(ROOM.map(|(key, value)| (key, value.to_owned())));
    let wanted = std::mem::take(&mut stage.sizes.syncs);
    let mut world = stage.open(plan).await;
    // For the points that only what fails comes by.
    world.people.nameless_percent.set(50);
    world.people.pace.set(PACE);
    let failing =
        |path| FaultRule::new(FaultKind::Status { status: 503 }).on("GET", path).sometimes(0.03, stage.seed);
    world.fleet.crm.fault(failing("/api/v1/CBeteiligte/*"));
    world.fleet.advoware.fault(failing("*/Beteiligte/*"));
    let hits = Hits::of(&world.fleet);
    let mut is_first = true;
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        let steady = members.iter_mut().filter(|member| member.kind() == Kind::Worker).take(steady);
        let steady: Vec<String> = steady.map(|member| member.name().to_owned()).collect();
        for member in members.iter_mut().filter(|member| !steady.iter().any(|name| name == member.name())) {
            if is_first || !member.is_running() {
                let labels: &[&str] = if member.kind() == Kind::Worker { &OF_WORKERS } else { &OF_PRODUCERS };
                hits.next_life(member, labels, wanted, &mut stage.dice);
                stage.counts.kills += 1;
            }
        }
        is_first = false;
        tokio::time::sleep(Duration::from_millis(50)).await;
        hits.least(&OF_WORKERS) >= wanted && hits.least(&OF_PRODUCERS) >= wanted
    };
    hits.awaited(wanted * OF_WORKERS.len(), world.broken(stage, blow)).await;
    stage.counts.hits = hits.total();
    world.fleet.crm.faults().clear();
    world.fleet.advoware.faults().clear();
    hits.disarm(&mut world.fleet);
    stage.judge(world, &[]).await;
}
