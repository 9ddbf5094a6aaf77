//! What a service can do: by its own word, by the settings where that is missing or wrong, and by what it answers.
//!
//! RFC 7643, sections 5 and 6; RFC 7644, section 4.

use http_client::{Method, Request};
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::client::Scim;
use crate::error;
use crate::features::Known;
use crate::resource::{ENTERPRISE_SCHEMA, Kind, as_bool, get};

const SERVICE_PROVIDER_CONFIG: &str = "ServiceProviderConfig";
const RESOURCE_TYPES: &str = "ResourceTypes";
/// Operations in a bulk request where the service does not say how many it takes.
const BULK_OPERATIONS_DEFAULT: usize = 100;
/// Bytes of a bulk request where the service does not say how many it takes.
const BULK_BYTES_DEFAULT: usize = 1024 * 1024;

/// What a service can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Changes by PATCH; else whole resources are read and put.
    pub patch: bool,
    /// Several operations in one request; else one after the other.
    pub bulk: Option<BulkLimits>,
    /// Filters; else everything is listed.
    pub filter: bool,
    /// Sorted lists; else they come in any order, which may change between pages.
    pub sort: bool,
    /// Versions; else the last writer wins.
    pub etag: bool,
    /// Resources in a page at most, where the service says so.
    pub page_resources_max: Option<u32>,
    /// There are groups.
    pub groups: bool,
    /// Users have the enterprise extension.
    pub enterprise: bool,
    pub(crate) users_endpoint: String,
    pub(crate) groups_endpoint: String,
}

/// The bounds of a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkLimits {
    /// Operations.
    pub operations_max: usize,
    /// Bytes of the request's body.
    pub payload_bytes_max: usize,
}

/// What the settings say about a service's abilities, whatever the service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// See [`Abilities::patch`].
    pub patch: Option<bool>,
    /// Whether there is [`Abilities::bulk`].
    pub bulk: Option<bool>,
    /// See [`Abilities::filter`].
    pub filter: Option<bool>,
    /// See [`Abilities::sort`].
    pub sort: Option<bool>,
    /// See [`Abilities::etag`].
    pub etag: Option<bool>,
    /// See [`Abilities::groups`].
    pub groups: Option<bool>,
    /// See [`Abilities::enterprise`].
    pub enterprise: Option<bool>,
}

impl Abilities {
    /// From both documents, where they are there. What nothing says is taken to be there if finding out is harmless.
    pub(crate) fn read(config: Option<&Value>, types: Option<&Value>, overrides: &Overrides) -> Self {
        // Some answer a list of one.
        let config =
            config.map(|config| resources(config).map_or(config, |list| list.first().unwrap_or(config)));
        let section = |name: &str| config?.as_object().and_then(|it| get(it, name))?.as_object();
        let supported = |name: &str, chosen: Option<bool>, else_: bool| {
            let told = section(name).and_then(|it| get(it, "supported")).and_then(as_bool);
            chosen.or(told).unwrap_or(else_)
        };
        let limit = |name: &str, key: &str| positive(get(section(name)?, key)?);
        let bulk = supported("bulk", overrides.bulk, false).then(|| BulkLimits {
            operations_max: limit("bulk", "maxOperations").unwrap_or(BULK_OPERATIONS_DEFAULT),
            payload_bytes_max: limit("bulk", "maxPayloadSize").unwrap_or(BULK_BYTES_DEFAULT),
        });
        let types = Types(types.and_then(resources).unwrap_or_default());
        Self {
            patch: supported("patch", overrides.patch, true),
            bulk,
            filter: supported("filter", overrides.filter, true),
            sort: supported("sort", overrides.sort, false),
            etag: supported("etag", overrides.etag, true),
            page_resources_max: limit("filter", "maxResults")
                .map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
            groups: overrides.groups.unwrap_or_else(|| types.is_empty() || types.of(Kind::Group).is_some()),
            enterprise: overrides
                .enterprise
                .unwrap_or_else(|| types.of(Kind::User).is_none_or(has_enterprise)),
            users_endpoint: types.endpoint(Kind::User, "Users"),
            groups_endpoint: types.endpoint(Kind::Group, "Groups"),
        }
    }

    pub(crate) fn endpoint(&self, kind: Kind) -> &str {
        match kind {
            Kind::User => &self.users_endpoint,
            Kind::Group => &self.groups_endpoint,
        }
    }
}

/// The resource types.
struct Types<'a>(&'a [Value]);

impl<'a> Types<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, kind: Kind) -> Option<&'a Map<String, Value>> {
        let types = self.0.iter().filter_map(Value::as_object);
        types.into_iter().find(|it| {
            let schema = get(it, "schema").and_then(Value::as_str);
            schema.is_some_and(|schema| schema.eq_ignore_ascii_case(kind.schema()))
        })
    }

    /// The path of its endpoint below the base address. A whole address is not followed.
    fn endpoint(&self, kind: Kind, else_: &str) -> String {
        let told = self.of(kind).and_then(|it| get(it, "endpoint")).and_then(Value::as_str);
        let told = told.map(|path| path.trim_matches('/')).filter(|path| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
            !path.is_empty() && path.chars().all(is_plain)
        });
        told.unwrap_or(else_).to_owned()
    }
}

fn has_enterprise(users: &Map<String, Value>) -> bool {
    let extensions = get(users, "schemaExtensions").and_then(Value::as_array).into_iter().flatten();
    extensions
        .filter_map(|it| get(it.as_object()?, "schema")?.as_str())
        .any(|schema| schema.eq_ignore_ascii_case(ENTERPRISE_SCHEMA))
}

