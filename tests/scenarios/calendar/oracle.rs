//! Holds what all systems show against what they must say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::affairs::{Affair, Calendar, Copy, Kind, Slot, Standing, Tie, User, contact_mail};
use super::says::{Provider, Says};
use super::script::CONTACTS;
use super::shown::{Place, Shown, body, listed};

/// Everything that is there, by the affair that it is about.
#[derive(Debug, Default)]
pub struct Seen {
    found: BTreeMap<usize, Vec<Shown>>,
    /// What is about no affair that anybody made.
    pub strange: Vec<String>,
}

impl Seen {
    pub fn of(shown: impl Iterator<Item = Shown>) -> Self {
        let mut seen = Self::default();
        for one in shown.filter(|one| !one.is_cancelled()) {
            match one.number() {
                Some(number) => seen.found.entry(number).or_default().push(one),
                None => seen.strange.push(format!("{:?} {} is about nothing", one.place, one.subject)),
            }
        }
        seen
    }

    fn about(&self, number: usize) -> impl Iterator<Item = &Shown> {
        self.found.get(&number).into_iter().flatten()
    }

    /// The record of an affair there; that of the series, not of one of its days.
    pub fn at(&self, number: usize, place: Place) -> impl Iterator<Item = &Shown> {
        self.about(number).filter(move |one| one.place == place && one.original.is_none())
    }

    fn on_day(&self, number: usize, place: Place, day: Date) -> impl Iterator<Item = &Shown> {
        self.about(number).filter(move |one| one.place == place && one.original == Some(day))
    }
}

/// Who and what there is.
#[derive(Debug, Clone, Copy)]
pub struct People<'a> {
    pub users: &'a [User],
    pub calendars: &'a [Calendar],
    /// Ids of the contacts in the CRM.
    pub contacts: &'a [String],
}

/// What may be decided either way is taken as it was found; ids become known.
pub fn learn(affair: &mut Affair, seen: &Seen, users: &[User], calendars: &[Calendar]) {
    let meeting = seen.at(affair.number, Place::Crm(affair.kind)).next();
    if let Some(meeting) = meeting.filter(|_| affair.id.is_none() && affair.is_born_away(calendars)) {
        (affair.says.show, affair.says.private) = (meeting.show, meeting.private);
        affair.spoke_another = true;
    }
    // Whose a meeting becomes depends on which of its calendars was read first.
    if let Some(user) = meeting.and_then(|it| users.iter().position(|user| user.crm_id == it.assigned)) {
        affair.assigned = user;
    }
    if affair.meeting == Standing::Maybe {
        affair.meeting = if meeting.is_some() { Standing::There } else { Standing::Absent };
        if meeting.is_some() {
            affair
                .copies
                .values_mut()
                .filter(|copy| copy.tie == Tie::Waiting)
                .for_each(|copy| copy.tie = Tie::Linked);
        }
    }
    affair.id = meeting.map(|one| one.id.clone());
    affair.copies.retain(|at, copy| {
        let found = seen.at(affair.number, Place::Calendar(*at)).next();
        copy.id = found.map(|one| one.id.clone());
        if copy.standing == Standing::Maybe && found.is_some() {
            (copy.standing, copy.tie) = (Standing::There, Tie::Linked);
        }
        // Which of several events of ours invites a guest depends on which was made first.
        if let Some(found) = found.filter(|_| copy.is_ours) {
            copy.guests.clone_from(&found.people);
        }
        copy.standing != Standing::Maybe
    });
}

/// What is one user's own affair stays that user's as long as another copy speaks for the meeting. Where that one has gone,
/// the next one speaks, for what is personal as well; when it is looked at is not said: either value is right until then.
pub fn learn_own(affair: &mut Affair, seen: &Seen, calendars: &[Calendar]) {
    let is_later = |at: &usize| Some(*at) != affair.spoke || affair.spoke_another;
    let Some(speaks) = affair.source(calendars).filter(is_later) else { return };
    let Some(meeting) = seen.at(affair.number, Place::Crm(affair.kind)).next() else { return };
    let own = &affair.copies[&speaks].says;
    if meeting.show == own.show {
        affair.says.show = own.show;
    }
    if meeting.private == own.private {
        affair.says.private = own.private;
    }
}

