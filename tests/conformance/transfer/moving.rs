//! Whole installations on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use operations::migration::{self, Line, MigrationError, Report, Side, mark};
use serde_json::json;
use shared::clock::later;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason, Resolution};
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::generation::{self, Standing};
use shared::parking::{self, Parked};
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::ports::queue::Outbound;
use shared::ports::state::Write;
use shared::record_key::RecordKey;
use shared::routing::Shard;
use shared::trace::TraceParent;
use shared::{intent, membership};
use uuid::Uuid;

use super::failing::FailingQueue;
use super::place::{Place, depth, flow, now, topology};

const HOUR: Duration = Duration::from_secs(3_600);
const READY: usize = 1_200;
const DELAYED: usize = 40;
const LINKS: usize = 300;
const LETTERS: usize = 30;

fn side<'a>(name: &str, place: &'a Place) -> Side<'a> {
    let (queue, state) = (place.queue.as_ref(), place.state.as_ref());
    Side { name: name.to_owned(), queue, state, flows: vec![topology()] }
}

async fn run(from: &Side<'_>, to: &Side<'_>) -> Result<Report, MigrationError> {
    migration::run(from, to, Uuid::now_v7(), now()).await
}

fn key(number: usize) -> RecordKey {
    RecordKey::new(flow(), format!("k{number}")).unwrap()
}

fn envelope(number: usize) -> Envelope {
    let trace = TraceParent::new(1, 1);
    Envelope::new(Uuid::now_v7(), "/test", key(number), Operation::Check, Cause::Manual, trace, now())
}

/// Something of every kind.
async fn fill(place: &Place) {
    let put = async |key: String, value: &[u8]| place.state.write(Write::put(&key, value)).await.unwrap();
    for number in 0..LINKS {
        put(format!("link/parties/k{number}"), json!({ "base": number }).to_string().as_bytes()).await;
    }
    put("cursor/sweep/parties".to_owned(), b"{}").await;
    put("guard/parties".to_owned(), b"{}").await;
    let begun = intent::Intent { what: "create".to_owned(), at: now() };
    intent::declare(place.state.as_ref(), &key(1), &begun, None).await.unwrap();
    let retry = Write { time_to_live: Some(HOUR), ..Write::put("retry/parties/k2", b"x") };
    place.state.write(retry).await.unwrap();
    let parked = Parked::new(&envelope(3), now(), later(now(), HOUR));
    parking::park(place.state.as_ref(), &key(4), &parked).await.unwrap();
    place.state.count("budget/parties/now", 7, HOUR).await.unwrap();

    for number in 0..LETTERS {
        let fault = Fault::permanent("refused", "as told");
        let letter = DeadLetter::of_envelope(&envelope(number), Reason::Permanent, &fault, "worker-1", now());
        let (id, by, note, at) = (letter.id, "anna".to_owned(), "twice".to_owned(), now());
        let opened = DeadLetterEvent::Opened { letter: Box::new(letter) };
        place.queue.append_dead_letter_event(&opened).await.unwrap();
        if number % 3 == 0 {
            let resolution = Resolution::Discarded;
            let resolved = DeadLetterEvent::Resolved { id, resolution, by, note, edited: None, at };
            place.queue.append_dead_letter_event(&resolved).await.unwrap();
        }
    }

    let ready = (0..READY).map(|number| Outbound::of(&envelope(number), topology().shards));
    let delayed = (0..DELAYED).map(|number| {
        let not_before = Some(later(now(), HOUR + Duration::from_secs(number as u64)));
        Outbound { not_before, ..Outbound::of(&envelope(number), topology().shards) }
    });
    place.queue.publish(&ready.chain(delayed).collect::<Vec<_>>()).await.unwrap();
}

/// Everything that an installation holds.
#[derive(Debug, PartialEq)]
struct Content {
    /// With whether they end by themselves.
    documents: BTreeMap<String, (Vec<u8>, bool)>,
    counters: Vec<(String, u64)>,
    letters: BTreeSet<String>,
    /// Those without a time, by shard, in order.
    ready: BTreeMap<u16, Vec<Vec<u8>>>,
    delayed: BTreeMap<Vec<u8>, Timestamp>,
}

/// Reads all of a directory and changes nothing.
async fn content(place: &Place) -> Content {
    let documents = place.state.export(None, 100_000).await.unwrap();
    let counters = place.state.export_counters().await.unwrap();
    let letters = place.queue.scan_dead_letters(0, 100_000).await.unwrap();
    let messages = place.queue.unload(&topology()).await.unwrap().next(u16::MAX).await.unwrap();
    let mut content = Content {
        documents: documents
            .into_iter()
            .filter(|document| !["migration", generation::KEY].contains(&document.key.as_str()))
            .map(|document| (document.key, (document.value, document.time_to_live.is_some())))
            .collect(),
        counters: counters.into_iter().map(|counter| (counter.key, counter.value)).collect(),
        letters: letters.into_events().map(|event| serde_json::to_string(&event).unwrap()).collect(),
        ready: BTreeMap::new(),
        delayed: BTreeMap::new(),
    };
    for message in messages {
        match message.not_before {
            None => content.ready.entry(message.shard.number).or_default().push(message.body.to_vec()),
            Some(at) => drop(content.delayed.insert(message.body.to_vec(), at)),
        }
    }
    content
}

