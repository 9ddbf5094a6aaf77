//! The canonical event: what a calendar's event and a CRM's meeting or call say, in one form, and how it is compared.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit, Zoned};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::further::{CATEGORIES_MAX, Further};
use super::series::Series;
use super::zones;

/// Longest subject and location, in characters: what EspoCRM's and Outlook's fields hold.
pub const LINE_CHARS_MAX: usize = 255;
/// Longest body, in bytes. What is longer is somebody's mistake, and would be carried in every link.
pub const BODY_BYTES_MAX: usize = 64 * 1_024;
/// Attendees at most: Outlook's own limit.
pub const ATTENDEES_MAX: usize = 500;
/// Reminders at most; Google holds 5.
pub const REMINDERS_MAX: usize = 20;

/// When it takes place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// From one instant to another, in the zone it was made in.
    Timed {
        /// Start.
        start: Zoned,
        /// End, not before the start.
        end: Zoned,
    },
    /// Whole days: dates, and no midnights of any zone.
    AllDay {
        /// The first day.
        first: Date,
        /// The day after the last one.
        after: Date,
    },
}

/// Instants are compared as instants: a zone is how they are shown. Where a rule hangs on the zone, [`Series`] has it.
impl PartialEq for When {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Timed { start, end }, Self::Timed { start: s, end: e }) => {
                start.timestamp() == s.timestamp() && end.timestamp() == e.timestamp()
            }
            (Self::AllDay { first, after }, Self::AllDay { first: f, after: a }) => first == f && after == a,
            (Self::Timed { .. }, Self::AllDay { .. }) | (Self::AllDay { .. }, Self::Timed { .. }) => false,
        }
    }
}

impl Eq for When {}

impl When {
    /// Whether it is about whole days.
    pub fn is_all_day(&self) -> bool {
        matches!(self, Self::AllDay { .. })
    }

    /// The last day of whole days, as EspoCRM counts.
    pub fn last_day(&self) -> Option<Date> {
        match self {
            Self::Timed { .. } => None,
            Self::AllDay { after, .. } => Some(after.yesterday().unwrap_or(*after)),
        }
    }

    /// Whether it touches a stretch of time. Whole days are taken as long as they last anywhere on earth.
    pub fn touches(&self, from: Timestamp, to: Timestamp) -> bool {
        let (start, end) = match self {
            Self::Timed { start, end } => (start.timestamp(), end.timestamp()),
            Self::AllDay { first, after } => (edge(*first, -14), edge(*after, 14)),
        };
        start < to && (end > from || (start == end && start >= from))
    }

    /// An instant by which it has started, in whatever zone whole days are meant.
    pub fn started_by(&self) -> Timestamp {
        match self {
            Self::Timed { start, .. } => start.timestamp(),
            Self::AllDay { first, .. } => edge(*first, 14),
        }
    }

    fn normalized(self) -> Self {
        match self {
            Self::Timed { start, end } => Self::Timed { start: to_seconds(&start), end: to_seconds(&end) },
            Self::AllDay { .. } => self,
        }
    }

    fn check(&self) -> Result<(), Unfit> {
        let ordered = match self {
            Self::Timed { start, end } => start.timestamp() <= end.timestamp(),
            Self::AllDay { first, after } => first < after,
        };
        if ordered { Ok(()) } else { Err(Unfit::EndBeforeStart) }
    }
}

/// EspoCRM's times have seconds.
fn to_seconds(time: &Zoned) -> Zoned {
    let rounding = jiff::ZonedRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    time.round(rounding).unwrap_or_else(|_| time.clone())
}

fn edge(day: Date, hours: i64) -> Timestamp {
    let end = if hours < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let midnight = day.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    midnight.and_then(|at| at.checked_add(Span::new().hours(hours))).unwrap_or(end)
}

/// The stretch of time that is synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From when, inclusive.
    pub from: Timestamp,
    /// To when, exclusive.
    pub to: Timestamp,
}

