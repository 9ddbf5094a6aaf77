//! A day of a series that was changed by itself, where further calendars have the series by events of their own: it is that
//! day there as well.

use jiff::{SignedDuration, Timestamp};
use shared::fault::Fault;

use super::again::About;
use super::client::Found;
use super::copies::Copy;
use super::crm::CrmFound;
use super::event::{Attendees, Event, OriginalStart, Place, Window};
use super::link::PairLink;
use super::links::Stored;
use super::pair::{Known, KnownRecord, Pair};
use super::people;
use super::rounds::Rounds;
use super::sides::{EventSide, EventStatus, MeetingRef, SharedKey};

/// How far from its start by the rule a day is looked for: a date is as wide as all zones.
const AROUND: SignedDuration = SignedDuration::from_hours(48);

/// The series that something is a part of, as a calendar has it by an event of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The series' event.
    pub event_id: String,
    /// The day that is meant, as both sides agreed on it with the series.
    pub day: Event,
    /// Whom the CRM has among the series' people beside those whom its event invites: they come on that day as well. Known
    /// where the day's meeting is about to be created.
    pub people: Attendees,
}

impl Whole {
    /// By the series' link; none where its event follows another one, has come to its end, or has no such day.
    pub fn of(link: &PairLink, original: &OriginalStart) -> Option<Self> {
        let speaks = link.is_organizer && link.tombstone.is_none();
        let (event_id, base) = (link.event_id.as_ref().filter(|_| speaks)?, link.base.as_ref()?);
        let window = around(original)?;
        let days = base.place.series()?.occurrences(&base.when, window.from, window.to).ok()?;
        let when = days.into_iter().find(|day| day.original == *original)?.when;
        let place = Place::Exception { series_id: event_id.clone(), original: original.clone() };
        let day = Event { when, place, ..base.clone() };
        Some(Self { event_id: event_id.clone(), day, people: Attendees::new() })
    }
}

fn around(original: &OriginalStart) -> Option<Window> {
    let at = match original {
        OriginalStart::At(at) => *at,
        OriginalStart::On(day) => day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp(),
    };
    let shifted = |by: SignedDuration| -> Option<Timestamp> { at.checked_add(by).ok() };
    Some(Window { from: shifted(-AROUND)?, to: shifted(AROUND)? })
}

/// The series of a part, and its start by the rule.
fn part(event: &Event) -> Option<(&str, &OriginalStart)> {
    match &event.place {
        Place::Occurrence { series_id, original } | Place::Exception { series_id, original } => {
            Some((series_id, original))
        }
        Place::Single | Place::Master(_) => None,
    }
}

impl Rounds<'_> {
    /// A day of a series that others have as well says nothing of theirs where it went with the series: that one comes first.
    pub(super) async fn series_first(&mut self, event_id: &str) -> Result<(), Fault> {
        let (links, calendar) = (&self.flow.links, &self.open.id);
        let Some(part) = links.of_event(calendar, event_id).await? else { return Ok(()) };
        let Some(key) = part.link.key.filter(|_| part.link.tombstone.is_none()) else { return Ok(()) };
        let Some(series) = links.series_of(calendar, &key).await? else { return Ok(()) };
        let alive = series.link.tombstone.is_none();
        let (Some(id), Some(record)) = (series.link.event_id.filter(|_| alive), series.link.meeting) else {
            return Ok(());
        };
        let copies = self.flow.copies(&record, self.now()).await?;
        let is_other = |copy: &Copy| copy.calendar_id != calendar.text() && copy.is_organizer;
        if !copies.iter().filter_map(|known| known.copy.as_ref()).any(is_other) {
            return Ok(());
        }
        let is_gone = match self.open.client.get(&id).await? {
            None => true,
            Some(Found::Event(series)) => series.status == EventStatus::Cancelled,
            Some(Found::Unreadable { .. }) => false,
        };
        if is_gone {
            Box::pin(self.look(About::Event(&id), self.pair().of_event_id(&id, Known::Gone))).await?;
        }
        Ok(())
    }
}

