//! A store that is emptied, or comes back as an older copy of itself.

use std::time::Duration;

use adapter_redis::RedisState;
use shared::generation::{self, Generation, Loss, Standing};
use shared::ports::PortError;
use shared::ports::queue::Queue;
use shared::ports::state::{Fence, State, Write};
use system_tests::{Redis, shared_rabbitmq, unique_name, wait};

use super::{SOON, now, options, queue_at};

const TTL: Duration = Duration::from_secs(600);

async fn queue() -> impl Queue {
    queue_at(&shared_rabbitmq().await.unwrap().url(), options())
}

/// The store as one of several processes sees it.
fn process(redis: &Redis, prefix: &str) -> RedisState {
    let options = adapter_redis::Options { prefix: prefix.to_owned(), ..Default::default() };
    RedisState::new(&redis.url(), options).unwrap()
}

async fn entered(queue: &impl Queue, state: &RedisState) -> Generation {
    match generation::look(queue, state, None).await.unwrap() {
        Standing::Known(generation) => {
            state.enter(&generation);
            generation
        }
        lost => panic!("{lost:?}"),
    }
}

async fn lease(state: &RedisState, holder: &str) -> Option<Fence> {
    let grant = state.acquire_lease("l", holder, TTL).await.unwrap()?;
    Some(Fence { lease: "l".into(), term: grant.term })
}

/// Everything that a process does in a store is refused.
async fn refuses(state: &RedisState, fence: &Fence) {
    let is_lost = |outcome: Result<String, PortError>| {
        assert!(matches!(outcome, Err(PortError::Lost(_))), "{outcome:?}");
    };
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    is_lost(state.get("a").await.map(|found| text(&found)));
    is_lost(state.get_many(&["a", "b"]).await.map(|found| text(&found)));
    is_lost(state.are_present(&["a"]).await.map(|found| text(&found)));
    is_lost(state.scan("", None, 10).await.map(|found| text(&found)));
    is_lost(state.write(Write::put("a", b"new")).await.map(|written| text(&written)));
    is_lost(state.write(Write { fence: Some(fence), ..Write::put("a", b"new") }).await.map(|w| text(&w)));
    is_lost(state.write(Write::delete("a")).await.map(|written| text(&written)));
    is_lost(state.acquire_lease("l", "me", TTL).await.map(|grant| text(&grant)));
    is_lost(state.acquire_lease("another", "me", TTL).await.map(|grant| text(&grant)));
    assert!(!state.renew_lease(fence, "me", TTL).await.unwrap());
}

#[tokio::test]
async fn nothing_is_done_in_an_emptied_store_before_a_person_has_released_it() {
    let (redis, queue) = (Redis::start().await.unwrap(), queue().await);
    let prefix = unique_name("generation");
    let state = process(&redis, &prefix);
    let known = entered(&queue, &state).await;
    state.write(Write::put("a", b"1")).await.unwrap();
    let fence = lease(&state, "me").await.unwrap();
    redis.control(&["FLUSHALL"]).await.unwrap();

    refuses(&state, &fence).await;
    assert_eq!(redis.control(&["DBSIZE"]).await.unwrap(), "0", "nothing was written");
    let newcomer = process(&redis, &prefix);
    for entered in [Some(&known), None] {
        let standing = generation::look(&queue, &newcomer, entered).await.unwrap();
        assert_eq!(standing, Standing::Lost(Loss::Emptied));
    }

    let released = generation::release(&queue, &newcomer, "anna", now()).await.unwrap().unwrap();
    refuses(&state, &fence).await;
    assert_eq!(entered(&queue, &state).await.id, released.id);
    assert_eq!(state.get("a").await.unwrap(), None);
    let fenced = state.write(Write { fence: Some(&fence), ..Write::put("a", b"old") }).await;
    assert!(matches!(fenced, Err(PortError::Fenced(_))), "{fenced:?}");
    assert!(lease(&state, "me").await.unwrap().term > fence.term);
    assert_eq!(generation::release(&queue, &newcomer, "anna", now()).await.unwrap(), None, "it is released");
}

#[tokio::test]
async fn an_older_copy_is_noticed_at_the_first_request_and_its_leases_are_nobodys() {
    let (mut redis, queue) = (Redis::start().await.unwrap(), queue().await);
    let prefix = unique_name("generation");
    let state = process(&redis, &prefix);
    let known = entered(&queue, &state).await;
    state.write(Write::put("a", b"1")).await.unwrap();
    let fence = lease(&state, "me").await.unwrap();
    let copy = redis.back_up().unwrap();
    let later = generation::beat(&state, known).await.unwrap();
    assert!(later.version > known.version);
    state.enter(&later);
    state.write(Write { fence: Some(&fence), ..Write::put("a", b"2") }).await.unwrap();
    redis.restore(&copy).await.unwrap();

    wait::until("answer", SOON, async || state.ping().await).await;
    refuses(&state, &fence).await;
    assert_eq!(generation::look(&queue, &state, Some(&later)).await.unwrap(), Standing::Lost(Loss::Older));
    // Who has just started knows no better than the copy: it is told by the flag.
    let newcomer = process(&redis, &prefix);
    assert_eq!(generation::look(&queue, &newcomer, None).await.unwrap(), Standing::Lost(Loss::Older));

    generation::release(&queue, &newcomer, "anna", now()).await.unwrap().unwrap();
    entered(&queue, &newcomer).await;
    entered(&queue, &state).await;
    assert_eq!(newcomer.get("a").await.unwrap().unwrap().value, b"1");
    assert!(!state.renew_lease(&fence, "me", TTL).await.unwrap());
    assert!(lease(&newcomer, "other").await.is_some(), "the lease in the copy is nobody's");
    assert!(lease(&state, "me").await.is_none());
}

#[tokio::test]
async fn a_fleet_that_was_stopped_notices_a_copy_that_is_older_than_the_queue_knows() {
    let (mut redis, queue) = (Redis::start().await.unwrap(), queue().await);
    let prefix = unique_name("generation");
    let known = entered(&queue, &process(&redis, &prefix)).await;
    let copy = redis.back_up().unwrap();
    let state = process(&redis, &prefix);
    let next = generation::advance(&queue, &state, known).await.unwrap();
    assert_eq!(next.number, known.number + 1);
    assert_eq!(generation::loss(&queue, &state).await.unwrap(), None);
    redis.restore(&copy).await.unwrap();
    let state = process(&redis, &prefix);
    assert_eq!(generation::loss(&queue, &state).await.unwrap(), Some(Loss::Older));
    assert_eq!(generation::look(&queue, &state, None).await.unwrap(), Standing::Lost(Loss::Older));
    assert!(generation::release(&queue, &state, "anna", now()).await.unwrap().is_some());
    assert_eq!(generation::loss(&queue, &state).await.unwrap(), None);
}
