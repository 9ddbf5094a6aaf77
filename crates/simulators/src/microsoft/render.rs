//! An event as the service shows it.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::event::{Event, Item, NEVER};
use super::ids::{self, Form};
use super::prefer::Prefer;
use super::query::Options;
use super::text;
use crate::upstream::Record;

/// How to show: the form of ids, the zone, the body.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) form: Form,
    pub(super) zone: TimeZone,
    pub(super) zone_name: String,
    pub(super) is_text: bool,
}

impl Style {
    pub(super) fn of(prefer: &Prefer) -> Self {
        Self {
            form: prefer.form,
            zone: prefer.zone.clone(),
            zone_name: prefer.zone_name.clone(),
            is_text: prefer.is_text,
        }
    }

    /// As the journal has it: UTC and immutable ids.
    pub(super) fn plain() -> Self {
        Self { form: Form::Immutable, zone: TimeZone::UTC, zone_name: "UTC".to_owned(), is_text: false }
    }
}

/// `2026-03-09T10:00:00Z`.
pub(super) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

fn wall(style: &Style, item: &Item, is_start: bool) -> Value {
    let (own, span) = (if is_start { item.start } else { item.end }, item.span());
    let shown: DateTime = if item.is_all_day() {
        own.date().into()
    } else {
        let at = if is_start { span.0 } else { span.1 };
        at.to_zoned(style.zone.clone()).datetime()
    };
    json!({ "dateTime": shown.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": style.zone_name })
}

/// The seven members that a delta round has of an occurrence.
pub(super) fn reduced(style: &Style, event: &Event, slot: Date, item: &Item) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.event",
        "@odata.etag": ids::etag(event.item.change),
        "seriesMasterId": ids::event(style.form, event.number, event.revision, None),
        "type": "occurrence",
        "start": wall(style, item, true),
        "end": wall(style, item, false),
        "id": ids::event(style.form, event.number, event.revision, Some(slot)),
    })
}

/// The event itself.
pub(super) fn whole(style: &Style, event: &Event) -> Record {
    let kind = if event.recurrence.is_some() { "seriesMaster" } else { "singleInstance" };
    shown(style, event, None, &event.item, kind)
}

/// What stands in a slot of the series.
pub(super) fn occurrence(style: &Style, event: &Event, slot: Date, item: &Item) -> Record {
    let kind = if event.exceptions.contains_key(&slot) { "exception" } else { "occurrence" };
    shown(style, event, Some(slot), item, kind)
}

fn shown(style: &Style, event: &Event, slot: Option<Date>, item: &Item, kind: &str) -> Record {
    // An occurrence has no version of its own.
    let change = if kind == "occurrence" { event.item.change } else { item.change };
    let master = slot.map(|_| ids::event(style.form, event.number, event.revision, None));
    let recurrence =
        if slot.is_none() { event.recurrence.as_ref().map(|recurrence| recurrence.shown()) } else { None };
    let field = |name: &str| item.fields.get(name).cloned().unwrap_or(Value::Null);
    let original = |name: &str, zone: &str| item.fields.get(name).cloned().unwrap_or_else(|| json!(zone));
    let html = item.body();
    let body = match (style.is_text, html.is_empty()) {
        (true, _) => json!({ "contentType": "text", "content": text::plain(html) }),
        (false, _) => json!({ "contentType": "html", "content": html }),
    };
    let id = ids::event(style.form, event.number, event.revision, slot);
    let link: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let members = json!({
        "@odata.etag": ids::etag(change),
        "id": id,
        "createdDateTime": stamp(item.created),
        "lastModifiedDateTime": stamp(item.modified),
        "changeKey": ids::change_key(change),
        "categories": field("categories"),
        "transactionId": event.transaction_id,
        "originalStartTimeZone": original("originalStartTimeZone", &item.start_zone),
        "originalEndTimeZone": original("originalEndTimeZone", &item.end_zone),
        "iCalUId": event.i_cal_uid,
        "reminderMinutesBeforeStart": field("reminderMinutesBeforeStart"),
        "isReminderOn": field("isReminderOn"),
        "hasAttachments": false,
        "hideAttendees": field("hideAttendees"),
        "subject": field("subject"),
        "bodyPreview": text::preview(html),
        "importance": field("importance"),
        "sensitivity": field("sensitivity"),
        "isAllDay": item.is_all_day(),
        "isCancelled": item.is_cancelled,
        "isDraft": false,
        "isOrganizer": event.is_organizer,
        "responseRequested": field("responseRequested"),
        "seriesMasterId": master,
        "showAs": field("showAs"),
        "type": kind,
        "webLink": format!("https://outlook.office365.com/owa/?itemid={link}&exvsurl=1&path=/calendar/item"),
        "onlineMeetingUrl": null,
    });
    let content = json!({
        "isOnlineMeeting": field("isOnlineMeeting"),
        "onlineMeetingProvider": field("onlineMeetingProvider"),
        "onlineMeeting": field("onlineMeeting"),
        "allowNewTimeProposals": field("allowNewTimeProposals"),
        "responseStatus": { "response": item.response, "time": item.response_time.map_or_else(|| NEVER.to_owned(), stamp) },
        "body": body,
        "start": wall(style, item, true),
        "end": wall(style, item, false),
        "location": field("location"),
        "locations": field("locations"),
        "recurrence": recurrence,
        "attendees": field("attendees"),
        "organizer": { "emailAddress": event.organizer },
    });
    let mut members = members.as_object().cloned().unwrap_or_default();
    members.extend(content.as_object().cloned().unwrap_or_default());
    if let Some(slot) = slot {
        let at = event.original_start(slot).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        members.insert("originalStart".to_owned(), json!(at));
    }
    members
}

/// With what `$expand` and `$select` ask for.
pub(super) fn optioned(
    style: &Style,
    event: &Event,
    slot: Option<Date>,
    item: &Item,
    mut shown: Record,
    options: &Options,
) -> Value {
    let properties: Vec<Value> = options
        .properties
        .iter()
        .filter_map(|id| item.properties.get(id).map(|value| json!({ "id": id, "value": value })))
        .collect();
    if !properties.is_empty() {
        shown.insert("singleValueExtendedProperties".to_owned(), Value::Array(properties));
    }
    if options.exceptions && slot.is_none() && event.recurrence.is_some() {
        let exceptions = event.exceptions.iter();
        let exceptions: Vec<Value> =
            exceptions.map(|(slot, item)| Value::Object(occurrence(style, event, *slot, item))).collect();
        shown.insert("exceptionOccurrences".to_owned(), Value::Array(exceptions));
    }
    if options.select.is_empty() {
        return Value::Object(shown);
    }
    if options.select.iter().any(|name| name == "cancelledOccurrences") && slot.is_none() {
        let id = ids::event(style.form, event.number, event.revision, None);
        let gaps: Vec<String> = event.gaps.iter().map(|date| format!("OID.{id}.{date}")).collect();
        shown.insert("cancelledOccurrences".to_owned(), json!(gaps));
    }
    let always = ["@odata.etag", "id", "singleValueExtendedProperties", "exceptionOccurrences"];
    shown.retain(|name, _| {
        always.contains(&name.as_str()) || options.select.iter().any(|wanted| wanted == name)
    });
    Value::Object(shown)
}
