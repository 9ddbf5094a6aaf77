//! What people do after the first sync: the edits that need a common past.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::initial::birthday;
use super::{Category, Change, Edit, Side, communications, names, object};
use crate::dice::Dice;
use crate::upstream::Record;

/// What is done to linked parties in turn; the share of those left alone is [`LEFT_ALONE`].
const ROUND: [Category; 10] = [
    Category::ChangedInCrm,
    Category::ChangedInAdvoware,
    Category::BothDifferentFields,
    Category::BothSameField,
    Category::KindChanged,
    Category::BothSameValue,
    Category::GoneFromAdvoware,
    Category::DeletedInCrm,
    Category::UnknownLegalForm,
    Category::UnknownSalutation,
];
const LEFT_ALONE: f64 = 0.3;
/// First number of names given to new or changed records; beyond those of the first round.
const FRESH_NAMES: usize = 100_000;

/// First number of phone numbers given out here; beyond those of the first round.
const FRESH_NUMBERS: usize = 100_000;

/// A party that is on both sides, in step.
struct Linked<'a> {
    crm_id: String,
    bet_nr: String,
    record: &'a Value,
    party: &'a Value,
}

impl Linked<'_> {
    fn is_person(&self) -> bool {
        self.party.get("vorname").and_then(Value::as_str).is_some_and(|first| !first.trim().is_empty())
    }

    fn edit(&self, category: Category, side: Side, fields: Value) -> Edit {
        let id = if side == Side::Crm { &self.crm_id } else { &self.bet_nr };
        Edit { category, side, change: Change::Edit { id: id.clone(), fields: object(fields) } }
    }
}

/// The live CRM records that stand alone for a party in Advoware and are in step with it.
fn linked<'a>(crm: &'a [Value], advoware: &'a [Value]) -> Vec<Linked<'a>> {
    let parties: BTreeMap<u64, &Value> =
        advoware.iter().filter_map(|party| Some((party.get("betNr")?.as_u64()?, party))).collect();
    let mut by_bet_nr: BTreeMap<u64, Vec<&'a Value>> = BTreeMap::new();
    for record in crm.iter().filter(|record| record.get("deleted") != Some(&json!(true))) {
        if let Some(bet_nr) = record.get("betnr").and_then(Value::as_u64) {
            by_bet_nr.entry(bet_nr).or_default().push(record);
        }
    }
    by_bet_nr
        .into_iter()
        .filter_map(|(bet_nr, records)| match records.as_slice() {
            [record] if record.get("syncStatus") == Some(&json!("clean")) => Some(Linked {
                crm_id: record.get("id")?.as_str()?.to_owned(),
                bet_nr: bet_nr.to_string(),
                record,
                party: parties.get(&bet_nr)?,
            }),
            _ => None,
        })
        .collect()
}

/// The edits of the second round, from both sides' records as they stand after the first sync. Also
/// completes the records that Advoware refused.
#[must_use]
pub fn second_round(seed: u64, crm: &[Value], advoware: &[Value]) -> Vec<Edit> {
    let mut dice = Dice::new(seed);
    let mut edits = Vec::new();
    let mut turn = 0;
    let all = linked(crm, advoware);
    let (with_numbers, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|party| communications::has_numbers(party.record, party.party));
    let mut numbers = 0;
    let mut parties = others;
    for (at, party) in with_numbers.into_iter().enumerate() {
        // Those with numbers take part in both rounds, by turns.
        if at % 2 == 1 {
            parties.push(party);
            continue;
        }
        if let Some(category) = communications::ROUND.get(numbers % communications::ROUND.len()) {
            let fresh = FRESH_NUMBERS + numbers;
            let edits_of = communications::edits(&mut dice, *category, fresh, party.record, party.party);
            edits.extend(edits_of.into_iter().map(|(side, fields)| party.edit(*category, side, fields)));
            numbers += 1;
        }
    }
    for (number, party) in parties.iter().enumerate() {
        let is_left_alone = number >= ROUND.len() * 2 && dice.chance(LEFT_ALONE);
        if let (false, Some(category)) = (is_left_alone, ROUND.get(turn % ROUND.len())) {
            edits.extend(edits_for(&mut dice, *category, party, FRESH_NAMES + number));
            turn += 1;
        }
    }
    edits.extend(repairs(crm));
    edits
}

