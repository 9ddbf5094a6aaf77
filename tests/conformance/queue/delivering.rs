//! Order, bounds, exclusivity, and what is not settled.

use super::*;

pub async fn messages_of_a_shard_arrive_in_the_order_of_publishing<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    for numbers in [0..50, 50..51, 51..100, 100..200] {
        queue.publish(&messages(numbers)).await.unwrap();
    }
    let mut consumer = consumer(queue.as_ref(), 20).await;
    for expected in 0..200 {
        assert_eq!(take(consumer.as_mut()).await, expected);
    }
}

pub async fn no_more_than_the_prefetch_is_unsettled<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..5)).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(consumer.as_mut()).await);
    }
    assert_nothing_comes(consumer.as_mut()).await;
    held.remove(1).receipt.ack().await.unwrap();
    held.push(next(consumer.as_mut()).await);
    assert_nothing_comes(consumer.as_mut()).await;
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [0, 2, 3]);
}

pub async fn shards_do_not_wait_for_each_other<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let other = Outbound { shard: shard(1), ..message(7) };
    queue.publish(&[message(0), message(1), other]).await.unwrap();
    let mut zero = consumer(queue.as_ref(), 1).await;
    let _held = next(zero.as_mut()).await;
    let mut one = queue.consume(&shard(1), 1).await.unwrap();
    assert_eq!(take(one.as_mut()).await, 7);
    assert_nothing_comes(one.as_mut()).await;
}

pub async fn a_shard_has_one_consumer_at_a_time<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..4)).await.unwrap();
    let mut first = consumer(queue.as_ref(), 1).await;
    assert_eq!(take(first.as_mut()).await, 0);
    let mut second = consumer(queue.as_ref(), 1).await;
    assert_nothing_comes(second.as_mut()).await;
    assert_eq!(take(first.as_mut()).await, 1);
    drop(first);
    assert_eq!(take(second.as_mut()).await, 2);
    assert_eq!(take(second.as_mut()).await, 3);
}

pub async fn a_wait_that_is_given_up_loses_nothing<B: QueueBacking>() {
    const COUNT: usize = 300;
    // Shorter than any delivery takes: waits are given up at every point on the way.
    const PATIENCE: Duration = Duration::from_micros(200);
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let mut consumer = consumer(queue.as_ref(), 5).await;
    let all = async {
        for expected in 0..COUNT {
            assert!(tokio::time::timeout(PATIENCE, consumer.next()).await.is_err(), "nothing waits yet");
            let publishing = tokio::spawn({
                let queue = Arc::clone(&queue);
                async move { queue.publish(&[message(expected)]).await }
            });
            let delivery = loop {
                if let Ok(delivery) = tokio::time::timeout(PATIENCE, consumer.next()).await {
                    break delivery.unwrap();
                }
            };
            assert_eq!(number(&delivery), expected);
            delivery.receipt.ack().await.unwrap();
            publishing.await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(SOON, all).await.expect("all messages");
    wait_for_depth(queue.as_ref(), 0, 0).await;
}

pub async fn a_delivery_that_is_dropped_comes_again<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[message(1)]).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 1).await;
    drop(next(consumer.as_mut()).await);
    let again = next(consumer.as_mut()).await;
    assert_eq!(number(&again), 1);
    again.receipt.ack().await.unwrap();
    wait_for_depth(queue.as_ref(), 0, 0).await;
}

pub async fn what_a_lost_consumer_held_comes_again<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..10)).await.unwrap();
    let mut first = consumer(queue.as_ref(), 5).await;
    assert_eq!(take(first.as_mut()).await, 0);
    let held = [next(first.as_mut()).await, next(first.as_mut()).await];
    drop(first);
    let mut second = consumer(queue.as_ref(), 5).await;
    for expected in 1..10 {
        assert_eq!(take(second.as_mut()).await, expected);
    }
    wait_for_depth(queue.as_ref(), 0, 0).await;
    drop(held);
}

pub async fn what_a_dead_process_held_comes_again<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..10)).await.unwrap();
    let mut before = consumer(queue.as_ref(), 5).await;
    assert_eq!(take(before.as_mut()).await, 0);
    let held = [next(before.as_mut()).await, next(before.as_mut()).await];

    let queue = backing.crash(queue).await;
    queue.prepare(&[topology()]).await.unwrap();
    let mut after = consumer(queue.as_ref(), 5).await;
    for expected in 1..10 {
        assert_eq!(take(after.as_mut()).await, expected);
    }
    wait_for_depth(queue.as_ref(), 0, 0).await;
    drop((before, held));
}
