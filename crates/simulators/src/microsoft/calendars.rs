//! Calendars of a mailbox: the default one, which is always there, and those that were made.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{self, Refusal, Stop};
use super::ask::Ask;
use super::ids;
use super::state::{self, Work};
use super::{Mailbox, Microsoft};
use crate::journal::Operation;
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::Answer;

const TABLE: &str = "calendar";

/// Members that a client can write.
const WRITABLE: [&str; 3] = ["name", "color", "hexColor"];

fn default_of(mailbox: &Mailbox) -> Value {
    json!({ "mailbox": mailbox.address, "name": "Calendar", "color": "auto", "hexColor": "", "change": 0 })
}

/// A calendar's row; the default one has none until it is written.
pub(super) fn find(store: &Store, mailbox: &Mailbox, id: &str) -> Option<Value> {
    let row = store.get(TABLE, id).filter(|row| row["mailbox"] == json!(mailbox.address)).cloned();
    row.or_else(|| (id == mailbox.default_calendar()).then(|| default_of(mailbox)))
}

fn shown(mailbox: &Mailbox, id: &str, row: &Value) -> Record {
    let is_default = id == mailbox.default_calendar();
    let shown = json!({
        "id": id, "name": row["name"], "color": row["color"], "hexColor": row["hexColor"],
        "isDefaultCalendar": is_default, "changeKey": ids::change_key(row["change"].as_u64().unwrap_or(0)),
        "canShare": true, "canViewPrivateItems": true, "canEdit": true,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"], "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": is_default, "isRemovable": !is_default,
        "owner": { "name": mailbox.name, "address": mailbox.address },
    });
    shown.as_object().cloned().unwrap_or_default()
}

fn all(store: &Store, mailbox: &Mailbox) -> Vec<(String, Value)> {
    let default = mailbox.default_calendar();
    let own =
        store.rows(TABLE).filter(|(id, row)| row["mailbox"] == json!(mailbox.address) && **id != default);
    let own = own.map(|(id, row)| (id.clone(), row.clone()));
    find(store, mailbox, &default).map(|row| (default.clone(), row)).into_iter().chain(own).collect()
}

impl Microsoft {
    /// `…/calendars`.
    pub(super) fn calendars(&self, store: &mut Store, ask: &Ask<'_>, body: &Record) -> Result<Answer, Stop> {
        let mailbox = &ask.mailbox;
        if ask.request.method == "POST" {
            let name = body.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
            let name = name.ok_or_else(|| Refusal::new(400, "ErrorInvalidRequest", "name is missing."))?;
            if all(store, mailbox).iter().any(|(_, row)| row["name"] == json!(name)) {
                let message = "A folder with the specified name already exists.";
                return Err(Refusal::new(409, "ErrorFolderExists", message).into());
            }
            let mut work = Work::new(store, ask.now, self.odds());
            let number = work.number();
            // Apart from those of default calendars, which are made of 32 bits.
            let id = ids::calendar(number + (1 << 33));
            let row = json!({ "mailbox": mailbox.address, "name": name, "color": "auto", "hexColor": "", "change": number });
            work.change(Change::set(TABLE, &id, row.clone()));
            work.commit(Some(note(ask, Operation::Create, &id, None, Some(&row))))?;
            return Ok(self.one_calendar(ask, 201, &id, &row));
        }
        let list: Vec<Value> =
            all(store, mailbox).iter().map(|(id, row)| Value::Object(shown(mailbox, id, row))).collect();
        let context = format!("{}/$metadata#users('{}')/calendars", ask.root, mailbox.object_id);
        Ok(answers::ok(200, &json!({ "@odata.context": context, "value": list })))
    }

    /// `…/calendar` and `…/calendars/{id}`.
    pub(super) fn calendar(
        &self,
        store: &mut Store,
        ask: &Ask<'_>,
        id: &str,
        body: &Record,
    ) -> Result<Answer, Stop> {
        let before = find(store, &ask.mailbox, id).ok_or_else(Refusal::not_found)?;
        match ask.request.method.as_str() {
            "PATCH" => {
                let mut after = before.clone();
                for name in WRITABLE {
                    if let Some(value) = body.get(name) {
                        after[name] = value.clone();
                    }
                }
                let mut work = Work::new(store, ask.now, self.odds());
                after["change"] = json!(work.number());
                work.change(Change::set(TABLE, id, after.clone()));
                work.commit(Some(note(ask, Operation::Update, id, Some(&before), Some(&after))))?;
                Ok(self.one_calendar(ask, 200, id, &after))
            }
            "DELETE" if id == ask.mailbox.default_calendar() => {
                let message = "Distinguished folders cannot be deleted.";
                Err(Refusal::new(403, "ErrorDeleteDistinguishedFolder", message).into())
            }
            "DELETE" => {
                let events: Vec<_> = state::events_of(store, id).collect();
                let mut work = Work::new(store, ask.now, self.odds());
                for event in &events {
                    work.remove(event);
                }
                work.change(Change::remove(TABLE, id));
                work.commit(Some(note(ask, Operation::Delete, id, Some(&before), None)))?;
                Ok(Answer::status(204))
            }
            _ => Ok(self.one_calendar(ask, 200, id, &before)),
        }
    }

    fn one_calendar(&self, ask: &Ask<'_>, status: u16, id: &str, row: &Value) -> Answer {
        let mut body = Record::new();
        let context = format!("{}/$metadata#users('{}')/calendars/$entity", ask.root, ask.mailbox.object_id);
        body.insert("@odata.context".to_owned(), json!(context));
        body.extend(shown(&ask.mailbox, id, row));
        answers::ok(status, &Value::Object(body))
    }

    /// A calendar that a person made.
    pub(super) fn add_calendar(
        &self,
        store: &mut Store,
        now: Timestamp,
        mailbox: &Mailbox,
        name: &str,
    ) -> std::io::Result<String> {
        let mut work = Work::new(store, now, self.odds());
        let number = work.number();
        let id = ids::calendar(number + (1 << 33));
        let row = json!({ "mailbox": mailbox.address, "name": name, "color": "auto", "hexColor": "", "change": number });
        work.change(Change::set(TABLE, &id, row));
        work.commit(None)?;
        Ok(id)
    }
}

fn note(
    ask: &Ask<'_>,
    operation: Operation,
    id: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Note {
    let by = ask.by();
    Note {
        operation,
        entity: "calendar",
        record_id: id.to_owned(),
        actor_kind: by.kind,
        actor: by.name,
        before: before.cloned(),
        after: after.cloned(),
    }
}
