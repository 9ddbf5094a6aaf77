//! What the flow keeps in the store: links of departments and members, changed userids, notes for the members of groups,
//! who waits for a manager, what is below each department, who reports to whom, the record of the first sync, and the hierarchy.
//!
//! What is below a department, and who reports to a member, is found by entries of an index. They are written before the link that needs them and taken
//! away after it, each only while nobody wrote it anew: so none is ever missing. One that is left over names a link that
//! says otherwise, and is passed over.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use shared::fault::{Fault, FaultKind};
use shared::link::Stored;
use shared::ports::state::{Expected, Fence, READ_KEYS_MAX, State, Versioned, Write, Written};

use super::first_sync::FirstSync;
use super::hierarchy::Chosen;
use super::ids::{DepartmentId, MemberId, TargetId};
use super::key::Key;
use super::last_sweep::LastSweep;
use super::link::{DepartmentLink, MemberLink, Note};

/// Another run saved a link first.
pub(super) const LINK_CHANGED: &str = "link_changed";
/// Documents in one page of a scan.
pub(super) const PAGE: u32 = 200;
/// Who waits for one manager and is told in one go.
const WAITING_MAX: u32 = 1_000;
/// Writes that are sent at once.
const WRITES_AT_ONCE: usize = 16;
/// Hexadecimal digits of the hash of a target's id.
const TARGET_DIGITS: usize = 32;
const FIRST_SYNC: &str = "first-sync/directory";
const HIERARCHY: &str = "hierarchy/directory";
const LAST_SWEEP: &str = "last-sweep/directory";
/// What an entry of an index holds: its key says all.
const ENTRY: &[u8] = b"{}";

/// A page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paged<T> {
    /// What is on it.
    pub records: Vec<T>,
    /// What to ask for the next one; none on the last one.
    pub next: Option<String>,
}

/// The documents of the flow.
#[derive(Debug, Clone)]
pub(super) struct Documents(pub(super) Arc<dyn State>);

/// A link that is written or deleted, with what leads to it.
struct Change<'a> {
    key: String,
    value: Option<Vec<u8>>,
    /// The version that was read; none when there was no link.
    read: Option<u64>,
    entries_before: BTreeSet<String>,
    entries: BTreeSet<String>,
    fence: Option<&'a Fence>,
}

fn link_key(id: &Key) -> String {
    format!("link/directory/{id}")
}

fn rename_key(old: &MemberId) -> String {
    format!("rename/directory/{old}")
}

/// Of one group, or with none of any.
fn notes_prefix(group: Option<DepartmentId>) -> String {
    group.map_or_else(|| "note/directory/".to_owned(), |id| format!("note/directory/{id}/"))
}

fn note_key(group: DepartmentId, target: &TargetId) -> String {
    let hash = hex::encode(Sha256::digest(target.0.as_bytes()));
    let digits: String = hash.chars().take(TARGET_DIGITS).collect();
    format!("{}{digits}", notes_prefix(Some(group)))
}

fn waiting_prefix(leader: &MemberId) -> String {
    format!("waiting/directory/{leader}/")
}

fn reports_prefix(leader: &MemberId) -> String {
    format!("reports/directory/{leader}/user.")
}

fn below_prefix(id: DepartmentId, kind: &str) -> String {
    format!("below/directory/{id}/{kind}.")
}

fn below_key(id: DepartmentId, child: &Key) -> String {
    format!("below/directory/{id}/{child}")
}

/// Below which department one is listed, by what it says.
fn entries_of_department(id: DepartmentId, link: Option<&DepartmentLink>) -> BTreeSet<String> {
    let parent = link.and_then(DepartmentLink::group).and_then(|link| link.seen.parent);
    let entry = |parent| below_key(parent, &Key::Department(id));
    parent.filter(|parent| *parent != DepartmentId::NONE).map(entry).into_iter().collect()
}

/// In which departments one is listed, and to whom it reports.
fn entries_of_member(id: &MemberId, link: Option<&MemberLink>) -> BTreeSet<String> {
    let departments = link.into_iter().flat_map(|link| &link.departments);
    let below = departments.map(|department| below_key(*department, &Key::Member(id.clone())));
    let leaders = link.into_iter().flat_map(|link| &link.leaders);
    below.chain(leaders.map(|leader| format!("{}{id}", reports_prefix(leader)))).collect()
}

