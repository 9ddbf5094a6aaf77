//! A target in memory, which sees to it that the flow keeps what the port asks of it; requests fail by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shared::fault::{Fault, FaultKind};
use shared::flow::Check;

use super::super::ids::{ExternalId, TargetId};
use super::super::model::{Group, User};
use super::super::record::{Attributes, Child, Field, GroupSide, UserSide, Value, differences};
use super::super::rules::Hierarchy;
use super::super::target::{MembersWritten, Page, Target, UserWritten};
use super::chance::{Chance, Fate};

/// Records on one page.
const PAGE: usize = 7;

#[derive(Debug, Default)]
pub struct Records {
    pub groups: BTreeMap<TargetId, Group>,
    pub users: BTreeMap<TargetId, User>,
    /// Requests that changed something.
    pub writes: u64,
    pub member_changes: u64,
    pub created: u64,
    versions: u64,
}

/// The target.
#[derive(Debug)]
pub struct MemoryTarget {
    pub records: Mutex<Records>,
    batch_max: usize,
    hangs: AtomicBool,
    /// Of so many requests one is refused for a second; of none where that is 0.
    throttles_every: AtomicU32,
    asked: AtomicU32,
    /// What it says of groups in groups: none of it where it does not answer.
    pub nesting: Mutex<Option<Option<bool>>>,
    pub nesting_asked: AtomicU32,
    chance: Arc<Chance>,
}

fn conflict() -> Fault {
    Fault::new(FaultKind::Conflict, "changed", "it is gone, or was changed since it was read")
}

impl Records {
    fn rise(&mut self) -> u64 {
        self.versions += 1;
        self.writes += 1;
        self.versions
    }

    pub fn group_side(&self, id: &TargetId) -> Option<GroupSide> {
        let group = self.groups.get(id)?;
        Some(GroupSide {
            target: id.clone(),
            version: Some(group.version.to_string()),
            external_id: group.external_id.clone()?,
            name: group.name.clone(),
        })
    }

    pub fn user_side(&self, id: &TargetId) -> Option<UserSide> {
        let user = self.users.get(id)?;
        Some(UserSide {
            target: id.clone(),
            version: Some(user.version.to_string()),
            external_id: user.external_id.clone()?,
            attributes: user.attributes.clone(),
        })
    }

    fn is_name_taken(&self, id: Option<&TargetId>, attributes: &Attributes) -> bool {
        let Some(Value::Text(name)) = attributes.get(&Field::UserName) else { return false };
        self.users.iter().filter(|(other, _)| Some(*other) != id).any(|(_, user)| {
            matches!(user.attributes.get(&Field::UserName), Some(Value::Text(theirs))
                if theirs.eq_ignore_ascii_case(name))
        })
    }
}

impl MemoryTarget {
    pub fn new(batch_max: usize, chance: Arc<Chance>) -> Self {
        Self {
            records: Mutex::default(),
            batch_max,
            hangs: AtomicBool::new(false),
            throttles_every: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            nesting: Mutex::new(Some(None)),
            nesting_asked: AtomicU32::new(0),
            chance,
        }
    }

    /// Writes are not answered, and not done, until this is over.
    pub fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Of so many requests, one is refused with the wish for a pause.
    pub fn throttle_every(&self, requests: u32) {
        self.throttles_every.store(requests, Ordering::SeqCst);
    }

    fn throttle(&self) -> Result<(), Fault> {
        let (asked, every) =
            (self.asked.fetch_add(1, Ordering::SeqCst) + 1, self.throttles_every.load(Ordering::SeqCst));
        let is_refused = every > 0 && asked.is_multiple_of(every);
        let after = Duration::from_secs(1);
        let fault = || Fault::new(FaultKind::Throttled { after }, "throttled", "fewer requests, please");
        if is_refused { Err(fault()) } else { Ok(()) }
    }

