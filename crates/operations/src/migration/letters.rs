//! The log of dead letters: each event once, however often the log says it.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::ports::queue::Queue;
use uuid::Uuid;

use super::report::{Line, Sum};

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

/// How many events there are.
pub(super) async fn count(queue: &dyn Queue) -> Result<u64, PortError> {
    Ok(total(&events(queue).await?).count)
}

/// Compares both. The target must hold what the source holds; it may hold more, since a log drops its oldest events.
pub(super) async fn compare(from: &dyn Queue, to: &dyn Queue) -> Result<Line, PortError> {
    let (there, here) = (events(to).await?, events(from).await?);
    Ok(line(&here, &there))
}

fn line(here: &HashMap<EventId, Sum>, there: &HashMap<EventId, Sum>) -> Line {
    let equal = here.iter().all(|(id, sum)| there.get(id) == Some(sum));
    let dropped = there.keys().filter(|id| !here.contains_key(*id)).count();
    let note = if dropped > 0 { format!("the source has dropped {dropped} since") } else { String::new() };
    Line { note, equal, ..Line::compared("dead letters".to_owned(), total(here), total(there)) }
}

/// The events, each with a sum over it alone.
async fn events(queue: &dyn Queue) -> Result<HashMap<EventId, Sum>, PortError> {
    let (mut found, mut log) = (HashMap::new(), Log::default());
    while let Some(events) = log.next(queue).await? {
        for event in &events {
            found.entry(id(event)).or_insert_with(|| {
                let mut sum = Sum::default();
                // Serialising plain structs with string keys cannot fail.
                sum.add(&[&serde_json::to_vec(event).unwrap_or_default()]);
                sum
            });
        }
    }
    Ok(found)
}

fn total(events: &HashMap<EventId, Sum>) -> Sum {
    events.values().fold(Sum::default(), |total, sum| total.plus(*sum))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn log(numbers: impl IntoIterator<Item = u128>) -> HashMap<EventId, Sum> {
        let event = |number: u128| {
            let mut sum = Sum::default();
            sum.add(&[&number.to_be_bytes()]);
            ((Uuid::from_u128(number), true), sum)
        };
        numbers.into_iter().map(event).collect()
    }

    #[test]
    fn the_source_may_have_dropped_events_and_the_target_may_not() {
        assert!(line(&log(0..9), &log(0..9)).equal);
        let dropped = line(&log(3..9), &log(0..9));
        assert!(dropped.equal && dropped.note.contains('3'), "{dropped:?}");
        assert!(!line(&log(0..9), &log(1..9)).equal);
        assert!(!line(&log(0..9), &log(1..20)).equal);
        let mut other = log(0..9);
        other.insert((Uuid::from_u128(0), true), Sum::default());
        assert!(!line(&log(0..9), &other).equal);
    }
}
