//! From a link to a stored grant, and everything that is not that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use shared::fault::Fault;

use super::server::{Consent, Mood};
use super::*;
use crate::{
    Before, Begun, ConnectError, Connected, Connecting, CrmUser, GrantState, Notice, ProviderName, Reason,
};

const LIFE: Duration = Duration::from_secs(3_600);

fn microsoft() -> ProviderName {
    ProviderName::new("microsoft").unwrap()
}

fn anna() -> CrmUser {
    CrmUser::new("anna").unwrap()
}

fn account() -> AccountId {
    AccountId::of_user(microsoft(), anna())
}

fn connecting(bench: &Bench) -> Connecting {
    Connecting::new(bench.member(), &Url::parse("https://sync.example/base").unwrap()).unwrap()
}

fn link(bench: &Bench, connecting: &Connecting) -> Url {
    connecting.link(&microsoft(), &anna(), LIFE, bench.clock.now()).unwrap()
}

fn query(url: &Url) -> String {
    url.query().unwrap().to_owned()
}

fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} in {url}")).1.into_owned()
}

fn cookie(begun: &Begun) -> String {
    begun.set_cookie.split(';').next().unwrap().to_owned()
}

/// With a link of its own: two of one second are the same.
async fn begin(bench: &Bench, connecting: &Connecting) -> Begun {
    bench.clock.advance(Duration::from_secs(1));
    connecting.begin("microsoft", &query(&link(bench, connecting))).await.unwrap()
}

/// What the provider does when the person consents: a code, bound to what was asked.
fn consent(bench: &Bench, begun: &Begun, scope: &str) -> String {
    let consent = Consent {
        challenge: parameter(&begun.location, "code_challenge"),
        redirect: parameter(&begun.location, "redirect_uri"),
        scope: scope.to_owned(),
    };
    bench.server.with(|it| {
        let code = format!("code-{}", it.codes.len());
        it.codes.insert(code.clone(), consent);
        code
    })
}

fn callback(begun: &Begun, code: &str) -> String {
    format!("code={code}&state={}&session_state=x", parameter(&begun.location, "state"))
}

async fn finish(connecting: &Connecting, begun: &Begun, query: &str) -> Result<Connected, ConnectError> {
    connecting.finish("microsoft", query, Some(&format!("other=1; {}", cookie(begun)))).await
}

fn refused<T: std::fmt::Debug>(result: Result<T, ConnectError>) -> (&'static str, u16) {
    let error = result.unwrap_err();
    (error.code(), error.status())
}

fn all_scopes(bench: &Bench) -> String {
    bench.provider().scopes.join(" ")
}

#[tokio::test]
async fn a_link_leads_to_a_grant() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let link = link(&bench, &connecting);
    assert!(
        link.as_str().starts_with("https://sync.example/base/connect/microsoft?user=anna&expires="),
        "{link}"
    );

    let begun = connecting.begin("microsoft", &query(&link)).await.unwrap();
    assert!(
        begun.location.as_str().starts_with(bench.provider().authorize_url.as_str()),
        "{}",
        begun.location
    );
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "00001111-aaaa-2222-bbbb-3333cccc4444"),
        ("redirect_uri", "https://sync.example/base/connect/microsoft/callback"),
        ("response_mode", "query"),
        ("code_challenge_method", "S256"),
        ("scope", all_scopes(&bench).as_str()),
    ] {
        assert_eq!(parameter(&begun.location, name), value, "{name}");
    }
    let sets = &begun.set_cookie;
    assert!(sets.starts_with("__Host-syncfleet-connect-microsoft="), "{sets}");
    for needed in ["; Path=/;", "HttpOnly", "SameSite=Lax", "Secure"] {
        assert!(sets.contains(needed), "{sets}");
    }
    // Nothing of it is in the store in the clear, and it ends by itself.
    let kept = bench.state.documents("connect/pending/");
    assert_eq!(
        (kept.len(), bench.state.lives("connect/pending/")),
        (1, vec![Some(Duration::from_secs(900))])
    );
    assert!(!format!("{kept:?}").contains(&parameter(&begun.location, "state")));

    bench.server.with(|it| {
        let claims = json!({"tid": "t", "oid": "o", "preferred_username": "anna@contoso.example"});
        it.id_token = Some(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string())));
    });
    let code = consent(&bench, &begun, &all_scopes(&bench));
    let connected = finish(&connecting, &begun, &callback(&begun, &code)).await.unwrap();
    assert_eq!((&connected.account, connected.before), (&account(), Before::New));
    assert!(connected.missing_scopes.is_empty());
    assert_eq!(connected.identity.unwrap().address.as_deref(), Some("anna@contoso.example"));
    let member = bench.member();
    assert_eq!(token(&member, &account()).await.unwrap(), "access-1");
    assert_eq!(bench.grant(&member, &account()).await.refresh.unwrap().expose(), "refresh-1");
    let form = bench.server.with(|it| it.requests[0].clone());
    assert_eq!(form["scope"], all_scopes(&bench));
    assert!(form["code_verifier"].len() >= 43);
}

