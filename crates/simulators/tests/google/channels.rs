//! Watch channels and their notifications.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulators::google::GoogleSimulator;

use super::{
    ANNA, BERND, Client, EVENTS, assert_shape, configure, example, later, meeting, options, reason, start,
};
use crate::replay::object;

const WATCH: &str = "/calendar/v3/calendars/primary/events/watch";
const STOP: &str = "/calendar/v3/channels/stop";

#[derive(Clone, Default)]
struct Receiver {
    hits: Arc<Mutex<Vec<HeaderMap>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        receiver.answers(200);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/google", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    /// State and number of each notification.
    fn told(&self) -> Vec<(String, u64)> {
        let hits = self.hits.lock().unwrap();
        let text = |hit: &HeaderMap, name: &str| hit[name].to_str().unwrap().to_owned();
        hits.iter()
            .map(|hit| {
                (text(hit, "x-goog-resource-state"), text(hit, "x-goog-message-number").parse().unwrap())
            })
            .collect()
    }

    fn states(&self) -> Vec<String> {
        self.told().into_iter().map(|(state, _)| state).collect()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert!(body.is_empty());
    receiver.hits.lock().unwrap().push(headers);
    StatusCode::from_u16(*receiver.status.lock().unwrap()).unwrap()
}

fn channel(id: &str, url: &str) -> Value {
    json!({ "id": id, "type": "web_hook", "address": url, "token": "c2VjcmV0LTI1Ni1iaXQ" })
}

fn edit(google: &GoogleSimulator) {
    google.create_as_person(&object(meeting("A", 9, 10))).unwrap();
}

#[tokio::test]
async fn a_channel_says_sync_and_then_that_something_exists() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let (receiver, url) = Receiver::start().await;
    let made = anna.done("POST", WATCH, &channel("channel-1", &url)).await;
    assert_shape("watch.response.json", &made);
    let seven_days = "2026-03-08T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(made["expiration"], seven_days.to_string());
    edit(&google);
    edit(&google);
    assert_eq!(google.deliver_notifications().await, 2);
    let told = receiver.told();
    assert_eq!(receiver.states(), ["sync", "exists"], "the second change waits behind the same message");
    assert_eq!(told[0].1, 1);
    assert!((2..=4).contains(&told[1].1));
    let hit = receiver.hits.lock().unwrap()[1].clone();
    for line in std::fs::read_to_string(
        std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/google/push-exists.request.http"),
    )
    .unwrap()
    .lines()
    .filter(|line| line.starts_with("X-Goog-"))
    {
        let name = line.split(':').next().unwrap().to_lowercase();
        assert!(hit.contains_key(&name), "{name}");
    }
    assert_eq!(hit["x-goog-channel-id"], "channel-1");
    assert_eq!(hit["x-goog-channel-token"], "c2VjcmV0LTI1Ni1iaXQ");
    assert_eq!(hit["x-goog-resource-id"], made["resourceId"].as_str().unwrap());
    assert_eq!(hit["x-goog-channel-expiration"], "Sun, 08 Mar 2026 12:00:00 GMT");
    assert_eq!(hit["content-length"], "0");
    // A client's own writes are told as well, those in other calendars are not.
    anna.insert(&meeting("B", 9, 10)).await;
    Client::new(&google, BERND).insert(&meeting("C", 9, 10)).await;
    assert_eq!(google.deliver_notifications().await, 1);
    assert!(receiver.told()[2].1 > told[1].1, "numbers rise");
}

#[tokio::test]
async fn channels_are_stopped_or_end() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let (receiver, url) = Receiver::start().await;
    let first = anna.done("POST", WATCH, &channel("channel-1", &url)).await;
    let again = anna.send("POST", WATCH, &channel("channel-1", &url)).await;
    assert_eq!((again.status, reason(&again).as_str()), (400, "channelIdNotUnique"));
    let mut second = channel("channel-2", &url);
    let in_an_hour = "2026-03-01T13:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    second["expiration"] = json!(in_an_hour.to_string());
    let second = anna.done("POST", WATCH, &second).await;
    assert_eq!(second["expiration"], in_an_hour.to_string());
    assert_eq!(second["resourceId"], first["resourceId"]);
    assert_eq!(google.deliver_notifications().await, 2);
    edit(&google);
    assert_eq!(google.deliver_notifications().await, 2, "both fire");

    let stop = |id: &str| json!({ "id": id, "resourceId": first["resourceId"] });
    let wrong = json!({ "id": "channel-1", "resourceId": "other" });
    assert_eq!(anna.send("POST", STOP, &wrong).await.status, 404);
    let bernd = Client::new(&google, BERND);
    assert_eq!(bernd.send("POST", STOP, &stop("channel-1")).await.status, 404, "not his");
    edit(&google);
    assert_eq!(anna.send("POST", STOP, &stop("channel-1")).await.status, 204);
    assert_eq!(anna.send("POST", STOP, &stop("channel-1")).await.status, 404);
    assert_eq!(google.deliver_notifications().await, 2, "what was on its way still comes");
    edit(&google);
    assert_eq!(google.deliver_notifications().await, 1);
    edit(&google);
    later(&google, 1);
    assert_eq!(google.deliver_notifications().await, 0, "the other one has ended");
    assert_eq!(receiver.states().iter().filter(|state| *state == "sync").count(), 2);
}

