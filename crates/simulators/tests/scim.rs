//! SCIM: resources, lists, PATCH, bulk, and what a service may lack.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::scim::{ScimDiscovery, ScimNesting, TOKEN};
use simulators::{
    Clock, FaultKind, FaultRule, Hosting, Operation, ScimOptions, ScimSimulator, writes_without_change,
};

use crate::http::{self, Got};
use crate::replay::object;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

async fn start(options: ScimOptions) -> ScimSimulator {
    ScimSimulator::start(options).await.unwrap()
}

async fn send(scim: &ScimSimulator, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Got {
    let bearer = format!("Bearer {TOKEN}");
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/scim+json")];
    headers.extend_from_slice(more);
    http::send(&scim.base_url(), method, &format!("/scim/v2/{path}"), &headers, body).await.unwrap()
}

async fn call(scim: &ScimSimulator, method: &str, path: &str, body: Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let got = send(scim, method, path, &[], &text).await;
    (got.status, if got.body.is_empty() { Value::Null } else { got.json() })
}

fn user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name, "externalId": format!("wecom:user:{name}"), "active": true })
}

fn group(id: u32, name: &str) -> Value {
    json!({ "schemas": [GROUP], "displayName": name, "externalId": format!("wecom:dept:{id}") })
}

async fn create(scim: &ScimSimulator, path: &str, body: Value) -> String {
    let (status, body) = call(scim, "POST", path, body).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}

fn refusal((status, body): &(u16, Value)) -> (u16, &str) {
    assert_eq!(body["status"], status.to_string());
    (*status, body["scimType"].as_str().unwrap_or_default())
}

