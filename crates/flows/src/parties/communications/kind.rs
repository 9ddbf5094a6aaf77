//! What kind an entry is: Advoware's `kommKz`, which a read does not show, and EspoCRM's types. Pure.

use std::collections::BTreeMap;

use super::remark::Mark;
use super::value::{self, Country, Key};
use super::{Class, CrmEntry};

/// What stands for mail in the table of kinds, where phone numbers have EspoCRM's type.
pub const MAIL: &str = "mail";
const KINDS: std::ops::RangeInclusive<u8> = 1..=12;

/// The settings of `flow.parties.communications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommunicationsSettings {
    /// Country whose way of dialling a number without country code is read by.
    pub country: String,
    /// Kind of a phone number of which nothing tells the kind.
    pub phone_kind_default: u8,
    /// Kind of a mail address of which nothing tells the kind.
    pub mail_kind_default: u8,
    /// EspoCRM's type of each kind, or `mail`; a kind that is missing is not synchronised.
    pub kinds: BTreeMap<String, String>,
    /// The kind of each of EspoCRM's types.
    pub types: BTreeMap<String, String>,
    /// Top-level fields of a party that show the value of a kind.
    pub mirrors: BTreeMap<String, String>,
}

impl Default for CommunicationsSettings {
    fn default() -> Self {
        let table = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect()
        };
        Self {
            country: "DE".to_owned(),
            phone_kind_default: 1,
            mail_kind_default: 4,
            kinds: table(&[
                ("1", "Office"),
                ("2", "Fax"),
                ("3", "Mobile"),
                ("4", MAIL),
                ("6", "Home"),
                ("7", "Fax"),
                ("8", MAIL),
                ("9", "Other"),
                ("10", "Other"),
                ("11", MAIL),
                ("12", MAIL),
            ]),
            types: table(&[("Office", "1"), ("Fax", "2"), ("Mobile", "3"), ("Home", "6"), ("Other", "10")]),
            mirrors: table(&[
                ("telGesch", "1"),
                ("faxGesch", "2"),
                ("mobil", "3"),
                ("emailGesch", "4"),
                ("internet", "5"),
                ("telPrivat", "6"),
                ("faxPrivat", "7"),
                ("emailPrivat", "8"),
            ]),
        }
    }
}

/// The settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kinds {
    /// Of numbers without country code.
    pub country: Country,
    phone_default: u8,
    mail_default: u8,
    /// EspoCRM's type of a kind; none is mail.
    types: BTreeMap<u8, Option<String>>,
    kinds: BTreeMap<String, u8>,
    mirrors: BTreeMap<String, u8>,
}

impl Default for Kinds {
    fn default() -> Self {
        Self::new(&CommunicationsSettings::default()).unwrap_or_else(|_| Self {
            country: Country::default(),
            phone_default: 1,
            mail_default: 4,
            types: BTreeMap::new(),
            kinds: BTreeMap::new(),
            mirrors: BTreeMap::new(),
        })
    }
}

impl Kinds {
    /// Checks the settings.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn new(settings: &CommunicationsSettings) -> Result<Self, (&'static str, String)> {
        let kind = |key, text: &str| {
            let kind = text.parse::<u8>().ok().filter(|kind| KINDS.contains(kind));
            kind.ok_or_else(|| (key, format!("\"{text}\" is no kind; kinds are the numbers from 1 to 12")))
        };
        let mut types = BTreeMap::new();
        for (number, word) in &settings.kinds {
            let word = (word != MAIL).then(|| word.clone());
            types.insert(kind("communications.kinds", number)?, word);
        }
        let is = |kind: u8, wanted: Class| class(&types, kind) == Some(wanted);
        let mut kinds = BTreeMap::new();
        for (word, number) in &settings.types {
            let number = kind("communications.types", number)?;
            if !is(number, Class::Phone) {
                let text =
                    format!("{word} = {number}: communications.kinds does not say that it is a phone number");
                return Err(("communications.types", text));
            }
            kinds.insert(word.clone(), number);
        }
        let mut mirrors = BTreeMap::new();
        for (field, number) in &settings.mirrors {
            mirrors.insert(field.clone(), kind("communications.mirrors", number)?);
        }
        let (phone, mail) = (settings.phone_kind_default, settings.mail_kind_default);
        if !is(phone, Class::Phone) {
            let text = format!("{phone} is no phone number in communications.kinds");
            return Err(("communications.phone_kind_default", text));
        }
        if !is(mail, Class::Mail) {
            return Err((
                "communications.mail_kind_default",
                format!("{mail} is no mail in communications.kinds"),
            ));
        }
        let country = Country::new(&settings.country).ok_or_else(|| {
            let text = format!(
                "\"{}\" is no country; write its two capital letters, as in ISO 3166",
                settings.country
            );
            ("communications.country", text)
        })?;
        Ok(Self { country, phone_default: phone, mail_default: mail, types, kinds, mirrors })
    }

    /// The top-level fields that show values, with their kinds.
    pub fn mirrors(&self) -> impl Iterator<Item = (&str, u8)> {
        self.mirrors.iter().map(|(field, kind)| (field.as_str(), *kind))
    }

    /// EspoCRM's types of phone numbers.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.types.values().flatten().map(String::as_str)
    }

    /// Whether entries of this kind are synchronised.
    pub fn is_synchronised(&self, kind: u8) -> bool {
        self.types.contains_key(&kind)
    }

    /// The kind of an entry: its mark's, else that of a top-level field with the same value, else by the value.
    pub fn of_entry(&self, mark: &Mark, key: Option<&Key>, mirrors: &[(u8, String)]) -> u8 {
        if let Mark::Value { kind, .. } | Mark::Slot { kind } = mark {
            return *kind;
        }
        let same = |shown: &&(u8, String)| value::key(&shown.1, self.country).as_ref() == key;
        let mirror = mirrors.iter().filter(|_| key.is_some()).filter(same).map(|(kind, _)| *kind).min();
        mirror.unwrap_or_else(|| self.default_of(key.map(Key::class)))
    }

    fn default_of(&self, class: Option<Class>) -> u8 {
        match class {
            Some(Class::Mail) => self.mail_default,
            Some(Class::Phone) | None => self.phone_default,
        }
    }

    /// The kind that a new entry gets.
    pub fn of_crm(&self, entry: &CrmEntry) -> u8 {
        let known = entry.kind.as_ref().and_then(|word| self.kinds.get(word));
        known.copied().unwrap_or_else(|| self.default_of(Some(entry.class)))
    }

    /// Whether a value of EspoCRM is of an entry's kind: whichever way the tables are read.
    pub fn fits(&self, kind: u8, entry: &CrmEntry) -> bool {
        self.of_crm(entry) == kind || self.types.get(&kind).is_some_and(|word| *word == entry.kind)
    }

    /// EspoCRM's type for a value of a kind. A phone number of a kind for mail is one of the default kind.
    pub fn crm_type(&self, kind: u8, class: Class) -> Option<String> {
        if class == Class::Mail {
            return None;
        }
        let word = |kind| self.types.get(&kind).cloned().flatten();
        word(kind).or_else(|| word(self.phone_default))
    }
}

