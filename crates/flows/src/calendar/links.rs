//! The links in our store, and how they are found: by the event, by the record, by the key that copies have in common.
//!
//! A link stands under its event's id, or under its record while the event is being created. Beside it stand two
//! small documents, which say where it is: under the record, and under the key. They are written before the link, so a
//! link that exists is found; one that they name and that does not exist is no link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::fault::{Fault, FaultKind};
use shared::ports::state::{Expected, Fence, READ_KEYS_MAX, State, Versioned, Write, Written};

use super::copies::Copy;
use super::event::{Event, OriginalStart};
use super::key::{CalendarId, EventHash, Subject, digest, record_id};
use super::link::{EndedBy, PairLink, Side};
use super::sides::{MeetingRef, Provider, SharedKey};

/// Another run saved a link first.
pub(super) const LINK_CHANGED: &str = "link_changed";
/// How long the memory of what came to its end is kept: longer than anything lies in a window.
const TOMBSTONE_KEPT: Duration = Duration::from_secs(800 * 24 * 3_600);
/// Calendars that one record or key is looked for in: more people are in no meeting.
const CALENDARS_MAX: u32 = 1_000;
/// What stands under records.
const RECORDS: &str = "calendar/record/";
/// What is read of it at once, and how often for one page of records.
const RECORDS_PAGE: u32 = 50;
const RECORD_SCANS_MAX: u32 = 20;
/// Creations of either kind that are looked at, most of which ended without an event.
const BIRTHS_SEEN_MAX: u32 = 20;
/// Links read in one page of a scan.
const PAGE: u32 = 200;
/// Digits of the hash of a shared key.
const KEY_DIGITS: usize = 32;

/// A link as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The link.
    pub link: PairLink,
    /// Where it stands.
    pub slot: Slot,
    /// The version that was read.
    pub version: u64,
}

/// Where a link stands in its calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// Under its event.
    Event(EventHash),
    /// Under its record: the event is being created.
    Birth(MeetingRef),
}

impl Slot {
    fn of(link: &PairLink) -> Option<Self> {
        match (&link.event_id, &link.meeting) {
            (Some(event), _) => Some(Self::Event(EventHash::of(event))),
            (None, Some(record)) => Some(Self::Birth(record.clone())),
            (None, None) => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Event(hash) => hash.as_str().to_owned(),
            Self::Birth(record) => record_id(record),
        }
    }
}

/// What stands under a record for each calendar that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OfRecord {
    user_id: String,
    /// None while it is being created for the first time.
    event_id: Option<String>,
    key: Option<SharedKey>,
    is_organizer: bool,
    guests: BTreeSet<String>,
    /// The record's version as both sides agreed on it.
    version: Option<i64>,
    #[serde(default)]
    made_of: Option<i64>,
    ended: bool,
}

/// A calendar that has a record, or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownCopy {
    /// Our id of the calendar.
    pub calendar: String,
    /// The copy, where it is linked and alive.
    pub copy: Option<Copy>,
    /// Whether it came to its end. What neither did nor is linked is being created.
    pub ended: bool,
    /// The record's version as both sides agreed on it.
    pub version: Option<i64>,
}

/// What stands under a key for each calendar that has an event of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OfKey {
    /// The event there.
    pub event_id: String,
    /// The record, where it is known.
    pub record: Option<MeetingRef>,
    /// Why it ended, where it has.
    pub ended: Option<EndedBy>,
}

/// The links of all calendars.
#[derive(Debug, Clone)]
pub(super) struct Links(pub(super) Arc<dyn State>);

/// What a save needs beside the link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saving<'a> {
    pub calendar: &'a CalendarId,
    pub user_id: &'a str,
    /// Whom the provider invites, where the event was read.
    pub guests: Option<&'a BTreeSet<String>>,
    pub fence: Option<&'a Fence>,
}

fn link_key(calendar: &str, slot: &str) -> String {
    format!("link/calendar/{calendar}.{slot}")
}

fn record_key(record: &MeetingRef, calendar: &str) -> String {
    format!("{RECORDS}{}/{calendar}", record_id(record))
}

/// The record that something stands under.
fn record_of(place: &str) -> Option<MeetingRef> {
    let (record, _) = place.strip_prefix(RECORDS)?.split_once('/')?;
    match Subject::read(record)? {
        Subject::Record(record) => Some(record),
        Subject::Calendar(_) | Subject::Event(..) | Subject::Watch(_) => None,
    }
}

