//! EspoCRM: what the recordings do not show by themselves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::espocrm::{API_KEY, Account, Credential, HMAC_API_KEY, HMAC_SECRET_KEY, PERSON_ID, Role};
use simulators::{Clock, EspocrmOptions, EspocrmSimulator, Hosting, writes_without_change};

use crate::http::{self, Got};
use crate::replay::{hex, hmac, object};

pub const TYPE: &str = "/api/v1/CBeteiligte";
const JSON: (&str, &str) = ("Content-Type", "application/json");

pub async fn call(crm: &EspocrmSimulator, method: &str, path: &str, body: &Value) -> Got {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(&crm.base_url(), method, path, &[("X-Api-Key", API_KEY), JSON], &body).await.unwrap()
}

pub async fn start() -> EspocrmSimulator {
    EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap()
}

fn person(last: &str) -> Value {
    json!({ "firstName": "Max", "lastName": last })
}

async fn key(crm: &EspocrmSimulator, key: &str) -> Got {
    http::send(&crm.base_url(), "GET", TYPE, &[("X-Api-Key", key)], "").await.unwrap()
}

#[tokio::test]
async fn eleven_failed_log_ins_lock_everybody_out_for_a_minute() {
    let crm = start().await;
    for _ in 0..10 {
        assert_eq!(key(&crm, "wrong").await.status, 401);
    }
    assert_eq!(key(&crm, API_KEY).await.status, 200, "ten are allowed");
    assert_eq!(key(&crm, "wrong").await.status, 401);
    let got = key(&crm, API_KEY).await;
    assert_eq!((got.status, got.header("content-type")), (403, Some("text/html; charset=UTF-8")));
    assert_eq!((got.body.len(), got.header("x-status-reason")), (0, None));
    crm.set_clock_offset(SignedDuration::from_secs(61));
    assert_eq!(key(&crm, API_KEY).await.status, 200);
}

#[tokio::test]
async fn no_credentials_count_as_no_failure() {
    let crm = start().await;
    for _ in 0..12 {
        assert_eq!(http::send(&crm.base_url(), "GET", TYPE, &[], "").await.unwrap().status, 401);
    }
    assert_eq!(key(&crm, API_KEY).await.status, 200);
}

#[tokio::test]
async fn hmac_signs_method_and_path_without_query() {
    let crm = start().await;
    let send = async |text: &str, raw: bool| {
        let digest = hmac(HMAC_SECRET_KEY, text.as_bytes());
        let tail = if raw { digest } else { hex(&digest).into_bytes() };
        let header = STANDARD.encode([HMAC_API_KEY.as_bytes(), b":", &tail].concat());
        let headers = [("X-Hmac-Authorization", header.as_str())];
        http::send(&crm.base_url(), "GET", &format!("{TYPE}?maxSize=1"), &headers, "").await.unwrap().status
    };
    assert_eq!(send("GET /CBeteiligte", false).await, 200);
    assert_eq!(send("GET /CBeteiligte", true).await, 200, "the raw digest is taken as well");
    assert_eq!(send("GET /CBeteiligte?maxSize=1", false).await, 401);
    assert_eq!(send("POST /CBeteiligte", false).await, 401);
    assert_eq!(key(&crm, HMAC_API_KEY).await.status, 401, "not as an API key");
}

#[tokio::test]
async fn an_inactive_user_is_a_stranger() {
    let crm = start().await;
    crm.configure(&object(json!({ "accounts_active": { "sync-api": false } }))).unwrap();
    assert_eq!(key(&crm, API_KEY).await.status, 401);
}

#[tokio::test]
async fn rights_may_end_at_own_records() {
    let mut options = EspocrmOptions::default();
    let own = json!({ "CBeteiligte": { "create": "yes", "read": "own", "edit": "own", "delete": "no" } });
    let role = Role { scopes: object(own), ..Role::default() };
    options.accounts.push(Account::api(
        "6b0000000000000aa",
        "own",
        Credential::ApiKey("own-key".to_owned()),
        role,
    ));
    let crm = EspocrmSimulator::start(options).await.unwrap();
    let id = crm.seed(object(person("Fremd"))).unwrap();
    let send = async |method: &str, path: &str| {
        http::send(&crm.base_url(), method, path, &[("X-Api-Key", "own-key"), JSON], "{}").await.unwrap()
    };
    let path = format!("{TYPE}/{id}");
    assert_eq!(send("GET", TYPE).await.json()["total"], 0);
    for (method, reason) in
        [("GET", "No read access."), ("PUT", "No edit access."), ("DELETE", "No delete access.")]
    {
        let got = send(method, &path).await;
        assert_eq!((got.status, got.reason()), (403, reason));
    }
    assert_eq!(send("POST", TYPE).await.status, 200);
    assert_eq!(send("GET", TYPE).await.json()["total"], 1);
}

