mod news;

use std::collections::BTreeMap;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::Ordering;

use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::meter::Metric;
use shared::record_key::FlowName;
use shared::trace::TraceParent;

use super::projector::EVENTS_MAX;
use super::*;
use crate::doubles::{MemoryQueue, MemoryState};

struct Office {
    queue: Arc<MemoryQueue>,
    state: Arc<MemoryState>,
    desk: Arc<DeadLetterDesk>,
}

fn office() -> Office {
    let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
    let desk = Arc::new(desk(&queue, &state));
    Office { queue, state, desk }
}

fn desk(queue: &Arc<MemoryQueue>, state: &Arc<MemoryState>) -> DeadLetterDesk {
    let flows = vec![FlowTopology { flow: FlowName::new("parties").unwrap(), shards: 16 }];
    DeadLetterDesk::new(queue.clone(), state.clone(), flows)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(id: u128) -> RecordKey {
    format!("parties:r{id}").parse().unwrap()
}

fn letter_of(flow_key: RecordKey, id: u128, code: &'static str, second: i64) -> DeadLetter {
    let trace = TraceParent::new(1, 2);
    let id = Uuid::from_u128(id);
    let envelope =
        Envelope::new(id, "/test", flow_key, Operation::Update, Cause::Webhook, trace, at(second - 10));
    let fault = Fault::permanent(code, format!("the field of {} was refused", envelope.key));
    DeadLetter::of_envelope(&envelope, Reason::Permanent, &fault, "worker-1", at(second))
}

impl Office {
    /// As the worker does it: the mark first, then the letter.
    async fn bury(&self, letter: DeadLetter) -> Uuid {
        let id = letter.id;
        if let Some(key) = &letter.key {
            dead_mark::add(self.state.as_ref(), key, id, letter.at).await.unwrap();
        }
        let event = DeadLetterEvent::Opened { letter: Box::new(letter) };
        self.queue.append_dead_letter_event(&event).await.unwrap();
        id
    }

    async fn bury_plain(&self, id: u128) -> Uuid {
        self.bury(letter_of(key(id), id, "validation_failed", 100 + id as i64)).await
    }

    fn published(&self) -> Vec<Envelope> {
        self.queue.published.lock().unwrap().iter().map(|m| Envelope::parse(&m.body).unwrap()).collect()
    }

    async fn open(&self) -> Vec<u128> {
        let listing = self.desk.list(&Filter::default(), None, 200).await.unwrap();
        listing.letters.iter().map(|letter| letter.id.as_u128()).collect()
    }
}

#[tokio::test]
async fn a_lone_call_does_not_take_a_replica_that_lags_for_the_whole_log() {
    let office = office();
    let ids = [1, 2].map(|id| letter_of(key(id), id, "refused", 100));
    for letter in ids {
        office.bury(letter).await;
    }
    office.queue.lagging_scans.store(3, Ordering::SeqCst);
    let listing = office.desk.list(&Filter::default(), None, 10).await.unwrap();
    assert_eq!(listing.letters.len(), 2);
    // Somebody else has read it all: the lagging replica ends before the checkpoint then.
    office.queue.lagging_scans.store(2, Ordering::SeqCst);
    let second = desk(&office.queue, &office.state);
    office.bury(letter_of(key(3), 3, "refused", 100)).await;
    assert_eq!(second.list(&Filter::default(), None, 10).await.unwrap().letters.len(), 3);
}

#[tokio::test]
async fn listing_filters_pages_and_changes_nothing() {
    let office = office();
    for id in 1..=5 {
        office.bury_plain(id).await;
    }
    office.bury(letter_of(key(9), 9, "address_unknown", 900)).await;
    let foreign = letter_of("calendar:c1".parse().unwrap(), 7, "x", 103);
    office.bury(DeadLetter { reason: Reason::Poison, ..foreign }).await;
    let before = office.queue.log.lock().unwrap().clone();
    let page = async |filter: Filter, after: Option<u128>, limit| {
        let listing = office.desk.list(&filter, after.map(Uuid::from_u128), limit).await.unwrap();
        let ids = listing.letters.iter().map(|l| l.id.as_u128()).collect::<Vec<_>>();
        (ids, listing.total, listing.has_more)
    };
    let all = Filter::default;
    assert_eq!(page(all(), None, 3).await, (vec![9, 5, 4], Some(7), true));
    assert_eq!(page(all(), Some(4), 9).await, (vec![3, 7, 2, 1], Some(7), false));
    assert_eq!(page(all(), Some(1), 9).await, (vec![], Some(7), false));
    let ids = async |filter: Filter| page(filter, None, 9).await.0;
    assert_eq!(ids(Filter { text: Some("address_".into()), ..all() }).await, [9]);
    assert_eq!(ids(Filter { text: Some("PARTIES:R3".into()), ..all() }).await, [3]);
    assert_eq!(ids(Filter { key: Some(key(4)), ..all() }).await, [4]);
    assert_eq!(ids(Filter { since: Some(at(104)), before: Some(at(900)), ..all() }).await, [5, 4]);
    assert_eq!(ids(Filter { before: Some(at(104)), ..all() }).await, [3, 7, 2, 1]);
    assert_eq!(ids(Filter { reason: Some(Reason::Bug), ..all() }).await, [0; 0]);
    let calendar = Filter { flow: FlowName::new("calendar").ok(), ..all() };
    assert_eq!(page(calendar, None, 9).await, (vec![7], Some(1), false));
    let group = office.desk.list(&all(), None, 1).await.unwrap().letters[0].group.clone();
    assert_eq!(ids(Filter { group: Some(group), ..all() }).await, [9]);
    let nobody = Uuid::from_u128(999_999);
    assert_eq!(office.desk.list(&all(), Some(nobody), 9).await, Err(DeskError::Unknown(nobody)));
    assert_eq!(*office.queue.log.lock().unwrap(), before);
}

#[tokio::test]
async fn groups_count_what_failed_alike() {
    let office = office();
    for id in 1..=3 {
        office.bury_plain(id).await;
    }
    office.bury(letter_of(key(9), 9, "address_unknown", 900)).await;
    let shown = async || {
        let found = office.desk.groups(&Filter::default()).await.unwrap();
        found.groups.iter().map(|g| (g.code.clone(), g.count, g.first, g.last)).collect::<Vec<_>>()
    };
    let code = |code: &str| code.to_owned();
    assert_eq!(
        shown().await,
        [(code("validation_failed"), 3, at(101), at(103)), (code("address_unknown"), 1, at(900), at(900))]
    );
    let three = [1, 2, 3].map(Uuid::from_u128);
    office.desk.discard(&three, "anna", "test", at(950)).await.unwrap();
    assert_eq!(shown().await, [(code("address_unknown"), 1, at(900), at(900))]);
    office.bury(letter_of(key(5), 5, "validation_failed", 990)).await;
    assert_eq!(shown().await[0], (code("validation_failed"), 1, at(990), at(990)));
}

#[tokio::test]
async fn show_gives_the_whole_letter_wherever_it_stands_also_when_it_is_closed() {
    let office = office();
    let count = u128::from(EVENTS_MAX) + 20;
    for id in 1..=count {
        office.bury_plain(id).await;
    }
    for id in [1, u128::from(EVENTS_MAX) + 7, count] {
        let shown = office.desk.show(Uuid::from_u128(id)).await.unwrap();
        assert_eq!(shown.letter, letter_of(key(id), id, "validation_failed", 100 + id as i64));
        assert_eq!(shown.ending, None);
    }
    office.desk.discard(&[Uuid::from_u128(1)], "anna", "entered twice", at(5_000)).await.unwrap();
    let shown = office.desk.show(Uuid::from_u128(1)).await.unwrap();
    let Some(Ending::Resolved { by, note, resolution: Resolution::Discarded, .. }) = shown.ending else {
        panic!("{shown:?}");
    };
    assert_eq!((by.as_str(), note.as_str()), ("anna", "entered twice"));
    let nobody = Uuid::from_u128(999_999);
    assert_eq!(office.desk.show(nobody).await, Err(DeskError::Unknown(nobody)));
}

#[tokio::test]
async fn a_replay_publishes_a_fresh_life_closes_the_letter_and_clears_the_mark() {
    let office = office();
    let id = office.bury_plain(1).await;
    let report = office.desk.replay(&[id], "anna", at(500)).await.unwrap();
    let published = office.published();
    let done = Done { letter: id, message: Some(published[0].id), key: Some(key(1)) };
    assert_eq!((report.done, report.refused), (vec![done], vec![]));
    assert_eq!(
        (published[0].cause, published[0].attempt, published[0].first_seen, &published[0].key),
        (Cause::Replay, 0, at(500), &key(1))
    );
    assert_ne!(published[0].id, id);
    let replays: Vec<_> = published[0].replays.iter().map(|r| (r.letter, r.by.as_str(), r.at)).collect();
    assert_eq!(replays, [(id, "anna", at(500))]);
    assert_eq!(office.open().await, [0u128; 0]);
    assert_eq!(office.state.keys(), [""; 0], "neither mark nor claim is left");
    let log = office.queue.log.lock().unwrap().clone();
    let Some(DeadLetterEvent::Resolved { resolution: Resolution::Replayed, by, .. }) = log.last() else {
        panic!("not closed: {log:?}");
    };
    assert_eq!(by, "anna");
    let again = office.desk.replay(&[id], "bert", at(501)).await.unwrap();
    assert!(again.done.is_empty() && again.refused[0].why.contains("anna replayed it"), "{again:?}");
    assert_eq!(office.published().len(), 1);
}

#[tokio::test]
async fn double_clicks_and_two_operators_send_one_message() {
    for _ in 0..50 {
        let office = office();
        let id = office.bury_plain(1).await;
        let second_desk = desk(&office.queue, &office.state);
        let one = [id];
        let outcomes = tokio::join!(
            office.desk.replay(&one, "anna", at(500)),
            office.desk.replay(&one, "anna", at(500)),
            second_desk.replay(&one, "bert", at(500)),
            second_desk.replay(&one, "bert", at(501)),
        );
        assert_eq!(office.published().len(), 1, "{outcomes:?}");
        assert_eq!(office.open().await, [0u128; 0]);
    }
}

/// Takes a few steps of a piece of work, as far as it goes.
pub(super) async fn steps<T>(work: &mut (impl Future<Output = T> + Unpin), count: usize) -> Option<T> {
    for _ in 0..count {
        tokio::select! {
            biased;
            done = &mut *work => return Some(done),
            () = std::future::ready(()) => {}
        }
        // What gave way is woken by the runtime only.
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn an_operator_overtaken_at_any_step_sends_no_second_message() {
    let mut steps_count = 0;
    loop {
        let office = office();
        let one = [office.bury_plain(1).await];
        let slow_desk = desk(&office.queue, &office.state);
        let mut slow = Box::pin(slow_desk.replay(&one, "bert", at(500)));
        let through = steps(&mut slow, steps_count).await;
        let quick = office.desk.replay(&one, "anna", at(500)).await;
        let is_through = through.is_some();
        let slow = match through {
            Some(outcome) => outcome,
            None => slow.await,
        };
        assert_eq!(office.published().len(), 1, "after {steps_count} steps: {quick:?} {slow:?}");
        assert_eq!((office.open().await.len(), office.state.keys().len()), (0, 0));
        if is_through {
            assert!(steps_count > 5, "the replay was not taken apart");
            return;
        }
        steps_count += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_message_is_on_its_way_is_not_discarded() {
    let mut steps_count = 0;
    loop {
        let office = office();
        let one = [office.bury_plain(1).await];
        let mut replay = Box::pin(office.desk.replay(&one, "bert", at(500)));
        let through = steps(&mut replay, steps_count).await;
        let discarding_desk = desk(&office.queue, &office.state);
        // Twice the same is one.
        let discarded = discarding_desk.discard(&[one[0], one[0]], "anna", "why", at(500)).await.unwrap();
        let is_through = through.is_some();
        let replayed = match through {
            Some(outcome) => outcome,
            None => replay.await,
        };
        let replayed = replayed.unwrap();
        let counts = (replayed.done.len(), discarded.done.len(), office.published().len());
        let is_either = matches!(counts, (1, 0, 1) | (0, 1, 0));
        assert!(is_either, "after {steps_count} steps: {replayed:?} {discarded:?}");
        assert_eq!(office.queue.log.lock().unwrap().len(), 2, "it was closed once");
        assert_eq!((office.open().await.len(), office.state.keys().len()), (0, 0));
        if is_through {
            assert!(steps_count > 5, "the replay was not taken apart");
            return;
        }
        steps_count += 1;
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_replay_leaves_nothing_that_another_replay_does_not_finish() {
    let mut steps_count = 0;
    loop {
        let office = office();
        let one = [office.bury_plain(1).await];
        let crashing_desk = desk(&office.queue, &office.state);
        let mut crashing = Box::pin(crashing_desk.replay(&one, "bert", at(500)));
        let is_through = steps(&mut crashing, steps_count).await.is_some();
        drop(crashing);
        office.state.expire("replay/");
        let again = office.desk.replay(&one, "anna", at(900)).await;
        let again = again.unwrap();
        let was_closed = again.refused.first().is_some_and(|refusal| refusal.why.contains("replayed it"));
        assert!(was_closed || again.done.len() == 1, "{again:?}");
        let messages: BTreeSet<Uuid> = office.published().iter().map(|message| message.id).collect();
        assert_eq!(messages.len(), 1, "after {steps_count} steps");
        assert_eq!(office.open().await, [0u128; 0]);
        if is_through {
            return;
        }
        steps_count += 1;
    }
}

#[tokio::test]
async fn a_crash_between_publishing_and_closing_leaves_the_letter_open_for_the_same_message() {
    let office = office();
    let id = office.bury_plain(1).await;
    office.queue.refuses_appends.store(true, Ordering::SeqCst);
    let broken = office.desk.replay(&[id], "anna", at(500)).await;
    assert!(matches!(broken, Err(DeskError::Port(_))), "{broken:?}");
    assert_eq!(office.open().await, [1]);
    office.queue.refuses_appends.store(false, Ordering::SeqCst);
    office.desk.replay(&[id], "anna", at(600)).await.unwrap();
    let published = office.published();
    assert_eq!(published.len(), 2);
    assert_eq!(published[0].id, published[1].id);
    // Of the two copies, the one that a worker takes up first begins the life, whenever it comes again.
    let begins = async |n: usize| shared::replay::begins(office.state.as_ref(), &published[n]).await.unwrap();
    for (copy, begun) in [(1, true), (0, false), (1, true), (0, false)] {
        assert_eq!(begins(copy).await, begun, "copy {copy}");
    }
    assert_eq!(office.open().await, [0u128; 0]);
}

#[tokio::test]
async fn a_claim_whose_holder_died_ends_by_itself() {
    let office = office();
    let id = office.bury_plain(1).await;
    let (key, time_to_live) = (format!("replay/{id}"), Some(std::time::Duration::from_secs(1)));
    use shared::ports::state::Write;
    office.state.write(Write { time_to_live, ..Write::put(&key, b"{}") }).await.unwrap();
    let report = office.desk.replay(&[id], "anna", at(500)).await.unwrap();
    assert!(report.done.is_empty() && report.refused[0].why.contains("somebody else"), "{report:?}");
    office.state.expire("replay/");
    let report = office.desk.replay(&[id], "anna", at(700)).await.unwrap();
    assert_eq!(report.done.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_published_stays_open_and_can_be_tried_at_once() {
    let office = office();
    let id = office.bury_plain(1).await;
    office.queue.refuses_publishing.store(true, Ordering::SeqCst);
    assert!(office.desk.replay(&[id], "anna", at(500)).await.is_err());
    office.queue.refuses_publishing.store(false, Ordering::SeqCst);
    assert_eq!(office.open().await, [1]);
    let report = office.desk.replay(&[id], "anna", at(501)).await.unwrap();
    assert_eq!(report.done.len(), 1);
}

#[tokio::test]
async fn unreadable_letters_and_letters_of_other_flows_are_refused_in_words_and_the_others_go_on() {
    let office = office();
    let garbage = b"\xffno message";
    let unreadable =
        DeadLetter::of_bytes(garbage, None, Reason::Unreadable, "no_json", "no JSON", "w", at(1));
    let unreadable = office.bury(unreadable).await;
    let foreign = letter_of("calendar:c1".parse().unwrap(), 2, "x", 200);
    let foreign = office.bury(foreign).await;
    let well = office.bury_plain(3).await;
    let report = office.desk.replay(&[unreadable, foreign, well], "anna", at(500)).await.unwrap();
    assert_eq!(report.done.iter().map(|r| r.letter).collect::<Vec<_>>(), [well]);
    let why = |id| report.refused.iter().find(|r| r.letter == id).map(|r| r.why.clone()).unwrap();
    assert!(why(unreadable).contains("cannot be sent again"), "{}", why(unreadable));
    assert!(why(foreign).contains("calendar is not enabled"), "{}", why(foreign));
    assert_eq!(office.open().await.len(), 2);
}

#[tokio::test]
async fn many_letters_are_replayed_in_chunks() {
    let office = office();
    for id in 1..=130 {
        office.bury_plain(id).await;
    }
    let all: Vec<Uuid> = (1..=130).map(Uuid::from_u128).collect();
    let report = office.desk.replay(&all, "anna", at(5_000)).await.unwrap();
    assert_eq!((report.done.len(), office.published().len()), (130, 130));
    assert_eq!(office.open().await, [0u128; 0]);
}

#[tokio::test]
async fn discarding_needs_a_name_and_a_reason_and_keeps_both() {
    let office = office();
    let id = office.bury_plain(1).await;
    let one = [id];
    assert_eq!(office.desk.discard(&one, " ", "why", at(1)).await, Err(DeskError::NameMissing));
    assert_eq!(office.desk.discard(&one, "anna", "", at(1)).await, Err(DeskError::ReasonMissing));
    assert_eq!(office.desk.replay(&one, "", at(1)).await, Err(DeskError::NameMissing));
    assert_eq!(office.open().await, [1]);
    let report = office.desk.discard(&one, "anna", "a test record", at(500)).await.unwrap();
    assert_eq!(report.done, [Done { letter: id, message: None, key: Some(key(1)) }]);
    let expected = resolved(id, Resolution::Discarded, "anna", "a test record", at(500));
    assert_eq!(office.queue.log.lock().unwrap().last(), Some(&expected));
    assert!(office.published().is_empty() && office.state.keys().is_empty());
    let again = office.desk.discard(&one, "bert", "again", at(501)).await.unwrap();
    assert!(again.refused[0].why.contains("anna discarded it"), "{again:?}");
}

#[tokio::test]
async fn a_later_success_closes_the_letters_of_its_key() {
    let office = office();
    let first = office.bury(letter_of(key(1), 1, "x", 100)).await;
    let second = office.bury(letter_of(key(1), 2, "x", 101)).await;
    let other = office.bury_plain(3).await;
    for _ in 0..2 {
        office.desk.close_superseded(&key(1), &[first, second], "worker-1", at(200)).await.unwrap();
    }
    assert_eq!(office.open().await, [other.as_u128()]);
    assert_eq!(dead_mark::load(office.state.as_ref(), &key(1)).await.unwrap(), None);
    assert!(dead_mark::load(office.state.as_ref(), &key(3)).await.unwrap().is_some());
}

#[derive(Debug, Default)]
struct Gauges(StdMutex<BTreeMap<String, f64>>);

impl Meter for Gauges {
    fn add(&self, _: &'static Metric, _: &[&str], _: u64) {}
    fn set(&self, _: &'static Metric, labels: &[&str], value: f64) {
        self.0.lock().unwrap().insert(labels.join("/"), value);
    }
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}

#[tokio::test]
async fn the_gauge_falls_back_to_zero() {
    let office = office();
    let gauges = Gauges::default();
    let value = |name: &str| gauges.0.lock().unwrap()[name];
    office.desk.measure(&gauges).await.unwrap();
    assert_eq!((value("parties/permanent"), value("parties/poison")), (0.0, 0.0));
    let id = office.bury_plain(1).await;
    let foreign = office.bury(letter_of("calendar:c1".parse().unwrap(), 2, "x", 200)).await;
    office.desk.measure(&gauges).await.unwrap();
    assert_eq!((value("parties/permanent"), value("calendar/permanent")), (1.0, 1.0));
    for id in [id, foreign] {
        office.desk.discard(&[id], "anna", "test", at(500)).await.unwrap();
    }
    office.desk.measure(&gauges).await.unwrap();
    assert_eq!((value("parties/permanent"), value("calendar/permanent")), (0.0, 0.0));
}

#[tokio::test]
async fn an_edited_message_is_checked_sent_and_kept_beside_the_one_that_failed() {
    let office = office();
    let id = office.bury_plain(1).await;
    let failed = office.desk.show(id).await.unwrap().letter;
    let edited = failed.message.replace("syncfleet.parties.update", "syncfleet.parties.check");
    assert_ne!(edited, failed.message);
    for wrong in ["", "{}", &edited.replace("parties.check", "calendar.check")] {
        let refused = office.desk.replay_edited(id, wrong, "anna", at(500)).await;
        assert!(matches!(refused, Err(DeskError::Unsendable(_))), "{refused:?}");
    }
    assert!(office.published().is_empty());
    office.desk.replay_edited(id, &edited, "anna", at(500)).await.unwrap();
    let published = office.published();
    assert_eq!((published.len(), published[0].operation), (1, Operation::Check));
    assert_eq!(published[0].replays[0].by, "anna");
    let shown = office.desk.show(id).await.unwrap();
    assert_eq!(shown.letter, failed);
    let Some(Ending::Resolved { edited: Some(sent), by, .. }) = shown.ending else { panic!("{shown:?}") };
    assert_eq!((Envelope::parse(sent.as_bytes()).unwrap(), by.as_str()), (published[0].clone(), "anna"));
}

#[tokio::test]
async fn what_killed_its_workers_is_marked_once_it_is_seen() {
    let office = office();
    let letter = DeadLetter { reason: Reason::Poison, ..letter_of(key(1), 1, "poison", 100) };
    // As the broker does it, which knows no marks.
    let event = DeadLetterEvent::Opened { letter: Box::new(letter) };
    office.queue.append_dead_letter_event(&event).await.unwrap();
    office.desk.counts().await.unwrap();
    let mark = dead_mark::load(office.state.as_ref(), &key(1)).await.unwrap().unwrap();
    assert_eq!(mark.letters, [Uuid::from_u128(1)]);
    office.desk.close_superseded(&key(1), &mark.letters, "worker-1", at(200)).await.unwrap();
    assert_eq!(office.open().await, [0u128; 0]);
    assert_eq!(dead_mark::load(office.state.as_ref(), &key(1)).await.unwrap(), None);
}
