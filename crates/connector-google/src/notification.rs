//! What a watch channel tells: headers, no body. Verify it, then read it. Pure.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Longest header that is read, in bytes: the vendor's own bound for the longest of them is 256 characters.
pub const HEADER_BYTES_MAX: usize = 1_024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The channel was made; nothing changed.
    Made,
    /// Something changed, or an event was deleted.
    Changed,
    /// The calendar is there no more.
    Gone,
}

/// A notification. What changed is not in it: list by the sync token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Our id of the channel.
    pub channel_id: String,
    /// What it is about; the same as in the answer that made the channel.
    pub resource_id: String,
    /// What happened.
    pub state: State,
    /// Rises with each, not by one.
    pub number: u64,
}

/// Why a notification is refused. The texts hold nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not the headers of one.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// It does not prove that it is Google's, or is about something else than the channel.
    #[error("not verified: {0}")]
    Unverified(&'static str),
}

/// Reads a notification; `header` answers the value of a header by its lower-case name. It is not verified yet: only its
/// channel says with what.
///
/// # Errors
/// [`Refusal::Malformed`].
pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Result<Notification, Refusal> {
    let text = |name: &str, missing: &'static str| {
        let value = header(name).map(str::trim).filter(|value| !value.is_empty());
        let value = value.ok_or(Refusal::Malformed(missing))?;
        match value.len() > HEADER_BYTES_MAX {
            true => Err(Refusal::Malformed("a header that is too long")),
            false => Ok(value),
        }
    };
    let state = match text("x-goog-resource-state", "no X-Goog-Resource-State")? {
        "sync" => State::Made,
        "exists" => State::Changed,
        "not_exists" => State::Gone,
        _ => return Err(Refusal::Malformed("an unknown X-Goog-Resource-State")),
    };
    let number = text("x-goog-message-number", "no X-Goog-Message-Number")?;
    Ok(Notification {
        channel_id: text("x-goog-channel-id", "no X-Goog-Channel-ID")?.to_owned(),
        resource_id: text("x-goog-resource-id", "no X-Goog-Resource-ID")?.to_owned(),
        state,
        number: number.parse().map_err(|_| Refusal::Malformed("X-Goog-Message-Number is no number"))?,
    })
}

/// Whether a notification is its channel's: `token` is the one header `X-Goog-Channel-Token`, `secret` and `resource_id`
/// are what the channel was made with. A notification that overtakes the answer that made its channel has no known
/// resource yet.
///
/// # Errors
/// [`Refusal::Unverified`].
pub fn verify(
    notification: &Notification,
    token: Option<&str>,
    secret: &SecretString,
    resource_id: Option<&str>,
) -> Result<(), Refusal> {
    let token = token.ok_or(Refusal::Unverified("no X-Goog-Channel-Token"))?;
    if token.len() > HEADER_BYTES_MAX || digest(token) != digest(secret.expose_secret()) {
        return Err(Refusal::Unverified("the X-Goog-Channel-Token does not fit"));
    }
    if resource_id.is_some_and(|known| known != notification.resource_id) {
        return Err(Refusal::Unverified("it is about another resource than its channel"));
    }
    Ok(())
}

/// How long it takes to compare digests says nothing about what they are of.
fn digest(text: &str) -> impl PartialEq {
    Sha256::digest(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn headers(name: &str) -> Vec<(String, String)> {
        let text = fixtures::text(name);
        let lines = text.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect()
    }

    fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_vendor_s_notifications_are_read() {
        for (name, state, number) in
            [("push-sync.request.http", State::Made, 1), ("push-exists.request.http", State::Changed, 10)]
        {
            let headers = headers(name);
            let read = read(|name| find(&headers, name)).unwrap();
            assert_eq!((read.state, read.number), (state, number));
            assert_eq!(read.channel_id, "4ba78bf0-6a47-11e2-bcfd-0800200c9a66");
            let secret = SecretString::from("c2VjcmV0LTI1Ni1iaXQ");
            let token = find(&headers, "x-goog-channel-token");
            assert_eq!(verify(&read, token, &secret, Some("ret08u3rv24htgh289g")), Ok(()));
            assert_eq!(verify(&read, token, &secret, None), Ok(()));
        }
    }

    #[test]
    fn whatever_is_not_the_channel_s_is_refused() {
        let headers = headers("push-exists.request.http");
        let read = read(|name| find(&headers, name)).unwrap();
        let secret = SecretString::from("hush");
        let refused = |token: Option<&str>, resource: Option<&str>, why: &str| {
            let refusal = verify(&read, token, &secret, resource).unwrap_err().to_string();
            assert!(refusal.contains(why) && !refusal.contains("hush"), "{refusal}");
        };
        refused(None, None, "no X-Goog-Channel-Token");
        refused(Some(""), None, "does not fit");
        refused(Some("hush "), None, "does not fit");
        refused(Some(&"h".repeat(100_000)), None, "does not fit");
        refused(Some("hush"), Some("another"), "another resource");
    }

    #[test]
    fn what_is_no_notification_says_why() {
        let headers = headers("push-exists.request.http");
        let with = |name: &str, value: Option<&str>| {
            let mut headers = headers.clone();
            headers.retain(|(n, _)| n != name);
            headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            read(|name| find(&headers, name)).unwrap_err().to_string()
        };
        for name in
            ["x-goog-channel-id", "x-goog-resource-id", "x-goog-resource-state", "x-goog-message-number"]
        {
            assert!(with(name, None).to_lowercase().contains(name), "{name}");
            assert!(with(name, Some("")).to_lowercase().contains(name), "{name}");
        }
        // The contract of another of Google's services.
        assert!(with("x-goog-resource-state", Some("add")).contains("unknown"));
        assert!(with("x-goog-message-number", Some("-1")).contains("no number"));
        assert!(with("x-goog-channel-id", Some(&"x".repeat(2_000))).contains("too long"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "\\PC{0,60}", which in 0_usize..4) {
            let mut headers = headers("push-exists.request.http");
            let at = headers.len() - 1 - which;
            headers[at].1 = value;
            let _ = read(|name| find(&headers, name));
        }
    }
}
