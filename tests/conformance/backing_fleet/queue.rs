//! What RabbitMQ must do beyond the common suite, while it is well.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use shared::clock::later;
use shared::dead_letter::{DeadLetterEvent, Reason};
use shared::flow::Verdict;
use shared::ports::PortError;
use shared::ports::queue::{Outbound, Queue as _};
use system_tests::{shared_rabbitmq, wait};

use super::{
    SOON, envelope, is_silent, message, next, now, options, prepared, queue_at, resolved, shard, two_shards,
    whole_log,
};

#[tokio::test]
async fn messages_arrive_in_order_over_windows_of_confirms() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), adapter_rabbitmq::Options { publish_window: 7, ..options() }).await;
    let batch: Vec<Outbound> = (0..100).map(|n| message(1, n.to_string())).collect();
    queue.publish(&batch).await.unwrap();
    let mut consumer = queue.consume(&shard(1), 10).await.unwrap();
    for n in 0..100 {
        let delivery = next(&mut consumer).await.unwrap();
        assert_eq!((&delivery.body[..], delivery.redeliveries), (n.to_string().as_bytes(), 0));
        delivery.receipt.ack().await.unwrap();
    }
    wait_for_depth(&queue, 0, 0).await;
}

async fn wait_for_depth(queue: &adapter_rabbitmq::RabbitmqQueue, ready: u64, delayed: u64) {
    wait::until("depth", SOON, async || {
        let depth = queue.depth(&two_shards()).await.unwrap();
        if (depth.ready, depth.delayed) == (ready, delayed) { Ok(()) } else { Err(depth) }
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_is_given_up_while_it_begins_holds_nothing_up() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    // At every point between the first request and the last answer.
    let shard = shard(0);
    for polls in 0.. {
        let mut beginning = Box::pin(queue.consume(&shard, 10));
        let mut has_begun = false;
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut beginning => has_begun = true,
                () = tokio::task::yield_now() => {}
            }
            if has_begun {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "between two polls the broker's answers arrive")]
            std::thread::sleep(Duration::from_micros(20));
        }
        if has_begun {
            break;
        }
    }
    queue.publish(&(0..30).map(|_| message(0, "x")).collect::<Vec<_>>()).await.unwrap();
    let mut consumer = queue.consume(&shard, 10).await.unwrap();
    for _ in 0..30 {
        next(&mut consumer).await.unwrap().receipt.ack().await.unwrap();
    }
}

#[tokio::test]
async fn depth_counts_what_waits_what_is_held_and_what_is_delayed() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    let due = later(now(), Duration::from_secs(3_600));
    let delayed = Outbound { not_before: Some(due), ..message(0, "later") };
    let mut batch: Vec<Outbound> = (0..10).map(|n| message(n % 2, "x")).collect();
    batch.push(delayed);
    queue.publish(&batch).await.unwrap();
    wait_for_depth(&queue, 10, 1).await;
    let mut consumer = queue.consume(&shard(0), 3).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    wait_for_depth(&queue, 10, 1).await;
    assert!(queue.depth(&two_shards()).await.unwrap().oldest.is_some());
    delivery.receipt.ack().await.unwrap();
    wait_for_depth(&queue, 9, 1).await;
    drop(consumer);
    wait_for_depth(&queue, 9, 1).await;
    assert_eq!(queue.depth(&two_shards()).await.unwrap().oldest, None);
}

#[tokio::test]
async fn giving_back_neither_counts_nor_poisons() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), adapter_rabbitmq::Options { delivery_limit: 2, ..options() }).await;
    queue.publish(&[message(0, "kept")]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 5).await.unwrap();
    for round in 0..10 {
        let delivery = next(&mut consumer).await.unwrap();
        assert_eq!((&delivery.body[..], delivery.redeliveries), (&b"kept"[..], 0));
        // Every other time by dropping it, as a task does that panics.
        if round % 2 == 0 {
            delivery.receipt.give_back().await.unwrap();
        }
    }
    assert!(whole_log(&queue, 10).await.entries.is_empty());
}

