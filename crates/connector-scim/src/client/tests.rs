//! Operations over several requests, against services that lack things, refuse, and misbehave.

use std::sync::atomic::AtomicUsize;

use serde_json::{Value, json};
use shared::fault::FaultKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::scripted::{Asked, Log, Reply, client, lines, list, recorded, refusal, scim, start, start_with};
use crate::{
    Created, GroupKey, GroupPatch, Member, MemberChange, MemberList, Nesting, UserKey, UserPatch, Written,
};

const USER: &str = "f550e7184c42432ca238a6a9e2b2d1bb";

fn title(text: &str) -> UserPatch {
    UserPatch::default().title(Some(text))
}

fn nothing() -> Reply {
    (204, vec![("etag", "W/\"9\"".to_owned())], String::new())
}

fn all(log: &Log) -> Vec<Asked> {
    log.lock().unwrap().clone()
}

#[tokio::test]
async fn a_look_up_is_on_the_wire_as_recorded() {
    let (scim, log) = start(|_| None).await;
    assert_eq!(
        scim.find_users(UserKey::ExternalId("wecom:user:lisi")).await.unwrap_err().code,
        "endpoint_missing"
    );
    let asked = all(&log).remove(0);
    let target = asked.line.split("/acme/v2/").nth(1).unwrap();
    let filter = crate::fixtures::load("033-filter-externalid").target;
    assert!(target.starts_with(&format!("{filter}&startIndex=1&count=200")), "{target}");
    assert_eq!(asked.header("accept"), Some("application/scim+json"));
    assert_eq!(asked.header("authorization"), Some("Bearer hush-hush"));
    assert_eq!(asked.header("content-type"), None, "there is no body");
    assert!(!format!("{scim:?}").contains("hush"), "{scim:?}");
}

#[tokio::test]
async fn the_plain_media_type_is_tried_once_and_remembered() {
    let (scim, log) = start(|asked| match asked.header("content-type") {
        Some("application/scim+json") => Some(recorded("097-media-type-text")),
        Some(_) => Some(recorded("021-create-user-minimal")),
        None => None,
    })
    .await;
    for _ in 0..2 {
        assert!(matches!(scim.create_user(&UserPatch::default().user_name("x")).await, Ok(Created::Done(_))));
    }
    let kinds: Vec<String> =
        all(&log).iter().map(|asked| asked.header("content-type").unwrap().to_owned()).collect();
    assert_eq!(kinds, ["application/scim+json", "application/json", "application/json"]);
    assert_eq!(all(&log)[2].header("accept"), Some("application/json"));
}

#[tokio::test]
async fn a_media_type_that_is_refused_in_any_form_is_a_fault() {
    let (scim, log) =
        start(|asked| (asked.body != Value::Null).then(|| recorded("097-media-type-text"))).await;
    let user = UserPatch::default().user_name("x");
    assert_eq!(scim.create_user(&user).await.unwrap_err().code, "media_type_refused");
    assert_eq!(all(&log).len(), 2);
}

