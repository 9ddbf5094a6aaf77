//! Deliveries of EspoCRM's webhooks: what an address is about, and which changes are our own. Pure.

use connector_espocrm::webhook::Item;
use serde_json::{Map, Value};
use shared::envelope::Operation;

use super::needs::{Own, path_name};
use crate::calendar::sides::{MeetingKind, MeetingRef};

/// What this flow writes into a record beside its content.
const OWN: [Own; 4] = [Own::EventKey, Own::SeriesId, Own::OriginalStart, Own::RemovedFrom];
/// What EspoCRM moves at every write, or makes of other attributes.
const NOISE: [&str; 7] =
    ["id", "modifiedAt", "modifiedById", "modifiedByName", "versionNumber", "streamUpdatedAt", "duration"];

/// What the path of a delivery says (`meeting/update`): the kind of its records, and what happened to them.
pub fn read_path(path: &str) -> Option<(MeetingKind, Operation)> {
    let (kind, event) = path.split_once('/')?;
    let kind = [MeetingKind::Meeting, MeetingKind::Call].into_iter().find(|own| path_name(*own) == kind)?;
    let operation = match event {
        "create" => Operation::Create,
        "update" => Operation::Update,
        "delete" => Operation::Delete,
        _ => return None,
    };
    Some((kind, operation))
}

/// What an item of a verified delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This record is to be looked at.
    Record(MeetingRef),
    /// Our own write that came back.
    Echo,
    /// Nothing that can be used, with the reason.
    Malformed(String),
}

/// Reads an item.
pub fn hint(kind: MeetingKind, operation: Operation, item: Item) -> Hint {
    match item {
        Item::Malformed(why) => Hint::Malformed(why),
        Item::Record { attributes, .. } if operation == Operation::Update && is_echo(&attributes) => {
            Hint::Echo
        }
        Item::Record { id, .. } => Hint::Record(MeetingRef { kind, id: id.to_string() }),
    }
}

/// Whether only what we write ourselves beside the content has changed. Content is left to the handler, which compares it
/// with what was agreed on.
fn is_echo(attributes: &Map<String, Value>) -> bool {
    let is_own = |name: &String| OWN.iter().any(|own| own.attribute() == name);
    let is_noise = |name: &String| NOISE.contains(&name.as_str());
    attributes.keys().any(is_own) && attributes.keys().all(|name| is_own(name) || is_noise(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_beside_the_content_is_an_echo() {
        for (item, expected) in [
            (r#"{"id":"1","cEventKey":"x"}"#, true),
            (
                r#"{"id":"1","cEventKey":"x","cSeriesId":"s","cOriginalStart":"2026-03-16","versionNumber":3}"#,
                true,
            ),
            (r#"{"id":"1","cRemovedFrom":"google.u.1234abcd"}"#, true),
            (r#"{"id":"1","cEventKey":"x","name":"B"}"#, false),
            (r#"{"id":"1","cLocation":"Room 1"}"#, false),
            (r#"{"id":"1","usersIds":["2"],"modifiedById":"u"}"#, false),
            (r#"{"id":"1","duration":60,"dateEnd":"2026-12-01 10:00:00"}"#, false),
            (r#"{"id":"1","modifiedById":"u"}"#, false),
            (r#"{"id":"1"}"#, false),
        ] {
            let attributes: Map<String, Value> = serde_json::from_str(item).unwrap();
            assert_eq!(is_echo(&attributes), expected, "{item}");
        }
    }

    #[test]
    fn each_event_has_a_path_and_others_are_none() {
        assert_eq!(read_path("call/delete"), Some((MeetingKind::Call, Operation::Delete)));
        for path in ["", "meeting", "meeting/", "task/create", "meeting/create/x", "Meeting/create"] {
            assert_eq!(read_path(path), None, "{path}");
        }
    }
}
