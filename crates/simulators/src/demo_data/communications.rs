//! Phone numbers and mail addresses of the demo's parties: the same values as both sides' people write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Category, Side};
use crate::dice::Dice;
use crate::upstream::Record;

/// A value that no other party has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Office(usize),
    Mobile(usize),
    Mail(usize),
}

impl Known {
    /// As EspoCRM holds it.
    fn crm(self) -> String {
        match self {
            Self::Office(n) => format!("+49511{}", 200_000 + n),
            Self::Mobile(n) => format!("+49170{}", 1_000_000 + n),
            Self::Mail(n) => format!("Kontakt{n}@Example.de"),
        }
    }

    /// As somebody in the firm wrote it.
    fn advoware(self, dice: &mut Dice) -> String {
        let international = self.crm();
        let Some(national) = international.strip_prefix("+49") else {
            return dice.pick(&[
                international.to_lowercase(),
                format!(" {international}"),
                international.to_uppercase(),
            ]);
        };
        let (area, rest) = national.split_at(3);
        let (front, back) = rest.split_at(rest.len() / 2);
        dice.pick(&[
            format!("0{area} {rest}"),
            format!("0{area}/{front}-{back}"),
            format!("+49 (0){area} {front} {back}"),
            format!("0049{area}{rest}"),
        ])
    }

    fn kind(self) -> u8 {
        match self {
            Self::Office(_) => 1,
            Self::Mobile(_) => 3,
            Self::Mail(_) => 4,
        }
    }

    fn crm_entry(self, is_first: bool) -> Value {
        let value = self.crm();
        let flags =
            |name: &str| json!({ name: value, "primary": is_first, "optOut": false, "invalid": false });
        match self {
            Self::Mail(_) => flags("emailAddress"),
            Self::Office(_) | Self::Mobile(_) => {
                let mut entry = flags("phoneNumber");
                entry["type"] = json!(if self.kind() == 1 { "Office" } else { "Mobile" });
                entry
            }
        }
    }

    fn entry(self, dice: &mut Dice, remark: &str) -> Value {
        json!({ "tlf": self.advoware(dice), "bemerkung": remark, "kommKz": self.kind(), "online": self.kind() == 4 })
    }
}

/// Numbers of a party of the first round, whose own number makes them its own.
pub(super) fn lay_out(
    dice: &mut Dice,
    category: Category,
    number: usize,
    crm: &mut Record,
    advoware: &mut Record,
) {
    let [office, fax, mobile, mail] = [
        Known::Office(number * 4),
        Known::Office(number * 4 + 1),
        Known::Mobile(number),
        Known::Mail(number),
    ];
    let (phones, mails, entries) = match category {
        Category::OnlyInCrm => (vec![office, mobile], vec![mail], Vec::new()),
        Category::NumbersInOtherForms => {
            let entries =
                vec![mail.entry(dice, ""), mobile.entry(dice, "nur abends"), office.entry(dice, "Zentrale")];
            (vec![office, mobile], vec![mail], entries)
        }
        Category::NumbersOnOneSide => {
            let free = json!({ "tlf": "", "bemerkung": "[ESPOCRM-SLOT:3] Zweithandy", "kommKz": 3 });
            (vec![office, mobile], Vec::new(), vec![fax.entry(dice, "Fax"), free, mail.entry(dice, "privat")])
        }
        Category::MarksDamaged => {
            let mark = STANDARD.encode(office.crm());
            let (cut, wrong) =
                (format!("[ESPOCRM:{} Zentrale", &mark[..5]), format!("[ESPOCRM:{mark}:77] nur abends"));
            let good = format!("[ESPOCRM:{}:4] privat", STANDARD.encode(mail.crm()));
            let entries = vec![office.entry(dice, &cut), mobile.entry(dice, &wrong), mail.entry(dice, &good)];
            (vec![office, mobile], vec![mail], entries)
        }
        _ => return,
    };
    let list =
        |known: Vec<Known>| known.iter().enumerate().map(|(at, known)| known.crm_entry(at == 0)).collect();
    crm.insert("phoneNumberData".to_owned(), Value::Array(list(phones)));
    crm.insert("emailAddressData".to_owned(), Value::Array(list(mails)));
    advoware.insert("kommunikation".to_owned(), Value::Array(entries));
}

/// What people do to numbers after the first sync, in turn.
pub(super) const ROUND: [Category; 5] = [
    Category::NumberChangedInCrm,
    Category::NumberChangedInAdvoware,
    Category::NumbersDeleted,
    Category::NumbersOnBothSides,
    Category::SameNumberOnBothSides,
];

fn list(record: &Value, name: &str) -> Vec<Value> {
    record.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Whether a party has the numbers that [`edits`] needs, on both sides.
pub(super) fn has_numbers(crm: &Value, advoware: &Value) -> bool {
    list(crm, "phoneNumberData").len() >= 2 && list(advoware, "kommunikation").len() >= 2
}

/// The entry with the number whose last digits are those of EspoCRM's.
fn entry_of(entries: &[Value], number: &Value) -> Option<usize> {
    let digits = |text: &Value| -> String {
        text.as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).collect()
    };
    let wanted = digits(number);
    let tail = wanted.get(wanted.len().checked_sub(6)?..)?.to_owned();
    entries.iter().position(|entry| entry.get("tlf").is_some_and(|value| digits(value).ends_with(&tail)))
}

/// The edits of one category: the fields of each side.
pub(super) fn edits(
    dice: &mut Dice,
    category: Category,
    fresh: usize,
    crm: &Value,
    advoware: &Value,
) -> Vec<(Side, Value)> {
    let (mut phones, mut entries) = (list(crm, "phoneNumberData"), list(advoware, "kommunikation"));
    let at = |phones: &[Value], entries: &[Value], place: usize| {
        phones.get(place).and_then(|phone| entry_of(entries, phone.get("phoneNumber")?)).unwrap_or(0)
    };
    let (first, second) = (at(&phones, &entries, 0), at(&phones, &entries, 1));
    let (new, other) = (Known::Office(fresh * 4 + 2), Known::Office(fresh * 4 + 3));
    let mut in_crm = |place: usize, known: Known| {
        if let Some(phone) = phones.get_mut(place) {
            phone["phoneNumber"] = json!(known.crm());
        }
    };
    let mut in_advoware = |place: usize, text: String| {
        if let Some(entry) = entries.get_mut(place) {
            entry["tlf"] = json!(text);
        }
    };
    match category {
        Category::NumberChangedInCrm => in_crm(0, new),
        Category::NumberChangedInAdvoware => in_advoware(first, new.advoware(dice)),
        Category::NumbersDeleted => {
            phones.remove(1);
            entries.get_mut(first).into_iter().for_each(|entry| entry["tlf"] = json!(""));
        }
        Category::NumbersOnBothSides => {
            in_crm(0, new);
            in_advoware(second, other.advoware(dice));
        }
        Category::SameNumberOnBothSides => {
            in_crm(0, new);
            in_advoware(first, other.advoware(dice));
        }
        _ => return Vec::new(),
    }
    let (crm, advoware) = (json!({ "phoneNumberData": phones }), json!({ "kommunikation": entries }));
    match category {
        Category::NumberChangedInCrm => vec![(Side::Crm, crm)],
        Category::NumberChangedInAdvoware => vec![(Side::Advoware, advoware)],
        _ => vec![(Side::Crm, crm), (Side::Advoware, advoware)],
    }
}
