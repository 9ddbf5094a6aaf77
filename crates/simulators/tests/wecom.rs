//! WeCom: tokens, lists by the age of apps, what the console does, callbacks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::wecom::{WecomCallback, WecomOptions, WecomSimulator};
use simulators::{Clock, FaultKind, FaultRule, Hosting};

use crate::http;
use crate::replay::object;

const APP: &str = "app-secret-of-the-simulated-wecom";
const SYNC: &str = "sync-secret-of-the-simulated-wecom";

fn noon() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

fn options() -> WecomOptions {
    let hosting = Hosting { clock: Clock::from_fn(noon), ..Hosting::default() };
    WecomOptions { hosting, ..WecomOptions::default() }
}

async fn start() -> WecomSimulator {
    WecomSimulator::start(options()).await.unwrap()
}

fn configure(wecom: &WecomSimulator, settings: Value) {
    wecom.configure(&object(settings)).unwrap();
}

fn control(wecom: &WecomSimulator, path: &str, body: Value) -> Result<Value, String> {
    wecom.control("POST", path, &body)
}

async fn get(wecom: &WecomSimulator, path: &str) -> Value {
    let got = http::send(&wecom.base_url(), "GET", &format!("/cgi-bin/{path}"), &[], "").await.unwrap();
    assert_eq!(got.status, 200, "errors have it as well");
    got.json()
}

