//! What Redis must do beyond the common suite: over restarts, without memory, standing still.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shared::flow::Verdict;
use shared::ports::PortError;
use shared::ports::state::{Expected, Fence, State as _, Write, Written};
use system_tests::{Redis, shared_redis, wait};

use super::{SOON, state_at};

const TTL: Duration = Duration::from_secs(600);

async fn control(url: &str, command: &[&str]) {
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(command[0]).arg(&command[1..]).exec_async(&mut connection).await.unwrap();
}

async fn put(state: &adapter_redis::RedisState, key: &str, value: &[u8]) -> u64 {
    match state.write(Write::put(key, value)).await.unwrap() {
        Written::Done(version) => version,
        Written::Clash => panic!("nothing was expected"),
    }
}

#[tokio::test]
async fn documents_leases_and_terms_survive_a_restart() {
    let mut redis = Redis::start().await.unwrap();
    let state = state_at(&redis.url());
    let version = put(&state, "link/a", b"\x00\xff").await;
    let first = state.acquire_lease("l", "me", TTL).await.unwrap().unwrap();
    redis.restart().await.unwrap();
    let kept = wait::until("document", SOON, async || state.get("link/a").await).await.unwrap();
    assert_eq!((kept.version, &kept.value[..]), (version, &b"\x00\xff"[..]));
    let fence = Fence { lease: "l".into(), term: first.term };
    assert!(state.renew_lease(&fence, "me", TTL).await.unwrap());
    state.release_lease(&fence, "me").await.unwrap();
    redis.restart().await.unwrap();
    let second =
        wait::until("lease", SOON, async || state.acquire_lease("l", "you", TTL).await).await.unwrap();
    assert!(second.term > first.term);
    assert!(put(&state, "link/a", b"2").await > version);
}

#[tokio::test]
async fn terms_and_versions_rise_even_when_the_store_has_forgotten_them() {
    let redis = Redis::start().await.unwrap();
    let state = state_at(&redis.url());
    let version = put(&state, "a", b"1").await;
    let term = state.acquire_lease("l", "me", TTL).await.unwrap().unwrap().term;
    control(&redis.url(), &["FLUSHALL"]).await;
    assert!(put(&state, "a", b"1").await > version);
    assert!(state.acquire_lease("l", "me", TTL).await.unwrap().unwrap().term > term);
    control(&redis.url(), &["SCRIPT", "FLUSH"]).await;
    put(&state, "a", b"2").await;
}

#[tokio::test]
async fn documents_that_end_by_themselves_and_are_never_looked_for_leave_no_growing_index() {
    let redis = Redis::start().await.unwrap();
    let options = adapter_redis::Options { prefix: "t".to_owned(), ..adapter_redis::Options::default() };
    let state = adapter_redis::RedisState::new(&redis.url(), options).unwrap();
    put(&state, "link/kept", b"1").await;
    let brief = Duration::from_millis(1);
    for number in 0..2_000 {
        let key = format!("letters/id/{number}");
        state.write(Write { time_to_live: Some(brief), ..Write::put(&key, b"1") }).await.unwrap();
    }
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let entries: u64 = redis::cmd("ZCARD").arg("t/index").query_async(&mut connection).await.unwrap();
    assert!(entries < 200, "{entries} entries for one document");
    let kept = state.scan("", None, 10).await.unwrap();
    assert_eq!(kept.iter().filter(|(key, _)| key == "link/kept").count(), 1);
}

#[tokio::test]
async fn writers_that_compare_lose_no_update() {
    let state = state_at(&shared_redis().await.unwrap().url());
    put(&state, "n", b"0").await;
    let add_one = async || loop {
        let found = state.get("n").await.unwrap().unwrap();
        let sum = String::from_utf8(found.value).unwrap().parse::<u32>().unwrap() + 1;
        let value = sum.to_string();
        let expected = Expected::Version(found.version);
        let write = Write { expected, ..Write::put("n", value.as_bytes()) };
        if state.write(write).await.unwrap() != Written::Clash {
            return;
        }
    };
    join_all((0..40).map(|_| add_one())).await;
    assert_eq!(state.get("n").await.unwrap().unwrap().value, b"40");
}