fn shared_key(key: &SharedKey, calendar: &str) -> String {
    shared_key_text(&key.text(), calendar)
}

fn shared_key_text(key: &str, calendar: &str) -> String {
    format!("calendar/key/{}/{calendar}", digest(&[key], KEY_DIGITS))
}

/// The lease under which what has a key is created in the CRM.
pub(super) fn birth_lease(key: &SharedKey) -> String {
    format!("calendar/birth/{}", digest(&[&key.text()], KEY_DIGITS))
}

/// The lease under which the meeting of a day is created that several calendars may have by events of their own.
pub(super) fn day_lease(series: &MeetingRef, original: &OriginalStart) -> String {
    format!("calendar/birth/{}", digest(&[&record_id(series), &original.text()], KEY_DIGITS))
}

impl Links {
    /// The link of an event.
    pub(super) async fn of_event(
        &self,
        calendar: &CalendarId,
        event_id: &str,
    ) -> Result<Option<Stored>, Fault> {
        self.at(calendar, Slot::Event(EventHash::of(event_id))).await
    }

    /// The link at this place.
    pub(super) async fn at(&self, calendar: &CalendarId, slot: Slot) -> Result<Option<Stored>, Fault> {
        let key = link_key(&calendar.text(), &slot.text());
        let Some(document) = self.0.get(&key).await? else { return Ok(None) };
        stored(&key, &document, slot).map(Some)
    }

    /// The link of a record in a calendar: with its event, or while that one is being created. A creation that has come to
    /// its end, and whose run died before it was cleared away, is cleared away.
    pub(super) async fn of_record(
        &self,
        calendar: &CalendarId,
        record: &MeetingRef,
    ) -> Result<Option<Stored>, Fault> {
        let birth = Slot::Birth(record.clone());
        let Some(event_id) = self.event_of(calendar, record).await? else {
            return self.at(calendar, birth).await;
        };
        let event = Slot::Event(EventHash::of(&event_id));
        let (found, birth) = self.at_both(calendar, event, birth).await?;
        let Some(found) = found.filter(|found| found.link.meeting.as_ref() == Some(record)) else {
            return Ok(birth);
        };
        let taken_out = found.link.tombstone.filter(|it| it.why == EndedBy::TakenOut).map(|it| it.at);
        match birth {
            Some(birth) if taken_out.is_some() && birth.link.created_after == taken_out => Ok(Some(birth)),
            Some(birth) => {
                let key = link_key(&calendar.text(), &birth.slot.text());
                let expected = Expected::Version(birth.version);
                self.0.write(Write { expected, ..Write::delete(&key) }).await?;
                Ok(Some(found))
            }
            None => Ok(Some(found)),
        }
    }

    /// The links at two places.
    async fn at_both(
        &self,
        calendar: &CalendarId,
        first: Slot,
        second: Slot,
    ) -> Result<(Option<Stored>, Option<Stored>), Fault> {
        let keys = [&first, &second].map(|slot| link_key(&calendar.text(), &slot.text()));
        let mut found = self.0.get_many(&[&keys[0], &keys[1]]).await?.into_iter();
        let mut next =
            |key: &str, slot| found.next().flatten().map(|document| stored(key, &document, slot)).transpose();
        Ok((next(&keys[0], first)?, next(&keys[1], second)?))
    }

    /// The event that a record has in a calendar, or had last.
    pub(super) async fn event_of(
        &self,
        calendar: &CalendarId,
        record: &MeetingRef,
    ) -> Result<Option<String>, Fault> {
        let key = record_key(record, &calendar.text());
        let Some(document) = self.0.get(&key).await? else { return Ok(None) };
        Ok(read::<OfRecord>(&key, &document)?.event_id)
    }

    /// Events of this key, by calendar.
    pub(super) async fn of_key(&self, key: &str) -> Result<Vec<(String, OfKey)>, Fault> {
        self.beside(&shared_key_text(key, "")).await
    }

    /// The link of the event of this key in a calendar.
    pub(super) async fn of_key_in(&self, calendar: &CalendarId, key: &str) -> Result<Option<Stored>, Fault> {
        let place = shared_key_text(key, &calendar.text());
        let Some(document) = self.0.get(&place).await? else { return Ok(None) };
        let known: OfKey = read(&place, &document)?;
        self.of_event(calendar, &known.event_id).await
    }

