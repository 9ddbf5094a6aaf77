//! What people see of their meetings and calls: the page of [`crate::screen`].

use std::io;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::accounts::{Account, AccountKind};
use super::definitions::simulated;
use super::validation::{read_stamp, stamp};
use super::{Espocrm, meetings};
use crate::screen::{Colour, Entered, Entry, Owner, Screen};
use crate::store::Store;
use crate::upstream::Record;

/// The types that are in a calendar.
const KINDS: [&str; 2] = ["Meeting", "Call"];

fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn entry(kind: &str, record: &Record, owner: &Owner) -> Option<Entry> {
    let day = |name: &str| text(record, name).parse::<Date>().ok();
    let (first, last) = (day("dateStartDate"), day("dateEndDate"));
    let at = |name: &str| Some(read_stamp(text(record, name))?.to_zoned(owner.zone.clone()));
    let midnight = |day: Date| day.to_zoned(owner.zone.clone()).ok();
    let status = text(record, "status");
    let rule = text(record, "cRecurrenceRule");
    let notes = [
        Some(kind.to_owned()),
        (!["", "Planned"].contains(&status)).then(|| status.to_lowercase()),
        (!rule.is_empty()).then(|| "repeats".to_owned()),
    ];
    Some(Entry {
        id: format!("{kind}/{}", text(record, "id")),
        title: text(record, "name").to_owned(),
        start: first.and_then(midnight).or_else(|| at("dateStart"))?,
        end: last.and_then(|last| midnight(last.tomorrow().ok()?)).or_else(|| at("dateEnd"))?,
        is_all_day: first.is_some(),
        place: text(record, "cLocation").to_owned(),
        notes: notes.into_iter().flatten().collect(),
        modified: read_stamp(text(record, "modifiedAt")),
    })
}

/// The type and the id of a record, as the page names them.
fn named(id: &str) -> Result<(&'static str, &str), String> {
    let (kind, id) = id.split_once('/').ok_or("This is no record.")?;
    let kind = KINDS.into_iter().find(|known| *known == kind).ok_or("This is no meeting or call.")?;
    Ok((kind, id))
}

impl Espocrm {
    fn of_owner(&self, owner: &Owner) -> Result<&Account, String> {
        let mut people = self.accounts().iter().filter(|account| account.kind == AccountKind::Regular);
        people
            .find(|account| account.user_name == owner.name)
            .ok_or_else(|| "There is no such user.".to_owned())
    }
}

impl Screen for Espocrm {
    const PRODUCT: &'static str = "Simulated EspoCRM";
    const COLOUR: Colour = Colour("#5b4b8a");
    const KINDS: &'static [&'static str] = &KINDS;

    fn owners(&mut self, _store: &mut Store, _now: Timestamp) -> io::Result<Vec<Owner>> {
        let people = self.accounts().iter().filter(|account| account.kind == AccountKind::Regular);
        let owner =
            |account: &Account| Owner { name: account.user_name.clone(), zone: self.time_zone.clone() };
        Ok(people.map(owner).collect())
    }

    fn entries(&self, store: &Store, owner: &Owner, from: Timestamp, until: Timestamp) -> Vec<Entry> {
        let Ok(account) = self.of_owner(owner) else { return Vec::new() };
        let is_own = |record: &Record| {
            text(record, "assignedUserId") == account.id
                || meetings::ids(record, "users").contains(&account.id)
        };
        let of_kind = |kind: &'static str| {
            let records = store.rows(kind).filter_map(|(_, record)| record.as_object());
            records
                .filter(|record| record.get("deleted") != Some(&json!(true)) && is_own(record))
                .filter_map(move |record| entry(kind, record, owner))
        };
        let touches = |entry: &Entry| entry.start.timestamp() < until && entry.end.timestamp() > from;
        KINDS.into_iter().flat_map(of_kind).filter(touches).collect()
    }

    fn fields(&self, _owner: &Owner, entered: &Entered) -> Record {
        let mut fields = Record::new();
        if let Some(title) = &entered.title {
            fields.insert("name".to_owned(), json!(title));
        }
        if let Some((start, end)) = &entered.times {
            fields.insert("dateStart".to_owned(), json!(stamp(start.timestamp())));
            fields.insert("dateEnd".to_owned(), json!(stamp(end.timestamp())));
        }
        fields
    }

    fn add(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        owner: &Owner,
        kind: Option<&str>,
        mut fields: Record,
    ) -> Result<(), String> {
        let id = self.of_owner(owner)?.id.clone();
        let scope = kind.and_then(simulated).ok_or("There is no such kind of event.")?;
        fields.insert("status".to_owned(), json!("Planned"));
        fields.insert("assignedUserId".to_owned(), json!(id));
        fields.insert("usersIds".to_owned(), json!([id]));
        self.create_as(store, now, &id, scope, &fields).map(|_| ())
    }

    fn save(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        owner: &Owner,
        id: &str,
        fields: &Record,
    ) -> Result<(), String> {
        let (scope, id) = named(id)?;
        let user = self.of_owner(owner)?.id.clone();
        self.edit_as(store, now, &user, scope, id, fields)
    }

    fn delete(&mut self, store: &mut Store, now: Timestamp, owner: &Owner, id: &str) -> Result<(), String> {
        let (scope, id) = named(id)?;
        let user = self.of_owner(owner)?.id.clone();
        self.remove_as(store, now, &user, scope, id)
    }
}
