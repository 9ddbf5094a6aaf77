//! The access token: the signed request for it, and when to ask for a new one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_client::{Answer, Method, Request, retry_after};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use shared::fault::{Fault, FaultKind};
use uuid::Uuid;

use crate::client::Credentials;
use crate::{assumptions, error};

/// The product number of third parties, always.
const PRODUCT: u32 = 64;
/// The role of an employee.
const ROLE_EMPLOYEE: u32 = 2;
/// Our clock may differ from the server's by this much before it is named as the likely cause of a refusal.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);

/// An access token and its life.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    pub(crate) life: Duration,
}

/// Whether a token of this age is replaced: at 80 % of its life or 60 s before its end, whichever is sooner. A
/// token that lives less than two minutes is used for half its life, or none would ever be used twice.
pub(crate) fn refresh_due(age: Duration, life: Duration) -> bool {
    let early = (life * 4 / 5).min(life.saturating_sub(Duration::from_secs(60)));
    age >= early.max(life / 2)
}

/// Whether a token of this age is still accepted.
pub(crate) fn is_alive(age: Duration, life: Duration) -> bool {
    age < life
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireTokenRequest<'a> {
    #[serde(rename = "AppID")]
    app_id: &'a str,
    kanzlei: &'a str,
    database: &'a str,
    user: &'a str,
    role: u32,
    product: u32,
    password: &'a str,
    nonce: &'a str,
    #[serde(rename = "HMAC512Signature")]
    signature: &'a str,
    request_time_stamp: &'a str,
}

/// Builds the request for a token. `nonce` is new for each request; `at` is the present time.
pub(crate) fn request(credentials: &Credentials, nonce: Uuid, at: Timestamp) -> Request {
    let nonce = nonce.to_string();
    let time_stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string();
    let signature = signature(credentials.key(), &credentials.app_id, &nonce, &time_stamp);
    Request::new(Method::Post, "api/v1/Token", &[]).json(&WireTokenRequest {
        app_id: &credentials.app_id,
        kanzlei: &credentials.kanzlei,
        database: &credentials.database,
        user: &credentials.user,
        role: ROLE_EMPLOYEE,
        product: PRODUCT,
        password: credentials.password.expose_secret(),
        nonce: &nonce,
        signature: &signature,
        request_time_stamp: &time_stamp,
    })
}

/// `base64(HMAC-SHA512(key, "{Product}:{AppID}:{Nonce}:{RequestTimeStamp}"))`; `key` is the API key after its
/// base64 is decoded.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn signature(key: &[u8], app_id: &str, nonce: &str, time_stamp: &str) -> String {
    let signer = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
    let text = format!("{PRODUCT}:{app_id}:{nonce}:{time_stamp}");
    STANDARD.encode(signer.chain_update(text).finalize().into_bytes())
}

#[derive(Deserialize)]
struct WireToken {
    access_token: String,
    expires_in: Option<u64>,
}

/// Reads the answer to a request that was built at `now`.
pub(crate) fn read(answer: &Answer, now: Timestamp) -> Result<Token, Fault> {
    if answer.status() == 401 {
        return Err(refused(answer, now));
    }
    let WireToken { access_token, expires_in } = error::success(answer)?.json()?;
    if access_token.is_empty() {
        return Err(answer.unreadable("an empty token"));
    }
    let life = Duration::from_secs(expires_in.unwrap_or(assumptions::TOKEN_SECONDS_DEFAULT));
    Ok(Token { secret: SecretString::from(access_token), life })
}

