//! What a record of the dead-letter stream says. Pure.

use jiff::Timestamp;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason};
use shared::envelope::Envelope;
use shared::fault::Fault;
use shared::record_key::FlowName;

use crate::message::RecordKind;
use crate::names::flow_of;

/// Who "put" a dead letter that the broker made.
const BROKER: &str = "rabbitmq";

/// A record of the stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    /// An event of the log.
    Event(Box<DeadLetterEvent>),
    /// No content: the record of a start.
    Nothing,
    /// Ours, but not understood: written by a newer version, or damaged.
    Unreadable,
}

/// A record as it is read from the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    /// Our header: `None` where there is none, so that the broker made the record.
    pub(crate) kind: Option<Option<RecordKind>>,
    /// The routing key, which a dead-lettered message keeps.
    pub(crate) routing_key: &'a str,
    /// When the message was last published.
    pub(crate) published_at: Option<Timestamp>,
    /// The content.
    pub(crate) body: &'a [u8],
}

impl Raw<'_> {
    /// Understands the record. The same bytes are always the same dead letter, however often they are read or
    /// dead-lettered.
    pub(crate) fn read(&self) -> Record {
        match self.kind {
            Some(Some(RecordKind::Start)) => Record::Nothing,
            Some(Some(RecordKind::Event)) => match serde_json::from_slice(self.body) {
                Ok(event) => Record::Event(Box::new(event)),
                Err(_) => Record::Unreadable,
            },
            Some(None) => Record::Unreadable,
            None => {
                let letter = match flow_of(self.routing_key) {
                    Some(flow) => self.poison(flow),
                    None => self.foreign(),
                };
                Record::Event(Box::new(DeadLetterEvent::Opened { letter: Box::new(letter) }))
            }
        }
    }

    /// A message that the broker took from a shard: the routing key says which. The broker says neither why nor
    /// when; the time is that of the last publishing.
    fn poison(&self, flow: FlowName) -> DeadLetter {
        let shard = self.routing_key;
        let published =
            self.published_at.map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string());
        let text = format!(
            "The message was handed over from shard {shard} again and again without being settled, so the broker took \
             it out of circulation: its worker died or lost its connection each time, by this message or by another \
             that it held. It was last published {published}. Look at what the workers that served shard {shard} \
             logged since then, mend the cause, then replay it."
        );
        match Envelope::parse(self.body) {
            Ok(envelope) => {
                let at = self.published_at.unwrap_or(envelope.time);
                let fault = Fault::permanent("poison", text);
                DeadLetter::of_envelope(&envelope, Reason::Poison, &fault, BROKER, at)
            }
            Err(error) => {
                let text = format!("{text} ({error})");
                let at = self.published_at.unwrap_or(Timestamp::UNIX_EPOCH);
                DeadLetter::of_bytes(self.body, Some(flow), Reason::Poison, "poison", &text, BROKER, at)
            }
        }
    }

    /// Something that somebody else published to the log of dead letters: it came through no shard.
    fn foreign(&self) -> DeadLetter {
        let key = shared::fault::cut(self.routing_key, 60);
        let text = format!(
            "It was published to the log of dead letters itself, with the routing key {key:?}, by something that is no \
             part of this fleet. Look for other users of this broker that know its names, then discard it."
        );
        let at = self.published_at.unwrap_or(Timestamp::UNIX_EPOCH);
        DeadLetter::of_bytes(self.body, None, Reason::Unreadable, "foreign_record", &text, BROKER, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::envelope::{Cause, Operation};
    use shared::trace::TraceParent;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn raw(kind: Option<Option<RecordKind>>, body: &[u8]) -> Raw<'_> {
        Raw { kind, routing_key: "parties.003", published_at: Some(NOW), body }
    }

    fn opened(record: Record) -> DeadLetter {
        match record {
            Record::Event(event) => match *event {
                DeadLetterEvent::Opened { letter } => *letter,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_broker_dead_lettered_is_poison_with_the_envelopes_id() {
        let id = uuid::Uuid::from_u128(7);
        let key = "parties:42".parse().unwrap();
        let trace = TraceParent::new(1, 2);
        let envelope = Envelope::new(id, "/test", key, Operation::Update, Cause::Webhook, trace, NOW);
        let letter = opened(raw(None, &envelope.to_bytes()).read());
        assert_eq!((letter.id, letter.reason, letter.key), (id, Reason::Poison, Some(envelope.key)));
    }

    #[test]
    fn poison_names_its_shard_and_what_came_through_none_is_foreign() {
        let poison = opened(raw(None, b"x").read());
        assert!(poison.text.contains("parties.003") && poison.text.contains("1970-01-01"), "{}", poison.text);
        for routing_key in ["", "parties", "elsewhere.x"] {
            let foreign = opened(Raw { routing_key, ..raw(None, b"x") }.read());
            assert_eq!((foreign.reason, foreign.code.as_str()), (Reason::Unreadable, "foreign_record"));
            assert_eq!(foreign.flow, None);
        }
    }

    #[test]
    fn bytes_that_are_no_envelope_keep_their_flow_and_one_id() {
        let letter = opened(raw(None, b"\xff?").read());
        assert_eq!(letter.flow.as_ref().map(ToString::to_string).as_deref(), Some("parties"));
        assert_eq!(letter.id, opened(raw(None, b"\xff?").read()).id);
    }

    #[test]
    fn our_records_are_read_and_strange_ones_counted() {
        let start = Some(Some(RecordKind::Start));
        let event = Some(Some(RecordKind::Event));
        assert_eq!(raw(start, b"").read(), Record::Nothing);
        assert_eq!(raw(event, b"{}").read(), Record::Unreadable);
        assert_eq!(raw(Some(None), b"{}").read(), Record::Unreadable);
        let poison = opened(raw(None, b"x").read());
        let written = DeadLetterEvent::Opened { letter: Box::new(poison) };
        let bytes = serde_json::to_vec(&written).unwrap();
        assert_eq!(raw(event, &bytes).read(), Record::Event(Box::new(written)));
    }

    proptest! {
        #[test]
        fn no_record_panics(body in proptest::collection::vec(any::<u8>(), 0..300), own in any::<bool>()) {
            let _ = raw(own.then_some(Some(RecordKind::Event)), &body).read();
        }
    }
}
