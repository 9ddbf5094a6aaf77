//! What all systems must say in the end, kept from what people did, by the rules of the flow's description and by
//! nothing else. Each thing that people meet about is an affair: a meeting or call of the CRM, and its copies in
//! calendars.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::says::{Change, Field, Provider, Rule, Says};

/// Someone who works with the CRM.
#[derive(Debug, Clone)]
pub struct User {
    pub crm_id: String,
    pub mail: String,
}

/// A calendar that a user has, connected or not yet.
#[derive(Debug, Clone)]
pub struct Calendar {
    pub user: usize,
    pub provider: Provider,
    pub mail: String,
    /// As it stands in keys of messages.
    pub key: String,
    pub is_connected: bool,
    /// The grant was lost.
    pub is_away: bool,
}

impl Calendar {
    pub fn is_served(&self) -> bool {
        self.is_connected && !self.is_away
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Meeting,
    Call,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Meeting => "Meeting",
            Self::Call => "Call",
        }
    }
}

/// Whether it must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not made yet, and must not be.
    Absent,
    /// Near the edge of the window: may have been made.
    Maybe,
    There,
    /// Deleted, and must never come again.
    Gone,
}

/// What a copy has to do with the meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// Not linked yet.
    Waiting,
    Linked,
    /// Let go: each side goes on by itself.
    Ended,
}

/// How a day of a series stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    Changed(Says),
    Gone,
}

#[derive(Debug, Clone)]
pub struct Copy {
    /// Where its system has it, once that is known.
    pub id: Option<String>,
    pub says: Says,
    /// Whether its calendar's user is the organiser.
    pub is_own: bool,
    /// Whether the flow made it, of a meeting of the CRM.
    pub is_ours: bool,
    pub standing: Standing,
    pub tie: Tie,
    /// Whom the event invites, its calendar's user aside.
    pub guests: BTreeSet<String>,
}

impl Copy {
    fn is_linked(&self) -> bool {
        self.tie == Tie::Linked && self.standing == Standing::There
    }
}

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Crm,
    Calendar(usize),
}

#[derive(Debug, Clone)]
pub struct Affair {
    pub number: usize,
    pub kind: Kind,
    pub id: Option<String>,
    pub meeting: Standing,
    pub says: Says,
    pub is_planned: bool,
    pub is_not_held: bool,
    pub assigned: usize,
    pub users: BTreeSet<usize>,
    pub contacts: BTreeSet<usize>,
    /// What users answered in the calendars that they were invited in: whether they come.
    pub answers: BTreeMap<usize, bool>,
    pub copies: BTreeMap<usize, Copy>,
    pub rule: Option<Rule>,
    /// Days of the series that are not as the rule makes them, by the day they had.
    pub slots: BTreeMap<Date, Slot>,
    /// Who wrote which field since all was last seen to agree.
    pub touched: BTreeMap<Field, Side>,
    /// Nothing more is done to it before all agrees again.
    pub is_closed: bool,
    /// Some value could not be carried over.
    pub has_left: bool,
    /// The calendar that it was made in, where that is none of the CRM.
    pub born: Option<usize>,
    /// The copy that spoke for it first. Whether another one that speaks later has taken over what is personal depends on
    /// what happens to it then.
    pub spoke: Option<usize>,
    /// Whether another one has spoken since.
    pub spoke_another: bool,
    /// All was compared since it was made.
    pub is_old: bool,
    /// What could not be carried over may be decided either way: nobody remembers what was agreed on before.
    pub is_undecided: bool,
    /// When its meeting was deleted, where the CRM's word of it was lost.
    pub unheard_since: Option<Timestamp>,
    /// Least requests for all that had to be written for it.
    pub least_requests: u64,
}

/// Least requests for one write: what is overwritten is read before, and a search goes before a meeting is made, which
/// cannot be repeated.
mod least {
    pub const MEETING: u64 = 2;
    pub const EVENT_MADE: u64 = 1;
    pub const EVENT_WRITTEN: u64 = 2;
    pub const DELETED: u64 = 2;
    pub const STAMP: u64 = 1;
}

