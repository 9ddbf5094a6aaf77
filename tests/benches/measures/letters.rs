//! The list of dead letters, as an operator asks for it: a program that is started, looks, prints and ends.

use std::time::{Duration, Instant};

use shared::dead_letter::DeadLetterEvent;
use shared::ports::queue::FlowTopology;
use shared::record_key::FlowName;
use system_tests::letters::{append, letter};
use system_tests::{Backing, Fleet, Plan};

use crate::Size;
use crate::flow::SHARDS;
use crate::servers::Servers;
use crate::table::{Goal, MILLISECONDS, Table, milliseconds};

/// What is asked, and whether the issue sets a time for it.
const QUESTIONS: [(&str, &[&str], Goal); 3] = [
    ("first page", &["dlq", "list"], Goal::AtMost(300.0)),
    ("by reason", &["dlq", "list", "--reason", "attempts_spent"], Goal::AtMost(300.0)),
    ("groups", &["dlq", "groups"], Goal::Shown),
];
const LETTERS: usize = 100_000;
const RUNS: usize = 7;

/// Measures both backings.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let fleet = Backing::Servers { rabbitmq: servers.rabbitmq.url(), redis: servers.redis.url() };
    look_at(table, "RabbitMQ and Redis", fleet, size).await;
    look_at(table, "embedded", Backing::Embedded, size).await;
}

async fn look_at(table: &mut Table, backing_name: &str, backing: Backing, size: Size) {
    let count = u32::try_from(size.of(LETTERS)).unwrap();
    let fleet = Fleet::new(Plan::new(backing, 0, 0)).await.unwrap();
    let queue = fleet.queue().unwrap();
    let topology = FlowTopology { flow: FlowName::new("parties").unwrap(), shards: SHARDS };
    queue.prepare(&[topology]).await.unwrap();
    let opened = |number| DeadLetterEvent::Opened { letter: Box::new(letter(number).unwrap()) };
    append(queue.as_ref(), (0..count).map(opened)).await.unwrap();
    // Whoever looks first after so many were appended brings the list up to date.
    let first = timed(&fleet, QUESTIONS[0].1).await;
    let what = format!("{count} dead letters, {backing_name}: the first look at them");
    table.add(what, MILLISECONDS, &milliseconds(&[first]), Goal::Shown);
    for (question, args, goal) in QUESTIONS {
        let mut times = Vec::new();
        for _ in 0..size.runs(RUNS) {
            times.push(timed(&fleet, args).await);
        }
        let what =
            format!("{count} dead letters, {backing_name}: {question}, from start to end of the program");
        table.add(what, MILLISECONDS, &milliseconds(&times), goal);
    }
}

async fn timed(fleet: &Fleet, args: &[&str]) -> Duration {
    let begun = Instant::now();
    let printed = fleet.operate(args).await.unwrap();
    let time = begun.elapsed();
    assert!(printed.contains("timeout"), "{printed}");
    time
}
