//! How EspoCRM keeps what users and teams say. Pure.
//!
//! What is wanted is brought into this form before it is compared with what is there: EspoCRM refuses some characters,
//! takes international numbers only, and one mail address is one row for all records, in the case of whoever wrote it first.

use sha2::{Digest as _, Sha256};

use crate::directory::names;
use crate::directory::record::{Attributes, Field, Value};
use crate::parties::communications::value::{self, Country, Key};

/// Longest name of a team, first name, last name and title.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest log-in name.
const LOGIN_CHARS_MAX: usize = 50;
/// Hexadecimal digits that tell apart log-in names of which something was left out.
const DIGITS: usize = 8;

/// A name without what EspoCRM refuses in one (its pattern `$noBadCharacters`).
pub fn name(name: &str) -> String {
    name.replace('<', "＜").replace('>', "＞").replace('=', "＝")
}

/// Fields that a user of EspoCRM has no place for.
pub const WITHOUT: [Field; 7] = [
    Field::DisplayName,
    Field::NickName,
    Field::Department,
    Field::Division,
    Field::EmployeeNumber,
    Field::Leads,
    Field::Manager,
];

/// What is wanted of a user, as EspoCRM keeps it. What it would refuse is left out, and so stays as it is there.
pub fn user(wanted: Attributes, country: Country) -> Attributes {
    let kept = wanted.into_iter().filter_map(|(field, value)| match value {
        Value::Text(text) => Some((field, Value::Text(kept_text(field, text, country)?))),
        value => Some((field, value)),
    });
    let mut kept: Attributes = kept.collect();
    // A record has a number or an address once; and there is no second one without a first one.
    for (first, second) in [(Field::MobilePhone, Field::WorkPhone), (Field::WorkMail, Field::OtherMail)] {
        let other = kept.get(&second).filter(|value| !value.is_empty());
        let is_alone = second == Field::OtherMail && kept.get(&first).is_none_or(Value::is_empty);
        if other.is_some() && (is_alone || other == kept.get(&first)) {
            kept.remove(&second);
        }
    }
    kept
}

fn kept_text(field: Field, text: String, country: Country) -> Option<String> {
    match field {
        Field::UserName => Some(login(&text)),
        Field::FamilyName | Field::GivenName | Field::Title => {
            Some(names::shorten(&name(&names::clean(&text)), NAME_CHARS_MAX))
        }
        Field::WorkMail | Field::OtherMail => mail(&text),
        Field::MobilePhone | Field::WorkPhone => phone(&text, country),
        Field::DisplayName
        | Field::NickName
        | Field::Active
        | Field::Department
        | Field::Division
        | Field::EmployeeNumber
        | Field::Leads
        | Field::Manager => Some(text),
    }
}

/// A log-in name as EspoCRM permits it (`userNameRegularExpression`): others would be refused. Where something is left
/// out, a hash keeps what were different names different.
fn login(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-@_.".contains(c);
    let fitting: String = lower.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if fitting == lower && fitting.len() <= LOGIN_CHARS_MAX {
        return fitting;
    }
    let digits = hex::encode(Sha256::digest(lower.as_bytes()));
    let kept: String = fitting.chars().take(LOGIN_CHARS_MAX - DIGITS - 1).collect();
    format!("{kept}.{}", &digits[..DIGITS])
}

/// A mail address as it is compared; none where EspoCRM would not take it.
pub(super) fn mail(text: &str) -> Option<String> {
    match value::read(text, Country::default()) {
        value::Value::Empty => Some(String::new()),
        value::Value::Known(Key::Mail(mail)) => Some(mail),
        _ => None,
    }
}

/// A number as EspoCRM takes it; none where it cannot be made international.
pub(super) fn phone(text: &str, country: Country) -> Option<String> {
    match value::read(text, country) {
        value::Value::Empty => Some(String::new()),
        value::Value::Known(Key::Phone(number)) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn china() -> Country {
        Country::new("CN").unwrap()
    }

    fn kept(wanted: &[(Field, &str)]) -> Vec<(Field, String)> {
        let wanted = wanted.iter().map(|(field, text)| (*field, Value::Text((*text).to_owned())));
        let text = |value| if let Value::Text(text) = value { text } else { panic!("{value:?}") };
        user(wanted.collect(), china()).into_iter().map(|(field, value)| (field, text(value))).collect()
    }

    #[test]
    fn log_in_names_are_what_espocrm_permits_and_stay_different() {
        assert_eq!(login("ZhangSan"), "zhangsan");
        assert_eq!(login("o.brien-x_y@hq"), "o.brien-x_y@hq");
        let (plus, tilde) = (login("a+b"), login("a~b"));
        assert!(plus.starts_with("a_b.") && plus != tilde, "{plus} {tilde}");
        let retired = login(&format!("{}.retired.6b0052294e41f2ecf", "x".repeat(64)));
        assert_eq!((retired.len(), login(&retired)), (LOGIN_CHARS_MAX, retired.clone()));
    }

    #[test]
    fn numbers_are_international_or_left_alone() {
        let mobile = |text| kept(&[(Field::MobilePhone, text)]).pop().map(|(_, number)| number);
        assert_eq!(mobile("13800000000").as_deref(), Some("+8613800000000"));
        assert_eq!(mobile("+49 511 12345").as_deref(), Some("+4951112345"));
        assert_eq!(mobile("8001"), None, "an extension is no number of its own");
        assert_eq!(mobile("").as_deref(), Some(""), "known to be empty");
        let twice = kept(&[(Field::MobilePhone, "13800000000"), (Field::WorkPhone, "+86 138 0000 0000")]);
        assert_eq!(twice, [(Field::MobilePhone, "+8613800000000".to_owned())]);
    }

    #[test]
    fn addresses_are_compared_without_case_and_come_in_order() {
        let mails = |work, other| kept(&[(Field::WorkMail, work), (Field::OtherMail, other)]);
        let both = mails("Li@Example.COM", "li@corp.example");
        assert_eq!(both[0].1, "li@example.com");
        assert_eq!(both.len(), 2);
        assert_eq!(mails("li@example.com", "LI@example.com").len(), 1);
        assert_eq!(mails("not an address", "li@corp.example"), [], "no second one without a first one");
        assert_eq!(mails("", "").len(), 2, "both known to be empty");
    }

    #[test]
    fn names_lose_what_would_be_refused() {
        assert_eq!(name("A<B> = C"), "A＜B＞ ＝ C");
        let long = kept(&[(Field::Title, &"职".repeat(120)), (Field::FamilyName, " 李\n")]);
        assert_eq!(long[0].1, "李");
        assert_eq!(long[1].1.chars().count(), NAME_CHARS_MAX);
    }
}