fn repairs(crm: &[Value]) -> impl Iterator<Item = Edit> {
    let blank = |record: &Value, field: &str| record.get(field).is_none_or(Value::is_null);
    crm.iter()
        .filter(move |record| record.get("deleted") != Some(&json!(true)))
        .filter(move |record| {
            blank(record, "betnr") && blank(record, "lastName") && blank(record, "firmenname")
        })
        .enumerate()
        .filter_map(|(number, record)| {
            let (_, last) = names::person(FRESH_NAMES * 2 + number);
            let id = record.get("id")?.as_str()?.to_owned();
            let fields = object(json!({ "lastName": last }));
            Some(Edit { category: Category::Repaired, side: Side::Crm, change: Change::Edit { id, fields } })
        })
}

fn edits_for(dice: &mut Dice, category: Category, party: &Linked<'_>, fresh: usize) -> Vec<Edit> {
    let edit = |side, fields| party.edit(category, side, fields);
    let person = party.is_person();
    let register = format!("HRB {}", fresh * 3);
    match category {
        Category::ChangedInCrm if person => vec![edit(Side::Crm, json!({ "dateOfBirth": birthday(dice) }))],
        Category::ChangedInCrm => vec![edit(Side::Crm, json!({ "handelsregisterNummer": register }))],
        Category::ChangedInAdvoware if person => {
            vec![edit(Side::Advoware, json!({ "name": names::person(fresh).1 }))]
        }
        Category::ChangedInAdvoware => vec![edit(Side::Advoware, json!({ "name": names::company(fresh) }))],
        Category::BothDifferentFields if person => vec![
            edit(Side::Crm, json!({ "dateOfBirth": birthday(dice) })),
            edit(Side::Advoware, json!({ "name": names::person(fresh).1 })),
        ],
        Category::BothDifferentFields => vec![
            edit(Side::Crm, json!({ "handelsregisterNummer": register })),
            edit(Side::Advoware, json!({ "name": names::company(fresh) })),
        ],
        Category::BothSameField if person => vec![
            edit(Side::Crm, json!({ "lastName": names::person(fresh).1 })),
            edit(Side::Advoware, json!({ "name": names::person(fresh + 50_000).1 })),
        ],
        Category::BothSameField => vec![
            edit(Side::Crm, json!({ "firmenname": names::company(fresh) })),
            edit(Side::Advoware, json!({ "name": names::company(fresh + 50_000) })),
        ],
        Category::BothSameValue if person => vec![
            edit(Side::Crm, json!({ "lastName": names::person(fresh).1 })),
            edit(Side::Advoware, json!({ "name": names::person(fresh).1 })),
        ],
        Category::BothSameValue => vec![
            edit(Side::Crm, json!({ "firmenname": names::company(fresh) })),
            edit(Side::Advoware, json!({ "name": names::company(fresh) })),
        ],
        Category::KindChanged => vec![kind_change(dice, party, fresh)],
        Category::GoneFromAdvoware => {
            vec![Edit { category, side: Side::Advoware, change: Change::Delete { id: party.bet_nr.clone() } }]
        }
        Category::DeletedInCrm => {
            vec![Edit { category, side: Side::Crm, change: Change::Delete { id: party.crm_id.clone() } }]
        }
        Category::UnknownLegalForm => vec![edit(Side::Advoware, json!({ "rechtsform": "Limited" }))],
        Category::UnknownSalutation => vec![edit(Side::Advoware, json!({ "anrede": "Eheleute" }))],
        _ => Vec::new(),
    }
}

