//! What the flow `directory` expects of whatever target.

use std::collections::BTreeSet;

use async_trait::async_trait;
use flows::directory::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use flows::directory::record::{Attributes, Child, Field, UserSide, Value, differences};
use flows::directory::rules::Hierarchy;
use flows::directory::target::{MembersWritten, Page, Target, UserWritten};
use shared::fault::{Fault, FaultKind};
use shared::flow::Verdict;

/// What differs between targets by their nature.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// Whether a write can be told to be of what was read.
    pub has_versions: bool,
    /// Whether groups can be in groups.
    pub nests: bool,
    /// All that a member may say, as the plan wants it of this target.
    pub attributes: fn(userid: &str) -> Attributes,
}

/// What others do to the target.
#[async_trait]
pub trait Others: Sync {
    /// Makes a user, unless the target keeps external ids unique.
    async fn create_user(&self, login: &str, external_id: &str) -> Option<TargetId>;
    async fn create_group(&self, name: &str, external_id: &str) -> TargetId;
    /// A user's external id, and whether it may log in.
    async fn user(&self, id: &TargetId) -> Option<(String, bool)>;
    async fn has_group(&self, id: &TargetId) -> bool;
    async fn delete_group(&self, id: &TargetId);
    /// Time passes, so that what is written now is written later.
    fn wait(&self);
}

/// A target, to see whether it keeps to the contract.
pub struct Contract<'a> {
    pub target: &'a dyn Target,
    pub others: &'a dyn Others,
    pub nature: Nature,
}

pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub fn member_id(userid: &str) -> MemberId {
    MemberId::new(userid).unwrap()
}

pub fn of_member(userid: &str) -> ExternalId {
    ExternalId::Member(member_id(userid))
}

pub fn of_department(id: u32) -> ExternalId {
    ExternalId::Department(DepartmentId(id))
}

pub fn done(written: UserWritten) -> UserSide {
    match written {
        UserWritten::Done(side) => side,
        UserWritten::NameTaken => panic!("the name is taken"),
    }
}

fn nobody() -> TargetId {
    TargetId("nobody".to_owned())
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, Fault>) {
    assert_eq!(result.unwrap_err().kind, FaultKind::Conflict);
}

async fn everything<T>(page: impl AsyncFn(Option<String>) -> Page<T>) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let Page { records, next } = page(cursor).await;
        all.extend(records);
        match next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

