//! Who the people of an event are to the CRM.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::elapsed;
use shared::fault::Fault;
use shared::flow::Run;

use super::calendars::Opened;
use super::crm::{CrmMeeting, Person, PersonKind};
use super::event::{Attendee, Attendees, Reach, Response};
use super::flow::CalendarFlow;
use super::sides::{EventSide, MeetingSide};
use vault::{CrmUser, GrantState};

/// How long it is remembered who somebody is.
const FRESH: Duration = Duration::from_secs(3_600);
/// People remembered at most.
const REMEMBERED_MAX: usize = 20_000;

/// Who is who, as the CRM last said.
#[derive(Debug, Default)]
pub(super) struct People(Mutex<HashMap<String, (Timestamp, Option<Person>)>>);

impl People {
    /// What is remembered of these addresses, and those of which nothing is.
    fn recall(
        &self,
        mails: &BTreeSet<String>,
        now: Timestamp,
    ) -> (BTreeMap<String, Person>, BTreeSet<String>) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, mut unknown) = (BTreeMap::new(), BTreeSet::new());
        for mail in mails {
            match known.get(mail).filter(|(at, _)| *at <= now && elapsed(*at, now) < FRESH) {
                Some((_, Some(person))) => _ = found.insert(mail.clone(), person.clone()),
                Some((_, None)) => {}
                None => _ = unknown.insert(mail.clone()),
            }
        }
        (found, unknown)
    }

    fn learn(&self, asked: BTreeSet<String>, found: &BTreeMap<String, Person>, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + asked.len() > REMEMBERED_MAX {
            known.clear();
        }
        for mail in asked {
            let person = found.get(&mail).cloned();
            known.insert(mail, (now, person));
        }
    }
}

impl CalendarFlow {
    /// The event with what its attendees are to the CRM.
    pub(super) async fn known_people(&self, mut event: EventSide, run: &Run) -> Result<EventSide, Fault> {
        if let Some(organizer) = &event.organizer {
            // Vendors do not count the organiser among those who are invited.
            let comes = Attendee { response: Response::Accepted, ..Attendee::default() };
            event.event.attendees.entry(organizer.clone()).or_insert(comes);
        }
        if event.event.attendees.is_empty() {
            return Ok(event);
        }
        let now = run.clock.now();
        let mails: BTreeSet<String> = event.event.attendees.keys().cloned().collect();
        let found = self.who(&mails, now).await?;
        let connected = self.calendars.users(&self.settings, now).await?;
        for (mail, attendee) in &mut event.event.attendees {
            attendee.reach = reach(found.get(mail), &connected);
        }
        Ok(event)
    }
}

impl CalendarFlow {
    /// Whether somebody has a calendar that is read now.
    pub(super) async fn has_calendar(&self, mail: &str, run: &Run) -> Result<bool, Fault> {
        let now = run.clock.now();
        let connected = self.calendars.connected(&self.settings, now).await?;
        let active = connected.iter().filter(|(_, summary)| summary.state == GrantState::Active);
        let users: BTreeSet<&str> =
            active.filter_map(|(account, _)| account.user().map(CrmUser::as_str)).collect();
        let known = self.who(&BTreeSet::from([mail.to_owned()]), now).await?;
        Ok(known
            .get(mail)
            .is_some_and(|person| person.kind == PersonKind::User && users.contains(person.id.as_str())))
    }

    /// Who these are, as far as the CRM knows.
    async fn who(&self, mails: &BTreeSet<String>, now: Timestamp) -> Result<BTreeMap<String, Person>, Fault> {
        let (mut found, unknown) = self.people.recall(mails, now);
        if !unknown.is_empty() {
            let answer = self.crm.people(&unknown).await?;
            self.people.learn(unknown, &answer, now);
            found.extend(answer);
        }
        Ok(found)
    }
}

fn reach(person: Option<&Person>, connected: &BTreeSet<String>) -> Reach {
    match person {
        None => Reach::Unknown,
        Some(Person { kind: PersonKind::User, id, .. }) if connected.contains(id) => Reach::Connected,
        Some(_) => Reach::Known,
    }
}

/// A meeting as the pair of a calendar sees it: its people are all but the calendar's user, who comes beside it, and
/// users with a synchronised calendar are known as such.
pub(super) fn without_owner(meeting: &CrmMeeting, open: &Opened) -> (MeetingSide, Attendees) {
    let mut side = meeting.side.clone();
    let own = meeting.user_mails.get(&open.calendar.user_id);
    let is_own =
        |mail: &String| Some(mail) == own || *mail == open.owner.mail || open.owner.aliases.contains(mail);
    let (owner, others) =
        std::mem::take(&mut side.event.attendees).into_iter().partition(|(mail, _)| is_own(mail));
    side.event.attendees = others;
    for (_, mail) in meeting.user_mails.iter().filter(|(user, _)| open.connected.contains(*user)) {
        if let Some(attendee) = side.event.attendees.get_mut(mail) {
            attendee.reach = Reach::Connected;
        }
    }
    (side, owner)
}
