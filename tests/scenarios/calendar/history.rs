//! What became of an affair, from the journals of all systems, and what our store has of it: for whoever has to find out why
//! it is not as it should be.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::ports::state::State;
use simulators::JournalEntry;

use super::people::Office;
use super::says::mark;

/// Affairs that are told of, at most.
const AFFAIRS_MAX: usize = 3;
/// How far calendars were read.
const STANDINGS: &str = "calendar/standing/";
/// Longest value that is shown, in characters.
const VALUE_CHARS_MAX: usize = 160;

/// All that was written about the affairs that these complaints are about, in its order.
pub fn of(office: &Office, wrong: &[String]) -> String {
    let numbers: BTreeSet<usize> = wrong.iter().filter_map(|text| number(text)).collect();
    let chosen = numbers.into_iter().take(AFFAIRS_MAX);
    let told = chosen.map(|number| {
        let lines = lines(office, &mark(number));
        format!("#{number}, as the journals have it:\n  {}\n", lines.join("\n  "))
    });
    told.collect()
}

/// What our store has of these affairs' records, and how the calendars stand.
pub async fn kept(office: &Office, store: &dyn State, wrong: &[String]) -> String {
    let numbers: BTreeSet<usize> = wrong.iter().filter_map(|text| number(text)).collect();
    let affairs = numbers.into_iter().take(AFFAIRS_MAX).map(|number| &office.affairs[number]);
    let ids: Vec<&String> = affairs
        .flat_map(|it| it.copies.values().filter_map(|copy| copy.id.as_ref()).chain(it.id.as_ref()))
        .collect();
    let mut told = String::from("in our store:\n");
    for prefix in ["calendar/", "link/calendar/"] {
        let mut after = None::<String>;
        loop {
            let page = store.scan(prefix, after.as_deref(), 200).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, document) in &page {
                let value = String::from_utf8_lossy(&document.value);
                let is_about = ids.iter().any(|id| value.contains(*id) || key.contains(*id));
                if is_about || key.starts_with(STANDINGS) {
                    told.push_str(&format!("  {key}: {value}\n"));
                }
            }
        }
    }
    told
}

fn number(complaint: &str) -> Option<usize> {
    let rest = complaint.strip_prefix('#')?;
    rest.split(|one: char| !one.is_ascii_digit()).next()?.parse().ok()
}

fn lines(office: &Office, mark: &str) -> Vec<String> {
    let journals = [office.crm.journal(), office.microsoft.journal(), office.google.journal()];
    let is_about = |entry: &&JournalEntry| {
        let sides = [&entry.before, &entry.after];
        entry.entity != "Note" && sides.into_iter().flatten().any(|side| side.to_string().contains(mark))
    };
    let mut found: Vec<&JournalEntry> = journals.iter().flatten().filter(is_about).collect();
    found.sort_by_key(|entry| entry.at);
    found.into_iter().map(line).collect()
}

fn line(entry: &JournalEntry) -> String {
    let JournalEntry { at, system, operation, entity, record_id, actor_kind, actor, .. } = entry;
    let value = |side: &Option<Value>, field: &str| {
        let value = side.as_ref().and_then(|side| side.get(field)).unwrap_or(&Value::Null);
        value.to_string().chars().take(VALUE_CHARS_MAX).collect::<String>()
    };
    let changes: Vec<String> = entry
        .changed_fields()
        .iter()
        .map(|field| format!("{field}: {} → {}", value(&entry.before, field), value(&entry.after, field)))
        .collect();
    let id: String = record_id.chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{at} {system} {operation:?} {entity} …{id} by {actor_kind:?} {actor}: {}", changes.join("; "))
}
