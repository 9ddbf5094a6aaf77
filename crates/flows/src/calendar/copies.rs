//! One meeting in several calendars: which of its copies speaks for it. Pure.

use std::collections::BTreeSet;

use super::sides::{Guests, MeetingSide, Provider, SharedKey};

/// A copy of a meeting in a calendar, linked and alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Our id of the calendar.
    pub calendar_id: String,
    /// Whose calendar it is.
    pub provider: Provider,
    /// The CRM user whose calendar it is.
    pub user_id: String,
    /// The event's id there.
    pub event_id: String,
    /// What it has in common with the copies that the provider made of it.
    pub key: SharedKey,
    /// Whether the calendar's user is the organiser.
    pub is_organizer: bool,
    /// Mail addresses that the provider invites, in lower case.
    pub guests: BTreeSet<String>,
    /// The record's version that it was made of, while it agrees with that one: it has not said anything yet.
    pub made_of: Option<i64>,
}

/// What a copy is to its meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The organiser's, or where that is no calendar of ours, the first one: speaks for the meeting.
    Source,
    /// An event of its own, made by us in a further user's calendar: what all share goes both ways, but in a conflict
    /// the meeting counts, and it ends alone.
    Peer,
    /// Made by the provider from another copy of ours: follows that one by itself.
    Follower,
}

/// What this copy is, beside the others. `born_of` is the key of the event that the meeting was born of, as it is kept
/// in the CRM.
pub fn role(this: &Copy, others: &[Copy], assigned_user_id: Option<&str>, born_of: Option<&str>) -> Role {
    let same = |other: &&Copy| other.key == this.key;
    let leads =
        |other: &Copy| other.is_organizer || (!this.is_organizer && other.calendar_id < this.calendar_id);
    if !this.is_organizer && others.iter().filter(same).any(leads) {
        return Role::Follower;
    }
    let is_first = first(this, others, assigned_user_id, born_of).next().is_none();
    if is_first { Role::Source } else { Role::Peer }
}

/// Whether all events that come before this one were made of the meeting as it stands: what it says in a conflict, none of
/// them has said otherwise.
pub fn is_unanswered(this: &Copy, others: &[Copy], meeting: &MeetingSide) -> bool {
    let (assigned, born_of) = (meeting.assigned_user_id.as_deref(), meeting.key.as_deref());
    first(this, others, assigned, born_of)
        .all(|other| other.made_of.is_some() && other.made_of == meeting.version)
}

/// The events of their own that come before this one.
fn first<'a>(
    this: &'a Copy,
    others: &'a [Copy],
    assigned_user_id: Option<&'a str>,
    born_of: Option<&'a str>,
) -> impl Iterator<Item = &'a Copy> {
    let rank = move |copy: &Copy| rank(copy, assigned_user_id, born_of);
    let of_their_own = others.iter().filter(|other| other.key != this.key && other.is_organizer);
    of_their_own.filter(move |other| rank(other) < rank(this))
}

/// In which order the copies of a meeting come.
fn rank(copy: &Copy, assigned_user_id: Option<&str>, born_of: Option<&str>) -> (bool, bool, String) {
    let is_birth = born_of.is_some_and(|key| copy.key.text() == key);
    (!is_birth, Some(copy.user_id.as_str()) != assigned_user_id, copy.calendar_id.clone())
}

/// Whom other events of a meeting invite. A guest gets a meeting once, however many of its users have an event of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Invited {
    /// By any of them: nobody to invite once more.
    pub elsewhere: BTreeSet<String>,
    /// By one that comes before this one: where both invite somebody, this one takes that back.
    pub before: BTreeSet<String>,
}

impl Invited {
    /// By all other events of the meeting, for one that is not there yet.
    pub fn by(others: &[Copy]) -> Self {
        let elsewhere = others.iter().flat_map(|copy| copy.guests.iter().cloned()).collect();
        Self { elsewhere, before: BTreeSet::new() }
    }

    /// By the other events of the meeting, for this one.
    pub fn beside(
        this: &Copy,
        others: &[Copy],
        assigned_user_id: Option<&str>,
        born_of: Option<&str>,
    ) -> Self {
        let others: Vec<Copy> = others.iter().filter(|other| other.key != this.key).cloned().collect();
        let rank = |copy: &Copy| rank(copy, assigned_user_id, born_of);
        let first = others.iter().filter(|other| rank(other) < rank(this));
        let before = first.flat_map(|copy| copy.guests.iter().cloned()).collect();
        Self { before, ..Self::by(&others) }
    }
}

