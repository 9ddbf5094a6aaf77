//! Deliveries of EspoCRM.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flows::parties::{self, Parties, PartiesSettings};
use flows::webhook_secrets::vault_name;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::SecretString;
use sha2::Sha256;
use shared::envelope::Operation;
use shared::flow::{Flow as _, WebhookContent, WebhookItem, WebhookRefusal, WebhookRequest};

use system_tests::supervise::Folder;
use system_tests::wait;
use vault::{Key, KeySource, Secrets};

use super::bench::{Bench, flow};
use crate::SOON;

const ID: &str = "6b0056946bcab3715";
const SECRET: &str = "f49b8551882000c60fbf2c7f93e75bf9";

fn signature(body: &[u8], secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    STANDARD.encode(format!("{ID}:{hex}"))
}

async fn bench() -> Bench {
    let webhook_secrets = [(ID.to_owned(), SECRET.to_owned().into())].into();
    Bench::new(PartiesSettings { webhook_secrets, ..PartiesSettings::default() }).await
}

fn read(bench: &Bench, path: &str, body: &str, secret: &str) -> Result<Vec<WebhookItem>, WebhookRefusal> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let signature = signature(&body, secret);
    let headers = [("signature", signature.as_str())];
    bench.flow.read_webhook(&WebhookRequest::post(path, &headers, &body)).map(items)
}

fn items(content: WebhookContent) -> Vec<WebhookItem> {
    match content {
        WebhookContent::Items(items) => items,
        WebhookContent::Challenge(text) => panic!("a challenge: {text}"),
    }
}

#[tokio::test]
async fn items_become_records_and_our_own_writes_do_not() {
    let bench = bench().await;
    let body = r#"[{"id":"6b00526cc80a09e94","lastName":"Neu"},{"nothing":1},
        {"id":"6b00526cc80a09e95","syncStatus":"clean","advowareLastSync":"2026-11-20 09:15:00"},
        {"id":"6b00526cc80a09e96","syncStatus":"dirty","syncRetryCount":0}]"#;
    let items = read(&bench, "update", body, SECRET).unwrap();
    let key = |id: &str| bench.run(id).key;
    assert_eq!(items[0], WebhookItem::Record(key("6b00526cc80a09e94"), Operation::Update));
    assert!(matches!(items[1], WebhookItem::Malformed(_)));
    assert_eq!(items[2], WebhookItem::Echo);
    assert_eq!(items[3], WebhookItem::Record(key("6b00526cc80a09e96"), Operation::Update));
    let items = read(&bench, "delete", r#"[{"id":"6b00526cc80a09e94"}]"#, SECRET).unwrap();
    assert_eq!(items, [WebhookItem::Record(key("6b00526cc80a09e94"), Operation::Delete)]);
}

#[tokio::test]
async fn what_is_not_signed_by_a_known_webhook_is_refused() {
    let bench = bench().await;
    let refused = read(&bench, "update", "[]", "another secret").unwrap_err();
    assert!(matches!(refused, WebhookRefusal::Unverified(_)), "{refused}");
    let refused = read(&bench, "update", "{}", SECRET).unwrap_err();
    assert!(matches!(refused, WebhookRefusal::Malformed(_)), "{refused}");
    let refused = read(&bench, "fieldUpdate", "[]", SECRET).unwrap_err();
    assert!(matches!(refused, WebhookRefusal::Unknown(_)), "{refused}");
    let body = Bytes::from_static(b"[]");
    let refused = bench.flow.read_webhook(&WebhookRequest::post("update", &[], &body)).unwrap_err();
    assert!(matches!(refused, WebhookRefusal::Unverified(_)), "{refused}");
}

#[tokio::test]
async fn a_webhook_that_is_provisioned_later_is_learned_of_within_bounds() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let folder = Folder::new("secrets").unwrap();
    let state = crate::sealed::store(&folder);
    let vault = |key: &SecretString| {
        let key = Key::parse(key, "test").unwrap();
        Secrets::new(state.clone(), KeySource::Given(key), vec![])
    };
    let flow_with = |vault: Secrets| {
        let flow = flow(&bench.crm, &bench.advoware, state.clone(), PartiesSettings::default());
        Arc::into_inner(flow).unwrap().with_vault(vault)
    };
    let key = Key::generate();
    let (vault, other) = (vault(&key), vault(&Key::generate()));
    let running = flow_with(vault.clone());
    let body = Bytes::from_static(br#"[{"id":"6b00526cc80a09e94"}]"#);
    let signature = signature(&body, SECRET);
    let headers = [("signature", signature.as_str())];
    let read =
        |flow: &Parties| flow.read_webhook(&WebhookRequest::post("update", &headers, &body)).map(items);
    assert!(matches!(read(&running), Err(WebhookRefusal::Unverified(_))));
    assert!(!running.learn().await.unwrap(), "there is nothing yet");

    let id = connector_espocrm::EspoId::new(ID).unwrap();
    vault.put(&vault_name(parties::NAME, &id), &SECRET.into()).await.unwrap();
    assert!(!running.learn().await.unwrap(), "it has looked just now, and does not look at every refusal");
    wait::until("the new webhook to be known", SOON, async || match running.learn().await {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(read(&running).unwrap().len(), 1);
    assert!(read(&flow_with(vault)).is_err(), "one that has just begun");
    // Sealed under another key, it stays unknown, and the rest is not hindered.
    let stranger = flow_with(other);
    assert!(!stranger.learn().await.unwrap());
    assert!(matches!(read(&stranger), Err(WebhookRefusal::Unverified(_))));
}