/// The resources of a list, which some answer bare.
pub(crate) fn resources(document: &Value) -> Option<&[Value]> {
    match document {
        Value::Array(list) => Some(list),
        Value::Object(list) => get(list, "Resources")?.as_array().map(Vec::as_slice),
        _ => None,
    }
}

/// 0 says nothing.
fn positive(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0)
}

impl Scim {
    /// What the service can do, as far as is known now: `GET ServiceProviderConfig` and `GET ResourceTypes`, asked for
    /// once. Safe to repeat, also to see what was turned off since.
    ///
    /// # Errors
    /// `unauthorized` (the account pauses), `throttled`, `upstream_failed`, retryable `answer_unreadable` where something
    /// else than JSON comes with a good status, and those of [`http_client::Upstream::send`]. A document that is not
    /// there is none.
    pub async fn abilities(&self) -> Result<Abilities, Fault> {
        Ok(self.known().await?.abilities_now())
    }

    /// Whether a change may be a whole resource that is read, changed and put: as long as PATCH was not seen to work. Where
    /// there are no versions either, of two processes that do it at once the later one takes back what the other one wrote.
    ///
    /// # Errors
    /// As [`Self::abilities`].
    pub async fn writes_whole(&self) -> Result<bool, Fault> {
        Ok(!self.known().await?.patch.is_proven())
    }

    pub(crate) async fn known(&self) -> Result<&Known, Fault> {
        self.known_cell().get_or_try_init(|| self.discover()).await
    }

    async fn discover(&self) -> Result<Known, Fault> {
        let config = self.document(SERVICE_PROVIDER_CONFIG).await?;
        let types = self.document(RESOURCE_TYPES).await?;
        let abilities = Abilities::read(config.as_ref(), types.as_ref(), self.overrides());
        tracing::info!(
            patch = abilities.patch,
            bulk = abilities.bulk.is_some(),
            filter = abilities.filter,
            sort = abilities.sort,
            etag = abilities.etag,
            groups = abilities.groups,
            "abilities of the SCIM service"
        );
        Ok(Known::new(abilities, self.sizes()))
    }

    /// One of those that tell of the service; none where it is not there.
    pub(crate) async fn document(&self, name: &'static str) -> Result<Option<Value>, Fault> {
        let answer = self.send(Request::new(Method::Get, name, &[])).await?;
        match answer.status() {
            400 | 403..=406 | 410 | 415 | 501 => Ok(None),
            _ => error::success(&answer)?.json().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn recorded(name: &str) -> Value {
        fixtures::answer(name).json().unwrap()
    }

    fn minimal() -> Value {
        let off = json!({"supported": false});
        json!({"patch": off, "sort": off, "etag": off, "changePassword": off, "authenticationSchemes": [],
            "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": true, "maxResults": 50}})
    }

    #[test]
    fn a_full_service_says_so() {
        let (config, types) = (recorded("001-service-provider-config"), recorded("002-resource-types"));
        let full = Abilities::read(Some(&config), Some(&types), &Overrides::default());
        let expected = Abilities {
            patch: true,
            bulk: Some(BulkLimits { operations_max: 1_000, payload_bytes_max: 1_048_576 }),
            filter: true,
            sort: true,
            etag: true,
            page_resources_max: Some(1_000),
            groups: true,
            enterprise: true,
            users_endpoint: "Users".to_owned(),
            groups_endpoint: "Groups".to_owned(),
        };
        assert_eq!(full, expected);
        let listed = json!({"totalResults": 1, "Resources": [config]});
        assert_eq!(Abilities::read(Some(&listed), types.get("Resources"), &Overrides::default()), expected);
    }

    #[test]
    fn a_minimal_service_says_so_and_the_settings_know_better() {
        let told = Abilities::read(Some(&minimal()), None, &Overrides::default());
        assert_eq!(
            (told.patch, told.bulk, told.filter, told.sort, told.etag),
            (false, None, true, false, false)
        );
        assert_eq!((told.page_resources_max, told.groups), (Some(50), true));
        let overrides = Overrides {
            patch: Some(true),
            bulk: Some(true),
            filter: Some(false),
            sort: Some(true),
            etag: Some(true),
            groups: Some(false),
            enterprise: Some(false),
        };
        let chosen = Abilities::read(Some(&minimal()), None, &overrides);
        assert!(
            chosen.patch
                && !chosen.filter
                && chosen.sort
                && chosen.etag
                && !chosen.groups
                && !chosen.enterprise
        );
        assert_eq!(chosen.bulk, Some(BulkLimits { operations_max: 100, payload_bytes_max: 1_048_576 }));
    }

    #[test]
    fn what_nothing_says_is_found_out_where_that_is_harmless() {
        for nothing in [None, Some(json!({})), Some(json!([])), Some(json!("x")), Some(json!({"patch": 7}))] {
            let read = Abilities::read(nothing.as_ref(), nothing.as_ref(), &Overrides::default());
            assert!(read.patch && read.filter && read.etag && read.groups && read.enterprise, "{nothing:?}");
            assert!(read.bulk.is_none() && !read.sort && read.users_endpoint == "Users", "{nothing:?}");
        }
    }

    #[test]
    fn types_say_what_there_is_and_where() {
        let mut types = recorded("002-resource-types");
        types["Resources"].as_array_mut().unwrap().pop();
        types["Resources"][0]["schemaExtensions"] = json!([]);
        let read = |types: &Value| Abilities::read(None, Some(types), &Overrides::default());
        assert!(!read(&types).groups && !read(&types).enterprise);
        for (told, expected) in [
            ("/People/", "People"),
            ("https://other.example.test/Users", "Users"),
            ("", "Users"),
            ("/../x", "Users"),
        ] {
            types["Resources"][0]["endpoint"] = told.into();
            assert_eq!(read(&types).endpoint(Kind::User), expected, "{told}");
        }
    }
}
