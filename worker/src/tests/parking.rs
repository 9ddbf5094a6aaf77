//! Messages that wait for other records.

use shared::clock::later;
use shared::names;
use shared::parking::{self, MESSAGES_OF_KEY_MAX, Parked};
use shared::ports::state::Write;

use super::doubles::Counters;
use super::*;

async fn parked(bench: &Bench) -> Vec<(RecordKey, Vec<Parked>)> {
    parking::page(bench.engine.state.as_ref(), None, 100).await.unwrap().waiting
}

async fn until_parked(bench: &Bench, count: usize) -> Vec<(RecordKey, Vec<Parked>)> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = parked(bench).await;
        if found.iter().map(|(_, waiting)| waiting.len()).sum::<usize>() == count {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{count} parked messages wanted: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A bench whose parked messages are not looked after, with the counters of its meter.
fn counted(flow: &Arc<Scripted>) -> (Bench, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let meter = counters.clone();
    let bench = Bench::changed(flow.clone(), |engine| {
        engine.meter = meter;
        engine.settings.parking_look_every = Duration::from_secs(3_600);
    });
    (bench, counters)
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_nothing_else_that_is_parked() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    let state = bench.engine.state.clone();
    // In the order of keys it comes first.
    state.write(Write::put("parked/parties/a", b"[{\"damaged\"")).await.unwrap();
    state.write(Write::put("parked/Not a flow/a", b"[]")).await.unwrap();
    let (waits, now) = (envelope("child"), bench.engine.clock.now());
    let due = Parked::new(&waits, now, now);
    parking::park(state.as_ref(), &envelope("parent").key, &due).await.unwrap();
    bench.begin();
    bench.until("the message that waited for long enough", || flow.runs_of("child") == 1).await;
    let page = parking::page(state.as_ref(), None, 1).await.unwrap();
    assert_eq!((page.waiting.len(), page.unreadable.len()), (0, 1));
    let left = state.get("parked/parties/a").await.unwrap().unwrap();
    assert_eq!(left.value, b"[{\"damaged\"", "nothing of it is lost");
    bench.end().await;
}

#[tokio::test]
async fn a_message_waits_for_another_record_and_is_released_once_when_that_succeeds() {
    let children = [("c1", Behaviour::WaitsFor("parent")), ("c2", Behaviour::WaitsFor("parent"))];
    let flow = Scripted::new(&children, true);
    let (mut bench, counters) = counted(&flow);
    bench.publish(&["c1", "c2"]).await;
    bench.begin();
    let waiting = until_parked(&bench, 2).await;
    assert_eq!((waiting.len(), waiting[0].0.id()), (1, "parent"));
    bench.until_empty().await;
    // What comes later for the same record is covered by what waits.
    bench.publish(&["c1"]).await;
    bench.until_empty().await;
    until_parked(&bench, 2).await;

    bench.publish(&["parent"]).await;
    until_parked(&bench, 0).await;
    bench.until_empty().await;
    let before = (flow.runs_of("c1"), flow.runs_of("c2"));
    // Another success finds nothing more to release.
    bench.publish(&["parent"]).await;
    bench.until("the second run", || flow.runs_of("parent") == 2).await;
    bench.until_empty().await;
    assert_eq!((flow.runs_of("c1"), flow.runs_of("c2")), before);
    assert_eq!(counters.of(&names::MESSAGES_PUBLISHED), 2, "each is released once");
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

/// An account that must be connected again: its own calendar's message waits for its own key, and so do others.
#[tokio::test]
async fn what_waits_for_an_account_costs_no_attempt_and_goes_on_when_the_account_works_again() {
    let behaviours =
        [("account", Behaviour::WaitsUntilConnected), ("meeting", Behaviour::WaitsFor("account"))];
    let flow = Scripted::new(&behaviours, true);
    let (mut bench, _) = counted(&flow);
    bench.publish(&["account", "meeting"]).await;
    bench.begin();
    let waiting = until_parked(&bench, 2).await;
    assert_eq!((waiting.len(), waiting[0].0.id()), (1, "account"), "both wait under one key");
    // Whatever comes for it meanwhile waits with it.
    bench.publish(&["account"]).await;
    bench.until_empty().await;
    until_parked(&bench, 2).await;
    assert!(bench.letters().await.is_empty() && flow.reports.lock().unwrap().is_empty(), "no attempt failed");

    flow.connected.store(true, Ordering::SeqCst);
    bench.publish(&["account"]).await;
    until_parked(&bench, 0).await;
    bench.until("what waited", || flow.is_done("account") && flow.runs_of("meeting") == 3).await;
    bench.until_empty().await;
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn what_happens_between_the_look_and_the_parking_is_seen_by_the_second_look() {
    let flow = Scripted::new(&[("child", Behaviour::WaitsOnce("parent"))], true);
    let (mut bench, counters) = counted(&flow);
    bench.publish(&["child"]).await;
    bench.begin();
    bench.until("both looks", || flow.runs_of("child") == 2).await;
    bench.until_empty().await;
    until_parked(&bench, 0).await;
    assert_eq!(counters.of(&names::MESSAGES_PUBLISHED), 0);
    bench.end().await;
}

#[tokio::test]
async fn what_waits_beyond_its_age_becomes_a_dead_letter_that_names_what_it_waited_for() {
    let flow = Scripted::new(&[("child", Behaviour::WaitsFor("parent"))], true);
    let mut bench = Bench::new(flow.clone());
    bench.engine.queue.prepare(&[bench.topology()]).await.unwrap();
    let age_max = flow.spec.retry.age_max;
    let mut old = envelope("child");
    old.first_seen = later(old.first_seen, Duration::from_secs(1)).checked_sub(age_max).unwrap();
    bench.engine.queue.publish(&[Outbound::of(&old, 4)]).await.unwrap();
    bench.begin();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let letters = loop {
        let letters = bench.letters().await;
        if !letters.is_empty() {
            break letters;
        }
        assert!(tokio::time::Instant::now() < deadline, "no dead letter");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((letters[0].reason, letters[0].fault.as_str()), (Reason::Expired, "parked"));
    assert!(letters[0].text.contains("parties:parent"), "{}", letters[0].text);
    until_parked(&bench, 0).await;
    bench.end().await;
}

#[tokio::test]
async fn what_has_no_room_waits_in_the_queue() {
    let flow = Scripted::new(&[("child", Behaviour::WaitsFor("parent"))], true);
    let (mut bench, _) = counted(&flow);
    let now = SystemClock.now();
    let awaited = envelope("parent").key;
    for number in 0..MESSAGES_OF_KEY_MAX {
        let other = Parked::new(&envelope(&format!("other{number}")), now, later(now, PATIENCE * 100));
        parking::park(bench.engine.state.as_ref(), &awaited, &other).await.unwrap();
    }
    bench.publish(&["child"]).await;
    bench.begin();
    bench.until_delayed().await;
    assert_eq!(flow.runs_of("child"), 1);
    until_parked(&bench, MESSAGES_OF_KEY_MAX).await;
    bench.end().await;
}