fn class(types: &BTreeMap<u8, Option<String>>, kind: u8) -> Option<Class> {
    types.get(&kind).map(|word| if word.is_some() { Class::Phone } else { Class::Mail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_tells_the_kind_counts() {
        let kinds = Kinds::default();
        let key = |text: &str| value::key(text, kinds.country);
        let mirrors = [(6, "0511 12345".to_owned()), (3, "0170 1234567".to_owned()), (5, "x".to_owned())];
        let of = |mark: Mark, text: &str| kinds.of_entry(&mark, key(text).as_ref(), &mirrors);
        assert_eq!(of(Mark::Slot { kind: 9 }, "0511 12345"), 9);
        assert_eq!(of(Mark::None, "+49 511 12345"), 6);
        assert_eq!(of(Mark::Damaged, "+491701234567"), 3);
        assert_eq!(of(Mark::None, "max@example.com"), 4);
        assert_eq!(of(Mark::None, "0511 999999"), 1);
    }

    #[test]
    fn types_and_kinds_are_translated() {
        let kinds = Kinds::default();
        let phone = |word: &str| CrmEntry {
            class: Class::Phone,
            value: "+4951112345".into(),
            kind: Some(word.into()),
            primary: true,
            opt_out: false,
            invalid: false,
        };
        let numbers =
            ["Office", "Fax", "Mobile", "Home", "Other", "Own"].map(|word| kinds.of_crm(&phone(word)));
        assert_eq!(numbers, [1, 2, 3, 6, 10, 1]);
        let words = [1, 2, 3, 6, 7, 9, 10, 4].map(|kind| kinds.crm_type(kind, Class::Phone).unwrap());
        assert_eq!(words, ["Office", "Fax", "Mobile", "Home", "Fax", "Other", "Other", "Office"]);
        assert_eq!(kinds.crm_type(4, Class::Mail), None);
        assert!(kinds.fits(7, &phone("Fax")) && !kinds.fits(1, &phone("Fax")));
        assert!(!kinds.is_synchronised(5) && kinds.is_synchronised(12));
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let broken = |change: &dyn Fn(&mut CommunicationsSettings)| {
            let mut settings = CommunicationsSettings::default();
            change(&mut settings);
            Kinds::new(&settings).unwrap_err()
        };
        let (key, text) = broken(&|s| s.country = "Germany".into());
        assert_eq!(key, "communications.country");
        assert!(text.contains("Germany"), "{text}");
        assert_eq!(broken(&|s| s.phone_kind_default = 4).0, "communications.phone_kind_default");
        assert_eq!(broken(&|s| s.mail_kind_default = 5).0, "communications.mail_kind_default");
        assert_eq!(broken(&|s| drop(s.kinds.insert("13".into(), "Office".into()))).0, "communications.kinds");
        assert_eq!(broken(&|s| drop(s.types.insert("Office".into(), "4".into()))).0, "communications.types");
        assert_eq!(broken(&|s| drop(s.mirrors.insert("x".into(), "y".into()))).0, "communications.mirrors");
    }
}
