//! Webhooks while RabbitMQ is away: whatever was answered 200 arrives, in order.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use shared::envelope::{Cause, Envelope};
use shared::record_key::FlowName;
use shared::routing::shards_of;
use system_tests::fleet::Webhook;
use system_tests::{Backing, Fleet, Plan, Rabbitmq, shared_redis, wait};
use uuid::Uuid;

use crate::SOON;

const SHARDS: u16 = 16;
/// EspoCRM gives up after it.
const SENDER_PATIENCE: Duration = Duration::from_secs(10);

fn parties() -> FlowName {
    FlowName::new("parties").unwrap()
}

/// A producer without workers, so that what it published can be looked at.
struct Intake {
    fleet: Fleet,
    hook: Webhook,
    /// How many webhooks were answered 200, by key.
    accepted: BTreeMap<String, usize>,
}

impl Intake {
    async fn on(rabbitmq: &Rabbitmq, settings: &[(&'static str, &str)]) -> Self {
        let redis = shared_redis().await.unwrap().url();
        let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis };
        // As long as EspoCRM waits: what a loaded disk needs for a write is not what is tested here.
        let patience = [("PRODUCER__WEBHOOK_ANSWER_SECONDS_MAX", "8.0")];
        let settings =
            settings.iter().chain(&patience).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let plan = Plan { settings, sends_webhooks: false, ..Plan::new(backing, 1, 0) };
        let fleet = Fleet::new(plan).await.unwrap();
        let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/update")).unwrap().clone();
        Self { fleet, hook, accepted: BTreeMap::new() }
    }

    /// Sends a webhook about a record, and remembers when it was accepted.
    async fn deliver(&mut self, id: &str) -> Result<u16, String> {
        let body = format!("[{{\"id\":\"{id}\"}}]");
        let begun = tokio::time::Instant::now();
        let answer = self.fleet.http.deliver(&self.hook, body).await.map_err(|error| error.to_string())?;
        assert!(begun.elapsed() < SENDER_PATIENCE, "answered after {:?}", begun.elapsed());
        if answer.status == 200 {
            *self.accepted.entry(id.to_owned()).or_default() += 1;
        }
        Ok(answer.status)
    }

    /// Starts the producer, which may be its next life, and waits until it takes webhooks.
    async fn restart(&mut self) {
        self.fleet.members[0].start().unwrap();
        self.until_accepted("again").await;
    }

    async fn until_drained(&self) {
        let name = "syncfleet_spool_messages";
        wait::until(name, SOON, async || match self.fleet.metric(&self.fleet.members[0], name).await {
            Ok(0.0) => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// Waits until everything that was accepted has arrived, and looks at its order: ids rise with the time at which
    /// their messages were made.
    async fn until_all_arrived(&mut self) {
        let queue = self.fleet.queue().unwrap();
        let (sender, mut arrivals) = tokio::sync::mpsc::channel(1_000);
        for shard in shards_of(&parties(), SHARDS) {
            let mut consumer = queue.consume(&shard, 1_000).await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok(delivery) = consumer.next().await {
                    let envelope = Envelope::parse(&delivery.body).unwrap();
                    delivery.receipt.ack().await.unwrap();
                    if sender.send(envelope).await.is_err() {
                        return;
                    }
                }
            });
        }
        let (mut seen, mut arrived) = (HashSet::new(), BTreeMap::<String, Vec<Uuid>>::new());
        wait::until("what was accepted", SOON, async || {
            while let Ok(envelope) = arrivals.try_recv() {
                if envelope.cause == Cause::Webhook && seen.insert(envelope.id) {
                    arrived.entry(envelope.key.id().to_owned()).or_default().push(envelope.id);
                }
            }
            let come = |id: &String| arrived.get(id).map_or(0, Vec::len);
            let missing: Vec<_> = self.accepted.iter().filter(|(id, count)| come(id) < **count).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
        })
        .await;
        for (key, ids) in &arrived {
            assert!(ids.is_sorted(), "{key}: {ids:?}");
        }
    }

    /// Waits until a webhook is accepted.
    async fn until_accepted(&mut self, id: &str) {
        wait::until("an accepted webhook", SOON, async || match self.deliver(id).await {
            Ok(200) => Ok(()),
            other => Err(other),
        })
        .await;
    }
}

#[tokio::test]
async fn webhooks_accepted_without_a_broker_survive_kills_and_arrive_in_order() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let mut intake = Intake::on(&rabbitmq, &[]).await;
    intake.fleet.start_ready().await.unwrap();
    for n in 0..10 {
        assert_eq!(intake.deliver(&format!("r{}", n % 5)).await, Ok(200));
    }
    rabbitmq.stop().await.unwrap();
    for _ in 0..3 {
        for n in 0..20 {
            assert_eq!(intake.deliver(&format!("r{}", n % 5)).await, Ok(200), "while the broker is away");
        }
        // In the middle of another one, whose sender gets no answer or a late one.
        let url = intake.hook.clone();
        let in_flight = intake.fleet.http.clone();
        let cut = tokio::spawn(async move { in_flight.deliver(&url, "[{\"id\":\"cut\"}]").await });
        intake.fleet.members[0].kill_9();
        let _either_way = cut.await.unwrap();
        intake.restart().await;
    }
    // The whole answer, not only the file: readiness says what waits, and that the broker is away.
    let producer = &intake.fleet.members[0];
    wait::until("what waits in readiness", SOON, async || match intake.fleet.readiness(producer).await {
        Ok(answer) if answer.status == 503 && answer.body.contains("messages wait for the broker") => Ok(()),
        other => Err(other),
    })
    .await;
    rabbitmq.restart().await.unwrap();
    intake.until_drained().await;
    for n in 0..10 {
        assert_eq!(intake.deliver(&format!("r{}", n % 5)).await, Ok(200));
    }
    intake.until_all_arrived().await;
    intake.fleet.ready().await.unwrap();
    intake.fleet.drain().await.unwrap();
}

#[tokio::test]
async fn a_frozen_broker_holds_up_no_webhook() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let mut intake = Intake::on(&rabbitmq, &[]).await;
    intake.fleet.start_ready().await.unwrap();
    assert_eq!(intake.deliver("r0").await, Ok(200));
    rabbitmq.freeze();
    for n in 0..30 {
        assert_eq!(intake.deliver(&format!("r{}", n % 5)).await, Ok(200), "while the broker is frozen");
    }
    rabbitmq.thaw();
    intake.until_all_arrived().await;
    intake.fleet.drain().await.unwrap();
}

