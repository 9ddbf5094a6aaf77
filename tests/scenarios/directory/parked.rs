//! A member whose department never comes.

use std::time::Duration;

use flows::directory::settings::DirectorySettings;
use serde_json::json;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason};
use shared::envelope::Cause;
use shared::ports::queue::Queue as _;
use shared::retry::RetryPolicy;
use system_tests::wait;

use super::installation::{Installation, Setup};
use super::place::Place;
use crate::SOON;

impl Installation {
    /// What failed for good, as an operator sees it.
    async fn letters(&self) -> Vec<DeadLetter> {
        let page = self.store.queue.scan_dead_letters(0, 100).await.unwrap();
        let opened = page.into_events().filter_map(|event| match event {
            DeadLetterEvent::Opened { letter } => Some(*letter),
            _ => None,
        });
        opened.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_department_never_comes_becomes_a_dead_letter_that_names_it() {
    let retry = RetryPolicy { age_max: Duration::from_secs(4), ..RetryPolicy::default() };
    let setup = Setup {
        settings: DirectorySettings { shards: 8, retry, ..DirectorySettings::default() },
        parking_look_every: Duration::from_millis(100),
        ..Setup::default()
    };
    let installation = Installation::start(Place::simulated().await, setup).await;
    assert!(installation.ask("first").await);
    installation.until_first_sync().await;
    let member = json!({ "userid": "Lisi", "name": "李四", "department": [1, 7], "status": 1 });
    installation.wecom.seed(member.as_object().unwrap().clone()).unwrap();
    installation.publish("user.lisi", Cause::Webhook, None).await;

    let letter = wait::until("the dead letter", SOON, async || {
        let letter = installation.letters().await.pop();
        letter.ok_or(installation.waited.lock().unwrap().clone())
    })
    .await;
    assert!(installation.waited.lock().unwrap()["user.lisi"] >= 2, "it was parked before");
    assert_eq!(letter.key.as_ref().unwrap().to_string(), "directory:user.lisi");
    assert_eq!((letter.reason, letter.code.as_str()), (Reason::Expired, "dependency_missing"), "{letter:?}");
    assert!(letter.text.contains("dept.7"), "names what it waited for: {}", letter.text);
    assert!(installation.parked().await.is_empty(), "nothing waits any more");
    let resources = installation.place.resources().await;
    assert!(resources.iter().all(|it| it["externalId"] != "wecom:user:lisi"), "nothing was written of it");
    installation.end().await;
}
