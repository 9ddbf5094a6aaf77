//! Authorisation, tokens, and every way in which they end.

use serde_json::{Value, json};
use simulators::MicrosoftOptions;
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent, TENANT, conforms};

use super::client::{ANNA, BERND, CHALLENGE, REDIRECT, SCOPES, VERIFIER, World, form};
use crate::http;

fn denial(body: &Value) -> (String, u64) {
    conforms("tokenError", body).unwrap();
    let description = body["error_description"].as_str().unwrap();
    let code = body["error_codes"][0].as_u64().unwrap();
    assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
    (body["error"].as_str().unwrap().to_owned(), code)
}

fn denied(error: &str, code: u64) -> (String, u64) {
    (error.to_owned(), code)
}

fn query(changes: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("client_id", CLIENT_ID),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", SCOPES),
        ("state", "<s&1>"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, value));
    }
    form(&pairs)
}

#[tokio::test]
async fn a_person_consents_on_the_page() {
    let world = World::new().await;
    let got = world.authorize(&query(&[("login_hint", BERND)])).await;
    let html = String::from_utf8(got.body.clone()).unwrap();
    assert_eq!(got.status, 200);
    assert!(html.contains("value=\"bernd@kanzlei.example\" checked"), "{html}");
    assert!(html.contains("&lt;s&amp;1&gt;") && !html.contains("<s&1>"), "{html}");
    let path = format!("/{TENANT}/oauth2/v2.0/consent?{}&account={BERND}&decision=accept", query(&[]));
    let got = http::send(&world.microsoft.base_url(), "GET", &path, &[], "").await.unwrap();
    let location = url::Url::parse(got.header("location").unwrap()).unwrap();
    assert!(location.as_str().starts_with(REDIRECT));
    let pairs: Vec<(String, String)> = location.query_pairs().into_owned().collect();
    assert!(pairs.contains(&("state".to_owned(), "<s&1>".to_owned())));
    let code = &pairs.iter().find(|(name, _)| name == "code").unwrap().1;
    let tokens = world.redeem(code).await.json();
    let me = world.client_with(tokens["access_token"].as_str().unwrap()).get("/me").await;
    assert_eq!(me["mail"], BERND);
}

#[tokio::test]
async fn a_person_may_cancel() {
    let world = World::new().await;
    world.microsoft.set_consent(Consent::Denied);
    let got = world.authorize(&query(&[])).await;
    let location = got.header("location").unwrap();
    assert!(location.starts_with(REDIRECT) && location.contains("error=access_denied"), "{location}");
    assert!(!location.contains("code="));
}

#[tokio::test]
async fn an_address_that_is_not_registered_gets_nothing() {
    let world = World::new().await;
    world.microsoft.set_consent(Consent::As(ANNA.to_owned()));
    for changes in
        [[("redirect_uri", "https://sync.example/connect/microsoft/callback/")], [("client_id", "other")]]
    {
        let got = world.authorize(&query(&changes)).await;
        assert_eq!((got.status, got.header("location")), (400, None), "{changes:?}");
    }
    for (changes, error) in [
        ([("response_type", "token")], "unsupported_response_type"),
        ([("scope", "https://foo.microsoft.com/mail.read")], "invalid_scope"),
        ([("code_challenge_method", "md5")], "invalid_request"),
    ] {
        let got = world.authorize(&query(&changes)).await;
        assert!(got.header("location").unwrap().contains(&format!("error={error}")), "{changes:?}");
    }
}