#[tokio::test]
async fn a_full_spool_is_answered_503_and_loses_nothing() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let mut intake = Intake::on(&rabbitmq, &[("PRODUCER__SPOOL__MESSAGES_MAX", "7")]).await;
    rabbitmq.stop().await.unwrap();
    intake.restart().await;
    for n in 1..7 {
        assert_eq!(intake.deliver(&format!("r{n}")).await, Ok(200));
    }
    assert_eq!(intake.deliver("too-many").await, Ok(503));
    let process = intake.fleet.members[0].process().unwrap();
    process.wait_for_log("producer.spool.messages_max", SOON).await.unwrap();
    rabbitmq.restart().await.unwrap();
    intake.until_accepted("too-many").await;
    intake.until_all_arrived().await;
    intake.fleet.drain().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_answered_503_and_loses_nothing() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let mut intake = Intake::on(&rabbitmq, &[]).await;
    rabbitmq.stop().await.unwrap();
    intake.restart().await;
    for n in 0..20 {
        assert_eq!(intake.deliver(&format!("r{}", n % 5)).await, Ok(200));
    }
    // No disk has so much left: as if others had filled it.
    intake.fleet.members[0].set("PRODUCER__SPOOL__DISK_FREE_BYTES_MIN", "1000000000000000");
    intake.fleet.members[0].start().unwrap();
    wait::until("a refusal", SOON, async || match intake.deliver("refused").await {
        Ok(503) => Ok(()),
        other => Err(other),
    })
    .await;
    let producer = &intake.fleet.members[0];
    wait::until("the reason in readiness", SOON, async || match intake.fleet.readiness(producer).await {
        Ok(answer) if answer.body.contains("webhooks were refused") && answer.body.contains("bytes free") => {
            Ok(())
        }
        other => Err(other),
    })
    .await;
    rabbitmq.restart().await.unwrap();
    intake.until_accepted("refused").await;
    intake.until_all_arrived().await;
    intake.fleet.drain().await.unwrap();
}
