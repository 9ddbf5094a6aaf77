//! Whether both sides are as they must be in the end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::oracle::{Ending, Expected, Party, Record};

/// What both sides hold, and which records have an open dead letter.
#[derive(Debug, Default)]
pub struct Held {
    crm: BTreeMap<String, Record>,
    advoware: BTreeMap<u64, Record>,
    dead: BTreeSet<String>,
    letters: usize,
}

impl Held {
    /// From the records of both sides and the CBeteiligte id of each open dead letter.
    pub fn new(crm: Vec<Value>, advoware: Vec<Value>, dead: Vec<String>) -> Self {
        let objects = |records: Vec<Value>| {
            records.into_iter().filter_map(|record| match record {
                Value::Object(record) => Some(record),
                _ => None,
            })
        };
        let crm = objects(crm).filter_map(|record| Some((record.get("id")?.as_str()?.to_owned(), record)));
        let advoware = objects(advoware).filter_map(|record| Some((record.get("betNr")?.as_u64()?, record)));
        let letters = dead.len();
        Self { crm: crm.collect(), advoware: advoware.collect(), dead: dead.into_iter().collect(), letters }
    }

    /// The keys of Advoware that the CRM's records name.
    pub fn bet_nrs(&self) -> BTreeMap<String, u64> {
        self.crm
            .iter()
            .filter_map(|(id, record)| Some((id.clone(), record.get("betnr")?.as_u64()?)))
            .collect()
    }

    /// How many dead letters are open.
    pub fn dead_letters(&self) -> usize {
        self.letters
    }

    /// How many CBeteiligte are there, deleted ones left out, and how many of them agree with a Beteiligter.
    pub fn agreeing(&self) -> (usize, usize) {
        let live: Vec<&Record> = self.crm.values().filter(|record| !is_deleted(record)).collect();
        let agrees = |record: &&&Record| {
            let party = record.get("betnr").and_then(Value::as_u64).and_then(|key| self.advoware.get(&key));
            party.is_some_and(|party| {
                Party::of_crm(record).says_the_same(&Party::of_advoware(party)) && status(record) == "clean"
            })
        };
        (live.len(), live.iter().filter(agrees).count())
    }

    /// What is not yet, or wrongly, as expected of one pair.
    pub fn difference(&self, expected: &Expected) -> Option<String> {
        self.check(expected).err()
    }

    fn check(&self, expected: &Expected) -> Result<(), String> {
        let record = self.crm.get(&expected.crm_id).ok_or("the record is not in EspoCRM")?;
        let key = record.get("betnr").and_then(Value::as_u64);
        if expected.bet_nr.is_some() && key != expected.bet_nr {
            return Err(format!("betnr is {key:?} and must be {:?}", expected.bet_nr));
        }
        let party = key.and_then(|key| self.advoware.get(&key));
        match (&expected.advoware, party) {
            (None, Some(_)) => return Err("there is a party in Advoware, and there must be none".to_owned()),
            (Some(_), None) => return Err("there is no party in Advoware".to_owned()),
            (Some(wanted), Some(found)) => compare("Advoware", wanted, Party::of_advoware(found))?,
            (None, None) => {}
        }
        let touched =
            expected.untouched.iter().find(|(name, value)| party.and_then(|it| it.get(*name)) != Some(value));
        if let (Some((name, _)), true) = (touched, expected.advoware.is_some()) {
            return Err(format!("{name} in Advoware was touched"));
        }
        if expected.ending != Ending::Kept {
            compare("EspoCRM", &expected.crm, Party::of_crm(record))?;
        }
        if expected.ending == Ending::Agree
            && let Some(difference) = expected.numbers.difference(record, party)
        {
            return Err(difference);
        }
        self.check_ending(expected, record)
    }

    fn check_ending(&self, expected: &Expected, record: &Record) -> Result<(), String> {
        if is_deleted(record) != (expected.ending == Ending::Kept) {
            return Err("deleted in EspoCRM, or not, against what was done there".to_owned());
        }
        let wanted = match expected.ending {
            Ending::Agree => "clean",
            Ending::DeadLetter => "permanently_failed",
            Ending::Gone => "failed",
            Ending::Kept => return Ok(()),
        };
        if status(record) != wanted {
            return Err(format!("syncStatus is {} and must be {wanted}", status(record)));
        }
        let is_dead = self.dead.contains(&expected.crm_id);
        if is_dead != (expected.ending == Ending::DeadLetter) {
            return Err(if is_dead { "a dead letter is open" } else { "no dead letter is open" }.to_owned());
        }
        let says_gone = record.get("advowareDeletedAt").is_some_and(|at| !at.is_null());
        if says_gone != (expected.ending == Ending::Gone) {
            return Err("advowareDeletedAt says the contrary".to_owned());
        }
        Ok(())
    }

    /// Records on either side that nobody asked for: a party created twice, a record out of nowhere.
    pub fn surplus(&self, expected: &[Expected]) -> Vec<String> {
        let known: BTreeSet<&str> = expected.iter().map(|pair| pair.crm_id.as_str()).collect();
        let records = self.crm.keys().filter(|id| !known.contains(id.as_str()));
        let records = records.map(|id| format!("CBeteiligte {id} came out of nowhere"));
        let mut named: BTreeSet<u64> = self.bet_nrs().into_values().collect();
        named.extend(expected.iter().filter_map(|pair| pair.bet_nr));
        let parties = self.advoware.keys().filter(|key| !named.contains(key));
        let parties = parties.map(|key| format!("Beteiligter {key} belongs to no CBeteiligte"));
        records.chain(parties).collect()
    }
}

