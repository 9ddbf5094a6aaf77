//! The judge: what people did must be on both sides, once, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use shared::ports::queue::{Depth, FlowTopology};
use shared::record_key::FlowName;
use simulators::demo_data::identity;
use simulators::{ActorKind, JournalEntry, duplicate_creates};
use system_tests::fleet::{Fleet, Member};
use system_tests::{judge as records_judge, wait};
use tokio::time::Instant;

use crate::case::Counts;
use crate::people::{Expected, People};

/// For so long nothing that works makes no progress, on a busy machine.
const STUCK_AFTER: Duration = Duration::from_secs(150);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// For so long nothing moves: a retry that is on its way shows up.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// Attempts of a message in all.
const ATTEMPTS_MAX: usize = 5;
/// The flow's shards, as in the product's defaults.
pub const SHARDS: u16 = 16;
/// Complaints that are printed.
const SHOWN_MAX: usize = 8;

/// Starts what does not run, and waits until both sides hold what people did and nothing is on its way. It fails when
/// nothing has come nearer to that for a long time.
pub async fn until_settled(fleet: &mut Fleet, people: &People) {
    revive(fleet);
    let queue = fleet.queue().unwrap();
    let topology = FlowTopology { flow: FlowName::new("parties").unwrap(), shards: SHARDS };
    let (mut least, mut nearer_at, mut quiet_since) = (u64::MAX, Instant::now(), None);
    while quiet_since.is_none_or(|since: Instant| since.elapsed() < QUIET_FOR) {
        tokio::time::sleep(LOOK_EVERY).await;
        let depth = queue.depth(&topology).await;
        // Sweeps never end.
        let waiting = match &depth {
            _ if people.has_sweeps.get() => 0,
            Ok(Depth { ready, delayed, .. }) => ready + delayed,
            Err(_) => u64::MAX,
        };
        // To look at all records takes time from those who write them.
        let left = if waiting == 0 { complaints(fleet, people) } else { Vec::new() };
        let still = waiting.max(u64::try_from(left.len()).unwrap());
        quiet_since = if still == 0 { quiet_since.or_else(|| Some(Instant::now())) } else { None };
        if still < least {
            (least, nearer_at) = (still, Instant::now());
        }
        if nearer_at.elapsed() > STUCK_AFTER {
            let left = complaints(fleet, people);
            let (first, stories) = (left.iter().take(SHOWN_MAX).collect::<Vec<_>>(), stories(fleet, &left));
            panic!("no agreement: {} records differ, {depth:?}: {first:?}\n{stories}", left.len());
        }
    }
}

/// Waits until no message is on its way.
pub async fn until_dry(fleet: &Fleet) {
    let queue = fleet.queue().unwrap();
    let topology = FlowTopology { flow: FlowName::new("parties").unwrap(), shards: SHARDS };
    wait::until("empty queue", STUCK_AFTER, async || match queue.depth(&topology).await {
        Ok(Depth { ready: 0, delayed: 0, .. }) => Ok(()),
        other => Err(other),
    })
    .await;
}

fn revive(fleet: &mut Fleet) {
    for member in &mut fleet.members {
        if !member.is_running() {
            member.start().unwrap();
        }
    }
}

/// What the programs printed about some of the records that are complained of.
fn stories(fleet: &Fleet, left: &[String]) -> String {
    let ids = left.iter().filter_map(|text| text.split('"').nth(1)).take(3);
    ids.map(|id| story(fleet, id)).collect::<Vec<_>>().join("\n")
}

/// What happened to a record: its writes on both sides in the order of time, and what the programs printed.
fn story(fleet: &Fleet, id: &str) -> String {
    let records = fleet.crm.records();
    let key = records.iter().find(|record| record["id"] == *id).map(|record| record["betnr"].to_string());
    let of_party = |entry: &JournalEntry| Some(&entry.record_id) == key.as_ref();
    let mut writes = fleet.crm.journal();
    writes.retain(|entry| entry.record_id == id);
    writes.extend(fleet.advoware.journal().into_iter().filter(of_party));
    writes.sort_by_key(|entry| entry.at);
    let line = |entry: &JournalEntry| {
        let changed = entry.changed_fields().into_iter().map(|field| {
            let value =
                |side: &Option<Value>| side.as_ref().map_or(Value::Null, |record| record[&field].clone());
            format!("{field} {} -> {}", value(&entry.before), value(&entry.after))
        });
        let JournalEntry { at, system, operation, actor_kind, .. } = entry;
        format!("{at} {system} {operation:?} by {actor_kind:?}: {}\n", changed.collect::<Vec<_>>().join(", "))
    };
    let writes: String = writes.iter().map(line).collect();
    format!("--- {id}\n{writes}{}", fleet.log_about(id))
}

