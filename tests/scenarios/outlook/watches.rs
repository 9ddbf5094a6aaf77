//! Subscriptions: the handshake, what is told, and how they end.

use std::sync::{Arc, Mutex};

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use connector_msgraph::{
    Change, Lifecycle, Notification, NotificationKind, read_notifications, read_validation,
};
use flows::calendar::client::WatchWanted;
use jiff::ToSpan as _;
use secrecy::SecretString;
use serde_json::json;

use super::world::{ANNA, World, meeting, now};

type Got = Arc<Mutex<Vec<Notification>>>;

/// What our listener does.
async fn take(State(got): State<Got>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    if let Some(validation) = read_validation(query.as_deref().unwrap_or_default()) {
        return ([(header::CONTENT_TYPE, validation.content_type)], validation.body).into_response();
    }
    let all = read_notifications(&body).unwrap();
    assert_eq!(all.unreadable, 0);
    got.lock().unwrap().extend(all.items);
    StatusCode::ACCEPTED.into_response()
}

async fn listener() -> (Got, String) {
    let got = Got::default();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notify", socket.local_addr().unwrap());
    let router = axum::Router::new().fallback(take).with_state(Arc::clone(&got));
    tokio::spawn(async move { axum::serve(socket, router).await });
    (got, url)
}

#[tokio::test]
async fn changes_are_told_with_our_secret_and_a_lost_subscription_is_made_anew() {
    let world = World::new().await;
    let (got, url) = listener().await;
    let secret = SecretString::from("a secret of ours");
    let wanted = |address: &str| WatchWanted {
        id: "unused".to_owned(),
        address: address.to_owned(),
        lifecycle_address: url.clone(),
        secret: secret.clone(),
        until: now().checked_add(720.hours()).unwrap(),
    };
    // Nobody answers there.
    let fault = world.calendar.watch(&wanted("http://127.0.0.1:9/notify")).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("permanent", "request_refused"));
    let watch = world.calendar.watch(&wanted(&url)).await.unwrap();
    assert!(watch.until > now() + 160.hours() && watch.until < now() + 168.hours(), "{watch:?}");
    // One that was forgotten makes room.
    let watch = {
        let anew = world.calendar.watch(&wanted(&url)).await.unwrap();
        assert_ne!(anew.id, watch.id);
        anew
    };

    let id = world.microsoft.create_as_person(meeting("x", "2026-03-05", 9).as_object().unwrap()).unwrap();
    world.microsoft.deliver_notifications().await;
    let told = std::mem::take(&mut *got.lock().unwrap());
    let created = NotificationKind::Change { change: Change::Created, event_id: Some(id.clone()) };
    assert!(told.iter().any(|item| item.kind == created), "{told:?}");
    assert!(told.iter().all(|item| item.subscription_id == watch.id && item.is_from(&secret)));
    assert!(!told.iter().any(|item| item.is_from(&SecretString::from("another secret"))));

    let renewed =
        world.calendar.renew(&watch, now().checked_add(24.hours()).unwrap()).await.unwrap().unwrap();
    assert_eq!((renewed.id.as_str(), renewed.until), (watch.id.as_str(), now() + 24.hours()));

    for (event, expected) in [
        ("reauthorizationRequired", Lifecycle::ReauthorizationRequired),
        ("missed", Lifecycle::Missed),
        ("subscriptionRemoved", Lifecycle::SubscriptionRemoved),
    ] {
        world.control("subscriptions/lifecycle", json!({ "event": event, "mailbox": ANNA }));
        world.microsoft.deliver_notifications().await;
        let told = std::mem::take(&mut *got.lock().unwrap());
        assert_eq!(told[0].kind, NotificationKind::Lifecycle(expected));
        assert!(told[0].is_from(&secret));
        if expected == Lifecycle::ReauthorizationRequired {
            assert!(world.calendar.renew(&watch, renewed.until).await.unwrap().is_some());
        }
    }
    assert_eq!(world.calendar.renew(&watch, renewed.until).await.unwrap(), None, "it has to be made anew");
    assert!(!world.graph().reauthorize(&watch.id).await.unwrap());
    let watch = world.calendar.watch(&wanted(&url)).await.unwrap();
    // A new authorisation without a renewal, and the daily comparison.
    world.control("subscriptions/lifecycle", json!({ "event": "reauthorizationRequired", "mailbox": ANNA }));
    assert!(world.graph().reauthorize(&watch.id).await.unwrap());
    let listed = world.graph().subscriptions().await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&watch.id]);
    world.edit(&id, json!({ "subject": "edited" }));
    world.microsoft.deliver_notifications().await;
    let told = std::mem::take(&mut *got.lock().unwrap());
    let updated = NotificationKind::Change { change: Change::Updated, event_id: Some(id) };
    assert!(told.iter().any(|item| item.kind == updated && item.is_from(&secret)), "{told:?}");
    for _ in 0..2 {
        world.calendar.unwatch(&watch).await.unwrap();
    }
    world.check();
}
