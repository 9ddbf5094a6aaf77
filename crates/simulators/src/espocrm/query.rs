//! Search parameters: PHP's bracket notation or one JSON parameter, and the filters in them.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::answers::refuse;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Filters of the real system that are not simulated: a 501, never a wrong answer.
const NOT_SIMULATED: [&str; 24] = [
    "after",
    "before",
    "on",
    "today",
    "past",
    "future",
    "lastSevenDays",
    "lastXDays",
    "nextXDays",
    "currentMonth",
    "lastMonth",
    "nextMonth",
    "currentQuarter",
    "currentYear",
    "olderThanXDays",
    "afterXDays",
    "notLinkedWith",
    "linkedWithAll",
    "isLinked",
    "isNotLinked",
    "arrayNoneOf",
    "not",
    "like",
    "notLike",
];

/// The query as one tree, as PHP builds it: `where[0][type]=equals` becomes `{"where":[{"type":"equals"}]}`.
pub(super) fn parse(request: &Request) -> Record {
    let mut tree = Record::new();
    for (name, value) in request.query_pairs() {
        let (head, rest) = name.split_once('[').map_or((name.as_str(), ""), |(head, rest)| (head, rest));
        let path: Vec<&str> =
            rest.split('[').map(|part| part.trim_end_matches(']')).filter(|_| !rest.is_empty()).collect();
        insert(&mut tree, head, &path, value);
    }
    let mut tree: Record = tree.into_iter().map(|(name, value)| (name, lists(value))).collect();
    if let Some(Value::String(text)) = tree.shift_remove("searchParams")
        && let Ok(Value::Object(parameters)) = serde_json::from_str(&text)
    {
        tree.extend(parameters);
    }
    tree
}

fn insert(tree: &mut Record, name: &str, path: &[&str], value: String) {
    let name = if name.is_empty() { tree.len().to_string() } else { name.to_owned() };
    match path {
        [] => {
            tree.insert(name, json!(value));
        }
        [next, rest @ ..] => {
            let branch = tree.entry(name).or_insert_with(|| json!({}));
            if !branch.is_object() {
                *branch = json!({});
            }
            if let Some(branch) = branch.as_object_mut() {
                insert(branch, next, rest, value);
            }
        }
    }
}

/// Objects whose keys are numbers are lists.
fn lists(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_list =
                fields.keys().all(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()));
            let fields = fields.into_iter().map(|(key, value)| (key, lists(value)));
            if is_list {
                Value::Array(fields.map(|(_, value)| value).collect())
            } else {
                Value::Object(fields.collect())
            }
        }
        other => other,
    }
}

/// Checks every filter before any record is looked at; answers the refusal.
pub(super) fn check(filter: &Value, is_attribute: &impl Fn(&str) -> bool) -> Option<Answer> {
    let kind = filter.get("type").and_then(Value::as_str).unwrap_or("equals");
    if matches!(kind, "or" | "and") {
        return items(filter).iter().find_map(|filter| check(filter, is_attribute));
    }
    if NOT_SIMULATED.contains(&kind) {
        return Some(super::answers::not_simulated(&format!("where item type '{kind}'")));
    }
    if !COMPARISONS.contains(&kind) {
        return Some(refuse(400, &format!("Unknown where item type '{kind}'.")));
    }
    let attribute = filter.get("attribute").and_then(Value::as_str).unwrap_or_default();
    let known = if kind == "linkedWith" { format!("{attribute}Ids") } else { attribute.to_owned() };
    (!is_attribute(&known)).then(|| refuse(400, &format!("Not existing attribute '{attribute}' in where.")))
}

const COMPARISONS: [&str; 19] = [
    "arrayAnyOf",
    "linkedWith",
    "equals",
    "notEquals",
    "in",
    "notIn",
    "isNull",
    "isNotNull",
    "isTrue",
    "isFalse",
    "lessThan",
    "greaterThan",
    "lessThanOrEquals",
    "greaterThanOrEquals",
    "between",
    "contains",
    "notContains",
    "startsWith",
    "endsWith",
];