    /// The copies of a record that are linked and alive, and the calendars that had one or will, among these; and whether
    /// there are others.
    pub(super) async fn copies(
        &self,
        record: &MeetingRef,
        among: &BTreeMap<String, Provider>,
    ) -> Result<(Vec<KnownCopy>, bool), Fault> {
        let found: Vec<(String, OfRecord)> = self.beside(&record_key(record, "")).await?;
        let copy = |(calendar_id, known): &(String, OfRecord)| {
            let provider = *among.get(calendar_id)?;
            let known = OfRecord::clone(known);
            let OfRecord { user_id, event_id, key, is_organizer, guests, version, made_of, ended } = known;
            let alive = key.zip(event_id).filter(|_| !ended);
            let copy = alive.map(|(key, event_id)| Copy {
                calendar_id: calendar_id.clone(),
                provider,
                user_id,
                event_id,
                key,
                is_organizer,
                guests,
                made_of,
            });
            Some(KnownCopy { calendar: calendar_id.clone(), copy, ended, version })
        };
        let copies: Vec<KnownCopy> = found.iter().filter_map(copy).collect();
        let has_others = copies.len() < found.len();
        Ok((copies, has_others))
    }

    /// At most `max` records that have an event, or will, by id, after a place; and the last place that was looked at, where there
    /// was one.
    pub(super) async fn linked_records(
        &self,
        after: Option<&str>,
        max: usize,
    ) -> Result<(BTreeSet<MeetingRef>, Option<String>), Fault> {
        let (mut records, mut last) = (BTreeSet::new(), None::<String>);
        for _ in 0..RECORD_SCANS_MAX {
            let found = self.0.scan(RECORDS, last.as_deref().or(after), RECORDS_PAGE).await?;
            for (place, document) in &found {
                let known: OfRecord = read(place, document)?;
                if !known.ended {
                    records.extend(record_of(place));
                }
            }
            last = found.last().map(|(place, _)| place.clone()).or(last);
            let page = usize::try_from(RECORDS_PAGE).unwrap_or(usize::MAX);
            if found.len() < page || records.len() + page > max {
                break;
            }
        }
        Ok((records, last))
    }

    /// The record of an event in a calendar.
    pub(super) async fn record_of(
        &self,
        calendar: &str,
        event_id: &str,
    ) -> Result<Option<MeetingRef>, Fault> {
        let key = link_key(calendar, EventHash::of(event_id).as_str());
        let Some(document) = self.0.get(&key).await? else { return Ok(None) };
        Ok(read::<PairLink>(&key, &document)?.meeting)
    }

    /// The series in a calendar that an event of this key is a part of; none for what is no part of one.
    pub(super) async fn series_of(
        &self,
        calendar: &CalendarId,
        part: &SharedKey,
    ) -> Result<Option<Stored>, Fault> {
        if part.original.is_none() {
            return Ok(None);
        }
        let series = SharedKey { original: None, ..part.clone() };
        self.of_key_in(calendar, &series.text()).await
    }

    /// What a copy has agreed on.
    pub(super) async fn base_of(&self, copy: &Copy) -> Result<Option<Event>, Fault> {
        let key = link_key(&copy.calendar_id, EventHash::of(&copy.event_id).as_str());
        let Some(document) = self.0.get(&key).await? else { return Ok(None) };
        Ok(read::<PairLink>(&key, &document)?.base)
    }

    /// What the meeting was to say that a copy of this key began to create in another calendar than this one.
    pub(super) async fn being_created(&self, key: &SharedKey, but_in: &str) -> Result<Option<Event>, Fault> {
        for (calendar, copy) in self.of_key(&key.text()).await? {
            if calendar == but_in || copy.ended.is_some() || copy.record.is_some() {
                continue;
            }
            let place = link_key(&calendar, EventHash::of(&copy.event_id).as_str());
            if let Some(document) = self.0.get(&place).await?
                && let Some(creating) = read::<PairLink>(&place, &document)?.creating
                && creating.side == Side::Crm
            {
                return Ok(Some(creating.event));
            }
        }
        Ok(None)
    }

