//! Asking for access tokens: once for the whole fleet, and nothing lost.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use secrecy::SecretString;
use serde_json::json;
use tokio::task::JoinSet;

use super::server::Mood;
use super::*;
use crate::{GrantState, Reason, Revoked};

/// All at once from all members; the tokens they got.
async fn all_at_once(members: &[Accounts], account: &AccountId, callers: usize) -> BTreeSet<String> {
    let mut asking = JoinSet::new();
    for caller in 0..callers {
        let (member, account) = (members[caller % members.len()].clone(), account.clone());
        asking.spawn(async move { token(&member, &account).await });
    }
    asking.join_all().await.into_iter().map(|token| token.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_ask_at_once_and_the_provider_is_asked_once_each_time() {
    let bench = Bench::new().await;
    let members: Vec<_> = (0..4).map(|_| bench.member()).collect();
    let account = bench.connected(&members[0], "anna").await;
    let mut used = BTreeSet::new();
    for round in 1..=50 {
        bench.clock.advance(2 * HOUR);
        let tokens = all_at_once(&members, &account, 20).await;
        assert_eq!(tokens.len(), 1, "round {round}: {tokens:?}");
        assert_eq!(bench.server.requests(), round, "round {round}");
        assert!(used.insert(tokens), "round {round}: a token that had ended");
    }
    // Each request spent the refresh token that the one before had brought.
    let spent: Vec<String> =
        bench.server.with(|it| it.requests.iter().map(|form| form["refresh_token"].clone()).collect());
    let expected: Vec<String> = std::iter::once("refresh-of-anna".to_owned())
        .chain((1..50).map(|n| format!("refresh-{n}")))
        .collect();
    assert_eq!(spent, expected);
    assert_eq!(bench.state.leases(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ahead_of_its_end_one_asks_and_the_others_use_what_is_there() {
    let bench = Bench::new().await;
    let members = [bench.member(), bench.member()];
    let account = bench.connected(&members[0], "anna").await;
    bench.clock.advance(Duration::from_secs(54 * 60));
    assert_eq!(token(&members[0], &account).await.unwrap(), "access-of-anna");
    assert_eq!(bench.server.requests(), 0);
    bench.clock.advance(Duration::from_secs(2 * 60));
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (member, account) = (members[0].clone(), account.clone());
        async move { token(&member, &account).await }
    });
    bench.server.hanging.notified().await;
    for member in &members {
        assert_eq!(token(member, &account).await.unwrap(), "access-of-anna", "nobody waits");
    }
    bench.server.go_on();
    assert_eq!(asking.await.unwrap().unwrap(), "access-1");
    assert_eq!(token(&members[1], &account).await.unwrap(), "access-1");
    assert_eq!(bench.server.requests(), 1);
}

#[tokio::test]
async fn accounts_do_not_wait_for_each_other() {
    let bench = Bench::new().await;
    let member = bench.member();
    let (anna, berta) = (bench.connected(&member, "anna").await, bench.connected(&member, "berta").await);
    token(&member, &anna).await.unwrap();
    bench.clock.advance(2 * HOUR);
    bench.server.refuses(400, "invalid_grant");
    assert!(matches!(token(&member, &anna).await, Err(AccessError::NeedsReconnect { .. })));
    assert_eq!(token(&member, &berta).await.unwrap(), "access-1", "all others go on");
}

#[tokio::test]
async fn a_caller_that_goes_away_loses_nothing() {
    let bench = Bench::new().await;
    bench.server.with(|it| it.old_dies = true);
    let member = bench.member_with(
        revoking(bench.provider()),
        Waits { poll: Duration::from_millis(5), ..Waits::default() },
    );
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (member, account) = (member.clone(), account.clone());
        async move { token(&member, &account).await }
    });
    bench.server.hanging.notified().await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    bench.server.go_on();
    assert_eq!(token(&member, &account).await.unwrap(), "access-1");
    assert_eq!(bench.server.requests(), 1, "the answer was stored though nobody waited for it");
}

#[tokio::test]
async fn an_answer_is_stored_before_it_is_handed_out_and_again_until_it_is() {
    let bench = Bench::new().await;
    bench.server.with(|it| it.old_dies = true);
    let member = bench.member_with(
        revoking(bench.provider()),
        Waits { poll: Duration::from_millis(5), ..Waits::default() },
    );
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.state.writes_to_fail.store(3, Ordering::SeqCst);
    assert_eq!(token(&member, &account).await.unwrap(), "access-1");
    let grant = bench.grant(&member, &account).await;
    assert_eq!(grant.refresh.unwrap().expose(), "refresh-1");
    assert_eq!(bench.server.requests(), 1);

    bench.clock.advance(2 * HOUR);
    bench.state.hang_at("vault/grant/");
    let mut asking = tokio::spawn({
        let (member, account) = (member.clone(), account.clone());
        async move { token(&member, &account).await }
    });
    bench.state.hanging.notified().await;
    tokio::select! {
        early = &mut asking => panic!("handed out before it was stored: {early:?}"),
        () = tokio::task::yield_now() => {}
    }
    bench.state.go_on();
    assert_eq!(asking.await.unwrap().unwrap(), "access-2");
}

/// A process of its own, which dies when it is told to.
fn dies_between_answer_and_store(bench: &Bench, provider: Provider, account: &AccountId) {
    let waits = Waits { poll: Duration::from_millis(5), ..Waits::default() };
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    bench.state.hang_at("vault/grant/");
    let (member, account) = (bench.member_with(provider, waits), account.clone());
    process.spawn(async move { token(&member, &account).await });
    process.block_on(bench.state.hanging.notified());
    process.shutdown_timeout(Duration::from_secs(60));
    bench.state.go_on();
    bench.state.end_leases();
}

#[test]
fn a_death_between_answer_and_store_costs_no_grant_where_the_old_refresh_token_lives_on() {
    let fleet = tokio::runtime::Runtime::new().unwrap();
    let bench = fleet.block_on(Bench::new());
    let member = bench.member();
    let account = fleet.block_on(bench.connected(&member, "anna"));
    fleet.block_on(bench.warmed_up(std::slice::from_ref(&member), &account));
    dies_between_answer_and_store(&bench, bench.provider(), &account);
    assert_eq!(bench.server.requests(), 2);
    assert_eq!(fleet.block_on(token(&member, &account)).unwrap(), "access-3");
    assert_eq!(bench.server.requests(), 3);
}

#[test]
fn a_death_between_answer_and_store_is_told_once_where_the_old_refresh_token_died() {
    let fleet = tokio::runtime::Runtime::new().unwrap();
    let bench = fleet.block_on(Bench::new());
    bench.server.with(|it| it.old_dies = true);
    let provider = revoking(bench.provider());
    let waits = Waits { poll: Duration::from_millis(5), ..Waits::default() };
    let members: Vec<_> = (0..4).map(|_| bench.member_with(provider.clone(), waits)).collect();
    let account = fleet.block_on(bench.connected(&members[0], "anna"));
    fleet.block_on(bench.warmed_up(&members, &account));
    dies_between_answer_and_store(&bench, provider, &account);
    fleet.block_on(async {
        let mut asking = JoinSet::new();
        for caller in 0..20 {
            let (member, account) = (members[caller % 4].clone(), account.clone());
            asking.spawn(async move { token(&member, &account).await });
        }
        for answer in asking.join_all().await {
            assert!(matches!(answer, Err(AccessError::NeedsReconnect { .. })), "{answer:?}");
        }
        assert_eq!(bench.server.requests(), 4 + 2, "one that died, and one that found the grant over");
        let mut told = JoinSet::new();
        for member in members.clone() {
            let account = account.clone();
            told.spawn(async move { member.mark_told(&account).await.unwrap() });
        }
        let told = told.join_all().await;
        assert_eq!(told.iter().filter(|told| **told).count(), 1, "one alert");
    });
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_explained_where_it_cost_the_grant() {
    for old_dies in [false, true] {
        let bench = Bench::new().await;
        bench.server.with(|it| it.old_dies = old_dies);
        let provider = if old_dies { revoking(bench.provider()) } else { bench.provider() };
        let member = bench.member_with(provider, Waits::default());
        let account = bench.connected(&member, "anna").await;
        bench.clock.advance(2 * HOUR);
        bench.server.next(Mood::LosesTheAnswer);
        let error = token(&member, &account).await.unwrap_err();
        assert!(matches!(error, AccessError::Later { .. }), "{error}");
        let error = token(&member, &account).await.unwrap_err();
        assert!(matches!(error, AccessError::Later { .. }), "{error}");
        assert_eq!(bench.server.requests(), 1, "who comes meanwhile waits as well");
        bench.clock.advance(Duration::from_secs(10));
        let again = token(&member, &account).await;
        assert_eq!(bench.server.requests(), 2);
        if old_dies {
            let over = again.unwrap_err();
            assert!(matches!(over, AccessError::NeedsReconnect { reason: Reason::AnswerLost, .. }), "{over}");
        } else {
            assert_eq!(again.unwrap(), "access-2");
        }
    }
}

#[tokio::test]
async fn a_holder_that_lost_its_lease_writes_over_nothing_newer() {
    let bench = Bench::new().await;
    let (slow, quick) = (bench.member(), bench.member());
    let account = bench.connected(&slow, "anna").await;
    bench.warmed_up(&[slow.clone(), quick.clone()], &account).await;
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (slow, account) = (slow.clone(), account.clone());
        async move { token(&slow, &account).await }
    });
    bench.server.hanging.notified().await;
    bench.state.leases_are_lost.store(true, Ordering::SeqCst);
    // The hanging one has access-3 and refresh-3.
    assert_eq!(token(&quick, &account).await.unwrap(), "access-4");
    bench.server.go_on();
    assert_eq!(asking.await.unwrap().unwrap(), "access-4", "it uses what the other one stored");
    assert_eq!(bench.grant(&slow, &account).await.refresh.unwrap().expose(), "refresh-4");
}

