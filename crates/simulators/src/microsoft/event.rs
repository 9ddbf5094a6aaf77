//! An event as it is stored: one single event, or a series with what was made of its occurrences.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Refusal;
use super::recurrence::Recurrence;
use super::zones;
use crate::upstream::Record;

/// A person by address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) address: String,
}

/// What a single event, a master and an exception have alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Members that are answered as they are stored.
    pub(super) fields: Record,
    pub(super) start: DateTime,
    pub(super) start_zone: String,
    pub(super) end: DateTime,
    pub(super) end_zone: String,
    pub(super) is_cancelled: bool,
    /// The answer of the calendar's owner.
    pub(super) response: String,
    pub(super) response_time: Option<Timestamp>,
    /// Extended properties by id.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// Moves with every write; what the etag is made of.
    pub(super) change: u64,
}

/// An event in one calendar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) number: u64,
    /// How often it moved to another calendar.
    pub(super) revision: u32,
    /// Address of the mailbox.
    pub(super) mailbox: String,
    pub(super) calendar: String,
    /// Its place in the calendar's log.
    pub(super) row: u64,
    pub(super) i_cal_uid: String,
    pub(super) transaction_id: Option<String>,
    pub(super) organizer: Person,
    pub(super) is_organizer: bool,
    /// At the organiser's: the numbers of the attendees' copies, by address.
    #[serde(default)]
    pub(super) copies: BTreeMap<String, u64>,
    /// At an attendee's: the number of the organiser's event.
    pub(super) copy_of: Option<u64>,
    pub(super) item: Item,
    pub(super) recurrence: Option<Recurrence>,
    /// Occurrences that differ, by the date they had.
    #[serde(default)]
    pub(super) exceptions: BTreeMap<Date, Item>,
    /// Dates whose occurrence was deleted.
    #[serde(default)]
    pub(super) gaps: BTreeSet<Date>,
}

/// Members that attendees are not told about when they change.
pub(super) const QUIET: [&str; 6] = [
    "categories",
    "showAs",
    "isReminderOn",
    "reminderMinutesBeforeStart",
    "sensitivity",
    "singleValueExtendedProperties",
];

/// Members that a client cannot write; they are passed over.
const READ_ONLY: [&str; 18] = [
    "id",
    "changeKey",
    "iCalUId",
    "createdDateTime",
    "lastModifiedDateTime",
    "organizer",
    "bodyPreview",
    "hasAttachments",
    "isCancelled",
    "isOrganizer",
    "responseStatus",
    "seriesMasterId",
    "type",
    "webLink",
    "onlineMeeting",
    "onlineMeetingUrl",
    "originalStart",
    "cancelledOccurrences",
];

const ATTENDEES_MAX: usize = 500;

impl Item {
    /// An event that nothing is known of yet.
    pub(super) fn new(now: Timestamp, response: &str) -> Self {
        let fields = json!({
            "categories": [], "reminderMinutesBeforeStart": 15, "isReminderOn": true, "hideAttendees": false,
            "subject": "", "importance": "normal", "sensitivity": "normal", "isAllDay": false,
            "responseRequested": true, "showAs": "busy", "isOnlineMeeting": false,
            "onlineMeetingProvider": "unknown", "onlineMeeting": null, "allowNewTimeProposals": true,
            "body": { "contentType": "html", "content": "" },
            "location": no_location(), "locations": [], "attendees": [],
        });
        Self {
            fields: fields.as_object().cloned().unwrap_or_default(),
            start: DateTime::default(),
            start_zone: "UTC".to_owned(),
            end: DateTime::default(),
            end_zone: "UTC".to_owned(),
            is_cancelled: false,
            response: response.to_owned(),
            response_time: None,
            properties: BTreeMap::new(),
            created: now,
            modified: now,
            change: 0,
        }
    }

    pub(super) fn is_all_day(&self) -> bool {
        self.fields.get("isAllDay") == Some(&json!(true))
    }

