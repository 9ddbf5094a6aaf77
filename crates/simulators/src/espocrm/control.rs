//! Records of any simulated type, and any person who makes, changes or deletes them: control requests of this system
//! alone, below `/_control/` of its listener and in [`Simulator::control`].
//!
//! | request | meaning |
//! |---|---|
//! | `GET types/{type}` | its records as an administrator reads them, deleted ones too |
//! | `POST types/{type} {as?, fields}` | a person makes one; answers `{"id":…}` |
//! | `PATCH types/{type}/{id} {as?, fields}` | a person changes these fields |
//! | `DELETE types/{type}/{id} {as?}` | a person deletes it |
//!
//! `as` is a user's id; without it, it is the person at the screen.
//!
//! [`Simulator::control`]: crate::Simulator::control

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::{Account, object};
use super::definitions::simulated;
use super::records::{self, By};
use super::validation;
use super::views::View;
use super::{Espocrm, EspocrmSimulator, PERSON_ID};
use crate::host::Core;
use crate::journal::ActorKind;
use crate::store::Store;
use crate::upstream::Record;

pub(super) fn answer(
    espocrm: &mut Espocrm,
    store: &mut Store,
    now: Timestamp,
    method: &str,
    path: &[&str],
    body: &Value,
) -> Result<Value, String> {
    let user = body.get("as").and_then(Value::as_str).unwrap_or(PERSON_ID);
    let fields = object(body.get("fields").cloned().unwrap_or(Value::Null));
    match (method, path) {
        ("GET", ["types", name]) => Ok(Value::Array(espocrm.all_of(store, known(name)?))),
        ("POST", ["types", name]) => {
            let id = espocrm.create_as(store, now, user, known(name)?, &fields)?;
            Ok(json!({ "id": id }))
        }
        ("PATCH", ["types", name, id]) => {
            espocrm.edit_as(store, now, user, known(name)?, id, &fields).map(|()| json!({}))
        }
        ("DELETE", ["types", name, id]) => {
            espocrm.remove_as(store, now, user, known(name)?, id).map(|()| json!({}))
        }
        (method, path) => Err(format!("no control request {method} {}", path.join("/"))),
    }
}

fn known(name: &str) -> Result<&'static str, String> {
    simulated(name).ok_or_else(|| format!("{name} is no simulated entity type"))
}

impl Espocrm {
    fn person(&self, user_id: &str) -> Result<Account, String> {
        let found = self.accounts().iter().find(|account| account.id == user_id).cloned();
        found.ok_or_else(|| format!("there is no user {user_id}"))
    }

    pub(super) fn all_of(&self, store: &Store, scope: &str) -> Vec<Value> {
        store.rows(scope).filter_map(|(id, _)| self.one_of(store, scope, id)).collect()
    }

    pub(super) fn one_of(&self, store: &Store, scope: &str, id: &str) -> Option<Value> {
        let record = store.get(scope, id)?.as_object()?;
        let reader = self.accounts().first()?;
        Some(Value::Object(self.viewer(store, scope, reader).show(record, View::Read)))
    }

    pub(super) fn create_as(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user_id: &str,
        scope: &'static str,
        fields: &Record,
    ) -> Result<String, String> {
        let person = self.person(user_id)?;
        let read = validation::read(self.definitions(scope), fields, true);
        let input = read.map_err(|error| records::in_words(&error))?;
        self.check_as_person(store, scope, None, &input)?;
        let by = By { account: &person, kind: ActorKind::Person };
        let record = self.insert(store, now, scope, &by, &input).map_err(|error| error.to_string())?;
        Ok(record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    pub(super) fn edit_as(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user_id: &str,
        scope: &'static str,
        id: &str,
        fields: &Record,
    ) -> Result<(), String> {
        let person = self.person(user_id)?;
        let before = records::find(store, scope, id).ok_or("there is no such record")?;
        let read = validation::read(self.definitions(scope), fields, false);
        let input = read.map_err(|error| records::in_words(&error))?;
        self.check_as_person(store, scope, Some(&before), &input)?;
        let by = By { account: &person, kind: ActorKind::Person };
        self.overwrite(store, now, scope, &by, &before, &input).map(|_| ()).map_err(|error| error.to_string())
    }

    pub(super) fn remove_as(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user_id: &str,
        scope: &'static str,
        id: &str,
    ) -> Result<(), String> {
        let person = self.person(user_id)?;
        let before = records::find(store, scope, id).ok_or("there is no such record")?;
        let by = By { account: &person, kind: ActorKind::Person };
        self.bury(store, now, scope, &by, &before).map_err(|error| error.to_string())
    }

    pub(super) fn configure_type(&mut self, name: &str, change: &Value) -> Result<(), String> {
        let definitions = self.catalogue.of_mut(known(name)?);
        for (key, value) in object(change.clone()) {
            match (key.as_str(), value) {
                ("optimistic_concurrency", Value::Bool(on)) => definitions.has_versions = on,
                ("fields", Value::Object(fields)) => {
                    for (field, change) in &fields {
                        definitions.change_field(field, change)?;
                    }
                }
                (key, value) => return Err(format!("{key}: {value} is no setting of an entity type")),
            }
        }
        Ok(())
    }
}

impl EspocrmSimulator {
    /// The records of a type (`Meeting`, `Call`, `Contact`, `Lead`, `CBeteiligte`) as an administrator reads them, deleted
    /// ones too, with `deleted: true`; none of an unknown type.
    #[must_use]
    pub fn records_of(&self, name: &str) -> Vec<Value> {
        let core = self.shared().core();
        simulated(name).map(|scope| core.upstream.all_of(&core.store, scope)).unwrap_or_default()
    }

    /// One of [`Self::records_of`].
    #[must_use]
    pub fn record_of(&self, name: &str, id: &str) -> Option<Value> {
        let core = self.shared().core();
        core.upstream.one_of(&core.store, simulated(name)?, id)
    }

    /// Puts a record of a type there as if it had always been; see [`Self::seed`].
    ///
    /// # Errors
    /// When the type is unknown, or the state cannot be saved.
    pub fn seed_of(&self, name: &str, record: Record) -> io::Result<String> {
        let now = self.shared().now();
        let scope = known(name).map_err(io::Error::other)?;
        let mut core = self.shared().core();
        let Core { upstream, store } = &mut *core;
        upstream.seed_record(store, now, scope, record)
    }

    /// Makes a record of a type as this user would. Answers its id.
    ///
    /// # Errors
    /// What the system says against it.
    pub fn create_as(&self, user_id: &str, name: &str, fields: &Record) -> Result<String, String> {
        let now = self.shared().now();
        let mut core = self.shared().core();
        let Core { upstream, store } = &mut *core;
        upstream.create_as(store, now, user_id, known(name)?, fields)
    }

    /// Changes some fields of a record as this user would; that fires webhooks, also those with skipOwn.
    ///
    /// # Errors
    /// What the system says against it.
    pub fn edit_as(&self, user_id: &str, name: &str, id: &str, fields: &Record) -> Result<(), String> {
        let now = self.shared().now();
        let mut core = self.shared().core();
        let Core { upstream, store } = &mut *core;
        upstream.edit_as(store, now, user_id, known(name)?, id, fields)
    }

    /// Deletes a record as this user would.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_as(&self, user_id: &str, name: &str, id: &str) -> Result<(), String> {
        let now = self.shared().now();
        let mut core = self.shared().core();
        let Core { upstream, store } = &mut *core;
        upstream.remove_as(store, now, user_id, known(name)?, id)
    }
}
