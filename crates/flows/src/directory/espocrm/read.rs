//! From EspoCRM's records to the flow's forms. Pure.

use connector_espocrm::{ContactEntry, MAILS, PHONES, Record};
use serde_json::Value as Json;
use shared::fault::Fault;

use super::form;
use super::needs::{EXTERNAL_ID, POSITIONS};
use crate::directory::ids::{ExternalId, TargetId};
use crate::directory::record::{Attributes, Field, GroupSide, UserSide, Value};
use crate::parties::communications::value::Country;

/// The type of users that are people of the house; API users, the system and portal users are none.
const PERSON: &str = "regular";
/// The types of administrators: they are left alone, or WeCom's console could shut them out of EspoCRM.
const ADMINISTRATORS: [&str; 2] = ["admin", "super-admin"];

/// Which attribute a field is; those with several entries are not among them.
pub(super) const PLAIN: [(Field, &str); 4] = [
    (Field::UserName, "userName"),
    (Field::FamilyName, "lastName"),
    (Field::GivenName, "firstName"),
    (Field::Title, "title"),
];

/// Which type of number a field is.
pub(super) const NUMBERS: [(Field, &str); 2] = [(Field::MobilePhone, "Mobile"), (Field::WorkPhone, "Office")];

/// Whose a user is; none where it is not ours.
pub(super) fn owner_of_user(record: &Record) -> Result<Option<ExternalId>, Fault> {
    if record.text("type")? != Some(PERSON) {
        return Ok(None);
    }
    external_id(record)
}

/// Whose an administrator says to be.
pub(super) fn administrator(record: &Record) -> Result<Option<ExternalId>, Fault> {
    if !record.text("type")?.is_some_and(|kind| ADMINISTRATORS.contains(&kind)) {
        return Ok(None);
    }
    external_id(record)
}

fn external_id(record: &Record) -> Result<Option<ExternalId>, Fault> {
    let external_id = record.text(EXTERNAL_ID)?.and_then(|text| text.parse().ok());
    Ok(external_id.filter(|id| matches!(id, ExternalId::Member(_) | ExternalId::Retired(_))))
}

/// A user as a read of it alone shows it; none where it is not ours.
pub(super) fn user(record: &Record, country: Country) -> Result<Option<UserSide>, Fault> {
    let Some(external_id) = owner_of_user(record)? else { return Ok(None) };
    let mut attributes = Attributes::new();
    let mut put = |field, text: Option<String>| {
        attributes.extend(text.filter(|text| !text.is_empty()).map(|text| (field, Value::Text(text))));
    };
    for (field, attribute) in PLAIN {
        put(field, record.text(attribute)?.map(str::to_owned));
    }
    let numbers = record.contact_data(PHONES)?;
    for (field, kind) in NUMBERS {
        put(field, number(&numbers, kind).map(|entry| normal(form::phone(&entry.value, country), entry)));
    }
    let mails = record.contact_data(MAILS)?;
    put(
        Field::WorkMail,
        mails.iter().find(|entry| entry.primary).map(|entry| normal(form::mail(&entry.value), entry)),
    );
    put(
        Field::OtherMail,
        mails.iter().find(|entry| !entry.primary).map(|entry| normal(form::mail(&entry.value), entry)),
    );
    let active = record.boolean("isActive")?.unwrap_or(false);
    attributes.insert(Field::Active, Value::Flag(active));
    Ok(Some(UserSide { target: target(record), version: version(record), external_id, attributes }))
}

/// The first number of a type.
pub(super) fn number<'e>(numbers: &'e [ContactEntry], kind: &str) -> Option<&'e ContactEntry> {
    numbers.iter().find(|entry| entry.kind.as_deref() == Some(kind))
}

/// What people entered and is in no form of ours shows as it is, and is overwritten.
fn normal(form: Option<String>, entry: &ContactEntry) -> String {
    form.unwrap_or_else(|| entry.value.clone())
}

/// A team; none where it is not ours.
pub(super) fn team(record: &Record) -> Result<Option<GroupSide>, Fault> {
    let positions = record.attributes().get(POSITIONS).and_then(Json::as_array).into_iter().flatten();
    let ids = positions.filter_map(Json::as_str).filter_map(|text| text.parse().ok());
    let mut departments = ids.filter(|id| matches!(id, ExternalId::Department(_)));
    let Some(external_id) = departments.next() else { return Ok(None) };
    let name = record.text("name")?.unwrap_or_default().to_owned();
    Ok(Some(GroupSide { target: target(record), version: version(record), external_id, name }))
}

