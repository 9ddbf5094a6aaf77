//! EspoCRM as target of the flow `directory`, against the simulated one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use connector_espocrm::provision::{Action, Found, Plan, Wanted, plan_provision};
use connector_espocrm::{
    Created, Credentials, DuplicateCheck, EntityType, EspoCrm, EspoId, Patch, Settings, Version,
};
use flows::directory::espocrm::{Country, EspoTarget, rules};
use flows::directory::ids::{DepartmentId, ExternalId, TargetId};
use flows::directory::record::{Attributes, Child, Field, GroupSide, UserSide, Value};
use flows::directory::rules::{GroupNames, Hierarchy};
use flows::directory::target::{MembersWritten, Target as _, UserWritten};
use http_client::Limits;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};
use shared::clock::SystemClock;
use shared::fault::{Fault, FaultKind};
use shared::flow::{Check, Verdict};
use shared::meter::NoMeter;
use shared::ports::state::State;
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY, PERSON_ID};
use simulators::{
    EspocrmOptions, EspocrmSimulator, FaultKind as Trouble, FaultRule, Operation, writes_without_change,
};
use system_tests::supervise::Folder;
use system_tests::wait;

use super::contract::{
    Contract, Nature, Others, done, member_id, of_department as department, of_member as member, text,
};
use crate::SOON;
use crate::sealed::store;

const ADMIN: (&str, &str) = ("admin", ADMIN_PASSWORD);

struct Bench {
    crm: EspocrmSimulator,
    target: EspoTarget,
    /// As administrators do by hand.
    admin: EspoCrm,
    /// Seconds that its clock is ahead.
    ahead: AtomicI64,
}

/// How old what is overwritten may be told to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    /// By the versions of users; teams have none, and are as without.
    Version,
    /// By the second of the last change.
    Second,
}

pub fn connect(crm: &EspocrmSimulator, credentials: Credentials) -> EspoCrm {
    connect_within(crm, credentials, None)
}

/// As one of a fleet, where there is a store.
fn connect_within(
    crm: &EspocrmSimulator,
    credentials: Credentials,
    fleet: Option<Arc<dyn State>>,
) -> EspoCrm {
    let limits =
        Limits { deadline: Duration::from_secs(5), requests_per_second_max: 1_000, ..Limits::default() };
    let settings = Settings { url: crm.base_url().parse().unwrap(), credentials, limits, fleet };
    EspoCrm::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
}

fn as_admin(crm: &EspocrmSimulator) -> EspoCrm {
    connect(crm, administrator())
}

/// With what the flow needs of it.
pub async fn provisioned() -> EspocrmSimulator {
    bench().await.crm
}

/// As its administrator signs in.
pub fn administrator() -> Credentials {
    let (user_name, password) = ADMIN;
    Credentials::Password { user_name: user_name.to_owned(), password: password.into() }
}

pub fn china() -> Country {
    Country::new("CN").unwrap()
}

async fn bare() -> Bench {
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    let target = EspoTarget::new(as_admin(&crm), china()).unwrap();
    let admin = as_admin(&crm);
    Bench { crm, target, admin, ahead: AtomicI64::new(0) }
}

/// What `syncfleet provision` would do for this flow.
async fn lacking(admin: &EspoCrm) -> Plan {
    let needs = EspoTarget::needs().unwrap();
    let mut entities = BTreeMap::new();
    for need in &needs.entities {
        entities.insert(need.name.clone(), admin.entity_found(&need.name).await.unwrap().unwrap());
    }
    let wanted = Wanted { needs: vec![needs], user: "x".into(), role: "x".into(), webhook_url: None };
    let found = Found {
        version: Version(9, 2, 7),
        entities,
        role: None,
        user: None,
        webhooks: Vec::new(),
        secrets_known: BTreeSet::new(),
        is_key_known: false,
    };
    plan_provision(&wanted, &found)
}

/// With what the flow needs of EspoCRM, made as `syncfleet provision` makes it.
async fn bench() -> Bench {
    bench_with(Grain::Version).await
}