/// Enters the store as a program does that starts, and answers its generation.
async fn enter(place: &Place) -> Uuid {
    match generation::look(place.queue.as_ref(), place.state.as_ref(), None).await.unwrap() {
        Standing::Known(generation) => generation.id,
        lost => panic!("{lost:?}"),
    }
}

fn line<'r>(report: &'r Report, kind: &str) -> &'r Line {
    report.lines.iter().find(|line| line.kind == kind).unwrap_or_else(|| panic!("{kind}: {report:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_a_fleet_and_back_nothing_is_missing_and_nothing_is_twice() {
    let (first, fleet, second) = (Place::embedded().await, Place::servers().await, Place::embedded().await);
    fill(&first).await;
    let entered = enter(&first).await;
    let before = content(&first).await;
    let term =
        first.state.acquire_lease("leader", "one", Duration::from_millis(1)).await.unwrap().unwrap().term;
    super::place::no_leases(&first).await;

    let (here, there) = (side("first", &first), side("fleet", &fleet));
    let survey = migration::survey(&here, &there).await.unwrap();
    assert_eq!(line(&survey, "messages parties").from, (READY + DELAYED) as u64);
    let out = run(&here, &there).await.unwrap();
    assert!(out.is_equal(), "{out:#?}");
    let reason = mark::obstacle(first.state.as_ref()).await.unwrap();
    assert!(reason.is_some_and(|text| text.contains("migrated to fleet")));
    assert_eq!(mark::obstacle(fleet.state.as_ref()).await.unwrap(), None);
    assert!(
        first.queue.remembers(mark::QUEUE).await.unwrap(),
        "a producer without its store publishes into it"
    );
    assert!(!fleet.queue.remembers(mark::QUEUE).await.unwrap());
    let between = enter(&fleet).await;
    // What a version that carried an embedded queue's marks has left there.
    fleet.state.write(Write::put("queue_mark/generation", b"")).await.unwrap();

    let back = run(&there, &side("second", &second)).await.unwrap();
    assert!(back.is_equal(), "{back:#?}");
    for kind in ["messages parties", "dead letters", "link", "intent", "cursor", "guard", "parked"] {
        let (out, back) = (line(&out, kind), line(&back, kind));
        assert_eq!((out.from, &out.checksum_from), (back.from, &back.checksum_from), "{kind}");
        assert!(out.from > 0, "{kind}");
    }
    let mut after = content(&second).await;
    for (body, at) in &before.delayed {
        let now_at = after.delayed.get_mut(body).expect("a delayed message");
        assert!(*now_at >= *at && *now_at <= later(*at, Duration::from_secs(1)), "{at} became {now_at}");
        *now_at = *at;
    }
    assert_eq!(after, before);
    let grant = second.state.acquire_lease("leader", "one", HOUR).await.unwrap().unwrap();
    assert!(grant.term > term);
    let last = enter(&second).await;
    assert!(last != entered && last != between, "a store has a generation of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_at_any_point_it_goes_on_and_loses_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (first, second) = (Place::embedded().await, Place::embedded().await);
    fill(&first).await;
    let before = content(&first).await;
    let (here, there) = (side("first", &first), side("second", &second));
    let mut interruptions = 0;
    let report = loop {
        // An instant is what is asked for; later ones come further.
        let moment = Duration::from_millis(dice.u64(1..=10 + 20 * interruptions));
        match tokio::time::timeout(moment, run(&here, &there)).await {
            Ok(report) => break report.unwrap(),
            Err(_interrupted) => interruptions += 1,
        }
    };
    println!("{interruptions} interruptions");
    assert!(report.is_equal(), "{report:#?}");
    let after = content(&second).await;
    assert_eq!((&after.documents, &after.counters), (&before.documents, &before.counters));
    assert_eq!((&after.letters, &after.delayed), (&before.letters, &before.delayed));
    for (shard, bodies) in &before.ready {
        let (sent, arrived): (BTreeSet<_>, BTreeSet<_>) =
            (bodies.iter().collect(), after.ready[shard].iter().collect());
        assert_eq!(arrived, sent, "seed {seed}");
    }
    depth(&first, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_moved_while_somebody_serves_or_into_what_is_not_empty() {
    let (first, second) = (Place::embedded().await, Place::embedded().await);
    let refused = async |from: &Place, to: &Place, why: &str| {
        let error = run(&side("first", from), &side("second", to)).await.unwrap_err();
        assert!(matches!(&error, MigrationError::Refused(text) if text.contains(why)), "{error}");
    };
    first.queue.publish(&[Outbound::of(&envelope(1), 2)]).await.unwrap();
    membership::announce(second.state.as_ref(), &flow(), "worker-1", "process", HOUR).await.unwrap();
    refused(&first, &second, "worker-1").await;
    membership::leave(second.state.as_ref(), &flow(), "worker-1").await.unwrap();
    membership::announce_producer(first.state.as_ref(), "producer-1", HOUR).await.unwrap();
    refused(&first, &second, "producer-1").await;
    membership::leave_producer(first.state.as_ref(), "producer-1").await.unwrap();
    let grant = first.state.acquire_lease("leader", "one", HOUR).await.unwrap().unwrap();
    refused(&first, &second, "leader").await;
    let fence = shared::ports::state::Fence { lease: "leader".to_owned(), term: grant.term };
    first.state.release_lease(&fence, "one").await.unwrap();
    second.state.write(Write::put("link/parties/x", b"{}")).await.unwrap();
    refused(&first, &second, "1 × link").await;
    second.state.write(Write::delete("link/parties/x")).await.unwrap();
    depth(&first, 1).await;

    assert!(run(&side("first", &first), &side("second", &second)).await.unwrap().is_equal());
    refused(&first, &second, "nothing is left to be done").await;
    refused(&second, &first, "clear it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_where_it_was() {
    let (first, second) = (Place::embedded().await, Place::embedded().await);
    fill(&first).await;
    let before = content(&first).await;
    let (here, there) = (side("first", &first), side("second", &second));
    let failing = FailingQueue::new(second.queue.clone(), 2);
    let error = run(&here, &Side { queue: &failing, ..there.clone() }).await.unwrap_err();
    assert!(matches!(error, MigrationError::Port(PortError::Unavailable(_))), "{error}");
    let there_now = second.queue.depth(&topology()).await.unwrap();
    let there_now = there_now.ready + there_now.delayed;
    assert!(there_now > 0 && there_now < (READY + DELAYED) as u64, "{there_now} are there");
    migration::abandon(&here, &there).await.unwrap();
    let after = content(&first).await;
    assert_eq!((&after.documents, &after.letters), (&before.documents, &before.letters));
    for (shard, bodies) in &before.ready {
        let (sent, back): (BTreeSet<_>, BTreeSet<_>) =
            (bodies.iter().collect(), after.ready[shard].iter().collect());
        assert_eq!(back, sent);
    }
    assert_eq!(mark::obstacle(first.state.as_ref()).await.unwrap(), None);
    depth(&second, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_shards_of_an_earlier_larger_number_is_moved_as_well() {
    let (fleet, first) = (Place::servers().await, Place::embedded().await);
    let earlier = FlowTopology { shards: 5, ..topology() };
    fleet.queue.prepare(std::slice::from_ref(&earlier)).await.unwrap();
    let messages: Vec<Outbound> =
        (0..100).map(|number| Outbound::of(&envelope(number), earlier.shards)).collect();
    assert!(messages.iter().any(|message| message.shard.number >= topology().shards));
    fleet.queue.publish(&messages).await.unwrap();

    let (here, there) = (side("fleet", &fleet), side("first", &first));
    let survey = migration::survey(&here, &there).await.unwrap();
    assert_eq!(line(&survey, "messages parties").from, 100);
    let report = run(&here, &there).await.unwrap();
    assert!(report.is_equal(), "{report:#?}");
    assert_eq!(line(&report, "messages parties").from, 100);
    depth(&first, 100).await;
    assert_eq!(fleet.queue.depth(&earlier).await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_with_messages_in_shards_of_an_earlier_larger_number_is_not_empty() {
    let (first, fleet) = (Place::embedded().await, Place::servers().await);
    let earlier = FlowTopology { shards: 3, ..topology() };
    fleet.queue.prepare(std::slice::from_ref(&earlier)).await.unwrap();
    let last = Outbound { shard: Shard { flow: flow(), number: 2 }, ..Outbound::of(&envelope(1), 1) };
    fleet.queue.publish(&[last]).await.unwrap();
    let error = run(&side("first", &first), &side("fleet", &fleet)).await.unwrap_err();
    assert!(error.to_string().contains("1 messages of flow parties"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compared_and_left_is_finished_whatever_the_source_has_dropped_since() {
    let (first, second) = (Place::embedded().await, Place::embedded().await);
    fill(&first).await;
    let (here, there) = (side("first", &first), side("second", &second));
    assert!(run(&here, &there).await.unwrap().is_equal());
    // As if it had been killed between the two marks.
    let left = first.state.get("migration").await.unwrap().unwrap().value;
    let mut arriving: mark::Mark = serde_json::from_slice(&left).unwrap();
    (arriving.part, arriving.other) = (mark::Part::Arriving, "first".to_owned());
    let arriving = serde_json::to_vec(&arriving).unwrap();
    second.state.write(Write::put("migration", &arriving)).await.unwrap();
    first.state.write(Write::delete("link/parties/k7")).await.unwrap();

    assert_eq!(run(&here, &there).await.unwrap(), Report::default());
    assert_eq!(mark::obstacle(second.state.as_ref()).await.unwrap(), None);
    assert!(mark::obstacle(first.state.as_ref()).await.unwrap().is_some());
}