#[tokio::test]
async fn what_is_never_settled_becomes_poison_once() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), adapter_rabbitmq::Options { delivery_limit: 3, ..options() }).await;
    let envelope = envelope();
    let outbound = Outbound { shard: shard(0), ..Outbound::of(&envelope, 1) };
    queue.publish(&[outbound]).await.unwrap();
    for redeliveries in 0..=3 {
        let mut consumer = queue.consume(&shard(0), 5).await.unwrap();
        let delivery = next(&mut consumer).await.unwrap();
        assert_eq!(delivery.redeliveries, redeliveries);
        drop(consumer);
        assert!(delivery.receipt.ack().await.is_err(), "its consumer has ended");
    }
    let page = wait::until("poison", SOON, async || {
        let page = whole_log(&queue, 10).await;
        if page.entries.is_empty() { Err(page) } else { Ok(page) }
    })
    .await;
    let events: Vec<_> = page.into_events().collect();
    let [DeadLetterEvent::Opened { letter }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((letter.id, letter.reason), (envelope.id, Reason::Poison));
    assert_eq!(letter.key, Some(envelope.key));
    wait_for_depth(&queue, 0, 0).await;
}

#[tokio::test]
async fn an_unroutable_message_is_an_error_that_names_its_shard_and_harms_nothing_else() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    queue.append_dead_letter_event(&resolved(1)).await.unwrap();
    let PortError::Misconfigured(text) = queue.publish(&[message(7, "lost?")]).await.unwrap_err() else {
        panic!("another error");
    };
    assert!(text.contains("parties.007"), "{text}");
    queue.publish(&[message(0, "fine")]).await.unwrap();
    assert_eq!(whole_log(&queue, 10).await.entries.len(), 1);

    let unprepared = queue_at(&broker.url(), options());
    for error in [
        unprepared.publish(&[message(0, "x")]).await.unwrap_err(),
        unprepared.consume(&shard(0), 1).await.map(drop).unwrap_err(),
        unprepared.scan_dead_letters(0, 1).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, PortError::Misconfigured(text) if text.contains("start")), "{error}");
    }
}

#[tokio::test]
async fn a_wait_longer_than_every_tier_takes_several_and_is_never_early() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    let mut consumer = queue.consume(&shard(1), 5).await.unwrap();
    let due = later(now(), Duration::from_millis(4_300));
    queue.publish(&[Outbound { not_before: Some(due), ..message(1, "first") }]).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert!(now() >= due);
    assert_eq!((&delivery.body[..], delivery.redeliveries), (&b"first"[..], 0));

    let due = later(now(), Duration::from_millis(700));
    delivery.receipt.retry(Bytes::from("again"), due).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert!(now() >= due);
    delivery.receipt.retry(Bytes::from("at once"), due).await.unwrap();
    let delivery = next(&mut consumer).await.unwrap();
    assert_eq!(&delivery.body[..], b"at once");
    delivery.receipt.ack().await.unwrap();
}

#[tokio::test]
async fn the_log_is_read_to_its_end_however_it_was_written() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    assert!(whole_log(&queue, 5).await.entries.is_empty());
    let mut expected = BTreeSet::new();
    for round in 0..30u128 {
        // Together, so that the stream keeps several in one chunk.
        let events: Vec<DeadLetterEvent> = (0..40).map(|n| resolved(round * 40 + n)).collect();
        let appended = join_all(events.iter().map(|event| queue.append_dead_letter_event(event))).await;
        appended.into_iter().for_each(Result::unwrap);
        expected.extend(events.iter().map(id_of));
        let found: BTreeSet<u128> =
            whole_log(&queue, 1_000).await.into_events().map(|event| id_of(&event)).collect();
        assert_eq!(found, expected, "round {round}");
    }
    let in_pages = whole_log(&queue, 7).await;
    assert_eq!(in_pages.entries.len(), 1_200);
    let beyond = queue.scan_dead_letters(1_000_000, 10).await.unwrap();
    assert!(beyond.entries.is_empty() && beyond.at_end);
    assert_eq!(beyond.next, in_pages.next, "the log is shorter than that");
}

fn id_of(event: &DeadLetterEvent) -> u128 {
    match event {
        DeadLetterEvent::Opened { letter } => letter.id.as_u128(),
        DeadLetterEvent::Resolved { id, .. } => id.as_u128(),
    }
}

