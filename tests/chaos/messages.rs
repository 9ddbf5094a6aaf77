//! Messages that come several times, late, and in any order.

use std::cell::RefCell;
use std::time::Duration;

use adapter_rabbitmq::names::Names;
use futures_util::{StreamExt as _, stream};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use shared::record_key::FlowName;
use shared::routing::shards_of;
use simulators::Dice;
use system_tests::{shared_rabbitmq, wait};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::damage::moment;
use crate::ledger::{self, SHARDS};
use crate::people::Office;
use crate::stage::{Stage, World};

/// How often a message comes.
const TIMES_MAX: usize = 5;
/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(120);

/// Each message that a program publishes comes one to five times, under the same id, and the webhooks come in any
/// order, all within a minute.
pub async fn messages_are_doubled_and_reordered(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let within_ms = stage.sizes.or(8_000, 60_000);
    let copier = Copier::open(world.fleet.namespace()).await;
    let stop = CancellationToken::new();
    let copying = copier.run(stage.dice.roll(), within_ms, stop.clone());
    let working = async {
        told_in_any_order(&world, stage, within_ms).await;
        ledger::until_settled(&mut world.fleet, &world.people).await;
        stop.cancel();
    };
    let ((messages, copies), ()) = tokio::join!(copying, working);
    println!("{messages} messages and {copies} copies of them");
    assert!(messages >= stage.sizes.syncs && copies > messages, "{copies} copies of {messages}");
    stage.counts.hits = copies;
    stage.judge(world, &[]).await;
}

/// People work all at once, and each webhook comes at some moment within that time.
async fn told_in_any_order(world: &World, stage: &Stage, within_ms: u64) {
    let World { fleet, people } = world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    let dice = RefCell::new(stage.dice.clone());
    let told = async |_| {
        let event = people.act(office);
        let wait = moment(&mut dice.borrow_mut(), 0, within_ms);
        tokio::time::sleep(wait).await;
        people.tell(office, &event).await;
    };
    stream::iter(0..stage.sizes.syncs).for_each_concurrent(stage.sizes.syncs, told).await;
}

/// Takes note of what is published to the shards, by a queue of its own, and publishes it to them again.
struct Copier {
    // Open as long as the channel is used.
    _connection: Connection,
    channel: Channel,
    namespace: String,
    queue: String,
}

impl Copier {
    async fn open(namespace: &str) -> Self {
        let url = shared_rabbitmq().await.unwrap().url();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let (queue, names) = (format!("{namespace}.copies"), Names::new(namespace));
        let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), exclusive, FieldTable::default()).await.unwrap();
        for shard in shards_of(&FlowName::new("parties").unwrap(), SHARDS) {
            let (exchange, key) = (names.work_exchange(), Names::routing_key(&shard));
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            let binding =
                channel.queue_bind(queue.as_str().into(), exchange.into(), key.into(), options, none);
            binding.await.unwrap();
        }
        Self { _connection: connection, channel, namespace: namespace.to_owned(), queue }
    }

    /// Copies until it is told to stop, and then what is left. Answers how many messages there were, and copies.
    async fn run(self, seed: u64, within_ms: u64, stop: CancellationToken) -> (usize, usize) {
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = self.channel.basic_consume(self.queue.as_str().into(), "".into(), options, none);
        let mut consumer = consuming.await.unwrap();
        let (mut dice, mut copying) = (Dice::new(seed), JoinSet::new());
        let (mut messages, mut copies) = (0, 0);
        while let Some(Some(delivery)) = stop.run_until_cancelled(consumer.next()).await {
            let delivery = delivery.unwrap();
            delivery.ack(BasicAckOptions::default()).await.unwrap();
            messages += 1;
            for _ in 0..dice.below(TIMES_MAX) {
                copies += 1;
                let after = moment(&mut dice, 0, within_ms);
                let (channel, queue) = (self.channel.clone(), self.shard_queue(&delivery));
                let (body, properties) = (delivery.data.clone(), delivery.properties.clone());
                copying.spawn(async move {
                    tokio::time::sleep(after).await;
                    let options = BasicPublishOptions::default();
                    // Straight to the shard: by way of the exchange, it would be copied in turn.
                    let publishing =
                        channel.basic_publish("".into(), queue.into(), options, &body, properties);
                    let confirmed = publishing.await.unwrap().await.unwrap();
                    assert!(confirmed.is_ack(), "a copy was refused");
                });
            }
        }
        wait::until("the last copies", SOON, async || {
            while let Some(copied) = copying.try_join_next() {
                copied.unwrap();
            }
            if copying.is_empty() { Ok(()) } else { Err(copying.len()) }
        })
        .await;
        (messages, copies)
    }

    fn shard_queue(&self, delivery: &Delivery) -> String {
        format!("{}.{}", self.namespace, delivery.routing_key)
    }
}