fn ids(members: &Value) -> Vec<&str> {
    members.as_array().into_iter().flatten().map(|member| member["value"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_user_is_created_read_replaced_and_deleted() {
    let scim = start(ScimOptions::default()).await;
    let made = send(&scim, "POST", "Users", &[], &user("LiSi").to_string()).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((made.status, made.header("etag")), (201, Some("W/\"1\"")));
    assert_eq!(made.header("location"), Some(format!("{}/Users/{id}", scim.service_url()).as_str()));
    let path = format!("Users/{id}");
    assert_eq!(send(&scim, "GET", &path, &[("If-None-Match", "W/\"1\"")], "").await.status, 304);
    let taken = call(&scim, "POST", "Users", user("lisi")).await;
    assert_eq!(refusal(&taken), (409, "uniqueness"), "in any case");
    let (_, twin) =
        call(&scim, "POST", "Users", json!({ "userName": "x", "externalId": "wecom:user:LiSi" })).await;
    assert_eq!(twin["externalId"], "wecom:user:LiSi", "nobody keeps it unique");
    let put = json!({ "schemas": [USER], "userName": "lisi2" });
    let stale = send(&scim, "PUT", &path, &[("If-Match", "W/\"7\"")], &put.to_string()).await;
    assert_eq!(stale.status, 412);
    let (_, replaced) = call(&scim, "PUT", &path, put).await;
    assert_eq!((&replaced["userName"], replaced.get("externalId")), (&json!("lisi2"), None));
    assert_eq!(call(&scim, "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(call(&scim, "DELETE", &path, Value::Null).await.0, 404);
    assert_eq!(call(&scim, "PUT", &path, user("y")).await.0, 404);
    let writes: Vec<Operation> = scim.journal().iter().map(|entry| entry.operation).collect();
    assert_eq!(writes, [Operation::Create, Operation::Create, Operation::Update, Operation::Delete]);
}

#[tokio::test]
async fn bad_input_is_refused_as_measured() {
    let scim = start(ScimOptions::default()).await;
    for (body, expected) in [
        (json!({ "displayName": "x" }), "invalidValue"),
        (json!({ "userName": "bad", "emails": "a@b" }), "invalidValue"),
        (json!({ "userName": "bad", "wecomAlias": "x" }), "invalidSyntax"),
        (json!([]), "invalidSyntax"),
    ] {
        assert_eq!(refusal(&call(&scim, "POST", "Users", body.clone()).await), (400, expected), "{body}");
    }
    let broken = send(&scim, "POST", "Users", &[], "{\"schemas\": [").await;
    assert_eq!((broken.status, broken.json()["scimType"].clone()), (400, json!("invalidSyntax")));
    assert_eq!(call(&scim, "GET", "Me", Value::Null).await.0, 501);
    for (method, path, allowed) in [
        ("DELETE", "Users", "GET, POST"),
        ("POST", "Users/x/y", ""),
        ("GET", "Bulk", "POST"),
        ("GET", ".search", "POST"),
        ("PUT", "Groups/.search", "POST"),
    ] {
        let refused = send(&scim, method, path, &[], "").await;
        assert_eq!(refused.header("allow").unwrap_or_default(), allowed, "{method} {path}");
        assert_eq!(refused.status, if allowed.is_empty() { 404 } else { 405 }, "{method} {path}");
    }
    let other = http::send(&scim.base_url(), "GET", "/scim/v2/Users", &[("Authorization", "Bearer no")], "")
        .await
        .unwrap();
    assert_eq!((other.status, other.header("www-authenticate")), (401, Some("Bearer realm=\"SCIM\"")));
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
    let text = http::send(&scim.base_url(), "POST", "/scim/v2/Users", &headers, "{}").await.unwrap();
    assert_eq!(text.status, 415);
    let odd = create(&scim, "Users", json!({ "username": "odd", "ACTIVE": "False", "title": null })).await;
    let (_, odd) = call(&scim, "GET", &format!("Users/{odd}"), Value::Null).await;
    assert_eq!((&odd["userName"], &odd["active"], odd.get("title")), (&json!("odd"), &json!(false), None));
}

#[tokio::test]
async fn lists_are_filtered_and_come_page_by_page() {
    let scim = start(ScimOptions { page_max: 3, ..ScimOptions::default() }).await;
    for number in 0..7 {
        create(&scim, "Users", user(&format!("m{number}"))).await;
    }
    let (mut at, mut seen) = (1, Vec::new());
    loop {
        let (_, page) = call(&scim, "GET", &format!("Users?startIndex={at}&count=100"), Value::Null).await;
        let page_ids: Vec<String> =
            page["Resources"].as_array().unwrap().iter().map(|it| it["id"].to_string()).collect();
        assert_eq!((&page["totalResults"], &page["itemsPerPage"]), (&json!(7), &json!(page_ids.len())));
        if page_ids.is_empty() {
            break;
        }
        at += page_ids.len();
        seen.extend(page_ids);
    }
    seen.dedup();
    assert_eq!((seen.len(), at), (7, 8));
    let found = async |filter: &str| {
        let filter = filter.replace(' ', "%20").replace('"', "%22");
        call(&scim, "GET", &format!("Users?filter={filter}"), Value::Null).await
    };
    assert_eq!(found("externalId eq \"wecom:user:m3\"").await.1["totalResults"], 1);
    assert_eq!(found("userName eq \"M3\"").await.1["totalResults"], 1);
    assert_eq!(found("externalId sw \"wecom:\" and active eq true").await.1["totalResults"], 7);
    let none = found("externalId eq \"wecom:user:M3\"").await;
    assert_eq!((none.0, &none.1["totalResults"]), (200, &json!(0)));
    assert_eq!(refusal(&found("externalId equals \"x\"").await), (400, "invalidFilter"));
    let search = json!({ "filter": "userName eq \"m1\"", "attributes": ["userName"] });
    let (_, searched) = call(&scim, "POST", "Users/.search", search).await;
    let keys: Vec<&String> = searched["Resources"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["schemas", "id", "userName"]);
    assert_eq!(
        call(&scim, "GET", "Users?sortBy=userName&sortOrder=descending&count=1", Value::Null).await.1["Resources"]
            [0]["userName"],
        "m6"
    );
    assert_eq!((scim.counters()["POST /Users"], scim.counters()["POST /Users/.search"]), (7, 1));
}

#[tokio::test]
async fn it_tells_of_itself() {
    let scim = start(ScimOptions::default()).await;
    for (endpoint, ids) in
        [("ResourceTypes", vec!["User", "Group"]), ("Schemas", vec![USER, GROUP, ENTERPRISE])]
    {
        let (_, list) = call(&scim, "GET", endpoint, Value::Null).await;
        let found: Vec<&str> =
            list["Resources"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(found, ids);
        for (at, id) in ids.iter().enumerate() {
            let path = format!("{endpoint}/{}", id.replace(':', "%3A"));
            let (status, one) = call(&scim, "GET", &path, Value::Null).await;
            assert_eq!((status, &one), (200, &list["Resources"][at]));
            let location = format!("{}/{endpoint}/{id}", scim.service_url());
            assert_eq!(one["meta"]["location"], location);
        }
        assert_eq!(call(&scim, "GET", &format!("{endpoint}/nosuch"), Value::Null).await.0, 404);
        assert_eq!(call(&scim, "GET", &format!("{endpoint}?filter=id%20pr"), Value::Null).await.0, 403);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            assert_eq!(send(&scim, method, endpoint, &[], "").await.header("allow"), Some("GET"), "{method}");
        }
    }
    let (_, group) = call(&scim, "GET", &format!("Schemas/{GROUP}"), Value::Null).await;
    let names: Vec<&Value> = group["attributes"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["displayName", "members"]);
    let kinds = &group["attributes"][1]["subAttributes"][2]["canonicalValues"];
    assert_eq!(kinds, &json!(["User", "Group"]));
}

#[tokio::test]
async fn what_is_asked_for_is_shown() {
    let scim = start(ScimOptions::default()).await;
    let lisi = json!({
        "userName": "lisi", "title": "CEO", "emails": [{ "value": "l@x.test", "type": "work" }],
        ENTERPRISE: { "department": "研发", "division": "x" },
    });
    let id = create(&scim, "Users", lisi).await;
    let group = create(&scim, "Groups", group(1, "a")).await;
    for (query, shown) in [
        ("attributes=userName", json!({ "schemas": [USER], "userName": "lisi" })),
        ("attributes=emails.value", json!({ "schemas": [USER], "emails": [{ "value": "l@x.test" }] })),
        (
            &format!("attributes={ENTERPRISE}:Department,{USER}:title"),
            json!({ "schemas": [USER, ENTERPRISE], "title": "CEO", ENTERPRISE: { "department": "研发" } }),
        ),
        (
            &format!("excludedAttributes=meta,id,userName,emails.type,{ENTERPRISE}"),
            json!({ "schemas": [USER], "title": "CEO", "emails": [{ "value": "l@x.test" }] }),
        ),
    ] {
        let (_, mut got) = call(&scim, "GET", &format!("Users/{id}?{query}"), Value::Null).await;
        assert_eq!(got.as_object_mut().unwrap().remove("id"), Some(json!(id)), "always: {query}");
        assert_eq!(got, shown, "{query}");
    }
    let title = patch(json!([{ "op": "remove", "path": "title" }]));
    let patched = call(&scim, "PATCH", &format!("Users/{id}?attributes=title,userName"), title).await;
    assert_eq!(patched, (200, json!({ "schemas": [USER], "id": id, "userName": "lisi" })));

    let search = json!({ "attributes": ["displayName"], "sortBy": "displayName", "sortOrder": "descending" });
    let (_, both) = call(&scim, "POST", ".search", search).await;
    let found: Vec<&Value> = both["Resources"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(found, [&json!(group), &json!(id)]);
    scim.configure(&object(json!({ "groups": false }))).unwrap();
    assert_eq!(call(&scim, "POST", ".search", json!({})).await.1["totalResults"], 1);
}

#[tokio::test]
async fn a_patch_does_all_or_nothing() {
    let scim = start(ScimOptions::default()).await;
    create(&scim, "Users", user("lisi")).await;
    let id = create(&scim, "Users", user("zhangsan")).await;
    let path = format!("Users/{id}");
    let taken = patch(json!([
        { "op": "replace", "path": "displayName", "value": "must not stick" },
        { "op": "replace", "path": "userName", "value": "LISI" },
    ]));
    assert_eq!(refusal(&call(&scim, "PATCH", &path, taken).await), (409, "uniqueness"));
    let good = patch(json!([
        { "op": "Add", "path": "name", "value": { "familyName": "张", "givenName": "三" } },
        { "op": "replace", "path": "name.givenName", "value": "叁" },
        { "op": "replace", "path": "emails", "value": [{ "value": "z@x.test", "type": "work" }] },
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "y@x.test" },
        { "op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "研发" },
        { "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": { "value": id } },
        { "op": "replace", "value": { "title": "CEO", "active": "False" } },
    ]));
    assert_eq!(call(&scim, "PATCH", &path, good).await, (204, Value::Null));
    let (_, now) = call(&scim, "GET", &path, Value::Null).await;
    assert_eq!(now["name"], json!({ "familyName": "张", "givenName": "叁" }));
    assert_eq!(now["emails"], json!([{ "value": "y@x.test", "type": "work" }]));
    assert_eq!(now[ENTERPRISE], json!({ "department": "研发", "manager": { "value": id } }));
    assert_eq!((&now["title"], &now["active"], now.get("displayName")), (&json!("CEO"), &json!(false), None));
    assert_eq!(now["schemas"], json!([USER, ENTERPRISE]));
    for (operation, expected) in [
        (json!({ "op": "replace", "path": "nosuch", "value": 1 }), "invalidPath"),
        (json!({ "op": "replace", "path": "id", "value": "x" }), "mutability"),
        (json!({ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" }), "noTarget"),
        (json!({ "op": "replace", "path": format!("{ENTERPRISE}:manager"), "value": "x" }), "invalidValue"),
        (
            json!({ "op": "replace", "path": format!("{ENTERPRISE}:manager.displayName"), "value": "x" }),
            "mutability",
        ),
        (json!({ "op": "replace", "path": "name.givenName", "value": 7 }), "invalidValue"),
        (json!({ "op": "remove", "path": "userName" }), "invalidValue"),
        (json!({ "op": "remove" }), "noTarget"),
        (json!({ "op": "move", "path": "title" }), "invalidSyntax"),
    ] {
        let refused = call(&scim, "PATCH", &path, patch(json!([operation]))).await;
        assert_eq!(refusal(&refused), (400, expected), "{operation}");
    }
    let removed = patch(json!([
        { "op": "remove", "path": format!("{ENTERPRISE}:manager") },
        { "op": "remove", "path": "emails" },
    ]));
    assert_eq!(call(&scim, "PATCH", &path, removed).await.0, 204);
    let version = send(&scim, "GET", &path, &[], "").await;
    assert!(version.json().get("emails").is_none() && version.json()[ENTERPRISE].get("manager").is_none());
    let same = patch(json!([{ "op": "replace", "path": "title", "value": "CEO" }]));
    let again = send(&scim, "PATCH", &path, &[], &same.to_string()).await;
    assert_eq!(again.header("etag"), version.header("etag"), "nothing changed");
    assert_eq!(writes_without_change(&scim.journal()).len(), 1);
}

#[tokio::test]
async fn groups_have_members() {
    let scim = start(ScimOptions::default()).await;
    let parent = create(&scim, "Groups", group(1, "示例科技")).await;
    let child = create(&scim, "Groups", group(2, "研发中心")).await;
    let path = format!("Groups/{parent}");
    let add = json!([{ "op": "add", "path": "members", "value": [
        { "value": child, "type": "Group" }, { "value": "nobody", "type": "User" } ] }]);
    let first = send(&scim, "PATCH", &path, &[], &patch(add.clone()).to_string()).await;
    let again = send(&scim, "PATCH", &path, &[], &patch(add).to_string()).await;
    assert_eq!((first.status, first.header("etag")), (204, again.header("etag")));
    let (_, now) = call(&scim, "GET", &path, Value::Null).await;
    let mut expected = vec![child.as_str(), "nobody"];
    expected.sort_unstable();
    assert_eq!(ids(&now["members"]), expected, "nobody checks who that is");
    let (_, without) = call(&scim, "GET", &format!("{path}?excludedAttributes=members"), Value::Null).await;
    assert!(without.get("members").is_none() && without["displayName"] == "示例科技");
    let filter = format!("Groups?filter=members.value%20eq%20%22{child}%22");
    assert_eq!(call(&scim, "GET", &filter, Value::Null).await.1["totalResults"], 1);
    let entra = json!([{ "op": "Remove", "path": "members", "value": [{ "value": child }] }]);
    assert_eq!(refusal(&call(&scim, "PATCH", &path, patch(entra)).await), (400, "invalidValue"));
    assert_eq!(call(&scim, "DELETE", &format!("Groups/{child}"), Value::Null).await.0, 204);
    assert_eq!(
        ids(&call(&scim, "GET", &path, Value::Null).await.1["members"]).len(),
        2,
        "who is deleted stays in"
    );
    let out = json!([
        { "op": "remove", "path": format!("members[value eq \"{child}\"]") },
        { "op": "remove", "path": "members[value eq \"other\"]" },
    ]);
    assert_eq!(call(&scim, "PATCH", &path, patch(out.clone())).await.0, 204);
    assert_eq!(ids(&call(&scim, "GET", &path, Value::Null).await.1["members"]), ["nobody"]);
    let (_, replaced) =
        call(&scim, "PUT", &path, json!({ "displayName": "x", "members": [{ "value": "a" }] })).await;
    assert_eq!(ids(&replaced["members"]), ["a"]);
    scim.configure(&object(json!({ "strict_removal": true }))).unwrap();
    assert_eq!(refusal(&call(&scim, "PATCH", &path, patch(out)).await), (400, "noTarget"));
    let changes: Vec<Vec<String>> = scim.journal().iter().map(|entry| entry.changed_fields()).collect();
    assert!(changes.contains(&vec!["membersRemoved".to_owned()]), "{changes:?}");
}

#[tokio::test]
async fn bulk_refers_to_what_it_creates_in_any_order() {
    let scim = start(ScimOptions { bulk_operations_max: Some(4), ..ScimOptions::default() }).await;
    let bulk = |operations: Value| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations });
    let post = |path: &str, id: &str, data: Value| json!({ "method": "POST", "path": path, "bulkId": id, "data": data });
    let mut parent = group(10, "销售");
    parent["members"] = json!([{ "value": "bulkId:d11", "type": "Group" }]);
    let add =
        json!([{ "op": "add", "path": "members", "value": [{ "value": "bulkId:u1", "type": "User" }] }]);
    let (status, done) = call(
        &scim,
        "POST",
        "Bulk",
        bulk(json!([
            post("/Groups", "d10", parent),
            { "method": "PATCH", "path": "/Groups/bulkId:d11", "data": patch(add) },
            post("/Groups", "d11", group(11, "华东")),
            post("/Users", "u1", user("lisi")),
        ])),
    )
    .await;
    let done = done["Operations"].as_array().unwrap();
    let statuses: Vec<&str> = done.iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!((status, statuses), (200, vec!["201", "200", "201", "201"]));
    let id = |at: usize| done[at]["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(ids(&scim.record(&id(0)).unwrap()["members"]), [id(2)]);
    assert_eq!(ids(&scim.record(&id(2)).unwrap()["members"]), [id(3)]);

    let mut failing = bulk(json!([
        post("/Users", "a", user("a")),
        post("/Users", "b", user("LISI")),
        post("/Users", "c", user("c")),
    ]));
    failing["failOnErrors"] = json!(1);
    let (_, answer) = call(&scim, "POST", "Bulk", failing).await;
    let statuses: Vec<&Value> =
        answer["Operations"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
    assert_eq!(statuses, ["201", "409"], "the rest is not done, the first one is");
    let gone = json!({ "method": "DELETE", "path": "/Users/nope" });
    let (_, answer) =
        call(&scim, "POST", "Bulk", bulk(json!([gone, post("/Users", "b", user("LISI"))]))).await;
    let [gone, taken] = [&answer["Operations"][0], &answer["Operations"][1]];
    assert_eq!((&gone["status"], &taken["status"]), (&json!("404"), &json!("409")));
    assert_eq!(gone["location"], format!("{}/Users/nope", scim.service_url()));
    assert_eq!(taken.get("location"), None);
    let mut lost = group(9, "z");
    lost["members"] = json!([{ "value": "bulkId:nope" }]);
    let (_, answer) = call(&scim, "POST", "Bulk", bulk(json!([post("/Groups", "z", lost)]))).await;
    assert_eq!(answer["Operations"][0]["response"]["status"], "409");
    let many: Vec<Value> = (0..5).map(|n| post("/Users", &n.to_string(), user(&format!("n{n}")))).collect();
    assert_eq!(call(&scim, "POST", "Bulk", bulk(json!(many))).await.0, 413);
    scim.configure(&object(json!({ "bulk_bytes_max": 10 }))).unwrap();
    assert_eq!(call(&scim, "POST", "Bulk", bulk(json!([]))).await.0, 413);
    let counts = scim.control("GET", "counts", &Value::Null).unwrap();
    assert_eq!(counts, json!({ "users": 2, "groups": 2 }));
}

#[tokio::test]
async fn what_a_service_lacks_is_told_or_not() {
    let options = ScimOptions {
        patch: false,
        bulk_operations_max: None,
        filter: false,
        sort: false,
        etag: false,
        groups: false,
        enterprise: false,
        ..ScimOptions::default()
    };
    let scim = start(options).await;
    let config = async || call(&scim, "GET", "ServiceProviderConfig", Value::Null).await;
    let (_, told) = config().await;
    for feature in ["patch", "bulk", "filter", "sort", "etag"] {
        assert_eq!(told[feature]["supported"], false, "{feature}");
    }
    let (_, types) = call(&scim, "GET", "ResourceTypes", Value::Null).await;
    assert_eq!((&types["totalResults"], types["Resources"][0].get("schemaExtensions")), (&json!(1), None));
    let made = send(&scim, "POST", "Users", &[], &user("lisi").to_string()).await;
    assert_eq!((made.header("etag"), made.json()["meta"].get("version")), (None, None));
    let path = format!("Users/{}", made.json()["id"].as_str().unwrap());
    let title = patch(json!([{ "op": "replace", "path": "title", "value": "x" }]));
    assert_eq!(call(&scim, "PATCH", &path, title).await.0, 501);
    assert_eq!(call(&scim, "POST", "Bulk", json!({ "Operations": [] })).await.0, 501);
    assert_eq!(call(&scim, "GET", "Users?filter=userName%20eq%20%22x%22", Value::Null).await.0, 501);
    assert_eq!(call(&scim, "GET", "Users?sortBy=id", Value::Null).await.0, 400);
    assert_eq!(call(&scim, "GET", "Groups", Value::Null).await.0, 404);
    let extended = json!({ "userName": "y", ENTERPRISE: { "department": "x" } });
    assert_eq!(call(&scim, "POST", "Users", extended).await.0, 400);
    scim.configure(&object(json!({ "discovery": "boasting" }))).unwrap();
    assert_eq!(config().await.1["patch"]["supported"], true);
    scim.configure(&object(json!({ "discovery": "missing", "bare_errors": true }))).unwrap();
    assert_eq!(config().await, (404, Value::Null));
    assert!(scim.configure(&object(json!({ "nosuch": true }))).is_err());
}

#[tokio::test]
async fn groups_within_groups_are_refused_or_dropped() {
    for (nesting, status) in [(ScimNesting::Refused, 400), (ScimNesting::Dropped, 204)] {
        let scim = start(ScimOptions { nesting, ..ScimOptions::default() }).await;
        let parent = create(&scim, "Groups", group(1, "a")).await;
        let child = create(&scim, "Groups", group(2, "b")).await;
        // The type is left out by some; it is a group all the same.
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": child }] }]);
        let path = format!("Groups/{parent}");
        assert_eq!(call(&scim, "PATCH", &path, patch(add)).await.0, status);
        assert!(scim.record(&parent).unwrap().get("members").is_none());
    }
}

#[tokio::test]
async fn a_strict_service_keeps_names_and_ids_apart_and_requests_small() {
    let options = ScimOptions {
        unique_external_ids: true,
        unique_group_names: true,
        members_max: Some(2),
        normalises: true,
        plain_json_only: true,
        ..ScimOptions::default()
    };
    let scim = start(options).await;
    assert_eq!(send(&scim, "POST", "Groups", &[], &group(1, "a").to_string()).await.status, 415);
    let post = async |path: &str, body: Value| {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let method = if path.matches('/').count() > 1 { "PATCH" } else { "POST" };
        http::send(&scim.base_url(), method, path, &headers, &body.to_string()).await.unwrap()
    };
    let made = post("/Groups", group(1, "a")).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(post("/Groups", group(2, "A")).await.status, 409);
    assert_eq!(post("/Groups", group(1, "b")).await.status, 409);
    let members: Vec<Value> = ["x", "y", "z"].iter().map(|id| json!({ "value": id })).collect();
    let add = patch(json!([{ "op": "add", "path": "members", "value": members }]));
    let refused = post(&format!("/Groups/{made}"), add).await;
    assert_eq!((refused.status, refused.json()["scimType"].clone()), (400, json!("tooMany")));
    let odd = json!({ "userName": " LiSi", "title": " x ", "emails": [{ "value": "A@X.test", "type": "work" }],
        "phoneNumbers": [{ "value": "+86 138", "type": "mobile" }, { "value": "020-1", "type": "work" }] });
    let kept = post("/Users", odd).await.json();
    assert_eq!(
        (&kept["userName"], &kept["title"], &kept["emails"][0]["value"]),
        (&json!("lisi"), &json!("x"), &json!("a@x.test"))
    );
    assert_eq!(kept["phoneNumbers"][1]["value"], "tel:+86138");
}

#[tokio::test]
async fn requests_are_limited_by_the_second() {
    let now = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&now);
    let clock = Clock::from_fn(move || Timestamp::from_millisecond(read.load(Ordering::SeqCst)).unwrap());
    let hosting = Hosting { clock, ..Hosting::default() };
    let scim = start(ScimOptions {
        hosting,
        requests_per_second: Some(2),
        retry_after: 3,
        ..ScimOptions::default()
    })
    .await;
    let get = async || send(&scim, "GET", "Users", &[], "").await;
    assert_eq!((get().await.status, get().await.status), (200, 200));
    let refused = get().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")));
    now.store(1_000, Ordering::SeqCst);
    assert_eq!(get().await.status, 200);
}

#[tokio::test]
async fn people_and_faults_come_in_between() {
    let scim = start(ScimOptions { discovery: ScimDiscovery::Honest, ..ScimOptions::default() }).await;
    let seeded = scim
        .seed(object(json!({ "id": "u1", "userName": "lisi", "externalId": "wecom:user:lisi" })))
        .unwrap();
    assert_eq!(seeded, "u1");
    let made = scim
        .create_as_person(&object(json!({ "displayName": "x", "members": [{ "value": "u1" }] })))
        .unwrap();
    assert!(scim.create_as_person(&object(json!({ "userName": "LISI" }))).is_err());
    scim.edit_as_person("u1", &object(json!({ "title": "Chef", "externalId": null }))).unwrap();
    let now = scim.record("u1").unwrap();
    assert_eq!((&now["title"], now.get("externalId")), (&json!("Chef"), None));
    assert!(scim.edit_as_person("nobody", &object(json!({ "title": "x" }))).is_err());
    scim.fault(FaultRule::new(FaultKind::ShortList).on("GET", "/scim/v2/Users").times(1));
    assert_eq!(call(&scim, "GET", "Users", Value::Null).await.1["totalResults"], 0);
    scim.fault(FaultRule::new(FaultKind::CloseAfter).on("POST", "/scim/v2/Users").times(1));
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/scim+json")];
    let lost =
        http::send(&scim.base_url(), "POST", "/scim/v2/Users", &headers, &user("lost").to_string()).await;
    assert!(lost.is_none());
    assert_eq!(scim.records().len(), 3, "it was written");
    scim.delete_as_person(&made).unwrap();
    assert!(scim.delete_as_person(&made).is_err());
}
