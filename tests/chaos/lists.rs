//! Lists that are not the whole truth.

use std::time::{Duration, Instant};

use serde_json::json;
use simulators::{FaultKind, FaultRule};
use system_tests::{Fleet, Kind, Member, shared_redis, wait};

use crate::damage::moment;
use crate::ledger;
use crate::people::{Office, object};
use crate::points::Hits;
use crate::stage::{Stage, World};

/// How often a list goes wrong in each way.
const SHARE: f64 = 0.1;
/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// How long a guard that holds something back is watched: a few sweeps.
const WATCHED: Duration = Duration::from_secs(3);

fn ways() -> [FaultKind; 5] {
    let html = FaultKind::HtmlPage;
    [FaultKind::EmptyList, FaultKind::ShortList, FaultKind::HoledList, html, FaultKind::CutBody]
}

/// Lists of both systems come empty, cut short, with a hole, as a page of HTML, while sweeps look at everything every
/// second and people work: nothing is taken for gone, nothing is made anew. Then every party changes at once, as by a
/// script: the guard lets a few through and holds the others back until a person releases them.
pub async fn lists_come_empty_and_truncated(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut plan = stage.plan(backing, 2, 2);
    for (key, value) in [
        ("FLOW__PARTIES__SWEEP_CRON", "* * * * * *"),
        ("FLOW__PARTIES__SWEEP_PAGE_RECORDS_MAX", "20"),
        ("FLOW__PARTIES__MASS_CHANGE_SHARE_MAX", "0.1"),
        ("FLOW__PARTIES__MASS_CHANGE_COUNT_MIN", "5"),
    ] {
        plan.settings.push((key, value.to_owned()));
    }
    let prepare = |fleet: &mut Fleet, people: &crate::people::People| {
        people.has_sweeps.set(true);
        let hits = Hits::of(fleet);
        fleet
            .of_kind(Kind::Worker)
            .for_each(|worker| hits.arm(worker, "parties.ask_again_seconds=return(1)"));
    };
    let mut world = stage.open_with(plan, prepare).await;
    for kind in ways() {
        let seed = stage.dice.roll();
        let rule = |path| FaultRule::new(kind.clone()).on("GET", path).sometimes(SHARE, seed);
        world.fleet.crm.fault(rule("*/CBeteiligte"));
        world.fleet.advoware.fault(rule("*/Beteiligte"));
    }
    // Links are compared with the CRM once a day; here, whenever this was forgotten.
    let (redis, reconciled) =
        (shared_redis().await.unwrap(), format!("{}/document/reconciled/parties", world.fleet.namespace()));
    let (mut blows, wanted) = (0, stage.sizes.or(6, 300));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 300, 1_000)).await;
        redis.control(&["DEL", &reconciled]).await.unwrap();
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    ledger::until_settled(&mut world.fleet, &world.people).await;

    let changed = change_all(&world);
    wait::until("guard", SOON, async || {
        let held = held_back(&mut world.fleet).await;
        if held { Ok(()) } else { Err("nothing is held back") }
    })
    .await;
    tokio::time::sleep(WATCHED).await;
    let through = changed - differing(&world);
    println!("the guard let {through} of {changed} changes through");
    assert!(through < changed / 2, "{through} of {changed} passed the guard");
    world.fleet.crm.faults().clear();
    world.fleet.advoware.faults().clear();
    // A sweep goes through all records page by page: it may take its time while it comes nearer.
    let (mut least, mut nearer_at) = (usize::MAX, Instant::now());
    while least > 0 {
        let printed = world.fleet.operate(&["release", "parties", "--by", "anna"]).await.unwrap();
        let left = differing(&world);
        if left < least {
            (least, nearer_at) = (left, Instant::now());
        }
        assert!(nearer_at.elapsed() < SOON, "{left} of {changed} changes do not arrive: {printed}");
    }
    stage.judge(world, &[]).await;
}

/// Every party gets another first name in Advoware, and every record is to be looked at by a sweep. Answers how many.
fn change_all(world: &World) -> usize {
    let World { fleet, people } = world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    for id in people.expected().keys() {
        people.edit(office, id, true);
    }
    for id in people.expected().keys() {
        fleet.crm.edit_as_person(id, &object(json!({ "syncStatus": "dirty" }))).unwrap();
    }
    differing(world)
}

/// Records whose first name in the CRM is not the one that Advoware was given.
fn differing(world: &World) -> usize {
    let expected = world.people.expected();
    let differs = |id: &String| {
        let record = world.fleet.crm.record(id);
        record.is_none_or(|record| record["firstName"] != *expected[id].first_name)
    };
    expected.keys().filter(|id| differs(id)).count()
}

async fn held_back(fleet: &mut Fleet) -> bool {
    let mut held = false;
    for worker in fleet.members.iter().filter(|member| member.kind() == Kind::Worker) {
        let tripped = fleet.metric(worker, "syncfleet_mass_change_guard_tripped").await;
        held |= tripped.is_ok_and(|tripped| tripped > 0.0);
    }
    held
}
