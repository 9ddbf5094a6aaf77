//! Filters and paging of lists, sent as JSON in the one parameter `searchParams`.

use serde_json::{Value, json};

/// Largest page that EspoCRM hands out (`recordListMaxSizeLimit`); more is refused with 403.
pub const PAGE_SIZE_MAX: u16 = 200;

/// A condition on records (EspoCRM documentation: development/api-search-params).
#[derive(Debug, Clone, PartialEq)]
pub enum Where {
    /// The attribute has this value.
    Equals(String, Value),
    /// The attribute has another value.
    NotEquals(String, Value),
    /// The attribute has one of these values.
    In(String, Vec<Value>),
    /// The attribute is empty.
    IsNull(String),
    /// The attribute is not empty.
    IsNotNull(String),
    /// The attribute is less than this; times as [`crate::values::datetime`].
    LessThan(String, Value),
    /// The attribute is this or less.
    LessThanOrEquals(String, Value),
    /// The attribute is greater than this.
    GreaterThan(String, Value),
    /// The attribute is this or greater. Times have a grain of one second: changes since a time are asked for
    /// with this, and those already seen are skipped.
    GreaterThanOrEquals(String, Value),
    /// The text begins with this.
    StartsWith(String, String),
    /// The list has one of these values.
    ArrayAnyOf(String, Vec<Value>),
    /// One of these records is linked by the link of this name.
    LinkedWith(String, Vec<Value>),
    /// Any of these holds.
    Or(Vec<Self>),
    /// All of these hold.
    And(Vec<Self>),
}

impl Where {
    /// [`Where::Equals`].
    pub fn equals(attribute: &str, value: impl Into<Value>) -> Self {
        Self::Equals(attribute.into(), value.into())
    }

    /// [`Where::In`].
    pub fn any_of<V: Into<Value>>(attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::In(attribute.into(), values.into_iter().map(Into::into).collect())
    }

    /// [`Where::LinkedWith`].
    pub fn linked_with<V: Into<Value>>(link: &str, ids: impl IntoIterator<Item = V>) -> Self {
        Self::LinkedWith(link.into(), ids.into_iter().map(Into::into).collect())
    }

    /// [`Where::LessThan`].
    pub fn less_than(attribute: &str, value: impl Into<Value>) -> Self {
        Self::LessThan(attribute.into(), value.into())
    }

    /// [`Where::GreaterThan`].
    pub fn greater_than(attribute: &str, value: impl Into<Value>) -> Self {
        Self::GreaterThan(attribute.into(), value.into())
    }

    /// [`Where::IsNull`].
    pub fn is_null(attribute: &str) -> Self {
        Self::IsNull(attribute.into())
    }

    /// [`Where::IsNotNull`].
    pub fn is_not_null(attribute: &str) -> Self {
        Self::IsNotNull(attribute.into())
    }

    /// The condition as on the wire.
    pub fn to_json(&self) -> Value {
        let compare = |kind: &str, attribute: &str, value: &Value| json!({"type": kind, "attribute": attribute, "value": value});
        let group = |kind: &str, parts: &[Self]| json!({"type": kind, "value": parts.iter().map(Self::to_json).collect::<Vec<_>>()});
        match self {
            Self::Equals(attribute, value) => compare("equals", attribute, value),
            Self::NotEquals(attribute, value) => compare("notEquals", attribute, value),
            Self::In(attribute, values) => json!({"type": "in", "attribute": attribute, "value": values}),
            Self::StartsWith(attribute, text) => compare("startsWith", attribute, &json!(text)),
            Self::ArrayAnyOf(attribute, values) => {
                json!({"type": "arrayAnyOf", "attribute": attribute, "value": values})
            }
            Self::LinkedWith(link, ids) => {
                json!({"type": "linkedWith", "attribute": link, "value": ids})
            }
            Self::IsNull(attribute) => json!({"type": "isNull", "attribute": attribute}),
            Self::IsNotNull(attribute) => json!({"type": "isNotNull", "attribute": attribute}),
            Self::LessThan(attribute, value) => compare("lessThan", attribute, value),
            Self::LessThanOrEquals(attribute, value) => compare("lessThanOrEquals", attribute, value),
            Self::GreaterThan(attribute, value) => compare("greaterThan", attribute, value),
            Self::GreaterThanOrEquals(attribute, value) => compare("greaterThanOrEquals", attribute, value),
            Self::Or(parts) => group("or", parts),
            Self::And(parts) => group("and", parts),
        }
    }
}

/// The direction of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// What to list. The default lists everything, newest first, in the largest pages.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    /// Conditions, all of which must hold.
    pub filters: Vec<Where>,
    /// The attributes to answer with; empty: all that lists have. Unknown names are ignored by the server.
    pub select: Vec<String>,
    /// The order; the server breaks ties by id, so that pages do not overlap.
    pub order_by: Option<(String, Order)>,
    /// Records to skip.
    pub offset: u64,
    /// Records a page, at most [`PAGE_SIZE_MAX`].
    pub page_size: u16,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { filters: vec![], select: vec![], order_by: None, offset: 0, page_size: PAGE_SIZE_MAX }
    }
}

impl ListQuery {
    /// Lists what meets this condition.
    pub fn filtered(filter: Where) -> Self {
        Self { filters: vec![filter], ..Self::default() }
    }

    /// Names the attributes to answer with.
    #[must_use]
    pub fn select(mut self, attributes: &[&str]) -> Self {
        self.select = attributes.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn order_by(mut self, attribute: &str, order: Order) -> Self {
        self.order_by = Some((attribute.to_owned(), order));
        self
    }

    /// Sets the size of a page; more than [`PAGE_SIZE_MAX`] becomes that.
    #[must_use]
    pub fn page_size(mut self, records: u16) -> Self {
        self.page_size = records.min(PAGE_SIZE_MAX);
        self
    }

    /// Skips records.
    #[must_use]
    pub fn offset(mut self, records: u64) -> Self {
        self.offset = records;
        self
    }

    /// The value of `searchParams`.
    pub(crate) fn to_json(&self) -> Value {
        let mut params = json!({"maxSize": self.page_size.min(PAGE_SIZE_MAX), "offset": self.offset});
        if !self.select.is_empty() {
            params["select"] = json!(self.select);
        }
        if let Some((attribute, order)) = &self.order_by {
            params["orderBy"] = json!(attribute);
            params["order"] = json!(if *order == Order::Ascending { "asc" } else { "desc" });
        }
        if !self.filters.is_empty() {
            params["where"] = self.filters.iter().map(Where::to_json).collect();
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_filter_is_the_recorded_one() {
        let failed_but_not_spent =
            Where::And(vec![Where::equals("syncStatus", "failed"), Where::less_than("syncRetryCount", 5)]);
        let filter = Where::Or(vec![Where::equals("syncStatus", "dirty"), failed_but_not_spent]);
        let query = ListQuery::filtered(filter)
            .select(&["id", "betnr"])
            .order_by("betnr", Order::Ascending)
            .page_size(2);
        let mut expected = fixtures::search_params("158-searchparams-json");
        expected["offset"] = json!(0);
        assert_eq!(query.to_json(), expected);
    }

    #[test]
    fn a_page_is_never_larger_than_the_server_allows() {
        assert_eq!(ListQuery::default().page_size(1_000).to_json()["maxSize"], 200);
        let by_hand = ListQuery { page_size: 5_000, ..ListQuery::default() };
        assert_eq!(by_hand.to_json()["maxSize"], 200);
    }
}
