//! A flow that counts how often its runs had to wait for another record, and tells whose runs they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flows::directory::flow::DirectoryFlow;
use jiff::Timestamp;
use serde_json::Value;
use shared::fault::{Fault, FaultKind};
use shared::flow::Check;
use shared::flow::{
    Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal, WebhookRequest,
};
use shared::record_key::RecordKey;

/// How many runs of each record ended since they have to wait for another one.
pub type Waited = Arc<Mutex<BTreeMap<String, u32>>>;

/// The workers that had runs.
pub type Ran = Arc<Mutex<BTreeSet<String>>>;

#[derive(Debug)]
pub struct Counted {
    pub flow: Arc<DirectoryFlow>,
    pub waited: Waited,
    pub ran: Ran,
    /// Whose it is.
    pub worker: String,
}

#[async_trait]
impl Flow for Counted {
    fn spec(&self) -> &FlowSpec {
        self.flow.spec()
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        self.ran.lock().unwrap().insert(self.worker.clone());
        let result = self.flow.handle(run).await;
        if matches!(&result, Err(fault) if fault.kind == FaultKind::Parked) {
            *self.waited.lock().unwrap().entry(run.key.id().to_owned()).or_default() += 1;
        }
        result
    }

    async fn report(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault> {
        self.flow.report(run, failure).await
    }

    async fn sweep(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        self.flow.sweep(cursor, sweep_id, now).await
    }

    fn read_webhook(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        self.flow.read_webhook(request)
    }

    async fn check(&self) -> Vec<Check> {
        self.flow.check().await
    }

    async fn preview(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        self.flow.preview(key, now).await
    }

    async fn leave(&self) {
        self.flow.leave().await;
    }

    async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        self.flow.release(by, now).await
    }
}
