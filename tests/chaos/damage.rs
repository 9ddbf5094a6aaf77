//! Damage on a seeded schedule, while people go on working.

use std::time::Duration;

use simulators::Dice;
use system_tests::{Kind, Member};

use crate::stage::Stage;

/// A moment between these two, in milliseconds.
pub fn moment(dice: &mut Dice, from_ms: u64, to_ms: u64) -> Duration {
    let spread = usize::try_from(to_ms - from_ms).unwrap_or(usize::MAX);
    Duration::from_millis(from_ms + dice.below(spread) as u64)
}

/// No blow at all: people just work.
pub async fn calm(_: &mut [Member], _: &mut Stage) -> bool {
    tokio::time::sleep(Duration::from_millis(100)).await;
    true
}

/// One of the programs of this kind.
pub fn one_of<'a>(members: &'a mut [Member], kind: Kind, dice: &mut Dice) -> &'a mut Member {
    let mut fitting: Vec<&mut Member> = members.iter_mut().filter(|member| member.kind() == kind).collect();
    let chosen = dice.below(fitting.len());
    fitting.swap_remove(chosen)
}