#[tokio::test]
async fn a_good_answer_that_comes_late_undoes_what_its_own_refresh_token_was_blamed_for() {
    let bench = Bench::new().await;
    bench.server.with(|it| it.old_dies = true);
    let provider = revoking(bench.provider());
    let (slow, quick) = (
        bench.member_with(provider.clone(), Waits::default()),
        bench.member_with(provider, Waits::default()),
    );
    let account = bench.connected(&slow, "anna").await;
    bench.warmed_up(&[slow.clone(), quick.clone()], &account).await;
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (slow, account) = (slow.clone(), account.clone());
        async move { token(&slow, &account).await }
    });
    bench.server.hanging.notified().await;
    bench.state.leases_are_lost.store(true, Ordering::SeqCst);
    let over = token(&quick, &account).await.unwrap_err();
    assert!(matches!(over, AccessError::NeedsReconnect { .. }), "{over}");
    bench.server.go_on();
    assert_eq!(asking.await.unwrap().unwrap(), "access-3");
    assert_eq!(token(&quick, &account).await.unwrap(), "access-3", "the grant lives");
}

#[tokio::test]
async fn a_new_consent_is_not_written_over_by_the_answer_to_an_old_grant() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (member, account) = (member.clone(), account.clone());
        async move { token(&member, &account).await }
    });
    bench.server.hanging.notified().await;
    bench.connected(&member, "anna").await;
    bench.server.go_on();
    assert_eq!(asking.await.unwrap().unwrap(), "access-of-anna");
    assert_eq!(bench.grant(&member, &account).await.refresh.unwrap().expose(), "refresh-of-anna");
}