/// How far back and ahead is synchronised.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    pub back_days: i64,
    pub ahead_days: i64,
}

/// What is meant by "inside the window", whose edge may be a week old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    Yes,
    No,
    Unsure,
}

impl Reach {
    pub fn of(self, now: Timestamp, from: Timestamp, to: Timestamp) -> Inside {
        let days = |n: i64| SignedDuration::from_hours(24 * n);
        let touches = |back: i64, ahead: i64| from < now + days(ahead) && to > now - days(back);
        if touches(self.back_days - 2, self.ahead_days - 9) {
            Inside::Yes
        } else if touches(self.back_days + 9, self.ahead_days + 2) {
            Inside::Unsure
        } else {
            Inside::No
        }
    }
}

impl Affair {
    /// One that nobody has written yet; of the CRM, or of a calendar.
    pub fn new(number: usize, says: Says, assigned: usize) -> Self {
        Self {
            number,
            kind: Kind::Meeting,
            id: None,
            meeting: Standing::Absent,
            says,
            is_planned: true,
            is_not_held: false,
            assigned,
            users: BTreeSet::from([assigned]),
            contacts: BTreeSet::new(),
            answers: BTreeMap::new(),
            copies: BTreeMap::new(),
            rule: None,
            slots: BTreeMap::new(),
            touched: BTreeMap::new(),
            is_closed: false,
            has_left: false,
            born: None,
            spoke: None,
            spoke_another: false,
            is_old: false,
            is_undecided: false,
            unheard_since: None,
            least_requests: 0,
        }
    }

    /// The first and the last instant of it, occurrences included.
    fn stretch(&self, says: &Says) -> (Timestamp, Timestamp) {
        let (start, end) = says.when.instants();
        match self.rule {
            Some(rule) => {
                let last = rule.dates(says.when.date()).pop().unwrap_or_else(|| says.when.date());
                (start, says.when.on(last).instants().1)
            }
            None => (start, end),
        }
    }

    /// Whether its organiser's calendar is away: then an invitation makes the meeting, and says what of it is personal until
    /// that one is read.
    pub fn is_born_away(&self, calendars: &[Calendar]) -> bool {
        self.born.is_some_and(|at| calendars[at].is_away)
    }

    /// The copy that speaks for the meeting.
    pub fn source(&self, calendars: &[Calendar]) -> Option<usize> {
        let linked = || self.copies.iter().filter(|(_, copy)| copy.is_linked()).map(|(at, copy)| (*at, copy));
        let rank = |at: &usize| {
            (Some(*at) != self.born, calendars[*at].user != self.assigned, calendars[*at].key.clone())
        };
        let own = linked().filter(|(_, copy)| copy.is_own).map(|(at, _)| at).min_by_key(rank);
        own.or_else(|| linked().map(|(at, _)| at).min_by_key(|at| calendars[*at].key.clone()))
    }

    /// Whether this field of that copy may be written without reaching anybody.
    fn is_writable(&self, at: usize, field: Field, calendars: &[Calendar]) -> bool {
        let copy = &self.copies[&at];
        let mails = calendars[at].provider == Provider::Microsoft && !copy.guests.is_empty();
        if copy.is_own { field.is_personal() || !mails } else { field.is_personal() }
    }

    /// Brings the meeting's value into the copies, but for the one that it came from.
    fn spread(&mut self, change: &Change, from: Option<usize>, calendars: &[Calendar]) {
        // Made before or after, it says so.
        for (at, copy) in self.copies.iter_mut().filter(|(_, copy)| copy.standing == Standing::Maybe) {
            copy.says.take(change);
            copy.says = copy.says.held_by(calendars[*at].provider);
        }
        let source = self.source(calendars);
        let field = change.field();
        for at in self.copies.keys().copied().collect::<Vec<_>>() {
            let copy = &self.copies[&at];
            if from == Some(at) || !copy.is_linked() {
                continue;
            }
            let speaks = copy.is_own || source == Some(at);
            if !speaks || (field.is_personal() && source != Some(at)) {
                continue;
            }
            if self.is_writable(at, field, calendars) {
                self.least_requests += least::EVENT_WRITTEN;
                self.write(at, change, calendars);
            } else {
                self.has_left = true;
            }
        }
    }

