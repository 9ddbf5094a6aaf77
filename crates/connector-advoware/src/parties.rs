//! Parties (`Beteiligte`): get, search, create, put.

use http_client::{Answer, Method, Request};
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::fault::Fault;
use unicode_normalization::UnicodeNormalization as _;

use crate::{Advoware, BetNr, Field, Party, PartyPatch, assumptions, error};

const PARTIES: &str = "api/v1/advonet/Beteiligte";
const PARTY: &str = "api/v1/advonet/Beteiligte/{betNr}";

/// What to search for: at least one must be set. A party is found when all that are set fit, after trimming and
/// normalising (NFC) both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// The last name of a person, the name of a company.
    pub name: Option<String>,
    /// The first name.
    pub vorname: Option<String>,
    /// The date of birth.
    pub geburtsdatum: Option<Date>,
    /// The commercial register number.
    pub handelsregisternummer: Option<String>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It took effect.
    Yes,
    /// The party does not exist any more.
    Gone,
}

impl Advoware {
    /// Reads a party: `GET Beteiligte/{betNr}`. `None` when it does not exist (404, or an empty array). Safe to
    /// repeat.
    ///
    /// # Errors
    /// Retryable `answer_unreadable` where several parties come, another one, an error page, or a cut answer;
    /// permanent `forbidden`, `invalid_data`, `request_refused`; what is common to all operations: `unauthorized`
    /// and `sign_in_refused` (the account pauses), `upstream_failed`, `throttled`, and the faults of
    /// [`http_client::Upstream::send`].
    pub async fn get(&self, betnr: BetNr) -> Result<Option<Party>, Fault> {
        read_get(&self.send(get_request(betnr)).await?, betnr)
    }

    /// Searches for parties: `GET Beteiligte?…`. Safe to repeat. Only what really fits is returned, whatever the
    /// server takes for similar.
    ///
    /// # Errors
    /// A bug for an empty search; else as [`Self::get`].
    pub async fn search(&self, search: &Search) -> Result<Vec<Party>, Fault> {
        if *search == Search::default() {
            return Err(Fault::bug("empty_search", "Advoware was to be searched for nothing in particular."));
        }
        let found = read_parties(&self.send(search_request(search)).await?)?;
        Ok(found.into_iter().filter(|party| matches(party, search)).collect())
    }

    /// Creates a party: `POST Beteiligte`, and answers its key. The row version must be read back. NOT safe to
    /// repeat, and Advoware knows no idempotency key: after a fault for which
    /// [`crate::may_have_taken_effect`] is true, search before the next try.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn create(&self, fields: &PartyPatch) -> Result<BetNr, Fault> {
        read_create(&self.send(create_request(fields)).await?)
    }

    /// Replaces a party: `PUT Beteiligte/{betNr}` with the whole record, as read and merged ([`Party::merged`]): a
    /// field left out is emptied. Safe to repeat, but it overwrites what was edited since the record was read. The
    /// new row version must be read back.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put(&self, party: &Party) -> Result<Written, Fault> {
        read_put(&self.send(put_request(party)).await?)
    }
}

fn get_request(betnr: BetNr) -> Request {
    Request::new(Method::Get, PARTY, &[&betnr.to_string()])
}

fn read_get(answer: &Answer, betnr: BetNr) -> Result<Option<Party>, Fault> {
    if error::is_gone(answer) {
        return Ok(None);
    }
    let mut parties = read_parties(answer)?;
    match (parties.pop(), parties.len()) {
        (None, _) => Ok(None),
        (Some(party), 0) if party.betnr() == betnr => Ok(Some(party)),
        (Some(_), 0) => Err(answer.unreadable("another party than the one asked for")),
        (Some(_), others) => Err(answer.unreadable(&format!("{} parties for one betNr", others + 1))),
    }
}

/// Advoware answers with an array where one record was asked for, or with the record itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireParties {
    Many(Vec<Map<String, Value>>),
    One(Map<String, Value>),
}

fn read_parties(answer: &Answer) -> Result<Vec<Party>, Fault> {
    let records = match error::success(answer)?.json()? {
        WireParties::Many(records) => records,
        WireParties::One(record) => vec![record],
    };
    let parties = records.into_iter().map(Party::new);
    parties.collect::<Result<_, _>>().map_err(|what| answer.unreadable(&what))
}

fn search_request(search: &Search) -> Request {
    let birth = search.geburtsdatum.map(|date| date.to_string());
    let criteria = [
        (assumptions::SEARCH_NAME, &search.name),
        (assumptions::SEARCH_VORNAME, &search.vorname),
        (assumptions::SEARCH_GEBURTSDATUM, &birth),
        (assumptions::SEARCH_HANDELSREGISTER, &search.handelsregisternummer),
    ];
    let request = Request::new(Method::Get, PARTIES, &[]);
    criteria.into_iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.query(name, value.as_str()),
        None => request,
    })
}

fn matches(party: &Party, search: &Search) -> bool {
    let fits = |field: Field, wanted: &Option<String>| {
        wanted.as_ref().is_none_or(|wanted| {
            let present = party.get(field).ok().flatten().unwrap_or_default();
            present.trim().nfc().eq(wanted.trim().nfc())
        })
    };
    fits(Field::Name, &search.name)
        && fits(Field::Vorname, &search.vorname)
        && fits(Field::Geburtsdatum, &search.geburtsdatum.map(|date| date.to_string()))
        && fits(Field::HandelsRegisterNummer, &search.handelsregisternummer)
}

fn create_request(fields: &PartyPatch) -> Request {
    Request::new(Method::Post, PARTIES, &[]).json(&fields.to_json())
}

fn read_create(answer: &Answer) -> Result<BetNr, Fault> {
    match read_parties(answer)?.as_slice() {
        [party] => Ok(party.betnr()),
        others => Err(answer.unreadable(&format!("{} parties where one was created", others.len()))),
    }
}

fn put_request(party: &Party) -> Request {
    Request::new(Method::Put, PARTY, &[&party.betnr().to_string()]).json(party.record())
}

fn read_put(answer: &Answer) -> Result<Written, Fault> {
    if error::is_gone(answer) {
        return Ok(Written::Gone);
    }
    // What a PUT answers with is not documented; a page is certainly not from Advoware.
    match error::success(answer)? {
        answer if answer.is_html() => Err(answer.unreadable("HTML instead of JSON")),
        _ => Ok(Written::Yes),
    }
}

#[cfg(test)]
mod tests;