#[tokio::test]
async fn what_is_over_is_not_asked_for_and_a_new_consent_ends_that() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Says(
        400,
        json!({"error": "invalid_grant", "error_codes": [65001], "suberror": "consent_required", "claims": "{\"a\":1}"}),
    ));
    for _ in 0..3 {
        let error = token(&member, &account).await.unwrap_err();
        assert!(matches!(error, AccessError::NeedsReconnect { reason: Reason::Consent, .. }), "{error}");
        assert!(!error.to_string().contains("jo@"), "{error}");
    }
    assert_eq!(bench.server.requests(), 1);
    let summary = member.account(&account).await.unwrap().unwrap();
    let since = bench.clock.now();
    assert_eq!(summary.state, GrantState::NeedsReconnect { reason: Reason::Consent, since, told: false });
    assert!(member.mark_told(&account).await.unwrap() && !member.mark_told(&account).await.unwrap());
    bench.connected(&member, "anna").await;
    assert_eq!(token(&member, &account).await.unwrap(), "access-of-anna");
}

#[tokio::test]
async fn a_wrong_client_keeps_all_accounts_and_is_not_asked_again_at_once() {
    let bench = Bench::new().await;
    let member = bench.member();
    let (anna, berta) = (bench.connected(&member, "anna").await, bench.connected(&member, "berta").await);
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Says(401, json!({"error": "invalid_client", "error_codes": [7000222]})));
    let error = token(&member, &anna).await.unwrap_err();
    assert!(
        matches!(&error, AccessError::Operator { what, .. } if what.contains("AADSTS7000222")),
        "{error}"
    );
    for account in [&anna, &berta] {
        let error = token(&member, account).await.unwrap_err();
        assert!(matches!(error, AccessError::Later { .. }), "{error}");
        let summary = member.account(account).await.unwrap().unwrap();
        assert_eq!((summary.state, summary.failures), (GrantState::Active, 0));
    }
    assert_eq!(bench.server.requests(), 1);
}

