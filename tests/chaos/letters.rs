//! Dead letters that are sent again, twice at once.

use serde_json::json;

use crate::damage::calm;
use crate::ledger;
use crate::people::object;
use crate::stage::Stage;

/// Two operators replay all dead letters at the same time, and one of them once more.
pub async fn all_dead_letters_are_replayed_twice_at_once(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 1, 2)).await;
    world.people.nameless_percent.set(50);
    world.broken(stage, calm).await;
    ledger::until_settled(&mut world.fleet, &world.people).await;
    let letters = world.fleet.dead_letters().await.unwrap().len();
    assert!(letters > 0 && letters == world.people.nameless().len(), "{letters}");
    for id in world.people.nameless() {
        let name = format!("Nachgetragen{id}");
        world.fleet.crm.edit_as_person(&id, &object(json!({ "lastName": name }))).unwrap();
    }
    let replay = ["dlq", "replay", "--all", "--by", "anna"];
    let (one, other) = tokio::join!(world.fleet.operate(&replay), world.fleet.operate(&replay));
    // Who comes upon a letter that the other one is replaying is told so, which is no success of the command; in the
    // end there is nothing left to replay.
    println!("{one:?}\n{other:?}");
    let _nothing_left = world.fleet.operate(&replay).await;
    world.people.names_were_given();
    stage.judge(world, &[]).await;
}