impl Documents {
    /// The links of departments, in their order.
    pub(super) async fn department_links(
        &self,
        ids: &[DepartmentId],
    ) -> Result<Vec<Option<Stored<DepartmentLink>>>, Fault> {
        let keys: Vec<String> = ids.iter().map(|id| link_key(&Key::Department(*id))).collect();
        self.get_all(&keys).await
    }

    /// The links of members, in their order.
    pub(super) async fn member_links(
        &self,
        ids: &[MemberId],
    ) -> Result<Vec<Option<Stored<MemberLink>>>, Fault> {
        let keys: Vec<String> = ids.iter().map(|id| link_key(&Key::Member(id.clone()))).collect();
        self.get_all(&keys).await
    }

    /// The link of a department.
    pub(super) async fn department_link(
        &self,
        id: DepartmentId,
    ) -> Result<Option<Stored<DepartmentLink>>, Fault> {
        self.get(&link_key(&Key::Department(id))).await
    }

    /// The link of a member.
    pub(super) async fn member_link(&self, id: &MemberId) -> Result<Option<Stored<MemberLink>>, Fault> {
        self.get(&link_key(&Key::Member(id.clone()))).await
    }

    /// A page of all departments' links, not in the order of ids; `after` is what the page before named.
    pub(super) async fn departments_page(
        &self,
        after: Option<&str>,
    ) -> Result<Paged<(DepartmentId, Stored<DepartmentLink>)>, Fault> {
        self.page("dept.", after, department_of).await
    }

    /// A page of all members' links, in the order of ids.
    pub(super) async fn members_page(
        &self,
        after: Option<&str>,
    ) -> Result<Paged<(MemberId, Stored<MemberLink>)>, Fault> {
        self.page("user.", after, member_of).await
    }

    /// A page of the departments directly below one by what they say, not in the order of ids.
    pub(super) async fn departments_below(
        &self,
        id: DepartmentId,
        after: Option<&str>,
    ) -> Result<Paged<(DepartmentId, Stored<DepartmentLink>)>, Fault> {
        let (ids, next) = self.below(&below_prefix(id, "dept"), after, department_of).await?;
        let links = self.department_links(&ids).await?;
        let is_below = |link: &DepartmentLink| link.group().is_some_and(|it| it.seen.parent == Some(id));
        let found = ids.into_iter().zip(links).filter_map(|(id, link)| Some((id, link?)));
        Ok(Paged { records: found.filter(|(_, stored)| is_below(&stored.link)).collect(), next })
    }

    /// A page of the members that have a department among theirs, in the order of ids.
    pub(super) async fn members_below(
        &self,
        id: DepartmentId,
        after: Option<&str>,
    ) -> Result<Paged<(MemberId, Stored<MemberLink>)>, Fault> {
        let (ids, next) = self.below(&below_prefix(id, "user"), after, member_of).await?;
        let links = self.member_links(&ids).await?;
        let found = ids.into_iter().zip(links).filter_map(|(id, link)| Some((id, link?)));
        Ok(Paged { records: found.filter(|(_, it)| it.link.departments.contains(&id)).collect(), next })
    }

    /// A page of the members that report to one and are not gone, in the order of ids.
    pub(super) async fn reports(
        &self,
        leader: &MemberId,
        after: Option<&str>,
    ) -> Result<Paged<MemberId>, Fault> {
        let (ids, next) = self.below(&reports_prefix(leader), after, member_of).await?;
        let links = self.member_links(&ids).await?;
        let reports = |link: &MemberLink| link.ended.is_none() && link.leaders.contains(leader);
        let found =
            ids.into_iter().zip(links).filter(|(_, it)| it.as_ref().is_some_and(|it| reports(&it.link)));
        Ok(Paged { records: found.map(|(id, _)| id).collect(), next })
    }

