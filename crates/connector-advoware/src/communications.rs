//! Communications (`Kommunikationen`): phone numbers and mail addresses of a party. They are read with the party.
//! The server lets no client delete one, and does not show its kind dependably.

use http_client::{Answer, Method, Request};
use serde_json::{Map, Value, json};
use shared::fault::Fault;

use crate::{Advoware, BetNr, Party, Written, error};

const ENTRIES: &str = "api/v1/advonet/Beteiligte/{betNr}/Kommunikationen";
const ENTRY: &str = "api/v1/advonet/Beteiligte/{betNr}/Kommunikationen/{id}";

/// What a client may write of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommunicationFields {
    /// The number or address; empty is none.
    pub tlf: String,
    /// The remark.
    pub bemerkung: String,
    /// Not documented; written as it was read.
    pub online: bool,
}

/// An entry, as it was read with its party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Communication {
    /// Its id.
    pub id: i64,
    /// The rest.
    pub fields: CommunicationFields,
}

impl Party {
    /// The party's entries, in the server's order, which says nothing.
    ///
    /// # Errors
    /// Permanent `field_type` when the list or an entry is not of the form that is known. No value is named.
    pub fn communications(&self) -> Result<Vec<Communication>, Fault> {
        match self.record().get("kommunikation") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(entries)) => {
                entries.iter().map(|entry| read_entry(entry).ok_or_else(|| self.wrong_entry())).collect()
            }
            Some(_) => Err(self.wrong_entry()),
        }
    }

    /// A top-level text that the record may have; `None` when it is absent, null, blank, or no text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.record().get(field)?.as_str().filter(|text| !text.trim().is_empty())
    }

    fn wrong_entry(&self) -> Fault {
        let text = format!(
            "The Kommunikationen of party {} in Advoware are not a list of entries with id, tlf and bemerkung; they \
             cannot be synchronised like that.",
            self.betnr()
        );
        Fault::permanent("field_type", text)
    }
}

fn read_entry(entry: &Value) -> Option<Communication> {
    let entry = entry.as_object()?;
    let text = |field: &str| match entry.get(field) {
        None | Some(Value::Null) => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let online = entry.get("online").and_then(Value::as_bool).unwrap_or(false);
    let fields = CommunicationFields { tlf: text("tlf")?, bemerkung: text("bemerkung")?, online };
    Some(Communication { id: entry.get("id")?.as_i64()?, fields })
}

impl Advoware {
    /// Creates an entry: `POST Beteiligte/{betNr}/Kommunikationen`. Its kind cannot be changed afterwards, and it
    /// cannot be deleted. NOT safe to repeat, and Advoware knows no idempotency key: after a fault for which
    /// [`crate::may_have_taken_effect`] is true, read the party before the next try. Changes the party's row version.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn create_communication(
        &self,
        betnr: BetNr,
        kind: u8,
        fields: &CommunicationFields,
    ) -> Result<Written, Fault> {
        read_write(&self.send(create_request(betnr, kind, fields)).await?)
    }

    /// Replaces an entry: `PUT Beteiligte/{betNr}/Kommunikationen/{id}`. Safe to repeat, but it overwrites what was
    /// edited since it was read. Changes the party's row version.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put_communication(&self, betnr: BetNr, entry: &Communication) -> Result<Written, Fault> {
        read_write(&self.send(put_request(betnr, entry)).await?)
    }
}

fn body(fields: &CommunicationFields) -> Map<String, Value> {
    let CommunicationFields { tlf, bemerkung, online } = fields;
    let pairs = [("tlf", json!(tlf)), ("bemerkung", json!(bemerkung)), ("online", json!(online))];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn create_request(betnr: BetNr, kind: u8, fields: &CommunicationFields) -> Request {
    let mut body = body(fields);
    body.insert("kommKz".to_owned(), json!(kind));
    Request::new(Method::Post, ENTRIES, &[&betnr.to_string()]).json(&body)
}

fn put_request(betnr: BetNr, entry: &Communication) -> Request {
    Request::new(Method::Put, ENTRY, &[&betnr.to_string(), &entry.id.to_string()]).json(&body(&entry.fields))
}

fn read_write(answer: &Answer) -> Result<Written, Fault> {
    if error::is_gone(answer) {
        return Ok(Written::Gone);
    }
    // What is answered is not documented; a page is certainly not from Advoware.
    match error::success(answer)? {
        answer if answer.is_html() => Err(answer.unreadable("HTML instead of JSON")),
        _ => Ok(Written::Yes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json; charset=utf-8";

    fn answer(status: u16, kind: &str, body: &'static str) -> Answer {
        Answer::recorded(crate::SYSTEM, "POST Kommunikationen", status, &[("Content-Type", kind)], body)
    }

    fn party(entries: Value) -> Party {
        let record =
            json!({ "betNr": 104_860, "kommunikation": entries, "mobil": "0170 1", "telGesch": " ", "x": 1 });
        Party::new(record.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn entries_are_read_whatever_form_empty_has() {
        let party = party(json!([
            { "id": 88_002, "rowId": "R", "tlf": "max@example.com", "bemerkung": "Büro", "kommKz": 0, "online": true },
            { "id": 88_003, "tlf": null },
        ]));
        let fields = |tlf: &str, bemerkung: &str, online| CommunicationFields {
            tlf: tlf.into(),
            bemerkung: bemerkung.into(),
            online,
        };
        let expected = [
            Communication { id: 88_002, fields: fields("max@example.com", "Büro", true) },
            Communication { id: 88_003, fields: fields("", "", false) },
        ];
        assert_eq!(party.communications().unwrap(), expected);
        let texts = ["mobil", "telGesch", "x", "y"].map(|field| party.text(field));
        assert_eq!(texts, [Some("0170 1"), None, None, None]);
        assert_eq!(self::party(Value::Null).communications().unwrap(), []);
    }

    #[test]
    fn entries_of_another_form_are_refused_without_their_values() {
        for bad in
            [json!({}), json!([{ "tlf": "geheim" }]), json!([{ "id": 1, "tlf": 7 }]), json!(["geheim"])]
        {
            let fault = party(bad).communications().unwrap_err();
            assert_eq!((fault.kind.name(), fault.code), ("permanent", "field_type"));
            assert!(fault.text.contains("104860") && !fault.text.contains("geheim"), "{fault}");
        }
    }

    #[test]
    fn writes_name_all_fields_and_only_a_create_the_kind() {
        let betnr = BetNr::try_from(104_860).unwrap();
        let fields =
            CommunicationFields { tlf: "+4951112345".into(), bemerkung: String::new(), online: false };
        let request = create_request(betnr, 3, &fields);
        assert_eq!(request.operation(), format!("POST {ENTRIES}"));
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, json!({ "tlf": "+4951112345", "bemerkung": "", "online": false, "kommKz": 3 }));
        let request = put_request(betnr, &Communication { id: 88_002, fields });
        assert_eq!(request.operation(), format!("PUT {ENTRY}"));
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, json!({ "tlf": "+4951112345", "bemerkung": "", "online": false }));
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read_write(&answer(201, JSON, "{}")).unwrap(), Written::Yes);
        assert_eq!(read_write(&answer(404, JSON, "")).unwrap(), Written::Gone);
        assert_eq!(read_write(&answer(403, JSON, "")).unwrap_err().code, "forbidden");
        let page = read_write(&answer(200, "text/html", "<html>")).unwrap_err();
        assert!(page.kind.name() == "retryable" && crate::may_have_taken_effect(&page), "{page}");
    }
}
