//! A party as it was read: the whole record, so that a write gives back everything it does not mean to change.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::{BetNr, RowId, assumptions};

/// The fields that master-data sync maps. No other is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The last name of a person, the name of a company.
    Name,
    /// The first name; blank for a company.
    Vorname,
    /// The legal form.
    Rechtsform,
    /// The salutation.
    Anrede,
    /// The date of birth, in text as `YYYY-MM-DD`.
    Geburtsdatum,
    /// The commercial register number.
    HandelsRegisterNummer,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Name,
        Self::Vorname,
        Self::Rechtsform,
        Self::Anrede,
        Self::Geburtsdatum,
        Self::HandelsRegisterNummer,
    ];

    /// The field's own name on the wire.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Vorname => "vorname",
            Self::Rechtsform => "rechtsform",
            Self::Anrede => "anrede",
            Self::Geburtsdatum => "geburtsdatum",
            Self::HandelsRegisterNummer => "handelsRegisterNummer",
        }
    }
}

/// Changes of mapped fields. Each is in one of three states: left out (stays as it is), null (emptied), or a
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartyPatch(Vec<(Field, Option<String>)>);

impl PartyPatch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a field; `None` empties it. A date of birth is `YYYY-MM-DD`.
    #[must_use]
    pub fn set(mut self, field: Field, value: Option<&str>) -> Self {
        self.0.retain(|(present, _)| *present != field);
        self.0.push((field, value.map(str::to_owned)));
        self
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes, in the order in which they were set.
    pub fn changes(&self) -> impl Iterator<Item = (Field, Option<&str>)> {
        self.0.iter().map(|(field, value)| (*field, value.as_deref()))
    }

    /// The fields as on the wire.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        self.changes().map(|(field, value)| (field.wire_name().to_owned(), wire_value(value))).collect()
    }
}

fn wire_value(value: Option<&str>) -> Value {
    value.map_or(assumptions::EMPTY, Value::from)
}

/// A party, kept whole: every field in the order and form in which it came, mapped or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Party {
    betnr: BetNr,
    record: Map<String, Value>,
}

impl Party {
    /// A party from its record.
    ///
    /// # Errors
    /// The reason, when there is no usable `betNr` in it.
    pub fn new(record: Map<String, Value>) -> Result<Self, String> {
        let number = record.get("betNr").and_then(Value::as_i64).ok_or("a party without betNr")?;
        let betnr = BetNr::try_from(number).map_err(|e| e.to_string())?;
        Ok(Self { betnr, record })
    }

    /// Its key.
    pub fn betnr(&self) -> BetNr {
        self.betnr
    }

    /// The whole record.
    pub fn record(&self) -> &Map<String, Value> {
        &self.record
    }

    /// The version of its row. `None` where the server left it out, as it does in the answer to a create.
    pub fn row_id(&self) -> Option<RowId> {
        self.record.get("rowId").and_then(Value::as_str).and_then(|text| RowId::new(text).ok())
    }

