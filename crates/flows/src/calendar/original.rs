//! Which of several events with one stamp is the record's own. Whoever copies an event of Outlook copies its stamp.

use super::client::Found;
use super::sides::{EventSide, EventStatus, MeetingRef, SharedKey};

/// The event that a record's stamp was put with, as far as a search tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The record.
    pub record: MeetingRef,
    /// The event's id.
    pub event_id: String,
    /// Its key.
    pub key: SharedKey,
}

impl Original {
    /// This event.
    pub(super) fn is(event: &EventSide, record: &MeetingRef) -> Self {
        Self { record: record.clone(), event_id: event.id.clone(), key: event.key.clone() }
    }

    /// The one that was made first of those that a search for the record found; the event itself where it is not among
    /// them, or where they do not say which was first.
    pub(super) fn of(event: &EventSide, record: &MeetingRef, found: &[Found]) -> Self {
        let side = |found: &Found| match found {
            Found::Event(side) if side.status != EventStatus::Cancelled => Some(EventSide::clone(side)),
            Found::Event(_) | Found::Unreadable { .. } => None,
        };
        let mut sides: Vec<EventSide> = found.iter().filter_map(side).collect();
        sides.sort_by_key(|side| side.created_at);
        let has_own = sides.iter().any(|side| side.id == event.id);
        let is_certain = |first: &&EventSide| {
            first.created_at.is_some() && sides.get(1).is_none_or(|next| next.created_at != first.created_at)
        };
        Self::is(sides.first().filter(is_certain).filter(|_| has_own).unwrap_or(event), record)
    }

    /// Whether this event is another one that was copied of it.
    pub(super) fn was_copied_to(&self, event: &EventSide, record: &MeetingRef) -> bool {
        self.record == *record && self.event_id != event.id && self.key != event.key
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::World;
    use super::super::plan::Policy;
    use super::super::sides::{MeetingKind, Provider};
    use super::super::tests::{simple, world};
    use super::*;

    fn event(world: &mut World, uid: &str) -> EventSide {
        let id = world.add_event(0, simple("A"), uid, true);
        world.events[0][&id].clone()
    }

    fn of(event: &EventSide, found: &[&EventSide]) -> String {
        let record = MeetingRef { kind: MeetingKind::Meeting, id: "m1".to_owned() };
        let found: Vec<Found> = found.iter().map(|side| Found::Event(Box::new((*side).clone()))).collect();
        Original::of(event, &record, &found).event_id
    }

    #[test]
    fn the_original_is_the_one_that_was_made_first_where_that_is_certain() {
        let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
        let (original, copy) = (event(&mut world, "uid1"), event(&mut world, "uid2"));
        assert_eq!(of(&copy, &[&copy, &original]), original.id);
        assert_eq!(of(&original, &[&copy, &original]), original.id);
        assert_eq!(of(&copy, &[]), copy.id, "the search is behind");
        assert_eq!(of(&copy, &[&original]), copy.id, "likewise");
        let same = EventSide { created_at: original.created_at, ..copy.clone() };
        assert_eq!(of(&same, &[&original, &same]), copy.id, "both at once");
        let silent = EventSide { created_at: None, ..original.clone() };
        assert_eq!(of(&copy, &[&silent, &copy]), copy.id, "one does not say");
        let cancelled = EventSide { status: EventStatus::Cancelled, ..original };
        assert_eq!(of(&copy, &[&cancelled, &copy]), copy.id);
    }
}
