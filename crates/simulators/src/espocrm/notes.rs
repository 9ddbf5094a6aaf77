//! Note (stream posts) and the Notifications they make.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::{Account, AccountKind};
use super::answers::{invalid, ok, refuse};
use super::definitions::simulated;
use super::list::{self, Source};
use super::records::{self, body};
use super::validation::{Invalid, stamp};
use super::views::title;
use super::{Espocrm, object};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

const NOTES: &str = "Note";
const NOTIFICATIONS: &str = "Notification";

impl Espocrm {
    pub(super) fn create_note(
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
        if account.level(NOTES, "create") != "yes" {
            return Ok(refuse(403, "No create access."));
        }
        let post = body.get("post").cloned().unwrap_or(Value::Null);
        if post.as_str().is_none_or(|post| post.trim().is_empty()) {
            return Ok(invalid(NOTES, &Invalid { field: "post".to_owned(), kind: "required" }));
        }
        let mut note = self.new_note(now, account, post);
        let readers = match self.address(store, account, &body, &mut note) {
            Ok(readers) => readers,
            Err(answer) => return Ok(answer),
        };
        let id = note.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut changes = vec![Change::set(NOTES, &id, Value::Object(note.clone()))];
        for (user, kind) in readers {
            let notification = self.ids.next(now);
            let value = json!({
                "id": notification, "deleted": false, "number": store.rows(NOTIFICATIONS).count() + changes.len(),
                "data": { "noteId": id }, "noteData": note_data(&note, store.sequence()), "type": kind, "read": false, "emailIsProcessed": false,
                "createdAt": stamp(now), "message": null, "actionId": null, "groupedCount": null,
                "userId": user.id, "userName": user.name(), "relatedId": id, "relatedType": NOTES,
                "relatedParentId": null, "relatedParentType": null,
                "createdById": if kind == "Note" { Value::Null } else { json!(account.id) },
            });
            changes.push(Change::set(NOTIFICATIONS, &notification, value));
        }
        let entry = Note {
            operation: Operation::Create,
            entity: NOTES,
            record_id: id,
            actor_kind: ActorKind::Api,
            actor: account.user_name.clone(),
            before: None,
            after: Some(Value::Object(note.clone())),
        };
        store.commit(now, Some(entry), changes)?;
        Ok(ok(&Value::Object(note)))
    }

    fn new_note(&mut self, now: Timestamp, account: &Account, post: Value) -> Record {
        object(json!({
            "id": self.ids.next(now), "deleted": false, "post": post, "data": {}, "type": "Post",
            "isInternal": false, "reactionCounts": null, "myReactions": [],
            "createdAt": stamp(now), "modifiedAt": stamp(now),
            "parentName": null, "relatedName": null, "attachmentsIds": [], "attachmentsNames": {},
            "createdById": account.id, "createdByName": account.name(), "modifiedByName": null, "attachmentsTypes": {},
        }))
    }

    /// Fills in whom the post is for; answers the users to notify, with the kind of notification.
    fn address(
        &self,
        store: &Store,
        account: &Account,
        body: &Record,
        note: &mut Record,
    ) -> Result<Vec<(Account, &'static str)>, Answer> {
        let may_message = account.kind == AccountKind::Admin || account.role.message_permission;
        let others =
            self.accounts().iter().filter(|user| user.id != account.id && user.kind != AccountKind::Api);
        match body.get("targetType").and_then(Value::as_str) {
            Some("users") => {
                let ids: Vec<&str> = body
                    .get("usersIds")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                if !may_message && ids.iter().any(|id| *id != account.id) {
                    return Err(refuse(403, "Not permitted to post to anybody except self."));
                }
                let readers: Vec<&Account> = others.filter(|user| ids.contains(&user.id.as_str())).collect();
                let names: Record =
                    readers.iter().map(|user| (user.id.clone(), json!(user.name()))).collect();
                note.insert("targetType".to_owned(), json!("users"));
                note.insert("usersIds".to_owned(), json!(ids));
                note.insert("usersNames".to_owned(), Value::Object(names));
                Ok(readers.into_iter().map(|user| (user.clone(), "Note")).collect())
            }
            Some("all") => {
                if !may_message {
                    return Err(refuse(403, "Not permitted to post to anybody except self."));
                }
                note.insert("targetType".to_owned(), json!("all"));
                note.insert("isGlobal".to_owned(), json!(true));
                Ok(others.map(|user| (user.clone(), "Note")).collect())
            }
            _ => self.address_record(store, account, body, note),
        }
    }

