//! Refused tokens, throttling, and what goes wrong on the way.

use std::sync::atomic::Ordering;

use serde_json::json;
use simulators::{FaultKind, FaultRule};
use system_tests::wait;

use super::world::{ANNA, World, meeting};
use crate::SOON;

const EVENT: &str = "GET /v1.0/me/events/{event-id}";
/// All of it, and nothing of the identity platform.
const GRAPH: &str = "/v1.0/*";

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let world = World::new().await;
    let id = world.seed(meeting("x", "2026-03-05", 9));
    world.get(&id).await;
    assert_eq!(world.tokens.refused.load(Ordering::SeqCst), 0);
    world.control("identity/expire-access", json!({}));
    world.get(&id).await;
    assert_eq!(world.tokens.refused.load(Ordering::SeqCst), 1);
    // The next one has to prove more.
    world.control("mailboxes/challenge", json!({ "mailbox": ANNA }));
    world.get(&id).await;
    assert_eq!(world.tokens.refused.load(Ordering::SeqCst), 2);
    // A second refusal is no matter of tokens any more, and the account pauses.
    world.microsoft.fault(FaultRule::new(FaultKind::Unauthorized).on("GET", GRAPH).times(2));
    let fault = world.calendar.get(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("unauthorized", "unauthorized"));
    let before = world.count(EVENT);
    let fault = world.calendar.get(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("paused", "account_paused"));
    assert_eq!(world.count(EVENT), before);
    world.check();
}

#[tokio::test]
async fn a_throttled_mailbox_is_left_alone_for_as_long_as_it_says() {
    let world = World::new().await;
    let id = world.seed(meeting("x", "2026-03-05", 9));
    for retry_after in ["1.128", "1"] {
        let rule = FaultRule::new(FaultKind::Throttled { retry_after: retry_after.to_owned() });
        world.microsoft.fault(rule.on("GET", GRAPH).times(1));
        let fault = world.calendar.get(&id).await.unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("throttled", "throttled"), "{fault}");
        let before = world.count(EVENT);
        let fault = world.calendar.get(&id).await.unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("throttled", "account_paused"), "{fault}");
        assert_eq!(world.count(EVENT), before, "nothing is asked meanwhile");
        wait::until("the pause is over", SOON, async || {
            world.calendar.get(&id).await.map(|_| ()).map_err(|fault| fault.code)
        })
        .await;
    }
    world.check();
}

#[tokio::test]
async fn a_mailbox_that_is_not_there_says_why() {
    let world = World::new().await;
    let id = world.seed(meeting("x", "2026-03-05", 9));
    for (problem, code) in
        [("access_denied", "forbidden"), ("not_enabled", "no_mailbox"), ("none_there", "no_mailbox")]
    {
        world.control("mailboxes/problem", json!({ "mailbox": ANNA, "problem": problem }));
        let fault = world.calendar.get(&id).await.unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("permanent", code), "{fault}");
    }
    world.control("mailboxes/problem", json!({ "mailbox": ANNA, "problem": null }));
    world.get(&id).await;
    // A page of a relay is no event, and no news of one.
    world.microsoft.fault(FaultRule::new(FaultKind::HtmlPage).on("GET", GRAPH).times(1));
    let fault = world.calendar.get(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_unreadable"));
    world.microsoft.fault(FaultRule::new(FaultKind::Status { status: 404 }).on("GET", GRAPH).times(1));
    let fault = world.calendar.get(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "not_found"));
    world.check();
}