#[tokio::test]
async fn what_is_no_channel_is_refused() {
    let mut strict = options();
    strict.plain_http_channels = false;
    let google = GoogleSimulator::start(strict).await.unwrap();
    let anna = Client::new(&google, ANNA);
    let good = example("watch.request.json");
    for (name, value, expected) in [
        ("id", json!("ä"), "invalid"),
        ("id", json!("a".repeat(65)), "invalid"),
        ("id", Value::Null, "required"),
        ("type", json!("mail"), "invalid"),
        ("address", json!("http://sync.example/hooks"), "push.webhookUrlNotHttps"),
        ("address", Value::Null, "required"),
        ("token", json!("a".repeat(257)), "invalid"),
        ("expiration", json!("1426325213000"), "badRequest"),
    ] {
        let mut body = good.clone();
        body["expiration"] = Value::Null;
        body[name] = value;
        let got = anna.send("POST", WATCH, &body).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, expected), "{body}");
    }
    let mut body = good;
    body["expiration"] = Value::Null;
    body["params"] = json!({ "ttl": "3600" });
    let made = anna.done("POST", WATCH, &body).await;
    let in_an_hour = "2026-03-01T13:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(made["expiration"], in_an_hour.to_string());
    let path = "/calendar/v3/calendars/nobody%40else.example/events/watch";
    assert_eq!(anna.send("POST", path, &channel("channel-3", "https://sync.example/")).await.status, 404);
    assert_eq!(google.outside_description(), []);
}

#[tokio::test]
async fn a_receiver_that_is_down_is_asked_again_and_one_that_refuses_is_not() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let (receiver, url) = Receiver::start().await;
    anna.done("POST", WATCH, &channel("channel-1", &url)).await;
    google.deliver_notifications().await;
    for (status, tries) in [(503, 6), (500, 6), (404, 1), (400, 1), (204, 1), (202, 1)] {
        receiver.hits.lock().unwrap().clear();
        receiver.answers(status);
        edit(&google);
        for second in 0..200 {
            google.set_clock_offset(SignedDuration::from_secs(second));
            google.deliver_notifications().await;
        }
        google.set_clock_offset(SignedDuration::ZERO);
        assert_eq!(receiver.hits.lock().unwrap().len(), tries, "{status}");
    }
}

#[tokio::test]
async fn notifications_come_late_twice_or_never_by_the_seed() {
    let run = async |seed: u64| {
        let google = start().await;
        configure(
            &google,
            json!({ "push": { "late_seconds_max": 30, "lost_probability": 0.2, "doubled_probability": 0.2, "seed": seed } }),
        );
        let anna = Client::new(&google, ANNA);
        let (receiver, url) = Receiver::start().await;
        anna.done("POST", WATCH, &channel("channel-1", &url)).await;
        let mut arrived = Vec::new();
        for round in 0..40 {
            google.set_clock_offset(SignedDuration::from_secs(round * 31));
            edit(&google);
            let at_once = google.deliver_notifications().await;
            google.set_clock_offset(SignedDuration::from_secs(round * 31 + 30));
            arrived.push((at_once, google.deliver_notifications().await));
        }
        assert!(receiver.states().iter().all(|state| state == "exists" || state == "sync"));
        arrived
    };
    let arrived = run(7).await;
    assert_eq!(arrived, run(7).await);
    assert_ne!(arrived, run(8).await);
    assert!(arrived.iter().any(|(at_once, late)| at_once + late == 0), "some are lost: {arrived:?}");
    assert!(arrived.iter().any(|(at_once, late)| at_once + late == 2), "some are doubled: {arrived:?}");
    assert!(arrived.iter().any(|(_, late)| *late > 0), "some are late: {arrived:?}");
    let google = start().await;
    assert!(google.configure(&object(json!({ "push": { "late": 1 } }))).is_err());
    assert_eq!(Client::new(&google, ANNA).get(EVENTS).await.status, 200);
}
