//! Counting deliveries, and one consumer at a time.

use shared::clock::Clock as _;
use shared::dead_letter::DeadLetterEvent;
use shared::envelope::{Cause, Envelope, Operation};
use shared::ports::PortError;
use shared::record_key::RecordKey;
use shared::trace::TraceParent;

use super::*;

fn limited(dir: &Path) -> EmbeddedOptions {
    EmbeddedOptions { delivery_limit: 2, ..options(dir, Role::Serving) }
}

#[tokio::test]
async fn a_message_that_kills_its_worker_again_and_again_becomes_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let key = RecordKey::new(topology().flow, "a1").unwrap();
    let (id, now) = (Uuid::from_u128(9), clock().now());
    let trace = TraceParent::new(1, 1);
    let envelope = Envelope::new(id, "/test", key.clone(), Operation::Update, Cause::Manual, trace, now);
    let killer = Outbound { shard: shard(0), ..Outbound::of(&envelope, 1) };
    prepared(limited(dir.path())).await.queue.publish(&[killer, message(1)]).await.unwrap();

    for redeliveries in 0..=2 {
        // Every life of the program ends without settling.
        let queue = prepared(limited(dir.path())).await.queue;
        let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
        let delivery = next(consumer.as_mut()).await;
        assert_eq!((delivery.redeliveries, &delivery.body[..]), (redeliveries, &envelope.to_bytes()[..]));
    }
    let queue = prepared(limited(dir.path())).await.queue;
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    assert_eq!(number(&next(consumer.as_mut()).await), 1, "the neighbour goes on");
    let events = events(queue.as_ref()).await;
    let [DeadLetterEvent::Opened { letter }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((letter.reason, letter.id, letter.key.as_ref()), (Reason::Poison, id, Some(&key)));
    assert!(letter.text.contains("3 times") && letter.text.contains("limit of 2"), "{}", letter.text);
    assert_eq!(letter.message.as_bytes(), envelope.to_bytes());
}

#[tokio::test]
async fn bytes_that_are_no_envelope_can_be_poison_too_and_giving_back_never_is() {
    let dir = tempfile::tempdir().unwrap();
    let queue = prepared(limited(dir.path())).await.queue;
    queue.publish(&[message(1)]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    for _ in 0..10 {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(delivery.redeliveries, 0);
        delivery.receipt.give_back().await.unwrap();
    }
    for redeliveries in 0..=2 {
        assert_eq!(next(consumer.as_mut()).await.redeliveries, redeliveries);
    }
    queue.publish(&[message(2)]).await.unwrap();
    assert_eq!(number(&next(consumer.as_mut()).await), 2);
    assert_eq!(
        events(queue.as_ref()).await.iter().filter_map(opened_reason).collect::<Vec<_>>(),
        [Reason::Poison]
    );
}

#[tokio::test]
async fn what_a_consumer_claimed_and_never_handed_over_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let queue = prepared(limited(dir.path())).await.queue;
    queue.publish(&[message(1), message(2)]).await.unwrap();
    for life in 0..3 {
        let mut consumer = queue.consume(&shard(0), 10).await.unwrap();
        let first = next(consumer.as_mut()).await;
        assert_eq!((number(&first), first.redeliveries), (1, life));
    }
    let mut consumer = queue.consume(&shard(0), 10).await.unwrap();
    let second = next(consumer.as_mut()).await;
    assert_eq!((number(&second), second.redeliveries), (2, 0));
}

#[tokio::test]
async fn a_second_consumer_waits_until_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let queue = prepared(options(dir.path(), Role::Serving)).await.queue;
    queue.publish(&[message(1), message(2)]).await.unwrap();
    let mut first = queue.consume(&shard(0), 1).await.unwrap();
    let mut second = queue.consume(&shard(0), 1).await.unwrap();
    let held = next(first.as_mut()).await;
    {
        let mut waiting = std::pin::pin!(second.next());
        let brief = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
        assert!(brief.is_err(), "the second consumer must wait");
        drop(first);
        let delivery = tokio::time::timeout(SOON, waiting).await.expect("its turn").unwrap();
        assert_eq!(number(&delivery), 1, "what the first held comes back in its place");
    }
    let late = held.receipt.ack().await;
    assert!(
        matches!(&late, Err(PortError::Unavailable(text)) if text.contains("delivered again")),
        "{late:?}"
    );
    assert_eq!(queue.depth(&topology()).await.unwrap().ready, 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_changes_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = clock();
    ahead.advance(Duration::from_secs(3_600));
    let first = prepared(EmbeddedOptions { clock: ahead, ..options(dir.path(), Role::Serving) }).await;
    first.queue.publish(&[message(1), message(2)]).await.unwrap();
    drop(first);
    let queue = prepared(options(dir.path(), Role::Serving)).await.queue;
    queue.publish(&[message(3), message(4)]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 4).await.unwrap();
    for expected in 1..=4 {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(number(&delivery), expected);
        delivery.receipt.ack().await.unwrap();
    }
}
