//! A delivery of a webhook: verify it, then read which records it is about. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::EspoId;
use crate::auth::signer;

/// Most items that are read from one delivery; EspoCRM sends up to 50.
pub const ITEMS_MAX: usize = 1_000;

/// Why a delivery is refused. The texts hold nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No usable `Signature` header, an unknown webhook, or a signature that does not fit: answer 401, which
    /// EspoCRM tries again later.
    #[error("not verified: {0}")]
    Unverified(&'static str),
    /// Verified, but not an array of at most [`ITEMS_MAX`] items.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A record and the attributes that came with it: on create those that were stored, on update those that
    /// changed, on delete none. A hint, to be followed by a read.
    Record {
        /// Which.
        id: EspoId,
        /// What came along, `id` included.
        attributes: Map<String, Value>,
    },
    /// Unusable, with the reason; the other items are not affected.
    Malformed(String),
}

/// Verifies a delivery on its raw body and answers the id of its webhook.
///
/// `signature` is the one `Signature` header: `base64(webhook id + ":" + hex(HMAC-SHA256(secret key, body)))`. The
/// comparison takes the same time wherever the difference is. The older header `X-Signature` is never asked: every
/// supported version (9.2.2 and later) sends both, and 11.0 drops it.
///
/// # Errors
/// [`Refusal::Unverified`].
pub fn verify<'a>(
    signature: Option<&str>,
    body: &[u8],
    secrets: &'a BTreeMap<EspoId, SecretString>,
) -> Result<&'a EspoId, Refusal> {
    let signature = signature.ok_or(Refusal::Unverified("no Signature header"))?;
    let unreadable = Refusal::Unverified("the Signature header is unreadable");
    let decoded = STANDARD.decode(signature.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((id, digest)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(unreadable);
    };
    let (Ok(id), Ok(digest)) = (EspoId::new(id), hex::decode(digest)) else { return Err(unreadable) };
    let (id, secret) =
        secrets.get_key_value(&id).ok_or(Refusal::Unverified("the webhook is unknown here"))?;
    signer(secret.expose_secret().as_bytes())
        .chain_update(body)
        .verify_slice(&digest)
        .map_err(|_| Refusal::Unverified("the signature does not fit the body"))?;
    Ok(id)
}

/// Reads the events of a verified delivery, in their order. One record can be there several times.
///
/// # Errors
/// [`Refusal::Malformed`] when it is no JSON array, or one with more than [`ITEMS_MAX`] items.
pub fn read_items(body: &[u8]) -> Result<Vec<Item>, Refusal> {
    let items: Vec<Value> = serde_json::from_slice(body).map_err(|e| {
        Refusal::Malformed(format!("the body is no JSON array (line {}, column {})", e.line(), e.column()))
    })?;
    if items.len() > ITEMS_MAX {
        return Err(Refusal::Malformed(format!("{} items, at most {ITEMS_MAX} are taken", items.len())));
    }
    Ok(items.into_iter().map(read_item).collect())
}

fn read_item(item: Value) -> Item {
    let Value::Object(attributes) = item else { return Item::Malformed("an item that is no object".into()) };
    match attributes.get("id").and_then(Value::as_str).map(EspoId::new) {
        Some(Ok(id)) => Item::Record { id, attributes },
        Some(Err(error)) => Item::Malformed(error.to_string()),
        None => Item::Malformed("an item without id".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    const DELIVERIES: [(&str, &str, &str); 3] = [
        ("210-webhook-delivery-create", "6b0056946bcab3715", "f49b8551882000c60fbf2c7f93e75bf9"),
        ("211-webhook-delivery-update", "6b005694762a044d1", "6be10e33044388191e03b6600927d22d"),
        ("212-webhook-delivery-delete", "6b00569480526e4ed", "4b8dad9fc121acd3ce2136c9858b8e30"),
    ];

    fn secrets() -> BTreeMap<EspoId, SecretString> {
        DELIVERIES.iter().map(|(_, id, key)| (EspoId::new(*id).unwrap(), SecretString::from(*key))).collect()
    }

    #[test]
    fn the_recorded_deliveries_are_genuine() {
        for (fixture, id, _) in DELIVERIES {
            let delivery = fixtures::load(fixture);
            let signature = delivery.request_header("signature");
            let secrets = secrets();
            let verified = verify(signature, delivery.request_body.as_bytes(), &secrets);
            assert_eq!(verified.map(EspoId::as_str), Ok(id), "{fixture}");
        }
    }

    #[test]
    fn whatever_is_not_genuine_is_refused() {
        let delivery = fixtures::load("211-webhook-delivery-update");
        let body = delivery.request_body.as_bytes();
        let signature = delivery.request_header("signature").unwrap();
        let refused = |signature: Option<&str>, body: &[u8], why: &str| {
            let secrets = secrets();
            let Err(Refusal::Unverified(text)) = verify(signature, body, &secrets) else { panic!("{why}") };
            assert!(text.contains(why), "{text}");
        };
        refused(None, body, "no Signature");
        refused(Some(signature), &[body, b" "].concat(), "does not fit");
        refused(Some(signature), b"", "does not fit");
        refused(Some(delivery.request_header("x-signature").unwrap()), body, "unreadable");
        refused(Some(&STANDARD.encode("6b005694762a044d1:00")), body, "does not fit");
        refused(Some(&STANDARD.encode("6b005694762a044d1:")), body, "does not fit");
        refused(Some(&STANDARD.encode(format!("6b00ffffffffffff1:{}", "0".repeat(64)))), body, "unknown");
        refused(Some("???"), body, "unreadable");
        let genuine = String::from_utf8(STANDARD.decode(signature).unwrap()).unwrap();
        let shortened = genuine.get(..genuine.len() - 2).unwrap();
        refused(Some(&STANDARD.encode(shortened)), body, "does not fit");
    }

    #[test]
    fn items_are_read_in_order_and_a_bad_one_spoils_nothing() {
        let delivery = fixtures::load("211-webhook-delivery-update");
        let items = read_items(delivery.request_body.as_bytes()).unwrap();
        let [Item::Record { id, attributes }, Item::Record { id: again, .. }] = items.as_slice() else {
            panic!("{items:?}")
        };
        assert_eq!((id.as_str(), again), ("6b005694983457aa0", id));
        assert_eq!(attributes.get("lastName").and_then(Value::as_str), Some("Probst"));

        let mixed = read_items(br#"[{"id":"1"},{"name":"x"},7,{"id":"../x"},{"id":5}]"#).unwrap();
        let usable: Vec<bool> = mixed.iter().map(|item| matches!(item, Item::Record { .. })).collect();
        assert_eq!(usable, [true, false, false, false, false]);
    }

    #[test]
    fn a_body_that_is_no_array_is_refused_without_quoting_it() {
        for body in ["", "{}", "null", r#"{"id":"Mustermann"}"#, "[1", "<html>"] {
            let Err(Refusal::Malformed(text)) = read_items(body.as_bytes()) else { panic!("{body}") };
            assert!(!text.contains("Muster"), "{text}");
        }
        let many = format!("[{}1]", "1,".repeat(ITEMS_MAX));
        assert!(read_items(many.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_header_and_no_body_make_it_panic(signature in "\\PC{0,80}", body in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(verify(Some(&signature), &body, &secrets()).is_err());
            prop_assert!(verify(Some(&STANDARD.encode(&signature)), &body, &secrets()).is_err());
            let _ = read_items(&body);
        }
    }
}
