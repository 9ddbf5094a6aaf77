//! What is written to an event: what is named, and nothing else.

use serde::{Serialize, Serializer};

use crate::event::{
    Attendee, Body, DateTimeTimeZone, ExtendedProperty, Importance, Location, Recurrence, Sensitivity, ShowAs,
};

/// A value that can be written, and taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Wanted<T> {
    /// It stays as it is.
    #[default]
    AsIs,
    /// It is taken away.
    Nothing,
    /// It becomes this.
    This(T),
}

impl<T> Wanted<T> {
    fn is_as_is(&self) -> bool {
        matches!(self, Self::AsIs)
    }
}

impl<T: Serialize> Serialize for Wanted<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsIs | Self::Nothing => serializer.serialize_none(),
            Self::This(value) => value.serialize(serializer),
        }
    }
}

/// Members of an event. Collections are replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPatch {
    /// One line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Body. Where there is an online meeting, it must carry its block on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTimeTimeZone>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTimeTimeZone>,
    /// Whether it is about whole days: then both are midnights in one zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_all_day: Option<bool>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// How it is shown to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_as: Option<ShowAs>,
    /// Who may see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// The mailbox's own categories, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// How important it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// Whether somebody is reminded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_reminder_on: Option<bool>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reminder_minutes_before_start: Option<i32>,
    /// Who is invited. Writing them mails them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attendees: Option<Vec<Attendee>>,
    /// The rule. Writing another one drops what was changed by itself.
    #[serde(skip_serializing_if = "Wanted::is_as_is")]
    pub recurrence: Wanted<Recurrence>,
    /// Extended properties; those that are not named stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_value_extended_properties: Option<Vec<ExtendedProperty>>,
    /// What makes a create harmless to repeat. Only for a create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_named_is_written() {
        assert_eq!(json!(EventPatch::default()), json!({}));
        let patch = EventPatch {
            subject: Some("x".into()),
            recurrence: Wanted::Nothing,
            show_as: Some(ShowAs::WorkingElsewhere),
            ..EventPatch::default()
        };
        assert_eq!(json!(patch), json!({"subject": "x", "recurrence": null, "showAs": "workingElsewhere"}));
    }
}