impl Window {
    /// Whether an event touches it; a series does when one of its occurrences does. A rule that cannot be counted
    /// counts as inside, so that somebody hears of it.
    pub fn has(&self, event: &Event) -> bool {
        match event.place.series() {
            None => event.when.touches(self.from, self.to),
            Some(series) => {
                let found = series.occurrences(&event.when, self.from, self.to);
                found.map_or(true, |found| !found.is_empty())
            }
        }
    }
}

/// How the time is shown to others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Busy {
    /// Free.
    Free,
    /// Perhaps busy.
    Tentative,
    /// Busy.
    #[default]
    Busy,
    /// Out of office.
    OutOfOffice,
    /// Working elsewhere.
    Elsewhere,
}

/// What an attendee answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Nothing yet.
    #[default]
    None,
    /// Comes.
    Accepted,
    /// Comes perhaps.
    Tentative,
    /// Does not come.
    Declined,
}

/// Who an attendee is to us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The CRM has no such person: stays in the calendar only.
    #[default]
    Unknown,
    /// A person of the CRM.
    Known,
    /// A user whose own calendar is synchronised: has the meeting there and is not invited by us.
    Connected,
}

/// One attendee.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attendee {
    /// Name to show.
    pub name: String,
    /// What they answered.
    pub response: Response,
    /// Who they are to us.
    pub reach: Reach,
    /// By which address the calendar knows them, where the CRM knows them by another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Attendee {
    /// The address in the calendar of somebody who is known by `mail`.
    pub fn address<'a>(&'a self, mail: &'a str) -> &'a str {
        self.address.as_deref().unwrap_or(mail)
    }
}

/// Attendees by mail address in lower case: their order says nothing. The user of the pair's calendar is not among them.
pub type Attendees = BTreeMap<String, Attendee>;

/// The start that an occurrence of a series had, or has, by its rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginalStart {
    /// Of a series with times.
    At(Timestamp),
    /// Of a series of whole days.
    On(Date),
}

impl OriginalStart {
    /// The form that is kept in fields and keys.
    pub fn text(&self) -> String {
        match self {
            Self::At(at) => at.to_string(),
            Self::On(day) => day.to_string(),
        }
    }
}

impl PartialEq for OriginalStart {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for OriginalStart {}

impl PartialOrd for OriginalStart {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OriginalStart {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text().cmp(&other.text())
    }
}

/// What the event is within a series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// No series.
    #[default]
    Single,
    /// The series itself.
    Master(Series),
    /// One of a series, as its rule makes it.
    Occurrence {
        /// The calendar's id of the series.
        series_id: String,
        /// Its start by the rule.
        original: OriginalStart,
    },
    /// One of a series, changed by itself.
    Exception {
        /// The calendar's id of the series.
        series_id: String,
        /// Its start by the rule.
        original: OriginalStart,
    },
}

impl Place {
    /// The rule, for a series.
    pub fn series(&self) -> Option<&Series> {
        match self {
            Self::Master(series) => Some(series),
            Self::Single | Self::Occurrence { .. } | Self::Exception { .. } => None,
        }
    }

    /// The start by the rule, for one of a series.
    pub fn original(&self) -> Option<&OriginalStart> {
        match self {
            Self::Occurrence { original, .. } | Self::Exception { original, .. } => Some(original),
            Self::Single | Self::Master(_) => None,
        }
    }
}

/// What both sides can say of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// One line.
    pub subject: String,
    /// When.
    pub when: When,
    /// Plain text, without the list of attendees that we append for Outlook.
    pub body: String,
    /// Where, one line.
    pub location: String,
    /// How it is shown to others.
    pub busy: Busy,
    /// Not to be seen by others.
    pub private: bool,
    /// Minutes before the start.
    pub reminders: BTreeSet<u32>,
    /// Where to join online. Made by the calendar, never written to it.
    pub online_link: Option<String>,
    /// Who is invited.
    pub attendees: Attendees,
    /// Rule, or place within a series.
    pub place: Place,
    /// What is carried over only where it is asked for.
    #[serde(default)]
    pub further: Further,
}

