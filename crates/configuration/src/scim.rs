//! The settings of a SCIM service.

use secrecy::SecretString;
use url::Url;

use crate::connectors::{RequestLimits, limits};
use crate::reader::Reader;
use crate::secret::Need;

/// `[connector.scim]`
#[derive(Debug, Clone)]
pub struct Scim {
    /// The address, up to what stands before `/Users`.
    pub url: Url,
    /// The bearer token.
    pub token: SecretString,
    /// What bounds its requests.
    pub limits: RequestLimits,
    /// Resources in a page.
    pub page_resources_max: usize,
    /// Changes of members in a request.
    pub members_max: usize,
    /// Operations in a bulk request.
    pub bulk_operations_max: usize,
    /// Single requests side by side, where there is no bulk.
    pub parallel_max: usize,
    /// What it can, whatever it says itself.
    pub abilities: ScimAbilities,
}

/// `[connector.scim.abilities]`: none is left to what the service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScimAbilities {
    /// Changes by PATCH.
    pub patch: Option<bool>,
    /// Several operations in a request.
    pub bulk: Option<bool>,
    /// Filters.
    pub filter: Option<bool>,
    /// Sorted lists.
    pub sort: Option<bool>,
    /// Versions.
    pub etag: Option<bool>,
    /// Groups.
    pub groups: Option<bool>,
    /// The enterprise extension of users.
    pub enterprise: Option<bool>,
}

/// Whether something is so: the words, and what they mean.
pub(crate) const YES_OR_NO: [(&str, Option<bool>); 3] =
    [("auto", None), ("yes", Some(true)), ("no", Some(false))];

pub(crate) fn scim(reader: &mut Reader<'_>, need: Need) -> Option<Scim> {
    let mut section = reader.section("connector.scim");
    let url = section.url("url", &["https", "http"], need);
    let token = section.secret("token", need);
    let limits = limits(&mut section);
    let page_resources_max = section.integer("page_resources_max", 1..=10_000);
    let members_max = section.integer("members_max", 1..=10_000);
    let bulk_operations_max = section.integer("bulk_operations_max", 1..=10_000);
    let parallel_max = section.integer("parallel_max", 1..=256);
    let mut section = reader.section("connector.scim.abilities");
    let abilities = ScimAbilities {
        patch: section.word("patch", &YES_OR_NO),
        bulk: section.word("bulk", &YES_OR_NO),
        filter: section.word("filter", &YES_OR_NO),
        sort: section.word("sort", &YES_OR_NO),
        etag: section.word("etag", &YES_OR_NO),
        groups: section.word("groups", &YES_OR_NO),
        enterprise: section.word("enterprise", &YES_OR_NO),
    };
    Some(Scim {
        url: url?,
        token: token?,
        limits,
        page_resources_max,
        members_max,
        bulk_operations_max,
        parallel_max,
        abilities,
    })
}
