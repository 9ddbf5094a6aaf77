//! The encryption of callbacks: AES-256-CBC with padding to 32 bytes. Pure; randomness is an argument.

use std::fmt;
use std::sync::Arc;

use aes::Aes256;
use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use http_client::SetupError;
use secrecy::{ExposeSecret as _, SecretBox, SecretSlice, SecretString};

use super::Refusal;
use super::signature::equal;

/// An EncodingAESKey, in characters.
const KEY_CHARS: usize = 43;
const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;
/// WeCom pads to this, which is two blocks of AES: 1 to 32 bytes.
const PAD_MAX: usize = 32;
/// Random bytes and the length, in front of the message.
const HEAD_BYTES: usize = RANDOM_BYTES + 4;
/// Random bytes in front of each message.
pub const RANDOM_BYTES: usize = 16;

/// 43 characters hold 258 bits: the last one has two that mean nothing, and are rarely zero.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// The key of a receiver.
#[derive(Clone)]
pub(crate) struct Key(Arc<SecretBox<[u8; KEY_BYTES]>>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// Reads an EncodingAESKey.
    pub(crate) fn parse(encoding_aes_key: &SecretString) -> Result<Self, SetupError> {
        let text = encoding_aes_key.expose_secret().trim();
        let wrong = || {
            SetupError::Credential(format!(
                "the EncodingAESKey has {KEY_CHARS} letters and digits; copy it whole"
            ))
        };
        if text.len() != KEY_CHARS || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong());
        }
        let decoded: SecretSlice<u8> = LENIENT.decode(text).map_err(|_| wrong())?.into();
        let bytes = <[u8; KEY_BYTES]>::try_from(decoded.expose_secret()).map_err(|_| wrong())?;
        Ok(Self(Arc::new(SecretBox::new(Box::new(bytes)))))
    }

    fn bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }

    fn iv(&self) -> [u8; IV_BYTES] {
        let mut iv = [0; IV_BYTES];
        iv.copy_from_slice(&self.bytes()[..IV_BYTES]);
        iv
    }

    /// Encrypts a message for `receive_id`, and writes it as base64.
    pub(crate) fn encrypt(&self, message: &[u8], receive_id: &str, random: [u8; RANDOM_BYTES]) -> String {
        // A message is bounded far below what its length can say.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut plain = Vec::with_capacity(HEAD_BYTES + message.len() + receive_id.len() + PAD_MAX);
        plain.extend_from_slice(&random);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(message);
        plain.extend_from_slice(receive_id.as_bytes());
        let pad = PAD_MAX - plain.len() % PAD_MAX;
        plain.resize(plain.len() + pad, u8::try_from(pad).unwrap_or(0));
        STANDARD.encode(self.encrypt_blocks(&plain))
    }

    /// Decrypts what is written as base64, and answers the message where it is for `receive_id`.
    pub(crate) fn decrypt(&self, encrypted: &str, receive_id: &str) -> Result<Vec<u8>, Refusal> {
        let mut bytes = STANDARD.decode(encrypted).map_err(|_| Refusal::Ciphertext("it is no base64"))?;
        if bytes.is_empty() {
            return Err(Refusal::Ciphertext("it is empty"));
        }
        self.decrypt_blocks(&mut bytes)?;
        unpack(&bytes, receive_id)
    }

    fn encrypt_blocks(&self, plain: &[u8]) -> Vec<u8> {
        let cipher = cbc::Encryptor::<Aes256>::new(self.bytes().into(), &self.iv().into());
        cipher.encrypt_padded_vec_mut::<NoPadding>(plain)
    }

    fn decrypt_blocks(&self, bytes: &mut [u8]) -> Result<(), Refusal> {
        let cipher = cbc::Decryptor::<Aes256>::new(self.bytes().into(), &self.iv().into());
        let decrypted = cipher.decrypt_padded_mut::<NoPadding>(bytes);
        decrypted.map(|_| ()).map_err(|_| Refusal::Ciphertext("its length is no multiple of 16"))
    }
}