#[tokio::test]
async fn a_refused_token_and_a_missing_right_pause_the_account() {
    for (status, code) in [(401, "unauthorized"), (403, "forbidden")] {
        let (scim, log) = start(move |asked| asked.line.ends_with("/1").then(|| refusal(status, "x"))).await;
        let fault = scim.user("1").await.unwrap_err();
        assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, code));
        assert_eq!(scim.user("1").await.unwrap_err().code, "account_paused");
        assert_eq!(all(&log).len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_service_that_is_busy_is_left_alone_as_long_as_it_says() {
    for (status, kind) in [(429, "throttled"), (503, "retryable")] {
        let (scim, log) = start(move |asked| {
            let wait = vec![("retry-after", "30".to_owned())];
            asked.line.ends_with("/1").then(|| (status, wait, String::new()))
        })
        .await;
        assert_eq!(scim.user("1").await.unwrap_err().kind.name(), kind);
        let held = scim.user("2").await.unwrap_err();
        let FaultKind::Throttled { after } = held.kind else { panic!("{held:?}") };
        assert!(after > Duration::from_secs(20) && after <= Duration::from_secs(30), "{after:?}");
        assert_eq!(all(&log).len(), 1);
    }
}

#[tokio::test]
async fn versions_go_back_as_they_came_and_stale_ones_are_told() {
    let (scim, log) = start(|asked| match asked.header("if-match") {
        Some("W/\"8\"") => Some(nothing()),
        Some(_) => Some(recorded("073-patch-if-match-stale")),
        None => asked.line.starts_with("PATCH").then(nothing),
    })
    .await;
    let done = Written::Done { version: Some("W/\"9\"".to_owned()) };
    assert_eq!(scim.update_user(USER, Some("W/\"8\""), &title("a")).await, Ok(done.clone()));
    assert_eq!(scim.update_user(USER, Some("W/\"7\""), &title("a")).await, Ok(Written::Changed));
    assert_eq!(scim.update_user(USER, None, &title("a")).await, Ok(done));
    let empty = scim.update_user(USER, Some("W/\"8\""), &UserPatch::default()).await;
    assert_eq!(empty, Ok(Written::Done { version: Some("W/\"8\"".to_owned()) }));
    assert_eq!(all(&log).len(), 3, "nothing is sent for nothing");
}

/// A service without PATCH.
fn without_patch(asked: &Asked) -> Option<Reply> {
    match asked.line.split(' ').next()? {
        "PATCH" => Some(recorded("098-me")),
        "GET" if asked.line.contains("/Users/") => Some(recorded("030-get-user")),
        "PUT" => Some((200, vec![("etag", "W/\"9\"".to_owned())], asked.body.to_string())),
        _ => None,
    }
}

#[tokio::test]
async fn without_patch_the_whole_is_read_and_put() {
    let (scim, log) = start(without_patch).await;
    let done = Ok(Written::Done { version: Some("W/\"9\"".to_owned()) });
    assert_eq!(scim.update_user(USER, Some("W/\"8\""), &title("Chef")).await, done);
    assert_eq!(scim.update_user(USER, None, &title("Chef")).await, done);
    let one = format!("Users/{USER}");
    let expected = ["PATCH", "GET", "PUT", "GET", "PUT"].map(|method| format!("{method} {one}"));
    assert_eq!(lines(&log), expected, "asked once, then remembered");
    let put = &all(&log)[2];
    assert_eq!((put.header("if-match"), &put.body["title"]), (Some("W/\"8\""), &json!("Chef")));
    assert_eq!(put.body["emails"][0]["value"], "zhangsan@example.test", "the rest stays");
    assert_eq!(scim.update_user(USER, Some("W/\"7\""), &title("x")).await, Ok(Written::Changed));
    assert_eq!(lines(&log).len(), 6, "nothing is put on another version");
    assert!(!scim.abilities().await.unwrap().patch);
}

#[tokio::test]
async fn many_at_once_find_out_once_that_there_is_no_patch() {
    let (scim, log) = start(without_patch).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let scim = scim.clone();
            tokio::spawn(async move { scim.update_user(USER, None, &title("Chef")).await })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Ok(Written::Done { .. })));
    }
    assert_eq!(lines(&log).iter().filter(|line| line.starts_with("PATCH")).count(), 1);
}

#[tokio::test]
async fn a_resource_that_changes_all_the_time_is_given_up() {
    let overrides = Overrides { patch: Some(false), ..Overrides::default() };
    let (scim, log) = start_with(overrides, |asked| match asked.line.starts_with("PUT") {
        true => Some(recorded("071-put-if-match-stale")),
        false => without_patch(asked),
    })
    .await;
    assert_eq!(scim.update_user(USER, None, &title("Chef")).await, Ok(Written::Changed));
    assert_eq!(lines(&log).len(), 6, "three times read and put");
}

#[tokio::test]
async fn without_etags_no_version_is_sent() {
    let overrides = Overrides { etag: Some(false), patch: Some(false), ..Overrides::default() };
    let (scim, log) = start_with(overrides, without_patch).await;
    assert!(matches!(scim.update_user(USER, Some("W/\"8\""), &title("x")).await, Ok(Written::Done { .. })));
    assert_eq!(all(&log)[1].header("if-match"), None);
    assert_eq!(
        scim.update_user(USER, Some("W/\"7\""), &title("x")).await,
        Ok(Written::Changed),
        "seen by reading"
    );
}

