//! Which records may pass the filters of a list, by ordered indexes: of tens of thousands, a list looks at few.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use serde_json::Value;

use super::query::{as_text, items, lower};
use crate::store::Store;
use crate::upstream::Record;

/// The indexes, by table and attribute; each is made when it is first of use.
#[derive(Debug, Default)]
pub(super) struct Indexes(HashMap<(String, String), Index>);

/// All values of an attribute of a record.
type Get<'a> = dyn Fn(&Record, &str) -> Vec<Value> + 'a;

#[derive(Debug, Default)]
struct Index {
    /// The store's revision that it is of; none where it was never filled.
    revision: Option<u64>,
    ids: BTreeMap<String, BTreeSet<String>>,
    /// What a record stands under.
    values: HashMap<String, Vec<String>>,
    /// Records with values that are no texts, which compare otherwise: they may pass anything.
    others: BTreeSet<String>,
}

impl Indexes {
    /// Ids of the records that may pass all of these filters, in order; none where all have to be looked at.
    pub(super) fn candidates(
        &mut self,
        store: &Store,
        table: &str,
        filters: &[&Value],
        get: &Get<'_>,
    ) -> Option<BTreeSet<String>> {
        let narrow = |own: &mut Self, filter: &&Value| own.narrow(store, table, filter, get);
        let exact = filters.iter().find(|filter| is_exact(filter));
        match exact {
            Some(filter) => narrow(self, filter),
            None => filters.iter().find_map(|filter| narrow(self, filter)),
        }
    }

    fn narrow(
        &mut self,
        store: &Store,
        table: &str,
        filter: &Value,
        get: &Get<'_>,
    ) -> Option<BTreeSet<String>> {
        let kind = filter.get("type").and_then(Value::as_str).unwrap_or("equals");
        match kind {
            "or" => {
                let parts = items(filter).iter().map(|part| self.narrow(store, table, part, get));
                return parts.collect::<Option<Vec<_>>>().map(|parts| parts.into_iter().flatten().collect());
            }
            "and" => return items(filter).iter().find_map(|part| self.narrow(store, table, part, get)),
            _ => {}
        }
        let attribute = filter.get("attribute").and_then(Value::as_str)?;
        let operand = filter.get("value").filter(|value| !value.is_null())?;
        if !is_exact(filter) && !matches!(kind, "greaterThan" | "greaterThanOrEquals") {
            return None;
        }
        let index = self.0.entry((table.to_owned(), attribute.to_owned())).or_default();
        index.bring_up(store, table, attribute, get);
        let key = |value: &Value| lower(&as_text(value)).collect::<String>();
        let mut found = index.others.clone();
        match kind {
            "equals" => found.extend(index.ids.get(&key(operand)).into_iter().flatten().cloned()),
            "in" | "linkedWith" | "arrayAnyOf" => {
                let keys = items(filter).iter().map(key);
                found.extend(keys.filter_map(|key| index.ids.get(&key)).flatten().cloned());
            }
            _ => {
                let range = (Bound::Included(key(operand)), Bound::Unbounded);
                found.extend(index.ids.range(range).flat_map(|(_, ids)| ids).cloned());
            }
        }
        Some(found)
    }
}

/// Whether a filter names the values that it lets pass.
fn is_exact(filter: &Value) -> bool {
    let kind = filter.get("type").and_then(Value::as_str).unwrap_or("equals");
    let named = filter.get("value").is_some_and(|value| !value.is_null());
    named && matches!(kind, "equals" | "in" | "linkedWith" | "arrayAnyOf")
}

impl Index {
    /// Takes in what changed since it was last of use.
    fn bring_up(&mut self, store: &Store, table: &str, attribute: &str, get: &Get<'_>) {
        let changed = self.revision.and_then(|revision| store.changed_after(table, revision));
        match changed {
            Some(ids) => ids.into_iter().for_each(|id| self.take(store, table, attribute, id, get)),
            None => {
                *self = Self::default();
                store.rows(table).for_each(|(id, _)| self.take(store, table, attribute, id, get));
            }
        }
        self.revision = Some(store.revision());
    }

