//! The envelope: a CloudEvents 1.0 event in structured JSON (<https://cloudevents.io>), saying which record to
//! look at. Never the record's content.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::labelled;
use crate::record_key::{FlowName, KeyError, RecordKey};
use crate::trace::TraceParent;

/// The schema version this build writes, and the newest it reads.
pub const SCHEMA_VERSION: u32 = 1;
/// Largest envelope that is published or read, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Attempts kept in an envelope's history; the oldest are dropped first.
pub const HISTORY_MAX: usize = 20;

/// [`SCHEMA_VERSION`], except in a program that plays the next version.
fn schema_version() -> u32 {
    let usual = i64::from(SCHEMA_VERSION);
    u32::try_from(labelled::number("envelope.schema_version", usual)).unwrap_or(SCHEMA_VERSION)
}

/// Why a message was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An upstream said that something changed.
    Webhook,
    /// A scheduled search found it.
    Sweep,
    /// An operator asked for it.
    Manual,
    /// A dead letter was replayed.
    Replay,
    /// It was parked, and what it waited for has happened.
    Released,
}

impl Cause {
    /// The word for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sweep => "sweep",
            Self::Manual => "manual",
            Self::Replay => "replay",
            Self::Released => "released",
        }
    }
}

/// What happened at the source, as far as the cause tells: a hint, never trusted for content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A record appeared.
    Create,
    /// A record changed.
    Update,
    /// A record was removed.
    Delete,
    /// Nobody knows: look at it.
    Check,
}

impl Operation {
    /// The last part of the event's `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Check => "check",
        }
    }
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When the run began.
    pub at: Timestamp,
    /// Which worker ran it.
    pub worker: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The fault's kind.
    pub fault: String,
    /// The fault's code.
    pub code: String,
    /// The fault's text.
    pub text: String,
}

/// One replay of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The dead letter.
    pub letter: Uuid,
    /// Who replayed it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Tells the copies apart that two operators, or one after a crash, published of one replay: only one of them
    /// begins a life ([`crate::replay`]).
    pub copy: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Identifies this message; UUIDv7.
    pub id: Uuid,
    /// Who published it, as a URI reference: `/syncfleet/producer/host-1`.
    pub source: String,
    /// What to look at.
    pub key: RecordKey,
    /// What happened there, as a hint.
    pub operation: Operation,
    /// When it was published (this life of it).
    pub time: Timestamp,
    /// When it was first published; kept over retries, renewed by a replay.
    pub first_seen: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Attempts that failed so far.
    pub attempt: u32,
    /// The trace it belongs to.
    pub trace: TraceParent,
    /// The sweep that published it, for the mass-change guard.
    pub sweep_id: Option<String>,
    /// The failed attempts, oldest first, at most [`HISTORY_MAX`].
    pub history: Vec<Attempt>,
    /// The replays that it went through, oldest first, at most [`HISTORY_MAX`].
    pub replays: Vec<Replay>,
}

impl Envelope {
    /// A new message, first published now.
    pub fn new(
        id: Uuid,
        source: impl Into<String>,
        key: RecordKey,
        operation: Operation,
        cause: Cause,
        trace: TraceParent,
        now: Timestamp,
    ) -> Self {
        let source = source.into();
        Self {
            id,
            source,
            key,
            operation,
            time: now,
            first_seen: now,
            cause,
            attempt: 0,
            trace,
            sweep_id: None,
            history: Vec::new(),
            replays: Vec::new(),
        }
    }

    /// The same message after one more failed attempt.
    #[must_use]
    pub fn after_attempt(mut self, attempt: Attempt) -> Self {
        self.attempt = self.attempt.saturating_add(1);
        self.history.push(attempt);
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
        self
    }

    /// The same message in a fresh life, with its history kept: a replay of a dead letter.
    #[must_use]
    pub fn replayed(mut self, id: Uuid, replay: Replay) -> Self {
        self.id = id;
        self.time = replay.at;
        self.first_seen = replay.at;
        self.cause = Cause::Replay;
        self.attempt = 0;
        self.sweep_id = None;
        self.replays.push(replay);
        if self.replays.len() > HISTORY_MAX {
            self.replays.remove(0);
        }
        self
    }

    /// The bytes to publish.
    pub fn to_bytes(&self) -> Vec<u8> {
        let wire = Wire {
            specversion: "1.0".into(),
            id: self.id.to_string(),
            source: self.source.clone(),
            r#type: format!("syncfleet.{}.{}", self.key.flow(), self.operation.name()),
            subject: self.key.id().to_owned(),
            time: self.time,
            datacontenttype: "application/json".into(),
            schemaversion: schema_version(),
            firstseen: self.first_seen,
            cause: self.cause,
            attempt: self.attempt,
            traceparent: self.trace,
            sweepid: self.sweep_id.clone(),
            data: Data { attempts: self.history.clone(), replays: self.replays.clone() },
        };
        // Serialising plain structs with string keys cannot fail.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`EnvelopeError::Newer`] when the message says that its schema is newer than this build's: it is not
    /// looked at further. [`EnvelopeError::Unreadable`] in every other case, with the reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        // The same version as is written, so that a program reads what it publishes.
        Self::parse_knowing(bytes, schema_version())
    }

