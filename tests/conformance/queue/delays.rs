//! Retries and messages for later.

use jiff::{SignedDuration, ToSpan as _};

use super::*;

fn in_millis(millis: i64) -> Timestamp {
    now() + SignedDuration::from_millis(millis)
}

pub async fn a_retry_has_its_new_body_and_never_comes_early<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..6)).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 10).await;
    let mut times = Vec::new();
    for millis in [1_500, 40, 700, 1_001, 0, 350] {
        let delivery = next(consumer.as_mut()).await;
        let not_before = in_millis(millis);
        times.push(not_before);
        let again = body(number(&delivery) + 100);
        delivery.receipt.retry(again, not_before).await.unwrap();
    }
    let mut came = Vec::new();
    for _ in 0..6 {
        let delivery = next(consumer.as_mut()).await;
        let at = number(&delivery) - 100;
        assert!(now() >= times[at], "{at} came before its time {}", times[at]);
        assert_eq!(delivery.redeliveries, 0, "a retry is a delivery of its own");
        delivery.receipt.ack().await.unwrap();
        came.push(at);
    }
    if B::FLAGS.delay_is_exact {
        assert_eq!(came, [4, 1, 5, 2, 3, 0]);
    }
    came.sort_unstable();
    assert_eq!(came, [0, 1, 2, 3, 4, 5]);
    wait_for_depth(queue.as_ref(), 0, 0).await;
}

pub async fn a_retry_survives_a_crash<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[message(1)]).await.unwrap();
    let mut before = consumer(queue.as_ref(), 1).await;
    let not_before = in_millis(800);
    next(before.as_mut()).await.receipt.retry(body(2), not_before).await.unwrap();
    let queue = backing.crash(queue).await;
    queue.prepare(&[topology()]).await.unwrap();
    let mut after = consumer(queue.as_ref(), 1).await;
    let delivery = next(after.as_mut()).await;
    assert!(now() >= not_before);
    assert_eq!(number(&delivery), 2);
    delivery.receipt.ack().await.unwrap();
    wait_for_depth(queue.as_ref(), 0, 0).await;
    drop(before);
}

pub async fn a_retry_of_the_past_comes_at_once<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[message(1)]).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 1).await;
    next(consumer.as_mut()).await.receipt.retry(body(2), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(take(consumer.as_mut()).await, 2);
}

pub async fn a_message_published_for_later_never_comes_early<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let not_before = in_millis(700);
    queue.publish(&[Outbound { not_before: Some(not_before), ..message(1) }, message(2)]).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 10).await;
    assert_eq!(take(consumer.as_mut()).await, 2);
    assert_eq!(take(consumer.as_mut()).await, 1);
    assert!(now() >= not_before);
}

pub async fn what_waits_lets_others_pass<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..3)).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 1).await;
    // A retry holds no place of the prefetch.
    next(consumer.as_mut()).await.receipt.retry(body(9), now() + 1.hour()).await.unwrap();
    assert_eq!(take(consumer.as_mut()).await, 1);
    assert_eq!(take(consumer.as_mut()).await, 2);
    assert_nothing_comes(consumer.as_mut()).await;
    wait_for_depth(queue.as_ref(), 0, 1).await;
}