async fn bench_with(grain: Grain) -> Bench {
    let bench = bare().await;
    let plan = lacking(&bench.admin).await;
    assert_eq!(plan.obstacles, []);
    let mut made = 0;
    for action in &plan.actions {
        match action {
            Action::CreateField { entity, body, .. } => {
                made += 1;
                bench.admin.create_field(entity, body).await.unwrap();
            }
            Action::SwitchOnVersions { .. } if grain == Grain::Second => {}
            Action::SwitchOnVersions { entity } => bench.admin.switch_on_versions(entity).await.unwrap(),
            Action::ChangeField { .. } | Action::CreateEntity { .. } => panic!("{action}"),
            _ => {}
        }
    }
    assert_eq!(made, 1);
    bench
}

impl Bench {
    async fn by_hand(&self, path: &str, body: Json) {
        let (kind, id) = path.split_once('/').unwrap();
        let mut patch = Patch::new();
        for (name, value) in body.as_object().unwrap() {
            patch = patch.set_raw(name, value.clone());
        }
        let kind = EntityType::new(kind).unwrap();
        let id = EspoId::new(id).unwrap();
        self.admin.update(&kind, &id, &patch, None).await.unwrap().unwrap();
    }

    async fn made(&self, entity: &str, patch: &Patch) -> TargetId {
        let entity = EntityType::new(entity).unwrap();
        match self.admin.create(&entity, patch, DuplicateCheck::Skip).await.unwrap() {
            Created::Record(record) => TargetId(record.id().to_string()),
            Created::Duplicates(_) => panic!("{entity} is no duplicate"),
        }
    }

    fn user(&self, id: &TargetId) -> Json {
        self.crm.users().into_iter().find(|user| user["id"] == *id.0).unwrap_or(Json::Null)
    }

    fn members(&self, id: &TargetId) -> BTreeSet<String> {
        let team = self.crm.teams().into_iter().find(|team| team["id"] == *id.0).unwrap();
        team["usersIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    async fn team(&self, id: u32, name: &str) -> GroupSide {
        self.target.create_group(&department(id), name).await.unwrap()
    }

    async fn person(&self, userid: &str) -> UserSide {
        done(self.target.create_user(&member(userid), &of(userid)).await.unwrap())
    }
}

fn child(userid: &str) -> Child {
    Child::Member(member_id(userid))
}

/// What is wanted of a member, in the form in which the plan wants it of EspoCRM.
fn of(userid: &str) -> Attributes {
    let userid = userid.to_lowercase();
    Attributes::from([
        (Field::UserName, text(&userid)),
        (Field::FamilyName, text("李")),
        (Field::GivenName, text("四")),
        (Field::Title, text("经理")),
        (Field::MobilePhone, text("+8613800000000")),
        (Field::WorkPhone, text("+862012345678")),
        (Field::WorkMail, text(&format!("{userid}@example.com"))),
        (Field::OtherMail, text(&format!("{userid}@corp.example"))),
        (Field::Active, Value::Flag(true)),
    ])
}

fn broken(checks: &[Check]) -> Vec<&str> {
    let broken = checks.iter().filter(|check| check.verdict == Verdict::Broken);
    broken.map(|check| check.subject.as_str()).collect()
}

fn code(fault: &Fault) -> (&'static str, &'static str) {
    (fault.kind.name(), fault.code)
}

#[async_trait]
impl Others for Bench {
    async fn create_user(&self, login: &str, external_id: &str) -> Option<TargetId> {
        let user = Patch::new().set("type", "regular").set("userName", login).set("lastName", login);
        Some(self.made("User", &user.set("cWecomId", external_id)).await)
    }

    async fn create_group(&self, name: &str, external_id: &str) -> TargetId {
        let team = Patch::new().set("name", name).set_raw("positionList", json!([external_id]));
        self.made("Team", &team).await
    }

    async fn user(&self, id: &TargetId) -> Option<(String, bool)> {
        let user = self.user(id);
        Some((user["cWecomId"].as_str()?.to_owned(), user["isActive"].as_bool()?))
    }

