//! The CRM, some calendars and our store in memory, applying the steps of plans, with stops anywhere: for the
//! properties of [`super::plan`]. Stands in for the shell: it looks up what [`Input`] asks for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};

use super::action::{Action, CreateToken, Notice, Plan};
use super::client::Found;
use super::copies::Copy;
use super::event::{self, Attendees, Event, Field, Response};
use super::link::{PairLink, Personal, Side};
use super::original::Original;
use super::plan::{Crm, Input, Remote, Rules, plan};
use super::series::Holding;
use super::sides::{
    Calendar, EventSide, EventStatus, Guests, MeetingKind, MeetingRef, MeetingSide, MeetingStatus, Provider,
    SharedKey, Stamp,
};

/// When the run is stopped: before or after the effect of its n-th step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub step: usize,
    pub after_effect: bool,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// An event that the calendar reported.
    Event(usize, String),
    /// An event that the calendar reported as removed.
    Removed(usize, String),
    /// A record of the CRM, for a calendar.
    Meeting(usize, MeetingRef),
}

#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub calendars: Vec<Calendar>,
    pub events: Vec<BTreeMap<String, EventSide>>,
    pub meetings: BTreeMap<MeetingRef, MeetingSide>,
    /// Whether the calendars were read from beginning to end.
    pub is_read: bool,
    pub links: Vec<(usize, PairLink)>,
    pub tokens: BTreeMap<CreateToken, String>,
    pub rules: Rules,
    pub holding: Holding,
    pub now: Timestamp,
    pub notices: Vec<Notice>,
    pub mails: u32,
    pub meetings_created: u32,
    pub events_created: u32,
    pub writes: u32,
    pub looks_at_instances: u32,
    /// What users of meetings answered, as the CRM was told.
    pub answers: BTreeMap<(MeetingRef, String), Response>,
    counter: u64,
}

struct Run {
    calendar: usize,
    slot: Option<usize>,
    event_id: Option<String>,
    record: Option<MeetingRef>,
    /// The event that the record's stamp was put with, once it was searched for.
    original: Option<Original>,
    /// A hint that has not been looked into.
    hinted: bool,
    stop: Option<Stop>,
    step: usize,
}

