//! Calendars by the real programs: provisioned, connected in a browser, edited on both sides, with `kill -9` in between.

mod bench;
mod fleet;
mod log;
mod notifications;

use serde_json::{Value, json};
use system_tests::{Backing, Kind, wait};

use crate::programs::{printed, syncfleet};
use crate::{SOON, object};

use bench::{ANNA, Bench, OFTEN, Shown, at};

/// Waits until the CRM and Anna's mailbox both show this.
async fn until_both(bench: &Bench, what: &str, expected: &[(&str, i8)]) {
    let mut expected: Vec<Shown> =
        expected.iter().map(|(name, hour)| ((*name).to_owned(), at(*hour))).collect();
    expected.sort();
    wait::until(what, SOON, async || {
        let found = (bench.in_crm(), bench.in_outlook(ANNA));
        if found.0 == expected && found.1 == expected { Ok(()) } else { Err(found) }
    })
    .await;
}

#[tokio::test]
async fn a_calendar_is_connected_and_follows_both_ways_also_through_kills() {
    let mut bench = Bench::new(&Backing::Embedded, &[Kind::Up], OFTEN).await;
    bench.said(&["provision", "--yes"]).await;
    let plan = bench.said(&["provision"]).await;
    assert!(plan.contains("nothing"), "a second run finds nothing to do: {plan}");
    bench.start().await;
    bench.event_at_outlook(ANNA, "Born in Outlook", at(9));
    let meeting = bench.record_at_espocrm("Meeting", &[ANNA], "Born in EspoCRM", at(12));
    bench.connect("microsoft", ANNA).await;
    let first = [("Born in Outlook", 9), ("Born in EspoCRM", 12)];
    until_both(&bench, "both sides have both", &first).await;

    // An edit on either side, with the process killed in between.
    bench.members[0].kill_9();
    let event = bench.event_at_outlook(ANNA, "Made while nobody looked", at(9));
    bench
        .crm
        .edit_as(ANNA.id, "Meeting", &meeting, &object(json!({ "name": "Renamed in EspoCRM" })))
        .unwrap();
    bench.start().await;
    let missed = [("Born in Outlook", 9), ("Made while nobody looked", 9), ("Renamed in EspoCRM", 12)];
    until_both(&bench, "what was missed", &missed).await;
    bench.microsoft.edit_as_person(&event, &object(json!({ "subject": "Renamed in Outlook" }))).unwrap();
    let moved = [("Born in Outlook", 9), ("Renamed in Outlook", 9), ("Renamed in EspoCRM", 12)];
    until_both(&bench, "an edit in Outlook", &moved).await;
    bench.microsoft.delete_as_person(&event).unwrap();
    until_both(&bench, "a deletion in Outlook", &[("Born in Outlook", 9), ("Renamed in EspoCRM", 12)]).await;
    bench.crm.delete_as(ANNA.id, "Meeting", &meeting).unwrap();
    until_both(&bench, "a deletion in EspoCRM", &[("Born in Outlook", 9)]).await;

    bench.assert_quiet();
    let status = bench.status().await;
    assert_eq!(status["dead_letters"], json!([]), "{status}");
    assert_eq!(status["accounts"][0]["state"], "active", "{status}");
    wait::until("the calendar in status", SOON, async || {
        let status: Value = bench.status().await;
        let calendar = &status["sources"][0];
        let is_well = calendar["has_token"] == json!(true) && calendar["linked"] == json!(1);
        if is_well { Ok(()) } else { Err(status) }
    })
    .await;
    let text = printed(&syncfleet(bench.folder.path(), &["status"]).await);
    assert!(text.contains("EVENTS LINKED") && text.contains(ANNA.id), "{text}");
    let doctor = syncfleet(bench.folder.path(), &["doctor"]).await;
    assert!(!printed(&doctor).contains("BROKEN"), "{}", printed(&doctor));
    bench.drain().await;
    bench.assert_discreet();
}
