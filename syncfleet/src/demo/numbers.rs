//! The oracle's part on phone numbers and mail addresses. Pure, and written from the specification alone.

use std::collections::BTreeSet;

use serde_json::Value;
use simulators::demo_data::Side;

use super::oracle::Record;

/// How remarks of ours begin in Advoware.
const MARK: &str = "[ESPOCRM";

/// What must be there in the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers {
    /// On both sides, each once.
    agreed: BTreeSet<String>,
    /// What people said since, by side, before it is brought into step.
    crm: BTreeSet<String>,
    advoware: BTreeSet<String>,
    /// What people wrote into remarks, which must still be there.
    remarks: Vec<String>,
}

/// A number without its country's code, or an address in lower case; none for anything else.
fn value(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    if text.contains('@') {
        return Some(text);
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.strip_prefix("00").unwrap_or(&digits);
    let digits = digits.strip_prefix("49").unwrap_or(digits);
    let national = digits.strip_prefix('0').unwrap_or(digits);
    (national.len() > 5).then(|| national.to_owned())
}

fn values(record: &Record, lists: &[(&str, &str)]) -> Vec<String> {
    let of = |(list, name): &(&str, &str)| -> Vec<String> {
        let entries = record.get(*list).and_then(Value::as_array).cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| value(entry.get(*name)?.as_str()?)).collect()
    };
    lists.iter().flat_map(of).collect()
}

const PHONES: (&str, &str) = ("phoneNumberData", "phoneNumber");
const MAILS: (&str, &str) = ("emailAddressData", "emailAddress");
const ENTRIES: (&str, &str) = ("kommunikation", "tlf");

fn of_crm(record: &Record) -> Vec<String> {
    values(record, &[PHONES, MAILS])
}

fn of_advoware(record: &Record) -> Vec<String> {
    values(record, &[ENTRIES])
}

/// What of a remark is the user's: behind what a closed mark says, or all of it.
fn text(remark: &str) -> &str {
    let rest = remark.trim().strip_prefix(MARK).and_then(|rest| rest.split_once(']'));
    rest.map_or(remark, |(_, text)| text).trim()
}

fn remarks(record: &Record) -> Vec<String> {
    let entries = record.get(ENTRIES.0).and_then(Value::as_array).cloned().unwrap_or_default();
    let remark = |entry: &Value| Some(text(entry.get("bemerkung")?.as_str()?).to_owned());
    entries.iter().filter_map(remark).filter(|text| !text.is_empty()).collect()
}

impl Numbers {
    /// After the first sync: what either side had.
    pub fn of(crm: &Record, advoware: Option<&Record>) -> Self {
        let mut agreed: BTreeSet<String> = of_crm(crm).into_iter().collect();
        agreed.extend(advoware.map(of_advoware).unwrap_or_default());
        let remarks = advoware.map(remarks).unwrap_or_default();
        Self { crm: agreed.clone(), advoware: agreed.clone(), agreed, remarks }
    }

    /// A person's edit.
    pub fn edit(&mut self, side: Side, fields: &Record) {
        match side {
            Side::Crm if fields.contains_key(PHONES.0) => {
                // The demo's people write phone numbers only.
                self.crm.retain(|value| value.contains('@'));
                self.crm.extend(values(fields, &[PHONES]));
            }
            Side::Advoware if fields.contains_key(ENTRIES.0) => {
                self.advoware = of_advoware(fields).into_iter().collect();
            }
            Side::Crm | Side::Advoware => {}
        }
    }

    /// Brings both sides' edits into step. `is_conflict`: both changed the same value, and EspoCRM wins.
    pub fn merge(&mut self, is_conflict: bool) {
        let agreed = std::mem::take(&mut self.agreed);
        let stays = |value: &&String| self.crm.contains(*value) && self.advoware.contains(*value);
        let mut merged: BTreeSet<String> = agreed.iter().filter(stays).cloned().collect();
        merged.extend(self.crm.difference(&agreed).cloned());
        if !is_conflict {
            merged.extend(self.advoware.difference(&agreed).cloned());
        }
        (self.crm, self.advoware) = (merged.clone(), merged.clone());
        self.agreed = merged;
    }

