//! What a webhook has other flows pass on: kept in the state store before the messages about it are published, so that no
//! message names content that is not there.

use std::sync::Arc;

use futures_util::future::try_join_all;
use shared::envelope::{Cause, Operation};
use shared::flow::{Flow, FlowSpec};
use shared::forward;
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::record_key::RecordKey;
use tokio::time::timeout;

use crate::run::Engine;

/// Part of the time for a webhook's answer within which its content is kept.
const PARTS: u32 = 4;

/// Keeps content, and answers the messages about it, each for the flow that its key names.
///
/// # Errors
/// As the store's, and where it does not confirm in time. Keeping it again does no harm.
pub async fn keep<'f>(
    engine: &Engine,
    flows: &'f [Arc<dyn Flow>],
    forwards: &[(RecordKey, bytes::Bytes)],
) -> Result<Vec<(&'f FlowSpec, Vec<Outbound>)>, PortError> {
    if forwards.is_empty() {
        return Ok(Vec::new());
    }
    engine.gate.check_taking()?;
    let mut batches = Vec::with_capacity(forwards.len());
    for (key, _) in forwards {
        let flow = flows.iter().find(|flow| flow.spec().name == *key.flow());
        let spec = flow.map(|flow| flow.spec()).ok_or_else(|| {
            PortError::Misconfigured(format!("there is no flow {} to pass a webhook on", key.flow()))
        })?;
        let envelope = engine.envelope(key.clone(), Operation::Create, Cause::Webhook);
        batches.push((spec, vec![Outbound::of(&envelope, spec.shards)]));
    }
    let keeping = forwards.iter().map(|(key, content)| forward::keep(&*engine.state, key, content));
    let wait = engine.settings.webhook_answer_max / PARTS;
    let late = |_| {
        let seconds = wait.as_secs_f32();
        PortError::Unavailable(format!("the store did not keep what is to be passed on within {seconds} s"))
    };
    timeout(wait, try_join_all(keeping)).await.map_err(late)??;
    Ok(batches)
}
