//! SCIM as target of the flow `directory`: the same is expected of it at a service of independent make, at the simulated
//! one, and at each that lacks something.

use std::collections::BTreeSet;
use std::sync::Arc;

use connector_scim::{
    Created, GroupPatch, Limits, MemberList, Overrides, Scim, Settings, Sizes, UserPatch, default_limits,
};
use flows::directory::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use flows::directory::record::{Attributes, Child, Field, UserSide, Value, differences};
use flows::directory::rules::Hierarchy;
use flows::directory::scim::ScimTarget;
use flows::directory::target::{MembersWritten, Page, Target, UserWritten};
use secrecy::SecretString;
use serde_json::json;
use shared::clock::SystemClock;
use shared::fault::{Fault, FaultKind};
use shared::flow::Verdict;
use shared::meter::NoMeter;
use simulators::scim::{ScimDiscovery, ScimNesting, TOKEN};
use simulators::{FaultKind as Trouble, FaultRule, ScimOptions, ScimSimulator, writes_without_change};
use system_tests::ScimServer;
use system_tests::supervise::Folder;

use crate::object;
use crate::sealed::store;

/// What differs between services by their nature.
#[derive(Debug, Clone, Copy)]
struct Nature {
    has_versions: bool,
    nests: bool,
    has_enterprise: bool,
}

const GOOD: Nature = Nature { has_versions: true, nests: true, has_enterprise: true };

/// A target with the connector that it has, to do by hand what others would.
struct Bench {
    scim: Scim,
    target: Arc<dyn Target>,
    nature: Nature,
    _folder: Folder,
}

fn bench(url: &str, token: &str, nature: Nature) -> Bench {
    let settings = Settings {
        url: url.parse().unwrap(),
        token: SecretString::from(token),
        limits: Limits { requests_per_second_max: 10_000, ..default_limits() },
        fleet: None,
        overrides: Overrides::default(),
        sizes: Sizes::default(),
    };
    let scim = Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap();
    let folder = Folder::new("scim-target").unwrap();
    let target = Arc::new(ScimTarget::new(scim.clone(), store(&folder), nature.has_enterprise));
    Bench { scim, target, nature, _folder: folder }
}

