//! What comes to the running listener: what is forged, odd or huge is refused and counted, and nothing runs for it; what
//! is true is carried over without a sweep.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule, JournalEntry};
use system_tests::{Backing, Kind, wait};

use super::bench::{ANNA, BERND, Bench, at};
use crate::{SOON, object};

/// No sweep comes in between.
const NEVER: &str = "0 0 0 1 1 *";
const PRODUCER: usize = 0;
pub const WORKER: usize = 1;
const MARKUP: &str = "<script>alert(1)</script>";

/// What the bench is asked for from outside.
struct Request<'a> {
    url: String,
    headers: Vec<(&'a str, &'a str)>,
    body: Vec<u8>,
    /// What it must be answered.
    status: u16,
    /// What it must be counted as.
    outcome: &'static str,
}

pub async fn bench() -> Bench {
    let mut bench = Bench::new(&Backing::Embedded, &[Kind::Producer, Kind::Worker], NEVER).await;
    bench.said(&["provision", "--yes"]).await;
    bench.start().await;
    bench
}

/// Both have a calendar from then on.
pub async fn connect(bench: &Bench) {
    bench.connect("microsoft", ANNA).await;
    bench.connect("google", BERND).await;
}

/// The address at which the last watch of an entity of the journal wants to be told.
fn address(journal: &[JournalEntry], entity: &str, field: &str) -> Option<String> {
    let made = journal.iter().rev().find(|entry| entry.entity == entity)?;
    made.after.as_ref()?[field].as_str().map(str::to_owned)
}

/// Where Outlook and Google tell their news, and what Google's channel proves itself with.
async fn addresses(bench: &Bench) -> (String, String, String) {
    wait::until("both watches", SOON, async || {
        let google = bench.google.journal();
        let outlook =
            address(&bench.microsoft.journal(), "subscription", "notificationUrl").ok_or("Outlook")?;
        let channel = address(&google, "Channel", "address").ok_or("Google")?;
        Ok::<_, &str>((outlook, channel, address(&google, "Channel", "token").ok_or("token")?))
    })
    .await
}

pub async fn agreed(bench: &Bench, outlook: &str, google: &str) {
    let mut both = vec![(outlook.to_owned(), at(9)), (google.to_owned(), at(10))];
    both.sort();
    let [first, second] = [vec![(outlook.to_owned(), at(9))], vec![(google.to_owned(), at(10))]];
    wait::until("agreement", SOON, async || {
        let found = (bench.in_crm(), bench.in_outlook(ANNA), bench.in_google(BERND));
        if (&found.0, &found.1, &found.2) == (&both, &first, &second) { Ok(()) } else { Err(found) }
    })
    .await;
}

/// Waits until the systems have nothing more to tell.
async fn until_silent(bench: &Bench) {
    wait::until("silence", SOON, async || {
        let sent = [
            bench.crm.deliver_webhooks().await,
            bench.microsoft.deliver_notifications().await,
            bench.google.deliver_notifications().await,
        ];
        if sent == [0; 3] { Ok(()) } else { Err(sent) }
    })
    .await;
}

/// The values of a counter of the flow, by outcome.
async fn counted(bench: &Bench, counter: &str) -> BTreeMap<String, u64> {
    let address = format!("{}/metrics", bench.members[PRODUCER].private_url());
    let text = bench.http.get(&address).await.unwrap().body;
    let begin = format!("{counter}{{flow=\"calendar\",outcome=\"");
    let value = |line: &str| {
        let (outcome, value) = line.strip_prefix(&begin)?.split_once("\"} ")?;
        Some((outcome.to_owned(), value.parse().unwrap()))
    };
    text.lines().filter_map(value).collect()
}

fn added(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(outcome, count): (&String, &u64)| {
        let more = count - before.get(outcome).unwrap_or(&0);
        (more > 0).then(|| (outcome.clone(), more))
    };
    after.iter().filter_map(more).collect()
}

fn outlook_body(client_state: &Value) -> Vec<u8> {
    let item = json!({
        "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "changeType": "updated",
        "clientState": client_state, "resource": "Users/x/Events/y", "resourceData": { "id": "y" },
    });
    json!({ "value": [item] }).to_string().into_bytes()
}

fn from_outlook(url: &str, body: Vec<u8>, status: u16, outcome: &'static str) -> Request<'static> {
    let headers = vec![("Content-Type", "application/json")];
    Request { url: url.to_owned(), headers, body, status, outcome }
}

fn from_google<'a>(
    url: &str,
    token: Option<&'a str>,
    state: &'a str,
    status: u16,
    outcome: &'static str,
) -> Request<'a> {
    let mut headers = vec![
        ("X-Goog-Channel-ID", "01234567-89ab-cdef-0123456789ab"),
        ("X-Goog-Resource-ID", "ret08u3rv24htgh289g"),
        ("X-Goog-Resource-State", state),
        ("X-Goog-Message-Number", "10"),
    ];
    headers.extend(token.map(|token| ("X-Goog-Channel-Token", token)));
    Request { url: url.to_owned(), headers, body: Vec::new(), status, outcome }
}

