//! One host of several goes away: the adapters find another one, and nothing that was confirmed is lost.

use shared::ports::queue::Queue as _;
use shared::ports::state::{State as _, Write};
use system_tests::{Rabbitmq, Redis, unique_name, wait};

use super::{SOON, message, next, options, prepared, shard};

#[tokio::test]
async fn a_store_is_found_again_at_the_replica_that_was_promoted() {
    let mut primary = Redis::start().await.unwrap();
    let mut replica = Redis::start_replica_of(&primary).await.unwrap();
    let options = adapter_redis::Options {
        prefix: unique_name("failover"),
        further_hosts: vec![format!("127.0.0.1:{}", replica.port())],
        ..adapter_redis::Options::default()
    };
    let state = adapter_redis::RedisState::new(&primary.url(), options).unwrap();
    state.write(Write::put("a", b"1")).await.unwrap();
    wait::until("replicated", SOON, async || {
        let keys = replica.control(&["DBSIZE"]).await.unwrap();
        if keys == primary.control(&["DBSIZE"]).await.unwrap() { Ok(()) } else { Err(keys) }
    })
    .await;

    primary.kill_9();
    assert!(state.get("a").await.is_err());
    replica.promote().await.unwrap();
    let found = wait::until("answer", SOON, async || state.get("a").await).await;
    assert_eq!(found.unwrap().value, b"1");
    state.write(Write::put("a", b"2")).await.unwrap();

    // The old one comes back and believes that it is the primary still, until somebody tells it.
    primary.restart().await.unwrap();
    state.write(Write::put("a", b"3")).await.unwrap();
    primary.control(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]).await.unwrap();
    assert_eq!(state.get("a").await.unwrap().unwrap().value, b"3");
}

#[tokio::test]
async fn a_broker_is_found_at_whichever_of_its_hosts_answers() {
    // A cluster takes minutes on a busy machine: the long form of the chaos suite has one.
    let broker = Rabbitmq::start().await.unwrap();
    let nobody = "amqp://guest:guest@127.0.0.1:1/%2f";
    let settings =
        adapter_rabbitmq::Options { further_hosts: vec!["127.0.0.1:2".into(), broker.host()], ..options() };
    let queue = prepared(nobody, settings).await;
    queue.publish(&[message(0, "x")]).await.unwrap();
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    assert_eq!(next(&mut consumer).await.unwrap().body, "x");
}
