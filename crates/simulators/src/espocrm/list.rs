//! Lists: filter, order, page, select.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::answers::{ok, refuse};
use super::query;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

const SIZE_MAX: i64 = 200;

/// What a list is made of.
pub(super) struct Source<'a> {
    /// The records, but for those that are deleted.
    pub(super) records: Vec<&'a Record>,
    /// Whether the user may read one.
    pub(super) may_read: &'a dyn Fn(&Record) -> bool,
    /// How an item is shown.
    pub(super) show: &'a dyn Fn(&Record) -> Record,
    /// All values of an attribute (an e-mail filter looks at every address).
    pub(super) get: &'a dyn Fn(&Record, &str) -> Vec<Value>,
    /// What may be filtered and ordered by.
    pub(super) is_attribute: &'a dyn Fn(&str) -> bool,
    /// What a link-multiple that is asked for is shown as.
    pub(super) show_link: &'a dyn Fn(&Record, &str) -> Record,
    /// Added to every selection.
    pub(super) always: &'a [&'a str],
    /// Order when none is asked for, and whether it is descending.
    pub(super) order: (&'a str, bool),
    /// Whether the number of records is always left out.
    pub(super) is_uncounted: bool,
}

/// A link-multiple of which only the ids are known.
pub(super) fn plain_link(record: &Record, attribute: &str) -> Record {
    Record::from_iter([(attribute.to_owned(), record.get(attribute).cloned().unwrap_or(json!([])))])
}

/// What a list is filtered by, all of which has to be passed.
pub(super) fn filters(parameters: &Record) -> Vec<&Value> {
    let lists = ["where", "whereGroup"].iter().filter_map(|name| parameters.get(*name)?.as_array());
    lists.flatten().collect()
}

/// The answer to `GET {Type}`.
pub(super) fn answer(request: &Request, source: &Source<'_>) -> Answer {
    let parameters = query::parse(request);
    let number = |name: &str| {
        let value = parameters.get(name)?;
        value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
    };
    let size = number("maxSize").unwrap_or(SIZE_MAX);
    if size > SIZE_MAX {
        return refuse(403, "Max size should not exceed 200. Use offset and limit.");
    }
    let Ok(size) = usize::try_from(size) else {
        return Answer::status(500).with("Content-Type", "application/json");
    };
    let filters = filters(&parameters);
    if let Some(refusal) =
        filters.iter().find_map(|filter| query::check(filter, &|name: &str| (source.is_attribute)(name)))
    {
        return refusal;
    }
    let order_by = parameters.get("orderBy").and_then(Value::as_str);
    if let Some(unknown) = order_by.filter(|name| !(source.is_attribute)(name)) {
        return refuse(400, &format!("Order by non-existing field '{unknown}'."));
    }
    let mut found: Vec<&Record> = source
        .records
        .iter()
        .filter(|record| {
            filters.iter().all(|filter| query::passes(filter, &|name: &str| (source.get)(record, name)))
                && (source.may_read)(record)
        })
        .copied()
        .collect();
    let descending = match parameters.get("order").and_then(Value::as_str) {
        Some(order) => order.eq_ignore_ascii_case("desc"),
        None => order_by.is_none() && source.order.1,
    };
    sort(&mut found, source, order_by.unwrap_or(source.order.0), descending);
    let offset = number("offset").and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0);
    let page: Vec<Value> = found
        .iter()
        .skip(offset)
        .take(size)
        .map(|record| select(source, record, &parameters, order_by.unwrap_or(source.order.0)))
        .collect();
    let total = if source.is_uncounted || request.header("X-No-Total") == Some("true") {
        if found.len() > offset.saturating_add(size) { json!(-1) } else { json!(-2) }
    } else {
        json!(found.len())
    };
    ok(&json!({ "total": total, "list": page }))
}

/// By the attribute, then by id in the same direction; null first when ascending.
fn sort(found: &mut Vec<&Record>, source: &Source<'_>, attribute: &str, descending: bool) {
    let key = |record: &Record| (source.get)(record, attribute).into_iter().next().unwrap_or(Value::Null);
    let id = |record: &Record| record.get("id").and_then(Value::as_str).map(str::to_owned);
    let mut keyed: Vec<_> = found.drain(..).map(|record| (key(record), id(record), record)).collect();
    keyed.sort_by(|(own, own_id, _), (other, other_id, _)| {
        let order = query::compare(own, other).unwrap_or_else(|| match (own.is_null(), other.is_null()) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => Ordering::Equal,
        });
        let order = order.then_with(|| own_id.cmp(other_id));
        if descending { order.reverse() } else { order }
    });
    found.extend(keyed.into_iter().map(|(_, _, record)| record));
}

fn select(source: &Source<'_>, record: &Record, parameters: &Record, order_by: &str) -> Value {
    let mut item = (source.show)(record);
    let selected: Vec<String> = match parameters.get("select") {
        Some(Value::String(names)) => {
            let names = names.split_whitespace().next().unwrap_or_default();
            names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::Array(names)) => {
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        }
        _ => return Value::Object(item),
    };
    item.retain(|name, _| {
        name == "id"
            || source.always.contains(&name.as_str())
            || order_by == name
            // A time that may be a date brings the date along.
            || selected.iter().any(|own| own == name || name.strip_suffix("Date") == Some(own))
    });
    for name in selected.iter().filter(|name| name.ends_with("sIds")) {
        item.extend((source.show_link)(record, name));
    }
    Value::Object(item)
}
