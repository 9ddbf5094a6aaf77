//! Assertions of a service account that acts for the users of its domain.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use simulators::GoogleSimulator;
use simulators::google::GoogleServiceAccount;

use super::{ANNA, BERND, Client, SCOPE, folder, options, with};
use crate::http::{self, Got};

const ACCOUNT: &str = "sync@project.iam.gserviceaccount.com";
const NOON: i64 = 1_772_366_400;

async fn start() -> GoogleSimulator {
    let account = GoogleServiceAccount {
        email: ACCOUNT.to_owned(),
        public_key_der: std::fs::read(folder().join("service-account.public.der")).unwrap(),
        delegated_scopes: vec![SCOPE.to_owned()],
    };
    let mut options = options();
    options.service_accounts.push(account);
    GoogleSimulator::start(options).await.unwrap()
}

fn claims(more: Value) -> Value {
    let claims = json!({
        "iss": ACCOUNT, "sub": ANNA, "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token",
        "iat": NOON, "exp": NOON + 3_600,
    });
    with(claims, more)
}

/// The assertion, signed with the account's own key.
fn signed(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
    let key = std::fs::read(folder().join("service-account.pkcs8.der")).unwrap();
    let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))).unwrap();
    let signature =
        key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).unwrap().sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn ask(google: &GoogleSimulator, assertion: &str) -> Got {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("assertion", assertion)
        .finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    http::send(&google.base_url(), "POST", "/token", &headers, &body).await.unwrap()
}

#[tokio::test]
async fn an_assertion_is_worth_an_access_token_for_any_user() {
    let google = start().await;
    for user in [ANNA, BERND] {
        let got = ask(&google, &signed(&claims(json!({ "sub": user })))).await;
        assert_eq!(got.status, 200, "{got:?}");
        let tokens = got.json();
        assert_eq!(tokens.get("refresh_token"), None);
        let client = Client::with_token(&google, tokens["access_token"].as_str().unwrap());
        assert_eq!(client.get(super::EVENTS).await.json()["summary"], user);
    }
    let own = claims(json!({ "aud": format!("{}/token", google.base_url()) }));
    assert_eq!(ask(&google, &signed(&own)).await.status, 200);
    assert_eq!(google.counters()["oauth.token.jwt_bearer"], 3);
}

#[tokio::test]
async fn what_is_wrong_with_an_assertion_is_said() {
    let google = start().await;
    for (more, status, error, why) in [
        (json!({ "iss": "other" }), 400, "invalid_grant", "account not found"),
        (json!({ "sub": "nobody@else.example" }), 400, "invalid_grant", "Invalid email"),
        (json!({ "aud": "https://else.example/" }), 400, "invalid_grant", "audience"),
        (json!({ "iat": NOON - 7_200, "exp": NOON - 3_600 }), 400, "invalid_grant", "reasonable timeframe"),
        (json!({ "iat": NOON + 600, "exp": NOON + 4_000 }), 400, "invalid_grant", "reasonable timeframe"),
        (json!({ "exp": NOON + 3_601 }), 400, "invalid_grant", "short-lived"),
        (json!({ "scope": "" }), 400, "invalid_scope", "Invalid OAuth scope"),
        (
            json!({ "scope": "https://www.googleapis.com/auth/contacts" }),
            401,
            "unauthorized_client",
            "unauthorized",
        ),
    ] {
        let got = ask(&google, &signed(&claims(more.clone()))).await;
        assert_eq!((got.status, &got.json()["error"]), (status, &json!(error)), "{more}");
        assert!(got.json()["error_description"].as_str().unwrap().contains(why), "{got:?}");
    }
    let good = signed(&claims(json!({})));
    let other = signed(&claims(json!({ "sub": BERND })));
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    let got = ask(&google, &forged).await;
    assert_eq!(got.json()["error_description"], "Invalid JWT Signature.");
    for assertion in ["a.b.c", "nonsense", ""] {
        assert_eq!(ask(&google, assertion).await.status, 400, "{assertion}");
    }
}
