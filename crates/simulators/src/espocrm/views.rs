//! How a stored record looks in an answer: read, list item, answer to a create, webhook payload.

use serde_json::{Value, json};

use super::accounts::Account;
use super::definitions::{Definitions, kind};
use super::validation::Input;
use super::{contact_data, list, meetings};
use crate::store::Store;
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
    pub(super) store: &'a Store,
    /// Who reads.
    pub(super) reader_id: &'a str,
}

impl Viewer<'_> {
    pub(super) fn show(&self, record: &Record, view: View) -> Record {
        let mut shown = Record::new();
        let mut show = |name: &str, value: Value| {
            shown.insert(name.to_owned(), value);
        };
        let get = |name: &str| record.get(name).cloned();
        show("id", get("id").unwrap_or(Value::Null));
        let name = title(record);
        if view != View::Created || !name.is_null() {
            show("name", name);
        }
        show("deleted", get("deleted").unwrap_or(json!(false)));
        for (field, definition) in self.definitions.fields().filter(|(field, _)| *field != "name") {
            let value = match kind(definition) {
                "personName" | "address" | "map" | "link" | "linkMultiple" | "linkParent" => continue,
                "jsonArray" if view == View::Item => continue,
                "jsonArray" => Some(meetings::reminders(record, self.reader_id)),
                "jsonObject" if view == View::Item => continue,
                "jsonObject" => Some(meetings::phones(record, self.store)),
                "duration" if view == View::Created => definition.get("default").cloned(),
                "duration" => Some(meetings::duration(record)),
                "url" => Some(get(field).unwrap_or(Value::Null)),
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
        if view != View::Item && self.definitions.field("emailAddress").is_some() {
            show("emailAddressData", json!(contact_data::set(record, "emailAddress")));
            show("phoneNumberData", json!(contact_data::set(record, "phoneNumber")));
        }
        if self.definitions.field("parent").is_some() {
            for (name, value) in self.parent(record) {
                if name == "parentName" || !(value.is_null() && view == View::Created) {
                    show(name, value);
                }
            }
            if view != View::Created {
                show("accountId", Value::Null);
            }
            show("accountName", Value::Null);
        }
        if view != View::Item {
            for link in meetings::attendee_links(self.definitions) {
                for (name, value) in meetings::shown(record, link, |scope, id| self.name(scope, id)) {
                    show(&name, value);
                }
            }
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
        }
        if view != View::Item && self.definitions.has_stream() {
            show("isFollowed", json!(false));
            show("followersIds", json!([]));
            show("followersNames", json!({}));
        }
        if self.definitions.has_versions {
            show("versionNumber", get("versionNumber").unwrap_or(Value::Null));
        }
        shown
    }

    fn user_name(&self, id: &Value) -> Value {
        id.as_str().and_then(|id| self.name("User", id)).unwrap_or(Value::Null)
    }

    /// The name of a record that is linked; none where it is not there.
    fn name(&self, scope: &str, id: &str) -> Option<Value> {
        if scope == "User" {
            let user = self.accounts.iter().find(|account| id == account.id);
            return user.map(|user| json!(user.name()));
        }
        let record = self.store.get(scope, id)?.as_object()?;
        (record.get("deleted") != Some(&json!(true))).then(|| title(record))
    }

    fn parent(&self, record: &Record) -> [(&'static str, Value); 3] {
        let get = |name: &str| record.get(name).cloned().unwrap_or(Value::Null);
        let (id, kind) = (get("parentId"), get("parentType"));
        let name = id.as_str().zip(kind.as_str()).and_then(|(id, kind)| self.name(kind, id));
        [("parentId", id), ("parentType", kind), ("parentName", name.unwrap_or(Value::Null))]
    }

    /// What a list shows of a link-multiple that is asked for.
    pub(super) fn show_link(&self, record: &Record, attribute: &str) -> Record {
        let link = attribute.trim_end_matches("Ids");
        if meetings::attendee_links(self.definitions).any(|own| own == link) {
            return meetings::shown(record, link, |scope, id| self.name(scope, id)).into_iter().collect();
        }
        list::plain_link(record, attribute)
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
            "duration",
            "reminders",
            "phoneNumbersMap",
            "parentName",
            "accountName",
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
        let silent = [
            "modifiedAt",
            "versionNumber",
            "streamUpdatedAt",
            "emailAddressData",
            "phoneNumberData",
            "duration",
            "reminders",
            "phoneNumbersMap",
        ];
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

/// What a record is called.
pub(super) fn title(record: &Record) -> Value {
    record.get("name").filter(|name| name.is_string()).cloned().unwrap_or_else(|| name_of(record))
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