    /// A value comes into a copy, and by the provider into its guests' copies.
    fn write(&mut self, at: usize, change: &Change, calendars: &[Calendar]) {
        let provider = calendars[at].provider;
        let Some(copy) = self.copies.get_mut(&at) else { return };
        copy.says.take(change);
        copy.says = copy.says.held_by(provider);
        if copy.is_own && !change.field().is_personal() {
            for follower in self.followers(at, calendars) {
                if let Some(copy) = self.copies.get_mut(&follower) {
                    copy.says.take(change);
                }
            }
            self.invite_anew(at, calendars);
        }
    }

    /// Outlook tells all who are invited of what the organiser writes: whoever declined finds it in the calendar again.
    fn invite_anew(&mut self, at: usize, calendars: &[Calendar]) {
        let Some(own) =
            self.copies.get(&at).filter(|_| calendars[at].provider == Provider::Microsoft).cloned()
        else {
            return;
        };
        let is_invited = |other: usize| own.guests.contains(&calendars[other].mail);
        let declined = |copy: &Copy| !copy.is_own && copy.standing == Standing::Gone;
        let again = self.copies.iter_mut().filter(|(other, copy)| is_invited(**other) && declined(copy));
        for (_, copy) in again {
            copy.says = own.says.clone();
            (copy.id, copy.standing, copy.tie) = (None, Standing::There, Tie::Waiting);
        }
    }

    /// The copies that the provider made of this one.
    fn followers(&self, at: usize, calendars: &[Calendar]) -> Vec<usize> {
        let Some(own) = self.copies.get(&at).filter(|copy| copy.is_own) else { return Vec::new() };
        let is_one = |(other, copy): &(&usize, &Copy)| {
            !copy.is_own
                && copy.standing == Standing::There
                && calendars[**other].provider == calendars[at].provider
                && own.guests.contains(&calendars[**other].mail)
        };
        self.copies.iter().filter(is_one).map(|(other, _)| *other).collect()
    }

    /// Somebody changes a value in a calendar.
    pub fn in_calendar(&mut self, at: usize, change: &Change, calendars: &[Calendar]) {
        self.touched.insert(change.field(), Side::Calendar(at));
        let is_source = self.source(calendars) == Some(at);
        let is_linked = self.copies[&at].is_linked() && self.meeting == Standing::There;
        let speaks = self.copies[&at].is_own || is_source;
        self.write(at, change, calendars);
        if matches!(self.meeting, Standing::Absent | Standing::Maybe) {
            // What it says when it is born is what its event says then.
            self.says.take(change);
        } else if is_linked && speaks && (is_source || !change.field().is_personal()) {
            self.least_requests += least::MEETING;
            self.says.take(change);
            self.spread(change, Some(at), calendars);
        }
    }

    /// Somebody changes a value in the CRM.
    pub fn in_crm(&mut self, change: &Change, calendars: &[Calendar]) {
        self.touched.insert(change.field(), Side::Crm);
        self.says.take(change);
        self.spread(change, None, calendars);
    }

    /// Two people change the same field on both sides, with nothing in between.
    pub fn clash(
        &mut self,
        at: usize,
        in_calendar: &Change,
        in_crm: &Change,
        calendar_is_later: bool,
        calendars: &[Calendar],
    ) {
        self.is_closed = true;
        let wins = calendar_is_later && self.source(calendars) == Some(at);
        self.write(at, in_calendar, calendars);
        if wins {
            self.least_requests += least::MEETING;
            self.says.take(in_calendar);
            self.spread(in_calendar, Some(at), calendars);
        } else {
            self.in_crm(in_crm, calendars);
        }
    }

