//! What people do in a day: by a seed, weighted as in an office. What comes next depends on what is there.
//!
//! Where both sides write the same field, they do it within a minute and as one step, so that what must come of it
//! does not depend on when the flow looks. Apart from that a field is one side's until all agree again.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use simulators::Dice;

use super::affairs::{
    Affair, Calendar, Inside, Kind, Side, Slot, Standing, Tie, contact_mail, stranger_mail,
};
use super::says::{Change, Field, Rule, Says, Show, When, ZONES, mark};
use super::world::REACH;

/// People whom the CRM knows beside its users.
pub const CONTACTS: usize = 6;
const STRANGERS: usize = 4;

#[derive(Debug, Clone)]
pub enum SlotChange {
    Change(Change),
    Delete,
}

/// One step, and everything that belongs to it.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Somebody makes an event.
    Event {
        calendar: usize,
        says: Says,
        guests: BTreeSet<String>,
        rule: Option<Rule>,
    },
    /// An invitation of somebody outside comes into some calendars.
    Invitation {
        calendars: Vec<usize>,
        says: Says,
    },
    /// Somebody makes a meeting or call in the CRM.
    Meeting {
        kind: Kind,
        assigned: usize,
        users: BTreeSet<usize>,
        contacts: BTreeSet<usize>,
        says: Says,
    },
    InCalendar {
        affair: usize,
        calendar: usize,
        change: Change,
    },
    InCrm {
        affair: usize,
        change: Change,
    },
    /// The same field on both sides.
    Clash {
        affair: usize,
        calendar: usize,
        here: Change,
        there: Change,
        calendar_is_later: bool,
        seconds: u64,
    },
    DeleteEvent {
        affair: usize,
        calendar: usize,
    },
    DeleteMeeting {
        affair: usize,
    },
    /// An event is deleted while its meeting is edited.
    DeleteEventAgainst {
        affair: usize,
        calendar: usize,
        change: Change,
    },
    /// A meeting is deleted while one of its events is edited.
    DeleteMeetingAgainst {
        affair: usize,
        calendar: usize,
        change: Change,
    },
    Answer {
        affair: usize,
        calendar: usize,
        accepts: bool,
    },
    /// The meeting took place, or did not.
    Conclude {
        affair: usize,
        held: bool,
    },
    /// Copy and paste: all that hangs on the event comes with it.
    CopyEvent {
        affair: usize,
        calendar: usize,
        says: Says,
    },
    Slot {
        affair: usize,
        calendar: usize,
        date: Date,
        change: SlotChange,
    },
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    pub now: Timestamp,
    pub users: usize,
    pub affairs: &'a [Affair],
    pub calendars: &'a [Calendar],
    /// What may be made in all.
    pub affairs_max: usize,
    /// Whether clocks change: then people work at night, too.
    pub is_at_night: bool,
}

#[derive(Debug)]
pub struct Script {
    pub dice: Dice,
    words: u64,
}

const WORDS: [&str; 8] = [
    "Besprechung",
    "Jour fixe",
    "Ärzterunde",
    "Termin Müller & Söhne",
    "Review",
    "Call <intern>",
    "Ortstermin",
    "Fristen",
];
const PLACES: [&str; 5] = ["Raum 7", "Köln, Dom", "Online", "Gericht (Saal 2)", ""];

