//! Publishing, preparing, counting.

use std::time::Duration;

use jiff::ToSpan as _;
use shared::ports::PortError;

use super::*;

pub async fn a_published_batch_survives_a_crash<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..100)).await.unwrap();
    let queue = backing.crash(queue).await;
    queue.prepare(&[topology()]).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 10).await;
    for expected in 0..100 {
        assert_eq!(take(consumer.as_mut()).await, expected);
    }
}

pub async fn bodies_arrive_as_they_were<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let bodies = [
        Bytes::from_static(b"\0\xff\xfe no text \r\n"),
        vec![b'x'; 64 * 1024].into(),
        "äöü {\"a\":1}".into(),
    ];
    let batch: Vec<_> = bodies.iter().map(|body| Outbound { body: body.clone(), ..message(0) }).collect();
    queue.publish(&batch).await.unwrap();
    let mut consumer = consumer(queue.as_ref(), 1).await;
    for body in bodies {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!((&delivery.body, delivery.redeliveries), (&body, 0));
        delivery.receipt.ack().await.unwrap();
    }
}

pub async fn an_empty_batch_is_nothing<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[]).await.unwrap();
    wait_for_depth(queue.as_ref(), 0, 0).await;
}

pub async fn what_was_not_prepared_is_an_error<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let nobody = FlowName::new("nobody").unwrap();
    let lost = Shard { flow: nobody.clone(), number: 0 };
    for shard in [lost.clone(), shard(2)] {
        let error = queue.publish(&[message(1), Outbound { shard: shard.clone(), ..message(2) }]).await;
        let told =
            matches!(&error, Err(PortError::Misconfigured(text)) if text.contains(shard.flow.as_str()));
        assert!(told, "{error:?}");
        let error = match queue.consume(&shard, 1).await {
            Ok(mut consumer) => {
                tokio::time::timeout(SOON, consumer.next()).await.expect("an error").unwrap_err()
            }
            Err(error) => error,
        };
        assert!(error.to_string().contains(shard.flow.as_str()), "{error}");
    }
    let unknown = queue.depth(&FlowTopology { flow: nobody, shards: 1 }).await;
    assert!(unknown.is_err(), "{unknown:?}");
    // The error left a queue that works.
    queue.publish(&[Outbound { shard: shard(1), ..message(3) }]).await.unwrap();
    let mut consumer = queue.consume(&shard(1), 1).await.unwrap();
    assert_eq!(take(consumer.as_mut()).await, 3);
}

pub async fn preparing_and_asking_can_be_repeated<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&[message(1)]).await.unwrap();
    queue.prepare(&[topology()]).await.unwrap();
    let other = FlowTopology { flow: FlowName::new("calendar").unwrap(), shards: 1 };
    queue.prepare(&[other.clone(), topology()]).await.unwrap();
    queue.ping().await.unwrap();
    queue.ping().await.unwrap();
    wait_for_depth(queue.as_ref(), 1, 0).await;
    assert_eq!(queue.depth(&other).await.unwrap(), Depth::default());
}

pub async fn depth_counts_what_waits_what_is_held_and_what_is_delayed<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let before = now() - 1.second();
    let later = Outbound { not_before: Some(now() + 1.hour()), ..message(9) };
    let other_shard = Outbound { shard: shard(1), ..message(8) };
    queue.publish(&[message(1), message(2), later, other_shard]).await.unwrap();
    let depth = wait_for_depth(queue.as_ref(), 3, 1).await;
    if B::FLAGS.age_known_without_consumer {
        let oldest = depth.oldest.unwrap();
        assert!(before <= oldest && oldest <= now(), "{oldest}");
    }

    let mut consumer = consumer(queue.as_ref(), 10).await;
    let held = next(consumer.as_mut()).await;
    let depth = wait_for_depth(queue.as_ref(), 3, 1).await;
    let oldest = depth.oldest.unwrap();
    assert!(before <= oldest && oldest <= now(), "{oldest}");
    held.receipt.ack().await.unwrap();
    assert_eq!(take(consumer.as_mut()).await, 2);
    wait_for_depth(queue.as_ref(), 1, 1).await;
}

pub async fn ten_thousand_messages_pass<B: QueueBacking>() {
    const COUNT: usize = 10_000;
    const BATCH: usize = 500;
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let publisher = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            for first in (0..COUNT).step_by(BATCH) {
                queue.publish(&messages(first..first + BATCH)).await.unwrap();
            }
        }
    });
    let mut consumer = consumer(queue.as_ref(), 200).await;
    let mut acks = tokio::task::JoinSet::new();
    for expected in 0..COUNT {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(number(&delivery), expected);
        acks.spawn(delivery.receipt.ack());
        while let Some(acked) = acks.try_join_next() {
            acked.unwrap().unwrap();
        }
    }
    publisher.await.unwrap();
    while let Some(acked) = acks.join_next().await {
        acked.unwrap().unwrap();
    }
    wait_for_depth(queue.as_ref(), 0, 0).await;
    tokio::time::timeout(Duration::from_secs(1), queue.ping()).await.unwrap().unwrap();
}