#[tokio::test]
async fn strange_records_and_foreign_messages_are_seen_and_stop_nothing() {
    let broker = shared_rabbitmq().await.unwrap();
    let options = options();
    let stream = format!("{}.dead_letters", options.namespace);
    let queue = prepared(&broker.url(), options).await;
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .basic_publish(
            stream.as_str().into(),
            "".into(),
            BasicPublishOptions::default(),
            b"\xffnot ours",
            BasicProperties::default(),
        )
        .await
        .unwrap();
    channel.close(200, "sent".into()).await.unwrap();
    queue.append_dead_letter_event(&resolved(1)).await.unwrap();
    let page = whole_log(&queue, 10).await;
    let events: Vec<_> = page.into_events().collect();
    let [DeadLetterEvent::Opened { letter }, DeadLetterEvent::Resolved { .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!((letter.reason, letter.code.as_str()), (Reason::Unreadable, "foreign_record"));
}

#[tokio::test]
async fn another_topology_in_the_broker_is_explained() {
    let broker = shared_rabbitmq().await.unwrap();
    let options = options();
    prepared(&broker.url(), options.clone()).await;
    let other = queue_at(&broker.url(), adapter_rabbitmq::Options { delivery_limit: 7, ..options.clone() });
    let PortError::Misconfigured(text) = other.prepare(&[two_shards()]).await.unwrap_err() else {
        panic!("another error");
    };
    let shard_queue = format!("{}.parties.000", options.namespace);
    for part in [shard_queue.as_str(), "x-delivery-limit", "'7'", "'20'", "namespace"] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    prepared(&broker.url(), options).await;
}

#[tokio::test]
async fn a_second_consumer_waits_until_the_first_has_gone() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = prepared(&broker.url(), options()).await;
    let mut first = queue.consume(&shard(0), 5).await.unwrap();
    let mut second = queue.consume(&shard(0), 5).await.unwrap();
    queue.publish(&[message(0, "one")]).await.unwrap();
    let held = next(&mut first).await.unwrap();
    assert!(is_silent(&mut second).await);
    drop((first, held));
    let delivery = next(&mut second).await.unwrap();
    assert_eq!((&delivery.body[..], delivery.redeliveries), (&b"one"[..], 1));
    delivery.receipt.ack().await.unwrap();
}

#[tokio::test]
async fn the_check_finds_the_version_and_the_stream() {
    let broker = shared_rabbitmq().await.unwrap();
    let queue = queue_at(&broker.url(), options());
    let before = queue.check().await;
    assert_eq!(before.iter().map(|c| c.verdict).max(), Some(Verdict::Warning), "{before:?}");
    queue.prepare(&[two_shards()]).await.unwrap();
    let after = queue.check().await;
    assert!(after.len() == 3 && after.iter().all(|c| c.verdict == Verdict::Well), "{after:?}");
    let nobody = queue_at("amqp://guest:geheim@127.0.0.1:1/%2f", options());
    let checks = nobody.check().await;
    assert!(checks.iter().any(|c| c.verdict == Verdict::Broken && !c.seen.contains("geheim")), "{checks:?}");
}

#[tokio::test]
async fn a_wrong_password_is_for_a_person() {
    let broker = shared_rabbitmq().await.unwrap();
    let wrong = broker.url().replace("guest:guest", "guest:geheim");
    let error = queue_at(&wrong, options()).ping().await.unwrap_err();
    assert!(matches!(&error, PortError::Misconfigured(text) if !text.contains("geheim")), "{error}");
    let error = queue_at(&broker.url().replace("%2f", "nowhere"), options()).ping().await.unwrap_err();
    assert!(matches!(&error, PortError::Misconfigured(text) if text.contains("nowhere")), "{error}");
    queue_at(&broker.url(), options()).ping().await.unwrap();
}

#[tokio::test]
async fn a_consumer_whose_queue_is_deleted_says_so() {
    let broker = shared_rabbitmq().await.unwrap();
    let options = options();
    let shard_queue = format!("{}.parties.000", options.namespace);
    let queue = prepared(&broker.url(), options).await;
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    broker.control(&["delete_queue", &shard_queue]).await.unwrap();
    let error = next(&mut consumer).await.unwrap_err();
    assert!(matches!(&error, PortError::Unavailable(text) if text.contains("parties.000")), "{error}");
    assert!(matches!(queue.consume(&shard(0), 1).await.map(drop), Err(PortError::Misconfigured(_))));
    queue.prepare(&[two_shards()]).await.unwrap();
    queue.publish(&[message(0, "again")]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    next(&mut consumer).await.unwrap().receipt.ack().await.unwrap();
}
