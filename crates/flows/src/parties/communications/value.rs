//! Numbers and addresses in the one form in which they are compared. Pure.

use email_address::{EmailAddress, Options};
use phonenumber::{Mode, country};

use super::Class;

/// Digits of an international number, as EspoCRM accepts them.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// What may stand in a number beside digits.
const BETWEEN_DIGITS: &str = "+-/(). \u{a0}\u{2009}\u{202f}\u{2010}\u{2011}\u{2013}";
/// What an extension begins with. It is not part of the value, as in EspoCRM.
const EXTENSIONS: [&str; 4] = ["ext", "x", "durchwahl", "dw"];

/// A value that can be compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// E.164.
    Phone(String),
    /// In lower case.
    Mail(String),
}

impl Key {
    /// Which list it belongs to.
    pub fn class(&self) -> Class {
        match self {
            Self::Phone(_) => Class::Phone,
            Self::Mail(_) => Class::Mail,
        }
    }
}

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Empty,
    /// A number or an address.
    Known(Key),
    /// A number that cannot be made international.
    NotInternational,
    /// Neither.
    Neither,
}

/// The country whose way of dialling is meant by a number without country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(country::Id);

impl Country {
    /// By its two letters, as in ISO 3166.
    pub fn new(letters: &str) -> Option<Self> {
        letters.parse().ok().map(Self)
    }
}

impl Default for Country {
    fn default() -> Self {
        Self(country::Id::DE)
    }
}

/// Reads a text.
pub fn read(text: &str, country: Country) -> Value {
    let text = text.trim();
    if text.is_empty() {
        Value::Empty
    } else if text.contains('@') {
        mail(text).map_or(Value::Neither, Value::Known)
    } else if text.starts_with(|c: char| c.is_ascii_digit() || "+(".contains(c)) {
        phone(text, country).map_or(Value::NotInternational, Value::Known)
    } else {
        Value::Neither
    }
}

/// The value that a text stands for, if it is one.
pub fn key(text: &str, country: Country) -> Option<Key> {
    if let Value::Known(key) = read(text, country) { Some(key) } else { None }
}

/// How a value is written to EspoCRM: numbers in E.164, addresses as they stand.
pub fn for_crm(key: &Key, text: &str) -> String {
    match key {
        Key::Phone(number) => number.clone(),
        Key::Mail(_) => text.trim().to_owned(),
    }
}

fn mail(text: &str) -> Option<Key> {
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(text, options).ok()?;
    Some(Key::Mail(text.to_lowercase()))
}

fn phone(text: &str, country: Country) -> Option<Key> {
    let is_part = |c: char| c.is_ascii_digit() || BETWEEN_DIGITS.contains(c);
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let rest = rest.to_lowercase();
    // Letters behind a number would be read as digits (0800 FLOWERS): only an extension may follow.
    if !(rest.is_empty() || EXTENSIONS.iter().any(|word| rest.starts_with(word))) {
        return None;
    }
    let read = phonenumber::parse(Some(country.0), number.trim()).ok()?;
    // What names its country is taken as it is, whatever the tables know of that country's new numbers.
    if !(number.starts_with('+') || phonenumber::is_valid(&read)) {
        return None;
    }
    let international = read.format().mode(Mode::E164).to_string();
    let digits = international.strip_prefix('+')?;
    let fits = DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then_some(Key::Phone(international))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Value {
        read(text, Country::default())
    }

    fn number(digits: &str) -> Value {
        Value::Known(Key::Phone(digits.to_owned()))
    }

    #[test]
    fn one_number_has_one_form() {
        for text in [
            "+4951112345",
            "0511 12345",
            "0511/123-45",
            "(0511) 12 34 5",
            "+49 (0)511 12345",
            "+49 511/123-45",
            "0049 511 12345",
            "0049(0)511 12345",
            " 0511\u{a0}12345 ",
            "0511 \u{2013} 12345",
            "0511 12345 ext. 9",
            "0511 12345 Durchwahl 9",
        ] {
            assert_eq!(of(text), number("+4951112345"), "{text}");
        }
        assert_eq!(of("0043 1 23456"), number("+43123456"));
        assert_eq!(read("01 23456", Country::new("AT").unwrap()), number("+43123456"));
    }

    #[test]
    fn what_is_no_number_is_told_apart_from_what_is_nothing() {
        for text in ["110", "0511 12345 Sekretariat", "0800 FLOWERS", "+49511123451234567890", "12", "(", "0"]
        {
            assert_eq!(of(text), Value::NotInternational, "{text}");
        }
        for text in
            ["www.example.com", "siehe Akte", "Az. 12345/26", "max@", "@", "a b@example.com", "max@localhost"]
        {
            assert_eq!(of(text), Value::Neither, "{text}");
        }
        assert_eq!((of(""), of(" \u{a0}\t")), (Value::Empty, Value::Empty));
        assert_eq!((Country::new("XX"), Country::new("de")), (None, None));
    }

    #[test]
    fn addresses_are_compared_in_lower_case_and_written_as_they_are() {
        let key = key(" Max.Müller@Example.DE ", Country::default()).unwrap();
        assert_eq!(key, Key::Mail("max.müller@example.de".to_owned()));
        assert_eq!(for_crm(&key, " Max.Müller@Example.DE "), "Max.Müller@Example.DE");
    }
}
