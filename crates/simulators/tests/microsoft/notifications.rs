//! Subscriptions and what they send: late, twice, never.

use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use simulators::MicrosoftOptions;
use simulators::microsoft::conforms;

use super::client::{ANNA, BERND, Client, World, code_of, event_path, meeting};

/// What listens for notifications.
#[derive(Clone, Default)]
struct Listener {
    got: Arc<Mutex<Vec<Value>>>,
    status: Arc<Mutex<u16>>,
    /// Answers the handshake with this instead of the token.
    echo: Arc<Mutex<Option<String>>>,
}

#[derive(serde::Deserialize)]
struct Handshake {
    #[serde(rename = "validationToken")]
    token: Option<String>,
}

async fn take(
    State(listener): State<Listener>,
    Query(query): Query<Handshake>,
    body: String,
) -> (StatusCode, String) {
    if let Some(token) = query.token {
        assert!(body.is_empty());
        let echo = listener.echo.lock().unwrap().clone();
        return (StatusCode::OK, echo.unwrap_or(token));
    }
    let status = *listener.status.lock().unwrap();
    if status == 202 {
        let body: Value = serde_json::from_str(&body).unwrap();
        conforms("changeNotificationCollection", &body).unwrap();
        listener.got.lock().unwrap().extend(body["value"].as_array().unwrap().clone());
    }
    (StatusCode::from_u16(status).unwrap(), String::new())
}

impl Listener {
    async fn start() -> (Self, String) {
        let listener = Self::default();
        *listener.status.lock().unwrap() = 202;
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/notify", socket.local_addr().unwrap());
        let router = axum::Router::new().fallback(take).with_state(listener.clone());
        tokio::spawn(async move { axum::serve(socket, router).await });
        (listener, url)
    }

    fn taken(&self) -> Vec<Value> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }

    fn kinds(&self) -> Vec<String> {
        self.taken().iter().map(|item| item["changeType"].as_str().unwrap().to_owned()).collect()
    }
}

fn subscription(url: &str) -> Value {
    json!({
        "changeType": "created,updated,deleted", "notificationUrl": url, "lifecycleNotificationUrl": url,
        "resource": "me/events", "expirationDateTime": "2026-03-08T08:00:00Z", "clientState": "secret",
    })
}

async fn subscribe(client: &Client, url: &str) -> Value {
    let got = client.send("POST", "/subscriptions", &subscription(url)).await;
    assert_eq!(got.status, 201, "{}", got.json());
    conforms("subscription", &got.json()).unwrap();
    got.json()
}

#[tokio::test]
async fn a_subscription_needs_an_address_that_answers_with_the_token() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let (listener, url) = Listener::start().await;
    let made = subscribe(&anna, &url).await;
    assert_eq!((&made["resource"], &made["clientState"]), (&json!("me/events"), &json!("secret")));
    let got = anna.send("POST", "/subscriptions", &subscription(&url)).await;
    assert_eq!((got.status, code_of(&got)), (409, "Conflict".to_owned()));
    let path = format!("/subscriptions/{}", made["id"].as_str().unwrap());
    let listed = anna.get("/subscriptions").await;
    conforms("subscriptionCollection", &listed).unwrap();
    assert_eq!(listed["value"][0]["id"], made["id"]);
    let bernd = world.client(BERND).await;
    assert_eq!(bernd.send("GET", &path, &Value::Null).await.status, 404, "it is its maker's");
    assert_eq!(anna.send("DELETE", &path, &Value::Null).await.status, 204);

    *listener.echo.lock().unwrap() = Some("<html>hello</html>".to_owned());
    assert_eq!(anna.send("POST", "/subscriptions", &subscription(&url)).await.status, 400);
    *listener.echo.lock().unwrap() = None;
    assert_eq!(anna.send("POST", "/subscriptions", &subscription("http://127.0.0.1:9/x")).await.status, 400);
    for (name, value) in [
        ("changeType", json!("moved")),
        ("expirationDateTime", json!("2026-03-10T08:00:00Z")),
        ("expirationDateTime", json!("2026-03-01T08:00:00Z")),
        ("clientState", json!("x".repeat(129))),
        ("notificationUrl", Value::Null),
    ] {
        let mut body = subscription(&url);
        body[name] = value;
        assert_eq!(anna.send("POST", "/subscriptions", &body).await.status, 400, "{name}");
    }
    let mut short = subscription(&url);
    short["expirationDateTime"] = json!("2026-03-02T08:05:00Z");
    let got = anna.send("POST", "/subscriptions", &short).await.json();
    assert_eq!(got["expirationDateTime"], "2026-03-02T08:45:00.0000000Z", "raised to 45 minutes");
}

