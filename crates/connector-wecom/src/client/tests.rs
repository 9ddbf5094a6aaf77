use std::collections::{HashMap, VecDeque};

use axum::Router;
use axum::extract::Request as Incoming;
use doubles::MemoryState;
use serde_json::json;
use shared::clock::ManualClock;
use shared::fault::FaultKind;
use shared::meter::NoMeter;

use super::*;
use crate::{DepartmentId, Lookup, MemoryShelf, UserId};

mod probing;

/// A WeCom that gives the answers of a path in turn, the last one again and again. Its tokens are the secret's name and a
/// number that rises with each.
#[derive(Debug, Default)]
pub(super) struct Fake {
    answers: Mutex<HashMap<&'static str, VecDeque<String>>>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    pub(super) fn answers(&self, path: &'static str, answers: &[&str]) {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        self.answers.lock().unwrap().insert(path, answers);
    }

    fn answer(&self, path: &str, token: &str) -> String {
        self.asked.lock().unwrap().push(format!("{path} {token}"));
        let mut answers = self.answers.lock().unwrap();
        let Some(of_path) = answers.get_mut(path) else {
            let asked = self.times(&format!("{path} {token}"));
            let token = format!("{token}-{asked}");
            return json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": 7200})
                .to_string();
        };
        if of_path.len() > 1 { of_path.pop_front().unwrap() } else { of_path[0].clone() }
    }

    /// How often was asked for something that begins so.
    pub(super) fn times(&self, beginning: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.starts_with(beginning)).count()
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

pub(super) struct Bench {
    pub(super) fake: Arc<Fake>,
    pub(super) wecom: WeCom,
    pub(super) settings: Settings,
    clock: Arc<ManualClock>,
}

impl Bench {
    pub(super) async fn start(app: bool, contact_sync: bool) -> Self {
        let fake = Arc::<Fake>::default();
        let serving = Arc::clone(&fake);
        let router = Router::new().fallback(move |request: Incoming| {
            let path = request.uri().path().trim_start_matches("/cgi-bin/").to_owned();
            let query = request.uri().query().unwrap_or_default().to_owned();
            let value = |name: &str| {
                let mut pairs = url::form_urlencoded::parse(query.as_bytes());
                pairs.find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
            };
            let token = value("access_token").or(value("corpsecret")).unwrap_or_default();
            let body = serving.answer(&path, &token);
            async move { ([("content-type", "application/json; charset=UTF-8")], body) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cgi-bin", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings {
            url: url.parse().unwrap(),
            corp_id: "ww1".to_owned(),
            app_secret: app.then(|| "app".to_owned().into()),
            contact_sync_secret: contact_sync.then(|| "sync".to_owned().into()),
            limits: Limits { requests_per_second_max: 1_000, ..default_limits() },
            fleet: None,
            shelf: Arc::<MemoryShelf>::default(),
        };
        let clock = Arc::new(ManualClock::new("2026-11-26T12:00:00Z".parse().unwrap()));
        let wecom = WeCom::new(&settings, Arc::new(NoMeter), clock.clone()).unwrap();
        Self { fake, wecom, settings, clock }
    }

    /// Another process of the same fleet.
    fn another(&self) -> WeCom {
        WeCom::new(&self.settings, Arc::new(NoMeter), self.clock.clone()).unwrap()
    }

    async fn ask(&self) -> Result<Lookup<crate::Member>, Fault> {
        self.wecom.member(&user()).await
    }
}

fn user() -> UserId {
    UserId::new("zhangsan").unwrap()
}

const MEMBER: &str = r#"{"errcode":0,"errmsg":"ok","userid":"zhangsan"}"#;
const NO_IDS: &str = r#"{"errcode":0,"dept_user":[],"next_cursor":""}"#;
const TREE: &str = r#"{"department":[{"id":1,"name":"x","parentid":0}]}"#;
const IDS: &str = r#"{"errcode":0,"department_id":[{"id":1,"parentid":0,"order":1}]}"#;

pub(super) fn refusal(code: i64) -> String {
    json!({"errcode": code, "errmsg": "words, from ip: 1.2.3.4"}).to_string()
}

#[tokio::test]
async fn each_secret_does_what_it_may() {
    let bench = Bench::start(true, true).await;
    bench.fake.answers("user/get", &[MEMBER]);
    bench.fake.answers("user/list_id", &[NO_IDS]);
    bench.fake.answers("department/list", &[TREE]);
    bench.fake.answers("department/simplelist", &[IDS]);
    assert!(bench.ask().await.unwrap().found().is_some());
    assert!(bench.wecom.member_ids(None, 100).await.unwrap().rows.items.is_empty());
    assert_eq!(bench.wecom.departments().await.unwrap().items.len(), 1);
    assert_eq!(bench.wecom.department_ids().await.unwrap().items.len(), 1);
    let expected = [
        "gettoken app",
        "user/get app-1",
        "gettoken sync",
        "user/list_id sync-1",
        "department/list app-1",
        "department/simplelist sync-1",
    ];
    assert_eq!(bench.fake.asked(), expected);
}

#[tokio::test]
async fn what_takes_a_secret_that_is_not_there_is_said_so() {
    let bench = Bench::start(true, false).await;
    let fault = bench.wecom.member_ids(None, 100).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "secret_missing"));
    assert!(fault.text.contains("contact_sync_secret"), "{fault}");
    assert!(bench.fake.asked().is_empty());
    bench.fake.answers("department/simplelist", &[IDS]);
    assert!(bench.wecom.department_ids().await.is_ok());
    assert_eq!(bench.fake.times("department/simplelist app-1"), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_repeated_once() {
    for code in [40014, 42001] {
        let bench = Bench::start(true, false).await;
        bench.fake.answers("user/get", &[MEMBER, &refusal(code), MEMBER]);
        assert!(bench.ask().await.is_ok());
        bench.clock.advance(Duration::from_secs(60));
        assert!(bench.ask().await.is_ok());
        let expected = ["gettoken app", "user/get app-1", "user/get app-1", "gettoken app", "user/get app-2"];
        assert_eq!(bench.fake.asked(), expected, "{code}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_again_pauses_and_never_loops() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[MEMBER, &refusal(42001)]);
    assert!(bench.ask().await.is_ok());
    bench.clock.advance(Duration::from_secs(60));
    let fault = bench.ask().await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, "token_refused"));
    assert_eq!(bench.ask().await.unwrap_err().code, "account_paused");
    assert_eq!((bench.fake.times("gettoken"), bench.fake.times("user/get")), (2, 3));
}

#[tokio::test]
async fn a_token_from_before_the_settings_were_put_right_is_not_used_on() {
    for code in [60020, 40001] {
        let bench = Bench::start(true, false).await;
        bench.fake.answers("user/get", &[MEMBER, &refusal(code), MEMBER]);
        assert!(bench.ask().await.is_ok());
        bench.clock.advance(Duration::from_secs(60));
        assert_eq!(bench.ask().await.unwrap_err().kind, FaultKind::Unauthorized, "{code}");
        assert!(bench.another().member(&user()).await.is_ok());
        assert_eq!(bench.fake.times("user/get app-2"), 1, "{code}");
    }
}

#[tokio::test]
async fn many_refused_calls_ask_for_one_token() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[MEMBER]);
    assert!(bench.ask().await.is_ok());
    bench.clock.advance(Duration::from_secs(60));
    let mut answers = vec![refusal(42001); 8];
    answers.push(MEMBER.to_owned());
    bench.fake.answers("user/get", &answers.iter().map(String::as_str).collect::<Vec<_>>());
    let calls: Vec<_> = (0..8)
        .map(|_| bench.wecom.clone())
        .map(|wecom| tokio::spawn(async move { wecom.member(&user()).await }))
        .collect();
    let mut good = 0;
    for call in calls {
        good += usize::from(call.await.unwrap().is_ok());
    }
    assert!(good > 0 && bench.fake.times("gettoken") == 2, "{good} good, {:?}", bench.fake.asked());
}

