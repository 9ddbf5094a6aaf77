//! What a record says, in few bytes: 100,000 of them on both sides are held at once.

use serde::{Deserialize, Serialize};

use super::compare::Content;
use super::record::{Field, Value};

/// The attributes by number.
const FIELDS: [Field; 16] = [
    Field::UserName,
    Field::DisplayName,
    Field::FamilyName,
    Field::GivenName,
    Field::NickName,
    Field::Title,
    Field::Active,
    Field::WorkMail,
    Field::OtherMail,
    Field::MobilePhone,
    Field::WorkPhone,
    Field::Department,
    Field::Division,
    Field::EmployeeNumber,
    Field::Leads,
    Field::Manager,
];

/// A record's content, never kept beyond the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Group(String),
    User(Vec<(usize, Value)>),
}

impl Packed {
    pub(super) fn new(content: Content) -> Self {
        let form = match content {
            Content::Group(name) => Form::Group(name),
            Content::User(attributes) => {
                let number = |field| FIELDS.iter().position(|other| *other == field);
                Form::User(attributes.into_iter().filter_map(|(f, v)| Some((number(f)?, v))).collect())
            }
        };
        // Serialising plain data cannot fail.
        Self(serde_json::to_vec(&form).unwrap_or_default().into())
    }

    pub(super) fn content(&self) -> Content {
        match serde_json::from_slice(&self.0).unwrap_or(Form::User(Vec::new())) {
            Form::Group(name) => Content::Group(name),
            Form::User(values) => {
                let named = values.into_iter().filter_map(|(n, value)| Some((*FIELDS.get(n)?, value)));
                Content::User(named.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let values = |n: usize| match n % 3 {
            0 => Value::Text(format!("\"{n}\" 张三")),
            1 => Value::Flag(n % 2 == 0),
            _ => Value::Texts(vec!["a".to_owned(), String::new()]),
        };
        let all = FIELDS.iter().enumerate().map(|(n, field)| (*field, values(n))).collect();
        for content in [Content::User(all), Content::Group("研发 / \"A\"".to_owned())] {
            assert_eq!(Packed::new(content.clone()).content(), content);
        }
    }

    #[test]
    fn every_attribute_has_a_number() {
        // What comes after the last attribute is none.
        let names = FIELDS.map(|field| serde_json::to_value(field).unwrap());
        let error = serde_json::from_str::<Field>("\"?\"").unwrap_err().to_string();
        for name in &names {
            assert!(error.contains(name.as_str().unwrap()), "{name}");
        }
        assert_eq!(error.matches('`').count(), 2 * (FIELDS.len() + 1), "{error}");
    }
}
