//! A directory by the real programs, on RabbitMQ and Redis, whose workers are killed while they write.

mod bench;
mod forged;
mod parked;
mod receivers;

use std::collections::{BTreeMap, BTreeSet};

use connector_wecom::callback::Format;
use futures_util::future::join_all;
use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule, Operation, WecomOptions};
use system_tests::{Backing, Kind, shared_rabbitmq, shared_redis, wait};

use self::bench::{Bench, receiver};
use self::receivers::{Came, Further};
use super::first_sync::seed_company;
use crate::SOON;
use crate::fleet::seed;

const WORKERS: usize = 3;
const DEPARTMENTS: u64 = 30;
const MEMBERS: u64 = 150;
/// How often a worker is killed, in the first sync and after it,
const KILLS: usize = 3;
/// each time after up to so many more writes.
const WRITES_BETWEEN_MAX: usize = 10;
/// What happens in the company between two kills.
const CHANGES: usize = 20;
/// How often the first receiver fails at first.
const FAILURES: usize = 3;

async fn bench(relays: &[(&str, &str)]) -> Bench {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let kinds = [&[Kind::Producer][..], &[Kind::Worker; WORKERS]].concat();
    let bench = Bench::new(&backing, &kinds, relays).await;
    // Writes take long enough to be killed in.
    bench.scim.fault(FaultRule::new(FaultKind::Latency { latency_ms: 20 }));
    bench
}

/// Kills a worker after some more writes, or where there is nothing more to write, and starts it again.
async fn kill_one(bench: &mut Bench, dice: &mut fastrand::Rng) {
    let next = bench.writes() + dice.usize(1..=WRITES_BETWEEN_MAX);
    wait::until("some writes", SOON, async || {
        let done = bench.writes();
        if done >= next || bench.differences().is_empty() { Ok(()) } else { Err(done) }
    })
    .await;
    let worker = &mut bench.members[1 + dice.usize(..WORKERS)];
    println!("kill -9 of {} after {next} writes", worker.name());
    worker.kill_9();
    worker.start().unwrap();
}

async fn ask(bench: &Bench, by: &str) -> String {
    let asked = bench.told(&["directory", "first-sync", "--by", by]).await;
    asked["outcome"].as_str().unwrap_or_else(|| panic!("{asked:#}")).to_owned()
}