impl Pair<'_> {
    /// The series of which this pair is a part; `copies` are those of its record.
    pub(super) async fn whole(&self, copies: &[Copy]) -> Result<Option<Whole>, Fault> {
        let is_new = self.stored.as_ref().is_none_or(|stored| stored.link.may_inherit());
        let whole = match (&self.event, &self.meeting) {
            _ if !is_new || self.has_no_day => None,
            (Known::Found(event), _) => {
                let series = self.series_link(event).await?;
                let original = event.event.place.original();
                series.zip(original).and_then(|(series, original)| Whole::of(&series.link, original))
            }
            (_, KnownRecord::Found(meeting)) => match part(&meeting.event) {
                Some((series_id, original)) => {
                    let series = self.series_beside(series_id, copies).await?;
                    series.and_then(|series| Whole::of(&series.link, original))
                }
                None => None,
            },
            _ => None,
        };
        Ok(whole.map(|whole| Whole { people: self.series_people.clone(), ..whole }))
    }

    /// The link of the series in this calendar that the user's own event is a part of.
    async fn series_link(&self, event: &EventSide) -> Result<Option<Stored>, Fault> {
        let Some((series_id, _)) = part(&event.event).filter(|_| event.is_organizer) else { return Ok(None) };
        let found = self.flow.links.of_event(&self.open.id, series_id).await?;
        Ok(found.filter(|series| series.link.is_organizer && series.link.tombstone.is_none()))
    }

    /// The link here of a series that another calendar's event of the record is a part of.
    async fn series_beside(&self, series_id: &str, copies: &[Copy]) -> Result<Option<Stored>, Fault> {
        for copy in copies {
            if let Some(series) = self.flow.links.record_of(&copy.calendar_id, series_id).await? {
                return self.flow.links.of_record(&self.open.id, &series).await;
            }
        }
        Ok(None)
    }

    /// Whether the series of an event that was linked has left this calendar, and goes on in others.
    pub(super) async fn series_left(&self) -> Result<bool, Fault> {
        let Some(key) = self.stored.as_ref().and_then(|stored| stored.link.key.as_ref()) else {
            return Ok(false);
        };
        let series = self.flow.links.series_of(&self.open.id, key).await?;
        Ok(series.and_then(|series| series.link.tombstone).is_some_and(|end| end.why.is_of_one_copy()))
    }

    /// The meeting of a day of which another calendar that has the series has told before.
    pub(super) async fn record_of_day(&self, event: &EventSide) -> Result<Option<MeetingRef>, Fault> {
        let series = self.series_link(event).await?;
        let Some((record, original)) =
            series.and_then(|series| series.link.meeting).zip(event.event.place.original())
        else {
            return Ok(None);
        };
        let known = self.flow.copies(&record, self.run.clock.now()).await?;
        let others = known.into_iter().filter_map(|known| known.copy);
        for copy in others.filter(|copy| copy.calendar_id != self.open.calendar.id) {
            let key = SharedKey { ical_uid: copy.key.ical_uid, original: Some(original.clone()) };
            let days = self.flow.links.of_key(&key.text()).await?;
            let alive = days.into_iter().filter(|(_, day)| day.ended.is_none());
            if let Some(record) = alive.into_iter().find_map(|(_, day)| day.record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The series' record, and which of its days an event is: two calendars may tell of one day at once.
    pub(super) async fn day_of(
        &self,
        event: &EventSide,
    ) -> Result<Option<(MeetingRef, OriginalStart)>, Fault> {
        let series = self.series_link(event).await?;
        Ok(series.and_then(|series| series.link.meeting).zip(event.event.place.original().cloned()))
    }

    /// Reads whom the CRM has among the series' people beside those whom its event invites.
    pub(super) async fn read_series_people(&mut self, event: &EventSide) -> Result<(), Fault> {
        let Some(Stored { link, .. }) = self.series_link(event).await? else { return Ok(()) };
        let (Some(record), Some(base)) = (&link.meeting, &link.base) else { return Ok(()) };
        let Some(CrmFound::Meeting(series)) = self.flow.crm.get(record).await? else { return Ok(()) };
        let (side, _) = people::without_owner(&series, self.open);
        let mut people = side.event.attendees;
        people.retain(|mail, _| !base.attendees.contains_key(mail));
        self.series_people = people;
        Ok(())
    }

    /// Looks for the day among the series' instances. One that has a meeting of its own is nobody else's.
    pub(super) async fn find_day(&mut self, series_id: &str, original: &OriginalStart) -> Result<(), Fault> {
        self.has_no_day = true;
        let Some(window) = around(original) else { return Ok(()) };
        let instances = self.open.client.instances(series_id, &window).await?;
        let is_it = |found: &Found| match found {
            Found::Event(event) => event.event.place.original() == Some(original),
            Found::Unreadable { .. } => false,
        };
        let Some(found) = instances.and_then(|all| all.found.into_iter().find(is_it)) else { return Ok(()) };
        if self.flow.links.of_event(&self.open.id, found.id()).await?.is_none() {
            self.has_no_day = false;
            self.event_id = Some(found.id().to_owned());
            self.take(Some(found)).await?;
        }
        Ok(())
    }
}
