//! How a stored record looks in an answer: read, list item, answer to a create, webhook payload.

use serde_json::{Value, json};

use super::accounts::Account;
use super::contact_data;
use super::definitions::{Definitions, kind};
use super::validation::Input;
use crate::upstream::Record;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// GET of one record: every attribute.
    Read,
    /// An item of a list or of a 409: no contact data, no link-multiple.
    Item,
    /// Answer to a create: without what was never set.
    Created,
}

/// Computes views.
pub(super) struct Viewer<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) accounts: &'a [Account],
    pub(super) has_versions: bool,
}

impl Viewer<'_> {
    pub(super) fn show(&self, record: &Record, view: View) -> Record {
        let mut shown = Record::new();
        let mut show = |name: &str, value: Value| {
            shown.insert(name.to_owned(), value);
        };
        let get = |name: &str| record.get(name).cloned();
        show("id", get("id").unwrap_or(Value::Null));
        let name = name_of(record);
        if view != View::Created || !name.is_null() {
            show("name", name);
        }
        show("deleted", get("deleted").unwrap_or(json!(false)));
        for (field, definition) in self.definitions.fields() {
            let value = match kind(definition) {
                "personName" | "address" | "map" | "link" | "linkMultiple" => continue,
                "email" | "phone" => Some(contact_data::primary_address(record, field)),
                "bool" if field.ends_with("IsOptedOut") || field.ends_with("IsInvalid") => {
                    let flag = contact_data::primary_flag(record, field);
                    Some(if flag.is_null() && view == View::Created { json!(false) } else { flag })
                }
                _ => get(field),
            };
            let never_set = match kind(definition) {
                "email" | "phone" => value == Some(Value::Null),
                _ => value.is_none(),
            };
            if !(never_set && view == View::Created) {
                show(field, value.unwrap_or(Value::Null));
            }
        }
        if view != View::Item {
            show("emailAddressData", json!(contact_data::set(record, "emailAddress")));
            show("phoneNumberData", json!(contact_data::set(record, "phoneNumber")));
        }
        for link in ["createdBy", "modifiedBy", "assignedUser"] {
            let id = format!("{link}Id");
            let user = get(&id).unwrap_or(Value::Null);
            if !(user.is_null() && view == View::Created) {
                show(&id, user.clone());
            }
            show(&format!("{link}Name"), self.user_name(&user));
        }
        if view != View::Item {
            show("teamsIds", get("teamsIds").unwrap_or(json!([])));
            show("teamsNames", json!({}));
            show("isFollowed", json!(false));
            show("followersIds", json!([]));
            show("followersNames", json!({}));
        }
        if self.has_versions {
            show("versionNumber", get("versionNumber").unwrap_or(Value::Null));
        }
        shown
    }

    fn user_name(&self, id: &Value) -> Value {
        self.accounts
            .iter()
            .find(|account| id == &json!(account.id))
            .map_or(Value::Null, |account| json!(account.name()))
    }

    /// The answer to a PUT: as written, but contact data may still be the old ones.
    pub(super) fn show_written(&self, before: &Record, after: &Record, input: &Input) -> Record {
        let mut shown = self.show(after, View::Read);
        let old = self.show(before, View::Read);
        let stale = |name: &str| old.get(name).cloned().unwrap_or(Value::Null);
        for name in ["emailAddress", "phoneNumber"] {
            let data = format!("{name}Data");
            if let Some(sent) = input.values.get(&data) {
                shown.insert(data, sent.clone());
                if name == "emailAddress" && !stale(name).is_null() {
                    shown.insert(name.to_owned(), stale(name));
                }
            } else if input.values.contains_key(name) {
                shown.insert(data.clone(), stale(&data));
            } else {
                continue;
            }
            for flag in ["IsOptedOut", "IsInvalid"] {
                let flag = format!("{name}{flag}");
                shown.insert(flag.clone(), stale(&flag));
            }
        }
        shown.extend(input.echo.clone());
        shown
    }

    /// The payload of a create event: what was set, contact data only as they were sent.
    pub(super) fn created_payload(&self, record: &Record, input: &Input) -> Value {
        let mut shown = self.show(record, View::Created);
        let dropped = [
            "createdByName",
            "modifiedByName",
            "assignedUserName",
            "teamsIds",
            "teamsNames",
            "followersIds",
            "followersNames",
        ];
        shown.retain(|name, _| !dropped.contains(&name.as_str()));
        for data in ["emailAddressData", "phoneNumberData"] {
            match input.values.get(data) {
                Some(sent) => shown.insert(data.to_owned(), sent.clone()),
                None => shown.shift_remove(data),
            };
        }
        Value::Object(shown)
    }

    /// The payload of an update event: what differs, and the id. None when nothing a receiver hears of differs.
    pub(super) fn changed_payload(&self, before: &Record, after: &Record, input: &Input) -> Option<Value> {
        let silent =
            ["modifiedAt", "versionNumber", "streamUpdatedAt", "emailAddressData", "phoneNumberData"];
        let old = self.show(before, View::Read);
        let mut changed = self.show(after, View::Read);
        changed.retain(|name, value| !silent.contains(&name.as_str()) && old.get(name) != Some(&*value));
        for data in ["emailAddressData", "phoneNumberData"] {
            if let Some(sent) = input.values.get(data)
                && before.get(data) != after.get(data)
            {
                changed.insert(data.to_owned(), sent.clone());
            }
        }
        let is_news = changed.keys().any(|name| !name.starts_with("modifiedBy"));
        changed.insert("id".to_owned(), after.get("id").cloned().unwrap_or(Value::Null));
        is_news.then_some(Value::Object(changed))
    }
}

/// First and last name; null when there is neither.
pub(super) fn name_of(record: &Record) -> Value {
    let parts: Vec<&str> = ["firstName", "lastName"]
        .iter()
        .filter_map(|part| record.get(*part)?.as_str())
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() { Value::Null } else { json!(parts.join(" ")) }
}
