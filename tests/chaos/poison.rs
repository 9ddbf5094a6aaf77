//! Records whose handling harms the worker itself.

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use system_tests::{Kind, Member};

use crate::damage::moment;
use crate::people::Office;
use crate::points::Hits;
use crate::stage::{Stage, World};

/// What a worker may have of memory, in bytes: several times what it needs.
const MEMORY_MAX_BYTES: u64 = 2 * 1_024 * 1_024 * 1_024;

/// Workers that one message may kill: two until it runs alone, and four more for the evidence.
const DEATHS: usize = 6;

/// One record's handling panics, another one's allocates without end, so that its worker dies of it. Both become dead
/// letters, the second one for the workers it killed; everything else goes on.
pub async fn poison_is_buried_and_harms_no_other(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let plan = stage.plan(backing, 2, 3);
    let mut world = stage.open(plan).await;
    let hits = Hits::of(&world.fleet);
    let poison: Vec<String> = world.people.expected().into_keys().take(2).collect();
    let what = format!("worker.handle=return(panic:{},allocate:{})", poison[0], poison[1]);
    for worker in world.fleet.of_kind(Kind::Worker) {
        hits.arm(worker, &what);
        start_bounded(worker);
    }
    world.fleet.ready().await.unwrap();
    let World { fleet, people } = &world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    for id in &poison {
        let event = people.edit(office, id, false);
        people.give_up(id);
        people.tell(office, &event).await;
    }
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 200, 400)).await;
        for worker in members.iter_mut().filter(|member| member.kind() == Kind::Worker) {
            if !worker.is_running() {
                start_bounded(worker);
                stage.counts.kills += 1;
            }
        }
        stage.counts.kills >= DEATHS
    };
    world.broken(stage, blow).await;
    stage.counts.hits = hits.total();
    hits.disarm(&mut world.fleet);
    stage.judge(world, &poison).await;
}

fn start_bounded(worker: &mut Member) {
    worker.start().unwrap();
    let pid = worker.process().unwrap().pid();
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(MEMORY_MAX_BYTES), maximum: Some(MEMORY_MAX_BYTES) };
    prlimit(pid, Resource::As, limit).unwrap();
}