#[tokio::test]
async fn what_a_write_met_is_told_apart() {
    for (name, expected) in [("062-patch-username-taken", Written::Taken), ("074-put-unknown", Written::Gone)]
    {
        let (scim, _) = start(move |asked| (asked.body != Value::Null).then(|| recorded(name))).await;
        assert_eq!(scim.update_user("1", None, &title("x")).await, Ok(expected), "{name}");
    }
    let (scim, _) =
        start(|asked| (asked.body != Value::Null).then(|| recorded("022-create-user-duplicate-username")))
            .await;
    assert_eq!(scim.create_user(&UserPatch::default().user_name("zhangsan")).await, Ok(Created::Taken));
}

#[tokio::test]
async fn what_is_deleted_is_deleted() {
    let (scim, log) = start(|_| None).await;
    assert_eq!(scim.delete_user("1").await, Ok(()));
    assert_eq!(scim.user("1").await, Ok(None));
    assert_eq!(scim.delete_group("..").await.unwrap_err().code, "id_invalid");
    assert_eq!(lines(&log), ["DELETE Users/1", "GET Users/1"]);
}

#[tokio::test]
async fn where_a_404_is_not_the_services_the_collection_is_asked() {
    let page = || (404, vec![("content-type", "text/html".to_owned())], "<h1>404</h1>".to_owned());
    let (scim, log) = start(move |asked| match asked.line.contains("/Users?") {
        true => Some(list(&[])),
        false if asked.line.contains("/Users/") => Some(page()),
        false => None,
    })
    .await;
    assert_eq!(scim.user("1").await, Ok(None));
    assert_eq!(lines(&log), ["GET Users/1", "GET Users"]);
    let (scim, _) = start(move |asked| asked.line.contains("/Users").then(page)).await;
    for fault in [scim.user("1").await.unwrap_err(), scim.delete_user("1").await.unwrap_err()] {
        assert_eq!((fault.code, fault.kind.name()), ("not_scim", "retryable"));
    }
}

fn numbered(count: usize) -> Vec<Value> {
    (0..count)
        .map(|id| json!({"id": id.to_string(), "externalId": format!("x:{id}"), "userName": id.to_string()}))
        .collect()
}

fn parameter(asked: &Asked, name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://x{}", asked.line.split(' ').nth(1)?)).unwrap();
    url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
}

/// A page of what there is, at most so many.
fn paged(asked: &Asked, all: &[Value], page_max: usize) -> Reply {
    let number = |name| parameter(asked, name).unwrap().parse::<usize>().unwrap();
    let page: Vec<&Value> =
        all.iter().skip(number("startIndex") - 1).take(number("count").min(page_max)).collect();
    scim(200, &json!({"totalResults": all.len(), "itemsPerPage": page.len(), "Resources": page}))
}

#[tokio::test]
async fn pages_go_on_by_what_was_received() {
    let (scim, log) =
        start(|asked| (asked.line.contains("/Users?")).then(|| paged(asked, &numbered(123), 50))).await;
    let mut users = scim.users();
    let mut got = Vec::new();
    while let Some(page) = users.next_page().await.unwrap() {
        got.extend(page.iter().map(|user| user.id().to_owned()));
    }
    assert_eq!((got.len(), users.total(), users.is_complete()), (123, 123, true));
    let starts: Vec<_> = all(&log).iter().map(|asked| parameter(asked, "startIndex").unwrap()).collect();
    assert_eq!(starts, ["1", "51", "101"]);
    assert_eq!(parameter(&all(&log)[0], "sortBy").as_deref(), Some("id"));
}

