//! What an administrator makes of users that are people: he alone creates, changes and deletes them. As all that he makes, it
//! is in the journal, and forgotten by a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::{Account, AccountKind, Credential, Role};
use super::admin::text;
use super::answers::{invalid, not_simulated, ok, php_json, refuse};
use super::validation::{self, Input, Invalid, stamp};
use super::{Espocrm, contact_data};
use crate::journal::{ActorKind, Operation};
use crate::store::{Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Attributes that are the account's.
const OF_ACCOUNT: [&str; 6] = ["userName", "firstName", "lastName", "title", "isActive", "type"];

/// Users and teams as they were written.
#[derive(Debug, Default)]
pub(super) struct People {
    /// What was written to users beside what their accounts say.
    written: BTreeMap<String, Record>,
    /// Users that were deleted, as an administrator can still read them.
    deleted: BTreeMap<String, Record>,
    /// Teams, deleted ones too.
    pub(super) teams: BTreeMap<String, Record>,
    teams_of: BTreeMap<String, BTreeSet<String>>,
}

impl People {
    pub(super) fn written(&self, user: &str) -> Option<&Record> {
        self.written.get(user)
    }

    pub(super) fn deleted(&self, user: &str) -> Option<&Record> {
        self.deleted.get(user)
    }

    pub(super) fn teams_of(&self, user: &str) -> Vec<&str> {
        self.teams_of.get(user).into_iter().flatten().map(String::as_str).collect()
    }

    pub(super) fn is_member(&self, team: &str, user: &str) -> bool {
        self.teams_of.get(user).is_some_and(|teams| teams.contains(team))
    }

    /// Links or unlinks; answers whether that changed anything.
    pub(super) fn set_member(&mut self, team: &str, user: &str, is_one: bool) -> bool {
        let teams = self.teams_of.entry(user.to_owned()).or_default();
        if is_one { teams.insert(team.to_owned()) } else { teams.remove(team) }
    }

    pub(super) fn empty(&mut self, team: &str) {
        for teams in self.teams_of.values_mut() {
            teams.remove(team);
        }
    }
}

impl Espocrm {
    /// `POST User`, `PUT User/{id}`, `DELETE User/{id}` by an administrator, of people.
    pub(super) fn write_user(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        request: &Request,
        path: &[&str],
        body: &Record,
    ) -> io::Result<Answer> {
        match (request.method.as_str(), path) {
            ("POST", [_]) => self.create_person(store, now, admin, body),
            ("PUT" | "PATCH", [_, id]) => self.change_person(store, now, admin, id, request, body),
            ("DELETE", [_, id]) => self.delete_person(store, now, admin, id),
            (method, path) => Ok(not_simulated(&format!("{method} {}", path.join("/")))),
        }
    }

    fn create_person(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        body: &Record,
    ) -> io::Result<Answer> {
        let kind = match text(body, "type") {
            "" | "regular" => AccountKind::Regular,
            "admin" => AccountKind::Admin,
            kind => return Ok(not_simulated(&format!("POST User of type {kind}"))),
        };
        let input = match self.read_person(body, true) {
            Ok(input) => input,
            Err(answer) => return Ok(answer),
        };
        if self.has_user_name(text(&input.values, "userName")) {
            return Ok(refuse(409, "userNameExists"));
        }
        let id = self.ids.next(now);
        // The password is made by the server, and nobody is told.
        let mut user = Account::api(&id, "", Credential::Password(format!("generated-{id}")), Role::sync());
        user.kind = kind;
        self.options.accounts.push(user);
        if self.definitions("User").has_versions {
            let first = Record::from_iter([("versionNumber".to_owned(), json!(1))]);
            self.people.written.insert(id.clone(), first);
        }
        let at = Record::from_iter([
            ("createdAt".to_owned(), json!(stamp(now))),
            ("createdById".to_owned(), json!(admin.id)),
            ("createdByName".to_owned(), json!(admin.name())),
            ("lastAccess".to_owned(), Value::Null),
        ]);
        self.people.written.entry(id.clone()).or_default().extend(at);
        self.store_person(now, &id, &input);
        let after = self.person_record(&id);
        commit(store, now, admin, Operation::Create, "User", &id, None, Some(after.clone()))?;
        let mut shown = after;
        shown.retain(|_, value| !value.is_null());
        Ok(ok(&Value::Object(shown)))
    }

    fn change_person(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        id: &str,
        request: &Request,
        body: &Record,
    ) -> io::Result<Answer> {
        if !self.accounts().iter().any(|account| account.id == id) {
            return Ok(refuse(404, &format!("Record {id} not found.")));
        }
        let mut input = match self.read_person(body, false) {
            Ok(input) => input,
            Err(answer) => return Ok(answer),
        };
        if id == admin.id {
            // Nobody switches himself off.
            input.values.shift_remove("isActive");
            input.values.shift_remove("type");
        }
        let before = self.person_record(id);
        let name = text(&input.values, "userName");
        if !name.is_empty() && name != text(&before, "userName") && self.has_user_name(name) {
            return Ok(refuse(409, "userNameExists"));
        }
        if let Some(clash) = self.stale_person(&before, &input, request) {
            return Ok(clash);
        }
        if self.definitions("User").has_versions {
            let version = before.get("versionNumber").and_then(Value::as_u64).unwrap_or(0) + 1;
            let written = self.people.written.entry(id.to_owned()).or_default();
            written.insert("versionNumber".to_owned(), json!(version));
        }
        self.store_person(now, id, &input);
        let after = self.person_record(id);
        commit(store, now, admin, Operation::Update, "User", id, Some(before.clone()), Some(after))?;
        // Numbers and addresses are answered as they were before.
        let mut shown = self.person_record(id);
        shown.extend(self.teams_shown(id));
        for data in ["emailAddressData", "phoneNumberData"] {
            if input.values.contains_key(data) {
                shown.insert(data.to_owned(), before.get(data).cloned().unwrap_or(json!([])));
            }
        }
        Ok(ok(&Value::Object(shown)))
    }

    fn delete_person(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        id: &str,
    ) -> io::Result<Answer> {
        if !self.accounts().iter().any(|account| account.id == id) {
            return Ok(refuse(404, &format!("Record {id} not found.")));
        }
        if id == admin.id {
            return Ok(refuse(403, "Can't delete own user."));
        }
        let before = self.person_record(id);
        let mut after = before.clone();
        after.insert("deleted".to_owned(), json!(true));
        self.options.accounts.retain(|account| account.id != id);
        self.people.written.remove(id);
        self.people.teams_of.remove(id);
        self.people.deleted.insert(id.to_owned(), after);
        commit(store, now, admin, Operation::Delete, "User", id, Some(before), None)?;
        Ok(ok(&json!(true)))
    }

    fn person_record(&self, id: &str) -> Record {
        let user = self.accounts().iter().find(|account| account.id == id);
        user.map(|user| self.user_record(user)).unwrap_or_default()
    }

    /// As MariaDB compares: without regard to case.
    fn has_user_name(&self, name: &str) -> bool {
        self.accounts().iter().any(|account| account.user_name.eq_ignore_ascii_case(name))
    }

    fn read_person(&self, body: &Record, creating: bool) -> Result<Input, Answer> {
        let input = validation::read(self.definitions("User"), body, creating)
            .map_err(|error| invalid("User", &error))?;
        // userNameRegularExpression of the default settings.
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-@_.".contains(c);
        if !text(&input.values, "userName").chars().all(fits) {
            let bad = Invalid { field: "userName".to_owned(), kind: "valid" };
            return Err(invalid("User", &bad));
        }
        Ok(input)
    }

    fn store_person(&mut self, now: Timestamp, id: &str, input: &Input) {
        let before = self.person_record(id);
        let written = self.people.written.entry(id.to_owned()).or_default();
        for name in ["emailAddress", "phoneNumber"] {
            if let Some(set) = contact_data::written(name, contact_data::set(&before, name), &input.values) {
                written.insert(format!("{name}Data"), Value::Array(set));
            }
        }
        let is_own = |name: &str| {
            OF_ACCOUNT.contains(&name) || name.starts_with("emailAddress") || name.starts_with("phoneNumber")
        };
        let others = input.values.iter().filter(|(name, _)| !is_own(name) && !name.starts_with("teams"));
        written.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        written.insert("modifiedAt".to_owned(), json!(stamp(now)));
        let mail = contact_data::primary_address(written, "emailAddress");
        let has_mails = written.contains_key("emailAddressData");
        let Some(user) = self.options.accounts.iter_mut().find(|account| account.id == id) else { return };
        if has_mails {
            user.email = mail.as_str().map(str::to_owned);
        }
        for (name, value) in &input.values {
            let text = value.as_str().map(str::to_owned);
            match name.as_str() {
                "userName" => user.user_name = text.unwrap_or_default(),
                "firstName" => user.first_name = text,
                "lastName" => user.last_name = text.unwrap_or_default(),
                "title" => user.title = text,
                "isActive" => user.is_active = value.as_bool().unwrap_or(user.is_active),
                _ => {}
            }
        }
    }

    /// 409 when the version sent is not the stored one and a value would differ from the stored one.
    fn stale_person(&self, before: &Record, input: &Input, request: &Request) -> Option<Answer> {
        let sent = request.header("X-Version-Number").filter(|_| self.definitions("User").has_versions)?;
        let stored = before.get("versionNumber").filter(|version| !version.is_null())?;
        if sent.trim().parse::<u64>().ok() == stored.as_u64() {
            return None;
        }
        let present = |name: &str| before.get(name).cloned().unwrap_or(Value::Null);
        let clashing = input.values.iter().filter(|(name, value)| present(name) != **value);
        let values: Record = clashing.map(|(name, _)| (name.clone(), present(name))).collect();
        if values.is_empty() {
            return None;
        }
        let body = json!({ "values": values, "versionNumber": stored });
        Some(refuse(409, "modified").body(php_json(&body)))
    }
}

/// Writes down what an administrator did.
#[expect(clippy::too_many_arguments, reason = "what a journal's entry has")]
pub(super) fn commit(
    store: &mut Store,
    now: Timestamp,
    admin: &Account,
    operation: Operation,
    entity: &'static str,
    id: &str,
    before: Option<Record>,
    after: Option<Record>,
) -> io::Result<()> {
    let note = Note {
        operation,
        entity,
        record_id: id.to_owned(),
        actor_kind: ActorKind::Api,
        actor: admin.user_name.clone(),
        before: before.map(Value::Object),
        after: after.map(Value::Object),
    };
    store.commit(now, Some(note), Vec::new())
}
