//! What people see of their calendars: the page of [`crate::screen`].

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Google, calendars, event, series, times};
use crate::screen::{Colour, Entered, Entry, Owner, Screen};
use crate::store::Store;
use crate::upstream::{Record, Upstream as _};

/// Google's green.
pub(super) const COLOUR: Colour = Colour("#188038");

fn entry(calendar: &str, event: &Record, owner: &Owner) -> Option<Entry> {
    let (start, end) = (event::when(event, "start")?, event::when(event, "end")?);
    let is_all_day = start.is_day();
    let at = |when: &times::When| match is_all_day {
        true => when.local().to_zoned(owner.zone.clone()).ok(),
        false => Some(when.instant("UTC").to_zoned(owner.zone.clone())),
    };
    let is_of_series = !event::text(event, "recurringEventId").is_empty();
    Some(Entry {
        id: format!("{calendar}:{}", event::text(event, "id")),
        title: event::text(event, "summary").to_owned(),
        start: at(&start)?,
        end: at(&end)?,
        is_all_day,
        place: event::text(event, "location").to_owned(),
        notes: is_of_series.then(|| "repeats".to_owned()).into_iter().collect(),
        modified: event::text(event, "updated").parse().ok(),
    })
}

impl Screen for Google {
    const PRODUCT: &'static str = "Simulated Google Calendar";
    const COLOUR: Colour = COLOUR;

    fn owners(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Vec<Owner>> {
        calendars::ensure(&self.options, store, now)?;
        let zone = |name: &str| times::zone(name).unwrap_or(TimeZone::UTC);
        let users = self.options.users.iter();
        Ok(users.map(|user| Owner { name: user.email.clone(), zone: zone(&user.time_zone) }).collect())
    }

    fn entries(&self, store: &Store, owner: &Owner, from: Timestamp, until: Timestamp) -> Vec<Entry> {
        let Some(access) = calendars::find_as_owner(store, &owner.name) else { return Vec::new() };
        let of_row = |row: &Record| match event::recurrence(row).is_empty() {
            true if event::text(row, "recurringEventId").is_empty() => vec![row.clone()],
            // It comes with its series.
            true => Vec::new(),
            false => series::occurrences(store, &access.id, row),
        };
        let rows = series::rows(store, &access.id);
        let alive = rows.into_iter().filter(|row| !event::is_cancelled(row));
        alive
            .flat_map(of_row)
            .filter(|event| !event::is_cancelled(event))
            .filter(|event| event::is_within(event, &access.time_zone, Some(from), Some(until)))
            .filter_map(|event| entry(&access.id, &event, owner))
            .collect()
    }

    fn fields(&self, _owner: &Owner, entered: &Entered) -> Record {
        let mut fields = Record::new();
        if let Some(title) = &entered.title {
            fields.insert("summary".to_owned(), json!(title));
        }
        if let Some((start, end)) = &entered.times {
            for (name, at) in [("start", start), ("end", end)] {
                let zone = at.time_zone().iana_name();
                let value = json!({ "dateTime": at.datetime().to_string(), "timeZone": zone });
                fields.insert(name.to_owned(), value);
            }
        }
        fields
    }

    fn add(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        owner: &Owner,
        _kind: Option<&str>,
        mut fields: Record,
    ) -> Result<(), String> {
        fields.insert("calendarId".to_owned(), json!(owner.name));
        self.create(store, now, &fields).map(|_| ())
    }

    fn save(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        _owner: &Owner,
        id: &str,
        fields: &Record,
    ) -> Result<(), String> {
        self.edit(store, now, id, fields)
    }

    fn delete(&mut self, store: &mut Store, now: Timestamp, _owner: &Owner, id: &str) -> Result<(), String> {
        self.remove(store, now, id)
    }
}