/// Where both sides differed when what they had agreed on was forgotten, the later change wins. Which one that is depends on
/// changes of other fields as well: either value is right, on all sides that had the other one.
pub fn learn_undecided(affair: &mut Affair, seen: &Seen, calendars: &[Calendar]) {
    let Some(source) = affair.source(calendars).filter(|_| affair.is_undecided) else { return };
    let Some(meeting) = seen.at(affair.number, Place::Crm(affair.kind)).next() else { return };
    let (own, said) = (affair.copies[&source].says.clone(), affair.says.clone());
    let others = affair.copies.values_mut().filter(|copy| copy.tie == Tie::Linked).map(|copy| &mut copy.says);
    for says in others.chain([&mut affair.says]) {
        if meeting.subject == own.subject && says.subject == said.subject {
            says.subject.clone_from(&own.subject);
        }
        if meeting.span == own.when.span() && says.when.span() == said.when.span() {
            says.when = own.when;
        }
        if body(&meeting.body) == body(&own.body) && says.body == said.body {
            says.body.clone_from(&own.body);
        }
        if meeting.location == own.location && says.location == said.location {
            says.location.clone_from(&own.location);
        }
    }
}

/// What of an affair is not as it must be.
pub fn complaints(affair: &Affair, seen: &Seen, people: People<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    in_crm(affair, seen, people, &mut wrong);
    for at in 0..people.calendars.len() {
        in_calendar(affair, at, seen, people, &mut wrong);
    }
    invitations(affair, people, &mut wrong);
    wrong
}

/// Each guest of a meeting is invited by one of its events, however many users have one. Outlook's events of ours invite
/// nobody, since Outlook would mail them; users who have a calendar have an event there instead.
fn invitations(affair: &Affair, people: People<'_>, wrong: &mut Vec<String>) {
    let events = || affair.copies.iter().filter(|(_, copy)| copy.is_own && copy.standing == Standing::There);
    let invites = |mail: &String| events().filter(|(_, copy)| copy.guests.contains(mail)).count();
    let can_invite = events()
        .any(|(at, copy)| people.calendars[*at].provider == Provider::Google && copy.tie == Tie::Linked);
    let contacts: BTreeSet<String> = affair.contacts.iter().map(|contact| contact_mail(*contact)).collect();
    let users: BTreeSet<String> = affair.users.iter().map(|user| people.users[*user].mail.clone()).collect();
    for mail in contacts.iter().chain(&users) {
        let times = invites(mail);
        let must_be = can_invite && contacts.contains(mail) && affair.meeting == Standing::There;
        if times > 1 || (must_be && times == 0) {
            wrong.push(format!("#{}: {mail} is invited {times} times", affair.number));
        }
    }
    let ours = events().filter(|(_, copy)| copy.is_ours);
    for mail in ours.flat_map(|(_, copy)| &copy.guests).filter(|mail| !contacts.contains(*mail)) {
        if !users.contains(mail) {
            wrong.push(format!("#{}: {mail} is invited, and is none of the meeting's people", affair.number));
        }
    }
}

/// Exactly one where one must be, none where none may be.
fn count(what: &str, standing: Standing, found: &[&Shown], wrong: &mut Vec<String>) -> bool {
    match (standing, found.len()) {
        (Standing::There, 1) => return true,
        (Standing::There, 0) => wrong.push(format!("{what}: missing")),
        (Standing::Absent | Standing::Gone | Standing::Maybe, 0) => {}
        (Standing::Gone, _) => wrong.push(format!("{what}: deleted, and there again")),
        (Standing::Absent | Standing::Maybe, _) => wrong.push(format!("{what}: must not be there")),
        (_, n) => wrong.push(format!("{what}: there {n} times")),
    }
    false
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T, wrong: &mut Vec<String>) {
    if found != expected {
        wrong.push(format!("{what} is {found:?}, must be {expected:?}"));
    }
}

/// What all sides share, and what is a user's own where `personal`.
fn compare(what: &str, found: &Shown, expected: &Says, personal: bool, wrong: &mut Vec<String>) {
    let of = |field: &str| format!("{what}: {field}");
    differ(&of("subject"), &found.subject, &expected.subject, wrong);
    differ(&of("time"), &found.span, &expected.when.span(), wrong);
    differ(&of("body"), &body(&found.body), &body(&expected.body), wrong);
    differ(&of("location"), &found.location, &expected.location, wrong);
    if personal {
        differ(&of("busy"), &found.show, &expected.show, wrong);
        differ(&of("private"), &found.private, &expected.private, wrong);
    }
}

