//! The token and the secrets go into addresses: they must be nowhere else. In a process of its own, since it listens to all
//! that is logged in it, libraries included.
#![expect(clippy::unwrap_used, reason = "tests, with helpers that clippy does not take for tests")]

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use connector_wecom::{DepartmentId, MemoryShelf, Settings, UserId, WeCom, default_limits};
use shared::clock::SystemClock;
use shared::meter::NoMeter;
use tracing_subscriber::fmt::MakeWriter;

const TOKEN: &str = "Zm9vYmFy-SuchAToken_42";
const SECRET: &str = "Sy5-corp-secret-of-the-app";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn wecom_at(url: &str) -> WeCom {
    let settings = Settings {
        url: url.parse().unwrap(),
        corp_id: "ww1".to_owned(),
        app_secret: Some(SECRET.to_owned().into()),
        contact_sync_secret: None,
        limits: default_limits(),
        fleet: None,
        shelf: Arc::<MemoryShelf>::default(),
    };
    WeCom::new(&settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
}

/// A WeCom behind a relay that shows the whole address in all that it says.
async fn start() -> WeCom {
    let router = Router::new().fallback(|request: Request| async move {
        let uri = request.uri().to_string();
        let page = format!("<h1>502</h1><p>No answer to {uri}</p>");
        let said = format!("invalid credential {TOKEN} of {SECRET}, asked with {uri}, from ip: 1.2.3.4");
        let json = |text: String| (StatusCode::OK, [("content-type", "application/json")], text);
        match request.uri().path() {
            "/gettoken" => json(format!(r#"{{"errcode":0,"access_token":"{TOKEN}","expires_in":7200}}"#)),
            "/department/get" => json(serde_json::json!({"errcode": 60020, "errmsg": said}).to_string()),
            "/department/list" => json(format!("no JSON: {uri}")),
            "/user/list" => (StatusCode::NOT_FOUND, [("content-type", "text/html")], page),
            "/user/simplelist" => (StatusCode::OK, [("content-type", "text/html")], page),
            _ => (StatusCode::BAD_GATEWAY, [("content-type", "text/html")], page),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    wecom_at(&url)
}

#[tokio::test]
async fn no_token_and_no_secret_in_faults_and_logs() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let wecom = start().await;
    let faults = [
        wecom.member(&UserId::new("zhangsan").unwrap()).await.unwrap_err(),
        wecom.members(DepartmentId::ROOT).await.unwrap_err(),
        wecom.member_names(DepartmentId::ROOT).await.unwrap_err(),
        wecom.departments().await.unwrap_err(),
        wecom.department(DepartmentId::ROOT).await.unwrap_err(),
        wecom.department(DepartmentId::ROOT).await.unwrap_err(),
    ];
    let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
    let expected = [
        "upstream_failed",
        "not_wecom",
        "answer_unreadable",
        "answer_unreadable",
        "address_not_trusted",
        "account_paused",
    ];
    assert_eq!(codes, expected);
    assert!(faults[0].answer.as_ref().unwrap().excerpt.contains("access_token=***"), "{:?}", faults[0]);
    assert!(faults[4].text.contains("1.2.3.4"), "{}", faults[4]);
    tracing::trace!("the log is heard");
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("the log is heard") && logged.contains("GET user/get"), "{logged}");
    for text in [format!("{faults:?}{wecom:?}"), logged] {
        for secret in [TOKEN, SECRET, "Zm9vYmFy", "Sy5-corp"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_said_without_the_address_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let wecom = wecom_at(&url);
    let fault = wecom.departments().await.unwrap_err();
    assert_eq!(fault.code, "connect_failed");
    assert!(!format!("{fault:?}").contains(SECRET), "{fault:?}");
}
