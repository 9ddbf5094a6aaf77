//! Several operations against services with bulk, without, and with a bad one.

use serde_json::{Value, json};

use super::*;
use crate::scripted::{Asked, Log, Reply, lines, list, recorded, refusal, scim, start, start_with};
use crate::{GroupPatch, Overrides, UserPatch};

fn user(name: &str) -> Operation {
    let user = UserPatch::default().user_name(name).external_id(&format!("x:{name}"));
    Operation::CreateUser { reference: name.to_owned(), user }
}

fn group(name: &str) -> Operation {
    let group = GroupPatch::default().display_name(name).external_id(&format!("x:{name}"));
    Operation::CreateGroup { reference: name.to_owned(), group }
}

fn new(reference: &str) -> Target {
    Target::New(reference.to_owned())
}

fn add(group: &str, members: &[(Kind, &str)]) -> Operation {
    let members = members.iter().map(|(kind, reference)| (*kind, new(reference))).collect();
    Operation::AddMembers { group: new(group), members }
}

/// What a service with bulk answers: creates get the id `#` with their name, `taken` is taken.
fn done(operation: &Value) -> Value {
    let name = &operation["data"]["userName"].as_str().or(operation["data"]["displayName"].as_str());
    let (status, location) = match name {
        Some("taken") => ("409", String::new()),
        Some(name) => ("201", format!("https://scim.example.test/v2/x/%23{name}")),
        None => ("200", format!("https://scim.example.test/v2{}", operation["path"].as_str().unwrap())),
    };
    json!({"method": operation["method"], "bulkId": operation["bulkId"], "status": status, "location": location,
        "version": "W/\"1\""})
}

fn bulk(asked: &Asked) -> Option<Reply> {
    let operations = asked.body["Operations"].as_array()?;
    let told: Vec<Value> = operations.iter().map(done).collect();
    asked.line.ends_with("/Bulk").then(|| scim(200, &json!({"Operations": told})))
}

/// A service without bulk: creates get the id `#` with their name.
fn singly(asked: &Asked) -> Option<Reply> {
    let name = asked.body["userName"].as_str().or(asked.body["displayName"].as_str());
    match (asked.line.split(' ').next()?, name) {
        ("POST", Some("taken")) => Some(recorded("022-create-user-duplicate-username")),
        ("POST", Some(name)) => Some(scim(201, &json!({"id": format!("#{name}")}))),
        ("PATCH", _) => Some((204, vec![], String::new())),
        _ => None,
    }
}

fn id(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Done { id, .. } => id,
        Outcome::Taken => "taken",
        Outcome::Gone => "gone",
        Outcome::Failed(fault) | Outcome::NotDone(fault) | Outcome::Lost(fault) => fault.code,
    }
}

fn ids(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(id).collect()
}

fn tree() -> Vec<Operation> {
    vec![
        add("root", &[(Kind::Group, "child")]),
        group("root"),
        group("child"),
        user("lisi"),
        add("child", &[(Kind::User, "lisi")]),
    ]
}

fn bodies(log: &Log) -> Vec<Value> {
    log.lock().unwrap().iter().map(|asked| asked.body.clone()).collect()
}

#[tokio::test]
async fn a_tree_is_one_request_with_references() {
    let (scim, log) = start(bulk).await;
    let outcomes = scim.apply(&tree()).await.unwrap();
    // The answer to a change names what it was sent to; the references are known by then.
    assert_eq!(ids(&outcomes), ["#root", "#root", "#child", "#lisi", "#child"]);
    assert_eq!(lines(&log), ["POST Bulk"]);
    let operations = &bodies(&log)[0]["Operations"];
    assert_eq!(operations.as_array().unwrap().len(), 5);
    assert_eq!(operations[3]["path"], "/Groups/bulkId:o1");
    assert_eq!(
        operations[3]["data"]["Operations"][0]["value"][0],
        json!({"value": "bulkId:o2", "type": "Group"})
    );
}

