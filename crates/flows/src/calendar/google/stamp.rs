//! The CRM's id with an event: two private properties. Pure.
//!
//! Google copies private properties along: to a copy that a person makes, to what "this and following" splits off, and
//! to each instance that is changed by itself. So beside the record stands the event for which it was written; where that
//! is another one, the record is not this event's.

use connector_google as google;

use crate::calendar::sides::{MeetingKind, MeetingRef, Stamp};

/// The property with the record, by which events are searched for.
pub const RECORD: &str = "crmId";
/// The property with the id of the event for which the record was written.
const EVENT: &str = "crmEvent";

/// The properties of an event of a record.
pub fn properties<'a>(event_id: &'a str, record: &'a str) -> [(&'static str, &'a str); 2] {
    [(RECORD, record), (EVENT, event_id)]
}

/// The form in which a record is written.
pub fn text(record: &MeetingRef) -> String {
    let kind = match record.kind {
        MeetingKind::Meeting => "Meeting",
        MeetingKind::Call => "Call",
    };
    format!("{kind}/{}", record.id)
}

/// What stands with an event.
pub fn read(event: &google::Event) -> Stamp {
    let record = event.property(RECORD).and_then(record);
    let is_own = match event.property(EVENT) {
        Some(id) => id == event.id,
        None => event.recurring_event_id.is_none(),
    };
    record.filter(|_| is_own).map_or(Stamp::None, Stamp::Of)
}

fn record(text: &str) -> Option<MeetingRef> {
    let (kind, id) = text.split_once('/')?;
    let kind = match kind {
        "Meeting" => MeetingKind::Meeting,
        "Call" => MeetingKind::Call,
        _ => return None,
    };
    (!id.is_empty()).then(|| MeetingRef { kind, id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, series: Option<&str>, properties: serde_json::Value) -> google::Event {
        let value =
            json!({"id": id, "recurringEventId": series, "extendedProperties": {"private": properties}});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_stamp_comes_back_and_what_google_copied_along_is_none() {
        let record = MeetingRef { kind: MeetingKind::Call, id: "6b00526cc80a09e94".to_owned() };
        let written = text(&record);
        let pairs: serde_json::Map<_, _> =
            properties("e1", &written).iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
        let of = |id: &str, series| read(&event(id, series, json!(pairs)));
        assert_eq!(of("e1", None), Stamp::Of(record));
        assert_eq!(of("e2", None), Stamp::None, "a copy");
        assert_eq!(of("e1_20260316T090000Z", Some("e1")), Stamp::None, "an instance");
    }

    #[test]
    fn what_others_wrote_is_no_stamp() {
        let plain = |value: &str| read(&event("e1", None, json!({"crmId": value})));
        for other in ["", "5f0c2b7d1e3a4c5b6", "Meeting/", "Lead/1", "/1"] {
            assert_eq!(plain(other), Stamp::None, "{other}");
        }
        assert!(matches!(plain("Meeting/1"), Stamp::Of(_)));
        assert_eq!(read(&event("e1_1", Some("e1"), json!({"crmId": "Meeting/1"}))), Stamp::None);
    }
}
