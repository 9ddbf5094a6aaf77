//! What clients read: by whose token, from what may be seen, with what of it may be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Wecom;
use super::contacts::{DEPARTMENTS, MEMBERS, below, department, departments_of, member};
use super::errcode::{Errcode, good};
use super::tokens::Holder;
use crate::dice::Dice;
use crate::store::Store;
use crate::wire::{Answer, Request};

/// What apps made since 2022-06-20 do not get.
const SENSITIVE: [&str; 8] =
    ["avatar", "thumb_avatar", "gender", "mobile", "email", "biz_mail", "qr_code", "address"];
const ID_ROWS_MAX: usize = 10_000;

/// Which of the departments somebody sees, and which of them nobody does.
struct Sight(BTreeSet<u64>, Vec<u64>);

/// Who is in which department, as of a revision of the tables: a company has a hundred thousand, and is asked for department
/// after department.
#[derive(Debug, Default)]
pub(super) struct MembersLists(Mutex<(u64, BTreeMap<u64, Vec<String>>)>);

impl MembersLists {
    fn of(&self, store: &Store, department: u64) -> Vec<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != store.revision() {
            let mut lists: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for (key, row) in store.rows(MEMBERS) {
                for id in departments_of(row).into_iter().collect::<BTreeSet<u64>>() {
                    lists.entry(id).or_default().push(key.clone());
                }
            }
            *known = (store.revision(), lists);
        }
        known.1.get(&department).cloned().unwrap_or_default()
    }
}

impl Wecom {
    /// Answers a call of an interface, such as `user/get`.
    pub(super) fn read(
        &self,
        store: &Store,
        now: Timestamp,
        api: &str,
        request: &Request,
    ) -> Result<Answer, Errcode> {
        let holder = self.holder(store, now, request)?;
        if !self.options.trusted {
            return Err(Errcode(60020));
        }
        self.check_permission(holder, api)?;
        let sight = self.sight(store, holder);
        match (request.method.as_str(), api) {
            ("GET", "department/list" | "department/simplelist") => {
                self.departments(store, &sight, api, request)
            }
            ("GET", "department/get") => {
                let id = number(request, "id").ok_or(Errcode(60123))?;
                Ok(good(json!({ "department": sight.department(store, id)? })))
            }
            ("GET", "user/simplelist" | "user/list") => self.members(store, &sight, holder, api, request),
            ("GET", "user/get") => self.member(store, &sight, holder, request),
            ("POST", "user/list_id") => self.member_ids(store, request),
            ("GET", "getcallbackip") => Ok(good(json!({ "ip_list": ["127.0.0.1"] }))),
            _ => Err(Errcode(40066)),
        }
    }

    fn check_permission(&self, holder: Holder, api: &str) -> Result<(), Errcode> {
        match (holder, api) {
            (Holder::App, "user/list_id") => Err(Errcode(48002)),
            (Holder::ContactSync, "user/list_id" | "department/simplelist" | "getcallbackip")
            | (Holder::App, _) => Ok(()),
            (Holder::ContactSync, _) if self.options.contact_sync_is_old => Ok(()),
            (Holder::ContactSync, _) => Err(Errcode(48009)),
        }
    }

    fn sight(&self, store: &Store, holder: Holder) -> Sight {
        let mut seen = match (holder, &self.options.visible) {
            (Holder::App, Some(roots)) => below(store, roots),
            _ => store.rows(DEPARTMENTS).filter_map(|(_, row)| row["id"].as_u64()).collect(),
        };
        seen.retain(|id| !self.options.invisible.contains(id));
        Sight(seen, self.options.invisible.clone())
    }

    fn departments(
        &self,
        store: &Store,
        sight: &Sight,
        api: &str,
        request: &Request,
    ) -> Result<Answer, Errcode> {
        let wanted = match number(request, "id") {
            Some(id) => {
                sight.department(store, id)?;
                Some(below(store, &[id]))
            }
            None => None,
        };
        let rows = store.rows(DEPARTMENTS).map(|(_, row)| row);
        let rows = rows.filter(|row| {
            let id = row["id"].as_u64().unwrap_or(0);
            sight.0.contains(&id) && wanted.as_ref().is_none_or(|wanted| wanted.contains(&id))
        });
        Ok(if api == "department/simplelist" {
            let ids = rows
                .map(|row| json!({ "id": row["id"], "parentid": row["parentid"], "order": row["order"] }));
            good(json!({ "department_id": self.in_no_order(ids.collect()) }))
        } else {
            good(json!({ "department": self.in_no_order(rows.cloned().collect()) }))
        })
    }