    async fn has_group(&self, id: &TargetId) -> bool {
        self.crm.teams().iter().any(|team| team["id"] == *id.0)
    }

    async fn delete_group(&self, id: &TargetId) {
        let team = EspoId::new(id.0.clone()).unwrap();
        self.admin.delete(&EntityType::new("Team").unwrap(), &team).await.unwrap();
    }

    fn wait(&self) {
        let ahead = self.ahead.fetch_add(1, Ordering::SeqCst) + 1;
        self.crm.set_clock_offset(SignedDuration::from_secs(ahead));
    }
}

#[tokio::test]
async fn it_keeps_to_what_the_flow_expects_of_a_target_whether_or_not_users_have_versions() {
    for grain in [Grain::Version, Grain::Second] {
        let bench = bench_with(grain).await;
        let nature = Nature { has_versions: true, nests: false, attributes: of };
        Contract { target: &bench.target, others: &bench, nature }.is_kept().await;
        let journal = bench.crm.journal();
        let vain = writes_without_change(&journal);
        assert!(vain.is_empty(), "{grain:?}: {vain:?}");
    }
}

#[tokio::test]
async fn what_was_created_though_the_answer_was_lost_is_found() {
    let bench = bench().await;
    bench.crm.fault(FaultRule::new(Trouble::CloseAfter).on("POST", "*/User").times(1));
    bench.crm.fault(FaultRule::new(Trouble::CloseAfter).on("POST", "*/Team").times(1));
    let lost = bench.target.create_user(&member("lisi"), &of("lisi")).await.unwrap_err();
    assert!(lost.kind.may_pass(), "{lost:?}");
    let lost = bench.target.create_group(&department(7), "研发").await.unwrap_err();
    assert!(lost.kind.may_pass(), "{lost:?}");
    assert_eq!(bench.target.find_user(&member("lisi")).await.unwrap().unwrap().attributes, of("lisi"));
    assert_eq!(bench.target.find_group(&department(7)).await.unwrap().unwrap().name, "研发");
    let journal = bench.crm.journal();
    let made = journal.iter().filter(|entry| entry.operation == Operation::Create);
    let made: Vec<&str> = made.map(|entry| entry.entity.as_str()).collect();
    assert_eq!(made, ["Field", "User", "Team"], "the field by provisioning");
}

#[tokio::test]
async fn troubles_are_told_by_their_kinds() {
    let bench = bench().await;
    for (trouble, expected) in [
        (Trouble::Throttled { retry_after: "7".to_owned() }, "throttled"),
        (Trouble::HtmlBadGateway, "retryable"),
        (Trouble::HtmlPage, "retryable"),
        (Trouble::CutBody, "retryable"),
        (Trouble::Unauthorized, "unauthorized"),
    ] {
        let target = EspoTarget::new(as_admin(&bench.crm), china()).unwrap();
        bench.crm.fault(FaultRule::new(trouble.clone()).on("GET", "*/User*").times(1));
        let fault = target.find_user(&member("lisi")).await.unwrap_err();
        assert_eq!(fault.kind.name(), expected, "{trouble:?}: {fault:?}");
    }
}

#[tokio::test]
async fn a_user_is_created_found_changed_and_says_the_same_again() {
    let bench = bench().await;
    assert_eq!(bench.target.find_user(&member("lisi")).await.unwrap(), None);
    let made = bench.person("lisi").await;
    assert_eq!((&made.external_id, &made.attributes), (&member("lisi"), &of("lisi")));
    assert_eq!(bench.target.find_user(&member("LiSi")).await.unwrap().as_ref(), Some(&made));
    assert_eq!(bench.target.user(&made.target).await.unwrap().as_ref(), Some(&made));

    let changes = Attributes::from([
        (Field::Title, text("")),
        (Field::MobilePhone, text("+8613900000000")),
        (Field::WorkMail, text("si.li@example.com")),
        (Field::OtherMail, text("")),
        (Field::Active, Value::Flag(false)),
    ]);
    let version = made.version.as_deref();
    let changed = bench.target.update_user(&made.target, version, &member("lisi"), &changes).await.unwrap();
    let mut expected = of("lisi");
    expected.extend(changes.clone());
    expected.retain(|_, value| !value.is_empty());
    let changed = done(changed);
    assert_eq!(changed.attributes, expected);
    assert_ne!(changed.version, made.version);

    let stale = bench.target.update_user(&made.target, version, &member("lisi"), &changes).await.unwrap_err();
    assert_eq!(stale.kind, FaultKind::Conflict);
    let version = changed.version.as_deref();
    let again = bench.target.update_user(&made.target, version, &member("lisi"), &changes).await.unwrap();
    assert_eq!(done(again).version, changed.version, "nothing differed, so nothing was written");
    assert_eq!(writes_without_change(&bench.crm.journal()).len(), 0);
}

#[tokio::test]
async fn what_people_entered_beside_ours_stays() {
    let bench = bench().await;
    let made = bench.person("lisi").await;
    let phones = json!([
        { "phoneNumber": "+8613800000000", "type": "Mobile", "primary": true },
        { "phoneNumber": "+862099999999", "type": "Fax", "primary": false },
    ]);
    let mails = json!([
        { "emailAddress": "lisi@example.com", "primary": true },
        { "emailAddress": "lisi@corp.example", "primary": false },
        { "emailAddress": "private@example.org", "primary": false },
    ]);
    bench
        .by_hand(
            &format!("User/{}", made.target),
            json!({ "phoneNumberData": phones, "emailAddressData": mails }),
        )
        .await;
    let changes = Attributes::from([
        (Field::WorkPhone, text("+862011111111")),
        (Field::OtherMail, text("li.si@corp.example")),
    ]);
    done(bench.target.update_user(&made.target, None, &member("lisi"), &changes).await.unwrap());
    let user = bench.user(&made.target);
    let values = |attribute: &str, name: &str| -> Vec<String> {
        let entries = user[attribute].as_array().unwrap().iter();
        entries.map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        values("phoneNumberData", "phoneNumber"),
        ["+8613800000000", "+862099999999", "+862011111111"]
    );
    assert_eq!(
        values("emailAddressData", "emailAddress"),
        ["lisi@example.com", "li.si@corp.example", "private@example.org"]
    );
}

#[tokio::test]
async fn a_log_in_name_that_somebody_has_is_an_answer_and_nothing_is_written() {
    let bench = bench().await;
    let made = bench.person("lisi").await;
    let writes = bench.crm.journal().len();
    assert_eq!(
        bench.target.create_user(&member("other"), &of("anna")).await.unwrap(),
        UserWritten::NameTaken
    );
    let taken = Attributes::from([(Field::UserName, text("anna"))]);
    let written = bench.target.update_user(&made.target, None, &member("lisi"), &taken).await.unwrap();
    assert_eq!((written, bench.crm.journal().len()), (UserWritten::NameTaken, writes));
}

#[tokio::test]
async fn only_what_carries_our_prefix_is_seen_and_an_administrator_adopts_a_user_by_filling_the_field() {
    let bench = bench().await;
    let anna = TargetId(PERSON_ID.to_owned());
    assert_eq!(bench.target.user(&anna).await.unwrap(), None);
    bench.target.delete_user(&anna).await.unwrap();
    let refused = bench.target.update_user(&anna, None, &member("anna"), &of("anna")).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Conflict);
    assert_eq!(bench.user(&anna)["isActive"], true);

