//! The access token: the request for it, its answer, and how long it is used. Pure.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/91039>.

use std::time::Duration;

use http_client::{Answer, Method, Request};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::{elapsed, later};
use shared::fault::Fault;

/// The operation's name.
pub(crate) const OPERATION: &str = "GET gettoken";
/// Longest token that is taken; the vendor names 512 bytes.
const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// The life of a token that comes without one: assumed to be short.
const LIFE_UNNAMED: Duration = Duration::from_secs(10 * 60);
/// Longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its end a token is not used any more. Asked for earlier, WeCom would answer the same one.
const UNUSED_FOR_MAX: Duration = Duration::from_secs(30);
/// The same for short lives: one of this many parts.
const UNUSED_PARTS: u32 = 10;
/// A token that was asked for within this time is not asked for again because a call was refused: WeCom would answer the
/// same one, and each of many calls would ask.
const YOUNG: Duration = Duration::from_secs(30);

/// A token as the fleet keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) token: SecretString,
    pub(crate) obtained_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Whether a call was refused with it.
    pub(crate) refused: bool,
}

#[derive(Serialize, Deserialize)]
struct WireKept {
    token: String,
    obtained_at: Timestamp,
    expires_at: Timestamp,
    #[serde(default)]
    refused: bool,
}

impl Kept {
    /// Whether it is used for a call.
    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        let life = elapsed(self.obtained_at, self.expires_at);
        let unused = UNUSED_FOR_MAX.min(life / UNUSED_PARTS);
        !self.refused && now < later(self.obtained_at, life.saturating_sub(unused))
    }

    /// The same after a call was refused with `token`; nothing where that is another one, or this one is young.
    pub(crate) fn after_refusal(&self, token: &SecretString, now: Timestamp) -> Option<Self> {
        let is_this = token.expose_secret() == self.token.expose_secret();
        let is_young = elapsed(self.obtained_at, now) < YOUNG;
        (is_this && !is_young && !self.refused).then(|| Self { refused: true, ..self.clone() })
    }

    /// As it is kept: a secret.
    pub(crate) fn to_secret(&self) -> Option<SecretString> {
        let wire = WireKept {
            token: self.token.expose_secret().to_owned(),
            obtained_at: self.obtained_at,
            expires_at: self.expires_at,
            refused: self.refused,
        };
        serde_json::to_string(&wire).ok().map(SecretString::from)
    }

    /// Reads what is kept; what cannot be read is not there.
    pub(crate) fn from_secret(secret: &SecretString) -> Option<Self> {
        let WireKept { token, obtained_at, expires_at, refused } =
            serde_json::from_str(secret.expose_secret()).ok()?;
        Some(Self { token: token.into(), obtained_at, expires_at, refused })
    }
}

/// Builds the request for a token.
pub(crate) fn request(corp_id: &str, secret: &SecretString) -> Request {
    Request::new(Method::Get, "gettoken", &[])
        .query("corpid", corp_id)
        .secret_query("corpsecret", secret.clone())
}

#[derive(Deserialize)]
struct WireToken {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// Reads a good answer to a request that was sent at `now`.
pub(crate) fn read(answer: &Answer, now: Timestamp) -> Result<Kept, Fault> {
    let WireToken { access_token, expires_in } = answer.json()?;
    if access_token.is_empty() || access_token.len() > TOKEN_BYTES_MAX {
        return Err(answer.unreadable("no access_token, or one that is too long"));
    }
    let seconds = expires_in.as_u64().or_else(|| expires_in.as_str()?.trim().parse().ok());
    let life = seconds.map_or(LIFE_UNNAMED, Duration::from_secs).min(LIFE_MAX);
    Ok(Kept { token: access_token.into(), obtained_at: now, expires_at: later(now, life), refused: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn kept(life: u64) -> Kept {
        let body = format!(r#"{{"errcode":0,"errmsg":"ok","access_token":"abc","expires_in":{life}}}"#);
        read(&fixtures::answer(body), at(0)).unwrap()
    }

    #[test]
    fn the_secret_goes_where_nothing_is_printed() {
        let request = request("ww1", &"hush-hush".to_owned().into());
        assert_eq!(request.operation(), OPERATION);
        assert_eq!(request.query_pairs(), [("corpid", "ww1".to_owned())]);
        assert!(!format!("{request:?}").contains("hush"), "{request:?}");
    }

    #[test]
    fn a_token_is_used_nearly_to_its_end() {
        let token = kept(7_200);
        assert!(token.is_usable(at(0)) && token.is_usable(at(7_169)) && !token.is_usable(at(7_170)));
        assert!(kept(10).is_usable(at(8)) && !kept(10).is_usable(at(9)));
        assert!(!kept(0).is_usable(at(0)));
        assert!(!format!("{token:?}").contains("abc"));
    }

    #[test]
    fn a_life_may_be_a_text_or_missing() {
        let life = |expires_in: &str| {
            let answer = fixtures::answer(format!(r#"{{"access_token":"abc"{expires_in}}}"#));
            read(&answer, at(0)).unwrap().expires_at
        };
        assert_eq!(life(r#","expires_in":"7200""#), at(7_200));
        assert_eq!(life(""), at(600));
        assert_eq!(life(r#","expires_in":99999999999"#), at(86_400));
        for bad in ["{}", r#"{"access_token":""}"#, r#"{"access_token":7}"#, "<html>", ""] {
            assert_eq!(read(&fixtures::answer(bad), at(0)).unwrap_err().code, "answer_unreadable", "{bad}");
        }
    }

    #[test]
    fn a_refused_token_is_asked_for_anew_once() {
        let token = kept(7_200);
        let own: SecretString = "abc".to_owned().into();
        assert!(token.after_refusal(&own, at(29)).is_none(), "WeCom would answer the same one");
        assert!(token.after_refusal(&"abd".to_owned().into(), at(100)).is_none(), "it was replaced already");
        let refused = token.after_refusal(&own, at(30)).unwrap();
        assert!(!refused.is_usable(at(30)) && refused.after_refusal(&own, at(31)).is_none());
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(token in "[A-Za-z0-9_-]{1,512}", life in 0_u64..90_000, refused: bool, second in 0_u64..100_000) {
            let kept = Kept { token: token.into(), obtained_at: at(5), expires_at: at(5 + life), refused };
            let back = Kept::from_secret(&kept.to_secret().unwrap()).unwrap();
            prop_assert_eq!(back.token.expose_secret(), kept.token.expose_secret());
            prop_assert_eq!(back.is_usable(at(second)), kept.is_usable(at(second)));
            prop_assert!(!back.is_usable(at(second)) || (!refused && second < 5 + life));
        }

        #[test]
        fn nothing_kept_makes_it_panic(text in "\\PC{0,80}") {
            let _ = Kept::from_secret(&text.into());
        }
    }
}
