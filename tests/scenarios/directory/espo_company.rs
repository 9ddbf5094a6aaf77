//! EspoCRM as target of a whole installation: the first sync, and a day of a company.

use connector_espocrm::Credentials;
use flows::directory::espocrm::rules;
use flows::directory::rules::{Hierarchy, Rules};
use flows::directory::settings::DirectorySettings;
use serde_json::{Value, json};
use simulators::espocrm::API_KEY;
use system_tests::wait;

use super::espo_target::{administrator, china, provisioned};
use super::first_sync::seed_company;
use super::installation::{Installation, Setup};
use super::place::Place;
use crate::SOON;

async fn installation(credentials: Credentials) -> Installation {
    let rules = Rules { creates_users: true, ..rules(Hierarchy::Flat, china()) };
    let settings = DirectorySettings { shards: 8, rules, ..DirectorySettings::default() };
    let place = Place::Crm(Box::new(provisioned().await), credentials);
    let installation = Installation::start(place, Setup { settings, workers: 2, ..Setup::default() }).await;
    seed_company(&installation.wecom, &mut fastrand::Rng::with_seed(3), 20, 60);
    installation
}

/// People do this, and WeCom tells of it as far as it does.
async fn happens(installation: &Installation, ops: &[Value]) {
    ops.iter().for_each(|op| installation.operate(op));
    while installation.wecom.deliver_callbacks().await > 0 {}
    installation.settled("what happened").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_comes_to_espocrm_and_is_followed() {
    let installation = installation(administrator()).await;
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "after the first sync");

    let told = [
        json!({ "op": "create_party", "id": 101, "name": "海外部", "parentid": 1 }),
        json!({ "op": "create_party", "id": 102, "name": "柏林", "parentid": 101 }),
        json!({ "op": "create_user", "userid": "Berlin1", "name": "欧阳新", "department": [102, 3] }),
        json!({ "op": "update_party", "id": 2, "parentid": 102 }),
        json!({ "op": "update_user", "userid": "Member7", "department": [101, 5] }),
        json!({ "op": "update_user", "userid": "Member58", "newuserid": "Li.Renamed" }),
        json!({ "op": "delete_user", "userid": "Member59" }),
    ];
    happens(&installation, &told).await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "what was told");

    // WeCom tells nothing of these: the sweep finds them.
    let untold = [
        json!({ "op": "update_party", "id": 101, "name": "国际部" }),
        json!({ "op": "update_user", "userid": "Member8", "enable": 0 }),
        json!({ "op": "update_user", "userid": "Member9", "name": "司马懿" }),
    ];
    happens(&installation, &untold).await;
    assert_ne!(installation.differences().await, Vec::<String>::new(), "nothing is left for the sweep");
    installation.sweep("sweep").await.unwrap();
    installation.settled("the sweep").await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "after the sweep");

    let writes = installation.place.writes();
    installation.sweep("again").await.unwrap();
    installation.settled("another sweep").await;
    assert_eq!(installation.place.writes(), writes, "nothing is written where both agree");
    installation.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_api_users_log_in_the_letters_name_the_administrators() {
    let installation = installation(Credentials::ApiKey(API_KEY.into())).await;
    let writes = installation.place.writes();
    assert!(installation.ask("first").await);
    let letter = wait::until("a dead letter", SOON, async || {
        let mut dead = installation.dead().await;
        dead.pop().ok_or("none")
    })
    .await;
    assert!(letter.contains("needs an administrator's log-in"), "{letter}");
    assert_eq!(installation.place.writes(), writes, "nothing is written");
    installation.end().await;
}
