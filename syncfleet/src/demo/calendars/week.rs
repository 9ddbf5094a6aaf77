//! What stands in both calendars before the account is connected.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};
use shared::clock::{Clock as _, SystemClock};

use super::super::systems::Systems;

/// Whose mailbox it is.
pub(super) const MAIL: &str = "anna@kanzlei.example";
/// The zone of both systems.
const ZONE: &str = "Europe/Berlin";

/// Forgets everything and lays out the first events. Safe to repeat.
pub(super) async fn lay_out(systems: &Systems) -> Result<(), String> {
    let zone = TimeZone::get(ZONE).map_err(|error| error.to_string())?;
    let today = SystemClock.now().to_zoned(zone.clone()).date();
    let addresses = systems.addresses().clone();
    let microsoft = addresses.microsoft.unwrap_or_default();
    for (name, base) in [("EspoCRM", &addresses.espocrm), ("Microsoft", &microsoft)] {
        systems.control_at(name, base, Method::POST, "/_control/reset", None).await?;
    }
    for event in events(today) {
        systems.control_at("Microsoft", &microsoft, Method::POST, "/_control/records", Some(event)).await?;
    }
    for (kind, fields) in meetings(today, &zone) {
        let path = format!("/_control/types/{kind}");
        let body = json!({ "fields": fields });
        systems.control_at("EspoCRM", &addresses.espocrm, Method::POST, &path, Some(body)).await?;
    }
    Ok(())
}

fn day(today: Date, days: i32) -> Date {
    (0..days).fold(today, |day, _| day.tomorrow().unwrap_or(day))
}

fn events(today: Date) -> [Value; 2] {
    let event = |days: i32, subject: &str, place: &str, hours: [i8; 2]| {
        let at = |hour: i8| json!({ "dateTime": day(today, days).at(hour, 0, 0, 0).to_string(), "timeZone": ZONE });
        json!({ "mailbox": MAIL, "subject": subject, "location": { "displayName": place },
                "start": at(hours[0]), "end": at(hours[1]) })
    };
    [event(1, "Jour fixe", "Room 2", [9, 10]), event(2, "Dentist", "", [16, 17])]
}

fn meetings(today: Date, zone: &TimeZone) -> [(&'static str, Value); 2] {
    let user = simulators::espocrm::PERSON_ID;
    let record = |days: i32, name: &str, hours: [i8; 2]| {
        let at = |hour: i8| {
            let at = day(today, days).at(hour, 0, 0, 0).to_zoned(zone.clone());
            at.map(|at| at.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string()).ok()
        };
        json!({ "name": name, "dateStart": at(hours[0]), "dateEnd": at(hours[1]), "status": "Planned",
                "assignedUserId": user, "usersIds": [user] })
    };
    [
        ("Meeting", record(1, "Client meeting: Müller", [14, 15])),
        ("Call", record(2, "Call the court", [11, 12])),
    ]
}
