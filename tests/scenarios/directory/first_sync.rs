//! The first sync of a company: begun once, whatever happens to those who ask and to those who work.

use std::collections::BTreeMap;
use std::time::Duration;

use flows::directory::first_sync::{Begin, Phase, Request};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};
use shared::envelope::Cause;
use simulators::WecomSimulator;
use system_tests::{ScimServer, wait};

use super::installation::{Installation, Setup};
use super::place::Place;

/// Longest time of a first sync of the tests.
const DONE: Duration = Duration::from_secs(900);
const KILLS: usize = 20;

/// A company: departments in a tree, members in one or two of them, some with leaders.
pub fn seed_company(wecom: &WecomSimulator, rng: &mut fastrand::Rng, departments: u64, members: u64) {
    let seed = |record: Value| wecom.seed(record.as_object().unwrap().clone()).unwrap();
    for id in 2..=departments {
        let parent = rng.u64(1..id);
        seed(json!({ "id": id, "parentid": parent, "name": format!("部门{id}") }));
    }
    for n in 0..members {
        let mut within = vec![rng.u64(1..=departments)];
        if rng.f64() < 0.1 {
            let other = rng.u64(1..=departments);
            within.extend(Some(other).filter(|other| *other != within[0]));
        }
        let mut member = json!({
            "userid": format!("Member{n}"), "name": format!("成员{n}"), "department": within, "status": 1,
        });
        if rng.f64() < 0.3 && n > 0 {
            member["direct_leader"] = json!([format!("Member{}", rng.u64(0..n))]);
        }
        seed(member);
    }
}

impl Installation {
    /// Asks for the first sync as a command does; answers whether it was begun by that.
    pub async fn ask(&self, id: &str) -> bool {
        let request = Request { id, by: "test", again: false, now: SystemClock.now() };
        let begun = self.flow.request_first_sync(&request).await.unwrap();
        if !matches!(begun, Begin::Refuse(_)) {
            self.publish(self.flow.first_sync_key().id(), Cause::Manual, None).await;
        }
        matches!(begun, Begin::Start(_))
    }

    pub async fn until_first_sync(&self) {
        wait::until("the first sync", DONE, async || {
            let first_sync = self.flow.first_sync().await.unwrap();
            match first_sync {
                Some(first_sync) if first_sync.phase == Phase::Done => Ok(()),
                other => Err(other),
            }
        })
        .await;
        self.settled("what the first sync asked for").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_and_twenty_kills_are_one_first_sync() {
    let setup = Setup { workers: 3, lease_ttl: Duration::from_secs(1), ..Setup::default() };
    let mut installation = Installation::start(Place::simulated().await, setup).await;
    seed_company(&installation.wecom, &mut fastrand::Rng::with_seed(1), 60, 400);
    let ids: Vec<String> = (0..50).map(|n| format!("request-{n}")).collect();
    let begun = join_all(ids.iter().map(|id| installation.ask(id))).await;
    assert_eq!(begun.iter().filter(|begun| **begun).count(), 1, "begun once");
    let id = installation.flow.first_sync().await.unwrap().unwrap().id;
    for n in 0..KILLS {
        let before = installation.place.writes();
        wait::until("some progress", DONE, async || {
            let is_over = installation.flow.first_sync().await.unwrap().unwrap().phase == Phase::Done;
            if is_over || installation.place.writes() >= before + 15 { Ok(()) } else { Err(()) }
        })
        .await;
        installation.kill_one();
        installation.ask(&format!("again-{n}")).await;
    }
    installation.until_first_sync().await;
    assert_eq!(installation.flow.first_sync().await.unwrap().unwrap().id, id, "no second one");
    assert_eq!(installation.differences().await, Vec::<String>::new());
    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    for external_id in installation.place.created() {
        *created.entry(external_id).or_default() += 1;
    }
    created.retain(|_, times| *times > 1);
    assert!(created.is_empty(), "created more than once: {created:?}");
    assert!(!installation.ask("later").await, "it is over");
    installation.end().await;
}

/// The real thing of independent make.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_members_come_to_an_independent_server() {
    let place = Place::Server(ScimServer::start().await.unwrap());
    let setup = Setup { workers: 2, ..Setup::default() };
    let installation = Installation::start(place, setup).await;
    seed_company(&installation.wecom, &mut fastrand::Rng::with_seed(2), 100, 2_000);
    let began = std::time::Instant::now();
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    println!("2,000 members and 100 departments in {:?}", began.elapsed());
    assert_eq!(installation.differences().await, Vec::<String>::new());
    installation.end().await;
}
