//! A target as the flow needs it: groups with members, and users. Only records that carry our prefix are ever answered or
//! written.

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;
use shared::fault::Fault;
use shared::flow::Check;

use super::ids::{ExternalId, TargetId};
use super::record::{Attributes, Child, Field, GroupSide, UserSide};
use super::rules::Hierarchy;

/// What became of writing a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserWritten {
    /// The user as it is now.
    Done(UserSide),
    /// Nothing was written: somebody else has the login name.
    NameTaken,
}

/// What became of changing a group's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembersWritten {
    /// It is done. Who was in already, or was not, is no error.
    Done,
    /// Nothing was written: the group is gone.
    GroupGone,
}

/// A page of a list, in no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Those of it that are ours.
    pub records: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next: Option<String>,
}

/// Where groups and users are kept.
///
/// Everything may be repeated, but for the two that create: they are called under the lease of the external id, after a
/// search that found nothing.
#[async_trait]
pub trait Target: Send + Sync + Debug {
    /// The product's name, for texts: `SCIM`, `EspoCRM`.
    fn product(&self) -> &'static str;

    /// Fields that it has no place for: [`super::rules::Rules::without`].
    fn without(&self) -> BTreeSet<Field> {
        BTreeSet::new()
    }

    /// Finds the group with this external id; with several of them, the one with the smallest id.
    ///
    /// # Errors
    /// The connector's fault; so do all others.
    async fn find_group(&self, external_id: &ExternalId) -> Result<Option<GroupSide>, Fault>;

    /// Reads a group, without its members; none where it is gone or not ours.
    async fn group(&self, id: &TargetId) -> Result<Option<GroupSide>, Fault>;

    /// Finds the user with this external id; with several of them, the one with the smallest id.
    async fn find_user(&self, external_id: &ExternalId) -> Result<Option<UserSide>, Fault>;

    /// Finds another user with the external id of this one: of several, the one with the smallest id.
    async fn second_user(
        &self,
        external_id: &ExternalId,
        first: &TargetId,
    ) -> Result<Option<UserSide>, Fault>;

    /// Reads a user; none where it is gone or not ours.
    async fn user(&self, id: &TargetId) -> Result<Option<UserSide>, Fault>;

    /// Creates a group.
    async fn create_group(&self, external_id: &ExternalId, name: &str) -> Result<GroupSide, Fault>;

    /// Renames a group. A [`shared::fault::FaultKind::Conflict`] where it is gone, or is not at `expected` any more.
    async fn update_group(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        name: &str,
    ) -> Result<GroupSide, Fault>;

    /// Deletes a group; where it is gone, that is done.
    async fn delete_group(&self, id: &TargetId) -> Result<(), Fault>;

    /// Creates a user.
    async fn create_user(
        &self,
        external_id: &ExternalId,
        attributes: &Attributes,
    ) -> Result<UserWritten, Fault>;

    /// Writes attributes of a user, and its external id where that is another one. A conflict as with
    /// [`Self::update_group`].
    async fn update_user(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        external_id: &ExternalId,
        changes: &Attributes,
    ) -> Result<UserWritten, Fault>;

    /// Deletes a user; where it is gone, that is done.
    async fn delete_user(&self, id: &TargetId) -> Result<(), Fault>;

    /// Adds members to a group and takes some away, in one request where the target can.
    async fn change_members(
        &self,
        group: &TargetId,
        add: &[(Child, TargetId)],
        remove: &[(Child, TargetId)],
    ) -> Result<MembersWritten, Fault>;

    /// The ids of a group's members, users and groups, ours or not; none where the group is gone or not ours.
    async fn members_of(&self, group: &TargetId) -> Result<Option<BTreeSet<TargetId>>, Fault>;

    /// A page of all groups, from the beginning without a cursor.
    async fn groups(&self, cursor: Option<&str>) -> Result<Page<GroupSide>, Fault>;

    /// A page of all users, from the beginning without a cursor.
    async fn users(&self, cursor: Option<&str>) -> Result<Page<UserSide>, Fault>;

    /// Whether a change of a record may write all of it as it was read: then only one run at a time may change it.
    async fn writes_whole(&self) -> Result<bool, Fault> {
        Ok(false)
    }

    /// Whether groups can be in groups, by its own word; none where it says nothing of it.
    async fn nesting_told(&self) -> Result<Option<bool>, Fault> {
        Ok(None)
    }

    /// Looks at what the flow needs of it with this hierarchy: rights, attributes, whether it takes groups within groups.
    async fn check(&self, hierarchy: Hierarchy) -> Vec<Check>;

    /// Gives back what this process holds in the fleet.
    async fn leave(&self) {}
}
