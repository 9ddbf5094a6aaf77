//! The first sync of a company by the real worker, at a target that lets so many requests in: how near it comes to that,
//! what memory it takes, and what an operator is told meanwhile.

mod ceiling;
pub mod place;
pub mod systems;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use system_tests::{Backing, Program};
use tokio::time::sleep;

use crate::Size;
use crate::processes::peak_mb;
use crate::table::{Goal, MEGABYTES, PER_SECOND, Table};
use place::{Place, Systems};

/// What the target lets in; a simulator can do far more.
const REQUESTS_PER_SECOND: u32 = 200;
const LOOK_PAUSE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest time of a compare of everything.
const DIFF_TIME_MAX: Duration = Duration::from_secs(1_200);

/// What is seen at one time.
struct Look {
    at: Timestamp,
    phase: String,
    requests: f64,
    left_seconds: Option<u64>,
}

/// Measures one first sync.
pub async fn measure(table: &mut Table, size: Size) {
    let (departments, members) = match size {
        Size::Quick => (25, 500),
        Size::Usual => (500, 10_000),
        Size::Full => (5_000, 100_000),
    };
    let numbers = [departments, members, u64::from(REQUESTS_PER_SECOND)].map(|number| number.to_string());
    let systems = Program::at(std::env::current_exe().unwrap()).arg(systems::WORD).args(numbers);
    let mut systems = systems.start().unwrap();
    let line = systems.wait_for_log(systems::READY, PATIENCE).await.unwrap();
    let (wecom, scim) = line.trim_start_matches(systems::READY).split_once(' ').unwrap();
    let target = scim.trim_start_matches("http://").parse().unwrap();
    let place = Place::new(&Backing::Embedded, &Systems { wecom, scim, per_second: REQUESTS_PER_SECOND }, "");

    let bare_time = Duration::from_secs(if size == Size::Quick { 3 } else { 15 });
    let before = ceiling::measure(target, "before", bare_time).await;
    let mut worker = place.start("worker").await;
    let begun = Instant::now();
    let outcome = place.command(&["directory", "first-sync", "--by", "bench", "--json"], PATIENCE).await;
    assert_eq!(outcome["outcome"], "begun", "{outcome:#}");
    let (looks, status) = until_done(&place).await;
    let seconds = begun.elapsed();
    let after = ceiling::measure(target, "after", bare_time).await;

    let what = format!("first sync of {members} members in {departments} departments");
    let all = [rate(&looks[..])];
    let bare = [f64::midpoint(before, after)];
    table.compare(
        format!("{what}: requests to the target, beside a bare client"),
        PER_SECOND,
        &all,
        &bare,
        Goal::AtLeast(0.9),
    );
    for (phase, looks) in by_phase(&looks) {
        let (time, rate) = (seconds_between(&looks), rate(&looks));
        let per_second = format!("{rate:.0} requests a second for {time:.0} s");
        table.show(format!("{what}: phase {phase}"), per_second);
    }
    table.add(
        format!("{what}: most memory of the worker"),
        MEGABYTES,
        &[peak_mb(worker.pid())],
        Goal::AtMost(200.0),
    );
    table.show(format!("{what}: time"), format!("{:.0} s", seconds.as_secs_f64()));
    table.show(format!("{what}: seconds left that the status said, and that were left"), promises(&looks));
    worker.terminate();
    assert!(worker.wait_exit(PATIENCE).await.unwrap().success(), "{}", worker.log());
    let diff = place.command(&["directory", "diff", "--json"], DIFF_TIME_MAX).await;
    let found = format!("{} odd, {} equal of {}", status["first_sync"]["odd"], diff["equal"], diff["wecom"]);
    let is_equal = diff["equal"] == diff["wecom"] && diff["wecom"] == diff["target"];
    table.state(
        format!("{what}: both sides agree"),
        found,
        "all",
        is_equal && status["first_sync"]["odd"] == 0,
    );
    systems.kill_9();
}

/// Looks as an operator does until it is over.
async fn until_done(place: &Place) -> (Vec<Look>, Value) {
    let mut looks = Vec::new();
    loop {
        let status = place.command(&["directory", "status", "--json"], PATIENCE).await;
        let sync = &status["first_sync"];
        let text = |name: &str| sync[name].as_str().unwrap_or_default().to_owned();
        let look = Look {
            at: status["at"].as_str().unwrap().parse().unwrap(),
            phase: text("phase"),
            requests: place.requests_let_in("scim").await,
            left_seconds: sync["left_seconds"].as_u64(),
        };
        eprintln!(
            "{}: {} of {} done, {} a second, {:?} s left, {} requests",
            look.phase, sync["done"], sync["total"], sync["per_second"], look.left_seconds, look.requests
        );
        let is_over = look.phase == "done";
        looks.push(look);
        if is_over {
            return (looks, status);
        }
        sleep(LOOK_PAUSE).await;
    }
}

fn seconds_between(looks: &[&Look]) -> f64 {
    match looks {
        [first, .., last] => last.at.duration_since(first.at).as_secs_f64(),
        _ => 0.0,
    }
}

/// Requests a second between the first look and the last.
fn rate<L: std::borrow::Borrow<Look>>(looks: &[L]) -> f64 {
    let looks: Vec<&Look> = looks.iter().map(std::borrow::Borrow::borrow).collect();
    let requests = looks[looks.len() - 1].requests - looks[0].requests;
    requests / seconds_between(&looks).max(f64::EPSILON)
}

/// The looks of each phase that was seen at least twice.
fn by_phase(looks: &[Look]) -> Vec<(&str, Vec<&Look>)> {
    let mut phases: Vec<(&str, Vec<&Look>)> = Vec::new();
    for look in looks {
        match phases.last_mut() {
            Some((phase, of)) if *phase == look.phase => of.push(look),
            _ => phases.push((&look.phase, vec![look])),
        }
    }
    phases.retain(|(_, looks)| looks.len() > 1);
    phases
}

/// At a quarter, half and three quarters of the looks.
fn promises(looks: &[Look]) -> String {
    let end = looks[looks.len() - 1].at;
    let said = |quarter: usize| {
        let look = &looks[looks.len() * quarter / 4];
        let left = look.left_seconds.map_or_else(|| "?".to_owned(), |left| left.to_string());
        format!("{left}: {:.0}", end.duration_since(look.at).as_secs_f64())
    };
    [1, 2, 3].map(said).join(", ")
}