pub(super) fn items(filter: &Value) -> &[Value] {
    filter.get("value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether a record (seen through `get`, which answers all values of an attribute) passes a checked filter.
pub(super) fn passes(filter: &Value, get: &impl Fn(&str) -> Vec<Value>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let kind = filter.get("type").and_then(Value::as_str).unwrap_or("equals");
    match kind {
        "or" => return items(filter).iter().any(|filter| passes(filter, get)),
        "and" => return items(filter).iter().all(|filter| passes(filter, get)),
        _ => {}
    }
    let own = get(filter.get("attribute").and_then(Value::as_str).unwrap_or_default());
    let is_null = own.iter().all(Value::is_null);
    let operand = filter.get("value").filter(|value| !value.is_null());
    let any = |test: &dyn Fn(std::cmp::Ordering) -> bool| {
        operand.is_some_and(|operand| own.iter().filter_map(|own| compare(own, operand)).any(test))
    };
    let text = |test: &dyn Fn(&str, &str) -> bool| {
        let part = operand.map(as_text).unwrap_or_default().to_lowercase();
        own.iter().any(|own| !own.is_null() && test(&as_text(own).to_lowercase(), &part))
    };
    match kind {
        "equals" if operand.is_none() => is_null,
        "notEquals" if operand.is_none() => !is_null,
        "equals" => any(&|order| order == Equal),
        "notEquals" => !is_null && !any(&|order| order == Equal),
        "in" | "linkedWith" | "arrayAnyOf" => {
            items(filter).iter().any(|operand| own.iter().any(|own| compare(own, operand) == Some(Equal)))
        }
        "notIn" => {
            !is_null
                && !items(filter)
                    .iter()
                    .any(|operand| own.iter().any(|own| compare(own, operand) == Some(Equal)))
        }
        "isNull" => is_null,
        "isNotNull" => !is_null,
        "isTrue" => own.contains(&json!(true)),
        "isFalse" => own.contains(&json!(false)),
        "lessThan" => any(&|order| order == Less),
        "greaterThan" => any(&|order| order == Greater),
        "lessThanOrEquals" => any(&|order| order != Greater),
        "greaterThanOrEquals" => any(&|order| order != Less),
        "between" => match items(filter) {
            [low, high] => own.iter().any(|own| {
                compare(own, low).is_some_and(|order| order != Less)
                    && compare(own, high).is_some_and(|order| order != Greater)
            }),
            _ => false,
        },
        "contains" => text(&|own, part| own.contains(part)),
        "notContains" => !text(&|own, part| own.contains(part)),
        "startsWith" => text(&|own, part| own.starts_with(part)),
        "endsWith" => text(&|own, part| own.ends_with(part)),
        _ => false,
    }
}

/// As the database compares: numbers by value, text without regard to case, null with nothing.
pub(super) fn compare(own: &Value, operand: &Value) -> Option<std::cmp::Ordering> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    match (own, operand) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Number(_), _) => number(own)?.partial_cmp(&number(operand).unwrap_or(0.0)),
        (Value::Bool(own), _) => {
            let operand =
                matches!(operand, Value::Bool(true)) || matches!(as_text(operand).as_ref(), "1" | "true");
            Some(own.cmp(&operand))
        }
        _ => {
            let (own, operand) = (as_text(own), as_text(operand));
            Some(if own.is_ascii() && operand.is_ascii() {
                // Most texts, and much faster.
                own.bytes()
                    .map(|byte| byte.to_ascii_lowercase())
                    .cmp(operand.bytes().map(|byte| byte.to_ascii_lowercase()))
            } else {
                lower(&own).cmp(lower(&operand))
            })
        }
    }
}

pub(super) fn lower(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

pub(super) fn as_text(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::{HeaderMap, Method};

    use super::*;

    fn tree(query: &str) -> Value {
        let uri = format!("/x?{query}").parse().unwrap();
        let request = Request::new(&Method::GET, &uri, HeaderMap::new(), Bytes::new(), [127, 0, 0, 1].into());
        Value::Object(parse(&request))
    }

    #[test]
    fn brackets_and_json_give_the_same_tree() {
        let expected = json!({ "maxSize": "2", "where": [
            { "type": "or", "value": [{ "type": "equals", "attribute": "a", "value": "x y" }] },
        ]});
        let brackets = "maxSize=2&where[0][type]=or&where%5B0%5D%5Bvalue%5D%5B0%5D%5Btype%5D=equals\
            &where[0][value][0][attribute]=a&where[0][value][0][value]=x+y";
        assert_eq!(tree(brackets), expected);
        let json: String = url::form_urlencoded::byte_serialize(expected.to_string().as_bytes()).collect();
        assert_eq!(tree(&format!("searchParams={json}")), expected);
        assert_eq!(tree("where[][type]=a&where[][type]=b"), json!({"where": [{"type": "a"}, {"type": "b"}]}));
    }

    #[test]
    fn filters_compare_as_the_database_does() {
        let record = json!({ "betnr": 7, "name": "M\u{fc}ller", "at": "2026-11-20 09:15:00", "none": null, "on": true });
        let check = |kind: &str, attribute: &str, value: Value| {
            let filter = json!({ "type": kind, "attribute": attribute, "value": value });
            passes(&filter, &|name: &str| vec![record[name].clone()])
        };
        assert!(check("equals", "betnr", json!("7")));
        assert!(check("equals", "name", json!("M\u{dc}LLER")));
        assert!(check("equals", "none", Value::Null));
        assert!(!check("equals", "none", json!("")));
        assert!(!check("notEquals", "none", json!("x")), "null is neither equal nor unequal");
        assert!(check("notEquals", "betnr", json!(8)));
        assert!(check("in", "betnr", json!(["1", "7"])));
        assert!(!check("in", "betnr", json!([])));
        assert!(check("isNull", "none", Value::Null));
        assert!(check("isNotNull", "betnr", Value::Null));
        assert!(check("lessThan", "betnr", json!("10")), "a number, not a text");
        assert!(check("greaterThanOrEquals", "at", json!("2026-11-20 09:15:00")));
        assert!(!check("greaterThan", "at", json!("2026-11-20 09:15:00")));
        assert!(check("lessThanOrEquals", "at", json!("2026-11-20 09:15:00")));
        assert!(!check("lessThan", "none", json!(5)));
        assert!(check("between", "betnr", json!([7, 9])));
        assert!(check("isTrue", "on", Value::Null));
    }
}
