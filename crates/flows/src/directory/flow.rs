//! The flow as the engine sees it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use shared::envelope::Cause;
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SourceStatus, SweepPage, WebhookContent,
    WebhookRefusal, WebhookRequest,
};
use shared::meter::Meter;
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use tokio::sync::OnceCell;

use super::NAME;
use super::deciding::Mode;
use super::delivery::Deliveries;
use super::documents::Documents;
use super::hierarchy::Chosen;
use super::key::{Key, Subject};
use super::settings::DirectorySettings;
use super::settle::Seed;
use super::source::Source;
use super::sweep::Sweeping;
use super::target::Target;
use crate::guard::MassGuard;

/// The flow.
#[derive(Debug)]
pub struct DirectoryFlow {
    spec: FlowSpec,
    first_sync_key: RecordKey,
    pub(super) settings: DirectorySettings,
    /// The hierarchy, where it is left to the target: as it is kept.
    pub(super) chosen: OnceCell<Chosen>,
    pub(super) source: Arc<dyn Source>,
    pub(super) target: Arc<dyn Target>,
    deliveries: Deliveries,
    pub(super) documents: Documents,
    pub(super) guard: MassGuard,
    pub(super) sweeping: Sweeping,
    pub(super) state: Arc<dyn State>,
    pub(super) meter: Arc<dyn Meter>,
}

/// What the flow is made of.
#[derive(Debug)]
pub struct DirectoryParts {
    /// Its settings.
    pub settings: DirectorySettings,
    /// Where departments and members come from.
    pub source: Arc<dyn Source>,
    /// Where groups and users are kept.
    pub target: Arc<dyn Target>,
    /// Verifies and opens callbacks; none where none are taken.
    pub callbacks: Option<connector_wecom::callback::Receiver>,
    /// The store.
    pub state: Arc<dyn State>,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
}

impl DirectoryFlow {
    /// Sets the flow up. Sends nothing.
    ///
    /// # Errors
    /// Never with the names that are built in.
    pub fn new(parts: DirectoryParts) -> Result<Self, String> {
        let DirectoryParts { mut settings, source, target, callbacks, state, meter } = parts;
        for rules in [Some(&mut settings.rules), settings.unless_nested.as_mut()].into_iter().flatten() {
            rules.without.extend(target.without());
        }
        let spec = FlowSpec {
            name: FlowName::new(NAME).map_err(|e| e.to_string())?,
            title: "WeCom departments and members → SCIM or EspoCRM",
            shards: settings.shards,
            retry: settings.retry.clone(),
            run_time_max: settings.run_time_max,
        };
        let guard = MassGuard {
            flow: NAME,
            ask_again_label: "directory.ask_again_seconds",
            share_max: settings.mass_change_share_max,
            count_min: settings.mass_change_count_min,
            state: state.clone(),
            meter: meter.clone(),
        };
        Ok(Self {
            first_sync_key: Subject::FirstSync.key(&spec.name).map_err(|e| e.to_string())?,
            deliveries: Deliveries::new(spec.name.clone(), callbacks, settings.relays.clone()),
            spec,
            source,
            target,
            documents: Documents(state.clone()),
            guard,
            sweeping: Sweeping::default(),
            chosen: OnceCell::new(),
            state,
            meter,
            settings,
        })
    }

    /// The key of the message that goes on with the first sync.
    pub fn first_sync_key(&self) -> RecordKey {
        self.first_sync_key.clone()
    }

    /// The key of a message.
    pub(super) fn subject_key(&self, subject: &Subject) -> Result<RecordKey, Fault> {
        subject
            .key(&self.spec.name)
            .map_err(|e| Fault::bug("record_key", format!("An id is no record id: {e}.")))
    }

    async fn handle_one(&self, run: &Run, key: &Key) -> Result<Outcome, Fault> {
        let mode = match run.cause {
            Cause::Sweep | Cause::Manual | Cause::Replay => Mode::Sweep,
            Cause::Webhook | Cause::Released => Mode::Hint,
        };
        // A person asked for this one: what follows from it for others is a hint, which costs fewer reads.
        let run = match run.cause {
            Cause::Manual | Cause::Replay => &Run { cause: Cause::Webhook, ..run.clone() },
            Cause::Sweep | Cause::Webhook | Cause::Released => run,
        };
        let mut actions = self.settle(run, key, mode, Seed::default()).await?.actions;
        if let (Key::Members(id), Mode::Sweep) = (key, mode)
            && self.sweep_group(run, *id).await?
        {
            actions.push("change_members");
        }
        Ok(Outcome { actions, converged: true, look_again_at: None })
    }
}

#[async_trait]
impl Flow for DirectoryFlow {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        match run.key.id().parse() {
            Ok(Subject::One(key)) => self.handle_one(run, &key).await,
            Ok(Subject::FirstSync) => self.handle_first_sync(run).await,
            Err(problem) => Err(Fault::permanent("record_id", format!("{}: {problem}.", run.key))),
        }
    }

    async fn leave(&self) {
        tokio::join!(self.source.leave(), self.target.leave());
    }

    /// Nobody is told but by logs and dead letters: a directory has no user whose record it is.
    async fn report(&self, _run: &Run, _failure: &Failure<'_>) -> Result<(), Fault> {
        Ok(())
    }

    async fn sweep(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        self.sweep_page(cursor, sweep_id, now).await
    }

    fn read_webhook(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        self.deliveries.read(request)
    }

    fn answers_get(&self, path: &str) -> bool {
        self.deliveries.answers_get(path)
    }

    async fn check(&self) -> Vec<Check> {
        let target = async {
            let (hierarchy, chosen) = self.hierarchy_to_check().await;
            (self.target.check(hierarchy).await, chosen)
        };
        let (mut checks, (target, chosen)) = tokio::join!(self.source.check(), target);
        checks.extend(target);
        checks.extend(chosen);
        checks
    }

    async fn preview(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        self.preview_run(key, now).await
    }

    async fn sources(&self, _now: Timestamp) -> Result<Vec<SourceStatus>, Fault> {
        self.standing().await
    }

    async fn held_back(&self) -> Result<Option<String>, Fault> {
        self.guard.held_text().await
    }

    async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        self.guard.release(by, now).await
    }
}
