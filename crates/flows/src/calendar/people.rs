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
const KNOWN_FRESH: Duration = Duration::from_secs(6 * 3_600);
/// How long it is remembered that the CRM does not know somebody, who may be entered any time.
const UNKNOWN_FRESH: Duration = Duration::from_secs(3_600);
/// Addresses in one request that are asked about ahead of time.
const ASKED_AHEAD_MAX: usize = 50;
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
            let is_fresh = |(at, person): &&(Timestamp, Option<Person>)| {
                let fresh = if person.is_some() { KNOWN_FRESH } else { UNKNOWN_FRESH };
                *at <= now && elapsed(*at, now) < fresh
            };
            match known.get(mail).filter(is_fresh) {
                Some((_, Some(person))) => _ = found.insert(mail.clone(), person.clone()),
                Some((_, None)) => {}
                None => _ = unknown.insert(mail.clone()),
            }
        }
        (found, unknown)
    }

    /// Those of whom it was asked a while ago, the newest first: with others they are asked about at no cost, instead of one
    /// by one when each is met again.
    fn old(&self, now: Timestamp, max: usize) -> BTreeSet<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |at: Timestamp, person: &Option<Person>| {
            let fresh = if person.is_some() { KNOWN_FRESH } else { UNKNOWN_FRESH };
            elapsed(at, now) >= fresh / 2
        };
        let mut old: Vec<(Timestamp, &String)> = known
            .iter()
            .filter(|(_, (at, person))| is_old(*at, person))
            .map(|(mail, (at, _))| (*at, mail))
            .collect();
        old.sort_unstable_by_key(|(at, mail)| (std::cmp::Reverse(*at), *mail));
        old.into_iter().take(max).map(|(_, mail)| mail.clone()).collect()
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

/// Somebody whom the CRM knows, by the address that it knows them by.
#[derive(Debug, Clone)]
struct Somebody {
    person: Person,
    mail: String,
}

impl CalendarFlow {
    /// The event of a user's calendar with what its attendees are to the CRM. They stand under the addresses that the CRM
    /// knows them by.
    pub(super) async fn known_people(
        &self,
        mut event: EventSide,
        user_id: &str,
        run: &Run,
    ) -> Result<EventSide, Fault> {
        event.event = self.settings.carried.keep(event.event);
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
        event.event.attendees = known(event.event.attendees, &found, &connected, user_id);
        Ok(event)
    }

    /// Whether somebody has a calendar that is read now.
    pub(super) async fn has_calendar(&self, mail: &str, run: &Run) -> Result<bool, Fault> {
        let now = run.clock.now();
        let connected = self.calendars.connected(&self.settings, now).await?;
        let active = connected.iter().filter(|(_, summary)| summary.state == GrantState::Active);
        let users: BTreeSet<&str> =
            active.filter_map(|(account, _)| account.user().map(CrmUser::as_str)).collect();
        let known = self.who(&BTreeSet::from([mail.to_owned()]), now).await?;
        Ok(known.get(mail).is_some_and(|Somebody { person, .. }| {
            person.kind == PersonKind::User && users.contains(person.id.as_str())
        }))
    }

