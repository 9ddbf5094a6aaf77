//! The keys of the flow's messages, and our ids of calendars and events. Pure.
//!
//! | key | what a run of it does |
//! |---|---|
//! | `<provider>.<crm user>` | reads what changed in that user's calendar |
//! | `<provider>.<crm user>.<calendar>.<event>` | looks at one event that could not be handled with its page |
//! | `watch.<provider>.<crm user>.<calendar>` | renews the watch of a calendar, or has another one made |
//! | `meeting.<id>`, `call.<id>` | looks at a record of the CRM, for all calendars that have it |

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::record_key::{FlowName, KeyError, RecordKey};
use vault::{AccountId, CrmUser, ProviderName};

use super::sides::{MeetingKind, MeetingRef};

/// Hexadecimal digits of the id of a calendar within its account.
const CALENDAR_DIGITS: usize = 8;
/// Hexadecimal digits of the id of an event.
const EVENT_DIGITS: usize = 32;

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user's calendar.
    Calendar(AccountId),
    /// One event of it.
    Event(CalendarId, EventHash),
    /// Its watch.
    Watch(CalendarId),
    /// A record of the CRM.
    Record(MeetingRef),
}

/// A calendar: the account, and which of its calendars. Another mailbox under the same account is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalendarId {
    /// The account.
    pub account: AccountId,
    /// Hash of the mailbox and of the calendar's name there.
    digits: String,
}

/// Hash of an event's id: vendors' ids are long, and have all kinds of characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventHash(String);

impl CalendarId {
    /// The id of the calendar of this name, or the user's own one, in this mailbox.
    pub fn new(account: AccountId, mailbox: Option<&str>, calendar: Option<&str>) -> Self {
        let digits = digest(&[mailbox.unwrap_or_default(), calendar.unwrap_or_default()], CALENDAR_DIGITS);
        Self { account, digits }
    }

    /// As text, for keys.
    pub fn text(&self) -> String {
        format!("{}.{}", account_id(&self.account), self.digits)
    }

    /// The calendar that has this id ([`Self::text`]).
    pub fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [provider, user, digits] = parts.as_slice() else { return None };
        let account = AccountId::of_user(ProviderName::new(*provider).ok()?, CrmUser::new(*user).ok()?);
        is_hash(digits, CALENDAR_DIGITS).then(|| Self { account, digits: (*digits).to_owned() })
    }
}

impl EventHash {
    /// The hash of an event's id.
    pub fn of(event_id: &str) -> Self {
        Self(digest(&[event_id], EVENT_DIGITS))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A hash that tells texts apart, in hexadecimal digits.
pub(super) fn digest(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize()).chars().take(digits).collect()
}

/// The word of a kind in keys.
pub(super) fn word(kind: MeetingKind) -> &'static str {
    match kind {
        MeetingKind::Meeting => "meeting",
        MeetingKind::Call => "call",
    }
}

/// A record as text, for keys.
pub(super) fn record_id(record: &MeetingRef) -> String {
    format!("{}.{}", word(record.kind), record.id)
}

/// An account as text, for keys; the application's own has no calendar.
fn account_id(account: &AccountId) -> String {
    let user = account.user().map_or("", CrmUser::as_str);
    format!("{}.{user}", account.provider)
}

impl Subject {
    /// The message key.
    ///
    /// # Errors
    /// [`KeyError`] for a record id that is none.
    pub fn key(&self, flow: &FlowName) -> Result<RecordKey, KeyError> {
        let id = match self {
            Self::Calendar(account) => account_id(account),
            Self::Event(calendar, event) => format!("{}.{}", calendar.text(), event.0),
            Self::Watch(calendar) => format!("watch.{}", calendar.text()),
            Self::Record(record) => record_id(record),
        };
        RecordKey::new(flow.clone(), id)
    }

    /// What a key is about; none for a key that is no key of this flow.
    pub fn read(id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.split('.').collect();
        let record = |kind, id: &str| Some(Self::Record(MeetingRef { kind, id: id.to_owned() }));
        match parts.as_slice() {
            ["meeting", id] if !id.is_empty() => record(MeetingKind::Meeting, id),
            ["call", id] if !id.is_empty() => record(MeetingKind::Call, id),
            [_, _] => AccountId::of_record_id(id).ok().map(Self::Calendar),
            ["watch", calendar @ ..] => CalendarId::read(&calendar.join(".")).map(Self::Watch),
            [calendar @ .., event] if is_hash(event, EVENT_DIGITS) => {
                let calendar = CalendarId::read(&calendar.join("."))?;
                Some(Self::Event(calendar, EventHash((*event).to_owned())))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anna() -> AccountId {
        "microsoft/user/6b00526cc80a09e94".parse().unwrap()
    }

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let flow = FlowName::new("calendar").unwrap();
        let calendar = CalendarId::new(anna(), Some("mailbox"), None);
        for subject in [
            Subject::Calendar(anna()),
            Subject::Event(calendar.clone(), EventHash::of("AAMkAD=/x+y")),
            Subject::Watch(calendar),
            Subject::Record(MeetingRef { kind: MeetingKind::Call, id: "6b00526cc80a09e95".into() }),
        ] {
            let key = subject.key(&flow).unwrap();
            assert_eq!(Subject::read(key.id()), Some(subject));
        }
        for other in [
            "",
            "meeting.",
            "microsoft",
            "Microsoft.x",
            "microsoft.x.y",
            "a.b.c.d",
            "microsoft.x.y.z.1",
            "watch.a.b",
        ] {
            assert_eq!(Subject::read(other), None, "{other}");
        }
    }

    #[test]
    fn another_mailbox_or_calendar_is_another_calendar() {
        let ids = [
            CalendarId::new(anna(), None, None),
            CalendarId::new(anna(), Some("a"), None),
            CalendarId::new(anna(), None, Some("a")),
            CalendarId::new(anna(), Some("b"), None),
        ];
        let distinct: std::collections::BTreeSet<String> = ids.iter().map(CalendarId::text).collect();
        assert_eq!(distinct.len(), ids.len());
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(id in "\\PC{0,80}") {
            let _ = Subject::read(&id);
        }

        /// Ids have any length and any characters; the longest key that can be is one.
        #[test]
        fn every_key_fits(event in "\\PC{0,600}", user in "[a-zA-Z0-9_-]{64}", provider in "[a-z][a-z0-9_]{31}") {
            let account =
                AccountId::of_user(ProviderName::new(provider).unwrap(), CrmUser::new(user).unwrap());
            let subject = Subject::Event(CalendarId::new(account, None, None), EventHash::of(&event));
            let key = subject.key(&FlowName::new("calendar").unwrap()).unwrap();
            prop_assert_eq!(Subject::read(key.id()), Some(subject));
        }
    }
}