fn is_deleted(record: &Record) -> bool {
    record.get("deleted") == Some(&Value::Bool(true))
}

fn status(record: &Record) -> &str {
    record.get("syncStatus").and_then(Value::as_str).unwrap_or_default()
}

/// Names the first difference; the names in it are those of made-up people.
fn compare(side: &str, wanted: &Party, found: Party) -> Result<(), String> {
    let (wanted, found) = (wanted.clone().mapped(), found.mapped());
    let differs = wanted.fields().into_iter().zip(found.fields()).find(|(wanted, found)| wanted != found);
    let shown = |value: Option<&str>| value.map_or_else(|| "empty".to_owned(), |text| format!("{text:?}"));
    match differs {
        None => Ok(()),
        Some(((field, wanted), (_, found))) => {
            Err(format!("{field} in {side} is {} and must be {}", shown(found), shown(wanted)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use simulators::demo_data::{Category, Pair};

    fn record(value: Value) -> Record {
        value.as_object().cloned().unwrap()
    }

    fn expectation() -> Expected {
        let pair = Pair {
            category: Category::EqualNeverLinked,
            crm: record(json!({ "id": "a", "betnr": 7, "firstName": "Ann", "lastName": "Lee" })),
            advoware: Some(record(json!({ "betNr": 7, "vorname": "Ann", "name": "Lee", "strasse": "x" }))),
        };
        super::super::oracle::expected(&[pair], &[], &BTreeMap::new()).remove(0)
    }

    fn judged(crm: Value, advoware: Value, dead: &[&str]) -> Option<String> {
        let dead = dead.iter().map(|id| (*id).to_owned()).collect();
        Held::new(vec![crm], vec![advoware], dead).difference(&expectation())
    }

    #[test]
    fn every_difference_is_named() {
        let crm =
            json!({ "id": "a", "betnr": 7, "firstName": "Ann", "lastName": "Lee", "syncStatus": "clean" });
        let advoware = json!({ "betNr": 7, "vorname": "Ann", "name": "Lee", "strasse": "x" });
        assert_eq!(judged(crm.clone(), advoware.clone(), &[]), None);
        let with = |of: &Value, field: &str, value: Value| {
            let mut changed = of.clone();
            changed[field] = value;
            changed
        };
        for (crm, advoware, dead, said) in [
            (with(&crm, "id", json!("b")), advoware.clone(), vec![], "not in EspoCRM"),
            (with(&crm, "betnr", json!(8)), advoware.clone(), vec![], "betnr is"),
            (crm.clone(), with(&advoware, "betNr", json!(8)), vec![], "no party in Advoware"),
            (crm.clone(), with(&advoware, "name", json!("Li")), vec![], "name in Advoware is \"Li\""),
            (crm.clone(), with(&advoware, "strasse", Value::Null), vec![], "strasse"),
            (with(&crm, "lastName", json!("Li")), advoware.clone(), vec![], "name in EspoCRM is \"Li\""),
            (with(&crm, "syncStatus", json!("dirty")), advoware.clone(), vec![], "dirty"),
            (with(&crm, "deleted", json!(true)), advoware.clone(), vec![], "deleted"),
            (
                with(&crm, "advowareDeletedAt", json!("2026-01-01 00:00:00")),
                advoware.clone(),
                vec![],
                "advowareDeletedAt",
            ),
            (crm.clone(), advoware.clone(), vec!["a"], "a dead letter is open"),
        ] {
            let found = judged(crm, advoware, &dead).unwrap_or_default();
            assert!(found.contains(said), "{said}: {found}");
        }
    }

    #[test]
    fn what_nobody_asked_for_is_found() {
        let crm = vec![json!({ "id": "a", "betnr": 7 }), json!({ "id": "b" })];
        let advoware = vec![json!({ "betNr": 7 }), json!({ "betNr": 9 })];
        let held = Held::new(crm, advoware, Vec::new());
        let surplus = held.surplus(&[expectation()]);
        assert_eq!(surplus, ["CBeteiligte b came out of nowhere", "Beteiligter 9 belongs to no CBeteiligte"]);
    }

    #[test]
    fn agreement_is_counted_without_an_oracle() {
        let crm = vec![
            json!({ "id": "a", "betnr": 7, "firstName": "Ann", "lastName": "Lee", "salutationName": "Ms.", "syncStatus": "clean" }),
            json!({ "id": "b", "betnr": 8, "lastName": "Lee", "syncStatus": "clean" }),
            json!({ "id": "c", "deleted": true }),
        ];
        let advoware = vec![
            json!({ "betNr": 7, "vorname": "Ann", "name": "Lee", "anrede": "Frau" }),
            json!({ "betNr": 8, "vorname": "Ann", "name": "Lee" }),
        ];
        assert_eq!(Held::new(crm, advoware, Vec::new()).agreeing(), (2, 1));
    }
}
