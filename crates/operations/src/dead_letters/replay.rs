//! Replay and discard.
//!
//! A replay publishes the message again in a fresh life, then closes its dead letter, then removes the mark. The letter
//! is claimed first, so that of two operators, or a double click, one sends it and the other is told; a discarding
//! claims it too, so that nothing is called given up that is on its way. A crash in between leaves the letter open, and
//! the claim ends by itself; the next replay publishes another copy under the same id, and of all copies one begins a
//! life ([`shared::replay`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Resolution};
use shared::dead_mark;
use shared::envelope::{Envelope, Replay};
use shared::fault::cut;
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::ports::state::{Expected, Write, Written};
use shared::record_key::RecordKey;
use uuid::Uuid;

use super::documents::{Ending, Entry};
use super::{DeadLetterDesk, DeskError, resolved};

/// Letters that are claimed and published together.
pub const CHUNK: usize = 50;
/// When a claim ends by itself; many times what a chunk takes.
const CLAIM_TIME_MAX: Duration = Duration::from_secs(120);
/// Longest name of an operator, in characters.
const NAME_CHARS_MAX: usize = 100;

/// What a replay or a discarding did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The letters that are closed now.
    pub done: Vec<Done>,
    /// The letters that stay as they were, and why.
    pub refused: Vec<Refusal>,
}

impl Report {
    fn refuse(&mut self, letter: Uuid, why: impl Into<String>) {
        self.refused.push(Refusal { letter, why: why.into() });
    }
}

/// A dead letter that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The dead letter.
    pub letter: Uuid,
    /// The message that was published: the same for each replay of the same letter.
    pub message: Option<Uuid>,
    /// The record, where it is known.
    pub key: Option<RecordKey>,
}

/// A dead letter that was not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The dead letter.
    pub letter: Uuid,
    /// Why, and what to do.
    pub why: String,
}

/// A letter that nobody else replays or discards for now.
struct Claim {
    letter: Uuid,
    key: String,
    version: u64,
}

/// Who replays, when, and what.
#[derive(Clone, Copy)]
struct Order<'a> {
    by: &'a str,
    now: Timestamp,
    /// The message in place of the letter's.
    edited: Option<&'a Envelope>,
}

impl DeadLetterDesk {
    /// Sends dead letters again and closes them. `by` is kept in the log and in the message. Safe to repeat.
    ///
    /// # Errors
    /// [`DeskError::NameMissing`]; else as the ports': what was replayed until then is closed, the rest is open, and
    /// replaying again goes on.
    pub async fn replay(&self, ids: &[Uuid], by: &str, now: Timestamp) -> Result<Report, DeskError> {
        let by = operator(by)?;
        let mut report = Report::default();
        for chunk in ids.chunks(CHUNK) {
            self.replay_chunk(chunk, Order { by: &by, now, edited: None }, &mut report).await?;
        }
        Ok(report)
    }

    /// Sends an edited message in place of a letter's, and closes the letter. The log keeps both versions. The
    /// history stays the letter's own.
    ///
    /// # Errors
    /// [`DeskError::Unsendable`] when the message is none, or of a flow that is not enabled; else as
    /// [`Self::replay`].
    pub async fn replay_edited(
        &self,
        id: Uuid,
        message: &str,
        by: &str,
        now: Timestamp,
    ) -> Result<Report, DeskError> {
        let by = operator(by)?;
        let edited = self.check_message(message)?;
        let mut report = Report::default();
        self.replay_chunk(&[id], Order { by: &by, now, edited: Some(&edited) }, &mut report).await?;
        Ok(report)
    }

    /// Whether a message could be sent.
    ///
    /// # Errors
    /// [`DeskError::Unsendable`].
    pub fn check_message(&self, message: &str) -> Result<Envelope, DeskError> {
        let message =
            Envelope::parse(message.as_bytes()).map_err(|error| DeskError::Unsendable(error.to_string()))?;
        self.shards(&message).map_err(DeskError::Unsendable)?;
        Ok(message)
    }

