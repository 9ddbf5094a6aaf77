//! Queues of shards that an earlier, larger number of shards left behind.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::routing::{SHARDS_MAX, Shard};

use crate::connection::{Connector, close};
use crate::error::is_missing;
use crate::names::Names;

/// How many shards a flow has in the broker: they are numbered from 0 without gaps, so that the first one that is
/// missing ends them.
pub(crate) async fn shards_present(
    connector: &Connector,
    names: &Names,
    topology: &FlowTopology,
) -> Result<u16, PortError> {
    let mut present = topology.shards;
    while present < SHARDS_MAX {
        let shard = Shard { flow: topology.flow.clone(), number: present };
        if !is_there(connector, names.shard_queue(&shard)).await? {
            break;
        }
        present += 1;
    }
    Ok(present)
}

/// A channel on which something was missing is closed by the broker.
async fn is_there(connector: &Connector, name: String) -> Result<bool, PortError> {
    let channel = connector.channel().await?;
    let mut missing = false;
    let asking = async {
        let outcome = passively(&channel, &name).await;
        missing = outcome.as_ref().err().is_some_and(is_missing);
        outcome
    };
    let outcome = connector.answer(&format!("looking for queue {name}"), asking).await;
    if missing {
        return Ok(false);
    }
    close(&channel, connector.answer_timeout).await;
    outcome.map(|()| true)
}

async fn passively(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await.map(|_| ())
}
