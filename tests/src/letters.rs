//! Many dead letters, to look at.

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason};
use shared::envelope::{Attempt, Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::ports::queue::Queue;
use shared::record_key::RecordKey;
use shared::trace::TraceParent;
use uuid::Uuid;

use crate::{HarnessError, Result};

/// Events under way at once.
const APPENDS: usize = 64;

/// The letter of this number, always the same; a third of them each for another reason or code.
///
/// # Errors
/// None: every number has a letter.
pub fn letter(number: u32) -> Result<DeadLetter> {
    let wrong = |error: &dyn std::error::Error| HarnessError::new(format!("letter {number}: {error}"));
    let at = Timestamp::from_second(1_800_000_000 + i64::from(number)).map_err(|error| wrong(&error))?;
    let id = Uuid::from_u128(u128::from(number) << 64 | 7);
    let key: RecordKey = format!("parties:{number:017x}").parse().map_err(|error| wrong(&error))?;
    let envelope = Envelope::new(
        id,
        "/syncfleet/producer/host-1",
        key,
        Operation::Update,
        Cause::Webhook,
        TraceParent::new(u128::from(number) + 1, 2),
        at,
    );
    let (reason, code) = match number % 3 {
        0 => (Reason::Permanent, "validation_failed"),
        1 => (Reason::Permanent, "address_unknown"),
        _ => (Reason::AttemptsSpent, "timeout"),
    };
    let fault = Fault::permanent(code, format!("party {number} was refused: the field is too long"));
    let attempt = Attempt {
        at,
        worker: "host-1-worker".into(),
        duration_ms: 42,
        fault: "permanent".into(),
        code: code.into(),
        text: fault.text.clone(),
    };
    Ok(DeadLetter::of_envelope(&envelope.after_attempt(attempt), reason, &fault, "host-1-worker", at))
}

/// Appends events to the log, several at once and in no order.
///
/// # Errors
/// As the queue's.
pub async fn append(queue: &dyn Queue, events: impl Iterator<Item = DeadLetterEvent>) -> Result<()> {
    let append = async |event: DeadLetterEvent| queue.append_dead_letter_event(&event).await;
    let mut appending = stream::iter(events).map(append).buffer_unordered(APPENDS);
    while let Some(outcome) = appending.next().await {
        outcome.map_err(|error| HarnessError::new(format!("a dead letter cannot be appended: {error}")))?;
    }
    Ok(())
}
