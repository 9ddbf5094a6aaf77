//! The harness keeps its promises: servers keep their data over kill and restart, freeze, and never
//! outlive the test binary.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use system_tests::{Rabbitmq, Redis, shared_rabbitmq, shared_redis, unique_name, wait};

const SOON: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

async fn publish(url: &str, queue: &str, body: &[u8]) {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Ack(None)));
}

async fn get(url: &str, queue: &str) -> Option<Vec<u8>> {
    let channel = connect(url).await.create_channel().await.unwrap();
    let message = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap();
    message.map(|message| message.delivery.data)
}

#[tokio::test]
async fn rabbitmq_keeps_a_confirmed_message_over_kill_and_restart() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let url = rabbitmq.url();
    publish(&url, "kept", b"over stop").await;
    rabbitmq.restart().await.unwrap();
    assert_eq!(get(&url, "kept").await.as_deref(), Some(&b"over stop"[..]));

    // The queue is old by now: a node that is killed may forget what was declared a moment before, as it writes that down later.
    publish(&url, "kept", b"over kill").await;
    rabbitmq.kill_9();
    assert!(Connection::connect(&url, ConnectionProperties::default()).await.is_err());
    rabbitmq.restart().await.unwrap();
    assert_eq!(get(&url, "kept").await.as_deref(), Some(&b"over kill"[..]));

    rabbitmq.freeze();
    let frozen = tokio::time::timeout(
        Duration::from_millis(500),
        Connection::connect(&url, ConnectionProperties::default()),
    );
    let answer = frozen.await;
    assert!(answer.is_err(), "a frozen node answers nothing: {answer:?}");
    rabbitmq.thaw();
    connect(&url).await;

    drop(rabbitmq);
    assert!(Connection::connect(&url, ConnectionProperties::default()).await.is_err(), "drop ends the node");
}

#[tokio::test]
async fn a_virtual_host_sees_nothing_of_another() {
    let rabbitmq = shared_rabbitmq().await.unwrap();
    let queue = unique_name("queue");
    publish(&rabbitmq.url(), &queue, b"default host").await;
    let other = rabbitmq.create_vhost().await.unwrap();
    publish(&other, &queue, b"other host").await;
    assert_eq!(get(&other, &queue).await.as_deref(), Some(&b"other host"[..]));
    assert_eq!(get(&other, &queue).await, None);
    assert_eq!(get(&rabbitmq.url(), &queue).await.as_deref(), Some(&b"default host"[..]));
}

async fn ask<T: redis::FromRedisValue>(url: &str, command: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut request = redis::cmd(command[0]);
    request.arg(&command[1..]).query_async(&mut connection).await
}

#[tokio::test]
async fn redis_keeps_a_synced_key_over_kill_and_restart() {
    let mut redis = Redis::start().await.unwrap();
    let url = redis.url();
    ask::<()>(&url, &["SET", "kept", "yes"]).await.unwrap();
    wait::until("key in the append-only file", SOON, async || {
        let info: String = ask(&url, &["INFO", "persistence"]).await.map_err(|error| error.to_string())?;
        if info.contains("aof_buffer_length:0") { Ok(()) } else { Err(info) }
    })
    .await;
    redis.kill_9();
    assert!(ask::<String>(&url, &["PING"]).await.is_err());
    redis.restart().await.unwrap();
    assert_eq!(ask::<String>(&url, &["GET", "kept"]).await.unwrap(), "yes");

    redis.restart().await.unwrap();
    assert_eq!(ask::<String>(&url, &["GET", "kept"]).await.unwrap(), "yes");

    redis.freeze();
    let frozen = tokio::time::timeout(Duration::from_millis(300), ask::<String>(&url, &["PING"]));
    assert!(frozen.await.is_err(), "a frozen server answers nothing");
    redis.thaw();
    assert_eq!(ask::<String>(&url, &["PING"]).await.unwrap(), "PONG");
}

#[tokio::test]
async fn one_redis_is_shared() {
    let (one, other) = (shared_redis().await.unwrap(), shared_redis().await.unwrap());
    assert_eq!(one.url(), other.url());
    assert_eq!(ask::<String>(&one.url(), &["PING"]).await.unwrap(), "PONG");
}

/// Runs this test a second time in a process of its own, and kills that.
#[tokio::test]
async fn nothing_outlives_a_killed_test_binary() {
    const VICTIM: &str = "SYSTEM_TESTS_VICTIM";
    if std::env::var_os(VICTIM).is_some() {
        let redis = Redis::start().await.unwrap();
        println!("victim's redis: {}", redis.url());
        return std::future::pending().await;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "processes::nothing_outlives_a_killed_test_binary"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut urls = lines.filter_map(|line| Some(line.split_once("victim's redis: ")?.1.trim().to_owned()));
    let url = urls.next().unwrap();
    assert_eq!(ask::<String>(&url, &["PING"]).await.unwrap(), "PONG");
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait::until("end of the victim's server", SOON, async || match ask::<String>(&url, &["PING"]).await {
        Ok(answer) => Err(answer),
        Err(_) => Ok(()),
    })
    .await;
}
