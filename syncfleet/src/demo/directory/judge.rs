//! What must be in the SCIM service, computed from what WeCom holds alone, beside what is there. Shares no code with the
//! flow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Differences that are told.
const DIFFERENCES_MAX: usize = 10;

/// Groups and users, by external id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Groups: name, and the external ids of their members.
    pub(super) groups: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Users: name, and whether they are active.
    pub(super) users: BTreeMap<String, (String, bool)>,
}

fn text(record: &Value, field: &str) -> String {
    record.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(record: &Value, field: &str) -> u64 {
    record.get(field).and_then(Value::as_u64).unwrap_or_default()
}

fn items<'a>(record: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    record.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn group_id(department: u64) -> String {
    format!("wecom:dept:{department}")
}

fn user_id(userid: &str) -> String {
    format!("wecom:user:{}", userid.to_lowercase())
}

impl Directory {
    /// What must come of WeCom's records, with groups in groups.
    pub(super) fn wanted(records: &[Value]) -> Self {
        let mut wanted = Self::default();
        let (members, departments): (Vec<&Value>, Vec<&Value>) =
            records.iter().partition(|record| record.get("userid").is_some());
        for department in &departments {
            let id = group_id(number(department, "id"));
            wanted.groups.entry(id).or_default().0 = text(department, "name");
        }
        for department in &departments {
            let parent = group_id(number(department, "parentid"));
            if let Some((_, members)) = wanted.groups.get_mut(&parent) {
                members.insert(group_id(number(department, "id")));
            }
        }
        for member in members {
            let id = user_id(&text(member, "userid"));
            for department in items(member, "department").filter_map(Value::as_u64) {
                if let Some((_, members)) = wanted.groups.get_mut(&group_id(department)) {
                    members.insert(id.clone());
                }
            }
            let is_active = number(member, "enable") == 1 && [1, 4].contains(&number(member, "status"));
            wanted.users.insert(id, (text(member, "name"), is_active));
        }
        wanted
    }

    /// What a SCIM service holds, by its resources.
    pub(super) fn held(resources: &[Value]) -> Self {
        let external = |resource: &Value| text(resource, "externalId");
        let by_id: BTreeMap<String, String> =
            resources.iter().map(|resource| (text(resource, "id"), external(resource))).collect();
        let mut held = Self::default();
        for resource in resources.iter().filter(|resource| !external(resource).is_empty()) {
            if resource.get("userName").is_some() {
                let is_active = resource.get("active").and_then(Value::as_bool).unwrap_or(true);
                held.users.insert(external(resource), (text(resource, "displayName"), is_active));
            } else {
                let members = items(resource, "members");
                let named = |member: &Value| {
                    let id = text(member, "value");
                    by_id.get(&id).cloned().unwrap_or(id)
                };
                let members = members.map(named).collect();
                held.groups.insert(external(resource), (text(resource, "displayName"), members));
            }
        }
        held
    }

    /// What is not as it must be. Users of those who left stay, switched off.
    pub(super) fn differences(&self, held: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (id, wanted) in &self.groups {
            match held.groups.get(id) {
                None => found.push(format!("group {id} is not there")),
                Some(present) if present != wanted => {
                    found.push(format!("group {id} is {present:?}, and must be {wanted:?}"));
                }
                Some(_) => {}
            }
        }
        for (id, wanted) in &self.users {
            match held.users.get(id) {
                None => found.push(format!("user {id} is not there")),
                Some(present) if present != wanted => {
                    found.push(format!("user {id} is {present:?}, and must be {wanted:?}"));
                }
                Some(_) => {}
            }
        }
        let surplus = held.groups.keys().filter(|id| !self.groups.contains_key(*id));
        found.extend(surplus.map(|id| format!("group {id} must be gone")));
        let left =
            held.users.iter().filter(|(id, (_, is_active))| *is_active && !self.users.contains_key(*id));
        found.extend(left.map(|(id, _)| format!("user {id} must be switched off")));
        found
    }
}

/// A few of them, and how many more there are.
pub(super) fn cut(mut differences: Vec<String>) -> Vec<String> {
    let more = differences.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        differences.truncate(DIFFERENCES_MAX);
        differences.push(format!("… and {more} more"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_sides_are_compared_and_what_differs_is_named() {
        let wecom = [
            json!({ "id": 1, "name": "根", "parentid": 0 }),
            json!({ "id": 10, "name": "研发部", "parentid": 1 }),
            json!({ "userid": "ZhangSan", "name": "张三", "department": [10], "status": 1, "enable": 1 }),
            json!({ "userid": "lisi", "name": "李四", "department": [1, 10], "status": 4, "enable": 0 }),
        ];
        let mut scim = vec![
            json!({ "id": "a", "externalId": "wecom:dept:1", "displayName": "根",
                    "members": [{ "value": "b" }, { "value": "d" }] }),
            json!({ "id": "b", "externalId": "wecom:dept:10", "displayName": "研发部",
                    "members": [{ "value": "c" }, { "value": "d" }] }),
            json!({ "id": "c", "externalId": "wecom:user:zhangsan", "userName": "ZhangSan", "displayName": "张三",
                    "active": true }),
            json!({ "id": "d", "externalId": "wecom:user:lisi", "userName": "lisi", "displayName": "李四",
                    "active": false }),
            json!({ "id": "e", "externalId": "wecom:user:gone", "userName": "gone", "displayName": "某人",
                    "active": false }),
            json!({ "id": "f", "userName": "not ours", "displayName": "x", "active": true }),
        ];
        let wanted = Directory::wanted(&wecom);
        assert_eq!(wanted.differences(&Directory::held(&scim)), Vec::<String>::new());
        scim[4]["active"] = json!(true);
        scim[1]["members"] = json!([{ "value": "c" }]);
        scim.remove(2);
        let found = wanted.differences(&Directory::held(&scim));
        assert_eq!(found.len(), 3, "{found:?}");
        for says in [
            "group wecom:dept:10 is",
            "user wecom:user:zhangsan is not there",
            "wecom:user:gone must be switched off",
        ] {
            assert!(
                found.iter().any(|line| line.starts_with(says) || line.contains(says)),
                "{says}: {found:?}"
            );
        }
        let many = cut((0..30).map(|n| n.to_string()).collect());
        assert_eq!((many.len(), many.last().map(String::as_str)), (11, Some("… and 20 more")));
    }
}