#[tokio::test]
async fn an_old_token_is_replaced_before_its_end() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[MEMBER]);
    assert!(bench.ask().await.is_ok());
    bench.clock.advance(Duration::from_secs(7_169));
    assert!(bench.ask().await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.ask().await.is_ok());
    assert_eq!((bench.fake.times("user/get app-1"), bench.fake.times("user/get app-2")), (2, 1));
}

#[tokio::test]
async fn a_wrong_secret_is_asked_with_once() {
    for code in [40001, 40013, 40091] {
        let bench = Bench::start(true, true).await;
        bench.fake.answers("user/get", &[MEMBER]);
        bench.fake.answers("gettoken", &[&refusal(code)]);
        let fault = bench.ask().await.unwrap_err();
        assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, "sign_in_refused"), "{code}");
        assert!(fault.text.contains("app_secret") && !fault.kind.may_pass(), "{fault}");
        for _ in 0..10 {
            assert_eq!(bench.ask().await.unwrap_err().code, "account_paused");
        }
        assert_eq!(bench.fake.asked(), ["gettoken app"], "{code}");
        // The other secret may be good.
        assert_eq!(bench.wecom.member_ids(None, 1).await.unwrap_err().code, "sign_in_refused");
    }
}

#[tokio::test]
async fn a_fleet_asks_for_one_token() {
    let mut bench = Bench::start(true, false).await;
    bench.settings.fleet = Some(Arc::<MemoryState>::default());
    bench.fake.answers("user/get", &[MEMBER]);
    let processes: Vec<WeCom> = (0..4).map(|_| bench.another()).collect();
    let calls: Vec<_> = (0..40)
        .map(|i| processes[i % processes.len()].clone())
        .map(|wecom| tokio::spawn(async move { wecom.member(&user()).await }))
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((bench.fake.times("gettoken"), bench.fake.times("user/get app-1")), (1, 40));
    for process in &processes {
        process.leave().await;
    }
}

