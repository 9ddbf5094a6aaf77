//! Departments and members as they are, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Wecom;
use super::errcode::Errcode;
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;

pub(super) const DEPARTMENTS: &str = "departments";
pub(super) const MEMBERS: &str = "members";

pub(super) fn department_key(id: u64) -> String {
    format!("{id:010}")
}

pub(super) fn member_key(userid: &str) -> String {
    userid.to_lowercase()
}

pub(super) fn department(store: &Store, id: u64) -> Option<&Value> {
    store.get(DEPARTMENTS, &department_key(id))
}

pub(super) fn member<'a>(store: &'a Store, userid: &str) -> Option<&'a Value> {
    store.get(MEMBERS, &member_key(userid))
}

/// The departments that a record names, also those that are not there.
pub(super) fn departments_of(member: &Value) -> Vec<u64> {
    member["department"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// What is below each department, itself included.
pub(super) fn below(store: &Store, roots: &[u64]) -> BTreeSet<u64> {
    let mut children: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (_, row) in store.rows(DEPARTMENTS) {
        let id = row["id"].as_u64().unwrap_or(0);
        children.entry(row["parentid"].as_u64().unwrap_or(0)).or_default().push(id);
    }
    let (mut found, mut left) = (BTreeSet::new(), roots.to_vec());
    while let Some(id) = left.pop() {
        if found.insert(id) {
            left.extend(children.get(&id).into_iter().flatten());
        }
    }
    found
}

/// What was done to whom: what an event is made of.
#[derive(Debug, Clone)]
pub(super) enum Done {
    MemberCreated { after: Value },
    MemberUpdated { before: Value, after: Value },
    MemberDeleted { before: Value },
    DepartmentCreated { after: Value },
    DepartmentUpdated { before: Value, after: Value },
    DepartmentDeleted { before: Value },
    TagUpdated { change: Value },
}

impl Wecom {
    /// Does what the console, or the API of writing, would do: `{"op": "create_user", …}`.
    pub(super) fn operate(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        op: &Value,
        by: ActorKind,
    ) -> Result<(), String> {
        let mut fields = op.as_object().cloned().unwrap_or_default();
        let name = fields.remove("op").and_then(|op| op.as_str().map(str::to_owned)).unwrap_or_default();
        let outcome = match name.as_str() {
            "create_user" => create_member(store, now, &fields, by),
            "update_user" => update_member(store, now, &fields, by),
            "delete_user" => delete_member(store, now, &fields, by),
            "create_party" => create_department(store, now, &fields, by),
            "update_party" => update_department(store, now, &fields, by),
            "delete_party" => delete_department(store, now, &fields, by),
            "update_tag" => Ok(Ok(Done::TagUpdated { change: Value::Object(fields) })),
            other => return Err(format!("no operation {other}")),
        };
        let done = outcome.map_err(|error| error.to_string())?.map_err(Errcode::said)?;
        self.tell(store, now, &done).map_err(|error| error.to_string())
    }
}

type Outcome = std::io::Result<Result<Done, Errcode>>;

fn userid(fields: &Record) -> String {
    fields.get("userid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn id(fields: &Record) -> u64 {
    fields.get("id").and_then(Value::as_u64).unwrap_or(0)
}

fn note(
    operation: Operation,
    entity: &'static str,
    by: ActorKind,
    id: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Note {
    Note {
        operation,
        entity,
        record_id: id.to_owned(),
        actor_kind: by,
        actor: "console".to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    }
}

/// A member with the fields that WeCom gives to each.
pub(super) fn whole_member(fields: &Record) -> Value {
    let departments = fields.get("department").cloned().unwrap_or_else(|| json!([1]));
    let count = departments.as_array().map_or(0, Vec::len);
    let main = departments.get(0).cloned().unwrap_or_else(|| json!(1));
    let mut whole = json!({
        "userid": userid(fields), "name": userid(fields), "department": departments, "order": vec![0; count],
        "is_leader_in_dept": vec![0; count], "direct_leader": [], "main_department": main, "position": "",
        "mobile": "", "email": "", "biz_mail": "", "gender": "0", "avatar": "", "thumb_avatar": "", "qr_code": "",
        "address": "", "telephone": "", "alias": "", "status": 1, "enable": 1, "hide_mobile": 0,
        "external_position": "", "extattr": { "attrs": [] },
    });
    if let Some(whole) = whole.as_object_mut() {
        whole.extend(fields.clone());
    }
    whole
}

fn create_member(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let userid = userid(fields);
    if userid.is_empty() || userid.chars().count() > 64 {
        return Ok(Err(Errcode(40003)));
    }
    if member(store, &userid).is_some() {
        return Ok(Err(Errcode(60102)));
    }
    let after = whole_member(fields);
    let note = note(Operation::Create, "Member", by, &userid, None, Some(&after));
    store.commit(now, Some(note), vec![Change::set(MEMBERS, &member_key(&userid), after.clone())])?;
    Ok(Ok(Done::MemberCreated { after }))
}

fn update_member(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let mut fields = fields.clone();
    let old = userid(&fields);
    let Some(before) = member(store, &old).cloned() else { return Ok(Err(Errcode(60111))) };
    let new = fields.remove("newuserid").or_else(|| fields.remove("new_userid"));
    let new = new.and_then(|new| new.as_str().map(str::to_owned)).unwrap_or_else(|| old.clone());
    if member_key(&new) != member_key(&old) && member(store, &new).is_some() {
        return Ok(Err(Errcode(60102)));
    }
    let mut after = before.clone();
    if let Some(record) = after.as_object_mut() {
        fields.remove("userid");
        if let Some(departments) = fields.get("department").and_then(Value::as_array)
            && !fields.contains_key("order")
        {
            record.insert("order".to_owned(), json!(vec![0; departments.len()]));
            record.insert("is_leader_in_dept".to_owned(), json!(vec![0; departments.len()]));
        }
        record.extend(fields);
        if new != old {
            record.insert("userid".to_owned(), json!(new));
        }
    }
    let note = note(Operation::Update, "Member", by, &new, Some(&before), Some(&after));
    let changes = vec![
        Change::remove(MEMBERS, &member_key(&old)),
        Change::set(MEMBERS, &member_key(&new), after.clone()),
    ];
    store.commit(now, Some(note), changes)?;
    Ok(Ok(Done::MemberUpdated { before, after }))
}

fn delete_member(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let userid = userid(fields);
    let Some(before) = member(store, &userid).cloned() else { return Ok(Err(Errcode(60111))) };
    let note = note(Operation::Delete, "Member", by, &userid, Some(&before), None);
    store.commit(now, Some(note), vec![Change::remove(MEMBERS, &member_key(&userid))])?;
    Ok(Ok(Done::MemberDeleted { before }))
}

/// A department with the fields that WeCom gives to each.
pub(super) fn whole_department(fields: &Record) -> Value {
    let mut whole = json!({
        "id": id(fields), "name": format!("部门{}", id(fields)), "name_en": "", "department_leader": [],
        "parentid": 1, "order": 0,
    });
    if let Some(whole) = whole.as_object_mut() {
        whole.extend(fields.clone());
    }
    whole
}

fn create_department(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let after = whole_department(fields);
    let id = id(fields);
    if id == 0 || department(store, id).is_some() {
        return Ok(Err(Errcode(60008)));
    }
    if department(store, after["parentid"].as_u64().unwrap_or(0)).is_none() {
        return Ok(Err(Errcode(60004)));
    }
    let note = note(Operation::Create, "Department", by, &id.to_string(), None, Some(&after));
    store.commit(now, Some(note), vec![Change::set(DEPARTMENTS, &department_key(id), after.clone())])?;
    Ok(Ok(Done::DepartmentCreated { after }))
}

fn update_department(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let id = id(fields);
    let Some(before) = department(store, id).cloned() else { return Ok(Err(Errcode(60123))) };
    if let Some(parent) = fields.get("parentid").and_then(Value::as_u64) {
        if department(store, parent).is_none() {
            return Ok(Err(Errcode(60004)));
        }
        if below(store, &[id]).contains(&parent) {
            return Ok(Err(Errcode(60010)));
        }
    }
    let mut after = before.clone();
    if let Some(record) = after.as_object_mut() {
        record.extend(fields.clone());
    }
    let note = note(Operation::Update, "Department", by, &id.to_string(), Some(&before), Some(&after));
    store.commit(now, Some(note), vec![Change::set(DEPARTMENTS, &department_key(id), after.clone())])?;
    Ok(Ok(Done::DepartmentUpdated { before, after }))
}

/// Only empty ones are deleted.
fn delete_department(store: &mut Store, now: Timestamp, fields: &Record, by: ActorKind) -> Outcome {
    let id = id(fields);
    let Some(before) = department(store, id).cloned() else { return Ok(Err(Errcode(60123))) };
    if before["parentid"] == 0 {
        return Ok(Err(Errcode(60007)));
    }
    if store.rows(DEPARTMENTS).any(|(_, row)| row["parentid"] == id) {
        return Ok(Err(Errcode(60006)));
    }
    if store.rows(MEMBERS).any(|(_, row)| departments_of(row).contains(&id)) {
        return Ok(Err(Errcode(60005)));
    }
    let note = note(Operation::Delete, "Department", by, &id.to_string(), Some(&before), None);
    store.commit(now, Some(note), vec![Change::remove(DEPARTMENTS, &department_key(id))])?;
    Ok(Ok(Done::DepartmentDeleted { before }))
}
