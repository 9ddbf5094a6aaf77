//! E-mail addresses and phone numbers: one attribute for the primary, one for the whole set.

use serde_json::{Value, json};

use crate::upstream::Record;

/// Reads `emailAddress`, `emailAddressData`, `phoneNumber` or `phoneNumberData` of field `name`.
pub(super) fn accept(
    name: &str,
    types: Option<&[Value]>,
    attribute: &str,
    value: &Value,
) -> Result<Value, &'static str> {
    if attribute == name {
        return match value {
            Value::Null => Ok(Value::Null),
            Value::String(text) if text.trim().is_empty() => Ok(Value::Null),
            value => Ok(json!(address(name, value)?)),
        };
    }
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| accept_entry(name, types, entry))
        .collect::<Result<Vec<_>, _>>()
        .map(Value::Array)
}

fn accept_entry(name: &str, types: Option<&[Value]>, entry: &Value) -> Result<Value, &'static str> {
    let mut accepted = Record::new();
    accepted.insert(name.to_owned(), json!(address(name, entry.get(name).unwrap_or(&Value::Null))?));
    if let Some(types) = types {
        let kind = entry.get("type").cloned().or_else(|| types.first().cloned()).unwrap_or(Value::Null);
        if !types.contains(&kind) {
            return Err("valid");
        }
        accepted.insert("type".to_owned(), kind);
    }
    for flag in ["primary", "optOut", "invalid"] {
        let on = entry.get(flag).and_then(Value::as_bool).unwrap_or(false);
        accepted.insert(flag.to_owned(), json!(on));
    }
    Ok(Value::Object(accepted))
}

fn address(name: &str, value: &Value) -> Result<String, &'static str> {
    if name == "phoneNumber" {
        return value.as_str().and_then(international).ok_or("valid");
    }
    let text = value.as_str().map(str::trim).ok_or("emailAddress")?;
    let valid = text.split_once('@').is_some_and(|(local, domain)| {
        let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@');
        plain(local)
            && plain(domain)
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
    });
    if valid { Ok(text.to_owned()) } else { Err("emailAddress") }
}

/// `+49 (0)511 123-45` becomes `+4951112345`; numbers without country are refused, extensions dropped.
fn international(text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let number = lower.split(['x', 'e', ';', ',']).next()?.replace("(0)", "");
    let digits = number.strip_prefix('+')?;
    if digits.contains(|c: char| !(c.is_ascii_digit() || " -/().".contains(c))) {
        return None;
    }
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    ((7..=15).contains(&digits.len()) && !digits.starts_with('0')).then(|| format!("+{digits}"))
}

/// The set after a write, in stored form (with `lower` for e-mail), from the set before.
pub(super) fn written(name: &str, before: &[Value], values: &Record) -> Option<Vec<Value>> {
    let data = format!("{name}Data");
    if let Some(Value::Array(entries)) = values.get(&data) {
        let mut entries: Vec<Value> = entries.iter().map(|entry| stored(name, entry)).collect();
        if !entries.iter().any(is_primary)
            && let Some(first) = entries.first_mut().and_then(Value::as_object_mut)
        {
            first.insert("primary".to_owned(), json!(true));
        }
        return Some(entries);
    }
    let single = values.get(name)?;
    let mut set: Vec<Value> = before.iter().filter(|entry| !is_primary(entry)).cloned().collect();
    if let Some(address) = single.as_str() {
        let same = |entry: &Value| {
            entry.get(name).and_then(Value::as_str).is_some_and(|own| own.eq_ignore_ascii_case(address))
        };
        let known = before.iter().find(|entry| same(entry)).cloned();
        set.retain(|entry| !same(entry));
        let mut entry = known.unwrap_or_else(|| json!({ name: address, "optOut": false, "invalid": false }));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("primary".to_owned(), json!(true));
            if name == "phoneNumber" {
                entry.entry("type").or_insert(json!("Mobile"));
            }
        }
        set.insert(0, stored(name, &entry));
    }
    Some(set)
}

