//! Several operations in one request. RFC 7644, section 3.7.
//!
//! Nothing is rolled back, so every operation has an outcome of its own. What one operation creates, another one of the
//! same request calls `bulkId:…`.

use std::collections::HashMap;

use http_client::{Answer, Method, Request};
use serde_json::{Map, Value, json};
use shared::fault::Fault;

use crate::SYSTEM;
use crate::abilities::Abilities;
use crate::id;
use crate::members::add_operation;
use crate::order::{Operation, Target};
use crate::patch::{Attributes, patch_body};
use crate::resource::{Kind, get};

const BULK: &str = "Bulk";
const REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// What the request has around its operations, in bytes, with room to spare.
const ENVELOPE_BYTES: usize = 256;

/// How an operation calls what another one of the request creates.
fn bulk_id(at: usize) -> String {
    format!("o{at}")
}

/// Whether an operation can be in a bulk request: a change needs PATCH, and a batch of members has its bound.
pub(crate) fn is_possible(operation: &Operation, patch: bool, members_max: usize) -> bool {
    match operation {
        Operation::CreateUser { .. }
        | Operation::CreateGroup { .. }
        | Operation::DeleteUser { .. }
        | Operation::DeleteGroup { .. } => true,
        Operation::UpdateUser { patch: change, .. } => patch && !change.is_empty(),
        Operation::UpdateGroup { patch: change, .. } => patch && !change.is_empty(),
        Operation::AddMembers { members, .. } => patch && !members.is_empty() && members.len() <= members_max,
    }
}

/// What references stand for: the ids of what is there, and which operation of the request makes the rest.
pub(crate) struct Names<'a> {
    pub(crate) ids: &'a HashMap<String, String>,
    pub(crate) makers: &'a HashMap<&'a str, usize>,
}

impl Names<'_> {
    fn of(&self, target: &Target) -> String {
        match target {
            Target::Id(id) => id.clone(),
            Target::New(reference) => match (self.ids.get(reference), self.makers.get(reference.as_str())) {
                (Some(id), _) => id.clone(),
                (None, Some(at)) => format!("bulkId:{}", bulk_id(*at)),
                (None, None) => String::new(),
            },
        }
    }
}

/// An operation, as in a bulk request.
pub(crate) fn wire(at: usize, operation: &Operation, abilities: &Abilities, names: &Names<'_>) -> Value {
    let create = |kind: Kind, attributes: &Attributes| {
        json!({"method": "POST", "path": format!("/{}", abilities.endpoint(kind)), "bulkId": bulk_id(at),
            "data": attributes.create_body(kind)})
    };
    let one = |method: &str, kind: Kind, id: &str| {
        let path = id::path(abilities.endpoint(kind), id);
        Map::from_iter([
            ("method".to_owned(), method.into()),
            ("path".to_owned(), path.into()),
            ("bulkId".to_owned(), bulk_id(at).into()),
        ])
    };
    let patch = |kind: Kind, target: &Target, body: Value| {
        let mut wire = one("PATCH", kind, &names.of(target));
        wire.insert("data".to_owned(), body);
        Value::Object(wire)
    };
    match operation {
        Operation::CreateUser { user, .. } => create(Kind::User, &user.0),
        Operation::CreateGroup { group, .. } => create(Kind::Group, &group.0),
        Operation::UpdateUser { user, patch: change } => patch(Kind::User, user, change.0.patch_body()),
        Operation::UpdateGroup { group, patch: change } => patch(Kind::Group, group, change.0.patch_body()),
        Operation::AddMembers { group, members } => {
            let members = members.iter();
            let members =
                members.map(|(kind, target)| json!({"value": names.of(target), "type": kind.name()}));
            patch(Kind::Group, group, patch_body(vec![add_operation(members.collect())]))
        }
        Operation::DeleteUser { id } => one("DELETE", Kind::User, id).into(),
        Operation::DeleteGroup { id } => one("DELETE", Kind::Group, id).into(),
    }
}

/// The bytes that operations may have together.
pub(crate) fn bytes_max(payload_bytes_max: usize) -> usize {
    payload_bytes_max.saturating_sub(ENVELOPE_BYTES)
}

/// The bytes of an operation, with what separates it from the next.
pub(crate) fn bytes(wire: &Value) -> usize {
    wire.to_string().len() + 1
}

/// A request of these. Without `failOnErrors`: each is tried, whatever becomes of the others.
pub(crate) fn request(operations: &[Value]) -> Request {
    let body = json!({"schemas": [REQUEST_SCHEMA], "Operations": operations});
    Request::new(Method::Post, BULK, &[]).json(&body)
}

