//! Who may open what.

use rusqlite::Connection;
use shared::clock::Clock as _;
use shared::ports::PortError;
use shared::ports::state::{State as _, Write};

use super::*;
use crate::directory::database_path;

fn refused(dir: &Path) -> String {
    match Embedded::open(options(dir, Role::Serving)).unwrap_err() {
        PortError::Misconfigured(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_program_serves_a_directory_and_the_next_one_may_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepared(options(dir.path(), Role::Serving)).await;
    let text = refused(dir.path());
    assert!(text.contains(&format!("process {}", std::process::id())) && text.contains("stop"), "{text}");
    let consumer = first.queue.consume(&shard(0), 1).await.unwrap();
    drop(first);
    refused(dir.path());
    drop(consumer);
    prepared(options(dir.path(), Role::Serving)).await;
}

#[tokio::test]
async fn a_visitor_does_everything_but_consume() {
    let dir = tempfile::tempdir().unwrap();
    let serving = prepared(options(dir.path(), Role::Serving)).await;
    let visiting = prepared(options(dir.path(), Role::Visiting)).await;
    let mut consumer = serving.queue.consume(&shard(0), 1).await.unwrap();
    let (delivery, published) =
        tokio::join!(next(consumer.as_mut()), async { visiting.queue.publish(&[message(7)]).await });
    published.unwrap();
    assert_eq!(number(&delivery), 7);
    let error = visiting.queue.consume(&shard(0), 1).await.err().unwrap();
    assert!(matches!(&error, PortError::Misconfigured(text) if text.contains("only visits")), "{error}");
}

#[tokio::test]
async fn a_new_server_ends_the_leases_of_a_dead_one_and_terms_go_on_rising() {
    let dir = tempfile::tempdir().unwrap();
    let ttl = Duration::from_secs(3_600);
    let first = prepared(options(dir.path(), Role::Serving)).await;
    let before = first.state.acquire_lease("shard/parties.000", "one", ttl).await.unwrap().unwrap();
    drop(first);
    let second = prepared(options(dir.path(), Role::Serving)).await;
    let after = second.state.acquire_lease("shard/parties.000", "two", ttl).await.unwrap().unwrap();
    assert!(after.term > before.term, "{after:?} {before:?}");
}

#[tokio::test]
async fn each_tenure_has_a_name_of_its_own_and_a_visit_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepared(options(dir.path(), Role::Serving)).await;
    let before = first.state.tenure().unwrap().to_owned();
    let visiting = prepared(options(dir.path(), Role::Visiting)).await;
    assert_eq!(visiting.state.tenure(), None);
    drop((first, visiting));
    let second = prepared(options(dir.path(), Role::Serving)).await;
    assert_ne!(second.state.tenure().unwrap(), before);
}

#[tokio::test]
async fn messages_of_the_first_schema_are_delivered_with_what_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let first = prepared(options(dir.path(), Role::Serving)).await;
    first.queue.publish(&[message(7), message(8)]).await.unwrap();
    drop(first);
    Connection::open(database_path(dir.path())).unwrap().execute_batch(BACK_TO_SCHEMA_1).unwrap();
    let second = prepared(options(dir.path(), Role::Serving)).await;
    let mut consumer = second.queue.consume(&shard(0), 2).await.unwrap();
    let (old, new) = (next(consumer.as_mut()).await, next(consumer.as_mut()).await);
    assert_eq!((number(&old), old.redeliveries), (7, 3));
    assert_eq!((number(&new), new.redeliveries), (8, 0));
    old.receipt.ack().await.unwrap();
    new.receipt.ack().await.unwrap();
}

/// As a server of the first version left it that was killed while it held the first message.
const BACK_TO_SCHEMA_1: &str = "
DROP TABLE handed_over;
DROP INDEX message_of_shard;
ALTER TABLE message ADD COLUMN id BLOB NOT NULL DEFAULT x'00';
ALTER TABLE message ADD COLUMN deliveries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN consumer INTEGER;
UPDATE message SET deliveries = 3, consumer = 5 WHERE seq = (SELECT min(seq) FROM message);
CREATE INDEX message_of_shard ON message (flow, shard, consumer, due_at);
PRAGMA user_version = 1;
";

#[test]
fn a_newer_a_foreign_and_a_damaged_database_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = database_path(dir.path());
    drop(Embedded::open(options(dir.path(), Role::Serving)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let text = refused(dir.path());
    assert!(text.contains("version 99") && text.contains("newer version of syncfleet"), "{text}");

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    let text = refused(dir.path());
    assert!(text.contains("another program"), "{text}");

    let garbage = vec![b'#'; 8_192];
    std::fs::write(&path, &garbage).unwrap();
    let text = refused(dir.path());
    assert!(text.contains("damaged") && text.contains("backup"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let text = refused(&file.join("below"));
    assert!(text.contains("below") && text.contains("permissions"), "{text}");
}

#[tokio::test]
async fn the_number_of_shards_changes_only_while_nothing_waits() {
    let dir = tempfile::tempdir().unwrap();
    let queue = prepared(options(dir.path(), Role::Serving)).await.queue;
    let more = FlowTopology { shards: 3, ..topology() };
    queue.publish(&[message(1)]).await.unwrap();
    let error = queue.prepare(std::slice::from_ref(&more)).await.unwrap_err().to_string();
    assert!(error.contains("2 shards") && error.contains("3 are configured"), "{error}");
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    next(consumer.as_mut()).await.receipt.ack().await.unwrap();
    queue.prepare(&[more]).await.unwrap();
    queue.publish(&[Outbound { shard: shard(2), ..message(2) }]).await.unwrap();
}

#[tokio::test]
async fn what_has_ended_is_removed_by_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let with_clock = || EmbeddedOptions { clock: clock.clone(), ..options(dir.path(), Role::Serving) };
    let embedded = prepared(with_clock()).await;
    let brief = Some(Duration::from_secs(1));
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..1_200 {
        let state = Arc::clone(&embedded.state);
        writes.spawn(async move {
            let key = format!("member/{number}");
            state.write(Write { time_to_live: brief, ..Write::put(&key, b"x") }).await.unwrap();
        });
    }
    writes.join_all().await;
    embedded.state.count("limit/x", 1, Duration::from_secs(1)).await.unwrap();
    embedded.state.acquire_lease("lead", "one", Duration::from_secs(1)).await.unwrap();
    embedded.queue.append_dead_letter_event(&resolved(Uuid::from_u128(1), clock.now())).await.unwrap();
    drop(embedded);
    clock.advance(Duration::from_secs(31 * 24 * 3_600));

    let embedded = prepared(with_clock()).await;
    let rows = |connection: &Connection| -> rusqlite::Result<i64> {
        let sql = "SELECT (SELECT count(*) FROM document) + (SELECT count(*) FROM counter)
                   + (SELECT count(*) FROM lease) + (SELECT count(*) FROM dead_letter)";
        connection.query_row(sql, [], |row| row.get(0))
    };
    let all_gone = async {
        while embedded.queue.store.readers.read(rows).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, all_gone).await.expect("rows to go");
}

#[tokio::test]
async fn a_commit_reaches_the_disk_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = prepared(options(dir.path(), Role::Serving)).await;
    let modes = |connection: &Connection| {
        let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        Ok((journal, synchronous))
    };
    // 2 is FULL: the log is synced at every commit (https://sqlite.org/pragma.html#pragma_synchronous).
    let found = embedded.queue.store.writer.submit(modes, |_| {}).await.unwrap();
    assert_eq!(found, ("wal".to_owned(), 2));
}
