//! One pair, from looking to agreement: what a plan asks for is looked up, its steps are applied, and it is planned
//! again until nothing is left. Steps that meet another version than was read end the round; the next one reads anew.

use std::collections::BTreeSet;

use jiff::Timestamp;
use shared::fault::{Fault, FaultKind};
use shared::flow::Run;
use shared::ports::state::Fence;

use super::action::{Action, Plan, Verdict};
use super::calendars::Opened;
use super::client::Found;
use super::copies::{Role, role};
use super::crm::CrmFound;
use super::event::{Attendee, Attendees, Event, Place, Reach};
use super::flow::CalendarFlow;
use super::link::{EndedBy, PairLink, Personal};
use super::links::{LINK_CHANGED, Stored};
use super::original::Original;
use super::part::Whole;
use super::plan::{Crm, Input, Remote, Rules, plan};
use super::series::Holding;
use super::sides::{EventSide, MeetingRef, SharedKey};
use super::{people, reasons};

/// Plans for one pair in one run: a look, writes, the agreement, and one more for each thing that changed meanwhile.
const PLANS_MAX: u32 = 8;
/// What is known of the event when a pair is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// Nothing yet: it is read where there is one.
    Unread,
    /// It is reported as removed; only a read tells.
    Hinted,
    /// It is no more.
    Gone,
    /// This is what it says.
    Found(Box<EventSide>),
}

/// What is known of the record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KnownRecord {
    /// Nothing yet: it is read where there is one.
    Unread,
    /// It is no more.
    Gone,
    /// This is what it says, without the calendar's user among its people.
    Found(Box<super::sides::MeetingSide>),
}

/// What came of a pair.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Done {
    /// Upstream writes, by kind.
    pub actions: Vec<&'static str>,
    /// Why it was left alone, where it cannot be synchronised.
    pub skipped: Option<String>,
    /// A series whose instances have to be looked at, as it stands.
    pub instances: Option<Box<EventSide>>,
    /// A series that has come to its end: what deviates from it has as well.
    pub ended_series: Option<SharedKey>,
    /// Until when it waits for its organiser's copy, which comes by another calendar.
    pub held_back: Option<Timestamp>,
    /// The record of the CRM that was written, and its users: other calendars may have it.
    pub written: Option<WrittenRecord>,
}

/// A record of the CRM that a pair has written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WrittenRecord {
    /// Which.
    pub record: MeetingRef,
    /// Its users, as of before where it was deleted.
    pub users: BTreeSet<String>,
    /// How it stands now; none where it was deleted.
    pub found: Option<CrmFound>,
}

/// A pair that is looked at.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) flow: &'a CalendarFlow,
    pub(super) run: &'a Run,
    pub(super) open: &'a Opened,
    /// Whether the calendar was read from beginning to end.
    pub(super) is_read: bool,
    /// Since when the calendar's links are remembered.
    pub(super) since: Option<Timestamp>,
    /// For one of a series.
    pub(super) holding: Holding,
    /// Since when the organiser's copy is waited for, where it is.
    pub(super) waits_since: Option<Timestamp>,
    /// Whether only a change of the record can have to be carried over.
    pub(super) is_news_of_record: bool,
    /// What its deletion is counted with: a calendar's round, or a sweep; none for what people cause one by one.
    pub(super) counted_with: Option<String>,
    pub(super) event: Known,
    pub(super) event_id: Option<String>,
    pub(super) meeting: KnownRecord,
    pub(super) record: Option<MeetingRef>,
    /// The calendar's user, as they stand among the record's people.
    pub(super) owner: Attendees,
    pub(super) stored: Option<Stored>,
    /// Whether the link has been looked for.
    pub(super) found: bool,
    /// Whether a create whose answer may have been lost has been searched for.
    pub(super) searched: bool,
    /// The event that the record's stamp was put with, once it was searched for.
    pub(super) original: Option<Original>,
    /// Whether the CRM has been searched for the event's key.
    pub(super) searched_key: bool,
    pub(super) leases: Vec<(Fence, String)>,
    /// Whether the day of a series that the record is about was looked for, and is not there.
    pub(super) has_no_day: bool,
    /// Whom the CRM has among the people of the series that the event is a part of, beside those whom its event invites.
    pub(super) series_people: Attendees,
    /// The record as it was read last, with all its people.
    whole: Option<CrmFound>,
    pub(super) done: Done,
}