    /// A copy goes, and with it those that the provider made of it.
    fn remove(&mut self, at: usize, calendars: &[Calendar]) {
        for follower in self.followers(at, calendars) {
            if let Some(copy) = self.copies.get_mut(&follower) {
                (copy.standing, copy.tie) = (Standing::Gone, Tie::Ended);
            }
        }
        if let Some(copy) = self.copies.get_mut(&at) {
            (copy.standing, copy.tie) = (Standing::Gone, Tie::Ended);
        }
    }

    /// The meeting is no more: its events go where that reaches nobody. One that was edited stays.
    fn meeting_goes(&mut self, edited: Option<usize>, calendars: &[Calendar]) {
        self.meeting = Standing::Gone;
        for at in self.copies.keys().copied().collect::<Vec<_>>() {
            let copy = &self.copies[&at];
            if !copy.is_linked() {
                continue;
            }
            let silent = calendars[at].provider == Provider::Google || copy.guests.is_empty();
            if copy.is_own && silent && edited != Some(at) {
                self.least_requests += least::DELETED;
                self.remove(at, calendars);
            } else if let Some(copy) = self.copies.get_mut(&at) {
                copy.tie = Tie::Ended;
            }
        }
    }

    /// Somebody deletes an event; where `edited`, the meeting was edited at the same time.
    pub fn delete_in_calendar(&mut self, at: usize, edited: Option<&Change>, calendars: &[Calendar]) {
        self.is_closed = true;
        let is_source = self.source(calendars) == Some(at) && self.copies[&at].is_linked();
        let is_last = self.copies.values().filter(|copy| copy.is_linked()).count() == 1;
        let speaks = self.copies[&at].is_own || is_last;
        // The meeting is deleted, or says that it has been removed here.
        self.least_requests += if self.copies[&at].is_linked() { least::MEETING } else { 0 };
        self.remove(at, calendars);
        if let Some(change) = edited {
            self.says.take(change);
            self.spread(change, None, calendars);
        } else if is_source && speaks && self.is_planned && self.meeting == Standing::There {
            self.meeting_goes(None, calendars);
        }
        if self.meeting == Standing::Absent {
            self.meeting = Standing::Gone;
        }
    }

    /// Somebody deletes the meeting; where `edited`, that event was edited at the same time.
    pub fn delete_in_crm(&mut self, edited: Option<(usize, &Change)>, calendars: &[Calendar]) {
        self.is_closed = true;
        if let Some((at, change)) = edited {
            self.write(at, change, calendars);
        }
        self.meeting_goes(edited.map(|(at, _)| at), calendars);
    }

