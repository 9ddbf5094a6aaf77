//! What Meeting and Call have beyond other records: times that hang together, attendees with their answers, reminders.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::definitions::{Definitions, kind};
use super::validation::{read_stamp, stamp};
use crate::store::Store;
use crate::upstream::Record;

/// Where the reminders stand in a stored record, by user: each reads and writes the own ones only.
const REMINDERS: &str = "remindersOf";

/// The fields of attendees, and the types of the records that they name.
const ATTENDEES: [(&str, &str); 3] = [("users", "User"), ("contacts", "Contact"), ("leads", "Lead")];

/// Whether the type is one of these.
pub(super) fn is_one(scope: &str) -> bool {
    ["Meeting", "Call"].contains(&scope)
}

/// A write to one: who writes, and where days begin.
pub(super) struct Writing<'a> {
    pub(super) account_id: &'a str,
    pub(super) zone: &'a TimeZone,
}

impl Writing<'_> {
    /// Makes of a record into which the values were stored what the system makes of it.
    pub(super) fn settle(&self, record: &mut Record, before: Option<&Record>, values: &Record) {
        self.settle_times(record, before, values);
        for (link, _) in ATTENDEES {
            self.settle_attendees(link, record, before, values);
        }
        self.settle_reminders(record, before, values);
    }

    /// Whole days are kept as dates and, from midnight to midnight plus 24 hours, as times. A start that moves alone takes
    /// the end with it.
    fn settle_times(&self, record: &mut Record, before: Option<&Record>, values: &Record) {
        let day = |record: &Record, name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let (first, last) = (day(record, "dateStartDate"), day(record, "dateEndDate"));
        if let Some(first) = first.as_deref().and_then(|day| self.midnight(day)) {
            record.insert("dateStart".to_owned(), json!(stamp(first)));
        }
        if let Some(last) = last.as_deref().and_then(|day| self.midnight(day)) {
            let end = last.checked_add(SignedDuration::from_hours(24)).unwrap_or(last);
            record.insert("dateEnd".to_owned(), json!(stamp(end)));
        }
        let Some(before) = before.filter(|_| values.contains_key("dateStart")) else { return };
        if values.contains_key("dateEnd") || last.is_some() {
            return;
        }
        let at = |record: &Record, name: &str| read_stamp(record.get(name)?.as_str()?);
        let moved = at(before, "dateStart").zip(at(before, "dateEnd")).zip(at(record, "dateStart"));
        if let Some(((start, end), now)) = moved
            && let Ok(end) = now.checked_add(end.duration_since(start))
        {
            record.insert("dateEnd".to_owned(), json!(stamp(end)));
        }
    }

    fn midnight(&self, day: &str) -> Option<Timestamp> {
        let day: jiff::civil::Date = day.parse().ok()?;
        day.to_zoned(self.zone.clone()).ok().map(|midnight| midnight.timestamp())
    }

    /// Ids that are written replace the set; who stays keeps the answer, who is new has none. The assigned user is always
    /// among the users, and whoever makes a record of which he is an attendee has accepted.
    fn settle_attendees(&self, link: &str, record: &mut Record, before: Option<&Record>, values: &Record) {
        let (ids_name, columns_name) = (format!("{link}Ids"), format!("{link}Columns"));
        let mut ids = ids(record, link);
        let assigned = record.get("assignedUserId").and_then(Value::as_str).map(str::to_owned);
        ids.extend(assigned.filter(|_| link == "users"));
        let mut seen = Vec::new();
        ids.retain(|id| {
            let is_new = !seen.contains(id);
            seen.push(id.clone());
            is_new
        });
        let old = before.and_then(|before| before.get(&columns_name)).cloned().unwrap_or(json!({}));
        let new = values.get(&columns_name).cloned().unwrap_or(json!({}));
        let mut columns = Record::new();
        for id in &ids {
            let said = [&new, &old].into_iter().find_map(|columns| columns.get(id)?.get("status").cloned());
            let mut said = said.filter(|said| !said.is_null()).unwrap_or(json!("None"));
            if before.is_none() && link == "users" && id == self.account_id && said == "None" {
                said = json!("Accepted");
            }
            columns.insert(id.clone(), json!({ "status": said }));
        }
        record.insert(ids_name, json!(ids));
        record.insert(columns_name, Value::Object(columns));
    }

    /// Who is no attendee sets none. Where start or users change, those of all others are made anew of their own
    /// preferences, which are not simulated. What does not take place any more reminds nobody (9.2,
    /// `Core/FieldProcessing/Reminder/Saver.php`).
    fn settle_reminders(&self, record: &mut Record, before: Option<&Record>, values: &Record) {
        record.shift_remove("reminders");
        let of_before = before.and_then(|before| before.get(REMINDERS)).and_then(Value::as_object).cloned();
        let mut all = of_before.unwrap_or_default();
        let users = ids(record, "users");
        let was = |name: &str| before.and_then(|before| before.get(name));
        let moved =
            ["dateStart", "usersIds", "assignedUserId"].iter().any(|name| record.get(*name) != was(name));
        all.retain(|user, _| users.contains(user) && (!moved || user == self.account_id));
        if let Some(own) = values.get("reminders").filter(|_| users.iter().any(|id| id == self.account_id)) {
            all.insert(self.account_id.to_owned(), own.clone());
        }
        if record.get("status") != was("status") && record.get("status") != Some(&json!("Planned")) {
            all.clear();
        }
        record.insert(REMINDERS.to_owned(), Value::Object(all));
    }
}

