//! Watch channels: asking to be told of changes, and ending that. A channel cannot be renewed, and channels cannot be
//! listed: a new one with a new id is made, and the old one is ended once the new one stands.

use http_client::{Answer, Method, Request};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::fault::Fault;

use crate::{Google, error};

const WATCH: &str = "calendars/{calendarId}/events/watch";
const STOP: &str = "channels/stop";

/// A channel to be made.
#[derive(Debug, Clone)]
pub struct ChannelWanted<'a> {
    /// Ours, new for each: up to 64 letters, digits and `-_+/=`.
    pub id: &'a str,
    /// The https address that is told.
    pub address: &'a str,
    /// Comes with each notification: up to 256 characters.
    pub token: &'a SecretString,
    /// When it ends at the latest; Google has a bound of about a week.
    pub until: Timestamp,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Our id of it.
    pub id: String,
    /// Google's id of what it is about; is needed to end it.
    pub resource_id: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl Google {
    /// Asks to be told when events change: `POST calendars/{calendarId}/events/watch`. NOT safe to repeat: an id is
    /// taken once, and where the answer was lost the channel may stand until its end.
    ///
    /// # Errors
    /// Permanent `request_refused`, where the address has no https or the id is taken; else as [`Self::list`].
    pub async fn watch(&self, calendar: &str, wanted: &ChannelWanted<'_>) -> Result<Channel, Fault> {
        read_watch(&self.send(watch_request(calendar, wanted)).await?, wanted)
    }

    /// Ends a channel: `POST channels/stop`. Safe to repeat; one that is not there is ended. What is on its way still
    /// arrives.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn stop(&self, id: &str, resource_id: &str) -> Result<(), Fault> {
        let answer = self.send(stop_request(id, resource_id)).await?;
        if error::is_gone(&answer) {
            return Ok(());
        }
        error::success(&answer).map(|_| ())
    }
}

fn watch_request(calendar: &str, wanted: &ChannelWanted<'_>) -> Request {
    Request::new(Method::Post, WATCH, &[calendar]).json(&json!({
        "id": wanted.id,
        "type": "web_hook",
        "address": wanted.address,
        "token": wanted.token.expose_secret(),
        "expiration": wanted.until.as_millisecond().to_string(),
    }))
}

fn stop_request(id: &str, resource_id: &str) -> Request {
    Request::new(Method::Post, STOP, &[]).json(&json!({"id": id, "resourceId": resource_id}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireChannel {
    id: String,
    resource_id: String,
    expiration: Option<String>,
}

fn read_watch(answer: &Answer, wanted: &ChannelWanted<'_>) -> Result<Channel, Fault> {
    if error::is_gone(answer) {
        return Err(error::calendar_gone(answer));
    }
    let wire: WireChannel = error::success(answer)?.json()?;
    if wire.id != wanted.id {
        return Err(answer.unreadable("another channel than the one asked for"));
    }
    let until = wire.expiration.and_then(|text| text.parse().ok());
    let until = until.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Ok(Channel { id: wire.id, resource_id: wire.resource_id, until })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{SYSTEM, fixtures};

    fn json_of(request: &Request) -> Value {
        serde_json::from_slice(request.body()).unwrap()
    }

    #[test]
    fn a_channel_is_asked_for_as_the_vendor_does() {
        let token = SecretString::from("c2VjcmV0LTI1Ni1iaXQ");
        let wanted = ChannelWanted {
            id: "01234567-89ab-cdef-0123456789ab",
            address: "https://sync.example/hooks/google",
            token: &token,
            until: Timestamp::from_millisecond(1_426_325_213_000).unwrap(),
        };
        let request = watch_request("primary", &wanted);
        let expected: Value = serde_json::from_str(&fixtures::text("watch.request.json")).unwrap();
        assert_eq!(json_of(&request), expected);
        let channel = read_watch(&fixtures::answer("watch.response.json"), &wanted).unwrap();
        assert_eq!((channel.resource_id.as_str(), channel.until), ("o3hgv1538sdjfh", Some(wanted.until)));
        let other = ChannelWanted { id: "another", ..wanted };
        let fault = read_watch(&fixtures::answer("watch.response.json"), &other).unwrap_err();
        assert_eq!(fault.code, "answer_unreadable");
    }

    #[test]
    fn a_channel_is_ended_by_both_its_ids() {
        let expected: Value = serde_json::from_str(&fixtures::text("channel-stop.request.json")).unwrap();
        let text = |name: &str| expected[name].as_str().unwrap();
        assert_eq!(json_of(&stop_request(text("id"), text("resourceId"))), expected);
        let taken = r#"{"error":{"errors":[{"reason":"channelIdNotUnique"}],"code":400,"message":"Channel id x not unique"}}"#;
        let taken = Answer::recorded(SYSTEM, "POST x", 400, &[], taken);
        assert!(error::fault(&taken).text.contains("channelIdNotUnique"));
    }
}
