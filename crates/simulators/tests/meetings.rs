//! EspoCRM's meetings and calls: what the recordings do not show by themselves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulators::espocrm::{Account, PERSON_ID};
use simulators::{EspocrmOptions, EspocrmSimulator};

use crate::espocrm::call;
use crate::http;
use crate::replay::object;

const MEETING: &str = "/api/v1/Meeting";
const BERT_ID: &str = "6b0052294e41f2ed0";

async fn start() -> EspocrmSimulator {
    let mut options = EspocrmOptions::default();
    options.accounts.push(Account::person(BERT_ID, "bert", "Bert", "Beirat", "bert@kanzlei.example"));
    EspocrmSimulator::start(options).await.unwrap()
}

fn contact(crm: &EspocrmSimulator, last: &str, mail: &str) -> String {
    let fields = json!({ "firstName": "Petra", "lastName": last, "emailAddress": mail });
    crm.create_as(PERSON_ID, "Contact", &object(fields)).unwrap()
}

fn hour() -> Value {
    json!({
        "name": "Termin", "dateStart": "2026-12-01 09:00:00", "dateEnd": "2026-12-01 10:00:00",
        "assignedUserId": PERSON_ID,
    })
}

async fn create(crm: &EspocrmSimulator, with: Value) -> Value {
    let mut fields = object(hour());
    fields.extend(object(with));
    let got = call(crm, "POST", MEETING, &Value::Object(fields)).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.json()
}

async fn get(crm: &EspocrmSimulator, id: &Value) -> Value {
    call(crm, "GET", &format!("{MEETING}/{}", id.as_str().unwrap()), &Value::Null).await.json()
}

async fn put(crm: &EspocrmSimulator, id: &Value, fields: Value) -> Value {
    call(crm, "PUT", &format!("{MEETING}/{}", id.as_str().unwrap()), &fields).await.json()
}

#[tokio::test]
async fn the_assigned_user_is_required_and_attends() {
    let crm = start().await;
    let mut fields = hour();
    fields["assignedUserId"] = Value::Null;
    let got = call(&crm, "POST", MEETING, &fields).await;
    let reason = "Field validation failure; entityType: Meeting, field: assignedUser, type: required.";
    assert_eq!((got.status, got.reason()), (400, reason));
    let made = create(&crm, json!({ "usersIds": [BERT_ID] })).await;
    assert_eq!(made["usersIds"], json!([BERT_ID, PERSON_ID]));
    assert_eq!(made["usersNames"][BERT_ID], "Bert Beirat");
    let left = put(&crm, &made["id"], json!({ "usersIds": [] })).await;
    assert_eq!(left["usersIds"], json!([PERSON_ID]));
}

#[tokio::test]
async fn whole_days_are_inclusive_and_go_back_to_times() {
    let crm = start().await;
    let days = json!({ "dateStart": null, "dateEnd": null, "dateStartDate": "2026-12-24", "dateEndDate": "2026-12-26" });
    let unsaid = create(&crm, days).await;
    assert_eq!((&unsaid["isAllDay"], &unsaid["dateStart"]), (&json!(false), &json!("2026-12-23 23:00:00")));
    let said = put(&crm, &unsaid["id"], json!({ "isAllDay": true })).await;
    assert_eq!((&said["isAllDay"], &said["dateEnd"]), (&json!(true), &json!("2026-12-26 23:00:00")));
    let back = json!({
        "isAllDay": false, "dateStartDate": null, "dateEndDate": null,
        "dateStart": "2026-12-24 08:00:00", "dateEnd": "2026-12-24 09:00:00",
    });
    put(&crm, &unsaid["id"], back).await;
    let now = get(&crm, &unsaid["id"]).await;
    assert_eq!((&now["dateStartDate"], &now["duration"]), (&Value::Null, &json!(3_600)));
    let moved = put(&crm, &unsaid["id"], json!({ "dateStart": "2026-12-25 08:00:00" })).await;
    assert_eq!(moved["dateEnd"], "2026-12-25 09:00:00");
}

#[tokio::test]
async fn writing_ids_replaces_the_set_and_a_deleted_contact_attends_nothing() {
    let crm = start().await;
    let [first, second] =
        [("A", "a@firma.example"), ("B", "b@firma.example")].map(|(last, mail)| contact(&crm, last, mail));
    let columns = json!({ &first: { "status": "Tentative" } });
    let made = create(&crm, json!({ "contactsIds": [first], "contactsColumns": columns })).await;
    let both = put(&crm, &made["id"], json!({ "contactsIds": [second, first] })).await;
    assert_eq!(both["contactsColumns"][&first]["status"], "Tentative");
    assert_eq!(both["contactsColumns"][&second]["status"], "None");
    crm.delete_as(PERSON_ID, "Contact", &first).unwrap();
    assert_eq!(get(&crm, &made["id"]).await["contactsIds"], json!([second]));
    let got = call(
        &crm,
        "PUT",
        &format!("{MEETING}/{}", made["id"].as_str().unwrap()),
        &json!({ "contactsIds": [first] }),
    )
    .await;
    assert_eq!((got.status, got.json()["contactsIds"].clone()), (200, json!([])), "it was linked before");
    let stranger = json!({ "leadsIds": ["6b0000000000000ff"] });
    let got = call(&crm, "PUT", &format!("{MEETING}/{}", made["id"].as_str().unwrap()), &stranger).await;
    assert_eq!((got.status, got.reason()), (403, "Can't relate with non-existing record."));
}

