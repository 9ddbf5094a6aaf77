//! Asking which records have marks.

use futures_util::future::join_all;
use shared::retry_mark;

use super::*;

#[tokio::test]
async fn who_asks_alone_asks_at_once_and_who_comes_meanwhile_asks_together() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
    let inner: Arc<dyn shared::ports::state::State> = Embedded::open(options).unwrap().state;
    let (reads, writes) = (AtomicU32::new(0), AtomicU32::new(0));
    let state = Arc::new(doubles::CountedState { inner, reads, writes });
    let marked = Marked::start(state.clone());
    let records: Vec<RecordKey> = (0..20).map(|n| format!("parties:{n}").parse().unwrap()).collect();
    retry_mark::set(state.as_ref(), &records[7], Uuid::nil(), PATIENCE).await.unwrap();

    let answers = join_all(records.iter().map(|record| marked.ask(record))).await;
    let found: Vec<bool> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, (0..20).map(|n| n == 7).collect::<Vec<bool>>());
    assert_eq!(trips(&state).0, 2, "trips to the store: the first by itself, the others together");
    assert!(marked.ask(&records[7]).await.unwrap());
    assert_eq!(trips(&state).0, 3);
}
