//! Asking which records have marks.

use futures_util::future::join_all;
use shared::clock::later;
use shared::{marks, parking, retry_mark};

use super::doubles::CountedState;
use super::faults::neighbours;
use super::*;

#[tokio::test]
async fn who_asks_alone_asks_at_once_and_who_comes_meanwhile_asks_together() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
    let inner: Arc<dyn shared::ports::state::State> = Embedded::open(options).unwrap().state;
    let state = Arc::new(CountedState::around(inner));
    let marked = Marked::start(state.clone());
    let records: Vec<RecordKey> = (0..20).map(|n| format!("parties:{n}").parse().unwrap()).collect();
    retry_mark::set(state.as_ref(), &records[7], Uuid::nil(), PATIENCE).await.unwrap();

    let answers = join_all(records.iter().map(|record| marked.ask(record))).await;
    let found: Vec<bool> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, (0..20).map(|n| n == 7).collect::<Vec<bool>>());
    assert_eq!(state.trips().0, 2, "trips to the store: the first by itself, the others together");
    assert!(marked.ask(&records[7]).await.unwrap());
    assert_eq!(state.trips().0, 3);
}

/// A bench with a store that tells of marks as it is told.
fn counted(flow: &Arc<Scripted>) -> (Bench, Arc<CountedState>) {
    let mut counted = None;
    let bench = Bench::changed(flow.clone(), |engine| {
        let state = Arc::new(CountedState::around(engine.state.clone()));
        counted = Some(state.clone());
        engine.marked = Marked::start(state.clone());
        engine.state = state;
        engine.settings.parking_look_every = Duration::from_secs(3_600);
        engine.settings.clock_skew_max = Duration::ZERO;
    });
    (bench, counted.unwrap())
}

async fn parked_under(state: &CountedState, id: &str) -> usize {
    marks::load(state, &envelope(id).key).await.unwrap().parked.len()
}

#[tokio::test]
async fn a_run_costs_one_trip_to_the_store_at_most_where_nothing_is_marked() {
    let flow = Scripted::new(&[("f", Behaviour::FailOnce(FaultKind::Retryable { after: None }))], true);
    let (mut bench, counted) = counted(&flow);
    let ids: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    bench.publish(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bench.begin();
    bench.until_empty().await;
    let (looks, writes) = counted.trips();
    assert!((1..=20).contains(&looks) && writes == 0, "{looks} {writes}");
    bench.publish(&["f"]).await;
    bench.until_empty().await;
    // Marked by the failure; read and taken away by the success, unless it had ended before.
    let (reads, writes) = counted.trips();
    assert!((1..=2).contains(&writes) && reads == looks + writes, "{looks} {reads} {writes}");
    bench.end().await;
}

#[tokio::test]
async fn what_did_nothing_is_settled_before_the_store_answers_and_its_key_rests_until_then() {
    let [same, changed, other] = neighbours(3).try_into().unwrap();
    let idle = [&same, &other].map(|id| (id.as_str(), Behaviour::FindNothing));
    let flow = Scripted::new(&[&idle[..], &[(changed.as_str(), Behaviour::Succeed)]].concat(), true);
    let (mut bench, counted) = counted(&flow);
    counted.looks.forget_permits(usize::MAX);
    bench.publish(&[&same]).await;
    bench.begin();
    bench.until("the question", || counted.trips().0 == 1).await;
    assert_eq!((flow.runs_of(&same), bench.depth().await), (1, 0), "settled");
    bench.publish(&[&same, &changed]).await;
    bench.publish(&[&other]).await;
    bench.until("another record's run", || flow.runs_of(&other) == 1).await;
    assert_eq!((flow.runs_of(&same), flow.runs_of(&changed)), (1, 1));
    assert_eq!(bench.depth().await, 3, "who would ask beside another waits for the answer");
    counted.looks.add_permits(10_000);
    bench.until_empty().await;
    assert_eq!((flow.runs_of(&same), flow.runs_of(&changed)), (2, 1));
    bench.end().await;
}

/// Publishes a message whose run does nothing, and sees that it is settled after the store has answered.
async fn is_settled_last(bench: &Bench, counted: &CountedState, message: &Envelope) {
    let before = counted.trips().0;
    bench.engine.queue.publish(&[Outbound::of(message, 4)]).await.unwrap();
    bench.until("the question", || counted.trips().0 > before).await;
    assert_eq!(bench.depth().await, 1, "{}", message.key);
    counted.looks.add_permits(1);
    bench.until_empty().await;
}

#[tokio::test]
async fn what_may_have_done_something_is_settled_after_the_store_has_answered() {
    let again = Behaviour::FindNothingAfter(FaultKind::Conflict);
    let idle = ["tried", "asked", "waited"].map(|id| (id, Behaviour::FindNothing));
    let flow = Scripted::new(&[&idle[..], &[("clashed", again)]].concat(), true);
    let (mut bench, counted) = counted(&flow);
    counted.looks.forget_permits(usize::MAX);
    bench.engine.queue.prepare(&[bench.topology()]).await.unwrap();
    retry_mark::set(counted.as_ref(), &envelope("waited").key, Uuid::from_u128(9), PATIENCE).await.unwrap();
    bench.begin();
    let tried = Envelope { attempt: 1, ..envelope("tried") };
    let asked = Envelope { cause: Cause::Manual, ..envelope("asked") };
    for message in [tried, asked, envelope("waited"), envelope("clashed"), envelope("changed")] {
        is_settled_last(&bench, &counted, &message).await;
    }
    assert_eq!(flow.runs_of("clashed"), 2);
    bench.end().await;
}

#[tokio::test]
async fn what_failed_here_is_settled_after_the_store_has_answered() {
    let busy = Behaviour::FindNothingAfter(FaultKind::Busy { after: Duration::from_millis(1) });
    let flow = Scripted::new(&[("a", busy)], true);
    let (mut bench, counted) = counted(&flow);
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("both runs", || flow.runs_of("a") == 2).await;
    bench.until_empty().await;
    counted.looks.forget_permits(usize::MAX);
    is_settled_last(&bench, &counted, &envelope("a")).await;
    bench.end().await;
}

/// The message is gone by then: what waits for its record must not wait for the next event.
#[tokio::test]
async fn where_the_store_fails_after_the_settlement_the_message_runs_once_more() {
    let flow = Scripted::new(&[("same", Behaviour::FindNothing)], true);
    let (mut bench, counted) = counted(&flow);
    let now = bench.engine.clock.now();
    let child = parking::Parked::new(&envelope("child"), now, later(now, PATIENCE * 100));
    parking::park(counted.as_ref(), &envelope("same").key, &child).await.unwrap();
    counted.looks_fail.store(true, Ordering::SeqCst);
    bench.publish(&["same"]).await;
    bench.begin();
    bench.until_delayed().await;
    assert_eq!(parked_under(&counted, "same").await, 1);
    counted.looks_fail.store(false, Ordering::SeqCst);
    bench.until("the second run", || flow.runs_of("same") == 2).await;
    bench.until("what waited", || flow.runs_of("child") == 1).await;
    bench.until_empty().await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while parked_under(&counted, "same").await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "what was released is still parked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.end().await;
}