/// What became of one operation.
#[derive(Debug, Clone)]
pub(crate) struct Result {
    /// The id of what was created or changed.
    pub(crate) id: Option<String>,
    pub(crate) version: Option<String>,
    /// As if the operation had been sent by itself.
    pub(crate) answer: Answer,
}

/// What became of the operations with these places, in their order. None where the answer does not say.
pub(crate) fn read(answer: &Answer, places: &[usize]) -> std::result::Result<Vec<Option<Result>>, Fault> {
    let body: Map<String, Value> = answer.json()?;
    let Some(Value::Array(told)) = get(&body, "Operations") else {
        return if places.is_empty() { Ok(Vec::new()) } else { Err(answer.unreadable("no Operations")) };
    };
    let told: Vec<&Map<String, Value>> = told.iter().filter_map(Value::as_object).collect();
    let named = |at: usize| {
        let name = bulk_id(at);
        told.iter().find(|one| get(one, "bulkId").and_then(Value::as_str) == Some(name.as_str())).copied()
    };
    // Some name only what was created; then the place tells, where none is missing.
    let placed = |place: usize| {
        let one = told.get(place).filter(|_| told.len() == places.len()).copied();
        one.filter(|one| get(one, "bulkId").is_none())
    };
    Ok(places.iter().enumerate().map(|(place, at)| result(named(*at).or_else(|| placed(place))?)).collect())
}

fn result(told: &Map<String, Value>) -> Option<Result> {
    let text = |name: &str| get(told, name).and_then(Value::as_str);
    let status = status(get(told, "status")?)?;
    let method = text("method").unwrap_or("POST").to_uppercase();
    let body = get(told, "response").map(Value::to_string).unwrap_or_default();
    let head = [("content-type", "application/scim+json")];
    let answer = Answer::recorded(SYSTEM, &format!("POST {BULK} ({method})"), status, &head, body);
    let version = text("version").map(str::to_owned);
    Some(Result { id: text("location").and_then(id::of_location), version, answer })
}

