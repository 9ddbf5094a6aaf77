//! Queue and store go away, stand still, or take nothing: each program says so at `/readyz` and in its metrics, and goes
//! on by itself when they are back.

use std::time::{Duration, Instant};

use system_tests::{Backing, Fleet, Kind, Plan, Rabbitmq, Redis, wait};

use super::{SOON, created, person};

/// What is promised, times what a busy machine may need.
const CLOSED_NOTICED: Duration = Duration::from_secs(2 + 28);
const FROZEN_NOTICED: Duration = Duration::from_secs(20 + 40);
const RECOVERED: Duration = Duration::from_secs(15 + 75);

/// A part of the installation that is disturbed.
struct Part {
    /// As readiness calls it.
    name: &'static str,
    /// The gauge that says whether it answers.
    gauge: &'static str,
}

const QUEUE: Part = Part { name: "queue", gauge: "syncfleet_queue_connected" };
const STATE: Part = Part { name: "state", gauge: "syncfleet_state_connected" };

async fn fleet_on(rabbitmq: &Rabbitmq, redis: &Redis) -> Fleet {
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let mut fleet = Fleet::new(Plan::new(backing, 1, 1)).await.unwrap();
    fleet.start_ready().await.unwrap();
    fleet
}

/// Waits until every program says that the part is not well, and why.
async fn noticed(fleet: &Fleet, part: &Part, what: &str, since: Instant, promise: Duration) {
    for member in &fleet.members {
        let said = wait::until(&format!("{what} noticed by {}", member.name()), SOON, async || {
            let answer = fleet.readiness(member).await.map_err(|error| error.to_string())?;
            let connected = fleet.metric(member, part.gauge).await.map_err(|error| error.to_string())?;
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let is_down =
                body["parts"][part.name]["ready"] == false && answer.status == 503 && connected == 0.0;
            if is_down { Ok(body["parts"][part.name]["text"].clone()) } else { Err(answer.body) }
        })
        .await;
        println!("{what}: {} noticed after {:?}: {said}", member.name(), since.elapsed());
    }
    assert!(since.elapsed() < promise, "{what} was noticed after {:?}", since.elapsed());
}

/// Waits until every program is ready, and a record gets through.
async fn recovered(fleet: &Fleet, what: &str) {
    let back = Instant::now();
    fleet.ready().await.unwrap();
    println!("{what}: ready again after {:?}", back.elapsed());
    assert!(back.elapsed() < RECOVERED, "{what}: ready after {:?}", back.elapsed());
    let id = fleet.crm.create_as_person(&person(&what.replace(' ', "-"), "pending_sync")).unwrap();
    created(fleet, &id).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_stopped_or_frozen_is_noticed_and_waited_for() {
    let (mut rabbitmq, redis) = (Rabbitmq::start().await.unwrap(), Redis::start().await.unwrap());
    let fleet = fleet_on(&rabbitmq, &redis).await;

    let (what, since) = ("broker killed", Instant::now());
    rabbitmq.kill_9();
    noticed(&fleet, &QUEUE, what, since, CLOSED_NOTICED).await;
    rabbitmq.restart().await.unwrap();
    recovered(&fleet, what).await;

    let what = "broker stopped";
    rabbitmq.stop().await.unwrap();
    noticed(&fleet, &QUEUE, what, Instant::now(), CLOSED_NOTICED).await;
    rabbitmq.restart().await.unwrap();
    recovered(&fleet, what).await;

    let (what, since) = ("broker frozen", Instant::now());
    rabbitmq.freeze();
    noticed(&fleet, &QUEUE, what, since, FROZEN_NOTICED).await;
    rabbitmq.thaw();
    recovered(&fleet, what).await;
}

#[tokio::test]
async fn a_broker_with_an_alarm_is_noticed_by_who_publishes() {
    let (rabbitmq, redis) = (Rabbitmq::start().await.unwrap(), Redis::start().await.unwrap());
    let fleet = fleet_on(&rabbitmq, &redis).await;
    rabbitmq.control(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();
    // The broker says so to those who publish.
    let id = fleet.crm.create_as_person(&person("Alarm", "pending_sync")).unwrap();
    let producer = fleet.members.iter().find(|member| member.kind() == Kind::Producer).unwrap();
    wait::until("alarm noticed", SOON, async || {
        let answer = fleet.readiness(producer).await.map_err(|error| error.to_string())?;
        if answer.status == 503 && answer.body.contains("alarm") { Ok(()) } else { Err(answer.body) }
    })
    .await;
    rabbitmq.control(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    recovered(&fleet, "alarm over").await;
    created(&fleet, &id).await;
}

#[tokio::test]
async fn a_store_that_is_killed_stopped_or_frozen_is_noticed_and_waited_for() {
    let (rabbitmq, mut redis) = (Rabbitmq::start().await.unwrap(), Redis::start().await.unwrap());
    let fleet = fleet_on(&rabbitmq, &redis).await;

    let (what, since) = ("store killed", Instant::now());
    redis.kill_9();
    noticed(&fleet, &STATE, what, since, CLOSED_NOTICED).await;
    redis.restart().await.unwrap();
    recovered(&fleet, what).await;

    let what = "store stopped";
    redis.stop().await.unwrap();
    noticed(&fleet, &STATE, what, Instant::now(), CLOSED_NOTICED).await;
    redis.restart().await.unwrap();
    recovered(&fleet, what).await;

    let (what, since) = ("store frozen", Instant::now());
    redis.freeze();
    noticed(&fleet, &STATE, what, since, FROZEN_NOTICED).await;
    redis.thaw();
    recovered(&fleet, what).await;
    for member in &fleet.members {
        assert!(!member.log().contains("The fleet pauses"), "nothing was lost: {}", member.log());
    }
}