fn simulated(simulator: &ScimSimulator, nature: Nature) -> Bench {
    bench(&simulator.service_url(), TOKEN, nature)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn member_id(userid: &str) -> MemberId {
    MemberId::new(userid).unwrap()
}

fn of_member(userid: &str) -> ExternalId {
    ExternalId::Member(member_id(userid))
}

fn of_department(id: u32) -> ExternalId {
    ExternalId::Department(DepartmentId(id))
}

fn done(written: UserWritten) -> UserSide {
    match written {
        UserWritten::Done(side) => side,
        UserWritten::NameTaken => panic!("the name is taken"),
    }
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, Fault>) {
    assert_eq!(result.unwrap_err().kind, FaultKind::Conflict);
}

async fn everything<T>(page: impl AsyncFn(Option<String>) -> Page<T>) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let Page { records, next } = page(cursor).await;
        all.extend(records);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

impl Bench {
    /// All that a member may say, in spellings that a service may have its own way with.
    fn attributes(&self, userid: &str) -> Attributes {
        let mut all = Attributes::from([
            (Field::UserName, text(userid)),
            (Field::DisplayName, text("张三")),
            (Field::FamilyName, text("张")),
            (Field::GivenName, text("三")),
            (Field::NickName, text("")),
            (Field::Title, text("产品经理")),
            (Field::Active, Value::Flag(true)),
            (Field::WorkMail, text(&format!("{userid}@Example.test"))),
            (Field::OtherMail, text(&format!("{userid}@other.test"))),
            (Field::MobilePhone, text("+86 138 0000 0000")),
            (Field::WorkPhone, text("020-123456")),
            (Field::Department, text("研发中心")),
            (Field::Division, text("示例科技 / 研发中心")),
            (Field::EmployeeNumber, text("A-1")),
            (Field::Leads, Value::Texts(vec!["wecom:dept:1".to_owned()])),
        ]);
        let without = self.target.without();
        all.retain(|field, _| !without.contains(field));
        all
    }

    async fn reads(&self, side: &UserSide, wanted: &Attributes) -> UserSide {
        let read = self.target.user(&side.target).await.unwrap().unwrap();
        assert_eq!(differences(wanted, &read.attributes), Attributes::new(), "{read:?}");
        assert_eq!((&read.version, &read.external_id), (&side.version, &side.external_id));
        read
    }

    async fn groups(&self) {
        let target = &self.target;
        assert_eq!(target.find_group(&of_department(1)).await, Ok(None));
        let root = target.create_group(&of_department(1), "示例科技").await.unwrap();
        assert_eq!(target.find_group(&of_department(1)).await.unwrap().as_ref(), Some(&root));
        assert_eq!(target.group(&root.target).await.unwrap().as_ref(), Some(&root));
        assert_eq!(root.version.is_some(), self.nature.has_versions);
        let renamed = target.update_group(&root.target, root.version.as_deref(), "示例").await.unwrap();
        assert_eq!(target.group(&root.target).await.unwrap(), Some(renamed));
        let stale = target.update_group(&root.target, root.version.as_deref(), "stale").await;
        match self.nature.has_versions {
            true => is_conflict(stale),
            false => assert_eq!(stale.unwrap().name, "stale"),
        }
        let nobody = TargetId("nobody".to_owned());
        is_conflict(target.update_group(&nobody, None, "x").await);
        assert_eq!(target.group(&nobody).await, Ok(None));
        assert_eq!(target.members_of(&nobody).await, Ok(None));
    }

    async fn users(&self) -> Vec<TargetId> {
        let target = &self.target;
        let (wanted, zhangsan) = (self.attributes("ZhangSan"), of_member("zhangsan"));
        assert_eq!(target.find_user(&zhangsan).await, Ok(None));
        let made = done(target.create_user(&zhangsan, &wanted).await.unwrap());
        self.reads(&made, &wanted).await;
        assert_eq!(target.find_user(&zhangsan).await.unwrap().unwrap().target, made.target);

        // Ours with this external id is the one of an earlier try; somebody else's login is taken, in any case.
        let again = done(target.create_user(&zhangsan, &wanted).await.unwrap());
        assert_eq!(again.target, made.target);
        let other = target.create_user(&of_member("other"), &self.attributes("zhangsan")).await;
        assert_eq!(other, Ok(UserWritten::NameTaken));
        let lisi = done(target.create_user(&of_member("lisi"), &self.attributes("lisi")).await.unwrap());

        // Some of it changes, some is emptied; the rest stays.
        let mut changes = Attributes::from([
            (Field::WorkMail, text("new@example.test")),
            (Field::OtherMail, text("")),
            (Field::Title, text("")),
            (Field::GivenName, text("叁")),
            (Field::Active, Value::Flag(false)),
            (Field::Manager, text(&lisi.target.0)),
        ]);
        changes.retain(|field, _| !target.without().contains(field));
        let version = made.version.as_deref();
        let changed = done(target.update_user(&made.target, version, &zhangsan, &changes).await.unwrap());
        let mut now = wanted.clone();
        now.extend(changes);
        assert_eq!(differences(&now, &changed.attributes), Attributes::new());
        let read = self.reads(&changed, &now).await;
        assert_eq!(differences(&read.attributes, &changed.attributes), Attributes::new());
        let stale = target.update_user(&made.target, version, &zhangsan, &self.attributes("ZhangSan")).await;
        match self.nature.has_versions {
            true => is_conflict(stale),
            false => drop(stale.unwrap()),
        }

        // The userid changes; a login that is somebody's is not to be had.
        let login = Attributes::from([(Field::UserName, text("zhangsan001"))]);
        let new = of_member("zhangsan001");
        let moved = done(target.update_user(&made.target, None, &new, &login).await.unwrap());
        self.reads(&moved, &login).await;
        assert_eq!(target.find_user(&zhangsan).await, Ok(None));
        let login =
            Attributes::from([(Field::UserName, text("LiSi")), (Field::Title, text("must not stick"))]);
        let taken = target.update_user(&made.target, None, &new, &login).await;
        assert_eq!(taken, Ok(UserWritten::NameTaken));
        self.reads(&moved, &Attributes::from([(Field::UserName, text("zhangsan001"))])).await;
        is_conflict(target.update_user(&TargetId("nobody".to_owned()), None, &new, &login).await);
        vec![made.target, lisi.target]
    }

    async fn members(&self, users: &[TargetId]) {
        let target = &self.target;
        let group = target.find_group(&of_department(1)).await.unwrap().unwrap().target;
        let below = target.create_group(&of_department(2), "研发中心").await.unwrap().target;
        let user = |at: usize| (Child::Member(member_id("m")), users[at].clone());
        let absent = (Child::Member(member_id("x")), TargetId("nobody".to_owned()));
        let mut add = vec![user(0), user(1)];
        let mut expected: BTreeSet<TargetId> = users.iter().cloned().collect();
        if self.nature.nests {
            add.push((Child::Department(DepartmentId(2)), below.clone()));
            expected.insert(below.clone());
        }
        for _ in 0..2 {
            assert_eq!(target.change_members(&group, &add, &[]).await, Ok(MembersWritten::Done));
            assert_eq!(target.members_of(&group).await, Ok(Some(expected.clone())));
        }
        let removed = target.change_members(&group, &[user(1)], &[user(0), absent.clone()]).await;
        assert_eq!(removed, Ok(MembersWritten::Done));
        expected.remove(&users[0]);
        assert_eq!(target.members_of(&group).await, Ok(Some(expected)));
        let gone = TargetId("nobody".to_owned());
        assert_eq!(target.change_members(&gone, &add, &[]).await, Ok(MembersWritten::GroupGone));
        assert_eq!(target.change_members(&gone, &[], &[absent]).await, Ok(MembersWritten::GroupGone));
        for _ in 0..2 {
            target.delete_group(&below).await.unwrap();
        }
        assert_eq!(target.find_group(&of_department(2)).await, Ok(None));
    }

    /// What has not our prefix is nobody's business here.
    async fn others(&self, ours: &[TargetId]) {
        let target = &self.target;
        let other = UserPatch::default().user_name("boss").external_id("other:user:boss");
        let Ok(Created::Done(boss)) = self.scim.create_user(&other).await else { panic!() };
        let other = GroupPatch::default().display_name("probe").external_id("syncfleet:probe:parent");
        let Ok(Created::Done(probe)) = self.scim.create_group(&other).await else { panic!() };
        let (boss, probe) = (TargetId(boss.id().to_owned()), TargetId(probe.id().to_owned()));
        assert_eq!((target.user(&boss).await, target.group(&probe).await), (Ok(None), Ok(None)));
        let inactive = Attributes::from([(Field::Active, Value::Flag(false))]);
        is_conflict(target.update_user(&boss, None, &of_member("boss"), &inactive).await);
        is_conflict(target.update_group(&probe, None, "mine").await);
        let member = [(Child::Member(member_id("boss")), boss.clone())];
        assert_eq!(target.change_members(&probe, &member, &[]).await, Ok(MembersWritten::GroupGone));
        target.delete_user(&boss).await.unwrap();
        target.delete_group(&probe).await.unwrap();
        let user = self.scim.user(&boss.0).await.unwrap().unwrap();
        assert_eq!((user.external_id(), user.active()), (Some("other:user:boss"), None));
        assert!(self.scim.group(&probe.0, MemberList::LeftOut).await.unwrap().is_some());

        let users = everything(async |cursor| target.users(cursor.as_deref()).await.unwrap()).await;
        let found: BTreeSet<TargetId> = users.into_iter().map(|side| side.target).collect();
        assert_eq!(found, ours.iter().cloned().collect());
        let groups = everything(async |cursor| target.groups(cursor.as_deref()).await.unwrap()).await;
        let found: Vec<ExternalId> = groups.into_iter().map(|side| side.external_id).collect();
        assert_eq!(found, [of_department(1)]);
        self.scim.delete_group(&probe.0).await.unwrap();
        self.twins().await;
    }

    /// A second user with one external id is found beside the first.
    async fn twins(&self) {
        let (target, twin) = (&self.target, of_member("twin"));
        let mut twins = Vec::new();
        for name in ["twin1", "twin2"] {
            let user = UserPatch::default().user_name(name).external_id("wecom:user:twin");
            if let Created::Done(user) = self.scim.create_user(&user).await.unwrap() {
                twins.push(TargetId(user.id().to_owned()));
            }
        }
        twins.sort();
        let first = target.find_user(&twin).await.unwrap().unwrap().target;
        assert_eq!(first, twins[0]);
        // A service that keeps external ids unique refused the second one.
        let second = target.second_user(&twin, &first).await.unwrap().map(|side| side.target);
        assert_eq!(second.as_ref(), twins.get(1));
        for target_id in &twins {
            target.delete_user(target_id).await.unwrap();
        }
        assert_eq!(target.second_user(&twin, &first).await, Ok(None));
    }

    /// The contract.
    async fn keeps_to_it(&self) {
        self.groups().await;
        let users = self.users().await;
        self.members(&users).await;
        self.others(&users).await;
        let checks = self.target.check(Hierarchy::Nested).await;
        let nesting = checks.iter().find(|check| check.subject == "SCIM groups within groups").unwrap();
        assert_eq!(nesting.verdict == Verdict::Well, self.nature.nests, "{checks:?}");
        assert_eq!(nesting.remedy.is_empty(), self.nature.nests, "{checks:?}");
        assert_eq!(checks[0].verdict, Verdict::Well, "{checks:?}");
        for user in &users {
            self.target.delete_user(user).await.unwrap();
            self.target.delete_user(user).await.unwrap();
            assert_eq!(self.target.user(user).await, Ok(None));
        }
        let groups = everything(async |cursor| self.target.groups(cursor.as_deref()).await.unwrap()).await;
        assert_eq!(groups.len(), 1, "the probe leaves nothing behind");
        self.target.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_independent_make_keeps_to_it() {
    let server = ScimServer::start().await.unwrap();
    bench(&server.url(), ScimServer::TOKEN, GOOD).keeps_to_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_independent_make_without_patch_bulk_and_etags_keeps_to_it() {
    let server = ScimServer::start_minimal().await.unwrap();
    let nature = Nature { has_versions: false, ..GOOD };
    bench(&server.url(), ScimServer::TOKEN, nature).keeps_to_it().await;
}

fn variants() -> Vec<(&'static str, ScimOptions, Nature)> {
    let all = ScimOptions::default;
    let unversioned = Nature { has_versions: false, ..GOOD };
    let flat = Nature { nests: false, ..GOOD };
    vec![
        ("all", all(), GOOD),
        ("no bulk", ScimOptions { bulk_operations_max: None, ..all() }, GOOD),
        ("no PATCH", ScimOptions { patch: false, ..all() }, GOOD),
        ("no filter", ScimOptions { filter: false, page_max: 2, ..all() }, GOOD),
        ("no sort, small pages", ScimOptions { sort: false, page_max: 1, ..all() }, GOOD),
        ("no etag", ScimOptions { etag: false, ..all() }, unversioned),
        ("nesting refused", ScimOptions { nesting: ScimNesting::Refused, ..all() }, flat),
        ("nesting dropped", ScimOptions { nesting: ScimNesting::Dropped, ..all() }, flat),
        ("strict", ScimOptions { strict_removal: true, members_max: Some(1), ..all() }, GOOD),
        ("unique", ScimOptions { unique_external_ids: true, unique_group_names: true, ..all() }, GOOD),
        ("own spelling", ScimOptions { normalises: true, ..all() }, GOOD),
        ("own spelling, no PATCH", ScimOptions { normalises: true, patch: false, ..all() }, GOOD),
        ("plain JSON, bare errors", ScimOptions { plain_json_only: true, bare_errors: true, ..all() }, GOOD),
        (
            "no discovery, no PATCH",
            ScimOptions { discovery: ScimDiscovery::Missing, patch: false, ..all() },
            GOOD,
        ),
        (
            "boasting",
            ScimOptions {
                discovery: ScimDiscovery::Boasting,
                patch: false,
                filter: false,
                bulk_operations_max: None,
                sort: false,
                ..all()
            },
            GOOD,
        ),
        (
            "nothing",
            ScimOptions {
                patch: false,
                filter: false,
                bulk_operations_max: None,
                sort: false,
                etag: false,
                enterprise: false,
                nesting: ScimNesting::Refused,
                page_max: 1,
                ..all()
            },
            Nature { has_versions: false, nests: false, has_enterprise: false },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_lacks_something_keeps_to_it() {
    for (name, options, nature) in variants() {
        println!("{name}");
        let simulator = ScimSimulator::start(options).await.unwrap();
        simulated(&simulator, nature).keeps_to_it().await;
        let journal = simulator.journal();
        let vain = writes_without_change(&journal);
        assert!(vain.iter().all(|entry| entry.entity == "Group"), "{name}: {vain:?}");
        simulator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twins_the_smallest_is_the_one() {
    let simulator = ScimSimulator::start(ScimOptions::default()).await.unwrap();
    for id in ["u2", "u1", "u3"] {
        let user = json!({ "id": id, "userName": id, "externalId": "wecom:user:lisi" });
        simulator.seed(object(user)).unwrap();
        let group = json!({ "id": format!("g{id}"), "displayName": id, "externalId": "wecom:dept:1" });
        simulator.seed(object(group)).unwrap();
    }
    let bench = simulated(&simulator, GOOD);
    assert_eq!(bench.target.find_user(&of_member("LiSi")).await.unwrap().unwrap().target.0, "u1");
    assert_eq!(bench.target.find_group(&of_department(1)).await.unwrap().unwrap().target.0, "gu1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_people_added_stay() {
    let simulator = ScimSimulator::start(ScimOptions::default()).await.unwrap();
    let mails =
        json!([{ "value": "home@x.test", "type": "home" }, { "value": "old@x.test", "type": "work" }]);
    let user = json!({ "id": "u1", "userName": "lisi", "externalId": "wecom:user:lisi", "emails": mails });
    simulator.seed(object(user)).unwrap();
    let bench = simulated(&simulator, GOOD);
    let changes = Attributes::from([(Field::WorkMail, text("new@x.test"))]);
    let id = TargetId("u1".to_owned());
    done(bench.target.update_user(&id, None, &of_member("lisi"), &changes).await.unwrap());
    let mails: BTreeSet<String> = simulator.record("u1").unwrap()["emails"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mail| mail["value"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(mails, BTreeSet::from(["home@x.test", "new@x.test"].map(str::to_owned)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_is_lost_makes_nobody_twice() {
    let simulator = ScimSimulator::start(ScimOptions { unique_group_names: true, ..ScimOptions::default() });
    let simulator = simulator.await.unwrap();
    let bench = simulated(&simulator, GOOD);
    simulator.fault(FaultRule::new(Trouble::CloseAfter).on("POST", "*").times(2));
    let wanted = bench.attributes("lisi");
    let lost = bench.target.create_user(&of_member("lisi"), &wanted).await.unwrap_err();
    assert!(lost.kind.may_pass(), "{lost:?}");
    assert!(bench.target.create_group(&of_department(1), "a").await.unwrap_err().kind.may_pass());
    done(bench.target.create_user(&of_member("lisi"), &wanted).await.unwrap());
    bench.target.create_group(&of_department(1), "a").await.unwrap();
    assert_eq!(simulator.records().len(), 2);
    let other = bench.target.create_group(&of_department(2), "A").await.unwrap_err();
    assert_eq!((other.kind, other.code), (FaultKind::Permanent, "taken"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn troubles_are_told_by_their_kinds() {
    let simulator = ScimSimulator::start(ScimOptions::default()).await.unwrap();
    for (trouble, expected) in [
        (Trouble::Throttled { retry_after: "7".to_owned() }, "throttled"),
        (Trouble::HtmlBadGateway, "retryable"),
        (Trouble::HtmlPage, "retryable"),
        (Trouble::CutBody, "retryable"),
        (Trouble::Unauthorized, "unauthorized"),
    ] {
        let bench = simulated(&simulator, GOOD);
        bench.scim.abilities().await.unwrap();
        simulator.fault(FaultRule::new(trouble.clone()).on("GET", "*/Users*").times(1));
        let fault = bench.target.find_user(&of_member("lisi")).await.unwrap_err();
        assert_eq!(fault.kind.name(), expected, "{trouble:?}: {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lacks_are_told_with_what_to_do() {
    let verdicts = async |options: ScimOptions, hierarchy: Hierarchy| {
        let simulator = ScimSimulator::start(options).await.unwrap();
        let checks = simulated(&simulator, GOOD).target.check(hierarchy).await;
        assert!(
            checks.iter().all(|check| check.remedy.is_empty() == (check.verdict == Verdict::Well)),
            "{checks:?}"
        );
        let bad = checks.into_iter().filter(|check| check.verdict != Verdict::Well);
        let bad: Vec<(String, Verdict)> = bad.map(|check| (check.subject, check.verdict)).collect();
        assert!(simulator.records().is_empty());
        (bad, simulator.journal().len())
    };
    let told = |subject: &str, verdict| (subject.to_owned(), verdict);
    let all = ScimOptions::default;
    assert_eq!(verdicts(all(), Hierarchy::Flat).await, (vec![], 0), "nothing is written for nothing");
    let (bad, writes) = verdicts(all(), Hierarchy::Nested).await;
    assert!(bad.is_empty() && writes > 0);
    let lacking = ScimOptions { groups: false, filter: false, enterprise: false, ..all() };
    let expected = vec![
        told("SCIM groups", Verdict::Broken),
        told("SCIM filters", Verdict::Warning),
        told("SCIM enterprise extension", Verdict::Warning),
    ];
    assert_eq!(verdicts(lacking, Hierarchy::Nested).await.0, expected);
    let flat = ScimOptions { nesting: ScimNesting::Dropped, ..all() };
    assert_eq!(
        verdicts(flat, Hierarchy::Nested).await.0,
        [told("SCIM groups within groups", Verdict::Broken)]
    );
    let closed = ScimOptions { token: "another".to_owned(), ..all() };
    assert_eq!(verdicts(closed, Hierarchy::Nested).await.0, [told("SCIM service", Verdict::Broken)]);
}
