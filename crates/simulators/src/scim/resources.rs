//! Users and groups as they are kept: attributes by id, what is looked up in tables of its own, and members apart from
//! their group, since a group may have very many.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::options::{ScimNesting, ScimOptions};
use super::refusal::Refusal;
use super::schema::{ENTERPRISE, Kind, normalise};
use crate::dice::Dice;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;

const MEMBERS: &str = "members";
const EXTERNAL_IDS: &str = "external_ids";
const NAMES: &str = "names";
const COUNTERS: &str = "counters";
/// Between the parts of a key; no text that is looked for has it.
const SEPARATOR: char = '\u{1}';

/// Who asks for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Api,
    Person,
    Seed,
}

/// A resource that is being changed.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// As it was; none for a new one.
    pub(super) before: Option<Record>,
    /// As it is to be, without members.
    pub(super) attributes: Record,
    /// Who comes into a group, and who (none) leaves it.
    pub(super) members: BTreeMap<String, Option<Value>>,
}

fn key(parts: &[&str]) -> String {
    parts.join(&SEPARATOR.to_string())
}

fn below<'a>(store: &'a Store, table: &str, prefix: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let rows = store.rows_after(table, prefix);
    rows.map_while(move |(key, row)| Some((key.strip_prefix(prefix)?, row)))
}

/// What has an external id, exactly.
pub(super) fn ids_by_external_id<'a>(store: &'a Store, kind: Kind, external_id: &str) -> Vec<&'a str> {
    let prefix = key(&[kind.endpoint(), external_id, ""]);
    below(store, EXTERNAL_IDS, &prefix).map(|(id, _)| id).collect()
}

/// What has a name (users their `userName`, groups their `displayName`), in any case.
pub(super) fn ids_by_name<'a>(store: &'a Store, kind: Kind, name: &str) -> Vec<&'a str> {
    let prefix = key(&[kind.endpoint(), &name.to_lowercase(), ""]);
    below(store, NAMES, &prefix).map(|(id, _)| id).collect()
}

/// The members of a group, by id.
pub(super) fn members(store: &Store, group: &str) -> Vec<Value> {
    let prefix = key(&[group, ""]);
    below(store, MEMBERS, &prefix).map(|(_, member)| member.clone()).collect()
}

pub(super) fn is_member(store: &Store, group: &str, id: &str) -> bool {
    store.get(MEMBERS, &key(&[group, id])).is_some()
}

pub(super) fn attributes(store: &Store, kind: Kind, id: &str) -> Option<Record> {
    store.get(kind.endpoint(), id)?["attributes"].as_object().cloned()
}

/// `W/"7"`
pub(super) fn version(store: &Store, kind: Kind, id: &str) -> Option<String> {
    let number = store.get(kind.endpoint(), id)?["version"].as_u64()?;
    Some(format!("W/\"{number}\""))
}

/// A resource as a client sees it.
pub(super) fn whole(
    store: &Store,
    kind: Kind,
    id: &str,
    base: &str,
    has_versions: bool,
    with_members: bool,
) -> Option<Value> {
    let row = store.get(kind.endpoint(), id)?;
    let attributes = row["attributes"].as_object()?;
    let mut schemas = vec![kind.schema()];
    if attributes.contains_key(ENTERPRISE) {
        schemas.push(ENTERPRISE);
    }
    let mut whole = json!({ "schemas": schemas, "id": id, "meta": {
        "resourceType": kind.name(), "created": row["created"], "lastModified": row["modified"],
        "location": format!("{base}/{}/{id}", kind.endpoint()),
    }});
    if has_versions {
        whole["meta"]["version"] = json!(version(store, kind, id));
    }
    let record = whole.as_object_mut()?;
    record.extend(attributes.clone());
    if kind == Kind::Group && with_members {
        let members = members(store, id);
        if !members.is_empty() {
            record.insert(MEMBERS.to_owned(), Value::Array(members));
        }
    }
    Some(whole)
}

fn number(store: &Store, name: &str) -> u64 {
    store.get(COUNTERS, name).and_then(Value::as_u64).unwrap_or(0)
}

/// An id that no one can guess from another one, and that a test gets again.
fn new_id(number: u64) -> String {
    let mut dice = Dice::new(number);
    format!("{:016x}{:08x}", dice.roll(), dice.roll() >> 32)
}

