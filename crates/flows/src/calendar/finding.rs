//! What belongs to a pair beside what it was told: its link, the event or the record that an earlier run may have created,
//! and who may create one now.

use std::iter;
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::later;
use shared::fault::{Fault, FaultKind};
use shared::ports::state::{Fence, Grant};

use super::client::Found;
use super::link::EndedBy;
use super::links::{Stored, birth_lease, day_lease};
use super::original::Original;
use super::pair::{Known, KnownRecord, Pair};
use super::sides::{EventStatus, MeetingRef, SharedKey, Stamp};

/// How long what is being created in the CRM is nobody else's to create.
const BIRTH_LEASE: Duration = Duration::from_secs(60);
/// Looks at a lease that another calendar's run holds.
const BIRTH_LOOKS_MAX: u32 = 8;
/// Pause between two of them.
const BIRTH_PAUSE: Duration = Duration::from_millis(250);
/// How long an attendee's copy waits at least for the organiser's before it makes the meeting itself: that one may lie in
/// another calendar of the organiser's.
const ORGANIZER_PATIENCE: Duration = Duration::from_secs(3_600);

impl Pair<'_> {
    /// The link: by the event, by the record, by the key of an event whose meeting is being created.
    pub(super) async fn find_link(&mut self) -> Result<(), Fault> {
        if !self.found {
            self.stored = self.look_for_link().await?;
            self.found = true;
        }
        if let Some(Stored { link, .. }) = &self.stored {
            self.event_id = self.event_id.clone().or_else(|| link.event_id.clone());
            self.record = self.record.clone().or_else(|| link.meeting.clone());
        }
        Ok(())
    }

    async fn look_for_link(&mut self) -> Result<Option<Stored>, Fault> {
        let (links, calendar) = (&self.flow.links, &self.open.id);
        if let Some(id) = &self.event_id {
            if let Some(found) = links.of_event(calendar, id).await? {
                return Ok(Some(found));
            }
            self.learn_stamp().await?;
            if let Known::Found(event) = &self.event
                && let Stamp::Of(record) = &event.stamp
            {
                let found = links.of_record(calendar, record).await?;
                return Ok(found.filter(|found| found.link.event_id.is_none()));
            }
            return Ok(None);
        }
        let Some(record) = &self.record else { return Ok(None) };
        if let Some(found) = links.of_record(calendar, record).await? {
            return Ok(Some(found));
        }
        let KnownRecord::Found(meeting) = &self.meeting else { return Ok(None) };
        let Some(key) = &meeting.key else { return Ok(None) };
        let found = links.of_key_in(calendar, key).await?;
        Ok(found.filter(|found| found.link.creating.is_some()))
    }

    /// An event without link may be one that is being created, or whose link was lost: its stamp tells.
    async fn learn_stamp(&mut self) -> Result<(), Fault> {
        let Known::Found(event) = &self.event else { return Ok(()) };
        if event.stamp != Stamp::Unread || (self.is_read && !self.flow.links.births(&self.open.id).await?) {
            return Ok(());
        }
        let id = event.id.clone();
        self.get(&id).await
    }

    /// Whether an event of the record may be there that is not linked. No full reading told of one that lies outside the
    /// window; it went out before our memory began.
    pub(super) fn may_have_event(&self) -> bool {
        let KnownRecord::Found(meeting) = &self.meeting else { return false };
        let is_older = self.since.zip(meeting.created_at).is_none_or(|(since, made)| made < since);
        self.event_id.is_none() && !self.searched && is_older
    }

    /// Searches for an event by the record's id with it.
    pub(super) async fn search_event(&mut self) -> Result<(), Fault> {
        let Some(record) = &self.record else { return Ok(()) };
        self.searched = true;
        let found = self.open.client.find(record).await?;
        self.take_first(found).await
    }

    /// Of several copies with one stamp, the one that is linked to nothing else.
    async fn take_first(&mut self, found: Vec<Found>) -> Result<(), Fault> {
        for found in found {
            let linked = self.flow.links.of_event(&self.open.id, found.id()).await?;
            if linked.is_none_or(|stored| stored.link.meeting == self.record) {
                self.event_id = Some(found.id().to_owned());
                self.take(Some(found)).await?;
                if let (Known::Found(event), Some(record)) = (&self.event, &self.record) {
                    self.original = Some(Original::is(event, record));
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The record of an event that is not linked: by the copies of its key, by its stamp. Answers whether the key came
    /// to its end before.
    pub(super) async fn find_record(&mut self) -> Result<bool, Fault> {
        let (None, Known::Found(event)) = (&self.record, &self.event) else { return Ok(false) };
        let copies = self.flow.links.of_key(&event.key.text()).await?;
        let over = |why: &EndedBy| !why.is_of_one_copy();
        if copies.iter().any(|(_, copy)| copy.ended.as_ref().is_some_and(over)) {
            return Ok(true);
        }
        let by_key =
            copies.into_iter().filter(|(_, copy)| copy.ended.is_none()).find_map(|(_, copy)| copy.record);
        // What is stamped for a record that has, or had, another event here is a copy of that one; so is that of which a
        // meeting of its own is being created.
        let is_created = self.stored.as_ref().is_some_and(|stored| stored.link.creates_meeting());
        let by_stamp = match &event.stamp {
            Stamp::Of(_) if is_created => None,
            Stamp::Of(record) => {
                let other = self.flow.links.event_of(&self.open.id, record).await?;
                other.is_none_or(|other| other == event.id).then(|| record.clone())
            }
            Stamp::None | Stamp::Unread => None,
        };
        self.record = by_key.or(by_stamp);
        Ok(false)
    }

    /// Until when the organiser's own copy is waited for, where it is in a calendar that is read as well: that one makes
    /// the meeting, since it says more, and says it for all.
    pub(super) async fn comes_by_organizer(&self) -> Result<Option<Timestamp>, Fault> {
        let Known::Found(event) = &self.event else { return Ok(None) };
        let Some(mail) = &event.organizer else { return Ok(None) };
        let now = self.run.clock.now();
        let patient = later(self.waits_since.unwrap_or(now), ORGANIZER_PATIENCE);
        let until = patient.max(self.open.reach.seen_by_all(event.event.when.started_by()));
        Ok((now < until && self.flow.has_calendar(mail, self.run).await?).then_some(until))
    }

    /// Before a meeting is created: only one calendar does, and none that the CRM has already.
    pub(super) async fn search_key(&mut self) -> Result<(), Fault> {
        let Known::Found(event) = &self.event else { return Ok(()) };
        let (event, key) = (event.clone(), event.key.clone());
        let day = self.day_of(&event).await?;
        let of_day = day.as_ref().map(|(series, original)| day_lease(series, original));
        self.lease(iter::once(birth_lease(&key)).chain(of_day)).await?;
        (self.record, self.meeting) = (None, KnownRecord::Unread);
        // Whoever had the lease may have created it; and an earlier run of this one may have, whose answer was lost.
        self.record = self.record_of_key(&key).await?;
        if self.record.is_none() && day.is_some() {
            self.record = self.record_of_day(&event).await?;
        }
        self.find_in_crm(&key).await?;
        if self.record.is_none() && day.is_some() {
            self.read_series_people(&event).await?;
        }
        Ok(())
    }

    /// Of an event that is gone, the meeting that was being created: an earlier run may have, and died before it said so.
    pub(super) async fn find_created(&mut self) -> Result<(), Fault> {
        let is_gone = match &self.event {
            Known::Gone => true,
            Known::Found(event) => event.status == EventStatus::Cancelled,
            Known::Unread | Known::Hinted => false,
        };
        if !is_gone || self.record.is_some() || self.searched_key {
            return Ok(());
        }
        let link = self.stored.as_ref().map(|stored| &stored.link).filter(|link| link.creating.is_some());
        let Some(key) = link.and_then(|link| link.key.clone()) else { return Ok(()) };
        self.lease(iter::once(birth_lease(&key))).await?;
        self.record = self.record_of_key(&key).await?;
        self.find_in_crm(&key).await
    }

    /// Has these creations for this run alone, so that what is searched for now is there or not: once in a run.
    async fn lease(&mut self, names: impl Iterator<Item = String>) -> Result<(), Fault> {
        if self.leases.is_empty() {
            for name in names {
                let lease = self.take_lease(&name).await?;
                self.leases.push(lease);
            }
        }
        self.searched_key = true;
        Ok(())
    }

    /// The record that the CRM has with this key, where none is known.
    async fn find_in_crm(&mut self, key: &SharedKey) -> Result<(), Fault> {
        if self.record.is_none()
            && let Some(found) = self.flow.crm.find(&key.text()).await?
        {
            self.take_record(&found);
        }
        Ok(())
    }

    /// The record of a key's copies that are alive.
    async fn record_of_key(&self, key: &SharedKey) -> Result<Option<MeetingRef>, Fault> {
        let copies = self.flow.links.of_key(&key.text()).await?;
        let mut alive = copies.into_iter().filter(|(_, copy)| copy.ended.is_none());
        Ok(alive.find_map(|(_, copy)| copy.record))
    }

    async fn take_lease(&self, name: &str) -> Result<(Fence, String), Fault> {
        let holder = format!("{}/{:016x}", self.open.calendar.id, fastrand::u64(..));
        for _ in 0..BIRTH_LOOKS_MAX {
            if let Some(Grant { term }) = self.flow.state.acquire_lease(name, &holder, BIRTH_LEASE).await? {
                return Ok((Fence { lease: name.to_owned(), term }, holder));
            }
            tokio::time::sleep(BIRTH_PAUSE).await;
        }
        let text = "Another calendar's run creates the same meeting, and takes long.";
        Err(Fault::new(FaultKind::Busy { after: BIRTH_PAUSE * 20 }, "meeting_being_created", text))
    }
}