    fn take(&mut self, store: &Store, table: &str, attribute: &str, id: &str, get: &Get<'_>) {
        self.others.remove(id);
        for value in self.values.remove(id).unwrap_or_default() {
            if let Some(ids) = self.ids.get_mut(&value) {
                ids.remove(id);
                if ids.is_empty() {
                    self.ids.remove(&value);
                }
            }
        }
        let Some(record) = store.get(table, id).and_then(Value::as_object) else { return };
        let mut own = Vec::new();
        for value in get(record, attribute) {
            match value {
                Value::Null => {}
                Value::String(text) => {
                    let key: String = lower(&text).collect();
                    self.ids.entry(key.clone()).or_default().insert(id.to_owned());
                    own.push(key);
                }
                _ => _ = self.others.insert(id.to_owned()),
            }
        }
        if !own.is_empty() {
            self.values.insert(id.to_owned(), own);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::query::passes;
    use super::*;
    use crate::store::Change;

    fn get(record: &Record, attribute: &str) -> Vec<Value> {
        match record.get(attribute) {
            Some(Value::Array(all)) => all.clone(),
            other => vec![other.cloned().unwrap_or(Value::Null)],
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => "[aAbB\u{fc}\u{dc}]{0,2}".prop_map(Value::from),
            1 => (0..3).prop_map(Value::from),
            1 => Just(Value::Null),
        ]
    }

    fn filter() -> impl Strategy<Value = Value> {
        let kinds =
            ["equals", "in", "linkedWith", "greaterThan", "greaterThanOrEquals", "lessThan", "isNull"];
        let leaf =
            (proptest::sample::select(kinds.to_vec()), "[xy]", proptest::collection::vec(value(), 1..3));
        let leaf = leaf.prop_map(|(kind, attribute, values)| {
            let value = if matches!(kind, "in" | "linkedWith") { json!(values) } else { values[0].clone() };
            json!({ "type": kind, "attribute": attribute, "value": value })
        });
        leaf.prop_recursive(2, 6, 3, |inner| {
            let kind = proptest::sample::select(vec!["or", "and"]);
            (kind, proptest::collection::vec(inner, 1..3))
                .prop_map(|(kind, parts)| json!({ "type": kind, "value": parts }))
        })
    }

    proptest! {
        /// Whatever was changed before, nobody who passes is left out.
        #[test]
        fn who_passes_is_a_candidate(
            steps in proptest::collection::vec((
                proptest::collection::vec(("[a-d]", proptest::option::of((value(), proptest::collection::vec(value(), 0..3)))), 0..4),
                proptest::collection::vec(filter(), 1..3),
            ), 1..6),
        ) {
            let mut store = Store::open("test", None).unwrap();
            let mut indexes = Indexes::default();
            for (changes, filters) in steps {
                for (id, fields) in changes {
                    let value = fields.map(|(x, y)| json!({ "id": id, "x": x, "y": y }));
                    let change = Change { table: "T".to_owned(), id, value };
                    store.commit(Timestamp::UNIX_EPOCH, None, vec![change]).unwrap();
                }
                let filters: Vec<&Value> = filters.iter().collect();
                let found = indexes.candidates(&store, "T", &filters, &get);
                for (id, record) in store.rows("T") {
                    let record = record.as_object().unwrap();
                    let pass = |filter: &&Value| passes(filter, &|name: &str| get(record, name));
                    if filters.iter().all(pass) {
                        prop_assert!(found.as_ref().is_none_or(|found| found.contains(id)), "{record:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn few_are_looked_at() {
        let mut store = Store::open("test", None).unwrap();
        for n in 0..1_000 {
            let record =
                json!({ "at": format!("2026-01-01 00:00:{n:04}"), "users": [format!("u{}", n % 100)] });
            let change = Change::set("T", &n.to_string(), record);
            store.commit(Timestamp::UNIX_EPOCH, None, vec![change]).unwrap();
        }
        let mut indexes = Indexes::default();
        let mut count =
            |filter: Value| indexes.candidates(&store, "T", &[&filter], &get).map(|found| found.len());
        let since =
            json!({ "type": "greaterThanOrEquals", "attribute": "at", "value": "2026-01-01 00:00:0990" });
        assert_eq!(count(since), Some(10));
        assert_eq!(count(json!({ "type": "linkedWith", "attribute": "users", "value": ["U7"] })), Some(10));
        assert_eq!(count(json!({ "type": "notEquals", "attribute": "at", "value": "x" })), None);
    }
}
