//! Events and records that could not be handled with their calendar: each gets a message of its own, with tries and
//! dead letter.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::flow::{Outcome, Run, SweepHit};
use shared::ports::state::Write;
use tracing::warn;

use super::flow::CalendarFlow;
use super::key::{CalendarId, EventHash, Subject, record_id};
use super::links::Slot;
use super::pair::Known;
use super::rounds::Rounds;
use super::sides::MeetingRef;

const PREFIX: &str = "calendar/again/";

/// An event that is to be looked at by itself.
#[derive(Debug, Serialize, Deserialize)]
struct Again {
    /// None for a record of the CRM.
    event_id: Option<String>,
    since: Timestamp,
    /// It is a series whose instances are to be compared.
    #[serde(default)]
    instances: bool,
    /// Nothing but what it says now is in question.
    #[serde(default)]
    unread: bool,
    /// No sweep sends its message before.
    #[serde(default)]
    not_before: Option<Timestamp>,
}

/// Why something is noted.
#[derive(Debug, Clone, Copy)]
enum Why {
    Failed,
    Unread,
    Instances,
    Waits { until: Timestamp },
}

/// What a pair is looked at for.
#[derive(Debug, Clone, Copy)]
pub(super) enum About<'a> {
    /// An event of the calendar, by its id.
    Event(&'a str),
    /// A record of the CRM.
    Record(&'a MeetingRef),
}

impl About<'_> {
    /// A name for logs: vendors' ids are long.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Event(id) => EventHash::of(id).as_str().to_owned(),
            Self::Record(record) => record_id(record),
        }
    }

    fn key(&self, calendar: &CalendarId) -> String {
        match self {
            Self::Event(id) => key(calendar, &EventHash::of(id)),
            Self::Record(record) => record_key(record),
        }
    }
}

fn key(calendar: &CalendarId, event: &EventHash) -> String {
    format!("{PREFIX}{}.{}", calendar.text(), event.as_str())
}

fn record_key(record: &MeetingRef) -> String {
    format!("{PREFIX}{}", record_id(record))
}

/// Notes that something is to be looked at by itself. The next sweep sends its message.
pub(super) async fn note(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    about: About<'_>,
    fault: &Fault,
    run: &Run,
) -> Result<(), Fault> {
    warn!(
        calendar = calendar.text(),
        about = about.name(),
        error.type = fault.code,
        "An event is looked at again by itself: {fault}"
    );
    write(flow, calendar, about, Why::Failed, run).await
}

/// Notes that an event may have changed unread.
pub(super) async fn note_unread(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    event_id: &str,
    run: &Run,
) -> Result<(), Fault> {
    write(flow, calendar, About::Event(event_id), Why::Unread, run).await
}

/// Notes that the instances of a series are to be compared: until that is done, whatever happens meanwhile.
pub(super) async fn note_series(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    event_id: &str,
    run: &Run,
) -> Result<(), Fault> {
    write(flow, calendar, About::Event(event_id), Why::Instances, run).await
}

/// Notes that a record's other calendars have to hear what its version does not tell them, should this run be cut off: it
/// is deleted, the event that invites its guests has ended, or it changed while a calendar was not connected, or came
/// to be long before anybody could hear of it.
pub(super) async fn note_record(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    record: &MeetingRef,
    run: &Run,
) -> Result<(), Fault> {
    write(flow, calendar, About::Record(record), Why::Failed, run).await
}

/// Notes that an event waits for its organiser's copy; since when is kept.
pub(super) async fn hold_back(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    about: About<'_>,
    until: Timestamp,
    run: &Run,
) -> Result<(), Fault> {
    write(flow, calendar, about, Why::Waits { until }, run).await
}

/// The instances of a series have been compared.
pub(super) async fn forget(flow: &CalendarFlow, calendar: &CalendarId, event_id: &str) -> Result<(), Fault> {
    flow.state.write(Write::delete(&key(calendar, &EventHash::of(event_id)))).await?;
    Ok(())
}

