//! Subscriptions to changes of a mailbox's events. Vendor: <https://learn.microsoft.com/graph/api/resources/subscription>,
//! <https://learn.microsoft.com/graph/change-notifications-lifecycle-events>.

use http_client::{Answer, Method, Request};
use jiff::{Timestamp, ToSpan};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::fault::Fault;

use crate::client::{MsGraph, Prefer, checked};
use crate::error;

/// All events of the mailbox: there is nothing smaller that can be subscribed to.
const RESOURCE: &str = "me/events";
const CHANGE_TYPE: &str = "created,updated,deleted";
/// Under seven days, with something for clocks that differ.
const LIFE_MINUTES_MAX: i64 = 10_080 - 10;
/// Longest `clientState`.
const SECRET_CHARS_MAX: usize = 128;
const ONE: &str = "subscriptions/{id}";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SubscriptionWanted {
    /// Where changes are told. It must answer the handshake while this is asked for.
    pub notification_url: String,
    /// Where the subscription's own life is told; the same holds.
    pub lifecycle_url: String,
    /// Comes back with each notification; at most 128 characters.
    pub client_state: SecretString,
    /// Until when; cut to what the service gives.
    pub until: Timestamp,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// What is subscribed to.
    pub resource: String,
    /// Which changes.
    pub change_type: String,
    /// Where they are told.
    pub notification_url: Option<String>,
    /// When it ends.
    #[serde(rename = "expirationDateTime")]
    pub until: Timestamp,
}

#[derive(Deserialize)]
struct Subscriptions {
    value: Vec<Subscription>,
}

impl MsGraph {
    /// Subscribes to all changes of the mailbox's events: `POST subscriptions`. Where the application has such a
    /// subscription already, that one is ended first: it is one that we forgot.
    ///
    /// # Errors
    /// `request_refused` where one of the addresses does not answer the handshake; what is common to all operations.
    pub async fn subscribe(&self, wanted: &SubscriptionWanted) -> Result<Subscription, Fault> {
        let answer = self.send(create_request(wanted, self.clock().now())?).await?;
        if answer.status() != 409 {
            return read_one(&answer);
        }
        for stale in self.subscriptions().await?.iter().filter(|one| is_like_ours(one)) {
            self.unsubscribe(&stale.id).await?;
        }
        read_one(&self.send(create_request(wanted, self.clock().now())?).await?)
    }

    /// Lets a subscription last longer, which authorises it again as well; none where it has to be made anew:
    /// `PATCH subscriptions/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations.
    pub async fn renew(&self, id: &str, until: Timestamp) -> Result<Option<Subscription>, Fault> {
        let answer = self.send(renew_request(checked(id)?, until, self.clock().now())).await?;
        if error::is_gone(&answer) { Ok(None) } else { read_one(&answer).map(Some) }
    }

    /// Answers `reauthorizationRequired`: `POST subscriptions/{id}/reauthorize`; false where it has to be made anew. Not
    /// within ten minutes of [`Self::renew`], which does the same. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations.
    pub async fn reauthorize(&self, id: &str) -> Result<bool, Fault> {
        let request = Request::new(Method::Post, "subscriptions/{id}/reauthorize", &[checked(id)?]);
        let answer = self.send(Prefer::default().on(request)).await?;
        if error::is_gone(&answer) { Ok(false) } else { error::success(&answer).map(|_| true) }
    }

    /// Ends a subscription: `DELETE subscriptions/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations.
    pub async fn unsubscribe(&self, id: &str) -> Result<(), Fault> {
        let request = Request::new(Method::Delete, ONE, &[checked(id)?]);
        let answer = self.send(Prefer::default().on(request)).await?;
        if error::is_gone(&answer) { Ok(()) } else { error::success(&answer).map(|_| ()) }
    }

    /// The subscriptions that this application has with these tokens, of whatever kind: `GET subscriptions`. Safe to repeat.
    ///
    /// # Errors
    /// What is common to all operations.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Fault> {
        let answer = self.send(Prefer::default().on(Request::new(Method::Get, "subscriptions", &[]))).await?;
        read_list(&answer)
    }
}

fn is_like_ours(subscription: &Subscription) -> bool {
    subscription.resource.trim_start_matches('/').eq_ignore_ascii_case(RESOURCE)
        && subscription.change_type.replace(' ', "") == CHANGE_TYPE
}

fn end(until: Timestamp, now: Timestamp) -> String {
    let latest = now.checked_add(LIFE_MINUTES_MAX.minutes()).unwrap_or(now);
    until.min(latest).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn create_request(wanted: &SubscriptionWanted, now: Timestamp) -> Result<Request, Fault> {
    let secret = wanted.client_state.expose_secret();
    if secret.is_empty() || secret.chars().count() > SECRET_CHARS_MAX {
        return Err(Fault::bug("client_state_invalid", "A subscription's secret is empty or too long."));
    }
    // Immutable ids are asked for here, or notifications carry others.
    Ok(Prefer::default().on(Request::new(Method::Post, "subscriptions", &[]).json(&json!({
        "changeType": CHANGE_TYPE,
        "notificationUrl": wanted.notification_url,
        "lifecycleNotificationUrl": wanted.lifecycle_url,
        "resource": RESOURCE,
        "expirationDateTime": end(wanted.until, now),
        "clientState": secret,
    }))))
}

fn renew_request(id: &str, until: Timestamp, now: Timestamp) -> Request {
    let body = json!({ "expirationDateTime": end(until, now) });
    Prefer::default().on(Request::new(Method::Patch, ONE, &[id]).json(&body))
}

fn read_one(answer: &Answer) -> Result<Subscription, Fault> {
    error::success(answer)?.json()
}

fn read_list(answer: &Answer) -> Result<Vec<Subscription>, Fault> {
    error::success(answer)?.json::<Subscriptions>().map(|all| all.value)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::tests::recorded;

    fn answer(status: u16, name: &str) -> Answer {
        let head = [("Content-Type", "application/json")];
        Answer::recorded(crate::SYSTEM, "POST subscriptions", status, &head, recorded(name))
    }

    #[test]
    fn the_vendors_examples_are_read() {
        let made = read_one(&answer(201, "subscription-create.response.json")).unwrap();
        assert_eq!(made.until, "2016-11-20T18:23:45.9356913Z".parse().unwrap());
        assert!(!is_like_ours(&made));
        assert_eq!(read_one(&answer(200, "subscription-renew.response.json")).unwrap().id, made.id);
        assert_eq!(read_list(&answer(200, "subscription-list.response.json")).unwrap().len(), 1);
    }

    #[test]
    fn a_life_is_cut_to_what_the_service_gives() {
        let now: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let wanted = |secret: &str| SubscriptionWanted {
            notification_url: "https://sync.example/a".into(),
            lifecycle_url: "https://sync.example/b".into(),
            client_state: SecretString::from(secret.to_owned()),
            until: "2027-01-01T00:00:00Z".parse().unwrap(),
        };
        let request = create_request(&wanted("hush-hush"), now).unwrap();
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["expirationDateTime"], "2026-03-09T07:50:00Z");
        assert!(!format!("{request:?} {:?}", wanted("hush-hush")).contains("hush"));
        assert!(
            create_request(&wanted(""), now).is_err()
                && create_request(&wanted(&"x".repeat(129)), now).is_err()
        );
        let soon = "2026-03-03T08:00:00Z".parse().unwrap();
        assert_eq!(end(soon, now), "2026-03-03T08:00:00Z");
    }
}
