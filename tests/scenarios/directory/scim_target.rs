//! SCIM as target of the flow `directory`: the same is expected of it at a service of independent make, at the simulated
//! one, and at each that lacks something.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use connector_scim::{
    Created, GroupPatch, Limits, MemberList, Overrides, Scim, Settings, Sizes, UserPatch, default_limits,
};
use flows::directory::ids::TargetId;
use flows::directory::record::{Attributes, Field, Value};
use flows::directory::rules::Hierarchy;
use flows::directory::scim::ScimTarget;
use flows::directory::target::Target;
use secrecy::SecretString;
use serde_json::json;
use shared::clock::SystemClock;
use shared::fault::FaultKind;
use shared::flow::Verdict;
use shared::meter::NoMeter;
use simulators::scim::{ScimDiscovery, ScimMemberTypes, ScimNesting, TOKEN};
use simulators::{FaultKind as Trouble, FaultRule, ScimOptions, ScimSimulator, writes_without_change};
use system_tests::ScimServer;
use system_tests::supervise::Folder;

use super::contract::{Contract, Nature, Others, done, of_department, of_member, text};
use crate::object;
use crate::sealed::store;

const GOOD: Nature = Nature { has_versions: true, nests: true, attributes };

/// In spellings that a service may have its own way with.
fn attributes(userid: &str) -> Attributes {
    Attributes::from([
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
    ])
}

/// A target with the connector that it has, to do by hand what others would.
struct Bench {
    scim: Scim,
    target: Arc<dyn Target>,
    nature: Nature,
    _folder: Folder,
}

fn bench(url: &str, token: &str, nature: Nature, has_enterprise: bool) -> Bench {
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
    let target = Arc::new(ScimTarget::new(scim.clone(), store(&folder), has_enterprise));
    Bench { scim, target, nature, _folder: folder }
}

fn simulated(simulator: &ScimSimulator, nature: Nature) -> Bench {
    lacking(simulator, nature, true)
}

fn lacking(simulator: &ScimSimulator, nature: Nature, has_enterprise: bool) -> Bench {
    bench(&simulator.service_url(), TOKEN, nature, has_enterprise)
}

#[async_trait]
impl Others for Scim {
    async fn create_user(&self, login: &str, external_id: &str) -> Option<TargetId> {
        let user = UserPatch::default().user_name(login).external_id(external_id);
        match self.create_user(&user).await.unwrap() {
            Created::Done(user) => Some(TargetId(user.id().to_owned())),
            Created::Taken => None,
        }
    }

    async fn create_group(&self, name: &str, external_id: &str) -> TargetId {
        let group = GroupPatch::default().display_name(name).external_id(external_id);
        let Created::Done(group) = self.create_group(&group).await.unwrap() else { panic!() };
        TargetId(group.id().to_owned())
    }

    async fn user(&self, id: &TargetId) -> Option<(String, bool)> {
        let user = self.user(&id.0).await.unwrap()?;
        Some((user.external_id()?.to_owned(), user.active() != Some(false)))
    }

    async fn has_group(&self, id: &TargetId) -> bool {
        self.group(&id.0, MemberList::LeftOut).await.unwrap().is_some()
    }

    async fn delete_group(&self, id: &TargetId) {
        self.delete_group(&id.0).await.unwrap();
    }

    /// Versions are counted.
    fn wait(&self) {}
}

impl Bench {
    async fn keeps_to_it(&self) {
        self.finds_an_earlier_try().await;
        let Self { target, scim, nature, .. } = self;
        Contract { target: &**target, others: scim, nature: *nature }.is_kept().await;
        let checks = target.check(Hierarchy::Nested).await;
        let nesting = checks.iter().find(|check| check.subject == "SCIM groups within groups").unwrap();
        assert_eq!(nesting.verdict == Verdict::Well, nature.nests, "{checks:?}");
        assert_eq!(checks[0].verdict, Verdict::Well, "{checks:?}");
    }