/// Asked for by several at once, and again after each kill: one of them begins it.
async fn sync_first(bench: &mut Bench, dice: &mut fastrand::Rng) {
    let mut outcomes = join_all(["anna", "bernd", "clara"].map(async |by| ask(bench, by).await)).await;
    outcomes.sort();
    assert_eq!(outcomes, ["begun", "joined", "joined"]);
    for _ in 0..KILLS {
        kill_one(bench, dice).await;
        let outcome = ask(bench, "anna").await;
        assert!(["joined", "refused"].contains(&outcome.as_str()), "{outcome}");
    }
    wait::until("the end of the first sync", SOON, async || {
        let status = bench.told(&["directory", "status"]).await;
        if status["first_sync"]["phase"] == "done" { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(ask(bench, "anna").await, "refused");
    bench.agreed("a first sync").await;
}

/// The company, as what may happen next is chosen from it.
struct Now {
    departments: Vec<u64>,
    /// Those that have nothing below.
    empty: Vec<u64>,
    members: Vec<String>,
    /// As many of the members, whom nobody has as a leader: of a leader's new id WeCom says nothing to those who are led.
    followers: Vec<String>,
}

impl Now {
    fn of(records: &[Value]) -> Self {
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let members: Vec<String> =
            records.iter().filter_map(|it| it["userid"].as_str()).map(str::to_owned).collect();
        let leaders: BTreeSet<String> = records.iter().flat_map(|it| texts(&it["direct_leader"])).collect();
        let departments: Vec<u64> =
            records.iter().filter(|it| it["userid"].is_null()).filter_map(|it| it["id"].as_u64()).collect();
        let within = records.iter().flat_map(|it| it["department"].as_array().into_iter().flatten());
        let above = records.iter().map(|it| &it["parentid"]);
        let full: BTreeSet<u64> = within.chain(above).filter_map(Value::as_u64).collect();
        Self {
            empty: departments.iter().copied().filter(|id| *id > 1 && !full.contains(id)).collect(),
            followers: members.iter().filter(|userid| !leaders.contains(*userid)).cloned().collect(),
            departments,
            members,
        }
    }
}

/// Something happens in the company of which WeCom tells.
fn change(bench: &Bench, dice: &mut fastrand::Rng, number: usize) {
    let now = Now::of(&bench.wecom.records());
    let department = *dice.choice(&now.departments).unwrap();
    let member = dice.choice(&now.members).unwrap();
    let follower = dice.choice(&now.followers).unwrap();
    let op = match (number % 6, now.empty.first()) {
        (0, _) => {
            json!({ "op": "create_user", "userid": format!("New{number}"), "name": format!("新人{number}"),
            "department": [department] })
        }
        (1, _) => json!({ "op": "create_party", "id": 1_000 + number, "name": format!("新部{number}"),
            "parentid": department }),
        (2, _) => json!({ "op": "update_user", "userid": follower, "newuserid": format!("Other{number}") }),
        (3, _) => json!({ "op": "delete_user", "userid": follower }),
        (4, Some(empty)) => json!({ "op": "delete_party", "id": empty }),
        _ => json!({ "op": "update_user", "userid": member, "department": [department] }),
    };
    bench.wecom.control("POST", "ops", &op).unwrap_or_else(|error| panic!("{op}: {error}"));
}

/// A callback of the test's own, about a tag: nothing of the target, and passed on all the same.
fn own_callback() -> Came {
    let corp = WecomOptions::default().corp_id;
    let message = format!(
        "<xml><ToUserName><![CDATA[{corp}]]></ToUserName><FromUserName><![CDATA[sys]]></FromUserName>\
         <CreateTime>1790000000</CreateTime><MsgType><![CDATA[event]]></MsgType>\
         <Event><![CDATA[change_contact]]></Event><ChangeType><![CDATA[update_tag]]></ChangeType>\
         <TagId>1</TagId></xml>"
    );
    let sealed =
        receiver(&corp).seal(message.as_bytes(), fastrand::u128(..).to_be_bytes(), "1790000000", "own");
    // As no program would write it anew.
    let query = sealed.query();
    let body = sealed.body(&corp, Some("0"), Format::Xml).replacen("<xml>", "<xml>\n\t ", 1).into_bytes();
    (query, body)
}

async fn letters(bench: &Bench, flow: &str) -> Vec<Value> {
    bench.told(&["dlq", "list", "--flow", flow]).await["letters"].as_array().unwrap().clone()
}

/// What is refused for good is a dead letter, and is passed on when it is replayed.
async fn refused_and_replayed(bench: &Bench, first: &Further) {
    let own = own_callback();
    first.refuse(Some(&own.1));
    let url = format!("{}?{}", bench.callback_url, own.0);
    let answer = bench.http.post(&url, &[("Content-Type", "text/xml")], own.1.clone()).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let letter = wait::until("a dead letter", SOON, async || {
        let letters = letters(bench, "relay_first").await;
        if letters.len() == 1 { Ok(letters[0].clone()) } else { Err(letters) }
    })
    .await;
    let id = letter["id"].as_str().unwrap();
    let shown = bench.said(&["dlq", "show", id]).await;
    assert!(shown.contains("receiver_refused") && shown.contains("403"), "{shown}");
    assert!(!first.different().contains(&own));
    first.refuse(None);
    bench.said(&["dlq", "replay", id, "--by", "anna"]).await;
    wait::until("what was replayed", SOON, async || {
        if first.different().contains(&own) { Ok(()) } else { Err(first.different().len()) }
    })
    .await;
    wait::until("no dead letter", SOON, async || {
        let letters = letters(bench, "relay_first").await;
        if letters.is_empty() { Ok(()) } else { Err(letters) }
    })
    .await;
}

/// The one that answered nobody has delayed nobody, and gets all when it answers.
async fn all_passed_on(bench: &Bench, first: &Further, slow: &Further) {
    assert_eq!(slow.taken(), Vec::<Came>::new());
    slow.answer();
    wait::until("what waited for the slow one", SOON, async || {
        let waiting = bench.waiting("relay_slow").await;
        if waiting == 0 && slow.different() == first.different() { Ok(()) } else { Err(waiting) }
    })
    .await;
    let events = bench.wecom.control("GET", "events", &Value::Null).unwrap();
    let passed_on = first.different().len() as u64;
    println!("{passed_on} callbacks passed on, {events}");
    assert_eq!((&events["waiting"], &events["lost"]), (&json!(0), &json!(0)));
    // One is the test's own.
    assert!(passed_on > events["delivered"].as_u64().unwrap(), "{passed_on} of {events}");
    for further in [first, slow] {
        further.assert_verified(&receiver(&WecomOptions::default().corp_id));
    }
}

/// No two of ours were made for the same.
fn assert_created_once(bench: &Bench) {
    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    for entry in bench.scim.journal().into_iter().filter(|entry| entry.operation == Operation::Create) {
        let id = entry.after.unwrap()["externalId"].as_str().unwrap().to_owned();
        *created.entry(id).or_default() += 1;
    }
    created.retain(|_, times| *times > 1);
    assert_eq!(created, BTreeMap::new(), "created more than once");
}

#[tokio::test]
async fn a_company_arrives_and_is_followed_while_workers_are_killed() {
    let mut dice = fastrand::Rng::with_seed(seed());
    let (first, slow) = (Further::failing(FAILURES).await, Further::slow().await);
    let mut bench = bench(&[("first", &first.url), ("slow", &slow.url)]).await;
    seed_company(&bench.wecom, &mut dice, DEPARTMENTS, MEMBERS);
    bench.start().await;
    sync_first(&mut bench, &mut dice).await;
    assert_created_once(&bench);

    for round in 0..KILLS {
        (0..CHANGES).for_each(|n| change(&bench, &mut dice, round * CHANGES + n));
        kill_one(&mut bench, &mut dice).await;
    }
    bench.agreed("what happened").await;
    refused_and_replayed(&bench, &first).await;
    all_passed_on(&bench, &first, &slow).await;

    let status = bench.told(&["status"]).await;
    assert_eq!(status["dead_letters"], json!([]), "{status:#}");
    let diff = bench.said(&["directory", "diff"]).await;
    println!("{diff}");
    bench.drain().await;
    bench.assert_discreet();
}