#[tokio::test]
async fn links_that_were_changed_or_are_old_lead_nowhere() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let good = query(&link(&bench, &connecting));
    let begin = async |query: &str| refused(connecting.begin("microsoft", query).await);
    assert_eq!(begin(&good.replace("anna", "berta")).await, ("bad_signature", 403));
    assert_eq!(begin(&good.replace("expires=1", "expires=2")).await, ("bad_signature", 403));
    for cut in ["", "user=anna", "user=anna&expires=1", "user=anna&expires=x&signature=00"] {
        assert_eq!(begin(cut).await, ("malformed", 400), "{cut}");
    }
    assert_eq!(begin(&format!("{good}&user=berta")).await, ("malformed", 400));
    assert_eq!(begin(&good.replace("user=anna", "user=%3Cb%3E")).await, ("malformed", 400));
    assert_eq!(
        begin(&format!("user=anna&expires=99999999999999&signature={}", "0".repeat(64))).await.0,
        "bad_signature"
    );
    assert_eq!(refused(connecting.begin("google", &good).await), ("unknown_provider", 404));
    assert_eq!(refused(connecting.begin("../x", &good).await), ("unknown_provider", 404));
    let foreign = Bench::new().await;
    let theirs = Connecting::new(foreign.member(), &Url::parse("https://sync.example").unwrap()).unwrap();
    assert_eq!(begin(&query(&link(&foreign, &theirs))).await, ("bad_signature", 403));
    bench.clock.advance(LIFE);
    assert_eq!(begin(&good).await, ("link_expired", 410));
    assert!(bench.state.documents("connect/").is_empty(), "none of them is remembered");
}

#[tokio::test]
async fn a_link_connects_once_and_may_be_opened_before() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let link = query(&link(&bench, &connecting));
    // A mail scanner opens it first, then the person in two windows.
    let begun: [Begun; 3] = [
        connecting.begin("microsoft", &link).await.unwrap(),
        connecting.begin("microsoft", &link).await.unwrap(),
        connecting.begin("microsoft", &link).await.unwrap(),
    ];
    let codes = begun.each_ref().map(|begun| consent(&bench, begun, &all_scopes(&bench)));
    finish(&connecting, &begun[1], &callback(&begun[1], &codes[1])).await.unwrap();
    let again = finish(&connecting, &begun[2], &callback(&begun[2], &codes[2])).await;
    assert_eq!(refused(again), ("link_used", 410));
    assert_eq!(refused(connecting.begin("microsoft", &link).await), ("link_used", 410));
    assert_eq!(bench.server.requests(), 1);
}

#[tokio::test]
async fn a_link_that_is_opened_without_end_is_refused() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let link = query(&link(&bench, &connecting));
    for _ in 0..30 {
        connecting.begin("microsoft", &link).await.unwrap();
    }
    assert_eq!(refused(connecting.begin("microsoft", &link).await), ("too_often", 429));
}

#[tokio::test]
async fn a_state_is_good_once_for_its_browser_its_provider_and_its_time() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let begun = begin(&bench, &connecting).await;
    let code = consent(&bench, &begun, &all_scopes(&bench));
    let good = callback(&begun, &code);

    let forged = format!("code={code}&state={}", "A".repeat(43));
    assert_eq!(refused(finish(&connecting, &begun, &forged).await), ("unknown_state", 400));
    assert_eq!(refused(finish(&connecting, &begun, "code=x").await), ("malformed", 400));

    for cookies in [None, Some("__Host-syncfleet-connect-microsoft=AAAA"), Some("x=y")] {
        let begun = begin(&bench, &connecting).await;
        let elsewhere = connecting.finish("microsoft", &callback(&begun, &code), cookies).await;
        assert_eq!(refused(elsewhere), ("other_browser", 403), "{cookies:?}");
        let again = finish(&connecting, &begun, &callback(&begun, &code)).await;
        assert_eq!(refused(again), ("unknown_state", 400), "it was used up");
    }

    finish(&connecting, &begun, &good).await.unwrap();
    assert_eq!(refused(finish(&connecting, &begun, &good).await), ("unknown_state", 400));

    let late = begin(&bench, &connecting).await;
    bench.clock.advance(Duration::from_secs(900));
    assert_eq!(refused(finish(&connecting, &late, &callback(&late, &code)).await), ("unknown_state", 400));
    assert_eq!(bench.server.requests(), 1);
}