fn text<'a>(attributes: &'a Record, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

impl Draft {
    pub(super) fn new(store: &Store, kind: Kind, attributes: Record) -> Self {
        let id = new_id(number(store, "id") + 1);
        Self { kind, id, before: None, attributes, members: BTreeMap::new() }
    }

    pub(super) fn of(store: &Store, kind: Kind, id: &str) -> Option<Self> {
        let before = attributes(store, kind, id)?;
        let (attributes, members) = (before.clone(), BTreeMap::new());
        Some(Self { kind, id: id.to_owned(), before: Some(before), attributes, members })
    }

    /// The members as they would be.
    pub(super) fn members_now(&self, store: &Store) -> BTreeMap<String, Value> {
        let mut now: BTreeMap<String, Value> = members(store, &self.id)
            .into_iter()
            .filter_map(|member| Some((member["value"].as_str()?.to_owned(), member)))
            .collect();
        for (id, member) in &self.members {
            match member {
                Some(member) => now.insert(id.clone(), member.clone()),
                None => now.remove(id),
            };
        }
        now
    }

    pub(super) fn has_member(&self, store: &Store, id: &str) -> bool {
        match self.members.get(id) {
            Some(member) => member.is_some(),
            None => is_member(store, &self.id, id),
        }
    }

    pub(super) fn add_members(&mut self, store: &Store, list: &Value) -> Result<(), Refusal> {
        for member in list.as_array().into_iter().flatten() {
            let id = member["value"].as_str().filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| Refusal::value("a member has no value"))?;
            if !self.has_member(store, id) {
                self.members.insert(id.to_owned(), Some(member.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn clear_members(&mut self, store: &Store) {
        self.members = self.members_now(store).into_keys().map(|id| (id, None)).collect();
    }

    /// Takes `members` out of the attributes of a whole resource: these and no others.
    pub(super) fn take_members(&mut self, store: &Store) -> Result<(), Refusal> {
        self.clear_members(store);
        let Some(list) = self.attributes.shift_remove(MEMBERS) else { return Ok(()) };
        self.add_members(store, &list)
    }

    /// Whether what is kept would change.
    fn changes(&self, store: &Store) -> bool {
        let changed =
            |(id, member): (&String, &Option<Value>)| member.is_some() != is_member(store, &self.id, id);
        self.before.as_ref() != Some(&self.attributes) || self.members.iter().any(changed)
    }

    /// What the service has against it.
    fn check(&mut self, store: &Store, options: &ScimOptions) -> Result<(), Refusal> {
        let required = self.kind.required();
        let name = text(&self.attributes, required).unwrap_or_default().trim().to_owned();
        if name.is_empty() {
            let detail = format!("Field '{required}' is required but value is missing, null or empty");
            return Err(Refusal::value(detail));
        }
        if !options.enterprise && self.attributes.contains_key(ENTERPRISE) {
            return Err(Refusal::bad("invalidSyntax", "The enterprise extension is not supported"));
        }
        let others = |ids: Vec<&str>| ids.iter().any(|id| *id != self.id);
        let unique_name = self.kind == Kind::User || options.unique_group_names;
        if unique_name && others(ids_by_name(store, self.kind, &name)) {
            return Err(Refusal::taken());
        }
        if let Some(external_id) = text(&self.attributes, "externalId")
            && options.unique_external_ids
            && others(ids_by_external_id(store, self.kind, external_id))
        {
            return Err(Refusal::taken());
        }
        let is_group = |(id, member): (&String, &Option<Value>)| {
            let told = member.as_ref().is_some_and(|member| member["type"] == "Group");
            member.is_some() && (told || store.get(Kind::Group.endpoint(), id).is_some())
        };
        match options.nesting {
            ScimNesting::Works => {}
            ScimNesting::Refused if self.members.iter().any(is_group) => {
                return Err(Refusal::value("A group cannot be a member of a group"));
            }
            ScimNesting::Refused => {}
            ScimNesting::Dropped => self.members.retain(|id, member| !is_group((id, member))),
        }
        Ok(())
    }

    /// Keeps it.
    pub(super) fn save(
        mut self,
        store: &mut Store,
        now: Timestamp,
        options: &ScimOptions,
        by: By,
    ) -> io::Result<Result<String, Refusal>> {
        if options.normalises {
            normalise(&mut self.attributes);
        }
        if by != By::Seed
            && let Err(refusal) = self.check(store, options)
        {
            return Ok(Err(refusal));
        }
        let mut changes = Vec::new();
        if self.changes(store) {
            let version = number(store, "version") + 1;
            changes.push(Change::set(COUNTERS, "version", json!(version)));
            if self.before.is_none() {
                changes.push(Change::set(COUNTERS, "id", json!(number(store, "id") + 1)));
            }
            let created = store.get(self.kind.endpoint(), &self.id).map(|row| row["created"].clone());
            let row = json!({
                "attributes": self.attributes, "created": created.unwrap_or_else(|| json!(now.to_string())),
                "modified": now.to_string(), "version": version,
            });
            changes.extend(self.index(self.before.as_ref(), None));
            changes.extend(self.index(None, Some(&self.attributes)));
            changes.push(Change::set(self.kind.endpoint(), &self.id, row));
            for (id, member) in &self.members {
                let key = key(&[&self.id, id]);
                changes.push(match member {
                    Some(member) => Change::set(MEMBERS, &key, member.clone()),
                    None => Change::remove(MEMBERS, &key),
                });
            }
        }
        let note = self.note(store, by);
        store.commit(now, Some(note), changes)?;
        Ok(Ok(self.id))
    }

    fn index(&self, before: Option<&Record>, after: Option<&Record>) -> Vec<Change> {
        let endpoint = self.kind.endpoint();
        let keys = |attributes: &Record| {
            let external_id = text(attributes, "externalId").map(|id| (EXTERNAL_IDS, id.to_owned()));
            let name = text(attributes, self.kind.required()).map(|name| (NAMES, name.to_lowercase()));
            let own: Vec<_> = external_id.into_iter().chain(name).collect();
            own.into_iter().map(|(table, text)| (table, key(&[endpoint, &text, &self.id])))
        };
        let removed = before.into_iter().flat_map(keys).map(|(table, key)| Change::remove(table, &key));
        let set = after.into_iter().flat_map(keys).map(|(table, key)| Change::set(table, &key, Value::Null));
        removed.chain(set).collect()
    }

    /// Without the members that stay: they may be very many.
    fn note(&self, store: &Store, by: By) -> Note {
        let mut after = self.attributes.clone();
        let of = |comes: bool| -> Vec<&String> {
            let changed = |(id, member): &(&String, &Option<Value>)| {
                member.is_some() == comes && is_member(store, &self.id, id) != comes
            };
            self.members.iter().filter(changed).map(|(id, _)| id).collect()
        };
        for (name, ids) in [("membersAdded", of(true)), ("membersRemoved", of(false))] {
            if !ids.is_empty() {
                after.insert(name.to_owned(), json!(ids));
            }
        }
        let operation = if self.before.is_some() { Operation::Update } else { Operation::Create };
        note(operation, self.kind, &self.id, by, self.before.clone(), Some(after))
    }
}

fn note(
    operation: Operation,
    kind: Kind,
    id: &str,
    by: By,
    before: Option<Record>,
    after: Option<Record>,
) -> Note {
    let (actor_kind, actor) = match by {
        By::Api => (ActorKind::Api, "client"),
        By::Person => (ActorKind::Person, "person"),
        By::Seed => (ActorKind::Seed, "seed"),
    };
    Note {
        operation,
        entity: kind.name(),
        record_id: id.to_owned(),
        actor_kind,
        actor: actor.to_owned(),
        before: before.map(Value::Object),
        after: after.map(Value::Object),
    }
}

/// Deletes a resource; it stays a member of others.
pub(super) fn delete(store: &mut Store, now: Timestamp, kind: Kind, id: &str, by: By) -> io::Result<bool> {
    let Some(draft) = Draft::of(store, kind, id) else { return Ok(false) };
    let mut changes = draft.index(draft.before.as_ref(), None);
    changes.push(Change::remove(kind.endpoint(), id));
    let prefix = key(&[id, ""]);
    let own: Vec<String> = below(store, MEMBERS, &prefix).map(|(member, _)| key(&[id, member])).collect();
    changes.extend(own.iter().map(|key| Change::remove(MEMBERS, key)));
    let note = note(Operation::Delete, kind, id, by, draft.before.clone(), None);
    store.commit(now, Some(note), changes)?;
    Ok(true)
}
