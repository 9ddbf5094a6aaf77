//! Queues of shards that an earlier, larger number of shards left behind.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::routing::{SHARDS_MAX, Shard};

use crate::connection::Connector;
use crate::names::Names;
use crate::presence::is_there;

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
        let name = names.shard_queue(&shard);
        let ask = async |channel: &Channel| passively(channel, &name).await;
        if !is_there(connector, &format!("queue {name}"), ask).await? {
            break;
        }
        present += 1;
    }
    Ok(present)
}

async fn passively(channel: &Channel, name: &str) -> lapin::Result<()> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    channel.queue_declare(name.into(), options, FieldTable::default()).await.map(|_| ())
}