    /// Whether anything is being created in a calendar, or may be.
    pub(super) async fn births(&self, calendar: &CalendarId) -> Result<bool, Fault> {
        for kind in ["call.", "meeting."] {
            let prefix = link_key(&calendar.text(), kind);
            let found = self.0.scan(&prefix, None, BIRTHS_SEEN_MAX).await?;
            for (key, document) in &found {
                if read::<PairLink>(key, document)?.tombstone.is_none() {
                    return Ok(true);
                }
            }
            if found.len() >= usize::try_from(BIRTHS_SEEN_MAX).unwrap_or(usize::MAX) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A page of the links of a calendar, in the order of their places; `after` is the last place of the page before.
    pub(super) async fn page(
        &self,
        calendar: &CalendarId,
        after: Option<&str>,
    ) -> Result<(Vec<PairLink>, Option<String>), Fault> {
        let prefix = link_key(&calendar.text(), "");
        let found = self.0.scan(&prefix, after, PAGE).await?;
        let next = (found.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX))
            .then(|| found.last().map(|(key, _)| key.clone()))
            .flatten();
        let links = found.iter().map(|(key, document)| read(key, document)).collect::<Result<_, _>>()?;
        Ok((links, next))
    }

    /// Saves a link where nobody else has saved it since it was read.
    pub(super) async fn save(
        &self,
        link: &PairLink,
        before: Option<&Stored>,
        saving: Saving<'_>,
    ) -> Result<Stored, Fault> {
        let Some(slot) = Slot::of(link) else {
            return Err(Fault::bug("link_of_nothing", "A link of neither event nor record was to be saved."));
        };
        self.point(link, saving).await?;
        let calendar = saving.calendar.text();
        let same = before.filter(|before| before.slot == slot);
        let key = link_key(&calendar, &slot.text());
        let expected = match same {
            Some(before) => Expected::Version(before.version),
            None => self.expected_at(&key, link).await?,
        };
        let value = bytes(link)?;
        let write = Write {
            expected,
            fence: saving.fence,
            time_to_live: link.tombstone.is_some().then_some(TOMBSTONE_KEPT),
            ..Write::put(&key, &value)
        };
        let version = match self.0.write(write).await? {
            Written::Done(version) => version,
            Written::Clash => {
                let text = format!("The link of {} in {calendar} was saved by another run.", slot.text());
                return Err(Fault::new(FaultKind::Conflict, LINK_CHANGED, text));
            }
        };
        if let Some(before) = before.filter(|before| before.slot != slot) {
            // The event is known now.
            let key = link_key(&calendar, &before.slot.text());
            self.0.write(Write { fence: saving.fence, ..Write::delete(&key) }).await?;
        }
        let record_before = before.and_then(|before| before.link.meeting.as_ref());
        if let Some(record) = record_before.filter(|record| link.meeting.as_ref() != Some(*record)) {
            let place = record_key(record, &calendar);
            self.0.write(Write { fence: saving.fence, ..Write::delete(&place) }).await?;
        }
        Ok(Stored { link: link.clone(), slot, version })
    }

    /// What stands where a link is to be written for the first time: nothing, or the creation of an event that has ended
    /// since, whose run died before it was cleared away.
    async fn expected_at(&self, key: &str, link: &PairLink) -> Result<Expected, Fault> {
        if link.created_after.is_none() || link.event_id.is_some() {
            return Ok(Expected::Absent);
        }
        let Some(document) = self.0.get(key).await? else { return Ok(Expected::Absent) };
        let is_over = read::<PairLink>(key, &document)?.created_after != link.created_after;
        Ok(if is_over { Expected::Version(document.version) } else { Expected::Absent })
    }

    /// Writes what leads to a link, where it is not there already.
    async fn point(&self, link: &PairLink, saving: Saving<'_>) -> Result<(), Fault> {
        let Some(event_id) = &link.event_id else { return self.point_birth(link, saving).await };
        let calendar = saving.calendar.text();
        let of_key = OfKey {
            event_id: event_id.clone(),
            record: link.meeting.clone(),
            ended: link.tombstone.map(|tombstone| tombstone.why),
        };
        let places = [
            link.key.as_ref().map(|key| shared_key(key, &calendar)),
            link.meeting.as_ref().map(|record| record_key(record, &calendar)),
        ];
        let asked: Vec<&str> = places.iter().flatten().map(String::as_str).collect();
        debug_assert!(asked.len() <= READ_KEYS_MAX);
        let mut present = self.0.get_many(&asked).await?.into_iter();
        let ttl = link.tombstone.is_some().then_some(TOMBSTONE_KEPT);
        let mut next = |place: &Option<String>| place.as_ref().and_then(|_| present.next().flatten());
        let (by_key, by_record) = (next(&places[0]), next(&places[1]));
        // The end of an event says nothing of one that has taken its place.
        let is_other = |id: &str, ended: bool| link.tombstone.is_some() && id != event_id && !ended;
        let key_is_others = by_key.as_ref().and_then(|d| serde_json::from_slice::<OfKey>(&d.value).ok());
        let key_is_others = key_is_others.is_some_and(|it| is_other(&it.event_id, it.ended.is_some()));
        if let Some(place) = places[0].as_ref().filter(|_| !key_is_others) {
            self.put_if_other(place, by_key.as_ref(), &of_key, ttl, saving.fence).await?;
        }
        if let Some(place) = &places[1] {
            let known = by_record.as_ref().and_then(|d| serde_json::from_slice::<OfRecord>(&d.value).ok());
            let of_other = known.as_ref().and_then(|it| Some((it.event_id.as_deref()?, it.ended)));
            if of_other.is_some_and(|(id, ended)| is_other(id, ended)) {
                return Ok(());
            }
            let known = known.filter(|known| known.event_id.as_ref() == Some(event_id));
            let of_record = OfRecord {
                user_id: saving.user_id.to_owned(),
                event_id: Some(event_id.clone()),
                key: link.key.clone(),
                is_organizer: link.is_organizer,
                guests: match (saving.guests, known) {
                    (Some(guests), _) => guests.clone(),
                    (None, Some(known)) => known.guests,
                    (None, None) => BTreeSet::new(),
                },
                version: link.version,
                made_of: link.made_of,
                ended: link.tombstone.is_some(),
            };
            self.put_if_other(place, by_record.as_ref(), &of_record, ttl, saving.fence).await?;
        }
        Ok(())
    }

    /// Writes under a record that its event is being created, or that this ended without one; not where it had an event.
    async fn point_birth(&self, link: &PairLink, saving: Saving<'_>) -> Result<(), Fault> {
        let Some(record) = &link.meeting else { return Ok(()) };
        let place = record_key(record, &saving.calendar.text());
        let ended = link.tombstone.is_some();
        let value = bytes(&OfRecord {
            user_id: saving.user_id.to_owned(),
            event_id: None,
            key: None,
            is_organizer: link.is_organizer,
            guests: BTreeSet::new(),
            version: link.version,
            made_of: link.made_of,
            ended,
        })?;
        let mut expected = Expected::Absent;
        if ended {
            let Some(present) = self.0.get(&place).await? else { return Ok(()) };
            if read::<OfRecord>(&place, &present)?.event_id.is_some() {
                return Ok(());
            }
            expected = Expected::Version(present.version);
        }
        let time_to_live = ended.then_some(TOMBSTONE_KEPT);
        // Where another run was first, that one's says the same, or knows the event.
        self.0
            .write(Write { expected, fence: saving.fence, time_to_live, ..Write::put(&place, &value) })
            .await?;
        Ok(())
    }

    async fn put_if_other<T: Serialize>(
        &self,
        place: &str,
        present: Option<&Versioned>,
        value: &T,
        time_to_live: Option<Duration>,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let value = bytes(value)?;
        if present.is_none_or(|present| present.value != value) {
            self.0.write(Write { fence, time_to_live, ..Write::put(place, &value) }).await?;
        }
        Ok(())
    }

    async fn beside<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Fault> {
        let found = self.0.scan(prefix, None, CALENDARS_MAX).await?;
        let one = |(key, document): &(String, Versioned)| {
            let calendar = key.strip_prefix(prefix).unwrap_or(key).to_owned();
            Ok((calendar, read(key, document)?))
        };
        found.iter().map(one).collect()
    }
}

fn stored(key: &str, document: &Versioned, slot: Slot) -> Result<Stored, Fault> {
    Ok(Stored { link: read(key, document)?, slot, version: document.version })
}

/// What is not readable is never taken for absent: it would be made a second time.
fn read<T: DeserializeOwned>(key: &str, document: &Versioned) -> Result<T, Fault> {
    serde_json::from_slice(&document.value)
        .map_err(|e| Fault::bug("state_unreadable", format!("The document {key} cannot be read: {e}.")))
}

fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|e| {
        Fault::bug("state_unwritable", format!("A document of a calendar cannot be written: {e}."))
    })
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
