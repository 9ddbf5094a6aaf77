//! The fleet is broken on purpose, in every way that is known, and an outside ledger judges what came of it: the
//! simulators' journals, what people did, the queue and the dead letters. No code of the flow takes part in judging.
//!
//! Each case is a test. The short form, which continuous integration runs, has a fixed seed; `cargo xtask chaos`
//! plays the long form for as long as it is told to. A case that fails says how to play it again.
//!
//! To add a case: a function in the file of its family, and a line in the table below.
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

mod kills;

/// Name of each case, with the parties laid out and the syncs done: in the short form, then in the long one.
macro_rules! cases {
    ($($family:ident :: $name:ident ($($short:expr),+) ($($long:expr),+);)+) => {
        $(
            #[test]
            fn $name() {
                let case = case::Case {
                    name: stringify!($name),
                    short: case::Sizes::new($($short),+),
                    long: case::Sizes::new($($long),+),
                };
                case.play(async |stage| $family::$name(stage).await);
            }
        )+
    };
}

cases! {
    kills::workers_are_killed               (150, 1_000)    (400, 10_000);
}
