//! The receiver: what WeCom is told in its console, and what is done with it.

use std::fmt;

use http_client::SetupError;
use secrecy::{ExposeSecret as _, SecretString};

use super::Refusal;
use super::cipher::{Key, RANDOM_BYTES};
use super::envelope::{self, Envelope, Format};
use super::event::{self, Message};
use super::query::Query;
use super::signature::{equal, signature};

/// Longest token that WeCom lets a person set.
const TOKEN_CHARS_MAX: usize = 32;

/// A receiver of callbacks: token, EncodingAESKey, and whose messages it takes. WeCom knows one of each app, and one of the
/// contact sync.
#[derive(Clone)]
pub struct Receiver {
    token: SecretString,
    key: Key,
    receive_id: String,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({}, ***)", self.receive_id)
    }
}

/// A callback that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it tells.
    pub message: Message,
    /// The message as it was decrypted: the same in each try of WeCom's, whatever nonce and time it comes with.
    pub plain: Vec<u8>,
    /// `ToUserName` of the envelope, which is not signed.
    pub to: Option<String>,
    /// `AgentID` of the envelope, which is not signed.
    pub agent_id: Option<String>,
    /// What is encrypted, as it came: for signing it anew.
    pub encrypted: String,
    /// How the envelope was written.
    pub format: Format,
}

/// What is encrypted, with the signature over it: for a second receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// `msg_signature`.
    pub msg_signature: String,
    /// `timestamp`.
    pub timestamp: String,
    /// `nonce`.
    pub nonce: String,
    /// `Encrypt` of a body, or `echostr` of a check.
    pub encrypted: String,
}

impl Sealed {
    /// The query of an event.
    pub fn query(&self) -> String {
        self.pairs().finish()
    }

    /// The query of a check of the address.
    pub fn check_query(&self) -> String {
        self.pairs().append_pair("echostr", &self.encrypted).finish()
    }

    /// The body of an event.
    pub fn body(&self, to: &str, agent_id: Option<&str>, format: Format) -> String {
        envelope::write(&Envelope {
            to: Some(to.to_owned()),
            agent_id: agent_id.map(str::to_owned),
            encrypted: self.encrypted.clone(),
            format,
        })
    }

    fn pairs(&self) -> url::form_urlencoded::Serializer<'static, String> {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs
            .append_pair("msg_signature", &self.msg_signature)
            .append_pair("timestamp", &self.timestamp)
            .append_pair("nonce", &self.nonce);
        pairs
    }
}

impl Receiver {
    /// A receiver with the token and the EncodingAESKey that stand in WeCom's console; `corp_id` is the company's.
    ///
    /// # Errors
    /// [`SetupError::Credential`], which says what is wrong with which, and does not repeat it.
    pub fn new(
        token: &SecretString,
        encoding_aes_key: &SecretString,
        corp_id: &str,
    ) -> Result<Self, SetupError> {
        let text = token.expose_secret().trim();
        if text.is_empty() || text.len() > TOKEN_CHARS_MAX || !text.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            let what =
                format!("the callback's token has 1 to {TOKEN_CHARS_MAX} letters and digits; copy it whole");
            return Err(SetupError::Credential(what));
        }
        if corp_id.trim().is_empty() {
            return Err(SetupError::Credential(
                "the corp id is empty; it stands at the end of \"my company\"".to_owned(),
            ));
        }
        Ok(Self {
            token: SecretString::from(text.to_owned()),
            key: Key::parse(encoding_aes_key)?,
            receive_id: corp_id.trim().to_owned(),
        })
    }

    /// The answer to WeCom's check of the address (`GET` with `echostr`): to be sent within a second, as it is, without
    /// quotes and line end.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn answer_check(&self, query: &Query) -> Result<Vec<u8>, Refusal> {
        let echo = query.echostr.as_deref().ok_or(Refusal::Query("it has no echostr"))?;
        self.verify(query, echo)?;
        self.key.decrypt(echo, &self.receive_id)
    }

    /// Verifies and reads an event (`POST`). Answer 200 with an empty body once what follows from it is safe.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was decoded where it is a signature's.
    pub fn open(&self, query: &Query, body: &[u8]) -> Result<Opened, Refusal> {
        let Envelope { to, agent_id, encrypted, format } = envelope::read(body)?;
        self.verify(query, &encrypted)?;
        let plain = self.key.decrypt(&encrypted, &self.receive_id)?;
        let message = event::read(&plain)?;
        Ok(Opened { message, plain, to, agent_id, encrypted, format })
    }

    /// Encrypts and signs a message (an event's, or an echo of a check): for a receiver with a token and key of its own.
    /// `random` and `nonce` are new each time.
    pub fn seal(&self, message: &[u8], random: [u8; RANDOM_BYTES], timestamp: &str, nonce: &str) -> Sealed {
        self.sign(self.key.encrypt(message, &self.receive_id, random), timestamp, nonce)
    }

    /// Signs what is encrypted anew, with another time: for a receiver that refuses old ones.
    pub fn sign(&self, encrypted: String, timestamp: &str, nonce: &str) -> Sealed {
        Sealed {
            msg_signature: signature(self.token.expose_secret(), timestamp, nonce, &encrypted),
            timestamp: timestamp.to_owned(),
            nonce: nonce.to_owned(),
            encrypted,
        }
    }

    fn verify(&self, query: &Query, encrypted: &str) -> Result<(), Refusal> {
        let given = query.msg_signature.as_deref().ok_or(Refusal::Signature("there is no msg_signature"))?;
        let timestamp = query.timestamp.as_deref().ok_or(Refusal::Signature("there is no timestamp"))?;
        let nonce = query.nonce.as_deref().ok_or(Refusal::Signature("there is no nonce"))?;
        let expected = signature(self.token.expose_secret(), timestamp, nonce, encrypted);
        if equal(given.as_bytes(), expected.as_bytes()) {
            Ok(())
        } else {
            Err(Refusal::Signature("it does not fit; check the token in the settings and at WeCom"))
        }
    }
}

#[cfg(test)]
mod tests;
