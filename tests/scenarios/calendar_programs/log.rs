//! What an operator reads in the log of what calendars are at, word for word.

use serde_json::json;
use system_tests::wait;

use super::bench::{ANNA, BERND, Bench, at};
use super::notifications::{WORKER, agreed, bench, connect};
use crate::{SOON, object};

async fn until_said(bench: &Bench, texts: &[&str]) {
    wait::until("lines of the log", SOON, async || {
        let log = bench.members[WORKER].log();
        let missing: Vec<&&str> = texts.iter().filter(|text| !log.contains(**text)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_log_says_what_calendars_are_at() {
    let mut bench = bench().await;
    connect(&bench).await;
    let event = bench.event_at_outlook(ANNA, "Besprechung in Outlook", at(9));
    let other = bench.event_at_google(BERND, "Besprechung in Google", at(10));
    agreed(&bench, "Besprechung in Outlook", "Besprechung in Google").await;
    let edit = |outlook: &str, google: &str| {
        bench.microsoft.edit_as_person(&event, &object(json!({ "subject": outlook }))).unwrap();
        bench.google.edit_as_person(&other, &object(json!({ "summary": google }))).unwrap();
    };
    let (outlook, google) = (
        format!("Processing calendar microsoft.{}.", ANNA.id),
        format!("Processing calendar google.{}.", BERND.id),
    );
    until_said(
        &bench,
        &[
            &format!("Outlook sync: {outlook}"),
            &format!("Google sync: {google}"),
            "Outlook sync: Received deltaToken. Sync completed.",
            "Google sync: Received deltaToken. Sync completed.",
            "Outlook sync: 1 events created, ",
            "Google sync: 1 events created, ",
        ],
    )
    .await;

    bench.microsoft.control("POST", "delta/expire", &json!({})).unwrap();
    bench.google.configure(&object(json!({ "expire_sync_tokens": true }))).unwrap();
    edit("Verlegt in Outlook", "Verlegt in Google");
    agreed(&bench, "Verlegt in Outlook", "Verlegt in Google").await;
    until_said(
        &bench,
        &[
            "WARN process: Outlook sync: Sync state generation expired, restarting.",
            "WARN process: Google sync: Sync state generation expired, restarting.",
            "Outlook sync: 0 events created, 1 updated, 0 deleted.",
            "Google sync: 0 events created, 1 updated, 0 deleted.",
        ],
    )
    .await;

    bench.microsoft.control("POST", "identity/revoke", &json!({})).unwrap();
    bench.microsoft.control("POST", "identity/expire-access", &json!({})).unwrap();
    bench.google.configure(&object(json!({ "withdraw_access": BERND.mail }))).unwrap();
    edit("Noch einmal in Outlook", "Noch einmal in Google");
    until_said(
        &bench,
        &[
            &format!("Outlook sync: Failed to refresh token for user {}.", ANNA.id),
            &format!("Google sync: Failed to refresh token for user {}.", BERND.id),
        ],
    )
    .await;
    bench.drain().await;
    bench.assert_discreet();
}
