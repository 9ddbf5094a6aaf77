//! Acknowledging, giving back.

use super::*;

pub async fn what_was_acknowledged_never_comes_again<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..6)).await.unwrap();
    let mut before = consumer(queue.as_ref(), 6).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(next(before.as_mut()).await);
    }
    // Not in order, and not all.
    for at in [4, 2, 0] {
        held.remove(at).receipt.ack().await.unwrap();
    }
    let queue = backing.crash(queue).await;
    queue.prepare(&[topology()]).await.unwrap();
    let mut after = consumer(queue.as_ref(), 6).await;
    for expected in [1, 3, 5] {
        assert_eq!(take(after.as_mut()).await, expected);
    }
    wait_for_depth(queue.as_ref(), 0, 0).await;
    drop((before, held));
}

pub async fn giving_back_costs_nothing<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[message(1)]).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 1).await;
    // More often than any delivery limit.
    for _ in 0..30 {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!((number(&delivery), delivery.redeliveries), (1, 0));
        delivery.receipt.give_back().await.unwrap();
    }
    assert_eq!(take(consumer.as_mut()).await, 1);
    wait_for_depth(queue.as_ref(), 0, 0).await;
    assert_eq!(queue.scan_dead_letters(0, 10).await.unwrap().entries, []);
}

pub async fn settling_after_the_consumer_has_ended_is_an_error<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..2)).await.unwrap();
    let mut first = consumer(queue.as_ref(), 2).await;
    let (ack, retry) = (next(first.as_mut()).await, next(first.as_mut()).await);
    drop(first);
    // The next consumer has them: the old receipts are worth nothing.
    let mut second = consumer(queue.as_ref(), 2).await;
    let again = [next(second.as_mut()).await, next(second.as_mut()).await];
    assert!(ack.receipt.ack().await.is_err());
    assert!(retry.receipt.retry(body(7), now()).await.is_err());
    assert_eq!(again.each_ref().map(number), [0, 1]);
    for delivery in again {
        delivery.receipt.ack().await.unwrap();
    }
    wait_for_depth(queue.as_ref(), 0, 0).await;
}
