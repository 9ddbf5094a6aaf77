//! People who write phone numbers and mail addresses on both sides, and what both sides must hold because of it.
//! Written from the specification; shares no code with the flow that it judges.
//!
//! No two edits are in conflict: each value has one side within an epoch. No value comes twice, so that each is known
//! by its number, in whatever form it is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use simulators::Dice;

use super::random::Office;

const TYPES: [&str; 5] = ["Office", "Mobile", "Home", "Fax", "Other"];
/// What a mark begins with.
const MARK: &str = "[ESPOCRM";
/// What is neither a number nor an address, and stays where it is.
const HOMEPAGE: &str = "www.example.de";

/// A value: which list, and its number.
type Known = (bool, usize);

/// What one side's people do within an epoch to a value, and what is expected of it.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// Whose it is in this epoch: EspoCRM's, else Advoware's.
    crm_owns: bool,
    opt_out: bool,
    /// Nobody touches it any more before the next epoch.
    closed: bool,
}

/// Both lists of one pair.
#[derive(Debug)]
pub struct Lists {
    pair: usize,
    next: usize,
    wanted: BTreeMap<Known, Wanted>,
    /// What people wrote into remarks, by entry.
    texts: BTreeMap<u64, String>,
    /// Values that were in step when the epoch began.
    settled: BTreeSet<Known>,
    homepage: bool,
    crm_only: bool,
}

/// As EspoCRM holds it.
fn in_crm((mail, number): Known) -> String {
    if mail { format!("Kontakt{number}@Example.de") } else { format!("+49511{number}") }
}

/// As somebody in the firm would write it.
fn in_advoware(known: Known, dice: &mut Dice) -> String {
    let (mail, number) = known;
    let digits = number.to_string();
    let (front, back) = digits.split_at(3);
    let forms = match mail {
        true => [
            in_crm(known),
            in_crm(known).to_lowercase(),
            format!(" {}", in_crm(known)),
            in_crm(known).to_uppercase(),
        ],
        false => [
            in_crm(known),
            format!("0511 {number}"),
            format!("0511/{front}-{back}"),
            format!("+49 (0)511 {front} {back}"),
        ],
    };
    forms[dice.below(forms.len())].clone()
}

/// The value of a text, by its number alone.
fn read(text: &str) -> Option<Known> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let mail = text.contains('@');
    let number = if mail { digits.as_str() } else { digits.get(digits.len().checked_sub(6)?..)? };
    Some((mail, number.parse().ok()?))
}

/// The user's part of a remark.
fn text_of(remark: &str) -> String {
    let text = match remark.trim().strip_prefix(MARK) {
        Some(rest) => rest.split_once(']').map_or("", |(_, text)| text),
        None => remark,
    };
    text.trim().to_owned()
}

fn entries(party: &Value) -> Vec<Value> {
    party["kommunikation"].as_array().cloned().unwrap_or_default()
}

fn attribute(mail: bool) -> (&'static str, &'static str) {
    if mail { ("emailAddressData", "emailAddress") } else { ("phoneNumberData", "phoneNumber") }
}

impl Lists {
    pub fn new(pair: usize) -> Self {
        Self {
            pair,
            next: 0,
            wanted: BTreeMap::new(),
            texts: BTreeMap::new(),
            settled: BTreeSet::new(),
            homepage: false,
            crm_only: true,
        }
    }

    /// A value that nobody has had before.
    fn new_value(&mut self, dice: &mut Dice, crm_owns: bool) -> Known {
        self.next += 1;
        let known = (dice.chance(0.4), 100_000 * (self.pair + 1) + self.next);
        self.wanted.insert(known, Wanted { crm_owns, ..Wanted::default() });
        known
    }

    pub fn lay_out_in_crm(&mut self, dice: &mut Dice, record: &mut Value) {
        for _ in 0..dice.below(4) {
            let known = self.new_value(dice, true);
            self.add_to_crm(dice, record, known);
        }
    }

    /// Some of EspoCRM's in another form, and others.
    pub fn lay_out_in_advoware(&mut self, dice: &mut Dice, party: &mut Value) {
        let mut known: Vec<Known> = self.wanted.keys().copied().filter(|_| dice.chance(0.5)).collect();
        known.extend((0..dice.below(3)).map(|_| self.new_value(dice, true)).collect::<Vec<_>>());
        for known in &known {
            // Before the first sync there is nothing to tell a deletion in EspoCRM from a new value in Advoware by.
            self.wanted.get_mut(known).unwrap().closed = true;
        }
        let mut entries: Vec<Value> = known
            .into_iter()
            .map(|known| {
                let kind = if known.0 { 4 } else { [1, 3, 6, 7][dice.below(4)] };
                let text = if dice.chance(0.3) { "von früher" } else { "" };
                json!({ "tlf": in_advoware(known, dice), "kommKz": kind, "bemerkung": text, "online": known.0 })
            })
            .collect();
        if dice.chance(0.3) {
            self.homepage = true;
            entries.push(json!({ "tlf": HOMEPAGE, "kommKz": 5, "bemerkung": "Homepage" }));
        }
        party["kommunikation"] = json!(entries);
    }

