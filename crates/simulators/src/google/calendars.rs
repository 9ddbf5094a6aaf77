//! Calendars and who may use them: `calendarList` and access to one calendar.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Google;
use super::answers::{Refusal, not_found};
use super::description::Call;
use super::list::{self, Items};
use super::options::{AccessRole, GoogleOptions};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::wire::Answer;

const TABLE: &str = "calendar";
const PAGE_ITEMS: usize = 100;
const PAGE_ITEMS_MAX: usize = 250;

/// A calendar as one user sees it.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) time_zone: String,
    pub(super) role: AccessRole,
    /// Address of the user who asks.
    pub(super) user: String,
}

fn list_table(user: &str) -> String {
    format!("calendar_list/{user}")
}

/// Lays out the calendars of the options where they are not there yet.
pub(super) fn ensure(options: &GoogleOptions, store: &mut Store, now: Timestamp) -> io::Result<()> {
    let primary = options.users.iter().map(|user| {
        (user.email.clone(), user.email.clone(), user.time_zone.clone(), user.email.clone(), Vec::new())
    });
    let others = options.calendars.iter().map(|calendar| {
        let shared = calendar.shared_with.clone();
        (
            calendar.id.clone(),
            calendar.summary.clone(),
            calendar.time_zone.clone(),
            calendar.owner.clone(),
            shared,
        )
    });
    let mut changes = Vec::new();
    for (id, summary, time_zone, owner, shared) in primary.chain(others) {
        if store.get(TABLE, &id).is_some() {
            continue;
        }
        let row = json!({ "id": id, "summary": summary, "timeZone": time_zone, "owner": owner });
        changes.push(Change::set(TABLE, &id, row));
        for (user, role) in shared.into_iter().chain([(owner, AccessRole::Owner)]) {
            let entry = json!({ "role": role.name(), "change": 0, "floor": 0 });
            changes.push(Change::set(&list_table(&user), &id, entry));
        }
    }
    if changes.is_empty() { Ok(()) } else { store.commit(now, None, changes) }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The calendar, by its id or `primary`.
pub(super) fn find(store: &Store, user: &str, id: &str) -> Result<Access, Refusal> {
    let id = if id == "primary" { user } else { id };
    let entry = store.get(&list_table(user), id).ok_or_else(not_found)?;
    let role = AccessRole::from_name(text(entry, "role")).ok_or_else(not_found)?;
    let row = store.get(TABLE, id).ok_or_else(not_found)?;
    Ok(Access {
        id: id.to_owned(),
        summary: text(row, "summary").to_owned(),
        time_zone: text(row, "timeZone").to_owned(),
        role,
        user: user.to_owned(),
    })
}

/// The calendar as its owner sees it.
pub(super) fn find_as_owner(store: &Store, id: &str) -> Option<Access> {
    let owner = text(store.get(TABLE, id)?, "owner").to_owned();
    find(store, &owner, id).ok()
}

/// Sync tokens numbered so or lower are no longer good for this user, whose rights have changed since.
pub(super) fn sync_floor(store: &Store, access: &Access) -> u64 {
    let entry = store.get(&list_table(&access.user), &access.id);
    entry.and_then(|entry| entry.get("floor")?.as_u64()).unwrap_or(0)
}

/// Gives or takes a calendar.
pub(super) fn set_role(
    store: &mut Store,
    now: Timestamp,
    calendar: &str,
    user: &str,
    role: Option<AccessRole>,
) -> io::Result<()> {
    let before = store.get(&list_table(user), calendar).cloned();
    let change = store.sequence() + 1;
    let floor = list::tokens_issued(store);
    let after = json!({ "role": role.map(AccessRole::name), "change": change, "floor": floor });
    let note = Note {
        operation: if before.is_some() { Operation::Update } else { Operation::Create },
        entity: "CalendarListEntry",
        record_id: format!("{user}:{calendar}"),
        actor_kind: ActorKind::Person,
        actor: user.to_owned(),
        before,
        after: Some(after.clone()),
    };
    store.commit(now, Some(note), vec![Change::set(&list_table(user), calendar, after)])
}

impl Google {
    pub(super) fn calendar_list(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user: &str,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        if call.parameter("syncToken").is_some()
            && let Err(refusal) =
                list::refuse_beside_token(call, &["minAccessRole", "showOwnOrganizationOnly"])
        {
            return Ok(Err(refusal));
        }
        let least = call.parameter("minAccessRole").and_then(AccessRole::from_name);
        let items = Items {
            scope: format!("calendarList of {user}"),
            fixed: &["minAccessRole", "showDeleted", "showHidden"],
            gives_sync_token: true,
            items_default: PAGE_ITEMS,
            items_max: PAGE_ITEMS_MAX,
            floor: 0,
            horizon: store.sequence(),
        };
        let since = list::since(call);
        let found = store
            .rows(&list_table(user))
            .filter(|(_, entry)| {
                since.is_none_or(|since| entry["change"].as_u64().is_some_and(|change| change > since))
            })
            .filter_map(|(id, entry)| {
                let is_shown = match entry["role"].as_str().and_then(AccessRole::from_name) {
                    None => since.is_some() || call.is_on("showDeleted"),
                    Some(role) => least.is_none_or(|least| role >= least),
                };
                is_shown.then(|| (id.clone(), list_entry(store, user, id, entry)))
            })
            .collect();
        let page = self.page(store, now, call, &items, found)?;
        Ok(page.map(|page| {
            let body =
                page.body(json!({ "kind": "calendar#calendarList", "etag": list::collection_etag(store) }));
            Answer::json(200, &body)
        }))
    }

    pub(super) fn calendar_list_entry(store: &Store, user: &str, id: &str) -> Result<Answer, Refusal> {
        let access = find(store, user, id)?;
        let entry = store.get(&list_table(user), &access.id).ok_or_else(not_found)?;
        Ok(Answer::json(200, &list_entry(store, user, &access.id, entry)))
    }

    pub(super) fn calendar(store: &Store, user: &str, id: &str) -> Result<Answer, Refusal> {
        let access = find(store, user, id)?;
        Ok(Answer::json(
            200,
            &json!({
                "kind": "calendar#calendar", "etag": list::etag(0), "id": access.id,
                "summary": access.summary, "timeZone": access.time_zone,
            }),
        ))
    }
}

fn list_entry(store: &Store, user: &str, id: &str, entry: &Value) -> Value {
    let etag = list::etag(entry["change"].as_u64().unwrap_or(0));
    let Some(role) = entry["role"].as_str() else {
        return json!({ "kind": "calendar#calendarListEntry", "etag": etag, "id": id, "deleted": true });
    };
    let row = store.get(TABLE, id).cloned().unwrap_or_default();
    let mut shown = json!({
        "kind": "calendar#calendarListEntry", "etag": etag, "id": id, "summary": text(&row, "summary"),
        "timeZone": text(&row, "timeZone"), "colorId": "14", "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000", "selected": true, "accessRole": role,
        "defaultReminders": default_reminders(), "conferenceProperties": { "allowedConferenceSolutionTypes": ["hangoutsMeet"] },
    });
    if id == user {
        shown["primary"] = json!(true);
    }
    shown
}

pub(super) fn default_reminders() -> Value {
    json!([{ "method": "popup", "minutes": 10 }])
}
