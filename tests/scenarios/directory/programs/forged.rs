//! What comes to the running listener as if it were WeCom's: what is forged, odd or huge is refused and counted, and no
//! message comes of it.

use std::collections::BTreeMap;

use connector_wecom::callback::{Format, Receiver, Sealed};
use secrecy::SecretString;
use serde_json::Value;
use simulators::WecomOptions;
use simulators::wecom::WecomCallback;
use system_tests::{Backing, Kind};

use super::bench::{Bench, PRODUCER, receiver};

/// What is asked, by POST unless there is no body.
struct Request {
    what: &'static str,
    query: String,
    body: Option<Vec<u8>>,
    /// What it must be answered.
    status: u16,
    /// What it must be counted as.
    outcome: &'static str,
}

fn corp() -> String {
    WecomOptions::default().corp_id
}

fn event(inner: &str) -> String {
    format!(
        "<xml><ToUserName>{}</ToUserName><MsgType>event</MsgType><Event>change_contact</Event>{inner}</xml>",
        corp()
    )
}

fn member() -> String {
    event("<ChangeType>create_user</ChangeType><UserID>forged</UserID>")
}

fn sealed(receiver: &Receiver, message: &str) -> Sealed {
    receiver.seal(message.as_bytes(), fastrand::u128(..).to_be_bytes(), "1790000000", "n")
}

fn request(what: &'static str, sealed: &Sealed, status: u16, outcome: &'static str) -> Request {
    let body = sealed.body(&corp(), None, Format::Xml).into_bytes();
    Request { what, query: sealed.query(), body: Some(body), status, outcome }
}

/// Entities of entities, in an envelope or a message.
fn bomb() -> String {
    let mut bomb = "<!DOCTYPE lolz [<!ENTITY lol0 \"lol\">".to_owned();
    for level in 1..10 {
        let above = format!("&lol{};", level - 1).repeat(10);
        bomb.push_str(&format!("<!ENTITY lol{level} \"{above}\">"));
    }
    format!("{bomb}]><xml><Encrypt>&lol9;</Encrypt></xml>")
}

fn deep() -> String {
    format!("{}{}", "<xml>".repeat(50_000), "</xml>".repeat(50_000))
}

const FILE: &str =
    "<!DOCTYPE xml [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><xml><Encrypt>&f;</Encrypt></xml>";

/// Somebody else's token, and our key.
fn of_another_token() -> Receiver {
    let key = SecretString::from(WecomCallback::new("").encoding_aes_key);
    Receiver::new(&SecretString::from("anothertoken"), &key, &corp()).unwrap()
}

/// What proves nothing.
fn unverified(ours: &Receiver) -> Vec<Request> {
    let good = sealed(ours, &member());
    let with = |change: fn(&mut Sealed)| {
        let mut sealed = good.clone();
        change(&mut sealed);
        sealed
    };
    let refused = |what, sealed: &Sealed| request(what, sealed, 401, "unverified");
    let empty = with(|sealed| sealed.msg_signature.clear());
    let exchanged =
        Sealed { encrypted: sealed(ours, &event("<ChangeType>x</ChangeType>")).encrypted, ..good.clone() };
    vec![
        refused("a wrong signature", &with(|sealed| sealed.msg_signature = "0".repeat(40))),
        refused("an empty signature", &empty),
        refused("a signature of another time", &with(|sealed| sealed.timestamp = "1790000001".to_owned())),
        refused("a signature of another message", &exchanged),
        refused("another token", &sealed(&of_another_token(), &member())),
        refused("another company", &sealed(&receiver("ww0000000000000000"), &member())),
        Request {
            what: "a check with a wrong signature",
            query: sealed(&of_another_token(), "1234").check_query(),
            body: None,
            status: 401,
            outcome: "unverified",
        },
    ]
}

