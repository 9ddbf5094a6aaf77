//! Documents: compare and set, versions, ends.

use std::collections::BTreeSet;
use std::time::Instant;

use shared::ports::PortError;
use shared::ports::state::{DOCUMENT_BYTES_MAX, KEY_BYTES_MAX, LOOK_KEYS_MAX, READ_KEYS_MAX};
use tokio::task::JoinSet;

use super::*;

const KEY: &str = "link/parties/6b00526cc80a09e94";

pub async fn a_document_is_written_read_and_deleted<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    assert_eq!(state.get(KEY).await.unwrap(), None);
    let first = put(state.as_ref(), KEY, "one").await;
    assert_eq!(state.get(KEY).await.unwrap(), Some(versioned("one", first)));
    let second = put(state.as_ref(), KEY, "").await;
    assert!(second > first, "{second} {first}");
    assert_eq!(state.get(KEY).await.unwrap(), Some(versioned("", second)));
    assert_eq!(state.write(Write::delete(KEY)).await.unwrap(), Written::Done(second));
    assert_eq!(state.get(KEY).await.unwrap(), None);
    assert_eq!(state.write(Write::delete(KEY)).await.unwrap(), Written::Done(0));
    let bytes = b"\0\xff no text";
    state.write(Write::put(KEY, bytes)).await.unwrap();
    assert_eq!(state.get(KEY).await.unwrap().unwrap().value, bytes);
}

pub async fn documents_are_read_together_in_the_order_asked_for<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let names: Vec<String> = (0..READ_KEYS_MAX).map(|number| format!("link/parties/{number}")).collect();
    let mut expected = Vec::new();
    for (number, name) in names.iter().enumerate() {
        // Every third is missing.
        let version = if number % 3 == 2 { None } else { Some(put(state.as_ref(), name, name).await) };
        expected.push(version.map(|version| versioned(name, version)));
    }
    let mut keys: Vec<&str> = names.iter().map(String::as_str).collect();
    keys.reverse();
    expected.reverse();
    assert_eq!(state.get_many(&keys).await.unwrap(), expected);
    assert_eq!(state.get_many(&[keys[1], keys[1]]).await.unwrap(), vec![expected[1].clone(); 2]);
    assert_eq!(state.get_many(&[]).await.unwrap(), []);
    state.write(Write::delete(keys[1])).await.unwrap();
    assert_eq!(state.get_many(&keys[1..3]).await.unwrap(), [None, expected[2].clone()]);
}

pub async fn which_documents_are_there_is_told_in_the_order_asked_for<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let names: Vec<String> = (0..LOOK_KEYS_MAX).map(|number| format!("dead/parties/{number}")).collect();
    let keys: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    for name in names.iter().step_by(3) {
        // What is empty is there as well.
        put(state.as_ref(), name, "").await;
    }
    let expected: Vec<bool> = (0..LOOK_KEYS_MAX).rev().map(|number| number % 3 == 0).collect();
    assert_eq!(state.are_present(&keys).await.unwrap(), expected);
    assert!(state.are_present(&[]).await.unwrap().is_empty());
    state.write(Write::delete(&names[0])).await.unwrap();
    assert_eq!(state.are_present(&[&names[0], &names[3], &names[0]]).await.unwrap(), [false, true, false]);
    state.write(Write { time_to_live: Some(BRIEF), ..Write::put(KEY, b"x") }).await.unwrap();
    wait::until("end of a document", SOON, async || match state.are_present(&[KEY]).await.unwrap()[0] {
        false => Ok(()),
        true => Err("still there"),
    })
    .await;
}

pub async fn a_write_happens_only_on_what_was_expected<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let state = state.as_ref();
    assert_eq!(put_if(state, KEY, "x", Expected::Version(1)).await, Written::Clash);
    assert_eq!(text(state, KEY).await, None);
    let Written::Done(first) = put_if(state, KEY, "one", Expected::Absent).await else { panic!("clash") };
    assert_eq!(put_if(state, KEY, "x", Expected::Absent).await, Written::Clash);
    let Written::Done(second) = put_if(state, KEY, "two", Expected::Version(first)).await else {
        panic!("clash")
    };
    assert_eq!(put_if(state, KEY, "x", Expected::Version(first)).await, Written::Clash);
    assert_eq!(put_if(state, KEY, "x", Expected::Version(second + 1)).await, Written::Clash);
    assert_eq!(state.get(KEY).await.unwrap(), Some(versioned("two", second)));

    let delete_if = async |expected| state.write(Write { expected, ..Write::delete(KEY) }).await.unwrap();
    assert_eq!(delete_if(Expected::Version(first)).await, Written::Clash);
    assert_eq!(delete_if(Expected::Absent).await, Written::Clash);
    assert_eq!(delete_if(Expected::Version(second)).await, Written::Done(second));
    assert_eq!(delete_if(Expected::Version(second)).await, Written::Clash);
    assert_eq!(delete_if(Expected::Absent).await, Written::Done(0));
}

