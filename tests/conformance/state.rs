//! The suite of the state port: every guarantee of [`shared::ports::state`], on any backing.

use std::sync::Arc;
use std::time::Duration;

use shared::ports::state::{Expected, State, Versioned, Write, Written};
use system_tests::wait;

use crate::backing::StateBacking;

pub mod counters;
pub mod documents;
pub mod leases;
pub mod scans;

/// Every test of the suite, as a `#[tokio::test]` for the backing.
#[macro_export]
macro_rules! state_suite {
    ($backing:ty) => {
        $crate::state_suite!(@each $backing;
            documents::a_document_is_written_read_and_deleted
            documents::documents_are_read_together_in_the_order_asked_for
            documents::which_documents_are_there_is_told_in_the_order_asked_for
            documents::a_write_happens_only_on_what_was_expected
            documents::a_version_is_never_used_twice
            documents::of_many_writers_one_wins_each_version
            documents::a_document_ends_by_itself_and_not_before
            documents::a_new_write_sets_a_new_end
            documents::documents_survive_a_crash
            documents::what_is_too_large_is_refused
            documents::asking_whether_it_answers_can_be_repeated
            scans::a_scan_is_ordered_bytewise_and_pageable
            scans::a_prefix_is_no_pattern
            scans::a_scan_sees_what_existed_all_along
            leases::a_lease_has_one_holder
            leases::a_lease_ends_by_itself_and_can_be_taken_over
            leases::only_the_holder_renews_and_releases
            leases::terms_rise_over_a_crash
            leases::of_many_that_ask_one_gets_it
            leases::a_fenced_write_needs_the_present_term
            leases::a_fenced_write_after_a_takeover_never_happens
            counters::a_counter_adds_up_under_concurrency
            counters::a_counter_ends_with_the_window_of_its_first_addition
        );
    };
    (@each $backing:ty; $($part:ident :: $test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::state::$part::$test::<$backing>().await;
            }
        )*
    };
}

/// Far more than anything here takes; a wait that runs out fails the test.
const SOON: Duration = Duration::from_secs(60);
/// A lease or document that is to end within the test.
const BRIEF: Duration = Duration::from_millis(1_500);
/// A lease or document that is not.
const LONG: Duration = Duration::from_secs(3_600);

/// Writes whatever is there, and answers the version.
async fn put(state: &dyn State, key: &str, value: &str) -> u64 {
    match state.write(Write::put(key, value.as_bytes())).await.unwrap() {
        Written::Done(version) => version,
        Written::Clash => panic!("a write that expects nothing clashed"),
    }
}

async fn put_if(state: &dyn State, key: &str, value: &str, expected: Expected) -> Written {
    state.write(Write { expected, ..Write::put(key, value.as_bytes()) }).await.unwrap()
}

async fn text(state: &dyn State, key: &str) -> Option<String> {
    let found = state.get(key).await.unwrap();
    found.map(|document| String::from_utf8(document.value).unwrap())
}

fn versioned(value: &str, version: u64) -> Versioned {
    Versioned { value: value.as_bytes().to_vec(), version }
}
