//! The queue port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use shared::clock::Clock;
use shared::dead_letter::DeadLetterEvent;
use shared::flow::Check;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, DeadLetterPage, Depth, FlowTopology, Outbound, Queue};
use shared::routing::{Shard, shards_of};
use tokio::time::{Instant, sleep};

use crate::connection::{Connector, close};
use crate::consumer::RabbitmqConsumer;
use crate::error::mismatch;
use crate::held::Held;
use crate::message::{Letter, RecordKind};
use crate::names::Names;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::sender::Sender;
use crate::{check, dead_letters, leftover, marks, topology};

/// How long a broker that has just started may take until its queues and streams are there.
const STARTING_WAIT: Duration = Duration::from_secs(30);
/// Pause between tries to declare on a broker that starts.
const STARTING_PAUSE: Duration = Duration::from_millis(300);

/// The queue over RabbitMQ. Cheap to clone; all clones share two connections.
#[derive(Debug, Clone)]
pub struct RabbitmqQueue {
    sender: Arc<Sender>,
}

impl RabbitmqQueue {
    /// The queue on the broker at `url` (`amqp://user:password@host:port/vhost`, or `amqps://…`). Connects when
    /// it is first used.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] when the URL or a setting cannot work.
    pub fn new(url: &str, options: Options, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        options.check()?;
        let uris = options.uris(url)?;
        let publishing = Connector::new(uris.clone(), "publishing", &options);
        Ok(Self {
            sender: Arc::new(Sender {
                names: Names::new(options.namespace.clone()),
                publisher: Publisher::new(publishing, &options),
                consuming: Connector::new(uris, "consuming", &options),
                held: Held::default(),
                options,
                clock,
            }),
        })
    }

    pub(crate) fn sender(&self) -> &Arc<Sender> {
        &self.sender
    }

    /// Looks at the broker: whether it answers, its version, alarms, and whether the topology is there.
    pub async fn check(&self) -> Vec<Check> {
        check::check(&self.sender).await
    }

    async fn prepare_once(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        let connector = &self.sender.consuming;
        let channel = connector.channel().await?;
        let outcome = self.declare(&channel, flows).await;
        close(&channel, connector.answer_timeout).await;
        outcome?;
        self.sender.append_record(RecordKind::Start, bytes::Bytes::new()).await
    }

    async fn declare(&self, channel: &Channel, flows: &[FlowTopology]) -> Result<(), PortError> {
        let Sender { names, options, consuming, .. } = &*self.sender;
        for exchange in topology::exchanges(flows, names, options) {
            let what = format!("exchange {}", exchange.name);
            self.declared(&what, topology::declare_exchange(channel, &exchange)).await?;
        }
        for queue in topology::queues(flows, names, options) {
            let what = format!("queue {}", queue.name);
            self.declared(&what, topology::declare_queue(channel, &queue)).await?;
        }
        tracing::debug!(broker = %consuming.address, flows = flows.len(), "topology declared");
        Ok(())
    }

    async fn declared(
        &self,
        what: &str,
        declaring: impl Future<Output = lapin::Result<()>>,
    ) -> Result<(), PortError> {
        let mut refused = None;
        let watched = async {
            let outcome = declaring.await;
            refused = outcome.as_ref().err().and_then(mismatch);
            outcome
        };
        let connector = &self.sender.consuming;
        let outcome = connector.answer(&format!("declaring {what}"), watched).await;
        match refused {
            Some(text) => Err(PortError::Misconfigured(format!(
                "RabbitMQ at {}: {}",
                connector.address,
                topology::explain_mismatch(what, &text)
            ))),
            None => outcome,
        }
    }

    async fn count(&self, channel: &Channel, queue: String) -> Result<u64, PortError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let doing = format!("counting queue {queue}");
        let asking = channel.queue_declare(queue.into(), options, FieldTable::default());
        Ok(u64::from(self.sender.consuming.answer(&doing, asking).await?.message_count()))
    }

    async fn count_all(&self, channel: &Channel, wanted: &FlowTopology) -> Result<Depth, PortError> {
        let Sender { names, options, held, .. } = &*self.sender;
        let mut depth = Depth::default();
        for shard in shards_of(&wanted.flow, wanted.shards) {
            depth.ready += self.count(channel, names.shard_queue(&shard)).await?;
        }
        for tier in &options.delay_tiers_seconds {
            depth.delayed += self.count(channel, names.delay(&wanted.flow, *tier)).await?;
        }
        let (held, oldest) = held.of(&wanted.flow);
        depth.ready += held;
        depth.oldest = oldest;
        Ok(depth)
    }

    fn letter(&self, message: &Outbound) -> Letter {
        let id = message.id.to_string();
        let not_before: Option<Timestamp> = message.not_before;
        self.sender.letter(&message.shard, Some(&id), message.body.clone(), not_before, 0)
    }
}

#[async_trait]
impl Queue for RabbitmqQueue {
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        let deadline = Instant::now() + STARTING_WAIT;
        // A broker that has just started takes connections before all its queues are there.
        while let Err(error) = self.prepare_once(flows).await {
            let starts = matches!(error, PortError::Unavailable(_)) && self.ping().await.is_ok();
            if !starts || Instant::now() >= deadline {
                return Err(error);
            }
            sleep(STARTING_PAUSE).await;
        }
        Ok(())
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        let letters: Vec<Letter> = batch.iter().map(|message| self.letter(message)).collect();
        self.sender.publisher.publish(&letters).await
    }

    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError> {
        Ok(Box::new(RabbitmqConsumer::start(&self.sender, shard, prefetch).await?))
    }

    async fn shards_present(&self, topology: &FlowTopology) -> Result<u16, PortError> {
        leftover::shards_present(&self.sender.consuming, &self.sender.names, topology).await
    }

    /// `ready` counts what waits in the broker and what this process holds; what other processes hold cannot be
    /// asked for.
    async fn depth(&self, topology: &FlowTopology) -> Result<Depth, PortError> {
        let connector = &self.sender.consuming;
        let channel = connector.channel().await?;
        let depth = self.count_all(&channel, topology).await;
        close(&channel, connector.answer_timeout).await;
        depth
    }

    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        self.sender.append(event).await
    }

    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        dead_letters::scan(&self.sender.consuming, &self.sender.names.dead_letters(), from, limit).await
    }

    async fn dead_letters_end(&self) -> Result<u64, PortError> {
        let (connector, stream) = (&self.sender.consuming, self.sender.names.dead_letters());
        let token = uuid::Uuid::new_v4().to_string();
        let append = self.sender.append_record(RecordKind::Start, token.clone().into());
        dead_letters::end_behind(connector, &stream, token.as_bytes(), append).await
    }

    async fn remember(&self, mark: &str) -> Result<(), PortError> {
        marks::remember(&self.sender.consuming, self.sender.names.mark(mark)).await
    }

    async fn forget(&self, mark: &str) -> Result<(), PortError> {
        marks::forget(&self.sender.consuming, self.sender.names.mark(mark)).await
    }

    async fn remembers(&self, mark: &str) -> Result<bool, PortError> {
        marks::remembers(&self.sender.consuming, self.sender.names.mark(mark)).await
    }

    /// The broker says that it blocks publishers to a connection that published since.
    async fn ping(&self) -> Result<(), PortError> {
        self.sender.publisher.check_unblocked().await?;
        let connector = &self.sender.consuming;
        let channel = connector.channel().await?;
        connector.answer("closing a channel", channel.close(200, "pong".into())).await
    }
}