/// On either side, in either direction.
fn kind_change(dice: &mut Dice, party: &Linked<'_>, fresh: usize) -> Edit {
    let (first, last) = names::person(fresh);
    let company = names::company(fresh);
    let (side, fields) = match (party.is_person(), dice.chance(0.5)) {
        (true, true) => {
            let person =
                json!({ "firstName": null, "lastName": null, "firmenname": company, "dateOfBirth": null });
            (Side::Crm, person)
        }
        (true, false) => (Side::Advoware, json!({ "vorname": null, "name": company, "geburtsdatum": null })),
        (false, true) => {
            let company = json!({ "firmenname": null, "firstName": first, "lastName": last, "handelsregisterNummer": null });
            (Side::Crm, company)
        }
        (false, false) => {
            (Side::Advoware, json!({ "vorname": first, "name": last, "handelsRegisterNummer": null }))
        }
    };
    party.edit(Category::KindChanged, side, fields)
}

/// One more thing that people do, on one side or on both: edits mostly, now and then a new record, seldom a
/// deletion. `step` must be a new number each time; it makes names that were not used before.
#[must_use]
pub fn random_edits(dice: &mut Dice, step: usize, crm: &[Value], advoware: &[Value]) -> Vec<Edit> {
    let linked = linked(crm, advoware);
    let fresh = FRESH_NAMES * 3 + step;
    let party = linked.get(dice.below(linked.len()));
    let (Some(party), false) = (party, dice.chance(0.15)) else {
        return vec![new_record(dice, fresh)];
    };
    let category = RANDOM.get(dice.below(RANDOM.len())).copied().unwrap_or(Category::ChangedInCrm);
    edits_for(dice, category, party, fresh)
}

/// Deletions come seldom.
const RANDOM: [Category; 12] = [
    Category::ChangedInCrm,
    Category::ChangedInCrm,
    Category::ChangedInCrm,
    Category::ChangedInAdvoware,
    Category::ChangedInAdvoware,
    Category::ChangedInAdvoware,
    Category::BothDifferentFields,
    Category::BothDifferentFields,
    Category::BothSameField,
    Category::BothSameValue,
    Category::KindChanged,
    Category::DeletedInCrm,
];

fn new_record(dice: &mut Dice, fresh: usize) -> Edit {
    let fields: Record = if dice.chance(0.6) {
        let (first, last) = names::person(fresh);
        object(json!({ "firstName": first, "lastName": last, "dateOfBirth": birthday(dice) }))
    } else {
        object(json!({ "firmenname": names::company(fresh), "rechtsform": "GmbH" }))
    };
    Edit { category: Category::OnlyInCrm, side: Side::Crm, change: Change::Create { fields } }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Both sides after a first sync of `count` people and companies.
    fn in_step(count: u64) -> (Vec<Value>, Vec<Value>) {
        (0..count)
            .map(|n| {
                let mut crm = json!({ "id": format!("{n:017x}"), "betnr": n, "syncStatus": "clean", "deleted": false, "lastName": "x" });
                let vorname = if n % 2 == 0 { json!("Max") } else { Value::Null };
                let mut party = json!({ "betNr": n, "name": "x", "vorname": vorname });
                if n % 4 == 0 {
                    let phone = |k: u64| format!("+49511{}", 100_000 + 2 * n + k);
                    crm["phoneNumberData"] = json!([{ "phoneNumber": phone(0) }, { "phoneNumber": phone(1) }]);
                    party["kommunikation"] = json!([{ "tlf": phone(1) }, { "tlf": phone(0) }]);
                }
                (crm, party)
            })
            .unzip()
    }

    #[test]
    fn every_category_of_the_second_round_is_there() {
        let (mut crm, advoware) = in_step(40);
        crm.push(json!({ "id": "a", "betnr": null, "lastName": null, "firmenname": null, "deleted": false }));
        let categories: BTreeSet<Category> =
            second_round(5, &crm, &advoware).into_iter().map(|edit| edit.category).collect();
        let expected: BTreeSet<Category> =
            ROUND.into_iter().chain(communications::ROUND).chain([Category::Repaired]).collect();
        assert_eq!(categories, expected);
        assert_eq!(second_round(5, &crm, &advoware), second_round(5, &crm, &advoware));
    }

    #[test]
    fn random_edits_never_run_out() {
        let (crm, advoware) = in_step(20);
        let mut dice = Dice::new(11);
        for step in 0..500 {
            assert!(!random_edits(&mut dice, step, &crm, &advoware).is_empty());
            assert!(!random_edits(&mut dice, step, &[], &[]).is_empty());
        }
    }
}
