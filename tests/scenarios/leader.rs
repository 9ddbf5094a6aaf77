//! Sweeps of three producers on real RabbitMQ and Redis: one at a time fires them, whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use shared::envelope::Envelope;
use shared::record_key::FlowName;
use shared::routing::shards_of;
use simulators::{FaultKind, FaultRule};
use system_tests::{Backing, Fleet, Plan, shared_rabbitmq, shared_redis, wait};

use crate::{SOON, person};

const SHARDS: u16 = 16;
const RECORDS: usize = 60;
const PAGE: usize = 5;

/// A message of a sweep, as the broker got it.
#[derive(Debug, Clone)]
struct Swept {
    source: String,
    sweep_id: String,
    record: String,
}

/// Three producers without workers, and a tap that sees every message in the broker's order.
struct Sweeping {
    fleet: Fleet,
    tapped: Arc<Mutex<Vec<Swept>>>,
    _connection: Connection,
}

impl Sweeping {
    /// With leases and heartbeats so short that a producer's absence is noticed within the patience of a test.
    async fn start_hasty() -> Self {
        Self::start_with(&[("PRODUCER__LEASE_SECONDS", "10"), ("QUEUE__RABBITMQ__HEARTBEAT_SECONDS", "2")])
            .await
    }

    async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let rabbitmq = shared_rabbitmq().await.unwrap().url();
        let backing =
            Backing::Servers { rabbitmq: rabbitmq.clone(), redis: shared_redis().await.unwrap().url() };
        let pages = [("FLOW__PARTIES__SWEEP_PAGE_RECORDS_MAX", "5")];
        let settings =
            settings.iter().chain(&pages).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let plan = Plan { settings, sends_webhooks: false, ..Plan::new(backing, 3, 0) };
        let mut fleet = Fleet::new(plan).await.unwrap();
        for n in 0..RECORDS {
            fleet.crm.seed(person(&format!("Swept{n}"), "pending_sync")).unwrap();
        }
        // So that a sweep takes a while.
        fleet.crm.fault(FaultRule::new(FaultKind::Latency { latency_ms: 50 }));
        fleet.start_ready().await.unwrap();
        let (tapped, _connection) = tap(&rabbitmq, fleet.namespace()).await;
        let sweeping = Self { fleet, tapped, _connection };
        // What began before the tap was there is not complete; what comes from now on is.
        sweeping.until_complete(1, "").await;
        sweeping
    }

    fn tapped(&self) -> Vec<Swept> {
        self.tapped.lock().unwrap().clone()
    }

    /// The records of each sweep with how often they came, by the sweep's id: in the order of the ticks.
    fn sweeps(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let mut sweeps = BTreeMap::<String, BTreeMap<String, usize>>::new();
        for swept in self.tapped() {
            *sweeps.entry(swept.sweep_id).or_default().entry(swept.record).or_default() += 1;
        }
        sweeps
    }

    /// Waits until so many sweeps are complete that begin later than `after`.
    async fn until_complete(&self, count: usize, after: &str) {
        wait::until("complete sweeps", SOON, async || {
            let complete = |(id, records): &(String, BTreeMap<String, usize>)| {
                id.as_str() > after && records.len() == RECORDS
            };
            let found = self.sweeps().into_iter().filter(complete).count();
            if found >= count { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// Waits until a sweep that is not among those seen so far has come to some pages, and is not through.
    async fn until_in_the_middle(&self) -> Swept {
        let known: BTreeSet<String> = self.sweeps().into_keys().collect();
        wait::until("a sweep in its middle", SOON, async || {
            let sweeps = self.sweeps();
            let new = sweeps.iter().next_back().filter(|(id, _)| !known.contains(*id));
            match new {
                Some((id, records)) if (3 * PAGE..RECORDS - 3 * PAGE).contains(&records.len()) => {
                    let last = self.tapped().into_iter().rfind(|swept| swept.sweep_id == *id);
                    last.ok_or(0)
                }
                other => Err(other.map_or(0, |(_, records)| records.len())),
            }
        })
        .await
    }

    /// The number of the producer with this source.
    fn number(&self, source: &str) -> usize {
        let is_it = |member: &system_tests::Member| source.ends_with(&format!("/{}", member.name()));
        self.fleet.members.iter().position(is_it).unwrap()
    }
}

/// A queue of our own beside those of the shards.
async fn tap(url: &str, namespace: &str) -> (Arc<Mutex<Vec<Swept>>>, Connection) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let (name, exchange) = (queue.name().clone(), format!("{namespace}.work"));
    for shard in shards_of(&FlowName::new("parties").unwrap(), SHARDS) {
        let (key, options) = (shard.to_string(), QueueBindOptions::default());
        let bind = channel.queue_bind(
            name.clone(),
            exchange.as_str().into(),
            key.as_str().into(),
            options,
            FieldTable::default(),
        );
        bind.await.unwrap();
    }
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut deliveries =
        channel.basic_consume(name, "tap".into(), options, FieldTable::default()).await.unwrap();
    let tapped = Arc::<Mutex<Vec<Swept>>>::default();
    let into = tapped.clone();
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = deliveries.next().await {
            let envelope = Envelope::parse(&delivery.data).unwrap();
            let record = envelope.key.id().to_owned();
            let Some(sweep_id) = envelope.sweep_id else { continue };
            into.lock().unwrap().push(Swept { source: envelope.source, sweep_id, record });
        }
    });
    (tapped, connection)
}