fn target(record: &Record) -> TargetId {
    TargetId(record.id().to_string())
}

/// The version where records have one, as User has once it is switched on; else when it was changed, to the second.
pub(super) fn version(record: &Record) -> Option<String> {
    let changed = || record.attributes().get("modifiedAt").and_then(Json::as_str).map(str::to_owned);
    record.version().map(|version| version.to_string()).or_else(changed)
}

#[cfg(test)]
mod tests {
    use connector_espocrm::EntityType;
    use serde_json::json;

    use super::*;

    fn record(kind: &str, attributes: Json) -> Record {
        let mut attributes = attributes.as_object().unwrap().clone();
        attributes.insert("id".to_owned(), json!("6b0052294e41f2ecf"));
        Record::new(EntityType::new(kind).unwrap(), attributes).unwrap()
    }

    fn person(external_id: Json, kind: &str) -> Record {
        record(
            "User",
            json!({
                "cWecomId": external_id, "type": kind, "userName": "lisi", "lastName": "李", "firstName": null,
                "title": "", "isActive": true, "modifiedAt": "2026-11-20 14:19:44",
                "phoneNumberData": [
                    { "phoneNumber": "+8613800000000", "type": "Mobile", "primary": true },
                    { "phoneNumber": "020 12", "type": "Office", "primary": false },
                ],
                "emailAddressData": [
                    { "emailAddress": "b@example.com", "primary": false },
                    { "emailAddress": "Li@Example.com", "primary": true },
                ],
            }),
        )
    }

    #[test]
    fn a_user_of_ours_is_read() {
        let side =
            user(&person(json!("wecom:user:lisi"), "regular"), Country::new("CN").unwrap()).unwrap().unwrap();
        assert_eq!(side.external_id.to_string(), "wecom:user:lisi");
        assert_eq!(side.version.as_deref(), Some("2026-11-20 14:19:44"));
        let text = |field| match side.attributes.get(&field) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        assert_eq!((text(Field::UserName), text(Field::Title)), (Some("lisi"), None));
        assert_eq!(
            (text(Field::WorkMail), text(Field::OtherMail)),
            (Some("li@example.com"), Some("b@example.com"))
        );
        assert_eq!(
            (text(Field::MobilePhone), text(Field::WorkPhone)),
            (Some("+8613800000000"), Some("020 12"))
        );
    }

    #[test]
    fn others_are_not_ours() {
        let china = Country::new("CN").unwrap();
        for (external_id, kind) in [
            (json!(null), "regular"),
            (json!("lisi"), "regular"),
            (json!("wecom:dept:3"), "regular"),
            (json!("wecom:user:lisi"), "api"),
            (json!("wecom:user:lisi"), "portal"),
            (json!("wecom:user:lisi"), "admin"),
            (json!("wecom:user:lisi"), "super-admin"),
        ] {
            assert_eq!(
                user(&person(external_id.clone(), kind), china).unwrap(),
                None,
                "{external_id} {kind}"
            );
        }
        let mut without = person(json!("wecom:user:lisi"), "regular").attributes().clone();
        without.shift_remove("cWecomId");
        let without = Record::new(EntityType::new("User").unwrap(), without).unwrap();
        assert_eq!(user(&without, china).unwrap_err().code, "attribute_missing");
    }

    #[test]
    fn an_administrator_with_our_id_is_named_and_nobody_else() {
        for (external_id, kind, expected) in [
            (json!("wecom:user:lisi"), "admin", Some("wecom:user:lisi")),
            (json!("wecom:user:lisi"), "super-admin", Some("wecom:user:lisi")),
            (json!(null), "admin", None),
            (json!("wecom:user:lisi"), "regular", None),
            (json!("wecom:user:lisi"), "api", None),
        ] {
            let found = administrator(&person(external_id, kind)).unwrap();
            assert_eq!(found.map(|id| id.to_string()).as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn a_team_of_ours_has_our_entry_among_its_positions() {
        let team = |positions: Json| {
            team(&record("Team", json!({ "name": "研发", "positionList": positions }))).unwrap()
        };
        let ours = team(json!(["Leiter", "wecom:dept:7"])).unwrap();
        assert_eq!(
            (ours.external_id.to_string(), ours.name, ours.version),
            ("wecom:dept:7".into(), "研发".into(), None)
        );
        for others in [json!(null), json!([]), json!(["Leiter"]), json!(["wecom:user:lisi"])] {
            assert_eq!(team(others.clone()), None, "{others}");
        }
    }
}
