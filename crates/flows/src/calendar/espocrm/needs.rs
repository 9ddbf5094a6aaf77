//! What the flow needs of EspoCRM: the one description that `doctor` checks and `syncfleet provision` makes.
//!
//! What EspoCRM lacks goes into fields of our own. Meeting and Call come with EspoCRM, so each field that is made for
//! them is called `c…` in records ([`attribute`]).

use connector_espocrm::EntityType;
use connector_espocrm::provision::{EntityNeed, FieldNeed, Needs, Right};
use serde_json::json;

use crate::calendar::event::{Busy, Field, LINE_CHARS_MAX};
use crate::calendar::further::{CATEGORIES_MAX, Carried, Importance};
use crate::calendar::series::CrmSeries;
use crate::calendar::sides::{KEY_CHARS_MAX, MeetingKind, MeetingStatus, REMOVED_FROM_MAX};
use crate::crm_checks::VERSION_MIN;

/// The flow's name in the addresses of webhooks.
const FLOW: &str = "calendar";
/// The events, each with a webhook and an address of its own: deliveries do not name theirs.
pub(super) const EVENTS: [&str; 3] = ["create", "update", "delete"];
/// Longest name of a zone.
const ZONE_CHARS_MAX: u32 = 100;
/// Longest list of reminders: 20 numbers of 10 digits, and what is between them.
const REMINDERS_CHARS_MAX: u32 = 255;
/// Longest id of a series: Google's own limit.
const SERIES_ID_CHARS_MAX: u32 = 1_024;
/// Longest id of a calendar of ours, and the end of its line: provider, user, digits.
const CALENDAR_ID_CHARS_MAX: usize = 32 + 64 + 8 + 3;
/// Longest start by the rule.
const ORIGINAL_CHARS_MAX: u32 = 40;

/// What goes into a field of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// Location.
    Location,
    /// The zone whose clock the times, and the rule, follow: IANA's name.
    TimeZone,
    /// How the time is shown to others.
    BusyState,
    /// Not to be seen by others.
    IsPrivate,
    /// Minutes before the start. EspoCRM's own reminders belong to each user: the API user neither reads nor writes those
    /// of others (9.2, `Core/FieldProcessing/Reminder`).
    ReminderMinutes,
    /// Where to join online; EspoCRM's own `joinUrl` is read-only.
    OnlineLink,
    /// The rule of a series, as lines of RFC 5545.
    RecurrenceRule,
    /// The calendar's id of the series, for one of it.
    SeriesId,
    /// Its start by the rule.
    OriginalStart,
    /// What the event has in common with its copies, by which it is found.
    EventKey,
    /// Our ids of the calendars from which the event was deleted while the record stayed, one a line.
    RemovedFrom,
    /// Categories, one a line: EspoCRM's lists of choices take no words that nobody has entered in the administration.
    Categories,
    /// How important it is.
    Importance,
    /// Where it is shown in the browser.
    WebLink,
}

impl Own {
    /// Those that are always needed, as they are made.
    pub(super) const ALL: [Self; 11] = [
        Self::Location,
        Self::TimeZone,
        Self::BusyState,
        Self::IsPrivate,
        Self::ReminderMinutes,
        Self::OnlineLink,
        Self::RecurrenceRule,
        Self::SeriesId,
        Self::OriginalStart,
        Self::EventKey,
        Self::RemovedFrom,
    ];

    /// Those that are needed where they are asked for.
    const FURTHER: [(Field, Self); 3] = [
        (Field::Categories, Self::Categories),
        (Field::Importance, Self::Importance),
        (Field::WebLink, Self::WebLink),
    ];

    /// Those that are needed.
    pub(super) fn needed(carried: &Carried) -> impl Iterator<Item = Self> {
        let further = Self::FURTHER.into_iter().filter(|(field, _)| carried.has(*field));
        Self::ALL.into_iter().chain(further.map(|(_, own)| own))
    }