impl<'a> Pair<'a> {
    /// A pair of which nothing is known.
    pub(super) fn new(flow: &'a CalendarFlow, run: &'a Run, open: &'a Opened, is_read: bool) -> Self {
        Self {
            flow,
            run,
            open,
            is_read,
            since: None,
            holding: Holding::Series,
            waits_since: None,
            is_news_of_record: false,
            counted_with: None,
            event: Known::Unread,
            event_id: None,
            meeting: KnownRecord::Unread,
            record: None,
            owner: Attendees::new(),
            stored: None,
            found: false,
            searched: false,
            original: None,
            searched_key: false,
            leases: Vec::new(),
            has_no_day: false,
            series_people: Attendees::new(),
            whole: None,
            done: Done::default(),
        }
    }

    /// Of this event, as it was read.
    pub(super) fn of_event(mut self, event: EventSide) -> Self {
        self.event_id = Some(event.id.clone());
        self.event = Known::Found(Box::new(event));
        self
    }

    /// Of the event with this id.
    pub(super) fn of_event_id(mut self, id: &str, known: Known) -> Self {
        self.event_id = Some(id.to_owned());
        self.event = known;
        self
    }

    /// Of this record.
    pub(super) fn of_record(mut self, record: &MeetingRef, found: Option<&CrmFound>) -> Self {
        self.record = Some(record.clone());
        match found {
            None => self.meeting = KnownRecord::Gone,
            Some(found) => self.take_record(found),
        }
        self
    }

    /// Runs it to its end.
    pub(super) async fn settle(mut self) -> Result<Done, Fault> {
        let result = self.plan_and_apply().await;
        for (fence, holder) in self.leases.drain(..).rev() {
            if let Err(problem) = self.flow.state.release_lease(&fence, &holder).await {
                tracing::debug!("The lease {} ends by itself: {problem}", fence.lease);
            }
        }
        result.map(|()| self.done)
    }

    /// An event that follows another one has nothing to say, and needs nothing. Which version of the meeting it has is
    /// noted, so that no sweep asks.
    async fn follows(&mut self) -> Result<bool, Fault> {
        self.find_link().await?;
        let (Some(stored), KnownRecord::Found(meeting)) = (&self.stored, &self.meeting) else {
            return Ok(false);
        };
        let is_of = stored.link.meeting.as_ref() == Some(&meeting.record);
        if !is_of
            || self.event != Known::Unread
            || self.flow.followed(&stored.link, self.run.clock.now()).await?.is_none()
        {
            return Ok(false);
        }
        let (link, version) = (stored.link.clone(), meeting.version);
        self.note_version(link, version).await
    }

    /// A record that says what was agreed on has no news for its event, which need not be read.
    async fn has_no_news(&mut self) -> Result<bool, Fault> {
        if !self.is_news_of_record || self.event != Known::Unread {
            return Ok(false);
        }
        self.find_link().await?;
        let (Some(stored), KnownRecord::Found(meeting)) = (&self.stored, &self.meeting) else {
            return Ok(false);
        };
        let copies = self.copies().await?;
        let own = stored.link.as_copy(&self.open.calendar);
        let (assigned, born_of) = (meeting.assigned_user_id.as_deref(), meeting.key.as_deref());
        let role = role(&own, &copies, assigned, born_of);
        let is_theirs = meeting.users.contains(&self.open.calendar.user_id);
        if !is_theirs || !stored.link.says(meeting) || stored.link.peer != (role == Role::Peer) {
            return Ok(false);
        }
        let (link, version) = (stored.link.clone(), meeting.version);
        self.note_version(link, version).await
    }

