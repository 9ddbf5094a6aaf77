//! Consent, codes, refresh tokens, revocation.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulators::google::GoogleSimulator;

use super::{
    ANNA, BERND, EVENTS, SCOPE, assert_error, assert_shape, configure, encoded, example, later, options,
    start,
};
use crate::http::{self, Got};

const REDIRECT: &str = "https://sync.example/connect/google/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CLIENT: &str = "123.apps.googleusercontent.com";

fn query(more: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut pairs = vec![
        ("client_id", CLIENT),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("scope", SCOPE),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("state", "s1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in more {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

async fn authorize(google: &GoogleSimulator, more: &[(&str, &str)]) -> Got {
    let path = format!("/o/oauth2/v2/auth?{}", query(more));
    http::send(&google.base_url(), "GET", &path, &[], "").await.unwrap()
}

async fn form(google: &GoogleSimulator, path: &str, pairs: &[(&str, &str)]) -> Got {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    http::send(&google.base_url(), "POST", path, &headers, &body).await.unwrap()
}

/// A parameter of the address that the browser is sent to.
fn sent(got: &Got, name: &str) -> Option<String> {
    assert_eq!(got.status, 302, "{got:?}");
    let url = url::Url::parse(got.header("location").unwrap()).unwrap();
    assert!(url.as_str().starts_with(REDIRECT), "{url}");
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn redeem_with(google: &GoogleSimulator, code: &str, more: &[(&str, &str)]) -> Got {
    let secret = options().client_secret;
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("client_secret", secret.as_str()),
        ("redirect_uri", REDIRECT),
        ("code", code),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in more {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    form(google, "/token", &pairs).await
}

async fn connect(google: &GoogleSimulator, more: &[(&str, &str)]) -> Value {
    let code = sent(&authorize(google, more).await, "code").unwrap();
    let got = redeem_with(google, &code, &[]).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.json()
}

async fn refresh(google: &GoogleSimulator, token: &str) -> Got {
    let secret = options().client_secret;
    let pairs = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("client_secret", secret.as_str()),
        ("refresh_token", token),
    ];
    form(google, "/token", &pairs).await
}

async fn list(google: &GoogleSimulator, access_token: &Value) -> Got {
    let authorization = format!("Bearer {}", access_token.as_str().unwrap());
    http::send(&google.base_url(), "GET", EVENTS, &[("Authorization", &authorization)], "").await.unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn at_once() -> GoogleSimulator {
    let google = start().await;
    configure(&google, json!({ "consent": "at_once" }));
    google
}

#[tokio::test]
async fn a_person_agrees_in_the_page_and_the_code_is_worth_tokens() {
    let google = start().await;
    let page = authorize(&google, &[("login_hint", BERND), ("state", "\"><script>")]).await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert!(html.contains(&format!("<option value=\"{BERND}\" selected>")), "{html}");
    assert!(!html.contains("<script>"), "{html}");
    let start = html.find("name=\"request\" value=\"").unwrap() + 22;
    let asked = html[start..].split('"').next().unwrap().replace("&amp;", "&");
    let answer = form(
        &google,
        "/o/oauth2/v2/consent",
        &[("request", &asked), ("user", BERND), ("scope", SCOPE), ("answer", "allow")],
    )
    .await;
    assert_eq!(sent(&answer, "state").as_deref(), Some("\"><script>"));
    let got = redeem_with(&google, &sent(&answer, "code").unwrap(), &[]).await;
    assert_shape("oauth-token.response.json", &got.json());
    assert_eq!((&got.json()["expires_in"], &got.json()["scope"]), (&json!(3599), &json!(SCOPE)));
    let listed = list(&google, &got.json()["access_token"]).await.json();
    assert_eq!(listed["summary"], BERND, "whose calendar it is");

    let refused =
        form(&google, "/o/oauth2/v2/consent", &[("request", &asked), ("user", BERND), ("answer", "cancel")])
            .await;
    assert_eq!(sent(&refused, "error").as_deref(), Some("access_denied"));
    assert_eq!(sent(&refused, "code"), None);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let google = at_once().await;
    for (name, value, status) in [
        ("client_id", "other", 401),
        ("redirect_uri", "https://sync.example/connect/google/callback/", 400),
        ("redirect_uri", "https://evil.example/", 400),
        ("response_type", "token", 400),
        ("scope", "", 400),
        ("scope", "nonsense", 400),
        ("code_challenge_method", "S512", 400),
    ] {
        let got = authorize(&google, &[(name, value)]).await;
        assert_eq!((got.status, got.header("location")), (status, None), "{name}={value}");
    }
    configure(&google, json!({ "consent": "refused" }));
    assert_eq!(sent(&authorize(&google, &[]).await, "error").as_deref(), Some("access_denied"));
    let got = authorize(&google, &[("prompt", "none"), ("login_hint", ANNA)]).await;
    assert_eq!(sent(&got, "error").as_deref(), Some("interaction_required"));
}

#[tokio::test]
async fn a_code_is_good_once_for_ten_minutes_with_its_verifier_and_address() {
    let google = at_once().await;
    let code = async || sent(&authorize(&google, &[]).await, "code").unwrap();
    for (name, value, status, error) in [
        ("code_verifier", "", 400, "invalid_grant"),
        ("code_verifier", "wrong", 400, "invalid_grant"),
        ("redirect_uri", "https://sync.example/other", 400, "redirect_uri_mismatch"),
        ("client_id", "other", 401, "invalid_client"),
        ("client_secret", "wrong", 401, "invalid_client"),
        ("code", "nonsense", 400, "invalid_grant"),
        ("code", "", 400, "invalid_request"),
        ("grant_type", "password", 400, "unsupported_grant_type"),
    ] {
        let got = redeem_with(&google, &code().await, &[(name, value)]).await;
        assert_eq!((got.status, &got.json()["error"]), (status, &json!(error)), "{name}={value}");
    }
    let used = code().await;
    assert_eq!(redeem_with(&google, &used, &[]).await.status, 200);
    assert_eq!(redeem_with(&google, &used, &[]).await.json()["error"], "invalid_grant");
    let old = code().await;
    later(&google, 1);
    assert_eq!(redeem_with(&google, &old, &[]).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_comes_with_the_first_consent_or_when_asked_again() {
    let google = at_once().await;
    let first = connect(&google, &[("prompt", "")]).await;
    assert!(first["refresh_token"].is_string());
    let second = connect(&google, &[("prompt", ""), ("login_hint", ANNA)]).await;
    assert_eq!(second.get("refresh_token"), None, "{second}");
    assert!(connect(&google, &[]).await["refresh_token"].is_string());
    let online = connect(&google, &[("access_type", ""), ("login_hint", BERND)]).await;
    assert_eq!(online.get("refresh_token"), None, "{online}");
}

#[tokio::test]
async fn scopes_that_the_user_unticks_are_missing_from_the_answer_and_from_the_token() {
    let google = at_once().await;
    let readonly = "https://www.googleapis.com/auth/calendar.calendarlist.readonly";
    configure(&google, json!({ "unticked_scopes": [SCOPE] }));
    let tokens = connect(&google, &[("scope", &format!("{SCOPE} {readonly} openid"))]).await;
    assert_eq!(tokens["scope"], format!("{readonly} openid"));
    let claims = text(&tokens["id_token"]).split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((&claims["email"], &claims["aud"]), (&json!(ANNA), &json!(CLIENT)));
    let got = list(&google, &tokens["access_token"]).await;
    assert_eq!((got.status, super::reason(&got).as_str()), (403, "insufficientPermissions"));
    configure(&google, json!({ "unticked_scopes": [] }));
    let tokens = connect(&google, &[("include_granted_scopes", "true"), ("login_hint", ANNA)]).await;
    assert!(text(&tokens["scope"]).contains(readonly), "{tokens}");
}

#[tokio::test]
async fn an_access_token_ends_and_a_refresh_gives_another_one() {
    let google = at_once().await;
    let tokens = connect(&google, &[]).await;
    assert_eq!(list(&google, &tokens["access_token"]).await.status, 200);
    later(&google, 1);
    let got = list(&google, &tokens["access_token"]).await;
    assert_error(&got, "error-401.json");
    let refreshed = refresh(&google, text(&tokens["refresh_token"])).await.json();
    assert_shape("oauth-refresh.response.json", &refreshed);
    assert_eq!(list(&google, &refreshed["access_token"]).await.status, 200);
    configure(&google, json!({ "end_access_tokens": true }));
    assert_eq!(list(&google, &refreshed["access_token"]).await.status, 401);
    assert_eq!(refresh(&google, text(&tokens["refresh_token"])).await.status, 200);
    assert_eq!(google.counters()["oauth.token.refresh_token"], 2);
}

#[tokio::test]
async fn what_kills_a_refresh_token_is_answered_invalid_grant() {
    let google = at_once().await;
    let dead = async |token: &Value| {
        let got = refresh(&google, text(token)).await;
        assert_eq!((got.status, got.json()), (400, example("oauth-error-invalidgrant.json")));
    };
    let token = connect(&google, &[]).await["refresh_token"].clone();
    configure(&google, json!({ "withdraw_access": ANNA }));
    dead(&token).await;
    dead(&json!("1//nonsense")).await;

    let idle = connect(&google, &[]).await["refresh_token"].clone();
    configure(&google, json!({ "testing": true }));
    let testing = connect(&google, &[]).await;
    assert_eq!(testing["refresh_token_expires_in"], 604_800);
    later(&google, 24 * 7 - 1);
    assert_eq!(refresh(&google, text(&testing["refresh_token"])).await.status, 200);
    later(&google, 24 * 7);
    dead(&testing["refresh_token"]).await;
    assert_eq!(refresh(&google, text(&idle)).await.status, 200, "used after seven days");
    later(&google, 24 * 190);
    dead(&idle).await;
}

#[tokio::test]
async fn the_oldest_of_too_many_dies_silently() {
    let google = at_once().await;
    configure(&google, json!({ "refresh_tokens_max": 3 }));
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(connect(&google, &[]).await["refresh_token"].clone());
    }
    let mut alive = Vec::new();
    for token in &tokens {
        alive.push(refresh(&google, text(token)).await.status);
    }
    assert_eq!(alive, [400, 200, 200, 200]);
}

#[tokio::test]
async fn revoking_ends_refresh_and_access_alike() {
    let google = at_once().await;
    for name in ["refresh_token", "access_token"] {
        let tokens = connect(&google, &[]).await;
        assert_eq!(form(&google, "/revoke", &[("token", text(&tokens[name]))]).await.status, 200);
        assert_eq!(refresh(&google, text(&tokens["refresh_token"])).await.status, 400);
        assert_eq!(list(&google, &tokens["access_token"]).await.status, 401);
        let again = form(&google, "/revoke", &[("token", text(&tokens[name]))]).await;
        assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_token")));
    }
}

#[tokio::test]
async fn a_provider_that_rotates_can_be_had() {
    let google = at_once().await;
    let old = connect(&google, &[]).await["refresh_token"].clone();
    configure(&google, json!({ "refresh_rotation": "keep_old" }));
    let kept = refresh(&google, text(&old)).await.json()["refresh_token"].clone();
    assert_ne!(kept, old);
    configure(&google, json!({ "refresh_rotation": "revoke_old" }));
    let new = refresh(&google, text(&old)).await.json()["refresh_token"].clone();
    assert_eq!(refresh(&google, text(&old)).await.json()["error"], "invalid_grant");
    assert_eq!(refresh(&google, text(&new)).await.status, 200);
    assert_eq!(refresh(&google, text(&kept)).await.status, 200);
}

#[tokio::test]
async fn refusals_of_an_administrator_have_their_own_words() {
    let google = at_once().await;
    let token = connect(&google, &[]).await["refresh_token"].clone();
    for (why, status, error) in [
        ("invalid_rapt", 400, "invalid_grant"),
        ("admin_policy_enforced", 400, "admin_policy_enforced"),
        ("deleted_client", 401, "deleted_client"),
        ("rate_limit_exceeded", 403, "rate_limit_exceeded"),
    ] {
        configure(&google, json!({ "refuse_refresh": why }));
        let got = refresh(&google, text(&token)).await;
        assert_eq!((got.status, &got.json()["error"]), (status, &json!(error)));
        let subtype = got.json()["error_subtype"].clone();
        assert_eq!(subtype == "invalid_rapt", why == "invalid_rapt");
    }
    configure(&google, json!({ "refuse_refresh": null, "client_secret": "a new one" }));
    assert_eq!(refresh(&google, text(&token)).await.json()["error"], "invalid_client");
}

#[tokio::test]
async fn the_client_may_name_itself_by_basic_too() {
    let google = at_once().await;
    let token = connect(&google, &[]).await["refresh_token"].clone();
    let pair = format!("{CLIENT}:{}", options().client_secret);
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", basic.as_str())];
    let body = format!("grant_type=refresh_token&refresh_token={}", encoded(text(&token)));
    let got = http::send(&google.base_url(), "POST", "/token", &headers, &body).await.unwrap();
    assert_eq!(got.status, 200, "{got:?}");
}