#[tokio::test]
async fn a_code_works_once_within_ten_minutes_with_its_verifier_and_its_address() {
    let world = World::new().await;
    let code = world.code(ANNA, SCOPES).await;
    let redeem = async |verifier: &str, redirect: &str| {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        world.token(&pairs).await
    };
    let got = redeem("wrong", REDIRECT).await;
    assert_eq!((got.status, denial(&got.json())), (400, denied("invalid_grant", 501_481)));
    assert_eq!(
        denial(&redeem(VERIFIER, "https://other.example/").await.json()),
        denied("invalid_client", 500_112)
    );
    let got = redeem(VERIFIER, REDIRECT).await;
    assert_eq!(got.status, 200);
    let tokens = got.json();
    conforms("tokenResponse", &tokens).unwrap();
    assert!(tokens["refresh_token"].is_string() && tokens["id_token"].is_string());
    assert!(tokens["scope"].as_str().unwrap().contains("https://graph.microsoft.com/Calendars.ReadWrite"));
    assert_eq!(denial(&redeem(VERIFIER, REDIRECT).await.json()), denied("invalid_grant", 54_005));

    let code = world.code(ANNA, SCOPES).await;
    world.pass(601);
    assert_eq!(denial(&world.redeem(&code).await.json()), denied("invalid_grant", 70_008));
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let world = World::new().await;
    let tokens = world.redeem(&world.code(ANNA, "Calendars.ReadWrite").await).await.json();
    assert_eq!((&tokens["refresh_token"], &tokens["id_token"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_token_lives_60_to_90_minutes_as_the_seed_has_it() {
    let lives = async |seed: u64| {
        let world = World::start(MicrosoftOptions { seed, ..MicrosoftOptions::default() }).await;
        let mut refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
        let mut lives = Vec::new();
        for _ in 0..10 {
            let tokens = world.refresh(&refresh).await.json();
            lives.push(tokens["expires_in"].as_i64().unwrap());
            tokens["refresh_token"].as_str().unwrap().clone_into(&mut refresh);
        }
        lives
    };
    let (one, again, other) = (lives(3).await, lives(3).await, lives(4).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(
        one.iter().all(|life| (3_600..5_400).contains(life)) && one.iter().any(|life| *life > 3_700),
        "{one:?}"
    );
}

#[tokio::test]
async fn a_refresh_gives_a_new_token_and_the_old_one_lives_on() {
    let world = World::new().await;
    let first = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    let tokens = world.refresh(&first).await.json();
    conforms("tokenResponse", &tokens).unwrap();
    let second = tokens["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(world.refresh(&first).await.status, 200, "a lost answer does no harm");
    assert_eq!(world.refresh(&second).await.status, 200);
    assert_eq!(world.microsoft.token_requests()["refresh_token"], 3);
    assert_eq!(world.microsoft.token_requests()[&format!("refresh_token {ANNA}")], 3);
    assert_eq!(world.microsoft.token_requests()["authorization_code"], 1);
    world.pass(91 * 86_400);
    assert_eq!(denial(&world.refresh(&second).await.json()), denied("invalid_grant", 700_082));
    assert_eq!(denial(&world.refresh("made-up").await.json()), denied("invalid_grant", 9_002_313));
}

#[tokio::test]
async fn where_it_is_set_so_a_used_refresh_token_is_revoked() {
    let options = MicrosoftOptions { revoke_used_refresh_tokens: true, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let first = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&first).await.status, 200);
    assert_eq!(denial(&world.refresh(&first).await.json()), denied("invalid_grant", 50_173));
}

#[tokio::test]
async fn what_ends_a_grant_is_told_in_the_vendors_words() {
    let world = World::new().await;
    let refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    let other = world.connect(BERND).await["refresh_token"].as_str().unwrap().to_owned();
    let refused = json!({ "mailbox": ANNA, "error": "interaction_required", "code": 50_076, "suberror": "basic_action" });
    world.control("POST", "identity/refuse", refused);
    let got = world.refresh(&refresh).await.json();
    assert_eq!(denial(&got), denied("interaction_required", 50_076));
    assert!(got["claims"].as_str().unwrap().contains("capolids") && got["suberror"] == "basic_action");
    let refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&refresh).await.status, 200, "signing in again ends it");

    world.control("POST", "identity/withdraw-consent", json!({ "mailbox": ANNA }));
    let got = world.refresh(&refresh).await.json();
    assert_eq!(
        (denial(&got), &got["suberror"]),
        (denied("invalid_grant", 65_001), &json!("consent_required"))
    );
    world.connect(ANNA).await;
    world.control("POST", "identity/revoke", json!({ "mailbox": ANNA }));
    assert_eq!(denial(&world.refresh(&refresh).await.json()), denied("invalid_grant", 50_173));
    assert_eq!(world.refresh(&other).await.status, 200, "all others go on");
    world.connect(ANNA).await;
    assert_eq!(world.refresh(&refresh).await.status, 400, "what was revoked stays revoked");
}

#[tokio::test]
async fn a_wrong_or_an_expired_secret_is_the_applications_fault() {
    let world = World::new().await;
    let refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    let with_secret = async |secret: &str| {
        let pairs = [
            ("client_id", CLIENT_ID),
            ("client_secret", secret),
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh),
        ];
        world.raw_token(TENANT, &pairs).await
    };
    let got = with_secret("wrong").await;
    assert_eq!((got.status, denial(&got.json())), (401, denied("invalid_client", 7_000_215)));
    world.control("POST", "identity/secret", json!({ "expired": true }));
    let got = with_secret(CLIENT_SECRET).await;
    assert_eq!((got.status, denial(&got.json())), (401, denied("invalid_client", 7_000_222)));
    world.control("POST", "identity/secret", json!({ "expired": false, "value": "new" }));
    assert_eq!(with_secret("new").await.status, 200);
}

#[tokio::test]
async fn the_same_question_again_and_again_is_a_loop() {
    let options = MicrosoftOptions { loop_requests_max: 5, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        assert_eq!(world.refresh(&refresh).await.status, 200);
    }
    assert_eq!(denial(&world.refresh(&refresh).await.json()), denied("invalid_request", 50_196));
    world.pass(301);
    assert_eq!(world.refresh(&refresh).await.status, 200);
}

#[tokio::test]
async fn the_endpoint_fails_as_it_is_told() {
    let world = World::new().await;
    let refresh = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    let errors = json!({ "error": "temporarily_unavailable", "code": 90_033, "status": 503, "times": 2 });
    world.control("POST", "identity/errors", errors);
    for _ in 0..2 {
        let got = world.refresh(&refresh).await;
        assert_eq!((got.status, denial(&got.json())), (503, denied("temporarily_unavailable", 90_033)));
    }
    assert_eq!(world.refresh(&refresh).await.status, 200);
    assert_eq!(world.microsoft.token_requests()["refresh_token"], 3);
}

#[tokio::test]
async fn an_application_gets_a_token_of_its_own_from_a_real_tenant() {
    let world = World::new().await;
    let ask = async |tenant: &str, scope: &str| {
        let pairs = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ];
        world.raw_token(tenant, &pairs).await
    };
    let tokens = ask(TENANT, "https://graph.microsoft.com/.default").await.json();
    conforms("tokenResponse", &tokens).unwrap();
    assert_eq!((&tokens["refresh_token"], &tokens["scope"]), (&Value::Null, &Value::Null));
    let client = world.client_with(tokens["access_token"].as_str().unwrap());
    let got = client.send("GET", "/me/events", &Value::Null).await;
    assert_eq!(got.status, 400, "an application has no /me");
    client.get(&format!("/users/{BERND}/events")).await;
    assert_eq!(ask("common", "https://graph.microsoft.com/.default").await.status, 400);
    assert_eq!(denial(&ask(TENANT, "Calendars.ReadWrite").await.json()), denied("invalid_scope", 1_002_012));
    assert_eq!(denial(&ask("nobody.example", "x").await.json()), denied("invalid_request", 90_002));
    let refused = world.token(&[("grant_type", "password")]).await.json();
    assert_eq!(denial(&refused), denied("unsupported_grant_type", 70_003));
}

#[tokio::test]
async fn a_token_is_for_one_resource_and_for_its_time() {
    let world = World::new().await;
    let scopes = "offline_access https://graph.microsoft.com/Calendars.ReadWrite https://outlook.office.com/IMAP.AccessAsUser.All";
    let tokens = world.redeem(&world.code(ANNA, scopes).await).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("scope", "https://outlook.office.com/IMAP.AccessAsUser.All"),
    ];
    let mail = world.token(&pairs).await.json();
    assert_eq!(mail["scope"], "https://outlook.office.com/IMAP.AccessAsUser.All");
    let refused = async |token: &str| {
        let got = world.client_with(token).send("GET", "/me/calendars", &Value::Null).await;
        assert!(got.header("www-authenticate").unwrap().starts_with("Bearer "));
        (got.status, got.json()["error"]["message"].as_str().unwrap().to_owned())
    };
    let audience = "Access token validation failure. Invalid audience.";
    assert_eq!(refused(mail["access_token"].as_str().unwrap()).await, (401, audience.to_owned()));
    let token = tokens["access_token"].as_str().unwrap();
    world.client_with(token).get("/me/calendars").await;
    world.pass(5_400);
    let expired = "Lifetime validation failed, the token is expired.";
    assert_eq!(refused(token).await, (401, expired.to_owned()));
    assert_eq!(refused("made-up").await.0, 401);
    let fresh = world.refresh(refresh).await.json();
    let fresh = fresh["access_token"].as_str().unwrap();
    world.client_with(fresh).get("/me/calendars").await;
    world.control("POST", "identity/expire-access", json!({ "mailbox": ANNA }));
    assert_eq!(refused(fresh).await, (401, expired.to_owned()));
    let wanted = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("scope", "https://graph.microsoft.com/Mail.ReadWrite"),
    ];
    assert_eq!(denial(&world.token(&wanted).await.json()), denied("invalid_grant", 65_001));
}