    /// Notes which version of the meeting the event has; answers false where another run was faster.
    async fn note_version(&mut self, link: PairLink, version: Option<i64>) -> Result<bool, Fault> {
        if link.version == version {
            return Ok(true);
        }
        let link = PairLink { version, made_of: None, ..link };
        match self.apply(&Plan::of(Verdict::Converges, vec![Action::SaveLink(Box::new(link))])).await {
            Err(fault) if fault.code == LINK_CHANGED => {
                self.begin_anew();
                Ok(false)
            }
            result => result,
        }
    }

    async fn plan_and_apply(&mut self) -> Result<(), Fault> {
        if self.follows().await? || self.has_no_news().await? {
            return Ok(());
        }
        for _ in 0..PLANS_MAX {
            if self.done.skipped.is_some() {
                return Ok(());
            }
            let Some(plan) = self.plan().await? else { return Ok(()) };
            if reasons::creates_meeting(&plan) && !self.searched_key {
                if let Some(until) = self.comes_by_organizer().await? {
                    self.done.held_back = Some(until);
                    return Ok(());
                }
                self.search_key().await?;
                continue;
            }
            if reasons::lacks_event(&plan) && self.may_have_event() {
                self.search_event().await?;
                continue;
            }
            self.note(&plan);
            if let (true, Some(stored)) = (plan.actions.is_empty(), self.stored.clone()) {
                // An earlier run may have died before all that ends with it was seen to.
                self.ends_with_parts(&stored.link);
            }
            if plan.deletes {
                self.permit().await?;
            }
            match self.apply(&plan).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(fault) if fault.code == LINK_CHANGED => {
                    self.begin_anew();
                    continue;
                }
                Err(fault) => return Err(fault),
            }
            if !plan.again {
                return Ok(());
            }
        }
        let text = format!("A pair in {} keeps changing.", self.open.calendar.id);
        Err(Fault::new(FaultKind::Conflict, "pair_unsettled", text))
    }

    /// Another run saved the link meanwhile: nothing that was read before counts.
    fn begin_anew(&mut self) {
        (self.found, self.stored) = (false, None);
        self.searched_key = false;
        if self.event_id.is_some() {
            self.event = Known::Unread;
        }
        if self.record.is_some() {
            self.meeting = KnownRecord::Unread;
        }
    }

    /// What is to be done now; none where the event or the record cannot be synchronised.
    pub(super) async fn plan(&mut self) -> Result<Option<Plan>, Fault> {
        self.find_link().await?;
        let tombstone = self.stored.as_ref().and_then(|stored| stored.link.tombstone);
        if tombstone.is_some_and(|it| it.why != EndedBy::TakenOut) {
            return Ok(Some(Plan::of(Verdict::Ended, Vec::new())));
        }
        self.read_event().await?;
        let ended = self.find_record().await?;
        self.find_created().await?;
        self.read_record().await?;
        if self.done.skipped.is_some() {
            return Ok(None);
        }
        let event = match (&self.event, &self.event_id) {
            (_, None) | (Known::Unread, Some(_)) => Remote::Absent,
            (Known::Hinted, Some(_)) => Remote::Hinted,
            (Known::Gone, Some(_)) => Remote::Gone,
            (Known::Found(event), Some(_)) => Remote::Found(event.clone()),
        };
        let meeting = match (&self.meeting, &self.record) {
            (_, None) | (KnownRecord::Unread, Some(_)) => Crm::Absent,
            (KnownRecord::Gone, Some(_)) => Crm::Gone,
            (KnownRecord::Found(meeting), Some(_)) => Crm::Found(meeting.clone()),
        };
        let copies = self.copies().await?;
        let whole = self.whole(&copies).await?;
        let inherited = self.inherited(&copies, whole.as_ref()).await?;
        let now = self.run.clock.now();
        let settings = &self.flow.settings;
        let rules = Rules {
            policy: settings.policy,
            send_mail: settings.send_mail,
            window: self.open.reach.window(now),
            crm_series: settings.crm_series,
        };
        let input = Input {
            calendar: &self.open.calendar,
            event: &event,
            meeting: &meeting,
            link: self.stored.as_ref().map(|stored| &stored.link),
            original: self.original.as_ref(),
            copies: &copies,
            inherited: inherited.as_ref(),
            whole: whole.as_ref(),
            series_left: self.series_left().await?,
            ended,
            is_read: self.is_read,
            holding: self.holding,
            rules: &rules,
            now,
        };
        Ok(Some(plan(&input)))
    }

    /// Reads the event where it has to be: a create whose answer may have been lost is searched for.
    async fn read_event(&mut self) -> Result<(), Fault> {
        let creating = self.stored.as_ref().is_some_and(|stored| stored.link.creating.is_some());
        if self.event_id.is_none() && creating && !self.searched {
            self.search_event().await?;
        }
        match (&self.event, self.event_id.clone()) {
            (Known::Unread, Some(id)) => self.get(&id).await,
            _ => Ok(()),
        }
    }

    /// Reads an event.
    pub(super) async fn get(&mut self, id: &str) -> Result<(), Fault> {
        let found = self.open.client.get(id).await?;
        self.take(found).await
    }

    /// Takes an event as it was read.
    pub(super) async fn take(&mut self, found: Option<Found>) -> Result<(), Fault> {
        match found {
            None => self.event = Known::Gone,
            Some(Found::Event(event)) => {
                let event = self.flow.known_people(*event, &self.open.calendar.user_id, self.run).await?;
                self.event = Known::Found(Box::new(event));
            }
            Some(Found::Unreadable { why, .. }) => self.done.skipped = Some(why),
        }
        Ok(())
    }

    async fn read_record(&mut self) -> Result<(), Fault> {
        let (KnownRecord::Unread, Some(record)) = (&self.meeting, &self.record) else { return Ok(()) };
        match self.flow.crm.get(record).await? {
            Some(found) => self.take_record(&found),
            None => self.meeting = KnownRecord::Gone,
        }
        Ok(())
    }

    /// Takes a record as it was read.
    pub(super) fn take_record(&mut self, found: &CrmFound) {
        self.whole = Some(found.clone());
        match found {
            CrmFound::Meeting(meeting) => {
                let (side, owner) = people::without_owner(meeting, self.open);
                self.record = Some(side.record.clone());
                self.meeting = KnownRecord::Found(Box::new(side));
                self.owner = owner;
            }
            CrmFound::Unreadable { record, why } => {
                self.record = Some(record.clone());
                self.done.skipped = Some(why.clone());
            }
        }
    }

    /// The record's other copies that are linked and alive.
    pub(super) async fn copies(&self) -> Result<Vec<super::copies::Copy>, Fault> {
        let Some(record) = &self.record else { return Ok(Vec::new()) };
        let found = self.flow.copies(record, self.run.clock.now()).await?;
        let copies = found.into_iter().filter_map(|known| known.copy);
        let is_own = |copy: &super::copies::Copy| {
            copy.calendar_id == self.open.calendar.id && Some(&copy.event_id) == self.event_id.as_ref()
        };
        Ok(copies.filter(|copy| !is_own(copy)).collect())
    }

    /// What another copy of an organiser's event has agreed on, before this one was known, or while its meeting was being
    /// created.
    async fn inherited(
        &self,
        copies: &[super::copies::Copy],
        whole: Option<&Whole>,
    ) -> Result<Option<Event>, Fault> {
        let Known::Found(event) = &self.event else { return Ok(None) };
        let link = self.stored.as_ref().map(|stored| &stored.link);
        if !event.is_organizer || link.is_some_and(|link| !link.may_inherit()) {
            return Ok(None);
        }
        for copy in copies.iter().filter(|copy| copy.key == event.key) {
            if let Some(base) = self.flow.links.base_of(copy).await? {
                return Ok(Some(base));
            }
        }
        match (&self.meeting, whole) {
            // Of a day that another calendar told of, the series' own event says what it was before.
            (KnownRecord::Found(meeting), Some(whole)) if meeting.key.as_ref() != Some(&event.key.text()) => {
                return Ok(Some(whole.day.clone()));
            }
            _ => {}
        }
        // A run that was stopped while it created the meeting has not noted which one it is.
        match &self.meeting {
            KnownRecord::Found(meeting) if meeting.key.as_ref() == Some(&event.key.text()) => {
                let begun = self.flow.links.being_created(&event.key, &self.open.calendar.id).await?;
                let creates = link.is_some_and(|link| link.creating.is_some());
                Ok(begun.filter(|begun| !creates || Personal::of(begun) == Personal::of(&meeting.event)))
            }
            _ => Ok(None),
        }
    }

    async fn permit(&self) -> Result<(), Fault> {
        let id = self.event_id.as_deref().unwrap_or_default();
        let record = format!("{}/{}", self.open.calendar.id, super::key::EventHash::of(id).as_str());
        let change = crate::guard::MassChange::Tombstone;
        self.flow.guard.permit(self.counted_with.as_deref(), &record, change, self.run.clock.now()).await
    }

    fn note(&mut self, plan: &Plan) {
        self.flow.note(plan);
        if let Some(why) = reasons::skipped(plan) {
            self.done.skipped = Some(why);
        }
    }

    /// Notes a write for the outcome.
    pub(super) fn wrote(&mut self, action: &'static str) {
        self.done.actions.push(action);
    }

    /// Notes that the CRM's record was written.
    pub(super) fn wrote_record(&mut self, record: &MeetingRef, found: Option<CrmFound>) {
        let users = match &self.meeting {
            KnownRecord::Found(meeting) => meeting.users.clone(),
            KnownRecord::Unread | KnownRecord::Gone => BTreeSet::new(),
        };
        self.done.written = Some(WrittenRecord { record: record.clone(), users, found });
    }

    /// Notes that a record's other calendars have to hear of it as if it were written now.
    pub(super) fn is_unheard_of(&mut self, record: MeetingRef) {
        if let (KnownRecord::Found(meeting), None) = (&self.meeting, &self.done.written) {
            let users = meeting.users.clone();
            self.done.written = Some(WrittenRecord { record, users, found: self.whole.clone() });
        }
    }

    /// The record that an earlier run began to create, where this link says that it is there: until now its other calendars
    /// waited for the event that it was born of, and the sweep may have asked them already.
    pub(super) fn born_late(&self, link: &PairLink) -> Option<MeetingRef> {
        let began = self.stored.as_ref().is_some_and(|stored| stored.link.creates_meeting());
        let arrived = began && link.creating.is_none();
        link.meeting.clone().filter(|_| arrived && self.done.written.is_none())
    }

    /// The record whose guests the event of this link may have invited, where it comes to its end and the record goes on:
    /// another one has to invite them.
    pub(super) fn leaves_guests(&self, link: &PairLink) -> Option<MeetingRef> {
        let KnownRecord::Found(meeting) = &self.meeting else { return None };
        let is_guest = |attendee: &Attendee| attendee.reach == Reach::Known;
        let has_guests = meeting.event.attendees.values().any(is_guest);
        (link.tombstone.is_some() && has_guests).then(|| meeting.record.clone())
    }

    /// Notes that the end of a series takes its parts along.
    pub(super) fn ends_with_parts(&mut self, link: &PairLink) {
        if link.ends_series() {
            self.done.ended_series.clone_from(&link.key);
        }
    }

    /// Notes a series whose instances have to be looked at.
    pub(super) fn look_at_instances(&mut self) {
        if let Known::Found(event) = &self.event
            && matches!(event.event.place, Place::Master(_))
        {
            self.done.instances = Some(event.clone());
        }
    }

    /// Whom the provider invites to the event.
    pub(super) fn guests(&self) -> Option<BTreeSet<String>> {
        match &self.event {
            Known::Found(event) => {
                let people = event.event.attendees.iter();
                Some(people.map(|(mail, attendee)| attendee.address(mail).to_owned()).collect())
            }
            Known::Unread | Known::Hinted | Known::Gone => None,
        }
    }
}
