//! Reads typed values out of the layers and collects what is wrong. After a problem a reader answers with a
//! stand-in, so that reading goes on; whoever collected problems throws the result away.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::layers::{Layers, Setting, Slot, Value, describe};
use crate::problem::{Origin, Problem};
use crate::secret::{self, Need};

/// What one load works on.
pub(crate) struct Reader<'a> {
    pub(crate) layers: &'a Layers,
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) problems: Vec<Problem>,
    /// The keys that were read, and what was expected of them: the tests hold them against the reference.
    pub(crate) read: BTreeMap<String, String>,
    /// The keys that are secrets.
    pub(crate) secrets: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(layers: &'a Layers, environment: &'a BTreeMap<String, String>) -> Self {
        let (problems, read, secrets) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { layers, environment, problems, read, secrets }
    }

    pub(crate) fn section<'r>(&'r mut self, name: impl Into<Cow<'static, str>>) -> Section<'r, 'a> {
        Section { reader: self, name: name.into() }
    }

    /// Notes that a table of the operator's own cannot be called so.
    pub(crate) fn misnamed(&mut self, section: &str, expected: &str) {
        let prefix = format!("{section}.");
        let mut settings = self.layers.slots.iter().filter_map(|(key, slot)| match slot {
            Slot::One(setting) if key.starts_with(&prefix) => Some(setting),
            _ => None,
        });
        let Some(written) = settings.find(|setting| setting.origin != Origin::Default) else { return };
        self.problem(section, written, "a table of that name".to_owned(), expected, "");
    }

    fn problem(&mut self, key: &str, setting: &Setting, found: String, expected: &str, hint: &str) {
        self.problems.push(Problem {
            origin: setting.origin.clone(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
            hint: hint.to_owned(),
        });
    }

    /// `hint` is for a secret that is not there; one that is written out has its own.
    fn secret_at(&mut self, key: &str, setting: &Setting, need: Need, hint: &str) -> Option<SecretString> {
        self.secrets.insert(key.to_owned());
        match secret::resolve(setting, need, self.environment) {
            Ok(secret) => secret,
            Err(problem) => {
                let hint = if problem.hint.is_empty() { hint } else { &problem.hint };
                self.problem(key, setting, problem.found, &problem.expected, hint);
                None
            }
        }
    }
}

/// One section being read.
pub(crate) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: Cow<'static, str>,
}