    /// Gives dead letters up: nothing is sent again. `by` and `why` are kept in the log. Safe to repeat.
    ///
    /// # Errors
    /// [`DeskError::NameMissing`], [`DeskError::ReasonMissing`]; else as the ports'.
    pub async fn discard(
        &self,
        ids: &[Uuid],
        by: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Report, DeskError> {
        let (by, why) = (operator(by)?, why.trim());
        if why.is_empty() {
            return Err(DeskError::ReasonMissing);
        }
        let mut report = Report::default();
        for chunk in ids.chunks(CHUNK) {
            // A letter whose message is on its way is not given up.
            let discard = async |claims: &[Claim], report: &mut Report| {
                for (letter, entry) in self.open_entries(claims, report).await? {
                    let key = entry.opened.and_then(|opening| opening.key);
                    let event = resolved(letter, Resolution::Discarded, &by, why, now);
                    self.resolve(letter, key.as_ref(), event).await?;
                    tracing::info!(dead_letter.id = %letter, operator = by, "A dead letter was discarded.");
                    report.done.push(Done { letter, message: None, key });
                }
                Ok(())
            };
            self.claimed(chunk, &mut report, discard).await?;
        }
        Ok(report)
    }

    /// The entries of those letters that are open; the others are refused. Only once they are claimed it is certain
    /// who may: whoever held the claim before may have closed the letter.
    async fn open_entries(
        &self,
        claims: &[Claim],
        report: &mut Report,
    ) -> Result<BTreeMap<Uuid, Entry>, PortError> {
        self.projector.refresh().await?;
        let ids: BTreeSet<Uuid> = claims.iter().map(|claim| claim.letter).collect();
        let mut entries = self.projector.entries(&ids).await?;
        for id in &ids {
            match entries.get(id) {
                None => report
                    .refuse(*id, "there is no such dead letter; `syncfleet dlq list` shows the open ones"),
                Some(Entry { ending: Some(ending), .. }) => report.refuse(*id, closed(ending)),
                Some(_open) => {}
            }
        }
        entries.retain(|_, entry| entry.open().is_some());
        Ok(entries)
    }

    async fn replay_chunk(
        &self,
        ids: &[Uuid],
        order: Order<'_>,
        report: &mut Report,
    ) -> Result<(), DeskError> {
        let replay =
            async |claims: &[Claim], report: &mut Report| self.replay_claimed(claims, order, report).await;
        self.claimed(ids, report, replay).await
    }

    /// Does something with letters that nobody else closes meanwhile.
    async fn claimed(
        &self,
        ids: &[Uuid],
        report: &mut Report,
        work: impl AsyncFnOnce(&[Claim], &mut Report) -> Result<(), PortError>,
    ) -> Result<(), DeskError> {
        let ids: BTreeSet<Uuid> = ids.iter().copied().collect();
        let claims = self.claim(&ids, report).await;
        let outcome = match &claims {
            (claims, Ok(())) => work(claims, report).await,
            (_, Err(problem)) => Err(problem.clone()),
        };
        join_all(claims.0.into_iter().map(|claim| self.give_up(claim))).await;
        Ok(outcome?)
    }

    /// Claims what nobody else has claimed, as far as the store answers.
    async fn claim(&self, ids: &BTreeSet<Uuid>, report: &mut Report) -> (Vec<Claim>, Result<(), PortError>) {
        let claim = async |letter: Uuid| {
            let key = format!("replay/{letter}");
            let time_to_live = Some(CLAIM_TIME_MAX);
            let write = Write { expected: Expected::Absent, time_to_live, ..Write::put(&key, b"{}") };
            match self.state().write(write).await? {
                Written::Done(version) => Ok(Some(Claim { letter, key, version })),
                Written::Clash => Ok(None),
            }
        };
        let (mut claims, mut outcome) = (Vec::new(), Ok(()));
        for (letter, claimed) in ids.iter().zip(join_all(ids.iter().map(|id| claim(*id))).await) {
            match claimed {
                Ok(Some(claim)) => claims.push(claim),
                Ok(None) => report.refuse(
                    *letter,
                    "somebody else is replaying or discarding it at this moment; look again in two minutes",
                ),
                Err(problem) => outcome = Err(problem),
            }
        }
        (claims, outcome)
    }

    /// Gives a claim back. Where that fails it ends by itself.
    async fn give_up(&self, claim: Claim) {
        let expected = Expected::Version(claim.version);
        let write = Write { expected, ..Write::delete(&claim.key) };
        if let Err(error) = self.state().write(write).await {
            tracing::debug!(dead_letter.id = %claim.letter, %error, "a claim ends by itself");
        }
    }

    async fn replay_claimed(
        &self,
        claims: &[Claim],
        order: Order<'_>,
        report: &mut Report,
    ) -> Result<(), PortError> {
        let entries = self.open_entries(claims, report).await?;
        let places =
            entries.iter().filter_map(|(id, entry)| entry.open().map(|opening| (*id, opening.position)));
        let letters = self.projector.whole(&places.collect::<Vec<_>>()).await?;
        for id in entries.keys().filter(|id| letters.iter().all(|letter| letter.id != **id)) {
            report.refuse(*id, DeskError::Dropped(*id).to_string());
        }
        let mut ready = Vec::new();
        for letter in letters {
            let copy = claims.iter().find(|claim| claim.letter == letter.id).map_or(0, |claim| claim.version);
            match self.message(&letter, copy, order) {
                Ok(message) => ready.push((letter, message)),
                Err(why) => report.refuse(letter.id, why),
            }
        }
        let batch: Vec<Outbound> = ready.iter().map(|(_, (_, outbound))| outbound.clone()).collect();
        if batch.is_empty() {
            return Ok(());
        }
        self.queue().publish(&batch).await?;
        let close = async |letter: DeadLetter, envelope: Envelope| {
            let event = DeadLetterEvent::Resolved {
                id: letter.id,
                resolution: Resolution::Replayed,
                by: order.by.to_owned(),
                note: String::new(),
                edited: order.edited.map(|_| String::from_utf8_lossy(&envelope.to_bytes()).into_owned()),
                at: order.now,
            };
            self.resolve(letter.id, letter.key.as_ref(), event).await?;
            let by = order.by;
            tracing::info!(dead_letter.id = %letter.id, record.id = envelope.key.id(), operator = by, "A dead letter was replayed.");
            Ok::<_, PortError>(Done {
                letter: letter.id,
                message: Some(envelope.id),
                key: Some(envelope.key),
            })
        };
        let closing = ready.into_iter().map(|(letter, (envelope, _))| close(letter, envelope));
        report.done.extend(try_join_all(closing).await?);
        Ok(())
    }

    /// The message of a letter in a fresh life, or why there is none.
    fn message(
        &self,
        letter: &DeadLetter,
        copy: u64,
        order: Order<'_>,
    ) -> Result<(Envelope, Outbound), String> {
        let original = Envelope::parse(letter.message.as_bytes());
        let mut envelope = match order.edited {
            Some(edited) => edited.clone(),
            None => original.clone().map_err(|error| {
                format!(
                    "its message cannot be sent again: {error}; discard it, or send another with dlq edit"
                )
            })?,
        };
        if let Ok(original) = original {
            (envelope.history, envelope.replays) = (original.history, original.replays);
        }
        let shards = self.shards(&envelope)?;
        let replay = Replay { letter: letter.id, by: order.by.to_owned(), at: order.now, copy };
        let envelope = envelope.replayed(message_id(letter.id), replay);
        let outbound = Outbound::of(&envelope, shards);
        Ok((envelope, outbound))
    }

    /// The number of shards of a message's flow, or why it has none.
    fn shards(&self, envelope: &Envelope) -> Result<u16, String> {
        let flow = envelope.key.flow();
        let topology = self.flows.iter().find(|topology| topology.flow == *flow);
        topology.map(|topology| topology.shards).ok_or_else(|| {
            format!("its flow {flow} is not enabled; set flow.{flow}.enabled = true, or discard it")
        })
    }

    /// Appends the resolution, then removes the mark: in this order a crash leaves a mark too many, which the
    /// next success of the key removes, and never an open letter that nobody sees.
    async fn resolve(
        &self,
        id: Uuid,
        key: Option<&RecordKey>,
        event: DeadLetterEvent,
    ) -> Result<(), PortError> {
        self.queue().append_dead_letter_event(&event).await?;
        match key {
            Some(key) => dead_mark::remove(self.state(), key, &[id]).await,
            None => Ok(()),
        }
    }
}

fn operator(name: &str) -> Result<String, DeskError> {
    let name = name.trim();
    if name.is_empty() { Err(DeskError::NameMissing) } else { Ok(cut(name, NAME_CHARS_MAX)) }
}

fn closed(ending: &Ending) -> String {
    match ending {
        Ending::Dropped => "the log has dropped it: it was full, or the letter too old".into(),
        Ending::Resolved { resolution, by, at, .. } => {
            let at = at.strftime("%Y-%m-%d %H:%M:%SZ");
            match resolution {
                Resolution::Replayed => format!("{by} replayed it at {at}; nothing is left to do"),
                Resolution::Discarded => format!("{by} discarded it at {at}; nothing is left to do"),
                Resolution::Superseded => format!("a later run succeeded at {at}; nothing is left to do"),
            }
        }
    }
}

/// The id of the message that replays a letter: always the same one.
fn message_id(letter: Uuid) -> Uuid {
    Uuid::new_v5(&letter, b"replay")
}
