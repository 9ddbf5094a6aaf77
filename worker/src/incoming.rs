//! What a delivery is, before any handler sees it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use shared::clock::elapsed;
use shared::envelope::{Cause, Envelope, EnvelopeError};
use shared::fault::cut;
use shared::record_key::FlowName;
use uuid::Uuid;

/// How long a message that is newer than this worker waits before it is offered again.
pub const NEWER_DELAY: Duration = Duration::from_secs(10);

/// What to do with a delivery's bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// A message for this shard's flow.
    Message(Box<Envelope>),
    /// Newer than this worker: offer it again later, unchanged; another version may take it.
    HandBack(String),
    /// A dead letter at once.
    DeadLetter {
        /// Why, as the dead letter's reason.
        reason: shared::dead_letter::Reason,
        /// The code to group by.
        code: &'static str,
        /// The sentence for the operator.
        text: String,
    },
}

/// Reads the bytes of a delivery from a shard of `flow`.
pub fn read(bytes: &[u8], flow: &FlowName, now: Timestamp, age_max: Duration) -> Incoming {
    use shared::dead_letter::Reason;
    let dead = |reason, code, text: String| Incoming::DeadLetter { reason, code, text: cut(&text, 500) };
    match Envelope::parse(bytes) {
        Ok(envelope) if envelope.key.flow() == flow => Incoming::Message(Box::new(envelope)),
        Ok(envelope) => {
            let text = format!(
                "the message is for flow {}, but came through a queue of {flow}",
                envelope.key.flow()
            );
            dead(Reason::Unreadable, "unknown_flow", text)
        }
        Err(error @ EnvelopeError::Unreadable(_)) => {
            dead(Reason::Unreadable, "unreadable", error.to_string())
        }
        Err(EnvelopeError::Newer { first_seen: None, version, .. }) => {
            let text =
                format!("the message has schema version {version} and no readable time, so it cannot wait");
            dead(Reason::Unreadable, "newer_without_time", text)
        }
        Err(error @ EnvelopeError::Newer { first_seen: Some(seen), .. }) if elapsed(seen, now) >= age_max => {
            let text =
                format!("{error}, and no newer worker took it within its age limit: update the workers");
            dead(Reason::Expired, "newer_schema", text)
        }
        Err(error @ EnvelopeError::Newer { .. }) => Incoming::HandBack(error.to_string()),
    }
}

/// Whether it says that something happened. A sweep's message does not: the sweep only came by.
pub fn is_event(envelope: &Envelope) -> bool {
    envelope.cause != Cause::Sweep
}

/// Which of several messages of one key speaks for all when their run fails. Its life goes on; the others are
/// covered by it.
///
/// The newest event wins: somebody changed the record, which deserves attempts of its own. A sweep is no event:
/// it never gives a failing record a fresh life while another message of it is under way.
pub fn spokesman(envelopes: &[&Envelope]) -> usize {
    let rank = |e: &Envelope| {
        let event = is_event(e);
        (event, if event { e.first_seen } else { Timestamp::MIN }, e.attempt)
    };
    (0..envelopes.len()).max_by_key(|n| envelopes.get(*n).map(|e| rank(e))).unwrap_or(0)
}

/// Whether messages of one key are covered by `waiting`, another message of it that waits for its next attempt:
/// all of them are new ones of sweeps, and none is the waiting one come back.
pub fn is_covered(envelopes: &[&Envelope], waiting: Option<Uuid>) -> bool {
    let new = |e: &&Envelope| e.cause == Cause::Sweep && e.attempt == 0;
    waiting.is_some_and(|id| envelopes.iter().all(|e| new(e) && e.id != id))
}

