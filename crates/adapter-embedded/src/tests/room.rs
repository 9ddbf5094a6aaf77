//! Running out of room.

use rusqlite::Connection;
use shared::dead_letter::DeadLetter;
use shared::ports::PortError;
use shared::ports::state::{State as _, Write};

use super::*;

const KILOBYTES_20: usize = 20 * 1024;

fn assert_full<T: std::fmt::Debug>(result: &Result<T, PortError>) {
    assert!(matches!(result, Err(PortError::Full(text)) if text.contains("nothing is lost")), "{result:?}");
}

/// Publishes until there is no room, and answers how many were taken.
async fn fill(queue: &dyn Queue) -> u128 {
    for count in 0..100_000 {
        let result = queue.publish(&[sized(count, KILOBYTES_20)]).await;
        if result.is_err() {
            assert_full(&result);
            return count;
        }
    }
    panic!("never full");
}

/// As a full disk does it: the database cannot get one page more.
async fn stop_growth(embedded: &Embedded, pages_more: i64) {
    let limit = move |connection: &Connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let sql = format!("PRAGMA max_page_count = {}", pages.saturating_add(pages_more).min(1 << 30));
        connection.query_row(&sql, [], |_| Ok(()))?;
        Ok(())
    };
    embedded.queue.store.writer.submit(limit, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = prepared(options(dir.path(), Role::Serving)).await;
    let queue = embedded.queue.as_ref();
    queue.publish(&[message(1_000_000)]).await.unwrap();
    stop_growth(&embedded, 40).await;
    let taken = fill(queue).await;
    assert!(taken > 0);
    assert_eq!(queue.depth(&topology()).await.unwrap().ready, u64::try_from(taken).unwrap() + 1);

    // Requests that need no room succeed beside one that does, in the same transaction.
    let mut consumer = queue.consume(&shard(0), 1).await.unwrap();
    let first = next(consumer.as_mut()).await;
    assert_eq!(number(&first), 1_000_000);
    let large = [sized(2_000_000, 10 * KILOBYTES_20)];
    let (refused, acked) = tokio::join!(queue.publish(&large), first.receipt.ack());
    assert_full(&refused);
    acked.unwrap();

    stop_growth(&embedded, i64::MAX).await;
    queue.publish(&[message(taken)]).await.unwrap();
    for expected in 0..=taken {
        let delivery = next(consumer.as_mut()).await;
        assert_eq!(number(&delivery), expected);
        delivery.receipt.ack().await.unwrap();
    }
}

#[tokio::test]
async fn at_its_limit_the_database_takes_nothing_new_and_still_settles() {
    let dir = tempfile::tempdir().unwrap();
    let small = EmbeddedOptions { bytes_max: 1024 * 1024, ..options(dir.path(), Role::Serving) };
    let embedded = prepared(small).await;
    let queue = embedded.queue.as_ref();
    let taken = fill(queue).await;
    assert!(taken > 20, "{taken}");
    assert_full(&embedded.state.write(Write::put("link/parties/1", b"x")).await);
    embedded.state.write(Write::delete("link/parties/1")).await.unwrap();

    let mut consumer = queue.consume(&shard(0), 50).await.unwrap();
    let delivery = next(consumer.as_mut()).await;
    let now = embedded.queue.store.clock.now();
    let letter = DeadLetter::of_bytes(&delivery.body, None, Reason::Unreadable, "no_json", "", "worker", now);
    delivery.receipt.dead_letter(letter).await.unwrap();
    next(consumer.as_mut()).await.receipt.retry("retried".into(), Timestamp::MAX).await.unwrap();
    for _ in 2..taken {
        next(consumer.as_mut()).await.receipt.ack().await.unwrap();
    }
    queue.publish(&[message(1)]).await.unwrap();
    assert_eq!(number(&next(consumer.as_mut()).await), 1);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_nothing_new_and_still_settles() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = prepared(options(dir.path(), Role::Serving)).await;
    embedded.queue.publish(&[message(1)]).await.unwrap();
    drop(embedded);
    let nearly_full = EmbeddedOptions { disk_free_bytes_min: u64::MAX, ..options(dir.path(), Role::Serving) };
    let embedded = prepared(nearly_full).await;
    assert_full(&embedded.queue.publish(&[message(2)]).await);
    let mut consumer = embedded.queue.consume(&shard(0), 1).await.unwrap();
    next(consumer.as_mut()).await.receipt.ack().await.unwrap();
    assert_eq!(embedded.queue.depth(&topology()).await.unwrap().ready, 0);
}

#[tokio::test]
async fn a_refused_request_leaves_its_neighbours_in_the_transaction_alone() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = prepared(options(dir.path(), Role::Serving)).await;
    let queue = embedded.queue.as_ref();
    let unknown = Shard { flow: FlowName::new("nobody").unwrap(), number: 0 };
    let half_wrong = [message(2), Outbound { shard: unknown, ..message(3) }];
    let (one, two) = ([message(1)], [message(4)]);
    let (first, wrong, last) =
        tokio::join!(queue.publish(&one), queue.publish(&half_wrong), queue.publish(&two));
    first.unwrap();
    last.unwrap();
    assert!(matches!(wrong, Err(PortError::Misconfigured(text)) if text.contains("nobody")));
    assert_eq!(queue.depth(&topology()).await.unwrap().ready, 2);
}
