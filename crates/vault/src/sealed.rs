//! One sealed secret. Pure but for the nonce, which is fresh for each.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Generate as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::Key;

/// The form of what is stored.
const VERSION: u32 = 1;

/// A sealed secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    v: u32,
    /// The id of the key.
    pub(crate) key: String,
    nonce: String,
    text: String,
    /// What may be known without the key, for lists. Not authenticated: nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<serde_json::Value>,
}

/// Why a sealed secret cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Not what is stored by this version.
    Unreadable,
    /// Sealed under another key.
    OtherKey(String),
    /// Changed since, or put in another's place.
    Damaged,
}

impl Sealed {
    /// Seals a secret for its place in the store.
    pub(crate) fn seal(key: &Key, place: &str, secret: &SecretString) -> Option<Self> {
        let nonce = XNonce::generate();
        let bound = bound(place);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &bound };
        // It fails for texts of many gigabytes only.
        let text = cipher(key).encrypt(&nonce, payload).ok()?;
        Some(Self {
            v: VERSION,
            key: key.id().to_owned(),
            nonce: STANDARD.encode(nonce),
            text: STANDARD.encode(text),
            about: None,
        })
    }

    /// The same with what may be known without the key.
    pub(crate) fn with_about(self, about: Option<serde_json::Value>) -> Self {
        Self { about, ..self }
    }

    /// Reads what is stored.
    pub(crate) fn read(document: &[u8]) -> Result<Self, OpenError> {
        let sealed: Self = serde_json::from_slice(document).map_err(|_| OpenError::Unreadable)?;
        if sealed.v == VERSION { Ok(sealed) } else { Err(OpenError::Unreadable) }
    }

    /// Opens it with the one of `keys` that it was sealed with.
    pub(crate) fn open<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
        place: &str,
    ) -> Result<SecretString, OpenError> {
        let other = || OpenError::OtherKey(self.key.clone());
        let key = keys.into_iter().find(|key| key.id() == self.key).ok_or_else(other)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| OpenError::Damaged);
        let nonce = XNonce::try_from(decode(&self.nonce)?.as_slice()).map_err(|_| OpenError::Damaged)?;
        let (text, bound) = (decode(&self.text)?, bound(place));
        let opened = cipher(key).decrypt(&nonce, Payload { msg: &text, aad: &bound });
        let opened = opened.map_err(|_| OpenError::Damaged)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| OpenError::Damaged)
    }
}

/// What is authenticated beside the secret: its form and its place.
fn bound(place: &str) -> Vec<u8> {
    [format!("syncfleet vault {VERSION}\0").as_bytes(), place.as_bytes()].concat()
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::parse(&Key::generate(), "test").unwrap()
    }

    fn document(sealed: &Sealed) -> Vec<u8> {
        serde_json::to_vec(sealed).unwrap()
    }

    #[test]
    fn a_secret_is_opened_by_its_key_at_its_place_only() {
        let (right, former, wrong) = (key(), key(), key());
        let secret = SecretString::from("6951b034578251eab746983fa302e468");
        let sealed = Sealed::seal(&former, "vault/a", &secret).unwrap();
        let open = |keys: &[&Key], place| {
            sealed.open(keys.iter().copied(), place).map(|it| it.expose_secret().to_owned())
        };
        assert_eq!(open(&[&right, &former], "vault/a").as_deref(), Ok(secret.expose_secret()));
        assert_eq!(open(&[&right, &former], "vault/b"), Err(OpenError::Damaged));
        assert_eq!(open(&[&wrong], "vault/a"), Err(OpenError::OtherKey(former.id().to_owned())));
        let posing = Sealed { key: wrong.id().to_owned(), ..sealed.clone() };
        assert_eq!(posing.open([&wrong], "vault/a").map(|_| ()), Err(OpenError::Damaged));
        let stored = String::from_utf8(document(&sealed)).unwrap();
        assert!(!stored.contains(secret.expose_secret()), "{stored}");
        assert!(!stored.contains("about"), "what earlier releases read is left as it was: {stored}");
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let (key, secret) = (key(), SecretString::from("x"));
        let (one, two) =
            (Sealed::seal(&key, "a", &secret).unwrap(), Sealed::seal(&key, "a", &secret).unwrap());
        assert!(one.nonce != two.nonce && one.text != two.text);
    }

    /// Sealed by this crate at its first release: what is stored today must be opened by later versions.
    #[test]
    fn what_an_earlier_release_sealed_is_opened() {
        let key = Key::parse(&"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into(), "test").unwrap();
        assert_eq!(key.id(), FIRST_KEY_ID);
        let sealed = Sealed::read(FIRST_RELEASE.as_bytes()).unwrap();
        let opened = sealed.open([&key], "vault/webhook/parties/6b00526cc80a09e94").unwrap();
        assert_eq!(opened.expose_secret(), "ffe1dd9f5bf746698f1fae357411959d");
    }

    const FIRST_KEY_ID: &str = "abb7bbab4fecb121";
    const FIRST_RELEASE: &str = r#"{"v":1,"key":"abb7bbab4fecb121","nonce":"9AlEmczh5xmsrr0hetcz/lkwMfTcZK5V",
        "text":"GC4NDY0cs53PirNlbC+FQhALYvaZavDVKkjWnMGWjfVhuUW4LMXjd8GXbAmsMAAV"}"#;

    proptest! {
        #[test]
        fn any_secret_comes_back_and_any_change_is_noticed(secret in "\\PC{0,200}", at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = key();
            let sealed = Sealed::seal(&key, "vault/x", &SecretString::from(secret.clone())).unwrap();
            let read = Sealed::read(&document(&sealed)).unwrap();
            let opened = read.open([&key], "vault/x").unwrap();
            prop_assert_eq!(opened.expose_secret(), secret.as_str());
            for damaged in [
                Sealed { text: damage(&sealed.text, at, bit), ..sealed.clone() },
                Sealed { nonce: damage(&sealed.nonce, at, bit), ..sealed.clone() },
            ] {
                prop_assert!(damaged.open([&key], "vault/x").is_err());
            }
        }

        #[test]
        fn no_document_makes_it_panic(document in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sealed::read(&document);
        }
    }

    fn damage(text: &str, at: prop::sample::Index, bit: u8) -> String {
        let mut bytes = STANDARD.decode(text).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        STANDARD.encode(bytes)
    }
}
