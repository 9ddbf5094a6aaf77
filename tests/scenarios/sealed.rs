//! Sealed secrets in a real store: keys that are missing, wrong, rotated; documents that are damaged or exchanged.

use std::sync::Arc;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::SystemClock;
use shared::ports::state::{State, Write};
use system_tests::supervise::Folder;
use vault::{Key, KeyError, KeySource, Secrets, VaultError};

fn key() -> SecretString {
    Key::generate()
}

fn parsed(key: &SecretString) -> Key {
    Key::parse(key, "test").unwrap()
}

pub fn store(folder: &Folder) -> Arc<dyn State> {
    let options = EmbeddedOptions::new(folder.path(), Role::Serving, Arc::new(SystemClock));
    Embedded::open(options).unwrap().state
}

#[tokio::test]
async fn secrets_are_opened_by_present_and_former_keys_and_by_no_other() {
    let folder = Folder::new("vault").unwrap();
    let state = store(&folder);
    let (first, second) = (key(), key());
    let secret = SecretString::from("ffe1dd9f5bf746698f1fae357411959d");
    let old = Secrets::new(state.clone(), KeySource::Given(parsed(&first)), vec![]);
    old.put("webhook/a", &secret).await.unwrap();
    assert_eq!(old.get("webhook/a").await.unwrap().unwrap().expose_secret(), secret.expose_secret());
    assert!(old.get("webhook/b").await.unwrap().is_none());

    let rotated = Secrets::new(state.clone(), KeySource::Given(parsed(&second)), vec![parsed(&first)]);
    rotated.put("webhook/b", &secret).await.unwrap();
    let all = rotated.list("webhook/").await.unwrap();
    let opened: Vec<(&str, bool)> =
        all.iter().map(|(name, secret)| (name.as_str(), secret.is_ok())).collect();
    assert_eq!(opened, [("a", true), ("b", true)]);

    // Without the former key, the one that it sealed is named with its key, and the other one is had.
    let forgetful = Secrets::new(state.clone(), KeySource::Given(parsed(&second)), vec![]);
    let error = forgetful.get("webhook/a").await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, VaultError::OtherKey { .. }), "{text}");
    assert!(
        text.contains("webhook/a") && text.contains(parsed(&first).id()) && text.contains("vault.old_keys"),
        "{text}"
    );
    let all = forgetful.list("webhook/").await.unwrap();
    let opened: Vec<bool> = all.iter().map(|(_, secret)| secret.is_ok()).collect();
    assert_eq!(opened, [false, true]);

    // A secret put in another's place is not taken for that one.
    let moved = state.get("vault/webhook/a").await.unwrap().unwrap().value;
    state.write(Write::put("vault/webhook/c", &moved)).await.unwrap();
    state.write(Write::put("vault/webhook/d", b"{}")).await.unwrap();
    for name in ["webhook/c", "webhook/d"] {
        assert!(matches!(rotated.get(name).await, Err(VaultError::Damaged(_))), "{name}");
    }
}

#[tokio::test]
async fn a_key_file_is_made_at_the_first_secret_and_seen_by_others_at_once() {
    let folder = Folder::new("vault").unwrap();
    let state = store(&folder);
    let path = folder.join("vault.key");
    let open = || Secrets::new(state.clone(), KeySource::File(path.clone()), vec![]);
    let (writer, reader) = (open(), open());
    assert!(reader.list("").await.unwrap().is_empty() && !path.exists(), "reading makes no key");
    writer.put("x", &"secret".into()).await.unwrap();
    assert_eq!(reader.get("x").await.unwrap().unwrap().expose_secret(), "secret");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(reader.get("x").await, Err(VaultError::OtherKey { .. })));

    let none = Secrets::new(state.clone(), KeySource::Missing, vec![]);
    let error = none.put("y", &"secret".into()).await.unwrap_err();
    assert!(matches!(error, VaultError::Key(KeyError::Missing)), "{error}");
    assert!(error.to_string().contains("syncfleet vault new-key"), "{error}");
    assert!(none.check().is_err() && writer.check().is_ok());
}