#[tokio::test]
async fn what_was_not_observed_is_no_answer() {
    let crm = start().await;
    let id = create(&crm, json!({})).await["id"].clone();
    let path = format!("{MEETING}/{}", id.as_str().unwrap());
    let columns = json!({ "usersColumns": { PERSON_ID: { "status": "Accepted" } } });
    assert_eq!(call(&crm, "PUT", &path, &columns).await.status, 501);
    assert_eq!(call(&crm, "GET", &format!("{path}/users"), &Value::Null).await.status, 501);
}

#[tokio::test]
async fn versions_are_there_once_they_are_switched_on_and_fields_get_their_letter() {
    let crm = start().await;
    let id = create(&crm, json!({})).await["id"].clone();
    assert_eq!(get(&crm, &id).await.get("versionNumber"), None);
    let basic = format!("Basic {}", STANDARD.encode("admin:admin-password"));
    let headers = [("Authorization", basic.as_str()), ("Content-Type", "application/json")];
    let admin = async |path: &str, body: Value| {
        http::send(&crm.base_url(), "POST", path, &headers, &body.to_string()).await.unwrap()
    };
    let on = json!({ "name": "Meeting", "optimisticConcurrencyControl": true });
    assert_eq!(admin("/api/v1/EntityManager/action/updateEntity", on).await.status, 200);
    let field = json!({ "type": "varchar", "name": "externalEventId", "maxLength": 255 });
    assert_eq!(admin("/api/v1/Admin/fieldManager/Meeting", field.clone()).await.status, 200);
    assert_eq!(admin("/api/v1/Admin/fieldManager/Meeting", field).await.status, 409);
    let written = put(&crm, &id, json!({ "cExternalEventId": "x", "externalEventId": "y" })).await;
    assert_eq!((&written["versionNumber"], &written["cExternalEventId"]), (&json!(1), &json!("x")));
    assert_eq!(written.get("externalEventId"), None);
    let search = json!({ "where": [{ "type": "equals", "attribute": "cExternalEventId", "value": "x" }] });
    let found =
        call(&crm, "GET", &format!("{MEETING}?searchParams={}", encode(&search)), &Value::Null).await.json();
    assert_eq!(found["total"], 1);
    let stale = [("X-Api-Key", simulators::espocrm::API_KEY), headers[1], ("X-Version-Number", "7")];
    let path = format!("{MEETING}/{}", id.as_str().unwrap());
    let got = http::send(&crm.base_url(), "PUT", &path, &stale, r#"{"name":"Z"}"#).await.unwrap();
    assert_eq!((got.status, got.reason()), (409, "modified"));
}

fn encode(value: &Value) -> String {
    value.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn people_are_found_by_any_of_their_addresses() {
    let crm = start().await;
    let both = json!([
        { "emailAddress": "first@firma.example", "primary": true },
        { "emailAddress": "Second@firma.example", "primary": false },
    ]);
    let fields = json!({ "lastName": "Kontakt", "emailAddressData": both });
    let id = crm.create_as(PERSON_ID, "Contact", &object(fields)).unwrap();
    let search = |mails: Value| {
        let filter = json!([{ "type": "in", "attribute": "emailAddress", "value": mails }]);
        format!("?searchParams={}", encode(&json!({ "where": filter, "select": ["id", "emailAddress"] })))
    };
    for (scope, mail, expected) in [
        ("Contact", "second@firma.example", json!("first@firma.example")),
        ("User", "bert@kanzlei.example", json!("bert@kanzlei.example")),
    ] {
        let path = format!("/api/v1/{scope}{}", search(json!([mail, "nobody@firma.example"])));
        let got = call(&crm, "GET", &path, &Value::Null).await.json();
        assert_eq!((&got["total"], &got["list"][0]["emailAddress"]), (&json!(1), &expected), "{scope}");
    }
    assert_eq!(
        crm.record_of("Contact", &id).unwrap()["emailAddressData"][1]["lower"],
        "second@firma.example"
    );
}

#[tokio::test]
async fn each_user_edits_as_himself_and_the_control_api_does_the_same() {
    let crm = start().await;
    let body = json!({ "as": BERT_ID, "fields": { "name": "Anruf", "dateStart": "2026-12-01 09:00:00",
        "dateEnd": "2026-12-01 09:10:00", "assignedUserId": BERT_ID } });
    let id = crm.control("POST", "types/Call", &body).unwrap()["id"].as_str().unwrap().to_owned();
    let call_now = crm.record_of("Call", &id).unwrap();
    assert_eq!(
        (&call_now["usersColumns"][BERT_ID]["status"], &call_now["direction"]),
        (&json!("Accepted"), &json!("Outbound"))
    );
    crm.edit_as(PERSON_ID, "Call", &id, &object(json!({ "status": "Held" }))).unwrap();
    let actors: Vec<String> = crm.journal().into_iter().map(|entry| entry.actor).collect();
    assert_eq!(actors, ["bert", "anna"]);
    crm.control("DELETE", &format!("types/Call/{id}"), &json!({})).unwrap();
    assert_eq!(crm.records_of("Call")[0]["deleted"], true);
    assert!(crm.create_as("nobody", "Call", &object(json!({}))).is_err());
}
