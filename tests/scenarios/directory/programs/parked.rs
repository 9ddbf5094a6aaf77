//! A member comes before its department, by the real program on one machine, which is started anew meanwhile.

use serde_json::{Value, json};
use simulators::Operation;
use system_tests::{Backing, Kind, wait};

use super::bench::Bench;
use crate::SOON;

/// The one program, which is producer and worker.
const PROGRAM: usize = 0;

impl Bench {
    async fn parked(&self) -> Vec<Value> {
        self.told(&["parked", "list"]).await.as_array().unwrap().clone()
    }

    /// How often WeCom was asked for a member.
    fn reads(&self) -> u64 {
        self.wecom.counters().get("user/get").copied().unwrap_or_default()
    }

    /// Of how many runs of a record the program says that they came to an end.
    fn looked_at(&self, id: &str) -> usize {
        let log = self.members[PROGRAM].log();
        let of = |line: &&str| line.contains("was looked at") && line.contains(&format!("record.id={id} "));
        log.lines().filter(of).count()
    }

    /// Of how many messages the program says that it released them.
    async fn released(&self) -> u64 {
        let address = format!("{}/metrics", self.members[PROGRAM].private_url());
        let text = self.http.get(&address).await.unwrap().body;
        let of = |line: &&str| line.contains("directory") && line.contains("cause=\"released\"");
        let counted = text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counted.sum()
    }
}

#[tokio::test]
async fn a_member_waits_for_its_department_over_a_restart_and_is_touched_once_when_that_comes() {
    let mut bench = Bench::orderly(&Backing::Embedded, &[Kind::Up]).await;
    bench.start().await;
    bench.said(&["directory", "first-sync", "--by", "anna"]).await;
    wait::until("the end of the first sync", SOON, async || {
        let (status, waiting) =
            (bench.told(&["directory", "status"]).await, bench.waiting("directory").await);
        if status["first_sync"]["phase"] == "done" && waiting == 0 { Ok(()) } else { Err((status, waiting)) }
    })
    .await;

    let member = json!({ "userid": "Lisi", "name": "李四", "department": [1, 7], "status": 1 });
    bench.wecom.seed(member.as_object().unwrap().clone()).unwrap();
    let event = json!([{ "ChangeType": "create_user", "UserID": "Lisi" }]);
    bench.wecom.control("POST", "events", &event).unwrap();
    let parked = wait::until("what is parked", SOON, async || {
        let parked = bench.parked().await;
        if parked.len() == 1 { Ok(parked) } else { Err(parked) }
    })
    .await;
    let of = |name: &str| parked[0][name].clone();
    assert_eq!((of("record"), of("waits_for")), (json!("directory:user.lisi"), json!("directory:dept.7")));
    let list = bench.said(&["parked", "list"]).await;
    assert!(list.contains("directory:user.lisi") && list.contains("directory:dept.7"), "{list}");
    let is_lisi = |record: &Value| record["externalId"] == "wecom:user:lisi";
    assert!(!bench.scim.records().iter().any(is_lisi), "nothing is written before");

    // What is under way ends; the list can be had without the program as well.
    bench.members[PROGRAM].drain().await.unwrap();
    let parked = bench.parked().await;
    assert_eq!(parked.len(), 1);
    bench.members[PROGRAM].start().unwrap();
    bench.ready().await;
    // Which asks for a member as well, to see whether it may.
    wait::until("the look at what the flow needs", SOON, async || {
        let log = bench.members[PROGRAM].log();
        if log.matches("The flow's needs were checked").count() == 2 { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(bench.parked().await, parked, "as it was before the restart");
    assert_eq!(bench.looked_at("user.lisi"), 0);
    let reads = bench.reads();

    let department = json!({ "op": "create_party", "id": 7, "parentid": 1, "name": "研发中心" });
    bench.wecom.control("POST", "ops", &department).unwrap();
    bench.agreed("the department and its member").await;
    wait::until("an end of it", SOON, async || {
        let (waiting, parked) = (bench.waiting("directory").await, bench.parked().await);
        if waiting == 0 && parked.is_empty() { Ok(()) } else { Err((waiting, parked)) }
    })
    .await;
    assert_eq!(bench.released().await, 1, "released once");
    assert_eq!((bench.looked_at("user.lisi"), bench.reads()), (1, reads + 1), "touched once");
    let created = bench.scim.journal().into_iter().filter(|entry| entry.operation == Operation::Create);
    let lisi = created.filter_map(|entry| entry.after).filter(is_lisi);
    assert_eq!(lisi.count(), 1);
    let status = bench.told(&["status"]).await;
    assert_eq!(status["dead_letters"], json!([]), "{status:#}");
    bench.drain().await;
}