    /// Reads a message as a build that knows schemas up to this one.
    fn parse_knowing(bytes: &[u8], known: u32) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(unreadable(format!("it has {} bytes, more than {ENVELOPE_BYTES_MAX}", bytes.len())));
        }
        match serde_json::from_slice::<Wire>(bytes) {
            Ok(wire) if wire.schemaversion <= known => wire.into_envelope(),
            other => Err(refusal(bytes, known, other.err())),
        }
    }
}

/// Why bytes are no envelope that a build reads which knows schemas up to this one.
fn refusal(bytes: &[u8], known: u32, error: Option<serde_json::Error>) -> EnvelopeError {
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return unreadable(format!("it is no JSON: {error}")),
    };
    let version = value.get("schemaversion").and_then(Value::as_u64);
    if let Some(version) = version.filter(|v| *v > u64::from(known)) {
        let time = |name| value.get(name).and_then(Value::as_str).and_then(|t: &str| t.parse().ok());
        let first_seen = time("firstseen").or_else(|| time("time"));
        return EnvelopeError::Newer { version, known, first_seen };
    }
    unreadable(format!("it is no envelope: {}", error.map_or_else(String::new, |e| e.to_string())))
}

/// Why bytes are no message for this worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Never readable: a dead letter at once.
    #[error("unreadable message: {0}")]
    Unreadable(String),
    /// Published by a newer version: handed back, and retried until its age limit.
    #[error("message of schema version {version}, newer than {known}, which this worker knows")]
    Newer {
        /// The message's schema version.
        version: u64,
        /// The newest one that was known here.
        known: u32,
        /// When it was first published, where that can be read.
        first_seen: Option<Timestamp>,
    },
}

fn unreadable(reason: impl Into<String>) -> EnvelopeError {
    EnvelopeError::Unreadable(crate::fault::cut(&reason.into(), 300))
}

/// The wire form. Extension attributes are lower-case without separators, as CloudEvents asks.
#[derive(Serialize, Deserialize)]
struct Wire {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    subject: String,
    time: Timestamp,
    datacontenttype: String,
    schemaversion: u32,
    firstseen: Timestamp,
    cause: Cause,
    attempt: u32,
    traceparent: TraceParent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweepid: Option<String>,
    data: Data,
}

#[derive(Serialize, Deserialize)]
struct Data {
    #[serde(default)]
    attempts: Vec<Attempt>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replays: Vec<Replay>,
}

impl Wire {
    fn into_envelope(self) -> Result<Envelope, EnvelopeError> {
        if self.specversion != "1.0" {
            return Err(unreadable(format!("CloudEvents {} is not known", self.specversion)));
        }
        let (flow, operation) = self.parse_type()?;
        let key = |e: KeyError| unreadable(e.to_string());
        Ok(Envelope {
            id: self.id.parse().map_err(|_| unreadable("its id is no UUID"))?,
            source: self.source,
            key: RecordKey::new(FlowName::new(flow).map_err(key)?, self.subject).map_err(key)?,
            operation,
            time: self.time,
            first_seen: self.firstseen,
            cause: self.cause,
            attempt: self.attempt,
            trace: self.traceparent,
            sweep_id: self.sweepid,
            history: self.data.attempts,
            replays: self.data.replays,
        })
    }

