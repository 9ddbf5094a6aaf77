//! The connector against a SCIM server of independent make: one that can do everything, and one without PATCH, bulk and
//! etags. What the server holds at the end, by its own word, is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use connector_scim::{
    Contact, Created, GroupKey, GroupPatch, Kind, Limits, Lister, Member, MemberChange, MemberList, Name,
    Nesting, Operation, Outcome, Overrides, Scim, Settings, Sizes, Target, UserKey, UserPatch, Written,
    default_limits,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::fault::FaultKind;
use shared::meter::NoMeter;
use system_tests::ScimServer;

/// Members of the one large department.
const MEMBERS: usize = 1_000;
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn connect(server: &ScimServer, token: &str) -> Scim {
    let settings = Settings {
        url: server.url().parse().unwrap(),
        token: SecretString::from(token),
        limits: Limits { requests_per_second_max: 10_000, ..default_limits() },
        fleet: None,
        overrides: Overrides::default(),
        sizes: Sizes::default(),
    };
    Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
}

fn dept(name: &str) -> String {
    format!("wecom:dept:{name}")
}

fn external(name: &str) -> String {
    format!("wecom:user:{name}")
}

fn new(reference: &str) -> Target {
    Target::New(reference.to_owned())
}

fn group(name: &str, shown: &str) -> Operation {
    let group = GroupPatch::default().external_id(&dept(name)).display_name(shown);
    Operation::CreateGroup { reference: dept(name), group }
}

fn user(name: &str) -> Operation {
    let user = UserPatch::default().external_id(&external(name)).user_name(name).active(true);
    Operation::CreateUser { reference: external(name), user }
}

fn nest(parent: &str, child: &str) -> Operation {
    Operation::AddMembers { group: new(&dept(parent)), members: vec![(Kind::Group, new(&dept(child)))] }
}