#[tokio::test]
async fn what_is_wrong_for_one_account_alone_holds_no_other_up() {
    let bench = Bench::new().await;
    let member = bench.member();
    let (anna, berta) = (bench.connected(&member, "anna").await, bench.connected(&member, "berta").await);
    bench.clock.advance(2 * HOUR);
    // The application is not in her tenant.
    bench.server.refuses(400, "unauthorized_client");
    assert!(matches!(token(&member, &anna).await, Err(AccessError::Operator { .. })));
    assert_eq!(token(&member, &berta).await.unwrap(), "access-1");
    assert!(matches!(token(&member, &anna).await, Err(AccessError::Later { .. })));
    assert_eq!(bench.server.requests(), 2);
    let summary = member.account(&anna).await.unwrap().unwrap();
    assert_eq!((summary.state, summary.failures), (GrantState::Active, 1));
    assert!(summary.problem.unwrap().contains("unauthorized_client"));
    bench.clock.advance(Duration::from_secs(301));
    assert_eq!(token(&member, &anna).await.unwrap(), "access-2");
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_not_handed_out() {
    let bench = Bench::new().await;
    let waits = Waits { store_time_max: Duration::ZERO, ..Waits::default() };
    let member = bench.member_with(bench.provider(), waits);
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.state.writes_to_fail.store(1, Ordering::SeqCst);
    assert!(matches!(token(&member, &account).await, Err(AccessError::Vault(_))));
    assert_eq!(token(&member, &account).await.unwrap(), "access-2");
}

#[tokio::test]
async fn passing_failures_wait_longer_each_time_and_a_loop_waits_minutes() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    for (failures, (status, word)) in [
        (1, (400, "temporarily_unavailable")),
        (2, (403, "rate_limit_exceeded")),
        (3, (400, "something_new")),
    ] {
        bench.server.refuses(status, word);
        let error = token(&member, &account).await.unwrap_err();
        assert!(matches!(&error, AccessError::Later { .. }), "{error}");
        assert_eq!(member.account(&account).await.unwrap().unwrap().failures, failures);
        bench.clock.advance(Duration::from_secs(30));
    }
    bench.server.next(Mood::Page(400));
    assert!(matches!(token(&member, &account).await, Err(AccessError::Later { .. })), "a page is no refusal");
    bench.clock.advance(Duration::from_secs(400));
    bench.server.next(Mood::Says(429, json!({"error": "invalid_grant", "error_codes": [50196]})));
    let error = token(&member, &account).await.unwrap_err();
    assert!(matches!(&error, AccessError::Later { .. }), "{error}");
    let requests = bench.server.requests();
    bench.clock.advance(Duration::from_secs(290));
    assert!(token(&member, &account).await.is_err());
    assert_eq!(bench.server.requests(), requests, "nothing is asked for minutes");
    assert_eq!(member.account(&account).await.unwrap().unwrap().state, GrantState::Active);
}

