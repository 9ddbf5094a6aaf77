//! From a request body to stored values: what is dropped, turned, and refused.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde_json::{Value, json};

use super::contact_data;
use super::definitions::{Definitions, flag, kind};
use crate::upstream::Record;

/// The first bad field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) field: String,
    pub(super) kind: &'static str,
}

/// A body after dropping, turning and checking.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Attributes to store. Contact data arrive as `emailAddress`, `emailAddressData`, ...
    pub(super) values: Record,
    /// Attributes that the answer repeats in another form than the stored one.
    pub(super) echo: Record,
}

/// The two forms of a value.
struct Accepted {
    stored: Value,
    echoed: Option<Value>,
}

impl From<Value> for Accepted {
    fn from(stored: Value) -> Self {
        Self { stored, echoed: None }
    }
}

/// Reads a body; `creating` also checks what is required and fills in defaults.
pub(super) fn read(definitions: &Definitions, body: &Record, creating: bool) -> Result<Input, Invalid> {
    let mut input = Input::default();
    for (name, field) in definitions.fields() {
        let is_computed = flag(field, "notStorable") && kind(field) != "jsonArray";
        if flag(field, "readOnly") || is_computed || kind(field) == "personName" {
            continue;
        }
        let bad = |kind| Invalid { field: name.to_owned(), kind };
        let given: Vec<String> = Definitions::attributes_of(name, field)
            .into_iter()
            .filter(|attribute| body.contains_key(attribute))
            .collect();
        for attribute in &given {
            let is_link = matches!(kind(field), "link" | "linkParent" | "linkMultiple");
            if is_link && (attribute.ends_with("Name") || attribute.ends_with("Names")) {
                continue;
            }
            let accepted = accept(name, field, attribute, &body[attribute.as_str()]).map_err(bad)?;
            if let Some(echoed) = accepted.echoed {
                input.echo.insert(attribute.clone(), echoed);
            }
            input.values.insert(attribute.clone(), accepted.stored);
        }
        if creating
            && given.is_empty()
            && let Some(default) = field.get("default")
        {
            let default = if default == "" { Value::Null } else { default.clone() };
            input.values.insert(name.to_owned(), default);
        }
        let blank = |attribute: &str| input.values.get(attribute).is_none_or(Value::is_null);
        let is_blank = match kind(field) {
            "link" => blank(&format!("{name}Id")),
            // A date does as well; a time that is emptied beside it comes from it.
            "datetimeOptional" => blank(name) && body.get(&format!("{name}Date")).is_none_or(Value::is_null),
            _ => blank(name),
        };
        if flag(field, "required") && is_blank && (creating || !given.is_empty()) {
            return Err(bad("required"));
        }
    }
    Ok(input)
}

fn accept(name: &str, field: &Record, attribute: &str, value: &Value) -> Result<Accepted, &'static str> {
    match kind(field) {
        "email" | "phone" => {
            let types = field.get("typeList").and_then(Value::as_array).map(Vec::as_slice);
            contact_data::accept(name, types, attribute, value).map(Accepted::from)
        }
        "enum" => option(field, value).map(Accepted::from),
        "linkMultiple" if attribute.ends_with("Columns") => {
            Ok(if value.is_object() { value.clone() } else { json!({}) }.into())
        }
        "jsonArray" => reminders(value).map(Accepted::from),
        "linkMultiple" => match value {
            Value::Array(_) => Ok(value.clone().into()),
            _ => Ok(json!([]).into()),
        },
        _ if value.is_null() => Ok(Value::Null.into()),
        "array" => texts(value).map(Accepted::from),
        "varchar" => text(field, value, true).map(Accepted::from),
        "text" => text(field, value, false).map(Accepted::from),
        "int" => number(field, value).map(Accepted::from),
        "date" => date(value).map(Accepted::from),
        "datetime" | "datetimeOptional" => date_time(value),
        "linkParent" => value.as_str().map(|id| json!(id).into()).ok_or("valid"),
        "bool" => value.as_bool().map(|on| json!(on).into()).ok_or("valid"),
        "link" => value.as_str().map(|id| json!(id).into()).ok_or("valid"),
        _ => Ok(value.clone().into()),
    }
}