#[tokio::test]
async fn changes_are_told_while_the_subscription_lives() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    let (listener, url) = Listener::start().await;
    let made = subscribe(&anna.preferring("IdType=\"ImmutableId\""), &url).await;
    let event = anna.create(&meeting("x", "2026-03-09", 9)).await;
    bernd.create(&meeting("y", "2026-03-09", 9)).await;
    anna.patch(&event, &json!({ "subject": "z" })).await;
    assert_eq!(world.microsoft.deliver_notifications().await, 1, "in one POST");
    let told = listener.taken();
    let kinds: Vec<&Value> = told.iter().map(|item| &item["changeType"]).collect();
    assert_eq!(kinds, ["created", "updated"]);
    let immutable = anna.preferring("IdType=\"ImmutableId\"").get(&event_path(&event)).await;
    assert_eq!(
        (&told[0]["resourceData"]["id"], &told[0]["clientState"]),
        (&immutable["id"], &json!("secret"))
    );
    assert_eq!(told[0]["subscriptionId"], made["id"]);

    let path = format!("/subscriptions/{}", made["id"].as_str().unwrap());
    let renewed =
        anna.send("PATCH", &path, &json!({ "expirationDateTime": "2026-03-09T07:00:00Z" })).await.json();
    assert_eq!(renewed["expirationDateTime"], "2026-03-09T07:00:00.0000000Z");
    world.pass(8 * 86_400);
    let anna = world.client(ANNA).await;
    anna.delete(&event).await;
    world.microsoft.deliver_notifications().await;
    assert!(listener.taken().is_empty(), "it has ended");
    let got = anna.send("PATCH", &path, &json!({ "expirationDateTime": "2026-03-12T07:00:00Z" })).await;
    assert_eq!(got.status, 404);
    world.assert_inside_description();
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_for_four_hours() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let (listener, url) = Listener::start().await;
    subscribe(&anna, &url).await;
    *listener.status.lock().unwrap() = 503;
    anna.create(&meeting("x", "2026-03-09", 9)).await;
    assert_eq!(world.microsoft.deliver_notifications().await, 1);
    assert_eq!(world.microsoft.deliver_notifications().await, 0, "not at once");
    world.pass(11);
    *listener.status.lock().unwrap() = 202;
    world.microsoft.deliver_notifications().await;
    assert_eq!(listener.kinds(), ["created"]);
    *listener.status.lock().unwrap() = 503;
    anna.create(&meeting("y", "2026-03-09", 9)).await;
    for _ in 0..200 {
        world.microsoft.deliver_notifications().await;
        world.pass(120);
    }
    assert_eq!(world.control("GET", "notifications", Value::Null), json!({ "waiting": 0 }), "lost");
    *listener.status.lock().unwrap() = 202;
    world.microsoft.deliver_notifications().await;
    assert!(listener.taken().is_empty());
}

#[tokio::test]
async fn notifications_come_late_twice_or_never_as_the_seed_has_it() {
    let told = async |seed: u64| {
        let options = MicrosoftOptions {
            seed,
            notification_loss: 0.3,
            notification_duplicates: 0.3,
            notification_delay_seconds_max: 60,
            ..MicrosoftOptions::default()
        };
        let world = World::start(options).await;
        let anna = world.client(ANNA).await;
        let (listener, url) = Listener::start().await;
        subscribe(&anna, &url).await;
        for n in 0..20 {
            anna.create(&meeting(&format!("e{n}"), "2026-03-09", 9)).await;
        }
        world.microsoft.deliver_notifications().await;
        let at_once = listener.taken().len();
        world.pass(61);
        while world.microsoft.deliver_notifications().await > 0 {}
        let late = listener.taken();
        assert_eq!(world.control("GET", "notifications", Value::Null), json!({ "waiting": 0 }));
        let distinct: std::collections::BTreeSet<String> =
            late.iter().map(|item| item["resourceData"]["id"].to_string()).collect();
        (at_once, late.len(), distinct.len())
    };
    let (at_once, late, distinct) = told(5).await;
    assert!(at_once < 6 && distinct < 20 && late > distinct, "{at_once} {late} {distinct}");
}

#[tokio::test]
async fn lifecycle_events_pause_end_and_warn() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let (listener, url) = Listener::start().await;
    let made = subscribe(&anna, &url).await;
    let path = format!("/subscriptions/{}", made["id"].as_str().unwrap());
    let lifecycle = |event: &str| world.control("POST", "subscriptions/lifecycle", json!({ "event": event }));
    assert_eq!(lifecycle("reauthorizationRequired"), json!({ "subscriptions": 1 }));
    anna.create(&meeting("x", "2026-03-09", 9)).await;
    world.microsoft.deliver_notifications().await;
    let told = listener.taken();
    assert_eq!(
        (told.len(), &told[0]["lifecycleEvent"]),
        (1, &json!("reauthorizationRequired")),
        "the others wait"
    );
    assert_eq!(anna.send("POST", &format!("{path}/reauthorize"), &Value::Null).await.status, 204);
    world.microsoft.deliver_notifications().await;
    assert_eq!(listener.kinds(), ["created"]);
    lifecycle("missed");
    world.microsoft.deliver_notifications().await;
    assert_eq!(listener.taken()[0]["lifecycleEvent"], "missed");
    lifecycle("subscriptionRemoved");
    world.microsoft.deliver_notifications().await;
    let told = listener.taken();
    assert_eq!(
        (&told[0]["lifecycleEvent"], &told[0]["clientState"]),
        (&json!("subscriptionRemoved"), &json!("secret"))
    );
    assert_eq!(anna.get("/subscriptions").await["value"], json!([]));
}