    /// What the flow has to have made by now.
    pub fn follow(&mut self, now: Timestamp, reach: Reach, users: &[User], calendars: &[Calendar]) {
        if matches!(self.meeting, Standing::Absent | Standing::Maybe) {
            let born = self.copies.iter().filter(|(at, copy)| {
                copy.standing == Standing::There && copy.tie == Tie::Waiting && calendars[**at].is_served()
            });
            let inside = born.map(|(at, copy)| {
                let (from, to) = self.stretch(&copy.says);
                (*at, reach.of(now, from, to))
            });
            let found: Vec<(usize, Inside)> = inside.collect();
            if found.iter().any(|(_, inside)| *inside == Inside::Yes) {
                self.least_requests += least::MEETING;
                self.meeting = Standing::There;
            } else if found.iter().any(|(_, inside)| *inside == Inside::Unsure) {
                self.meeting = Standing::Maybe;
            }
        }
        if !matches!(self.meeting, Standing::There | Standing::Maybe) {
            return;
        }
        // Where the meeting may have been made, so may the events that follow from it.
        let is_sure = self.meeting == Standing::There;
        let served = self.copies.iter_mut().filter(|(at, _)| is_sure && calendars[**at].is_served());
        for copy in served.map(|(_, copy)| copy) {
            if copy.tie == Tie::Waiting && copy.standing == Standing::There {
                self.least_requests += if copy.is_own && !copy.is_ours { least::STAMP } else { 0 };
                copy.tie = Tie::Linked;
            }
        }
        let (from, to) = self.stretch(&self.says);
        let inside = reach.of(now, from, to);
        for (at, calendar) in calendars.iter().enumerate() {
            let known = self.copies.get(&at).is_some_and(|copy| copy.standing != Standing::Maybe);
            // What the flow makes invites nobody at another provider's: it sends no mail.
            let arrives =
                |at: usize, copy: &Copy| !copy.is_ours || calendars[at].provider == calendar.provider;
            let invited = self.copies.iter().any(|(at, copy)| {
                copy.standing == Standing::There && copy.guests.contains(&calendar.mail) && arrives(*at, copy)
            });
            let theirs = self.users.contains(&calendar.user) && calendar.is_served();
            if known || invited || !theirs || self.is_not_held || inside == Inside::No {
                continue;
            }
            let is_there = is_sure && inside == Inside::Yes;
            self.least_requests += if is_there { least::EVENT_MADE } else { 0 };
            let standing = if is_there { Standing::There } else { Standing::Maybe };
            let tie = if is_there { Tie::Linked } else { Tie::Waiting };
            let mut guests = match calendar.provider {
                Provider::Google => self.invited_by_us(users, calendars, calendar),
                Provider::Microsoft => BTreeSet::new(),
            };
            // Nobody is invited twice. By which event depends on which calendar was served first: see `learn`.
            let there = || self.copies.values().filter(|copy| copy.standing != Standing::Gone);
            guests.retain(|mail| !there().any(|copy| copy.guests.contains(mail)));
            let says = self.says.held_by(calendar.provider);
            // Google puts it into the calendars of those whom it invites, also where these are not connected.
            let invited = |(_, other): &(usize, &Calendar)| {
                other.provider == calendar.provider && guests.contains(&other.mail)
            };
            for (other, _) in calendars.iter().enumerate().filter(invited) {
                let (says, guests) = (says.clone(), BTreeSet::new());
                let (is_own, is_ours, tie) = (false, false, Tie::Waiting);
                let copy = Copy { id: None, says, is_own, is_ours, standing, tie, guests };
                self.copies.entry(other).or_insert(copy);
            }
            let (is_own, is_ours) = (true, true);
            self.copies.insert(at, Copy { id: None, says, is_own, is_ours, standing, tie, guests });
        }
    }

    /// Notes which copy speaks first.
    pub fn hear(&mut self, calendars: &[Calendar]) {
        let source = self.source(calendars);
        self.spoke = self.spoke.or(source);
        self.spoke_another |= source.is_some() && source != self.spoke;
    }

    /// Whom an event of ours invites: people of the meeting who have no calendar of their own.
    fn invited_by_us(&self, users: &[User], calendars: &[Calendar], of: &Calendar) -> BTreeSet<String> {
        let has_calendar = |user: usize| calendars.iter().any(|c| c.user == user && c.is_connected);
        let colleagues = self.users.iter().filter(|user| **user != of.user && !has_calendar(**user));
        let contacts = self.contacts.iter().map(|contact| contact_mail(*contact));
        colleagues.map(|user| users[*user].mail.clone()).chain(contacts).collect()
    }

    /// Whether all of it lies in the window, beyond doubt.
    pub fn is_inside(&self, now: Timestamp, reach: Reach) -> bool {
        self.lies(now, reach).all(|inside| inside == Inside::Yes)
    }

    /// Whether some calendars' windows may have it, and others not.
    pub fn is_at_edge(&self, now: Timestamp, reach: Reach) -> bool {
        self.lies(now, reach).any(|inside| inside == Inside::Unsure)
    }

    /// Where the meeting lies, and each of its events.
    fn lies(&self, now: Timestamp, reach: Reach) -> impl Iterator<Item = Inside> {
        let is_there = |copy: &&Copy| copy.standing == Standing::There;
        let said = self.copies.values().filter(is_there).map(|copy| &copy.says);
        said.chain([&self.says]).map(move |says| {
            let (from, to) = self.stretch(says);
            reach.of(now, from, to)
        })
    }