/// What nobody may get a run for.
fn forged<'a>(outlook: &str, google: &str) -> Vec<Request<'a>> {
    let (base, _) = outlook.split_once("/watch/").unwrap();
    // Of the right form, and of nobody who connected an account.
    let stranger = |provider: &str| format!("{base}/watch/{provider}.6b00522a00000dead.01234567");
    let huge = |bytes: usize| vec![b' '; bytes];
    let many = json!({ "value": vec![json!({}); 5_001] }).to_string().into_bytes();
    let wrong = || outlook_body(&json!("wrong"));
    let lifecycle = json!({ "value": [{
        "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07", "clientState": "wrong",
        "lifecycleEvent": "subscriptionRemoved",
    }]});
    let long = format!("{outlook}?validationToken={}", "x".repeat(9_000));
    vec![
        from_outlook(outlook, wrong(), 401, "unverified"),
        from_outlook(outlook, outlook_body(&Value::Null), 401, "unverified"),
        from_outlook(outlook, outlook_body(&json!("")), 401, "unverified"),
        from_outlook(outlook, outlook_body(&json!(MARKUP)), 401, "unverified"),
        from_outlook(&format!("{outlook}/lifecycle"), lifecycle.to_string().into_bytes(), 401, "unverified"),
        from_outlook(&stranger("microsoft"), wrong(), 401, "unverified"),
        from_outlook(&stranger("elsewhere"), wrong(), 404, "unknown_path"),
        from_outlook(&format!("{base}/watch/{}", "%3Cscript%3E"), wrong(), 404, "unknown_path"),
        from_outlook(outlook, b"<html>".to_vec(), 400, "malformed"),
        from_outlook(outlook, huge(1_000_000), 400, "malformed"),
        from_outlook(outlook, many, 400, "malformed"),
        from_outlook(outlook, huge(1_048_577), 413, "body_refused"),
        from_outlook(&long, Vec::new(), 400, "malformed"),
        from_google(google, None, "exists", 401, "unverified"),
        from_google(google, Some("wrong"), "exists", 401, "unverified"),
        from_google(google, Some(MARKUP), "not_exists", 401, "unverified"),
        from_google(google, Some("wrong"), "moved", 400, "malformed"),
        from_google(&stranger("google"), Some("wrong"), "exists", 401, "unverified"),
        Request { headers: Vec::new(), ..from_google(google, None, "exists", 400, "malformed") },
    ]
}

#[tokio::test]
async fn what_is_forged_runs_nothing_and_what_is_true_is_carried_over() {
    let mut bench = bench().await;
    connect(&bench).await;
    let event = bench.event_at_outlook(ANNA, "Besprechung in Outlook", at(9));
    let other = bench.event_at_google(BERND, "Besprechung in Google", at(10));
    agreed(&bench, "Besprechung in Outlook", "Besprechung in Google").await;
    let (outlook, google, token) = addresses(&bench).await;
    // Nothing of ours is written any more, so that nothing else comes in.
    bench.members[WORKER].kill_9();
    until_silent(&bench).await;

    let before = counted(&bench, "syncfleet_webhook_requests_total").await;
    let items = counted(&bench, "syncfleet_webhook_items_total").await;
    let waiting = bench.status().await["flows"][0]["ready"].clone();
    let mut expected = BTreeMap::new();
    for request in forged(&outlook, &google) {
        let Request { url, headers, body, status, outcome } = request;
        // The sender of what is too long may see the connection close before it has sent it all.
        let answer = bench.http.post(&url, &headers, body).await;
        let fits = answer.as_ref().map_or(status == 413, |answer| answer.status == status);
        assert!(fits, "{url} {headers:?}: {status} {answer:?}");
        assert!(answer.is_err() || !answer.unwrap().body.contains("<script"), "{url} {headers:?}");
        *expected.entry(outcome.to_owned()).or_insert(0) += 1;
    }
    // A handshake is answered as it is, and never as a page.
    let page = bench.shake_hands(&outlook, MARKUP).await;
    assert_eq!(page, (200, "text/plain".to_owned(), "nosniff".to_owned(), MARKUP.to_owned()));
    expected.insert("challenge".to_owned(), 1);
    assert_eq!(added(&before, &counted(&bench, "syncfleet_webhook_requests_total").await), expected);
    assert_eq!(counted(&bench, "syncfleet_webhook_items_total").await, items, "no message came of it");
    assert_eq!(bench.status().await["flows"][0]["ready"], waiting, "nor waits one");

    // News of a channel that was replaced are as true as any: a hint that costs one look.
    let replaced = from_google(&google, Some(&token), "exists", 200, "accepted");
    let answer = bench.http.post(&replaced.url, &replaced.headers, Vec::new()).await.unwrap();
    assert_eq!(answer.status, replaced.status);
    let taken = counted(&bench, "syncfleet_webhook_items_total").await;
    assert_eq!(added(&items, &taken), BTreeMap::from([("published".to_owned(), 1)]));

    // What is true arrives while the worker is away, and is carried over when it is back.
    bench.microsoft.edit_as_person(&event, &object(json!({ "subject": "Verlegt in Outlook" }))).unwrap();
    until_silent(&bench).await;
    let told = counted(&bench, "syncfleet_webhook_items_total").await;
    assert!(told["published"] > taken["published"], "{told:?}");
    bench.members[WORKER].start().unwrap();
    agreed(&bench, "Verlegt in Outlook", "Besprechung in Google").await;
    bench.google.edit_as_person(&other, &object(json!({ "summary": "Verlegt in Google" }))).unwrap();
    agreed(&bench, "Verlegt in Outlook", "Verlegt in Google").await;
    bench.drain().await;
    bench.assert_discreet();
    let log = bench.logs();
    assert!(!log.contains(MARKUP), "{log}");
    assert!(log.contains("A webhook was refused"), "{log}");
}

