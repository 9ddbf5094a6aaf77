//! A flow to measure the engine with, and the work that both contenders do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::ports::queue::{FlowTopology, Outbound};
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::trace::TraceParent;
use uuid::Uuid;

/// Shards of the flow's queue, as by default.
pub const SHARDS: u16 = 16;

/// What is done for each message.
#[derive(Debug, Clone)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// A GET and a PUT to this address, one after the other.
    Calls(reqwest::Client, String),
}

impl Work {
    /// The work that an address stands for; none is nothing.
    #[expect(clippy::disallowed_methods, reason = "both contenders call with nothing in between")]
    pub fn at(address: Option<String>) -> Self {
        address.map_or(Self::Nothing, |address| Self::Calls(reqwest::Client::new(), address))
    }

    /// Does it once.
    pub async fn once(&self) {
        if let Self::Calls(client, address) = self {
            client.get(address).send().await.unwrap().error_for_status().unwrap();
            client.put(address).body("{}").send().await.unwrap().error_for_status().unwrap();
        }
    }
}

/// The flow's name.
pub fn name() -> FlowName {
    FlowName::new("bench").unwrap()
}

/// The flow's queue.
pub fn topology() -> FlowTopology {
    FlowTopology { flow: name(), shards: SHARDS }
}

/// A message of a record of its own.
pub fn message(now: Timestamp) -> Outbound {
    let key = RecordKey::new(name(), Uuid::now_v7().to_string()).unwrap();
    let trace = TraceParent::new(fastrand::u128(..), fastrand::u64(..));
    let id = Uuid::now_v7();
    let envelope = Envelope::new(id, "/syncfleet/bench", key, Operation::Update, Cause::Webhook, trace, now);
    Outbound::of(&envelope, SHARDS)
}

/// The flow.
#[derive(Debug)]
pub struct BenchFlow {
    spec: FlowSpec,
    work: Work,
}

impl BenchFlow {
    /// The flow whose handler does this work.
    pub fn doing(work: Work) -> Arc<dyn Flow> {
        let spec = FlowSpec {
            name: name(),
            title: "measures the engine",
            shards: SHARDS,
            retry: RetryPolicy::default(),
            run_time_max: Duration::from_secs(30),
        };
        Arc::new(Self { spec, work })
    }
}

#[async_trait]
impl Flow for BenchFlow {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, _: &Run) -> Result<Outcome, Fault> {
        self.work.once().await;
        Ok(Outcome { converged: true, ..Outcome::default() })
    }

    async fn report(&self, _: &Run, _: &Failure<'_>) -> Result<(), Fault> {
        Ok(())
    }

    async fn sweep(&self, _: Option<&Value>, _: &str, _: Timestamp) -> Result<SweepPage, Fault> {
        Ok(SweepPage::default())
    }

    fn read_webhook(&self, _: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        Err(WebhookRefusal::Unknown("no webhooks".to_owned()))
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn preview(&self, _: &RecordKey, _: Timestamp) -> Result<Preview, Fault> {
        Err(Fault::permanent("no_preview", "nothing to look at"))
    }

    async fn release(&self, _: &str, _: Timestamp) -> Result<u32, Fault> {
        Ok(0)
    }
}