    /// What the field is called when it is asked for.
    fn name(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::TimeZone => "timeZone",
            Self::BusyState => "busyState",
            Self::IsPrivate => "isPrivate",
            Self::ReminderMinutes => "reminderMinutes",
            Self::OnlineLink => "onlineLink",
            Self::RecurrenceRule => "recurrenceRule",
            Self::SeriesId => "seriesId",
            Self::OriginalStart => "originalStart",
            Self::EventKey => "eventKey",
            Self::RemovedFrom => "removedFrom",
            Self::Categories => "categories",
            Self::Importance => "importance",
            Self::WebLink => "webLink",
        }
    }

    /// What the field is called in records.
    pub(super) fn attribute(self) -> &'static str {
        match self {
            Self::Location => "cLocation",
            Self::TimeZone => "cTimeZone",
            Self::BusyState => "cBusyState",
            Self::IsPrivate => "cIsPrivate",
            Self::ReminderMinutes => "cReminderMinutes",
            Self::OnlineLink => "cOnlineLink",
            Self::RecurrenceRule => "cRecurrenceRule",
            Self::SeriesId => "cSeriesId",
            Self::OriginalStart => "cOriginalStart",
            Self::EventKey => "cEventKey",
            Self::RemovedFrom => "cRemovedFrom",
            Self::Categories => "cCategories",
            Self::Importance => "cImportance",
            Self::WebLink => "cWebLink",
        }
    }

    fn need(self) -> FieldNeed {
        let line = |label: &str, characters: u32| {
            FieldNeed::custom(
                self.name(),
                json!({ "type": "varchar", "label": label, "maxLength": characters }),
            )
            .length_min(characters)
        };
        match self {
            Self::Location => line("Location", chars(LINE_CHARS_MAX)),
            Self::TimeZone => line("Time zone", ZONE_CHARS_MAX),
            Self::BusyState => {
                let words = BUSY.map(|(_, word)| word);
                let definition =
                    json!({ "type": "enum", "label": "Shown as", "options": words, "default": "busy" });
                FieldNeed::custom(self.name(), definition).options_needed(words)
            }
            Self::IsPrivate => FieldNeed::custom(
                self.name(),
                json!({ "type": "bool", "label": "Private", "default": false }),
            ),
            Self::ReminderMinutes => line("Reminders (minutes before)", REMINDERS_CHARS_MAX),
            Self::OnlineLink => {
                FieldNeed::custom(self.name(), json!({ "type": "text", "label": "Online meeting" }))
            }
            Self::RecurrenceRule => {
                let characters = chars(CrmSeries::default().rule_chars_max);
                let definition = json!({ "type": "text", "label": "Recurrence", "maxLength": characters });
                FieldNeed::custom(self.name(), definition).length_min(characters)
            }
            Self::SeriesId => line("Series", SERIES_ID_CHARS_MAX),
            Self::OriginalStart => line("Start by the rule", ORIGINAL_CHARS_MAX),
            Self::EventKey => line("Calendar event", chars(KEY_CHARS_MAX)),
            Self::RemovedFrom => {
                let characters = chars(REMOVED_FROM_MAX * CALENDAR_ID_CHARS_MAX);
                let definition =
                    json!({ "type": "text", "label": "Deleted from calendars", "maxLength": characters });
                FieldNeed::custom(self.name(), definition).length_min(characters)
            }
            Self::Categories => {
                let characters = chars(CATEGORIES_MAX * (LINE_CHARS_MAX + 1));
                let definition =
                    json!({ "type": "text", "label": "Categories (one a line)", "maxLength": characters });
                FieldNeed::custom(self.name(), definition).length_min(characters)
            }
            Self::Importance => {
                let words = IMPORTANCE.map(|(_, word)| word);
                let definition =
                    json!({ "type": "enum", "label": "Importance", "options": words, "default": "normal" });
                FieldNeed::custom(self.name(), definition).options_needed(words)
            }
            Self::WebLink => {
                FieldNeed::custom(self.name(), json!({ "type": "text", "label": "In the calendar" }))
            }
        }
    }
}

