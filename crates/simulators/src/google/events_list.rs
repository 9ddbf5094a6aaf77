//! `events.list` and `events.instances`.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answers::{Refusal, bad_request, invalid, time_range_empty, updated_min_too_long_ago};
use super::calendars::{self, Access, default_reminders};
use super::description::Call;
use super::event::{self, View};
use super::list::{self, Items};
use super::times::{When, millis, zone};
use super::{Google, series};
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::Answer;

const PAGE_ITEMS: usize = 250;
const PAGE_ITEMS_MAX: usize = 2_500;
/// May not stand beside a sync token, and a list with one of them gives none.
const NOT_WITH_TOKEN: [&str; 8] = [
    "iCalUID",
    "orderBy",
    "privateExtendedProperty",
    "q",
    "sharedExtendedProperty",
    "timeMin",
    "timeMax",
    "updatedMin",
];
/// Must be on every increment as they were in the full list.
const FIXED: [&str; 5] = ["singleEvents", "showHiddenInvitations", "eventTypes", "maxAttendees", "timeZone"];
/// `[A]`: `updatedMin` may lie so far back.
const UPDATED_MIN_DAYS_MAX: i64 = 28;

fn check(call: &Call, now: Timestamp) -> Result<(), Refusal> {
    if call.parameter("syncToken").is_some() {
        list::refuse_beside_token(call, &NOT_WITH_TOKEN)?;
    }
    if let (Some(min), Some(max)) = (call.time("timeMin"), call.time("timeMax"))
        && min >= max
    {
        return Err(time_range_empty("timeMax"));
    }
    if call.parameter("orderBy") == Some("startTime") && !call.is_on("singleEvents") {
        let message = "The requested ordering is not available for the particular query.";
        return Err(bad_request(message).at("parameter", "orderBy"));
    }
    if call
        .time("updatedMin")
        .is_some_and(|min| now.duration_since(min) > SignedDuration::from_hours(24 * UPDATED_MIN_DAYS_MAX))
    {
        return Err(updated_min_too_long_ago());
    }
    if call.parameter("timeZone").is_some_and(|name| zone(name).is_none()) {
        return Err(invalid("Invalid time zone.").at("parameter", "timeZone"));
    }
    Ok(())
}

/// Whether the text that is searched for is in one of the fields that are searched.
fn has_text(event: &Record, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let own =
        ["summary", "description", "location"].into_iter().map(|name| event::text(event, name).to_owned());
    let people = event::attendees(event).iter().chain(event.get("organizer"));
    let people = people.flat_map(|person| {
        let name = person.get("displayName").and_then(Value::as_str).unwrap_or_default();
        [event::email(person).to_owned(), name.to_owned()]
    });
    own.chain(people).any(|text| text.to_lowercase().contains(&wanted))
}

impl Google {
    /// The journal's sequence up to which a list shows what happened in a calendar.
    fn horizon(&self, store: &Store, now: Timestamp, calendar: &str) -> u64 {
        let lag = SignedDuration::from_secs(i64::from(self.options.list_lag_seconds));
        if lag.is_zero() {
            return store.sequence();
        }
        let is_unseen = |event: &&Record| {
            let written: Option<Timestamp> = event::text(event, event::WRITTEN).parse().ok();
            written.is_some_and(|written| now.duration_since(written) < lag)
        };
        let unseen = series::rows(store, calendar).into_iter().filter(is_unseen);
        unseen.map(event::change).min().map_or(store.sequence(), |first| first.saturating_sub(1))
    }