impl Script {
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), words: 0 }
    }

    /// A day's instants, in order.
    pub fn instants(&mut self, day: Date, count: usize) -> Vec<Timestamp> {
        let begin = super::says::midnight(day);
        let hour = |h: i64| begin + jiff::SignedDuration::from_hours(h);
        let mut found: Vec<Timestamp> = Vec::new();
        while found.len() < count {
            let at = hour(6)
                + jiff::SignedDuration::from_secs(i64::try_from(self.dice.below(13 * 3_600)).unwrap());
            found.push(at);
            // Some come within the same minute.
            if self.dice.chance(0.1) {
                found.push(at + jiff::SignedDuration::from_secs(i64::try_from(self.dice.below(50)).unwrap()));
            }
        }
        found.sort_unstable();
        found
    }

    fn word(&mut self) -> u64 {
        self.words += 1;
        self.words
    }

    fn among<T: Clone>(&mut self, options: &[T]) -> Option<T> {
        options.get(self.dice.below(options.len())).cloned()
    }

    fn days_ahead(&mut self) -> i64 {
        let below = |dice: &mut Dice, n| i64::try_from(dice.below(n)).unwrap();
        match self.dice.below(20) {
            // So far away that it does not come into the window by itself in a month: Google's calendars are not read again
            // for that (known, and to be decided by the flow).
            0 => 100 + below(&mut self.dice, 40),
            1 => -40 - below(&mut self.dice, 20),
            2..=4 => 15 + below(&mut self.dice, 20),
            _ => below(&mut self.dice, 15),
        }
    }

    fn when(&mut self, present: Present<'_>, may_be_days: bool) -> When {
        let today = present.now.to_zoned(TimeZone::UTC).date();
        let date = today + self.days_ahead().days();
        self.when_on(date, present.is_at_night, may_be_days)
    }

    fn when_on(&mut self, date: Date, is_at_night: bool, may_be_days: bool) -> When {
        if may_be_days && self.dice.chance(0.12) {
            return When::Days { first: date, days: 1 + i32::try_from(self.dice.below(3)).unwrap() };
        }
        let zone = match self.dice.below(10) {
            0 => ZONES[1],
            1 => ZONES[2],
            _ => ZONES[0],
        };
        let hour = if is_at_night { self.dice.below(24) } else { 7 + self.dice.below(12) };
        let minute = [0, 15, 30, 45][self.dice.below(4)];
        let start: DateTime = date.at(i8::try_from(hour).unwrap(), minute, 0, 0);
        let minutes = [15, 30, 45, 60, 90, 480][self.dice.below(6)];
        When::Timed { start, minutes, zone }
    }

    fn says(&mut self, number: usize, when: When) -> Says {
        let subject = self.subject(number);
        let body = self.body();
        Says {
            subject,
            when,
            body,
            location: PLACES[self.dice.below(PLACES.len())].to_owned(),
            show: if self.dice.chance(0.1) { Show::Free } else { Show::Busy },
            private: self.dice.chance(0.05),
        }
    }

    fn subject(&mut self, number: usize) -> String {
        let word = WORDS[self.dice.below(WORDS.len())];
        format!("{word} {} {}", self.word(), mark(number))
    }

    fn body(&mut self) -> String {
        match self.dice.below(4) {
            0 => String::new(),
            1 => format!("Zeile {}\nzweite Zeile mit ä & [b]", self.word()),
            _ => format!("Notiz {}", self.word()),
        }
    }

    /// A value that differs from the present one.
    fn change(&mut self, field: Field, present: Present<'_>, number: usize, says: &Says) -> Change {
        match field {
            Field::Subject => Change::Subject(self.subject(number)),
            Field::Body => Change::Body(format!("Geändert {}\n– so", self.word())),
            Field::Location => Change::Location(format!("Raum {}", self.word())),
            Field::Show => Change::Show(if says.show == Show::Free { Show::Busy } else { Show::Free }),
            Field::Private => Change::Private(!says.private),
            Field::When => loop {
                let when = self.when(present, true);
                if when.span() != says.when.span() {
                    return Change::When(when);
                }
            },
        }
    }

    fn field(&mut self, affair: &Affair) -> Field {
        let fields: &[Field] = match affair.rule {
            // A new time or rule drops what was changed by itself: not told apart here.
            Some(_) => &[Field::Subject, Field::Body, Field::Location],
            None => &[
                Field::Subject,
                Field::Subject,
                Field::When,
                Field::When,
                Field::Body,
                Field::Location,
                Field::Show,
                Field::Private,
            ],
        };
        fields[self.dice.below(fields.len())]
    }

    /// The next step; none where nothing fits.
    pub fn next(&mut self, present: Present<'_>) -> Option<Edit> {
        let room = present.affairs.len() < present.affairs_max;
        (0..20).find_map(|_| match self.dice.below(100) {
            0..=13 if room => self.event(present),
            14..=25 if room => self.meeting(present),
            26..=27 if room => self.invitation(present),
            28..=29 if room => self.copied(present),
            30..=53 => self.in_calendar(present),
            54..=72 => self.in_crm(present),
            73..=78 => self.clash(present),
            79..=83 => self.delete_event(present),
            84..=87 => self.delete_meeting(present),
            88..=90 => self.answer(present),
            91..=93 => self.conclude(present),
            94..=99 => self.slot(present),
            _ => None,
        })
    }

    /// A new affair, for the first days.
    pub fn make(&mut self, present: Present<'_>) -> Option<Edit> {
        if self.dice.chance(0.55) { self.event(present) } else { self.meeting(present) }
    }

    fn event(&mut self, present: Present<'_>) -> Option<Edit> {
        let served: Vec<usize> =
            (0..present.calendars.len()).filter(|at| present.calendars[*at].is_served()).collect();
        let calendar = self.among(&served)?;
        let own = &present.calendars[calendar];
        let number = present.affairs.len();
        let when = self.when(present, true);
        let says = self.says(number, when).held_by(own.provider);
        let rule = self.dice.chance(0.12).then(|| Rule {
            is_weekly: self.dice.chance(0.7),
            times: 3 + i32::try_from(self.dice.below(4)).unwrap(),
        });
        let rule = rule.filter(|_| when_is_ahead(&when, present.now));
        let guests =
            if rule.is_none() && self.dice.chance(0.3) { self.guests(present, own) } else { BTreeSet::new() };
        let when = match rule {
            Some(_) => without_clock_change(when),
            None => says.when,
        };
        Some(Edit::Event { calendar, says: Says { when, ..says }, guests, rule })
    }

    fn guests(&mut self, present: Present<'_>, own: &Calendar) -> BTreeSet<String> {
        let mut guests = BTreeSet::new();
        let colleagues: Vec<String> = present
            .calendars
            .iter()
            .filter(|other| other.provider == own.provider && other.user != own.user && other.is_served())
            // By what the CRM knows them by.
            .filter(|other| !other.mail.contains("privat"))
            .map(|other| other.mail.clone())
            .collect();
        for _ in 0..=self.dice.below(3) {
            match self.dice.below(4) {
                0 => guests.insert(contact_mail(self.dice.below(CONTACTS))),
                1 => guests.insert(stranger_mail(self.dice.below(STRANGERS))),
                _ => self.among(&colleagues).is_some_and(|mail| guests.insert(mail)),
            };
        }
        guests
    }

    fn invitation(&mut self, present: Present<'_>) -> Option<Edit> {
        // A further calendar of the same user would have an event of its own, and which one speaks depends on chance.
        let is_only = |user: usize| present.calendars.iter().filter(|it| it.user == user).count() == 1;
        let served: Vec<usize> = (0..present.calendars.len())
            .filter(|at| present.calendars[*at].is_served() && is_only(present.calendars[*at].user))
            .collect();
        let mut calendars: Vec<usize> = (0..2).filter_map(|_| self.among(&served)).collect();
        calendars.sort_unstable();
        calendars.dedup();
        let when = self.when(present, false);
        let says = Says { show: Show::Busy, private: false, ..self.says(present.affairs.len(), when) };
        (!calendars.is_empty()).then_some(Edit::Invitation { calendars, says })
    }

    fn meeting(&mut self, present: Present<'_>) -> Option<Edit> {
        let away = |user: usize| present.calendars.iter().any(|c| c.user == user && c.is_away);
        let free: Vec<usize> = (0..present.users).filter(|user| !away(*user)).collect();
        let assigned = self.among(&free)?;
        let mut users = BTreeSet::from([assigned]);
        if self.dice.chance(0.35) {
            users.extend((0..=self.dice.below(2)).filter_map(|_| self.among(&free)));
        }
        let mut contacts = BTreeSet::new();
        if self.dice.chance(0.2) {
            contacts.insert(self.dice.below(CONTACTS));
        }
        let kind = if self.dice.chance(0.2) { Kind::Call } else { Kind::Meeting };
        let when = self.when(present, kind == Kind::Meeting);
        let says = self.says(present.affairs.len(), when);
        Some(Edit::Meeting { kind, assigned, users, contacts, says })
    }

    /// An affair of which something can be said, and one of its copies that somebody may edit.
    fn editable(&mut self, present: Present<'_>) -> Option<(usize, usize)> {
        let affair = self.dice.below(present.affairs.len().max(1));
        let it = present.affairs.get(affair).filter(|it| !it.is_closed)?;
        let copies: Vec<usize> = it
            .copies
            .iter()
            .filter(|(_, copy)| copy.is_own && copy.id.is_some() && copy.standing == Standing::There)
            .filter(|(_, copy)| !is_history(&copy.says.when, present.now))
            .map(|(at, _)| *at)
            .collect();
        Some((affair, self.among(&copies)?))
    }

    fn in_calendar(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, calendar) = self.editable(present)?;
        let it = &present.affairs[affair];
        let field = self.field(it);
        if is_too_early(it, field) || !is_free(it, field, Side::Calendar(calendar)) {
            return None;
        }
        let says = &it.copies[&calendar].says;
        let change = self.change(field, present, it.number, says);
        let is_call = it.kind == Kind::Call && matches!(&change, Change::When(when) if when.is_days());
        (!is_call).then_some(Edit::InCalendar { affair, calendar, change })
    }

    fn in_crm(&mut self, present: Present<'_>) -> Option<Edit> {
        let affair = self.dice.below(present.affairs.len().max(1));
        let it = present.affairs.get(affair)?;
        let field = self.field(it);
        let known = it.meeting == Standing::There && it.id.is_some() && !it.is_closed;
        if is_too_early(it, field) || !known || !is_free(it, field, Side::Crm) {
            return None;
        }
        let change = self.change(field, present, it.number, &it.says);
        let is_call = it.kind == Kind::Call && matches!(&change, Change::When(when) if when.is_days());
        (!is_call).then_some(Edit::InCrm { affair, change })
    }

    /// One that was seen to agree, and that nobody has touched since.
    fn at_rest(&mut self, present: Present<'_>) -> Option<(usize, usize)> {
        let (affair, calendar) = self.editable(present)?;
        let it = &present.affairs[affair];
        let linked = it.copies[&calendar].tie == Tie::Linked;
        let certain = it.copies.values().all(|copy| copy.standing != Standing::Maybe);
        let present = it.copies.keys().all(|at| !present.calendars[*at].is_away);
        let rests = it.touched.is_empty() && it.meeting == Standing::There && it.id.is_some();
        // What could not be carried over counts as edited, for ever.
        (linked && certain && present && rests && !it.has_left).then_some((affair, calendar))
    }

    fn clash(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, calendar) = self.at_rest(present)?;
        let it = &present.affairs[affair];
        let seconds = 1 + self.dice.roll() % 50;
        let calendar_is_later = self.dice.chance(0.5);
        if self.dice.chance(0.4) && it.rule.is_none() {
            return self.against(present, affair, calendar);
        }
        let field = [Field::Subject, Field::Body, Field::Location][self.dice.below(3)];
        let here = self.change(field, present, it.number, &it.copies[&calendar].says);
        let there = self.change(field, present, it.number, &it.says);
        Some(Edit::Clash { affair, calendar, here, there, calendar_is_later, seconds })
    }

    fn against(&mut self, present: Present<'_>, affair: usize, calendar: usize) -> Option<Edit> {
        let it = &present.affairs[affair];
        let change = self.change(Field::Body, present, it.number, &it.says);
        if self.dice.chance(0.5) {
            return Some(Edit::DeleteMeetingAgainst { affair, calendar, change });
        }
        let is_source = it.source(present.calendars) == Some(calendar);
        is_source.then_some(Edit::DeleteEventAgainst { affair, calendar, change })
    }

    fn delete_event(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, calendar) = self.at_rest(present)?;
        Some(Edit::DeleteEvent { affair, calendar })
    }

    fn delete_meeting(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, _) = self.at_rest(present)?;
        Some(Edit::DeleteMeeting { affair })
    }

    fn answer(&mut self, present: Present<'_>) -> Option<Edit> {
        let affair = self.dice.below(present.affairs.len().max(1));
        let it = present.affairs.get(affair).filter(|it| !it.is_closed)?;
        let invited: Vec<usize> = it
            .copies
            .iter()
            .filter(|(at, copy)| {
                !copy.is_own
                    && copy.id.is_some()
                    && copy.standing == Standing::There
                    && !is_history(&copy.says.when, present.now)
                    && it.followed(**at, present.calendars)
            })
            .map(|(at, _)| *at)
            .collect();
        let calendar = self.among(&invited)?;
        Some(Edit::Answer { affair, calendar, accepts: self.dice.chance(0.7) })
    }

    fn conclude(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, _) = self.at_rest(present)?;
        let it = &present.affairs[affair];
        (it.is_planned && it.rule.is_none()).then(|| Edit::Conclude { affair, held: self.dice.chance(0.8) })
    }

    fn copied(&mut self, present: Present<'_>) -> Option<Edit> {
        let (affair, calendar) = self.at_rest(present)?;
        let it = &present.affairs[affair];
        if it.rule.is_some() || !it.copies[&calendar].guests.is_empty() {
            return None;
        }
        let when = self.when(present, false);
        let says = self.says(present.affairs.len(), when).held_by(present.calendars[calendar].provider);
        Some(Edit::CopyEvent { affair, calendar, says })
    }

    fn slot(&mut self, present: Present<'_>) -> Option<Edit> {
        let series: Vec<usize> = (0..present.affairs.len())
            .filter(|at| {
                let it = &present.affairs[*at];
                it.rule.is_some() && !it.is_closed && it.meeting == Standing::There
            })
            .collect();
        let affair = self.among(&series)?;
        let it = &present.affairs[affair];
        let own: Vec<usize> = it
            .copies
            .iter()
            .filter(|(_, copy)| copy.is_own && copy.id.is_some())
            .map(|(at, _)| *at)
            .collect();
        let calendar = &self.among(&own)?;
        let copy = &it.copies[calendar];
        if copy.standing != Standing::There || copy.tie != Tie::Linked || present.calendars[*calendar].is_away
        {
            return None;
        }
        // A day takes over what its calendar says of the series then, which may not yet be what was written elsewhere.
        if it.touched.values().any(|by| *by != Side::Calendar(*calendar)) {
            return None;
        }
        let dates: Vec<Date> = it
            .rule?
            .dates(copy.says.when.date())
            .into_iter()
            .filter(|date| it.slots.get(date) != Some(&Slot::Gone))
            // Of days outside the window Outlook says nothing.
            .filter(|date| {
                let noon = date.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).map(|noon| noon.timestamp());
                noon.is_ok_and(|noon| REACH.of(present.now, noon, noon) == Inside::Yes)
            })
            .collect();
        // One is left, at least.
        if dates.len() < 2 {
            return None;
        }
        let date = self.among(&dates)?;
        let change = match self.dice.below(3) {
            0 => SlotChange::Delete,
            1 => SlotChange::Change(Change::Subject(self.subject(it.number))),
            _ => {
                let present = match it.slots.get(&date) {
                    Some(Slot::Changed(says)) => says.when,
                    _ => copy.says.when.on(date),
                };
                let When::Timed { start, minutes, zone } = present else { return None };
                let hour = i8::try_from(7 + self.dice.below(12)).unwrap();
                let start = start.date().at(hour, 10, 0, 0).max(start.date().at(7, 0, 0, 0));
                SlotChange::Change(Change::When(When::Timed { start, minutes: minutes.min(240), zone }))
            }
        };
        Some(Edit::Slot { affair, calendar: *calendar, date, change })
    }
}

