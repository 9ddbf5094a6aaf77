//! Teams, and who is in them. Anybody with the right reads them; only an administrator writes.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::accounts::{Account, AccountKind, object};
use super::admin::{text, texts};
use super::answers::{invalid, not_simulated, ok, php_json, refuse};
use super::list::{self, Source};
use super::people::commit;
use super::records::body;
use super::validation::{self, stamp};
use super::{Espocrm, EspocrmSimulator};
use crate::journal::Operation;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

fn is_there(team: &Record) -> bool {
    team.get("deleted") != Some(&json!(true))
}

impl Espocrm {
    fn team(&self, id: &str) -> Option<&Record> {
        self.people.teams.get(id).filter(|team| is_there(team))
    }

    /// `teamsIds` of a user, and what belongs to it.
    pub(super) fn teams_shown(&self, user: &str) -> Record {
        let teams = self.people.teams_of(user);
        let name = |id: &&str| {
            let name = self.team(id).and_then(|team| team.get("name")).cloned();
            ((*id).to_owned(), name.unwrap_or(Value::Null))
        };
        let names: Record = teams.iter().map(name).collect();
        let columns: Record = teams.iter().map(|id| ((*id).to_owned(), json!({ "role": null }))).collect();
        object(json!({ "teamsIds": teams, "teamsNames": names, "teamsColumns": columns }))
    }

    pub(super) fn team_request(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        account: &Account,
        request: &Request,
        rest: &[&str],
    ) -> io::Result<Answer> {
        let is_admin = account.kind == AccountKind::Admin;
        let no = |action: &str| Ok(refuse(403, &format!("No {action} access.")));
        let method = request.method.as_str();
        if method == "GET" {
            return match rest {
                _ if account.level("Team", "read") == "no" => no("read"),
                [] => Ok(self.team_list(request)),
                [id] => Ok(self.read_team(is_admin, id)),
                [id, "users"] if self.team(id).is_some() => Ok(self.user_list(account, request, Some(id))),
                [_, "users"] => Ok(not_there()),
                _ => Ok(not_simulated(&format!("GET Team/{}", rest.join("/")))),
            };
        }
        match (method, rest) {
            ("POST", []) if !is_admin => no("create"),
            ("PUT" | "PATCH", [_]) if !is_admin => no("edit"),
            ("DELETE", [_]) if !is_admin => no("delete"),
            ("POST" | "DELETE", [_, link]) if !is_admin => {
                let text = format!("No record access for link operation (Team:{link}).");
                Ok(refuse(403, &text).body(php_json(&json!({ "messageTranslation": {
                    "label": "noAccessToRecord", "scope": null, "data": { "action": "edit" },
                }}))))
            }
            _ => match body(request) {
                Ok(body) => self.write_team(store, now, account, method, rest, &body),
                Err(answer) => Ok(answer),
            },
        }
    }

    fn team_list(&self, request: &Request) -> Answer {
        let definitions = self.definitions("Team");
        let source = Source {
            records: self.people.teams.values().filter(|team| is_there(team)).collect(),
            may_read: &|_| true,
            show: &Record::clone,
            get: &|team, name| match team.get(name) {
                Some(Value::Array(texts)) => texts.clone(),
                value => vec![value.cloned().unwrap_or(Value::Null)],
            },
            is_attribute: &|name| definitions.has_attribute(name),
            always: &[],
            order: ("name", false),
            show_link: &list::plain_link,
            is_uncounted: false,
        };
        list::answer(request, &source)
    }

    fn read_team(&self, is_admin: bool, id: &str) -> Answer {
        match self.people.teams.get(id).filter(|team| is_admin || is_there(team)) {
            Some(team) => ok(&Value::Object(team.clone())),
            None => refuse(404, &format!("Record {id} does not exist.")),
        }
    }

