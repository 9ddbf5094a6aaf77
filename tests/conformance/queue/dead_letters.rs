//! The dead-letter log.

use shared::dead_letter::{DeadLetter, DeadLetterEvent, OpenLetters, Reason, Resolution};

use super::*;

fn letter(text: &str) -> DeadLetter {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    DeadLetter::of_bytes(
        text.as_bytes(),
        Some(flow()),
        Reason::Permanent,
        "refused",
        "it was refused",
        "worker-1",
        at,
    )
}

fn opened(letter: &DeadLetter) -> DeadLetterEvent {
    DeadLetterEvent::Opened { letter: Box::new(letter.clone()) }
}

fn resolved(letter: &DeadLetter) -> DeadLetterEvent {
    DeadLetterEvent::Resolved {
        id: letter.id,
        resolution: Resolution::Discarded,
        by: "anna".to_owned(),
        note: "not needed".to_owned(),
        edited: None,
        at: letter.at,
    }
}

/// The whole log, read in pages.
async fn read(queue: &dyn Queue, limit: u32) -> Vec<DeadLetterEvent> {
    let (mut events, mut position) = (Vec::new(), 0);
    loop {
        let page = queue.scan_dead_letters(position, limit).await.unwrap();
        assert!(page.entries.len() <= limit as usize, "{page:?}");
        assert_eq!(page.unreadable, 0);
        assert!(page.entries.iter().all(|entry| (position..page.next).contains(&entry.position)), "{page:?}");
        assert!(page.entries.is_sorted_by(|one, other| one.position < other.position), "{page:?}");
        let is_last = page.at_end;
        position = page.next;
        events.extend(page.into_events());
        if is_last {
            return events;
        }
    }
}

fn fold(events: Vec<DeadLetterEvent>) -> OpenLetters {
    let mut open = OpenLetters::default();
    events.into_iter().for_each(|event| open.apply(event));
    open
}

pub async fn a_dead_letter_is_in_the_log_and_gone_from_its_shard<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    queue.publish(&messages(0..2)).await.unwrap();
    let mut before = consumer(queue.as_ref(), 1).await;
    let dead = letter("0");
    next(before.as_mut()).await.receipt.dead_letter(dead.clone()).await.unwrap();
    assert_eq!(read(queue.as_ref(), 100).await, [opened(&dead)]);

    let queue = backing.crash(queue).await;
    queue.prepare(&[topology()]).await.unwrap();
    assert_eq!(read(queue.as_ref(), 100).await, [opened(&dead)]);
    let mut after = consumer(queue.as_ref(), 1).await;
    assert_eq!(take(after.as_mut()).await, 1);
    wait_for_depth(queue.as_ref(), 0, 0).await;
    drop(before);
}

pub async fn scanning_is_repeatable_and_pageable<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let events: Vec<_> = (0..25).map(|number| opened(&letter(&number.to_string()))).collect();
    for event in &events {
        queue.append_dead_letter_event(event).await.unwrap();
    }
    for limit in [100, 10, 1, 100] {
        assert_eq!(read(queue.as_ref(), limit).await, events, "pages of {limit}");
    }
    // A page can be read again, and what comes later is found from where the reader was.
    let first = queue.scan_dead_letters(0, 20).await.unwrap();
    assert!(!first.at_end);
    let rest = queue.scan_dead_letters(first.next, 20).await.unwrap();
    assert_eq!(rest, queue.scan_dead_letters(first.next, 20).await.unwrap());
    assert!(rest.at_end);
    let nothing = queue.scan_dead_letters(rest.next, 20).await.unwrap();
    assert_eq!((nothing.entries.len(), nothing.next, nothing.at_end), (0, rest.next, true));
    queue.append_dead_letter_event(&resolved(&letter("3"))).await.unwrap();
    let last = queue.scan_dead_letters(rest.next, 20).await.unwrap();
    assert_eq!(last.into_events().collect::<Vec<_>>(), [resolved(&letter("3"))]);
}

pub async fn one_record_is_read_by_its_position<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let events: Vec<_> = (0..12).map(|number| opened(&letter(&number.to_string()))).collect();
    for event in &events {
        queue.append_dead_letter_event(event).await.unwrap();
    }
    let all = queue.scan_dead_letters(0, 100).await.unwrap();
    for entry in all.entries.iter().rev() {
        let page = queue.scan_dead_letters(entry.position, 1).await.unwrap();
        assert_eq!(page.entries.as_slice(), std::slice::from_ref(entry));
    }
}

pub async fn an_empty_log_is_an_empty_page<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let page = queue.scan_dead_letters(0, 10).await.unwrap();
    assert!(page.entries.is_empty() && page.unreadable == 0 && page.at_end, "{page:?}");
}

pub async fn resolving_twice_changes_nothing<B: QueueBacking>() {
    let backing = B::new().await;
    let queue = prepared(&backing).await;
    let (one, two, unknown) = (letter("one"), letter("two"), letter("unknown"));
    for event in
        [opened(&one), opened(&two), opened(&one), resolved(&one), resolved(&one), resolved(&unknown)]
    {
        queue.append_dead_letter_event(&event).await.unwrap();
    }
    // The opening comes again: a crash between the append and the acknowledgement.
    queue.append_dead_letter_event(&opened(&one)).await.unwrap();
    let open = fold(read(queue.as_ref(), 3).await);
    assert_eq!(open.oldest_first(), [&two]);
    assert!(open.is_resolved(&one.id));
}
