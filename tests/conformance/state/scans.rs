//! Scans: order, prefixes, pages.

use super::*;

async fn keys(state: &dyn State, prefix: &str, limit: u32) -> Vec<String> {
    let (mut keys, mut after) = (Vec::<String>::new(), None);
    loop {
        let page = state.scan(prefix, after.as_deref(), limit).await.unwrap();
        assert!(page.len() <= limit as usize);
        keys.extend(page.iter().map(|(key, _)| key.clone()));
        match page.last() {
            Some((last, _)) => after = Some(last.clone()),
            None => return keys,
        }
    }
}

pub async fn a_scan_is_ordered_bytewise_and_pageable<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let mut all = ["a/Z", "a/a", "a/aa", "a/B", "a/é", "a/z", "a/😀", "a/~", "a/10", "a/9", "a/", "a/ b"]
        .map(String::from)
        .to_vec();
    for key in all.iter().map(String::as_str).chain(["a", "b/a", "A/a", "a0"]) {
        put(state.as_ref(), key, key).await;
    }
    all.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    for limit in [100, 12, 5, 1] {
        assert_eq!(keys(state.as_ref(), "a/", limit).await, all, "pages of {limit}");
    }
    let first = state.scan("a/", None, 1).await.unwrap();
    let version = state.get("a/").await.unwrap().unwrap().version;
    assert_eq!(first, [("a/".to_owned(), versioned("a/", version))]);
    // A document before the prefix, or one that is not there, may be where to go on from.
    assert_eq!(state.scan("a/", Some("A"), 1).await.unwrap(), first);
    assert_eq!(state.scan("a/", Some("a/ab"), 1).await.unwrap()[0].0, "a/z");
    assert_eq!(state.scan("a/", Some("b"), 1).await.unwrap(), []);
    assert_eq!(keys(state.as_ref(), "", 3).await.len(), 16);
    assert_eq!(keys(state.as_ref(), "c", 3).await.len(), 0);
}

pub async fn a_prefix_is_no_pattern<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    for key in ["p/*", "p/a", "p/[ab]", "p/?", "p/%", "p/_", "p/\\", "p/*x"] {
        put(state.as_ref(), key, "x").await;
    }
    for (prefix, expected) in [
        ("p/*", ["p/*", "p/*x"].as_slice()),
        ("p/[", &["p/[ab]"]),
        ("p/?", &["p/?"]),
        ("p/%", &["p/%"]),
        ("p/_", &["p/_"]),
        ("p/\\", &["p/\\"]),
        ("*", &[]),
    ] {
        assert_eq!(keys(state.as_ref(), prefix, 10).await, expected, "{prefix}");
    }
}

pub async fn a_scan_sees_what_existed_all_along<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let stays: Vec<String> = (0..100).map(|number| format!("s/{number:03}")).collect();
    for key in &stays {
        put(state.as_ref(), key, "x").await;
    }
    let others = tokio::spawn({
        let state = Arc::clone(&state);
        async move {
            for number in 0.. {
                let key = format!("s/{:03}-comes-and-goes", number % 100);
                put(state.as_ref(), &key, "x").await;
                state.write(Write::delete(&key)).await.unwrap();
            }
        }
    });
    for _ in 0..10 {
        let mut found = keys(state.as_ref(), "s/", 7).await;
        assert!(found.is_sorted());
        found.retain(|key| key.len() == 5);
        assert_eq!(found, stays);
    }
    others.abort();
}
