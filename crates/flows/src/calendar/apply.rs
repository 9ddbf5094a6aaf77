//! The steps of a plan, applied one by one. Each asks first whether this run may still write.

use std::time::Duration;

use shared::fault::Fault;
use shared::labelled;
use shared::ports::state::{Expected, Fence, Write, Written as Stored};

use super::action::{Action, Plan};
use super::client::{EventUpdate, Written};
use super::crm::CrmFound;
use super::event::Event;
use super::key::digest;
use super::link::{EndedBy, PairLink, Tombstone};
use super::links::Saving;
use super::original::Original;
use super::pair::{Known, KnownRecord, Pair};
use super::sides::{EventSide, EventStatus, MeetingRef};
use super::{again, notice};

/// Digits that tell notices apart.
const NOTICE_DIGITS: usize = 32;
/// How long it is remembered that a notice was told: longer than two runs that met at one pair last.
const TOLD_KEPT: Duration = Duration::from_secs(15 * 60);

impl Pair<'_> {
    /// Applies a plan; answers false where something was met in another version than it was planned with: then it is
    /// planned again with what is there now.
    pub(super) async fn apply(&mut self, plan: &Plan) -> Result<bool, Fault> {
        for action in &plan.actions {
            let fence = self.run.guard.fence()?;
            let (before, after) = labels(action);
            labelled::reach(before);
            let met = self.step(action, fence.as_ref()).await?;
            labelled::reach(after);
            if !met {
                return Ok(false);
            }
            if action.is_upstream_write() {
                self.wrote(action.name());
            }
        }
        Ok(true)
    }

    async fn step(&mut self, action: &Action, fence: Option<&Fence>) -> Result<bool, Fault> {
        match action {
            Action::SaveLink(link) => {
                let guests = self.guests();
                let born = self.born_late(link);
                let left = self.leaves_guests(link);
                if let Some(record) = born.as_ref().or(left.as_ref())
                    && (born.is_some() || !self.copies().await?.is_empty())
                {
                    again::note_record(self.flow, &self.open.id, record, self.run).await?;
                }
                let saving = Saving {
                    calendar: &self.open.id,
                    user_id: &self.open.calendar.user_id,
                    guests: guests.as_ref(),
                    fence,
                };
                self.stored = Some(self.flow.links.save(link, self.stored.as_ref(), saving).await?);
                if let Some(record) = born.or(left) {
                    self.is_unheard_of(record);
                }
                self.ends_with_parts(link);
                Ok(true)
            }
            Action::CreateMeeting { key, event, user_id } => {
                let created = self.flow.crm.create(key, event, user_id).await?;
                self.take_record(&created);
                if let Some(record) = self.record.clone() {
                    self.wrote_record(&record, Some(created));
                }
                Ok(true)
            }
            Action::UpdateMeeting { record, expected, target, fields } => {
                let mut target = Event::clone(target);
                // The CRM's record has the calendar's user among its people.
                target.attendees.extend(self.owner.clone());
                let updated = self.flow.crm.update(record, *expected, &target, fields).await?;
                Ok(self.met_record(record, updated))
            }
            Action::JoinMeeting { record, expected, user_id, response } => {
                let joined = self.flow.crm.join(record, *expected, user_id, *response).await?;
                Ok(self.met_record(record, joined))
            }
            Action::NoteRemoval { record, expected, from } => {
                let written = self.flow.crm.note_removal(record, *expected, from).await?;
                Ok(self.met_record(record, written))
            }
            Action::DeleteMeeting { record } => {
                if !self.copies().await?.is_empty() {
                    again::note_record(self.flow, &self.open.id, record, self.run).await?;
                }
                self.flow.crm.delete(record).await?;
                self.wrote_record(record, None);
                self.meeting = KnownRecord::Gone;
                Ok(true)
            }
            Action::CreateEvent { token, event, guests } => {
                let created = self.open.client.create(token, event, *guests).await?;
                if created.status == EventStatus::Cancelled {
                    return self.was_deleted_before(&created, fence).await;
                }
                self.event_id = Some(created.id.clone());
                // A create that was begun has its answer now.
                self.searched = true;
                self.event = self.known(created).await?;
                Ok(true)
            }
            Action::UpdateEvent { id, expected, target, fields, guests } => {
                let update = EventUpdate { id, expected, target, fields, guests: *guests };
                let written = self.open.client.update(&update).await?;
                self.met(written).await
            }
            Action::StampEvent { id, record } => {
                let written = self.open.client.stamp(id, record).await?;
                self.met(written).await
            }
            Action::DeleteEvent { id, expected } => match self.open.client.delete(id, expected).await? {
                Written::Done(()) | Written::Gone => {
                    self.event = Known::Gone;
                    Ok(true)
                }
                Written::Changed => {
                    self.event = Known::Unread;
                    Ok(false)
                }
            },
            Action::ReadEvent { id } => {
                self.get(id).await?;
                Ok(true)
            }
            Action::ReadMeeting { record } => {
                self.record = Some(record.clone());
                self.meeting = KnownRecord::Unread;
                Ok(true)
            }
            Action::FindOriginal { record } => {
                let found = self.open.client.find(record).await?;
                if let Known::Found(event) = &self.event {
                    self.original = Some(Original::of(event, record, &found));
                }
                Ok(true)
            }
            Action::LookAtInstances { id } => {
                // The plan's other steps say that the series is agreed on: this must not be forgotten.
                again::note_series(self.flow, &self.open.id, id, self.run).await?;
                self.look_at_instances();
                Ok(true)
            }
            Action::FindDay { series_id, original } => {
                self.find_day(series_id, original).await?;
                Ok(true)
            }
            Action::Notify(notice) => {
                let text = notice::text(notice, &self.title(), self.open.calendar.provider);
                if self.is_ours_to_tell(&text).await? {
                    self.tell(&text).await;
                }
                Ok(true)
            }
        }
    }

    /// What was to be created was there before, and was deleted: the memory of it was lost. Nothing is made anew, and
    /// nothing is concluded about the record.
    async fn was_deleted_before(&mut self, event: &EventSide, fence: Option<&Fence>) -> Result<bool, Fault> {
        let before = self.stored.as_ref().map(|stored| stored.link.clone()).unwrap_or_default();
        let why = EndedBy::EventDeletedMeetingKept;
        let link = PairLink {
            event_id: Some(event.id.clone()),
            key: Some(event.key.clone()),
            creating: None,
            tombstone: Some(Tombstone { at: self.run.clock.now(), why }),
            ..before
        };
        let saving =
            Saving { calendar: &self.open.id, user_id: &self.open.calendar.user_id, guests: None, fence };
        self.stored = Some(self.flow.links.save(&link, self.stored.as_ref(), saving).await?);
        Ok(false)
    }

    fn met_record(&mut self, record: &MeetingRef, written: Written<CrmFound>) -> bool {
        match written {
            Written::Done(found) => {
                self.take_record(&found);
                self.wrote_record(record, Some(found));
                true
            }
            Written::Changed => {
                self.meeting = KnownRecord::Unread;
                false
            }
            Written::Gone => {
                self.meeting = KnownRecord::Gone;
                false
            }
        }
    }

    async fn met(&mut self, written: Written<EventSide>) -> Result<bool, Fault> {
        match written {
            Written::Done(event) => {
                self.event = self.known(event).await?;
                Ok(true)
            }
            Written::Changed => {
                self.event = Known::Unread;
                Ok(false)
            }
            Written::Gone => {
                self.event = Known::Gone;
                Ok(false)
            }
        }
    }

    async fn known(&self, event: EventSide) -> Result<Known, Fault> {
        Ok(Known::Found(Box::new(
            self.flow.known_people(event, &self.open.calendar.user_id, self.run).await?,
        )))
    }

    /// The calendar's run and the record's may come to the same notice at the same time: one of them tells. A run that
    /// was cut off tells again, since it may not have come to it.
    async fn is_ours_to_tell(&self, text: &str) -> Result<bool, Fault> {
        let state = &self.flow.state;
        let key = format!("calendar/told/{}", digest(&[&self.open.calendar.user_id, text], NOTICE_DIGITS));
        let run = self.run.trace_id.as_bytes();
        let claim =
            Write { expected: Expected::Absent, time_to_live: Some(TOLD_KEPT), ..Write::put(&key, run) };
        match state.write(claim).await? {
            Stored::Done(_) => Ok(true),
            Stored::Clash => Ok(state.get(&key).await?.is_none_or(|told| told.value == run)),
        }
    }

    /// A notice that cannot be delivered does not hold the pair up.
    async fn tell(&self, text: &str) {
        self.flow.tell(&self.open.calendar.user_id, text).await;
    }

    /// The subject, for people.
    fn title(&self) -> String {
        let of = |event: &Event| event.subject.clone();
        match (&self.meeting, &self.event) {
            (KnownRecord::Found(meeting), _) => of(&meeting.event),
            (_, Known::Found(event)) => of(&event.event),
            _ => String::new(),
        }
    }
}

/// The labelled points around a step.
fn labels(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::SaveLink(_) => ("calendar.before_link_save", "calendar.after_link_save"),
        Action::CreateMeeting { .. } => ("calendar.before_meeting_create", "calendar.after_meeting_create"),
        Action::UpdateMeeting { .. }
        | Action::JoinMeeting { .. }
        | Action::NoteRemoval { .. }
        | Action::DeleteMeeting { .. } => ("calendar.before_meeting_write", "calendar.after_meeting_write"),
        Action::CreateEvent { .. } => ("calendar.before_event_create", "calendar.after_event_create"),
        Action::UpdateEvent { .. } | Action::StampEvent { .. } | Action::DeleteEvent { .. } => {
            ("calendar.before_event_write", "calendar.after_event_write")
        }
        Action::ReadEvent { .. }
        | Action::ReadMeeting { .. }
        | Action::FindOriginal { .. }
        | Action::LookAtInstances { .. }
        | Action::FindDay { .. } => ("calendar.before_look", "calendar.after_look"),
        Action::Notify(_) => ("calendar.before_notice", "calendar.after_notice"),
    }
}