/// The words for how the time is shown.
pub(super) const BUSY: [(Busy, &str); 5] = [
    (Busy::Busy, "busy"),
    (Busy::Free, "free"),
    (Busy::Tentative, "tentative"),
    (Busy::OutOfOffice, "out of office"),
    (Busy::Elsewhere, "working elsewhere"),
];

/// The words for how important it is.
pub(super) const IMPORTANCE: [(Importance, &str); 3] =
    [(Importance::Normal, "normal"), (Importance::Low, "low"), (Importance::High, "high")];

/// EspoCRM's words for how it stands.
pub(super) const STATUSES: [(MeetingStatus, &str); 3] = [
    (MeetingStatus::Planned, "Planned"),
    (MeetingStatus::Held, "Held"),
    (MeetingStatus::NotHeld, "Not Held"),
];

/// EspoCRM's name of a kind.
pub(super) fn type_name(kind: MeetingKind) -> &'static str {
    match kind {
        MeetingKind::Meeting => "Meeting",
        MeetingKind::Call => "Call",
    }
}

/// A name as a path has it: `meeting`, `call`.
pub(super) fn path_name(kind: MeetingKind) -> &'static str {
    match kind {
        MeetingKind::Meeting => "meeting",
        MeetingKind::Call => "call",
    }
}

fn chars(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Everything that the flow needs of EspoCRM. `types`: Meeting and Call.
pub(super) fn needs(types: &[(MeetingKind, EntityType); 2], carried: &Carried) -> Needs {
    let records = |scope: &str, action| Right::Records(scope.to_owned(), action);
    let of_type = |(_, name): &(MeetingKind, EntityType)| EntityNeed {
        name: name.clone(),
        template: None,
        fields: fields(carried),
    };
    let on_events = ["create", "read", "edit", "delete"]
        .map(|action| types.each_ref().map(|(_, name)| records(name.as_str(), action)));
    let on_people = ["User", "Contact", "Lead"].map(|scope| records(scope, "read"));
    let others = [
        Right::Switch("Webhook"),
        Right::Permission("assignmentPermission"),
        Right::Permission("messagePermission"),
        Right::Permission("userPermission"),
    ];
    let webhook = |(kind, name): &(MeetingKind, EntityType), event: &str| {
        (format!("{name}.{event}"), format!("{FLOW}/{}/{event}", path_name(*kind)))
    };
    Needs {
        version_min: VERSION_MIN,
        entities: types.iter().map(of_type).collect(),
        rights: on_events.into_iter().flatten().chain(on_people).chain(others).collect(),
        webhooks: types.iter().flat_map(|own| EVENTS.map(|event| webhook(own, event))).collect(),
    }
}

fn fields(carried: &Carried) -> Vec<FieldNeed> {
    let statuses = STATUSES.map(|(_, word)| word);
    let native =
        FieldNeed::native("status", json!({ "type": "enum", "options": statuses })).options_needed(statuses);
    std::iter::once(native).chain(Own::needed(carried).map(Own::need)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_read_under_the_name_that_it_gets() {
        let types = super::super::types().unwrap();
        let all = Carried::of(Carried::WORDS.map(|(word, _)| word));
        for carried in [Carried::default(), all.clone()] {
            for entity in &needs(&types, &carried).entities {
                let own = entity.fields.iter().filter(|field| !field.is_native);
                for (field, own) in own.zip(Own::needed(&carried)) {
                    assert_eq!(entity.attribute(field), own.attribute());
                }
                assert_eq!(entity.fields.len(), Own::needed(&carried).count() + 1);
            }
        }
        assert_eq!(Own::needed(&all).count(), Own::ALL.len() + Own::FURTHER.len());
        let needs = needs(&types, &all);
        assert_eq!(needs.webhooks[4], ("Call.update".to_owned(), "calendar/call/update".to_owned()));
    }
}