/// Whether the last successful run of the key, which began to read at `read_at`, has already seen what this
/// message is about. `skew_max` is how far the clocks of publisher and worker may differ.
pub fn is_satisfied(envelope: &Envelope, read_at: Option<Timestamp>, skew_max: Duration) -> bool {
    read_at.is_some_and(|at| shared::clock::later(envelope.time, skew_max) < at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::clock::later;
    use shared::dead_letter::Reason;
    use shared::envelope::Operation;
    use shared::trace::TraceParent;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn envelope(cause: Cause, seconds: u64, attempt: u32) -> Envelope {
        let key = "parties:1".parse().unwrap();
        let at = later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds));
        let trace = TraceParent::new(1, 1);
        let mut envelope = Envelope::new(Uuid::nil(), "/test", key, Operation::Check, cause, trace, at);
        envelope.attempt = attempt;
        envelope
    }

    fn read_as(bytes: &[u8], flow: &str, age_seconds: u64) -> Incoming {
        let now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(age_seconds));
        read(bytes, &FlowName::new(flow).unwrap(), now, HOUR)
    }

    #[test]
    fn every_kind_of_bytes_has_its_way() {
        let bytes = envelope(Cause::Webhook, 0, 0).to_bytes();
        assert!(matches!(read_as(&bytes, "parties", 0), Incoming::Message(_)));
        let other = read_as(&bytes, "calendar", 0);
        assert!(matches!(other, Incoming::DeadLetter { code: "unknown_flow", .. }), "{other:?}");
        let garbage = read_as(b"{", "parties", 0);
        assert!(matches!(garbage, Incoming::DeadLetter { reason: Reason::Unreadable, .. }), "{garbage:?}");
        let newer = br#"{"schemaversion":9,"firstseen":"1970-01-01T00:00:00Z"}"#;
        assert!(matches!(read_as(newer, "parties", 3_599), Incoming::HandBack(_)));
        let expired = read_as(newer, "parties", 3_600);
        assert!(matches!(expired, Incoming::DeadLetter { reason: Reason::Expired, .. }), "{expired:?}");
        let timeless = read_as(br#"{"schemaversion":9}"#, "parties", 0);
        assert!(matches!(timeless, Incoming::DeadLetter { code: "newer_without_time", .. }), "{timeless:?}");
    }

    #[test]
    fn a_sweep_never_renews_a_failing_life_but_an_event_does() {
        let failing = envelope(Cause::Webhook, 10, 4);
        let sweep = envelope(Cause::Sweep, 99, 0);
        let event = envelope(Cause::Webhook, 50, 0);
        let failing_sweep = envelope(Cause::Sweep, 10, 3);
        assert_eq!(spokesman(&[&sweep, &failing]), 1);
        assert_eq!(spokesman(&[&failing, &event, &sweep]), 1);
        assert_eq!(spokesman(&[&sweep, &failing_sweep]), 1);
    }

    #[test]
    fn the_waiting_message_come_back_is_not_covered_by_itself() {
        let with_id =
            |id, cause, attempt| Envelope { id: Uuid::from_u128(id), ..envelope(cause, 0, attempt) };
        let (back, newer) = (with_id(1, Cause::Sweep, 0), with_id(2, Cause::Sweep, 0));
        let waiting = Some(Uuid::from_u128(1));
        assert!(is_covered(&[&newer], waiting));
        assert!(!is_covered(&[&newer], None));
        assert!(!is_covered(&[&back], waiting));
        assert!(!is_covered(&[&newer, &back], waiting));
        assert!(!is_covered(&[&newer, &with_id(3, Cause::Webhook, 0)], waiting));
        assert!(!is_covered(&[&with_id(4, Cause::Sweep, 1)], waiting));
    }

    #[test]
    fn only_what_was_surely_published_before_the_read_is_satisfied() {
        let at = |s| Some(later(Timestamp::UNIX_EPOCH, Duration::from_secs(s)));
        let skew = Duration::from_secs(2);
        let message = envelope(Cause::Webhook, 10, 0);
        assert!(!is_satisfied(&message, None, skew));
        assert!(!is_satisfied(&message, at(12), skew));
        assert!(is_satisfied(&message, at(13), skew));
    }
}
