//! What somebody else puts into the queues, at the real worker.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use shared::clock::{Clock as _, SystemClock};
use shared::dead_letter::Reason;
use shared::envelope::{Cause, Envelope, Operation};
use shared::record_key::{FlowName, RecordKey};
use shared::routing::shard_of;
use shared::trace::TraceParent;
use system_tests::{Backing, Fleet, Plan, shared_rabbitmq, shared_redis, wait};
use uuid::Uuid;

use crate::{SOON, created, person};

const SHARDS: u16 = 16;

/// Puts bytes into the queue of a record's shard, past the product's own publisher.
async fn put(url: &str, namespace: &str, key: &RecordKey, body: &[u8]) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let queue = format!("{namespace}.{}", shard_of(key, SHARDS));
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let confirm =
        channel.basic_publish("".into(), queue.as_str().into(), options, body, properties).await.unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Ack(None)), "no queue {queue}");
}

fn envelope(key: &RecordKey) -> String {
    let (id, trace, now) = (Uuid::now_v7(), TraceParent::new(1, 1), SystemClock.now());
    let envelope = Envelope::new(id, "/test", key.clone(), Operation::Check, Cause::Manual, trace, now);
    String::from_utf8(envelope.to_bytes()).unwrap()
}

#[tokio::test]
async fn what_is_no_message_of_ours_becomes_a_dead_letter_and_its_neighbours_go_on() {
    let rabbitmq = shared_rabbitmq().await.unwrap();
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: shared_redis().await.unwrap().url() };
    let plan = Plan::new(backing, 0, 1);
    let mut fleet = Fleet::new(plan).await.unwrap();
    fleet.start_ready().await.unwrap();
    let id = fleet.crm.seed(person("Neighbour", "clean")).unwrap();
    let key = RecordKey::new(FlowName::new("parties").unwrap(), &*id).unwrap();
    let ours = envelope(&key);
    let newer = ours.replace("\"schemaversion\":1", "\"schemaversion\":2,\"added\":[1]");
    let year = ours.split("\"firstseen\":\"").nth(1).unwrap().split('-').next().unwrap();
    let long_waiting = newer.replace(&format!("\"firstseen\":\"{year}"), "\"firstseen\":\"2020");
    assert_ne!((&ours, &newer), (&newer, &long_waiting));
    let foreign = ours.replace("syncfleet.parties.", "syncfleet.payroll.");
    for body in ["no JSON", "", "\u{0}\u{7f}", &foreign, &long_waiting, &newer, &ours] {
        put(&rabbitmq.url(), fleet.namespace(), &key, body.as_bytes()).await;
    }
    created(&fleet, &id).await;

    let letters = wait::until("dead letters", SOON, async || {
        let letters = fleet.dead_letters().await.unwrap();
        if letters.len() == 5 { Ok(letters) } else { Err(letters) }
    })
    .await;
    let mut found: Vec<(&str, Reason)> = letters.iter().map(|l| (l.code.as_str(), l.reason)).collect();
    found.sort();
    let expected = [
        ("newer_schema", Reason::Expired),
        ("unknown_flow", Reason::Unreadable),
        ("unreadable", Reason::Unreadable),
        ("unreadable", Reason::Unreadable),
        ("unreadable", Reason::Unreadable),
    ];
    assert_eq!(found, expected);
    let no_json = letters.iter().find(|letter| letter.message == "no JSON").unwrap();
    assert!(no_json.text.contains("it is no JSON"), "{no_json:?}");
    // The newer one, which is young, waits for a worker that knows it.
    let topology = shared::ports::queue::FlowTopology { flow: key.flow().clone(), shards: SHARDS };
    let depth = fleet.queue().unwrap().depth(&topology).await.unwrap();
    assert_eq!(depth.ready + depth.delayed, 1, "{depth:?}");
    fleet.ready().await.unwrap();
    fleet.drain().await.unwrap();
}
