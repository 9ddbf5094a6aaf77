//! Against a WeCom that answers as it is told.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::Request as Incoming;
use connector_wecom::{Limits, MemoryShelf, Settings, TokenShelf, default_limits};
use doubles::MemoryState;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::flow::Verdict;
use shared::meter::NoMeter;
use vault::{Key, KeySource, Secrets};

use super::*;

/// Answers by path and query, without the token; what is not there is refused with its number.
#[derive(Debug, Default)]
struct Fake {
    answers: Mutex<BTreeMap<String, Value>>,
    asked: Mutex<Vec<String>>,
}

impl Fake {
    fn answers(&self, call: &str, answer: Value) {
        self.answers.lock().unwrap().insert(call.to_owned(), answer);
    }

    fn refuses(&self, call: &str, errcode: i64) {
        self.answers(call, json!({"errcode": errcode, "errmsg": "no"}));
    }

    fn answer(&self, path: &str, query: &str, body: &[u8]) -> Value {
        let query: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("access_token=")).collect();
        let cursor = serde_json::from_slice::<Value>(body).ok().map(|body| body["cursor"].clone());
        let call = match (query.join("&"), cursor) {
            (_, Some(cursor)) => format!("{path} {}", cursor.as_str().unwrap_or_default()),
            (query, None) if query.is_empty() || path == "gettoken" => path.to_owned(),
            (query, None) => format!("{path}?{query}"),
        };
        self.asked.lock().unwrap().push(call.trim_end().to_owned());
        let found = self.answers.lock().unwrap().get(call.trim_end()).cloned();
        found.unwrap_or_else(|| match path {
            "gettoken" => json!({"access_token": "token-of-ours", "expires_in": 7200}),
            "department/get" => json!({"errcode": 60123, "errmsg": "no"}),
            "user/list" | "user/simplelist" => json!({"errcode": 60003, "errmsg": "no"}),
            "user/get" => json!({"errcode": 60111, "errmsg": "no"}),
            _ => json!({"errcode": 48002, "errmsg": "no"}),
        })
    }

    fn times(&self, beginning: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|call| call.starts_with(beginning)).count()
    }

    async fn serve(self: &Arc<Self>, app: bool, contact_sync: bool) -> WeComSource {
        self.serve_with(app, contact_sync, Arc::<MemoryShelf>::default()).await
    }

    async fn serve_with(
        self: &Arc<Self>,
        app: bool,
        contact_sync: bool,
        shelf: Arc<dyn TokenShelf>,
    ) -> WeComSource {
        let fake = Arc::clone(self);
        let router = Router::new().fallback(move |request: Incoming| {
            let fake = Arc::clone(&fake);
            async move {
                let path = request.uri().path().trim_start_matches("/cgi-bin/").to_owned();
                let query = request.uri().query().unwrap_or_default().to_owned();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
                let answer = fake.answer(&path, &query, &body).to_string();
                ([("content-type", "application/json")], answer)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cgi-bin", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = Settings {
            url: url.parse().unwrap(),
            corp_id: "ww1".to_owned(),
            app_secret: app.then(|| "app".to_owned().into()),
            contact_sync_secret: contact_sync.then(|| "sync".to_owned().into()),
            limits: Limits { requests_per_second_max: 10_000, ..default_limits() },
            fleet: None,
            shelf,
        };
        WeComSource::new(WeCom::new(&settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap())
    }
}

/// A company of two departments whose secrets may read all.
fn open() -> Arc<Fake> {
    let fake = Arc::<Fake>::default();
    let ids = json!([{"id": 1, "parentid": 0, "order": 1}, {"id": 7, "parentid": 1, "order": 2}]);
    fake.answers("department/simplelist", json!({ "department_id": ids }));
    let root = json!({"id": 1, "parentid": 0, "name": "公司", "order": 1, "department_leader": ["Boss"]});
    fake.answers("department/list", json!({ "department": [root, {"id": 7, "parentid": 1}, {"id": "x"}] }));
    fake.answers("department/get?id=1", json!({ "department": root }));
    let boss = json!({"userid": "Boss", "name": "张三", "department": [1, 7], "order": [5], "status": 1});
    let lisi = json!({"userid": "LiSi", "department": [1]});
    for list in ["user/simplelist", "user/list"] {
        fake.answers(&format!("{list}?department_id=1"), json!({ "userlist": [lisi, boss] }));
        fake.answers(&format!("{list}?department_id=7"), json!({ "userlist": [boss, {"name": "x"}] }));
    }
    for spelled in ["Boss", "boss", "LiSi"] {
        fake.answers(&format!("user/get?userid={spelled}"), boss.clone());
    }
    fake.answers("user/get?userid=LiSi", lisi);
    let row = |userid: &str, department: u32| json!({"userid": userid, "department": department});
    let first = json!([row("Boss", 7), row("LiSi", 1), row("u/1", 1)]);
    fake.answers("user/list_id", json!({ "dept_user": first, "next_cursor": "two" }));
    fake.answers("user/list_id two", json!({ "dept_user": [row("boss", 1), {"department": 1}] }));
    fake
}

fn id(userid: &str) -> MemberId {
    MemberId::new(userid).unwrap()
}

async fn ids_of(source: &WeComSource, department: u32) -> Vec<String> {
    match source.members_of(DepartmentId(department)).await.unwrap() {
        Read::Found(list) => list.records.iter().map(|row| row.id().to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_is_there_unknown_or_invisible() {
    let fake = open();
    let source = fake.serve(true, false).await;
    let Read::Found(root) = source.department(DepartmentId::ROOT).await.unwrap() else { panic!() };
    assert_eq!((root.parent, root.name.as_deref()), (Some(DepartmentId::NONE), Some("公司")));
    assert_eq!(root.leaders, Some(vec![id("boss")]));
    let Read::Found(boss) = source.member(&id("BOSS")).await.unwrap() else { panic!() };
    assert_eq!((boss.userid.as_str(), boss.name.as_deref(), boss.mobile), ("Boss", Some("张三"), None));
    for errcode in [60003, 60123] {
        fake.refuses("department/get?id=7", errcode);
        assert_eq!(source.department(DepartmentId(7)).await.unwrap(), Read::Unknown);
    }
    for errcode in [60011, 50002] {
        fake.refuses("department/get?id=7", errcode);
        assert_eq!(source.department(DepartmentId(7)).await.unwrap(), Read::Invisible);
        fake.refuses("user/get?userid=lisi", errcode);
        assert_eq!(source.member(&id("lisi")).await.unwrap(), Read::Invisible);
    }
    for errcode in [60111, 40003, 46004] {
        fake.refuses("user/get?userid=lisi", errcode);
        assert_eq!(source.member(&id("lisi")).await.unwrap(), Read::Unknown);
    }
    assert_eq!(source.department(DepartmentId::NONE).await.unwrap(), Read::Unknown);
    fake.refuses("department/get?id=7", 60020);
    assert_eq!(source.department(DepartmentId(7)).await.unwrap_err().kind.name(), "unauthorized");
}

#[tokio::test]
async fn an_app_lists_whole_members() {
    let fake = open();
    let source = fake.serve(true, false).await;
    let Read::Found(list) = source.members_of(DepartmentId(7)).await.unwrap() else { panic!() };
    let [Row::Whole(boss)] = list.records.as_slice() else { panic!("{list:?}") };
    assert_eq!(boss.departments, Some([1, 7].map(DepartmentId).to_vec()));
    assert_eq!(boss.order, BTreeMap::from([(DepartmentId(1), 5)]));
    assert_eq!(list.unreadable.len(), 1);
    assert_eq!(ids_of(&source, 1).await, ["boss", "lisi"], "sorted");
    assert_eq!(source.members_of(DepartmentId(9)).await.unwrap(), Read::Unknown);
    fake.refuses("user/list?department_id=7", 60011);
    assert_eq!(source.members_of(DepartmentId(7)).await.unwrap(), Read::Invisible);
    assert_eq!(source.count_members().await.unwrap(), None, "only the contact sync counts");
    let all = source.departments().await.unwrap();
    assert_eq!((all.records.len(), all.unreadable.len()), (2, 1));
}

#[tokio::test]
async fn where_only_names_are_permitted_members_are_read_one_by_one() {
    let fake = open();
    fake.refuses("user/list?department_id=1", 48002);
    let source = fake.serve(true, false).await;
    let Read::Found(list) = source.members_of(DepartmentId(1)).await.unwrap() else { panic!() };
    assert_eq!(list.records, [Row::Id(id("boss")), Row::Id(id("lisi"))]);
}

#[tokio::test]
async fn the_contact_sync_alone_lists_ids_and_reads_them_once() {
    let fake = open();
    for call in ["department/list", "department/get?id=1", "user/simplelist?department_id=1"] {
        fake.refuses(call, 48009);
    }
    let source = fake.serve(false, true).await;
    assert_eq!(ids_of(&source, 1).await, ["boss", "lisi"]);
    assert_eq!(ids_of(&source, 7).await, ["boss"]);
    for department in 2..500 {
        assert_eq!(ids_of(&source, department).await.len(), usize::from(department == 7));
    }
    // One row to find out whether it may be read, and then two pages.
    assert_eq!(fake.times("user/list_id"), 3);
    assert_eq!(fake.times("user/list?"), 0, "nothing that is not permitted is asked for");
    assert_eq!(source.count_members().await.unwrap(), Some(2));
    assert_eq!(fake.times("user/list_id"), 3);
    let Read::Found(root) = source.members_of(DepartmentId::ROOT).await.unwrap() else { panic!() };
    assert_eq!(root.unreadable.len(), 2, "{:?}", root.unreadable);
    let departments = source.departments().await.unwrap().records;
    assert!(departments.len() == 2 && departments.iter().all(|department| department.name.is_none()));
}

#[tokio::test]
async fn with_both_secrets_members_are_whole_and_counted() {
    let fake = open();
    let source = fake.serve(true, true).await;
    assert_eq!(source.count_members().await.unwrap(), Some(2));
    assert_eq!(ids_of(&source, 1).await, ["boss", "lisi"]);
    assert_eq!(fake.times("user/list?"), 1);
    assert_eq!(fake.times("department/simplelist"), 1, "what may be read is found out once");
    let checks = source.check().await;
    assert_eq!(checks.len(), 5);
    assert!(checks.iter().all(|check| check.verdict == Verdict::Well), "{checks:?}");
    source.leave().await;
}

#[tokio::test]
async fn nothing_permitted_is_said_with_what_to_do() {
    let fake = open();
    for call in ["user/simplelist?department_id=1", "user/list?department_id=1"] {
        fake.refuses(call, 48002);
    }
    let source = fake.serve(true, false).await;
    let fault = source.members_of(DepartmentId(1)).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("permanent", FORBIDDEN));
    assert!(fault.text.contains("visible scope"), "{fault}");
    fake.refuses("department/simplelist", 40001);
    let checks = source.check().await;
    assert!(checks.iter().any(|check| check.verdict == Verdict::Broken), "{checks:?}");
}

#[tokio::test]
async fn an_error_is_never_an_empty_list() {
    let fake = open();
    let source = fake.serve(true, false).await;
    fake.answers("user/list?department_id=1", json!({ "errcode": 0 }));
    assert_eq!(source.members_of(DepartmentId(1)).await.unwrap_err().kind.name(), "retryable");
    fake.answers("department/list", json!({ "department": null }));
    assert_eq!(source.departments().await.unwrap_err().kind.name(), "retryable");
    fake.refuses("department/list", 60011);
    assert_eq!(source.departments().await.unwrap_err().code, "out_of_scope");
}

fn vault(state: &Arc<MemoryState>, key: &str) -> Secrets {
    let key = Key::parse(&key.to_owned().into(), "test").unwrap();
    Secrets::new(state.clone(), KeySource::Given(key), Vec::new())
}

#[tokio::test]
async fn tokens_are_sealed_in_the_vault_and_shared() {
    let (fake, state) = (open(), Arc::<MemoryState>::default());
    let key = Key::generate();
    let shelf = || Arc::new(VaultShelf::new(vault(&state, key.expose_secret())));
    let (one, other) =
        (fake.serve_with(true, false, shelf()).await, fake.serve_with(true, false, shelf()).await);
    one.member(&id("boss")).await.unwrap();
    assert_eq!(fake.times("gettoken"), 1);
    assert!(state.keys().iter().all(|key| key.starts_with("vault/wecom/")), "{:?}", state.keys());
    assert!(!state.holds("token-of-ours"), "sealed");
    // The address is another one, so is the place of the token.
    other.member(&id("boss")).await.unwrap();
    assert_eq!((fake.times("gettoken"), state.keys().len()), (2, 2));
    one.member(&id("boss")).await.unwrap();
    other.member(&id("boss")).await.unwrap();
    assert_eq!(fake.times("gettoken"), 2);
}

#[tokio::test]
async fn what_is_kept_under_another_key_is_had_anew_and_an_absent_store_costs_no_attempt() {
    let state = Arc::<MemoryState>::default();
    let shelf = || VaultShelf::new(vault(&state, Key::generate().expose_secret()));
    let (former, present) = (shelf(), shelf());
    former.write("wecom/x", &"kept".to_owned().into()).await.unwrap();
    assert_eq!(former.read("wecom/x").await.unwrap().unwrap().expose_secret(), "kept");
    assert!(present.read("wecom/x").await.unwrap().is_none());
    state.set_away(true);
    assert_eq!(former.read("wecom/x").await.unwrap_err().kind.name(), "paused");
    assert_eq!(former.write("wecom/x", &"y".to_owned().into()).await.unwrap_err().kind.name(), "paused");
}
