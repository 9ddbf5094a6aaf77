//! What consumers, receipts and the queue itself share.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use shared::clock::Clock;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::routing::Shard;

use crate::connection::Connector;
use crate::delay::{covers, remaining, tier};
use crate::held::Held;
use crate::message::{Letter, RecordKind, record_properties, work_properties};
use crate::names::Names;
use crate::options::Options;
use crate::publisher::Publisher;

/// The two connections, and what is addressed over them.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The names in the broker.
    pub(crate) names: Names,
    /// The settings.
    pub(crate) options: Options,
    /// The connection for publishing.
    pub(crate) publisher: Publisher,
    /// The connection for everything else.
    pub(crate) consuming: Connector,
    /// What this process holds.
    pub(crate) held: Held,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sender {
    /// A message for a shard: by way of a delay queue while its time has not come.
    pub(crate) fn letter(
        &self,
        shard: &Shard,
        id: Option<&str>,
        body: Bytes,
        not_before: Option<Timestamp>,
        redeliveries: u32,
    ) -> Letter {
        let now = self.clock.now();
        let wait = remaining(not_before, now);
        let tier = wait.and_then(|wait| tier(&self.options.delay_tiers_seconds, wait));
        let is_last_delay = tier.zip(wait).is_some_and(|(tier, wait)| covers(tier, wait));
        Letter {
            exchange: tier
                .map_or_else(|| self.names.work_exchange(), |tier| self.names.delay(&shard.flow, tier)),
            routing_key: Names::routing_key(shard),
            body,
            properties: work_properties(
                id,
                not_before.filter(|_| wait.is_some()),
                is_last_delay,
                redeliveries,
                now,
            ),
        }
    }

    /// Appends an event to the dead-letter stream.
    pub(crate) async fn append(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        let body = serde_json::to_vec(event).map_err(|error| {
            PortError::Misconfigured(format!("a dead-letter event cannot be written as JSON: {error}"))
        })?;
        self.append_record(RecordKind::Event, body.into()).await
    }

    /// Appends a record to the dead-letter stream.
    pub(crate) async fn append_record(&self, kind: RecordKind, body: Bytes) -> Result<(), PortError> {
        let letter = Letter {
            exchange: self.names.dead_letters(),
            routing_key: String::new(),
            body,
            properties: record_properties(kind, self.clock.now()),
        };
        self.publisher.publish(&[letter]).await
    }
}