/// A text; a number, or an object with a code, at some.
fn status(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::Object(status) => self::status(get(status, "code").filter(|code| !code.is_object())?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abilities::Overrides;
    use crate::error;
    use crate::fixtures;
    use crate::patch::{GroupPatch, UserPatch};

    fn abilities() -> Abilities {
        Abilities::read(None, None, &Overrides::default())
    }

    fn new(reference: &str) -> Target {
        Target::New(reference.to_owned())
    }

    #[test]
    fn creates_are_as_recorded() {
        let user = UserPatch::default().user_name("sunqi").external_id("wecom:user:sunqi").active(true);
        let create = Operation::CreateUser { reference: "u".to_owned(), user };
        let names = Names { ids: &HashMap::new(), makers: &HashMap::new() };
        let mut expected = fixtures::load("080-bulk-create-tree").request_json()["Operations"][2].clone();
        expected["bulkId"] = "o2".into();
        assert_eq!(wire(2, &create, &abilities(), &names), expected);
        let body: Value = serde_json::from_slice(request(&[expected]).body()).unwrap();
        let recorded = fixtures::load("082-bulk-no-fail-on-errors").request_json();
        assert_eq!((&body["schemas"], body.get("failOnErrors")), (&recorded["schemas"], None));
    }

    #[test]
    fn changes_are_as_recorded() {
        let recorded = fixtures::load("082-bulk-no-fail-on-errors").request_json();
        let id = "b27867c5d6264cfcafea5767cb255acb".to_owned();
        let change = UserPatch::default().title(Some("Chef"));
        let operations = [
            (1, Operation::UpdateUser { user: Target::Id(id), patch: change }),
            (2, Operation::DeleteUser { id: "nope".to_owned() }),
        ];
        let names = Names { ids: &HashMap::new(), makers: &HashMap::new() };
        for (at, operation) in operations {
            let mut expected = recorded["Operations"][at].clone();
            expected["bulkId"] = bulk_id(at).into();
            assert_eq!(wire(at, &operation, &abilities(), &names), expected);
        }
    }

    #[test]
    fn references_are_ids_once_there_is_one() {
        let add = Operation::AddMembers {
            group: new("d10"),
            members: vec![(Kind::Group, new("d11")), (Kind::User, Target::Id("7".to_owned()))],
        };
        let ids = HashMap::from([("d10".to_owned(), "a/b".to_owned())]);
        let makers = HashMap::from([("d10", 0), ("d11", 1)]);
        let wire = wire(3, &add, &abilities(), &Names { ids: &ids, makers: &makers });
        assert_eq!(wire["path"], "/Groups/a%2Fb");
        let members = &wire["data"]["Operations"][0]["value"];
        assert_eq!(
            *members,
            json!([{"value": "bulkId:o1", "type": "Group"}, {"value": "7", "type": "User"}])
        );
        let wire = self::wire(3, &add, &abilities(), &Names { ids: &HashMap::new(), makers: &makers });
        assert_eq!(wire["path"], "/Groups/bulkId:o0");
    }

    /// A recorded answer with the names that we give.
    fn renamed(name: &str, names: &[(&str, usize)]) -> Answer {
        let mut body: Value = fixtures::answer(name).json().unwrap();
        for operation in body["Operations"].as_array_mut().unwrap() {
            if let Some((_, at)) = names.iter().find(|(name, _)| operation["bulkId"] == *name) {
                operation["bulkId"] = bulk_id(*at).into();
            }
        }
        fixtures::made(200, "application/scim+json", &body.to_string())
    }

    fn codes(results: &[Option<Result>]) -> Vec<&'static str> {
        let code = |result: &Option<Result>| match result {
            Some(result) => error::success(&result.answer).map_or_else(|fault| fault.code, |_| "ok"),
            None => "untold",
        };
        results.iter().map(code).collect()
    }

    #[test]
    fn answers_are_read_as_recorded() {
        let answer = renamed("080-bulk-create-tree", &[("d10", 0), ("d11", 1), ("u1", 2)]);
        let results = read(&answer, &[2, 0, 1]).unwrap();
        assert_eq!(codes(&results), ["ok", "ok", "ok"]);
        assert_eq!(results[0].as_ref().unwrap().id.as_deref(), Some("832618195ec943e49ebce08134599010"));
        assert_eq!(results[1].as_ref().unwrap().version.as_deref(), Some("W/\"26\""));

        let answer = renamed("081-bulk-fail-on-errors", &[("a", 0), ("b", 1), ("c", 2)]);
        assert_eq!(codes(&read(&answer, &[0, 1, 2]).unwrap()), ["ok", "taken", "untold"]);

        let answer = renamed("082-bulk-no-fail-on-errors", &[("d", 0)]);
        let results = read(&answer, &[0, 1, 2]).unwrap();
        assert_eq!(codes(&results), ["taken", "ok", "not_found"]);
        assert!(error::absence(&results[2].as_ref().unwrap().answer) == error::Absence::Told);

        let answer = renamed("083-bulk-unresolvable", &[("z", 0)]);
        assert_eq!(codes(&read(&answer, &[0]).unwrap()), ["taken"]);
    }

    #[test]
    fn what_the_answer_does_not_say_is_not_guessed() {
        let body = |operations: Value| {
            fixtures::made(200, "application/json", &json!({"Operations": operations}).to_string())
        };
        let one = json!({"method": "DELETE", "status": 204});
        assert_eq!(codes(&read(&body(json!([one])), &[4]).unwrap()), ["ok"]);
        assert_eq!(codes(&read(&body(json!([one])), &[4, 5]).unwrap()), ["untold", "untold"]);
        let other = json!({"method": "POST", "bulkId": "o9", "status": {"code": "201"}});
        assert_eq!(codes(&read(&body(json!([other])), &[9]).unwrap()), ["ok"]);
        assert_eq!(codes(&read(&body(json!([other])), &[8]).unwrap()), ["untold"], "another one's");
        for status in [json!("done"), json!(null), json!(-1), json!({"code": {"code": 1}})] {
            let odd = json!({"bulkId": "o1", "status": status});
            assert_eq!(codes(&read(&body(json!([odd])), &[1]).unwrap()), ["untold"]);
        }
        for none in ["", "[]", "{}", r#"{"Operations":{}}"#] {
            assert!(read(&fixtures::made(200, "application/json", none), &[1]).is_err(), "{none}");
        }
    }

    #[test]
    fn what_needs_patch_or_is_too_large_goes_by_itself() {
        let change = |patch| Operation::UpdateGroup { group: Target::Id("1".to_owned()), patch };
        let named = change(GroupPatch::default().display_name("x"));
        assert!(is_possible(&named, true, 1) && !is_possible(&named, false, 1));
        assert!(!is_possible(&change(GroupPatch::default()), true, 1));
        let add = Operation::AddMembers { group: new("a"), members: vec![(Kind::User, new("b")); 3] };
        assert!(is_possible(&add, true, 3) && !is_possible(&add, true, 2));
        assert!(is_possible(&Operation::DeleteUser { id: "1".to_owned() }, false, 1));
    }
}
