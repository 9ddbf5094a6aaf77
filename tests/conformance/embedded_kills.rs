//! `kill -9` at random instants: what an embedded directory had promised is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use jiff::Timestamp;
use shared::clock::ManualClock;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::queue::{FlowTopology, Queue as _};
use shared::ports::state::State as _;
use shared::record_key::FlowName;
use shared::routing::Shard;
use system_tests::supervise::{Folder, Supervised};
use system_tests::wait;
use uuid::Uuid;

const KILLS: u32 = 16;
const SOON: Duration = Duration::from_secs(60);

/// A child that works in the directory, and what it said.
pub struct Child {
    process: Supervised,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    pub fn start(verb: &str, dir: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_embedded-child"));
        let args = [verb.as_ref(), dir.as_os_str()];
        let mut process = Supervised::start(program, args, |command| {
            command.stdout(Stdio::piped());
        })
        .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let output = process.take_output().0.unwrap();
        let reader = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || read_lines(output, &lines)
        });
        Self { process, lines, reader: Some(reader) }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub async fn wait_for_lines(&self, count: usize) {
        wait::until(&format!("{count} lines"), SOON, async || {
            let lines = self.lines.lock().unwrap();
            if lines.len() >= count { Ok(()) } else { Err(lines.last().cloned()) }
        })
        .await;
    }

    pub async fn wait_for_line(&self, line: &str) {
        wait::until(line, SOON, async || {
            let lines = self.lines.lock().unwrap();
            if lines.iter().any(|found| found == line) { Ok(()) } else { Err(lines.last().cloned()) }
        })
        .await;
    }

    /// SIGKILL, and everything it had said before.
    pub fn kill_9(mut self) -> Vec<String> {
        self.process.kill_9();
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

/// Keeps whole lines: a line that a kill cut short was promised to nobody.
fn read_lines(output: ChildStdout, lines: &Mutex<Vec<String>>) {
    let (mut output, mut line) = (BufReader::new(output), String::new());
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if let Some(whole) = line.strip_suffix('\n') {
            lines.lock().unwrap().push(whole.to_owned());
        }
        line.clear();
    }
}

/// What the children said, over all their lives.
#[derive(Default)]
struct Ledger {
    published: BTreeSet<Uuid>,
    /// Announced: may have ended without a word.
    ending: BTreeSet<Uuid>,
    ended: BTreeSet<Uuid>,
    buried: BTreeSet<Uuid>,
    retried: BTreeMap<Uuid, u32>,
    /// Values and versions: as found after the last kill, or as said since.
    counted: BTreeMap<String, (u64, u64)>,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let id = || words[1].parse::<Uuid>().unwrap();
        match words[0] {
            "ready" => {}
            "published" => assert!(self.published.insert(id())),
            "ending" => drop(self.ending.insert(id())),
            "acked" => assert!(self.ended.insert(id()), "acknowledged twice: {line}"),
            "buried" => assert!(self.ended.insert(id()) && self.buried.insert(id()), "ended twice: {line}"),
            "retried" => drop(self.retried.insert(id(), words[2].parse().unwrap())),
            "counted" => self.note_count(words[1], words[2].parse().unwrap(), words[3].parse().unwrap()),
            _ => panic!("the child says: {line}"),
        }
    }

    fn note_count(&mut self, key: &str, value: u64, version: u64) {
        let before = self.counted.insert(key.to_owned(), (value, version));
        let (value_before, version_before) = before.unwrap_or_default();
        assert_eq!(value, value_before + 1, "{key}");
        assert!(version > version_before, "{key}: version {version} after {version_before}");
    }
}

/// What is in the directory.
struct Found {
    waiting: BTreeMap<Uuid, u32>,
    buried: BTreeSet<Uuid>,
    counted: BTreeMap<String, (u64, u64)>,
}

async fn look(dir: &Path) -> Found {
    // At the end of time every message is due.
    let clock = Arc::new(ManualClock::new(Timestamp::MAX));
    let mut options = EmbeddedOptions::new(dir, Role::Serving, clock);
    options.delivery_limit = 10_000;
    let embedded = Embedded::open(options).unwrap();
    let topology = FlowTopology { flow: FlowName::new("parties").unwrap(), shards: 2 };
    embedded.queue.prepare(std::slice::from_ref(&topology)).await.unwrap();
    Found {
        waiting: waiting(&embedded, &topology).await,
        buried: buried(&embedded).await,
        counted: counted(&embedded).await,
    }
}