    /// Who these are, as far as the CRM knows: by its addresses, and users by the mailboxes that they connected, too.
    async fn who(
        &self,
        mails: &BTreeSet<String>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Somebody>, Fault> {
        let (mut persons, unknown) = self.people.recall(mails, now);
        if !unknown.is_empty() {
            let mut asked = self.people.old(now, ASKED_AHEAD_MAX);
            asked.extend(unknown);
            let answer = self.crm.people(&asked).await?;
            self.people.learn(asked, &answer, now);
            persons.extend(answer.into_iter().filter(|(mail, _)| mails.contains(mail)));
        }
        let strangers: BTreeSet<&String> = mails.iter().filter(|mail| !persons.contains_key(*mail)).collect();
        let owners = match strangers.is_empty() {
            true => BTreeMap::new(),
            false => self.calendars.owners(&strangers, &self.settings, now).await?,
        };
        let mut found: BTreeMap<String, Somebody> =
            persons.into_iter().map(|(mail, person)| (mail.clone(), Somebody { person, mail })).collect();
        if !owners.is_empty() {
            let known = self.crm.mails_of(&owners.values().cloned().collect()).await?;
            for (address, id) in owners {
                let Some(mail) = known.get(&id).cloned() else { continue };
                let person = Person { kind: PersonKind::User, id, name: String::new() };
                found.insert(address, Somebody { person, mail });
            }
        }
        Ok(found)
    }
}

/// Attendees under the addresses that the CRM knows them by. Who stands there by two of them is a stranger by the second;
/// so is the calendar's user by another address than the calendar's, since a user is beside the pair.
fn known(
    attendees: Attendees,
    found: &BTreeMap<String, Somebody>,
    connected: &BTreeSet<String>,
    user_id: &str,
) -> Attendees {
    let taken: BTreeSet<String> = attendees.keys().cloned().collect();
    let mut known = Attendees::new();
    for (address, mut attendee) in attendees {
        let is_user = |one: &&Somebody| one.person.kind == PersonKind::User && one.person.id == user_id;
        let somebody = found.get(&address).filter(|one| !is_user(one));
        let somebody = somebody.filter(|one| {
            one.mail == address || !(taken.contains(&one.mail) || known.contains_key(&one.mail))
        });
        attendee.reach = reach(somebody.map(|one| &one.person), connected);
        match somebody.filter(|one| one.mail != address) {
            Some(one) => {
                attendee.address = Some(address);
                known.insert(one.mail.clone(), attendee);
            }
            None => _ = known.insert(address, attendee),
        }
    }
    known
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_about_a_while_ago_is_asked_about_with_the_next() {
        let at =
            |minutes: u64| shared::clock::later(Timestamp::UNIX_EPOCH, Duration::from_secs(60 * minutes));
        let mails =
            |texts: &[&str]| -> BTreeSet<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
        let anna = Person { kind: PersonKind::User, id: "anna".to_owned(), name: String::new() };
        let (people, found) = (People::default(), BTreeMap::from([("anna@work".to_owned(), anna)]));
        people.learn(mails(&["anna@work"]), &found, at(0));
        people.learn(mails(&["b@stranger"]), &found, at(1));
        assert_eq!(people.old(at(29), 9), mails(&[]));
        assert_eq!(people.old(at(31), 9), mails(&["b@stranger"]));
        assert_eq!(people.old(at(181), 9), mails(&["anna@work", "b@stranger"]));
        assert_eq!(people.old(at(181), 1), mails(&["b@stranger"]), "the newest first");
        people.learn(mails(&["anna@work", "b@stranger"]), &found, at(181));
        assert_eq!(people.old(at(182), 9), mails(&[]));
    }

    fn user(id: &str, mail: &str) -> Somebody {
        let (id, name) = (id.to_owned(), String::new());
        Somebody { person: Person { kind: PersonKind::User, id, name }, mail: mail.to_owned() }
    }

    #[test]
    fn users_are_known_by_the_mailboxes_that_they_connected() {
        let found: BTreeMap<String, Somebody> = [
            ("anna@home", user("anna", "anna@work")),
            ("bert@home", user("bert", "bert@work")),
            ("bert@work", user("bert", "bert@work")),
            ("me@work", user("me", "me@work")),
        ]
        .map(|(mail, somebody)| (mail.to_owned(), somebody))
        .into();
        let invited: Attendees = ["anna@home", "bert@home", "bert@work", "me@work", "stranger"]
            .map(|mail| (mail.to_owned(), Attendee { response: Response::Accepted, ..Attendee::default() }))
            .into();
        let known = known(invited.clone(), &found, &["anna".to_owned()].into(), "me");
        let all: Vec<(&str, Reach)> = known.iter().map(|(mail, one)| (mail.as_str(), one.reach)).collect();
        assert_eq!(
            all,
            [
                ("anna@work", Reach::Connected),
                ("bert@home", Reach::Unknown),
                ("bert@work", Reach::Known),
                ("me@work", Reach::Unknown),
                ("stranger", Reach::Unknown),
            ],
            "who is there by two addresses is so once, and the calendar's user is beside the pair"
        );
        let addresses: Vec<&str> = known.iter().map(|(mail, one)| one.address(mail)).collect();
        assert_eq!(addresses, invited.keys().collect::<Vec<_>>(), "nobody's address in the calendar is lost");
        assert!(known.values().all(|one| one.response == Response::Accepted));
    }
}