/// Waits until a provider was asked to watch.
async fn until_asked(counters: impl Fn() -> BTreeMap<String, u64>, endpoint: &str) {
    wait::until(endpoint, SOON, async || {
        let counters = counters();
        if counters.contains_key(endpoint) { Ok(()) } else { Err(counters) }
    })
    .await;
}

#[tokio::test]
async fn what_changes_between_the_first_reading_and_the_watch_is_not_missed() {
    let mut bench = bench().await;
    let slow = || FaultRule::new(FaultKind::Latency { latency_ms: 3_000 });
    bench.microsoft.fault(slow().on("POST", "/v1.0/subscriptions"));
    bench.google.fault(slow().on("POST", "*/events/watch"));
    connect(&bench).await;
    let outlook = async {
        until_asked(|| bench.microsoft.counters(), "POST /v1.0/subscriptions").await;
        bench.event_at_outlook(ANNA, "Besprechung in Outlook", at(9));
    };
    let google = async {
        until_asked(|| bench.google.counters(), "calendar.events.watch").await;
        bench.event_at_google(BERND, "Besprechung in Google", at(10));
    };
    tokio::join!(outlook, google);
    agreed(&bench, "Besprechung in Outlook", "Besprechung in Google").await;
    bench.drain().await;
}

/// Watches that Outlook was asked for.
fn asked(bench: &Bench) -> usize {
    let made = |entry: &&JournalEntry| entry.entity == "subscription" && entry.before.is_none();
    bench.microsoft.journal().iter().filter(made).count()
}

#[tokio::test]
async fn what_outlook_says_of_its_watch_is_heeded() {
    let mut bench = bench().await;
    bench.connect("microsoft", ANNA).await;
    let event = bench.event_at_outlook(ANNA, "Besprechung", at(9));
    let in_crm = async |subject: &str| {
        let expected = vec![(subject.to_owned(), at(9))];
        wait::until(subject, SOON, async || {
            let found = bench.in_crm();
            if found == expected { Ok(()) } else { Err(found) }
        })
        .await;
    };
    in_crm("Besprechung").await;
    wait::until("a watch", SOON, async || if asked(&bench) > 0 { Ok(()) } else { Err(0) }).await;
    let edit = |subject: &str| {
        bench.microsoft.edit_as_person(&event, &object(json!({ "subject": subject }))).unwrap();
    };
    let says = |what: &str| {
        bench.microsoft.control("POST", "subscriptions/lifecycle", &json!({ "event": what })).unwrap();
    };
    let loss = |share: f64| {
        bench.microsoft.configure(&object(json!({ "notification_loss": share }))).unwrap();
    };
    // Nothing but the calendar's own word tells of what was lost.
    loss(1.0);
    edit("Verlegt");
    until_silent(&bench).await;
    loss(0.0);
    says("missed");
    in_crm("Verlegt").await;

    let before = asked(&bench);
    says("subscriptionRemoved");
    wait::until("another watch", SOON, async || if asked(&bench) > before { Ok(()) } else { Err(before) })
        .await;
    edit("Noch einmal verlegt");
    in_crm("Noch einmal verlegt").await;

    let renewals = || {
        let counters = bench.microsoft.counters().into_iter();
        let patches = counters.filter(|(endpoint, _)| endpoint.starts_with("PATCH /v1.0/subscriptions/"));
        patches.map(|(_, count)| count).sum::<u64>()
    };
    // What else comes for the calendar at the same time covers it not.
    edit("Wieder verlegt");
    says("reauthorizationRequired");
    edit("Ein letztes Mal verlegt");
    wait::until("renewal", SOON, async || {
        let counters = bench.microsoft.counters();
        if renewals() > 0 { Ok(()) } else { Err(counters) }
    })
    .await;
    edit("Endlich verlegt");
    in_crm("Endlich verlegt").await;
    bench.drain().await;
}
