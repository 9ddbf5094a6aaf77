//! What a target shows of a company, and what it has to: by the records of the two systems themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    pub name: String,
    /// External ids of its members.
    pub members: BTreeSet<String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    pub login: String,
    pub name: String,
    pub active: bool,
    /// External id of the manager.
    pub manager: Option<String>,
}

/// All of ours that a target has, by external id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    pub groups: BTreeMap<String, Group>,
    pub users: BTreeMap<String, User>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn department(id: u64) -> String {
    format!("wecom:dept:{id}")
}

fn member(userid: &str) -> String {
    format!("wecom:user:{}", userid.to_lowercase())
}

impl Shown {
    /// What SCIM resources say. Two records of one external id are told apart by their ids: nothing should have two.
    pub fn of_scim(resources: &[Value]) -> Self {
        let owners: BTreeMap<String, String> = resources
            .iter()
            .filter(|resource| text(&resource["externalId"]).starts_with("wecom:"))
            .map(|resource| (text(&resource["id"]), text(&resource["externalId"])))
            .collect();
        let mut shown = Self::default();
        for resource in resources {
            let id = text(&resource["id"]);
            let Some(owner) = owners.get(&id) else { continue };
            let is_group = text(&resource["schemas"][0]).ends_with(":Group");
            let is_double =
                if is_group { shown.groups.contains_key(owner) } else { shown.users.contains_key(owner) };
            let key = if is_double { format!("{owner} AGAIN {id}") } else { owner.clone() };
            if is_group {
                let members = resource["members"].as_array().into_iter().flatten();
                let owner_of = |member: &Value| {
                    let id = text(&member["value"]);
                    owners.get(&id).cloned().unwrap_or(format!("NOBODY {id}"))
                };
                let group =
                    Group { name: text(&resource["displayName"]), members: members.map(owner_of).collect() };
                shown.groups.insert(key, group);
            } else {
                let manager = text(&resource[ENTERPRISE]["manager"]["value"]);
                let user = User {
                    login: text(&resource["userName"]),
                    name: text(&resource["displayName"]),
                    active: resource["active"].as_bool().unwrap_or(true),
                    manager: Some(manager)
                        .filter(|manager| !manager.is_empty())
                        .map(|manager| owners.get(&manager).cloned().unwrap_or(format!("NOBODY {manager}"))),
                };
                shown.users.insert(key, user);
            }
        }
        shown
    }

    /// What EspoCRM's teams and users say; whose a team is stands among its positions.
    pub fn of_espocrm(records: &[Value]) -> Self {
        let is_ours = |id: &String| id.starts_with("wecom:");
        let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        let owners: BTreeMap<String, String> = records
            .iter()
            .map(|user| (text(&user["id"]), text(&user["cWecomId"])))
            .filter(|(_, owner)| is_ours(owner))
            .collect();
        let mut shown = Self::default();
        for record in records {
            let id = text(&record["id"]);
            let positions = texts(&record["positionList"]);
            let key = |owner: &String, is_double: bool| {
                if is_double { format!("{owner} AGAIN {id}") } else { owner.clone() }
            };
            if let Some(owner) = positions.iter().find(|position| is_ours(position)) {
                // A user whom people put into a team of ours shows up as well.
                let owner_of = |id: String| owners.get(&id).cloned().unwrap_or(format!("NOBODY {id}"));
                let members = texts(&record["usersIds"]).into_iter().map(owner_of).collect();
                let group = Group { name: text(&record["name"]), members };
                shown.groups.insert(key(owner, shown.groups.contains_key(owner)), group);
            } else if let Some(owner) = owners.get(&id) {
                let (last, first) = (text(&record["lastName"]), text(&record["firstName"]));
                let user = User {
                    login: text(&record["userName"]),
                    // Who has one name only has it as either.
                    name: if last == first { last } else { last + &first },
                    active: record["isActive"].as_bool().unwrap(),
                    manager: None,
                };
                shown.users.insert(key(owner, shown.users.contains_key(owner)), user);
            }
        }
        shown
    }