pub async fn a_version_is_never_used_twice<B: StateBacking>() {
    let backing = B::new().await;
    let mut state = backing.open().await;
    let mut last = 0;
    for round in 0..3 {
        for _ in 0..3 {
            let version = put(state.as_ref(), KEY, "x").await;
            assert!(version > last, "round {round}: {version} after {last}");
            last = version;
            state.write(Write::delete(KEY)).await.unwrap();
        }
        let brief = Some(Duration::from_millis(50));
        let write = Write { time_to_live: brief, ..Write::put(KEY, b"x") };
        let Written::Done(version) = state.write(write).await.unwrap() else { panic!("clash") };
        assert!(version > last, "round {round}: {version} after {last}");
        last = version;
        wait_for_end(state.as_ref()).await;
        state = backing.crash(state).await;
    }
}

pub async fn of_many_writers_one_wins_each_version<B: StateBacking>() {
    const WRITERS: usize = 16;
    const WINS: usize = 10;
    let backing = B::new().await;
    let state = backing.open().await;
    put(state.as_ref(), KEY, "0").await;
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let state = Arc::clone(&state);
        writers.spawn(async move {
            let mut won = Vec::new();
            while won.len() < WINS {
                let found = state.get(KEY).await.unwrap().unwrap();
                let count: usize = std::str::from_utf8(&found.value).unwrap().parse().unwrap();
                let value = (count + 1).to_string();
                let expected = Expected::Version(found.version);
                if put_if(state.as_ref(), KEY, &value, expected).await != Written::Clash {
                    won.push(found.version);
                }
            }
            won
        });
    }
    let won: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(won.iter().collect::<BTreeSet<_>>().len(), WRITERS * WINS, "a version was won twice");
    assert_eq!(text(state.as_ref(), KEY).await, Some((WRITERS * WINS).to_string()));
}

async fn wait_for_end(state: &dyn State) {
    wait::until("end of the document", SOON, async || match state.get(KEY).await.unwrap() {
        None => Ok(()),
        Some(present) => Err(present),
    })
    .await;
}

pub async fn a_document_ends_by_itself_and_not_before<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let begin = Instant::now();
    let write = Write { time_to_live: Some(BRIEF), expected: Expected::Absent, ..Write::put(KEY, b"x") };
    state.write(write.clone()).await.unwrap();
    wait_for_end(state.as_ref()).await;
    assert!(begin.elapsed() >= BRIEF - Duration::from_millis(5), "{:?}", begin.elapsed());
    assert_eq!(state.scan("link/", None, 10).await.unwrap(), []);
    assert_eq!(state.write(Write::delete(KEY)).await.unwrap(), Written::Done(0));
    assert!(matches!(state.write(write).await.unwrap(), Written::Done(_)), "what has ended is absent");
}

pub async fn a_new_write_sets_a_new_end<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let other = "link/parties/other";
    for key in [KEY, other] {
        state.write(Write { time_to_live: Some(BRIEF), ..Write::put(key, b"x") }).await.unwrap();
    }
    put(state.as_ref(), other, "stays").await;
    wait_for_end(state.as_ref()).await;
    assert_eq!(text(state.as_ref(), other).await.as_deref(), Some("stays"));
}

pub async fn documents_survive_a_crash<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let mut writers = JoinSet::new();
    for number in 0..200 {
        let state = Arc::clone(&state);
        writers.spawn(async move { put(state.as_ref(), &format!("link/parties/{number:03}"), "x").await });
    }
    writers.join_all().await;
    state.write(Write::delete("link/parties/100")).await.unwrap();
    let state = backing.crash(state).await;
    let found = state.scan("link/", None, 1_000).await.unwrap();
    assert_eq!(found.len(), 199);
    assert_eq!(text(state.as_ref(), "link/parties/100").await, None);
}

pub async fn what_is_too_large_is_refused<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let largest = vec![b'x'; DOCUMENT_BYTES_MAX];
    let longest = "k".repeat(KEY_BYTES_MAX);
    state.write(Write::put(&longest, &largest)).await.unwrap();
    assert_eq!(state.get(&longest).await.unwrap().unwrap().value.len(), DOCUMENT_BYTES_MAX);

    let too_large = vec![b'x'; DOCUMENT_BYTES_MAX + 1];
    let too_long = "k".repeat(KEY_BYTES_MAX + 1);
    let refusals = [
        (state.write(Write::put(KEY, &too_large)).await.map(|_| ()), DOCUMENT_BYTES_MAX),
        (state.write(Write::put(&too_long, b"x")).await.map(|_| ()), KEY_BYTES_MAX),
        (state.get(&too_long).await.map(|_| ()), KEY_BYTES_MAX),
        (state.get_many(&[KEY; READ_KEYS_MAX + 1]).await.map(|_| ()), READ_KEYS_MAX),
        (state.are_present(&[&too_long]).await.map(|_| ()), KEY_BYTES_MAX),
        (state.are_present(&[KEY; LOOK_KEYS_MAX + 1]).await.map(|_| ()), LOOK_KEYS_MAX),
        (state.acquire_lease(&too_long, "one", LONG).await.map(|_| ()), KEY_BYTES_MAX),
        (state.count(&too_long, 1, LONG).await.map(|_| ()), KEY_BYTES_MAX),
    ];
    for (refused, limit) in refusals {
        let told =
            matches!(&refused, Err(PortError::Misconfigured(text)) if text.contains(&limit.to_string()));
        assert!(told, "{refused:?}");
    }
    assert_eq!(state.get(KEY).await.unwrap(), None);
}

pub async fn asking_whether_it_answers_can_be_repeated<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    state.ping().await.unwrap();
    state.ping().await.unwrap();
}