#[tokio::test]
async fn too_many_calls_pause_their_interface_only() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[&refusal(45009), MEMBER]);
    bench.fake.answers("department/list", &[TREE]);
    let fault = bench.ask().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled { after: Duration::from_secs(60) });
    assert_eq!(bench.ask().await.unwrap_err().code, "account_paused");
    assert_eq!(bench.wecom.departments().await.unwrap().items.len(), 1);
    assert_eq!(bench.fake.times("user/get"), 1);
}

#[tokio::test]
async fn a_pause_is_the_whole_fleets() {
    let mut bench = Bench::start(true, false).await;
    let state = Arc::<MemoryState>::default();
    bench.settings.fleet = Some(state.clone());
    bench.fake.answers("user/get", &[&refusal(45009), MEMBER]);
    let (one, other) = (bench.another(), bench.another());
    assert_eq!(one.member(&user()).await.unwrap_err().code, "throttled");
    let written = async {
        while !state.holds("fewer calls") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written)
        .await
        .expect("the pause is never told to the fleet");
    assert_eq!(other.member(&user()).await.unwrap_err().code, "account_paused");
    assert_eq!(bench.fake.times("user/get"), 1);
}

#[tokio::test]
async fn too_many_at_once_wait_for_seconds() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[&refusal(45033)]);
    let FaultKind::Throttled { after } = bench.ask().await.unwrap_err().kind else { panic!("throttled") };
    assert!((1.0..=5.0).contains(&after.as_secs_f64()), "{after:?}");
}

#[tokio::test]
async fn a_busy_wecom_is_asked_three_times_and_then_later() {
    let bench = Bench::start(true, false).await;
    bench.fake.answers("user/get", &[&refusal(-1), MEMBER]);
    assert!(bench.ask().await.is_ok());
    bench.fake.answers("user/get", &[&refusal(-1)]);
    let fault = bench.ask().await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "busy"));
    assert_eq!(bench.fake.times("user/get"), 2 + 3);
}

#[tokio::test]
async fn gone_invisible_and_forbidden_are_three_things() {
    let bench = Bench::start(true, false).await;
    let answers = [60111, 60011, 48009].map(refusal);
    bench.fake.answers("user/get", &answers.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(bench.ask().await, Ok(Lookup::Gone));
    assert_eq!(bench.ask().await, Ok(Lookup::Invisible));
    assert_eq!(bench.ask().await.unwrap_err().code, "api_forbidden");
    for (code, expected) in [(60003, Lookup::Gone), (60123, Lookup::Gone), (60011, Lookup::Invisible)] {
        bench.fake.answers("department/get", &[&refusal(code)]);
        assert_eq!(bench.wecom.department(DepartmentId::ROOT).await, Ok(expected), "{code}");
    }
    // A call that names nothing has lost its permission.
    bench.fake.answers("department/list", &[&refusal(60011)]);
    assert_eq!(bench.wecom.departments().await.unwrap_err().code, "out_of_scope");
}

#[tokio::test]
async fn an_address_that_is_not_trusted_holds_up_its_own_app_only() {
    let bench = Bench::start(true, true).await;
    bench.fake.answers("user/get", &[&refusal(60020)]);
    bench.fake.answers("department/simplelist", &[IDS]);
    let fault = bench.ask().await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, "address_not_trusted"));
    assert!(fault.text.contains("1.2.3.4"), "{fault}");
    assert_eq!(bench.ask().await.unwrap_err().code, "account_paused");
    assert!(bench.wecom.department_ids().await.is_ok());
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_read() {
    let mut bench = Bench::start(true, false).await;
    bench.settings.limits.answer_bytes_max = 10_000;
    bench.fake.answers("department/list", &[&format!(r#"{{"department":[{}]}}"#, " ".repeat(20_000))]);
    let fault = bench.another().departments().await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "answer_too_large"));
}

#[tokio::test]
async fn settings_that_cannot_work_are_said_so() {
    let bench = Bench::start(true, true).await;
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut settings = bench.settings.clone();
        change(&mut settings);
        WeCom::new(&settings, Arc::new(NoMeter), bench.clock.clone()).unwrap_err().to_string()
    };
    assert!(refused(&|it| it.corp_id = " ".into()).contains("corp_id"));
    assert!(refused(&|it| (it.app_secret, it.contact_sync_secret) = (None, None)).contains("app_secret"));
    assert!(
        refused(&|it| it.contact_sync_secret = Some(" ".to_owned().into())).contains("contact_sync_secret")
    );
    assert!(refused(&|it| it.url = "ftp://x.example/".parse().unwrap()).contains("https"));
    assert!(!format!("{:?} {:?}", bench.settings, bench.wecom).contains("sync"));
}