    pub(super) fn list_events(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user: &str,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        let access = match calendars::find(store, user, call.path("calendarId")) {
            Ok(access) => access,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = check(call, now) {
            return Ok(Err(refusal));
        }
        let items = Items {
            scope: format!("events of {} for {user}", access.id),
            fixed: &FIXED,
            gives_sync_token: !NOT_WITH_TOKEN
                .iter()
                .any(|name| !name.starts_with("time") && call.parameter(name).is_some()),
            items_default: PAGE_ITEMS,
            items_max: PAGE_ITEMS_MAX,
            floor: calendars::sync_floor(store, &access),
            horizon: self.horizon(store, now, &access.id),
        };
        let rows = Rows {
            call,
            access: &access,
            with_details: self.options.cancelled_with_details,
            horizon: items.horizon,
            is_forgotten: &|event: &Record| self.is_forgotten(event, now),
        };
        let found = rows.all(store, list::since(call));
        let page = self.page(store, now, call, &items, found)?;
        Ok(page.map(|page| answer(page.body(head(store, now, &access, call)))))
    }

    pub(super) fn list_instances(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user: &str,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        let found = || {
            let access = calendars::find(store, user, call.path("calendarId"))?;
            check(call, now)?;
            let master = series::stored(store, &access.id, call.path("eventId"));
            let master = master.filter(|master| !self.is_forgotten(master, now));
            Ok((access, master.ok_or_else(super::answers::not_found)?))
        };
        let (access, master) = match found() {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let items = Items {
            scope: format!("instances of {} in {}", call.path("eventId"), access.id),
            fixed: &[],
            gives_sync_token: false,
            items_default: PAGE_ITEMS,
            items_max: PAGE_ITEMS_MAX,
            floor: 0,
            horizon: store.sequence(),
        };
        let view = View::new(&access, call);
        let (min, max) = (call.time("timeMin"), call.time("timeMax"));
        let original: Option<Timestamp> = call.parameter("originalStart").and_then(|text| text.parse().ok());
        let found: Vec<(String, Value)> = series::occurrences(store, &access.id, &master)
            .iter()
            .filter(|event| call.is_on("showDeleted") || !event::is_cancelled(event))
            .filter(|event| event::is_within(event, &access.time_zone, min, max))
            .filter(|event| {
                let start =
                    event::when(event, "originalStartTime").map(|when| when.instant(&access.time_zone));
                original.is_none() || start == original
            })
            .map(|event| (by_start(event, "originalStartTime"), view.show(event)))
            .collect();
        let page = self.page(store, now, call, &items, found)?;
        Ok(page.map(|page| answer(page.body(head(store, now, &access, call)))))
    }
}

fn head(store: &Store, now: Timestamp, access: &Access, call: &Call) -> Value {
    json!({
        "kind": "calendar#events", "etag": list::collection_etag(store), "summary": access.summary,
        "updated": millis(now), "timeZone": call.parameter("timeZone").unwrap_or(&access.time_zone),
        "accessRole": access.role.name(), "defaultReminders": default_reminders(),
    })
}

fn answer(body: Value) -> Answer {
    let etag = body["etag"].as_str().unwrap_or_default().to_owned();
    Answer::json(200, &body).with("ETag", etag)
}

/// A key that sorts by start, then id.
fn by_start(event: &Record, name: &str) -> String {
    let start = event::when(event, name).map_or(0, |when: When| when.instant("UTC").as_second());
    // Shifted, so that times before 1970 sort as well.
    format!("{:020}/{}", start + 1_000_000_000_000, event::text(event, "id"))
}

/// Which events of a calendar a list shows.
struct Rows<'a> {
    call: &'a Call,
    access: &'a Access,
    with_details: bool,
    horizon: u64,
    is_forgotten: &'a dyn Fn(&Record) -> bool,
}

impl Rows<'_> {
    fn all(&self, store: &Store, since: Option<u64>) -> Vec<(String, Value)> {
        let stored: Vec<&Record> = store
            .rows(&series::table(&self.access.id))
            .filter_map(|(_, event)| event.as_object())
            .filter(|event| event::change(event) <= self.horizon)
            .filter(|event| since.is_none_or(|since| event::change(event) > since))
            .filter(|event| !(self.is_forgotten)(event))
            .collect();
        let view = View::new(self.access, self.call);
        let mut found = Vec::new();
        for event in stored {
            if self.call.is_on("singleEvents") && !event::recurrence(event).is_empty() {
                for mut occurrence in series::occurrences(store, &self.access.id, event) {
                    // Stored ones have rows of their own.
                    if series::stored(store, &self.access.id, event::text(&occurrence, "id")).is_some() {
                        continue;
                    }
                    if event::is_cancelled(event) {
                        occurrence.insert("status".to_owned(), json!("cancelled"));
                    }
                    self.add(&mut found, &view, store, &occurrence, since);
                }
            } else {
                self.add(&mut found, &view, store, event, since);
            }
        }
        found
    }

    fn add(
        &self,
        found: &mut Vec<(String, Value)>,
        view: &View<'_>,
        store: &Store,
        event: &Record,
        since: Option<u64>,
    ) {
        if since.is_none() && !self.is_shown(store, event) || !self.is_of_type(event) {
            return;
        }
        let is_minimal = event::is_cancelled(event) && !self.with_details;
        let shown = if is_minimal { view.show_cancelled(event) } else { view.show(event) };
        let id = event::text(event, "id");
        let key = match (since, self.call.parameter("orderBy")) {
            (Some(_), _) => format!("{:020}/{id}", event::change(event)),
            (None, Some("startTime")) => by_start(event, "start"),
            (None, Some("updated")) => format!("{}/{id}", event::text(event, "updated")),
            (None, _) => id.to_owned(),
        };
        found.push((key, shown));
    }

    fn is_of_type(&self, event: &Record) -> bool {
        let mut wanted = self.call.parameters("eventTypes").peekable();
        wanted.peek().is_none() || wanted.any(|wanted| wanted == event::text(event, "eventType"))
    }

    /// Whether a list without sync token shows it.
    fn is_shown(&self, store: &Store, event: &Record) -> bool {
        let call = self.call;
        let updated: Option<Timestamp> = event::text(event, "updated").parse().ok();
        let updated_min = call.time("updatedMin");
        if updated_min.is_some_and(|min| updated.is_some_and(|updated| updated < min)) {
            return false;
        }
        if event::is_cancelled(event) && !call.is_on("showDeleted") && updated_min.is_none() {
            let master = event::text(event, "recurringEventId");
            let master = series::stored(store, &self.access.id, master);
            let is_series_alive = master.is_some_and(|master| !event::is_cancelled(&master));
            if !is_series_alive || call.is_on("singleEvents") {
                return false;
            }
        }
        call.parameter("iCalUID").is_none_or(|uid| uid == event::text(event, "iCalUID"))
            && call.parameter("q").is_none_or(|wanted| has_text(event, wanted))
            && event::has_properties(event, "private", call, "privateExtendedProperty")
            && event::has_properties(event, "shared", call, "sharedExtendedProperty")
            && event::is_within(event, &self.access.time_zone, call.time("timeMin"), call.time("timeMax"))
    }
}
