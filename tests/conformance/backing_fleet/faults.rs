//! What happens when RabbitMQ goes away, stands still, or takes nothing.

use std::time::{Duration, Instant};

use shared::ports::PortError;
use shared::ports::queue::{Consumer, Queue};
use system_tests::{Rabbitmq, wait};

use super::{SOON, message, next, options, prepared, shard, two_shards};

/// A consumer as a worker gets one back: by trying until the broker is there.
async fn consumer_again(queue: &impl Queue) -> Box<dyn Consumer> {
    wait::until("consumer", SOON, async || queue.consume(&shard(0), 10).await.map_err(|e| e.to_string()))
        .await
}

async fn loses_nothing(broker: &mut Rabbitmq, kill: bool) {
    let queue = prepared(&broker.url(), options()).await;
    queue.publish(&[message(0, "held"), message(0, "waiting")]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    let held = next(&mut consumer).await.unwrap();
    if kill {
        broker.kill_9();
    } else {
        broker.stop().await.unwrap();
    }
    let lost = Instant::now();
    let error = next(&mut consumer).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable(_)), "{error}");
    assert!(lost.elapsed() < Duration::from_secs(5), "noticed after {:?}", lost.elapsed());
    assert!(held.receipt.ack().await.is_err());
    assert!(matches!(queue.publish(&[message(0, "x")]).await, Err(PortError::Unavailable(_))));
    assert!(matches!(queue.ping().await, Err(PortError::Unavailable(_))));
    drop(consumer);

    broker.restart().await.unwrap();
    let mut consumer = consumer_again(&queue).await;
    for expected in ["held", "waiting"] {
        let delivery = next(&mut consumer).await.unwrap();
        assert_eq!(delivery.body, expected);
        delivery.receipt.ack().await.unwrap();
    }
    wait::until("publish", SOON, async || queue.publish(&[message(0, "new")]).await).await;
    assert_eq!(next(&mut consumer).await.unwrap().body, "new");
    queue.prepare(&[two_shards()]).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_restarts_or_is_killed_keeps_messages_and_gets_its_consumers_back() {
    let mut broker = Rabbitmq::start().await.unwrap();
    loses_nothing(&mut broker, false).await;
    loses_nothing(&mut broker, true).await;
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_waited_for() {
    let mut broker = Rabbitmq::start().await.unwrap();
    let settings = adapter_rabbitmq::Options { confirm_timeout: Duration::from_secs(3), ..options() };
    let queue = prepared(&broker.url(), settings).await;
    let mut consumer = queue.consume(&shard(0), 10).await.unwrap();
    broker.freeze();
    let frozen = Instant::now();
    let published = queue.publish(&[message(0, "x")]).await;
    assert!(matches!(published, Err(PortError::Unavailable(_))), "{published:?}");
    assert!(matches!(next(&mut consumer).await, Err(PortError::Unavailable(_))));
    assert!(frozen.elapsed() < Duration::from_secs(20), "noticed after {:?}", frozen.elapsed());
    broker.thaw();
    let mut consumer = consumer_again(&queue).await;
    wait::until("publish", SOON, async || queue.publish(&[message(0, "y")]).await).await;
    next(&mut consumer).await.unwrap().receipt.ack().await.unwrap();
}

#[tokio::test]
async fn a_broker_with_an_alarm_takes_nothing_but_still_delivers() {
    let broker = Rabbitmq::start().await.unwrap();
    let timeout = Duration::from_secs(2);
    let settings = adapter_rabbitmq::Options { confirm_timeout: timeout, blocked_wait: timeout, ..options() };
    let queue = prepared(&broker.url(), settings).await;
    queue.publish(&[message(0, "before")]).await.unwrap();
    broker.control(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();
    wait::until("alarm", SOON, async || match queue.publish(&[message(1, "during")]).await {
        Err(PortError::Full(text)) if text.contains("alarm") => Ok(()),
        other => Err(other),
    })
    .await;
    // Only publishers are blocked: what is there is delivered and settled, and what cannot be given back yet
    // stays with its consumer.
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert!(matches!(delivery.receipt.give_back().await, Err(PortError::Full(_))));
    broker.control(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert_eq!((&delivery.body[..], delivery.redeliveries), (&b"before"[..], 0));
    delivery.receipt.ack().await.unwrap();
    wait::until("publish", SOON, async || queue.publish(&[message(0, "after")]).await).await;
}