/// What is not as it must be in the end.
pub fn complaints(fleet: &Fleet, people: &People) -> Vec<String> {
    let (crm, advoware) = (fleet.crm.records(), fleet.advoware.records());
    let mut wrong = records_judge::unsettled(&crm, &advoware);
    wrong.retain(|complaint| !complaint.split('"').nth(1).is_some_and(|id| people.has_given_up(id)));
    wrong.extend(lost(&crm, &people.expected()));
    wrong
}

/// Edits that are not there, and records that are gone.
fn lost(crm: &[Value], expected: &BTreeMap<String, Expected>) -> Vec<String> {
    let by_id: BTreeMap<&str, &Value> =
        crm.iter().filter_map(|record| Some((record["id"].as_str()?, record))).collect();
    let mut lost = Vec::new();
    for (id, expected) in expected {
        let Some(record) = by_id.get(id.as_str()) else {
            lost.push(format!("\"{id}\" is gone"));
            continue;
        };
        let allowed = |name: &String| record["firstName"] == **name;
        let first_name = expected.earlier_first_names.iter().find(|name| allowed(name));
        for (field, value) in [
            ("lastName", &expected.last_name),
            ("firstName", first_name.unwrap_or(&expected.first_name)),
            ("dateOfBirth", &expected.date_of_birth),
        ] {
            if record[field] != **value {
                lost.push(format!("\"{id}\": {field} is {}, people wrote {value}", record[field]));
            }
        }
    }
    lost
}

/// How many syncs have ended well.
pub fn syncs(fleet: &Fleet) -> usize {
    fleet.crm.journal().iter().filter(is_sync).count()
}

/// After the programs ended: everything that must hold.
pub async fn judge(fleet: &Fleet, people: &People, dead: &[String], counts: &mut Counts) {
    let left = complaints(fleet, people);
    let (crm, advoware) = (fleet.crm.journal(), fleet.advoware.journal());
    let wrong = records_judge::wrong_writes(&crm, &advoware, &fleet.crm.records());
    let letters = fleet.dead_letters().await.unwrap();
    counts.syncs = syncs(fleet);
    counts.accepted += people.accepted.get();
    counts.refused += people.refused.get();
    counts.dead_letters = letters.len();
    counts.duplicates = duplicate_creates(&advoware, identity).len();
    counts.lost = lost(&fleet.crm.records(), &people.expected()).len();
    println!("judged: {counts}");

    assert_eq!(left, Vec::<String>::new(), "after the programs ended\n{}", stories(fleet, &left));
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(fleet.leaks(), Vec::<String>::new());
    let over: Vec<_> = letters.iter().filter(|letter| letter.attempts.len() > ATTEMPTS_MAX).collect();
    assert!(over.is_empty(), "more attempts than permitted: {over:?}");
    let mut found: Vec<&str> = letters.iter().filter_map(|letter| Some(letter.key.as_ref()?.id())).collect();
    let mut dead: Vec<&str> = dead.iter().map(String::as_str).collect();
    found.sort_unstable();
    found.dedup();
    dead.sort_unstable();
    assert_eq!(found, dead, "the dead letters: {letters:#?}");
    let panicked: Vec<&str> =
        fleet.members.iter().filter(|member| has_panicked(member)).map(Member::name).collect();
    assert_eq!(panicked, Vec::<&str>::new(), "panics in the logs");
}

fn has_panicked(member: &Member) -> bool {
    // What a case asks for by a labelled point is no defect.
    member.log().lines().any(|line| line.contains("panicked at") && !line.contains("labelled/armed.rs"))
}

/// The write by which a sync ends.
fn is_sync(entry: &&JournalEntry) -> bool {
    let time = |side: &Option<Value>| side.as_ref().map(|record| record["advowareLastSync"].clone());
    entry.actor_kind == ActorKind::Api && time(&entry.before) != time(&entry.after)
}
