//! Lists: filters, order, pages, and which attributes are shown. RFC 7644, section 3.4.2.

use serde_json::{Value, json};

use super::Scim;
use super::filter::Filter;
use super::refusal::Refusal;
use super::resources::{ids_by_external_id, ids_by_name, whole};
use super::schema::{ENTERPRISE, Kind};
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

/// Which attributes are shown. RFC 7644, section 3.9.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    only: Option<Vec<Name>>,
    without: Vec<Name>,
}

/// An attribute, or a part of it; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    attribute: String,
    part: Option<String>,
}

impl Name {
    /// `userName`, `emails.value`, either with the schema's URN before it.
    fn parse(text: &str) -> Self {
        let text = text.trim().to_lowercase();
        let below =
            |schema: &str| Some(text.strip_prefix(&schema.to_lowercase())?.strip_prefix(':')?.to_owned());
        if text == ENTERPRISE.to_lowercase() {
            return Self { attribute: text, part: None };
        }
        if let Some(name) = below(ENTERPRISE) {
            // Deeper parts are shown as a whole.
            let name = name.split('.').next().map(str::to_owned);
            return Self { attribute: ENTERPRISE.to_lowercase(), part: name };
        }
        let name = Kind::ALL.into_iter().find_map(|kind| below(kind.schema())).unwrap_or(text);
        match name.split_once('.') {
            Some((attribute, part)) => Self { attribute: attribute.to_owned(), part: Some(part.to_owned()) },
            None => Self { attribute: name, part: None },
        }
    }
}

fn names(text: &str) -> Vec<Name> {
    text.split(',').filter(|name| !name.trim().is_empty()).map(Name::parse).collect()
}

/// Whether all of an attribute is among these.
fn has_all(names: &[Name], attribute: &str) -> bool {
    names.iter().any(|name| name.attribute == attribute && name.part.is_none())
}

/// The parts of an attribute that are among these.
fn parts<'a>(names: &'a [Name], attribute: &str) -> Vec<&'a str> {
    names.iter().filter(|name| name.attribute == attribute).filter_map(|name| name.part.as_deref()).collect()
}

impl View {
    pub(super) fn of(request: &Request) -> Self {
        let list = |name| request.query_value(name).map(|text| names(&text));
        Self { only: list("attributes"), without: list("excludedAttributes").unwrap_or_default() }
    }

    /// Whether not all is asked for.
    pub(super) fn is_chosen(&self) -> bool {
        self.only.is_some() || !self.without.is_empty()
    }

    fn shows(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let always = ["id", "schemas"].contains(&name.as_str());
        let chosen = self.only.as_ref().is_none_or(|only| only.iter().any(|it| it.attribute == name));
        always || (chosen && !has_all(&self.without, &name))
    }

    pub(super) fn shows_members(&self) -> bool {
        self.shows("members")
    }

    fn shows_part(&self, attribute: &str, part: &str) -> bool {
        let (attribute, part) = (attribute.to_lowercase(), part.to_lowercase());
        let chosen = self
            .only
            .as_ref()
            .is_none_or(|only| has_all(only, &attribute) || parts(only, &attribute).contains(&part.as_str()));
        chosen && !parts(&self.without, &attribute).contains(&part.as_str())
    }

    pub(super) fn apply(&self, mut resource: Value) -> Value {
        let Some(record) = resource.as_object_mut().filter(|_| self.is_chosen()) else { return resource };
        record.retain(|name, _| self.shows(name));
        for (name, value) in record.iter_mut() {
            match value {
                Value::Object(whole) => whole.retain(|part, _| self.shows_part(name, part)),
                Value::Array(list) => {
                    let items = list.iter_mut().filter_map(Value::as_object_mut);
                    items.for_each(|item| item.retain(|part, _| self.shows_part(name, part)));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        if !record.contains_key(ENTERPRISE)
            && let Some(Value::Array(schemas)) = record.get_mut("schemas")
        {
            schemas.retain(|schema| schema != ENTERPRISE);
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
            Some(list.iter().filter_map(Value::as_str).map(Name::parse).collect())
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
    pub(super) fn list(&self, store: &Store, kinds: &[Kind], query: &Query) -> Result<Value, Refusal> {
        let mut found = Vec::new();
        for kind in kinds {
            found.extend(self.found(store, *kind, query)?.into_iter().map(|id| (*kind, id)));
        }
        if query.sort_by.is_some() && !self.options.sort {
            return Err(Refusal::plain(400, "Sorting is not supported"));
        }
        if let Some(name) = query.sort_by.as_deref().filter(|name| !name.eq_ignore_ascii_case("id")) {
            let attribute = kinds.iter().find_map(|kind| kind.attribute(name));
            let attribute = attribute.ok_or_else(|| Refusal::bad("invalidPath", "sortBy is no attribute"))?;
            found.sort_by_cached_key(|(kind, id)| {
                let row = store.get(kind.endpoint(), id);
                let value = row.and_then(|row| row["attributes"][&attribute.name].as_str());
                value.unwrap_or_default().to_lowercase()
            });
        }
        if query.is_descending {
            found.reverse();
        }
        let count = query.count.unwrap_or(self.options.page_max).min(self.options.page_max);
        let page = found.iter().skip(query.start.saturating_sub(1)).take(count);
        let shown = page.filter_map(|(kind, id)| self.shown(store, *kind, id, &query.view)).collect();
        Ok(response(found.len(), query.start, shown))
    }

    fn found<'a>(&self, store: &'a Store, kind: Kind, query: &Query) -> Result<Vec<&'a str>, Refusal> {
        let all = || store.rows(kind.endpoint()).map(|(id, _)| id.as_str());
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
        let is_meant = |id: &&str| {
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