/// The ids of a link.
pub(super) fn ids(record: &Record, link: &str) -> Vec<String> {
    let ids = record.get(&format!("{link}Ids")).and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether columns are written without the ids that they belong to, or times without an end: what the real system makes
/// of that was not observed.
pub(super) fn unobserved(values: &Record, creating: bool) -> Option<&'static str> {
    let lone = |link: &&(&str, &str)| {
        values.contains_key(&format!("{}Columns", link.0)) && !values.contains_key(&format!("{}Ids", link.0))
    };
    if ATTENDEES.iter().any(|link| lone(&link)) {
        return Some("columns of attendees without their ids");
    }
    let has = |name: &str| values.get(name).is_some_and(|value| !value.is_null());
    (creating && !has("dateEnd") && !has("dateEndDate")).then_some("a record without an end")
}

/// What is linked for the first time and is not there.
pub(super) fn is_dangling(
    values: &Record,
    before: Option<&Record>,
    exists: impl Fn(&str, &str) -> bool,
) -> bool {
    ATTENDEES.iter().any(|(link, scope)| {
        let known = before.map(|before| ids(before, link)).unwrap_or_default();
        ids(values, link).iter().any(|id| !known.contains(id) && !exists(scope, id))
    })
}

/// The ids of a link as they are shown: without records that were deleted meanwhile; with the name of each.
pub(super) fn shown(
    record: &Record,
    link: &str,
    name: impl Fn(&str, &str) -> Option<Value>,
) -> [(String, Value); 3] {
    let scope = ATTENDEES.iter().find(|(own, _)| *own == link).map_or("", |(_, scope)| scope);
    let columns = record.get(&format!("{link}Columns"));
    let (mut shown, mut names, mut answers) = (Vec::new(), Record::new(), Record::new());
    for id in ids(record, link) {
        let Some(name) = name(scope, &id) else { continue };
        names.insert(id.clone(), name);
        let said = columns.and_then(|columns| columns.get(&id)).cloned();
        answers.insert(id.clone(), said.unwrap_or(json!({ "status": "None" })));
        shown.push(json!(id));
    }
    [
        (format!("{link}Ids"), Value::Array(shown)),
        (format!("{link}Names"), Value::Object(names)),
        (format!("{link}Columns"), Value::Object(answers)),
    ]
}

/// The reminders of whoever reads.
pub(super) fn reminders(record: &Record, reader_id: &str) -> Value {
    let own = record.get(REMINDERS).and_then(|all| all.get(reader_id)).and_then(Value::as_array).cloned();
    let mut own = own.unwrap_or_default();
    own.sort_by_key(|reminder| reminder.get("seconds").and_then(Value::as_i64));
    Value::Array(own)
}

/// Seconds from start to end.
pub(super) fn duration(record: &Record) -> Value {
    let at = |name: &str| read_stamp(record.get(name)?.as_str()?);
    at("dateStart")
        .zip(at("dateEnd"))
        .map_or(Value::Null, |(start, end)| json!(end.duration_since(start).as_secs()))
}

/// The telephone numbers of a call's people.
pub(super) fn phones(record: &Record, store: &Store) -> Value {
    let mut phones = Record::new();
    for (link, scope) in ATTENDEES {
        for id in ids(record, link) {
            let person = store.get(scope, &id).and_then(Value::as_object);
            let number = person.map(|person| super::contact_data::primary_address(person, "phoneNumber"));
            if let Some(number) = number.filter(|number| !number.is_null()) {
                phones.insert(format!("{scope}_{id}"), number);
            }
        }
    }
    Value::Object(phones)
}