async fn write(
    flow: &CalendarFlow,
    calendar: &CalendarId,
    about: About<'_>,
    why: Why,
    run: &Run,
) -> Result<(), Fault> {
    let event_id = match about {
        About::Event(id) => Some(id.to_owned()),
        About::Record(_) => None,
    };
    let key = about.key(calendar);
    let before = flow.state.get(&key).await?;
    let before = before.and_then(|document| serde_json::from_slice::<Again>(&document.value).ok());
    let instances = matches!(why, Why::Instances) || before.as_ref().is_some_and(|again| again.instances);
    let unread = matches!(why, Why::Unread) && before.as_ref().is_none_or(|again| again.unread);
    let since = before.map_or(run.clock.now(), |again| again.since);
    let not_before = match why {
        Why::Waits { until } => Some(until),
        Why::Failed | Why::Unread | Why::Instances => None,
    };
    let again = Again { event_id, since, instances, unread, not_before };
    // Serialising plain structs cannot fail.
    let value = serde_json::to_vec(&again).unwrap_or_default();
    flow.state.write(Write::put(&key, &value)).await?;
    Ok(())
}

impl CalendarFlow {
    /// Whether a record's calendars have to hear what its version does not tell them.
    pub(super) async fn is_noted(&self, record: &MeetingRef) -> Result<bool, Fault> {
        Ok(self.state.are_present(&[&record_key(record)]).await?.contains(&true))
    }

    /// A record's calendars have heard all there is.
    pub(super) async fn forget_record(&self, record: &MeetingRef) -> Result<(), Fault> {
        if self.is_noted(record).await? {
            self.state.write(Write::delete(&record_key(record))).await?;
        }
        Ok(())
    }

    /// A page of what is to be looked at by itself now; `after` is the last key of the page before.
    pub(super) async fn noted(
        &self,
        after: Option<&str>,
        max: u32,
        now: Timestamp,
    ) -> Result<(Vec<SweepHit>, Option<String>), Fault> {
        let found = self.state.scan(PREFIX, after, max).await?;
        let mut hits = Vec::new();
        for (key, document) in &found {
            let id = key.strip_prefix(PREFIX).unwrap_or(key);
            let Some(subject) = Subject::read(id) else { continue };
            let noted = serde_json::from_slice::<Again>(&document.value).ok();
            if noted.as_ref().and_then(|again| again.not_before).is_none_or(|at| at <= now) {
                hits.push(SweepHit { key: self.key(&subject)?, changed_at: noted.map(|again| again.since) });
            }
        }
        Ok((hits, found.last().map(|(key, _)| key.clone())))
    }

    /// Looks at one event.
    pub(super) async fn handle_event(
        &self,
        run: &Run,
        calendar: &CalendarId,
        event: EventHash,
    ) -> Result<Outcome, Fault> {
        let opened = self.calendars.open(&calendar.account, &self.settings, run.clock.now()).await?;
        let nothing = Outcome { converged: true, ..Outcome::default() };
        // It was taken out, or another mailbox is connected now.
        let Some(open) = opened.filter(|open| open.id == *calendar) else { return Ok(nothing) };
        let noted_key = key(calendar, &event);
        let noted = self.state.get(&noted_key).await?;
        let noted = noted.and_then(|document| serde_json::from_slice::<Again>(&document.value).ok());
        let linked = self.links.at(calendar, Slot::Event(event)).await?;
        let id = noted
            .as_ref()
            .and_then(|again| again.event_id.clone())
            .or(linked.and_then(|stored| stored.link.event_id));
        let Some(id) = id else { return Ok(nothing) };
        let mut rounds = Rounds::beside(self, run, &open).await?;
        match &noted {
            Some(again) if again.instances => rounds.look_at_series(&id).await?,
            Some(again) if again.unread => rounds.read_anew(&id).await?,
            noted => {
                let mut pair = rounds.pair().of_event_id(&id, Known::Unread);
                pair.waits_since = noted.as_ref().map(|again| again.since);
                rounds.look(About::Event(&id), pair).await?;
            }
        }
        if rounds.held_back {
            return Ok(Outcome { converged: false, ..Outcome::default() });
        }
        if let Some(written) = rounds.written.take() {
            rounds.wrote.extend(self.spread(run, written, &calendar.account).await);
        }
        self.state.write(Write::delete(&noted_key)).await?;
        Ok(Outcome { actions: rounds.wrote, converged: true, look_again_at: None })
    }
}
