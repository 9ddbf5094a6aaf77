//! The suite of [`shared::ports::transfer`], and whole installations that are moved, on every backing.

mod failing;
mod moving;
pub mod place;

use std::sync::Arc;
use std::time::Duration;

use adapter_rabbitmq::RabbitmqQueue;
use shared::clock::{SystemClock, later};
use shared::ports::PortError;
use shared::ports::queue::{Outbound, Queue as _};
use shared::ports::state::Write;
use shared::ports::transfer::{OpenMessage, TransferQueue as _};
use shared::routing::Shard;
use system_tests::{shared_rabbitmq, unique_name, wait};
use uuid::Uuid;

use place::{Place, SOON, depth, flow, now, topology};

crate::on_both! {
    everything_is_taken_out_in_order_with_its_times
    what_was_not_removed_stays
    documents_are_exported_with_the_rest_of_their_time
    counters_are_exported_with_what_they_counted
    leases_that_are_held_are_named
    numbers_rise_above_those_of_another_store
}

const HOUR: Duration = Duration::from_secs(3_600);

fn message(shard: u16, body: String) -> Outbound {
    let shard = Shard { flow: flow(), number: shard };
    Outbound { shard, id: Uuid::now_v7(), body: body.into(), not_before: None }
}

fn bodies(messages: &[OpenMessage], shard: u16) -> Vec<String> {
    let of_shard = messages.iter().filter(|message| message.shard.number == shard);
    of_shard.map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect()
}

async fn everything_is_taken_out_in_order_with_its_times(place: Place) {
    let ready: Vec<Outbound> = (0..120).map(|n| message(n % 2, format!("ready {n}"))).collect();
    let due = later(now(), HOUR);
    let delayed = Outbound { not_before: Some(due), ..message(1, "delayed".to_owned()) };
    place.queue.publish(&[&ready[..], &[delayed]].concat()).await.unwrap();

    let mut unloading = place.queue.unload(&topology()).await.unwrap();
    let mut found = Vec::new();
    loop {
        let batch = unloading.next(50).await.unwrap();
        if batch.is_empty() {
            break;
        }
        assert!(batch.len() <= 50);
        found.extend(batch);
        unloading.remove().await.unwrap();
    }
    assert_eq!(found.len(), 121);
    let (early, late): (Vec<OpenMessage>, Vec<OpenMessage>) =
        found.into_iter().partition(|message| message.not_before.is_none());
    for shard in 0..2 {
        let expected: Vec<String> =
            (0..120).filter(|n| n % 2 == shard).map(|n| format!("ready {n}")).collect();
        assert_eq!(bodies(&early, shard), expected);
    }
    assert_eq!((late.len(), bodies(&late, 1)), (1, vec!["delayed".to_owned()]));
    assert!(late[0].not_before.is_some_and(|at| at >= due && at <= later(due, Duration::from_secs(1))));
    depth(&place, 0).await;
}

