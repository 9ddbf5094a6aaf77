//! Every recorded exchange is sent again, to a simulator in the state the recording presumes, and the
//! answer compared: status, reason and the other headers that mean something, body shape; the bodies of
//! refusals exactly.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use simulators::espocrm::{
    ADMIN_PASSWORD, API_KEY, Account, Credential, HMAC_API_KEY, HMAC_SECRET_KEY, PERSON_ID, Role,
};
use simulators::{EspocrmOptions, EspocrmSimulator, Record};

use crate::fixture::{self, Exchange, shape_differences};
use crate::http::{self, Got};

/// Recorded exchanges that are not replayed by [`every_recorded_exchange_is_reproduced`], and why.
const ELSEWHERE: [(&str, &str); 7] = [
    ("002-settings-as-api-user", "recording is cut: compared member by member in its own test"),
    ("033-app-user-as-api", "recording is cut: compared member by member in its own test"),
    (
        "034-app-user-espo-authorization",
        "recording is cut inside its first member; no client here uses the tokens of App/user",
    ),
    ("147-admin-reads-deleted-record", "is about a Meeting; the same is tested with CBeteiligte"),
    ("210-webhook-delivery-create", "sent by EspoCRM: see the tests of webhooks"),
    ("211-webhook-delivery-update", "sent by EspoCRM: see the tests of webhooks"),
    ("212-webhook-delivery-delete", "sent by EspoCRM: see the tests of webhooks"),
];

const MAX: &str = "6b00526cc80a09e94";
const ERIKA: &str = "6b0052e277c0e1ed0";
const NORIGHTS_KEY: &str = "norights00000000000000000000norights";
const NOMSG_KEY: &str = "nomsg000000000000000000000000nomsg";

pub fn object(value: Value) -> Record {
    let Value::Object(fields) = value else { panic!("{value} is no object") };
    fields
}

fn options() -> EspocrmOptions {
    let mut options = EspocrmOptions::default();
    let norights = Credential::ApiKey(NORIGHTS_KEY.to_owned());
    let silent = Role { message_permission: false, ..Role::sync() };
    options.accounts.push(Account::api("6b00522a000000001", "norights", norights, Role::default()));
    options.accounts.push(Account::api(
        "6b00522a000000002",
        "nomsg",
        Credential::ApiKey(NOMSG_KEY.to_owned()),
        silent,
    ));
    options
}

/// What an answer shows, as what was stored.
fn stored(answer: &Value) -> Record {
    let mut record = object(answer.clone());
    record.retain(|name, _| {
        let computed = [
            "name",
            "emailAddress",
            "phoneNumber",
            "teamsNames",
            "followersIds",
            "followersNames",
            "isFollowed",
        ];
        !(computed.contains(&name.as_str())
            || name.ends_with("Name") && name.contains("By")
            || name.ends_with("IsOptedOut")
            || name.ends_with("IsInvalid"))
    });
    record
}

fn max() -> Record {
    object(json!({
        "id": MAX, "firstName": "Max", "lastName": "Mustermann", "salutationName": "Mr.", "betnr": 104_860,
        "advowareRowId": "FA6B8D2E4C", "dateOfBirth": "1980-05-17", "rechtsform": "", "syncStatus": "clean",
        "advowareLastSync": "2026-11-20 09:15:00", "syncRetryCount": 0,
        "emailAddress": "max@example.de", "phoneNumber": "+4951112345",
    }))
}

fn erika() -> Record {
    object(json!({
        "id": ERIKA, "firstName": "Erika", "lastName": "Musterfrau", "syncStatus": "pending_sync",
        "syncRetryCount": 0, "emailAddress": "erika@example.de",
    }))
}

fn petra() -> Record {
    object(json!({
        "id": "6b005443951f6c3f6", "firstName": "Petra", "lastName": "Kontakt",
        "emailAddress": "petra@firma.example", "phoneNumber": "+495115555",
    }))
}

/// What an answer shows of a meeting, as what was stored.
fn meeting(answer: &Value) -> Record {
    let mut record = object(answer.clone());
    let computed = ["duration", "reminders", "joinUrl", "isFollowed"];
    record.retain(|name, _| {
        !(computed.contains(&name.as_str()) || name.ends_with("Name") || name.ends_with("Names"))
    });
    record
}

