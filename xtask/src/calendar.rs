//! `cargo xtask calendar`: a scripted time of the flow `calendar`, as long and with as many people as wanted.
//! Everything goes wrong that can. At its end the store is emptied, and all links come back.

use crate::run::{Outcome, play};
use crate::variables::{self, Wanted};

/// What is played where nothing is said: a year of a firm.
const WANTED: [Wanted; 4] = [
    ("--days", "CALENDAR_DAYS", Some(365)),
    ("--users", "CALENDAR_USERS", Some(50)),
    ("--meetings", "CALENDAR_MEETINGS", Some(20_000)),
    ("--seed", "CALENDAR_SEED", None),
];

/// Plays one scripted time, with the optimiser, since it is long.
///
/// # Errors
/// When an argument is none, the build fails, or what the systems say differs from what they must say: the seed is named.
pub fn run(args: &[&str]) -> Outcome {
    let wanted = variables::read(args, &WANTED)?;
    play("calendar::time::a_month_of_an_office_ends_as_its_people_wrote", wanted)
}