async fn waiting(embedded: &Embedded, topology: &FlowTopology) -> BTreeMap<Uuid, u32> {
    let depth = embedded.queue.depth(topology).await.unwrap();
    assert_eq!(depth.delayed, 0, "everything is due");
    let shard = |number| Shard { flow: topology.flow.clone(), number };
    let mut zero = embedded.queue.consume(&shard(0), u16::MAX).await.unwrap();
    let mut one = embedded.queue.consume(&shard(1), u16::MAX).await.unwrap();
    let (mut waiting, mut held) = (BTreeMap::new(), Vec::new());
    for _ in 0..depth.ready {
        let next = async {
            tokio::select! { delivery = zero.next() => delivery, delivery = one.next() => delivery }
        };
        let delivery = tokio::time::timeout(SOON, next).await.expect("as many as the depth says").unwrap();
        let text = String::from_utf8(delivery.body.to_vec()).unwrap();
        let (id, retries) = text.split_once(' ').unwrap();
        let twice = waiting.insert(id.parse().unwrap(), retries.parse().unwrap());
        assert!(twice.is_none(), "{id} is there twice");
        held.push(delivery);
    }
    waiting
}

async fn buried(embedded: &Embedded) -> BTreeSet<Uuid> {
    let (mut ids, mut position) = (BTreeSet::new(), 0);
    loop {
        let page = embedded.queue.scan_dead_letters(position, 100).await.unwrap();
        assert_eq!(page.unreadable, 0);
        let is_last = page.at_end;
        position = page.next;
        for event in page.into_events() {
            let DeadLetterEvent::Opened { letter } = event else { panic!("{event:?}") };
            assert!(ids.insert(letter.id), "{} is buried twice", letter.id);
        }
        if is_last {
            return ids;
        }
    }
}

async fn counted(embedded: &Embedded) -> BTreeMap<String, (u64, u64)> {
    let found = embedded.state.scan("count/", None, 100).await.unwrap();
    let count = |value: Vec<u8>| String::from_utf8(value).unwrap().parse().unwrap();
    found.into_iter().map(|(key, document)| (key, (count(document.value), document.version))).collect()
}

fn judge(promised: &Ledger, found: &Found) {
    for id in &promised.published {
        let is_there = found.waiting.contains_key(id);
        if promised.ended.contains(id) {
            assert!(!is_there, "{id} was settled for good and is there again");
        } else if !promised.ending.contains(id) {
            assert!(is_there, "{id} was published and is lost");
        }
    }
    for (id, retries) in &promised.retried {
        if let Some(present) = found.waiting.get(id) {
            assert!(present >= retries, "{id} has the body of retry {present}, not of {retries}");
        }
    }
    assert!(promised.buried.is_subset(&found.buried), "a dead letter is lost");
    for id in &found.buried {
        assert!(promised.ending.contains(id) && !found.waiting.contains_key(id), "{id} is buried and waits");
    }
    for (key, (value, version)) in &promised.counted {
        let (present, present_version) = found.counted[key];
        assert!((*value..=value + 1).contains(&present), "{key} is {present}, {value} was promised");
        assert!(present_version >= *version, "{key} has version {present_version}, {version} was promised");
    }
}

/// A generator good enough for instants (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    async fn wait_for_an_instant(&mut self, child: &Child) {
        // Every fourth kill may come before the directory is open.
        if self.below(4) > 0 {
            child.wait_for_lines(usize::try_from(1 + self.below(800)).unwrap()).await;
        }
        tokio::time::sleep(Duration::from_micros(self.below(30_000))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_promised_survives_kill_9_at_any_instant() {
    let seed = RandomState::new().hash_one(0);
    println!("seed of the instants: {seed}");
    let mut dice = Dice(seed);
    let folder = Folder::new("kills").unwrap();
    let dir = folder.join("data");
    let mut ledger = Ledger::default();
    for kill in 0..KILLS {
        let child = Child::start("work", &dir);
        dice.wait_for_an_instant(&child).await;
        let lines = child.kill_9();
        lines.iter().for_each(|line| ledger.note(line));
        let found = look(&dir).await;
        println!("kill {kill} after {} lines: {} messages wait", lines.len(), found.waiting.len());
        judge(&ledger, &found);
        ledger.counted = found.counted;
    }
    // The children did what they are for.
    let done = [ledger.published.len(), ledger.ended.len(), ledger.buried.len(), ledger.retried.len()];
    assert!(done.iter().all(|count| *count > 0) && ledger.counted.len() == 2, "{done:?}");
}
