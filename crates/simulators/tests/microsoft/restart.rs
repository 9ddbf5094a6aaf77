//! What survives a restart: mailboxes' events, grants and links.

use serde_json::json;
use simulators::{Hosting, MicrosoftOptions, MicrosoftSimulator};

use super::client::{ANNA, World, meeting};

#[tokio::test]
async fn events_tokens_links_and_numbers_survive() {
    let folder = tempfile::tempdir().unwrap();
    let hosting = || Hosting { folder: Some(folder.path().to_owned()), ..Hosting::default() };
    let options = |port: u16| MicrosoftOptions {
        hosting: Hosting { port, ..hosting() },
        ..MicrosoftOptions::default()
    };
    let world = World::over(MicrosoftSimulator::start(options(0)).await.unwrap());
    let tokens = world.connect(ANNA).await;
    let token = tokens["access_token"].as_str().unwrap();
    let anna = world.client_with(token);
    let made = anna.create(&meeting("x", "2026-03-09", 9)).await;
    let first = "/me/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";
    let (_, delta) = anna.round(first).await;
    let port = world.microsoft.address().port();
    world.microsoft.stop().await;

    let world = World::over(MicrosoftSimulator::start(options(port)).await.unwrap());
    let anna = world.client_with(token);
    let added = anna.create(&meeting("y", "2026-03-10", 9)).await;
    assert_ne!(added["id"], made["id"]);
    let (items, _) = anna.round(&delta).await;
    assert_eq!(items.iter().map(|item| &item["subject"]).collect::<Vec<_>>(), [&json!("y")]);
    assert_eq!(world.refresh(tokens["refresh_token"].as_str().unwrap()).await.status, 200);
}
