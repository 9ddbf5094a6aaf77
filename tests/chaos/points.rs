//! Programs that die at labelled points: right before and right after what must not be lost and must not be doubled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use simulators::{Dice, FaultKind, FaultRule};
use system_tests::{Fleet, Kind, Member};

use crate::stage::Stage;

/// The points of a worker, around a write and around a settlement.
const OF_WORKERS: [&str; 14] = [
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
    "queue.after_retry_published",
    "worker.after_letter_appended",
];
/// The points of a producer, from a webhook's acceptance to its answer.
const OF_PRODUCERS: [&str; 3] =
    ["producer.after_verify", "producer.before_publish", "producer.after_publish"];
/// What comes seldom is hit at the first time.
const SELDOM: [&str; 2] = ["queue.after_retry_published", "worker.after_letter_appended"];
/// How often a program comes by a point at most before it dies there.
const SPARED_MAX: usize = 8;
/// What a program notes once that follows what it is told.
const ARMED: &str = "armed";
/// Limits of the wait for hits, which a busy machine stays below by far.
const START: Duration = Duration::from_secs(60);
const EACH: Duration = Duration::from_secs(20);

/// Where the programs note their hits.
pub struct Hits(PathBuf);

impl Hits {
    pub fn of(fleet: &Fleet) -> Self {
        Self(fleet.folder().join("hits"))
    }

    /// Says what happens at the points of a program from its next life on, as `FAILPOINTS` wants it.
    pub fn arm(&self, member: &mut Member, what: &str) {
        let points = format!("hits=return({});{what}", self.0.display());
        member.change(|program| program.env("FAILPOINTS", points));
    }

    /// The next life of a program ends at the label that was hit least of these, when it comes by there after some
    /// times; it goes on where each was hit as often as is wanted.
    pub fn next_life(&self, member: &mut Member, labels: &[&str], wanted: usize, dice: &mut Dice) {
        let count = self.count();
        let hit = |label: &str| count.get(label).copied().unwrap_or(0);
        let least = labels.iter().map(|label| hit(label)).min().unwrap_or(0);
        if least >= wanted {
            self.arm(member, "");
            return member.start().unwrap();
        }
        let fitting: Vec<&&str> = labels.iter().filter(|label| hit(label) == least).collect();
        let label = fitting[dice.below(fitting.len())];
        let spared = if SELDOM.contains(label) { 0 } else { dice.below(SPARED_MAX) };
        self.arm(member, &format!("{label}={spared}*off->1*return(kill)"));
        member.start().unwrap();
    }

    /// Programs die no more.
    pub fn disarm(&self, fleet: &mut Fleet) {
        for member in &mut fleet.members {
            self.arm(member, "");
            member.start().unwrap();
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
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
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
    let plan = stage.plan(backing, 2, stage.sizes.or(5, 6));
    let wanted = std::mem::take(&mut stage.sizes.syncs);
    let mut world = stage.open(plan).await;
    // For the points that only what fails comes by.
    world.people.nameless_percent.set(50);
    let failing =
        |path| FaultRule::new(FaultKind::Status { status: 503 }).on("GET", path).sometimes(0.03, stage.seed);
    world.fleet.crm.fault(failing("/api/v1/CBeteiligte/*"));
    world.fleet.advoware.fault(failing("*/Beteiligte/*"));
    let hits = Hits::of(&world.fleet);
    let mut is_first = true;
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        for member in members {
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
