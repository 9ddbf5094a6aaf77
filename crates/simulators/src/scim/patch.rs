//! PATCH: `add`, `replace`, `remove`, with and without paths, all or nothing. RFC 7644, section 3.5.2.

use serde_json::{Value, json};

use super::filter::Filter;
use super::options::ScimOptions;
use super::refusal::Refusal;
use super::resources::Draft;
use super::schema::{Attribute, ENTERPRISE, Kind, checked, is_nothing, one};
use crate::store::Store;
use crate::upstream::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// `[URN:]attribute[filter].part`
#[derive(Debug, Clone, PartialEq)]
struct Path {
    is_extended: bool,
    attribute: &'static Attribute,
    filter: Option<Filter>,
    part: Option<&'static Attribute>,
}

fn invalid_path(path: &str) -> Refusal {
    Refusal::bad("invalidPath", format!("'{path}' is not an attribute of the schema"))
}

impl Path {
    fn parse(kind: Kind, text: &str) -> Result<Self, Refusal> {
        let after = |urn: &str| {
            let head = text.get(..urn.len()).filter(|head| head.eq_ignore_ascii_case(urn))?;
            text[head.len()..].strip_prefix(':')
        };
        let (is_extended, rest) = match (after(ENTERPRISE), after(kind.schema())) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, text),
        };
        // The URN alone has dots of its own.
        let bare = |name: &str| kind.attribute(name).filter(|_| name.eq_ignore_ascii_case(ENTERPRISE));
        if let Some(attribute) = bare(text) {
            return Ok(Self { is_extended: false, attribute, filter: None, part: None });
        }
        let (name, filter, part) = match rest.split_once('[') {
            Some((name, rest)) => {
                let (filter, part) = rest.rsplit_once(']').ok_or_else(|| invalid_path(text))?;
                (name, Some(Filter::parse(filter)?), part.strip_prefix('.'))
            }
            None => match rest.split_once('.') {
                Some((name, part)) => (name, None, Some(part)),
                None => (rest, None, None),
            },
        };
        let found = match is_extended {
            true => kind.attribute(ENTERPRISE).and_then(|extension| extension.part(name)),
            false => kind.attribute(name),
        };
        let attribute = found.ok_or_else(|| invalid_path(text))?;
        let part = match part {
            None => None,
            Some(part) => Some(attribute.part(part).ok_or_else(|| invalid_path(text))?),
        };
        Ok(Self { is_extended, attribute, filter, part })
    }
}

/// The operations of a PATCH.
pub(super) fn apply(
    draft: &mut Draft,
    store: &Store,
    options: &ScimOptions,
    body: &Value,
) -> Result<(), Refusal> {
    let operations = body["Operations"].as_array().filter(|list| !list.is_empty());
    let operations = operations.ok_or_else(|| Refusal::bad("invalidSyntax", "There are no Operations"))?;
    let changed: usize = operations.iter().map(members_named).sum();
    if draft.kind == Kind::Group && options.members_max.is_some_and(|max| changed > max) {
        return Err(Refusal::bad("tooMany", "Too many changes of members in one request"));
    }
    for operation in operations {
        let op = match operation["op"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "add" => Op::Add,
            "replace" => Op::Replace,
            "remove" => Op::Remove,
            _ => return Err(Refusal::bad("invalidSyntax", "op is none of add, replace and remove")),
        };
        let value = &operation["value"];
        match operation["path"].as_str() {
            Some(path) => {
                let path = Path::parse(draft.kind, path)?;
                at(draft, store, options, op, &path, value)?;
            }
            None if op == Op::Remove => {
                return Err(Refusal::bad("noTarget", "a remove operation needs a path"));
            }
            None => {
                let object = value.as_object().ok_or_else(|| Refusal::value("value is no object"))?;
                for (name, value) in object {
                    let path = Path::parse(draft.kind, name)?;
                    at(draft, store, options, op, &path, value)?;
                }
            }
        }
    }
    Ok(())
}

fn members_named(operation: &Value) -> usize {
    match operation["path"].as_str() {
        Some("members") => operation["value"].as_array().map_or(1, Vec::len),
        Some(path) => usize::from(path.starts_with("members")),
        None => operation["value"]["members"].as_array().map_or(0, Vec::len),
    }
}

