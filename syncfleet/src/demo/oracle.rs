//! What both sides must hold in the end, from what was laid out and what people did. Pure, and written from the
//! specification alone: it shares no code with the flow that it judges.

use std::collections::{BTreeMap, BTreeSet};

use super::numbers::Numbers;
use serde_json::{Map, Value, json};
use simulators::demo_data::{Category, Change, Edit, Pair, Side};
use unicode_normalization::UnicodeNormalization as _;

/// A JSON object.
pub type Record = Map<String, Value>;

/// Salutations that both sides know.
const SALUTATIONS: [(&str, &str); 2] = [("Mr.", "Herr"), ("Ms.", "Frau")];
/// The legal forms that the simulated EspoCRM has options for.
const LEGAL_FORMS: [&str; 7] = ["GmbH", "AG", "KG", "OHG", "GbR", "e.K.", "UG"];
/// Fields of Advoware that the sync must leave alone.
const UNTOUCHED: [&str; 2] = ["strasse", "bemerkung"];

/// Kind and names: one value, since a person's and a company's names must never be mixed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    company: bool,
    name: Option<String>,
    first: Option<String>,
}

/// The mapped fields of one side, in that side's own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    who: Who,
    legal_form: Option<String>,
    salutation: Option<String>,
    birth: Option<String>,
    register: Option<String>,
}

impl Party {
    /// Of a CBeteiligte.
    pub fn of_crm(record: &Record) -> Self {
        let text = |field| text(record, field);
        let company = text("firmenname").is_some();
        let name = text(if company { "firmenname" } else { "lastName" });
        let first = text("firstName").filter(|_| !company);
        Self {
            who: Who { company, name, first },
            legal_form: text("rechtsform"),
            salutation: text("salutationName"),
            birth: text("dateOfBirth"),
            register: text("handelsregisterNummer"),
        }
    }

    /// Of a Beteiligter.
    pub fn of_advoware(record: &Record) -> Self {
        let text = |field| text(record, field);
        let first = text("vorname");
        Self {
            who: Who { company: first.is_none(), name: text("name"), first },
            legal_form: text("rechtsform"),
            salutation: text("anrede"),
            birth: text("geburtsdatum"),
            register: text("handelsRegisterNummer"),
        }
    }

    /// The mapped fields by name.
    pub fn fields(&self) -> [(&'static str, Option<&str>); 7] {
        let kind = if self.who.company { "company" } else { "person" };
        [
            ("kind", Some(kind)),
            ("name", self.who.name.as_deref()),
            ("first name", self.who.first.as_deref()),
            ("legal form", self.legal_form.as_deref()),
            ("salutation", self.salutation.as_deref()),
            ("date of birth", self.birth.as_deref()),
            ("register number", self.register.as_deref()),
        ]
    }

    fn to_crm(&self) -> Record {
        let Who { company, name, first } = &self.who;
        let (person, firm) = if *company { (None, name.as_ref()) } else { (name.as_ref(), None) };
        let record = json!({
            "firstName": first, "lastName": person, "firmenname": firm, "rechtsform": self.legal_form,
            "salutationName": self.salutation, "dateOfBirth": self.birth, "handelsregisterNummer": self.register,
        });
        record.as_object().cloned().unwrap_or_default()
    }

    fn to_advoware(&self) -> Record {
        let record = json!({
            "vorname": self.who.first, "name": self.who.name, "rechtsform": self.legal_form,
            "anrede": self.salutation, "geburtsdatum": self.birth, "handelsRegisterNummer": self.register,
        });
        record.as_object().cloned().unwrap_or_default()
    }

    /// The same with all mapped fields taken from the other side. A salutation that `translate` has no word for
    /// stays as it is.
    fn overwritten(&self, by: &Self, translate: fn(&str) -> Option<String>) -> Self {
        let salutation = match &by.salutation {
            Some(word) => translate(word).or(self.salutation.clone()),
            None => self.salutation.clone().filter(|word| !is_known(word)),
        };
        let (birth, register) =
            if by.who.company { (&self.birth, &by.register) } else { (&by.birth, &self.register) };
        Self {
            who: by.who.clone(),
            legal_form: by.legal_form.clone(),
            salutation,
            birth: birth.clone(),
            register: register.clone(),
        }
    }

    /// Whether a CBeteiligte and this Beteiligter say the same; salutations that only one side knows count as said.
    pub fn says_the_same(&self, advoware: &Self) -> bool {
        let (crm, advoware) = (self.clone().mapped(), advoware.clone().mapped());
        let known = |word: &Option<String>| word.as_deref().is_none_or(is_known);
        let salutation = crm.salutation.as_deref().and_then(to_advoware) == advoware.salutation
            || !(known(&crm.salutation) && known(&advoware.salutation));
        let rest = |party: Self| Self { salutation: None, ..party };
        salutation && rest(crm) == rest(advoware)
    }

    /// Only the fields that are mapped for its kind: a company has no birthday, a person is in no register.
    pub fn mapped(mut self) -> Self {
        if self.who.company {
            self.birth = None
        } else {
            self.register = None
        }
        self
    }
}

/// Trimmed, in NFC; blank is nothing.
fn text(record: &Record, field: &str) -> Option<String> {
    let text: String = record.get(field)?.as_str()?.trim().nfc().collect();
    (!text.is_empty()).then_some(text)
}

/// How it must end for a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides agree.
    Agree,
    /// Nothing is written, and a dead letter is open.
    DeadLetter,
    /// The party is gone from Advoware: said so in the CRM, never created anew.
    Gone,
    /// Deleted in the CRM: the party stays in Advoware.
    Kept,
}