impl Contract<'_> {
    /// Plays all of it, on an empty target.
    pub async fn is_kept(&self) {
        self.groups().await;
        let users = self.users().await;
        self.members(&users).await;
        self.others(&users).await;
        self.twins().await;
        self.leaver().await;
        self.checks().await;
        for user in &users {
            self.target.delete_user(user).await.unwrap();
            self.target.delete_user(user).await.unwrap();
            assert_eq!(self.target.user(user).await, Ok(None));
        }
        let groups = everything(async |cursor| self.target.groups(cursor.as_deref()).await.unwrap()).await;
        assert_eq!(groups.len(), 1, "the checks leave nothing behind");
        self.target.leave().await;
    }

    fn attributes(&self, userid: &str) -> Attributes {
        let mut all = (self.nature.attributes)(userid);
        let without = self.target.without();
        all.retain(|field, _| !without.contains(field));
        all
    }

    /// What this member would log in with.
    fn login(&self, userid: &str) -> Attributes {
        let mut all = self.attributes(userid);
        all.retain(|field, _| *field == Field::UserName);
        all
    }

    async fn reads(&self, side: &UserSide, wanted: &Attributes) -> UserSide {
        let read = self.target.user(&side.target).await.unwrap().unwrap();
        assert_eq!(differences(wanted, &read.attributes), Attributes::new(), "{read:?}");
        assert_eq!((&read.version, &read.external_id), (&side.version, &side.external_id));
        read
    }

    async fn groups(&self) {
        let target = self.target;
        assert_eq!(target.find_group(&of_department(1)).await, Ok(None));
        let root = target.create_group(&of_department(1), "示例科技").await.unwrap();
        assert_eq!(target.find_group(&of_department(1)).await.unwrap().as_ref(), Some(&root));
        assert_eq!(target.group(&root.target).await.unwrap().as_ref(), Some(&root));
        assert_eq!(root.version.is_some(), self.nature.has_versions);
        self.others.wait();
        let renamed = target.update_group(&root.target, root.version.as_deref(), "示例").await.unwrap();
        assert_eq!(target.group(&root.target).await.unwrap(), Some(renamed));
        let stale = target.update_group(&root.target, root.version.as_deref(), "stale").await;
        match self.nature.has_versions {
            true => is_conflict(stale),
            false => assert_eq!(stale.unwrap().name, "stale"),
        }
        is_conflict(target.update_group(&nobody(), None, "x").await);
        assert_eq!(target.group(&nobody()).await, Ok(None));
        assert_eq!(target.members_of(&nobody()).await, Ok(None));
        target.delete_group(&nobody()).await.unwrap();
    }

    async fn users(&self) -> Vec<TargetId> {
        let target = self.target;
        let (wanted, zhangsan) = (self.attributes("ZhangSan"), of_member("zhangsan"));
        assert_eq!(target.find_user(&zhangsan).await, Ok(None));
        let made = done(target.create_user(&zhangsan, &wanted).await.unwrap());
        self.reads(&made, &wanted).await;
        assert_eq!(target.find_user(&zhangsan).await.unwrap().unwrap().target, made.target);

        // Somebody else's login is taken, in any case.
        let other = target.create_user(&of_member("other"), &self.attributes("zhangsan")).await;
        assert_eq!(other, Ok(UserWritten::NameTaken));
        let lisi = done(target.create_user(&of_member("lisi"), &self.attributes("lisi")).await.unwrap());

        // Some of it changes, some is emptied; the rest stays.
        self.others.wait();
        let mut changes = Attributes::from([
            (Field::WorkMail, text("new@example.test")),
            (Field::OtherMail, text("")),
            (Field::Title, text("")),
            (Field::GivenName, text("叁")),
            (Field::Active, Value::Flag(false)),
            (Field::Manager, text(&lisi.target.0)),
        ]);
        changes.retain(|field, _| !target.without().contains(field));
        let version = made.version.as_deref();
        let changed = done(target.update_user(&made.target, version, &zhangsan, &changes).await.unwrap());
        let mut now = wanted.clone();
        now.extend(changes);
        assert_eq!(differences(&now, &changed.attributes), Attributes::new());
        let read = self.reads(&changed, &now).await;
        assert_eq!(differences(&read.attributes, &changed.attributes), Attributes::new());
        let stale = target.update_user(&made.target, version, &zhangsan, &wanted).await;
        match self.nature.has_versions {
            true => is_conflict(stale),
            false => drop(stale.unwrap()),
        }

        // The userid changes; a login that is somebody's is not to be had.
        let (login, new) = (self.login("zhangsan001"), of_member("zhangsan001"));
        let moved = done(target.update_user(&made.target, None, &new, &login).await.unwrap());
        let before = self.reads(&moved, &login).await;
        assert_eq!(target.find_user(&zhangsan).await, Ok(None));
        assert_eq!(target.find_user(&new).await.unwrap().unwrap().target, made.target);
        let mut taken = self.login("LiSi");
        taken.insert(Field::Title, text("must not stick"));
        let written = target.update_user(&made.target, None, &new, &taken).await;
        assert_eq!(written, Ok(UserWritten::NameTaken));
        assert_eq!(self.reads(&moved, &login).await, before);
        is_conflict(target.update_user(&nobody(), None, &new, &login).await);
        assert_eq!(target.user(&nobody()).await, Ok(None));
        target.delete_user(&nobody()).await.unwrap();
        vec![made.target, lisi.target]
    }

    async fn members(&self, users: &[TargetId]) {
        let target = self.target;
        let group = target.find_group(&of_department(1)).await.unwrap().unwrap().target;
        let below = target.create_group(&of_department(2), "研发中心").await.unwrap().target;
        let user = |at: usize| (Child::Member(member_id("m")), users[at].clone());
        let nested = (Child::Department(DepartmentId(2)), below.clone());
        let absent = (Child::Member(member_id("x")), nobody());
        let mut add = vec![user(0), user(1)];
        let mut expected: BTreeSet<TargetId> = users.iter().cloned().collect();
        assert_eq!(target.members_of(&group).await, Ok(Some(BTreeSet::new())));
        if self.nature.nests {
            add.push(nested);
            expected.insert(below.clone());
        }
        for _ in 0..2 {
            assert_eq!(target.change_members(&group, &add, &[]).await, Ok(MembersWritten::Done));
            assert_eq!(target.members_of(&group).await, Ok(Some(expected.clone())));
        }
        let removed = target.change_members(&group, &[user(1)], &[user(0), absent.clone()]).await;
        assert_eq!(removed, Ok(MembersWritten::Done));
        expected.remove(&users[0]);
        assert_eq!(target.members_of(&group).await, Ok(Some(expected)));
        assert_eq!(target.change_members(&nobody(), &add, &[]).await, Ok(MembersWritten::GroupGone));
        let gone = target.change_members(&nobody(), &[], std::slice::from_ref(&absent)).await;
        assert_eq!(gone, Ok(MembersWritten::GroupGone));
        for _ in 0..2 {
            target.delete_group(&below).await.unwrap();
        }
        assert_eq!(target.find_group(&of_department(2)).await, Ok(None));
        assert_eq!(target.change_members(&below, &[user(1)], &[]).await, Ok(MembersWritten::GroupGone));
    }

    /// What has not our prefix is nobody's business here.
    async fn others(&self, ours: &[TargetId]) {
        let target = self.target;
        let boss = self.others.create_user("boss", "other:user:boss").await.unwrap();
        let probe = self.others.create_group("probe", "syncfleet:probe:parent").await;
        assert_eq!((target.user(&boss).await, target.group(&probe).await), (Ok(None), Ok(None)));
        assert_eq!(target.members_of(&probe).await, Ok(None));
        let inactive = Attributes::from([(Field::Active, Value::Flag(false))]);
        is_conflict(target.update_user(&boss, None, &of_member("boss"), &inactive).await);
        is_conflict(target.update_group(&probe, None, "mine").await);
        let member = [(Child::Member(member_id("boss")), boss.clone())];
        assert_eq!(target.change_members(&probe, &member, &[]).await, Ok(MembersWritten::GroupGone));
        target.delete_user(&boss).await.unwrap();
        target.delete_group(&probe).await.unwrap();
        assert_eq!(self.others.user(&boss).await, Some(("other:user:boss".to_owned(), true)));
        assert!(self.others.has_group(&probe).await);

        let users = everything(async |cursor| target.users(cursor.as_deref()).await.unwrap()).await;
        let found: Vec<TargetId> = users.into_iter().map(|side| side.target).collect();
        assert_eq!(found.len(), ours.len(), "each once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), ours.iter().cloned().collect());
        let groups = everything(async |cursor| target.groups(cursor.as_deref()).await.unwrap()).await;
        let found: Vec<ExternalId> = groups.into_iter().map(|side| side.external_id).collect();
        assert_eq!(found, [of_department(1)]);
        self.others.delete_group(&probe).await;
    }

    /// A second user with one external id is found beside the first.
    async fn twins(&self) {
        let (target, twin) = (self.target, of_member("twin"));
        let mut twins = Vec::new();
        for name in ["twin1", "twin2"] {
            twins.extend(self.others.create_user(name, "wecom:user:twin").await);
        }
        twins.sort();
        let first = target.find_user(&twin).await.unwrap().unwrap().target;
        assert_eq!(first, twins[0]);
        // A service that keeps external ids unique refused the second one.
        let second = target.second_user(&twin, &first).await.unwrap().map(|side| side.target);
        assert_eq!(second.as_ref(), twins.get(1));
        for target_id in &twins {
            target.delete_user(target_id).await.unwrap();
        }
        assert_eq!(target.second_user(&twin, &first).await, Ok(None));
    }

    /// Whoever left is kept under another external id, and whoever comes back with the userid is another one.
    async fn leaver(&self) {
        let (target, left) = (self.target, of_member("left"));
        let made = done(target.create_user(&left, &self.attributes("left")).await.unwrap());
        let retired = ExternalId::Retired(made.target.clone());
        let mut changes = self.login("left.retired");
        changes.insert(Field::Active, Value::Flag(false));
        let version = made.version.as_deref();
        let kept = done(target.update_user(&made.target, version, &retired, &changes).await.unwrap());
        assert_eq!((&kept.target, &kept.external_id), (&made.target, &retired));
        self.reads(&kept, &changes).await;
        assert_eq!(target.find_user(&left).await, Ok(None));
        assert_eq!(target.find_user(&retired).await.unwrap().unwrap().target, made.target);
        let again = done(target.create_user(&left, &self.attributes("left")).await.unwrap());
        assert_ne!(again.target, made.target);
        for id in [again.target, made.target] {
            target.delete_user(&id).await.unwrap();
        }
    }

    async fn checks(&self) {
        for hierarchy in [Hierarchy::Flat, Hierarchy::Nested] {
            let checks = self.target.check(hierarchy).await;
            let is_broken = checks.iter().any(|check| check.verdict == Verdict::Broken);
            assert_eq!(is_broken, hierarchy == Hierarchy::Nested && !self.nature.nests, "{checks:?}");
            let is_told = checks.iter().all(|it| it.remedy.is_empty() == (it.verdict == Verdict::Well));
            assert!(is_told, "{checks:?}");
        }
    }
}
