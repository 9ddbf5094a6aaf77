//! A burst of callbacks, as a file import in WeCom sends it: each is durable once it is answered 200, and what is too much is
//! asked to come again.

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::callbacks::{Callbacks, PATH, send};

use super::installation::{Installation, Setup};
use super::place::Place;

const CALLBACKS: usize = 10_000;
const PER_SECOND: u32 = 1_000;
const CONNECTIONS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callbacks_in_ten_seconds_are_all_kept() {
    let installation =
        Installation::start(Place::simulated().await, Setup { workers: 0, ..Setup::default() }).await;
    let callbacks = Callbacks::new().unwrap();
    let address = installation.callback_url.replace("http://", "").replace(PATH, "");
    let address: SocketAddr = address.parse().unwrap();
    let requests: Vec<Vec<u8>> = (0..CALLBACKS).map(|n| callbacks.request(n)).collect();
    let answers = send(address, &requests, CONNECTIONS, Some(PER_SECOND)).await.unwrap();
    let accepted = answers.iter().filter(|answered| answered.status == 200).count();
    let mut times: Vec<Duration> = answers.iter().map(|answered| answered.time).collect();
    times.sort();
    println!(
        "{accepted} of {CALLBACKS} at {PER_SECOND}/s: p50 {:?}, p99 {:?}",
        times[CALLBACKS / 2],
        times[CALLBACKS * 99 / 100]
    );
    assert_eq!(
        accepted,
        CALLBACKS,
        "answered otherwise: {:?}",
        answers.iter().find(|answered| answered.status != 200)
    );
    assert_eq!(installation.waiting().await, CALLBACKS as u64, "each is a message");
    // More at once than the producer takes: nobody waits, and who is refused knows it.
    let flood: Vec<Vec<u8>> = (0..3_000).map(|n| callbacks.request(CALLBACKS + n)).collect();
    let answers = send(address, &flood, 3 * CONNECTIONS, None).await.unwrap();
    let accepted = answers.iter().filter(|answered| answered.status == 200).count();
    assert!(answers.iter().all(|answered| [200, 503].contains(&answered.status)), "only 200 and 503");
    assert_eq!(installation.waiting().await, (CALLBACKS + accepted) as u64, "what was accepted is there");
    println!("{accepted} of {} at once were accepted", flood.len());
    installation.end().await;
}