/// What must be there in the end for one CBeteiligte.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// What was out of step at first.
    pub first: Category,
    /// What people made of it.
    pub second: Option<Category>,
    /// The CBeteiligte.
    pub crm_id: String,
    /// The key in Advoware, where it is known beforehand.
    pub bet_nr: Option<u64>,
    /// How it ends.
    pub ending: Ending,
    /// What EspoCRM holds.
    pub crm: Party,
    /// What Advoware holds.
    pub advoware: Option<Party>,
    /// Phone numbers and mail addresses, where both sides are to agree.
    pub numbers: Numbers,
    /// Fields of Advoware that must be as they were.
    pub untouched: Record,
}

/// What must be there after the first round, and after the second where there were edits. `bet_nrs` are the keys
/// that Advoware gave out in the first round, by CBeteiligte.
pub fn expected(pairs: &[Pair], edits: &[Edit], bet_nrs: &BTreeMap<String, u64>) -> Vec<Expected> {
    let mut all: Vec<Expected> = {
        let twins = twins(pairs);
        pairs.iter().map(|pair| first_round(pair, &twins)).collect()
    };
    let bases: Vec<(Party, Option<Party>)> =
        all.iter().map(|pair| (pair.crm.clone(), pair.advoware.clone())).collect();
    let mut edited = BTreeSet::new();
    for pair in &mut all {
        pair.bet_nr = pair.bet_nr.or_else(|| bet_nrs.get(&pair.crm_id).copied());
    }
    for edit in edits {
        if let Some((index, pair)) = all.iter_mut().enumerate().find(|(_, pair)| is_about(edit, pair)) {
            apply(edit, pair);
            edited.insert(index);
        }
    }
    for index in edited {
        if let (Some(pair), Some(base)) = (all.get_mut(index), bases.get(index)) {
            second_round(pair, base);
        }
    }
    all
}

/// Keys that more than one CBeteiligte names.
fn twins(pairs: &[Pair]) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    pairs.iter().filter_map(|pair| bet_nr(&pair.crm)).filter(|bet_nr| !seen.insert(*bet_nr)).collect()
}

fn bet_nr(crm: &Record) -> Option<u64> {
    crm.get("betnr").and_then(Value::as_u64)
}

