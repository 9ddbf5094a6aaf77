//! What people see of their mailboxes: the page of [`crate::screen`].

use std::io;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::events::Target;
use super::{Mailbox, Microsoft, lists, zones};
use crate::screen::{Colour, Entered, Entry, Owner, Screen};
use crate::store::Store;
use crate::upstream::{Record, Upstream as _};

/// Microsoft's blue.
pub(super) const COLOUR: Colour = Colour("#0f6cbd");

fn entry(target: &Target, zone: &TimeZone) -> Entry {
    let item = target.item();
    let text = |name: &str| item.fields.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let place = item.fields.get("location").and_then(|place| place["displayName"].as_str());
    // Whole days are those days wherever they are looked at.
    let at = |is_start: bool| match item.is_all_day() {
        true => (if is_start { item.start } else { item.end }).to_zoned(zone.clone()).unwrap_or_default(),
        false => {
            let (start, end) = item.span();
            (if is_start { start } else { end }).to_zoned(zone.clone())
        }
    };
    let notes = [(item.is_cancelled, "cancelled"), (target.event.recurrence.is_some(), "repeats")];
    Entry {
        id: target.id(),
        title: text("subject").to_owned(),
        start: at(true),
        end: at(false),
        is_all_day: item.is_all_day(),
        place: place.unwrap_or_default().to_owned(),
        notes: notes.iter().filter(|(is, _)| *is).map(|(_, note)| (*note).to_owned()).collect(),
        modified: Some(item.modified),
    }
}

impl Microsoft {
    fn of_owner(&self, owner: &Owner) -> Option<&Mailbox> {
        self.mailboxes.iter().find(|mailbox| mailbox.address == owner.name)
    }
}

impl Screen for Microsoft {
    const PRODUCT: &'static str = "Simulated Outlook";
    const COLOUR: Colour = COLOUR;

    fn owners(&mut self, _store: &mut Store, _now: Timestamp) -> io::Result<Vec<Owner>> {
        let zone = |mailbox: &Mailbox| zones::find(&mailbox.zone).unwrap_or(TimeZone::UTC);
        let owner = |mailbox: &Mailbox| Owner { name: mailbox.address.clone(), zone: zone(mailbox) };
        Ok(self.mailboxes.iter().map(owner).collect())
    }

    fn entries(&self, store: &Store, owner: &Owner, from: Timestamp, until: Timestamp) -> Vec<Entry> {
        let Some(mailbox) = self.of_owner(owner) else { return Vec::new() };
        let found = lists::within(store, &mailbox.default_calendar(), (from, until));
        found.iter().map(|target| entry(target, &owner.zone)).collect()
    }

    fn fields(&self, owner: &Owner, entered: &Entered) -> Record {
        let mut fields = Record::new();
        if let Some(title) = &entered.title {
            fields.insert("subject".to_owned(), json!(title));
        }
        if let Some((start, end)) = &entered.times {
            let zone = self.of_owner(owner).map(|mailbox| mailbox.zone.as_str());
            for (name, at) in [("start", start), ("end", end)] {
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
        fields.insert("mailbox".to_owned(), json!(owner.name));
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
