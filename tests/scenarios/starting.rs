//! How the programs begin: with wrong settings, without what they need, two under one name; and how they end.

use std::time::Duration;

use simulators::{FaultKind, FaultRule};
use system_tests::supervise::Folder;
use system_tests::{
    Backing, Fleet, Kind, Plan, Program, Rabbitmq, Redis, judge, shared_rabbitmq, shared_redis, wait,
};

use crate::{SOON, created, object, person};

#[tokio::test]
async fn all_that_is_wrong_with_the_settings_is_said_at_once() {
    let folder = Folder::new("settings").unwrap();
    let toml = r#"
[worker]
concurency_max = 8
[connector.espocrm]
url = "https://crm.example.com"
api_key = "env:TEST_NOT_SET"
[connector.advoware]
configurator_url = "https://configurator.example.com"
kanzlei = "k"
database = "d"
user = "u"
app_id = "a"
api_key = "hunter2hunter2"
password = "file:/nonexistent"
[flow.parties]
enabled = true
sweep_cron = "*/15 * * *"
"#;
    std::fs::write(folder.join("syncfleet.toml"), toml).unwrap();
    for program in ["worker", "producer"] {
        let mut process = Program::new(program).unwrap().current_dir(folder.path()).start().unwrap();
        assert_eq!(process.wait_exit(SOON).await.unwrap().code(), Some(78));
        let complaint = process.wait_for_log("problems in the configuration", SOON).await.unwrap();
        assert!(complaint.contains('5'), "{complaint}");
        for key in [
            "worker.concurency_max",
            "connector.espocrm.api_key",
            "connector.advoware.api_key",
            "connector.advoware.password",
            "flow.parties.sweep_cron",
        ] {
            process.wait_for_log(key, SOON).await.unwrap();
        }
        let log = process.log();
        assert!(log.contains("TEST_NOT_SET") && log.contains("concurrency_max"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test]
async fn a_missing_field_in_the_crm_is_said_at_start_with_its_name() {
    let plan = Plan::new(Backing::Embedded, 1, 0);
    let mut fleet = Fleet::new(plan).await.unwrap();
    fleet.crm.configure(&object(serde_json::json!({ "fields": { "advowareRowId": null } }))).unwrap();
    fleet.start_ready().await.unwrap();
    let process = fleet.members[0].process().unwrap();
    let line = process.wait_for_log("CBeteiligte.advowareRowId", SOON).await.unwrap();
    assert!(line.contains("WARN") && line.contains("varchar"), "{line}");
    fleet.drain().await.unwrap();
}

/// What a program says when it is not ready.
async fn until_not_ready(fleet: &Fleet, number: usize, says: &str) {
    let member = &fleet.members[number];
    wait::until(&format!("complaint about {says}"), SOON, async || match fleet.readiness(member).await {
        Ok(answer) if answer.status == 503 && answer.body.contains(says) => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn programs_wait_for_absent_servers_and_get_over_their_loss() {
    let (mut rabbitmq, mut redis) = (Rabbitmq::start().await.unwrap(), Redis::start().await.unwrap());
    rabbitmq.stop().await.unwrap();
    redis.stop().await.unwrap();
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let plan = Plan::new(backing, 1, 1);
    let mut fleet = Fleet::new(plan).await.unwrap();
    let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/create")).unwrap().clone();
    let deliver = async |fleet: &Fleet, id: &str| {
        fleet.http.deliver(&hook, format!("[{{\"id\":\"{id}\"}}]")).await.unwrap().status
    };
    fleet.start().unwrap();
    let (producer, worker) = (0, 1);
    until_not_ready(&fleet, producer, "RabbitMQ").await;
    until_not_ready(&fleet, worker, "RabbitMQ").await;
    let first = fleet.crm.seed(person("First", "clean")).unwrap();
    assert_eq!(deliver(&fleet, &first).await, 200, "it waits in the spool");

    rabbitmq.restart().await.unwrap();
    until_not_ready(&fleet, worker, "Redis").await;
    redis.restart().await.unwrap();
    fleet.ready().await.unwrap();
    created(&fleet, &first).await;

    rabbitmq.stop().await.unwrap();
    let second = fleet.crm.seed(person("Second", "clean")).unwrap();
    assert_eq!(deliver(&fleet, &second).await, 200, "it waits in the spool");
    until_not_ready(&fleet, worker, "queue").await;
    rabbitmq.restart().await.unwrap();
    created(&fleet, &second).await;

    redis.stop().await.unwrap();
    until_not_ready(&fleet, worker, "state").await;
    let third = fleet.crm.seed(person("Third", "clean")).unwrap();
    assert_eq!(deliver(&fleet, &third).await, 200, "a webhook needs no state");
    redis.restart().await.unwrap();
    created(&fleet, &third).await;
    fleet.ready().await.unwrap();
    fleet.drain().await.unwrap();
    assert!(fleet.dead_letters().await.unwrap().is_empty());
}

async fn on_servers(workers: usize) -> Fleet {
    let rabbitmq = shared_rabbitmq().await.unwrap().url();
    let backing = Backing::Servers { rabbitmq, redis: shared_redis().await.unwrap().url() };
    Fleet::new(Plan::new(backing, 1, workers)).await.unwrap()
}

fn trace_of_trouble(fleet: &Fleet) -> Vec<String> {
    judge::wrong_writes(&fleet.crm.journal(), &fleet.advoware.journal(), &fleet.crm.records())
}

#[tokio::test]
async fn two_workers_under_one_name_do_no_harm() {
    let mut fleet = on_servers(2).await;
    fleet.of_kind(Kind::Worker).for_each(|worker| worker.set("WORKER__NAME", "twin"));
    fleet.crm.fault(FaultRule::new(FaultKind::Latency { latency_ms: 20 }));
    fleet.advoware.fault(FaultRule::new(FaultKind::Latency { latency_ms: 20 }));
    let ids: Vec<String> =
        (0..40).map(|n| fleet.crm.seed(person(&format!("Twin{n}"), "pending_sync")).unwrap()).collect();
    fleet.start().unwrap();
    for id in &ids {
        created(&fleet, id).await;
    }
    fleet.drain().await.unwrap();
    assert_eq!(trace_of_trouble(&fleet), Vec::<String>::new());
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_finishes_hands_back_and_burns_no_attempt() {
    let mut fleet = on_servers(1).await;
    fleet.members[1].set("WORKER__CONCURRENCY_MAX", "4");
    fleet.advoware.fault(FaultRule::new(FaultKind::Latency { latency_ms: 300 }));
    let ids: Vec<String> =
        (0..24).map(|n| fleet.crm.seed(person(&format!("Drain{n}"), "pending_sync")).unwrap()).collect();
    fleet.start().unwrap();
    let mut stops = 0;
    loop {
        let done = fleet.advoware.records().len();
        wait::until("a run in its middle", SOON, async || {
            let now = fleet.advoware.records().len();
            if now > done || now == ids.len() { Ok(()) } else { Err(now) }
        })
        .await;
        if fleet.advoware.records().len() == ids.len() {
            break;
        }
        let begun = tokio::time::Instant::now();
        fleet.members[1].drain().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(12), "drained in {:?}", begun.elapsed());
        stops += 1;
        fleet.members[1].start().unwrap();
    }
    assert!(stops > 0, "it was never stopped while it had work");
    for id in &ids {
        created(&fleet, id).await;
    }
    // The last start may be a moment ago: what has not begun yet cannot drain.
    fleet.ready().await.unwrap();
    fleet.drain().await.unwrap();
    assert_eq!(trace_of_trouble(&fleet), Vec::<String>::new());
    let tried_again = fleet
        .crm
        .journal()
        .iter()
        .filter(|entry| entry.after.as_ref().is_some_and(|after| after["syncRetryCount"].as_u64() > Some(0)))
        .count();
    assert_eq!(tried_again, 0, "a stop is nobody's failed attempt");
    assert!(fleet.dead_letters().await.unwrap().is_empty());
}