impl<'a> Section<'_, 'a> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    fn setting(&mut self, name: &str, expected: &str) -> &'a Setting {
        static MISSING: Setting = Setting { value: Value::Other("nothing"), origin: Origin::Default };
        let key = self.key(name);
        let layers = self.reader.layers;
        self.reader.read.insert(key.clone(), expected.to_owned());
        match layers.get(&key) {
            Some(Slot::One(setting)) => setting,
            _ => &MISSING,
        }
    }

    fn refuse(&mut self, name: &str, expected: &str, hint: &str) {
        let setting = self.setting(name, expected);
        self.reader.problem(&self.key(name), setting, describe(&setting.value), expected, hint);
    }

    /// Notes a problem between settings at one of them.
    pub(crate) fn contradiction(&mut self, name: &str, expected: &str) {
        self.refuse(name, expected, "");
    }

    /// A value that `read` takes out of the setting; `stand_in` after a problem.
    fn value<T>(
        &mut self,
        name: &str,
        expected: &str,
        hint: &str,
        read: impl FnOnce(&Value) -> Option<T>,
        stand_in: T,
    ) -> T {
        let found = read(&self.setting(name, expected).value);
        found.unwrap_or_else(|| {
            self.refuse(name, expected, hint);
            stand_in
        })
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let read = |value: &Value| if let Value::Flag(flag) = value { Some(*flag) } else { None };
        self.value(name, "true or false", "", read, false)
    }

    /// Any text; empty is allowed.
    pub(crate) fn text(&mut self, name: &str) -> String {
        self.value(name, "a text", "", |value| text_of(value).map(str::to_owned), String::new())
    }

    /// A text that `accept`s say is well-formed.
    pub(crate) fn text_where(&mut self, name: &str, expected: &str, accept: impl Fn(&str) -> bool) -> String {
        let read = |value: &Value| text_of(value).filter(|text| accept(text)).map(str::to_owned);
        self.value(name, expected, "", read, String::new())
    }

    /// A text that must be there when `need` says so.
    pub(crate) fn needed_text(&mut self, name: &str, need: Need) -> String {
        match need {
            Need::Required(why) => {
                self.text_where(name, &format!("a text, {why}"), |text| !text.trim().is_empty())
            }
            Need::Optional | Need::ToBeMade | Need::Unused => self.text(name),
        }
    }

    /// A whole number.
    pub(crate) fn integer<T: TryFrom<i64> + Default>(&mut self, name: &str, range: RangeInclusive<i64>) -> T {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |value: &Value| match value {
            Value::Integer(integer) if range.contains(integer) => T::try_from(*integer).ok(),
            _ => None,
        };
        self.value(name, &expected, "", read, T::default())
    }

    /// A number; a whole number will do.
    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> f64 {
        let expected = format!("a number from {:?} to {:?}", range.start(), range.end());
        #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
        let read = |value: &Value| match value {
            Value::Integer(integer) => Some(*integer as f64).filter(|number| range.contains(number)),
            Value::Number(number) => Some(*number).filter(|number| range.contains(number)),
            _ => None,
        };
        self.value(name, &expected, "", read, *range.start())
    }

    /// A whole number of seconds.
    pub(crate) fn seconds(&mut self, name: &str, range: RangeInclusive<i64>) -> Duration {
        Duration::from_secs(self.integer(name, range))
    }

    /// A number of seconds with a fraction.
    pub(crate) fn fractional_seconds(&mut self, name: &str, range: RangeInclusive<f64>) -> Duration {
        Duration::try_from_secs_f64(self.number(name, range)).unwrap_or_default()
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> T {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let expected = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.join(""),
        };
        let setting = self.setting(name, &expected);
        let written = text_of(&setting.value).unwrap_or_default();
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == written) {
            return *meant;
        }
        let near = words.iter().map(|(word, _)| (strsim::damerau_levenshtein(word, written), *word)).min();
        let hint = near.filter(|(distance, _)| *distance <= 3 && !written.is_empty());
        let hint = hint.map(|(_, word)| format!("did you mean {word:?}?")).unwrap_or_default();
        self.refuse(name, &expected, &hint);
        words[0].1
    }

    /// A text that `parse` understands; its error is part of the problem.
    pub(crate) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let setting = self.setting(name, expected);
        let parsed = text_of(&setting.value).map(parse);
        match parsed {
            Some(Ok(parsed)) => return Some(parsed),
            Some(Err(error)) => self.refuse(name, expected, &error.to_string()),
            None => self.refuse(name, expected, ""),
        }
        None
    }

    /// An address of a listener; `None` when it is switched off.
    pub(crate) fn listen(&mut self, name: &str) -> Option<SocketAddr> {
        let read = |value: &Value| match text_of(value)? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        self.value(name, "an IP address and a port, such as \"127.0.0.1:9180\"", "", read, None)
    }

    /// A URL with a host and one of `schemes`, without a password. `None` when it is empty (a problem where it
    /// is required) or wrong.
    pub(crate) fn url(&mut self, name: &str, schemes: &[&str], need: Need) -> Option<Url> {
        let expected = format!("an address that begins with {}://", schemes.join(":// or "));
        let setting = self.setting(name, &expected);
        let text = text_of(&setting.value);
        let required = match need {
            Need::Required(why) => Some(why),
            Need::Optional | Need::ToBeMade | Need::Unused => None,
        };
        let (found, expected, hint) = match text.map(|text| (text, Url::parse(text))) {
            Some(("", _)) => match required {
                None => return None,
                Some(why) => ("\"\"".to_owned(), format!("{expected}, {why}"), String::new()),
            },
            Some((_, Ok(url))) if url.password().is_some() => {
                let hint = "give the password as a secret of its own, or in the system's own setting for it";
                (
                    "an address with a password (not shown)".into(),
                    "an address without password".into(),
                    hint.into(),
                )
            }
            Some((_, Ok(url))) if url.has_host() && schemes.contains(&url.scheme()) => return Some(url),
            Some((text, parsed)) => {
                let hint = parsed.err().map(|error| error.to_string()).unwrap_or_default();
                // What cannot be read may hold a password.
                let shown =
                    if text.contains('@') { "a text (not shown)".into() } else { describe(&setting.value) };
                (shown, expected, hint)
            }
            None => (describe(&setting.value), expected, String::new()),
        };
        self.reader.problem(&self.key(name), setting, found, &expected, &hint);
        None
    }

    /// A secret, given by reference.
    pub(crate) fn secret(&mut self, name: &str, need: Need) -> Option<SecretString> {
        self.secret_with_hint(name, need, "")
    }

    /// The same, with what to do where it is not there.
    pub(crate) fn secret_with_hint(&mut self, name: &str, need: Need, hint: &str) -> Option<SecretString> {
        let setting = self.setting(name, secret::EXPECTED);
        self.reader.secret_at(&self.key(name), setting, need, hint)
    }

    /// A secret that `accept`s say is well-formed.
    pub(crate) fn secret_where(
        &mut self,
        name: &str,
        need: Need,
        expected: &str,
        accept: impl Fn(&SecretString) -> bool,
    ) -> Option<SecretString> {
        let secret = self.secret(name, need)?;
        if accept(&secret) {
            return Some(secret);
        }
        let setting = self.setting(name, secret::EXPECTED);
        self.reader.problem(&self.key(name), setting, "another secret (not shown)".into(), expected, "");
        None
    }

    /// The file that a secret setting refers to, whether or not it is there.
    pub(crate) fn secret_file(&mut self, name: &str) -> Option<std::path::PathBuf> {
        secret::file_of(self.setting(name, secret::EXPECTED))
    }

    /// A table with keys of the operator's own, each value read by `read`.
    fn map<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Reader<'a>, &str, &Setting) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let key = self.key(name);
        let layers = self.reader.layers;
        self.reader.read.insert(key.clone(), String::new());
        let Some(Slot::Map(items)) = layers.get(&key) else { return BTreeMap::new() };
        let read = items
            .iter()
            .map(|(item, setting)| (item.clone(), read(self.reader, &format!("{key}.{item}"), setting)));
        read.filter_map(|(item, value)| Some((item, value?))).collect()
    }

    /// A table of texts, none of them empty.
    pub(crate) fn texts(&mut self, name: &str) -> BTreeMap<String, String> {
        self.map(name, |reader, key, setting| {
            let text = text_of(&setting.value).filter(|text| !text.is_empty()).map(str::to_owned);
            if text.is_none() {
                reader.problem(key, setting, describe(&setting.value), "a text that is not empty", "");
            }
            text
        })
    }

    /// A table of secrets.
    pub(crate) fn secrets(&mut self, name: &str, need: Need) -> BTreeMap<String, SecretString> {
        self.map(name, |reader, key, setting| reader.secret_at(key, setting, need, ""))
    }
}

fn text_of(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

impl Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("problems", &self.problems).finish_non_exhaustive()
    }
}