    /// Ours with this external id is the one of an earlier try.
    async fn finds_an_earlier_try(&self) {
        let (target, wanted) = (&self.target, self.attributes("wangwu"));
        let made = done(target.create_user(&of_member("wangwu"), &wanted).await.unwrap());
        let again = done(target.create_user(&of_member("wangwu"), &wanted).await.unwrap());
        assert_eq!(again.target, made.target);
        target.delete_user(&made.target).await.unwrap();
    }

    fn attributes(&self, userid: &str) -> Attributes {
        let mut all = attributes(userid);
        let without = self.target.without();
        all.retain(|field, _| !without.contains(field));
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_independent_make_keeps_to_it() {
    let server = ScimServer::start().await.unwrap();
    bench(&server.url(), ScimServer::TOKEN, GOOD, true).keeps_to_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_independent_make_without_patch_bulk_and_etags_keeps_to_it() {
    let server = ScimServer::start_minimal().await.unwrap();
    let nature = Nature { has_versions: false, ..GOOD };
    bench(&server.url(), ScimServer::TOKEN, nature, true).keeps_to_it().await;
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
            Nature { has_versions: false, nests: false, ..GOOD },
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_lacks_something_keeps_to_it() {
    for (name, options, nature) in variants() {
        println!("{name}");
        let has_enterprise = options.enterprise;
        let simulator = ScimSimulator::start(options).await.unwrap();
        lacking(&simulator, nature, has_enterprise).keeps_to_it().await;
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
    let wrong_word = ScimOptions { member_types: ScimMemberTypes::Users, ..all() };
    assert_eq!(
        verdicts(wrong_word, Hierarchy::Nested).await.0,
        [told("SCIM groups within groups", Verdict::Warning)]
    );
    let closed = ScimOptions { token: "another".to_owned(), ..all() };
    assert_eq!(verdicts(closed, Hierarchy::Nested).await.0, [told("SCIM service", Verdict::Broken)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_says_whether_groups_can_be_in_groups() {
    let told = async |options: ScimOptions| {
        let simulator = ScimSimulator::start(options).await.unwrap();
        simulated(&simulator, GOOD).target.nesting_told().await
    };
    let all = ScimOptions::default;
    for (member_types, expected) in [
        (ScimMemberTypes::All, Some(true)),
        (ScimMemberTypes::Users, Some(false)),
        (ScimMemberTypes::Untold, None),
    ] {
        assert_eq!(told(ScimOptions { member_types, ..all() }).await, Ok(expected), "{member_types:?}");
    }
    assert_eq!(told(ScimOptions { groups: false, ..all() }).await, Ok(None));
    assert_eq!(told(ScimOptions { discovery: ScimDiscovery::Missing, ..all() }).await, Ok(None));
    let server = ScimServer::start().await.unwrap();
    let independent = bench(&server.url(), ScimServer::TOKEN, GOOD, true);
    assert_eq!(independent.target.nesting_told().await, Ok(Some(true)));
}

/// What does not come is no word: the hierarchy would be chosen by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_no_word_about_groups_in_groups() {
    let options = ScimOptions { member_types: ScimMemberTypes::Users, ..ScimOptions::default() };
    let simulator = ScimSimulator::start(options).await.unwrap();
    for trouble in [
        Trouble::Throttled { retry_after: "7".to_owned() },
        Trouble::HtmlBadGateway,
        Trouble::HtmlPage,
        Trouble::CutBody,
        Trouble::Unauthorized,
    ] {
        let bench = simulated(&simulator, GOOD);
        simulator.fault(FaultRule::new(trouble.clone()).on("GET", "*/Schemas").times(1));
        let fault = bench.target.nesting_told().await.unwrap_err();
        assert!(fault.kind != FaultKind::Permanent, "{trouble:?}: {fault:?}");
        assert_eq!(simulated(&simulator, GOOD).target.nesting_told().await, Ok(Some(false)));
    }
}
