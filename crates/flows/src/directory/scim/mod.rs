//! A SCIM 2.0 service as target: departments are groups, members are users.
//!
//! Who leads a department ([`Field::Leads`]) has no place in RFC 7643: `roles` and `entitlements` mean rights at many
//! services, which nobody gets because of a department. Managers have theirs, in the enterprise extension.

mod check;
mod wire;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use connector_scim::{
    Created, GroupKey, GroupPatch, Member, MemberChange, MemberList, Scim, User, UserKey, Written,
};
use shared::fault::{Fault, FaultKind};
use shared::flow::Check;
use shared::ports::state::State;

use super::ids::{ExternalId, TargetId};
use super::record::{Attributes, Child, Field, GroupSide, UserSide, Value};
use super::rules::Hierarchy;
use super::target::{MembersWritten, Page, Target, UserWritten};

/// What the enterprise extension has.
const ENTERPRISE_FIELDS: [Field; 4] =
    [Field::Department, Field::Division, Field::EmployeeNumber, Field::Manager];

/// A SCIM service as the flow's target.
pub struct ScimTarget {
    scim: Scim,
    state: Arc<dyn State>,
    without: BTreeSet<Field>,
}

impl fmt::Debug for ScimTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScimTarget").field("scim", &self.scim).finish_non_exhaustive()
    }
}

impl ScimTarget {
    /// `state` has the lease under which nesting is tried. `has_enterprise`: whether its users are to be written with the
    /// enterprise extension.
    pub fn new(scim: Scim, state: Arc<dyn State>, has_enterprise: bool) -> Self {
        let without = ENTERPRISE_FIELDS.into_iter().filter(|_| !has_enterprise);
        Self { scim, state, without: without.chain([Field::Leads]).collect() }
    }

    /// What it has a place for, of what is to be written.
    async fn kept(&self, attributes: &Attributes) -> Result<Attributes, Fault> {
        let has_enterprise = self.scim.abilities().await?.enterprise;
        let is_kept = |field: &Field| {
            !self.without.contains(field) && (has_enterprise || !ENTERPRISE_FIELDS.contains(field))
        };
        Ok(attributes.iter().filter(|(field, _)| is_kept(field)).map(|(f, v)| (*f, v.clone())).collect())
    }

    /// The users with an external id: as a rule one.
    async fn users_of(&self, external_id: &ExternalId) -> Result<Vec<UserSide>, Fault> {
        let found = self.scim.find_users(UserKey::ExternalId(&external_id.to_string())).await?;
        Ok(found.iter().filter_map(wire::user_side).collect())
    }

    /// Who has the login name, in any case.
    async fn holders(&self, attributes: &Attributes) -> Result<Vec<User>, Fault> {
        match attributes.get(&Field::UserName) {
            Some(Value::Text(name)) => self.scim.find_users(UserKey::UserName(name)).await,
            _ => Ok(Vec::new()),
        }
    }
}

/// One id is one record: of twins everybody takes the same.
fn smallest<T>(found: impl Iterator<Item = T>, id: impl Fn(&T) -> TargetId) -> Option<T> {
    found.min_by_key(id)
}

fn moved_on(what: &str, id: &TargetId) -> Fault {
    let text = format!(
        "The SCIM {what} {id} was changed or taken away since it was read; it is read and planned again."
    );
    Fault::new(FaultKind::Conflict, "modified", text)
}

fn taken(what: &str, hint: &str) -> Fault {
    let text = format!(
        "The SCIM service has a {what} that must not be there twice (409), under a name or an address of ours: {hint}."
    );
    Fault::permanent("taken", text)
}

fn taken_user() -> Fault {
    taken(
        "user",
        "the login name is free, so look for the mail address or the number, also among deleted users",
    )
}

fn taken_group() -> Fault {
    taken(
        "group",
        "let departments be called by their paths in the settings, or rename the other group there",
    )
}

