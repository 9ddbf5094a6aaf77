//! A company at a SCIM server of independent make, after its first sync: what happens in WeCom arrives, what people change at
//! the server is put right by a sweep. The server's own dump has the last word.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use system_tests::ScimServer;

use super::first_sync::seed_company;
use super::installation::{Installation, Setup};
use super::place::Place;
use super::shown::Shown;

const DEPARTMENTS: u64 = 12;
const MEMBERS: u64 = 40;

impl Installation {
    fn server(&self) -> &ScimServer {
        let Place::Server(server) = &self.place else { panic!("no server of independent make") };
        server
    }

    /// What the server has under an external id.
    async fn resource(&self, external_id: &str) -> Value {
        let found = self.place.resources().await.into_iter().find(|it| it["externalId"] == external_id);
        found.unwrap_or_else(|| panic!("{external_id} is not there"))
    }

    /// Somebody changes a record at the server.
    async fn edit(&self, external_id: &str, change: impl FnOnce(&mut Value)) {
        let mut resource = self.resource(external_id).await;
        change(&mut resource);
        put(self.server(), &resource).await;
    }
}

/// Members whom nobody reports to: of a leader's new userid WeCom says nothing to those who are led.
fn followers(company: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let led_by = company.iter().flat_map(|it| it["direct_leader"].as_array().into_iter().flatten());
    let leaders: BTreeSet<String> = led_by.filter_map(text).collect();
    company.iter().filter_map(|it| text(&it["userid"])).filter(|userid| !leaders.contains(userid)).collect()
}

/// Somebody whom others report to.
fn leader(company: &[Value]) -> String {
    let mut led_by = company.iter().filter_map(|it| it["direct_leader"][0].as_str());
    led_by.next().expect("somebody has a leader").to_owned()
}

fn of(userid: &str) -> String {
    format!("wecom:user:{}", userid.to_lowercase())
}

fn address(server: &ScimServer, resource: &Value) -> String {
    let is_group = resource["schemas"][0].as_str().is_some_and(|schema| schema.ends_with(":Group"));
    let kind = if is_group { "Groups" } else { "Users" };
    format!("{}/{kind}/{}", server.url(), resource["id"].as_str().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "people reach the server in their own way")]
async fn put(server: &ScimServer, resource: &Value) {
    let request = reqwest::Client::new().put(address(server, resource)).bearer_auth(ScimServer::TOKEN);
    let request = request.header("content-type", "application/scim+json").body(resource.to_string());
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await.unwrap());
}

#[expect(clippy::disallowed_methods, reason = "people reach the server in their own way")]
async fn delete(server: &ScimServer, resource: &Value) {
    let request = reqwest::Client::new().delete(address(server, resource)).bearer_auth(ScimServer::TOKEN);
    assert!(request.send().await.unwrap().status().is_success());
}

async fn is_in_a_group(installation: &Installation, user: &Value) -> bool {
    let resources = installation.place.resources().await;
    let mut members = resources.iter().flat_map(|it| it["members"].as_array().into_iter().flatten());
    members.any(|member| member["value"] == user["id"])
}

async fn plays_at(server: ScimServer) {
    let installation =
        Installation::start(Place::Server(server), Setup { workers: 2, ..Setup::default() }).await;
    let mut dice = fastrand::Rng::with_seed(3);
    seed_company(&installation.wecom, &mut dice, DEPARTMENTS, MEMBERS);
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "at the beginning");

    // One leaves, one gets another userid, both told; a department is renamed, and nobody tells.
    let company = installation.wecom.records();
    let followers = followers(&company);
    let [leaver, other, edited, stranger, ..] = followers.as_slice() else { panic!("{followers:?}") };
    let renamed = installation.resource(&of(other)).await;
    installation.operate(&json!({ "op": "delete_user", "userid": leaver }));
    installation.operate(&json!({ "op": "update_user", "userid": other, "newuserid": "Other4" }));
    while installation.wecom.deliver_callbacks().await > 0 {}
    installation.settled("what was told").await;
    installation.wecom.configure(json!({ "own_events": false }).as_object().unwrap()).unwrap();
    installation.operate(&json!({ "op": "update_party", "id": 5, "name": "新部5" }));
    let left = installation.resource(&of(leaver)).await;
    assert_eq!(left["active"], json!(false), "who left may not log in");
    assert!(!is_in_a_group(&installation, &left).await, "who left is in no group");
    assert_eq!(installation.resource("wecom:user:other4").await["id"], renamed["id"], "the same account");

    // What people do at the server.
    installation.edit(&of(edited), |user| user["displayName"] = json!("Somebody")).await;
    installation.edit(&of(leaver), |user| user["active"] = json!(true)).await;
    let stranger = installation.resource(&of(stranger)).await;
    let stranger = json!({ "value": stranger["id"], "type": "User" });
    installation
        .edit("wecom:dept:6", |group| {
            group["displayName"] = json!("Some group");
            group["members"] = json!([stranger]);
        })
        .await;
    // This server leaves who is deleted in groups, and as manager.
    delete(installation.server(), &installation.resource(&of(&leader(&company))).await).await;
    // Two users that differ and one that is missing, two groups.
    let found = installation.sweep("sweep-1").await.unwrap();
    assert!(found >= 5, "{found} found");
    installation.settled("the sweep").await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "after the sweep");
    assert_eq!(installation.resource(&of(leaver)).await["active"], json!(false), "switched off again");
    assert_eq!(installation.sweep("sweep-2").await.unwrap(), 0, "nothing is left to do");

    let wanted = installation.place.wanted(&installation.wecom.records());
    let Place::Server(server) = installation.end().await else { panic!() };
    let shown = Shown::of_scim(&server.end().await.unwrap()).without_leavers(&wanted);
    assert_eq!(shown.differences(&wanted), Vec::<String>::new(), "by the server's own word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_on_both_sides_ends_as_wecom_has_it() {
    plays_at(ScimServer::start().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_without_patch_bulk_and_etags() {
    plays_at(ScimServer::start_minimal().await.unwrap()).await;
}