impl World {
    pub fn new(calendars: Vec<Calendar>, rules: Rules, now: Timestamp) -> Self {
        Self {
            events: vec![BTreeMap::new(); calendars.len()],
            calendars,
            meetings: BTreeMap::new(),
            is_read: true,
            links: Vec::new(),
            tokens: BTreeMap::new(),
            rules,
            holding: Holding::Series,
            now,
            notices: Vec::new(),
            mails: 0,
            meetings_created: 0,
            events_created: 0,
            writes: 0,
            looks_at_instances: 0,
            answers: BTreeMap::new(),
            counter: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.counter += 1;
        self.now = self.now.checked_add(1.second()).unwrap();
        self.counter
    }

    /// A person makes an event.
    pub fn add_event(&mut self, calendar: usize, event: Event, uid: &str, is_organizer: bool) -> String {
        let n = self.tick();
        let id = format!("e{n}");
        let side = EventSide {
            id: id.clone(),
            revision: format!("r{n}"),
            key: SharedKey { ical_uid: uid.to_owned(), original: event.place.original().cloned() },
            event: self.calendars[calendar].provider.holds(&event),
            status: EventStatus::Confirmed,
            is_organizer,
            organizer: None,
            answer: Response::None,
            attendees_cut: false,
            gaps_known: true,
            listed: Vec::new(),
            stamp: Stamp::None,
            created_at: Some(self.now),
            changed_at: Some(self.now),
        };
        self.events[calendar].insert(id.clone(), side);
        id
    }

    /// A person makes a meeting or a call.
    pub fn add_meeting(&mut self, kind: MeetingKind, event: Event, users: &[&str]) -> MeetingRef {
        let record = MeetingRef { kind, id: format!("m{}", self.tick()) };
        let side = MeetingSide {
            record: record.clone(),
            version: Some(1),
            key: None,
            event,
            status: MeetingStatus::Planned,
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            assigned_user_id: users.first().map(|user| (*user).to_owned()),
            removed_from: BTreeSet::new(),
            created_at: Some(self.now),
            modified_at: Some(self.now),
        };
        self.meetings.insert(record.clone(), side);
        record
    }

    /// A person edits an event; nothing happens where it is gone.
    pub fn edit_event(&mut self, calendar: usize, id: &str, edit: impl FnOnce(&mut EventSide)) {
        let n = self.tick();
        let (provider, now) = (self.calendars[calendar].provider, self.now);
        let Some(side) = self.events[calendar].get_mut(id) else { return };
        edit(side);
        side.event = provider.holds(&side.event);
        (side.revision, side.changed_at) = (format!("r{n}"), Some(now));
    }

    /// A person edits a meeting; nothing happens where it is gone.
    pub fn edit_meeting(&mut self, record: &MeetingRef, edit: impl FnOnce(&mut MeetingSide)) {
        self.tick();
        let now = self.now;
        let Some(side) = self.meetings.get_mut(record) else { return };
        edit(side);
        (side.version, side.modified_at) = (side.version.map(|version| version + 1), Some(now));
    }

    fn slot(&self, look: &Look) -> Option<usize> {
        let is = |(calendar, link): &(usize, PairLink)| match look {
            Look::Event(at, id) | Look::Removed(at, id) => {
                let stamp = self.events[*at].get(id).map(|side| &side.stamp);
                let stamped = link.event_id.is_none()
                    && matches!(stamp, Some(Stamp::Of(record)) if link.meeting.as_ref() == Some(record));
                calendar == at && (link.event_id.as_ref() == Some(id) || stamped)
            }
            Look::Meeting(at, record) => {
                let key = self.meetings.get(record).and_then(|side| side.key.as_ref());
                let by_key =
                    link.creating.is_some() && link.key.as_ref().map(SharedKey::text).as_ref() == key;
                calendar == at && (link.meeting.as_ref() == Some(record) || (key.is_some() && by_key))
            }
        };
        self.links.iter().position(is)
    }

    /// The run's pair, with what was learned on the way.
    fn begin(&self, look: &Look, stop: Option<Stop>) -> Run {
        let (calendar, event_id, record) = match look {
            Look::Event(at, id) | Look::Removed(at, id) => (*at, Some(id.clone()), None),
            Look::Meeting(at, record) => (*at, None, Some(record.clone())),
        };
        let hinted = matches!(look, Look::Removed(..));
        Run { calendar, slot: self.slot(look), event_id, record, original: None, hinted, stop, step: 0 }
    }

    fn alive(&self) -> impl Iterator<Item = &(usize, PairLink)> {
        self.links.iter().filter(|(_, link)| link.tombstone.is_none())
    }

    /// What the shell looks up, in its order.
    fn plan_of(&self, run: &mut Run) -> Plan {
        let link = run.slot.map(|slot| &self.links[slot].1);
        if let Some(link) = link {
            run.event_id = run.event_id.clone().or(link.event_id.clone());
            run.record = run.record.clone().or(link.meeting.clone());
        }
        let events = &self.events[run.calendar];
        if let (None, Some(record)) = (&run.event_id, &run.record) {
            let stamped = |side: &&EventSide| side.stamp == Stamp::Of(record.clone());
            let creating = link.is_some_and(|link| link.creating.is_some());
            run.event_id = events.values().find(stamped).filter(|_| creating).map(|side| side.id.clone());
        }
        let event = match &run.event_id {
            None => Remote::Absent,
            Some(_) if run.hinted => Remote::Hinted,
            Some(id) => events.get(id).map_or(Remote::Gone, |side| Remote::Found(Box::new(side.clone()))),
        };
        let mut ended = false;
        if let (None, Remote::Found(side)) = (&run.record, &event) {
            let same_key = |(_, other): &&(usize, PairLink)| other.key.as_ref() == Some(&side.key);
            let by_key = self.alive().filter(|(_, other)| other.meeting.is_some()).find(same_key);
            let over = |(_, other): &(usize, PairLink)| {
                other.tombstone.is_some_and(|tombstone| !tombstone.why.is_of_one_copy())
            };
            ended = self.links.iter().filter(same_key).any(over);
            let has_other = |record: &MeetingRef| {
                let is_other = |(calendar, link): &(usize, PairLink)| {
                    let event = link.event_id.as_ref();
                    *calendar == run.calendar
                        && link.meeting.as_ref() == Some(record)
                        && event.is_some_and(|id| *id != side.id)
                };
                self.links.iter().any(is_other)
            };
            let is_created = link.is_some_and(PairLink::creates_meeting);
            let by_stamp = match &side.stamp {
                Stamp::Of(_) if is_created => None,
                Stamp::Of(record) => Some(record.clone()).filter(|record| !has_other(record)),
                Stamp::None | Stamp::Unread => None,
            };
            let has_key = |meeting: &&MeetingSide| meeting.key == Some(side.key.text());
            let by_search = || self.meetings.values().find(has_key).map(|meeting| meeting.record.clone());
            let found = by_key.and_then(|(_, other)| other.meeting.clone()).or(by_stamp).or_else(by_search);
            run.record = found.filter(|_| !ended);
        }
        let meeting = match &run.record {
            None => Crm::Absent,
            Some(record) => {
                self.meetings.get(record).map_or(Crm::Gone, |side| Crm::Found(Box::new(side.clone())))
            }
        };
        let copies = self.copies(run);
        let inherited = self.inherited(run, &event, &copies);
        let input = Input {
            calendar: &self.calendars[run.calendar],
            event: &event,
            meeting: &meeting,
            link,
            original: run.original.as_ref(),
            copies: &copies,
            inherited: inherited.as_ref(),
            whole: None,
            series_left: false,
            ended,
            is_read: self.is_read,
            holding: self.holding,
            rules: &self.rules,
            now: self.now,
        };
        plan(&input)
    }

    fn inherited(&self, run: &Run, event: &Remote, copies: &[Copy]) -> Option<Event> {
        let Remote::Found(side) = event else { return None };
        let own = run.slot.map(|slot| &self.links[slot].1);
        if !side.is_organizer || own.is_some_and(|link| !link.may_inherit()) {
            return None;
        }
        let same = |copy: &&Copy| copy.key == side.key;
        let base = |copy: &Copy| {
            let is = |(_, link): &&(usize, PairLink)| link.event_id.as_ref() == Some(&copy.event_id);
            self.links.iter().find(is).and_then(|(_, link)| link.base.clone())
        };
        let begun = |(calendar, link): &(usize, PairLink)| {
            let of_key = link.key.as_ref() == Some(&side.key) && link.meeting.is_none();
            let of_key = of_key && *calendar != run.calendar;
            let creating = link.creating.as_ref().filter(|creating| creating.side == Side::Crm && of_key);
            creating.map(|creating| creating.event.clone())
        };
        let is_born_of_it = run.record.as_ref().and_then(|record| self.meetings.get(record));
        let meeting = is_born_of_it.filter(|meeting| meeting.key == Some(side.key.text()));
        let creates = own.is_some_and(|link| link.creating.is_some());
        let is_it = |begun: &Event, meeting: &MeetingSide| {
            !creates || Personal::of(begun) == Personal::of(&meeting.event)
        };
        let begun = || {
            let begun = self.links.iter().find_map(begun)?;
            meeting.filter(|meeting| is_it(&begun, meeting)).map(|_| begun)
        };
        copies.iter().filter(same).find_map(base).or_else(begun)
    }

    fn copies(&self, run: &Run) -> Vec<Copy> {
        let Some(record) = &run.record else { return Vec::new() };
        let others = self.links.iter().enumerate().filter(|(slot, _)| Some(*slot) != run.slot);
        let of_it = others
            .map(|(_, pair)| pair)
            .filter(|(_, link)| link.meeting.as_ref() == Some(record) && link.tombstone.is_none());
        of_it
            .filter_map(|(calendar, link)| {
                let event_id = link.event_id.clone()?;
                let side = self.events[*calendar].get(&event_id);
                Some(Copy {
                    calendar_id: self.calendars[*calendar].id.clone(),
                    provider: self.calendars[*calendar].provider,
                    user_id: self.calendars[*calendar].user_id.clone(),
                    event_id,
                    key: link.key.clone()?,
                    is_organizer: link.is_organizer,
                    guests: side.map(|s| s.event.attendees.keys().cloned().collect()).unwrap_or_default(),
                    made_of: link.made_of,
                })
            })
            .collect()
    }

    /// What would be done.
    pub fn would(&self, look: &Look) -> Plan {
        self.plan_of(&mut self.begin(look, None))
    }

    /// One run; false when it was stopped.
    pub fn run(&mut self, look: &Look, stop: Option<Stop>) -> bool {
        self.run_told(look, stop, &mut Vec::new())
    }

    /// One run, with its plans.
    pub fn tell(&mut self, look: &Look) -> Vec<Plan> {
        let mut plans = Vec::new();
        self.run_told(look, None, &mut plans);
        plans
    }

    fn run_told(&mut self, look: &Look, stop: Option<Stop>, plans: &mut Vec<Plan>) -> bool {
        let mut run = self.begin(look, stop);
        for _ in 0..8 {
            let plan = self.plan_of(&mut run);
            plans.push(plan.clone());
            for action in &plan.actions {
                if !self.apply(&mut run, action) {
                    return false;
                }
            }
            if !plan.again {
                return true;
            }
        }
        panic!("a run that plans again and again: {look:?} {self:#?}");
    }

    /// All there is to look at.
    pub fn looks(&self) -> Vec<Look> {
        let mut looks = Vec::new();
        for calendar in 0..self.calendars.len() {
            let linked = self.links.iter().filter(|(at, _)| *at == calendar);
            let ids: BTreeSet<String> = linked
                .filter_map(|(_, link)| link.event_id.clone())
                .chain(self.events[calendar].keys().cloned())
                .collect();
            looks.extend(ids.into_iter().map(|id| Look::Event(calendar, id)));
            let linked = self.links.iter().filter(|(at, _)| *at == calendar);
            let records: BTreeSet<MeetingRef> = linked
                .filter_map(|(_, link)| link.meeting.clone())
                .chain(self.meetings.keys().cloned())
                .collect();
            looks.extend(records.into_iter().map(|record| Look::Meeting(calendar, record)));
        }
        looks
    }

    /// Runs until nothing is planned any more.
    pub fn settle(&mut self) {
        for _ in 0..8 {
            let looks = self.looks();
            if looks.iter().all(|look| self.would(look).actions.is_empty()) {
                return;
            }
            for look in looks {
                self.run(&look, None);
            }
        }
        let open: Vec<_> = self.looks().into_iter().map(|look| (self.would(&look), look)).collect();
        panic!("does not settle: {open:#?} {self:#?}");
    }

    /// Applies one step; false when the run is stopped at it.
    fn apply(&mut self, run: &mut Run, action: &Action) -> bool {
        let here = run.stop.filter(|stop| stop.step == run.step);
        run.step += 1;
        if here.is_some_and(|stop| !stop.after_effect) {
            return false;
        }
        if action.is_upstream_write() && !matches!(action, Action::Notify(_)) {
            self.writes += 1;
        }
        self.effect(run, action);
        here.is_none()
    }

    fn effect(&mut self, run: &mut Run, action: &Action) {
        match action {
            Action::SaveLink(link) => match run.slot {
                Some(slot) => {
                    assert_ne!(self.links[slot].1, **link, "the link is saved without a change");
                    self.links[slot].1 = (**link).clone();
                }
                None => {
                    self.links.push((run.calendar, (**link).clone()));
                    run.slot = Some(self.links.len() - 1);
                }
            },
            Action::CreateMeeting { key, event, user_id } => {
                self.meetings_created += 1;
                assert!(self.meetings.values().all(|m| m.key.as_ref() != Some(key)), "a second one of {key}");
                let record = self.add_meeting(MeetingKind::Meeting, (**event).clone(), &[user_id]);
                self.meetings.get_mut(&record).unwrap().key = Some(key.clone());
                run.record = Some(record);
            }
            Action::UpdateMeeting { record, expected, target, fields } => {
                let before = self.meetings[record].clone();
                assert_eq!(before.version, *expected);
                self.edit_meeting(record, |side| {
                    fields.iter().for_each(|field| side.event.take(*field, target))
                });
                assert_ne!(before.event, self.meetings[record].event, "a write without a change: {fields:?}");
                if record.kind == MeetingKind::Call {
                    assert!(!self.meetings[record].event.when.is_all_day());
                }
            }
            Action::JoinMeeting { record, expected, user_id, response } => {
                assert_eq!(self.meetings[record].version, *expected);
                let before = self.answers.insert((record.clone(), user_id.clone()), *response);
                if !self.meetings[record].users.contains(user_id) || before != Some(*response) {
                    self.edit_meeting(record, |side| _ = side.users.insert(user_id.clone()));
                }
            }
            Action::NoteRemoval { record, expected, from } => {
                let before = self.meetings[record].clone();
                assert_eq!(before.version, *expected);
                assert!(before.removed_from.is_subset(from) && before.removed_from != *from);
                self.edit_meeting(record, |side| side.removed_from.clone_from(from));
            }
            Action::DeleteMeeting { record } => {
                assert_eq!(self.meetings.remove(record).unwrap().status, MeetingStatus::Planned);
            }
            Action::CreateEvent { token, event, guests } => self.create_event(run, token, event, *guests),
            Action::UpdateEvent { id, expected, target, fields, guests } => {
                self.update_event(run.calendar, id, expected, target, fields, *guests);
            }
            Action::StampEvent { id, record } => {
                self.edit_event(run.calendar, id, |side| side.stamp = Stamp::Of(record.clone()));
            }
            Action::DeleteEvent { id, expected } => {
                let side = self.events[run.calendar].remove(id).unwrap();
                assert_eq!(side.revision, *expected);
                self.mail(run.calendar, &side.event.attendees);
            }
            Action::ReadEvent { .. } => run.hinted = false,
            Action::ReadMeeting { record } => run.record = Some(record.clone()),
            Action::FindOriginal { record } => {
                let events = &self.events[run.calendar];
                let is_stamped = |side: &&EventSide| side.stamp == Stamp::Of(record.clone());
                let found =
                    events.values().filter(is_stamped).map(|side| Found::Event(Box::new(side.clone())));
                let own = run.event_id.as_ref().and_then(|id| events.get(id));
                let found: Vec<Found> = found.collect();
                run.original = own.map(|own| Original::of(own, record, &found));
            }
            Action::LookAtInstances { .. } => self.looks_at_instances += 1,
            // What is part of a series is not played here.
            Action::FindDay { .. } => panic!("no series was given"),
            Action::Notify(notice) => self.notices.push(notice.clone()),
        }
    }

    /// Outlook mails attendees on every write that they could see.
    fn mail(&mut self, calendar: usize, attendees: &Attendees) {
        if self.calendars[calendar].provider == Provider::Microsoft && !attendees.is_empty() {
            self.mails += 1;
        }
    }

    fn create_event(&mut self, run: &mut Run, token: &CreateToken, event: &Event, guests: Guests) {
        if let Some(id) = self.tokens.get(token) {
            run.event_id = Some(id.clone());
            return;
        }
        self.events_created += 1;
        let mut written = event.clone();
        if guests == Guests::Listed {
            written.attendees = Attendees::new();
        }
        self.mail(run.calendar, &written.attendees);
        let after = token.after.map(|after| format!(" after {after}")).unwrap_or_default();
        let uid = format!("uid of {} in {}{after}", token.record.id, token.calendar_id);
        let id = self.add_event(run.calendar, written, &uid, true);
        self.tokens.insert(token.clone(), id.clone());
        let side = self.events[run.calendar].get_mut(&id).unwrap();
        side.stamp = Stamp::Of(token.record.clone());
        if guests == Guests::Listed {
            side.listed = event::list(&event.attendees);
        }
        run.event_id = Some(id);
    }

    fn update_event(
        &mut self,
        calendar: usize,
        id: &str,
        expected: &str,
        target: &Event,
        fields: &[Field],
        guests: Guests,
    ) {
        let before = self.events[calendar][id].clone();
        assert_eq!(before.revision, expected);
        assert!(before.is_organizer || fields.iter().all(|field| field.is_personal()), "{fields:?}");
        if !fields.iter().all(|field| field.is_personal()) {
            self.mail(calendar, &before.event.attendees);
        }
        self.edit_event(calendar, id, |side| {
            for field in fields {
                match (field, guests) {
                    (Field::Attendees, Guests::Listed) => {}
                    (field, _) => side.event.take(*field, target),
                }
            }
            if guests == Guests::Listed && fields.iter().any(|f| matches!(f, Field::Body | Field::Attendees))
            {
                side.listed = event::list(&target.attendees);
            }
        });
        let after = &self.events[calendar][id];
        self.mails += u32::from(
            self.calendars[calendar].provider == Provider::Microsoft
                && after.event.attendees.keys().ne(before.event.attendees.keys()),
        );
        let same = after.event == before.event && after.listed == before.listed;
        assert!(!same, "a write without a change: {fields:?}");
    }
}
