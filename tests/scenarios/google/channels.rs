//! Watch channels, and what they tell.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::Request as Incoming;
use connector_google::notification::{self, Notification, State};
use flows::calendar::client::{Watch, WatchWanted};
use serde_json::json;
use simulators::google::PushOptions;

use super::*;

type Heard = Arc<Mutex<Vec<BTreeMap<String, String>>>>;

/// A listener that keeps the headers of what it hears.
async fn listener() -> (String, Heard) {
    let heard = Heard::default();
    let keep = Arc::clone(&heard);
    let router = Router::new().fallback(move |request: Incoming| {
        let headers = request.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        keep.lock().unwrap().push(headers);
        async {}
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hooks/google", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, heard)
}

fn take(heard: &Heard, watch: &Watch, secret: &SecretString) -> Vec<Notification> {
    let all = std::mem::take(&mut *heard.lock().unwrap());
    let read = |headers: &BTreeMap<String, String>| {
        let header = |name: &str| headers.get(name).map(String::as_str);
        let read = notification::read(header).unwrap();
        let token = header("x-goog-channel-token");
        notification::verify(&read, token, secret, watch.resource_id.as_deref()).unwrap();
        assert!(notification::verify(&read, Some("forged"), secret, None).is_err());
        assert_eq!(read.channel_id, watch.id);
        read
    };
    all.iter().map(read).collect()
}

#[tokio::test]
async fn a_channel_tells_of_changes_until_it_is_ended() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let (address, heard) = listener().await;
    let secret = SecretString::from("c2VjcmV0LTI1Ni1iaXQ");
    let wanted = WatchWanted {
        id: "01234567-89ab-cdef-0123456789ab".to_owned(),
        address,
        lifecycle_address: String::new(),
        secret: secret.clone(),
        until: "2026-04-01T00:00:00Z".parse().unwrap(),
    };
    let watch = client.watch(&wanted).await.unwrap();
    assert_eq!(
        (watch.id.as_str(), watch.until.to_string().as_str()),
        (wanted.id.as_str(), "2026-03-08T12:00:00Z"),
        "a week, as Google has it"
    );
    world.google.deliver_notifications().await;
    assert_eq!(
        take(&heard, &watch, &secret).iter().map(|one| (one.state, one.number)).collect::<Vec<_>>(),
        [(State::Made, 1)]
    );
    let id = world.person_adds(ANNA, hour("A", 2));
    world.google.deliver_notifications().await;
    let told = take(&heard, &watch, &secret);
    assert!(matches!(told.as_slice(), [one] if one.state == State::Changed && one.number > 1), "{told:?}");

    assert_eq!(client.renew(&watch, wanted.until).await.unwrap(), None, "it has to be asked for anew");
    let taken = client.watch(&wanted).await.unwrap_err();
    assert!(taken.text.contains("channelIdNotUnique"), "{taken:?}");
    let next = WatchWanted { id: "fedcba98-7654-3210-fedc-ba9876543210".to_owned(), ..wanted.clone() };
    let next = client.watch(&next).await.unwrap();
    for _ in 0..2 {
        client.unwatch(&watch).await.unwrap();
    }
    world.google.deliver_notifications().await;
    heard.lock().unwrap().clear();
    world.person_edits(&id, json!({"summary": "B"}));
    world.google.deliver_notifications().await;
    assert_eq!(take(&heard, &next, &secret).len(), 1, "only the new one tells");
    assert!(client.unwatch(&Watch { resource_id: None, ..watch }).await.is_err());
    world.check();
}

#[tokio::test]
async fn notifications_that_are_lost_or_doubled_are_read_as_what_they_are() {
    let push = PushOptions { doubled_probability: 1.0, ..PushOptions::default() };
    let world = World::new(GoogleOptions { push, ..options() }).await;
    let client = world.open(ANNA);
    let (address, heard) = listener().await;
    let secret = SecretString::from("s");
    let wanted = WatchWanted {
        id: "c1".to_owned(),
        address,
        lifecycle_address: String::new(),
        secret: secret.clone(),
        until: "2026-03-02T00:00:00Z".parse().unwrap(),
    };
    let watch = client.watch(&wanted).await.unwrap();
    assert_eq!(watch.until, wanted.until);
    while world.google.deliver_notifications().await > 0 {}
    let told = take(&heard, &watch, &secret);
    assert!(told.len() == 2 && told[0] == told[1], "{told:?}");
    world.set(json!({"push": {"lost_probability": 1.0}}));
    world.person_adds(ANNA, hour("A", 2));
    while world.google.deliver_notifications().await > 0 {}
    assert!(heard.lock().unwrap().is_empty());
    world.check();
}
