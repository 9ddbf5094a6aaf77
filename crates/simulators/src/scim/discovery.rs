//! What the service says about itself. RFC 7643, sections 5 and 6.

use serde_json::{Value, json};

use super::Scim;
use super::lists::response;
use super::options::{ScimDiscovery, ScimOptions};
use super::refusal::Refusal;
use super::schema::{ENTERPRISE, Kind};

impl Scim {
    pub(super) fn discover(&self, name: &str) -> Result<Value, Refusal> {
        let boasting;
        let options = match self.options.discovery {
            ScimDiscovery::Honest => &self.options,
            ScimDiscovery::Missing => return Err(Refusal::plain(404, format!("{name} not found"))),
            ScimDiscovery::Boasting => {
                boasting = ScimOptions::default();
                &boasting
            }
        };
        match name {
            "ServiceProviderConfig" => Ok(self.config(options)),
            "ResourceTypes" => {
                let types: Vec<Value> = self.types(options);
                Ok(response(types.len(), 1, types))
            }
            _ => {
                let mut schemas: Vec<Value> = Kind::ALL.map(|kind| schema(kind.schema(), kind.name())).into();
                schemas.extend(options.enterprise.then(|| schema(ENTERPRISE, "EnterpriseUser")));
                Ok(response(schemas.len(), 1, schemas))
            }
        }
    }

    fn config(&self, options: &ScimOptions) -> Value {
        let supported = |on: bool| json!({ "supported": on });
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "meta": {
                "resourceType": "ServiceProviderConfig", "location": format!("{}/ServiceProviderConfig", self.base),
            },
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
            }],
        })
    }

    fn types(&self, options: &ScimOptions) -> Vec<Value> {
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind == Kind::User || options.groups);
        let one = |kind: Kind| {
            let mut one = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"], "id": kind.name(),
                "meta": {
                    "resourceType": "ResourceType", "location": format!("{}/ResourceTypes/{}", self.base, kind.name()),
                },
                "name": kind.name(), "endpoint": format!("/{}", kind.endpoint()), "schema": kind.schema(),
            });
            if kind == Kind::User && options.enterprise {
                one["schemaExtensions"] = json!([{ "schema": ENTERPRISE, "required": false }]);
            }
            one
        };
        kinds.map(one).collect()
    }
}

/// Without its attributes: no client of ours asks for them.
fn schema(id: &str, name: &str) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": id, "name": name, "attributes": [] })
}
