//! The state machine, against a calendar in memory whose pages, tokens and circles misbehave.

use proptest::prelude::*;

use super::*;
use crate::calendar::event::When;

const REACH: Reach = Reach { back_days: 365, ahead_days: 90, page_events_max: 100 };

fn at(days: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start.checked_add((days * 24).hours()).unwrap()
}

fn page(next: Next, fingerprint: u64, new_events: u64) -> Page {
    Page { next, fingerprint, new_events, is_empty: false }
}

fn more(link: &str, fingerprint: u64, new_events: u64) -> Page {
    page(Next::Page(link.to_owned()), fingerprint, new_events)
}

fn last(token: &str) -> Page {
    page(Next::End(Some(token.to_owned())), 99, 1)
}

/// A calendar that has been read once.
fn read_once(reach: &Reach) -> Cursor {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.request(reach, at(0)), Request::Full(reach.window(at(0))));
    assert_eq!(cursor.applied(&last("t1"), at(0)), Step::Compare(reach.window(at(0))));
    cursor
}

#[test]
fn the_first_round_resumes_at_its_page_and_then_asks_for_changes() {
    let mut cursor = Cursor::default();
    assert_eq!(cursor.phase(), "initial");
    let window = REACH.window(at(0));
    assert_eq!(cursor.request(&REACH, at(0)), Request::Full(window));
    assert_eq!(cursor.applied(&more("p2", 1, 100), at(0)), Step::Continues);
    assert_eq!(cursor.phase(), "paging");
    // A crash after any page: what was stored asks for the next one, and not from the start.
    let stored: Cursor = serde_json::from_str(&serde_json::to_string(&cursor).unwrap()).unwrap();
    let mut cursor = stored;
    assert_eq!(cursor.request(&REACH, at(1)), Request::Page { page: "p2".into(), token: None });
    assert_eq!(cursor.applied(&last("t1"), at(1)), Step::Compare(window));
    assert_eq!(cursor.phase(), "incremental");
    assert_eq!(cursor.request(&REACH, at(2)), Request::Changes("t1".into()));
    assert_eq!(cursor.applied(&more("p2", 1, 5), at(2)), Step::Continues);
    assert_eq!(cursor.request(&REACH, at(2)), Request::Page { page: "p2".into(), token: Some("t1".into()) });
    assert_eq!(cursor.applied(&last("t2"), at(2)), Step::Ended);
    assert_eq!(cursor.request(&REACH, at(2)), Request::Changes("t2".into()));
    assert_eq!(cursor.synced_at, Some(at(2)));
}

#[test]
fn an_expired_token_or_page_means_the_whole_window_once_and_a_comparison() {
    for expires_at_page in [false, true] {
        let mut cursor = read_once(&REACH);
        cursor.request(&REACH, at(1));
        if expires_at_page {
            cursor.applied(&more("p2", 1, 5), at(1));
            cursor.request(&REACH, at(1));
        }
        cursor.expired(&REACH, at(2));
        let window = REACH.window_after_loss(at(2));
        assert_eq!(window, Window { from: at(2 - 365 - 90), ..REACH.window(at(2)) });
        assert_eq!(cursor.request(&REACH, at(2)), Request::Full(window));
        assert_eq!(cursor.applied(&last("t9"), at(2)), Step::Compare(window));
        assert_eq!(cursor.request(&REACH, at(3)), Request::Changes("t9".into()));
    }
}

#[test]
fn the_window_slides_beside_the_old_token_and_both_are_swapped_at_once() {
    let mut cursor = read_once(&REACH);
    assert_eq!(cursor.request(&REACH, at(6)), Request::Changes("t1".into()));
    cursor.applied(&last("t2"), at(6));
    let window = REACH.window(at(7));
    assert_eq!(cursor.request(&REACH, at(7)), Request::Full(window));
    cursor.applied(&more("p2", 1, 100), at(7));
    assert_eq!(cursor.token.as_ref().unwrap().text, "t2", "the old one is kept");
    assert_eq!(cursor.request(&REACH, at(7)), Request::Page { page: "p2".into(), token: None });
    assert_eq!(cursor.applied(&last("t3"), at(7)), Step::Compare(window));
    assert_eq!(cursor.token.as_ref().unwrap().text, "t2");
    // What changed between is not lost.
    assert_eq!(cursor.request(&REACH, at(7)), Request::Changes("t2".into()));
    assert_eq!(cursor.applied(&last("t2b"), at(7)), Step::Ended);
    assert_eq!(cursor.token.as_ref().map(|token| (token.text.as_str(), token.window)), Some(("t3", window)));
    assert_eq!(cursor.request(&REACH, at(8)), Request::Changes("t3".into()));
}