/// The 263 records that the recorded lists were made from.
fn many(crm: &EspocrmSimulator) {
    crm.seed(max()).unwrap();
    crm.seed(erika()).unwrap();
    for n in 0..261_u32 {
        let status = ["clean", "dirty", "failed"][n as usize % 3];
        let record = json!({
            "id": format!("6b0053{n:011x}"), "firstName": format!("Vor{n:03}"), "lastName": format!("Nach{:03}", n % 10),
            "betnr": 200_000 + n, "syncStatus": status, "syncRetryCount": n % 8,
        });
        crm.seed(object(record)).unwrap();
    }
}

/// Brings the simulator into the state that the recording presumes.
async fn prepare(crm: &EspocrmSimulator, name: &str, exchange: &Exchange) {
    let number = &name[..3];
    let answer: Option<Value> = serde_json::from_str(&exchange.body).ok().filter(|_| exchange.status == 200);
    let has_versions = exchange.body.contains("\"versionNumber\"");
    let required = !matches!(number, "134");
    let mut settings = object(json!({ "optimistic_concurrency": has_versions }));
    if !is_before_all(name) {
        settings.insert("last_name_required".to_owned(), json!(required));
    }
    crm.configure(&settings).unwrap();
    match number {
        "048" => {
            for _ in 0..11 {
                let wrong = [("X-Api-Key", "wrong")];
                http::send(&crm.base_url(), "GET", "/api/v1/CBeteiligte", &wrong, "").await.unwrap();
            }
        }
        "105" => {
            crm.seed(max()).unwrap();
        }
        "123" | "124" => {
            let (first, version) = if number == "123" { ("V3", 5) } else { ("V1", 4) };
            let changed =
                json!({ "firstName": first, "lastName": "Stale", "betnr": 1, "versionNumber": version });
            let mut record = max();
            record.extend(object(changed));
            crm.seed(record).unwrap();
        }
        "122" | "126" => {
            let mut record = stored(&answer.unwrap());
            record["versionNumber"] = json!(if number == "122" { 2 } else { 5 });
            crm.seed(record).unwrap();
        }
        "102" | "103" | "104" | "106" | "112" | "119" | "120" | "121" | "125" | "173" if answer.is_some() => {
            crm.seed(stored(&answer.unwrap())).unwrap();
        }
        "130" | "131" | "170" => {
            crm.seed(erika()).unwrap();
        }
        "171" | "172" => {
            crm.seed(erika()).unwrap();
        }
        "119" => {
            crm.seed(erika()).unwrap();
        }
        "107" | "108" | "109" | "110" | "111" | "113" | "114" | "115" | "116" | "117" | "118" | "303" => {
            crm.seed(max()).unwrap();
            let mention = name.contains("mention");
            crm.configure(&object(json!({ "mention_permission": mention }))).unwrap();
        }
        "140" | "141" | "142" | "143" | "144" => {
            let id = "6b0052e2a03dd98b9";
            crm.seed(object(json!({ "id": id, "firstName": "Erika", "lastName": "Musterfrau" }))).unwrap();
            if number != "140" {
                crm.delete_as_person(id).unwrap();
            }
        }
        "150" | "151" | "152" | "153" | "154" | "155" | "156" | "157" | "158" | "159" | "160" | "161"
        | "162" | "163" | "164" | "165" => many(crm),
        "306" => posts(crm).await,
        "011" | "014" => administer(crm, "010-create-entity").await,
        _ if name.starts_with("020") => administer(crm, "010-create-entity").await,
        "021" => {
            administer(crm, "010-create-entity").await;
            administer(crm, "020-create-field-firmenname").await;
        }
        "410" | "411" | "412" | "419" => {
            crm.seed_of("Contact", petra()).unwrap();
            if matches!(number, "411" | "412") {
                crm.seed_of("Meeting", meeting(&answer.unwrap())).unwrap();
            }
        }
        "414" => {
            crm.seed_of("Meeting", meeting(&answer.unwrap())).unwrap();
        }
        "415" => {
            for item in answer.unwrap()["list"].as_array().unwrap() {
                crm.seed_of("Meeting", meeting(item)).unwrap();
            }
        }
        "422" | "424" => {
            let team = json!({ "id": "6b00572c70ffe1c85", "name": "Notariat" });
            crm.seed_team(object(team), &[PERSON_ID]);
        }
        "032" => administer(crm, "031-create-api-user").await,
        _ => {}
    }
}