/// A wrong clock makes every request for a token fail, and the server does not say so.
fn refused(answer: &Answer, now: Timestamp) -> Fault {
    let skew = answer.header("date").and_then(retry_after::parse_date).map(|date| now.duration_since(date));
    let cause = match skew {
        Some(skew) if skew.abs() > CLOCK_SKEW_MAX => {
            let direction = if skew.is_negative() { "behind" } else { "ahead of" };
            format!(
                "This machine's clock is {} s {direction} Advoware's, which makes every sign-in fail: set the clock.",
                skew.abs().as_secs()
            )
        }
        _ => "Check AppID, API key, Kanzlei, Database, User and Password, and that the AppID is enabled for the firm."
            .to_owned(),
    };
    let text = format!("Advoware refuses to sign in (401). {cause}");
    answer.fault(FaultKind::Unauthorized, "sign_in_refused", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const VECTOR: &str =
        "o7rz9KmoXZs550HfzO6ffiG17XwiPmlBHlksUYKZ3jcfolELow51Fw5KlrQqCK5y41aIValDjrh1iQ2GZ2WtqQ==";

    #[test]
    fn the_signature_is_the_known_one() {
        assert_eq!(signature(b"test-secret-key", "app-123", "nonce-abc", "2026-08-30T00:00:00.000Z"), VECTOR);
    }

    fn credentials() -> Credentials {
        Credentials::new(
            "app-123",
            &SecretString::from(STANDARD.encode("test-secret-key")),
            "kanzlei",
            "database",
            "MM",
            SecretString::from("pass\"word"),
        )
        .unwrap()
    }

    #[test]
    fn a_request_for_a_token_is_signed_over_what_it_carries() {
        let nonce = Uuid::from_u128(7);
        let request = request(&credentials(), nonce, "2021-01-29T14:04:26.7955547Z".parse().unwrap());
        assert_eq!(request.operation(), "POST api/v1/Token");
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["RequestTimeStamp"], "2021-01-29T14:04:26.7955547Z");
        assert_eq!(body["Nonce"], nonce.to_string());
        assert_eq!((body["Role"].clone(), body["Product"].clone()), (2.into(), 64.into()));
        assert_eq!(body["Password"], "pass\"word");
        let expected =
            signature(b"test-secret-key", "app-123", &nonce.to_string(), "2021-01-29T14:04:26.7955547Z");
        assert_eq!(body["HMAC512Signature"], expected);
        let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "AppID",
            "Kanzlei",
            "Database",
            "User",
            "Role",
            "Product",
            "Password",
            "Nonce",
            "HMAC512Signature",
            "RequestTimeStamp",
        ];
        assert_eq!(fields, expected);
        assert!(!format!("{request:?}").contains("pass"), "{request:?}");
    }

    #[test]
    fn a_whole_second_has_its_fraction_too() {
        let request = request(&credentials(), Uuid::nil(), "2026-11-20T14:00:00Z".parse().unwrap());
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["RequestTimeStamp"], "2026-11-20T14:00:00.0000000Z");
    }

    fn answer(status: u16, date: &str, body: &'static str) -> Answer {
        let headers = [("Content-Type", "application/json"), ("Date", date)];
        Answer::recorded(crate::SIGN_IN_SYSTEM, "POST api/v1/Token", status, &headers, body)
    }

    #[test]
    fn a_token_is_read_and_never_printed() {
        let now = "2026-11-20T14:00:00Z".parse().unwrap();
        let token = read(&answer(200, "", r#"{"access_token":"abc","expires_in":3600}"#), now).unwrap();
        assert_eq!((token.secret.expose_secret(), token.life.as_secs()), ("abc", 3600));
        assert!(!format!("{token:?}").contains("abc"), "{token:?}");
        assert_eq!(read(&answer(200, "", r#"{"access_token":"abc"}"#), now).unwrap().life.as_secs(), 600);
        for bad in ["", "{}", r#"{"access_token":""}"#, r#"{"access_token":"ab"#] {
            assert_eq!(read(&answer(200, "", bad), now).unwrap_err().kind.name(), "retryable", "{bad}");
        }
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let refused = |now: &str| {
            let fault =
                read(&answer(401, "Fri, 20 Nov 2026 14:00:00 GMT", ""), now.parse().unwrap()).unwrap_err();
            assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, "sign_in_refused"));
            fault.text
        };
        assert!(
            refused("2026-11-20T14:02:00Z").contains("120 s ahead of"),
            "{}",
            refused("2026-11-20T14:02:00Z")
        );
        assert!(refused("2026-11-20T13:00:00Z").contains("3600 s behind"));
        assert!(!refused("2026-11-20T14:01:00Z").contains("clock"));
        assert!(refused("2026-11-20T13:59:30Z").contains("Password"));
    }

    #[test]
    fn a_usual_token_is_replaced_at_four_fifths_of_its_life() {
        let due = |age, life| refresh_due(Duration::from_secs(age), Duration::from_secs(life));
        assert!(!due(2_879, 3_600) && due(2_880, 3_600));
        assert!(!due(139, 200) && due(140, 200));
        assert!(!due(29, 60) && due(30, 60));
        assert!(due(0, 0));
    }

    proptest! {
        /// Over a day of steady use, a token is never used past its end, and never replaced more often than its
        /// life makes necessary.
        #[test]
        fn a_day_of_refreshes(life in 2_u64..40_000, step in 1_u64..60) {
            let step = step.min(life / 2);
            let (mut obtained, mut refreshes) = (0, 0);
            for now in (0..86_400).step_by(usize::try_from(step.max(1)).unwrap()) {
                let age = Duration::from_secs(now - obtained);
                if refresh_due(age, Duration::from_secs(life)) {
                    prop_assert!(age.as_secs() <= life);
                    obtained = now;
                    refreshes += 1;
                } else {
                    prop_assert!(is_alive(age, Duration::from_secs(life)));
                }
            }
            prop_assert!(refreshes <= 86_400 / (life / 2) + 1);
        }
    }
}
