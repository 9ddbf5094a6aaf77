//! Deliveries of EspoCRM's webhooks: one address for each of `create`, `update`, `delete`.

use connector_espocrm::webhook::{self, Item, Refusal};
use serde_json::{Map, Value};
use shared::envelope::Operation;
use shared::flow::{WebhookItem, WebhookRefusal, WebhookRequest};

use super::Parties;
use super::sides::Status;

/// What this flow writes into a record beside its content.
const OWN: [&str; 7] = [
    "betnr",
    "advowareRowId",
    "syncStatus",
    "advowareLastSync",
    "advowareDeletedAt",
    "syncErrorMessage",
    "syncRetryCount",
];
/// What EspoCRM moves at every write.
const NOISE: [&str; 6] =
    ["id", "modifiedAt", "modifiedById", "modifiedByName", "versionNumber", "streamUpdatedAt"];

pub(super) fn read(
    parties: &Parties,
    request: &WebhookRequest<'_>,
) -> Result<Vec<WebhookItem>, WebhookRefusal> {
    let operation = match request.path {
        "create" => Operation::Create,
        "update" => Operation::Update,
        "delete" => Operation::Delete,
        other => {
            let text =
                format!("parties has no webhook \"{}\"; there are create, update and delete", shorten(other));
            return Err(WebhookRefusal::Unknown(text));
        }
    };
    let signature = request.headers.iter().find(|(name, _)| *name == "signature").map(|(_, value)| *value);
    webhook::verify(signature, request.body, &parties.secrets.known()).map_err(refusal)?;
    let items = webhook::read_items(request.body).map_err(refusal)?;
    Ok(items.into_iter().map(|item| read_item(parties, operation, item)).collect())
}

fn read_item(parties: &Parties, operation: Operation, item: Item) -> WebhookItem {
    match item {
        Item::Malformed(why) => WebhookItem::Malformed(why),
        Item::Record { attributes, .. } if operation == Operation::Update && is_echo(&attributes) => {
            WebhookItem::Echo
        }
        Item::Record { id, .. } => match parties.key(id.as_str()) {
            Ok(key) => WebhookItem::Record(key, operation),
            Err(fault) => WebhookItem::Malformed(fault.text),
        },
    }
}

/// Whether only what we write ourselves beside the content has changed, and in the way we write it. Content is
/// left to the handler, which compares it with the base.
fn is_echo(attributes: &Map<String, Value>) -> bool {
    let changed = |name: &str| attributes.contains_key(name);
    let foreign = |name: &str| !OWN.contains(&name) && !NOISE.contains(&name);
    if !OWN.iter().any(|name| changed(name)) || attributes.keys().any(|name| foreign(name)) {
        return false;
    }
    // We never write a key without a status or a time beside it; a person does.
    if changed("betnr") && !changed("advowareLastSync") && !changed("syncStatus") {
        return false;
    }
    match attributes.get("syncStatus") {
        None => true,
        Some(status) => match Status::read(status.as_str()) {
            Some(Status::Syncing | Status::Failed | Status::Conflict | Status::PermanentlyFailed) => true,
            // With `clean` we always write the time; without it, a person has cleared a conflict.
            Some(Status::Clean) => changed("advowareLastSync"),
            Some(Status::Dirty | Status::PendingSync) | None => false,
        },
    }
}

fn refusal(refusal: Refusal) -> WebhookRefusal {
    match refusal {
        Refusal::Unverified(_) => WebhookRefusal::Unverified(refusal.to_string()),
        Refusal::Malformed(_) => WebhookRefusal::Malformed(refusal.to_string()),
    }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(item: &str, expected: bool) {
        let item: Map<String, Value> = serde_json::from_str(item).unwrap();
        assert_eq!(is_echo(&item), expected, "{item:?}");
    }

    #[test]
    fn our_own_status_writes_are_echoes_and_peoples_are_not() {
        check(r#"{"id":"1","syncStatus":"clean","advowareLastSync":"2026-11-20 09:15:00"}"#, true);
        check(
            r#"{"id":"1","advowareLastSync":"2026-11-20 09:15:00","advowareRowId":"x","modifiedById":"u"}"#,
            true,
        );
        check(
            r#"{"id":"1","betnr":5,"advowareRowId":"x","syncStatus":"clean","advowareLastSync":"2026-11-20 09:15:00"}"#,
            true,
        );
        check(r#"{"id":"1","syncStatus":"failed","syncErrorMessage":"x","syncRetryCount":1}"#, true);
        check(r#"{"id":"1","syncRetryCount":2}"#, true);
        check(r#"{"id":"1","syncStatus":"syncing"}"#, true);
        check(r#"{"id":"1","syncStatus":"dirty","syncRetryCount":0}"#, false);
        check(r#"{"id":"1","syncStatus":"pending_sync"}"#, false);
        check(r#"{"id":"1","syncStatus":"clean"}"#, false);
        check(r#"{"id":"1","syncStatus":null}"#, false);
        check(r#"{"id":"1","syncStatus":"","syncErrorMessage":null}"#, false);
        check(r#"{"id":"1","betnr":5}"#, false);
        check(
            r#"{"id":"1","lastName":"X","syncStatus":"clean","advowareLastSync":"2026-11-20 09:15:00"}"#,
            false,
        );
        check(r#"{"id":"1"}"#, false);
    }
}
