//! The flow as the engine sees it.

use std::sync::Arc;

use async_trait::async_trait;
use connector_wecom::relay::SecondReceiver;
use jiff::Timestamp;
use serde_json::Value;
use shared::clock::Clock;
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::forward::{self, Found, KEPT};
use shared::meter::Meter;
use shared::ports::state::State;
use shared::record_key::RecordKey;

use super::{Callback, RelaySettings};
use crate::crm_checks::well;

/// The flow of one receiver.
#[derive(Debug)]
pub struct RelayFlow {
    spec: FlowSpec,
    receiver: SecondReceiver,
    state: Arc<dyn State>,
}

impl RelayFlow {
    /// Sets the flow up. Sends nothing.
    ///
    /// # Errors
    /// For a name that is none, and an address that cannot be used.
    pub fn new(
        settings: RelaySettings,
        state: Arc<dyn State>,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let name = settings.flow().map_err(|e| e.to_string())?;
        // Labels live as long as the process, and there is one for each receiver of the settings.
        let label: &'static str = String::leak(name.as_str().to_owned());
        let receiver =
            SecondReceiver::new(label, &settings.url, settings.limits, meter, clock, Some(state.clone()))
                .map_err(|e| format!("{name}: {e}"))?;
        let spec = FlowSpec {
            name,
            title: "WeCom's callbacks → a further receiver",
            shards: settings.shards,
            retry: settings.retry,
            run_time_max: settings.run_time_max,
        };
        Ok(Self { spec, receiver, state })
    }

    async fn pass_on(&self, run: &Run, content: &[u8]) -> Result<Outcome, Fault> {
        let Callback { query, content_type, body } = Callback::read(content).ok_or_else(|| {
            Fault::permanent(
                "content_unreadable",
                "What is kept of the callback was not written by this version; update the worker, then replay.",
            )
        })?;
        run.guard.fence()?;
        self.receiver.pass_on(&query, content_type.as_deref(), body.into()).await?;
        // The mark is of use also to whoever has the record now: it needs no fence.
        if let Err(error) = forward::sent(&*self.state, &run.key).await {
            tracing::warn!(
                flow.name = %self.spec.name,
                "That a callback was passed on could not be noted; a second message about it sends it again: {error}"
            );
        }
        Ok(Outcome { actions: vec!["pass_on"], converged: true, look_again_at: None })
    }
}

#[async_trait]
impl Flow for RelayFlow {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        match forward::find(&*self.state, &run.key).await? {
            Found::Waiting(content) => self.pass_on(run, &content).await,
            Found::Sent => Ok(Outcome { converged: true, ..Outcome::default() }),
            Found::Nothing => {
                let text = format!(
                    "The callback is not in the state store any more, where it is kept for {} days: it cannot be passed on. \
                     Discard the letter; the receiver has to find by itself what changed.",
                    KEPT.as_secs() / 86_400
                );
                Err(Fault::permanent("content_expired", text))
            }
        }
    }

    async fn report(&self, _: &Run, _: &Failure<'_>) -> Result<(), Fault> {
        Ok(())
    }

    async fn sweep(&self, _: Option<&Value>, _: &str, _: Timestamp) -> Result<SweepPage, Fault> {
        Ok(SweepPage::default())
    }

    fn read_webhook(&self, _: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        let text =
            format!("{} has no webhooks; it passes on what comes to /webhooks/directory", self.spec.name);
        Err(WebhookRefusal::Unknown(text))
    }

    async fn check(&self) -> Vec<Check> {
        // Nothing is sent: a receiver may take a test for a callback.
        let how = if self.receiver.is_encrypted() { "https" } else { "http, without TLS" };
        vec![well(
            format!("{} receiver", self.spec.name),
            format!("callbacks go to {} by {how}", self.receiver.host()),
        )]
    }

    async fn preview(&self, key: &RecordKey, _: Timestamp) -> Result<Preview, Fault> {
        let summary = match forward::find(&*self.state, key).await? {
            Found::Waiting(content) => {
                let bytes = Callback::read(&content).map_or(0, |callback| callback.body.len());
                format!("A callback of {bytes} bytes is passed on to {}.", self.receiver.host())
            }
            Found::Sent => "Nothing: the callback was passed on.".to_owned(),
            Found::Nothing => "Nothing: the callback is not there any more.".to_owned(),
        };
        Ok(Preview { summary, differences: Vec::new() })
    }

    async fn leave(&self) {
        self.receiver.leave().await;
    }

    async fn release(&self, _: &str, _: Timestamp) -> Result<u32, Fault> {
        Ok(0)
    }
}
