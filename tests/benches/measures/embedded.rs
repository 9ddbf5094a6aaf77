//! The embedded queue beside the bare database: the same syncing to disk, and what any queue of shards must write,
//! found by an index; nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use rusqlite::Connection;
use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::{Outbound, Queue};
use shared::routing::shards_of;
use tokio::task::JoinSet;

use crate::Size;
use crate::flow::{self, SHARDS};
use crate::table::{Goal, PER_SECOND, Table, rate};

const MESSAGES: usize = 20_000;
const BATCH: usize = 500;
const SINGLES: usize = 960;
const PREFETCH: u16 = 100;
/// Rows that the bare database takes and removes in one transaction.
const GROUP: usize = 100;
const GOAL: Goal = Goal::AtLeast(0.7);

/// Messages a second: published one by one, published in batches, delivered and acknowledged.
type Rates = [f64; 3];

/// Measures publishing one by one, in batches, and handling.
pub async fn measure(table: &mut Table, size: Size) {
    let [mut ours, mut bare]: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..size.runs(5) {
        for (found, rates) in [(&mut ours, queue(size).await), (&mut bare, database(size))] {
            found.iter_mut().zip(rates).for_each(|(found, rate)| found.push(rate));
        }
    }
    let batches = format!("publish in batches of {BATCH}");
    let names = ["publish one by one", batches.as_str(), "deliver and acknowledge"];
    for ((name, ours), bare) in names.into_iter().zip(&ours).zip(&bare) {
        table.compare(format!("embedded queue: {name}"), PER_SECOND, ours, bare, GOAL);
    }
}

async fn queue(size: Size) -> Rates {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
    let queue: Arc<dyn Queue> = Embedded::open(options).unwrap().queue;
    queue.prepare(&[flow::topology()]).await.unwrap();
    let (singles, messages) = (messages(size.of(SINGLES)), messages(size.of(MESSAGES)));

    let begun = Instant::now();
    for message in &singles {
        queue.publish(std::slice::from_ref(message)).await.unwrap();
    }
    let one_by_one = rate(singles.len(), begun.elapsed());

    let begun = Instant::now();
    for batch in messages.chunks(BATCH) {
        queue.publish(batch).await.unwrap();
    }
    let in_batches = rate(messages.len(), begun.elapsed());

    let begun = Instant::now();
    let mut shards = JoinSet::new();
    for shard in shards_of(&flow::name(), SHARDS) {
        let count = singles.iter().chain(&messages).filter(|message| message.shard == shard).count();
        let queue = queue.clone();
        shards.spawn(async move {
            let mut consumer = queue.consume(&shard, PREFETCH).await.unwrap();
            let mut acks = JoinSet::new();
            for _ in 0..count {
                let delivery = consumer.next().await.unwrap();
                acks.spawn(async move { delivery.receipt.ack().await.unwrap() });
            }
            acks.join_all().await;
        });
    }
    shards.join_all().await;
    [one_by_one, in_batches, rate(singles.len() + messages.len(), begun.elapsed())]
}

fn messages(count: usize) -> Vec<Outbound> {
    (0..count).map(|_| flow::message(SystemClock.now())).collect()
}

/// The ceiling: one table, written by one thread. That a message is handed over is noted before it is, as a limit of
/// deliveries needs it.
fn database(size: Size) -> Rates {
    let dir = tempfile::tempdir().unwrap();
    let connection = open(&dir.path().join("bare.db"));
    let (singles, messages) = (messages(size.of(SINGLES)), messages(size.of(MESSAGES)));
    let insert = |message: &Outbound| {
        let sql = "INSERT INTO message (shard, body) VALUES (?1, ?2)";
        let mut statement = connection.prepare_cached(sql).unwrap();
        statement.execute((message.shard.number, &message.body[..])).unwrap();
    };

    let begun = Instant::now();
    singles.iter().for_each(insert);
    let one_by_one = rate(singles.len(), begun.elapsed());

    let begun = Instant::now();
    for batch in messages.chunks(BATCH) {
        in_transaction(&connection, || batch.iter().for_each(insert));
    }
    let in_batches = rate(messages.len(), begun.elapsed());

    let (begun, mut handled) = (Instant::now(), 0);
    for shard in (0..SHARDS).cycle() {
        handled += handle_group(&connection, shard);
        if handled == singles.len() + messages.len() {
            break;
        }
    }
    [one_by_one, in_batches, rate(handled, begun.elapsed())]
}

fn handle_group(connection: &Connection, shard: u16) -> usize {
    let mut taken: Vec<(i64, Vec<u8>)> = Vec::new();
    let execute = |sql, seq: i64| {
        connection.prepare_cached(sql).unwrap().execute([seq]).unwrap();
    };
    in_transaction(connection, || {
        let sql = format!("SELECT seq, body FROM message WHERE shard = ?1 ORDER BY seq LIMIT {GROUP}");
        let mut statement = connection.prepare_cached(&sql).unwrap();
        let rows = statement.query_map([shard], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        taken = rows.map(Result::unwrap).collect();
        for (seq, _) in &taken {
            execute("UPDATE message SET deliveries = deliveries + 1 WHERE seq = ?1", *seq);
        }
    });
    in_transaction(connection, || {
        for (seq, _) in &taken {
            execute("DELETE FROM message WHERE seq = ?1", *seq);
        }
    });
    taken.len()
}

fn in_transaction(connection: &Connection, work: impl FnOnce()) {
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    work();
    connection.execute_batch("COMMIT").unwrap();
}

fn open(file: &Path) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE message (seq INTEGER PRIMARY KEY, shard INTEGER NOT NULL, body BLOB NOT NULL, \
             deliveries INTEGER NOT NULL DEFAULT 0) STRICT; CREATE INDEX message_of_shard ON message (shard)",
        )
        .unwrap();
    connection
}