    /// Saves the link of a department where it is still the one that was read; answers its new version.
    pub(super) async fn save_department(
        &self,
        id: DepartmentId,
        link: &DepartmentLink,
        before: Option<&DepartmentLink>,
        read: Option<u64>,
        fence: Option<&Fence>,
    ) -> Result<u64, Fault> {
        let (entries_before, entries) =
            (entries_of_department(id, before), entries_of_department(id, Some(link)));
        let (key, value) = (link_key(&Key::Department(id)), Some(bytes(link)?));
        self.change(Change { key, value, read, entries_before, entries, fence }).await
    }

    /// Forgets a department where its link is still the one that was read.
    pub(super) async fn drop_department(
        &self,
        id: DepartmentId,
        before: Option<&DepartmentLink>,
        read: Option<u64>,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let (entries_before, entries) = (entries_of_department(id, before), BTreeSet::new());
        let key = link_key(&Key::Department(id));
        self.change(Change { key, value: None, read, entries_before, entries, fence }).await.map(drop)
    }

    /// Saves the link of a member where it is still the one that was read; answers its new version.
    pub(super) async fn save_member(
        &self,
        id: &MemberId,
        link: &MemberLink,
        before: Option<&MemberLink>,
        read: Option<u64>,
        fence: Option<&Fence>,
    ) -> Result<u64, Fault> {
        let (entries_before, entries) = (entries_of_member(id, before), entries_of_member(id, Some(link)));
        let (key, value) = (link_key(&Key::Member(id.clone())), Some(bytes(link)?));
        self.change(Change { key, value, read, entries_before, entries, fence }).await
    }

    /// Forgets a member where its link is still the one that was read.
    pub(super) async fn drop_member(
        &self,
        id: &MemberId,
        before: Option<&MemberLink>,
        read: Option<u64>,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let (entries_before, entries) = (entries_of_member(id, before), BTreeSet::new());
        let key = link_key(&Key::Member(id.clone()));
        self.change(Change { key, value: None, read, entries_before, entries, fence }).await.map(drop)
    }

    /// The userid that this one was changed to.
    pub(super) async fn rename(&self, old: &MemberId) -> Result<Option<MemberId>, Fault> {
        Ok(self.get(&rename_key(old)).await?.map(|stored| stored.link))
    }

    /// Notes that a userid was changed.
    pub(super) async fn save_rename(
        &self,
        old: &MemberId,
        new: &MemberId,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        self.put(&rename_key(old), &bytes(new)?, fence).await
    }

    /// Forgets that a userid was changed.
    pub(super) async fn forget_rename(&self, old: &MemberId, fence: Option<&Fence>) -> Result<(), Fault> {
        self.delete(&rename_key(old), Expected::Any, fence).await
    }