#[test]
fn tokens_that_expire_while_the_window_slides_lose_nothing() {
    // The new round's page: it begins anew, the old token is as good as before.
    let mut cursor = read_once(&REACH);
    cursor.request(&REACH, at(7));
    cursor.applied(&more("p2", 1, 100), at(7));
    cursor.expired(&REACH, at(8));
    assert_eq!(cursor.token.as_ref().unwrap().text, "t1");
    assert_eq!(cursor.request(&REACH, at(8)), Request::Full(REACH.window(at(8))));
    cursor.applied(&last("t2"), at(8));
    // The old token, at its last use: it would have told what changed outside the window, which the new round has not read.
    assert_eq!(cursor.request(&REACH, at(8)), Request::Changes("t1".into()));
    assert!(!cursor.outside_unread);
    cursor.expired(&REACH, at(8));
    assert_eq!(cursor.request(&REACH, at(8)), Request::Full(REACH.window_after_loss(at(8))));
    assert!(cursor.outside_unread);
}

#[test]
fn a_window_that_runs_short_slides_before_a_week_is_over() {
    let reach = Reach { ahead_days: 15, ..REACH };
    let mut cursor = read_once(&reach);
    assert_eq!(cursor.clone().request(&reach, at(5)), Request::Changes("t1".into()));
    assert_eq!(cursor.request(&reach, at(6)), Request::Full(reach.window(at(6))));
}

#[test]
fn circles_are_stopped_retried_with_smaller_pages_and_then_avoided() {
    let mut cursor = read_once(&REACH);
    for round in 0..2 {
        assert_eq!(cursor.page_events(&REACH), 100 >> round);
        assert_eq!(cursor.request(&REACH, at(1)), Request::Changes("t1".into()));
        assert_eq!(cursor.applied(&more("p2", 7, 3), at(1)), Step::Continues);
        assert_eq!(cursor.applied(&more("p3", 7, 0), at(1)), Step::Looped, "the same page, another link");
    }
    assert_eq!(cursor.request(&REACH, at(1)), Request::Listing(REACH.window_after_loss(at(1))));
    let end = Page { next: Next::End(None), fingerprint: 1, new_events: 10, is_empty: false };
    assert!(matches!(cursor.applied(&end, at(1)), Step::Compare(_)));
    assert_eq!(
        cursor.request(&REACH, at(2)),
        Request::Full(REACH.window_after_loss(at(2))),
        "tokens are tried again"
    );
    // The same link again.
    assert_eq!(cursor.applied(&more("p2", 1, 5), at(2)), Step::Continues);
    assert_eq!(cursor.applied(&more("p2", 2, 5), at(2)), Step::Looped);
}

#[test]
fn empty_pages_are_normal_and_pages_without_end_are_not() {
    let mut cursor = Cursor::default();
    cursor.request(&REACH, at(0));
    for n in 1..PAGES_MAX {
        let empty = Page { is_empty: true, ..more(&format!("p{n}"), 0, 0) };
        assert_eq!(cursor.applied(&empty, at(0)), Step::Continues);
    }
    assert_eq!(cursor.applied(&more("p0", 1, 1), at(0)), Step::Looped);
}