    bench.by_hand(&format!("User/{PERSON_ID}"), json!({ "cWecomId": "wecom:user:anna" })).await;
    let adopted = bench.target.find_user(&member("anna")).await.unwrap().unwrap();
    assert_eq!((&adopted.target, &adopted.attributes[&Field::UserName]), (&anna, &text("anna")));
    let off = Attributes::from([(Field::Active, Value::Flag(false))]);
    let retired = ExternalId::Retired(anna.clone());
    let written = bench.target.update_user(&anna, adopted.version.as_deref(), &retired, &off).await.unwrap();
    assert_eq!(done(written).external_id, retired);
    assert_eq!(bench.user(&anna)["isActive"], false);
    assert_eq!(bench.target.find_user(&member("anna")).await.unwrap(), None);
    bench.target.delete_user(&anna).await.unwrap();
    assert_eq!(bench.user(&anna), Json::Null);
    bench.target.delete_user(&anna).await.unwrap();
}

#[tokio::test]
async fn what_was_deleted_is_gone_though_an_administrator_can_still_read_it() {
    let bench = bench().await;
    let (team, user) = (bench.team(7, "研发").await, bench.person("lisi").await);
    bench.target.delete_group(&team.target).await.unwrap();
    bench.target.delete_user(&user.target).await.unwrap();
    assert_eq!(bench.target.group(&team.target).await.unwrap(), None);
    assert_eq!(bench.target.user(&user.target).await.unwrap(), None);
    assert_eq!(bench.target.members_of(&team.target).await.unwrap(), None);
    let renamed = bench.target.update_group(&team.target, None, "x").await.unwrap_err();
    assert_eq!(renamed.kind, FaultKind::Conflict);
    bench.target.delete_group(&team.target).await.unwrap();
}

