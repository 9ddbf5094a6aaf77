//! Which way messages of a webhook take. Pure.

use std::time::Duration;

/// How long after a failure no webhook waits for the queue.
pub const QUEUE_AVOIDED: Duration = Duration::from_secs(5);

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the queue; to the spool where the queue does not confirm them in time.
    Queue,
    /// To the spool at once.
    Spool,
}

/// What is known when messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether the queue has been prepared since the start of this process.
    pub is_prepared: bool,
    /// Messages of the same flow that wait in the spool.
    pub waiting: u64,
    /// How long ago the queue failed last; `None` where it has worked since.
    pub failed_ago: Option<Duration>,
}

/// The way of new messages. What waits in the spool is older: nothing overtakes it.
pub fn way(seen: Seen) -> Way {
    let is_away = seen.failed_ago.is_some_and(|ago| ago < QUEUE_AVOIDED);
    if seen.is_prepared && seen.waiting == 0 && !is_away { Way::Queue } else { Way::Spool }
}

/// How long the queue, and then the spool, may take, so that a webhook is answered within `answer_max`.
pub fn waits(answer_max: Duration) -> (Duration, Duration) {
    let queue = answer_max * 3 / 5;
    (queue, answer_max.saturating_sub(queue))
}

/// Whether `more` messages fit beside those that wait.
pub fn has_room(waiting: u64, more: u64, messages_max: u64) -> bool {
    waiting.checked_add(more).is_some_and(|all| all <= messages_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CALM: Seen = Seen { is_prepared: true, waiting: 0, failed_ago: None };

    #[test]
    fn messages_go_to_the_queue_only_where_it_works_and_nothing_older_waits() {
        assert_eq!(way(CALM), Way::Queue);
        assert_eq!(way(Seen { is_prepared: false, ..CALM }), Way::Spool);
        assert_eq!(way(Seen { waiting: 1, ..CALM }), Way::Spool);
        assert_eq!(way(Seen { failed_ago: Some(Duration::from_secs(1)), ..CALM }), Way::Spool);
        assert_eq!(way(Seen { failed_ago: Some(QUEUE_AVOIDED), ..CALM }), Way::Queue);
    }

    #[test]
    fn the_limit_is_the_last_that_fits() {
        assert!(has_room(9, 1, 10));
        assert!(!has_room(10, 1, 10));
        assert!(!has_room(u64::MAX, 1, u64::MAX));
    }

    proptest! {
        #[test]
        fn nothing_overtakes_what_waits(is_prepared: bool, waiting in 1u64.., ago in proptest::option::of(0u64..100)) {
            let failed_ago = ago.map(Duration::from_secs);
            prop_assert_eq!(way(Seen { is_prepared, waiting, failed_ago }), Way::Spool);
        }

        #[test]
        fn both_waits_together_are_the_whole_time(milliseconds in 500u64..8_000) {
            let answer_max = Duration::from_millis(milliseconds);
            let (queue, spool) = waits(answer_max);
            prop_assert_eq!(queue + spool, answer_max);
            prop_assert!(!spool.is_zero() && queue > spool);
        }
    }
}