    pub(super) fn body(&self) -> &str {
        self.fields.get("body").and_then(|body| body["content"].as_str()).unwrap_or_default()
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_owned(), value);
    }

    pub(super) fn attendees(&self) -> &[Value] {
        self.fields.get("attendees").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Start and end as instants; all-day events are dates, and count in UTC.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        self.span_at(self.start, self.end)
    }

    /// The same, if it began and ended at other times of the wall.
    fn span_at(&self, start: DateTime, end: DateTime) -> (Timestamp, Timestamp) {
        if self.is_all_day() {
            return (zones::instant(start, "UTC"), zones::instant(end, "UTC"));
        }
        (zones::instant(start, &self.start_zone), zones::instant(end, &self.end_zone))
    }

    /// Whether any part of it lies within.
    pub(super) fn touches(&self, window: (Timestamp, Timestamp)) -> bool {
        within(self.span(), window)
    }

    /// Writes what the body names, and checks what came of it.
    pub(super) fn apply(&mut self, body: &Record) -> Result<(), Refusal> {
        for (name, value) in body {
            match name.as_str() {
                "start" | "end" => self.set_time(name == "start", value)?,
                "body" => self.set_body(value),
                "location" => {
                    let location = located(value);
                    let named = location["displayName"].as_str().is_some_and(|name| !name.is_empty());
                    self.set("locations", if named { json!([location]) } else { json!([]) });
                    self.set("location", location);
                }
                "locations" => {
                    let all: Vec<Value> = value.as_array().into_iter().flatten().map(located).collect();
                    self.set("location", all.first().cloned().unwrap_or_else(no_location));
                    self.set("locations", Value::Array(all));
                }
                "attendees" => self.set_attendees(value)?,
                "singleValueExtendedProperties" => self.set_properties(value)?,
                "isOnlineMeeting"
                | "recurrence"
                | "transactionId"
                | "onlineMeetingProvider"
                | "originalStartTimeZone"
                | "originalEndTimeZone" => {}
                "attachments"
                | "calendar"
                | "exceptionOccurrences"
                | "extensions"
                | "instances"
                | "multiValueExtendedProperties" => return Err(Refusal::not_simulated(name)),
                name if name.starts_with('@') || name.contains('@') || READ_ONLY.contains(&name) => {}
                _ => {
                    let empty = Item::new(Timestamp::UNIX_EPOCH, "").fields.get(name).cloned();
                    let value = if value.is_null() { empty.unwrap_or(Value::Null) } else { value.clone() };
                    self.set(name, value);
                }
            }
        }
        // As a person's hand lays it out; all else is passed over, as what is read-only.
        for name in ["originalStartTimeZone", "originalEndTimeZone"] {
            if body.get(name) == Some(&json!(zones::CUSTOM)) {
                self.set(name, json!(zones::CUSTOM));
            }
        }
        // A body that lost its join block lost its meeting.
        if let Some(url) = self.fields.get("onlineMeeting").and_then(|meeting| meeting["joinUrl"].as_str())
            && !super::text::has_join_block(self.body(), url)
        {
            self.set("onlineMeeting", Value::Null);
        }
        if let Some(value) = body.get("isOnlineMeeting") {
            self.set_online(value);
        }
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.is_all_day() {
            let midnight = self.start.time() == Time::midnight() && self.end.time() == Time::midnight();
            if !midnight || self.start_zone != self.end_zone || self.end.date() <= self.start.date() {
                return Err(Refusal::invalid(
                    "Start and end of an all-day event must be at midnight in the same time zone, at least a day apart.",
                ));
            }
        }
        let (start, end) = self.span();
        if end < start {
            return Err(Refusal::new(
                400,
                "ErrorCalendarEndDateIsEarlierThanStartDate",
                "The end of the event lies before its start.",
            ));
        }
        Ok(())
    }

    fn set_time(&mut self, is_start: bool, value: &Value) -> Result<(), Refusal> {
        let text = value["dateTime"].as_str().unwrap_or_default();
        let has_offset = text.get(10..).is_some_and(|time| time.contains(['Z', 'z', '+', '-', '[']));
        let wall = text.parse::<DateTime>().ok().filter(|_| !has_offset);
        let wall = wall.ok_or_else(|| Refusal::invalid(format!("'{text}' is no local date and time.")))?;
        let zone = value["timeZone"].as_str().filter(|zone| !zone.is_empty()).unwrap_or("UTC");
        if zones::find(zone).is_none() {
            let message = format!(
                "A valid TimeZone value must be specified. The following TimeZone value is not supported: '{zone}'."
            );
            return Err(Refusal::new(400, "TimeZoneNotSupportedException", message));
        }
        self.fields.shift_remove(if is_start { "originalStartTimeZone" } else { "originalEndTimeZone" });
        if is_start {
            (self.start, self.start_zone) = (wall, zone.to_owned());
        } else {
            (self.end, self.end_zone) = (wall, zone.to_owned());
        }
        Ok(())
    }

    fn set_body(&mut self, value: &Value) {
        let content = value["content"].as_str().unwrap_or_default();
        let stored = super::text::stored(content, value["contentType"] == "html");
        self.set("body", json!({ "contentType": "html", "content": stored }));
    }

    fn set_attendees(&mut self, value: &Value) -> Result<(), Refusal> {
        let sent = value.as_array().map_or(&[][..], Vec::as_slice);
        if sent.len() > ATTENDEES_MAX {
            return Err(Refusal::invalid(format!("An event has at most {ATTENDEES_MAX} attendees.")));
        }
        let mut attendees: Vec<Value> = Vec::new();
        for attendee in sent {
            let address = attendee["emailAddress"]["address"].as_str().unwrap_or_default();
            if !address.contains('@') {
                return Err(Refusal::invalid(format!("'{address}' is no address of an attendee.")));
            }
            let name = attendee["emailAddress"]["name"].as_str().unwrap_or(address);
            let known = self.attendees().iter().find(|known| has_address(known, address));
            let status = known.map(|known| known["status"].clone());
            attendees.push(json!({
                "type": attendee["type"].as_str().unwrap_or("required"),
                "status": status.unwrap_or_else(|| json!({ "response": "none", "time": NEVER })),
                "emailAddress": { "name": name, "address": address },
            }));
        }
        self.set("attendees", Value::Array(attendees));
        Ok(())
    }

    fn set_properties(&mut self, value: &Value) -> Result<(), Refusal> {
        for property in value.as_array().into_iter().flatten() {
            let id = property["id"].as_str().unwrap_or_default();
            if !(id.contains(" {") && (id.contains("} Name ") || id.contains("} Id ")) || id.contains(" 0x"))
            {
                let message = format!("The extended property id '{id}' is not valid.");
                return Err(Refusal::new(400, "ErrorInvalidProperty", message));
            }
            match property["value"].as_str() {
                Some(value) => self.properties.insert(id.to_owned(), value.to_owned()),
                None => self.properties.remove(id),
            };
        }
        Ok(())
    }

    /// `[A]` An online meeting cannot be taken back: false is passed over.
    fn set_online(&mut self, value: &Value) {
        if value != &json!(true) || self.fields.get("isOnlineMeeting") == Some(&json!(true)) {
            return;
        }
        let url = format!("https://teams.microsoft.com/l/meetup-join/{}", uuid::Uuid::new_v4().simple());
        let body = super::text::with_join_block(&super::text::stored(self.body(), true), &url);
        self.set("isOnlineMeeting", json!(true));
        self.set("onlineMeetingProvider", json!("teamsForBusiness"));
        self.set("onlineMeeting", json!({ "joinUrl": url }));
        self.set("body", json!({ "contentType": "html", "content": body }));
    }

    /// Reads start and end in another zone.
    fn turn_to(&mut self, zone: &str) {
        let Some(found) = zones::find(zone) else { return };
        let (start, end) = self.span();
        (self.start, self.end) = (start.to_zoned(found.clone()).datetime(), end.to_zoned(found).datetime());
        (self.start_zone, self.end_zone) = (zone.to_owned(), zone.to_owned());
    }
}