    fn address_record(
        &self,
        store: &Store,
        account: &Account,
        body: &Record,
        note: &mut Record,
    ) -> Result<Vec<(Account, &'static str)>, Answer> {
        let parent_id = body.get("parentId").and_then(Value::as_str).unwrap_or_default();
        let Some(scope) = body.get("parentType").and_then(Value::as_str).and_then(simulated) else {
            return Ok(Vec::new());
        };
        let parent = records::find(store, scope, parent_id)
            .ok_or_else(|| refuse(404, "Parent record does not exist."))?;
        if !account.may(scope, "read", &parent) {
            return Err(refuse(403, "No access to parent record."));
        }
        note.insert("parentId".to_owned(), json!(parent_id));
        note.insert("parentType".to_owned(), json!(scope));
        note.insert("parentName".to_owned(), title(&parent));
        let may_mention = account.kind == AccountKind::Admin || account.role.mention_permission;
        let post = note.get("post").and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_named = |user: &&Account| {
            post.split_whitespace().any(|word| {
                word.trim_end_matches(['.', ',', ':', ';', '!', '?']).strip_prefix('@')
                    == Some(user.user_name.as_str())
            })
        };
        let named: Vec<&Account> = self.accounts().iter().filter(|_| may_mention).filter(is_named).collect();
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mentions: Record = named
            .iter()
            .map(|user| {
                let mention = json!({ "id": user.id, "name": user.name(), "userName": user.user_name, "_scope": "User" });
                (format!("@{}", user.user_name), mention)
            })
            .collect();
        note.insert("data".to_owned(), json!({ "mentions": mentions }));
        let readers: Vec<&Account> =
            named.into_iter().filter(|user| user.may(scope, "read", &parent)).collect();
        let ids: Vec<&str> = readers.iter().map(|user| user.id.as_str()).collect();
        note.insert("notifiedUserIdList".to_owned(), json!(ids));
        Ok(readers.into_iter().map(|user| (user.clone(), "MentionInPost")).collect())
    }

    /// The user's notifications, newest first; reading marks them as read.
    pub(super) fn notifications(
        &self,
        store: &mut Store,
        now: Timestamp,
        account: &Account,
        request: &Request,
    ) -> io::Result<Answer> {
        let own: Vec<Record> = store
            .rows(NOTIFICATIONS)
            .filter_map(|(_, notification)| notification.as_object())
            .filter(|notification| notification.get("userId") == Some(&json!(account.id)))
            .cloned()
            .collect();
        let source = Source {
            records: own.iter().collect(),
            may_read: &|_| true,
            show: &Record::clone,
            get: &|notification, name| vec![notification.get(name).cloned().unwrap_or(Value::Null)],
            is_attribute: &|name| ["id", "number", "type", "read", "createdAt"].contains(&name),
            always: &[],
            order: ("number", true),
            show_link: &list::plain_link,
            is_uncounted: true,
        };
        let answer = list::answer(request, &source);
        let mut changes = Vec::new();
        for mut notification in
            own.into_iter().filter(|notification| notification.get("read") == Some(&json!(false)))
        {
            notification.insert("read".to_owned(), json!(true));
            let id = notification.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            changes.push(Change::set(NOTIFICATIONS, &id, Value::Object(notification)));
        }
        if !changes.is_empty() {
            store.commit(now, None, changes)?;
        }
        Ok(answer)
    }
}

/// A post as the notification of it shows it.
fn note_data(note: &Record, number: u64) -> Value {
    let mut data = note.clone();
    let mut set = |name: &str, value: Value| {
        data.entry(name).or_insert(value);
    };
    set("targetType", Value::Null);
    set("number", json!(number));
    set("isGlobal", json!(false));
    set("isPinned", json!(false));
    let unset = ["createdByGender", "parentId", "parentType", "relatedId", "relatedType", "modifiedById"];
    for name in unset.into_iter().chain(["superParentId", "superParentType"]) {
        set(name, Value::Null);
    }
    let is_on_record = note.contains_key("parentId");
    for name in
        ["reactionCounts", "myReactions", "usersIds", "usersNames", "notifiedUserIdList", "relatedName"]
    {
        data.shift_remove(name);
    }
    if !is_on_record {
        data.shift_remove("parentName");
    }
    Value::Object(data)
}
