//! Where a calendar stands, in our store.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::{Fault, FaultKind};
use shared::flow::Run;
use shared::ports::state::{Expected, State, Write, Written};

use super::cursor::{Cursor, Round};
use super::event::Window;
use super::key::{CalendarId, EventHash};
use super::sides::MeetingKind;

/// How long it is remembered which events a round had: longer than any round lasts.
const SEEN_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Pages of a round that are remembered, read at once.
const SEEN_PAGE: u32 = 200;

/// Where a calendar stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Standing {
    /// How far it was read.
    pub cursor: Cursor,
    /// Records that have to be brought into it, from the last full round on.
    pub outbound: Option<Outbound>,
    /// Its links, as of the last full round, and those that its own rounds have made since.
    #[serde(default)]
    pub links: u64,
    /// Since when its links are remembered.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When its user had agreed to it, as of its last round.
    #[serde(default)]
    pub granted_at: Option<Timestamp>,
    /// Whether its user may have been taken out of records while it was away.
    #[serde(default)]
    pub left_unread: bool,
    /// When it last had news, or notified us of some.
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
}

/// The CRM's records that are brought into a calendar once it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outbound {
    /// In which stretch of time.
    pub window: Window,
    /// Which kind is under way.
    pub kind: MeetingKind,
    /// The last record of the page before.
    pub after: Option<String>,
}

impl Outbound {
    /// All records of this stretch.
    pub(super) fn of(window: Window) -> Self {
        Self { window, kind: MeetingKind::Meeting, after: None }
    }

    /// What comes after the last page of a kind.
    pub(super) fn next_kind(&self) -> Option<Self> {
        match self.kind {
            MeetingKind::Meeting => Some(Self { kind: MeetingKind::Call, after: None, ..self.clone() }),
            MeetingKind::Call => None,
        }
    }
}

fn key(calendar: &CalendarId) -> String {
    format!("calendar/standing/{}", calendar.text())
}

/// Reads where a calendar stands; at its beginning, where nothing is known.
pub(super) async fn load(state: &dyn State, calendar: &CalendarId) -> Result<(Standing, Option<u64>), Fault> {
    let key = key(calendar);
    let Some(document) = state.get(&key).await? else { return Ok((Standing::default(), None)) };
    let standing = serde_json::from_slice(&document.value)
        .map_err(|e| Fault::bug("state_unreadable", format!("The document {key} cannot be read: {e}.")))?;
    Ok((standing, Some(document.version)))
}

/// Saves where a calendar stands, where nobody else did since; answers the new version.
pub(super) async fn save(
    state: &dyn State,
    calendar: &CalendarId,
    standing: &Standing,
    before: Option<u64>,
    run: &Run,
) -> Result<u64, Fault> {
    let value = serde_json::to_vec(standing).map_err(|e| {
        Fault::bug("state_unwritable", format!("A calendar's cursor cannot be written: {e}."))
    })?;
    let (key, fence) = (key(calendar), run.guard.fence()?);
    let expected = before.map_or(Expected::Absent, Expected::Version);
    match state.write(Write { expected, fence: fence.as_ref(), ..Write::put(&key, &value) }).await? {
        Written::Done(version) => Ok(version),
        Written::Clash => {
            let text = format!("The calendar {} was read by another run meanwhile.", calendar.text());
            Err(Fault::new(FaultKind::Conflict, "calendar_read_meanwhile", text))
        }
    }
}

fn seen_prefix(calendar: &CalendarId, round: &Round) -> String {
    format!("calendar/seen/{}/{}/", calendar.text(), round.begun.as_microsecond())
}

/// Remembers which events a page of a round had.
pub(super) async fn remember(
    state: &dyn State,
    calendar: &CalendarId,
    round: &Round,
    page: &BTreeSet<EventHash>,
) -> Result<(), Fault> {
    let key = format!("{}{:06}", seen_prefix(calendar, round), round.pages);
    let hashes: Vec<&str> = page.iter().map(EventHash::as_str).collect();
    // Serialising texts cannot fail.
    let value = serde_json::to_vec(&hashes).unwrap_or_default();
    state.write(Write { time_to_live: Some(SEEN_KEPT), ..Write::put(&key, &value) }).await?;
    Ok(())
}

/// The events that the earlier pages of a round had.
pub(super) async fn recall(
    state: &dyn State,
    calendar: &CalendarId,
    round: &Round,
) -> Result<BTreeSet<EventHash>, Fault> {
    let (prefix, mut after, mut seen) = (seen_prefix(calendar, round), None, BTreeSet::new());
    loop {
        let found = state.scan(&prefix, after.as_deref(), SEEN_PAGE).await?;
        for (key, document) in &found {
            let hashes: Vec<EventHash> = serde_json::from_slice(&document.value).map_err(|e| {
                Fault::bug("state_unreadable", format!("The document {key} cannot be read: {e}."))
            })?;
            seen.extend(hashes);
        }
        let Some((last, _)) = found.last() else { return Ok(seen) };
        after = Some(last.clone());
    }
}
