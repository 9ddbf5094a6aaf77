//! Reading letters from the log, page by page.

use super::*;

#[tokio::test]
async fn an_export_gives_all_open_letters_and_new_ones_are_seen_once() {
    let office = office();
    for id in 1..=u128::from(EVENTS_MAX) + 5 {
        office.bury_plain(id).await;
    }
    office.desk.discard(&[Uuid::from_u128(3)], "anna", "test", at(500)).await.unwrap();
    // A crash between the append and the acknowledgement: the letter stands there twice.
    office.bury_plain(4).await;
    let (mut ids, mut position) = (Vec::new(), 0);
    loop {
        let news = office.desk.news(position, &Filter::default()).await.unwrap();
        position = news.next;
        ids.extend(news.letters.iter().map(|letter| letter.id.as_u128()));
        if news.at_end {
            break;
        }
    }
    let expected: Vec<u128> = (1..=u128::from(EVENTS_MAX) + 5).filter(|id| *id != 3).collect();
    assert_eq!((ids, position), (expected, office.desk.end().await.unwrap()));
    office.bury_plain(9_999).await;
    let news = office.desk.news(position, &Filter::default()).await.unwrap();
    assert_eq!(news.letters.iter().map(|l| l.id.as_u128()).collect::<Vec<_>>(), [9_999]);
    assert!(office.desk.news(news.next, &Filter::default()).await.unwrap().letters.is_empty());
}

#[tokio::test]
async fn a_letter_that_is_appended_while_a_page_is_read_is_seen_once() {
    let (mut steps_count, all) = (0, Filter::default());
    loop {
        let office = office();
        office.bury_plain(1).await;
        let mut news = Box::pin(office.desk.news(0, &all));
        let through = steps(&mut news, steps_count).await;
        office.bury_plain(2).await;
        let is_through = through.is_some();
        let first = match through {
            Some(outcome) => outcome,
            None => news.await,
        };
        let first = first.unwrap();
        let second = office.desk.news(first.next, &all).await.unwrap();
        let seen = [first.letters, second.letters].concat();
        let seen: Vec<u128> = seen.iter().map(|letter| letter.id.as_u128()).collect();
        assert_eq!((seen, second.next, second.at_end), (vec![1, 2], 2, true), "after {steps_count} steps");
        if is_through {
            assert!(steps_count > 5, "the look was not taken apart");
            return;
        }
        steps_count += 1;
    }
}

#[tokio::test]
async fn news_goes_back_for_another_log_only() {
    let office = office();
    for id in 1..=3 {
        office.bury_plain(id).await;
    }
    let news = office.desk.news(1_000, &Filter::default()).await.unwrap();
    assert_eq!((news.letters.len(), news.next, news.at_end), (0, 3, true));
    let news = office.desk.news(2, &Filter::default()).await.unwrap();
    assert_eq!((news.letters.len(), news.next, news.at_end), (1, 3, true));
}
