//! A record as it was read.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::{EntityType, EspoId, values};

/// A record: its id and its attributes.
///
/// The typed readers answer `None` for null and for an empty text, which EspoCRM does not tell apart. An
/// attribute that is missing altogether is a fault: a read has all attributes, so the field does not exist, the
/// API user may not read it, or a list was asked for without it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    entity_type: EntityType,
    id: EspoId,
    attributes: Map<String, Value>,
}

impl Record {
    /// A record from its attributes.
    ///
    /// # Errors
    /// The reason, when there is no usable `id` among them.
    pub fn new(entity_type: EntityType, attributes: Map<String, Value>) -> Result<Self, String> {
        let id = attributes.get("id").and_then(Value::as_str).ok_or("a record without id")?;
        let id = EspoId::new(id).map_err(|e| e.to_string())?;
        Ok(Self { entity_type, id, attributes })
    }

    /// Its id.
    pub fn id(&self) -> &EspoId {
        &self.id
    }

    /// Its entity type.
    pub fn entity_type(&self) -> &EntityType {
        &self.entity_type
    }

    /// All attributes, as they came.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// Whether the attribute is there at all, be it null.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.contains_key(attribute)
    }

    /// A text (varchar, text, enum, id of a link), trimmed as the server does it.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn text(&self, attribute: &str) -> Result<Option<&str>, Fault> {
        match self.value(attribute)? {
            Value::Null => Ok(None),
            Value::String(text) => Ok(values::normalise(text)),
            _ => Err(self.wrong_type(attribute, "a text")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn int(&self, attribute: &str) -> Result<Option<i64>, Fault> {
        match self.value(attribute)? {
            Value::Null => Ok(None),
            value => value.as_i64().map(Some).ok_or_else(|| self.wrong_type(attribute, "a whole number")),
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn boolean(&self, attribute: &str) -> Result<Option<bool>, Fault> {
        match self.value(attribute)? {
            Value::Null => Ok(None),
            value => value.as_bool().map(Some).ok_or_else(|| self.wrong_type(attribute, "true or false")),
        }
    }

    /// A time, in UTC.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn timestamp(&self, attribute: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = self.text(attribute)? else { return Ok(None) };
        values::parse_datetime(text)
            .map(Some)
            .ok_or_else(|| self.wrong_type(attribute, "a time (YYYY-MM-DD HH:MM:SS)"))
    }

    /// A date.
    ///
    /// # Errors
    /// Permanent `attribute_missing` or `attribute_type`.
    pub fn date(&self, attribute: &str) -> Result<Option<Date>, Fault> {
        let Some(text) = self.text(attribute)? else { return Ok(None) };
        values::parse_date(text).map(Some).ok_or_else(|| self.wrong_type(attribute, "a date (YYYY-MM-DD)"))
    }

    /// The version for [`crate::EspoCrm::update`]. `None` where the entity type has no optimistic concurrency
    /// control, or the record was not written since it was switched on.
    pub fn version(&self) -> Option<u64> {
        self.attributes.get("versionNumber").and_then(Value::as_u64)
    }

    /// The entries of a list, each as `read` takes it; null is an empty list.
    pub(crate) fn entries<T>(
        &self,
        attribute: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Fault> {
        let wrong = || self.wrong_type(attribute, "a list of its entries");
        match self.value(attribute)? {
            Value::Null => Ok(Vec::new()),
            Value::Array(entries) => entries.iter().map(|entry| read(entry).ok_or_else(wrong)).collect(),
            _ => Err(wrong()),
        }
    }

    fn value(&self, attribute: &str) -> Result<&Value, Fault> {
        self.attributes.get(attribute).ok_or_else(|| {
            let text = format!(
                "{} {} in EspoCRM came without the attribute {attribute}: the field is missing there, or the API \
                 user's role may not read it.",
                self.entity_type, self.id
            );
            Fault::permanent("attribute_missing", text)
        })
    }

    fn wrong_type(&self, attribute: &str, expected: &str) -> Fault {
        let text = format!(
            "The attribute {attribute} of {} {} in EspoCRM is not {expected}: its field has another type.",
            self.entity_type, self.id
        );
        Fault::permanent("attribute_type", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn recorded() -> Record {
        let attributes = fixtures::load("102-read").answer_json();
        Record::new(EntityType::new("CBeteiligte").unwrap(), attributes.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn attributes_are_read_by_type() {
        let record = recorded();
        assert_eq!(record.id().as_str(), "6b00526cc80a09e94");
        assert_eq!(record.text("lastName").unwrap(), Some("Mustermann"));
        assert_eq!(record.text("rechtsform").unwrap(), None);
        assert_eq!(record.text("firmenname").unwrap(), None);
        assert_eq!(record.int("betnr").unwrap(), Some(104_860));
        assert_eq!(record.boolean("deleted").unwrap(), Some(false));
        assert_eq!(record.date("dateOfBirth").unwrap().unwrap().to_string(), "1980-05-17");
        let modified = record.timestamp("modifiedAt").unwrap().unwrap();
        assert_eq!(modified.to_string(), "2026-11-20T14:00:12Z");
        assert_eq!(record.timestamp("advowareDeletedAt").unwrap(), None);
    }

    #[test]
    fn a_missing_field_and_a_wrong_type_are_named_and_values_are_not() {
        let record = recorded();
        let missing = record.text("noSuchField").unwrap_err();
        assert_eq!((missing.kind.name(), missing.code), ("permanent", "attribute_missing"));
        assert!(missing.text.contains("noSuchField") && missing.text.contains("CBeteiligte"), "{missing}");
        let wrong = record.int("lastName").unwrap_err();
        assert_eq!(wrong.code, "attribute_type");
        assert!(!wrong.text.contains("Mustermann"), "{wrong}");
    }

    #[test]
    fn a_record_without_id_is_none() {
        assert!(Record::new(EntityType::new("X").unwrap(), Map::new()).is_err());
    }
}
