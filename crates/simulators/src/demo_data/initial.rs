//! What is there before the first sync.

use serde_json::{Value, json};

use super::{Category, Pair, communications, names, object};
use crate::dice::Dice;
use crate::upstream::Record;

/// First betnr given out here; the simulated Advoware starts far above it.
const FIRST_BET_NR: usize = 10_000;
/// Last sync of the older integration.
const OLD_SYNC: &str = "2026-01-15 10:00:00";
const BEFORE_OLD_SYNC: &str = "2026-01-10";
const AFTER_OLD_SYNC: &str = "2026-03-20";

/// How often each category comes, in a hundred.
const SHARES: [(Category, usize); 14] = [
    (Category::OnlyInCrm, 28),
    (Category::EqualNeverLinked, 22),
    (Category::DifferentNeverLinked, 14),
    (Category::OddName, 10),
    (Category::KindDiffersNeverLinked, 5),
    (Category::UnknownSalutation, 4),
    (Category::OlderIntegrationCrmChanged, 4),
    (Category::OlderIntegrationAdvowareChanged, 4),
    (Category::GoneFromAdvoware, 3),
    (Category::DuplicateBetnr, 3),
    (Category::RefusedByAdvoware, 3),
    (Category::NumbersInOtherForms, 8),
    (Category::NumbersOnOneSide, 8),
    (Category::MarksDamaged, 6),
];

/// At least `pairs` parties (a duplicate betnr comes as two). The same seed gives the same parties.
/// With 14 or more, every category of the first sync is among them.
#[must_use]
pub fn initial(seed: u64, pairs: usize) -> Vec<Pair> {
    let mut dice = Dice::new(seed);
    let mut made: Vec<Pair> = Vec::new();
    let mut number = 0;
    while made.len() < pairs {
        let category = SHARES.get(number).map_or_else(|| draw(&mut dice), |(category, _)| *category);
        make(&mut dice, category, number, &mut made);
        number += 1;
    }
    made
}

fn draw(dice: &mut Dice) -> Category {
    let mut left = dice.below(SHARES.iter().map(|(_, share)| share).sum());
    for (category, share) in SHARES {
        if left < share {
            return category;
        }
        left -= share;
    }
    Category::OnlyInCrm
}

fn make(dice: &mut Dice, category: Category, number: usize, made: &mut Vec<Pair>) {
    let party = if dice.chance(0.6) || is_person_only(category) {
        let (first, last) =
            if category == Category::OddName { names::odd(number) } else { names::person(number) };
        person(dice, &first, &last)
    } else {
        company(dice, number)
    };
    let (mut crm, mut advoware) = (party.crm, party.advoware);
    let bet_nr = FIRST_BET_NR + number;
    crm.insert("id".to_owned(), json!(format!("6b00{number:09x}{:04x}", dice.below(0x1_0000))));
    crm.insert("syncStatus".to_owned(), json!("pending_sync"));
    crm.insert("syncRetryCount".to_owned(), json!(0));
    advoware.insert("betNr".to_owned(), json!(bet_nr));
    advoware.insert("strasse".to_owned(), json!(format!("Hauptstraße {number}")));
    advoware.insert("bemerkung".to_owned(), json!("bleibt unberührt"));
    let is_linked =
        !matches!(category, Category::OnlyInCrm | Category::OddName | Category::RefusedByAdvoware);
    if is_linked {
        crm.insert("betnr".to_owned(), json!(bet_nr));
    }
    communications::lay_out(dice, category, number, &mut crm, &mut advoware);
    match category {
        Category::DifferentNeverLinked => differ(dice, &mut advoware),
        Category::KindDiffersNeverLinked => {
            let (first, last) = names::person(number);
            advoware.extend(person(dice, &first, &last).advoware);
        }
        Category::UnknownSalutation => {
            crm.shift_remove("salutationName");
            advoware.insert("anrede".to_owned(), json!("Eheleute"));
        }
        Category::OlderIntegrationCrmChanged => {
            older(&mut crm, &mut advoware, AFTER_OLD_SYNC, BEFORE_OLD_SYNC);
            differ(dice, &mut advoware);
        }
        Category::OlderIntegrationAdvowareChanged => {
            older(&mut crm, &mut advoware, BEFORE_OLD_SYNC, AFTER_OLD_SYNC);
            differ(dice, &mut advoware);
        }
        Category::RefusedByAdvoware => {
            crm.shift_remove("lastName");
        }
        Category::DuplicateBetnr => {
            let mut twin = crm.clone();
            twin.insert("id".to_owned(), json!(format!("6b01{number:09x}{:04x}", dice.below(0x1_0000))));
            made.push(Pair { category, crm: twin, advoware: Some(advoware.clone()) });
        }
        _ => {}
    }
    let is_there = is_linked && category != Category::GoneFromAdvoware;
    made.push(Pair { category, crm, advoware: is_there.then_some(advoware) });
}

