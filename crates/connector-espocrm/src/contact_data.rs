//! Phone numbers and mail addresses of a record: `phoneNumberData` and `emailAddressData`. Only the read of a single
//! record carries them, never a list, and the answer to a write may show them as they were before. A write replaces
//! the whole set.

use serde_json::{Value, json};
use shared::fault::Fault;

use crate::Record;

/// The attribute with phone numbers.
pub const PHONES: &str = "phoneNumberData";
/// The attribute with mail addresses.
pub const MAILS: &str = "emailAddressData";

/// A number or an address. What it is opted out of, and whether it is invalid, is shared by all records that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactEntry {
    /// The number or address.
    pub value: String,
    /// `type`; mail addresses have none.
    pub kind: Option<String>,
    /// Whether it is the first one.
    pub primary: bool,
    /// Whether the person objects to its use.
    pub opt_out: bool,
    /// Whether it is known not to work.
    pub invalid: bool,
}

fn value_name(attribute: &str) -> &str {
    attribute.strip_suffix("Data").unwrap_or(attribute)
}

impl Record {
    /// The entries of [`PHONES`] or [`MAILS`], as a read of this record alone carries them.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn contact_data(&self, attribute: &str) -> Result<Vec<ContactEntry>, Fault> {
        self.entries(attribute, |entry| {
            let flag = |name: &str| entry.get(name).and_then(Value::as_bool).unwrap_or(false);
            Some(ContactEntry {
                value: entry.get(value_name(attribute))?.as_str()?.to_owned(),
                kind: entry.get("type").and_then(Value::as_str).map(str::to_owned),
                primary: flag("primary"),
                opt_out: flag("optOut"),
                invalid: flag("invalid"),
            })
        })
    }
}

/// The value to write to [`PHONES`] or [`MAILS`]. EspoCRM makes none the first one by itself.
pub fn contact_data(attribute: &str, entries: &[ContactEntry]) -> Value {
    let entry = |entry: &ContactEntry| {
        let mut wire = json!({
            value_name(attribute): entry.value, "primary": entry.primary, "optOut": entry.opt_out,
            "invalid": entry.invalid,
        });
        if let (Some(kind), Some(wire)) = (&entry.kind, wire.as_object_mut()) {
            wire.insert("type".to_owned(), json!(kind));
        }
        wire
    };
    Value::Array(entries.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EntityType, fixtures};

    fn record(attributes: Value) -> Record {
        let mut attributes = attributes.as_object().unwrap().clone();
        attributes.insert("id".to_owned(), json!("6b0052e277c0e1ed0"));
        Record::new(EntityType::new("CBeteiligte").unwrap(), attributes).unwrap()
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let exchange = fixtures::load("170-put-email-and-phone-data");
        let record = record(exchange.answer_json());
        for (attribute, values) in [
            (PHONES, vec!["+495111111", "+4917012345678", "+495112222"]),
            (MAILS, vec!["Erika@Example.de", "erika.alt@example.de"]),
        ] {
            let entries = record.contact_data(attribute).unwrap();
            assert_eq!(entries.iter().map(|entry| entry.value.as_str()).collect::<Vec<_>>(), values);
            assert!(entries[0].primary && !entries[1].primary);
            assert_eq!(contact_data(attribute, &entries), exchange.request_json()[attribute]);
        }
    }

    #[test]
    fn a_record_of_a_list_has_none_and_says_so() {
        let fault = record(json!({})).contact_data(PHONES).unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("permanent", "attribute_missing"));
        assert_eq!(record(json!({ PHONES: null })).contact_data(PHONES).unwrap(), []);
        let fault = record(json!({ PHONES: [{ "phoneNumber": 7 }] })).contact_data(PHONES).unwrap_err();
        assert_eq!(fault.code, "attribute_type");
    }
}
