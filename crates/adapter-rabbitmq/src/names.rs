//! The names in the broker. Pure; nothing else in the project writes one.

use shared::record_key::FlowName;
use shared::routing::Shard;

/// The names under one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    namespace: String,
}

impl Names {
    /// The names under `namespace`.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into() }
    }

    /// The direct exchange that takes messages to their shards.
    pub fn work_exchange(&self) -> String {
        format!("{}.work", self.namespace)
    }

    /// The routing key of a shard.
    pub fn routing_key(shard: &Shard) -> String {
        shard.to_string()
    }

    /// The queue of a shard.
    pub fn shard_queue(&self, shard: &Shard) -> String {
        format!("{}.{shard}", self.namespace)
    }

    /// A flow's delay queue of one tier, and the fanout exchange before it.
    pub fn delay(&self, flow: &FlowName, tier_seconds: u32) -> String {
        format!("{}.{flow}.delay.{tier_seconds}s", self.namespace)
    }

    /// The dead-letter stream, and the fanout exchange before it.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead_letters", self.namespace)
    }

    /// The exchange that stands for a mark: it is there, or it is not; nothing is ever sent to it.
    pub fn mark(&self, mark: &str) -> String {
        format!("{}.mark.{mark}", self.namespace)
    }
}

/// The flow that a shard's routing key names.
pub fn flow_of(routing_key: &str) -> Option<FlowName> {
    shard_of(routing_key).map(|shard| shard.flow)
}

/// The shard that a routing key names.
pub fn shard_of(routing_key: &str) -> Option<Shard> {
    let (flow, number) = routing_key.rsplit_once('.')?;
    Some(Shard { number: number.parse().ok()?, flow: FlowName::new(flow).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_way_back() {
        let names = Names::new("syncfleet");
        let flow = FlowName::new("parties").unwrap();
        let shard = Shard { flow: flow.clone(), number: 3 };
        assert_eq!(names.shard_queue(&shard), "syncfleet.parties.003");
        assert_eq!(names.delay(&flow, 30), "syncfleet.parties.delay.30s");
        assert_eq!(flow_of(&Names::routing_key(&shard)), Some(flow));
        for foreign in ["", "parties", "parties.x", "Parties.001"] {
            assert_eq!(flow_of(foreign), None, "{foreign}");
        }
    }
}
