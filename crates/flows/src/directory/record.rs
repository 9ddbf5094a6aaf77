//! What the target holds, in no target's own form: groups with members, and users with attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};

/// An attribute of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What it is logged in with; unique in the target, without regard to case.
    UserName,
    /// The whole name.
    DisplayName,
    /// The family name.
    FamilyName,
    /// The given name.
    GivenName,
    /// The alias.
    NickName,
    /// The position.
    Title,
    /// Whether the account may be used.
    Active,
    /// The first mail address.
    WorkMail,
    /// The second one.
    OtherMail,
    /// The mobile number.
    MobilePhone,
    /// The telephone number.
    WorkPhone,
    /// The main department's name or path.
    Department,
    /// Its path.
    Division,
    /// The employee's number.
    EmployeeNumber,
    /// The departments that it leads, as our external ids.
    Leads,
    /// The target's id of whom it reports to.
    Manager,
}

/// What an attribute says. An empty text or list is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// Texts, sorted.
    Texts(Vec<String>),
}

impl Value {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Flag(_) => false,
            Self::Text(text) => text.is_empty(),
            Self::Texts(texts) => texts.is_empty(),
        }
    }
}

/// Attributes by field: what is absent is not known, and left as it is.
pub type Attributes = BTreeMap<Field, Value>;

/// A user as the target says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSide {
    /// Its id there.
    pub target: TargetId,
    /// Its version there, where the target has any.
    pub version: Option<String>,
    /// Whose it is; only what is ours is ever handed to a plan.
    pub external_id: ExternalId,
    /// What it says.
    pub attributes: Attributes,
}

/// A group as the target says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSide {
    /// Its id there.
    pub target: TargetId,
    /// Its version there, where the target has any.
    pub version: Option<String>,
    /// Whose it is.
    pub external_id: ExternalId,
    /// Its name.
    pub name: String,
}

/// What is a member of a group: a user, or with nested groups the group of a department below.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Child {
    /// A user.
    Member(MemberId),
    /// A group.
    Department(DepartmentId),
}

/// Whether a user is said to be in use.
pub fn is_active(attributes: &Attributes) -> bool {
    attributes.get(&Field::Active) == Some(&Value::Flag(true))
}

/// What differs from what is wanted, field by field. What is not wanted is left alone, and so is what the target only
/// spells in its own way.
pub fn differences(wanted: &Attributes, present: &Attributes) -> Attributes {
    let differs = |field: &Field, value: &Value| match present.get(field) {
        Some(present) => !is_same(*field, present, value),
        None => !value.is_empty(),
    };
    let found = wanted.iter().filter(|(field, value)| differs(field, value));
    found.map(|(field, value)| (*field, value.clone())).collect()
}

/// Targets trim texts, lower the case of mail addresses and logins, and write numbers without blanks or as `tel:`. Written
/// again, they would do so again.
fn is_same(field: Field, one: &Value, other: &Value) -> bool {
    let (Value::Text(one), Value::Text(other)) = (one, other) else {
        return one == other || (one.is_empty() && other.is_empty());
    };
    let (one, other) = (one.trim(), other.trim());
    match field {
        Field::UserName | Field::WorkMail | Field::OtherMail => one.to_lowercase() == other.to_lowercase(),
        Field::MobilePhone | Field::WorkPhone => dialled(one) == dialled(other),
        Field::DisplayName
        | Field::FamilyName
        | Field::GivenName
        | Field::NickName
        | Field::Title
        | Field::Active
        | Field::Department
        | Field::Division
        | Field::EmployeeNumber
        | Field::Leads
        | Field::Manager => one == other,
    }
}

/// A number without what is only there to be read.
fn dialled(number: &str) -> String {
    let number = number.strip_prefix("tel:").unwrap_or(number);
    number.chars().filter(|c| !c.is_whitespace() && !"-.()/".contains(*c)).collect()
}

/// Stands for what was written: where it is the same, the target need not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a user.
    pub fn of_user(external_id: &ExternalId, attributes: &Attributes) -> Self {
        Self::of(&(external_id, attributes))
    }

    /// The fingerprint of a group.
    pub fn of_group(external_id: &ExternalId, name: &str) -> Self {
        Self::of(&(external_id, name))
    }

    fn of(content: &impl Serialize) -> Self {
        // Serialising plain data cannot fail.
        let text = serde_json::to_vec(content).unwrap_or_default();
        Self(hex::encode(&Sha256::digest(text)[..16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_a_target_spells_in_its_own_way_is_no_difference() {
        for (field, wanted, present) in [
            (Field::WorkMail, "ZhangSan@Example.test", "zhangsan@example.test"),
            (Field::UserName, "ZhangSan", "zhangsan"),
            (Field::MobilePhone, "+86 138-1000 0000", "tel:+8613810000000"),
            (Field::WorkPhone, "(020) 123.456", "020123456"),
            (Field::Title, " 产品经理 ", "产品经理"),
            (Field::Title, " ", ""),
        ] {
            let (wanted, present) =
                (Attributes::from([(field, text(wanted))]), Attributes::from([(field, text(present))]));
            assert_eq!(differences(&wanted, &present), Attributes::new(), "{field:?}");
        }
    }

    #[test]
    fn what_is_something_else_differs() {
        for (field, wanted, present) in [
            (Field::WorkMail, "a@example.test", "b@example.test"),
            (Field::MobilePhone, "+8613810000000", "+8613810000001"),
            (Field::MobilePhone, "+8613810000000", "8613810000000"),
            (Field::DisplayName, "Li Si", "li si"),
            (Field::Title, "", "产品经理"),
        ] {
            let (wanted, present) =
                (Attributes::from([(field, text(wanted))]), Attributes::from([(field, text(present))]));
            assert_eq!(differences(&wanted, &present), wanted, "{field:?}");
        }
        let active = Attributes::from([(Field::Active, Value::Flag(false))]);
        assert_eq!(differences(&active, &Attributes::new()), active);
        assert_eq!(
            differences(&Attributes::from([(Field::Title, text(""))]), &Attributes::new()),
            Attributes::new()
        );
    }
}
