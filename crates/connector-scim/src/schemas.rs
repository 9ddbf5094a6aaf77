//! What a service's schemas say of who can be in a group. RFC 7643, sections 4.2 and 7.

use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::abilities::resources;
use crate::client::Scim;
use crate::resource::{Kind, get};

const SCHEMAS: &str = "Schemas";
/// What a group is called among the types of members.
const GROUP: &str = "Group";

impl Scim {
    /// Whether groups can be in groups by the service's own word, `GET Schemas`; none where it says nothing of it. Safe to
    /// repeat; asked for each time.
    ///
    /// # Errors
    /// As [`Self::abilities`].
    pub async fn nesting_told(&self) -> Result<Option<bool>, Fault> {
        Ok(self.document(SCHEMAS).await?.as_ref().and_then(nesting_told))
    }
}

/// There are two places for it. A service that leaves groups out in one of them takes none.
fn nesting_told(schemas: &Value) -> Option<bool> {
    let members = part(attributes_of_groups(schemas)?, "members")?;
    let parts = get(members, "subAttributes")?.as_array()?;
    let told = |name, key| part(parts, name).and_then(|part| get(part, key)).and_then(names_group);
    let told = [told("type", "canonicalValues"), told("$ref", "referenceTypes")];
    told.into_iter().flatten().reduce(|one, other| one && other)
}

fn attributes_of_groups(schemas: &Value) -> Option<&[Value]> {
    let is_groups = |it: &&Map<String, Value>| {
        let id = get(it, "id").and_then(Value::as_str);
        id.is_some_and(|id| id.eq_ignore_ascii_case(Kind::Group.schema()))
    };
    let groups = resources(schemas)?.iter().filter_map(Value::as_object).find(is_groups)?;
    get(groups, "attributes")?.as_array().map(Vec::as_slice)
}

fn part<'a>(parts: &'a [Value], name: &str) -> Option<&'a Map<String, Value>> {
    let is_it = |it: &&Map<String, Value>| {
        get(it, "name").and_then(Value::as_str).is_some_and(|told| told.eq_ignore_ascii_case(name))
    };
    parts.iter().filter_map(Value::as_object).find(is_it)
}

/// An empty list says nothing.
fn names_group(types: &Value) -> Option<bool> {
    let types: Vec<&str> = types.as_array()?.iter().filter_map(Value::as_str).collect();
    let names_it = types.iter().any(|name| name.eq_ignore_ascii_case(GROUP));
    (!types.is_empty()).then_some(names_it)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas(parts: &Value) -> Value {
        let members = json!({"name": "members", "type": "complex", "subAttributes": parts});
        json!({"Resources": [
            {"id": "urn:ietf:params:scim:schemas:core:2.0:User", "attributes": []},
            {"id": "urn:ietf:params:scim:schemas:core:2.0:Group", "attributes": [{"name": "displayName"}, members]},
        ]})
    }

    fn told(parts: &Value) -> Option<bool> {
        nesting_told(&schemas(parts))
    }

    #[test]
    fn groups_that_are_left_out_are_not_taken() {
        let kind = |types: Value| json!({"name": "type", "canonicalValues": types});
        let address = |types: Value| json!({"name": "$ref", "referenceTypes": types});
        for (parts, expected) in [
            (json!([kind(json!(["User", "Group"])), address(json!(["User", "Group"]))]), Some(true)),
            (json!([kind(json!(["User"])), address(json!(["User"]))]), Some(false)),
            (json!([kind(json!(["user", "group"]))]), Some(true)),
            (json!([kind(json!(["User"]))]), Some(false)),
            (json!([address(json!(["User"]))]), Some(false)),
            (json!([address(json!(["User", "Group"]))]), Some(true)),
            (json!([kind(json!(["User", "Group"])), address(json!(["User"]))]), Some(false)),
            (json!([kind(json!(["User"])), address(json!(["User", "Group"]))]), Some(false)),
        ] {
            assert_eq!(told(&parts), expected, "{parts}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_known() {
        let silent = [json!([]), json!([{"name": "value"}, {"name": "type"}, {"name": "$ref"}])];
        let odd = [
            json!([{"name": "type", "canonicalValues": []}]),
            json!([{"name": "type", "canonicalValues": "User"}]),
            json!([{"name": "type", "canonicalValues": [7]}]),
            json!("x"),
        ];
        for parts in silent.iter().chain(&odd) {
            assert_eq!(told(parts), None, "{parts}");
        }
        for nothing in [json!({}), json!([]), json!("x"), json!({"Resources": [{"id": 7}]})] {
            assert_eq!(nesting_told(&nothing), None, "{nothing}");
        }
        let bare = schemas(&json!([{"name": "type", "canonicalValues": ["User"]}]));
        assert_eq!(nesting_told(&bare["Resources"]), Some(false), "a bare list is read as well");
    }
}
