//! Replay: publish the message again in a fresh life, then close its dead letter, then remove the mark.
//!
//! Each letter is claimed first, so that two operators or a double click send one message. A crash in between
//! leaves the letter open, and the claim ends by itself; the next replay sends the message again under the same
//! id, which does no harm, since a message only says which record to look at.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::{DeadLetter, Resolution};
use shared::envelope::Envelope;
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::ports::state::{Expected, Write, Written};
use shared::record_key::RecordKey;
use uuid::Uuid;

use super::select::Selection;
use super::{DeadLetterDesk, DeskError};

/// Letters that are claimed and published together.
const CHUNK: usize = 50;
/// When a claim ends by itself; many times what a chunk takes.
const CLAIM_TIME_MAX: Duration = Duration::from_secs(120);

/// What a replay did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// The letters that were sent again and closed.
    pub replayed: Vec<Replayed>,
    /// The letters that stay as they were, and why.
    pub refused: Vec<Refusal>,
}

/// A dead letter that was sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The dead letter.
    pub letter: Uuid,
    /// The message that was published: the same for each replay of the same letter.
    pub message: Uuid,
    /// The record.
    pub key: RecordKey,
}

/// A dead letter that was not sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The dead letter.
    pub letter: Uuid,
    /// Why, and what to do.
    pub why: String,
}

/// A letter that nobody else replays for now.
struct Claim {
    letter: Uuid,
    key: String,
    version: u64,
}

impl DeadLetterDesk {
    /// Sends dead letters again and closes them. `by` is kept in the log. Safe to repeat.
    ///
    /// # Errors
    /// [`DeskError::NameMissing`]; for a single id [`DeskError::Unknown`] and [`DeskError::Closed`]; else as the
    /// ports': what was replayed until then is closed, the rest is open, and replaying again goes on.
    pub async fn replay(
        &self,
        selection: &Selection,
        by: &str,
        now: Timestamp,
    ) -> Result<ReplayReport, DeskError> {
        let by = by.trim();
        if by.is_empty() {
            return Err(DeskError::NameMissing);
        }
        let ids = self.select(selection).await?;
        let mut report = ReplayReport::default();
        for chunk in ids.chunks(CHUNK) {
            let mut claims = Vec::new();
            let outcome = match self.claim(chunk, &mut claims, &mut report).await {
                Ok(()) => self.replay_claimed(&claims, by, now, &mut report).await,
                failed => failed,
            };
            for claim in claims {
                self.give_up(claim).await;
            }
            outcome?;
        }
        Ok(report)
    }

    async fn claim(
        &self,
        ids: &[Uuid],
        claims: &mut Vec<Claim>,
        report: &mut ReplayReport,
    ) -> Result<(), PortError> {
        for &letter in ids {
            let key = format!("replay/{letter}");
            let time_to_live = Some(CLAIM_TIME_MAX);
            let write = Write { expected: Expected::Absent, time_to_live, ..Write::put(&key, b"{}") };
            match self.state.write(write).await? {
                Written::Done(version) => claims.push(Claim { letter, key, version }),
                Written::Clash => report.refused.push(Refusal {
                    letter,
                    why: "somebody else is replaying it at this moment; look again in two minutes".into(),
                }),
            }
        }
        Ok(())
    }

    /// Gives a claim back. Where that fails it ends by itself.
    async fn give_up(&self, claim: Claim) {
        let expected = Expected::Version(claim.version);
        let write = Write { expected, ..Write::delete(&claim.key) };
        if let Err(error) = self.state.write(write).await {
            tracing::debug!(dead_letter.id = %claim.letter, %error, "a claim ends by itself");
        }
    }

    async fn replay_claimed(
        &self,
        claims: &[Claim],
        by: &str,
        now: Timestamp,
        report: &mut ReplayReport,
    ) -> Result<(), PortError> {
        // Only now is it certain who may: whoever held the claim before may have closed the letter.
        drop(self.refreshed().await?);
        let ids: Vec<Uuid> = claims.iter().map(|claim| claim.letter).collect();
        let mut ready = Vec::new();
        for letter in self.whole(&ids).await? {
            match self.message(&letter, now) {
                Ok(message) => ready.push((letter.id, message)),
                Err(why) => report.refused.push(Refusal { letter: letter.id, why }),
            }
        }
        let batch: Vec<Outbound> = ready.iter().map(|(_, (_, outbound))| outbound.clone()).collect();
        if batch.is_empty() {
            return Ok(());
        }
        self.queue.publish(&batch).await?;
        for (letter, (envelope, _)) in ready {
            let key = envelope.key;
            self.resolve(letter, Some(&key), Resolution::Replayed, by, "", now).await?;
            tracing::info!(dead_letter.id = %letter, record.id = key.id(), operator = by, "A dead letter was replayed.");
            report.replayed.push(Replayed { letter, message: envelope.id, key });
        }
        Ok(())
    }

    /// The message of a letter in a fresh life, or why there is none.
    fn message(&self, letter: &DeadLetter, now: Timestamp) -> Result<(Envelope, Outbound), String> {
        let envelope = Envelope::parse(letter.message.as_bytes())
            .map_err(|error| format!("its message cannot be sent again: {error}; discard it"))?;
        let flow = envelope.key.flow();
        let topology = self.flows.iter().find(|topology| topology.flow == *flow).ok_or_else(|| {
            format!("its flow {flow} is not enabled; set flow.{flow}.enabled = true, or discard it")
        })?;
        let envelope = envelope.replayed(message_id(letter.id), now);
        let outbound = Outbound::of(&envelope, topology.shards);
        Ok((envelope, outbound))
    }
}

/// The id of the message that replays a letter: always the same one.
fn message_id(letter: Uuid) -> Uuid {
    Uuid::new_v5(&letter, b"replay")
}