    /// A mapped field, as the server has it; `None` when it is absent, null, or empty. A date of birth comes as
    /// `YYYY-MM-DD`.
    ///
    /// # Errors
    /// Permanent `field_type` when it is no text, or no date where it should be one. The value is not named.
    pub fn get(&self, field: Field) -> Result<Option<String>, Fault> {
        let text = match self.record.get(field.wire_name()) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err(self.wrong_type(field, "a text")),
        };
        if field != Field::Geburtsdatum {
            return Ok(Some(text.clone()));
        }
        match assumptions::read_date(text) {
            Some(date) => Ok(Some(date.to_string())),
            None => Err(self.wrong_type(field, "a date")),
        }
    }

    /// The date of birth.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn date_of_birth(&self) -> Result<Option<Date>, Fault> {
        let text = self.get(Field::Geburtsdatum)?;
        Ok(text.and_then(|text| assumptions::read_date(&text)))
    }

    /// When the record was last changed, where the server says so: it often does not, and nothing depends on it
    /// where there is a row version.
    pub fn changed_at(&self) -> Option<Timestamp> {
        self.record.get("geaendertAm").and_then(Value::as_str).and_then(assumptions::read_changed_at)
    }

    /// The record with the patch merged in: mapped fields that the patch names change, everything else stays
    /// exactly as it was read.
    #[must_use]
    pub fn merged(mut self, patch: &PartyPatch) -> Self {
        for (field, value) in patch.changes() {
            self.record.insert(field.wire_name().to_owned(), wire_value(value));
        }
        self
    }

    fn wrong_type(&self, field: Field, expected: &str) -> Fault {
        let text = format!(
            "The field {} of party {} in Advoware is not {expected}; correct it there.",
            field.wire_name(),
            self.betnr
        );
        Fault::permanent("field_type", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn party(record: Value) -> Party {
        Party::new(record.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn fields_are_read_whatever_form_empty_has() {
        let party = party(json!({
            "betNr": 104_860, "rowId": "AAAB", "name": "Müller-Lüdenscheidt", "vorname": " ", "anrede": null,
            "geburtsdatum": "1980-05-17T00:00:00", "geaendertAm": null, "rechtsform": 7,
        }));
        assert_eq!(party.get(Field::Name).unwrap().as_deref(), Some("Müller-Lüdenscheidt"));
        for empty in [Field::Vorname, Field::Anrede, Field::HandelsRegisterNummer] {
            assert_eq!(party.get(empty).unwrap(), None);
        }
        assert_eq!(party.get(Field::Geburtsdatum).unwrap().as_deref(), Some("1980-05-17"));
        assert_eq!(party.date_of_birth().unwrap().unwrap().to_string(), "1980-05-17");
        assert_eq!(party.changed_at(), None);
        assert_eq!(party.row_id().unwrap().as_str(), "AAAB");
        let fault = party.get(Field::Rechtsform).unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("permanent", "field_type"));
        assert!(fault.text.contains("rechtsform") && fault.text.contains("104860"), "{fault}");
    }

    #[test]
    fn a_record_without_key_is_no_party() {
        for bad in [json!({}), json!({"betNr": null}), json!({"betNr": 0}), json!({"betNr": "7"})] {
            assert!(Party::new(bad.as_object().unwrap().clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_merge_changes_what_it_names_and_keeps_order_and_everything_else() {
        let before = party(json!({
            "betNr": 1, "kommunikation": [{"id": 88_002, "tlf": "x@example.com"}], "name": "Alt", "telGesch": "0511",
            "vorname": "A", "zusatz": {"tief": [1, 2.5, null]}, "rowId": "R1",
        }));
        let patch = PartyPatch::new()
            .set(Field::Name, Some("Neu"))
            .set(Field::Vorname, None)
            .set(Field::Anrede, Some("Frau"));
        let after = before.merged(&patch);
        let expected = r#"{"betNr":1,"kommunikation":[{"id":88002,"tlf":"x@example.com"}],"name":"Neu","telGesch":"0511","vorname":null,"zusatz":{"tief":[1,2.5,null]},"rowId":"R1","anrede":"Frau"}"#;
        assert_eq!(serde_json::to_string(after.record()).unwrap(), expected);
    }

    #[test]
    fn the_last_setting_of_a_field_counts() {
        let patch = PartyPatch::new().set(Field::Name, Some("a")).set(Field::Name, None);
        assert_eq!(patch.changes().collect::<Vec<_>>(), [(Field::Name, None)]);
    }

    proptest! {
        #[test]
        fn whatever_else_a_record_holds_survives_a_merge(
            others in prop::collection::btree_map("[a-z]{3,8}X", any::<i64>(), 0..20), name in "\\PC{0,20}",
        ) {
            let mut record: Map<String, Value> = others.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            record.insert("betNr".into(), json!(5));
            let after = Party::new(record).unwrap().merged(&PartyPatch::new().set(Field::Name, Some(&name)));
            for (key, value) in &others {
                prop_assert_eq!(after.record().get(key), Some(&json!(value)));
            }
            prop_assert_eq!(after.record().len(), others.len() + 2);
        }
    }
}