/// What cannot be read.
fn malformed(ours: &Receiver) -> Vec<Request> {
    let good = sealed(ours, &member());
    let signed = |what, message: &str| request(what, &sealed(ours, message), 400, "malformed");
    let said = |what, query: String, body: Vec<u8>| Request {
        what,
        query,
        body: Some(body),
        status: 400,
        outcome: "malformed",
    };
    let body = || good.body(&corp(), None, Format::Xml).into_bytes();
    let posted = |what, body: String| said(what, good.query(), body.into_bytes());
    let twice = format!("{}&nonce=other", good.query());
    let long = format!("{}&x={}", good.query(), "x".repeat(17_000));
    let no_base64 = ours.sign("<script>".to_owned(), "1790000000", "n");
    let cut = ours.sign(good.encrypted[..22].to_owned(), "1790000000", "n");
    vec![
        said("a parameter twice", twice, body()),
        said("an endless query", long, body()),
        posted("no XML", "<html>".to_owned()),
        posted("nothing", String::new()),
        posted("a bomb", bomb()),
        posted("an entity that is a file", FILE.to_owned()),
        posted("elements in elements", deep()),
        said("bytes", good.query(), vec![0xff; 1_000_000]),
        request("a ciphertext that is no base64", &no_base64, 400, "malformed"),
        request("a ciphertext that was cut", &cut, 400, "malformed"),
        signed("a signed bomb", &bomb()),
        signed("a signed entity that is a file", FILE),
        signed("signed elements in elements", &deep()),
        signed("a member without an id", &event("<ChangeType>create_user</ChangeType>")),
        Request { what: "a check of nothing", body: None, ..said("", "x=1".to_owned(), Vec::new()) },
    ]
}

impl Request {
    async fn send(&self, bench: &Bench) {
        let url = format!("{}?{}", bench.callback_url, self.query);
        let answer = match &self.body {
            Some(body) => bench.http.post(&url, &[("Content-Type", "text/xml")], body.clone()).await,
            None => bench.http.get(&url).await,
        };
        // The sender of what is too long may see the connection close before it has sent it all.
        let fits = answer.as_ref().map_or(self.status == 413, |answer| answer.status == self.status);
        assert!(fits, "{}: {} {answer:?}", self.what, self.status);
        let text = answer.map_or_else(|_| String::new(), |answer| answer.body);
        assert!(!text.contains("<script") && !text.contains("root:"), "{}: {text}", self.what);
    }
}

/// What has come since.
fn added(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(outcome, count): (&String, &u64)| {
        let more = count - before.get(outcome).unwrap_or(&0);
        (more > 0).then(|| (outcome.clone(), more))
    };
    after.iter().filter_map(more).collect()
}

fn counts(outcomes: impl IntoIterator<Item = &'static str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn what_is_forged_is_refused_and_counted_and_nothing_comes_of_it() {
    let mut bench = Bench::new(&Backing::Embedded, &[Kind::Producer], &[]).await;
    bench.start().await;
    let ours = receiver(&corp());
    let requests = async || bench.counted("syncfleet_webhook_requests_total").await;
    let items = async || bench.counted("syncfleet_webhook_items_total").await;
    let before = (requests().await, items().await);

    let huge = Request {
        what: "ten megabytes",
        query: sealed(&ours, &member()).query(),
        body: Some(vec![b' '; 10_000_000]),
        status: 413,
        outcome: "body_refused",
    };
    let forged: Vec<Request> =
        unverified(&ours).into_iter().chain(malformed(&ours)).chain(Some(huge)).collect();
    for request in &forged {
        request.send(&bench).await;
    }
    assert_eq!(
        added(&before.0, &requests().await),
        counts(forged.iter().map(|request| request.outcome)),
        "each is counted"
    );
    assert_eq!(added(&before.1, &items().await), BTreeMap::new());

    // Genuine, and about nothing that is known: WeCom is not to send it again.
    let before = (requests().await, items().await);
    for message in [
        event("<ChangeType>promote_user</ChangeType><UserID>anna</UserID>"),
        event("<ChangeType>update_tag</ChangeType><TagId>1</TagId>"),
    ] {
        request("genuine", &sealed(&ours, &message), 200, "accepted").send(&bench).await;
    }
    let check = bench.wecom.control("GET", "check", &Value::Null).unwrap();
    let url = format!("{}?{}", bench.callback_url, check["query"].as_str().unwrap());
    let answer = bench.http.get(&url).await.unwrap();
    assert_eq!((answer.status, Some(answer.body.as_str())), (200, check["answer"].as_str()));
    let expected = counts(["accepted", "accepted", "challenge"]);
    assert_eq!(added(&before.0, &requests().await), expected);
    assert_eq!(added(&before.1, &items().await), counts(["malformed"]));
    assert_eq!(bench.waiting("directory").await, 0, "nothing was published");

    request("genuine", &sealed(&ours, &member()), 200, "accepted").send(&bench).await;
    assert_eq!(bench.waiting("directory").await, 1);
    bench.drain().await;
    bench.assert_discreet();
    let log = bench.members[PRODUCER].log();
    assert!(log.contains("A webhook was refused") && !log.contains("<script"), "{log}");
}