    /// Whether it is known to differ: what could not be carried over, or an event that outlived its meeting.
    pub fn stays_different(&self) -> bool {
        let is_left = |copy: &Copy| copy.standing == Standing::There;
        self.has_left || self.meeting == Standing::Gone && self.copies.values().any(is_left)
    }

    /// What both sides agreed on is forgotten.
    pub fn forget(&mut self, calendars: &[Calendar]) {
        let shared =
            |says: &Says| (says.subject.clone(), says.when.span(), says.body.clone(), says.location.clone());
        let source = self.source(calendars).map(|at| shared(&self.copies[&at].says));
        self.is_undecided = self.has_left && source.is_some_and(|source| source != shared(&self.says));
    }

    /// All was seen to agree.
    pub fn settle(&mut self) {
        self.touched.clear();
        (self.is_closed, self.is_old) = (false, true);
    }
}

/// Of the n-th person that the CRM knows and who is no user.
pub fn contact_mail(contact: usize) -> String {
    format!("kontakt{contact}@mandant.example")
}

/// Of somebody whom the CRM does not know.
pub fn stranger_mail(stranger: usize) -> String {
    format!("gast{stranger}@draussen.example")
}

impl Affair {
    /// Whether that copy of a guest follows an organiser whose calendar is one of ours.
    pub fn followed(&self, at: usize, calendars: &[Calendar]) -> bool {
        self.copies.values().any(|copy| copy.is_own && copy.guests.contains(&calendars[at].mail))
    }

    /// What users answered, as far as the organiser's calendar, which the provider tells of it, is linked.
    pub fn heard<'a>(&'a self, calendars: &'a [Calendar]) -> impl Iterator<Item = (usize, bool)> + 'a {
        let invites = move |user: usize| {
            let mails = calendars.iter().filter(move |calendar| calendar.user == user).map(|it| &it.mail);
            let own = self.copies.values().filter(|copy| copy.is_own && copy.is_linked());
            mails.into_iter().any(|mail| own.clone().any(|copy| copy.guests.contains(mail)))
        };
        self.answers.iter().map(|(user, accepts)| (*user, *accepts)).filter(move |(user, _)| invites(*user))
    }

    /// A user says whether they come.
    pub fn answer(&mut self, user: usize, accepts: bool, calendars: &[Calendar]) {
        let is_news = self.answers.insert(user, accepts) != Some(accepts);
        let is_heard = self.heard(calendars).any(|(other, _)| other == user);
        self.least_requests += if is_news && is_heard { least::MEETING } else { 0 };
    }

    /// What the calendar says of one day of the series.
    pub fn on_day(&self, at: usize, date: Date) -> Says {
        match self.slots.get(&date) {
            Some(Slot::Changed(says)) => says.clone(),
            _ => {
                let says = &self.copies[&at].says;
                Says { when: says.when.on(date), ..says.clone() }
            }
        }
    }

    /// Somebody changes or deletes one day of the series in a calendar: it is that day in all that have the series.
    pub fn in_slot(&mut self, at: usize, date: Date, change: Option<&Change>, calendars: &[Calendar]) {
        let slot = change.map_or(Slot::Gone, |change| {
            let mut says = self.on_day(at, date);
            says.take(change);
            Slot::Changed(says)
        });
        self.touched.insert(Field::When, Side::Calendar(at));
        // The series leaves the day out; what changed has a meeting of its own.
        self.least_requests += least::MEETING;
        self.least_requests += if change.is_some() { least::MEETING + least::STAMP } else { 0 };
        let others = self.copies.iter().filter(|(other, copy)| {
            **other != at && copy.is_own && copy.is_linked() && calendars[**other].is_served()
        });
        let stamp = if change.is_some() && !self.slots.contains_key(&date) { least::STAMP } else { 0 };
        self.least_requests += others.count() as u64 * (least::EVENT_WRITTEN + stamp);
        self.slots.insert(date, slot);
    }
}
