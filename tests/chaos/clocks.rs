//! Clocks that are set forth and back under the programs.

use std::path::{Path, PathBuf};

use system_tests::{Fleet, Member};

use crate::damage::moment;
use crate::people::People;
use crate::points::Hits;
use crate::stage::Stage;

/// By how many seconds a clock is off: up to four hours.
const OFFSET_MAX: usize = 4 * 3_600;
/// The smaller ones, which no system's log-in notices.
const SMALL_OFFSET_MAX: usize = 240;

/// The wall clock of one program after the other jumps by seconds to hours, forth and back, while people work: what
/// comes to an end by a clock comes to an end all the same, and no event is taken for seen that was not.
pub async fn clocks_jump(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let prepare = |fleet: &mut Fleet, _: &People| {
        let (hits, folder) = (Hits::of(fleet), fleet.folder().to_owned());
        for member in &mut fleet.members {
            let clock = clock_of(member, &folder);
            set(&clock, 0);
            hits.arm(member, &format!("clock.offset_seconds=return({})", clock.display()));
        }
    };
    let mut world = stage.open_with(stage.plan(backing, 2, 3), prepare).await;
    let folder = world.fleet.folder().to_owned();
    let (mut blows, wanted) = (0, stage.sizes.or(12, 200));
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        let dice = &mut stage.dice;
        let member = &members[dice.below(members.len())];
        let most = if dice.chance(0.5) { OFFSET_MAX } else { SMALL_OFFSET_MAX };
        let offset = i64::try_from(dice.below(2 * most + 1)).unwrap() - i64::try_from(most).unwrap();
        set(&clock_of(member, &folder), offset);
        tokio::time::sleep(moment(dice, 300, 1_500)).await;
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    for member in &world.fleet.members {
        set(&clock_of(member, &folder), 0);
    }
    stage.judge(world, &[]).await;
}

/// The file that says by how much the program's clock is off.
fn clock_of(member: &Member, folder: &Path) -> PathBuf {
    folder.join(format!("clock-{}", member.name()))
}

/// In one step: a program that reads half a number would be off by something else.
fn set(clock: &Path, seconds: i64) {
    let new = clock.with_extension("new");
    std::fs::write(&new, seconds.to_string()).and_then(|()| std::fs::rename(&new, clock)).unwrap();
}