/// Sends a recorded request of an administrator, which must be done before another one is.
async fn administer(crm: &EspocrmSimulator, name: &str) {
    let exchange = fixture::load(name);
    let headers = [
        ("Authorization", format!("Basic {}", STANDARD.encode(format!("admin:{ADMIN_PASSWORD}")))),
        ("Content-Type", "application/json".to_owned()),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let body = &exchange.request_body;
    let got = http::send(&crm.base_url(), &exchange.method, &exchange.target, &headers, body).await.unwrap();
    assert_eq!(got.status, 200, "{name}: {got:?}");
}

/// Whether the recording presumes that nobody has made the entity type yet.
fn is_before_all(name: &str) -> bool {
    ["010", "011", "013", "014", "020", "021"].iter().any(|number| name.starts_with(number))
}

async fn post(crm: &EspocrmSimulator, path: &str, body: Value) -> Got {
    let headers = [("X-Api-Key", API_KEY), ("Content-Type", "application/json")];
    let got = http::send(&crm.base_url(), "POST", path, &headers, &body.to_string()).await.unwrap();
    assert!(got.status < 300, "{path}: {got:?}");
    got
}

/// The notifications of 306, but for the one about a Call.
async fn posts(crm: &EspocrmSimulator) {
    crm.seed(max()).unwrap();
    crm.configure(&object(json!({ "mention_permission": true }))).unwrap();
    let all = json!({ "type": "Post", "targetType": "all", "post": "An alle" });
    post(crm, "/api/v1/Note", all.clone()).await;
    post(crm, "/api/v1/Note", all.clone()).await;
    post(crm, "/api/v1/Note", all).await;
    let on_record = json!({ "type": "Post", "parentType": "CBeteiligte", "parentId": MAX, "post": "Nochmal: @anna bitte" });
    post(crm, "/api/v1/Note", on_record).await;
}

/// The seven webhooks of 203, of which the oldest is that of 204 to 206.
async fn webhooks(crm: &EspocrmSimulator) -> String {
    let events = [
        "create",
        "update",
        "delete",
        "fieldUpdate.syncStatus",
        "fieldUpdate.phoneNumber",
        "update",
        "create",
    ];
    let mut ids = Vec::new();
    for event in events {
        let body = json!({ "event": format!("CBeteiligte.{event}"), "url": "https://sync.example.test/x" });
        ids.push(post(crm, "/api/v1/Webhook", body).await.json()["id"].as_str().unwrap().to_owned());
    }
    ids.remove(0)
}

async fn resend(crm: &EspocrmSimulator, name: &str, exchange: &Exchange) -> Got {
    let mut target = exchange.target.clone();
    if matches!(&name[..3], "203" | "204" | "205" | "206") {
        target = target.replace("6b00536659432689f", &webhooks(crm).await);
    }
    if &name[..3] == "206" {
        let (path, body) = (target.as_str(), r#"{"url":"https://sync.example.test/y"}"#);
        let headers = [("X-Api-Key", API_KEY), ("Content-Type", "application/json")];
        assert_eq!(http::send(&crm.base_url(), "PUT", path, &headers, body).await.unwrap().status, 200);
    }
    let basic = |user: &str| format!("Basic {}", STANDARD.encode(user));
    let headers: Vec<(String, String)> = exchange
        .request_headers
        .iter()
        .filter(|(name, _)| !["Host", "Content-Length", "Connection"].contains(&name.as_str()))
        .map(|(name, value)| {
            let value = match value.as_str() {
                "<api-key>" => API_KEY.to_owned(),
                "<norights-key>" => NORIGHTS_KEY.to_owned(),
                "<nomsg-key>" => NOMSG_KEY.to_owned(),
                "Basic <base64(admin:password)>" => basic(&format!("admin:{ADMIN_PASSWORD}")),
                "Basic <base64(anna:password)>" => basic("anna:anna-password"),
                value if name == "X-Hmac-Authorization" => hmac_header(value),
                value => value.to_owned(),
            };
            (name.clone(), value)
        })
        .collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    http::send(&crm.base_url(), &exchange.method, &target, &headers, &exchange.request_body).await.unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn hmac(secret: &str, text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The recorded header in the form of ours: the recorded secret is not known.
fn hmac_header(recorded: &str) -> String {
    let decoded = String::from_utf8(STANDARD.decode(recorded).unwrap()).unwrap();
    let (key, digest) = decoded.split_once(':').unwrap();
    assert_eq!((key.len(), digest.len()), (32, 64));
    let digest = hex(&hmac(HMAC_SECRET_KEY, b"GET /CBeteiligte"));
    STANDARD.encode(format!("{HMAC_API_KEY}:{digest}"))
}

fn differences(exchange: &Exchange, got: &Got) -> Vec<String> {
    let mut found = Vec::new();
    if got.status != exchange.status {
        found.push(format!("status {}, recorded {}", got.status, exchange.status));
    }
    for header in ["x-status-reason", "content-type", "www-authenticate", "allow"] {
        let recorded = exchange.headers.get(header).map(String::as_str);
        if got.header(header) != recorded {
            found.push(format!("{header}: {:?}, recorded {recorded:?}", got.header(header)));
        }
    }
    let own = String::from_utf8(got.body.clone()).unwrap();
    if exchange.body.is_empty() || own.is_empty() {
        if exchange.body.trim() != own.trim() {
            found.push(format!("body {own:?}, recorded {:?}", exchange.body));
        }
        return found;
    }
    let recorded: Value = match serde_json::from_str(&exchange.body) {
        Ok(recorded) => recorded,
        Err(_) => cut_list(&exchange.body),
    };
    let own: Value = serde_json::from_str(&own).unwrap();
    let is_exact = exchange.status >= 400 && !recorded.is_array();
    if is_exact && recorded != own {
        found.push(format!("body {own}, recorded {recorded}"));
    }
    found.extend(shape_differences("body", &recorded, &own));
    found
}

/// A list whose recording was cut, as far as its items are whole.
fn cut_list(body: &str) -> Value {
    let (body, _) = body.split_once("... (cut").expect("a cut recording");
    let end = body.rfind("},").unwrap() + 1;
    serde_json::from_str(&format!("{}]}}", &body[..end])).unwrap()
}

#[tokio::test]
async fn every_recorded_exchange_is_reproduced() {
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    let names = fixture::names();
    assert!(elsewhere.iter().all(|name| names.iter().any(|own| own == name)), "a stale entry in ELSEWHERE");
    let mut failures = Vec::new();
    let mut replayed = 0;
    for name in names.iter().filter(|name| !elsewhere.contains(name.as_str())) {
        let exchange = fixture::load(name);
        let mut options = options();
        options.has_entity_type = !is_before_all(name);
        if name.starts_with("420") {
            options.accounts.iter_mut().for_each(|account| account.title = None);
        }
        let crm = EspocrmSimulator::start(options).await.unwrap();
        prepare(&crm, name, &exchange).await;
        let got = resend(&crm, name, &exchange).await;
        let mut found = differences(&exchange, &got);
        if name.starts_with("306") {
            // The second recorded notification is about a Call, which is not simulated.
            found.retain(|difference| !difference.contains("list[1]"));
        }
        failures.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
        crm.stop().await;
        replayed += 1;
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
    assert!(replayed >= 108, "only {replayed} exchanges were replayed");
}

#[tokio::test]
async fn settings_are_as_recorded_as_far_as_recorded() {
    let crm = EspocrmSimulator::start(options()).await.unwrap();
    let exchange = fixture::load("002-settings-as-api-user");
    let got = resend(&crm, "002", &exchange).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json(), Value::Object(exchange.cut_json()));
}

#[tokio::test]
async fn the_api_user_sees_himself_as_recorded() {
    let crm = EspocrmSimulator::start(options()).await.unwrap();
    let exchange = fixture::load("033-app-user-as-api");
    let got = resend(&crm, "033", &exchange).await;
    assert_eq!(got.status, 200);
    let recorded = exchange.cut_json();
    assert_eq!(recorded.keys().collect::<Vec<_>>(), ["user"]);
    let found = shape_differences("user", &recorded["user"], &got.json()["user"]);
    assert!(found.is_empty(), "{found:#?}");
    let expected = json!({ "read": "all", "stream": "no", "edit": "no", "delete": "no", "create": "no" });
    assert_eq!(got.json()["acl"]["table"]["User"], expected);
    assert_eq!(got.json()["acl"]["table"]["Webhook"], true);
}