    fn parse_type(&self) -> Result<(String, Operation), EnvelopeError> {
        let mut parts = self.r#type.splitn(3, '.');
        let (Some("syncfleet"), Some(flow), Some(operation)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(unreadable("its type is not syncfleet.<flow>.<operation>"));
        };
        let operation = serde_json::from_value(Value::String(operation.to_owned()))
            .map_err(|_| unreadable("its type names no known operation"))?;
        Ok((flow.to_owned(), operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Envelope {
        let now: Timestamp = "2026-11-20T09:15:00Z".parse().unwrap();
        Envelope::new(
            Uuid::from_u128(7),
            "/syncfleet/producer/test",
            "parties:6b00526cc80a09e94".parse().unwrap(),
            Operation::Update,
            Cause::Webhook,
            TraceParent::new(1, 2),
            now,
        )
    }

    #[test]
    fn the_wire_form_is_a_cloud_event() {
        insta::assert_json_snapshot!(serde_json::from_slice::<Value>(&example().to_bytes()).unwrap(), @r#"
        {
          "specversion": "1.0",
          "id": "00000000-0000-0000-0000-000000000007",
          "source": "/syncfleet/producer/test",
          "type": "syncfleet.parties.update",
          "subject": "6b00526cc80a09e94",
          "time": "2026-11-20T09:15:00Z",
          "datacontenttype": "application/json",
          "schemaversion": 1,
          "firstseen": "2026-11-20T09:15:00Z",
          "cause": "webhook",
          "attempt": 0,
          "traceparent": "00-00000000000000000000000000000001-0000000000000002-01",
          "data": {
            "attempts": []
          }
        }
        "#);
    }

    #[test]
    fn a_newer_schema_is_told_apart_from_garbage() {
        let bytes = br#"{"schemaversion":2,"firstseen":"2026-11-20T09:15:00Z","anything":["else"]}"#;
        let Err(EnvelopeError::Newer { version: 2, known: SCHEMA_VERSION, first_seen: Some(_) }) =
            Envelope::parse(bytes)
        else {
            panic!("not recognised as newer");
        };
    }

    #[test]
    fn who_knows_a_schema_reads_it_and_those_before_it() {
        let bytes = |version: u32| {
            let mut message: Value = serde_json::from_slice(&example().to_bytes()).unwrap();
            message["schemaversion"] = version.into();
            message.to_string().into_bytes()
        };
        for version in [SCHEMA_VERSION, SCHEMA_VERSION + 1] {
            assert_eq!(Envelope::parse_knowing(&bytes(version), SCHEMA_VERSION + 1), Ok(example()));
        }
        let newer = Envelope::parse_knowing(&bytes(SCHEMA_VERSION + 2), SCHEMA_VERSION + 1).unwrap_err();
        assert!(matches!(newer, EnvelopeError::Newer { .. }), "{newer}");
        assert!(newer.to_string().contains("newer than 2"), "{newer}");
    }

    #[test]
    fn garbage_is_unreadable_and_says_why() {
        let mut wrong_version: Value = serde_json::from_slice(&example().to_bytes()).unwrap();
        wrong_version["specversion"] = "0.3".into();
        let mut wrong_type = wrong_version.clone();
        wrong_type["specversion"] = "1.0".into();
        wrong_type["type"] = "other.parties.update".into();
        for (bytes, expected) in [
            (b"\xff\xfe".to_vec(), "no JSON"),
            (b"[]".to_vec(), "no envelope"),
            (b"{}".to_vec(), "no envelope"),
            (wrong_version.to_string().into_bytes(), "CloudEvents 0.3"),
            (wrong_type.to_string().into_bytes(), "syncfleet.<flow>"),
            (vec![b' '; ENVELOPE_BYTES_MAX + 1], "bytes, more than"),
        ] {
            let error = Envelope::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn history_is_bounded_and_a_replay_keeps_it() {
        let attempt = |n: u64| Attempt {
            at: Timestamp::UNIX_EPOCH,
            worker: "w".into(),
            duration_ms: n,
            fault: "retryable".into(),
            code: "timeout".into(),
            text: "no answer".into(),
        };
        let envelope = (0..30).fold(example(), |e, n| e.after_attempt(attempt(n)));
        assert_eq!(
            (envelope.attempt, envelope.history.len(), envelope.history[0].duration_ms),
            (30, HISTORY_MAX, 10)
        );
        let replay =
            |copy: u64| Replay { letter: envelope.id, by: "anna".into(), at: Timestamp::UNIX_EPOCH, copy };
        let replayed = envelope.clone().replayed(Uuid::from_u128(8), replay(1));
        assert_eq!(
            (replayed.attempt, replayed.history.len(), replayed.cause),
            (0, HISTORY_MAX, Cause::Replay)
        );
        assert_eq!(Envelope::parse(&replayed.to_bytes()).unwrap(), replayed);
        let often = (0..30).fold(replayed, |e, n| e.replayed(Uuid::from_u128(9), replay(n)));
        assert_eq!((often.replays.len(), often.replays[HISTORY_MAX - 1].copy), (HISTORY_MAX, 29));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn a_damaged_envelope_never_panics(at in 0usize..400, byte in any::<u8>()) {
            let mut bytes = example().to_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(id in "\\PC{1,60}", attempt in any::<u32>(), seconds in 0i64..4_000_000_000) {
            let mut envelope = example();
            envelope.key = RecordKey::new(FlowName::new("parties").unwrap(), id).unwrap();
            envelope.attempt = attempt;
            envelope.time = Timestamp::from_second(seconds).unwrap();
            envelope.sweep_id = Some("s1".into());
            prop_assert_eq!(Envelope::parse(&envelope.to_bytes()).unwrap(), envelope);
        }
    }
}