async fn token(wecom: &WecomSimulator, secret: &str) -> String {
    let answer = get(wecom, &format!("gettoken?corpid=ww1436e0e65a779aee&corpsecret={secret}")).await;
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn ids(wecom: &WecomSimulator, token: &str, cursor: &str, limit: u32) -> Value {
    let body = json!({ "cursor": cursor, "limit": limit }).to_string();
    let path = format!("/cgi-bin/user/list_id?access_token={token}");
    http::send(&wecom.base_url(), "POST", &path, &[], &body).await.unwrap().json()
}

fn fixture(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/wecom").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn seed_company(wecom: &WecomSimulator) {
    for (file, list) in [("department_list.json", "department"), ("users.json", "userlist")] {
        for record in fixture(file)[list].as_array().unwrap() {
            wecom.seed(object(record.clone())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_token_is_the_same_while_it_lives() {
    let wecom = start().await;
    let first = token(&wecom, APP).await;
    assert_ne!(first, token(&wecom, SYNC).await);
    wecom.set_clock_offset(SignedDuration::from_secs(7_199));
    assert_eq!(first, token(&wecom, APP).await);
    assert_eq!(get(&wecom, &format!("department/list?access_token={first}")).await["errcode"], 0);
    wecom.set_clock_offset(SignedDuration::from_secs(7_200));
    assert_eq!(get(&wecom, &format!("department/list?access_token={first}")).await["errcode"], 42001);
    let second = token(&wecom, APP).await;
    assert_ne!(first, second);
    control(&wecom, "tokens/end", Value::Null).unwrap();
    assert_eq!(get(&wecom, &format!("department/list?access_token={second}")).await["errcode"], 40014);
    assert_ne!(second, token(&wecom, APP).await);
}

#[tokio::test]
async fn whoever_is_wrong_is_told_so_by_a_number() {
    let wecom = start().await;
    let code = async |path: &str| get(&wecom, path).await["errcode"].as_i64().unwrap();
    assert_eq!(code("gettoken?corpid=ww1436e0e65a779aee&corpsecret=x").await, 40001);
    assert_eq!(code("gettoken?corpid=x&corpsecret=x").await, 40013);
    assert_eq!(code("gettoken?corpid=x").await, 41004);
    assert_eq!(code("department/list").await, 41001);
    assert_eq!(code("department/list?access_token=x").await, 40014);
    let app = token(&wecom, APP).await;
    configure(&wecom, json!({ "trusted": false }));
    let refused = get(&wecom, &format!("department/list?access_token={app}")).await;
    assert_eq!(refused["errcode"], 60020);
    assert!(refused["errmsg"].as_str().unwrap().contains("from ip: 127.0.0.1"));
    configure(&wecom, json!({ "trusted": true, "app_secret": "another" }));
    assert_eq!(code(&format!("department/list?access_token={app}")).await, 40014);
}

#[tokio::test]
async fn what_is_shown_goes_by_the_age_of_the_app() {
    let wecom = start().await;
    seed_company(&wecom);
    let (app, sync) = (token(&wecom, APP).await, token(&wecom, SYNC).await);
    let one = async |token: &str| get(&wecom, &format!("user/get?access_token={token}&userid=U0207")).await;
    let young = one(&app).await;
    assert_eq!((young["userid"].as_str(), young["name"].is_string()), (Some("u0207"), true));
    assert!(
        young.get("mobile").is_none() && young.get("gender").is_none() && young.get("telephone").is_some()
    );
    configure(&wecom, json!({ "app_is_old": true }));
    assert_eq!(one(&app).await["mobile"], "13810000207");
    assert_eq!(one(&sync).await["errcode"], 48009);
    for path in ["department/list?", "user/list?department_id=1&", "user/simplelist?department_id=1&"] {
        assert_eq!(get(&wecom, &format!("{path}access_token={sync}")).await["errcode"], 48009, "{path}");
    }
    let all = get(&wecom, &format!("department/simplelist?access_token={sync}")).await;
    assert_eq!(all["department_id"].as_array().unwrap().len(), 40);
    configure(&wecom, json!({ "contact_sync_is_old": true }));
    assert_eq!(one(&sync).await["errcode"], 0);
    assert_eq!(ids(&wecom, &app, "", 10).await["errcode"], 48002);
}

#[tokio::test]
async fn ids_come_page_by_page_and_each_once() {
    let wecom = start().await;
    seed_company(&wecom);
    let sync = token(&wecom, SYNC).await;
    let (mut cursor, mut rows) = (String::new(), Vec::new());
    loop {
        let page = ids(&wecom, &sync, &cursor, 100).await;
        rows.extend(page["dept_user"].as_array().unwrap().clone());
        cursor = page["next_cursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    let mut keys: Vec<String> = rows.iter().map(Value::to_string).collect();
    let whole = keys.len();
    keys.sort();
    keys.dedup();
    let members = fixture("users.json");
    let expected: usize = members["userlist"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["department"].as_array().unwrap().len())
        .sum();
    assert_eq!((whole, keys.len()), (expected, expected));
    assert_ne!(rows, {
        let mut sorted = rows.clone();
        sorted.sort_by_key(Value::to_string);
        sorted
    });
}

#[tokio::test]
async fn an_app_sees_its_scope_and_what_is_outside_is_not_gone() {
    let wecom = start().await;
    seed_company(&wecom);
    let app = token(&wecom, APP).await;
    configure(&wecom, json!({ "visible": [2654], "invisible": [745] }));
    let list = get(&wecom, &format!("department/list?access_token={app}")).await;
    let seen: Vec<u64> =
        list["department"].as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert!(seen.contains(&2654) && !seen.contains(&1) && !seen.contains(&745), "{seen:?}");
    let code = async |id: u64| {
        get(&wecom, &format!("department/get?access_token={app}&id={id}")).await["errcode"].clone()
    };
    assert_eq!(
        (code(2654).await, code(1).await, code(745).await, code(4_000_000).await),
        (json!(0), json!(60011), json!(60011), json!(60123))
    );
    let user = async |id: &str| {
        get(&wecom, &format!("user/get?access_token={app}&userid={id}")).await["errcode"].clone()
    };
    assert_eq!(user("nobody").await, 60111);
    let outside = fixture("users.json")["userlist"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["department"] == json!([1]))
        .cloned();
    if let Some(outside) = outside {
        assert_eq!(user(outside["userid"].as_str().unwrap()).await, 60011);
    }
    configure(&wecom, json!({ "visible": null, "invisible": [999_999] }));
    assert_eq!(code(999_999).await, 60011);
}

#[tokio::test]
async fn calls_beyond_a_limit_close_their_interface_for_a_minute() {
    let wecom = start().await;
    let app = token(&wecom, APP).await;
    configure(&wecom, json!({ "calls_per_minute": 3 }));
    let code = async |path: &str| get(&wecom, &format!("{path}?access_token={app}")).await["errcode"].clone();
    for expected in [0, 0, 0, 45009] {
        assert_eq!(code("department/list").await, expected);
    }
    assert_eq!(code("department/simplelist").await, 0, "each interface by itself");
    configure(&wecom, json!({ "calls_per_minute": null }));
    assert_eq!(code("department/list").await, 45009);
    wecom.set_clock_offset(SignedDuration::from_secs(60));
    assert_eq!(code("department/list").await, 0);
    control(&wecom, "errors", json!({ "api": "department/list", "errcodes": [-1, 45009], "times": 3 }))
        .unwrap();
    for expected in [-1, 45009, -1, 0] {
        assert_eq!(code("department/list").await, expected);
    }
}

#[tokio::test]
async fn faults_know_its_lists() {
    let wecom = start().await;
    seed_company(&wecom);
    let app = token(&wecom, APP).await;
    let count = async || {
        let list = get(&wecom, &format!("department/list?access_token={app}")).await;
        list["department"].as_array().unwrap().len()
    };
    for (kind, expected) in
        [(FaultKind::EmptyList, 0), (FaultKind::ShortList, 20), (FaultKind::HoledList, 20)]
    {
        wecom.fault(FaultRule::new(kind).on("GET", "*/department/list").times(1));
        assert_eq!(count().await, expected);
    }
    assert_eq!(count().await, 40);
}

/// The organisation, as the sequences write it.
fn organisation(wecom: &WecomSimulator) -> Value {
    let (mut departments, mut users) = (BTreeMap::new(), BTreeMap::new());
    for record in wecom.records() {
        match record["userid"].as_str() {
            Some(userid) => {
                let mut user = json!({ "name": record["name"], "department": record["department"] });
                if record["direct_leader"] != json!([]) {
                    user["direct_leader"] = record["direct_leader"].clone();
                }
                users.insert(userid.to_owned(), user);
            }
            None => {
                let department = json!({ "parentid": record["parentid"], "name": record["name"] });
                departments.insert(record["id"].to_string(), department);
            }
        }
    }
    json!({ "departments": departments, "users": users })
}

#[tokio::test]
async fn every_sequence_of_operations_ends_as_it_should() {
    let sequences = fixture("sequences.json");
    let sequences = sequences["sequences"].as_array().unwrap();
    assert_eq!(sequences.len(), 29);
    for sequence in sequences {
        let wecom = start().await;
        for (id, department) in sequence["initial"]["departments"].as_object().unwrap() {
            let mut record = object(department.clone());
            record.insert("id".to_owned(), json!(id.parse::<u64>().unwrap()));
            wecom.seed(record).unwrap();
        }
        for (userid, user) in sequence["initial"]["users"].as_object().unwrap() {
            let mut record = object(user.clone());
            record.insert("userid".to_owned(), json!(userid));
            wecom.seed(record).unwrap();
        }
        control(&wecom, "ops", sequence["ops"].clone())
            .unwrap_or_else(|e| panic!("{}: {e}", sequence["name"]));
        assert_eq!(organisation(&wecom), sequence["expected"], "{}", sequence["name"]);
    }
}

#[tokio::test]
async fn the_console_refuses_what_cannot_be() {
    let wecom = start().await;
    let does = |op: Value| control(&wecom, "ops", op);
    does(json!([
        { "op": "create_party", "id": 10, "parentid": 1 },
        { "op": "create_party", "id": 20, "parentid": 10 },
        { "op": "create_user", "userid": "Zhang", "department": [20] },
    ]))
    .unwrap();
    for (op, code) in [
        (json!({ "op": "create_party", "id": 10, "parentid": 1 }), "60008"),
        (json!({ "op": "create_party", "id": 30, "parentid": 77 }), "60004"),
        (json!({ "op": "update_party", "id": 10, "parentid": 20 }), "60010"),
        (json!({ "op": "update_party", "id": 77, "name": "x" }), "60123"),
        (json!({ "op": "delete_party", "id": 1 }), "60007"),
        (json!({ "op": "delete_party", "id": 10 }), "60006"),
        (json!({ "op": "delete_party", "id": 20 }), "60005"),
        (json!({ "op": "create_user", "userid": "zhang" }), "60102"),
        (json!({ "op": "update_user", "userid": "li" }), "60111"),
        (json!({ "op": "delete_user", "userid": "li" }), "60111"),
    ] {
        let refusal = does(op.clone()).unwrap_err();
        assert!(refusal.contains(code), "{op}: {refusal}");
    }
    assert!(does(json!({ "op": "x" })).unwrap_err().contains("no operation"));
    wecom.edit_as_person("user:zhang", &object(json!({ "newuserid": "zhang.san" }))).unwrap();
    assert!(wecom.record("user:Zhang").is_none() && wecom.record("user:ZHANG.SAN").is_some());
    wecom.delete_as_person("user:zhang.san").unwrap();
    wecom.delete_as_person("party:20").unwrap();
    let entries: Vec<_> = wecom.journal().into_iter().map(|entry| entry.record_id).collect();
    assert_eq!(entries, ["10", "20", "Zhang", "zhang.san", "zhang.san", "20"]);
}

#[derive(Clone, Default)]
struct Receiver {
    hits: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> (Self, WecomCallback) {
        let receiver = Self::default();
        receiver.answers(200);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/wecom?company=1", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, WecomCallback { retry_delay: Duration::ZERO, ..WecomCallback::new(&url) })
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn queries(&self) -> Vec<String> {
        self.hits.lock().unwrap().iter().map(|(query, _)| query.clone()).collect()
    }

    /// What was told, decrypted, without what all events have.
    fn told(&self) -> Vec<String> {
        let hits = self.hits.lock().unwrap();
        hits.iter()
            .map(|(_, body)| {
                let message =
                    decrypt(body.split("<Encrypt><![CDATA[").nth(1).unwrap().split("]]>").next().unwrap());
                let event =
                    message.split("<ChangeType>").nth(1).unwrap().replace("<![CDATA[", "").replace("]]>", "");
                event.trim_end_matches("</xml>").replace("</ChangeType>", " ")
            })
            .collect()
    }
}

async fn receive(State(receiver): State<Receiver>, request: Request) -> StatusCode {
    assert_eq!(request.headers()["content-type"], "text/xml");
    let query = request.uri().query().unwrap().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1_000_000).await.unwrap();
    receiver.hits.lock().unwrap().push((query, String::from_utf8(body.to_vec()).unwrap()));
    StatusCode::from_u16(*receiver.status.lock().unwrap()).unwrap()
}

fn decrypt(encrypted: &str) -> String {
    let lenient = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));
    let key: [u8; 32] =
        lenient.decode("6qkdMrq68nTKduznJYO1A37W2oEgpkMUvkttRToqhUt").unwrap().try_into().unwrap();
    let iv: [u8; 16] = key[..16].try_into().unwrap();
    let mut bytes = STANDARD.decode(encrypted).unwrap();
    let plain = cbc::Decryptor::<Aes256>::new(&key.into(), &iv.into())
        .decrypt_padded_mut::<NoPadding>(&mut bytes)
        .unwrap();
    let length = usize::try_from(u32::from_be_bytes(plain[16..20].try_into().unwrap())).unwrap();
    assert!(plain[20 + length..].starts_with(b"ww1436e0e65a779aee"));
    String::from_utf8(plain[20..20 + length].to_vec()).unwrap()
}

fn operations() -> Value {
    json!([
        { "op": "create_party", "id": 10, "parentid": 1, "name": "甲" },
        { "op": "create_party", "id": 20, "parentid": 1, "name": "乙" },
        { "op": "update_party", "id": 20, "name": "乙二" },
        { "op": "update_party", "id": 20, "parentid": 10 },
        { "op": "create_user", "userid": "zhang", "name": "张三", "department": [10, 20] },
        { "op": "update_user", "userid": "zhang", "position": "x" },
        { "op": "update_user", "userid": "zhang", "newuserid": "zhang.san" },
        { "op": "delete_user", "userid": "zhang.san" },
        { "op": "delete_party", "id": 20 },
        { "op": "update_tag", "TagId": 7, "AddUserItems": ["a", "b"], "AddPartyItems": [1, 2] },
    ])
}

#[tokio::test]
async fn a_receiver_set_up_today_hears_of_ids_only() {
    let (receiver, callback) = Receiver::start().await;
    let wecom = WecomSimulator::start(WecomOptions { callback: Some(callback), ..options() }).await.unwrap();
    control(&wecom, "ops", operations()).unwrap();
    assert_eq!(wecom.deliver_callbacks().await, 8);
    let expected = [
        "create_party <Id>10</Id><ParentId>1</ParentId>",
        "create_party <Id>20</Id><ParentId>1</ParentId>",
        "update_party <Id>20</Id><ParentId>10</ParentId>",
        "create_user <UserID>zhang</UserID><Department>10,20</Department>",
        "update_user <UserID>zhang</UserID><NewUserID>zhang.san</NewUserID><Department>10,20</Department>",
        "delete_user <UserID>zhang.san</UserID>",
        "delete_party <Id>20</Id>",
    ];
    let told = receiver.told();
    assert_eq!(told[..7], expected);
    assert!(
        told[7].contains("update_tag") && told[7].contains("<AddUserItems>a,b</AddUserItems>"),
        "{}",
        told[7]
    );
    assert!(receiver.queries().iter().all(|query| query.starts_with("company=1&msg_signature=")));
    assert_eq!(
        wecom.control("GET", "events", &Value::Null).unwrap(),
        json!({ "waiting": 0, "delivered": 8, "lost": 0 })
    );
}

#[tokio::test]
async fn an_old_receiver_hears_of_what_changed() {
    let (receiver, callback) = Receiver::start().await;
    let callback = WecomCallback { is_old: true, ..callback };
    let wecom = WecomSimulator::start(WecomOptions { callback: Some(callback), ..options() }).await.unwrap();
    control(&wecom, "ops", operations()).unwrap();
    assert_eq!(wecom.deliver_callbacks().await, 10);
    let told = receiver.told();
    assert_eq!(told[2], "update_party <Id>20</Id><Name>乙二</Name>");
    assert!(told[4].contains("<Name>张三</Name>") && told[4].contains("<Status>1</Status>"), "{}", told[4]);
    assert_eq!(told[5], "update_user <UserID>zhang</UserID><Position>x</Position>");
}

#[tokio::test]
async fn an_event_comes_three_times_and_then_never() {
    let (receiver, callback) = Receiver::start().await;
    let wecom = WecomSimulator::start(WecomOptions { callback: Some(callback), ..options() }).await.unwrap();
    receiver.answers(503);
    control(&wecom, "ops", json!({ "op": "create_party", "id": 10, "parentid": 1 })).unwrap();
    assert_eq!(wecom.deliver_callbacks().await, 3);
    let mut queries = receiver.queries();
    queries.sort();
    queries.dedup();
    assert_eq!(queries.len(), 3, "with another nonce each time");
    receiver.answers(200);
    assert_eq!(wecom.deliver_callbacks().await, 0);
    assert_eq!(wecom.control("GET", "events", &Value::Null).unwrap()["lost"], 1);
}

#[tokio::test]
async fn a_test_gives_the_order_or_lets_it_be_mixed() {
    let (receiver, callback) = Receiver::start().await;
    let callback = WecomCallback { own_events: false, ..callback };
    let wecom = WecomSimulator::start(WecomOptions { callback: Some(callback), ..options() }).await.unwrap();
    control(&wecom, "ops", operations()).unwrap();
    assert_eq!(wecom.deliver_callbacks().await, 0);
    let events: Vec<Value> =
        (0..9).map(|n| json!({ "ChangeType": "delete_user", "CreateTime": 1_792_000_000, "UserID": format!("u{n}") })).collect();
    assert_eq!(control(&wecom, "events", json!(events)), Ok(json!({ "queued": 9 })));
    wecom.deliver_callbacks().await;
    let given: Vec<String> = (0..9).map(|n| format!("delete_user <UserID>u{n}</UserID>")).collect();
    assert_eq!(receiver.told(), given);
    configure(&wecom, json!({ "shuffled": true, "doubled_probability": 1.0 }));
    assert_eq!(control(&wecom, "events", json!(events)), Ok(json!({ "queued": 18 })));
    assert_eq!(wecom.deliver_callbacks().await, 18);
    let mixed = receiver.told().split_off(9);
    let mut sorted = mixed.clone();
    sorted.sort();
    let twice: Vec<String> = given.iter().flat_map(|one| [one.clone(), one.clone()]).collect();
    assert_eq!(sorted, twice);
    assert_ne!(mixed, twice);
    configure(&wecom, json!({ "lost_probability": 1.0 }));
    assert_eq!(control(&wecom, "events", json!(events)), Ok(json!({ "queued": 0 })));
}

#[tokio::test]
async fn an_address_is_checked_with_an_echo() {
    let (_receiver, callback) = Receiver::start().await;
    let wecom = WecomSimulator::start(WecomOptions { callback: Some(callback), ..options() }).await.unwrap();
    let check = wecom.control("GET", "check", &Value::Null).unwrap();
    let query = check["query"].as_str().unwrap();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let echo = pairs.into_iter().find(|(name, _)| name == "echostr").unwrap().1.into_owned();
    assert_eq!(decrypt(&echo), check["answer"].as_str().unwrap());
    assert!(start().await.control("GET", "check", &Value::Null).is_err());
}

#[tokio::test]
async fn calls_beyond_the_limit_of_an_hour_close_their_interface_for_an_hour() {
    let wecom = start().await;
    let app = token(&wecom, APP).await;
    configure(&wecom, json!({ "calls_per_hour": 2 }));
    let code = async || {
        get(&wecom, &format!("department/list?access_token={app}")).await["errcode"].as_i64().unwrap()
    };
    assert_eq!((code().await, code().await, code().await), (0, 0, 45009));
    wecom.set_clock_offset(SignedDuration::from_secs(3_599));
    assert_eq!(code().await, 45009);
    wecom.set_clock_offset(SignedDuration::from_secs(3_600));
    assert_eq!(code().await, 0);
}

/// Answers only when as many as it waits for have come.
#[derive(Clone)]
struct Together {
    barrier: Arc<tokio::sync::Barrier>,
    came: Arc<Mutex<usize>>,
}

async fn wait_for_the_others(State(together): State<Together>, _: Request) -> StatusCode {
    *together.came.lock().unwrap() += 1;
    together.barrier.wait().await;
    StatusCode::OK
}

#[tokio::test]
async fn several_callbacks_are_on_their_way_at_once_and_each_once() {
    let together = Together { barrier: Arc::new(tokio::sync::Barrier::new(5)), came: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(wait_for_the_others).with_state(together.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    for shuffled in [false, true] {
        let callback = WecomCallback { own_events: false, at_once: 5, shuffled, ..WecomCallback::new(&url) };
        let options = WecomOptions { callback: Some(callback), ..options() };
        let wecom = WecomSimulator::start(options).await.unwrap();
        let events: Vec<Value> =
            (0..20).map(|n| json!({ "ChangeType": "delete_user", "UserID": format!("u{n}") })).collect();
        control(&wecom, "events", json!(events)).unwrap();
        assert_eq!(wecom.deliver_callbacks().await, 20);
        assert_eq!(std::mem::take(&mut *together.came.lock().unwrap()), 20);
        let counts = wecom.control("GET", "events", &Value::Null).unwrap();
        assert_eq!(counts, json!({ "waiting": 0, "delivered": 20, "lost": 0 }));
    }
}

async fn sample() -> WecomSimulator {
    let callback = Some(WecomCallback::new("http://127.0.0.1:1/webhooks/directory"));
    WecomSimulator::start(WecomOptions { sample: true, callback, ..options() }).await.unwrap()
}

async fn look(wecom: &WecomSimulator) -> String {
    let got = http::send(&wecom.base_url(), "GET", "/", &[], "").await.unwrap();
    assert_eq!(got.status, 200);
    String::from_utf8(got.body).unwrap()
}

async fn submit(wecom: &WecomSimulator, fields: &[(&str, &str)]) -> (u16, String) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let got = http::send(&wecom.base_url(), "POST", "/", &[form], &body).await.unwrap();
    (got.status, String::from_utf8(got.body).unwrap())
}

#[tokio::test]
async fn the_sample_is_a_company_that_fits_together() {
    let wecom = sample().await;
    let app = token(&wecom, APP).await;
    let tree = get(&wecom, &format!("department/list?access_token={app}")).await;
    let departments = tree["department"].as_array().unwrap();
    let ids: Vec<u64> = departments.iter().map(|it| it["id"].as_u64().unwrap()).collect();
    let mut members = Vec::new();
    for department in departments {
        let (id, parent) = (department["id"].as_u64().unwrap(), department["parentid"].as_u64().unwrap());
        assert!((id == 1 && parent == 0) || ids.contains(&parent), "{department}");
        let list = get(&wecom, &format!("user/list?department_id={id}&access_token={app}")).await;
        members.extend(list["userlist"].as_array().unwrap().clone());
    }
    assert!(departments.iter().all(|it| !it["name"].as_str().unwrap().is_ascii()));
    let known: Vec<&str> = members.iter().map(|it| it["userid"].as_str().unwrap()).collect();
    for member in &members {
        let leaders = member["direct_leader"].as_array().unwrap();
        assert!(leaders.iter().all(|leader| known.contains(&leader.as_str().unwrap())), "{member}");
        let lengths =
            ["department", "order", "is_leader_in_dept"].map(|list| member[list].as_array().unwrap().len());
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{member}");
    }
    assert!(departments.iter().all(|it| known.contains(&it["department_leader"][0].as_str().unwrap())));
    assert!(members.iter().any(|it| it["department"].as_array().unwrap().len() == 2));
    assert!(members.iter().any(|it| it["enable"] == 0) && members.iter().any(|it| it["status"] == 4));
    assert!(wecom.journal().is_empty(), "as if it had always been");
}

#[tokio::test]
async fn people_change_the_company_on_its_page() {
    let wecom = sample().await;
    let page = look(&wecom).await;
    assert!(
        page.contains("星河科技")
            && page.contains("ouyang.mei")
            && page.contains("14 departments, 28 members")
    );
    let add = [("do", "add_department"), ("name", "<b>新部门</b>"), ("parent", "21")];
    assert_eq!(submit(&wecom, &add).await.0, 303);
    let page = look(&wecom).await;
    assert!(page.contains("&lt;b&gt;新部门") && !page.contains("<b>新部门"), "{page}");
    assert_eq!(wecom.record("party:53").unwrap()["parentid"], 21);
    let member = [("do", "add_member"), ("userid", "New.One"), ("name", "新人"), ("departments", "53, 2")];
    assert_eq!(submit(&wecom, &member).await.0, 303);
    assert_eq!(wecom.record("user:new.one").unwrap()["department"], json!([53, 2]));
    let save = [
        ("do", "save_member"),
        ("id", "New.One"),
        ("userid", "new.two"),
        ("name", "新人"),
        ("departments", "53"),
        ("position", "工程师"),
    ];
    assert_eq!(submit(&wecom, &save).await.0, 303);
    let renamed = wecom.record("user:new.two").unwrap();
    assert_eq!((renamed["department"].clone(), renamed["enable"].clone()), (json!([53]), json!(0)));
    assert_eq!(renamed["position"], "工程师");
    let moved = [("do", "save_department"), ("id", "53"), ("name", "另一个"), ("parent", "3")];
    assert_eq!(submit(&wecom, &moved).await.0, 303);
    assert_eq!(wecom.control("GET", "events", &Value::Null).unwrap()["waiting"], 4, "each was told");
    for (fields, says) in [
        (vec![("do", "delete_department"), ("id", "53")], "60005"),
        (vec![("do", "delete_department"), ("id", "1")], "60007"),
        (vec![("do", "save_department"), ("id", "2"), ("name", "x"), ("parent", "21")], "60010"),
        (vec![("do", "add_member"), ("userid", "NEW.TWO"), ("name", "x"), ("departments", "2")], "60102"),
        (
            vec![("do", "add_member"), ("userid", "x"), ("name", "x"), ("departments", "2, 999")],
            "no department 999",
        ),
        (vec![("do", "add_member"), ("userid", "x"), ("name", "x"), ("departments", "two")], "numbers"),
        (vec![("do", "add_department"), ("name", ""), ("parent", "2")], "needs a name"),
        (vec![("do", "burn")], "not known"),
    ] {
        let (status, page) = submit(&wecom, &fields).await;
        assert!(status == 400 && page.contains(says), "{fields:?}: {status}");
    }
    assert_eq!(submit(&wecom, &[("do", "delete_member"), ("id", "new.two")]).await.0, 303);
    assert_eq!(submit(&wecom, &[("do", "delete_department"), ("id", "53")]).await.0, 303);
    let set = [("do", "callbacks"), ("shuffled", "on"), ("doubled", "0"), ("lost", "100")];
    assert_eq!(submit(&wecom, &set).await.0, 303);
    let before = wecom.control("GET", "events", &Value::Null).unwrap();
    assert_eq!(submit(&wecom, &[("do", "add_department"), ("name", "x"), ("parent", "1")]).await.0, 303);
    let after = wecom.control("GET", "events", &Value::Null).unwrap();
    assert_eq!((&before["waiting"], &after["lost"]), (&after["waiting"], &json!(1)));
    assert!(wecom.counters().is_empty(), "no request of a client");
}

#[tokio::test]
async fn a_large_company_is_shown_in_part() {
    let wecom = start().await;
    let mut ops: Vec<Value> =
        (2..=300).map(|id| json!({ "op": "create_party", "id": id, "parentid": 1 })).collect();
    ops.extend(
        (0..150).map(|n| json!({ "op": "create_user", "userid": format!("u{n}"), "department": [1] })),
    );
    control(&wecom, "ops", json!(ops)).unwrap();
    let page = look(&wecom).await;
    assert!(page.contains("300 departments, 150 members") && page.contains("and 100 more"), "{}", page.len());
    assert!(page.contains("and 50 more"));
}
