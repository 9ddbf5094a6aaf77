//! An event as Graph shows it. Everything but the id may be missing: a delta round shows little of an occurrence, and what
//! is of no use to us is left out. Vendor: <https://learn.microsoft.com/graph/api/resources/event>.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// `event`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its id; the immutable one.
    pub id: String,
    /// Its version, for `If-Match`.
    #[serde(rename = "@odata.etag")]
    pub etag: Option<String>,
    /// The same in all calendars that hold a copy.
    pub i_cal_u_id: Option<String>,
    /// What it is within a series.
    #[serde(rename = "type")]
    pub kind: Option<EventType>,
    /// Of one of a series: the series' id.
    pub series_master_id: Option<String>,
    /// Of one of a series: its start by the rule.
    pub original_start: Option<Timestamp>,
    /// The zone that it was made in.
    pub original_start_time_zone: Option<String>,
    /// The zone that its end was made in.
    pub original_end_time_zone: Option<String>,
    /// When it was made; not written.
    #[serde(skip_serializing)]
    pub created_date_time: Option<Timestamp>,
    /// When it was last changed.
    pub last_modified_date_time: Option<Timestamp>,
    /// One line.
    pub subject: Option<String>,
    /// Body, of the type that was asked for.
    pub body: Option<Body>,
    /// Start.
    pub start: Option<DateTimeTimeZone>,
    /// End; exclusive for whole days.
    pub end: Option<DateTimeTimeZone>,
    /// Whether it is about whole days.
    pub is_all_day: Option<bool>,
    /// Whether its organiser cancelled it.
    pub is_cancelled: Option<bool>,
    /// Whether the mailbox's user is its organiser.
    pub is_organizer: Option<bool>,
    /// Its organiser.
    pub organizer: Option<Recipient>,
    /// What the mailbox's user answered; not written.
    #[serde(skip_serializing)]
    pub response_status: Option<ResponseStatus>,
    /// Where.
    pub location: Option<Location>,
    /// How it is shown to others.
    pub show_as: Option<ShowAs>,
    /// Who may see it.
    pub sensitivity: Option<Sensitivity>,
    /// The mailbox's own categories, by name.
    pub categories: Option<Vec<String>>,
    /// How important it is.
    pub importance: Option<Importance>,
    /// Where Outlook on the web shows it; not written.
    #[serde(skip_serializing)]
    pub web_link: Option<String>,
    /// Whether somebody is reminded.
    pub is_reminder_on: Option<bool>,
    /// When.
    pub reminder_minutes_before_start: Option<i32>,
    /// Who is invited. An attendee does not see the others where these are hidden.
    pub attendees: Option<Vec<Attendee>>,
    /// Whether an attendee sees no others.
    pub hide_attendees: Option<bool>,
    /// Whether it can be joined online.
    pub is_online_meeting: Option<bool>,
    /// Where.
    pub online_meeting: Option<OnlineMeeting>,
    /// The rule, for a series.
    pub recurrence: Option<Recurrence>,
    /// `OID.{id of the series}.{date}` of what was deleted; only where asked for by name.
    pub cancelled_occurrences: Option<Vec<String>>,
    /// Extended properties that were asked for.
    pub single_value_extended_properties: Option<Vec<ExtendedProperty>>,
}

/// What an event is within a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventType {
    /// None.
    SingleInstance,
    /// One of a series, as its rule makes it.
    Occurrence,
    /// One of a series, changed by itself.
    Exception,
    /// The series.
    SeriesMaster,
    /// What came later than this client.
    #[serde(other)]
    Unknown,
}

/// `itemBody`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// Type.
    pub content_type: BodyType,
    /// Content.
    pub content: String,
}

/// `bodyType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BodyType {
    /// Text.
    Text,
    /// HTML.
    Html,
}

/// A wall time with the name of its zone; no offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DateTimeTimeZone {
    /// `2026-03-09T10:00:00.0000000`.
    pub date_time: String,
    /// A Windows name, or one of some of IANA's.
    pub time_zone: String,
}

/// `location`, of which only the name is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Name.
    pub display_name: Option<String>,
}

/// `freeBusyStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShowAs {
    /// Free.
    Free,
    /// Tentative.
    Tentative,
    /// Busy.
    Busy,
    /// Out of office.
    Oof,
    /// Working elsewhere.
    WorkingElsewhere,
    /// Not said.
    #[serde(other)]
    Unknown,
}

/// `sensitivity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sensitivity {
    /// Normal.
    Normal,
    /// Personal: a hint to others, who see it all the same.
    Personal,
    /// Private.
    Private,
    /// Confidential.
    Confidential,
    /// What came later than this client.
    #[serde(other)]
    Unknown,
}

/// `importance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Importance {
    /// Low.
    Low,
    /// Neither.
    Normal,
    /// High.
    High,
    /// What came later than this client.
    #[serde(other)]
    Unknown,
}

/// `attendee`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attendee {
    /// Who.
    pub email_address: EmailAddress,
    /// How they are invited.
    #[serde(rename = "type")]
    pub kind: Option<AttendeeType>,
    /// What they answered; not written.
    #[serde(skip_serializing)]
    pub status: Option<ResponseStatus>,
}

/// `recipient`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Address.
    pub email_address: EmailAddress,
}

/// `emailAddress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailAddress {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address.
    pub address: Option<String>,
}

/// `attendeeType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttendeeType {
    /// Required.
    #[default]
    Required,
    /// Optional.
    Optional,
    /// A room or a thing.
    Resource,
}