    fn members(
        &self,
        store: &Store,
        sight: &Sight,
        holder: Holder,
        api: &str,
        request: &Request,
    ) -> Result<Answer, Errcode> {
        let id = number(request, "department_id").ok_or(Errcode(60123))?;
        sight.department(store, id)?;
        let own = self.members_lists.of(store, id);
        let own = own.iter().filter_map(|key| store.get(MEMBERS, key));
        let list: Vec<Value> = if api == "user/simplelist" {
            let brief = |row: &Value| json!({ "userid": row["userid"], "name": row["name"], "department": row["department"] });
            own.map(brief).collect()
        } else {
            own.map(|row| self.shown(row, holder)).collect()
        };
        Ok(good(json!({ "userlist": self.in_no_order(list) })))
    }

    /// [A] A member's departments are shown whole, also those that are not seen.
    fn member(
        &self,
        store: &Store,
        sight: &Sight,
        holder: Holder,
        request: &Request,
    ) -> Result<Answer, Errcode> {
        let userid = request.query_value("userid").ok_or(Errcode(40003))?;
        let row = member(store, &userid).ok_or(Errcode(60111))?;
        if !departments_of(row).iter().any(|id| sight.0.contains(id)) {
            return Err(Errcode(60011));
        }
        Ok(good(self.shown(row, holder)))
    }

    fn member_ids(&self, store: &Store, request: &Request) -> Result<Answer, Errcode> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| Errcode(47001))?;
        let limit =
            body["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(ID_ROWS_MAX);
        let begin: usize = match body["cursor"].as_str().unwrap_or_default() {
            "" => 0,
            cursor => cursor.strip_prefix("row").and_then(|row| row.parse().ok()).ok_or(Errcode(40058))?,
        };
        let of_member = |row: &Value| -> Vec<Value> {
            let row_of = |id: u64| json!({ "userid": row["userid"], "department": id });
            departments_of(row).into_iter().map(row_of).collect()
        };
        let rows = self.in_no_order(store.rows(MEMBERS).flat_map(|(_, row)| of_member(row)).collect());
        let end = begin.saturating_add(limit.clamp(1, ID_ROWS_MAX)).min(rows.len());
        let next = if end < rows.len() { format!("row{end}") } else { String::new() };
        let page = rows.get(begin.min(end)..end).unwrap_or_default();
        Ok(good(json!({ "next_cursor": next, "dept_user": page })))
    }

    fn shown(&self, row: &Value, holder: Holder) -> Value {
        let mut shown = row.clone();
        let is_old = match holder {
            Holder::App => self.options.app_is_old,
            Holder::ContactSync => true,
        };
        if let (false, Some(record)) = (is_old, shown.as_object_mut()) {
            for field in SENSITIVE {
                record.shift_remove(field);
            }
        }
        shown
    }

    /// The order of lists is not defined; it is the same as long as nothing changes.
    fn in_no_order(&self, mut list: Vec<Value>) -> Vec<Value> {
        let mut dice = Dice::new(self.options.order_seed);
        for at in (1..list.len()).rev() {
            list.swap(at, dice.below(at + 1));
        }
        list
    }
}

impl Sight {
    fn department<'a>(&self, store: &'a Store, id: u64) -> Result<&'a Value, Errcode> {
        match department(store, id) {
            Some(row) if self.0.contains(&id) => Ok(row),
            Some(_) => Err(Errcode(60011)),
            None if self.1.contains(&id) => Err(Errcode(60011)),
            None => Err(Errcode(60123)),
        }
    }
}

fn number(request: &Request, name: &str) -> Option<u64> {
    request.query_value(name)?.parse().ok()
}