    /// What EspoCRM has to show of what WeCom has: teams under their paths with their own members only, nobody's manager,
    /// and log-in names in lower case.
    pub fn wanted_of_espocrm(wecom: &[Value]) -> Self {
        let nested = Self::wanted(wecom);
        let parents: BTreeMap<u64, (u64, String)> = wecom
            .iter()
            .filter(|record| record["userid"].is_null())
            .map(|record| {
                (
                    record["id"].as_u64().unwrap(),
                    (record["parentid"].as_u64().unwrap(), text(&record["name"])),
                )
            })
            .collect();
        let mut shown = Self::default();
        for (id, (parent, name)) in &parents {
            let (mut path, mut above) = (name.clone(), *parent);
            // The root stands in no path but its own.
            while let Some((further, name)) = parents.get(&above).filter(|_| above != 1) {
                path = format!("{name} / {path}");
                above = *further;
            }
            let mut members = nested.groups[&department(*id)].members.clone();
            members.retain(|member| member.starts_with("wecom:user:"));
            shown.groups.insert(department(*id), Group { name: path, members });
        }
        for (id, user) in nested.users {
            shown.users.insert(id, User { login: user.login.to_lowercase(), manager: None, ..user });
        }
        shown
    }

    /// What has to be shown of the departments and members that WeCom has, with groups within groups.
    pub fn wanted(wecom: &[Value]) -> Self {
        let mut shown = Self::default();
        let departments: Vec<&Value> = wecom.iter().filter(|record| record["userid"].is_null()).collect();
        let members: Vec<&Value> = wecom.iter().filter(|record| !record["userid"].is_null()).collect();
        let known: BTreeSet<u64> = departments.iter().filter_map(|record| record["id"].as_u64()).collect();
        let userids: BTreeSet<String> =
            members.iter().map(|record| text(&record["userid"]).to_lowercase()).collect();
        for record in &departments {
            let id = record["id"].as_u64().unwrap();
            shown.groups.entry(department(id)).or_default().name = text(&record["name"]);
            if let Some(parent) = record["parentid"].as_u64().filter(|parent| known.contains(parent)) {
                shown.groups.entry(department(parent)).or_default().members.insert(department(id));
            }
        }
        for record in &members {
            let userid = text(&record["userid"]);
            for id in record["department"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
                if known.contains(&id) {
                    shown.groups.entry(department(id)).or_default().members.insert(member(&userid));
                }
            }
            let leader = record["direct_leader"].as_array().and_then(|ids| ids.first()).map(text);
            let user = User {
                login: userid.clone(),
                name: text(&record["name"]),
                active: matches!(record["status"].as_u64(), Some(1 | 4) | None)
                    && record["enable"].as_u64() != Some(0),
                manager: leader.filter(|id| userids.contains(&id.to_lowercase())).map(|id| member(&id)),
            };
            shown.users.insert(member(&userid), user);
        }
        shown
    }

    /// Without those who left: their accounts stay, deactivated and in no group.
    ///
    /// # Panics
    /// Where one of them may still be used, or is a member of anything.
    pub fn without_leavers(mut self, wanted: &Self) -> Self {
        let is_leaver = |id: &String| !wanted.users.contains_key(id);
        let leavers: Vec<String> = self.users.keys().filter(|id| is_leaver(id)).cloned().collect();
        for id in leavers {
            let user = self.users.remove(&id).unwrap();
            assert!(!user.active, "{id} left and may still log in");
        }
        self
    }

    /// What differs, a line each; nothing where both are the same.
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for id in self.groups.keys().chain(wanted.groups.keys()).collect::<BTreeSet<_>>() {
            let (is, should) = (self.groups.get(id), wanted.groups.get(id));
            if is != should {
                found.push(format!("{id}: {is:?}, should be {should:?}"));
            }
        }
        for id in self.users.keys().chain(wanted.users.keys()).collect::<BTreeSet<_>>() {
            let (is, should) = (self.users.get(id), wanted.users.get(id));
            if is != should {
                found.push(format!("{id}: {is:?}, should be {should:?}"));
            }
        }
        found
    }
}
