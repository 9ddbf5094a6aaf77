//! What is declared in the broker, and what to do when something else is there already.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use shared::ports::queue::FlowTopology;
use shared::record_key::FlowName;
use shared::routing::shards_of;

use crate::names::Names;
use crate::options::Options;

/// A queue, with the arguments that make it what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSpec {
    /// Its name.
    pub name: String,
    /// The exchange it is bound to.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// Its `x-` arguments.
    pub arguments: FieldTable,
}

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeSpec {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ExchangeKind,
}

/// The exchanges that a set of flows needs.
pub fn exchanges(flows: &[FlowTopology], names: &Names, options: &Options) -> Vec<ExchangeSpec> {
    let fanout = |name| ExchangeSpec { name, kind: ExchangeKind::Fanout };
    let mut found = vec![
        ExchangeSpec { name: names.work_exchange(), kind: ExchangeKind::Direct },
        fanout(names.dead_letters()),
    ];
    for topology in flows {
        let tiers = options.delay_tiers_seconds.iter();
        found.extend(tiers.map(|tier| fanout(names.delay(&topology.flow, *tier))));
    }
    found
}

/// The queues that a set of flows needs.
pub fn queues(flows: &[FlowTopology], names: &Names, options: &Options) -> Vec<QueueSpec> {
    let mut found = vec![dead_letter_stream(names, options)];
    for topology in flows {
        found.extend(shard_queues(topology, names, options));
        let tiers = options.delay_tiers_seconds.iter();
        found.extend(tiers.map(|tier| delay_queue(&topology.flow, *tier, names)));
    }
    found
}

fn shard_queues(topology: &FlowTopology, names: &Names, options: &Options) -> Vec<QueueSpec> {
    let of = |shard| QueueSpec {
        name: names.shard_queue(&shard),
        exchange: names.work_exchange(),
        routing_key: Names::routing_key(&shard),
        arguments: arguments([
            ("x-queue-type", text("quorum")),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-delivery-limit", number(options.delivery_limit)),
            ("x-dead-letter-exchange", text(&names.dead_letters())),
            ("x-dead-letter-strategy", text("at-least-once")),
            // At-least-once dead lettering asks for it; without a length limit nothing is ever refused.
            ("x-overflow", text("reject-publish")),
        ]),
    };
    shards_of(&topology.flow, topology.shards).map(of).collect()
}

/// Dead-letters back to the work exchange with the message's own routing key: its shard.
fn delay_queue(flow: &FlowName, tier_seconds: u32, names: &Names) -> QueueSpec {
    let name = names.delay(flow, tier_seconds);
    QueueSpec {
        exchange: name.clone(),
        name,
        routing_key: String::new(),
        arguments: arguments([
            ("x-queue-type", text("quorum")),
            ("x-message-ttl", number(u64::from(tier_seconds) * 1_000)),
            ("x-dead-letter-exchange", text(&names.work_exchange())),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ]),
    }
}

fn dead_letter_stream(names: &Names, options: &Options) -> QueueSpec {
    // Old records go a segment at a time, so segments must be small against the whole.
    let segment_bytes = (options.dead_letter_bytes_max / 20).clamp(500_000, 100_000_000);
    QueueSpec {
        name: names.dead_letters(),
        exchange: names.dead_letters(),
        routing_key: String::new(),
        arguments: arguments([
            ("x-queue-type", text("stream")),
            ("x-max-age", text(&format!("{}D", options.dead_letter_age_days_max))),
            ("x-max-length-bytes", number(options.dead_letter_bytes_max)),
            ("x-stream-max-segment-size-bytes", number(segment_bytes)),
        ]),
    }
}

fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn number(value: impl TryInto<i64>) -> AMQPValue {
    AMQPValue::LongLongInt(value.try_into().unwrap_or(i64::MAX))
}

/// Declares an exchange. Safe to repeat.
pub(crate) async fn declare_exchange(channel: &Channel, exchange: &ExchangeSpec) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let kind = exchange.kind.clone();
    channel.exchange_declare(exchange.name.as_str().into(), kind, options, FieldTable::default()).await
}

/// Declares a queue and its binding. Safe to repeat.
pub(crate) async fn declare_queue(channel: &Channel, queue: &QueueSpec) -> lapin::Result<()> {
    let name = || queue.name.as_str().into();
    channel.queue_declare(name(), QueueDeclareOptions::durable(), queue.arguments.clone()).await?;
    let (exchange, key) = (queue.exchange.as_str().into(), queue.routing_key.as_str().into());
    channel.queue_bind(name(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await
}

/// What a refused declaration (406) means and what to do, from the broker's own text.
pub fn explain_mismatch(what: &str, broker_text: &str) -> String {
    let argument = broker_text.split('\'').nth(1).unwrap_or("type");
    let detail = broker_text.split_once(": ").map_or(broker_text, |(_, detail)| detail);
    format!(
        "{what} is in the broker already, with another {argument} ({detail}). Ways out: set {argument} back to \
         what it was; or stop the fleet, let the queue run empty, delete it (rabbitmqctl delete_queue) and start \
         again; or choose another queue.rabbitmq.namespace"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parties(shards: u16) -> FlowTopology {
        FlowTopology { flow: FlowName::new("parties").unwrap(), shards }
    }

    #[test]
    fn a_flow_needs_its_shards_its_delay_tiers_and_the_stream() {
        let (names, options) = (Names::new("t"), Options::default());
        let all = queues(&[parties(16)], &names, &options);
        assert_eq!(all.len(), 16 + options.delay_tiers_seconds.len() + 1);
        let declared: Vec<String> =
            exchanges(&[parties(16)], &names, &options).into_iter().map(|e| e.name).collect();
        for queue in &all {
            assert!(declared.contains(&queue.exchange), "{} is bound to nothing", queue.name);
            if let Some(target) = queue.arguments.inner().get("x-dead-letter-exchange") {
                let target = target.as_long_string().unwrap().to_string();
                assert!(declared.contains(&target), "{} dead-letters to nowhere", queue.name);
            }
        }
    }

    #[test]
    fn a_mismatch_names_the_argument_and_the_ways_out() {
        let broker = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 't.parties.000' in \
                      vhost '/': received '20' but current is '5'";
        let text = explain_mismatch("queue t.parties.000", broker);
        for part in ["t.parties.000", "x-delivery-limit", "current is '5'", "delete", "namespace"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
}