    fn add_to_crm(&mut self, dice: &mut Dice, record: &mut Value, known: Known) {
        let (list, name) = attribute(known.0);
        let opt_out = dice.chance(0.2);
        let mut all = record[list].as_array().cloned().unwrap_or_default();
        let mut entry =
            json!({ name: in_crm(known), "primary": all.is_empty(), "optOut": opt_out, "invalid": false });
        if !known.0 {
            entry["type"] = json!(TYPES[dice.below(TYPES.len())]);
        }
        all.push(entry);
        record[list] = json!(all);
        self.wanted.entry(known).or_default().opt_out = opt_out;
    }

    /// Both sides agree; every value gets an owner anew.
    pub fn begin_epoch(&mut self, dice: &mut Dice, is_first: bool) {
        self.crm_only = is_first;
        for wanted in self.wanted.values_mut() {
            wanted.crm_owns = is_first || dice.chance(0.5);
            wanted.closed &= is_first;
        }
        self.settled = if is_first { BTreeSet::new() } else { self.wanted.keys().copied().collect() };
    }

    /// Somebody adds, changes or deletes a value, on its side; or writes a remark, or damages a mark.
    pub fn edit(&mut self, office: Office<'_>, dice: &mut Dice, id: &str, bet_nr: Option<i64>) {
        match bet_nr.filter(|_| !self.crm_only && dice.chance(0.5)) {
            Some(bet_nr) => self.edit_party(office, dice, bet_nr),
            None => self.edit_record(office, dice, id),
        }
    }

    fn edit_record(&mut self, office: Office<'_>, dice: &mut Dice, id: &str) {
        let mut record = office.record(id);
        let own: Vec<Known> = self.of(&record, true);
        let list = if own.is_empty() || dice.chance(0.4) {
            let known = self.new_value(dice, true);
            self.add_to_crm(dice, &mut record, known);
            attribute(known.0).0
        } else {
            let known = own[dice.below(own.len())];
            let (list, name) = attribute(known.0);
            let mut all = record[list].as_array().cloned().unwrap_or_default();
            let at = all.iter().position(|entry| entry[name].as_str().and_then(read) == Some(known)).unwrap();
            match dice.below(4) {
                0 => {
                    let removed = all.remove(at);
                    self.wanted.remove(&known);
                    if removed["primary"] == true && !all.is_empty() {
                        all[0]["primary"] = json!(true);
                    }
                }
                1 | 2 => {
                    self.wanted.remove(&known);
                    self.next += 1;
                    let new = (known.0, 100_000 * (self.pair + 1) + self.next);
                    all[at][name] = json!(in_crm(new));
                    all[at]["optOut"] = json!(false);
                    self.wanted.insert(new, Wanted { crm_owns: true, ..Wanted::default() });
                }
                _ => {
                    let opt_out = all[at]["optOut"] != true;
                    all[at]["optOut"] = json!(opt_out);
                    self.wanted.get_mut(&known).unwrap().opt_out = opt_out;
                }
            }
            record[list] = json!(all);
            list
        };
        office.edit_record(id, json!({ list: record[list] }));
    }

    /// The values of a side that it shows now, and that may be edited.
    fn of(&self, record: &Value, crm: bool) -> Vec<Known> {
        let shown: BTreeSet<Known> = match crm {
            true => self.crm_values(record).into_iter().collect(),
            false => entries(record).iter().filter_map(|entry| read(entry["tlf"].as_str()?)).collect(),
        };
        let free = |known: &Known| self.wanted.get(known).is_some_and(|w| w.crm_owns == crm && !w.closed);
        shown.into_iter().filter(free).collect()
    }

    fn edit_party(&mut self, office: Office<'_>, dice: &mut Dice, bet_nr: i64) {
        let party = office.party(bet_nr);
        let mut all = entries(&party);
        let own = self.of(&party, false);
        if own.is_empty() || dice.chance(0.35) {
            let known = self.new_value(dice, false);
            let kind = if known.0 { 8 } else { [1, 2, 3, 9, 10][dice.below(5)] };
            all.push(
                json!({ "tlf": in_advoware(known, dice), "bemerkung": "", "kommKz": kind, "online": false }),
            );
        } else {
            let known = own[dice.below(own.len())];
            let at =
                all.iter().position(|entry| entry["tlf"].as_str().and_then(read) == Some(known)).unwrap();
            self.edit_entry(dice, known, &mut all, at);
        }
        office.edit_party(bet_nr, json!({ "kommunikation": all }));
    }

