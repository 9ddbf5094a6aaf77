//! Occurrences of a series: those that are stored because they differ, and those that follow from the rule alone.

use serde_json::{Value, json};

use super::event;
use super::times::When;
use crate::store::Store;
use crate::upstream::Record;

pub(super) fn table(calendar: &str) -> String {
    format!("event/{calendar}")
}

pub(super) fn stored(store: &Store, calendar: &str, id: &str) -> Option<Record> {
    store.get(&table(calendar), id)?.as_object().cloned()
}

/// All that is stored of a calendar, by id.
pub(super) fn rows<'a>(store: &'a Store, calendar: &str) -> Vec<&'a Record> {
    let table = table(calendar);
    store.rows(&table).filter_map(|(_, event)| event.as_object()).collect()
}

/// The stored occurrences of a master, cancelled ones too.
pub(super) fn exceptions(store: &Store, calendar: &str, master: &str) -> Vec<Record> {
    store
        .rows(&table(calendar))
        .filter_map(|(_, event)| event.as_object())
        .filter(|event| event::text(event, "recurringEventId") == master)
        .cloned()
        .collect()
}

/// The occurrence of a master that starts then by the rule.
pub(super) fn occurrence(master: &Record, original: &When) -> Record {
    let mut event = master.clone();
    let duration = match (event::when(master, "start"), event::when(master, "end")) {
        (Some(start), Some(end)) => start.duration_to(&end),
        _ => jiff::SignedDuration::ZERO,
    };
    let id = event::text(master, "id").to_owned();
    event.shift_remove("recurrence");
    for (name, value) in [
        ("id", json!(format!("{id}_{}", original.stamp()))),
        ("recurringEventId", json!(id)),
        ("originalStartTime", original.stored()),
        ("start", original.stored()),
        ("end", original.plus(duration).stored()),
    ] {
        event.insert(name.to_owned(), value);
    }
    event
}

/// The event of that id, stored or following from a rule.
pub(super) fn find(store: &Store, calendar: &str, id: &str) -> Option<Record> {
    if let Some(event) = stored(store, calendar, id) {
        return Some(event);
    }
    let (master, stamp) = id.rsplit_once('_')?;
    let master = stored(store, calendar, master)?;
    let starts = event::series(&master)?.occurrences();
    let original = starts.iter().find(|start| start.stamp() == stamp)?;
    Some(occurrence(&master, original))
}

/// All occurrences of a master: those of the rule, with the stored ones in their places, by original start.
pub(super) fn occurrences(store: &Store, calendar: &str, master: &Record) -> Vec<Record> {
    let id = event::text(master, "id");
    let mut differing = exceptions(store, calendar, id);
    let mut found = Vec::new();
    for original in event::series(master).map(|series| series.occurrences()).unwrap_or_default() {
        let stamp = original.stamp();
        let is_it =
            |event: &Record| event::text(event, "id").rsplit_once('_').is_some_and(|(_, own)| own == stamp);
        match differing.iter().position(is_it) {
            Some(at) => found.push(differing.swap_remove(at)),
            None => found.push(occurrence(master, &original)),
        }
    }
    found.extend(differing);
    found
}

/// Whether the stored occurrence still is one by its master's rule.
pub(super) fn is_of(master: &Record, exception: &Record) -> bool {
    let stamp = event::when(exception, "originalStartTime").map(|when| when.stamp());
    let starts = event::series(master).map(|series| series.occurrences()).unwrap_or_default();
    starts.iter().any(|start| Some(start.stamp()) == stamp)
}

/// The rule of a master with an end, for one whose later occurrences move to a new series. An endless or counted rule
/// gets UNTIL.
pub(super) fn ended_before(lines: &[String], split: &When) -> Vec<Value> {
    let until = match split.plus(jiff::SignedDuration::from_secs(-1)) {
        When::Day(_) => split.plus(jiff::SignedDuration::from_hours(-24)).stamp(),
        at @ When::At { .. } => at.stamp(),
    };
    lines
        .iter()
        .map(|line| match line.strip_prefix("RRULE:") {
            None => json!(line),
            Some(rule) => {
                let kept: Vec<&str> = rule
                    .split(';')
                    .filter(|part| !part.starts_with("UNTIL=") && !part.starts_with("COUNT="))
                    .collect();
                json!(format!("RRULE:{};UNTIL={until}", kept.join(";")))
            }
        })
        .collect()
}
