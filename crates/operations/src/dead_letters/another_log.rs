//! A log that ends before the checkpoint. Either it is another one than it was: the broker lost its stream, or was
//! restored; or a replica of it answered that lags behind. Building the list anew takes away what a replica would have
//! brought a moment later, so it is done only when the log stays too short.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use shared::dead_mark;
use shared::ports::PortError;
use shared::ports::state::Fence;
use tokio::time::Instant;
use uuid::Uuid;

use super::documents::{self, LetterSummary, OPEN};
use super::projector::Projector;

/// When a log that is too short and does not grow is another one.
pub(super) const STILL: Duration = Duration::from_secs(30);
/// When a log that is too short is another one, even though it grows.
const LAG_MAX: Duration = Duration::from_secs(600);
/// Letters that are looked for at once: few enough that the lease outlasts them.
const LETTERS: u32 = 50;

/// A log that ended before the checkpoint when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Short {
    /// The checkpoint's position.
    position: u64,
    /// The furthest end that was seen.
    end: u64,
    /// When it was first seen.
    since: Instant,
    /// When its end last rose.
    risen: Instant,
}

impl Short {
    /// What is known after another look. Pure.
    fn after(before: Option<Self>, position: u64, end: u64, now: Instant) -> Self {
        // Where somebody else has moved the checkpoint, the log goes on.
        match before.filter(|before| before.position == position) {
            Some(before) if end > before.end => Self { end, risen: now, ..before },
            Some(before) => before,
            None => Self { position, end, since: now, risen: now },
        }
    }

    fn is_another_log(&self, now: Instant) -> bool {
        now.duration_since(self.risen) >= STILL || now.duration_since(self.since) >= LAG_MAX
    }
}

impl Projector {
    /// Whether a look that found this end is to be taken for one at a replica that lags: there is nothing new.
    pub(super) fn lags(&self, position: u64, end: u64, now: Instant) -> bool {
        let mut short = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        if end >= position {
            *short = None;
            return false;
        }
        let after = Short::after(*short, position, end, now);
        if short.replace(after).is_none() {
            tracing::info!(
                position,
                end,
                "The log of dead letters ends before what was read of it. A replica lags, or it is another log; the \
                 list stays as it is until that is clear."
            );
        }
        !after.is_another_log(now)
    }

    /// Takes away the marks of open letters that do not stand in the log any more, which ends at `end`: the sweeps
    /// look at their records again. Safe to repeat.
    pub(super) async fn forget_marks(
        &self,
        end: u64,
        fence: &Fence,
        renewed: &mut Instant,
    ) -> Result<(), PortError> {
        let mut after = None;
        loop {
            let found = self.state.scan(OPEN, after.as_deref(), LETTERS).await?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            let letters: Vec<LetterSummary> =
                found.iter().filter_map(|(_, document)| documents::read(Some(document))).collect();
            let places = letters.iter().filter(|letter| letter.position < end);
            let places: Vec<(Uuid, u64)> = places.map(|letter| (letter.id, letter.position)).collect();
            // A log that was restored has its earlier letters where they were.
            let kept: BTreeSet<Uuid> = self.whole(&places).await?.iter().map(|letter| letter.id).collect();
            for letter in letters.iter().filter(|letter| !kept.contains(&letter.id)) {
                if let Some(key) = &letter.key {
                    dead_mark::remove(self.state.as_ref(), key, &[letter.id]).await?;
                }
            }
            self.renew(fence, renewed).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_stays_too_short_is_another_one() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let look = |before, position, end, second| Short::after(before, position, end, at(second));
        let first = look(None, 100, 90, 0);
        assert!(!first.is_another_log(at(29)));
        assert!(look(Some(first), 100, 90, 30).is_another_log(at(30)));
        assert!(look(Some(first), 100, 80, 30).is_another_log(at(30)), "of two replicas, one stays behind");
        let risen = look(Some(first), 100, 95, 30);
        assert!(!risen.is_another_log(at(59)) && risen.is_another_log(at(60)));
        let growing = (1..=60).fold(first, |before, n| look(Some(before), 1_000, 90 + n, 10 * n));
        assert!(growing.is_another_log(at(610)) && !growing.is_another_log(at(609)));
        let moved = look(Some(first), 200, 95, 1_000);
        assert!(!moved.is_another_log(at(1_029)), "the checkpoint went on in between");
    }
}