fn at(
    draft: &mut Draft,
    store: &Store,
    options: &ScimOptions,
    op: Op,
    path: &Path,
    value: &Value,
) -> Result<(), Refusal> {
    let attribute = path.attribute;
    if attribute.is_read_only() || path.part.is_some_and(Attribute::is_read_only) {
        return Err(Refusal::bad("mutability", format!("'{}' is read-only", attribute.name)));
    }
    if op == Op::Remove && !value.is_null() {
        let detail = "a remove operation carries no value, a filter in the path selects what to remove";
        return Err(Refusal::value(detail));
    }
    if (path.is_extended || attribute.name == ENTERPRISE) && !options.enterprise {
        return Err(invalid_path(&attribute.name));
    }
    if draft.kind == Kind::Group && attribute.name == "members" {
        return members(draft, store, options, op, path, value);
    }
    if path.is_extended {
        let mut extension = match draft.attributes.get(ENTERPRISE) {
            Some(Value::Object(extension)) => extension.clone(),
            _ => Record::new(),
        };
        change(&mut extension, options, op, path, value)?;
        put(&mut draft.attributes, ENTERPRISE, Value::Object(extension));
        return Ok(());
    }
    change(&mut draft.attributes, options, op, path, value)
}

fn put(record: &mut Record, name: &str, value: Value) {
    if is_nothing(&value) {
        record.shift_remove(name);
    } else {
        record.insert(name.to_owned(), value);
    }
}

fn members(
    draft: &mut Draft,
    store: &Store,
    options: &ScimOptions,
    op: Op,
    path: &Path,
    value: &Value,
) -> Result<(), Refusal> {
    match (op, &path.filter) {
        (Op::Remove, None) => draft.clear_members(store),
        (Op::Remove, Some(filter)) => {
            let found: Vec<String> = match filter.equality() {
                Some((name, id)) if name.eq_ignore_ascii_case("value") => {
                    draft.has_member(store, id).then(|| id.to_owned()).into_iter().collect()
                }
                _ => {
                    let now = draft.members_now(store).into_iter();
                    now.filter(|(_, member)| filter.matches(member)).map(|(id, _)| id).collect()
                }
            };
            if found.is_empty() && options.strict_removal {
                return Err(no_target("members"));
            }
            draft.members.extend(found.into_iter().map(|id| (id, None)));
        }
        (Op::Add | Op::Replace, None) => {
            let list = checked(path.attribute, value)?.unwrap_or_else(|| json!([]));
            if op == Op::Replace {
                draft.clear_members(store);
            }
            draft.add_members(store, &list)?;
        }
        (Op::Add | Op::Replace, Some(_)) => return Err(Refusal::bad("mutability", "a member is immutable")),
    }
    Ok(())
}

fn part_value(op: Op, part: &Attribute, value: &Value) -> Result<Value, Refusal> {
    let given = if op == Op::Remove { None } else { checked(part, value)? };
    Ok(given.unwrap_or_default())
}

fn no_target(name: &str) -> Refusal {
    Refusal::bad("noTarget", format!("no value of '{name}' matches the path filter"))
}

fn change(
    record: &mut Record,
    options: &ScimOptions,
    op: Op,
    path: &Path,
    value: &Value,
) -> Result<(), Refusal> {
    let (attribute, name) = (path.attribute, path.attribute.name.as_str());
    match (&path.filter, path.part) {
        (None, None) => {
            let given = if op == Op::Remove { None } else { checked(attribute, value)? };
            let kept = match (given, record.get(name)) {
                (Some(Value::Object(parts)), Some(Value::Object(before))) => {
                    let mut whole = before.clone();
                    whole.extend(parts);
                    Value::Object(whole)
                }
                (Some(Value::Array(more)), Some(Value::Array(before))) if op == Op::Add => {
                    let mut list = before.clone();
                    list.extend(more.into_iter().filter(|item| !before.contains(item)));
                    Value::Array(list)
                }
                (given, _) => given.unwrap_or_default(),
            };
            put(record, name, kept);
        }
        (None, Some(part)) if attribute.is_whole() => {
            let mut whole = record.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            put(&mut whole, &part.name, part_value(op, part, value)?);
            put(record, name, Value::Object(whole));
        }
        (filter, part) => {
            let mut list = match record.get(name) {
                Some(Value::Array(list)) => list.clone(),
                _ if attribute.is_list() => Vec::new(),
                _ => return Err(Refusal::bad("invalidPath", format!("'{name}' is no list"))),
            };
            let is_meant = |item: &Value| filter.as_ref().is_none_or(|filter| filter.matches(item));
            if !list.iter().any(is_meant) && (op != Op::Remove || options.strict_removal) {
                return Err(no_target(name));
            }
            if op == Op::Remove && part.is_none() {
                list.retain(|item| !is_meant(item));
            } else {
                for item in list.iter_mut().filter(|item| is_meant(item)) {
                    let Some(parts) = item.as_object_mut() else { continue };
                    match part {
                        Some(part) => put(parts, &part.name, part_value(op, part, value)?),
                        None => parts.extend(one(attribute, value)?.as_object().cloned().unwrap_or_default()),
                    }
                }
            }
            put(record, name, Value::Array(list));
        }
    }
    Ok(())
}