fn is_person_only(category: Category) -> bool {
    matches!(category, Category::OddName | Category::RefusedByAdvoware | Category::UnknownSalutation)
}

/// The same party as both sides write it.
struct Party {
    crm: Record,
    advoware: Record,
}

fn person(dice: &mut Dice, first: &str, last: &str) -> Party {
    let (salutation, anrede) = dice.pick(&[("Mr.", "Herr"), ("Ms.", "Frau")]);
    let born = birthday(dice);
    Party {
        crm: object(json!({
            "firstName": first, "lastName": last, "salutationName": salutation, "dateOfBirth": born,
        })),
        advoware: object(json!({
            "name": last, "vorname": first, "anrede": anrede, "geburtsdatum": born, "handelsRegisterNummer": null,
        })),
    }
}

fn company(dice: &mut Dice, number: usize) -> Party {
    let name = names::company(number);
    let form = dice.pick(&["GmbH", "AG", "KG", "OHG", "UG"]);
    let register = format!("HRB {}", 10_000 + number * 17);
    Party {
        crm: object(json!({ "firmenname": name, "rechtsform": form, "handelsregisterNummer": register })),
        advoware: object(json!({ "name": name, "rechtsform": form, "handelsRegisterNummer": register })),
    }
}

pub(super) fn birthday(dice: &mut Dice) -> String {
    format!("{}-{:02}-{:02}", 1940 + dice.below(65), 1 + dice.below(12), 1 + dice.below(28))
}

/// Makes the Beteiligter another one than the CBeteiligte, in one field.
fn differ(dice: &mut Dice, advoware: &mut Record) {
    let is_person = advoware.get("vorname").is_some_and(Value::is_string);
    let (field, value) = match (is_person, dice.below(2)) {
        (true, 0) => ("geburtsdatum", birthday(dice)),
        (true, _) => ("vorname", "Veraltet".to_owned()),
        (false, 0) => ("handelsRegisterNummer", format!("HRA {}", dice.below(9_999))),
        (false, _) => ("rechtsform", "e.K.".to_owned()),
    };
    advoware.insert(field.to_owned(), json!(value));
}

/// As the older integration left it: in step once, no row id kept.
fn older(crm: &mut Record, advoware: &mut Record, crm_changed: &str, advoware_changed: &str) {
    crm.insert("syncStatus".to_owned(), json!("clean"));
    crm.insert("advowareRowId".to_owned(), Value::Null);
    crm.insert("advowareLastSync".to_owned(), json!(OLD_SYNC));
    crm.insert("createdAt".to_owned(), json!("2025-06-01 08:00:00"));
    crm.insert("modifiedAt".to_owned(), json!(format!("{crm_changed} 12:00:00")));
    advoware.insert("geaendertAm".to_owned(), json!(format!("{advoware_changed}T12:00:00")));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo_data::identity;

    #[test]
    fn the_same_seed_gives_the_same_parties() {
        assert_eq!(initial(7, 300), initial(7, 300));
        assert_ne!(initial(7, 300), initial(8, 300));
    }

    #[test]
    fn a_few_parties_have_every_category_of_the_first_sync() {
        let categories: BTreeSet<Category> = initial(1, 15).iter().map(|pair| pair.category).collect();
        assert_eq!(categories.len(), SHARES.len());
    }

    #[test]
    fn ids_and_identities_are_unique_but_for_what_is_meant() {
        let pairs = initial(3, 1_000);
        let ids: BTreeSet<_> = pairs.iter().map(|pair| pair.crm["id"].to_string()).collect();
        assert_eq!(ids.len(), pairs.len());
        assert!(pairs.iter().all(|pair| pair.crm["id"].as_str().unwrap().len() == 17));
        let there: Vec<_> = pairs
            .iter()
            .filter(|pair| pair.category != Category::DuplicateBetnr)
            .filter_map(|pair| identity(&Value::Object(pair.advoware.clone()?)))
            .collect();
        assert_eq!(there.iter().collect::<BTreeSet<_>>().len(), there.len());
    }
}