#[tokio::test]
async fn a_team_is_found_by_its_entry_and_renamed_with_its_positions() {
    let bench = bench().await;
    let made = bench.team(7, "研发 / 平台").await;
    assert_eq!((&made.external_id, made.name.as_str()), (&department(7), "研发 / 平台"));
    assert_eq!(bench.target.find_group(&department(7)).await.unwrap().as_ref(), Some(&made));
    assert_eq!(bench.target.find_group(&department(8)).await.unwrap(), None);
    bench
        .by_hand(&format!("Team/{}", made.target), json!({ "positionList": ["Leiter", "wecom:dept:7"] }))
        .await;
    let present = bench.target.group(&made.target).await.unwrap().unwrap();
    let renamed = bench.target.update_group(&made.target, present.version.as_deref(), "研发").await.unwrap();
    assert_eq!(renamed.name, "研发");
    assert_eq!(bench.crm.teams()[0]["positionList"], json!(["Leiter", "wecom:dept:7"]));
    let stale = bench.target.update_group(&made.target, Some("2001-01-01 00:00:00"), "x").await.unwrap_err();
    assert_eq!(stale.kind, FaultKind::Conflict);

    bench.by_hand(&format!("Team/{}", made.target), json!({ "positionList": ["Leiter"] })).await;
    assert_eq!(bench.target.group(&made.target).await.unwrap(), None, "an administrator released it");
    let lisi = (child("lisi"), bench.person("lisi").await.target);
    let written = bench.target.change_members(&made.target, &[lisi], &[]).await.unwrap();
    assert_eq!((written, bench.members(&made.target)), (MembersWritten::GroupGone, BTreeSet::new()));
    bench.target.delete_group(&made.target).await.unwrap();
    assert_eq!(bench.crm.teams().len(), 1);
}

#[tokio::test]
async fn members_are_changed_in_batches_and_may_be_changed_again() {
    let bench = bench().await;
    let team = bench.team(7, "研发").await.target;
    let mut all = Vec::new();
    for n in 0..120 {
        let mut wanted = of(&format!("u{n}"));
        wanted.retain(|field, _| matches!(field, Field::UserName | Field::FamilyName));
        let side = done(bench.target.create_user(&member(&format!("u{n}")), &wanted).await.unwrap());
        all.push((child(&format!("u{n}")), side.target));
    }
    bench.crm.clear_counters();
    assert_eq!(bench.target.change_members(&team, &all, &[]).await.unwrap(), MembersWritten::Done);
    let sent = bench.crm.counters();
    assert_eq!(sent.values().sum::<u64>(), 3, "the team once, and 100 a request: {sent:?}");
    let ids: BTreeSet<TargetId> = all.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(bench.target.members_of(&team).await.unwrap(), Some(ids.clone()));

    let written = bench.target.change_members(&team, &all[..1], &all[1..]).await.unwrap();
    assert_eq!(written, MembersWritten::Done);
    let written = bench.target.change_members(&team, &all[..1], &all[1..]).await.unwrap();
    assert_eq!((written, bench.members(&team).len()), (MembersWritten::Done, 1));
    let links = bench.crm.journal().into_iter().filter(|entry| entry.entity == "TeamUser");
    assert_eq!(links.filter(|entry| entry.operation == Operation::Create).count(), 2);
}