#[tokio::test]
async fn while_its_token_lives_an_account_bears_failures_without_notice() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(Duration::from_secs(56 * 60));
    bench.server.refuses(400, "temporarily_unavailable");
    assert_eq!(token(&member, &account).await.unwrap(), "access-of-anna");
    assert_eq!(token(&member, &account).await.unwrap(), "access-of-anna");
    assert_eq!(bench.server.requests(), 1);
    bench.clock.advance(Duration::from_secs(30));
    assert_eq!(token(&member, &account).await.unwrap(), "access-1");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_however_many_were_refused_with_it() {
    let bench = Bench::new().await;
    let members = [bench.member(), bench.member()];
    let account = bench.connected(&members[0], "anna").await;
    let refused = SecretString::from("access-of-anna");
    for member in [&members[0], &members[1], &members[0]] {
        member.refused(&account, &refused, Some("eyJhIjoxfQ==")).await.unwrap();
    }
    let tokens = all_at_once(&members, &account, 10).await;
    assert_eq!(tokens, BTreeSet::from(["access-1".to_owned()]));
    // One whose request was under way comes late.
    members[1].refused(&account, &refused, None).await.unwrap();
    assert_eq!(token(&members[1], &account).await.unwrap(), "access-1");
    assert_eq!(bench.server.requests(), 1);
    let claims = bench.server.with(|it| it.requests[0].get("claims").cloned());
    assert_eq!(claims.as_deref(), Some(r#"{"a":1}"#), "what the next one must prove goes along");
}

#[tokio::test]
async fn fresh_tokens_that_are_refused_again_and_again_are_not_asked_for_without_end() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    let mut refused = 0;
    let error = loop {
        match token(&member, &account).await {
            Ok(token) => member.refused(&account, &token.into(), None).await.unwrap(),
            Err(error) => break error,
        }
        refused += 1;
        assert!(refused < 100);
    };
    assert!(matches!(error, AccessError::Later { .. }), "{error}");
    assert!((3..10).contains(&bench.server.requests()), "{}", bench.server.requests());
    bench.clock.advance(Duration::from_secs(61));
    assert!(token(&member, &account).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_applications_own_token_is_had_once_and_has_no_refresh_token() {
    let bench = Bench::new().await;
    let members = [bench.member(), bench.member()];
    let account: AccountId = "microsoft/application".parse().unwrap();
    for round in 1..=5 {
        let tokens = all_at_once(&members, &account, 10).await;
        assert_eq!((tokens.len(), bench.server.requests()), (1, round));
        assert!(bench.grant(&members[0], &account).await.refresh.is_none());
        bench.clock.advance(2 * HOUR);
    }
    let form = bench.server.with(|it| it.requests[0].clone());
    assert_eq!(
        (form["grant_type"].as_str(), form["scope"].as_str()),
        ("client_credentials", "https://graph.microsoft.com/.default")
    );
    // Where it was not consented to, nobody can connect it: it is the operator's.
    bench.server.refuses(400, "invalid_grant");
    assert!(matches!(token(&members[0], &account).await, Err(AccessError::Operator { .. })));

    let shared = Provider { application_scope: None, ..bench.provider() };
    let error = token(&bench.member_with(shared, Waits::default()), &account).await;
    assert!(matches!(error, Err(AccessError::NoApplication(_) | AccessError::Later { .. })), "{error:?}");
}

#[tokio::test]
async fn accounts_are_listed_page_by_page_without_a_key_and_without_a_token() {
    let bench = Bench::new().await;
    let member = bench.member();
    for user in ["anna", "berta", "clara"] {
        bench.connected(&member, user).await;
    }
    let keyless = Secrets::new(bench.state.clone(), KeySource::Missing, vec![]);
    let keyless = Accounts::new(AccountsSettings {
        secrets: keyless,
        providers: vec![],
        waits: Waits::default(),
        meter: Arc::new(NoMeter),
        clock: bench.clock.clone(),
    })
    .unwrap();
    let first = keyless.list(None, 2).await.unwrap();
    let names: Vec<String> = first.iter().map(|it| it.account.to_string()).collect();
    assert_eq!(names, ["microsoft/user/anna", "microsoft/user/berta"]);
    assert_eq!(first[0].summary.as_ref().unwrap().state, GrantState::Active);
    let rest = keyless.list(Some(&first[1].account), 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert!(keyless.list(Some(&rest[0].account), 2).await.unwrap().is_empty());
    for (key, stored) in bench.state.documents("vault/") {
        assert!(!stored.contains("access-of") && !stored.contains("refresh-of"), "{key}: {stored}");
    }
}

#[tokio::test]
async fn an_account_is_taken_back_at_the_provider_first() {
    let bench = Bench::new().await;
    let revoke_url = Url::parse(&format!("{}/revoke", bench.server.url)).unwrap();
    let provider = Provider { revoke_url: Some(revoke_url), ..bench.provider() };
    let member = bench.member_with(provider, Waits::default());
    let account = bench.connected(&member, "anna").await;
    bench.server.next(Mood::Says(503, json!({})));
    assert!(member.revoke(&account).await.is_err());
    assert!(member.account(&account).await.unwrap().is_some(), "left as it was");
    assert_eq!(member.revoke(&account).await.unwrap(), Revoked::AtProvider);
    assert_eq!(bench.server.with(|it| it.revoked.clone()), ["refresh-of-anna"]);
    assert_eq!(member.revoke(&account).await.unwrap(), Revoked::Nothing);
    assert!(matches!(token(&member, &account).await, Err(AccessError::NotConnected { .. })));

    let plain = bench.member();
    let account = bench.connected(&plain, "anna").await;
    assert_eq!(plain.revoke(&account).await.unwrap(), Revoked::HereOnly);
}

#[tokio::test]
async fn a_grant_in_anothers_place_is_damaged() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    let document = bench.state.documents("vault/grant/").pop().unwrap().1;
    let other: AccountId = "microsoft/user/berta".parse().unwrap();
    bench
        .state
        .write(shared::ports::state::Write::put("vault/grant/microsoft/user/berta", document.as_bytes()))
        .await
        .unwrap();
    assert!(matches!(token(&member, &other).await, Err(AccessError::Vault(_))));
    assert_eq!(member.revoke(&other).await.unwrap(), Revoked::HereOnly);
    assert_eq!(member.revoke(&other).await.unwrap(), Revoked::Nothing);
    assert!(token(&member, &account).await.is_ok());
}

#[tokio::test]
async fn a_program_ends_when_the_answers_under_way_are_stored() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Hangs);
    let asking = tokio::spawn({
        let (member, account) = (member.clone(), account.clone());
        async move { token(&member, &account).await }
    });
    bench.server.hanging.notified().await;
    asking.abort();
    let ending = async {
        member.leave().await;
        bench.grant(&member, &account).await.access.unwrap().token.expose().to_owned()
    };
    let going_on = async { bench.server.go_on() };
    let (stored, ()) = tokio::join!(ending, going_on);
    assert_eq!(stored, "access-1");
}

#[tokio::test]
async fn a_check_asks_whatever_is_known_and_brings_back_what_works_again() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    assert_eq!(member.check(&account).await.unwrap().state, GrantState::Active);
    assert_eq!(bench.server.requests(), 1, "though the token was fresh");
    bench.server.next(Mood::Says(400, json!({"error": "invalid_grant", "error_codes": [50057]})));
    let over = member.check(&account).await.unwrap_err();
    assert!(matches!(over, AccessError::NeedsReconnect { reason: Reason::UserDisabled, .. }), "{over}");
    bench.server.refuses(400, "server_error");
    assert!(matches!(member.check(&account).await, Err(AccessError::Later { .. })));
    assert_eq!(member.check(&account).await.unwrap().state, GrantState::Active);
    assert_eq!(token(&member, &account).await.unwrap(), "access-2");

    let unknown: AccountId = "microsoft/user/nobody".parse().unwrap();
    assert!(matches!(member.check(&unknown).await, Err(AccessError::NotConnected { .. })));
}

#[tokio::test]
async fn what_ends_without_a_refresh_token_is_over_in_lists_as_well() {
    let bench = Bench::new().await;
    let member = bench.member();
    let account = bench.connected(&member, "anna").await;
    let mut grant = bench.grant(&member, &account).await;
    grant.refresh = None;
    member.0.put(&grant, Expected::Any).await.unwrap();
    assert!(token(&member, &account).await.is_ok());
    bench.clock.advance(HOUR);
    assert!(matches!(token(&member, &account).await, Err(AccessError::NeedsReconnect { .. })));
    let listed = member.list(None, 1).await.unwrap().pop().unwrap().summary.unwrap();
    assert!(matches!(
        listed.state,
        GrantState::NeedsReconnect { reason: Reason::NoRefreshToken, told: false, .. }
    ));
    assert_eq!(bench.server.requests(), 0);
}
