//! Records of the simulated entity types: read, create, update, delete.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::Account;
use super::answers::{invalid, not_simulated, ok, php_json, refuse};
use super::validation::{self, Input, Invalid, stamp};
use super::views::{View, name_of};
use super::{Espocrm, contact_data, events, meetings};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Who writes, and through which door.
pub(super) struct By<'a> {
    pub(super) account: &'a Account,
    pub(super) kind: ActorKind,
}

/// A body as EspoCRM takes it: nothing of another content type, an error for broken JSON.
pub(super) fn body(request: &Request) -> Result<Record, Answer> {
    let is_json = request.header("Content-Type").is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json || request.body.is_empty() {
        return Ok(Record::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(_) => Ok(Record::new()),
        Err(_) => Err(Answer::status(500).with("Content-Type", "application/json")),
    }
}

/// A record that is not deleted.
pub(super) fn find(store: &Store, scope: &str, id: &str) -> Option<Record> {
    store.get(scope, id)?.as_object().filter(|record| record.get("deleted") != Some(&json!(true))).cloned()
}

impl Espocrm {
    pub(super) fn read_record(&self, store: &Store, account: &Account, scope: &str, id: &str) -> Answer {
        if account.level(scope, "read") == "no" {
            return refuse(403, "No read access.");
        }
        let is_admin = account.kind == super::AccountKind::Admin;
        let deleted = || store.get(scope, id).filter(|_| is_admin)?.as_object().cloned();
        match find(store, scope, id).or_else(deleted) {
            None => refuse(404, &format!("Record {id} does not exist.")),
            Some(record) if !account.may(scope, "read", &record) => refuse(403, "No read access."),
            Some(record) => ok(&Value::Object(self.viewer(store, scope, account).show(&record, View::Read))),
        }
    }

    pub(super) fn create_record(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        account: &Account,
        request: &Request,
    ) -> io::Result<Answer> {
        let body = match body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        if account.level(scope, "create") != "yes" {
            return Ok(refuse(403, "No create access."));
        }
        let input = match validation::read(self.definitions(scope), &body, true) {
            Ok(input) => input,
            Err(error) => return Ok(invalid(scope, &error)),
        };
        if let Some(answer) = self.check_assignment(account, &input) {
            return Ok(answer);
        }
        if let Some(answer) = self.check_links(store, scope, None, &input) {
            return Ok(answer);
        }
        if self.definitions(scope).is_person() && request.header("X-Skip-Duplicate-Check") != Some("true") {
            let twins = self.duplicates(store, scope, account, &input);
            if !twins.is_empty() {
                return Ok(refuse(409, "duplicate").body(php_json(&Value::Array(twins))));
            }
        }
        let by = By { account, kind: ActorKind::Api };
        let record = self.insert(store, now, scope, &by, &input)?;
        let mut shown = self.viewer(store, scope, account).show(&record, View::Created);
        shown.extend(input.echo);
        Ok(ok(&Value::Object(shown)))
    }

    /// Stores a new record and its events.
    pub(super) fn insert(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        by: &By<'_>,
        input: &Input,
    ) -> io::Result<Record> {
        let id = self.ids.next(now);
        let at = json!(stamp(now));
        let mut record = Record::new();
        let mut set = |name: &str, value: Value| {
            record.insert(name.to_owned(), value);
        };
        set("id", json!(id));
        set("deleted", json!(false));
        set("createdAt", at.clone());
        set("modifiedAt", at.clone());
        set("streamUpdatedAt", at);
        set("createdById", json!(by.account.id));
        if self.definitions(scope).has_versions {
            set("versionNumber", json!(1));
        }
        store_input(&mut record, input);
        self.settle(scope, by.account, &mut record, None, &input.values);
        let mut changes = vec![Change::set(scope, &id, Value::Object(record.clone()))];
        changes.extend(share_flags(store, scope, &id, &record, input));
        let payload = self.viewer(store, scope, by.account).created_payload(&record, input);
        changes.extend(events::raise(store, scope, "create", None, &by.account.id, payload));
        let after = Some(Value::Object(record.clone()));
        store.commit(now, Some(note(Operation::Create, scope, &id, by, None, after)), changes)?;
        Ok(record)
    }

    pub(super) fn update_record(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        account: &Account,
        id: &str,
        request: &Request,
    ) -> io::Result<Answer> {
        let body = match body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        if account.level(scope, "edit") == "no" {
            return Ok(refuse(403, "No edit access."));
        }
        let Some(before) = find(store, scope, id) else {
            return Ok(refuse(404, &format!("Record {id} not found.")));
        };
        if !account.may(scope, "edit", &before) {
            return Ok(refuse(403, "No edit access."));
        }
        let input = match validation::read(self.definitions(scope), &body, false) {
            Ok(input) => input,
            Err(error) => return Ok(invalid(scope, &error)),
        };
        if let Some(answer) = self.check_assignment(account, &input) {
            return Ok(answer);
        }
        if let Some(answer) = self.check_links(store, scope, Some(&before), &input) {
            return Ok(answer);
        }
        if let Some(clash) = self.stale_write(scope, account, &before, &input, request) {
            return Ok(clash);
        }
        let by = By { account, kind: ActorKind::Api };
        let after = self.overwrite(store, now, scope, &by, &before, &input)?;
        Ok(ok(&Value::Object(self.viewer(store, scope, account).show_written(&before, &after, &input))))
    }

    /// Stores a record's new values and its events.
    pub(super) fn overwrite(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        by: &By<'_>,
        before: &Record,
        input: &Input,
    ) -> io::Result<Record> {
        let mut after = before.clone();
        store_input(&mut after, input);
        self.settle(scope, by.account, &mut after, Some(before), &input.values);
        after.insert("modifiedAt".to_owned(), json!(stamp(now)));
        after.insert("modifiedById".to_owned(), json!(by.account.id));
        if self.definitions(scope).has_versions {
            let version = before.get("versionNumber").and_then(Value::as_u64).unwrap_or(0) + 1;
            after.insert("versionNumber".to_owned(), json!(version));
        }
        let id = before.get("id").and_then(Value::as_str).unwrap_or_default();
        let mut changes = vec![Change::set(scope, id, Value::Object(after.clone()))];
        changes.extend(share_flags(store, scope, id, &after, input));
        if let Some(payload) = self.viewer(store, scope, by.account).changed_payload(before, &after, input) {
            changes.extend(events::raise(
                store,
                scope,
                "update",
                Some(self.definitions(scope)),
                &by.account.id,
                payload,
            ));
        }
        let (old, new) = (Value::Object(before.clone()), Value::Object(after.clone()));
        store.commit(now, Some(note(Operation::Update, scope, id, by, Some(old), Some(new))), changes)?;
        Ok(after)
    }

    pub(super) fn delete_record(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        account: &Account,
        id: &str,
    ) -> io::Result<Answer> {
        if account.level(scope, "delete") == "no" {
            return Ok(refuse(403, "No delete access."));
        }
        let Some(before) = find(store, scope, id) else {
            return Ok(refuse(404, &format!("Record {id} not found.")));
        };
        if !account.may(scope, "delete", &before) {
            return Ok(refuse(403, "No delete access."));
        }
        self.bury(store, now, scope, &By { account, kind: ActorKind::Api }, &before)?;
        Ok(ok(&json!(true)))
    }

    /// Marks a record as deleted; an administrator can still read it.
    pub(super) fn bury(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        by: &By<'_>,
        before: &Record,
    ) -> io::Result<()> {
        let id = before.get("id").and_then(Value::as_str).unwrap_or_default();
        let mut after = before.clone();
        after.insert("deleted".to_owned(), json!(true));
        after.insert("modifiedAt".to_owned(), json!(stamp(now)));
        let mut changes = vec![Change::set(scope, id, Value::Object(after))];
        changes.extend(events::raise(store, scope, "delete", None, &by.account.id, json!({ "id": id })));
        let before = Some(Value::Object(before.clone()));
        store.commit(now, Some(note(Operation::Delete, scope, id, by, before, None)), changes)
    }

    /// 403 when the assigned user is unknown or the role does not let this user assign.
    fn check_assignment(&self, account: &Account, input: &Input) -> Option<Answer> {
        let assigned = input.values.get("assignedUserId")?.as_str()?;
        let known = self.accounts().iter().any(|other| other.id == assigned);
        let allowed = account.kind == super::AccountKind::Admin
            || account.role.assignment_permission
            || assigned == account.id;
        (!known || !allowed).then(|| refuse(403, "Assignment failure: assigned user or team not allowed."))
    }

    /// 403 when something is linked that is not there; 501 for what was not observed.
    fn check_links(
        &self,
        store: &Store,
        scope: &str,
        before: Option<&Record>,
        input: &Input,
    ) -> Option<Answer> {
        if !meetings::is_one(scope) {
            return None;
        }
        if let Some(what) = meetings::unobserved(&input.values, before.is_none()) {
            return Some(not_simulated(what));
        }
        let exists = |scope: &str, id: &str| match scope {
            "User" => self.accounts().iter().any(|account| account.id == id),
            scope => find(store, scope, id).is_some(),
        };
        meetings::is_dangling(&input.values, before, exists)
            .then(|| refuse(403, "Can't relate with non-existing record."))
    }

    /// What a person may not do either, in words.
    pub(super) fn check_as_person(
        &self,
        store: &Store,
        scope: &str,
        before: Option<&Record>,
        input: &Input,
    ) -> Result<(), String> {
        match self.check_links(store, scope, before, input) {
            Some(answer) => Err(format!("status {}", answer.status)),
            None => Ok(()),
        }
    }

    fn settle(
        &self,
        scope: &str,
        account: &Account,
        record: &mut Record,
        before: Option<&Record>,
        values: &Record,
    ) {
        if meetings::is_one(scope) {
            let writing = meetings::Writing { account_id: &account.id, zone: &self.time_zone };
            writing.settle(record, before, values);
        }
    }

    /// 409 when the version sent is not the stored one and a value would differ from the stored one.
    fn stale_write(
        &self,
        scope: &str,
        account: &Account,
        before: &Record,
        input: &Input,
        request: &Request,
    ) -> Option<Answer> {
        let sent = request.header("X-Version-Number").filter(|_| self.definitions(scope).has_versions)?;
        let stored = before.get("versionNumber").filter(|version| !version.is_null())?;
        if sent.trim().parse::<u64>().ok() == stored.as_u64() {
            return None;
        }
        let mut after = before.clone();
        store_input(&mut after, input);
        self.settle(scope, account, &mut after, Some(before), &input.values);
        let names = ["salutationName", "firstName", "lastName", "middleName"];
        let differs =
            |name: &str| after.get(name).unwrap_or(&Value::Null) != before.get(name).unwrap_or(&Value::Null);
        let mut values = Record::new();
        for name in input.values.keys().filter(|name| differs(name)) {
            if names.contains(&name.as_str()) {
                for part in names {
                    values.insert(part.to_owned(), before.get(part).cloned().unwrap_or(Value::Null));
                }
                values.insert("name".to_owned(), name_of(before));
            } else {
                values.insert(name.clone(), before.get(name).cloned().unwrap_or(Value::Null));
            }
        }
        if values.is_empty() {
            return None;
        }
        Some(refuse(409, "modified").body(php_json(&json!({ "values": values, "versionNumber": stored }))))
    }

    /// Records with the same name or one of the e-mail addresses.
    fn duplicates(&self, store: &Store, scope: &str, account: &Account, input: &Input) -> Vec<Value> {
        let mut candidate = Record::new();
        store_input(&mut candidate, input);
        let name = |record: &Record| name_of(record).as_str().map(str::to_lowercase);
        let mails = |record: &Record| -> Vec<String> {
            contact_data::set(record, "emailAddress")
                .iter()
                .filter_map(|entry| Some(entry.get("emailAddress")?.as_str()?.to_lowercase()))
                .collect()
        };
        let (own_name, own_mails) = (name(&candidate), mails(&candidate));
        store
            .rows(scope)
            .filter_map(|(_, record)| record.as_object())
            .filter(|record| record.get("deleted") != Some(&json!(true)))
            .filter(|record| {
                (own_name.is_some() && name(record) == own_name)
                    || mails(record).iter().any(|mail| own_mails.contains(mail))
            })
            .map(|record| Value::Object(self.viewer(store, scope, account).show(record, View::Item)))
            .collect()
    }

    /// Puts a record there as if it had always been.
    pub(super) fn seed_record(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        scope: &'static str,
        mut fields: Record,
    ) -> io::Result<String> {
        let id = match fields.get("id").and_then(Value::as_str) {
            Some(id) => id.to_owned(),
            None => self.ids.next(now),
        };
        let admin = self.accounts().first().map(|account| account.id.clone());
        let at = stamp(now);
        for (name, value) in [
            ("deleted", json!(false)),
            ("createdAt", json!(at)),
            ("modifiedAt", fields.get("createdAt").cloned().unwrap_or(json!(at))),
            ("streamUpdatedAt", json!(at)),
            ("createdById", json!(admin)),
        ] {
            fields.entry(name).or_insert(value);
        }
        for name in ["emailAddress", "phoneNumber"] {
            let written = contact_data::written(name, &[], &fields);
            fields.shift_remove(name);
            if let Some(set) = written {
                fields.insert(format!("{name}Data"), Value::Array(set));
            }
        }
        if self.definitions(scope).has_versions {
            fields.entry("versionNumber").or_insert(json!(1));
        }
        fields.insert("id".to_owned(), json!(id));
        if let Some(admin) = self.accounts().first() {
            let written = fields.clone();
            self.settle(scope, admin, &mut fields, None, &written);
        }
        let before = store.get(scope, &id).cloned();
        let operation = if before.is_some() { Operation::Update } else { Operation::Create };
        let record = Value::Object(fields);
        let note = Note {
            operation,
            entity: scope,
            record_id: id.clone(),
            actor_kind: ActorKind::Seed,
            actor: "seed".to_owned(),
            before,
            after: Some(record.clone()),
        };
        store.commit(now, Some(note), vec![Change::set(scope, &id, record)])?;
        Ok(id)
    }
}

/// What a write of addresses changes in other records: opt-out and invalid belong to the address.
fn share_flags(store: &Store, scope: &str, id: &str, after: &Record, input: &Input) -> Vec<Change> {
    let mut changes: Vec<(String, Record)> = Vec::new();
    for name in ["emailAddress", "phoneNumber"] {
        if !input.values.contains_key(&format!("{name}Data")) {
            continue;
        }
        for (other_id, other) in store.rows(scope).filter(|(other_id, _)| *other_id != id) {
            let Some(other) = other.as_object() else { continue };
            let Some(set) =
                contact_data::shared(name, contact_data::set(after, name), contact_data::set(other, name))
            else {
                continue;
            };
            let at = changes.iter().position(|(changed, _)| changed == other_id);
            let at = at.unwrap_or_else(|| {
                changes.push((other_id.to_owned(), other.clone()));
                changes.len() - 1
            });
            changes[at].1.insert(format!("{name}Data"), Value::Array(set));
        }
    }
    changes.into_iter().map(|(id, record)| Change::set(scope, &id, Value::Object(record))).collect()
}

fn store_input(record: &mut Record, input: &Input) {
    for name in ["emailAddress", "phoneNumber"] {
        if let Some(set) = contact_data::written(name, contact_data::set(record, name), &input.values) {
            record.insert(format!("{name}Data"), Value::Array(set));
        }
    }
    for (name, value) in &input.values {
        if !name.starts_with("emailAddress") && !name.starts_with("phoneNumber") {
            record.insert(name.clone(), value.clone());
        }
    }
}

fn note(
    operation: Operation,
    scope: &'static str,
    id: &str,
    by: &By<'_>,
    before: Option<Value>,
    after: Option<Value>,
) -> Note {
    Note {
        operation,
        entity: scope,
        record_id: id.to_owned(),
        actor_kind: by.kind,
        actor: by.account.user_name.clone(),
        before,
        after,
    }
}

/// The refusal of a person's input, in words.
pub(super) fn in_words(invalid: &Invalid) -> String {
    format!("field {}: {}", invalid.field, invalid.kind)
}