#[tokio::test]
async fn a_scan_is_whole_over_many_steps_large_documents_and_ended_ones() {
    let state = state_at(&shared_redis().await.unwrap().url());
    let large = vec![b'x'; 200_000];
    let keys: Vec<String> = (0..2_500).map(|n| format!("s/{n:05}")).collect();
    for part in keys.chunks(250) {
        join_all(part.iter().map(|key| put(&state, key, b"v"))).await;
    }
    for n in 0..40 {
        put(&state, &format!("s/{n:05}"), &large).await;
    }
    let short = Some(Duration::from_millis(1));
    let ending: Vec<Write<'_>> =
        keys[100..1_700].iter().map(|key| Write { time_to_live: short, ..Write::put(key, b"") }).collect();
    join_all(ending.into_iter().map(|write| state.write(write))).await;
    wait::until("end of the last document", SOON, async || match state.get(&keys[1_699]).await.unwrap() {
        None => Ok(()),
        Some(document) => Err(document),
    })
    .await;
    let found = state.scan("s/", None, 10_000).await.unwrap();
    let expected: Vec<&String> = keys[..100].iter().chain(&keys[1_700..]).collect();
    assert_eq!(found.iter().map(|(key, _)| key).collect::<Vec<_>>(), expected);
    let page = state.scan("s/", Some(&keys[98]), 2).await.unwrap();
    assert_eq!(page.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&keys[99], &keys[1_700]]);
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers() {
    let redis = Redis::start().await.unwrap();
    let state = state_at(&redis.url());
    control(&redis.url(), &["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = state.write(Write::put("a", b"1")).await.unwrap_err();
    assert!(matches!(&error, PortError::Full(text) if text.contains("maxmemory")), "{error}");
    assert_eq!(state.get("a").await.unwrap(), None);
    control(&redis.url(), &["CONFIG", "SET", "maxmemory", "0"]).await;
    put(&state, "a", b"1").await;
    control(&redis.url(), &["CONFIG", "SET", "requirepass", "geheim"]).await;
    let stranger = state_at(&redis.url());
    let error = stranger.ping().await.unwrap_err();
    assert!(matches!(&error, PortError::Misconfigured(text) if text.contains("password")), "{error}");
    let wrong = redis.url().replace("redis://", "redis://:falsch@");
    let error = state_at(&wrong).ping().await.unwrap_err();
    assert!(matches!(&error, PortError::Misconfigured(text) if !text.contains("falsch")), "{error}");
    let right = redis.url().replace("redis://", "redis://:geheim@");
    state_at(&right).ping().await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_away_or_frozen_is_noticed_and_waited_for() {
    let mut redis = Redis::start().await.unwrap();
    let state = state_at(&redis.url());
    put(&state, "a", b"1").await;
    redis.kill_9();
    let error = state.get("a").await.unwrap_err();
    let port = redis.port().to_string();
    assert!(matches!(&error, PortError::Unavailable(text) if text.contains(&port)), "{error}");
    assert!(state.ping().await.is_err());
    redis.restart().await.unwrap();
    wait::until("answer", SOON, async || state.ping().await).await;
    redis.freeze();
    let frozen = Instant::now();
    assert!(matches!(state.ping().await, Err(PortError::Unavailable(_))));
    assert!(frozen.elapsed() < Duration::from_secs(20), "noticed after {:?}", frozen.elapsed());
    redis.thaw();
    wait::until("answer", SOON, async || state.ping().await).await;
}

#[tokio::test]
async fn the_check_knows_a_store_that_forgets() {
    let redis = Redis::start().await.unwrap();
    let state = state_at(&redis.url());
    let good = state.check().await;
    assert!(good.iter().all(|check| check.verdict == Verdict::Well), "{good:?}");
    control(&redis.url(), &["CONFIG", "SET", "appendonly", "no"]).await;
    control(&redis.url(), &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let bad = state.check().await;
    assert_eq!(bad.iter().filter(|check| check.verdict == Verdict::Warning).count(), 2, "{bad:?}");
    let nobody = state_at("redis://127.0.0.1:1/0").check().await;
    assert_eq!(nobody[0].verdict, Verdict::Broken);
}