/// What is compared and written as one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Subject.
    Subject,
    /// Start, end and whether it is all-day.
    When,
    /// Body.
    Body,
    /// Location.
    Location,
    /// How it is shown to others.
    Busy,
    /// Private flag.
    Private,
    /// Reminders.
    Reminders,
    /// Where to join online.
    OnlineLink,
    /// Attendees.
    Attendees,
    /// The rule of a series.
    Recurrence,
    /// Categories.
    Categories,
    /// How important it is.
    Importance,
    /// Where it is shown in the browser.
    WebLink,
}

impl Field {
    /// All of them, in the order in which they are compared.
    pub const ALL: [Self; 13] = [
        Self::Subject,
        Self::When,
        Self::Body,
        Self::Location,
        Self::Busy,
        Self::Private,
        Self::Reminders,
        Self::OnlineLink,
        Self::Attendees,
        Self::Recurrence,
        Self::Categories,
        Self::Importance,
        Self::WebLink,
    ];

    /// Whether it is the calendar's user's own affair, and no other attendee's.
    pub fn is_personal(self) -> bool {
        matches!(self, Self::Busy | Self::Private | Self::Reminders | Self::Categories | Self::WebLink)
    }
}

/// Why an event cannot be synchronised as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unfit {
    /// End before start.
    #[error("it ends before it starts; correct its times")]
    EndBeforeStart,
    /// No subject: EspoCRM requires a name.
    #[error("its subject or location is longer than {LINE_CHARS_MAX} characters; shorten it")]
    LineTooLong,
    /// Body beyond the bound.
    #[error("its body is longer than {BODY_BYTES_MAX} bytes; shorten it")]
    BodyTooLong,
    /// Attendees beyond the bound.
    #[error("it has more than {ATTENDEES_MAX} attendees; it is left alone")]
    TooManyAttendees,
    /// Reminders beyond the bound.
    #[error("it has more than {REMINDERS_MAX} reminders; remove some")]
    TooManyReminders,
    /// Categories beyond the bounds.
    #[error(
        "it has more than {CATEGORIES_MAX} categories, or one of more than {LINE_CHARS_MAX} characters; remove some"
    )]
    TooManyCategories,
}

impl Event {
    /// An event of nothing but this.
    pub fn new(subject: &str, when: When) -> Self {
        Self {
            subject: line(subject),
            when: when.normalized(),
            body: String::new(),
            location: String::new(),
            busy: Busy::default(),
            private: false,
            reminders: BTreeSet::new(),
            online_link: None,
            attendees: Attendees::new(),
            place: Place::Single,
            further: Further::default(),
        }
    }

    /// The form that is compared: trimmed, NFC, one kind of line end, whole seconds, addresses in lower case.
    #[must_use]
    pub fn normalized(self) -> Self {
        let attendees = self.attendees.into_iter().map(|(mail, attendee)| {
            (line(&mail).to_lowercase(), Attendee { name: line(&attendee.name), ..attendee })
        });
        Self {
            subject: line(&self.subject),
            when: self.when.normalized(),
            body: text(&self.body),
            location: line(&self.location),
            online_link: self.online_link.map(|link| line(&link)).filter(|link| !link.is_empty()),
            attendees: attendees.filter(|(mail, _)| !mail.is_empty()).collect(),
            further: self.further.normalized(),
            ..self
        }
    }

    /// Whether it can be synchronised.
    ///
    /// # Errors
    /// [`Unfit`] with the reason, for a person.
    pub fn check(&self) -> Result<(), Unfit> {
        self.when.check()?;
        if [&self.subject, &self.location].iter().any(|line| line.chars().count() > LINE_CHARS_MAX) {
            return Err(Unfit::LineTooLong);
        }
        if self.body.len() > BODY_BYTES_MAX {
            return Err(Unfit::BodyTooLong);
        }
        if self.attendees.len() > ATTENDEES_MAX {
            return Err(Unfit::TooManyAttendees);
        }
        if self.reminders.len() > REMINDERS_MAX {
            return Err(Unfit::TooManyReminders);
        }
        let categories = &self.further.categories;
        let is_long = |category: &String| category.chars().count() > LINE_CHARS_MAX;
        if categories.len() > CATEGORIES_MAX || categories.iter().any(is_long) {
            return Err(Unfit::TooManyCategories);
        }
        Ok(())
    }

