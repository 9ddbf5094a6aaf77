//! The mass-change guard of a fleet at work, and its release by the operator's program.

use serde_json::json;
use system_tests::{Backing, Fleet, Plan, judge, wait};

use super::{SOON, created, object, person};

/// Records; a fifth of them may be overwritten by one sweep.
const RECORDS: usize = 20;

#[tokio::test]
async fn a_mass_change_waits_until_the_operator_releases_it() {
    let mut plan = Plan::new(Backing::Embedded, 1, 1);
    plan.settings = vec![
        ("FLOW__PARTIES__MASS_CHANGE_COUNT_MIN", "2".to_owned()),
        ("FLOW__PARTIES__MASS_CHANGE_SHARE_MAX", "0.2".to_owned()),
    ];
    let mut fleet = Fleet::new(plan).await.unwrap();
    let ids: Vec<String> = (0..RECORDS)
        .map(|n| fleet.crm.seed(person(&format!("Verwechselt{n}"), "pending_sync")).unwrap())
        .collect();
    fleet.start_ready().await.unwrap();
    for id in &ids {
        created(&fleet, id).await;
    }
    for party in fleet.advoware.records() {
        let id = party["betNr"].to_string();
        fleet.advoware.edit_as_person(&id, &object(json!({ "vorname": "Gleich" }))).unwrap();
    }
    let worker = fleet.members.iter().position(|member| member.kind() == system_tests::Kind::Worker).unwrap();
    wait::until("guard", SOON, async || {
        let tripped = fleet.metric(&fleet.members[worker], "syncfleet_mass_change_guard_tripped").await;
        if tripped.as_ref().is_ok_and(|tripped| *tripped > 0.0) { Ok(()) } else { Err(tripped) }
    })
    .await;
    let status = fleet.operate(&["status"]).await.unwrap();
    assert!(status.contains("HELD BACK"), "{status}");
    let renamed =
        |fleet: &Fleet| fleet.crm.records().iter().filter(|record| record["firstName"] == "Gleich").count();
    assert!(renamed(&fleet) < RECORDS, "something is held back");

    // Sweeps go on and may find more: what they hold back is released as well.
    wait::until("release", SOON, async || {
        let printed = fleet.operate(&["release", "parties", "--by", "anna"]).await.unwrap();
        assert!(printed.contains("released by anna") || printed.contains("Nothing of flow"), "{printed}");
        let done = renamed(&fleet);
        if done == RECORDS { Ok(()) } else { Err((done, printed)) }
    })
    .await;
    wait::until("agreement", SOON, async || {
        let left = judge::unsettled(&fleet.crm.records(), &fleet.advoware.records());
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let printed = fleet.operate(&["release", "parties", "--by", "anna"]).await.unwrap();
    assert!(printed.contains("Nothing of flow parties waits"), "{printed}");
    fleet.drain().await.unwrap();
}