    fn edit_entry(&mut self, dice: &mut Dice, known: Known, all: &mut Vec<Value>, at: usize) {
        let id = all[at]["id"].as_u64().unwrap();
        let remark = all[at]["bemerkung"].as_str().unwrap_or_default().to_owned();
        match dice.below(6) {
            // Emptied, with or without its entry.
            0 => {
                all[at]["tlf"] = json!("");
                self.wanted.remove(&known);
            }
            1 => {
                all.remove(at);
                self.texts.remove(&id);
                self.wanted.remove(&known);
            }
            2 | 3 => {
                let opt_out = self.wanted.remove(&known).is_some_and(|wanted| wanted.opt_out);
                self.next += 1;
                let new = (known.0, 100_000 * (self.pair + 1) + self.next);
                all[at]["tlf"] = json!(in_advoware(new, dice));
                self.wanted.insert(new, Wanted { crm_owns: false, opt_out, closed: false });
            }
            // A mark that was there for a whole epoch is damaged; nobody touches the entry again before the next one.
            4 if self.settled.contains(&known) && remark.starts_with(MARK) => {
                let text = text_of(&remark);
                let damaged = ["[ESPOCRM:%%%:1]", "[ESPOCRM:KzQ5:99]", "[ESPOCRM:KzQ5:]", ""][dice.below(4)];
                all[at]["bemerkung"] = json!(format!("{damaged} {text}").trim());
                self.wanted.get_mut(&known).unwrap().closed = true;
            }
            _ => {
                let text = format!("Notiz {}", dice.below(1_000));
                let mark = if remark.starts_with(MARK) {
                    remark.split_once(']').map(|(mark, _)| format!("{mark}] "))
                } else {
                    None
                };
                all[at]["bemerkung"] = json!(format!("{}{text}", mark.unwrap_or_default()));
                self.texts.insert(id, text);
            }
        }
    }

    fn crm_values(&self, record: &Value) -> Vec<Known> {
        let of = |mail: bool| {
            let (list, name) = attribute(mail);
            let all = record[list].as_array().cloned().unwrap_or_default();
            all.iter().filter_map(|entry| read(entry[name].as_str()?)).collect::<Vec<_>>()
        };
        [of(false), of(true)].concat()
    }

    /// What is not as people wrote it.
    pub fn complaints(&self, record: &Value, party: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let sorted = |mut values: Vec<Known>| {
            values.sort_unstable();
            values
        };
        let expected: Vec<Known> = self.wanted.keys().copied().collect();
        let crm = sorted(self.crm_values(record));
        if crm != expected {
            wrong.push(format!("EspoCRM holds {crm:?}, expected {expected:?}"));
        }
        let entries = entries(party);
        let value = |entry: &Value| entry["tlf"].as_str().filter(|text| *text != HOMEPAGE).and_then(read);
        let advoware = sorted(entries.iter().filter_map(value).collect());
        if advoware != expected {
            wrong.push(format!("Advoware holds {advoware:?}, expected {expected:?}"));
        }
        for mail in [false, true] {
            let (list, name) = attribute(mail);
            let all = record[list].as_array().cloned().unwrap_or_default();
            let first = all.iter().filter(|entry| entry["primary"] == true).count();
            if first != usize::from(!all.is_empty()) {
                wrong.push(format!("{list}: {first} are the first one"));
            }
            for entry in &all {
                let known = entry[name].as_str().and_then(read);
                let opt_out = known.and_then(|known| self.wanted.get(&known)).map(|wanted| wanted.opt_out);
                if opt_out.is_some_and(|opt_out| entry["optOut"] != opt_out) {
                    wrong.push(format!("{list}: opted out should be {opt_out:?}: {entry}"));
                }
            }
        }
        for entry in &entries {
            let (id, remark) =
                (entry["id"].as_u64().unwrap_or(0), entry["bemerkung"].as_str().unwrap_or_default());
            let expected = self.texts.get(&id);
            if expected.is_some_and(|text| *text != text_of(remark)) {
                wrong.push(format!("the remark of {id} is {remark:?}, expected {expected:?}"));
            }
            let is_value = value(entry).is_some();
            if is_value != remark.starts_with("[ESPOCRM:") {
                wrong.push(format!("{id} has the remark {remark:?}"));
            }
        }
        let homepages =
            entries.iter().filter(|entry| entry["tlf"] == HOMEPAGE && entry["bemerkung"] == "Homepage");
        if homepages.count() != usize::from(self.homepage) {
            wrong.push("the homepage is not as it was".to_owned());
        }
        wrong
    }
}