#[tokio::test]
async fn a_page_that_is_too_much_is_halved_and_stays_so() {
    let (scim, log) = start(|asked| {
        let count = parameter(asked, "count")?.parse::<usize>().unwrap();
        Some(if count > 60 { refusal(400, "tooMany") } else { paged(asked, &numbered(70), 1_000) })
    })
    .await;
    let mut users = scim.users();
    while users.next_page().await.unwrap().is_some() {}
    assert!(users.is_complete());
    let counts: Vec<_> = all(&log).iter().map(|asked| parameter(asked, "count").unwrap()).collect();
    assert_eq!(counts, ["200", "100", "50", "50"]);
}

#[tokio::test]
async fn a_service_that_does_not_sort_is_asked_without() {
    let (scim, log) = start(|asked| {
        let sorted = parameter(asked, "sortBy").is_some();
        parameter(asked, "count")?;
        Some(if sorted { refusal(400, "invalidPath") } else { list(&numbered(1)) })
    })
    .await;
    for _ in 0..2 {
        let mut users = scim.users();
        assert_eq!(users.next_page().await.unwrap().unwrap().len(), 1);
    }
    assert_eq!(all(&log).len(), 3);
    assert!(!scim.abilities().await.unwrap().sort);
}

#[tokio::test]
async fn a_list_without_end_is_a_fault() {
    let same = json!({"totalResults": 1_000, "Resources": [{"id": "1"}]});
    let (scim, log) = start(move |asked| asked.line.contains("/Groups?").then(|| scim(200, &same))).await;
    let mut groups = scim.groups(MemberList::LeftOut);
    let fault = loop {
        match groups.next_page().await {
            Ok(page) => assert!(page.is_some()),
            Err(fault) => break fault,
        }
    };
    assert_eq!((fault.code, fault.kind.name(), groups.is_complete()), ("list_endless", "retryable", false));
    assert_eq!(all(&log).len(), 4);
    assert_eq!(groups.next_page().await, Ok(None));
}

#[tokio::test]
async fn without_filters_all_is_looked_through() {
    for lacking in [501, 400] {
        let (scim, log) = start(move |asked| match parameter(asked, "filter") {
            Some(_) => Some(refusal(lacking, "invalidFilter")),
            None => (asked.line.contains("/Users?")).then(|| paged(asked, &numbered(120), 50)),
        })
        .await;
        let found = scim.find_users(UserKey::ExternalId("x:77")).await.unwrap();
        assert_eq!(found.iter().map(crate::User::id).collect::<Vec<_>>(), ["77"]);
        assert!(scim.find_users(UserKey::ExternalId("X:77")).await.unwrap().is_empty());
        assert_eq!(all(&log).len(), 7, "the filter is asked for once");
    }
}

#[tokio::test]
async fn a_filter_that_is_ignored_finds_nobody_else() {
    let (scim, _) =
        start(|asked| (parameter(asked, "filter").is_some()).then(|| paged(asked, &numbered(120), 50))).await;
    let found = scim.find_users(UserKey::UserName("78")).await.unwrap();
    assert_eq!(found.iter().map(crate::User::id).collect::<Vec<_>>(), ["78"]);
    assert!(scim.find_users(UserKey::UserName("nobody")).await.unwrap().is_empty());
}

/// How many changes of members a request has.
fn changes(asked: &Asked) -> usize {
    let operations = asked.body["Operations"].as_array().unwrap();
    operations.iter().map(|operation| operation["value"].as_array().map_or(1, Vec::len)).sum()
}

#[tokio::test]
async fn batches_of_members_are_halved_until_they_are_taken() {
    let (scim, log) = start(|asked| {
        let patch = asked.line.starts_with("PATCH /acme/v2/Groups/g");
        patch.then(|| if changes(asked) > 30 { refusal(413, "x") } else { nothing() })
    })
    .await;
    let members: Vec<String> = (0..130).map(|id| id.to_string()).collect();
    let change =
        MemberChange { add: members.iter().map(|id| Member::user(id)).collect(), remove: Vec::new() };
    assert!(matches!(scim.change_members("g", &change).await, Ok(Written::Done { .. })));
    let sizes: Vec<usize> = all(&log).iter().map(changes).collect();
    assert_eq!(sizes, [100, 50, 25, 25, 25, 25, 25, 5]);
}

