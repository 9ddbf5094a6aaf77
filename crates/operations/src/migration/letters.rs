//! The log of dead letters: each event once, however often the log says it.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::ports::queue::Queue;
use uuid::Uuid;

use super::report::Sum;

/// Events read at a time.
const PAGE: u32 = 500;
/// Events appended at once.
const AT_ONCE: usize = 50;

/// A dead letter is opened once, and resolved once.
type EventId = (Uuid, bool);

fn id(event: &DeadLetterEvent) -> EventId {
    match event {
        DeadLetterEvent::Opened { letter } => (letter.id, true),
        DeadLetterEvent::Resolved { id, .. } => (*id, false),
    }
}

/// Appends to the log there what it does not hold yet.
pub(super) async fn copy(from: &dyn Queue, to: &dyn Queue) -> Result<(), PortError> {
    let mut known = HashSet::new();
    let mut log = Log::default();
    while let Some(events) = log.next(to).await? {
        known.extend(events.iter().map(id));
    }
    let mut log = Log::default();
    while let Some(mut events) = log.next(from).await? {
        events.retain(|event| known.insert(id(event)));
        for part in events.chunks(AT_ONCE) {
            try_join_all(part.iter().map(|event| to.append_dead_letter_event(event))).await?;
        }
    }
    Ok(())
}

/// The sum over the events.
pub(super) async fn sum(queue: &dyn Queue) -> Result<Sum, PortError> {
    let (mut sum, mut known, mut log) = (Sum::default(), HashSet::new(), Log::default());
    while let Some(events) = log.next(queue).await? {
        for event in events.iter().filter(|event| known.insert(id(event))) {
            // Serialising plain structs with string keys cannot fail.
            sum.add(&[&serde_json::to_vec(event).unwrap_or_default()]);
        }
    }
    Ok(sum)
}

/// A log that is read from its beginning to its present end.
#[derive(Debug, Default)]
struct Log {
    next: u64,
    is_through: bool,
}

impl Log {
    async fn next(&mut self, queue: &dyn Queue) -> Result<Option<Vec<DeadLetterEvent>>, PortError> {
        if self.is_through {
            return Ok(None);
        }
        let page = queue.scan_dead_letters(self.next, PAGE).await?;
        // A page that ends before it began is of a log that holds nothing more.
        self.is_through = page.at_end || page.next <= self.next;
        self.next = page.next;
        Ok(Some(page.into_events().collect()))
    }
}