fn in_crm(affair: &Affair, seen: &Seen, people: People<'_>, wrong: &mut Vec<String>) {
    let place = Place::Crm(affair.kind);
    let name = format!("#{} {}", affair.number, affair.kind.name());
    let found: Vec<&Shown> = seen.at(affair.number, place).collect();
    let other = if affair.kind == Kind::Call { Kind::Meeting } else { Kind::Call };
    let others: Vec<&Shown> = seen.at(affair.number, Place::Crm(other)).collect();
    count(&format!("#{} {}", affair.number, other.name()), Standing::Absent, &others, wrong);
    if count(&name, affair.meeting, &found, wrong) {
        let one = found[0];
        compare(&name, one, &affair.says, true, wrong);
        let status = match (affair.is_planned, affair.is_not_held) {
            (true, _) => "Planned",
            (false, true) => "Not Held",
            (false, false) => "Held",
        };
        differ(&format!("{name}: status"), &one.status.as_str(), &status, wrong);
        let users = affair.users.iter().map(|user| people.users[*user].crm_id.clone());
        let contacts = affair.contacts.iter().map(|contact| people.contacts[*contact].clone());
        let expected: BTreeSet<String> = users.chain(contacts).collect();
        differ(&format!("{name}: people"), &one.people, &expected, wrong);
        for (user, accepts) in affair.heard(people.calendars) {
            let said = one.answers.get(&people.users[user].crm_id).map_or("", String::as_str);
            let expected = if accepts { "Accepted" } else { "Declined" };
            differ(&format!("{name}: answer of {}", people.users[user].mail), &said, &expected, wrong);
        }
        differ(&format!("{name}: is a series"), &one.is_series, &affair.rule.is_some(), wrong);
    }
    for day in days(affair) {
        let slot = affair.slots.get(&day).filter(|_| affair.meeting == Standing::There);
        let what = format!("{name} on {day}");
        let found: Vec<&Shown> = seen.on_day(affair.number, place, day).collect();
        match slot {
            Some(Slot::Changed(says)) => {
                if count(&what, Standing::There, &found, wrong) {
                    compare(&what, found[0], says, false, wrong);
                }
            }
            Some(Slot::Gone) | None => {
                count(&what, Standing::Absent, &found, wrong);
            }
        }
        let is_gap = matches!(slot, Some(Slot::Gone));
        let says_gap = seen.at(affair.number, place).any(|one| has_gap(&one.rule, day));
        if affair.meeting == Standing::There {
            differ(&format!("{what}: left out by the rule"), &says_gap, &is_gap, wrong);
        }
    }
}

/// Whether a rule in RFC 5545's words leaves out an occurrence of that day, by the day in UTC.
fn has_gap(rule: &str, day: Date) -> bool {
    let stamp = day.strftime("%Y%m%d").to_string();
    rule.split(['\n', ' ']).any(|line| line.starts_with("EXDATE") && line.contains(&stamp))
}

/// The days of the series by its rule.
fn days(affair: &Affair) -> Vec<Date> {
    let first = affair.copies.values().find(|copy| copy.is_own).map(|copy| copy.says.when.date());
    affair.rule.zip(first).map(|(rule, first)| rule.dates(first)).unwrap_or_default()
}

fn in_calendar(affair: &Affair, at: usize, seen: &Seen, people: People<'_>, wrong: &mut Vec<String>) {
    let calendar = &people.calendars[at];
    let place = Place::Calendar(at);
    let name = format!("#{} in {} of {}", affair.number, calendar.provider.name(), calendar.mail);
    let found: Vec<&Shown> = seen.at(affair.number, place).collect();
    let Some(copy) = affair.copies.get(&at) else {
        count(&name, Standing::Absent, &found, wrong);
        return;
    };
    if !count(&name, copy.standing, &found, wrong) {
        return;
    }
    let is_source =
        affair.source(people.calendars) == Some(at) && affair.spoke == Some(at) && !affair.spoke_another;
    compare(&name, found[0], &copy.says, is_source && copy.is_own, wrong);
    if copy.is_own {
        differ(&format!("{name}: guests"), &found[0].people, &copy.guests, wrong);
        listing(affair, copy, found[0], calendar, people, &name, wrong);
    }
    if copy.tie == Tie::Ended {
        return;
    }
    for (day, slot) in affair.slots.iter().filter(|_| copy.is_own) {
        let what = format!("{name} on {day}");
        let found: Vec<&Shown> = seen.on_day(affair.number, place, *day).collect();
        match slot {
            Slot::Changed(says) => {
                if count(&what, Standing::There, &found, wrong) {
                    compare(&what, found[0], says, false, wrong);
                }
            }
            Slot::Gone => {
                count(&what, Standing::Gone, &found, wrong);
            }
        }
    }
}

/// Outlook's event of a meeting of the CRM has its people in a list below its body, since writing them would mail them.
fn listing(
    affair: &Affair,
    copy: &Copy,
    found: &Shown,
    calendar: &Calendar,
    people: People<'_>,
    name: &str,
    wrong: &mut Vec<String>,
) {
    if calendar.provider != Provider::Microsoft || !copy.guests.is_empty() || copy.tie != Tie::Linked {
        return;
    }
    let users = affair.users.iter().filter(|user| **user != calendar.user);
    let contacts = affair.contacts.iter().filter(|contact| **contact < CONTACTS).map(|it| contact_mail(*it));
    let expected: BTreeSet<String> =
        users.map(|user| people.users[*user].mail.clone()).chain(contacts).collect();
    differ(&format!("{name}: list of people"), &listed(&found.body), &expected, wrong);
}