#[tokio::test]
async fn a_user_that_is_gone_keeps_nobody_else_out_and_a_team_that_is_gone_is_an_answer() {
    let bench = bench().await;
    let team = bench.team(7, "研发").await.target;
    let mut all = Vec::new();
    for userid in ["a", "b", "c"] {
        all.push((child(userid), bench.person(userid).await.target));
    }
    bench.target.delete_user(&all[1].1).await.unwrap();
    assert_eq!(bench.target.change_members(&team, &all, &[]).await.unwrap(), MembersWritten::Done);
    let there = BTreeSet::from([all[0].1.0.clone(), all[2].1.0.clone()]);
    assert_eq!(bench.members(&team), there);
    assert_eq!(bench.target.change_members(&team, &[], &all).await.unwrap(), MembersWritten::Done);
    assert_eq!(bench.members(&team), BTreeSet::new());

    bench.target.delete_group(&team).await.unwrap();
    for (add, remove) in [(&all[..], &[][..]), (&[][..], &all[..])] {
        let written = bench.target.change_members(&team, add, remove).await.unwrap();
        assert_eq!(written, MembersWritten::GroupGone);
    }
    let nested = [(Child::Department(DepartmentId(8)), TargetId("6b00".to_owned()))];
    let refused = bench.target.change_members(&team, &nested, &[]).await.unwrap_err();
    assert_eq!(code(&refused), ("permanent", "nested_groups"));
}