    /// What is not as it must be.
    pub fn difference(&self, crm: &Record, advoware: Option<&Record>) -> Option<String> {
        let sides = [("EspoCRM", Some(of_crm(crm))), ("Advoware", advoware.map(of_advoware))];
        for (side, found) in sides.into_iter().filter_map(|(side, found)| Some((side, found?))) {
            let set: BTreeSet<String> = found.iter().cloned().collect();
            if set.len() != found.len() {
                return Some(format!("a number stands twice in {side}"));
            }
            if set != self.agreed {
                return Some(format!("numbers in {side} are {set:?} and must be {:?}", self.agreed));
            }
        }
        let found = remarks(advoware?);
        let is_there = |text: &&String| found.iter().any(|found| found.contains(text.as_str()));
        let lost = self.remarks.iter().find(|text| !is_there(text))?;
        Some(format!("the remark \"{lost}\" in Advoware is lost"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(value: Value) -> Record {
        value.as_object().cloned().unwrap()
    }

    fn crm(phones: &[&str]) -> Record {
        let phones: Vec<Value> = phones.iter().map(|phone| json!({ "phoneNumber": phone })).collect();
        record(json!({ "phoneNumberData": phones, "emailAddressData": [{ "emailAddress": "A@Example.de" }] }))
    }

    fn advoware(entries: &[(&str, &str)]) -> Record {
        let entry = |(value, remark): &(&str, &str)| json!({ "tlf": value, "bemerkung": remark });
        record(json!({ "kommunikation": entries.iter().map(entry).collect::<Vec<_>>() }))
    }

    const BOTH: [(&str, &str); 3] =
        [("0511/200-001", "Zentrale"), ("a@example.de", ""), ("0049511200002", "[ESPOCRM:x")];

    #[test]
    fn what_either_side_had_is_on_both() {
        let numbers = Numbers::of(&crm(&["+49511200001"]), Some(&advoware(&BOTH)));
        let both = crm(&["+49511200001", "+49511200002"]);
        assert_eq!(numbers.difference(&both, Some(&advoware(&BOTH))), None);
        let wrong = |crm: Record, entries: &[(&str, &str)]| {
            numbers.difference(&crm, Some(&advoware(entries))).unwrap()
        };
        assert!(wrong(crm(&["+49511200001"]), &BOTH).contains("EspoCRM"));
        assert!(wrong(both.clone(), &BOTH[..2]).contains("Advoware"));
        assert!(wrong(both.clone(), &[BOTH[0], BOTH[0], BOTH[1], BOTH[2]]).contains("twice"));
        let silent = [("0511 200001", "[ESPOCRM:eA==:1]"), BOTH[1], BOTH[2]];
        assert!(wrong(both.clone(), &silent).contains("Zentrale"));
        let marked = [
            ("0511 200001", "[ESPOCRM:eA==:1] Zentrale"),
            BOTH[1],
            ("0511 200002", "[ESPOCRM:eA==:1] [ESPOCRM:x"),
        ];
        assert_eq!(numbers.difference(&both, Some(&advoware(&marked))), None);
    }

    #[test]
    fn edits_are_merged_and_of_the_same_value_the_crm_wins() {
        for (is_conflict, held) in
            [(false, vec!["+49511200004", "+49511200005"]), (true, vec!["+49511200004"])]
        {
            let mut numbers = Numbers::of(&crm(&["+49511200001", "+49511200002"]), Some(&advoware(&BOTH)));
            numbers.edit(Side::Crm, &crm(&["+49511200004", "+49511200002"]));
            numbers.edit(
                Side::Advoware,
                &advoware(&[("0511 200001", ""), ("a@example.de", ""), ("0511 200005", "")]),
            );
            numbers.merge(is_conflict);
            assert_eq!(numbers.difference(&crm(&held), None), None);
        }
    }
}