#[test]
fn what_is_missing_is_looked_at_only_where_it_should_have_come() {
    let window = REACH.window(at(0));
    let event = |days: i64| {
        let start = at(days).to_zoned(jiff::tz::TimeZone::UTC);
        let end = start.checked_add(1.hour()).unwrap();
        Event::new("A", When::Timed { start, end })
    };
    let link = Linked { base: Some(event(1)), seen: false, ended: false };
    assert_eq!(missing(&link, &window), Missing::Look);
    assert_eq!(missing(&Linked { seen: true, ..link.clone() }, &window), Missing::No);
    assert_eq!(missing(&Linked { ended: true, ..link.clone() }, &window), Missing::No);
    for (days, says) in [(-400, Missing::Past), (91, Missing::Ahead)] {
        assert_eq!(missing(&Linked { base: Some(event(days)), ..link.clone() }, &window), says);
    }
    assert_eq!(missing(&Linked { base: None, ..link }, &window), Missing::Look, "its time is not known");
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Page,
    End,
    Expired,
    /// The answer, or our storing of the state, was lost.
    Crash,
    Circle,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However old a window is that is not set anew yet, it has what all calendars have seen.
    #[test]
    fn what_all_have_seen_is_in_every_window(ahead_days in 1u16..500, age in 0i64..400, on in 0i64..1_000) {
        let reach = Reach { ahead_days, ..REACH };
        let (since, start) = (at(0), at(on));
        let now = since.checked_add(age.hours()).unwrap();
        let token = Token { text: String::new(), window: reach.window(since), since };
        if !is_short(&token, &reach, now) && reach.seen_by_all(start) <= now {
            prop_assert!(start < token.window.to);
        }
    }

    /// Every change of a calendar is read, whatever happens on the way. The calendar is a counter of changes; a token
    /// names the changes that were there when its round began to be answered, so what comes later comes with it. What
    /// was read is always at least what the token of the stored state leaves out. Of what lies outside the window only
    /// changes tell; where they do not, somebody has to look.
    #[test]
    fn no_change_is_ever_skipped(
        answers in proptest::collection::vec(
            prop_oneof![4 => Just(Answer::Page), 4 => Just(Answer::End), 1 => Just(Answer::Expired), 2 => Just(Answer::Crash), 1 => Just(Answer::Circle)],
            0..60),
        hours in proptest::collection::vec(1i64..60, 60),
    ) {
        let reach = REACH;
        let (mut cursor, mut changes, mut read) = (Cursor::default(), 0u64, 0u64);
        // None before the calendar was read once: nothing is linked.
        let mut read_outside = None;
        let mut time = at(0);
        for (n, (answer, hours)) in answers.iter().zip(hours).enumerate() {
            time = time.checked_add(hours.hours()).unwrap();
            changes += 1;
            let before = cursor.clone();
            let request = cursor.request(&reach, time);
            // A restart reads what was stored, with the round that was begun.
            prop_assert_eq!(&cursor.clone().request(&reach, time), &request);
            let of_token = |cursor: &Cursor| cursor.token.as_ref().map_or(0, |token| token.text.parse::<u64>().unwrap());
            match answer {
                Answer::Crash => cursor = before,
                Answer::Expired => cursor.expired(&reach, time),
                Answer::Page => { cursor.applied(&more(&format!("page {n}"), n as u64, 1), time); }
                Answer::Circle => { cursor.applied(&Page { new_events: 0, ..more("page 0", 0, 0) }, time); }
                Answer::End => {
                    let full = matches!(cursor.round.as_ref().unwrap().kind, Kind::Full(_));
                    let from = of_token(&cursor);
                    // Changes follow on what was read; the whole window stands by itself.
                    prop_assert!(full || from <= read, "skips {from} > {read}");
                    read = changes;
                    if !full || read_outside.is_none() {
                        read_outside = Some(changes);
                    }
                    let listing = matches!(request, Request::Listing(_));
                    let text = (!listing).then(|| changes.to_string());
                    cursor.applied(&Page { next: Next::End(text), fingerprint: n as u64, new_events: 1, is_empty: false }, time);
                }
            }
            prop_assert!(of_token(&cursor) <= read);
            if cursor.round.is_none() && std::mem::take(&mut cursor.outside_unread) {
                read_outside = Some(changes);
            }
            let next = cursor.next_token.as_ref().or(cursor.token.as_ref());
            if let (Some(next), false) = (next, cursor.round.is_some() || cursor.outside_unread) {
                let told = read_outside.unwrap_or_default();
                prop_assert!(next.text.parse::<u64>().unwrap() <= told, "skips what changed outside: {told}");
            }
        }
        // Undisturbed, it comes to rest within a few rounds, and goes on from all that was read.
        for _ in 0..5 {
            cursor.request(&reach, time);
            cursor.applied(&last(&changes.to_string()), time);
        }
        prop_assert_eq!(&cursor.round, &None);
        prop_assert_eq!(cursor.request(&reach, time), Request::Changes(changes.to_string()));
    }
}
