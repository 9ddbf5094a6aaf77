//! What comes in from outside, at the real producer.

use serde_json::json;
use system_tests::fleet::Webhook;
use system_tests::http::Answer;
use system_tests::{Backing, Fleet, Plan};

use crate::{SOON, created, person};

async fn small_fleet() -> Fleet {
    let plan = Plan::new(Backing::Embedded, 1, 1);
    let mut fleet = Fleet::new(plan).await.unwrap();
    fleet.start_ready().await.unwrap();
    fleet
}

#[tokio::test]
async fn only_a_sound_webhook_is_taken_and_one_bad_item_harms_no_other() {
    let mut fleet = small_fleet().await;
    let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/update")).unwrap().clone();
    let deliver = async |hook: &Webhook, body: &str| fleet.http.deliver(hook, body).await.unwrap();
    let check = |answer: Answer, status: u16, says: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(says), "{answer:?}");
    };
    let forged = Webhook { secret: "0123456789abcdef0123456789abcdef".to_owned(), ..hook.clone() };
    check(deliver(&forged, "[]").await, 401, "the signature does not fit the body");
    let unknown = Webhook { id: "6b00000000000dead".to_owned(), ..hook.clone() };
    check(deliver(&unknown, "[]").await, 401, "the webhook is unknown here");
    check(fleet.http.post(&hook.url, &[], b"[]".to_vec()).await.unwrap(), 401, "no Signature header");
    check(deliver(&hook, r#"{"id":"6b00000000000beef"}"#).await, 400, "no JSON array");
    check(deliver(&hook, "not JSON").await, 400, "no JSON array");
    let elsewhere = Webhook { url: hook.url.replace("/update", "/merge"), ..hook.clone() };
    check(deliver(&elsewhere, "[]").await, 404, "no webhook \"merge\"");

    // The sender may see the connection close before it has sent it all; the program goes on in any case.
    let huge = fleet.http.deliver(&hook, vec![b' '; 5_000_000]).await;
    assert!(huge.as_ref().map_or(true, |answer| answer.status == 413), "{huge:?}");

    let id = fleet.crm.seed(person("Zacharias", "clean")).unwrap();
    let body =
        json!([{ "lastName": "no id" }, 7, { "id": "../../etc" }, { "id": id, "lastName": "Zacharias" }]);
    check(deliver(&hook, &body.to_string()).await, 200, "");
    created(&fleet, &id).await;

    let producer = fleet.members.first_mut().unwrap();
    for why in ["an item without id", "an item that is no object"] {
        producer.process().unwrap().wait_for_log(why, SOON).await.unwrap();
    }
    producer.process().unwrap().wait_for_log("the signature does not fit the body", SOON).await.unwrap();
    let producer = &fleet.members[0];
    assert_eq!(fleet.metric(producer, "syncfleet_webhook_items_total").await.unwrap(), 4.0);
    fleet.drain().await.unwrap();
    assert_eq!(fleet.leaks(), Vec::<String>::new());
}
