//! The projection against the fold of the whole log: whatever the events, the crashes and the writers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, OpenLetters, Reason, Resolution};
use shared::dead_mark;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use uuid::Uuid;

use super::another_log::STILL;
use super::{DeadLetterDesk, Filter};
use crate::doubles::{MemoryQueue, MemoryState};

/// Few letters, so that duplicates, late openings and resolutions of what is unknown are common.
const LETTERS: u8 = 6;

#[derive(Debug, Clone, Copy)]
enum Step {
    Open(u8),
    Resolve(u8),
    /// Somebody looks, and dies after so many writes.
    CrashAfter(u8),
    /// Two look at the same time, and one of them is suspended after so many of its steps until the other is done.
    Race(u8),
    /// Somebody builds the list anew, and dies after so many writes.
    Rebuild(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..LETTERS).prop_map(Step::Open),
        4 => (0..LETTERS).prop_map(Step::Resolve),
        3 => (0u8..14).prop_map(Step::CrashAfter),
        2 => (0u8..40).prop_map(Step::Race),
        1 => (0u8..30).prop_map(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..40)
}

fn letter(n: u8) -> DeadLetter {
    let flow = FlowName::new(["parties", "calendar"][usize::from(n % 2)]).unwrap();
    let reason = [Reason::Permanent, Reason::Unreadable, Reason::Poison][usize::from(n % 3)];
    let at = Timestamp::from_second(1_000 + i64::from(n * 37 % 11)).unwrap();
    let text = format!("the value {n} is wrong");
    let letter = DeadLetter::of_bytes(&[n], Some(flow), reason, "code", &text, "w", at);
    // What killed its workers is marked by the projection, here all of it under one key.
    let key = (reason == Reason::Poison).then(killer);
    DeadLetter { id: Uuid::from_u128(n.into()), key, ..letter }
}

fn killer() -> RecordKey {
    "parties:killer".parse().unwrap()
}

/// The letters that a key is marked with.
async fn marked(state: &MemoryState, key: &RecordKey) -> BTreeSet<u128> {
    let mark = dead_mark::load(state, key).await.unwrap();
    mark.into_iter().flat_map(|mark| mark.letters).map(|id| id.as_u128()).collect()
}

/// The open letters that killed their workers.
fn killing(view: &View) -> BTreeSet<u128> {
    let is_killing = |id: &u128| letter(u8::try_from(*id).unwrap()).reason == Reason::Poison;
    view.0.iter().copied().filter(is_killing).collect()
}

fn event(step: Step) -> Option<DeadLetterEvent> {
    match step {
        Step::Open(n) => Some(DeadLetterEvent::Opened { letter: Box::new(letter(n)) }),
        Step::Resolve(n) => Some(DeadLetterEvent::Resolved {
            id: Uuid::from_u128(n.into()),
            resolution: Resolution::Discarded,
            by: "anna".into(),
            note: String::new(),
            edited: None,
            at: Timestamp::UNIX_EPOCH,
        }),
        Step::CrashAfter(_) | Step::Race(_) | Step::Rebuild(_) => None,
    }
}

fn desk(queue: &Arc<MemoryQueue>, state: &Arc<MemoryState>) -> DeadLetterDesk {
    DeadLetterDesk::new(queue.clone() as Arc<dyn Queue>, state.clone() as Arc<dyn State>, Vec::new())
}

/// Runs a step that is no event.
async fn run(step: Step, queue: &Arc<MemoryQueue>, state: &Arc<MemoryState>) {
    match step {
        Step::Open(_) | Step::Resolve(_) => {}
        Step::CrashAfter(writes) => {
            state.writes_left.store(writes.into(), Ordering::SeqCst);
            let _ = desk(queue, state).counts().await;
            state.writes_left.store(u64::MAX, Ordering::SeqCst);
            state.expire("nothing");
        }
        Step::Rebuild(writes) => {
            state.writes_left.store(writes.into(), Ordering::SeqCst);
            let _ = desk(queue, state).rebuild().await;
            state.writes_left.store(u64::MAX, Ordering::SeqCst);
            state.expire("nothing");
        }
        Step::Race(polls) => {
            let (slow, quick) = (desk(queue, state), desk(queue, state));
            let mut suspended = Box::pin(slow.counts());
            for _ in 0..polls {
                tokio::select! {
                    biased;
                    _ = &mut suspended => return,
                    () = std::future::ready(()) => {}
                }
                // What gave way is woken by the runtime only.
                tokio::task::yield_now().await;
            }
            // Its lease ends while it is suspended.
            state.expire("nothing");
            quick.counts().await.unwrap();
            suspended.await.unwrap();
        }
    }
}

