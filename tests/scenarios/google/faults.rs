//! Tokens that end, requests that are too many, calendars that are not shared any more.

use std::time::Duration;

use flows::calendar::client::PageAnswer;
use flows::calendar::cursor::Request;
use flows::calendar::event::Window;
use serde_json::json;
use shared::fault::FaultKind;
use simulators::google::{AccessRole, GoogleCalendar};

use super::*;

fn window() -> Window {
    Window { from: "2026-03-01T00:00:00Z".parse().unwrap(), to: "2026-06-01T00:00:00Z".parse().unwrap() }
}

#[tokio::test]
async fn a_token_may_end_before_any_request() {
    let world = World::new(options()).await;
    let tokens = Tokens::new(&world.google, ANNA);
    let client = world.open_with(ANNA, Arc::clone(&tokens), None);
    let end = || world.set(json!({"end_access_tokens": true}));
    let mut ended = 0;
    let mut refused = |what: &str| {
        ended += 1;
        assert_eq!(tokens.refusals(), ended, "{what}");
    };
    end();
    assert_eq!(client.owner().await.unwrap().mail, ANNA);
    refused("owner");
    end();
    let side = create(&*client, "m1", &meeting("A", 2)).await;
    refused("create");
    end();
    assert!(matches!(client.page(&Request::Full(window()), 10).await.unwrap(), PageAnswer::Page(_)));
    refused("page");
    end();
    assert_eq!(read(&*client, &side.id).await, side);
    refused("get");
    end();
    assert_eq!(client.find(&record("m1")).await.unwrap().len(), 1);
    refused("find");
    end();
    let side = done(client.stamp(&side.id, &record("m2")).await.unwrap());
    refused("stamp");
    end();
    assert_eq!(client.delete(&side.id, &side.revision).await.unwrap(), Written::Done(()));
    refused("delete");
    world.check();
}

#[tokio::test]
async fn an_account_that_is_refused_for_good_is_asked_no_more() {
    let world = World::new(options()).await;
    let tokens = Tokens::new(&world.google, ANNA);
    let client = world.open_with(ANNA, Arc::clone(&tokens), None);
    client.owner().await.unwrap();
    world.google.fault(simulators::FaultRule::new(simulators::FaultKind::Unauthorized));
    let refused = client.get("e1").await.unwrap_err();
    assert_eq!((refused.kind, tokens.refusals()), (FaultKind::Unauthorized, 1));
    assert_eq!(client.get("e1").await.unwrap_err().code, "account_paused");
    assert_eq!(tokens.refusals(), 1);
    world.check();
}

#[tokio::test]
async fn an_account_waits_as_told_and_others_do_not() {
    for (status, reason) in
        [(403, "rateLimitExceeded"), (403, "userRateLimitExceeded"), (429, "rateLimitExceeded")]
    {
        let world = World::new(options()).await;
        let (anna, bernd) = (world.open(ANNA), world.open(BERND));
        let error = json!({"operation": "calendar.events.get", "status": status, "reason": reason, "retry_after": "3600", "times": 1});
        anna.owner().await.unwrap();
        world.set(json!({"errors": [error]}));
        let fault = anna.get("e1").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Throttled { after: Duration::from_secs(3_600) }, "{fault:?}");
        let paused = world.open(ANNA).get("e1").await.unwrap_err();
        assert_eq!(paused.code, "account_paused", "also what is opened anew");
        assert!(matches!(paused.kind, FaultKind::Throttled { .. }));
        assert_eq!(bernd.get("e1").await.unwrap(), None);
        assert_eq!(world.calls("calendar.events.get"), 2);
        world.check();
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_and_one_that_says_nothing_have_waits_of_their_own() {
    for (reason, least, most) in [("quotaExceeded", 3_600, 3_600), ("userRateLimitExceeded", 0, 1)] {
        let world = World::new(options()).await;
        let client = world.open(ANNA);
        client.owner().await.unwrap();
        world.set(json!({"errors": [{"status": 403, "reason": reason, "times": 1}]}));
        let fault = client.get("e1").await.unwrap_err();
        let FaultKind::Throttled { after } = fault.kind else { panic!("{fault:?}") };
        assert!((least..=most).contains(&after.as_secs()), "{reason}: {after:?}");
        world.check();
    }
}

#[tokio::test]
async fn quotas_of_the_simulated_minute_are_kept_to_without_a_lost_request() {
    let world = World::new(GoogleOptions { requests_per_minute_per_user: Some(3), ..options() }).await;
    world.set(json!({"quota_retry_after": 0}));
    let client = world.open(ANNA);
    let mut answered = 0;
    let mut throttled = 0;
    for minute in 0..4 {
        // Google's minute passes, not ours.
        world.google.set_clock_offset(jiff::SignedDuration::from_mins(2 * minute));
        while client.get("e1").await.map(|_| answered += 1).is_ok() {}
        throttled += 1;
    }
    // One of the first three said whose calendar it is.
    assert_eq!((answered, throttled), (3 * 4 - 1, 4));
    world.check();
}

#[tokio::test]
async fn a_calendar_that_is_not_shared_any_more_deletes_nothing() {
    let team = "team@group.calendar.google.com";
    let calendar = GoogleCalendar {
        id: team.to_owned(),
        summary: "Team".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        owner: BERND.to_owned(),
        shared_with: vec![(ANNA.to_owned(), AccessRole::Writer)],
    };
    let world = World::new(GoogleOptions { calendars: vec![calendar], ..options() }).await;
    let client = world.open_with(ANNA, Tokens::new(&world.google, ANNA), Some(team));
    assert_eq!(client.owner().await.unwrap().mail, ANNA, "whoever's calendar it is");
    let side = create(&*client, "m1", &meeting("A", 2)).await;
    assert!(side.is_organizer);
    assert_eq!(client.get("neverwas").await.unwrap(), None, "the calendar is there");
    world.set(json!({"calendar_access": {"calendar": team, "user": ANNA, "role": null}}));
    let update = flows::calendar::client::EventUpdate {
        id: &side.id,
        expected: &side.revision,
        target: &side.event,
        fields: &[flows::calendar::event::Field::Subject],
        guests: Guests::Written,
    };
    let faults = [
        client.get(&side.id).await.unwrap_err(),
        client.page(&Request::Full(window()), 10).await.unwrap_err(),
        client.page(&Request::Changes("x".to_owned()), 10).await.unwrap_err(),
        client.instances(&side.id, &window()).await.unwrap_err(),
        client.find(&record("m1")).await.unwrap_err(),
        client.create(&token("m2"), &meeting("B", 3), Guests::Written).await.unwrap_err(),
        client.update(&update).await.unwrap_err(),
        client.stamp(&side.id, &record("m1")).await.unwrap_err(),
        client.delete(&side.id, &side.revision).await.unwrap_err(),
    ];
    for fault in faults {
        assert_eq!((fault.code, fault.kind), ("calendar_gone", FaultKind::Permanent), "{fault:?}");
    }
    world.check();
}

#[tokio::test]
async fn whoever_unticked_a_scope_is_told_which_way_to_go() {
    let world = World::new(options()).await;
    let tokens = Tokens::new(&world.google, ANNA);
    *tokens.present.lock().unwrap() =
        world.google.connect_as_person(ANNA, &SCOPES[..1]).unwrap().access_token;
    let fault = world.open_with(ANNA, tokens, None).owner().await.unwrap_err();
    assert_eq!(fault.code, "scope_missing");
    assert!(fault.text.contains("Connect the account again"), "{}", fault.text);
    world.check();
}