#[tokio::test]
async fn each_tick_is_swept_once_by_one_of_three_producers() {
    let mut sweeping = Sweeping::start_with(&[]).await;
    let first = sweeping.until_in_the_middle().await.sweep_id;
    sweeping.until_complete(4, &first).await;
    let sweeps = sweeping.sweeps();
    let complete = sweeps.iter().filter(|(id, records)| **id > first && records.len() == RECORDS);
    for (id, records) in complete {
        assert!(records.values().all(|times| *times == 1), "sweep {id} ran twice: {records:?}");
        let sources: BTreeSet<String> = sweeping
            .tapped()
            .into_iter()
            .filter(|swept| swept.sweep_id == *id)
            .map(|swept| swept.source)
            .collect();
        assert_eq!(sources.len(), 1, "sweep {id}");
    }
    sweeping.fleet.drain().await.unwrap();
}

#[tokio::test]
async fn a_leader_that_was_frozen_publishes_nothing_of_its_old_term() {
    let mut sweeping = Sweeping::start_hasty().await;
    for round in 0..2 {
        let last = sweeping.until_in_the_middle().await;
        let frozen = sweeping.number(&last.source);
        sweeping.fleet.members[frozen].process().unwrap().freeze();
        // The next one finishes what was begun, and goes on with its own.
        sweeping.until_complete(1, &last.sweep_id).await;
        let records = sweeping.sweeps().remove(&last.sweep_id).unwrap();
        assert_eq!(records.len(), RECORDS, "round {round}: the sweep that was cut off is gone on with");
        let doubled = records.values().filter(|times| **times > 1).count();
        assert!(doubled <= PAGE, "round {round}: more than a page came twice: {doubled}");

        let seen = sweeping.tapped();
        let taken_over = seen.iter().rposition(|swept| swept.source == last.source).unwrap() + 1;
        assert!(taken_over < seen.len(), "round {round}: nobody took over");
        let old: BTreeSet<String> = seen.into_iter().map(|swept| swept.sweep_id).collect();
        let process = sweeping.fleet.members[frozen].process().unwrap();
        process.thaw();
        process.wait_for_log("lease was lost", SOON).await.unwrap();
        let newest = old.iter().next_back().unwrap().clone();
        sweeping.until_complete(2, &newest).await;
        let of_old_term: Vec<Swept> = sweeping.tapped()[taken_over..]
            .iter()
            .filter(|swept| swept.source == last.source && old.contains(&swept.sweep_id))
            .cloned()
            .collect();
        assert!(of_old_term.is_empty(), "round {round}: {of_old_term:?}");
        // A life of its own for the next round's log.
        sweeping.fleet.members[frozen].start().unwrap();
        sweeping.fleet.ready().await.unwrap();
    }
    sweeping.fleet.drain().await.unwrap();
}

#[tokio::test]
async fn a_sweep_whose_leader_is_killed_is_gone_on_with_from_its_cursor() {
    let mut sweeping = Sweeping::start_hasty().await;
    let last = sweeping.until_in_the_middle().await;
    let killed = sweeping.number(&last.source);
    sweeping.fleet.members[killed].kill_9();
    sweeping.until_complete(1, &last.sweep_id).await;
    let records = sweeping.sweeps().remove(&last.sweep_id).unwrap();
    assert_eq!(records.len(), RECORDS, "the sweep that was cut off is gone on with");
    let doubled = records.values().filter(|times| **times > 1).count();
    assert!(doubled <= PAGE, "it began anew instead of at its cursor: {doubled} came twice");
    sweeping.fleet.members[killed].start().unwrap();
    sweeping.fleet.ready().await.unwrap();
    sweeping.fleet.drain().await.unwrap();
}