async fn what_was_not_removed_stays(place: Place) {
    let batch: Vec<Outbound> = (0..20).map(|n| message(0, n.to_string())).collect();
    place.queue.publish(&batch).await.unwrap();
    let mut unloading = place.queue.unload(&topology()).await.unwrap();
    assert_eq!(unloading.next(5).await.unwrap().len(), 5);
    unloading.remove().await.unwrap();
    assert_eq!(unloading.next(5).await.unwrap().len(), 5);
    drop(unloading);

    depth(&place, 15).await;
    let mut unloading = place.queue.unload(&topology()).await.unwrap();
    let left = unloading.next(50).await.unwrap();
    let mut left = bodies(&left, 0);
    left.sort_by_key(|number| number.parse::<u32>().unwrap());
    assert_eq!(left, (5..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn documents_are_exported_with_the_rest_of_their_time(place: Place) {
    // The queue's own, wherever it keeps it, is none of the store's documents.
    place.queue.remember("generation").await.unwrap();
    let stays = Write::put("link/a", b"1");
    place.state.write(stays).await.unwrap();
    let ends = Write { time_to_live: Some(HOUR), ..Write::put("retry/b", &[0, 255]) };
    place.state.write(ends).await.unwrap();
    let ended = Write { time_to_live: Some(Duration::from_millis(1)), ..Write::put("retry/c", b"3") };
    place.state.write(ended).await.unwrap();
    place.until_gone("retry/c").await;

    let first = place.state.export(None, 1).await.unwrap();
    assert_eq!(
        (first[0].key.as_str(), &first[0].value[..], first[0].time_to_live),
        ("link/a", &b"1"[..], None)
    );
    let rest = place.state.export(Some("link/a"), 10).await.unwrap();
    assert_eq!((rest.len(), rest[0].key.as_str(), &rest[0].value[..]), (1, "retry/b", &[0, 255][..]));
    let left = rest[0].time_to_live.unwrap();
    assert!(left <= HOUR && left + SOON > HOUR, "{left:?}");
}

async fn counters_are_exported_with_what_they_counted(place: Place) {
    assert_eq!(place.state.export_counters().await.unwrap(), []);
    place.state.count("budget/b", 5, HOUR).await.unwrap();
    place.state.count("budget/a", 2, HOUR).await.unwrap();
    place.state.count("budget/b", 1, HOUR).await.unwrap();
    let found = place.state.export_counters().await.unwrap();
    let values: Vec<(&str, u64)> =
        found.iter().map(|counter| (counter.key.as_str(), counter.value)).collect();
    assert_eq!(values, [("budget/a", 2), ("budget/b", 6)]);
    assert!(
        found.iter().all(|counter| counter.ends_in <= HOUR && counter.ends_in + SOON > HOUR),
        "{found:?}"
    );
}

async fn leases_that_are_held_are_named(place: Place) {
    assert_eq!(place.state.held_leases().await.unwrap(), Vec::<String>::new());
    for name in ["shard/parties.001", "leader"] {
        place.state.acquire_lease(name, "worker-1", HOUR).await.unwrap().unwrap();
    }
    assert_eq!(place.state.held_leases().await.unwrap(), ["leader", "shard/parties.001"]);
}

async fn numbers_rise_above_those_of_another_store(place: Place) {
    let term = place.state.acquire_lease("leader", "one", HOUR).await.unwrap().unwrap().term;
    let highest = place.state.rise_above(0).await.unwrap();
    assert!(highest >= term);
    // What the other store may have given out meanwhile.
    let floor = highest + 1;
    while let Err(problem) = place.state.rise_above(floor).await {
        assert!(matches!(problem, PortError::Misconfigured(_)), "{problem}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let term = place.state.acquire_lease("other", "one", HOUR).await.unwrap().unwrap().term;
    assert!(term > floor, "{term} is not above {floor}");
    place.state.write(Write::put("link/a", b"1")).await.unwrap();
    let version = place.state.get("link/a").await.unwrap().unwrap().version;
    assert!(version > floor, "{version} is not above {floor}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_due_while_a_batch_is_taken_is_found_in_its_shard() {
    let options = adapter_rabbitmq::Options {
        namespace: unique_name("transfer"),
        // How long it waits for a message that was counted.
        confirm_timeout: Duration::from_secs(4),
        delay_tiers_seconds: vec![2],
        ..Default::default()
    };
    let url = shared_rabbitmq().await.unwrap().url();
    let queue = RabbitmqQueue::new(&url, options, Arc::new(SystemClock)).unwrap();
    queue.prepare(&[topology()]).await.unwrap();
    let due = Some(later(now(), Duration::from_secs(2)));
    let batch: Vec<Outbound> =
        (0..20).map(|n| Outbound { not_before: due, ..message(0, n.to_string()) }).collect();
    queue.publish(&batch).await.unwrap();

    let mut unloading = queue.unload(&topology()).await.unwrap();
    let mut found = unloading.next(5).await.unwrap();
    let others = (batch.len() - found.len()) as u64;
    wait::until("the time of the others", SOON, async || match queue.depth(&topology()).await.unwrap() {
        depth if depth.ready == others => Ok(()),
        depth => Err(depth),
    })
    .await;
    unloading.remove().await.unwrap();
    loop {
        let batch = unloading.next(5).await.unwrap();
        if batch.is_empty() {
            break;
        }
        found.extend(batch);
        unloading.remove().await.unwrap();
    }
    let mut numbers: Vec<u32> = bodies(&found, 0).iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<u32>>());
}
