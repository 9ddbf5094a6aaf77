//! `sync`: asks for a sync of one record now, and waits for what comes of it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use assembly::Parts;
use assembly::program::EXIT_UNAVAILABLE;
use shared::envelope::{Cause, Envelope, Operation};
use shared::flow::Flow;
use shared::ports::queue::Outbound;
use shared::record_key::RecordKey;
use shared::trace::TraceParent;
use shared::{marks, membership};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cli::SyncArgs;
use crate::output::{self, EXIT_WRONG, Outcome, fail};
use crate::{operator, plan};

/// Pause between two looks, at first and at the most: each look reads both sides.
const LOOK_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &SyncArgs) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let flow = operator::flow(&parts, &args.record.flow)?.as_ref();
    let key = operator::key(&args.record)?;
    let id = publish(&parts, flow, &key).await?;
    if args.no_wait {
        output::line(format!("Message {id} is in the queue."));
        return Ok(ExitCode::SUCCESS);
    }
    let members =
        membership::members(parts.state.as_ref(), key.flow()).await.map_err(operator::port_failed)?;
    if members.is_empty() {
        let text = format!(
            "message {id} is in the queue, but no worker serves flow {}: start one with `syncfleet up`",
            key.flow()
        );
        return Err(fail(EXIT_UNAVAILABLE, text));
    }
    let outcome = wait(&parts, flow, &key, id, Duration::from_secs(args.timeout)).await;
    flow.leave().await;
    outcome
}

/// Publishes a message of the operator's.
pub async fn publish(parts: &Parts, flow: &dyn Flow, key: &RecordKey) -> Result<Uuid, ExitCode> {
    let now = parts.clock.now();
    let trace = TraceParent::new(fastrand::u128(..), fastrand::u64(..));
    let (operation, cause) = (Operation::Check, Cause::Manual);
    let envelope =
        Envelope::new(Uuid::now_v7(), "/syncfleet/operator", key.clone(), operation, cause, trace, now);
    let message = Outbound::of(&envelope, flow.spec().shards);
    parts.queue.prepare(&parts.topologies()).await.map_err(operator::port_failed)?;
    parts.queue.publish(&[message]).await.map_err(operator::port_failed)?;
    Ok(envelope.id)
}

/// What can be seen of the message from outside.
enum Seen {
    Agree(String),
    DeadLetter,
    Waiting { summary: String, retry_comes: bool },
}

async fn wait(parts: &Parts, flow: &dyn Flow, key: &RecordKey, id: Uuid, time_max: Duration) -> Outcome {
    let ticker = output::ticker(&output::bars());
    let deadline = Instant::now() + time_max;
    let mut pause = LOOK_PAUSE.0;
    loop {
        let seen = look(parts, flow, key, id).await?;
        let (summary, retry_comes) = match seen {
            Seen::Agree(summary) => {
                ticker.finish_and_clear();
                output::line(summary);
                return Ok(ExitCode::SUCCESS);
            }
            Seen::DeadLetter => {
                ticker.finish_and_clear();
                let text = format!("the sync of {key} failed for good: see `syncfleet dlq show {id}`");
                return Err(fail(EXIT_WRONG, text));
            }
            Seen::Waiting { summary, retry_comes } => (summary, retry_comes),
        };
        ticker.set_message(summary.clone());
        ticker.tick();
        if Instant::now() + pause >= deadline {
            ticker.finish_and_clear();
            let why = if retry_comes {
                "an attempt failed and the next comes by itself"
            } else {
                "no worker took it yet"
            };
            let text = format!("{key} is not in agreement after {} s: {why}. {summary}", time_max.as_secs());
            return Err(fail(EXIT_WRONG, text));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_PAUSE.1);
    }
}

async fn look(parts: &Parts, flow: &dyn Flow, key: &RecordKey, id: Uuid) -> Result<Seen, ExitCode> {
    let state = parts.state.as_ref();
    let marks = marks::load(state, key).await.map_err(operator::port_failed)?;
    if marks.dead.is_some_and(|mark| mark.letters.contains(&id)) {
        return Ok(Seen::DeadLetter);
    }
    let preview = match flow.preview(key, parts.clock.now()).await {
        Ok(preview) => preview,
        Err(fault) if fault.kind.may_pass() => {
            return Ok(Seen::Waiting { summary: fault.to_string(), retry_comes: false });
        }
        Err(fault) => return Err(operator::upstream_failed(fault)),
    };
    if preview.differences.is_empty() {
        return Ok(Seen::Agree(plan::text(&preview)));
    }
    Ok(Seen::Waiting { summary: preview.summary, retry_comes: marks.retry.is_some() })
}
