//! Marks: what the queue remembers beside its messages.

use super::*;

pub async fn a_mark_is_remembered_over_a_crash_until_it_is_forgotten<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    assert!(!queue.remembers("generation").await.unwrap());
    queue.forget("generation").await.unwrap();
    for _ in 0..2 {
        queue.remember("generation").await.unwrap();
        queue.remember("generation.1").await.unwrap();
    }
    let queue = backing.crash(queue).await;
    assert!(queue.remembers("generation").await.unwrap());
    assert!(queue.remembers("generation.1").await.unwrap());
    queue.forget("generation.1").await.unwrap();
    assert!(!queue.remembers("generation.1").await.unwrap());
    assert!(queue.remembers("generation").await.unwrap());
}