#[tokio::test]
async fn who_is_not_in_is_out_already() {
    let child = "f4561f52a30d473f801b21d5d5a8c940";
    let (scim, log) = start(move |asked| match asked.line.split(' ').next()? {
        "PATCH" if asked.body.to_string().contains("absent") => Some(refusal(400, "noTarget")),
        "PATCH" => Some(nothing()),
        _ if asked.line.contains("/Groups/g") => Some(recorded("013-get-parent")),
        _ => None,
    })
    .await;
    let leave = |ids: &[&str]| MemberChange {
        remove: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..MemberChange::default()
    };
    let done = |written| matches!(written, Ok(Written::Done { .. }));
    assert!(done(scim.change_members("g", &leave(&["absent", child])).await));
    assert_eq!(all(&log)[2].body["Operations"].as_array().unwrap().len(), 1);
    assert!(done(scim.change_members("g", &leave(&["absent"])).await));
    assert_eq!(lines(&log).iter().filter(|line| line.starts_with("PATCH")).count(), 3);
}

#[tokio::test]
async fn without_patch_a_group_is_put_once() {
    let overrides = Overrides { patch: Some(false), ..Overrides::default() };
    let (scim, log) = start_with(overrides, |asked| match asked.line.split(' ').next()? {
        "PUT" => Some((200, vec![], asked.body.to_string())),
        _ if asked.line.contains("/Groups/g") => Some(recorded("013-get-parent")),
        _ => None,
    })
    .await;
    let members: Vec<String> = (0..150).map(|id| id.to_string()).collect();
    let change =
        MemberChange { add: members.iter().map(|id| Member::user(id)).collect(), remove: Vec::new() };
    assert!(matches!(scim.change_members("g", &change).await, Ok(Written::Done { .. })));
    assert_eq!(lines(&log), ["GET Groups/g", "PUT Groups/g"]);
    assert_eq!(all(&log)[1].body["members"].as_array().unwrap().len(), 151);
}

/// A service with two groups at most, in which groups are put as `nest` says.
fn probed(nest: impl Fn() -> Option<Reply> + Send + Sync + 'static) -> impl Fn(&Asked) -> Option<Reply> {
    let (groups, nested) = (std::sync::Mutex::new(Vec::<Value>::new()), AtomicBool::new(false));
    move |asked| {
        let mut groups = groups.lock().unwrap();
        let place = |groups: &[Value]| {
            groups
                .iter()
                .position(|group| asked.line.ends_with(&format!("/Groups/{}", group["id"].as_str().unwrap())))
        };
        match asked.line.split(' ').next()? {
            "POST" => {
                let mut group = asked.body.clone();
                group["id"] = format!("g{}", groups.len()).into();
                groups.push(group.clone());
                Some(scim(201, &group))
            }
            "PATCH" => Some(nest().unwrap_or_else(|| {
                nested.store(asked.body.to_string().contains("add"), Ordering::Relaxed);
                nothing()
            })),
            "DELETE" => {
                let at = place(&groups)?;
                groups.remove(at);
                Some((204, vec![], String::new()))
            }
            _ if asked.line.contains("/Groups?") => Some(list(&groups)),
            _ => {
                let mut group = groups[place(&groups)?].clone();
                if nested.load(Ordering::Relaxed) {
                    group["members"] = json!([{"value": "g1"}]);
                }
                Some(scim(200, &group))
            }
        }
    }
}

async fn left_behind(scim: &Scim) -> usize {
    scim.groups(MemberList::LeftOut).next_page().await.unwrap().unwrap().len()
}