    async fn read<T>(&self, read: impl FnOnce(&Records) -> T + Send) -> Result<T, Fault> {
        self.chance.pause().await;
        self.throttle()?;
        if self.chance.fate() != Fate::Done {
            return Err(Fault::retryable("target_down", "the target does not answer"));
        }
        Ok(read(&self.records.lock().unwrap()))
    }

    async fn write<T>(
        &self,
        write: impl FnOnce(&mut Records) -> Result<T, Fault> + Send,
    ) -> Result<T, Fault> {
        self.chance.pause().await;
        while self.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.throttle()?;
        let fate = self.chance.fate();
        let lost = || Fault::retryable("target_down", "the target does not answer");
        if fate == Fate::FailsBefore {
            return Err(lost());
        }
        let written = write(&mut self.records.lock().unwrap());
        if fate == Fate::FailsAfter { Err(lost()) } else { written }
    }
}

#[async_trait]
impl Target for MemoryTarget {
    fn product(&self) -> &'static str {
        "memory"
    }

    async fn nesting_told(&self) -> Result<Option<bool>, Fault> {
        self.nesting_asked.fetch_add(1, Ordering::SeqCst);
        let told = *self.nesting.lock().unwrap();
        told.ok_or_else(|| Fault::retryable("upstream_failed", "it does not answer"))
    }

    async fn find_group(&self, external_id: &ExternalId) -> Result<Option<GroupSide>, Fault> {
        self.read(|records| {
            let mut groups = records.groups.iter();
            let found = groups.find(|(_, group)| group.external_id.as_ref() == Some(external_id));
            found.and_then(|(id, _)| records.group_side(id))
        })
        .await
    }

    async fn group(&self, id: &TargetId) -> Result<Option<GroupSide>, Fault> {
        self.read(|records| records.group_side(id)).await
    }

    async fn find_user(&self, external_id: &ExternalId) -> Result<Option<UserSide>, Fault> {
        self.read(|records| {
            let mut users = records.users.iter();
            let found = users.find(|(_, user)| user.external_id.as_ref() == Some(external_id));
            found.and_then(|(id, _)| records.user_side(id))
        })
        .await
    }

    async fn second_user(
        &self,
        external_id: &ExternalId,
        first: &TargetId,
    ) -> Result<Option<UserSide>, Fault> {
        self.read(|records| {
            let is_second = |user: &User| user.external_id.as_ref() == Some(external_id);
            let second = records.users.iter().find(|(id, user)| *id != first && is_second(user));
            second.and_then(|(id, _)| records.user_side(id))
        })
        .await
    }

    async fn user(&self, id: &TargetId) -> Result<Option<UserSide>, Fault> {
        self.read(|records| records.user_side(id)).await
    }

    async fn create_group(&self, external_id: &ExternalId, name: &str) -> Result<GroupSide, Fault> {
        self.write(|records| {
            let is_other = |group: &Group| group.external_id.as_ref() != Some(external_id);
            assert!(records.groups.values().all(is_other), "a second group: {external_id}");
            let version = records.rise();
            records.created += 1;
            let id = TargetId(format!("g{version:06}"));
            let external_id = Some(external_id.clone());
            let group = Group { external_id, name: name.to_owned(), members: BTreeSet::new(), version };
            records.groups.insert(id.clone(), group);
            Ok(records.group_side(&id).unwrap())
        })
        .await
    }

    async fn update_group(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        name: &str,
    ) -> Result<GroupSide, Fault> {
        self.write(|records| {
            let side = records.group_side(id);
            if side.is_none_or(|side| side.version.as_deref() != expected) {
                return Err(conflict());
            }
            let version = records.rise();
            let group = records.groups.get_mut(id).unwrap();
            assert_ne!(group.name, name, "a write without a change");
            group.name = name.to_owned();
            group.version = version;
            Ok(records.group_side(id).unwrap())
        })
        .await
    }

    async fn delete_group(&self, id: &TargetId) -> Result<(), Fault> {
        self.write(|records| {
            if records.groups.remove(id).is_some() {
                records.rise();
            }
            Ok(())
        })
        .await
    }

    async fn create_user(
        &self,
        external_id: &ExternalId,
        attributes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        self.write(|records| {
            let is_other = |user: &User| user.external_id.as_ref() != Some(external_id);
            assert!(records.users.values().all(is_other), "a second user: {external_id}");
            if records.is_name_taken(None, attributes) {
                return Ok(UserWritten::NameTaken);
            }
            let version = records.rise();
            records.created += 1;
            let id = TargetId(format!("u{version:06}"));
            let external_id = Some(external_id.clone());
            records.users.insert(id.clone(), User { external_id, attributes: attributes.clone(), version });
            Ok(UserWritten::Done(records.user_side(&id).unwrap()))
        })
        .await
    }

    async fn update_user(
        &self,
        id: &TargetId,
        expected: Option<&str>,
        external_id: &ExternalId,
        changes: &Attributes,
    ) -> Result<UserWritten, Fault> {
        self.write(|records| {
            if records.user_side(id).is_none_or(|side| side.version.as_deref() != expected) {
                return Err(conflict());
            }
            if records.is_name_taken(Some(id), changes) {
                return Ok(UserWritten::NameTaken);
            }
            let version = records.rise();
            let user = records.users.get_mut(id).unwrap();
            let is_same = user.external_id.as_ref() == Some(external_id)
                && differences(changes, &user.attributes).is_empty();
            assert!(!is_same, "a write without a change: {changes:?}");
            user.external_id = Some(external_id.clone());
            user.attributes.extend(changes.clone());
            user.version = version;
            Ok(UserWritten::Done(records.user_side(id).unwrap()))
        })
        .await
    }

    async fn delete_user(&self, id: &TargetId) -> Result<(), Fault> {
        self.write(|records| {
            let is_member = records.groups.values().any(|group| group.members.contains(id));
            assert!(!is_member, "deleted while it is a member of a group");
            if records.users.remove(id).is_some() {
                records.rise();
            }
            Ok(())
        })
        .await
    }

    async fn change_members(
        &self,
        group: &TargetId,
        add: &[(Child, TargetId)],
        remove: &[(Child, TargetId)],
    ) -> Result<MembersWritten, Fault> {
        assert!(add.len() + remove.len() <= self.batch_max);
        self.write(|records| {
            records.rise();
            records.member_changes += 1;
            let Some(group) = records.groups.get_mut(group) else { return Ok(MembersWritten::GroupGone) };
            group.members.extend(add.iter().map(|(_, target)| target.clone()));
            group.members.retain(|id| remove.iter().all(|(_, other)| other != id));
            Ok(MembersWritten::Done)
        })
        .await
    }

    async fn members_of(&self, group: &TargetId) -> Result<Option<BTreeSet<TargetId>>, Fault> {
        self.read(|records| records.groups.get(group).map(|group| group.members.clone())).await
    }

    async fn groups(&self, cursor: Option<&str>) -> Result<Page<GroupSide>, Fault> {
        self.read(|records| page(records.groups.keys(), cursor, |id| records.group_side(id))).await
    }

    async fn users(&self, cursor: Option<&str>) -> Result<Page<UserSide>, Fault> {
        self.read(|records| page(records.users.keys(), cursor, |id| records.user_side(id))).await
    }

    async fn check(&self, _: Hierarchy) -> Vec<Check> {
        Vec::new()
    }
}

fn page<'a, T>(
    ids: impl Iterator<Item = &'a TargetId>,
    cursor: Option<&str>,
    side: impl Fn(&TargetId) -> Option<T>,
) -> Page<T> {
    let mut rest = ids.filter(|id| cursor.is_none_or(|cursor| id.0.as_str() > cursor)).peekable();
    let ids: Vec<&TargetId> = rest.by_ref().take(PAGE).collect();
    let next = rest.peek().and(ids.last()).map(|id| id.0.clone());
    Page { records: ids.into_iter().filter_map(side).collect(), next }
}
