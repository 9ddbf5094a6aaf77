//! What happens to the queue when one node of a cluster is lost: for the long form of the chaos suite, since a cluster
//! takes about a minute to start.

use std::sync::Arc;
use std::time::Duration;

use adapter_rabbitmq::RabbitmqQueue;
use shared::clock::SystemClock;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::FlowName;
use shared::routing::Shard;
use uuid::Uuid;

use crate::{HarnessError, Rabbitmq, Result, unique_name, wait};

/// Long enough for an election on a busy machine.
const SOON: Duration = Duration::from_secs(120);
const NODES: usize = 3;

/// Publishes `messages` over a cluster of three nodes of which one after the other is killed and started again, then
/// takes all of them; answers how many were confirmed.
///
/// # Errors
/// When a confirmed message is not delivered, or anything does not come back in time.
pub async fn confirmed_messages_survive_the_loss_of_each_node(messages: usize) -> Result<usize> {
    let mut nodes = Rabbitmq::start_cluster(NODES).await?;
    let options = adapter_rabbitmq::Options {
        namespace: unique_name("cluster"),
        further_hosts: nodes[1..].iter().map(Rabbitmq::host).collect(),
        heartbeat_seconds: 2,
        ..adapter_rabbitmq::Options::default()
    };
    let failed = |error: shared::ports::PortError| HarnessError::new(format!("the cluster: {error}"));
    let flow = FlowName::new("parties").map_err(|error| HarnessError::new(error.to_string()))?;
    let queue = RabbitmqQueue::new(&nodes[0].url(), options, Arc::new(SystemClock)).map_err(failed)?;
    let topology = FlowTopology { flow: flow.clone(), shards: 2 };
    wait::try_until("prepared cluster", SOON, async || queue.prepare(std::slice::from_ref(&topology)).await)
        .await?;

    let message = |number: usize| {
        let shard = Shard { flow: flow.clone(), number: u16::from(number % 2 == 1) };
        Outbound { shard, id: Uuid::new_v4(), body: number.to_string().into(), not_before: None }
    };
    let part = messages.div_ceil(NODES).max(1);
    for (turn, numbers) in (0..messages).collect::<Vec<_>>().chunks(part).enumerate() {
        nodes[turn].kill_9();
        for number in numbers {
            let batch = [message(*number)];
            wait::try_until("confirm", SOON, async || queue.publish(&batch).await).await?;
        }
        nodes[turn].restart().await?;
    }

    let mut missing: std::collections::BTreeSet<String> = (0..messages).map(|n| n.to_string()).collect();
    for number in 0..2 {
        let shard = Shard { flow: flow.clone(), number };
        let consuming = async || queue.consume(&shard, 100).await.map_err(|error| error.to_string());
        let mut consumer = wait::try_until("consumer", SOON, consuming).await?;
        let of_shard = |body: &String| body.parse::<u16>().is_ok_and(|n| n % 2 == number);
        while missing.iter().any(of_shard) {
            let next = tokio::time::timeout(SOON, consumer.next()).await;
            let next =
                next.map_err(|_| HarnessError::new(format!("confirmed and not delivered: {missing:?}")))?;
            let delivery = next.map_err(failed)?;
            missing.remove(&String::from_utf8_lossy(&delivery.body).into_owned());
            delivery.receipt.ack().await.map_err(failed)?;
        }
    }
    Ok(messages)
}
