//! Against callbacks that independent implementations made, and what no sender should send.

use std::sync::LazyLock;

use bytes::Bytes;
use connector_wecom::callback::Format;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;
use shared::record_key::RecordKey;

use super::*;

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/vectors.json")).unwrap());

fn receiver(config: &Value) -> Receiver {
    let text = |name: &str| config[name].as_str().unwrap();
    let secret = |name| SecretString::from(text(name));
    Receiver::new(&secret("token"), &secret("encoding_aes_key"), text("corp_id")).unwrap()
}

fn ours() -> Receiver {
    receiver(&VECTORS["config"])
}

fn flow(name: &str) -> FlowName {
    FlowName::new(name).unwrap()
}

fn deliveries(relays: &[&str]) -> Deliveries {
    Deliveries::new(flow(NAME), Some(ours()), relays.iter().map(|name| flow(name)).collect())
}

fn query(vector: &Value) -> String {
    let pairs = vector["query"].as_object().unwrap().iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn post(
    deliveries: &Deliveries,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<WebhookContent, WebhookRefusal> {
    let body = Bytes::copy_from_slice(body);
    deliveries.read(&WebhookRequest { query: Some(query), ..WebhookRequest::post("", headers, &body) })
}

fn items(read: Result<WebhookContent, WebhookRefusal>) -> Vec<WebhookItem> {
    match read.unwrap() {
        WebhookContent::Items(items) => items,
        other => panic!("{other:?}"),
    }
}

/// An event as WeCom would send it, with what is said in it.
fn sent(deliveries: &Deliveries, message: &str) -> Result<WebhookContent, WebhookRefusal> {
    let sealed = ours().seal(message.as_bytes(), [7; 16], "1792000000", "n");
    let body = sealed.body("ww1436e0e65a779aee", None, Format::Xml);
    post(deliveries, &sealed.query(), &[("content-type", "text/xml")], body.as_bytes())
}

fn record(id: &str, operation: Operation) -> WebhookItem {
    WebhookItem::Record(RecordKey::new(flow(NAME), id).unwrap(), operation)
}

#[test]
fn each_event_says_what_is_to_be_looked_at() {
    let deliveries = deliveries(&[]);
    for vector in VECTORS["events"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let fields = &vector["fields"];
        let found =
            items(post(&deliveries, &query(vector), &[], vector["body"].as_str().unwrap().as_bytes()));
        let user = || fields["UserID"].as_str().unwrap().to_lowercase();
        let expected = match fields["ChangeType"].as_str() {
            Some("create_user") => vec![record(&format!("user.{}", user()), Operation::Create)],
            Some("update_user") => match fields["NewUserID"].as_str() {
                Some(new) => {
                    vec![record(&format!("rename.{}/{}", user(), new.to_lowercase()), Operation::Update)]
                }
                None => vec![record(&format!("user.{}", user()), Operation::Update)],
            },
            Some("delete_user") => vec![record(&format!("user.{}", user()), Operation::Delete)],
            Some("create_party") => vec![record(&format!("dept.{}", fields["Id"]), Operation::Create)],
            Some("update_party") => vec![record(&format!("dept.{}", fields["Id"]), Operation::Update)],
            Some("delete_party") => vec![record(&format!("dept.{}", fields["Id"]), Operation::Delete)],
            Some("update_tag") | None => vec![],
            Some(unknown) => {
                let [WebhookItem::Malformed(why)] = found.as_slice() else { panic!("{name}: {found:?}") };
                assert!(why.contains(unknown), "{name}: {why}");
                continue;
            }
        };
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_check_of_the_address_is_answered_with_the_bare_message() {
    let deliveries = deliveries(&["relay_oa"]);
    assert!(deliveries.answers_get("") && !deliveries.answers_get("callback"));
    let get = |query: &str| {
        let body = Bytes::new();
        let request = WebhookRequest {
            method: WebhookMethod::Get,
            query: Some(query),
            ..WebhookRequest::post("", &[], &body)
        };
        deliveries.read(&request)
    };
    for vector in VECTORS["verify_url"].as_array().unwrap() {
        let expected = vector["answer"]["body"].as_str().unwrap().to_owned();
        let query = vector["query_string"].as_str().unwrap();
        assert_eq!(get(query), Ok(WebhookContent::Challenge(expected.clone())));
        assert_eq!(get(&query.replace("%2B", "+")), Ok(WebhookContent::Challenge(expected)));
        let changed = query.replace("nonce=", "nonce=1");
        assert!(matches!(get(&changed), Err(WebhookRefusal::Unverified(_))), "{query}");
    }
    assert!(matches!(get(""), Err(WebhookRefusal::Malformed(_))));
    assert!(matches!(get("echostr=x"), Err(WebhookRefusal::Unverified(_))));
}

#[test]
fn every_negative_vector_is_refused_and_passed_on_to_nobody() {
    let deliveries = deliveries(&["relay_oa"]);
    for vector in VECTORS["negative"].as_array().unwrap() {
        let name = &vector["name"];
        let read = post(&deliveries, &query(vector), &[], vector["body"].as_str().unwrap().as_bytes());
        if vector["expect"] == "accept_or_padding" {
            assert!(read.is_ok(), "{name}");
            continue;
        }
        let refusal = read.expect_err("is refused");
        let is_unverified = matches!(refusal, WebhookRefusal::Unverified(_));
        assert_eq!(is_unverified, vector["status"] == 403, "{name}: {refusal}");
        let secrets = ["hJqcu3uJ9Tn2gXPmxx2w9kkCkCE2EPYo", "6qkdMrq68nTKduznJYO1A37W2oEgpkMUvkttRToqhUt"];
        assert!(!secrets.iter().any(|secret| refusal.to_string().contains(secret)), "{name}: {refusal}");
    }
}

#[test]
fn what_another_company_signed_is_not_taken() {
    let published = &VECTORS["published"]["config"];
    let sealed = receiver(published).seal(b"<xml/>", [7; 16], "1792000000", "n");
    let body = sealed.body("wx", None, Format::Xml);
    let read = post(&deliveries(&[]), &sealed.query(), &[], body.as_bytes());
    assert!(matches!(read, Err(WebhookRefusal::Unverified(_))), "{read:?}");
    // The same token and key, and another corp id: only what is encrypted tells.
    let mut config = VECTORS["config"].clone();
    config["corp_id"] = "ww_somebody_else".into();
    let sealed = receiver(&config).seal(b"<xml/>", [7; 16], "1792000000", "n");
    let body = sealed.body("ww1436e0e65a779aee", None, Format::Xml);
    let read = post(&deliveries(&[]), &sealed.query(), &[], body.as_bytes());
    assert!(matches!(read, Err(WebhookRefusal::Unverified(_))), "{read:?}");
}

#[test]
fn bombs_entities_and_megabytes_are_refused() {
    let deliveries = deliveries(&["relay_oa"]);
    let mut bomb = String::from("<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">");
    for n in 0..9 {
        bomb.push_str(&format!("<!ENTITY b{n} \"&a;&a;&a;&a;&a;&a;&a;&a;\">"));
    }
    bomb.push_str("]><xml><UserID>&b8;</UserID></xml>");
    let deep = format!("<xml>{}{}</xml>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let wide = format!("<xml>{}</xml>", "<a/>".repeat(100_000));
    let entity = "<xml><MsgType>event</MsgType><Event>change_contact</Event><UserID>&secret;</UserID></xml>";
    let external = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><xml>&x;</xml>";
    for message in [bomb.as_str(), &deep, &wide, entity, external, "", "<xml>", "\u{feff}", "{}"] {
        let read = sent(&deliveries, message);
        let shown: String = message.chars().take(60).collect();
        assert!(matches!(read, Err(WebhookRefusal::Malformed(_))), "{shown}: {read:?}");
        // The envelope itself.
        let read = post(&deliveries, "msg_signature=0&timestamp=1&nonce=1", &[], message.as_bytes());
        assert!(read.is_err(), "{shown}: {read:?}");
    }
    let megabytes = vec![b'x'; 10 * 1024 * 1024];
    let read = post(&deliveries, &query(&VECTORS["events"][0]), &[], &megabytes);
    assert!(matches!(read, Err(WebhookRefusal::Malformed(_))), "{read:?}");
    let long = format!("nonce={}", "1".repeat(100_000));
    assert!(matches!(post(&deliveries, &long, &[], b""), Err(WebhookRefusal::Malformed(_))));
}

fn event(more: &str) -> String {
    format!("<xml><MsgType>event</MsgType><Event>change_contact</Event>{more}</xml>")
}

#[test]
fn what_cannot_be_used_is_left_out_with_the_reason() {
    for (message, says) in [
        (event("<ChangeType>leave_planet</ChangeType><UserID>a</UserID>"), "leave_planet"),
        (event("<ChangeType>delete_user</ChangeType><UserID>a/b</UserID>"), "not a userid"),
        (
            event("<ChangeType>update_user</ChangeType><UserID>a</UserID><NewUserID>张三</NewUserID>"),
            "not a userid",
        ),
        ("<xml><MsgType>text</MsgType><Content>hello</Content></xml>".to_owned(), "`text`"),
    ] {
        let items = items(sent(&deliveries(&[]), &message));
        let [WebhookItem::Malformed(why)] = items.as_slice() else { panic!("{message}: {items:?}") };
        assert!(why.contains(says), "{message}: {why}");
    }
    for message in [
        event("<ChangeType>delete_user</ChangeType>"),
        event("<ChangeType>delete_party</ChangeType><Id>0</Id>"),
        event("<ChangeType>create_party</ChangeType><Id>x</Id>"),
    ] {
        let read = sent(&deliveries(&[]), &message);
        let is_named = match &read {
            Ok(WebhookContent::Items(items)) => matches!(items.as_slice(), [WebhookItem::Malformed(_)]),
            Err(WebhookRefusal::Malformed(_)) => true,
            _ => false,
        };
        assert!(is_named, "{message}: {read:?}");
    }
}

#[test]
fn ids_that_differ_by_case_are_one_record() {
    let message = |id: &str| event(&format!("<ChangeType>update_user</ChangeType><UserID>{id}</UserID>"));
    let one = items(sent(&deliveries(&[]), &message("ZhangSan")));
    assert_eq!(one, items(sent(&deliveries(&[]), &message("zhangsan"))));
    let renamed =
        event("<ChangeType>update_user</ChangeType><UserID>ZhangSan</UserID><NewUserID>zhangsan</NewUserID>");
    assert_eq!(one, items(sent(&deliveries(&[]), &renamed)), "only its case changed");
}

#[test]
fn each_receiver_is_handed_the_callback_to_the_byte() {
    let deliveries = deliveries(&["relay_oa", "relay_hr"]);
    for vector in VECTORS["events"].as_array().unwrap() {
        let (query, body) = (query(vector), vector["body"].as_str().unwrap().as_bytes());
        // The address may have a secret of its own, and anybody can add to what is not signed.
        let asked = format!("company=%31&{query}&to=elsewhere");
        let headers = [("content-type", "text/xml; charset=utf-8"), ("host", "x")];
        let found = items(post(&deliveries, &asked, &headers, body));
        let mut forwarded = Vec::new();
        for item in &found {
            if let WebhookItem::Forward { key, content } = item {
                let callback = Callback::read(content).unwrap();
                assert_eq!((callback.query.as_str(), &callback.body[..]), (query.as_str(), body));
                assert_eq!(callback.content_type.as_deref(), Some("text/xml; charset=utf-8"));
                assert_eq!(Some(key), callback.key(key.flow()).as_ref());
                forwarded.push(key.flow().as_str().to_owned());
            }
        }
        assert_eq!(forwarded, ["relay_oa", "relay_hr"], "{}", vector["name"]);
    }
}

#[test]
fn what_we_relayed_ourselves_is_used_and_not_passed_on_again() {
    let vector = &VECTORS["events"][0];
    let body = vector["body"].as_str().unwrap().as_bytes();
    let found = items(post(&deliveries(&["relay_oa"]), &query(vector), &[(RELAYED_BY, RELAYED_BY_US)], body));
    assert!(matches!(found.as_slice(), [WebhookItem::Record(..), WebhookItem::Malformed(_)]), "{found:?}");
}

#[test]
fn other_paths_and_installations_without_callbacks_are_unknown() {
    let body = Bytes::new();
    let read = deliveries(&[]).read(&WebhookRequest::post("callback\n", &[], &body));
    assert!(matches!(read, Err(WebhookRefusal::Unknown(text)) if !text.contains('\n')));
    let none = Deliveries::new(flow(NAME), None, Vec::new());
    assert!(!none.answers_get(""));
    assert!(matches!(none.read(&WebhookRequest::post("", &[], &body)), Err(WebhookRefusal::Unknown(_))));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(query in "\\PC{0,80}", body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = post(&deliveries(&["relay_oa"]), &query, &[], &body);
    }

    /// Whatever stands in a message that is well signed: looked at, left out, or refused.
    #[test]
    fn no_message_makes_it_panic(change in "\\PC{0,20}", id in "\\PC{0,20}", new in "[a-z<>&/]{0,10}") {
        let message = event(&format!(
            "<ChangeType><![CDATA[{change}]]></ChangeType><UserID>{id}</UserID><NewUserID>{new}</NewUserID>"
        ));
        let _ = sent(&deliveries(&["relay_oa"]), &message);
    }
}
