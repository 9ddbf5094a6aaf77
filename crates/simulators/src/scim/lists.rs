//! Lists: filters, order, pages, and which attributes are shown. RFC 7644, section 3.4.2.

use serde_json::{Value, json};

use super::Scim;
use super::filter::Filter;
use super::refusal::Refusal;
use super::resources::{ids_by_external_id, ids_by_name, whole};
use super::schema::Kind;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::Request;

/// What is asked for, in a query or in the body of `.search`.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    filter: Option<String>,
    sort_by: Option<String>,
    is_descending: bool,
    start: usize,
    count: Option<usize>,
    view: View,
}

/// Which attributes are shown.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    only: Option<Vec<String>>,
    without: Vec<String>,
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect()
}

impl View {
    pub(super) fn of(request: &Request) -> Self {
        let list = |name| request.query_value(name).map(|text| names(&text));
        Self { only: list("attributes"), without: list("excludedAttributes").unwrap_or_default() }
    }

    fn shows(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let always = ["id", "schemas"].contains(&name.as_str());
        let chosen = self.only.as_ref().is_none_or(|only| only.contains(&name));
        always || (chosen && !self.without.contains(&name))
    }

    pub(super) fn shows_members(&self) -> bool {
        self.shows("members")
    }

    pub(super) fn apply(&self, mut resource: Value) -> Value {
        if let Some(record) = resource.as_object_mut() {
            record.retain(|name, _| self.shows(name));
        }
        resource
    }
}

fn whole_number(value: Option<i64>) -> Option<usize> {
    value.map(|number| usize::try_from(number).unwrap_or(0))
}

impl Query {
    pub(super) fn of(request: &Request) -> Self {
        let number = |name| request.query_value(name).and_then(|text| text.parse::<i64>().ok());
        Self {
            filter: request.query_value("filter"),
            sort_by: request.query_value("sortBy"),
            is_descending: request.query_value("sortOrder").as_deref() == Some("descending"),
            start: whole_number(number("startIndex")).unwrap_or(1).max(1),
            count: whole_number(number("count")),
            view: View::of(request),
        }
    }

    pub(super) fn of_body(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let list = |name: &str| {
            let list = body[name].as_array()?;
            Some(list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect())
        };
        Self {
            filter: text("filter"),
            sort_by: text("sortBy"),
            is_descending: body["sortOrder"] == "descending",
            start: whole_number(body["startIndex"].as_i64()).unwrap_or(1).max(1),
            count: whole_number(body["count"].as_i64()),
            view: View { only: list("attributes"), without: list("excludedAttributes").unwrap_or_default() },
        }
    }
}

pub(super) fn response(total: usize, start: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": total,
        "startIndex": start, "itemsPerPage": resources.len(), "Resources": resources,
    })
}

impl Scim {
    pub(super) fn list(&self, store: &Store, kind: Kind, query: &Query) -> Result<Value, Refusal> {
        let mut ids = self.found(store, kind, query)?;
        if let Some(name) = query.sort_by.as_deref().filter(|name| !name.eq_ignore_ascii_case("id")) {
            if !self.options.sort {
                return Err(Refusal::plain(400, "Sorting is not supported"));
            }
            let attribute = kind.attribute(name);
            let attribute = attribute.ok_or_else(|| Refusal::bad("invalidPath", "sortBy is no attribute"))?;
            ids.sort_by_cached_key(|id| {
                let value =
                    &store.get(kind.endpoint(), id).map(|row| row["attributes"][attribute.name].clone());
                value.as_ref().and_then(Value::as_str).unwrap_or_default().to_lowercase()
            });
        } else if query.sort_by.is_some() && !self.options.sort {
            return Err(Refusal::plain(400, "Sorting is not supported"));
        }
        if query.is_descending {
            ids.reverse();
        }
        let count = query.count.unwrap_or(self.options.page_max).min(self.options.page_max);
        let page = ids.iter().skip(query.start.saturating_sub(1)).take(count);
        let shown = page.filter_map(|id| self.shown(store, kind, id, &query.view)).collect();
        Ok(response(ids.len(), query.start, shown))
    }

    fn found(&self, store: &Store, kind: Kind, query: &Query) -> Result<Vec<String>, Refusal> {
        let all = || store.rows(kind.endpoint()).map(|(id, _)| id.clone());
        let Some(text) = &query.filter else { return Ok(all().collect()) };
        if !self.options.filter {
            return Err(Refusal::plain(501, "Filters are not supported"));
        }
        let filter = Filter::parse(text)?;
        if let Some((name, value)) = filter.equality() {
            if name.eq_ignore_ascii_case("externalId") {
                return Ok(ids_by_external_id(store, kind, value));
            }
            if name.eq_ignore_ascii_case(kind.required()) {
                return Ok(ids_by_name(store, kind, value));
            }
        }
        let is_meant = |id: &String| {
            let resource = whole(store, kind, id, &self.base, self.options.etag, true);
            resource.is_some_and(|resource| filter.matches(&resource))
        };
        Ok(all().filter(is_meant).collect())
    }

    pub(super) fn shown(&self, store: &Store, kind: Kind, id: &str, view: &View) -> Option<Value> {
        let resource = whole(store, kind, id, &self.base, self.options.etag, view.shows_members())?;
        Some(view.apply(resource))
    }

    pub(super) fn all(&self, store: &Store) -> Vec<Value> {
        let of =
            |kind: Kind| store.rows(kind.endpoint()).filter_map(move |(id, _)| self.one(store, kind, id));
        Kind::ALL.into_iter().flat_map(of).collect()
    }

    pub(super) fn one(&self, store: &Store, kind: Kind, id: &str) -> Option<Value> {
        whole(store, kind, id, &self.base, self.options.etag, true)
    }
}

/// What a person gives, without what the service keeps by itself.
pub(super) fn fields(record: &Record) -> Record {
    let own = ["id", "meta", "schemas"];
    record
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}