    /// Whether two events say the same in one field.
    pub fn same(&self, other: &Self, field: Field) -> bool {
        match field {
            Field::Subject => self.subject == other.subject,
            Field::When => self.when == other.when,
            Field::Body => self.body == other.body,
            Field::Location => self.location == other.location,
            Field::Busy => self.busy == other.busy,
            Field::Private => self.private == other.private,
            Field::Reminders => self.reminders == other.reminders,
            Field::OnlineLink => self.online_link == other.online_link,
            Field::Attendees => {
                let said = |event: &Self| -> Vec<(String, Response)> {
                    event.attendees.iter().map(|(mail, a)| (mail.clone(), a.response)).collect()
                };
                said(self) == said(other)
            }
            Field::Recurrence => match (self.place.series(), other.place.series()) {
                (Some(own), Some(others)) => own.is_like(others),
                (own, others) => own.is_none() && others.is_none(),
            },
            Field::Categories => self.further.categories == other.further.categories,
            Field::Importance => self.further.importance == other.further.importance,
            Field::WebLink => self.further.web_link == other.further.web_link,
        }
    }

    /// Takes one field over.
    pub fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Subject => self.subject.clone_from(&from.subject),
            Field::When => self.when = from.when.clone(),
            Field::Body => self.body.clone_from(&from.body),
            Field::Location => self.location.clone_from(&from.location),
            Field::Busy => self.busy = from.busy,
            Field::Private => self.private = from.private,
            Field::Reminders => self.reminders.clone_from(&from.reminders),
            Field::OnlineLink => self.online_link.clone_from(&from.online_link),
            Field::Attendees => self.attendees.clone_from(&from.attendees),
            Field::Recurrence => self.take_rule(from),
            Field::Categories => self.further.categories.clone_from(&from.further.categories),
            Field::Importance => self.further.importance = from.further.importance,
            Field::WebLink => self.further.web_link.clone_from(&from.further.web_link),
        }
    }

    /// One of a series has no rule of its own, and takes none.
    fn take_rule(&mut self, from: &Self) {
        if self.place.original().is_some() || from.place.original().is_some() {
            return;
        }
        self.place = from.place.clone();
        // With the rule comes the zone whose clock it follows.
        if self.when == from.when {
            self.when = from.when.clone();
        }
    }

    /// The rule as far as it has arrived where this one was written, occurrences to be left out by requests of their own;
    /// none where something else stands there, or all of it.
    pub fn rule_in_part(&self, arrived: &Self) -> Option<Place> {
        let (Place::Master(asked), Place::Master(found)) = (&self.place, &arrived.place) else { return None };
        let is_part = asked.has_rule_of(found)
            && found.gaps.is_subset(&asked.gaps)
            && found.gaps.len() < asked.gaps.len();
        is_part.then(|| arrived.place.clone())
    }

    /// Whether another event has the same rule, and leaves out what this one does, or more.
    pub fn leaves_out_no_more_than(&self, other: &Self) -> bool {
        let (Place::Master(own), Place::Master(others)) = (&self.place, &other.place) else { return false };
        own.has_rule_of(others) && own.gaps.is_subset(&others.gaps)
    }

    /// Fields in which two events differ.
    pub fn differences(&self, other: &Self) -> Vec<Field> {
        Field::ALL.into_iter().filter(|field| !self.same(other, *field)).collect()
    }

    /// One field for a person to read.
    pub fn show(&self, field: Field) -> String {
        match field {
            Field::Subject => self.subject.clone(),
            Field::When => match &self.when {
                When::Timed { start, end } => format!("{start} to {end}"),
                When::AllDay { first, .. } => {
                    format!("{first} to {}", self.when.last_day().unwrap_or(*first))
                }
            },
            Field::Body => self.body.clone(),
            Field::Location => self.location.clone(),
            Field::Busy => format!("{:?}", self.busy),
            Field::Private => self.private.to_string(),
            Field::Reminders => format!("{:?} minutes before", self.reminders),
            Field::OnlineLink => self.online_link.clone().unwrap_or_default(),
            Field::Attendees => self.attendees.keys().cloned().collect::<Vec<_>>().join(", "),
            Field::Recurrence => {
                self.place.series().map(|series| series.to_lines().join(" ")).unwrap_or_default()
            }
            Field::Categories => {
                self.further.categories.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            }
            Field::Importance => format!("{:?}", self.further.importance),
            Field::WebLink => self.further.web_link.clone().unwrap_or_default(),
        }
    }

    /// The zone it is shown in.
    pub fn zone(&self) -> Option<&TimeZone> {
        match &self.when {
            When::Timed { start, .. } => Some(start.time_zone()),
            When::AllDay { .. } => None,
        }
    }

    /// Whether both are shown in one zone, as far as vendors can tell.
    pub fn is_in_zone_of(&self, other: &Self) -> bool {
        match (self.zone(), other.zone()) {
            (Some(a), Some(b)) => zones::alike(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// One line: NFC, blanks and line ends between words as they are but for line ends, none around.
pub(super) fn line(value: &str) -> String {
    value.trim().replace("\r\n", " ").replace(['\r', '\n'], " ").nfc().collect()
}

/// Several lines: NFC, `\n` only, no blanks at the ends of lines, no empty lines around.
fn text(value: &str) -> String {
    let value = value.replace("\r\n", "\n").replace('\r', "\n").replace('\u{a0}', " ");
    let lines: Vec<&str> = value.split('\n').map(str::trim_end).collect();
    lines.join("\n").trim().nfc().collect()
}

/// First line of the list of attendees that stands in the body where attendees must not be written, since Outlook
/// would mail them.
const LIST_TITLE: &str = "-- Attendees (kept by the CRM):";

/// A body with the attendees listed below it.
pub fn with_list(body: &str, attendees: &Attendees) -> String {
    if attendees.is_empty() {
        return body.to_owned();
    }
    let gap = if body.is_empty() { "" } else { "\n\n" };
    format!("{body}{gap}{LIST_TITLE}\n{}", list(attendees).join("\n"))
}

/// The lines of the list.
pub fn list(attendees: &Attendees) -> Vec<String> {
    let line = |(mail, attendee): (&String, &Attendee)| match attendee.name.as_str() {
        "" => format!("- {mail}"),
        name => format!("- {name} <{mail}>"),
    };
    attendees.iter().map(line).collect()
}

/// Takes the list off a body: what is left of it, and the lines of the list. What a person wrote below the list stays
/// with the body.
pub fn split_list(body: &str) -> (String, Vec<String>) {
    let normalized = text(body);
    let lines: Vec<&str> = normalized.split('\n').collect();
    let Some(title) = lines.iter().position(|line| line.trim() == LIST_TITLE) else {
        return (normalized, Vec::new());
    };
    let listed: Vec<String> = lines[title + 1..]
        .iter()
        .take_while(|line| line.starts_with("- "))
        .map(|line| (*line).to_owned())
        .collect();
    let below = &lines[title + 1 + listed.len()..];
    let kept = [&lines[..title], below].concat().join("\n");
    (text(&kept), listed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    fn timed(start: &str, end: &str) -> When {
        When::Timed { start: at(start), end: at(end) }
    }

    #[test]
    fn instants_are_compared_as_instants_and_the_zone_is_kept() {
        let berlin = timed("2026-03-09T10:00[Europe/Berlin]", "2026-03-09T11:00[Europe/Berlin]");
        let utc = timed("2026-03-09T09:00[UTC]", "2026-03-09T10:00[UTC]");
        assert_eq!(berlin, utc);
        let event = Event::new("x", berlin).normalized();
        assert_eq!(event.zone().unwrap().iana_name(), Some("Europe/Berlin"));
        assert!(!event.is_in_zone_of(&Event::new("x", utc)));
    }

    #[test]
    fn whole_days_are_no_midnights() {
        let day = |n| jiff::civil::date(2026, 12, n);
        let all_day = When::AllDay { first: day(24), after: day(27) };
        assert_eq!(all_day.last_day(), Some(day(26)));
        assert_ne!(all_day, timed("2026-12-24T00:00[UTC]", "2026-12-27T00:00[UTC]"));
        let text = serde_json::to_string(&all_day).unwrap();
        assert_eq!(text, r#"{"all_day":{"first":"2026-12-24","after":"2026-12-27"}}"#);
    }

    #[test]
    fn what_touches_a_window_is_in_it() {
        let (from, to) = ("2026-03-01T00:00:00Z".parse().unwrap(), "2026-04-01T00:00:00Z".parse().unwrap());
        for (start, end, inside) in [
            ("2026-02-28T22:00[UTC]", "2026-03-01T00:00[UTC]", false),
            ("2026-02-28T22:00[UTC]", "2026-03-01T00:01[UTC]", true),
            ("2026-03-01T00:00[UTC]", "2026-03-01T00:00[UTC]", true),
            ("2026-03-31T23:59[UTC]", "2026-04-02T00:00[UTC]", true),
            ("2026-04-01T00:00[UTC]", "2026-04-01T01:00[UTC]", false),
        ] {
            assert_eq!(timed(start, end).touches(from, to), inside, "{start}");
        }
        let day = |d| When::AllDay { first: d, after: d.tomorrow().unwrap() };
        assert!(day(jiff::civil::date(2026, 2, 28)).touches(from, to), "it is still that day in Honolulu");
        assert!(!day(jiff::civil::date(2026, 2, 27)).touches(from, to));
    }

    #[test]
    fn what_cannot_be_synchronised_says_why() {
        let good = Event::new("x", timed("2026-03-09T09:00[UTC]", "2026-03-09T10:00[UTC]"));
        assert_eq!(good.check(), Ok(()));
        let backwards = Event::new("x", timed("2026-03-09T10:00[UTC]", "2026-03-09T09:00[UTC]"));
        assert_eq!(backwards.check(), Err(Unfit::EndBeforeStart));
        let day = jiff::civil::date(2026, 3, 9);
        assert_eq!(
            Event::new("x", When::AllDay { first: day, after: day }).check(),
            Err(Unfit::EndBeforeStart)
        );
        assert_eq!(Event { body: "x".repeat(1_000_000), ..good.clone() }.check(), Err(Unfit::BodyTooLong));
        let crowd = (0..5_000).map(|n| (format!("{n}@example.org"), Attendee::default())).collect();
        assert_eq!(Event { attendees: crowd, ..good.clone() }.check(), Err(Unfit::TooManyAttendees));
        assert_eq!(Event { subject: "ü".repeat(256), ..good }.check(), Err(Unfit::LineTooLong));
    }

    #[test]
    fn normal_forms_forgive_what_vendors_change() {
        let base = Event::new("x", timed("2026-03-09T09:00[UTC]", "2026-03-09T10:00[UTC]"));
        let sent = Event { subject: " Bu\u{308}ro ".into(), body: "a\r\nb  \r\n".into(), ..base.clone() };
        let mut got = Event { subject: "Büro".into(), body: "\na\nb\u{a0}".into(), ..base };
        got.attendees.insert("Erika@Example.ORG".into(), Attendee::default());
        let mut asked = sent.normalized();
        asked.attendees.insert("erika@example.org".into(), Attendee::default());
        assert_eq!(asked.differences(&got.normalized()), Vec::new());
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(subject in "\\PC{0,20}", body in "[a-zäü \u{308}\r\n\u{a0}-]{0,40}") {
            let when = timed("2026-03-09T09:00:00.123[Europe/Berlin]", "2026-03-09T10:00[UTC]");
            let once = Event { subject, body, ..Event::new("", when) }.normalized();
            prop_assert_eq!(once.clone().normalized(), once);
        }

        /// Whatever is in the body, and however the vendor mangles blanks, the list comes off again.
        #[test]
        fn a_list_of_attendees_comes_off_again(body in "[a-zäü \n-]{0,40}", names in proptest::collection::btree_map("[a-z]{1,5}@x\\.org", "[A-Z][a-z]{0,4}", 0..4)) {
            let attendees: Attendees =
                names.into_iter().map(|(mail, name)| (mail, Attendee { name, ..Attendee::default() })).collect();
            let body = text(&body);
            let sent = with_list(&body, &attendees).replace('\n', " \r\n");
            prop_assert_eq!(split_list(&sent), (body, list(&attendees)));
        }
    }
}
