//! Webhook: create, list, read, change, delete.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::accounts::{Account, AccountKind};
use super::answers::{invalid, ok, php_json, refuse};
use super::definitions::{ENTITY_TYPE, OTHER_TYPES, simulated};
use super::list::{self, Source};
use super::records::body;
use super::validation::{Invalid, stamp};
use super::{Espocrm, object};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

pub(super) const TABLE: &str = "Webhook";
const PER_USER_MAX: usize = 50;

/// All webhooks, oldest first.
pub(super) fn all(store: &Store) -> impl Iterator<Item = &Record> {
    store.rows(TABLE).filter_map(|(_, hook)| hook.as_object())
}

pub(super) fn find(store: &Store, id: &str) -> Option<Record> {
    store.get(TABLE, id)?.as_object().cloned()
}

fn shown(hook: &Record) -> Record {
    let mut hook = hook.clone();
    hook.shift_remove("userId");
    hook
}

impl Espocrm {
    pub(super) fn webhook(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        account: &Account,
        request: &Request,
        id: Option<&str>,
    ) -> io::Result<Answer> {
        let is_admin = account.kind == AccountKind::Admin;
        let may = is_admin || account.role.level("Webhook", "read") == "yes";
        let is_visible = |hook: &Record| is_admin || hook.get("userId") == Some(&json!(account.id));
        match (request.method.as_str(), id) {
            ("POST", None) if !may => Ok(refuse(403, "No create access.")),
            ("GET", _) if !may => Ok(refuse(403, "No read access.")),
            ("PUT" | "PATCH", Some(_)) if !may => Ok(refuse(403, "No edit access.")),
            ("DELETE", Some(_)) if !may => Ok(refuse(403, "No delete access.")),
            ("POST", None) => self.create_webhook(store, now, account, request),
            ("GET", None) => {
                let source = Source {
                    records: all(store).filter(|hook| is_visible(hook)).collect(),
                    may_read: &|_| true,
                    show: &shown,
                    get: &|hook, name| vec![hook.get(name).cloned().unwrap_or(Value::Null)],
                    is_attribute: &|name| {
                        [
                            "id",
                            "event",
                            "url",
                            "isActive",
                            "entityType",
                            "type",
                            "field",
                            "skipOwn",
                            "createdAt",
                            "modifiedAt",
                        ]
                        .contains(&name)
                    },
                    always: &[],
                    order: ("createdAt", true),
                    show_link: &list::plain_link,
                    is_uncounted: false,
                };
                Ok(list::answer(request, &source))
            }
            (method, Some(id)) => match (method, find(store, id).filter(|hook| is_visible(hook))) {
                ("GET", None) => Ok(refuse(404, &format!("Record {id} does not exist."))),
                (_, None) => Ok(refuse(404, &format!("Record {id} not found."))),
                ("GET", Some(hook)) => Ok(ok(&Value::Object(shown(&hook)))),
                ("DELETE", Some(hook)) => {
                    let note = note(Operation::Delete, account, id, Some(&hook), None);
                    store.commit(now, Some(note), vec![Change::remove(TABLE, id)])?;
                    Ok(ok(&json!(true)))
                }
                (_, Some(hook)) => self.change_webhook(store, now, account, request, id, hook),
            },
            _ => Ok(super::answers::method_not_allowed("GET, POST")),
        }
    }

    fn create_webhook(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        account: &Account,
        request: &Request,
    ) -> io::Result<Answer> {
        let body = match body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = |field: &str| invalid(TABLE, &Invalid { field: field.to_owned(), kind: "required" });
        let Some(event) = text("event") else { return Ok(missing("event")) };
        let Some(url) = text("url") else { return Ok(missing("url")) };
        let parts: Vec<&str> = event.split('.').collect();
        let (entity_type, kind, field) = match parts.as_slice() {
            [entity_type, kind @ ("create" | "update" | "delete")] => (*entity_type, *kind, None),
            [entity_type, "fieldUpdate", field] => (*entity_type, "fieldUpdate", Some(*field)),
            [entity_type, ..] => (*entity_type, "", None),
            [] => ("", "", None),
        };
        let is_there = entity_type == ENTITY_TYPE && self.definitions(ENTITY_TYPE).exists();
        if !is_there && !OTHER_TYPES.contains(&entity_type) {
            return Ok(refuse(403, "Entity type is not available for Webhooks."));
        }
        if account.level(entity_type, "read") == "no" {
            return Ok(refuse(403, "Entity type is forbidden."));
        }
        if kind.is_empty() {
            return Ok(refuse(403, "Not supported event."));
        }
        let has_field = |field| {
            simulated(entity_type).is_some_and(|scope| self.definitions(scope).field(field).is_some())
        };
        if field.is_some_and(|field| !has_field(field)) {
            return Ok(refuse(403, "Field does not exist."));
        }
        if self.refuses_address(url) {
            return Ok(invalid(TABLE, &Invalid { field: "url".to_owned(), kind: "notInternal" }));
        }
        let owned = all(store).filter(|hook| hook.get("userId") == Some(&json!(account.id))).count();
        if account.kind == AccountKind::Api && owned >= PER_USER_MAX {
            return Ok(refuse(403, "Webhook number per user exceeded the limit."));
        }
        let id = self.ids.next(now);
        let skip_own = account.kind == AccountKind::Api && body.get("skipOwn") == Some(&json!(true));
        let hook = object(json!({
            "id": id, "deleted": false, "event": event, "url": url, "isActive": true,
            "entityType": entity_type, "type": kind, "field": field,
            "secretKey": Uuid::new_v4().simple().to_string(), "skipOwn": skip_own,
            "createdAt": stamp(now), "modifiedAt": stamp(now),
            "createdById": account.id, "createdByName": account.name(),
            "modifiedById": null, "modifiedByName": null, "userId": account.id,
        }));
        let note = note(Operation::Create, account, &id, None, Some(&hook));
        store.commit(now, Some(note), vec![Change::set(TABLE, &id, Value::Object(hook.clone()))])?;
        let mut shown = shown(&hook);
        shown.shift_remove("modifiedById");
        let mut answer = ok(&Value::Null);
        answer.status = 201;
        Ok(answer.body(php_json(&Value::Object(shown))))
    }

    fn change_webhook(
        &self,
        store: &mut Store,
        now: Timestamp,
        account: &Account,
        request: &Request,
        id: &str,
        before: Record,
    ) -> io::Result<Answer> {
        let body = match body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let mut hook = before.clone();
        for name in ["url", "isActive", "skipOwn"] {
            if let Some(value) = body.get(name) {
                hook.insert(name.to_owned(), value.clone());
            }
        }
        for (name, value) in [
            ("modifiedAt", json!(stamp(now))),
            ("modifiedById", json!(account.id)),
            ("modifiedByName", json!(account.name())),
        ] {
            hook.insert(name.to_owned(), value);
        }
        let note = note(Operation::Update, account, id, Some(&before), Some(&hook));
        store.commit(now, Some(note), vec![Change::set(TABLE, id, Value::Object(hook.clone()))])?;
        Ok(ok(&Value::Object(shown(&hook))))
    }
}

fn note(
    operation: Operation,
    account: &Account,
    id: &str,
    before: Option<&Record>,
    after: Option<&Record>,
) -> Note {
    Note {
        operation,
        entity: TABLE,
        record_id: id.to_owned(),
        actor_kind: ActorKind::Api,
        actor: account.user_name.clone(),
        before: before.cloned().map(Value::Object),
        after: after.cloned().map(Value::Object),
    }
}
