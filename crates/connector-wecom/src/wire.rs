//! Records as on the wire: every field may be absent, numbers may be texts, and one record that is not readable does not
//! take its page with it.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A record of a list that is not readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its place in the answer, from 0.
    pub position: usize,
    /// What is wrong with it; holds nothing of it.
    pub why: &'static str,
}

/// A list as it was answered, in no defined order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What could be read.
    pub items: Vec<T>,
    /// What could not: it is there, and nothing may be concluded from its absence in `items`.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { items: Vec::new(), unreadable: Vec::new() }
    }
}

/// What a record of a list is read to.
pub(crate) trait Record: Sized {
    /// Reads it, or says why not.
    fn read(fields: &Fields) -> Result<Self, &'static str>;
}

/// The fields of a record. Absent, null and of another shape are the same: unknown.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name)?.as_str().map(str::to_owned)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        number(self.0.get(name)?)
    }

    pub(crate) fn list(&self, name: &str) -> Option<&[Value]> {
        self.0.get(name)?.as_array().map(Vec::as_slice)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

/// A whole number, written as such or as a text.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The same where it cannot be negative.
pub(crate) fn unsigned(value: &Value) -> Option<u64> {
    number(value).and_then(|number| u64::try_from(number).ok())
}

/// One record at a time is held as JSON: a page of 10,000 would take tens of megabytes.
impl<'de, T: Record> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Record> Visitor<'de> for Each<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut listed = Listed::default();
                let mut position = 0;
                while let Some(value) = seq.next_element::<Value>()? {
                    let read = match value {
                        Value::Object(fields) => T::read(&Fields(fields)),
                        _ => Err("it is no record"),
                    };
                    match read {
                        Ok(item) => listed.items.push(item),
                        Err(why) => listed.unreadable.push(Unreadable { position, why }),
                    }
                    position += 1;
                }
                Ok(listed)
            }
        }
        deserializer.deserialize_seq(Each(PhantomData))
    }
}
