//! What Graph sends to our listener: the handshake, changes, and news of a subscription's own life. Pure, and bounded: the
//! sender is not known before the secret in it was compared. Vendor: <https://learn.microsoft.com/graph/change-notifications-delivery-webhooks>.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

/// Longest body that is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Items in one body.
pub const ITEMS_MAX: usize = 5_000;
/// Longest query with a token of a handshake.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Longest id of a subscription or an event.
const ID_BYTES_MAX: usize = 1_024;

/// The handshake of a new subscription: to be answered at once, with 200, exactly this type and body, and nothing else.
/// The body is whatever the sender wrote: the type keeps it from being taken for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The token, decoded.
    pub body: String,
}

/// The notifications of one request.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// Those that can be read.
    pub items: Vec<Notification>,
    /// How many cannot.
    pub unreadable: usize,
}

/// One of them. Several subscriptions come in one request: the secret of each is compared by itself.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Of which subscription.
    pub subscription_id: String,
    /// What it says.
    pub kind: NotificationKind,
    client_state: SecretString,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationKind {
    /// Something changed: a hint, no more.
    Change {
        /// What became of it.
        change: Change,
        /// The event, where it is named.
        event_id: Option<String>,
    },
    /// The subscription's own life.
    Lifecycle(Lifecycle),
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It is another.
    Updated,
    /// It is gone.
    Deleted,
}

/// What became of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// It waits to be authorised again, by a renewal.
    ReauthorizationRequired,
    /// It is gone: make it anew, and look for changes.
    SubscriptionRemoved,
    /// Notifications were lost: look for changes.
    Missed,
}

/// Why a request is no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationError {
    /// Longer than a mebibyte.
    TooLarge,
    /// More than 5,000.
    TooMany,
    /// Nothing of that kind.
    Unreadable,
}

impl std::fmt::Display for NotificationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => write!(f, "longer than {BODY_BYTES_MAX} bytes"),
            Self::TooMany => write!(f, "more than {ITEMS_MAX} notifications in one request"),
            Self::Unreadable => f.write_str("no notifications of Microsoft Graph"),
        }
    }
}

impl std::error::Error for NotificationError {}

impl Notification {
    /// Whether it holds the secret that was given when its subscription was made. Takes as long whatever it holds.
    pub fn is_from(&self, secret: &SecretString) -> bool {
        let (own, expected) =
            (self.client_state.expose_secret().as_bytes(), secret.expose_secret().as_bytes());
        if own.len() != expected.len() || expected.is_empty() {
            return false;
        }
        let difference =
            own.iter().zip(expected).fold(0_u8, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
        std::hint::black_box(difference) == 0
    }
}

/// The handshake, where the query of a request is one.
pub fn read_validation(query: &str) -> Option<Validation> {
    if query.len() > QUERY_BYTES_MAX {
        return None;
    }
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, token) = pairs.find(|(name, _)| name == "validationToken")?;
    let body = token.into_owned();
    (!body.is_empty()).then_some(Validation { content_type: "text/plain; charset=utf-8", body })
}

#[derive(Deserialize)]
struct WireBody {
    value: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireItem {
    subscription_id: String,
    client_state: Option<String>,
    change_type: Option<String>,
    lifecycle_event: Option<String>,
    resource_data: Option<WireResource>,
}

#[derive(Deserialize)]
struct WireResource {
    id: Option<String>,
}

/// The notifications of a request's body. What one item holds does not hinder the others.
///
/// # Errors
/// [`NotificationError`], for a body that is none of Graph's.
pub fn read_notifications(body: &[u8]) -> Result<Notifications, NotificationError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(NotificationError::TooLarge);
    }
    let body: WireBody = serde_json::from_slice(body).map_err(|_| NotificationError::Unreadable)?;
    if body.value.len() > ITEMS_MAX {
        return Err(NotificationError::TooMany);
    }
    let total = body.value.len();
    let items: Vec<Notification> = body.value.into_iter().filter_map(item).collect();
    Ok(Notifications { unreadable: total - items.len(), items })
}