#[tokio::test]
async fn without_bulk_it_is_one_after_the_other_in_order() {
    let not_there = |asked: &Asked| match asked.line.ends_with("/Bulk") {
        true => Some(refusal(404, "x")),
        false => singly(asked),
    };
    let (scim, log) = start(not_there).await;
    for _ in 0..2 {
        let outcomes = scim.apply(&tree()).await.unwrap();
        assert_eq!(ids(&outcomes), ["#root", "#root", "#child", "#lisi", "#child"]);
    }
    let lines = lines(&log);
    assert_eq!(lines.iter().filter(|line| *line == "POST Bulk").count(), 1, "asked once: {lines:?}");
    assert_eq!(
        lines[4..6].iter().filter(|line| line.starts_with("PATCH Groups/%23")).count(),
        2,
        "{lines:?}"
    );
    assert!(scim.abilities().await.unwrap().bulk.is_none());
    let off = Overrides { bulk: Some(false), ..Overrides::default() };
    let (scim, log) = start_with(off, singly).await;
    assert_eq!(ids(&scim.apply(&tree()).await.unwrap())[0], "#root");
    assert_eq!(crate::scripted::lines(&log).len(), 5);
}

#[tokio::test]
async fn what_refers_to_what_failed_is_not_done() {
    let operations = [
        group("taken"),
        add("taken", &[]),
        user("lisi"),
        add("taken", &[(Kind::User, "lisi")]),
        add("nobody", &[]),
    ];
    let expected = ["taken", "reference_failed", "#lisi", "reference_failed", "reference_missing"];
    let unresolved = |asked: &Asked| {
        let (_, _, body) = bulk(asked)?;
        let mut told: Value = serde_json::from_str(&body).unwrap();
        for (at, operation) in told["Operations"].as_array_mut().unwrap().iter_mut().enumerate() {
            if asked.body["Operations"][at]["path"].as_str().unwrap().contains("bulkId") {
                operation["status"] = "409".into();
            }
        }
        Some(scim(200, &told))
    };
    let (scim, _) = start(unresolved).await;
    assert_eq!(ids(&scim.apply(&operations).await.unwrap()), expected);
    let off = Overrides { bulk: Some(false), ..Overrides::default() };
    let (scim, _) = start_with(off, singly).await;
    assert_eq!(ids(&scim.apply(&operations).await.unwrap()), expected);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_and_done_in_parts() {
    let (scim, log) = start(|asked| {
        let count = asked.body["Operations"].as_array().map_or(0, Vec::len);
        if count > 30 { Some(recorded("084-bulk-too-many")) } else { bulk(asked) }
    })
    .await;
    let users: Vec<Operation> = (0..130).map(|number| user(&number.to_string())).collect();
    let outcomes = scim.apply(&users).await.unwrap();
    let expected: Vec<String> = (0..130).map(|number| format!("#{number}")).collect();
    assert_eq!(ids(&outcomes), expected);
    let sizes: Vec<usize> =
        bodies(&log).iter().map(|body| body["Operations"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [100, 50, 25, 25, 25, 25, 25, 5]);
}

#[tokio::test]
async fn a_request_that_is_refused_is_sent_in_its_parts() {
    let (scim, log) = start(|asked| match asked.line.ends_with("/Bulk") {
        true => Some(refusal(400, "invalidSyntax")),
        false => singly(asked),
    })
    .await;
    assert_eq!(ids(&scim.apply(&[user("a"), user("taken")]).await.unwrap()), ["#a", "taken"]);
    assert_eq!(lines(&log), ["POST Bulk", "POST Users", "POST Users"]);
}

#[tokio::test]
async fn the_bytes_of_a_request_are_bounded() {
    let (scim, log) = start(|asked| match asked.line.ends_with("/ServiceProviderConfig") {
        true => Some(scim(
            200,
            &json!({"bulk": {"supported": true, "maxOperations": 50, "maxPayloadSize": 2_000}}),
        )),
        false => bulk(asked).or_else(|| singly(asked)),
    })
    .await;
    let mut users: Vec<Operation> = (0..40).map(|number| user(&number.to_string())).collect();
    let long = UserPatch::default().user_name("long").title(Some(&"x".repeat(3_000)));
    users.insert(20, Operation::CreateUser { reference: "long".to_owned(), user: long });
    let outcomes = scim.apply(&users).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done { .. })));
    let singles = lines(&log).iter().filter(|line| *line == "POST Users").count();
    assert_eq!(singles, 1, "what is larger than a bulk request may be goes by itself");
    for asked in log.lock().unwrap().iter().filter(|asked| asked.line.ends_with("/Bulk")) {
        assert!(asked.body.to_string().len() <= 2_000);
    }
}