fn text(field: &Record, value: &Value, trimmed: bool) -> Result<Value, &'static str> {
    let text = match value {
        Value::String(text) if trimmed => text.trim().to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err("valid"),
    };
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let length_max = field.get("maxLength").and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
    if length_max.is_some_and(|max| text.chars().count() > max) {
        return Err("maxLength");
    }
    let is_name = field.get("pattern").and_then(Value::as_str) == Some("$noBadCharacters");
    if is_name && text.contains(['<', '>', '=']) {
        return Err("pattern");
    }
    Ok(json!(text))
}

/// Texts of at most 100 characters, none of them empty.
fn texts(value: &Value) -> Result<Value, &'static str> {
    let texts = value.as_array().ok_or("array")?;
    for text in texts {
        let text = text.as_str().ok_or("arrayOfString")?;
        if text.is_empty() {
            return Err("noEmptyString");
        }
        if text.chars().count() > 100 {
            return Err("maxItemLength");
        }
    }
    Ok(value.clone())
}

/// Null and the empty string are the same option.
fn option(field: &Record, value: &Value) -> Result<Value, &'static str> {
    let Some(options) = field.get("options").and_then(Value::as_array) else {
        return Ok(value.clone());
    };
    let blank = value.is_null() || value == "";
    let known = options.iter().any(|option| option == value || (blank && option == ""));
    if known { Ok(value.clone()) } else { Err("valid") }
}

fn number(field: &Record, value: &Value) -> Result<Value, &'static str> {
    let number = match value {
        Value::Number(number) => number.as_f64().ok_or("valid")?,
        Value::String(text) if text.is_empty() => 0.0,
        Value::String(text) => {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or("valid")?
        }
        _ => return Err("valid"),
    };
    let number = number.trunc();
    if number > f64::from(i32::MAX) || number < f64::from(i32::MIN) {
        return Err("rangeInternal");
    }
    let limit = |name| field.get(name).and_then(Value::as_f64);
    if limit("min").is_some_and(|min| number < min) {
        return Err("min");
    }
    if limit("max").is_some_and(|max| number > max) {
        return Err("max");
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and in the range of i32, as checked above")]
    Ok(json!(number as i32))
}

fn date(value: &Value) -> Result<Value, &'static str> {
    let text = value.as_str().ok_or("valid")?;
    let day = match text.split_once('T') {
        Some((day, _)) if text.ends_with("T00:00:00Z") => day,
        Some(_) => return Err("valid"),
        None => text,
    };
    if day.len() == 10 && Date::strptime("%Y-%m-%d", day).is_ok() { Ok(json!(day)) } else { Err("valid") }
}

fn date_time(value: &Value) -> Result<Accepted, &'static str> {
    let text = value.as_str().ok_or("valid")?;
    let civil = |format, text| DateTime::strptime(format, text).is_ok();
    if text.len() == 19 && civil("%Y-%m-%d %H:%M:%S", text) {
        return Ok(json!(text).into());
    }
    if text.len() == 16 && civil("%Y-%m-%d %H:%M", text) {
        return Ok(Accepted { stored: json!(format!("{text}:00")), echoed: Some(json!(text)) });
    }
    match text.parse::<Timestamp>() {
        Ok(time) if text.contains('T') && !text.contains('.') => Ok(json!(stamp(time)).into()),
        _ => Err("valid"),
    }
}

fn reminders(value: &Value) -> Result<Value, &'static str> {
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_valid = |entry: &Value| {
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        entry.get("seconds").is_some_and(Value::is_u64) && ["Popup", "Email"].contains(&kind)
    };
    match entries {
        entries if !entries.iter().all(is_valid) => Err("valid"),
        entries if entries.len() > 10 => Err("maxCount"),
        entries => Ok(json!(entries)),
    }
}