fn item(value: Value) -> Option<Notification> {
    let item = WireItem::deserialize(value).ok()?;
    let is_id = |id: &String| !id.is_empty() && id.len() <= ID_BYTES_MAX;
    let kind = match item.lifecycle_event.as_deref() {
        Some("reauthorizationRequired") => NotificationKind::Lifecycle(Lifecycle::ReauthorizationRequired),
        Some("subscriptionRemoved") => NotificationKind::Lifecycle(Lifecycle::SubscriptionRemoved),
        Some("missed") => NotificationKind::Lifecycle(Lifecycle::Missed),
        Some(_) => return None,
        None => NotificationKind::Change {
            change: match item.change_type.as_deref()? {
                "created" => Change::Created,
                "updated" => Change::Updated,
                "deleted" => Change::Deleted,
                _ => return None,
            },
            event_id: item.resource_data.and_then(|data| data.id).filter(is_id),
        },
    };
    Some(Notification {
        subscription_id: Some(item.subscription_id).filter(is_id)?,
        kind,
        client_state: SecretString::from(item.client_state.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::event::tests::recorded;

    fn read(name: &str) -> Notifications {
        read_notifications(recorded(name).as_bytes()).unwrap()
    }

    #[test]
    fn each_item_is_checked_by_its_own_secret() {
        let all = read("notification-events-batch.request.json");
        assert_eq!((all.items.len(), all.unreadable), (2, 0));
        let secret = |text: &str| SecretString::from(text.to_owned());
        let from = |at: usize, text: &str| all.items[at].is_from(&secret(text));
        assert!(from(0, "one") && from(1, "two"));
        assert!(!from(0, "two") && !from(1, "one") && !from(0, "") && !from(0, "onf"));
        let change = NotificationKind::Change {
            change: Change::Updated,
            event_id: Some("AAMkAGUwNjQ4ZjIxAAA=".to_owned()),
        };
        assert_eq!(all.items[0].kind, change);
        assert!(!format!("{all:?}").contains("one\""), "{all:?}");
    }

    #[test]
    fn the_subscriptions_own_life_is_told() {
        for (name, expected) in [
            ("lifecycle-missed.request.json", Lifecycle::Missed),
            ("lifecycle-subscriptionremoved.request.json", Lifecycle::SubscriptionRemoved),
            ("lifecycle-reauthorizationrequired.request.json", Lifecycle::ReauthorizationRequired),
        ] {
            let all = read(name);
            assert_eq!(all.items[0].kind, NotificationKind::Lifecycle(expected), "{name}");
        }
    }

    #[test]
    fn without_a_secret_nothing_is_from_us() {
        let body = json!({"value": [{"subscriptionId": "s", "changeType": "updated"}]}).to_string();
        let all = read_notifications(body.as_bytes()).unwrap();
        assert!(!all.items[0].is_from(&SecretString::from(String::new())));
    }

    #[test]
    fn bodies_are_bounded_and_one_bad_item_hinders_no_other() {
        let item = json!({"subscriptionId": "s", "changeType": "updated", "clientState": "x"});
        let body = |items: Vec<Value>| json!({ "value": items }).to_string();
        let all =
            read_notifications(body(vec![json!(7), item.clone(), json!({"changeType": "moved"})]).as_bytes());
        let all = all.unwrap();
        assert_eq!((all.items.len(), all.unreadable), (1, 2));
        let small = json!({"subscriptionId": "s", "changeType": "updated"});
        assert!(read_notifications(body(vec![small.clone(); ITEMS_MAX]).as_bytes()).is_ok());
        let many = read_notifications(body(vec![small; ITEMS_MAX + 1]).as_bytes());
        assert_eq!(many.unwrap_err(), NotificationError::TooMany);
        let long = read_notifications(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert_eq!(long.unwrap_err(), NotificationError::TooLarge);
        for bad in ["", "{}", "[]", "<html>", r#"{"value":{}}"#] {
            assert_eq!(
                read_notifications(bad.as_bytes()).unwrap_err(),
                NotificationError::Unreadable,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_handshake_is_answered_with_its_token_and_nothing_else() {
        let (head, _) = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fixtures/subscription-validate.request.http"),
        )
        .unwrap()
        .split_once(" HTTP/1.1")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
        let query = head.split_once('?').unwrap().1;
        let validation = read_validation(query).unwrap();
        assert_eq!(validation.body, recorded("subscription-validate.response.http").trim_end());
        let markup = read_validation("a=b&validationToken=%3Cscript%3Ealert(1)%3C%2Fscript%3E+%2B").unwrap();
        assert_eq!(markup.body, "<script>alert(1)</script> +");
        assert_eq!(markup.content_type, "text/plain; charset=utf-8");
        for none in ["", "validationToken=", "token=x", &format!("validationToken={}", "x".repeat(10_000))] {
            assert_eq!(read_validation(none), None);
        }
    }

    proptest! {
        #[test]
        fn any_token_comes_back_unharmed(token in "\\PC{1,60}") {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("validationToken", &token).finish();
            prop_assert_eq!(read_validation(&query).unwrap().body, token);
        }

        #[test]
        fn no_body_is_too_odd(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_notifications(&body);
        }
    }
}