    fn write_team(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        method: &str,
        rest: &[&str],
        body: &Record,
    ) -> io::Result<Answer> {
        match (method, rest) {
            ("POST", []) => {
                let input = match validation::read(self.definitions("Team"), body, true) {
                    Ok(input) => input,
                    Err(error) => return Ok(invalid("Team", &error)),
                };
                let id = self.ids.next(now);
                let mut team = new_team(&id, now);
                team.extend(input.values);
                self.people.teams.insert(id.clone(), team.clone());
                commit(store, now, admin, Operation::Create, "Team", &id, None, Some(team.clone()))?;
                team.retain(|_, value| !value.is_null());
                Ok(ok(&Value::Object(team)))
            }
            ("PUT" | "PATCH" | "DELETE", [id]) => {
                let Some(before) = self.team(id).cloned() else {
                    return Ok(refuse(404, &format!("Record {id} not found.")));
                };
                if method == "DELETE" {
                    let mut after = before.clone();
                    after.insert("deleted".to_owned(), json!(true));
                    self.people.teams.insert((*id).to_owned(), after);
                    self.people.empty(id);
                    commit(store, now, admin, Operation::Delete, "Team", id, Some(before), None)?;
                    return Ok(ok(&json!(true)));
                }
                let input = match validation::read(self.definitions("Team"), body, false) {
                    Ok(input) => input,
                    Err(error) => return Ok(invalid("Team", &error)),
                };
                let mut after = before.clone();
                after.extend(input.values);
                after.insert("modifiedAt".to_owned(), json!(stamp(now)));
                self.people.teams.insert((*id).to_owned(), after.clone());
                commit(store, now, admin, Operation::Update, "Team", id, Some(before), Some(after.clone()))?;
                Ok(ok(&Value::Object(after)))
            }
            ("POST" | "DELETE", [id, "users"]) => {
                self.change_members(store, now, admin, id, method == "POST", body)
            }
            ("POST" | "DELETE", [id, link]) if self.team(id).is_some() => {
                Ok(refuse(404, &format!("Entity Team does not have link {link}.")))
            }
            (method, rest) => Ok(not_simulated(&format!("{method} Team/{}", rest.join("/")))),
        }
    }

    /// One after the other: those before one that is not there are done. The journal has who changed, as `TeamUser`.
    fn change_members(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        team: &str,
        is_one: bool,
        body: &Record,
    ) -> io::Result<Answer> {
        let single = text(body, "id");
        let mut users = texts(body, "ids");
        if !single.is_empty() {
            users.insert(0, single.to_owned());
        }
        let (mut changed, mut is_complete) = (Vec::new(), true);
        for user in &users {
            let is_known = self.accounts().iter().any(|account| account.id == *user);
            if self.team(team).is_none() || !is_known {
                is_complete = false;
                break;
            }
            if self.people.set_member(team, user, is_one) {
                changed.push(user);
            }
        }
        if !changed.is_empty() {
            let record = object(json!({ "usersIds": changed }));
            let (operation, before, after) = match is_one {
                true => (Operation::Create, None, Some(record)),
                false => (Operation::Delete, Some(record), None),
            };
            commit(store, now, admin, operation, "TeamUser", team, before, after)?;
        }
        Ok(if is_complete { ok(&json!(!users.is_empty())) } else { not_there() })
    }
}

fn new_team(id: &str, now: Timestamp) -> Record {
    object(json!({
        "id": id, "name": null, "deleted": false, "positionList": null, "createdAt": stamp(now),
        "modifiedAt": stamp(now), "layoutSetId": null, "layoutSetName": null,
        "workingTimeCalendarId": null, "workingTimeCalendarName": null,
    }))
}

/// A record that is not there, at a relation: without a reason.
fn not_there() -> Answer {
    Answer::status(404).with("Content-Type", "application/json")
}

impl EspocrmSimulator {
    /// Puts a team there as if it had always been, with these users. Answers its id.
    pub fn seed_team(&self, mut team: Record, users: &[&str]) -> String {
        let now = self.shared().now();
        let mut core = self.shared().core();
        let espocrm = &mut core.upstream;
        let id = match text(&team, "id") {
            "" => espocrm.ids.next(now),
            id => id.to_owned(),
        };
        let mut whole = new_team(&id, now);
        whole.append(&mut team);
        espocrm.people.teams.insert(id.clone(), whole);
        for user in users {
            espocrm.people.set_member(&id, user, true);
        }
        id
    }

    /// The teams that there are, each with the ids of its users as `usersIds`.
    #[must_use]
    pub fn teams(&self) -> Vec<Value> {
        let core = self.shared().core();
        let espocrm = &core.upstream;
        let with_users = |team: &Record| {
            let mut shown = team.clone();
            let id = text(team, "id");
            let users = espocrm.accounts().iter().filter(|user| espocrm.people.is_member(id, &user.id));
            let users: Vec<&str> = users.map(|user| user.id.as_str()).collect();
            shown.insert("usersIds".to_owned(), json!(users));
            Value::Object(shown)
        };
        espocrm.people.teams.values().filter(|team| is_there(team)).map(with_users).collect()
    }

    /// The users that there are, with everything that was written to them.
    #[must_use]
    pub fn users(&self) -> Vec<Value> {
        let core = self.shared().core();
        let espocrm = &core.upstream;
        espocrm.accounts().iter().map(|user| Value::Object(espocrm.user_record(user))).collect()
    }
}