#[tokio::test]
async fn a_challenge_ends_with_a_token_that_was_asked_for_with_claims() {
    let world = World::new().await;
    let tokens = world.connect(ANNA).await;
    let client = world.client_with(tokens["access_token"].as_str().unwrap());
    world.control("POST", "mailboxes/challenge", json!({ "mailbox": ANNA }));
    let got = client.send("GET", "/me/events", &Value::Null).await;
    assert_eq!(got.status, 401);
    assert!(got.header("www-authenticate").unwrap().contains("error=\"insufficient_claims\""));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("claims", "{}")];
    let fresh = world.token(&pairs).await.json();
    world.client_with(fresh["access_token"].as_str().unwrap()).get("/me/events").await;
}

#[tokio::test]
async fn a_browser_page_gets_no_token() {
    let world = World::new().await;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", "https://sync.example")];
    let got = http::send(&world.microsoft.base_url(), "POST", &path, &headers, "grant_type=x").await.unwrap();
    assert_eq!(denial(&got.json()), denied("invalid_request", 9_002_326));
}

#[tokio::test]
async fn five_hundred_refresh_tokens_of_a_person_are_remembered() {
    let world = World::new().await;
    let first = world.connect(ANNA).await["refresh_token"].as_str().unwrap().to_owned();
    let mut last = first.clone();
    for _ in 0..500 {
        world.refresh(&last).await.json()["refresh_token"].as_str().unwrap().clone_into(&mut last);
    }
    assert_eq!(denial(&world.refresh(&first).await.json()), denied("invalid_grant", 9_002_313));
    assert_eq!(world.refresh(&last).await.status, 200);
}