/// `responseStatus`, without its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ResponseStatus {
    /// The answer.
    pub response: Option<Response>,
}

/// `responseType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// Organises it.
    Organizer,
    /// Comes perhaps.
    TentativelyAccepted,
    /// Comes.
    Accepted,
    /// Does not come.
    Declined,
    /// None, or not yet.
    #[serde(other)]
    None,
}

/// `onlineMeetingInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnlineMeeting {
    /// Where to join.
    pub join_url: Option<String>,
}

/// `singleValueLegacyExtendedProperty`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedProperty {
    /// `String {GUID} Name …`.
    pub id: String,
    /// Value.
    pub value: Option<String>,
}

/// `patternedRecurrence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurrence {
    /// On which days.
    pub pattern: Pattern,
    /// From when to when.
    pub range: Range,
}

/// `recurrencePattern`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pattern {
    /// Type.
    #[serde(rename = "type")]
    pub kind: PatternType,
    /// Every how many.
    #[serde(default)]
    pub interval: i32,
    /// 1 to 12, or 0.
    #[serde(default)]
    pub month: i32,
    /// 1 to 31, or 0.
    #[serde(default)]
    pub day_of_month: i32,
    /// Days of the week.
    #[serde(default)]
    pub days_of_week: Option<Vec<Day>>,
    /// Where a week begins.
    #[serde(default)]
    pub first_day_of_week: Option<Day>,
    /// Which of the days.
    #[serde(default)]
    pub index: Option<WeekIndex>,
}

/// `recurrencePatternType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PatternType {
    /// Every n-th day.
    Daily,
    /// Days of the week.
    Weekly,
    /// A day of the month.
    AbsoluteMonthly,
    /// The n-th weekday of the month.
    RelativeMonthly,
    /// A day of the year.
    AbsoluteYearly,
    /// The n-th weekday of a month of the year.
    RelativeYearly,
}

/// `dayOfWeek`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Day {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

/// `weekIndex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WeekIndex {
    /// First.
    First,
    /// Second.
    Second,
    /// Third.
    Third,
    /// Fourth.
    Fourth,
    /// Last.
    Last,
}

/// `recurrenceRange`. What does not belong to its type is left out when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// Type.
    #[serde(rename = "type")]
    pub kind: RangeType,
    /// The first day on which it may take place.
    pub start_date: Date,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Date>,
    /// How many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_of_occurrences: Option<i32>,
    /// The zone whose clock it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence_time_zone: Option<String>,
}

/// `recurrenceRangeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RangeType {
    /// Until a day.
    EndDate,
    /// For ever.
    NoEnd,
    /// So many times.
    Numbered,
}

/// The members that are of use, for `$select` where one has to be named that does not come by itself.
pub(crate) const SELECTED: &str = "id,iCalUId,type,seriesMasterId,originalStart,originalStartTimeZone,\
    originalEndTimeZone,lastModifiedDateTime,subject,body,start,end,isAllDay,isCancelled,isOrganizer,organizer,location,showAs,\
    sensitivity,categories,importance,webLink,isReminderOn,reminderMinutesBeforeStart,attendees,hideAttendees,responseStatus,isOnlineMeeting,onlineMeeting,recurrence,\
    cancelledOccurrences";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A body of the vendor's documentation or of a report from practice, without the head of a message.
    pub(crate) fn recorded(name: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let body = text.split_once("\n\n").filter(|_| name.ends_with(".http")).map(|(_, body)| body);
        body.unwrap_or(&text).to_owned()
    }

    fn event(name: &str) -> Event {
        serde_json::from_str(&recorded(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn the_vendors_examples_are_read() {
        let single = event("event-single.response.json");
        assert_eq!(single.subject.as_deref(), Some("Let's go brunch"));
        assert_eq!(single.kind, Some(EventType::SingleInstance));
        assert!(single.i_cal_u_id.unwrap().starts_with("040000008200E000"));
        assert_eq!(single.etag.as_deref(), Some("W/\"ZlnW4RIAV06KYYwlrfNZvQAALfZeRQ==\""));
        let master = event("event-seriesmaster.response.json");
        let recurrence = master.recurrence.unwrap();
        assert_eq!(recurrence.pattern.days_of_week, Some(vec![Day::Monday]));
        assert_eq!(
            (recurrence.range.kind, recurrence.range.number_of_occurrences),
            (RangeType::EndDate, Some(0))
        );
        let exception = event("event-exception.full.json");
        assert_eq!(exception.kind, Some(EventType::Exception));
        assert!(exception.original_start.is_some() && exception.series_master_id.is_some());
        assert_eq!(event("event-allday.response.json").is_all_day, Some(true));
        assert!(event("event-onlinemeeting.response.json").online_meeting.unwrap().join_url.is_some());
        assert_eq!(event("event-cancelled.attendee.json").is_cancelled, Some(true));
    }

    #[test]
    fn what_came_later_than_this_client_does_not_stop_it() {
        let text = r#"{"id":"x","type":"unknownFutureValue","showAs":"asleep","sensitivity":"s","attendees":
            [{"emailAddress":{},"status":{"response":"late","time":"0001-01-01T00:00:00Z"}}],"new":{"a":[1]}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!((event.kind, event.show_as), (Some(EventType::Unknown), Some(ShowAs::Unknown)));
        assert_eq!(event.attendees.unwrap()[0].status.unwrap().response, Some(Response::None));
    }
}
