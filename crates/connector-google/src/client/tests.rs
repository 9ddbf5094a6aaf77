use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::Request as Incoming;
use axum::http::StatusCode;
use shared::clock::SystemClock;
use shared::fault::FaultKind;
use shared::meter::NoMeter;

use super::*;
use crate::fixtures;

/// Tokens `t1`, `t2`, …: the next one once the present one was refused.
#[derive(Debug, Default)]
struct Tokens(Mutex<u32>);

#[async_trait::async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<SecretString, Fault> {
        Ok(SecretString::from(format!("t{}", *self.0.lock().unwrap() + 1)))
    }

    async fn refused(&self, token: &SecretString, claims: Option<&str>) -> Result<(), Fault> {
        assert_eq!(claims, None);
        let mut refused = self.0.lock().unwrap();
        assert_eq!(token.expose_secret(), format!("t{}", *refused + 1), "the one that was sent");
        *refused += 1;
        Ok(())
    }
}

/// What a server was asked with.
type Asked = Arc<Mutex<Vec<String>>>;

/// A Google that gives these answers in turn, each the name of an example or empty for a good one; the last one again
/// and again.
async fn start(answers: &[&str]) -> (Google, Asked) {
    let asked = Asked::default();
    let answers: Vec<String> = answers.iter().map(|name| (*name).to_owned()).collect();
    let remember = Arc::clone(&asked);
    let router = Router::new().fallback(move |request: Incoming| {
        let bearer = request.headers().get("authorization").unwrap().to_str().unwrap().to_owned();
        let mut seen = remember.lock().unwrap();
        seen.push(bearer);
        let name = answers[(seen.len() - 1).min(answers.len() - 1)].clone();
        let (status, body) = match name.as_str() {
            "" => (200, r#"{"id":"user@example.com"}"#.to_owned()),
            name => {
                let answer = fixtures::error(name, &[]);
                (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
            }
        };
        async move { (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/calendar/v3", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let settings = Settings { url, limits: default_limits(), fleet: None };
    let google =
        Google::new(&settings, "a test", Arc::<Tokens>::default(), Arc::new(NoMeter), Arc::new(SystemClock))
            .unwrap();
    (google, asked)
}

fn asked(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().clone()
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (google, seen) = start(&["error-401", ""]).await;
    assert_eq!(google.calendar("primary").await.unwrap().id, "user@example.com");
    assert_eq!(asked(&seen), ["Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_pauses_the_account() {
    let (google, seen) = start(&["error-401"]).await;
    assert_eq!(google.calendar("primary").await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(google.calendar("primary").await.unwrap_err().code, "account_paused");
    assert_eq!(asked(&seen).len(), 2, "never in a loop");
}

#[tokio::test]
async fn a_403_that_asks_for_fewer_requests_pauses_all_that_share_the_account() {
    let (google, seen) = start(&["error-403-userratelimit", ""]).await;
    let other = google.with_tokens(Arc::<Tokens>::default());
    let fault = google.calendar("primary").await.unwrap_err();
    let FaultKind::Throttled { after } = fault.kind else { panic!("{fault:?}") };
    assert!(after <= Duration::from_secs(1) && after >= Duration::from_millis(500), "{after:?}");
    assert_eq!(other.calendar("primary").await.unwrap_err().code, "account_paused");
    assert_eq!(asked(&seen).len(), 1);
}

#[tokio::test]
async fn a_403_that_forbids_pauses_nothing() {
    let (google, seen) = start(&["error-403-forbiddennonorganizer", ""]).await;
    assert_eq!(google.calendar("primary").await.unwrap_err().code, "not_organizer");
    assert!(google.calendar("primary").await.is_ok());
    assert_eq!(asked(&seen), ["Bearer t1", "Bearer t1"]);
}

#[test]
fn an_address_that_cannot_be_used_is_said_so() {
    let settings =
        Settings { url: "ftp://google.example/".parse().unwrap(), limits: default_limits(), fleet: None };
    let made =
        Google::new(&settings, "x", Arc::<Tokens>::default(), Arc::new(NoMeter), Arc::new(SystemClock));
    assert!(matches!(made, Err(SetupError::Address(_))));
}
