//! The list of dead letters over real backings: several processes that look at the same time, and the number of
//! letters in `SYNCFLEET_LETTERS` (100,000 takes minutes to fill), with the times that were needed.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use operations::dead_letters::{DeadLetterDesk, Filter};
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason, Resolution};
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use shared::record_key::FlowName;
use system_tests::letters;
use uuid::Uuid;

const LETTERS: u32 = 1_200;
/// Every so many is closed again.
const CLOSED_EACH: u32 = 10;

fn topologies() -> Vec<FlowTopology> {
    vec![FlowTopology { flow: FlowName::new("parties").unwrap(), shards: 2 }]
}

fn letter(number: u32) -> DeadLetter {
    letters::letter(number).unwrap()
}

async fn append(queue: &dyn Queue, events: impl Iterator<Item = DeadLetterEvent>) {
    letters::append(queue, events).await.unwrap();
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let outcome = work.await;
    println!("{:>6} ms  {what}", begun.elapsed().as_millis());
    outcome
}

#[expect(clippy::disallowed_methods, reason = "how much is measured is said by whoever measures")]
fn letters_wanted() -> u32 {
    std::env::var("SYNCFLEET_LETTERS").map_or(LETTERS, |count| count.parse().unwrap())
}

/// Fills, and looks with desks that know nothing, each over ports of its own, as processes have them.
pub async fn many_letters(open: impl AsyncFn() -> (Arc<dyn Queue>, Arc<dyn State>)) {
    let count = letters_wanted();
    let desk = async || {
        let (queue, state) = open().await;
        DeadLetterDesk::new(queue, state, topologies())
    };
    let (queue, _state) = open().await;
    queue.prepare(&topologies()).await.unwrap();
    println!("{count} dead letters");
    let opened = (0..count).map(|number| DeadLetterEvent::Opened { letter: Box::new(letter(number)) });
    timed("appending them", append(queue.as_ref(), opened)).await;
    // A worker's death between the append and the acknowledgement: a duplicate.
    append(queue.as_ref(), std::iter::once(DeadLetterEvent::Opened { letter: Box::new(letter(5)) })).await;
    let is_closed = |number: &u32| number.is_multiple_of(CLOSED_EACH);
    let closed = (0..count).filter(is_closed).map(|number| DeadLetterEvent::Resolved {
        id: letter(number).id,
        resolution: Resolution::Discarded,
        by: "anna".into(),
        note: "test".into(),
        edited: None,
        at: Timestamp::UNIX_EPOCH,
    });
    append(queue.as_ref(), closed).await;

    let desks = [desk().await, desk().await, desk().await];
    let looks = futures_util::future::join_all(desks.iter().map(DeadLetterDesk::counts));
    for counts in timed("building the list, three at the same time", looks).await {
        let open: u64 = counts.unwrap().iter().map(|open| open.count).sum();
        assert_eq!(open, u64::from((0..count).filter(|number| !is_closed(number)).count() as u32));
    }

    let expected = |wanted: &dyn Fn(u32) -> bool| {
        let numbers = (0..count).rev().filter(|number| !is_closed(number) && wanted(*number));
        numbers.map(|number| letter(number).id).take(50).collect::<Vec<_>>()
    };
    let filter = Filter::default;
    let groups = timed("groups", async { desk().await.groups(&filter()).await.unwrap().groups }).await;
    assert_eq!(groups.len(), 3, "{groups:?}");
    let spent = groups.iter().find(|group| group.code == "timeout").unwrap().group.clone();
    for (what, filter, wanted) in [
        ("the first page", filter(), &(|_| true) as &dyn Fn(u32) -> bool),
        ("by reason", Filter { reason: Some(Reason::AttemptsSpent), ..filter() }, &|n| n % 3 == 2),
        ("by group", Filter { group: Some(spent), ..filter() }, &|n| n % 3 == 2),
        ("by text, most match", Filter { text: Some("ADDRESS_".into()), ..filter() }, &|n| n % 3 == 1),
        ("by text, the oldest one", Filter { text: Some(format!("{:017x}", 1)), ..filter() }, &|n| n == 1),
        ("before a time", Filter { before: Some(letter(50).at), ..filter() }, &|n| n < 50),
    ] {
        let listing = timed(what, async { desk().await.list(&filter, None, 50).await.unwrap() }).await;
        let ids: Vec<Uuid> = listing.letters.iter().map(|letter| letter.id).collect();
        assert_eq!(ids, expected(wanted), "{what}");
    }
    for number in [1, count / 2 + 1] {
        let whole = timed("one, whole", async { desk().await.show(letter(number).id).await.unwrap() }).await;
        assert_eq!(whole.letter, letter(number));
    }
}