fn first_round(pair: &Pair, twins: &BTreeSet<u64>) -> Expected {
    let crm = Party::of_crm(&pair.crm);
    let advoware = pair.advoware.as_ref().map(Party::of_advoware);
    let key = bet_nr(&pair.crm);
    let (ending, crm, advoware) = match (key, advoware) {
        (None, _) if crm.who.name.is_none() => (Ending::DeadLetter, crm, None),
        (None, _) => {
            let made = Party::default().overwritten(&crm, to_advoware);
            (Ending::Agree, crm, Some(made))
        }
        (Some(key), advoware) if twins.contains(&key) => (Ending::DeadLetter, crm, advoware),
        (Some(_), None) => (Ending::Gone, crm, None),
        (Some(_), Some(advoware)) if is_newer_in_advoware(pair) => {
            (Ending::Agree, crm.overwritten(&advoware, to_crm), Some(advoware))
        }
        (Some(_), Some(advoware)) => {
            let advoware = advoware.overwritten(&crm, to_advoware);
            (Ending::Agree, crm, Some(advoware))
        }
    };
    let untouched = pair.advoware.iter().flatten().filter(|(name, _)| UNTOUCHED.contains(&name.as_str()));
    Expected {
        first: pair.category,
        second: None,
        crm_id: pair.crm.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        bet_nr: key,
        ending,
        crm,
        advoware,
        numbers: Numbers::of(&pair.crm, pair.advoware.as_ref()),
        untouched: untouched.map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// An older integration left a time of its last sync and no row id: then the times decide.
fn is_newer_in_advoware(pair: &Pair) -> bool {
    let time = |record: &Record, field: &str| text(record, field).map(|text| text.replace('T', " "));
    let Some(last_sync) = time(&pair.crm, "advowareLastSync") else { return false };
    let after = |time: Option<String>| time.is_some_and(|time| time > last_sync);
    let advoware = pair.advoware.as_ref().and_then(|record| time(record, "geaendertAm"));
    after(advoware) && !after(time(&pair.crm, "modifiedAt"))
}

fn is_about(edit: &Edit, pair: &Expected) -> bool {
    let (Change::Edit { id, .. } | Change::Delete { id }) = &edit.change else { return false };
    match edit.side {
        Side::Crm => *id == pair.crm_id,
        Side::Advoware => pair.bet_nr.is_some_and(|bet_nr| *id == bet_nr.to_string()),
    }
}

fn apply(edit: &Edit, pair: &mut Expected) {
    pair.second = Some(edit.category);
    match (&edit.change, edit.side) {
        (Change::Edit { fields, .. }, Side::Crm) => {
            let mut record = pair.crm.to_crm();
            record.extend(fields.clone());
            pair.numbers.edit(Side::Crm, fields);
            pair.crm = Party::of_crm(&record);
        }
        (Change::Edit { fields, .. }, Side::Advoware) => {
            let mut record = pair.advoware.as_ref().map(Party::to_advoware).unwrap_or_default();
            record.extend(fields.clone());
            pair.numbers.edit(Side::Advoware, fields);
            pair.advoware = Some(Party::of_advoware(&record));
        }
        (Change::Delete { .. }, Side::Crm) => pair.ending = Ending::Kept,
        (Change::Delete { .. }, Side::Advoware) => {
            pair.ending = Ending::Gone;
            pair.advoware = None;
        }
        (Change::Create { .. }, _) => {}
    }
}

fn second_round(pair: &mut Expected, base: &(Party, Option<Party>)) {
    match (pair.ending, &pair.advoware, &base.1) {
        (Ending::Agree, Some(advoware), Some(base_advoware)) => {
            let (crm, merged) = merge((&base.0, base_advoware), (&pair.crm, advoware));
            let refused = crm.legal_form.as_deref().is_some_and(|form| !LEGAL_FORMS.contains(&form));
            if refused {
                pair.ending = Ending::DeadLetter;
            } else {
                (pair.crm, pair.advoware) = (crm, Some(merged));
                pair.numbers.merge(pair.second == Some(Category::SameNumberOnBothSides));
            }
        }
        // What was refused at first and was completed by a person.
        (Ending::DeadLetter, None, _) if pair.crm.who.name.is_some() => {
            pair.advoware = Some(Party::default().overwritten(&pair.crm, to_advoware));
            pair.ending = Ending::Agree;
        }
        _ => {}
    }
}

/// Three-way, field by field; the CRM wins. Each side's base is what it held when both last agreed.
fn merge(base: (&Party, &Party), now: (&Party, &Party)) -> (Party, Party) {
    let (base_crm, base_advoware) = (base.0.clone().mapped(), base.1.clone().mapped());
    let same = |value: &Option<String>| Some(value.clone());
    let who = level(
        (&base_crm.who, &base_advoware.who),
        (&now.0.who, &now.1.who),
        |who| Some(who.clone()),
        |who| Some(who.clone()),
    );
    let field = |get: fn(&Party) -> &Option<String>| {
        level((get(&base_crm), get(&base_advoware)), (get(now.0), get(now.1)), same, same)
    };
    let legal_form = field(|party| &party.legal_form);
    let salutation = level(
        (&base_crm.salutation, &base_advoware.salutation),
        (&now.0.salutation, &now.1.salutation),
        |word| translated(word, to_crm),
        |word| translated(word, to_advoware),
    );
    let unmapped = |get: fn(&Party) -> &Option<String>| (get(now.0).clone(), get(now.1).clone());
    let (birth, register) = if who.0.company {
        (unmapped(|party| &party.birth), field(|party| &party.register))
    } else {
        (field(|party| &party.birth), unmapped(|party| &party.register))
    };
    let crm = Party {
        who: who.0,
        legal_form: legal_form.0,
        salutation: salutation.0,
        birth: birth.0,
        register: register.0,
    };
    let advoware = Party {
        who: who.1,
        legal_form: legal_form.1,
        salutation: salutation.1,
        birth: birth.1,
        register: register.1,
    };
    (crm, advoware)
}

/// One field on both sides. What the other side has no word for stays as it is there.
fn level<T: PartialEq + Clone>(
    base: (&T, &T),
    now: (&T, &T),
    to_crm: impl Fn(&T) -> Option<T>,
    to_advoware: impl Fn(&T) -> Option<T>,
) -> (T, T) {
    let (crm, advoware) = (now.0.clone(), now.1.clone());
    match (base.0 != now.0, base.1 != now.1) {
        (false, false) => (crm, advoware),
        (true, _) => {
            let advoware = to_advoware(&crm).unwrap_or(advoware);
            (crm, advoware)
        }
        (false, true) => (to_crm(&advoware).unwrap_or(crm), advoware),
    }
}

fn translated(word: &Option<String>, translate: fn(&str) -> Option<String>) -> Option<Option<String>> {
    match word {
        None => Some(None),
        Some(word) => translate(word).map(Some),
    }
}

fn is_known(word: &str) -> bool {
    SALUTATIONS.iter().any(|(crm, advoware)| *crm == word || *advoware == word)
}

fn to_advoware(word: &str) -> Option<String> {
    SALUTATIONS.iter().find(|(crm, _)| *crm == word).map(|(_, advoware)| (*advoware).to_owned())
}

fn to_crm(word: &str) -> Option<String> {
    SALUTATIONS.iter().find(|(_, advoware)| *advoware == word).map(|(crm, _)| (*crm).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulators::demo_data::initial;

    fn record(value: Value) -> Record {
        value.as_object().cloned().unwrap()
    }

    fn pair(crm: Value, advoware: Option<Value>) -> Pair {
        Pair { category: Category::OnlyInCrm, crm: record(crm), advoware: advoware.map(record) }
    }

    fn one(pair: &Pair, edits: &[Edit]) -> Expected {
        expected(std::slice::from_ref(pair), edits, &BTreeMap::new()).remove(0)
    }

    fn edit(side: Side, id: &str, fields: Value) -> Edit {
        Edit {
            category: Category::BothSameField,
            side,
            change: Change::Edit { id: id.to_owned(), fields: record(fields) },
        }
    }

    fn in_step() -> Pair {
        pair(
            json!({ "id": "a", "betnr": 7, "firstName": "Ann", "lastName": "Lee", "salutationName": "Ms.", "dateOfBirth": "1980-01-01" }),
            Some(
                json!({ "betNr": 7, "vorname": "Ann", "name": "Lee", "anrede": "Frau", "geburtsdatum": "1980-01-01", "strasse": "x", "handelsRegisterNummer": "old" }),
            ),
        )
    }

    #[test]
    fn what_is_in_the_crm_only_is_made_in_advoware_in_its_words() {
        let made = one(
            &pair(
                json!({ "id": "a", "firstName": " Ju\u{308}rgen ", "lastName": "Lee", "salutationName": "Mr." }),
                None,
            ),
            &[],
        );
        let advoware = made.advoware.unwrap().to_advoware();
        assert_eq!(
            (made.ending, &advoware["vorname"], &advoware["anrede"]),
            (Ending::Agree, &json!("Jürgen"), &json!("Herr"))
        );
    }

    #[test]
    fn the_crm_wins_at_first_but_an_unknown_salutation_stays() {
        let crm = json!({ "id": "a", "betnr": 7, "firmenname": "Lee GmbH" });
        let advoware = |anrede| json!({ "betNr": 7, "vorname": "Ann", "name": "Lee", "anrede": anrede, "geburtsdatum": "1980-01-01" });
        for (anrede, stays) in [("Frau", Value::Null), ("Eheleute", json!("Eheleute"))] {
            let held = one(&pair(crm.clone(), Some(advoware(anrede))), &[]).advoware.unwrap().to_advoware();
            assert_eq!(
                (&held["name"], &held["vorname"], &held["anrede"]),
                (&json!("Lee GmbH"), &Value::Null, &stays)
            );
            assert_eq!(held["geburtsdatum"], "1980-01-01", "not mapped for companies, so it survives");
        }
    }

    #[test]
    fn times_decide_after_an_older_integration() {
        for (crm_changed, advoware_changed, wins) in [
            ("2026-03-20 12:00:00", "2026-01-10T12:00:00", "Lee"),
            ("2026-01-10 12:00:00", "2026-03-20T12:00:00", "Old"),
            ("2026-03-20 12:00:00", "2026-03-20T12:00:00", "Lee"),
        ] {
            let crm = json!({ "id": "a", "betnr": 7, "firstName": "Ann", "lastName": "Lee",
                "advowareLastSync": "2026-01-15 10:00:00", "modifiedAt": crm_changed });
            let advoware =
                json!({ "betNr": 7, "vorname": "Ann", "name": "Old", "geaendertAm": advoware_changed });
            let held = one(&pair(crm, Some(advoware)), &[]);
            assert_eq!(held.crm.who, held.advoware.unwrap().who);
            assert_eq!(held.crm.who.name.as_deref(), Some(wins), "{crm_changed} {advoware_changed}");
        }
    }

    #[test]
    fn different_fields_are_merged_and_of_the_same_field_the_crm_wins() {
        let edits = [
            edit(Side::Crm, "a", json!({ "dateOfBirth": "1990-02-02", "lastName": "Crm" })),
            edit(Side::Advoware, "7", json!({ "name": "Advo", "anrede": "Herr", "rechtsform": "KG" })),
        ];
        let held = one(&in_step(), &edits);
        let (crm, advoware) = (held.crm.to_crm(), held.advoware.unwrap().to_advoware());
        assert_eq!(held.ending, Ending::Agree);
        assert_eq!((&crm["lastName"], &advoware["name"]), (&json!("Crm"), &json!("Crm")));
        assert_eq!((&crm["salutationName"], &advoware["anrede"]), (&json!("Mr."), &json!("Herr")));
        assert_eq!((&crm["rechtsform"], &advoware["geburtsdatum"]), (&json!("KG"), &json!("1990-02-02")));
        assert_eq!(
            (&advoware["handelsRegisterNummer"], &held.untouched["strasse"]),
            (&json!("old"), &json!("x"))
        );
    }

    #[test]
    fn what_cannot_be_carried_over_stays_where_it_is() {
        let limited = one(&in_step(), &[edit(Side::Advoware, "7", json!({ "rechtsform": "Limited" }))]);
        assert_eq!((limited.ending, limited.crm.legal_form), (Ending::DeadLetter, None));
        let couple = one(&in_step(), &[edit(Side::Advoware, "7", json!({ "anrede": "Eheleute" }))]);
        assert_eq!((couple.ending, couple.crm.salutation.as_deref()), (Ending::Agree, Some("Ms.")));
    }

    #[test]
    fn deletions_end_in_their_own_ways() {
        let delete = |side, id: &str| Edit {
            category: Category::DeletedInCrm,
            side,
            change: Change::Delete { id: id.to_owned() },
        };
        let kept = one(&in_step(), &[delete(Side::Crm, "a")]);
        assert_eq!((kept.ending, kept.advoware.is_some()), (Ending::Kept, true));
        let gone = one(&in_step(), &[delete(Side::Advoware, "7")]);
        assert_eq!((gone.ending, gone.advoware), (Ending::Gone, None));
    }

    #[test]
    fn a_person_becomes_a_company_on_both_sides() {
        let became = edit(
            Side::Crm,
            "a",
            json!({ "firstName": null, "lastName": null, "firmenname": "Lee KG", "dateOfBirth": null }),
        );
        let held = one(&in_step(), &[became]).advoware.unwrap().mapped().to_advoware();
        assert_eq!(
            (&held["vorname"], &held["name"], &held["geburtsdatum"]),
            (&Value::Null, &json!("Lee KG"), &Value::Null)
        );
    }

    #[test]
    fn every_party_of_the_demo_has_the_ending_that_its_category_asks_for() {
        let pairs = initial(5, 400);
        for (pair, held) in pairs.iter().zip(expected(&pairs, &[], &BTreeMap::new())) {
            let ending = match pair.category {
                Category::GoneFromAdvoware => Ending::Gone,
                category if category.is_dead_letter() => Ending::DeadLetter,
                _ => Ending::Agree,
            };
            assert_eq!(held.ending, ending, "{:?}", pair.category);
        }
    }
}