    /// What is noted for the members of a group, with the versions: so many at most.
    pub(super) async fn notes(&self, group: DepartmentId, limit: usize) -> Result<Vec<Stored<Note>>, Fault> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let found = self.0.scan(&notes_prefix(Some(group)), None, limit).await?;
        found.iter().map(|(key, document)| read(key, document)).collect()
    }

    /// The first group after this one for whose members anything is noted, not in the order of ids.
    pub(super) async fn noted_group(
        &self,
        after: Option<DepartmentId>,
    ) -> Result<Option<DepartmentId>, Fault> {
        let prefix = notes_prefix(None);
        // Behind all hashes of the one before.
        let after = after.map(|id| format!("{}~", notes_prefix(Some(id))));
        let found = self.0.scan(&prefix, after.as_deref(), 1).await?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let id = key.strip_prefix(&prefix).and_then(|rest| rest.split('/').next());
        id.and_then(|id| id.parse().ok())
            .map(DepartmentId)
            .ok_or_else(|| unreadable(key, "its key"))
            .map(Some)
    }

    /// Notes changes to the members of groups; each takes the place of an earlier one about the same.
    pub(super) async fn put_notes(
        &self,
        notes: &[(DepartmentId, Note)],
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        for notes in notes.chunks(WRITES_AT_ONCE) {
            try_join_all(notes.iter().map(|(group, note)| self.put_note(*group, note, fence))).await?;
        }
        Ok(())
    }

    async fn put_note(&self, group: DepartmentId, note: &Note, fence: Option<&Fence>) -> Result<(), Fault> {
        self.put(&note_key(group, &note.target), &bytes(note)?, fence).await
    }

    /// Forgets notes of a group, each only at the version that was read.
    pub(super) async fn forget_notes(
        &self,
        group: DepartmentId,
        notes: &[(TargetId, u64)],
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let entries: Vec<_> =
            notes.iter().map(|(target, version)| (note_key(group, target), *version)).collect();
        self.take_away(&entries, fence).await
    }

    /// Who waits for this one as manager, so many at most as are told in one go.
    pub(super) async fn waiting(&self, leader: &MemberId) -> Result<Vec<MemberId>, Fault> {
        let prefix = waiting_prefix(leader);
        let found = self.0.scan(&prefix, None, WAITING_MAX).await?;
        found.iter().map(|(key, _)| last_part(key, &prefix, member_of)).collect()
    }

    /// Notes that a member waits for its manager.
    pub(super) async fn put_waiting(
        &self,
        leader: &MemberId,
        member: &MemberId,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        self.put(&format!("{}{member}", waiting_prefix(leader)), ENTRY, fence).await
    }

    /// None of these waits any more.
    pub(super) async fn forget_waiting(
        &self,
        leader: &MemberId,
        members: &[MemberId],
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let keys: Vec<String> =
            members.iter().map(|member| format!("{}{member}", waiting_prefix(leader))).collect();
        for keys in keys.chunks(WRITES_AT_ONCE) {
            try_join_all(keys.iter().map(|key| self.delete(key, Expected::Any, fence))).await?;
        }
        Ok(())
    }

    /// The record of the first sync.
    pub(super) async fn first_sync(&self) -> Result<Option<Stored<FirstSync>>, Fault> {
        self.get(FIRST_SYNC).await
    }

    /// Writes the record of the first sync where it is still the one that was read, or where there is none; answers its
    /// new version, none where somebody else was first.
    pub(super) async fn save_first_sync(
        &self,
        record: &FirstSync,
        read: Option<u64>,
        fence: Option<&Fence>,
    ) -> Result<Option<u64>, Fault> {
        let (value, expected) = (bytes(record)?, read.map_or(Expected::Absent, Expected::Version));
        match self.0.write(Write { expected, fence, ..Write::put(FIRST_SYNC, &value) }).await? {
            Written::Done(version) => Ok(Some(version)),
            Written::Clash => Ok(None),
        }
    }

    /// The hierarchy that was chosen.
    pub(super) async fn hierarchy(&self) -> Result<Option<Chosen>, Fault> {
        Ok(self.get(HIERARCHY).await?.map(|stored| stored.link))
    }

    /// Keeps the hierarchy where none is kept; answers whether it is the one that is.
    pub(super) async fn save_hierarchy(&self, chosen: &Chosen) -> Result<bool, Fault> {
        let (value, expected) = (bytes(chosen)?, Expected::Absent);
        let written = self.0.write(Write { expected, ..Write::put(HIERARCHY, &value) }).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// What the last sweep found.
    pub(super) async fn last_sweep(&self) -> Result<Option<LastSweep>, Fault> {
        Ok(self.get(LAST_SWEEP).await?.map(|stored| stored.link))
    }

    /// Keeps what the last sweep found.
    pub(super) async fn save_last_sweep(&self, last: &LastSweep) -> Result<(), Fault> {
        self.put(LAST_SWEEP, &bytes(last)?, None).await
    }

    async fn change(&self, change: Change<'_>) -> Result<u64, Fault> {
        let Change { key, value, read, entries_before, entries, fence } = change;
        let added: Vec<&String> = entries.difference(&entries_before).collect();
        for added in added.chunks(WRITES_AT_ONCE) {
            try_join_all(added.iter().map(|entry| self.put(entry, ENTRY, fence))).await?;
        }
        let left: Vec<String> = entries_before.difference(&entries).cloned().collect();
        let left = self.versions(&left).await?;
        let expected = read.map_or(Expected::Absent, Expected::Version);
        let write = Write { key: &key, value: value.as_deref(), expected, time_to_live: None, fence };
        let Written::Done(version) = self.0.write(write).await? else {
            let text = format!("The document {key} was changed by another run since it was read.");
            return Err(Fault::new(FaultKind::Conflict, LINK_CHANGED, text));
        };
        self.take_away(&left, fence).await?;
        Ok(version)
    }

    /// Those of these documents that are there, with their versions.
    async fn versions(&self, keys: &[String]) -> Result<Vec<(String, u64)>, Fault> {
        let mut found = Vec::new();
        for keys in keys.chunks(READ_KEYS_MAX) {
            let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
            let documents = self.0.get_many(&asked).await?;
            let there = keys.iter().zip(documents);
            found.extend(there.filter_map(|(key, document)| Some((key.clone(), document?.version))));
        }
        Ok(found)
    }

    async fn take_away(&self, documents: &[(String, u64)], fence: Option<&Fence>) -> Result<(), Fault> {
        for documents in documents.chunks(WRITES_AT_ONCE) {
            let deletions =
                documents.iter().map(|(key, version)| self.delete(key, Expected::Version(*version), fence));
            try_join_all(deletions).await?;
        }
        Ok(())
    }

    async fn put(&self, key: &str, value: &[u8], fence: Option<&Fence>) -> Result<(), Fault> {
        self.0.write(Write { fence, ..Write::put(key, value) }).await?;
        Ok(())
    }

    /// Where what is there is not what was expected, it stays.
    async fn delete(&self, key: &str, expected: Expected, fence: Option<&Fence>) -> Result<(), Fault> {
        self.0.write(Write { expected, fence, ..Write::delete(key) }).await?;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Stored<T>>, Fault> {
        self.0.get(key).await?.map(|document| read(key, &document)).transpose()
    }

    async fn get_all<T: DeserializeOwned>(&self, keys: &[String]) -> Result<Vec<Option<Stored<T>>>, Fault> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS_MAX) {
            let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
            for (key, document) in keys.iter().zip(self.0.get_many(&asked).await?) {
                found.push(document.map(|document| read(key, &document)).transpose()?);
            }
        }
        Ok(found)
    }

    async fn page<I, T: DeserializeOwned>(
        &self,
        kind: &str,
        after: Option<&str>,
        id_of: fn(&str) -> Option<I>,
    ) -> Result<Paged<(I, Stored<T>)>, Fault> {
        let prefix = format!("link/directory/{kind}");
        let found = self.0.scan(&prefix, after, PAGE).await?;
        let one = |(key, document): &(String, Versioned)| {
            Ok((last_part(key, &prefix, id_of)?, read(key, document)?))
        };
        Ok(Paged { records: found.iter().map(one).collect::<Result<_, Fault>>()?, next: next_of(&found) })
    }

    async fn below<I>(
        &self,
        prefix: &str,
        after: Option<&str>,
        id_of: fn(&str) -> Option<I>,
    ) -> Result<(Vec<I>, Option<String>), Fault> {
        let found = self.0.scan(prefix, after, PAGE).await?;
        let ids = found.iter().map(|(key, _)| last_part(key, prefix, id_of)).collect::<Result<_, _>>()?;
        Ok((ids, next_of(&found)))
    }
}

fn next_of(found: &[(String, Versioned)]) -> Option<String> {
    let is_full = found.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    found.last().filter(|_| is_full).map(|(key, _)| key.clone())
}

fn department_of(text: &str) -> Option<DepartmentId> {
    text.parse().ok().map(DepartmentId)
}

fn member_of(text: &str) -> Option<MemberId> {
    MemberId::new(text).ok()
}

fn last_part<I>(key: &str, prefix: &str, id_of: fn(&str) -> Option<I>) -> Result<I, Fault> {
    key.strip_prefix(prefix).and_then(id_of).ok_or_else(|| unreadable(key, "its key"))
}

fn unreadable(key: &str, why: impl std::fmt::Display) -> Fault {
    Fault::bug("state_unreadable", format!("The document {key} cannot be read: {why}."))
}

/// What is not readable is never taken for absent: it would be made a second time.
fn read<T: DeserializeOwned>(key: &str, document: &Versioned) -> Result<Stored<T>, Fault> {
    let link = serde_json::from_slice(&document.value).map_err(|e| unreadable(key, e))?;
    Ok(Stored { link, version: document.version })
}

fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|e| {
        Fault::bug("state_unwritable", format!("A document of the directory cannot be written: {e}."))
    })
}
