//! Counters.

use std::time::Instant;

use tokio::task::JoinSet;

use super::*;

pub async fn a_counter_adds_up_under_concurrency<B: StateBacking>() {
    const TASKS: u64 = 16;
    const EACH: u64 = 20;
    let backing = B::new().await;
    let state = backing.open().await;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let state = Arc::clone(&state);
        tasks.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..EACH {
                seen.push(state.count("limit/espocrm", 3, LONG).await.unwrap());
            }
            seen
        });
    }
    let mut seen: Vec<u64> = tasks.join_all().await.into_iter().flatten().collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=TASKS * EACH).map(|step| step * 3).collect::<Vec<_>>());
    assert_eq!(state.count("limit/other", 5, LONG).await.unwrap(), 5);
    assert_eq!(state.count("limit/other", 0, LONG).await.unwrap(), 5);
}

pub async fn a_counter_ends_with_the_window_of_its_first_addition<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let begin = Instant::now();
    let mut last = state.count("limit/espocrm", 1, BRIEF).await.unwrap();
    assert_eq!(last, 1);
    // Additions go on all the time, with longer windows: the first one's counts.
    wait::until("end of the window", SOON, async || {
        match state.count("limit/espocrm", 1, LONG).await.unwrap() {
            1 => Ok(()),
            more => {
                assert_eq!(more, last + 1);
                last = more;
                Err(more)
            }
        }
    })
    .await;
    assert!(begin.elapsed() >= BRIEF - Duration::from_millis(5), "ended after {:?}", begin.elapsed());
    assert_eq!(state.count("limit/espocrm", 1, BRIEF).await.unwrap(), 2);
}
