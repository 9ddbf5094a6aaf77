//! A service with neither PATCH nor versions: each change writes a whole record, and several processes change one at once.

use serde_json::json;
use shared::envelope::Cause;
use simulators::{FaultKind, FaultRule, ScimOptions};
use system_tests::wait;

use super::installation::{Installation, Setup};
use super::place::Place;
use crate::SOON;

/// Groups, and users, that are changed twice at once.
const EACH: u64 = 10;
const WORKERS: usize = 4;
/// How long a write is under way: long enough for another one to begin.
const WRITE_MS: u64 = 700;

/// A department is renamed while somebody comes into it, and a member gets another title while its leader arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_processes_change_at_once_is_all_kept() {
    let options = ScimOptions { patch: false, etag: false, ..ScimOptions::default() };
    let setup = Setup { workers: WORKERS, ..Setup::default() };
    let installation = Installation::start(Place::simulated_with(options).await, setup).await;
    let seed = |record: serde_json::Value| {
        installation.wecom.seed(record.as_object().unwrap().clone()).unwrap();
    };
    for n in 10..10 + EACH {
        seed(json!({ "id": n, "parentid": 1, "name": format!("部门{n}") }));
        let leader = json!([format!("Boss{n}")]);
        seed(json!({ "userid": format!("Led{n}"), "name": "张三", "department": [n], "status": 1,
            "direct_leader": leader, "position": "助理" }));
    }
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;

    // One worker has all at first; what only one process writes has its turns there.
    installation.ran.lock().unwrap().clear();
    wait::until("all workers to have a part", SOON, async || {
        for n in 10..10 + EACH {
            installation.publish(&format!("members.{n}"), Cause::Webhook, None).await;
            installation.publish(&format!("dept.{n}"), Cause::Webhook, None).await;
        }
        let ran = installation.ran.lock().unwrap().len();
        if ran == WORKERS { Ok(()) } else { Err(ran) }
    })
    .await;
    installation.settled("all looks").await;

    let Place::Simulated(service) = &installation.place else { panic!() };
    service.fault(FaultRule::new(FaultKind::Latency { latency_ms: WRITE_MS }).on("PUT", "*"));
    for n in 10..10 + EACH {
        installation.operate(&json!({ "op": "update_party", "id": n, "name": format!("新部{n}") }));
        installation
            .operate(&json!({ "op": "update_user", "userid": format!("Led{n}"), "position": "经理" }));
        installation.operate(&json!({ "op": "create_user", "userid": format!("Boss{n}"), "name": "王五",
            "department": [n] }));
        for id in [format!("dept.{n}"), format!("user.led{n}"), format!("user.boss{n}")] {
            installation.publish(&id, Cause::Webhook, None).await;
        }
    }
    installation.settled("all changes").await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "a change was taken back");
    let resources = installation.place.resources().await;
    let led =
        resources.iter().filter(|it| it["externalId"].as_str().is_some_and(|id| id.contains("user:led")));
    let titles: Vec<_> = led.map(|user| user["title"].as_str().unwrap_or_default()).collect();
    assert_eq!(titles, vec!["经理"; usize::try_from(EACH).unwrap()]);
    installation.end().await;
}
