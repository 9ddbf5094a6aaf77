//! The encryption of callbacks, by the vendor's description alone.

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockEncryptMut, KeyIvInit};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use sha1::{Digest, Sha1};

use super::options::WecomCallback;
use crate::dice::Dice;

const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// What goes to a receiver.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) query: String,
    pub(super) encrypted: String,
}

/// Encrypts and signs, with new random bytes and another nonce each time. None where the key is none.
pub(super) fn seal(
    callback: &WecomCallback,
    corp_id: &str,
    message: &str,
    second: i64,
    dice: &mut Dice,
) -> Option<Sealed> {
    let random = [dice.roll().to_be_bytes(), dice.roll().to_be_bytes()].concat();
    let nonce = (dice.roll() % 10_000_000_000).to_string();
    seal_with(callback, corp_id, message, &random, (&second.to_string(), &nonce))
}

fn seal_with(
    callback: &WecomCallback,
    corp_id: &str,
    message: &str,
    random: &[u8],
    (timestamp, nonce): (&str, &str),
) -> Option<Sealed> {
    let key = <[u8; 32]>::try_from(LENIENT.decode(&callback.encoding_aes_key).ok()?).ok()?;
    let iv = <[u8; 16]>::try_from(&key[..16]).ok()?;
    let mut plain = random.to_vec();
    plain.extend_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    plain.extend_from_slice(message.as_bytes());
    plain.extend_from_slice(corp_id.as_bytes());
    let pad = 32 - plain.len() % 32;
    plain.resize(plain.len() + pad, u8::try_from(pad).ok()?);
    let cipher = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into());
    let encrypted = STANDARD.encode(cipher.encrypt_padded_vec_mut::<NoPadding>(&plain));
    let mut parts = [callback.token.as_str(), timestamp, nonce, &encrypted];
    parts.sort_unstable();
    let signature: String = Sha1::digest(parts.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("msg_signature={signature}&timestamp={timestamp}&nonce={nonce}");
    Some(Sealed { query, encrypted })
}

/// Base64 in a query: everything but letters and digits is percent-encoded.
pub(super) fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_an_independent_implementation_sealed_comes_out_to_the_letter() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/wecom/vectors.json");
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let callback = WecomCallback::new("http://x.example/");
        assert_eq!(vectors["config"]["token"], callback.token);
        let events = vectors["events"].as_array().unwrap();
        assert_eq!(events.len(), 22);
        for vector in events {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let query = &vector["query"];
            let (timestamp, nonce) = (text(&query["timestamp"]), text(&query["nonce"]));
            let corp_id = text(&vectors["config"]["corp_id"]);
            let plain = text(&vector["plaintext"]);
            let random = text(&vector["random"]);
            let sealed =
                seal_with(&callback, &corp_id, &plain, random.as_bytes(), (&timestamp, &nonce)).unwrap();
            assert!(sealed.query.contains(query["msg_signature"].as_str().unwrap()), "{}", vector["name"]);
            assert!(vector["body"].as_str().unwrap().contains(&sealed.encrypted), "{}", vector["name"]);
        }
    }
}
