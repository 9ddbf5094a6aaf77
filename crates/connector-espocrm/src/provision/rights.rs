//! Rights: whether roles give them, and a role that does.

use serde_json::{Map, Value, json};

use super::{Right, RoleFound};

fn rank(level: &str) -> u8 {
    match level {
        "all" | "yes" => 3,
        "team" => 2,
        "own" => 1,
        _ => 0,
    }
}

fn level_of(data: &Map<String, Value>, scope: &str, action: &str) -> u8 {
    match data.get(scope) {
        Some(Value::Object(actions)) => actions.get(action).and_then(Value::as_str).map_or(0, rank),
        _ => 0,
    }
}

/// Whether this data and these permissions give the right.
fn gives(data: &Map<String, Value>, permissions: &Map<String, Value>, right: &Right) -> bool {
    match right {
        Right::Records(scope, action) => level_of(data, scope, action) == 3,
        Right::Switch(scope) => data.get(*scope) == Some(&json!(true)),
        Right::Permission(name) => permissions.get(*name).and_then(Value::as_str) == Some("all"),
    }
}

/// The rights that none of the roles gives. EspoCRM takes the highest of a user's roles.
pub(super) fn missing<'r>(
    roles: &[RoleFound],
    rights: impl IntoIterator<Item = &'r Right>,
) -> Vec<&'r Right> {
    let given = |right: &Right| roles.iter().any(|role| gives(&role.data, &role.permissions, right));
    rights.into_iter().filter(|right| !given(right)).collect()
}

/// The data and permissions of a role that gives these rights as well, and takes none away.
pub(super) fn extended(
    data: &Map<String, Value>,
    rights: &[&Right],
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut data, mut permissions) = (data.clone(), Map::new());
    for right in rights {
        match right {
            Right::Records(scope, action) => {
                let slot = data.entry(scope.clone()).or_insert(Value::Null);
                if !slot.is_object() {
                    // An action that a role does not name is not permitted by it.
                    *slot = json!({});
                }
                if let Some(actions) = slot.as_object_mut() {
                    let level = if *action == "create" { "yes" } else { "all" };
                    actions.insert((*action).to_owned(), json!(level));
                }
            }
            Right::Switch(scope) => {
                data.insert((*scope).to_owned(), json!(true));
            }
            Right::Permission(name) => {
                permissions.insert((*name).to_owned(), json!("all"));
            }
        }
    }
    (data, permissions)
}

/// A right in words.
pub(super) fn words(right: &Right) -> String {
    match right {
        Right::Records(scope, action) => format!("{action} {scope}"),
        Right::Switch(scope) => (*scope).to_owned(),
        Right::Permission(name) => format!("{name} all"),
    }
}