#[tokio::test]
async fn nesting_is_found_out_and_nothing_left_behind() {
    let (scim, _) = start(probed(|| None)).await;
    assert_eq!(scim.probe_nesting().await, Ok(Nesting::Works));
    assert_eq!(left_behind(&scim).await, 0);
    for status in [400, 403, 422] {
        let (scim, _) = start(probed(move || Some(refusal(status, "invalidValue")))).await;
        assert!(matches!(scim.probe_nesting().await, Ok(Nesting::Refused { .. })), "{status}");
        assert_eq!(left_behind(&scim).await, 0, "{status}");
    }
    let (scim, _) = start(probed(|| Some(nothing()))).await;
    let Ok(Nesting::Refused { why }) = scim.probe_nesting().await else { panic!() };
    assert!(why.contains("not in it"), "{why}");
    let (scim, _) = start(probed(|| Some((500, vec![], String::new())))).await;
    assert_eq!(scim.probe_nesting().await.unwrap_err().code, "upstream_failed", "nothing was found out");
    assert_eq!(left_behind(&scim).await, 0);
    let overrides = Overrides { groups: Some(false), ..Overrides::default() };
    let (scim, log) = start_with(overrides, |_| None).await;
    assert!(matches!(scim.probe_nesting().await, Ok(Nesting::Refused { .. })));
    assert!(all(&log).is_empty());
}

#[tokio::test]
async fn discovery_that_is_missing_is_no_fault_and_one_that_fails_is() {
    let (scim, _) = start(|asked| asked.line.contains("Res").then(|| (404, vec![], String::new()))).await;
    assert!(scim.abilities().await.unwrap().groups);
    let tries = AtomicUsize::new(0);
    let (scim, _) = start(move |asked| {
        let failing =
            asked.line.contains("ServiceProviderConfig") && tries.fetch_add(1, Ordering::Relaxed) == 0;
        failing.then(|| (500, vec![], String::new()))
    })
    .await;
    assert_eq!(scim.abilities().await.unwrap_err().code, "upstream_failed");
    assert!(scim.abilities().await.unwrap().bulk.is_some(), "asked again");
    let page = || (200, vec![("content-type", "text/html".to_owned())], "<h1>log in</h1>".to_owned());
    let (scim, _) = start(move |_| Some(page())).await;
    assert_eq!(scim.abilities().await.unwrap_err().code, "answer_unreadable");
}

#[tokio::test]
async fn a_group_that_is_created_without_a_body_is_read_from_its_location() {
    let (scim, log) = start(|asked| match asked.line.starts_with("POST") {
        true => Some((201, vec![("location", "/acme/v2/Groups/g%201".to_owned())], String::new())),
        false => asked.line.contains("/Groups/g%201").then(|| recorded("014-get-child")),
    })
    .await;
    let Ok(Created::Done(group)) = scim.create_group(&GroupPatch::default().display_name("x")).await else {
        panic!()
    };
    assert_eq!(group.external_id(), Some("wecom:dept:2"));
    assert_eq!(lines(&log), ["POST Groups", "GET Groups/g%201"]);
}

#[tokio::test]
async fn a_service_with_users_only_says_so() {
    let (scim, _) = start(|_| None).await;
    let fault = scim.create_group(&GroupPatch::default().display_name("x")).await.unwrap_err();
    assert_eq!((fault.code, fault.kind.name()), ("endpoint_missing", "permanent"));
    let fault = scim.find_groups(GroupKey::DisplayName("x")).await.unwrap_err();
    assert_eq!(fault.code, "endpoint_missing");
}

#[tokio::test]
async fn connections_that_are_closed_after_each_answer_do_no_harm() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/v2", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1_024];
                let count = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..count]);
            }
            let body = r#"{"id":"1","userName":"x","totalResults":0}"#;
            let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: application/scim+json\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let scim = client(url, Overrides::default());
    for _ in 0..20 {
        assert_eq!(scim.user("1").await.unwrap().unwrap().user_name(), Some("x"));
    }
}

#[test]
fn an_address_and_a_token_are_needed() {
    let make = |url: &str, token: &str| {
        let settings = Settings {
            url: Url::parse(url).unwrap(),
            token: SecretString::from(token),
            limits: default_limits(),
            fleet: None,
            overrides: Overrides::default(),
            sizes: Sizes::default(),
        };
        Scim::new(settings, Arc::new(shared::meter::NoMeter), Arc::new(shared::clock::SystemClock))
    };
    assert!(matches!(make("ftp://scim.example.test/", "x"), Err(SetupError::Address(_))));
    assert!(matches!(make("https://scim.example.test/", ""), Err(SetupError::Credential(_))));
}
