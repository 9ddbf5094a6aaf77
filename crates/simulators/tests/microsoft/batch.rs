//! `$batch`.

use serde_json::{Value, json};
use simulators::MicrosoftOptions;

use super::client::{ANNA, World, encoded, event_path, meeting};

fn status_of(answer: &Value, id: &str) -> u64 {
    let all = answer["responses"].as_array().unwrap();
    all.iter().find(|one| one["id"] == id).unwrap()["status"].as_u64().unwrap()
}

#[tokio::test]
async fn each_item_is_answered_for_itself() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let one = anna.create(&meeting("a", "2026-03-09", 9)).await;
    let two = anna.create(&meeting("b", "2026-03-09", 10)).await;
    let kind = json!({ "Content-Type": "application/json", "Prefer": "IdType=\"ImmutableId\"" });
    let batch = json!({ "requests": [
        { "id": "1", "method": "GET", "url": event_path(&one) },
        { "id": "2", "method": "PATCH", "url": event_path(&two), "headers": kind, "body": { "subject": "moved" } },
        { "id": "3", "method": "DELETE", "url": event_path(&two), "dependsOn": ["2"] },
        { "id": "4", "method": "GET", "url": format!("/me/events/{}", encoded("none")) },
        { "id": "5", "method": "DELETE", "url": event_path(&one), "dependsOn": ["4"] },
    ]});
    let got = anna.send("POST", "/$batch", &batch).await;
    assert_eq!(got.status, 200);
    let answer = got.json();
    let statuses = ["1", "2", "3", "4", "5"].map(|id| status_of(&answer, id));
    assert_eq!(statuses, [200, 200, 204, 400, 424]);
    assert_ne!(answer["responses"][0]["id"], "1", "in any order");
    let patched = answer["responses"].as_array().unwrap().iter().find(|one| one["id"] == "2").unwrap();
    assert_eq!(patched["body"]["subject"], "moved");
    assert!(patched["headers"]["Content-Type"].as_str().unwrap().starts_with("application/json"));
    world.assert_inside_description();
}

#[tokio::test]
async fn more_than_four_at_once_throttle_themselves() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let get = |id: usize| json!({ "id": id.to_string(), "method": "GET", "url": "/me/calendars" });
    let parallel: Vec<Value> = (1..=6).map(get).collect();
    let answer = anna.send("POST", "/$batch", &json!({ "requests": parallel })).await.json();
    let throttled = (1..=6).filter(|id| status_of(&answer, &id.to_string()) == 429).count();
    assert_eq!(throttled, 2);
    let serial: Vec<Value> = (1..=6)
        .map(|id| {
            let mut item = get(id);
            if id > 1 {
                item["dependsOn"] = json!([(id - 1).to_string()]);
            }
            item
        })
        .collect();
    let answer = anna.send("POST", "/$batch", &json!({ "requests": serial })).await.json();
    assert!((1..=6).all(|id| status_of(&answer, &id.to_string()) == 200));
}

#[tokio::test]
async fn what_is_malformed_is_refused_as_a_whole() {
    let world = World::start(MicrosoftOptions::default()).await;
    let anna = world.client(ANNA).await;
    let get = |id: &str| json!({ "id": id, "method": "GET", "url": "/me/calendars" });
    let many: Vec<Value> = (0..21).map(|id| get(&id.to_string())).collect();
    for requests in [
        json!(many),
        json!([]),
        json!([get("1"), get("1")]),
        json!([{ "id": "1", "method": "GET", "url": "/me/calendars", "dependsOn": ["2"] }]),
        json!([{ "id": "1", "method": "GET", "url": "https://elsewhere.example/me" }]),
        json!([{ "id": "1", "url": "/me/calendars" }]),
    ] {
        assert_eq!(
            anna.send("POST", "/$batch", &json!({ "requests": requests })).await.status,
            400,
            "{requests}"
        );
    }
}