/// Takes the message out of what was decrypted. Only the last byte of the padding counts, as in the vendor's own code.
fn unpack(plain: &[u8], receive_id: &str) -> Result<Vec<u8>, Refusal> {
    let pad = plain.last().copied().map_or(0, usize::from);
    if !(1..=PAD_MAX).contains(&pad) || pad > plain.len() {
        return Err(Refusal::Padding("it is not from 1 to 32; check the EncodingAESKey"));
    }
    let (content, _) = plain.split_at(plain.len() - pad);
    let (head, rest) =
        content.split_at_checked(HEAD_BYTES).ok_or(Refusal::Length("it is shorter than its head"))?;
    let length = head.last_chunk::<4>().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
    let beyond = Refusal::Length("the message is shorter than it says");
    let length = usize::try_from(length).map_err(|_| beyond)?;
    let (message, receiver) = rest.split_at_checked(length).ok_or(beyond)?;
    if !equal(receiver, receive_id.as_bytes()) {
        return Err(Refusal::Receiver("it is for another company than the settings name"));
    }
    Ok(message.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(&SecretString::from(text)).unwrap()
    }

    const PUBLISHED: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

    #[test]
    fn the_last_character_of_a_key_has_bits_that_mean_nothing() {
        assert_eq!(
            hex::encode(key(PUBLISHED).bytes()),
            "8d69989bbaabe67328014c194631ad0719b3dca035b64023df292447aab60760"
        );
        assert!(STANDARD.decode(format!("{PUBLISHED}=")).is_err(), "what a strict decoder says");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for bad in
            ["", "short", &"a".repeat(42), &"a".repeat(44), &"*".repeat(43), &format!("{}=", "a".repeat(42))]
        {
            let error = Key::parse(&SecretString::from(bad)).unwrap_err().to_string();
            assert!(error.contains("EncodingAESKey") && (bad.is_empty() || !error.contains(bad)), "{error}");
        }
        assert_eq!(format!("{:?}", key(PUBLISHED)), "Key(***)");
    }

    #[test]
    fn aes_with_256_bits_works() {
        // FIPS 197, appendix C.3: the key is read here as it stands, with a vector of zeros in front of the one block.
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let cipher = cbc::Encryptor::<Aes256>::new(&bytes.into(), &[0; 16].into());
        let plain = hex::decode("00112233445566778899aabbccddeeff").unwrap();
        let encrypted = cipher.encrypt_padded_vec_mut::<NoPadding>(&plain);
        assert_eq!(hex::encode(encrypted), "8ea2b7ca516745bfeafc49904b496089");
    }

    #[test]
    fn every_length_comes_back_and_uses_every_padding() {
        let key = key(PUBLISHED);
        let mut pads = std::collections::BTreeSet::new();
        for length in 0..200_usize {
            let message = vec![b'm'; length];
            let encrypted = key.encrypt(&message, "ww1", [7; 16]);
            assert_eq!(key.decrypt(&encrypted, "ww1").unwrap(), message, "{length}");
            assert_eq!(STANDARD.decode(&encrypted).unwrap().len() % 32, 0);
            pads.insert(32 - (20 + length + 3) % 32);
        }
        assert_eq!(pads.len(), 32);
    }

    #[test]
    fn damage_and_others_companies_are_refused() {
        let key = key(PUBLISHED);
        let encrypted = key.encrypt(b"hello", "ww1", [7; 16]);
        let refused = |encrypted: &str, receive_id| key.decrypt(encrypted, receive_id).unwrap_err().name();
        for other in ["", "ww", "ww2", "ww12", "ww1\0"] {
            assert_eq!(refused(&encrypted, other), "receiveid", "{other}");
        }
        assert_eq!(refused("", "ww1"), "ciphertext");
        assert_eq!(refused("????", "ww1"), "ciphertext");
        assert_eq!(refused(&STANDARD.encode([1; 15]), "ww1"), "ciphertext");
        assert_eq!(refused(&format!("{encrypted}\n"), "ww1"), "ciphertext");
    }

    proptest! {
        #[test]
        fn whatever_is_encrypted_comes_back(
            message in prop::collection::vec(any::<u8>(), 0..600), receive_id in "\\PC{0,40}", random: [u8; 16],
        ) {
            let key = key(PUBLISHED);
            let encrypted = key.encrypt(&message, &receive_id, random);
            prop_assert_eq!(key.decrypt(&encrypted, &receive_id).unwrap(), message);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            prop_assert!(key(PUBLISHED).decrypt(&text, "ww1").is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = key(PUBLISHED).decrypt(&STANDARD.encode(&bytes), "ww1");
        }

        /// What a wrong length, padding or receiver would reach behind the cipher.
        #[test]
        fn no_plain_text_makes_it_panic(plain in prop::collection::vec(any::<u8>(), 0..120)) {
            let key = key(PUBLISHED);
            let whole = plain.len() - plain.len() % 16;
            let encrypted = STANDARD.encode(key.encrypt_blocks(&plain[..whole]));
            let answer = key.decrypt(&encrypted, "ww1");
            prop_assert!(answer.is_err() || plain[..whole].windows(3).any(|three| three == b"ww1"));
        }
    }
}