/// The time of an answer that was never given.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn has_address(attendee: &Value, address: &str) -> bool {
    attendee["emailAddress"]["address"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(address))
}

fn no_location() -> Value {
    json!({ "displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}, "coordinates": {} })
}

fn located(value: &Value) -> Value {
    let Some(sent) = value.as_object() else { return no_location() };
    let mut location = json!({
        "displayName": "", "locationType": "default",
        "uniqueId": sent.get("displayName"), "uniqueIdType": "private",
    });
    if let Some(members) = location.as_object_mut() {
        members.extend(sent.clone());
    }
    location
}

impl Event {
    /// Sets or removes the recurrence. Exceptions and gaps go with the old one.
    pub(super) fn set_recurrence(&mut self, recurrence: &Value) -> Result<(), Refusal> {
        self.exceptions.clear();
        self.gaps.clear();
        if recurrence.is_null() {
            self.recurrence = None;
            return Ok(());
        }
        let named = recurrence["range"]["recurrenceTimeZone"].as_str().filter(|zone| !zone.is_empty());
        if let Some(zone) = named
            && zone != self.item.start_zone
        {
            if zones::find(zone).is_none() {
                return Err(Refusal::new(
                    400,
                    "TimeZoneNotSupportedException",
                    format!("'{zone}' is not supported."),
                ));
            }
            if !self.item.is_all_day() {
                self.item.turn_to(zone);
            }
        }
        let (date, zone) = (self.item.start.date(), self.item.start_zone.clone());
        let read = Recurrence::read(recurrence, date, &zone).map_err(Refusal::invalid)?;
        self.item.move_to(read.first());
        self.recurrence = Some(read);
        Ok(())
    }

    /// After the start of the whole series moved.
    pub(super) fn restart(&mut self) {
        let Some(recurrence) = self.recurrence.take() else { return };
        self.exceptions.clear();
        self.gaps.clear();
        let moved = recurrence.starting(self.item.start.date());
        self.item.move_to(moved.first());
        self.recurrence = Some(moved);
    }

    /// What stands in a slot; none where the series has no such slot or its occurrence was deleted.
    pub(super) fn occurrence(&self, slot: Date) -> Option<Cow<'_, Item>> {
        if self.gaps.contains(&slot) {
            return None;
        }
        if let Some(exception) = self.exceptions.get(&slot) {
            return Some(Cow::Borrowed(exception));
        }
        let recurrence = self.recurrence.as_ref()?;
        let is_slot = recurrence.dates().take_while(|date| *date <= slot).any(|date| date == slot);
        is_slot.then(|| Cow::Owned(self.regular(slot)))
    }

    /// A slot's occurrence, as if nobody had touched it.
    pub(super) fn regular(&self, slot: Date) -> Item {
        let mut item = self.item.clone();
        item.properties.clear();
        item.move_to(slot);
        item
    }

    /// The slots with what stands in them, as far as it touches the window.
    pub(super) fn occurrences(&self, window: (Timestamp, Timestamp)) -> Vec<(Date, Cow<'_, Item>)> {
        let Some(recurrence) = &self.recurrence else { return Vec::new() };
        // No zone is further than a day from UTC.
        let last = window.1.to_zoned(jiff::tz::TimeZone::UTC).date().saturating_add(2.days());
        let mut found: Vec<(Date, Cow<'_, Item>)> = recurrence
            .dates()
            .take_while(|slot| *slot <= last)
            .filter(|slot| !self.gaps.contains(slot) && !self.exceptions.contains_key(slot))
            .filter(|slot| {
                let (start, end) = self.item.times_on(*slot);
                within(self.item.span_at(start, end), window)
            })
            .map(|slot| (slot, Cow::Owned(self.regular(slot))))
            .collect();
        let exceptions = self.exceptions.iter().filter(|(_, item)| item.touches(window));
        found.extend(exceptions.map(|(slot, item)| (*slot, Cow::Borrowed(item))));
        found.sort_by_key(|(_, item)| item.start);
        found
    }

    /// Whether the event, or any occurrence of the series, touches the window.
    pub(super) fn touches(&self, window: (Timestamp, Timestamp)) -> bool {
        match self.recurrence {
            None => self.item.touches(window),
            Some(_) => !self.occurrences(window).is_empty(),
        }
    }

    /// The dates between which an occurrence must stay: those of its neighbours.
    pub(super) fn neighbours(&self, slot: Date) -> (Option<Date>, Option<Date>) {
        let Some(recurrence) = &self.recurrence else { return (None, None) };
        let date_of = |at: Date| self.exceptions.get(&at).map_or(at, |item| item.start.date());
        let standing = |at: &Date| !self.gaps.contains(at);
        let before = recurrence.dates().take_while(|at| *at < slot).filter(standing).last();
        let after = recurrence.dates().skip_while(|at| *at <= slot).take(1_000).find(standing);
        (before.map(date_of), after.map(date_of))
    }

    /// When the slot's occurrence was to begin.
    pub(super) fn original_start(&self, slot: Date) -> Timestamp {
        self.regular(slot).span().0
    }
}

impl Item {
    /// When it would begin and end on another date, at the same time of day and with the same length.
    fn times_on(&self, date: Date) -> (DateTime, DateTime) {
        let shift = (date - self.start.date()).get_days().days();
        (self.start.saturating_add(shift), self.end.saturating_add(shift))
    }

    /// Puts it there.
    fn move_to(&mut self, date: Date) {
        (self.start, self.end) = self.times_on(date);
    }
}

/// Whether a span of time and a window have something in common.
fn within((start, end): (Timestamp, Timestamp), window: (Timestamp, Timestamp)) -> bool {
    start < window.1 && (end > window.0 || (start == end && start >= window.0))
}