/// Whether it ended so long ago that nobody touches it in a calendar any more.
fn is_history(when: &When, now: Timestamp) -> bool {
    let (_, end) = when.instants();
    now.duration_since(end).as_hours() / 24 > REACH.back_days + 70
}

fn when_is_ahead(when: &When, now: Timestamp) -> bool {
    let (start, _) = when.instants();
    let days = start.duration_since(now).as_hours() / 24;
    (1..25).contains(&days)
}

/// A series at an hour that no zone leaves out.
fn without_clock_change(when: When) -> When {
    match when {
        When::Timed { start, minutes, zone } => {
            let hour = start.hour().clamp(7, 18);
            When::Timed {
                start: start.date().at(hour, start.minute(), 0, 0),
                minutes: minutes.min(480),
                zone,
            }
        }
        When::Days { first, .. } => When::Days { first, days: 1 },
    }
}

/// Whether what comes of it depends on who looks when: a move out of the window, of what may not have been carried over; and
/// what is personal, while an event that would speak for it may have been made.
fn is_too_early(affair: &Affair, field: Field) -> bool {
    if field.is_personal() && affair.copies.values().any(|copy| copy.standing == Standing::Maybe) {
        return true;
    }
    let is_alone = affair.meeting != Standing::There || affair.copies.is_empty();
    let is_moved_again = field == Field::When && is_alone && affair.touched.contains_key(&Field::When);
    is_moved_again || (field == Field::When || field.is_personal()) && !affair.is_old
}

/// Whether that side may write the field without getting into the other's way.
fn is_free(affair: &Affair, field: Field, side: Side) -> bool {
    let mut sides = affair.touched.iter();
    if affair.has_left {
        sides.all(|(_, by)| *by == side)
    } else {
        sides.all(|(f, by)| *f != field || *by == side)
    }
}
