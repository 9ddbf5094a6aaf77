//! The embedded queue by itself.

use std::sync::Arc;
use std::time::Instant;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use shared::clock::SystemClock;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::FlowName;
use shared::routing::shards_of;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::table::{Table, per_second};

const MESSAGES: usize = 20_000;
const BATCH: usize = 500;
const SINGLES: usize = 960;
const SHARDS: u16 = 16;
const PREFETCH: u16 = 100;
const BYTES: usize = 500;
const RUNS: usize = 5;

fn message(number: usize) -> Outbound {
    let flow = FlowName::new("parties").unwrap();
    let shard = shards_of(&flow, SHARDS).nth(number % usize::from(SHARDS)).unwrap();
    Outbound { shard, id: Uuid::new_v4(), body: vec![b'x'; BYTES].into(), not_before: None }
}

/// Measures publishing one by one, in batches, and handling.
pub async fn measure(table: &mut Table) {
    let (mut singles, mut batches, mut handled) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Embedded::open(EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock))).unwrap();
        let queue: Arc<dyn Queue> = store.queue.clone();
        let flow = FlowName::new("parties").unwrap();
        queue.prepare(&[FlowTopology { flow: flow.clone(), shards: SHARDS }]).await.unwrap();

        let begun = Instant::now();
        for number in 0..SINGLES {
            queue.publish(&[message(number)]).await.unwrap();
        }
        singles.push(rate(SINGLES, begun));

        let messages: Vec<Outbound> = (0..MESSAGES).map(message).collect();
        let begun = Instant::now();
        for batch in messages.chunks(BATCH) {
            queue.publish(batch).await.unwrap();
        }
        batches.push(rate(MESSAGES, begun));

        let begun = Instant::now();
        let mut shards = JoinSet::new();
        for shard in shards_of(&flow, SHARDS) {
            let queue = queue.clone();
            let count = (MESSAGES + SINGLES) / usize::from(SHARDS);
            shards.spawn(async move {
                let mut consumer = queue.consume(&shard, PREFETCH).await.unwrap();
                let mut acks = JoinSet::new();
                for _ in 0..count {
                    let delivery = consumer.next().await.unwrap();
                    acks.spawn(async move { delivery.receipt.ack().await.unwrap() });
                }
                acks.join_all().await;
            });
        }
        shards.join_all().await;
        handled.push(rate(MESSAGES + SINGLES, begun));
    }
    let what = |text: &str| format!("embedded queue, {BYTES} bytes: {text}");
    table.add(what("publish, one after the other"), per_second(&singles), "");
    table.add(what(&format!("publish in batches of {BATCH}")), per_second(&batches), "");
    table.add(what("deliver and acknowledge"), per_second(&handled), "");
}

fn rate(count: usize, begun: Instant) -> f64 {
    let count = u32::try_from(count).unwrap();
    f64::from(count) / begun.elapsed().as_secs_f64()
}