#[tokio::test]
async fn after_a_lost_answer_what_was_created_is_looked_up() {
    // The answer comes, but nobody can read it.
    let (scim, log) = start(|asked| match asked.line.contains("/Bulk") {
        true => Some((502, vec![], String::new())),
        false if asked.line.contains("x%3Amade") => Some(list(&[json!({"id": "7", "externalId": "x:made"})])),
        false if asked.line.contains("x%3Atwice") => Some(list(&[
            json!({"id": "8", "externalId": "x:twice"}),
            json!({"id": "9", "externalId": "x:twice"}),
        ])),
        false => asked.line.contains("/Users?").then(|| list(&[])),
    })
    .await;
    let operations = [user("made"), user("not"), user("twice"), Operation::DeleteUser { id: "1".to_owned() }];
    let outcomes = scim.apply(&operations).await.unwrap();
    assert_eq!(ids(&outcomes), ["7", "upstream_failed", "upstream_failed", "upstream_failed"]);
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Lost(_))));
    assert_eq!(lines(&log).len(), 4, "nothing is created again");
}

#[tokio::test]
async fn an_operation_that_the_answer_leaves_out_is_lost() {
    let (scim, _) = start(|asked| {
        let (_, _, body) = bulk(asked)?;
        let mut told: Value = serde_json::from_str(&body).unwrap();
        told["Operations"].as_array_mut().unwrap().pop();
        Some(scim(200, &told))
    })
    .await;
    let outcomes = scim.apply(&[user("a"), Operation::DeleteUser { id: "1".to_owned() }]).await.unwrap();
    assert_eq!(ids(&outcomes), ["#a", "bulk_incomplete"]);
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_done_and_costs_nothing() {
    let (scim, log) = start(|asked| {
        let wait = vec![("retry-after", "60".to_owned())];
        asked.line.ends_with("/Bulk").then(|| (429, wait, String::new()))
    })
    .await;
    let users: Vec<Operation> = (0..150).map(|number| user(&number.to_string())).collect();
    let outcomes = scim.apply(&users).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::NotDone(_))), "{outcomes:?}");
    assert_eq!(lines(&log).len(), 1);
}

#[tokio::test]
async fn gone_and_deleted_are_told_from_refused() {
    let (scim, _) = start(|asked| {
        let told: Vec<Value> = asked.body["Operations"]
            .as_array()?
            .iter()
            .map(|operation| {
                json!({"method": operation["method"], "bulkId": operation["bulkId"], "status": "404",
                    "response": {"status": "404", "detail": "not found"}})
            })
            .collect();
        Some(scim(200, &json!({"Operations": told})))
    })
    .await;
    let update =
        Operation::UpdateUser { user: Target::Id("1".to_owned()), patch: UserPatch::default().active(false) };
    let delete = Operation::DeleteGroup { id: "2".to_owned() };
    let outcomes = scim.apply(&[update, delete]).await.unwrap();
    assert_eq!(ids(&outcomes), ["gone", "2"]);
}
