//! From the flow's forms to what is written to EspoCRM. Pure.

use connector_espocrm::{ContactEntry, MAILS, PHONES, Patch, contact_data};
use serde_json::json;

use super::needs::{EXTERNAL_ID, POSITIONS};
use super::read::{NUMBERS, PLAIN, number};
use crate::directory::ids::ExternalId;
use crate::directory::record::{Attributes, Field, Value};

/// What a record has of numbers and addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Contacts {
    pub(super) numbers: Vec<ContactEntry>,
    pub(super) mails: Vec<ContactEntry>,
}

/// A new team, with the entry that says whose it is.
pub(super) fn new_team(external_id: &ExternalId, name: &str) -> Patch {
    Patch::new().set("name", name).set_raw(POSITIONS, json!([external_id.to_string()]))
}

/// A new user. Without a password of ours EspoCRM makes one that nobody knows, and tells nobody.
pub(super) fn new_user(external_id: &ExternalId, attributes: &Attributes) -> Patch {
    let patch = Patch::new().set("type", "regular").set(EXTERNAL_ID, external_id.to_string());
    changed(patch, &Contacts::default(), attributes)
}

/// Adds these changes to a patch. `present`: a write of numbers or addresses replaces all of them.
pub(super) fn changed(mut patch: Patch, present: &Contacts, changes: &Attributes) -> Patch {
    let text = |field: Field| match changes.get(&field) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    for (field, attribute) in PLAIN {
        if let Some(text) = text(field) {
            patch = patch.set(attribute, text);
        }
    }
    if let Some(Value::Flag(active)) = changes.get(&Field::Active) {
        patch = patch.set("isActive", *active);
    }
    let mut numbers = present.numbers.clone();
    for (field, kind) in NUMBERS {
        if let Some(text) = text(field) {
            numbers = with_number(numbers, kind, text);
        }
    }
    if numbers != present.numbers {
        patch = patch.set_raw(PHONES, contact_data(PHONES, &numbers));
    }
    let mut mails = present.mails.clone();
    for (field, is_first) in [(Field::WorkMail, true), (Field::OtherMail, false)] {
        if let Some(text) = text(field) {
            mails = with_mail(mails, is_first, text);
        }
    }
    if mails != present.mails {
        patch = patch.set_raw(MAILS, contact_data(MAILS, &mails));
    }
    patch
}

/// Adds the external id to a patch.
pub(super) fn owned(patch: Patch, external_id: &ExternalId) -> Patch {
    patch.set(EXTERNAL_ID, external_id.to_string())
}

fn entry(value: &str, kind: Option<&str>, primary: bool) -> ContactEntry {
    let kind = kind.map(str::to_owned);
    ContactEntry { value: value.to_owned(), kind, primary, opt_out: false, invalid: false }
}

/// Puts a number in the place of the first one of its type, or takes that away; those of other types stay.
fn with_number(mut numbers: Vec<ContactEntry>, kind: &str, value: &str) -> Vec<ContactEntry> {
    let before = number(&numbers, kind).map(|entry| entry.value.clone());
    let at = numbers.iter().position(|entry| before.as_ref() == Some(&entry.value));
    let was_primary = at.is_some_and(|at| numbers[at].primary);
    if let Some(at) = at {
        numbers.remove(at);
    }
    if !value.is_empty() {
        // A record has a number once, whatever its type.
        numbers.retain(|entry| entry.value != value);
        let primary = was_primary || !numbers.iter().any(|entry| entry.primary);
        numbers.insert(at.unwrap_or(numbers.len()).min(numbers.len()), entry(value, Some(kind), primary));
    }
    first_is_primary(numbers)
}

/// Puts an address in the place of the first or the second one, or takes that away; all further ones stay.
fn with_mail(mut mails: Vec<ContactEntry>, is_first: bool, value: &str) -> Vec<ContactEntry> {
    if let Some(at) = mails.iter().position(|entry| entry.primary == is_first) {
        mails.remove(at);
    }
    if !value.is_empty() {
        mails.retain(|entry| !entry.value.eq_ignore_ascii_case(value));
        mails.insert(usize::from(!is_first).min(mails.len()), entry(value, None, is_first));
    }
    if is_first { mails } else { first_is_primary(mails) }
}