#[tokio::test]
async fn answers_are_escaped_as_php_does() {
    let crm = start().await;
    let got = call(&crm, "POST", TYPE, &json!({ "lastName": "Müller 1/2" })).await;
    let text = String::from_utf8(got.body).unwrap();
    assert!(text.contains(r#""lastName":"M\u00fcller 1\/2""#), "{text}");
}

#[tokio::test]
async fn every_put_moves_the_time_and_the_journal_knows_the_idle_ones() {
    let crm = EspocrmSimulator::start(at_noon()).await.unwrap();
    let id = crm.seed(object(person("A"))).unwrap();
    let path = format!("{TYPE}/{id}");
    for (second, body) in
        [json!({ "lastName": "A" }), json!({}), json!({ "noSuch": 1 }), json!({ "lastName": "B" })]
            .iter()
            .enumerate()
    {
        crm.set_clock_offset(SignedDuration::from_secs(i64::try_from(second).unwrap() + 1));
        let got = call(&crm, "PUT", &path, body).await;
        assert_eq!(got.json()["modifiedAt"], format!("2026-11-20 12:00:0{}", second + 1));
    }
    let journal = crm.journal();
    assert_eq!(writes_without_change(&journal).len(), 3);
    assert_eq!(journal[4].changed_fields(), ["lastName"]);
    assert_eq!(journal[4].actor, "sync-api");
}

fn at_noon() -> EspocrmOptions {
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let hosting = Hosting { clock: Clock::from_fn(move || noon), ..Hosting::default() };
    EspocrmOptions { hosting, ..EspocrmOptions::default() }
}

#[tokio::test]
async fn records_older_than_the_version_switch_are_not_protected_until_written() {
    let crm = start().await;
    let path = format!("{TYPE}/{}", crm.seed(object(person("A"))).unwrap());
    crm.configure(&object(json!({ "optimistic_concurrency": true }))).unwrap();
    assert_eq!(call(&crm, "GET", &path, &Value::Null).await.json()["versionNumber"], Value::Null);
    let stale = async |body: &str| {
        let headers = [("X-Api-Key", API_KEY), JSON, ("X-Version-Number", "x")];
        http::send(&crm.base_url(), "PUT", &path, &headers, body).await.unwrap().status
    };
    assert_eq!(stale(r#"{"lastName":"B"}"#).await, 200);
    assert_eq!(stale(r#"{"lastName":"C"}"#).await, 409, "what is no number is stale");
    assert_eq!(stale(r#"{"lastName":"B"}"#).await, 200);
}

#[tokio::test]
async fn pages_do_not_overlap_in_whatever_order() {
    let crm = EspocrmSimulator::start(at_noon()).await.unwrap();
    for n in 0..450 {
        crm.seed(object(json!({ "lastName": format!("N{n}"), "betnr": n % 3 }))).unwrap();
    }
    for order in ["orderBy=modifiedAt&order=asc", "orderBy=betnr&order=desc", ""] {
        let mut ids = std::collections::BTreeSet::new();
        for offset in [0, 200, 400] {
            let path = format!("{TYPE}?select=id&maxSize=200&offset={offset}&{order}");
            let got = call(&crm, "GET", &path, &Value::Null).await.json();
            assert_eq!(got["total"], 450);
            ids.extend(got["list"].as_array().unwrap().iter().map(|item| item["id"].to_string()));
        }
        assert_eq!(ids.len(), 450, "{order}");
    }
}

#[tokio::test]
async fn a_filter_of_the_real_system_that_is_not_simulated_says_so() {
    let crm = start().await;
    let got = call(
        &crm,
        "GET",
        &format!("{TYPE}?where[0][type]=lastSevenDays&where[0][attribute]=createdAt"),
        &Value::Null,
    )
    .await;
    assert_eq!(got.status, 501);
    assert_eq!(call(&crm, "GET", "/api/v1/Account", &Value::Null).await.status, 501);
}

#[tokio::test]
async fn fields_can_be_missing_or_of_another_kind() {
    let crm = start().await;
    let change = json!({ "fields": { "advowareRowId": null, "rechtsform": { "options": ["", "Limited"] } } });
    crm.configure(&object(change)).unwrap();
    let got =
        call(&crm, "POST", TYPE, &json!({ "lastName": "A", "advowareRowId": "x", "rechtsform": "Limited" }))
            .await;
    assert_eq!(got.json()["rechtsform"], "Limited");
    assert_eq!(got.json().get("advowareRowId"), None);
    let got =
        call(&crm, "GET", "/api/v1/Metadata?key=entityDefs.CBeteiligte.fields.advowareRowId", &Value::Null)
            .await;
    assert_eq!((got.status, got.body.len()), (200, 0));
    assert!(crm.configure(&object(json!({ "nope": 1 }))).unwrap_err().contains("nope"));
}

#[tokio::test]
async fn a_deleted_record_is_gone_for_all_but_the_administrator() {
    let crm = start().await;
    let id = crm.seed(object(person("A"))).unwrap();
    let path = format!("{TYPE}/{id}");
    assert_eq!(call(&crm, "DELETE", &path, &Value::Null).await.json(), json!(true));
    assert_eq!(call(&crm, "GET", &path, &Value::Null).await.status, 404);
    let basic = format!("Basic {}", STANDARD.encode("admin:admin-password"));
    let got = http::send(&crm.base_url(), "GET", &path, &[("Authorization", &basic)], "").await.unwrap();
    assert_eq!((got.status, &got.json()["deleted"]), (200, &json!(true)));
}

#[tokio::test]
async fn people_edit_under_the_same_rules_and_are_told_apart() {
    let crm = start().await;
    let id = crm.create_as_person(&object(person("A"))).unwrap();
    crm.edit_as_person(&id, &object(json!({ "lastName": " B " }))).unwrap();
    let refused = crm.edit_as_person(&id, &object(json!({ "betnr": "abc" }))).unwrap_err();
    assert_eq!(refused, "field betnr: valid");
    let record = call(&crm, "GET", &format!("{TYPE}/{id}"), &Value::Null).await.json();
    assert_eq!((&record["lastName"], &record["modifiedById"]), (&json!("B"), &json!(PERSON_ID)));
    assert!(crm.journal().iter().all(|entry| entry.actor == "anna"));
}

#[tokio::test]
async fn a_post_to_a_user_reaches_him_once_unread() {
    let crm = start().await;
    let note = json!({ "type": "Post", "targetType": "users", "usersIds": [PERSON_ID], "post": "Konflikt" });
    assert_eq!(call(&crm, "POST", "/api/v1/Note", &note).await.status, 200);
    let basic = format!("Basic {}", STANDARD.encode("anna:anna-password"));
    for read in [false, true] {
        let got =
            http::send(&crm.base_url(), "GET", "/api/v1/Notification", &[("Authorization", &basic)], "")
                .await
                .unwrap();
        let item = got.json()["list"][0].clone();
        assert_eq!((&item["noteData"]["post"], &item["read"]), (&json!("Konflikt"), &json!(read)));
    }
}

#[tokio::test]
async fn a_number_is_one_row_for_all_records_and_a_write_replaces_the_set() {
    let crm = start().await;
    let phone = |value: &str, opt_out: bool| json!({ "phoneNumber": value, "type": "Office", "primary": true, "optOut": opt_out });
    let make = |name: &str| {
        let fields = json!({ "lastName": name, "phoneNumberData": [phone("+4951112345", false)] });
        crm.create_as_person(&object(fields)).unwrap()
    };
    let (first, second) = (make("A"), make("B"));
    let path = |id: &str| format!("{TYPE}/{id}");
    let write = json!({ "phoneNumberData": [phone("+4951112345", true), phone("+49511999999", false)] });
    assert_eq!(call(&crm, "PUT", &path(&first), &write).await.status, 200);
    let held =
        async |id: &str| call(&crm, "GET", &path(id), &Value::Null).await.json()["phoneNumberData"].clone();
    assert_eq!(
        (held(&second).await[0]["optOut"].clone(), held(&second).await[1].clone()),
        (json!(true), Value::Null)
    );
    let write = json!({ "phoneNumberData": [phone("+49511999999", false)] });
    call(&crm, "PUT", &path(&first), &write).await;
    assert_eq!(held(&first).await.as_array().unwrap().len(), 1, "the set is replaced");
    assert_eq!(held(&second).await[0]["optOut"], true, "the other record's is not");
}