#[tokio::test]
async fn lists_have_each_of_ours_once_with_all_that_a_read_shows() {
    let bench = bench().await;
    for n in 0..60 {
        bench.person(&format!("u{n}")).await;
    }
    for n in 0..205 {
        bench.team(n, &format!("部{n}")).await;
    }
    let (mut users, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bench.target.users(cursor.as_deref()).await.unwrap();
        users.extend(page.records);
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let ids: BTreeSet<String> = users.iter().map(|user| user.external_id.to_string()).collect();
    assert_eq!((users.len(), ids.len(), pages), (60, 60, 2));
    let one = users.iter().find(|user| user.external_id == member("u7")).unwrap();
    assert_eq!(one.attributes, of("u7"));

    let first = bench.target.groups(None).await.unwrap();
    let last = bench.target.groups(first.next.as_deref()).await.unwrap();
    assert_eq!((first.records.len(), last.records.len(), last.next), (200, 5, None));
}

#[tokio::test]
async fn an_api_user_is_told_that_an_administrator_is_needed() {
    let bench = bench().await;
    let api = EspoTarget::new(connect(&bench.crm, Credentials::ApiKey(API_KEY.into())), china()).unwrap();
    let team = bench.team(7, "研发").await.target;
    let user = bench.person("lisi").await.target;
    let refused = [
        api.create_group(&department(8), "x").await.unwrap_err(),
        api.update_group(&team, None, "x").await.unwrap_err(),
        api.delete_group(&team).await.unwrap_err(),
        api.create_user(&member("x"), &of("x")).await.unwrap_err(),
        api.update_user(&user, None, &member("lisi"), &Attributes::from([(Field::Title, text("x"))]))
            .await
            .unwrap_err(),
        api.delete_user(&user).await.unwrap_err(),
        api.change_members(&team, &[(child("lisi"), user.clone())], &[]).await.unwrap_err(),
        api.change_members(&team, &[], &[(child("lisi"), user.clone())]).await.unwrap_err(),
    ];
    for fault in refused {
        assert_eq!(code(&fault), ("permanent", "forbidden"), "{}", fault.text);
        assert!(fault.text.contains("needs an administrator's log-in"), "{}", fault.text);
    }
    assert_eq!(broken(&api.check(Hierarchy::Flat).await), ["EspoCRM administrator"]);
}

#[tokio::test]
async fn the_check_names_what_is_missing_and_provisioning_makes_it() {
    let bare = bare().await;
    let missing = bare.target.check(Hierarchy::Flat).await;
    assert_eq!(broken(&missing), ["EspoCRM field User.cWecomId"]);
    let without = bare.target.find_user(&member("lisi")).await.unwrap_err();
    assert_eq!(without.kind, FaultKind::Permanent);

    let bench = bench().await;
    for hierarchy in [Hierarchy::Flat, Hierarchy::Rollup] {
        let checks = bench.target.check(hierarchy).await;
        assert!(checks.iter().all(|check| check.verdict == Verdict::Well), "{checks:?}");
    }
    assert_eq!(broken(&bench.target.check(Hierarchy::Nested).await), ["EspoCRM hierarchy"]);
    let again = lacking(&bench.admin).await.actions;
    let is_of_type = |action: &&Action| {
        matches!(
            action,
            Action::CreateField { .. } | Action::ChangeField { .. } | Action::SwitchOnVersions { .. }
        )
    };
    assert_eq!(again.iter().filter(is_of_type).count(), 0);

    let rules = rules(Hierarchy::Flat, china());
    assert_eq!(
        (rules.group_names, rules.name_chars_max, rules.creates_users),
        (GroupNames::Path, 100, false)
    );
}

#[tokio::test]
async fn a_team_takes_no_field_of_ours() {
    let bench = bare().await;
    let team = EntityType::new("Team").unwrap();
    let body = json!({ "type": "varchar", "name": "wecomId" });
    let refused = bench.admin.create_field(&team, body.as_object().unwrap()).await.unwrap_err();
    assert_eq!(refused.kind.name(), "retryable");
    let teams = bench.admin.entity_found(&team).await.unwrap().unwrap();
    assert!(!teams.fields.contains_key("cWecomId"));
}

#[tokio::test]
async fn a_key_that_is_refused_does_not_keep_the_administrator_out() {
    let bench = bench().await;
    let folder = Folder::new("espo-target").unwrap();
    let state = store(&folder);
    let wrong_key = Credentials::ApiKey("another-key".into());
    let wrong_password =
        Credentials::Password { user_name: ADMIN.0.to_owned(), password: "another-password".into() };
    let target = |credentials| {
        let crm = connect_within(&bench.crm, credentials, Some(Arc::clone(&state)));
        EspoTarget::new(crm, china()).unwrap()
    };
    let kind = async |target: &EspoTarget| match target.find_user(&member("lisi")).await {
        Ok(_) => "found",
        Err(fault) => fault.kind.name(),
    };
    // Each refused log-in counts towards a lock-out, so none is made to see whether the pause is known.
    let until_known = async |accounts: usize| {
        wait::until("a pause that the fleet knows", SOON, async || {
            let documents = state.scan("", None, 1_000).await.unwrap();
            let is_pause = |value: &[u8]| String::from_utf8_lossy(value).contains("refuses the log-in");
            let paused = documents.iter().filter(|(_, document)| is_pause(&document.value)).count();
            if paused == accounts { Ok(()) } else { Err(paused) }
        })
        .await;
    };
    let with_key = target(wrong_key.clone());
    assert_eq!(kind(&with_key).await, "unauthorized");
    until_known(1).await;
    assert_eq!(kind(&target(wrong_key)).await, "paused");
    assert_eq!(kind(&target(administrator())).await, "found");

    // A refused password holds for each of the fleet.
    let with_password = target(wrong_password);
    assert_eq!(kind(&with_password).await, "unauthorized");
    until_known(2).await;
    assert_eq!(kind(&target(administrator())).await, "paused");
}