fn id(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Done { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

async fn all<T>(mut list: Lister<T>) -> Vec<T> {
    let mut got = Vec::new();
    while let Some(page) = list.next_page().await.unwrap() {
        got.extend(page);
    }
    assert!(list.is_complete(), "{} of {}", got.len(), list.total());
    got
}

async fn one_user(scim: &Scim, name: &str) -> connector_scim::User {
    let mut found = scim.find_users(UserKey::ExternalId(&external(name))).await.unwrap();
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

async fn members(scim: &Scim, group: &str) -> BTreeSet<String> {
    let group = scim.group(group, MemberList::Read).await.unwrap().unwrap();
    group.members().into_iter().map(|member| member.id).collect()
}

fn is_done(written: &Written) -> bool {
    matches!(written, Written::Done { .. })
}

/// What the server holds, without its own ids and times: groups with the external ids of their members, and users.
fn state(resources: &[Value]) -> (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, Value>) {
    let of = |resource: &Value, name: &str| resource[name].as_str().unwrap_or("none").to_owned();
    let ours: BTreeMap<String, String> =
        resources.iter().map(|resource| (of(resource, "id"), of(resource, "externalId"))).collect();
    let (mut groups, mut users) = (BTreeMap::new(), BTreeMap::new());
    for resource in resources {
        if resource["schemas"][0].as_str().unwrap().ends_with(":Group") {
            let members = resource["members"].as_array().cloned().unwrap_or_default();
            let member = |member: &Value| {
                let id = member["value"].as_str().unwrap();
                format!("{} {}", of(member, "type"), ours.get(id).map_or("gone", String::as_str))
            };
            let name = format!("{} {}", of(resource, "externalId"), of(resource, "displayName"));
            groups.insert(name, members.iter().map(member).collect());
        } else {
            let mut user = resource.clone();
            let object = user.as_object_mut().unwrap();
            for own in ["id", "meta", "schemas"] {
                object.remove(own);
            }
            if let Some(manager) = user[ENTERPRISE]["manager"]["value"].as_str().map(str::to_owned) {
                user[ENTERPRISE]["manager"] = json!(ours.get(&manager));
            }
            users.insert(of(&user, "externalId"), user);
        }
    }
    (groups, users)
}

/// A company's first months, at whatever server.
async fn play(server: &ScimServer) {
    let scim = connect(server, ScimServer::TOKEN);
    assert_eq!(scim.probe_nesting().await, Ok(Nesting::Works));
    assert!(all(scim.groups(MemberList::Read)).await.is_empty(), "nothing is left behind");

    // The first sync: departments, members, who is where.
    let names: Vec<String> = (0..MEMBERS).map(|number| format!("m{number:04}")).collect();
    let mut operations = vec![nest("1", "2"), nest("2", "3"), group("3", "平台部"), group("1", "示例科技")];
    operations.extend([group("2", "研发中心"), nest("1", "4"), group("4", "销售 / 华东")]);
    operations.extend(names.iter().map(|name| user(name)));
    let outcomes = scim.apply(&operations).await.unwrap();
    let [root, dev, platform] = [3, 4, 2].map(|at| id(&outcomes[at]).to_owned());
    let ids: Vec<String> = outcomes[7..].iter().map(|outcome| id(outcome).to_owned()).collect();
    let change = MemberChange { add: ids.iter().map(|id| Member::user(id)).collect(), remove: Vec::new() };
    assert!(is_done(&scim.change_members(&platform, &change).await.unwrap()));
    assert_eq!(members(&scim, &platform).await, ids.iter().cloned().collect());
    assert_eq!(members(&scim, &dev).await, BTreeSet::from([platform.clone()]));
    assert!(is_done(&scim.change_members(&platform, &change).await.unwrap()), "again");

    // All of it comes, page by page.
    let users: BTreeSet<String> = all(scim.users()).await.iter().map(|user| user.id().to_owned()).collect();
    assert_eq!(users, ids.iter().cloned().collect());
    assert_eq!(all(scim.groups(MemberList::LeftOut)).await.len(), 4);
    let found = scim.find_groups(GroupKey::DisplayName("销售 / 华东")).await.unwrap();
    assert_eq!(found[0].external_id(), Some(dept("4").as_str()));

    // Details, in a second pass; then what is so already is not written again.
    let detailed = UserPatch::default()
        .display_name(Some("张三"))
        .name(&Name {
            formatted: Some("张三".into()), family: Some("张".into()), given: Some("三".into())
        })
        .title(Some("产品经理"))
        .emails(&[Contact { value: "m0001@example.test".into(), kind: Some("work".into()), primary: true }])
        .phone_numbers(&[Contact {
            value: "+8613800000001".into(),
            kind: Some("mobile".into()),
            primary: false,
        }])
        .department(Some("平台部"))
        .employee_number(Some("A-1"))
        .manager(Some(&ids[0]));
    let before = one_user(&scim, "m0001").await;
    let written = scim.update_user(&ids[1], before.version(), &detailed.differing(&before)).await.unwrap();
    assert!(is_done(&written));
    let after = one_user(&scim, "m0001").await;
    assert!(detailed.differing(&after).is_empty(), "{after:?}");
    assert_eq!(after.enterprise().manager.as_deref(), Some(ids[0].as_str()));

    // Somebody else wrote since; without versions nobody can tell, and the last one wins.
    let stale = UserPatch::default().title(Some("stale"));
    let written = scim.update_user(&ids[1], before.version(), &stale).await.unwrap();
    assert_eq!(written == Written::Changed, scim.abilities().await.unwrap().etag, "{written:?}");
    assert_eq!(before.version().is_some(), scim.abilities().await.unwrap().etag);
    let after = one_user(&scim, "m0001").await;
    let cleared = UserPatch::default().title(None).phone_numbers(&[]).employee_number(None).nick_name(None);
    assert!(is_done(&scim.update_user(&ids[1], after.version(), &cleared).await.unwrap()));

    // Renamed; the old name is free, the new one is taken, in any case.
    let renamed = UserPatch::default().user_name("renamed").external_id(&external("renamed"));
    assert!(is_done(&scim.update_user(&ids[2], None, &renamed).await.unwrap()));
    assert!(scim.find_users(UserKey::ExternalId(&external("m0002"))).await.unwrap().is_empty());
    assert_eq!(scim.find_users(UserKey::UserName("RENAMED")).await.unwrap()[0].id(), ids[2]);
    let taken = UserPatch::default().user_name("Renamed");
    assert_eq!(scim.create_user(&taken.clone().external_id(&external("other"))).await, Ok(Created::Taken));
    let both = taken.display_name(Some("must not stick"));
    assert_eq!(scim.update_user(&ids[3], None, &both).await, Ok(Written::Taken));
    assert_eq!(one_user(&scim, "m0003").await.display_name(), None);
    assert!(is_done(
        &scim.update_group(&dev, None, &GroupPatch::default().display_name("研发")).await.unwrap()
    ));

    // Nobody but us keeps our ids apart.
    let odd = UserPatch::default().user_name("odd \"name\" \\ + %41 & 李").external_id(&external("m0004"));
    let Ok(Created::Done(odd)) = scim.create_user(&odd).await else { panic!() };
    assert_eq!(scim.find_users(UserKey::ExternalId(&external("m0004"))).await.unwrap().len(), 2);
    let found = scim.find_users(UserKey::UserName("odd \"name\" \\ + %41 & 李")).await.unwrap();
    assert_eq!(found.iter().map(connector_scim::User::id).collect::<Vec<_>>(), [odd.id()]);
    scim.delete_user(odd.id()).await.unwrap();

    // A department moves, members leave, one is deactivated, one deleted.
    let moved = MemberChange { remove: vec![platform.clone(), "nobody".to_owned()], add: Vec::new() };
    assert!(is_done(&scim.change_members(&dev, &moved).await.unwrap()));
    let moved = MemberChange { add: vec![Member::group(&platform)], remove: Vec::new() };
    assert!(is_done(&scim.change_members(&root, &moved).await.unwrap()));
    let left = MemberChange { add: vec![Member::user(&ids[10])], remove: ids[10..260].to_vec() };
    assert!(is_done(&scim.change_members(&platform, &left).await.unwrap()));
    let outcomes = scim
        .apply(&[
            Operation::UpdateUser {
                user: Target::Id(ids[11].clone()),
                patch: UserPatch::default().active(false),
            },
            Operation::DeleteUser { id: ids[12].clone() },
            Operation::DeleteUser { id: ids[12].clone() },
            Operation::UpdateUser {
                user: Target::Id(ids[12].clone()),
                patch: UserPatch::default().active(true),
            },
            user("M0005"),
            group("5", "新"),
            Operation::AddMembers { group: new(&external("M0005")), members: Vec::new() },
            Operation::AddMembers {
                group: new(&dept("5")),
                members: vec![(Kind::User, Target::Id(ids[11].clone()))],
            },
        ])
        .await
        .unwrap();
    assert!(outcomes[..3].iter().all(|outcome| matches!(outcome, Outcome::Done { .. })), "{outcomes:?}");
    assert_eq!((&outcomes[3], &outcomes[4]), (&Outcome::Gone, &Outcome::Taken));
    assert!(matches!(outcomes[6], Outcome::NotDone(_)), "{outcomes:?}");
    assert_eq!(members(&scim, id(&outcomes[5])).await, BTreeSet::from([ids[11].clone()]));
    assert_eq!(scim.user(&ids[12]).await, Ok(None));
    assert_eq!(scim.update_user(&ids[12], None, &stale).await, Ok(Written::Gone));
    assert_eq!(scim.change_members("nobody", &change).await, Ok(Written::Gone));
    let gone = scim.find_groups(GroupKey::ExternalId(&dept("4"))).await.unwrap().remove(0);
    let out = MemberChange { remove: vec![gone.id().to_owned()], add: Vec::new() };
    assert!(is_done(&scim.change_members(&root, &out).await.unwrap()));
    for _ in 0..2 {
        scim.delete_group(gone.id()).await.unwrap();
    }
}

/// What must be there then.
fn check(resources: &[Value]) {
    let (groups, users) = state(resources);
    let named = |prefix: &str| groups.iter().find(|(name, _)| name.starts_with(prefix)).unwrap().1.clone();
    let keys: Vec<&String> = groups.keys().collect();
    assert_eq!(
        keys,
        ["wecom:dept:1 示例科技", "wecom:dept:2 研发", "wecom:dept:3 平台部", "wecom:dept:5 新"]
    );
    assert_eq!(
        named("wecom:dept:1"),
        BTreeSet::from(["Group wecom:dept:2", "Group wecom:dept:3"].map(str::to_owned))
    );
    assert!(named("wecom:dept:2").is_empty());
    assert_eq!(named("wecom:dept:5"), BTreeSet::from(["User wecom:user:m0011".to_owned()]));
    let renamed =
        |number: usize| if number == 2 { external("renamed") } else { external(&format!("m{number:04}")) };
    let platform: BTreeSet<String> =
        (0..=10).chain(260..MEMBERS).map(|number| format!("User {}", renamed(number))).collect();
    assert_eq!(named("wecom:dept:3"), platform);

    assert_eq!(users.len(), MEMBERS - 1);
    for number in (0..MEMBERS).filter(|number| *number != 12) {
        let external_id = renamed(number);
        let name = external_id.trim_start_matches("wecom:user:");
        let mut expected = json!({"externalId": external_id, "userName": name, "active": number != 11});
        if number == 1 {
            let more = json!({
                "displayName": "张三",
                "name": {"formatted": "张三", "familyName": "张", "givenName": "三"},
                "emails": [{"value": "m0001@example.test", "type": "work", "primary": true}],
                ENTERPRISE: {"department": "平台部", "manager": external("m0000")},
            });
            expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        assert_eq!(users[&external_id], expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_can_do_everything_ends_as_it_should() {
    let server = ScimServer::start().await.unwrap();
    let abilities = connect(&server, ScimServer::TOKEN).abilities().await.unwrap();
    assert!(
        abilities.patch && abilities.bulk.is_some() && abilities.filter && abilities.sort && abilities.etag
    );
    assert!(abilities.groups && abilities.enterprise);
    play(&server).await;
    // More than a thousand operations, a hundred in a request; two changes of one department are never in the same one.
    let bulk = server.requests("POST /v2/Bulk ");
    assert!((11..=20).contains(&bulk), "{bulk} bulk requests");
    assert_eq!(server.requests("PUT "), 0);
    check(&server.end().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_patch_bulk_and_etags_ends_the_same() {
    let server = ScimServer::start_minimal().await.unwrap();
    let abilities = connect(&server, ScimServer::TOKEN).abilities().await.unwrap();
    assert!(!abilities.patch && abilities.bulk.is_none() && !abilities.sort && !abilities.etag);
    assert_eq!(abilities.page_resources_max, Some(50));
    play(&server).await;
    // What it says that it lacks is not even tried.
    assert_eq!(server.requests("POST /v2/Bulk ") + server.requests("PATCH "), 0);
    assert!(server.requests("PUT /v2/Groups/") > 0);
    check(&server.end().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_know_it_wrong_are_found_out() {
    let server = ScimServer::start_minimal().await.unwrap();
    let overrides = Overrides { patch: Some(true), bulk: Some(true), ..Overrides::default() };
    let settings = Settings {
        url: server.url().parse().unwrap(),
        token: SecretString::from(ScimServer::TOKEN),
        limits: default_limits(),
        fleet: None,
        overrides,
        sizes: Sizes::default(),
    };
    let scim = Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap();
    let operations = [group("1", "a"), group("2", "b"), nest("1", "2"), user("lisi")];
    for outcome in &scim.apply(&operations).await.unwrap() {
        id(outcome);
    }
    let lisi = one_user(&scim, "lisi").await;
    for active in [false, true] {
        let patch = UserPatch::default().active(active);
        assert!(is_done(&scim.update_user(lisi.id(), None, &patch).await.unwrap()));
    }
    let now = scim.abilities().await.unwrap();
    assert!(!now.patch && now.bulk.is_none());
    assert_eq!((server.requests("POST /v2/Bulk "), server.requests("PATCH ")), (1, 1), "each is tried once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_of_one_group_lose_nobody() {
    for server in [ScimServer::start().await.unwrap(), ScimServer::start_minimal().await.unwrap()] {
        let scim = connect(&server, ScimServer::TOKEN);
        let mut operations = vec![group("1", "a")];
        operations.extend((0..40).map(|number| user(&format!("m{number}"))));
        let outcomes = scim.apply(&operations).await.unwrap();
        let ids: Vec<String> = outcomes.iter().map(|outcome| id(outcome).to_owned()).collect();
        let writers: Vec<_> = ids[1..]
            .chunks(5)
            .map(|part| {
                let (scim, group, part) = (scim.clone(), ids[0].clone(), part.to_vec());
                tokio::spawn(async move {
                    for id in part {
                        let change = MemberChange { add: vec![Member::user(&id)], remove: Vec::new() };
                        assert!(is_done(&scim.change_members(&group, &change).await.unwrap()));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(members(&scim, &ids[0]).await, ids[1..].iter().cloned().collect());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_said_so_and_not_tried_again() {
    let server = ScimServer::start().await.unwrap();
    let scim = connect(&server, "wrong");
    let fault = scim.user("1").await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Unauthorized, "unauthorized"));
    assert_eq!(scim.users().next_page().await.unwrap_err().code, "account_paused");
}
