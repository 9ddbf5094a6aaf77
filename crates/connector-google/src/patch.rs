//! What is written to an event: the members that are named, and no others.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Attendee, EventId, Reminders, Time};

/// Members of an event to be written. What is not in it stays as it is; lists are written whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventPatch(Map<String, Value>);

impl EventPatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Title.
    #[must_use]
    pub fn summary(self, text: &str) -> Self {
        self.with("summary", text.into())
    }

    /// Text, which Google shows as HTML.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.with("description", text.into())
    }

    /// Where.
    #[must_use]
    pub fn location(self, text: &str) -> Self {
        self.with("location", text.into())
    }

    /// Start and end. What the other kind of time had is taken away.
    #[must_use]
    pub fn times(self, start: &Time, end: &Time) -> Self {
        // Without null the other member would stay beside it.
        let whole =
            |time: &Time| json!({"date": time.date, "dateTime": time.date_time, "timeZone": time.time_zone});
        self.with("start", whole(start)).with("end", whole(end))
    }

    /// The lines of a series; none makes a single event of it.
    #[must_use]
    pub fn recurrence(self, lines: &[String]) -> Self {
        self.with("recurrence", if lines.is_empty() { Value::Null } else { json!(lines) })
    }

    /// Whether the time counts as busy.
    #[must_use]
    pub fn busy(self, is_busy: bool) -> Self {
        self.with("transparency", if is_busy { "opaque" } else { "transparent" }.into())
    }

    /// Whether only the calendar's owners see more than that it is there.
    #[must_use]
    pub fn private(self, is_private: bool) -> Self {
        self.with("visibility", if is_private { "private" } else { "default" }.into())
    }

    /// Reminders of the account's user.
    #[must_use]
    pub fn reminders(self, reminders: &Reminders) -> Self {
        self.with("reminders", as_value(reminders))
    }

    /// All who are invited.
    #[must_use]
    pub fn attendees(self, attendees: &[Attendee]) -> Self {
        self.with("attendees", as_value(&attendees))
    }

    /// Private properties; others stay.
    #[must_use]
    pub fn properties(self, pairs: &[(&str, &str)]) -> Self {
        let private: Map<String, Value> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        self.with("extendedProperties", json!({"private": private}))
    }

    /// As the body of a PATCH.
    pub fn body(&self) -> &Map<String, Value> {
        &self.0
    }

    /// As the body of an insert: nothing has to be taken away.
    pub(crate) fn body_with_id(&self, id: &EventId) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("id".to_owned(), id.as_str().into());
        for (name, value) in &self.0 {
            let value = match value {
                Value::Null => continue,
                Value::Object(members) => Value::Object(
                    members
                        .iter()
                        .filter(|(_, v)| !v.is_null())
                        .map(|(n, v)| (n.clone(), v.clone()))
                        .collect(),
                ),
                other => other.clone(),
            };
            body.insert(name.clone(), value);
        }
        body
    }
}

fn as_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn in_berlin(text: &str) -> Time {
        Time { date: None, date_time: Some(text.to_owned()), time_zone: Some("Europe/Berlin".to_owned()) }
    }

    #[test]
    fn an_insert_is_as_the_vendor_s() {
        let patch = EventPatch::default()
            .summary("Review contract")
            .times(&in_berlin("2026-03-09T10:00:00"), &in_berlin("2026-03-09T11:00:00"))
            .recurrence(&[])
            .properties(&[("crmId", "5f0c2b7d1e3a4c5b6")]);
        let mut body = Value::Object(patch.body_with_id(&EventId::of(&["a test"])));
        body["id"] = "p8f3k2m5q7r9s1t3v5a7c9e1g3".into();
        let expected: Value = serde_json::from_str(&fixtures::text("event-insert.request.json")).unwrap();
        assert_eq!(body, expected);
    }

    #[test]
    fn a_patch_names_what_it_changes_and_takes_away_what_would_stay() {
        let day = Time { date: Some("2026-04-03".to_owned()), ..Time::default() };
        let patch = EventPatch::default().times(&day, &day).recurrence(&[]);
        let whole = json!({"date": "2026-04-03", "dateTime": null, "timeZone": null});
        let body = Value::Object(patch.body().clone());
        assert_eq!(body, json!({"start": whole.clone(), "end": whole, "recurrence": null}));
        assert!(EventPatch::default().is_empty() && !patch.is_empty());
    }
}
