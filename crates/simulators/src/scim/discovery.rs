//! What the service says about itself. RFC 7643, sections 5 to 7; RFC 7644, section 4.

use serde_json::{Value, json};

use super::Scim;
use super::lists::response;
use super::options::{ScimDiscovery, ScimMemberTypes, ScimOptions};
use super::refusal::Refusal;
use super::schema::{ENTERPRISE, Kind, published};
use crate::wire::Request;

const CONFIG: &str = "ServiceProviderConfig";
const TYPES: &str = "ResourceTypes";
const SCHEMAS: &str = "Schemas";

/// Whether it is an endpoint that tells of the service.
pub(super) fn is_discovery(segments: &[&str]) -> bool {
    segments.first().is_some_and(|name| [CONFIG, TYPES, SCHEMAS].contains(name))
}

impl Scim {
    pub(super) fn discover(&self, request: &Request, segments: &[&str]) -> Result<Value, Refusal> {
        let unknown = || Refusal::plain(404, format!("{} not found", segments.join("/")));
        let boasting;
        let options = match self.options.discovery {
            ScimDiscovery::Honest => &self.options,
            ScimDiscovery::Missing => return Err(unknown()),
            ScimDiscovery::Boasting => {
                boasting = ScimOptions::default();
                &boasting
            }
        };
        if request.method != "GET" {
            return Err(Refusal::method("GET"));
        }
        if request.query_value("filter").is_some() {
            return Err(Refusal::plain(403, "Discovery endpoints do not support filtering"));
        }
        let list = |all: Vec<Value>| response(all.len(), 1, all);
        let one = |all: Vec<Value>, id: &str| all.into_iter().find(|it| it["id"] == id).ok_or_else(unknown);
        match segments {
            [CONFIG] => Ok(self.config(options)),
            [TYPES] => Ok(list(self.types(options))),
            [TYPES, id] => one(self.types(options), id),
            [SCHEMAS] => Ok(list(self.schemas(options))),
            [SCHEMAS, id] => one(self.schemas(options), id),
            _ => Err(unknown()),
        }
    }

    fn config(&self, options: &ScimOptions) -> Value {
        let supported = |on: bool| json!({ "supported": on });
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "meta": { "resourceType": CONFIG, "location": format!("{}/{CONFIG}", self.base) },
            "patch": supported(options.patch),
            "bulk": {
                "supported": options.bulk_operations_max.is_some(),
                "maxOperations": options.bulk_operations_max.unwrap_or(0), "maxPayloadSize": options.bulk_bytes_max,
            },
            "filter": { "supported": options.filter, "maxResults": options.page_max },
            "changePassword": supported(false),
            "sort": supported(options.sort),
            "etag": supported(options.etag),
            "authenticationSchemes": [{
                "type": "oauthbearertoken", "name": "bearer_token", "description": "HTTP Bearer Token",
                "specUri": "https://datatracker.ietf.org/doc/html/rfc6750",
            }],
        })
    }

    fn types(&self, options: &ScimOptions) -> Vec<Value> {
        let one = |kind: Kind| {
            let name = kind.name();
            let mut one = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"], "id": name,
                "meta": { "resourceType": "ResourceType", "location": format!("{}/{TYPES}/{name}", self.base) },
                "name": name, "endpoint": format!("/{}", kind.endpoint()), "schema": kind.schema(),
            });
            if let Some(schema) = published(kind.schema()) {
                one["description"] = schema["description"].clone();
            }
            if kind == Kind::User && options.enterprise {
                one["schemaExtensions"] = json!([{ "schema": ENTERPRISE, "required": false }]);
            }
            one
        };
        options.kinds().map(one).collect()
    }

    fn schemas(&self, options: &ScimOptions) -> Vec<Value> {
        let ids = options.kinds().map(Kind::schema).chain(options.enterprise.then_some(ENTERPRISE));
        let one = |id: &str| {
            let mut schema = published(id)?.clone();
            if id == Kind::Group.schema() {
                say_member_types(&mut schema, options.member_types);
            }
            schema["meta"] =
                json!({ "resourceType": "Schema", "location": format!("{}/{SCHEMAS}/{id}", self.base) });
            Some(schema)
        };
        ids.filter_map(one).collect()
    }
}

/// Both places that say who can be a member say the same.
fn say_member_types(schema: &mut Value, types: ScimMemberTypes) {
    for (name, key) in [("type", "canonicalValues"), ("$ref", "referenceTypes")] {
        let members = schema["attributes"].as_array_mut().into_iter().flatten();
        let parts =
            members.filter(|it| it["name"] == "members").filter_map(|it| it["subAttributes"].as_array_mut());
        for part in parts.flatten().filter(|part| part["name"] == name) {
            match (types, part.as_object_mut()) {
                (ScimMemberTypes::Users, Some(part)) => part.insert(key.to_owned(), json!(["User"])),
                (ScimMemberTypes::Untold, Some(part)) => part.remove(key),
                (ScimMemberTypes::All, _) | (_, None) => None,
            };
        }
    }
}
