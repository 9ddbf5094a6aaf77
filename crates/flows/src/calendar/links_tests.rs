use std::slice;

use doubles::MemoryState;
use jiff::Timestamp;

use super::super::link::Tombstone;
use super::super::sides::MeetingKind;
use super::*;

struct Place {
    links: Links,
    calendar: CalendarId,
}

impl Place {
    fn new() -> Self {
        let calendar = CalendarId::new("google/user/6b00526cc80a09e94".parse().unwrap(), None, None);
        Self { links: Links(Arc::new(MemoryState::default())), calendar }
    }

    async fn save(&self, link: &PairLink, before: Option<&Stored>) -> Stored {
        let saving = Saving { calendar: &self.calendar, user_id: "anna", guests: None, fence: None };
        self.links.save(link, before, saving).await.unwrap()
    }

    async fn of(&self, record: &MeetingRef) -> Option<Stored> {
        self.links.of_record(&self.calendar, record).await.unwrap()
    }

    async fn records(&self) -> Vec<MeetingRef> {
        self.links.linked_records(None, 100).await.unwrap().0.into_iter().collect()
    }

    /// What is known of a record's events: whether one is linked, and whether it has ended.
    async fn known(&self, record: &MeetingRef) -> Vec<(bool, bool)> {
        let among = BTreeMap::from([(self.calendar.text(), Provider::Google)]);
        let (copies, has_others) = self.links.copies(record, &among).await.unwrap();
        assert!(!has_others);
        copies.iter().map(|known| (known.copy.is_some(), known.ended)).collect()
    }
}

fn record(id: &str) -> MeetingRef {
    MeetingRef { kind: MeetingKind::Meeting, id: id.into() }
}

fn birth(record: &MeetingRef) -> PairLink {
    PairLink { meeting: Some(record.clone()), ..PairLink::default() }
}

fn linked(record: &MeetingRef, event: &str) -> PairLink {
    let key = SharedKey { ical_uid: event.into(), original: None };
    PairLink { event_id: Some(event.into()), key: Some(key), ..birth(record) }
}

fn ended(link: PairLink, at: i64, why: EndedBy) -> PairLink {
    let at = Timestamp::from_second(at).unwrap();
    PairLink { tombstone: Some(Tombstone { at, why }), ..link }
}

#[tokio::test]
async fn a_record_is_linked_from_the_beginning_of_its_events_creation_to_its_end() {
    let (place, record) = (Place::new(), record("m"));
    let born = place.save(&birth(&record), None).await;
    assert_eq!(
        (place.records().await, place.known(&record).await),
        (vec![record.clone()], vec![(false, false)])
    );
    let alive = place.save(&linked(&record, "e"), Some(&born)).await;
    assert_eq!(
        (place.records().await, place.known(&record).await),
        (vec![record.clone()], vec![(true, false)])
    );
    place.save(&ended(linked(&record, "e"), 1, EndedBy::MeetingDeleted), Some(&alive)).await;
    assert_eq!((place.records().await, place.known(&record).await), (vec![], vec![(false, true)]));
}

#[tokio::test]
async fn a_creation_that_ends_without_an_event_is_over() {
    let (place, record) = (Place::new(), record("m"));
    let born = place.save(&birth(&record), None).await;
    assert!(place.links.births(&place.calendar).await.unwrap());
    place.save(&ended(birth(&record), 1, EndedBy::BothDeleted), Some(&born)).await;
    assert!(!place.links.births(&place.calendar).await.unwrap());
    assert_eq!((place.records().await, place.known(&record).await), (vec![], vec![(false, true)]));
}

#[tokio::test]
async fn a_creation_whose_run_died_is_cleared_away_once_its_event_is_linked() {
    let (place, record) = (Place::new(), record("m"));
    place.save(&birth(&record), None).await;
    // Its run dies before the creation is taken away, so another one does not know of it.
    let alive = place.save(&linked(&record, "e"), None).await;
    let slot = Slot::Birth(record.clone());
    assert!(place.links.at(&place.calendar, slot.clone()).await.unwrap().is_some());
    assert_eq!(place.of(&record).await, Some(alive));
    assert_eq!(place.links.at(&place.calendar, slot).await.unwrap(), None);
}

#[tokio::test]
async fn the_next_creation_after_somebody_was_taken_out_is_none_that_is_over() {
    let (place, record) = (Place::new(), record("m"));
    let out = place.save(&ended(linked(&record, "e"), 5, EndedBy::TakenOut), None).await;
    assert_eq!(place.of(&record).await, Some(out.clone()));
    let again = PairLink { created_after: out.link.tombstone.map(|it| it.at), ..birth(&record) };
    let again = place.save(&again, None).await;
    assert_eq!(place.of(&record).await.as_ref(), Some(&again));
    let next = place.save(&linked(&record, "f"), Some(&again)).await;
    assert_eq!(place.of(&record).await, Some(next));
    assert_eq!(place.records().await, slice::from_ref(&record));
}
