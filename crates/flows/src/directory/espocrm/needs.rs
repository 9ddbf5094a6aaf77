//! What the flow needs of EspoCRM: the one description that `doctor` checks and `syncfleet provision` makes.
//!
//! Whose a user is stands in a field of our own. EspoCRM takes no fields for Team (its scope is not customizable), so whose a
//! team is stands as an entry of its `positionList`, which every Team has, is written with the team in one request, and can be
//! searched.

use connector_espocrm::provision::{EntityNeed, FieldNeed, Needs};
use connector_espocrm::{EntityType, IdError};
use serde_json::json;

use crate::crm_checks::VERSION_MIN;

/// Where a user's external id stands.
pub(super) const EXTERNAL_ID: &str = "cWecomId";
/// Where a team's external id stands, as one of the entries.
pub(super) const POSITIONS: &str = "positionList";
/// Longest external id: `wecom:user:` and a userid, with room.
const EXTERNAL_ID_CHARS_MAX: u32 = 100;

/// Everything that the flow needs. Rights are none: only an administrator has them.
pub(super) fn needs() -> Result<Needs, IdError> {
    let definition = json!({ "type": "varchar", "label": "WeCom", "maxLength": EXTERNAL_ID_CHARS_MAX });
    let field = FieldNeed::custom("wecomId", definition).length_min(EXTERNAL_ID_CHARS_MAX);
    let user = EntityNeed { name: EntityType::new("User")?, template: None, fields: vec![field] };
    Ok(Needs { version_min: VERSION_MIN, entities: vec![user], rights: Vec::new(), webhooks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_read_under_the_name_that_it_gets() {
        let needs = needs().unwrap();
        let user = &needs.entities[0];
        assert_eq!(user.attribute(&user.fields[0]), EXTERNAL_ID);
    }
}
