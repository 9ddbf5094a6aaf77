//! The hierarchy where it is left to the service, from its schemas to the groups.

use flows::directory::rules::{Hierarchy, Rules};
use flows::directory::settings::DirectorySettings;
use serde_json::{Value, json};
use simulators::scim::{ScimMemberTypes, ScimNesting};
use simulators::{FaultKind, FaultRule, ScimOptions};

use super::installation::{Installation, Setup};
use super::place::Place;

async fn installation(member_types: ScimMemberTypes, nesting: ScimNesting) -> Installation {
    let flat = Rules::default().with_hierarchy(Hierarchy::Flat);
    let settings = DirectorySettings { shards: 8, unless_nested: Some(flat), ..DirectorySettings::default() };
    let place = Place::simulated_with(ScimOptions { member_types, nesting, ..ScimOptions::default() }).await;
    let installation = Installation::start(place, Setup { settings, ..Setup::default() }).await;
    for record in [
        json!({ "id": 2, "parentid": 1, "name": "研发中心" }),
        json!({ "id": 3, "parentid": 2, "name": "平台部" }),
        json!({ "userid": "Lisi", "name": "李四", "department": [3], "status": 1 }),
    ] {
        installation.wecom.seed(record.as_object().unwrap().clone()).unwrap();
    }
    installation
}

/// The groups: what each is called, and of what kind its members are.
async fn groups(place: &Place) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resources = place.resources().await;
    let groups =
        resources.iter().filter(|it| it["externalId"].as_str().is_some_and(|id| id.contains(":dept:")));
    let kinds = |group: &Value| {
        group["members"].as_array().into_iter().flatten().map(|member| text(&member["type"])).collect()
    };
    let mut groups: Vec<_> = groups.map(|group| (text(&group["displayName"]), kinds(group))).collect();
    groups.retain(|(name, _)| name.contains('部') || name.contains("研发"));
    groups.sort();
    groups
}

fn group(name: &str, members: &[&str]) -> (String, Vec<String>) {
    (name.to_owned(), members.iter().map(|kind| (*kind).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_takes_no_groups_gets_flat_ones_and_keeps_them() {
    let installation = installation(ScimMemberTypes::Users, ScimNesting::Refused).await;
    let Place::Simulated(service) = &installation.place else { panic!() };
    // It is asked in vain at first, and nothing follows from that.
    service.fault(FaultRule::new(FaultKind::HtmlBadGateway).on("GET", "*/Schemas").times(2));
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    let flat = [group("研发中心", &[]), group("研发中心 / 平台部", &["User"])];
    assert_eq!(groups(&installation.place).await, flat);
    assert_eq!(installation.dead().await, Vec::<String>::new());

    // What it says later changes nothing, for processes that begin later either.
    service.configure(json!({ "member_types": "all", "nesting": "works" }).as_object().unwrap()).unwrap();
    let mut installation = installation;
    installation.kill_one();
    installation.operate(&json!({ "op": "create_party", "id": 4, "parentid": 3, "name": "测试部" }));
    installation.publish("dept.4", shared::envelope::Cause::Webhook, None).await;
    installation.settled("the new department").await;
    assert_eq!(installation.sweep("sweep").await.unwrap(), 0);
    let grown = [flat[0].clone(), flat[1].clone(), group("研发中心 / 平台部 / 测试部", &[])];
    assert_eq!(groups(&installation.place).await, grown);
    installation.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_says_nothing_gets_groups_in_groups() {
    let installation = installation(ScimMemberTypes::Untold, ScimNesting::Works).await;
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    assert_eq!(
        groups(&installation.place).await,
        [group("平台部", &["User"]), group("研发中心", &["Group"])]
    );
    installation.end().await;
}