/// What the desk shows: the ids newest first, the counts, the groups.
type View = (Vec<u128>, BTreeMap<(String, Reason), u64>, BTreeMap<(String, Reason), u64>);

async fn shown(desk: &DeadLetterDesk) -> View {
    let listing = desk.list(&Filter::default(), None, 100).await.unwrap();
    let counts = desk.counts().await.unwrap();
    let groups = desk.groups(&Filter::default()).await.unwrap().groups;
    (
        listing.letters.iter().map(|letter| letter.id.as_u128()).collect(),
        counts.into_iter().map(|open| ((open.flow, open.reason), open.count)).collect(),
        groups.into_iter().map(|group| ((group.flow, group.reason), group.count)).collect(),
    )
}

fn folded(log: &[DeadLetterEvent]) -> View {
    let mut open = OpenLetters::default();
    log.iter().for_each(|event| open.apply(event.clone()));
    let mut letters = open.oldest_first();
    letters.sort_by_key(|letter| (std::cmp::Reverse(letter.at), letter.id));
    let mut counts = BTreeMap::new();
    for letter in &letters {
        let flow = letter.flow.as_ref().map(ToString::to_string).unwrap_or_default();
        *counts.entry((flow, letter.reason)).or_insert(0) += 1;
    }
    (letters.iter().map(|letter| letter.id.as_u128()).collect(), counts.clone(), counts)
}

fn check(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
        for step in steps {
            match event(*step) {
                Some(event) => queue.append_dead_letter_event(&event).await.unwrap(),
                None => run(*step, &queue, &state).await,
            }
        }
        let expected = folded(&queue.log.lock().unwrap());
        assert_eq!(shown(&desk(&queue, &state)).await, expected);
        assert_eq!(shown(&desk(&queue, &state)).await, expected, "looking changes nothing");
        assert_eq!(marked(&state, &killer()).await, killing(&expected), "the marks");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_projection_is_the_fold_of_the_log(steps in steps()) {
        check(&steps);
    }
}

#[test]
fn every_place_to_die_in_one_page_leads_to_the_same() {
    let events =
        [Step::Open(0), Step::Open(1), Step::Resolve(0), Step::Open(0), Step::Resolve(3), Step::Open(3)];
    for writes in 0..20 {
        for others in 0..20 {
            let crashes = [Step::CrashAfter(writes), Step::CrashAfter(others)];
            check(&[&events[..], &crashes[..]].concat());
        }
    }
}