/// Links of people with an answer.
pub(super) fn attendee_links(definitions: &Definitions) -> impl Iterator<Item = &str> {
    definitions
        .fields()
        .filter(|(_, field)| kind(field) == "linkMultiple" && field.contains_key("columns"))
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::accounts::object;
    use super::*;

    fn write(before: Option<&Record>, values: Value) -> Record {
        let (values, zone) = (object(values), TimeZone::get("Europe/Berlin").unwrap());
        let mut record = before.cloned().unwrap_or_default();
        record.extend(values.clone());
        Writing { account_id: "api", zone: &zone }.settle(&mut record, before, &values);
        record
    }

    #[test]
    fn a_start_that_moves_alone_takes_the_end_with_it() {
        let times = json!({ "dateStart": "2026-12-01 09:00:00", "dateEnd": "2026-12-01 10:30:00" });
        let first = write(None, times);
        let moved = write(Some(&first), json!({ "dateStart": "2026-12-02 09:30:00" }));
        assert_eq!(moved["dateEnd"], "2026-12-02 11:00:00");
        let both = json!({ "dateStart": "2026-12-02 09:30:00", "dateEnd": "2026-12-02 08:00:00" });
        assert_eq!(
            write(Some(&first), both)["dateEnd"],
            "2026-12-02 08:00:00",
            "an end before the start is taken"
        );
    }

    #[test]
    fn whole_days_end_24_hours_after_the_last_midnight() {
        let days = |first: &str, last: &str| {
            let record =
                write(None, json!({ "isAllDay": true, "dateStartDate": first, "dateEndDate": last }));
            [record["dateStart"].clone(), record["dateEnd"].clone()]
        };
        assert_eq!(days("2026-12-24", "2026-12-26"), ["2026-12-23 23:00:00", "2026-12-26 23:00:00"]);
        assert_eq!(days("2026-03-29", "2026-03-29"), ["2026-03-28 23:00:00", "2026-03-29 23:00:00"]);
        assert_eq!(days("2026-10-25", "2026-10-25"), ["2026-10-24 22:00:00", "2026-10-25 22:00:00"]);
    }

    #[test]
    fn ids_replace_the_set_and_who_stays_keeps_the_answer() {
        let start = json!({
            "assignedUserId": "anna", "usersIds": ["api"], "contactsIds": ["c1", "c2"],
            "contactsColumns": { "c1": { "status": "Declined" } },
        });
        let first = write(None, start);
        assert_eq!(first["usersIds"], json!(["api", "anna"]));
        assert_eq!(
            first["usersColumns"],
            json!({ "api": { "status": "Accepted" }, "anna": { "status": "None" } })
        );
        let second = write(Some(&first), json!({ "contactsIds": ["c3", "c1"], "usersIds": [] }));
        assert_eq!(second["usersIds"], json!(["anna"]), "the assigned user stays");
        let columns = json!({ "c3": { "status": "None" }, "c1": { "status": "Declined" } });
        assert_eq!(second["contactsColumns"], columns);
    }

    #[test]
    fn reminders_are_each_users_own() {
        let own = json!([{ "type": "Popup", "seconds": 900 }]);
        let theirs = write(None, json!({ "assignedUserId": "anna", "reminders": own }));
        assert_eq!(reminders(&theirs, "api"), json!([]), "an outsider sets none");
        let mine = write(None, json!({ "assignedUserId": "api", "status": "Planned", "reminders": own }));
        assert_eq!((reminders(&mine, "api"), reminders(&mine, "anna")), (own, json!([])));
        assert_eq!(reminders(&write(Some(&mine), json!({ "status": "Held" })), "api"), json!([]));

        let zone = TimeZone::UTC;
        let by_anna = |values: Value| {
            let (values, mut record) = (object(values), mine.clone());
            record.extend(values.clone());
            Writing { account_id: "anna", zone: &zone }.settle(&mut record, Some(&mine), &values);
            reminders(&record, "api")
        };
        assert_ne!(by_anna(json!({ "name": "B" })), json!([]));
        assert_eq!(
            by_anna(json!({ "dateStart": "2026-12-01 09:00:00" })),
            json!([]),
            "lost to the preferences"
        );
    }
}
