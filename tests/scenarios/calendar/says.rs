//! What people write: into an event, or into a meeting of the CRM. Of no type of the product.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// IANA's name, and Windows' name.
pub type Zone = (&'static str, &'static str);

pub const ZONES: [Zone; 3] = [
    ("Europe/Berlin", "W. Europe Standard Time"),
    ("America/New_York", "Eastern Standard Time"),
    ("Asia/Kolkata", "India Standard Time"),
];

/// When it takes place, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    /// On a clock of some zone.
    Timed { start: DateTime, minutes: i64, zone: Zone },
    /// From one day on, for some days.
    Days { first: Date, days: i32 },
}

/// The same as all systems must agree on it: two instants, or the first and the last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    Timed(Timestamp, Timestamp),
    Days(Date, Date),
}

impl When {
    pub fn span(&self) -> Span {
        match *self {
            Self::Timed { start, minutes, zone } => {
                let at = instant(start, zone);
                Span::Timed(at, at + SignedDuration::from_mins(minutes))
            }
            Self::Days { first, days } => Span::Days(first, first + (days - 1).days()),
        }
    }

    /// Start and end as instants; of days, in UTC.
    pub fn instants(&self) -> (Timestamp, Timestamp) {
        match self.span() {
            Span::Timed(start, end) => (start, end),
            Span::Days(first, last) => (midnight(first), midnight(last + 1.day())),
        }
    }

    /// The same on another day.
    pub fn on(self, date: Date) -> Self {
        match self {
            Self::Timed { start, minutes, zone } => {
                Self::Timed { start: date.to_datetime(start.time()), minutes, zone }
            }
            Self::Days { days, .. } => Self::Days { first: date, days },
        }
    }

    pub fn date(&self) -> Date {
        match self {
            Self::Timed { start, .. } => start.date(),
            Self::Days { first, .. } => *first,
        }
    }

    pub fn is_days(&self) -> bool {
        matches!(self, Self::Days { .. })
    }
}

pub fn instant(wall: DateTime, zone: Zone) -> Timestamp {
    wall.to_zoned(TimeZone::get(zone.0).unwrap()).unwrap().timestamp()
}

pub fn midnight(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).unwrap().timestamp()
}

/// How the time is shown to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Free,
    Tentative,
    Busy,
    Out,
}

/// Whose calendars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    Google,
    Microsoft,
}

impl Provider {
    /// As it stands in keys of messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
        }
    }
}

/// What an event or a meeting says.
#[derive(Debug, Clone, PartialEq)]
pub struct Says {
    pub subject: String,
    pub when: When,
    pub body: String,
    pub location: String,
    pub show: Show,
    pub private: bool,
}

impl Says {
    pub fn take(&mut self, change: &Change) {
        match change.clone() {
            Change::Subject(subject) => self.subject = subject,
            Change::When(when) => self.when = when,
            Change::Body(body) => self.body = body,
            Change::Location(location) => self.location = location,
            Change::Show(show) => self.show = show,
            Change::Private(private) => self.private = private,
        }
    }

    /// With no more in it than such a calendar can say.
    pub fn held_by(&self, provider: Provider) -> Self {
        let show = match (provider, self.show) {
            (Provider::Google, Show::Tentative | Show::Out) => Show::Busy,
            (_, show) => show,
        };
        Self { show, ..self.clone() }
    }
}

/// One value that a person writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Subject(String),
    When(When),
    Body(String),
    Location(String),
    Show(Show),
    Private(bool),
}

impl Change {
    pub fn field(&self) -> Field {
        match self {
            Self::Subject(_) => Field::Subject,
            Self::When(_) => Field::When,
            Self::Body(_) => Field::Body,
            Self::Location(_) => Field::Location,
            Self::Show(_) => Field::Show,
            Self::Private(_) => Field::Private,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Subject,
    When,
    Body,
    Location,
    Show,
    Private,
}

impl Field {
    /// Whether it is one user's own affair.
    pub fn is_personal(self) -> bool {
        matches!(self, Self::Show | Self::Private)
    }
}

/// How often it takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub is_weekly: bool,
    pub times: i32,
}

impl Rule {
    /// The days on which it takes place by the rule.
    pub fn dates(self, first: Date) -> Vec<Date> {
        let step = if self.is_weekly { 7 } else { 1 };
        (0..self.times).map(|n| first + (n * step).days()).collect()
    }
}

/// The mark by which an affair is known in every system, whatever else its subject says.
pub fn mark(number: usize) -> String {
    format!("#{number}.")
}

/// The affair that a subject is about.
pub fn marked(subject: &str) -> Option<usize> {
    let (_, rest) = subject.rsplit_once('#')?;
    rest.split_once('.')?.0.parse().ok()
}