/// Whether an event has to take back whom one that comes before it invites as well: two were made at once, and neither
/// knew of the other.
pub fn invites_twice(copies: &[Copy], meeting: &MeetingSide, send_mail: bool) -> bool {
    let (assigned, born_of) = (meeting.assigned_user_id.as_deref(), meeting.key.as_deref());
    copies.iter().any(|copy| {
        copy.is_organizer
            && Guests::of_new(copy.provider, send_mail) == Guests::Written
            && !Invited::beside(copy, copies, assigned, born_of).before.is_disjoint(&copy.guests)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn copy(calendar: &str, uid: &str, is_organizer: bool) -> Copy {
        Copy {
            calendar_id: calendar.into(),
            provider: Provider::Google,
            user_id: format!("user of {calendar}"),
            event_id: format!("{uid} in {calendar}"),
            key: SharedKey { ical_uid: uid.into(), original: None },
            is_organizer,
            guests: BTreeSet::new(),
            made_of: None,
        }
    }

    fn roles(copies: &[Copy], assigned: Option<&str>) -> Vec<Role> {
        let others = |copy: &Copy| copies.iter().filter(|c| *c != copy).cloned().collect::<Vec<_>>();
        copies.iter().map(|copy| role(copy, &others(copy), assigned, None)).collect()
    }

    #[test]
    fn the_organisers_copy_speaks_and_without_it_the_first() {
        use Role::{Follower, Peer, Source};
        let (a, b, c) = (copy("a", "x", false), copy("b", "x", true), copy("c", "x", false));
        assert_eq!(roles(&[a.clone(), b, c.clone()], None), [Follower, Source, Follower]);
        assert_eq!(roles(&[c.clone(), a], None), [Follower, Source]);
        assert_eq!(roles(&[c], None), [Source]);
        let own = [copy("a", "x", true), copy("b", "y", true)];
        assert_eq!(roles(&own, None), [Source, Peer]);
        assert_eq!(roles(&own, Some("user of b")), [Peer, Source]);
        assert_eq!(
            role(&own[1], &own[..1], Some("user of a"), Some("y")),
            Source,
            "the meeting was born of it"
        );
    }

    #[test]
    fn a_guest_is_invited_by_the_event_that_comes_first() {
        let guests = |of: &[&str]| of.iter().map(|mail| (*mail).to_owned()).collect::<BTreeSet<_>>();
        let invites = |calendar, uid, of: &[&str]| Copy { guests: guests(of), ..copy(calendar, uid, true) };
        let (a, b) = (invites("a", "x", &["k", "l"]), invites("b", "y", &["k", "m"]));
        let follower = invites("c", "x", &["k"]);
        let of = |this: &Copy, other: &Copy, assigned| {
            let others = [other.clone(), follower.clone()];
            Invited::beside(this, &others[..usize::from(this.key != follower.key) + 1], assigned, None)
        };
        assert_eq!((of(&a, &b, None).elsewhere, of(&a, &b, None).before), (guests(&["k", "m"]), guests(&[])));
        assert_eq!(of(&b, &a, None).before, guests(&["k", "l"]));
        assert_eq!(of(&b, &a, Some("user of b")).before, guests(&[]));
        assert_eq!(of(&a, &b, Some("user of b")).before, guests(&["k", "m"]));
        assert_eq!(Invited::by(&[a, b]).elsewhere, guests(&["k", "l", "m"]));
    }

    proptest! {
        /// However they are mixed: one copy at least speaks, and of the copies of one event no two.
        #[test]
        fn one_copy_speaks_for_each_event(
            copies in proptest::collection::btree_map("[a-e]", ("[xy]", any::<bool>()), 1..5),
            organizers in proptest::collection::btree_map("[xy]", "[a-e]", 0..3),
            assigned in proptest::option::of("user of [a-e]"),
        ) {
            let copies: Vec<Copy> = copies
                .iter()
                .map(|(calendar, (uid, _))| copy(calendar, uid, organizers.get(uid) == Some(calendar)))
                .collect();
            let roles = roles(&copies, assigned.as_deref());
            prop_assert!(roles.contains(&Role::Source));
            for uid in ["x", "y"] {
                let speak = copies.iter().zip(&roles).filter(|(c, r)| c.key.ical_uid == uid && **r != Role::Follower);
                prop_assert!(speak.count() <= 1);
            }
        }
    }
}