/// Whether other records that have one of these addresses must show its flags: they are one row for all of them. The
/// other record's set with the flags as they are now; none when nothing differs.
pub(super) fn shared(name: &str, written: &[Value], other: &[Value]) -> Option<Vec<Value>> {
    let address = |entry: &Value| entry.get(name).and_then(Value::as_str).map(str::to_lowercase);
    let mut set = other.to_vec();
    for entry in &mut set {
        let Some(now) = written.iter().find(|written| address(written) == address(entry)) else { continue };
        for flag in ["optOut", "invalid"] {
            entry[flag] = now.get(flag).cloned().unwrap_or(json!(false));
        }
    }
    (set != other).then_some(set)
}

fn stored(name: &str, entry: &Value) -> Value {
    let mut ordered = Record::new();
    let take = |field: &str| entry.get(field).cloned().unwrap_or(Value::Null);
    ordered.insert(name.to_owned(), take(name));
    if name == "phoneNumber" {
        ordered.insert("type".to_owned(), take("type"));
    } else {
        let lower = entry.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        ordered.insert("lower".to_owned(), json!(lower));
    }
    for flag in ["primary", "optOut", "invalid"] {
        ordered.insert(flag.to_owned(), json!(entry.get(flag).and_then(Value::as_bool).unwrap_or(false)));
    }
    Value::Object(ordered)
}

fn is_primary(entry: &Value) -> bool {
    entry.get("primary") == Some(&Value::Bool(true))
}

/// The record's set.
pub(super) fn set<'a>(record: &'a Record, name: &str) -> &'a [Value] {
    record.get(&format!("{name}Data")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The primary's entry.
pub(super) fn primary<'a>(record: &'a Record, name: &str) -> Option<&'a Value> {
    set(record, name).iter().find(|entry| is_primary(entry))
}

/// The primary address or number; null when there is none.
pub(super) fn primary_address(record: &Record, name: &str) -> Value {
    primary(record, name).and_then(|entry| entry.get(name)).cloned().unwrap_or(Value::Null)
}

/// All addresses or numbers.
pub(super) fn addresses(record: &Record, name: &str) -> Vec<Value> {
    set(record, name).iter().map(|entry| entry.get(name).cloned().unwrap_or(Value::Null)).collect()
}

/// A flag of the primary, as `emailAddressIsOptedOut` shows it; null when there is no primary.
pub(super) fn primary_flag(record: &Record, attribute: &str) -> Value {
    let (name, flag) = match attribute {
        "emailAddressIsOptedOut" => ("emailAddress", "optOut"),
        "emailAddressIsInvalid" => ("emailAddress", "invalid"),
        "phoneNumberIsOptedOut" => ("phoneNumber", "optOut"),
        _ => ("phoneNumber", "invalid"),
    };
    primary(record, name).and_then(|entry| entry.get(flag)).cloned().unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_international() {
        for (sent, stored) in [
            ("+49 511/123-45", Some("+4951112345")),
            ("+49 (0)511 12345", Some("+4951112345")),
            ("+4951112345 ext. 9", Some("+4951112345")),
            ("0511 12345", None),
            ("004951112345", None),
            ("511123", None),
            ("abc", None),
        ] {
            assert_eq!(international(sent).as_deref(), stored, "{sent}");
        }
    }

    #[test]
    fn a_single_number_replaces_the_primary_and_null_promotes_none() {
        let before = [
            json!({"phoneNumber": "+495111111", "type": "Office", "primary": true}),
            json!({"phoneNumber": "+491701234567", "type": "Mobile", "primary": false}),
        ];
        let values = Record::from_iter([("phoneNumber".to_owned(), json!("+495119999"))]);
        let after = written("phoneNumber", &before, &values).unwrap();
        let numbers: Vec<_> = after.iter().map(|entry| entry["phoneNumber"].clone()).collect();
        assert_eq!(numbers, ["+495119999", "+491701234567"]);
        let values = Record::from_iter([("phoneNumber".to_owned(), Value::Null)]);
        let after = written("phoneNumber", &before, &values).unwrap();
        assert_eq!(after.len(), 1);
        assert!(!is_primary(&after[0]));
    }
}
