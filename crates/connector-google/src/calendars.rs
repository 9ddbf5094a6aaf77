//! The account's calendars, as far as they have to be known.

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use shared::fault::Fault;

use crate::{Google, Reminder, error};

const CALENDAR: &str = "users/me/calendarList/{calendarId}";

/// A calendar, as it is in the account's list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnCalendar {
    /// Its id; that of the user's own calendar is the user's mail address.
    pub id: String,
    /// IANA's name of its zone.
    pub time_zone: Option<String>,
    /// Reminders of events that have none of their own.
    #[serde(default)]
    pub default_reminders: Vec<Reminder>,
}

impl Google {
    /// Reads a calendar of the account's list: `GET users/me/calendarList/{calendarId}`; [`crate::PRIMARY`] is the
    /// user's own. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `calendar_gone`; else as [`Self::list`].
    pub async fn calendar(&self, calendar: &str) -> Result<OwnCalendar, Fault> {
        read_calendar(&self.send(request(calendar)).await?)
    }
}

fn request(calendar: &str) -> Request {
    Request::new(Method::Get, CALENDAR, &[calendar]).query("fields", "id,timeZone,defaultReminders")
}

fn read_calendar(answer: &Answer) -> Result<OwnCalendar, Fault> {
    if error::is_gone(answer) {
        return Err(error::calendar_gone(answer));
    }
    error::success(answer)?.json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SYSTEM, fixtures};

    #[test]
    fn the_own_calendar_says_who_its_user_is() {
        assert_eq!(request("primary").path(), "users/me/calendarList/primary");
        let body = r#"{"id":"user@example.com","timeZone":"Europe/Berlin","defaultReminders":[{"method":"popup","minutes":10}]}"#;
        let own = read_calendar(&Answer::recorded(SYSTEM, "GET x", 200, &[], body)).unwrap();
        assert_eq!((own.id.as_str(), own.default_reminders[0].minutes), ("user@example.com", 10));
        let gone = read_calendar(&fixtures::error("error-404", &[])).unwrap_err();
        assert_eq!((gone.code, gone.kind.name()), ("calendar_gone", "permanent"));
    }
}