/// Where a page starts.
fn position(cursor: Option<&str>) -> Result<u64, Fault> {
    let Some(cursor) = cursor else { return Ok(1) };
    let bug = |_| Fault::bug("cursor_invalid", "A cursor of a SCIM list is none: begin the list anew.");
    cursor.parse().map_err(bug)
}

#[async_trait]
impl Target for ScimTarget {
    fn product(&self) -> &'static str {
        "SCIM"
    }

    fn without(&self) -> BTreeSet<Field> {
        self.without.clone()
    }

    async fn find_group(&self, external_id: &ExternalId) -> Result<Option<GroupSide>, Fault> {
        let found = self.scim.find_groups(GroupKey::ExternalId(&external_id.to_string())).await?;
        Ok(smallest(found.iter().filter_map(wire::group_side), |side| side.target.clone()))
    }

    async fn group(&self, id: &TargetId) -> Result<Option<GroupSide>, Fault> {
        let read = self.scim.group(&id.0, MemberList::LeftOut).await?;
        Ok(read.as_ref().and_then(wire::group_side))
    }

    async fn find_user(&self, external_id: &ExternalId) -> Result<Option<UserSide>, Fault> {
        Ok(smallest(self.users_of(external_id).await?.into_iter(), |side| side.target.clone()))
    }

    async fn second_user(
        &self,
        external_id: &ExternalId,
        first: &TargetId,
    ) -> Result<Option<UserSide>, Fault> {
        let others = self.users_of(external_id).await?.into_iter().filter(|side| side.target != *first);
        Ok(smallest(others, |side| side.target.clone()))
    }

    async fn user(&self, id: &TargetId) -> Result<Option<UserSide>, Fault> {
        Ok(self.scim.user(&id.0).await?.as_ref().and_then(wire::user_side))
    }

    async fn create_group(&self, external_id: &ExternalId, name: &str) -> Result<GroupSide, Fault> {
        let group = GroupPatch::default().external_id(&external_id.to_string()).display_name(name);
        match self.scim.create_group(&group).await? {
            Created::Done(group) => Ok(GroupSide {
                target: TargetId(group.id().to_owned()),
                version: group.version().map(str::to_owned),
                external_id: external_id.clone(),
                name: name.to_owned(),
            }),
            // Of an earlier try whose answer was lost.
            Created::Taken => self.find_group(external_id).await?.ok_or_else(taken_group),
        }
    }

    async fn update_group(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        name: &str,
    ) -> Result<GroupSide, Fault> {
        let present = self.group(id).await?.ok_or_else(|| moved_on("group", id))?;
        let patch = GroupPatch::default().display_name(name);
        let version = expected.or(present.version.as_deref());
        match self.scim.update_group(&id.0, version, &patch).await? {
            Written::Done { version } => Ok(GroupSide { version, name: name.to_owned(), ..present }),
            Written::Changed | Written::Gone => Err(moved_on("group", id)),
            Written::Taken => Err(taken_group()),
        }
    }

    async fn delete_group(&self, id: &TargetId) -> Result<(), Fault> {
        match self.group(id).await? {
            Some(_) => self.scim.delete_group(&id.0).await,
            None => Ok(()),
        }
    }

    async fn create_user(
        &self,
        external_id: &ExternalId,
        attributes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        let kept = self.kept(attributes).await?;
        let patch = wire::user_patch(&kept, None).external_id(&external_id.to_string());
        if let Created::Done(user) = self.scim.create_user(&patch).await? {
            return Ok(UserWritten::Done(wire::written(external_id, attributes, &user)));
        }
        if let Some(side) = self.find_user(external_id).await? {
            // Of an earlier try whose answer was lost.
            return Ok(UserWritten::Done(side));
        }
        match self.holders(attributes).await?.is_empty() {
            true => Err(taken_user()),
            false => Ok(UserWritten::NameTaken),
        }
    }

    async fn update_user(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        external_id: &ExternalId,
        changes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        let gone = || moved_on("user", id);
        // Addresses and numbers are written as whole lists, in which others may have some of their own.
        let present = self.scim.user(&id.0).await?.ok_or_else(gone)?;
        wire::user_side(&present).ok_or_else(gone)?;
        let kept = self.kept(changes).await?;
        let patch = wire::user_patch(&kept, Some(&present)).external_id(&external_id.to_string());
        let version = expected.or(present.version());
        match self.scim.update_user(&id.0, version, &patch.differing(&present)).await? {
            Written::Done { version } => {
                let side = wire::written(external_id, changes, &present);
                return Ok(UserWritten::Done(UserSide { version, ..side }));
            }
            Written::Changed | Written::Gone => return Err(gone()),
            Written::Taken => {}
        }
        if self.find_user(external_id).await?.is_some_and(|other| other.target != *id) {
            // Not the login name: another account of the same member came in between.
            return Err(gone());
        }
        match self.holders(changes).await?.iter().any(|user| user.id() != id.0) {
            true => Ok(UserWritten::NameTaken),
            false => Err(taken_user()),
        }
    }

    async fn delete_user(&self, id: &TargetId) -> Result<(), Fault> {
        match self.user(id).await? {
            Some(_) => self.scim.delete_user(&id.0).await,
            None => Ok(()),
        }
    }

    async fn change_members(
        &self,
        group: &TargetId,
        add: &[(Child, TargetId)],
        remove: &[(Child, TargetId)],
    ) -> Result<MembersWritten, Fault> {
        let member = |(child, id): &(Child, TargetId)| match child {
            Child::Member(_) => Member::user(&id.0),
            Child::Department(_) => Member::group(&id.0),
        };
        let change = MemberChange {
            add: add.iter().map(member).collect(),
            remove: remove.iter().map(|(_, id)| id.0.clone()).collect(),
        };
        // Whoever took our id away from it has taken it over.
        if self.group(group).await?.is_none() {
            return Ok(MembersWritten::GroupGone);
        }
        match self.scim.change_members(&group.0, &change).await? {
            Written::Done { .. } => Ok(MembersWritten::Done),
            Written::Changed => Err(moved_on("group", group)),
            Written::Taken => Err(taken("group", "it refuses a change of members; see its log")),
            Written::Gone if self.group(group).await?.is_none() => Ok(MembersWritten::GroupGone),
            // Some say so of a member that they do not know.
            Written::Gone => {
                let text = format!(
                    "The SCIM service does not find what is to become a member of group {group}, or to leave it; \
                     the next run looks for it."
                );
                Err(Fault::retryable("member_unknown", text))
            }
        }
    }

    async fn members_of(&self, group: &TargetId) -> Result<Option<BTreeSet<TargetId>>, Fault> {
        let read = self.scim.group(&group.0, MemberList::Read).await?;
        let own = read.filter(|group| wire::group_side(group).is_some());
        Ok(own.map(|group| group.members().into_iter().map(|member| TargetId(member.id)).collect()))
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<GroupSide>, Fault> {
        let mut list = self.scim.groups(MemberList::LeftOut).starting_at(position(cursor)?);
        let page = list.next_page().await?.unwrap_or_default();
        let records = page.iter().filter_map(wire::group_side).collect();
        Ok(Page { records, next: list.position().map(|next| next.to_string()) })
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<UserSide>, Fault> {
        let mut list = self.scim.users().starting_at(position(cursor)?);
        let page = list.next_page().await?.unwrap_or_default();
        let records = page.iter().filter_map(wire::user_side).collect();
        Ok(Page { records, next: list.position().map(|next| next.to_string()) })
    }

    async fn writes_whole(&self) -> Result<bool, Fault> {
        self.scim.writes_whole().await
    }

    async fn nesting_told(&self) -> Result<Option<bool>, Fault> {
        self.scim.nesting_told().await
    }

    async fn check(&self, hierarchy: Hierarchy) -> Vec<Check> {
        self.check_all(hierarchy).await
    }

    async fn leave(&self) {
        self.scim.leave().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_starts_where_the_one_before_ended() {
        assert_eq!(position(None), Ok(1));
        assert_eq!(position(Some("51")), Ok(51));
        assert_eq!(position(Some("x")).unwrap_err().code, "cursor_invalid");
    }
}
