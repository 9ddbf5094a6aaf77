//! The suite of the queue port: every guarantee of [`shared::ports::queue`], on any backing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::{Consumer, Delivery, Depth, FlowTopology, Outbound, Queue};
use shared::record_key::FlowName;
use shared::routing::Shard;
use system_tests::wait;
use uuid::Uuid;

use crate::backing::QueueBacking;

pub mod dead_letters;
pub mod delays;
pub mod delivering;
pub mod marks;
pub mod publishing;
pub mod settling;

/// Every test of the suite, as a `#[tokio::test]` for the backing.
#[macro_export]
macro_rules! queue_suite {
    ($backing:ty) => {
        $crate::queue_suite!(@each $backing;
            publishing::a_published_batch_survives_a_crash
            publishing::bodies_arrive_as_they_were
            publishing::an_empty_batch_is_nothing
            publishing::what_was_not_prepared_is_an_error
            publishing::preparing_and_asking_can_be_repeated
            publishing::depth_counts_what_waits_what_is_held_and_what_is_delayed
            publishing::ten_thousand_messages_pass
            delivering::messages_of_a_shard_arrive_in_the_order_of_publishing
            delivering::no_more_than_the_prefetch_is_unsettled
            delivering::shards_do_not_wait_for_each_other
            delivering::a_shard_has_one_consumer_at_a_time
            delivering::a_wait_that_is_given_up_loses_nothing
            delivering::a_delivery_that_is_dropped_comes_again
            delivering::what_a_lost_consumer_held_comes_again
            delivering::what_a_dead_process_held_comes_again
            settling::what_was_acknowledged_never_comes_again
            settling::giving_back_costs_nothing
            settling::settling_after_the_consumer_has_ended_is_an_error
            delays::a_retry_has_its_new_body_and_never_comes_early
            delays::a_retry_survives_a_crash
            delays::a_retry_of_the_past_comes_at_once
            delays::a_message_published_for_later_never_comes_early
            delays::what_waits_lets_others_pass
            dead_letters::a_dead_letter_is_in_the_log_and_gone_from_its_shard
            dead_letters::scanning_is_repeatable_and_pageable
            dead_letters::one_record_is_read_by_its_position
            dead_letters::an_empty_log_is_an_empty_page
            dead_letters::resolving_twice_changes_nothing
            marks::a_mark_is_remembered_over_a_crash_until_it_is_forgotten
        );
    };
    (@each $backing:ty; $($part:ident :: $test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::queue::$part::$test::<$backing>().await;
            }
        )*
    };
}

/// Far more than anything here takes; a wait that runs out fails the test.
const SOON: Duration = Duration::from_secs(60);
/// How long to look for something that must not come.
const A_MOMENT: Duration = Duration::from_millis(400);

fn flow() -> FlowName {
    FlowName::new("parties").unwrap()
}

fn topology() -> FlowTopology {
    FlowTopology { flow: flow(), shards: 2 }
}

fn shard(number: u16) -> Shard {
    Shard { flow: flow(), number }
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// A message for shard 0 whose body is its number.
fn message(number: usize) -> Outbound {
    Outbound { shard: shard(0), id: Uuid::now_v7(), body: body(number), not_before: None }
}

fn messages(numbers: std::ops::Range<usize>) -> Vec<Outbound> {
    numbers.map(message).collect()
}

fn body(number: usize) -> Bytes {
    number.to_string().into()
}

fn number(delivery: &Delivery) -> usize {
    std::str::from_utf8(&delivery.body).unwrap().parse().unwrap()
}

async fn prepared<B: QueueBacking>(backing: &B) -> Arc<dyn Queue> {
    let queue = backing.open().await;
    queue.prepare(&[topology()]).await.unwrap();
    queue
}

async fn consumer(queue: &dyn Queue, prefetch: u16) -> Box<dyn Consumer> {
    queue.consume(&shard(0), prefetch).await.unwrap()
}

async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(SOON, consumer.next()).await.expect("a delivery").unwrap()
}

/// The next delivery's number; it is acknowledged.
async fn take(consumer: &mut dyn Consumer) -> usize {
    let delivery = next(consumer).await;
    let number = number(&delivery);
    delivery.receipt.ack().await.unwrap();
    number
}

async fn assert_nothing_comes(consumer: &mut dyn Consumer) {
    let came = tokio::time::timeout(A_MOMENT, consumer.next()).await;
    assert!(came.is_err(), "nothing must come, came: {came:?}");
}

async fn wait_for_depth(queue: &dyn Queue, ready: u64, delayed: u64) -> Depth {
    let what = format!("depth of {ready} ready and {delayed} delayed");
    wait::until(&what, SOON, async || {
        let depth = queue.depth(&topology()).await.unwrap();
        if (depth.ready, depth.delayed) == (ready, delayed) { Ok(depth) } else { Err(depth) }
    })
    .await
}