/// A log that drops its oldest events, as a stream does.
#[tokio::test]
async fn letters_that_the_log_dropped_vanish_with_their_counts_and_marks() {
    let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
    let (first, record) = (desk(&queue, &state), "parties:r0".parse().unwrap());
    for n in 0..LETTERS {
        let letter = DeadLetter { key: (n == 0).then(|| Clone::clone(&record)), ..letter(n) };
        let event = DeadLetterEvent::Opened { letter: Box::new(letter) };
        queue.append_dead_letter_event(&event).await.unwrap();
    }
    dead_mark::add(state.as_ref(), &record, Uuid::from_u128(0), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(shown(&first).await.0.len(), usize::from(LETTERS));
    queue.dropped.store(3, Ordering::SeqCst);
    for writes in 0..12 {
        state.writes_left.store(writes, Ordering::SeqCst);
        let _ = desk(&queue, &state).close_lost().await;
        state.expire("nothing");
    }
    state.writes_left.store(u64::MAX, Ordering::SeqCst);
    let desk = desk(&queue, &state);
    desk.close_lost().await.unwrap();
    assert_eq!(shown(&desk).await, folded(&queue.log.lock().unwrap()[3..]));
    assert_eq!(dead_mark::load(state.as_ref(), &record).await.unwrap(), None);
    let gone = Uuid::from_u128(1);
    assert_eq!(desk.show(gone).await, Err(super::DeskError::Dropped(gone)));
    let report = desk.replay(&[gone], "anna", Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(report.refused[0].why.contains("dropped"), "{report:?}");
}

/// Between the look for what is lost and the counting, another process reads on, and dies.
#[tokio::test(start_paused = true)]
async fn letters_are_counted_once_whoever_dies_before_the_lost_ones_are_closed() {
    for steps_count in 0..12 {
        for writes in 0..12 {
            let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
            for n in 0..LETTERS - 1 {
                queue.append_dead_letter_event(&event(Step::Open(n)).unwrap()).await.unwrap();
            }
            let (closing, other) = (desk(&queue, &state), desk(&queue, &state));
            closing.counts().await.unwrap();
            queue.dropped.store(3, Ordering::SeqCst);
            let mut closed = Box::pin(closing.close_lost());
            let through = super::tests::steps(&mut closed, steps_count).await;
            assert!(through.is_none(), "it was through after {steps_count} steps");
            queue.append_dead_letter_event(&event(Step::Open(LETTERS - 1)).unwrap()).await.unwrap();
            // So far as it comes by the lease, which the other one may hold already.
            state.writes_left.store(writes, Ordering::SeqCst);
            let _ = tokio::time::timeout(Duration::from_secs(1), other.counts()).await;
            state.writes_left.store(u64::MAX, Ordering::SeqCst);
            drop(other);
            let _ = closed.await;
            state.expire("nothing");
            let desk = desk(&queue, &state);
            let expected = folded(&queue.log.lock().unwrap()[3..]);
            desk.close_lost().await.unwrap();
            assert_eq!(shown(&desk).await, expected, "after {steps_count} steps and {writes} writes");
        }
    }
}

/// The broker lost its stream, or another one stands in its place.
#[tokio::test(start_paused = true)]
async fn another_log_makes_the_list_begin_anew() {
    let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
    let (desk, record) = (desk(&queue, &state), "parties:r".parse().unwrap());
    let append = async |n: u8| {
        let key = if n < 2 { Some(Clone::clone(&record)) } else { letter(n).key };
        let letter = Box::new(DeadLetter { key, ..letter(n) });
        queue.append_dead_letter_event(&DeadLetterEvent::Opened { letter }).await.unwrap();
    };
    for n in 0..LETTERS {
        append(n).await;
    }
    for n in 0..2 {
        dead_mark::add(state.as_ref(), &record, Uuid::from_u128(n), Timestamp::UNIX_EPOCH).await.unwrap();
    }
    let before = shown(&desk).await;
    assert_eq!((before.0.len(), marked(&state, &killer()).await), (usize::from(LETTERS), [2, 5].into()));
    queue.log.lock().unwrap().clear();
    append(2).await;
    // Where it stood before, as in a log that was restored.
    append(1).await;
    assert_eq!(shown(&desk).await, before, "it may be a replica that lags");
    tokio::time::advance(STILL).await;
    assert_eq!(shown(&desk).await, folded(&queue.log.lock().unwrap()));
    assert_eq!(marked(&state, &record).await, [1].into(), "the sweeps look at what is not known any more");
    assert_eq!(marked(&state, &killer()).await, [2].into());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_is_not_taken_for_another_log() {
    let (queue, state) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryState::default()));
    let desk = desk(&queue, &state);
    for n in 0..LETTERS {
        queue.append_dead_letter_event(&event(Step::Open(n)).unwrap()).await.unwrap();
    }
    let (before, documents) = (shown(&desk).await, state.copy());
    let end = desk.end().await.unwrap();
    let late = queue.log.lock().unwrap().split_off(1);
    for event in late {
        assert_eq!(shown(&desk).await, before);
        let news = desk.news(end, &Filter::default()).await.unwrap();
        assert_eq!((news.letters.len(), news.next, news.at_end), (0, end, true));
        tokio::time::advance(STILL * 2 / 3).await;
        queue.append_dead_letter_event(&event).await.unwrap();
    }
    assert_eq!(shown(&desk).await, before);
    assert_eq!(state.copy(), documents);
}