#[tokio::test]
async fn a_state_that_comes_back_twice_at_once_is_good_once() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let begun = begin(&bench, &connecting).await;
    let good = callback(&begun, &consent(&bench, &begun, &all_scopes(&bench)));
    let (one, other) = tokio::join!(finish(&connecting, &begun, &good), finish(&connecting, &begun, &good));
    assert_eq!([&one, &other].into_iter().filter(|it| it.is_ok()).count(), 1, "{one:?} {other:?}");
    assert_eq!(bench.server.requests(), 1);
}

#[tokio::test]
async fn refusals_and_failures_leave_the_link_good_and_store_nothing() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let link = query(&link(&bench, &connecting));
    let begin = async || connecting.begin("microsoft", &link).await.unwrap();

    let begun = begin().await;
    let denied = format!(
        "error=access_denied&error_description=%3Cscript%3E&state={}",
        parameter(&begun.location, "state")
    );
    assert_eq!(refused(finish(&connecting, &begun, &denied).await), ("declined", 403));

    let begun = begin().await;
    assert_eq!(
        refused(finish(&connecting, &begun, &callback(&begun, "unknown")).await),
        ("not_accepted", 400)
    );

    let begun = begin().await;
    bench.server.next(Mood::LosesTheAnswer);
    let code = consent(&bench, &begun, "x");
    assert_eq!(
        refused(finish(&connecting, &begun, &callback(&begun, &code)).await),
        ("provider_failed", 502)
    );

    let begun = begin().await;
    bench.server.with(|it| it.gives_no_refresh_token = true);
    let code = consent(&bench, &begun, "x");
    let error = finish(&connecting, &begun, &callback(&begun, &code)).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("misconfigured", 500));
    assert!(error.detail().unwrap().contains("offline_access"), "{error:?}");
    bench.server.with(|it| it.gives_no_refresh_token = false);

    assert!(bench.state.documents("vault/").is_empty());
    let begun = begin().await;
    let code = consent(&bench, &begun, &all_scopes(&bench));
    finish(&connecting, &begun, &callback(&begun, &code)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_client_is_the_operators() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let begun = begin(&bench, &connecting).await;
    bench.server.next(Mood::Says(401, json!({"error": "invalid_client", "error_codes": [7000215]})));
    let error = finish(&connecting, &begun, &callback(&begun, "x")).await.unwrap_err();
    assert_eq!(error.code(), "misconfigured");
    assert!(
        error.detail().unwrap().contains("AADSTS7000215") && !error.to_string().contains("AADSTS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_code_that_was_asked_for_by_somebody_else_is_not_accepted() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let (mine, theirs) = (begin(&bench, &connecting).await, begin(&bench, &connecting).await);
    let code = consent(&bench, &theirs, "x");
    let injected = finish(&connecting, &mine, &callback(&mine, &code)).await;
    assert_eq!(refused(injected), ("not_accepted", 400), "the verifier is not the code's");
}

#[tokio::test]
async fn connecting_again_says_what_was_and_who_signed_in_now() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let member = bench.member();
    let sign_in = async |subject: &str, scope: &str| {
        let claims = json!({ "sub": subject });
        let id_token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims.to_string()));
        bench.server.with(|it| it.id_token = Some(id_token));
        let begun = begin(&bench, &connecting).await;
        let asked = begun.location.clone();
        let code = consent(&bench, &begun, scope);
        (finish(&connecting, &begun, &callback(&begun, &code)).await.unwrap(), asked)
    };
    let all = all_scopes(&bench);
    sign_in("one", &all).await;
    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Says(400, json!({"error": "interaction_required", "claims": "{\"x\":1}"})));
    assert!(matches!(
        token(&member, &account()).await,
        Err(AccessError::NeedsReconnect { reason: Reason::Interaction, .. })
    ));
    let (connected, asked) =
        sign_in("one", &all.replace("https://graph.microsoft.com/Calendars.ReadWrite", "")).await;
    assert_eq!(parameter(&asked, "claims"), "{\"x\":1}", "what the provider wants is asked for");
    assert_eq!(connected.before, Before::Connected { was_over: true, other_identity: false });
    assert_eq!(connected.missing_scopes, ["https://graph.microsoft.com/Calendars.ReadWrite"]);
    assert_eq!(connected.summary.state, GrantState::Active);
    assert!(token(&member, &account()).await.is_ok());
    let (connected, asked) = sign_in("two", &all).await;
    assert_eq!(connected.before, Before::Connected { was_over: false, other_identity: true });
    assert!(!asked.query_pairs().any(|(name, _)| name == "claims"));
}