/// EspoCRM makes none the first one by itself.
fn first_is_primary(mut entries: Vec<ContactEntry>) -> Vec<ContactEntry> {
    if !entries.iter().any(|entry| entry.primary)
        && let Some(first) = entries.first_mut()
    {
        first.primary = true;
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(changes: &[(Field, &str)]) -> Attributes {
        changes.iter().map(|(field, text)| (*field, Value::Text((*text).to_owned()))).collect()
    }

    fn written(present: &Contacts, changes: &[(Field, &str)]) -> serde_json::Value {
        serde_json::to_value(changed(Patch::new(), present, &texts(changes))).unwrap()
    }

    fn values(written: &serde_json::Value, attribute: &str, name: &str) -> Vec<(String, bool)> {
        let entries = written[attribute].as_array().unwrap().iter();
        entries.map(|entry| (entry[name].as_str().unwrap().to_owned(), entry["primary"] == true)).collect()
    }

    #[test]
    fn a_new_user_is_a_person_with_our_id_and_no_password() {
        let id = "wecom:user:lisi".parse().unwrap();
        let mut attributes = texts(&[
            (Field::UserName, "lisi"),
            (Field::FamilyName, "李"),
            (Field::MobilePhone, "+8613800000000"),
            (Field::WorkMail, "li@example.com"),
        ]);
        attributes.insert(Field::Active, Value::Flag(true));
        let patch = serde_json::to_value(new_user(&id, &attributes)).unwrap();
        assert_eq!((&patch["type"], &patch["cWecomId"]), (&json!("regular"), &json!("wecom:user:lisi")));
        assert_eq!((&patch["isActive"], patch.get("password")), (&json!(true), None));
        assert_eq!(patch["phoneNumberData"][0]["type"], "Mobile");
        assert_eq!(values(&patch, MAILS, "emailAddress"), [("li@example.com".to_owned(), true)]);
    }

    #[test]
    fn what_people_added_stays() {
        let present = Contacts {
            numbers: vec![
                entry("+861", Some("Mobile"), true),
                entry("+862", Some("Fax"), false),
                entry("+863", Some("Mobile"), false),
            ],
            mails: vec![
                entry("a@example.com", None, true),
                entry("b@example.com", None, false),
                entry("c@example.com", None, false),
            ],
        };
        let changed = written(&present, &[(Field::MobilePhone, "+864"), (Field::OtherMail, "d@example.com")]);
        let owned = |values: &[(&str, bool)]| -> Vec<(String, bool)> {
            values.iter().map(|(value, primary)| ((*value).to_owned(), *primary)).collect()
        };
        assert_eq!(
            values(&changed, PHONES, "phoneNumber"),
            owned(&[("+864", true), ("+862", false), ("+863", false)])
        );
        assert_eq!(
            values(&changed, MAILS, "emailAddress"),
            owned(&[("a@example.com", true), ("d@example.com", false), ("c@example.com", false)])
        );
        let emptied = written(&present, &[(Field::MobilePhone, ""), (Field::WorkMail, "B@example.com")]);
        assert_eq!(values(&emptied, PHONES, "phoneNumber"), owned(&[("+862", true), ("+863", false)]));
        assert_eq!(
            values(&emptied, MAILS, "emailAddress"),
            owned(&[("B@example.com", true), ("c@example.com", false)])
        );
    }

    #[test]
    fn a_number_that_is_there_under_another_type_changes_its_type() {
        let present = Contacts { numbers: vec![entry("+861", Some("Home"), true)], mails: Vec::new() };
        let changed = written(&present, &[(Field::WorkPhone, "+861")]);
        assert_eq!(changed["phoneNumberData"].as_array().unwrap().len(), 1);
        assert_eq!(changed["phoneNumberData"][0]["type"], "Office");
    }

    #[test]
    fn what_does_not_differ_is_not_written() {
        let present = Contacts { numbers: vec![entry("+861", Some("Mobile"), true)], mails: Vec::new() };
        assert_eq!(written(&present, &[(Field::Title, "")]), json!({ "title": null }));
        assert_eq!(written(&present, &[(Field::WorkMail, "")]), json!({}));
    }
}