/// Reads [`stamp`].
pub(super) fn read_stamp(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A time as EspoCRM writes it: UTC, whole seconds.
pub(super) fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one attribute is stored as, or the refusal.
    fn store(attribute: &str, value: Value) -> Result<Value, &'static str> {
        let body = Record::from_iter([(attribute.to_owned(), value)]);
        match read(&Definitions::recorded(), &body, false) {
            Ok(input) => Ok(input.values.get(attribute).cloned().unwrap_or(json!("dropped"))),
            Err(invalid) => {
                assert_eq!(invalid.field, attribute);
                Err(invalid.kind)
            }
        }
    }

    #[test]
    fn values_are_turned_and_refused_as_observed() {
        let table = [
            ("handelsregisterNummer", json!("  HRB 9 "), Ok(json!("HRB 9"))),
            ("handelsregisterNummer", json!("  "), Ok(Value::Null)),
            ("handelsregisterNummer", json!("a <b> c"), Ok(json!("a <b> c"))),
            ("handelsregisterNummer", json!("\u{fc}".repeat(50)), Ok(json!("\u{fc}".repeat(50)))),
            ("handelsregisterNummer", json!("\u{fc}".repeat(51)), Err("maxLength")),
            ("syncErrorMessage", json!("  a\r\nb  "), Ok(json!("  a\r\nb  "))),
            ("syncErrorMessage", json!(""), Ok(Value::Null)),
            ("lastName", json!("A <b> C"), Err("pattern")),
            ("lastName", json!(""), Err("required")),
            ("betnr", json!("123"), Ok(json!(123))),
            ("betnr", json!(1.5), Ok(json!(1))),
            ("betnr", json!(""), Ok(json!(0))),
            ("betnr", json!("abc"), Err("valid")),
            ("betnr", json!(true), Err("valid")),
            ("betnr", json!(-5), Err("min")),
            ("betnr", json!(99_999_999_999_i64), Err("rangeInternal")),
            ("syncStatus", json!("nonsense"), Err("valid")),
            ("syncStatus", Value::Null, Err("valid")),
            ("syncStatus", json!(""), Err("valid")),
            ("rechtsform", json!(""), Ok(json!(""))),
            ("rechtsform", Value::Null, Ok(Value::Null)),
            ("dateOfBirth", json!("1980-05-17"), Ok(json!("1980-05-17"))),
            ("dateOfBirth", json!("1980-05-17T00:00:00Z"), Ok(json!("1980-05-17"))),
            ("dateOfBirth", json!("17.05.1980"), Err("valid")),
            ("dateOfBirth", json!("1980-02-30"), Err("valid")),
            ("dateOfBirth", json!(""), Err("valid")),
            ("advowareLastSync", json!("2026-11-20T09:15:00+01:00"), Ok(json!("2026-11-20 08:15:00"))),
            ("advowareLastSync", json!("2026-11-20 09:15"), Ok(json!("2026-11-20 09:15:00"))),
            ("advowareLastSync", json!("2026-11-20"), Err("valid")),
            ("advowareLastSync", json!("2026-11-20T09:15:00.5Z"), Err("valid")),
            ("advowareLastSync", json!("20.11.2026 09:15"), Err("valid")),
            ("advowareLastSync", json!(5), Err("valid")),
            ("noSuchAttribute", json!("x"), Ok(json!("dropped"))),
            ("modifiedAt", json!("2001-01-01 00:00:00"), Ok(json!("dropped"))),
            ("name", json!("x"), Ok(json!("dropped"))),
            ("phoneNumber", json!("+49 (0)511 12345"), Ok(json!("+4951112345"))),
            ("phoneNumber", json!("0511 12345"), Err("valid")),
            ("emailAddress", json!("not an email"), Err("emailAddress")),
        ];
        for (attribute, value, expected) in table {
            assert_eq!(store(attribute, value.clone()), expected, "{attribute}: {value}");
        }
    }

    #[test]
    fn a_create_gets_defaults_and_needs_what_is_required() {
        let mut definitions = Definitions::recorded();
        let empty = Record::new();
        let missing = read(&definitions, &empty, true).unwrap_err();
        assert_eq!(missing, Invalid { field: "lastName".to_owned(), kind: "required" });
        definitions.change_field("lastName", &json!({ "required": false })).unwrap();
        let values = read(&definitions, &empty, true).unwrap().values;
        assert_eq!(
            Value::Object(values),
            json!({ "rechtsform": null, "syncStatus": "pending_sync", "syncRetryCount": 0 })
        );
    }
}