#[tokio::test]
async fn links_of_a_former_key_are_good_until_they_expire() {
    let bench = Bench::new().await;
    let link = query(&link(&bench, &connecting(&bench)));
    let key = Key::parse(&Key::generate(), "test").unwrap();
    let former = vec![Key::parse(&bench.key, "test").unwrap()];
    let secrets = Secrets::new(bench.state.clone(), KeySource::Given(key), former);
    let accounts = Accounts::new(AccountsSettings {
        secrets,
        providers: vec![(bench.provider(), default_limits())],
        waits: Waits::default(),
        meter: Arc::new(NoMeter),
        clock: bench.clock.clone(),
    })
    .unwrap();
    let rotated = Connecting::new(accounts, &Url::parse("https://sync.example").unwrap()).unwrap();
    rotated.begin("microsoft", &link).await.unwrap();
}

#[tokio::test]
async fn the_public_address_is_https_or_this_machine() {
    let bench = Bench::new().await;
    let member = bench.member();
    let accepted = |url: &str| Connecting::new(member.clone(), &Url::parse(url).unwrap()).is_ok();
    for good in ["https://sync.example", "http://localhost:8080", "http://127.0.0.1:1", "http://[::1]/x"] {
        assert!(accepted(good), "{good}");
    }
    for bad in
        ["http://sync.example", "ftp://sync.example", "https://sync.example/?a=b", "https://u:p@sync.example"]
    {
        assert!(!accepted(bad), "{bad}");
    }
    let local = Connecting::new(member, &Url::parse("http://localhost:8080").unwrap()).unwrap();
    let begun = begin(&bench, &local).await;
    assert!(
        begun.set_cookie.starts_with("syncfleet-connect-microsoft=") && !begun.set_cookie.contains("Secure")
    );
}

#[tokio::test]
async fn a_user_is_told_once_with_a_new_link_and_again_only_where_telling_failed() {
    let bench = Bench::new().await;
    let connecting = connecting(&bench);
    let told = std::sync::Mutex::new(Vec::new());
    let tell = async |outcome: Result<(), Fault>| {
        let telling = async |notice: Notice| {
            told.lock().unwrap().push(notice);
            outcome
        };
        connecting.tell_once(&account(), LIFE, bench.clock.now(), telling).await
    };
    assert_eq!(tell(Ok(())).await, Ok(false), "it is not connected");
    let begun = begin(&bench, &connecting).await;
    let code = consent(&bench, &begun, &all_scopes(&bench));
    finish(&connecting, &begun, &callback(&begun, &code)).await.unwrap();
    assert_eq!(tell(Ok(())).await, Ok(false), "it works");

    bench.clock.advance(2 * HOUR);
    bench.server.next(Mood::Says(400, json!({"error": "invalid_grant", "error_codes": [50173]})));
    assert!(token(&bench.member(), &account()).await.is_err());
    let away = Fault::retryable("crm_away", "the CRM does not answer");
    assert_eq!(tell(Err(away.clone())).await, Err(away));
    assert_eq!(tell(Ok(())).await, Ok(true));
    assert_eq!(tell(Ok(())).await, Ok(false), "it was told");
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 2);
    let Notice { account: of, text, link } = &told[1];
    assert_eq!(*of, account());
    assert!(
        text.contains("Microsoft 365") && text.contains("revoked") && text.contains(link.as_str()),
        "{text}"
    );
    connecting.begin("microsoft", &query(link)).await.unwrap();
}
