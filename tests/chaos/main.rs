//! The fleet is broken on purpose, in every way that is known, and an outside ledger judges what came of it: the
//! simulators' journals, what people did, the queue and the dead letters. No code of the flow takes part in judging.
//!
//! Each case is a test. The short form, which continuous integration runs, has a fixed seed; `cargo xtask chaos`
//! plays the long form for as long as it is told to. A case that fails says how to play it again.
//!
//! To add a case: a function in the file of its family, and a line in the table below. What takes minutes by its nature
//! stands under `[long_only]`: it has one form, its name in the list of tests begins with that word, and continuous
//! integration leaves it out by it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; seeds and counts are printed"
)]

mod case;
mod damage;
mod ledger;
mod people;
mod points;
mod stage;

mod broker;
mod clocks;
mod cluster;
mod intake;
mod kills;
mod leader;
mod letters;
mod lists;
mod messages;
mod poison;
mod rolling;
mod slow_disk;
mod store;
mod stuck;
mod upstreams;

/// Name of each case, with the parties laid out and the syncs done: in the short form, then in the long one.
macro_rules! cases {
    ($($family:ident :: $name:ident ($($short:expr),+) ($($long:expr),+);)+
     [long_only] $($long_family:ident :: $long_name:ident ($($sizes:expr),+);)+) => {
        $(
            #[test]
            fn $name() {
                let short = Some(case::Sizes::new($($short),+));
                let case = case::Case { name: stringify!($name), short, long: case::Sizes::new($($long),+) };
                case.play(async |stage| $family::$name(stage).await);
            }
        )+
        mod long_only {
            use crate::*;
            $(
                #[test]
                fn $long_name() {
                    let name = concat!("long_only::", stringify!($long_name));
                    let case = case::Case { name, short: None, long: case::Sizes::new($($sizes),+) };
                    case.play(async |stage| $long_family::$long_name(stage).await);
                }
            )+
        }
    };
}

cases! {
    kills::workers_are_killed                               (400, 600)      (1_500, 3_000);
    kills::workers_are_frozen                               (100, 500)      (300, 6_000);
    kills::programs_are_stopped_again_and_again             (100, 500)      (300, 6_000);
    points::programs_die_at_labelled_points                 (60, 1)         (200, 100);
    intake::producers_die_between_taking_and_answering      (50, 2)         (100, 100);
    intake::many_webhooks_for_one_record_cost_few_runs      (5, 1_000)      (5, 1_000);
    intake::a_burst_is_taken_within_bounds                  (200, 5_000)    (1_000, 100_000);
    leader::the_leader_is_killed_and_frozen                 (50, 300)       (200, 4_000);
    broker::the_broker_is_restarted_killed_and_frozen       (50, 500)       (200, 5_000);
    broker::connections_are_cut_in_mid_confirm              (50, 500)       (200, 5_000);
    store::the_store_is_restarted_killed_and_frozen         (50, 500)       (200, 5_000);
    store::the_store_is_slow                                (50, 300)       (200, 5_000);
    messages::messages_are_doubled_and_reordered            (50, 300)       (200, 3_000);
    upstreams::upstreams_answer_in_every_wrong_way          (50, 600)       (200, 6_000);
    upstreams::a_long_outage_makes_no_dead_letters          (50, 0)         (200, 0);
    poison::poison_is_buried_and_harms_no_other              (50, 100)       (200, 1_000);
    rolling::the_next_version_is_rolled_out                 (50, 400)       (200, 4_000);
    letters::all_dead_letters_are_replayed_twice_at_once    (20, 100)       (50, 1_000);
    store::the_store_is_flushed                             (50, 150)       (150, 500);
    lists::lists_come_empty_and_truncated                   (60, 200)       (200, 3_000);
    clocks::clocks_jump                                     (50, 300)       (200, 4_000);
    stuck::poison_that_loops_is_buried                      (20, 60)        (100, 1_000);
    [long_only]
    slow_disk::the_disk_is_slow                             (100, 2_000);
    cluster::nodes_of_the_broker_are_lost                   (200, 3_000);
    cluster::the_store_fails_over                           (200, 2_000);
}
