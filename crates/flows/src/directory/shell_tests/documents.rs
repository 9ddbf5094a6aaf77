//! What is kept in the store.

use std::sync::Arc;

use shared::fault::FaultKind;
use shared::ports::state::{Fence, State as _};

use super::super::documents::{Documents, LINK_CHANGED, PAGE};
use super::super::fixtures::id;
use super::super::ids::{DepartmentId, MemberId, TargetId};
use super::super::key::Key;
use super::super::link::{Below, DepartmentLink, GroupLink, MemberLink, Note};
use super::super::record::{Child, Fingerprint};
use super::super::rules::Rules;
use super::super::tests::{dept, person};
use super::chance::Chance;
use super::stage::Stage;
use super::store::MemoryStore;

const LEASE: &str = "shard/directory.000";

struct Shelf {
    store: Arc<MemoryStore>,
    documents: Documents,
    fence: Fence,
}

async fn shelf() -> Shelf {
    let store = Arc::new(MemoryStore::new(Arc::new(Chance::new(1))));
    let hour = std::time::Duration::from_secs(3_600);
    let term = store.acquire_lease(LEASE, "worker", hour).await.unwrap().unwrap().term;
    let documents = Documents(store.clone());
    Shelf { store, documents, fence: Fence { lease: LEASE.to_owned(), term } }
}

const fn d(id: u32) -> DepartmentId {
    DepartmentId(id)
}

fn group(id: u32, parent: u32) -> DepartmentLink {
    DepartmentLink::Linked(Box::new(GroupLink {
        seen: dept(id, parent),
        target: TargetId(format!("g{id}")),
        version: None,
        written: Fingerprint::default(),
        parent: None,
        attached: None,
        way: Vec::new(),
        placed: None,
        placed_due: Default::default(),
        leaving: None,
        below_due: Below::default(),
    }))
}

fn user(userid: &str, departments: &[u32]) -> MemberLink {
    MemberLink {
        userid: userid.to_owned(),
        target: TargetId(format!("u-{userid}")),
        version: None,
        written: Fingerprint::default(),
        departments: departments.iter().copied().map(DepartmentId).collect(),
        groups: Default::default(),
        groups_due: Default::default(),
        leaving: Default::default(),
        leaders: Vec::new(),
        leaders_due: false,
        manager: None,
        ended: None,
        since: jiff::Timestamp::UNIX_EPOCH,
    }
}

impl Shelf {
    async fn save(&self, id: u32, link: &DepartmentLink) {
        let stored = self.documents.department_link(d(id)).await.unwrap();
        let (before, read) = (stored.as_ref().map(|it| &it.link), stored.as_ref().map(|it| it.version));
        self.documents.save_department(d(id), link, before, read, Some(&self.fence)).await.unwrap();
    }

    async fn children(&self, id: u32) -> Vec<u32> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.documents.departments_below(d(id), after.as_deref()).await.unwrap();
            found.extend(page.records.iter().map(|(id, _)| id.0));
            after = page.next;
            if after.is_none() {
                found.sort_unstable();
                return found;
            }
        }
    }

    async fn reports(&self, leader: &str) -> Vec<MemberId> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.documents.reports(&id(leader), after.as_deref()).await.unwrap();
            found.extend(page.records);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    async fn members(&self, id: u32) -> Vec<MemberId> {
        let page = self.documents.members_below(d(id), None).await.unwrap();
        page.records.into_iter().map(|(id, _)| id).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_below_follows_the_links() {
    let shelf = shelf().await;
    for (id, parent) in [(10, 1), (11, 1), (100, 10), (12, 0)] {
        shelf.save(id, &group(id, parent)).await;
    }
    assert_eq!((shelf.children(1).await, shelf.children(10).await), (vec![10, 11], vec![100]));
    shelf.save(11, &group(11, 10)).await;
    assert_eq!((shelf.children(1).await, shelf.children(10).await), (vec![10], vec![11, 100]));
    shelf.save(11, &DepartmentLink::Invisible { since: jiff::Timestamp::UNIX_EPOCH }).await;
    let stored = shelf.documents.department_link(d(100)).await.unwrap().unwrap();
    let fence = Some(&shelf.fence);
    shelf.documents.drop_department(d(100), Some(&stored.link), Some(stored.version), fence).await.unwrap();
    assert_eq!(shelf.children(10).await, Vec::<u32>::new());
    let left = shelf.store.documents::<serde_json::Value>("below/directory/");
    let left: Vec<_> = left.into_iter().map(|(key, ..)| key).collect();
    assert_eq!(left, ["1/dept.10"]);
}

#[tokio::test(start_paused = true)]
async fn members_are_below_each_of_their_departments() {
    let shelf = shelf().await;
    let (m, fence) = (id("o.brien@hq"), Some(&shelf.fence));
    let first = user("O.Brien@hq", &[3, 5]);
    let version = shelf.documents.save_member(&m, &first, None, None, fence).await.unwrap();
    assert_eq!((shelf.members(3).await, shelf.members(5).await), (vec![m.clone()], vec![m.clone()]));
    let moved = user("O.Brien@hq", &[5, 7]);
    let version = shelf.documents.save_member(&m, &moved, Some(&first), Some(version), fence).await.unwrap();
    assert_eq!((shelf.members(3).await, shelf.members(7).await), (vec![], vec![m.clone()]));
    shelf.documents.drop_member(&m, Some(&moved), Some(version), fence).await.unwrap();
    assert_eq!(shelf.store.documents::<serde_json::Value>("").len(), 0, "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn who_reports_to_somebody_follows_the_links_page_by_page() {
    let shelf = shelf().await;
    let fence = Some(&shelf.fence);
    let of = |leaders: &[&str]| {
        let leaders = leaders.iter().map(|leader| id(leader)).collect();
        MemberLink { leaders, ..user("m", &[]) }
    };
    for n in 0..PAGE + 3 {
        shelf.documents.save_member(&id(&format!("m{n}")), &of(&["boss"]), None, None, fence).await.unwrap();
    }
    assert_eq!(shelf.reports("boss").await.len(), PAGE as usize + 3);
    let (m, first) = (id("m"), of(&["a", "b"]));
    let version = shelf.documents.save_member(&m, &first, None, None, fence).await.unwrap();
    assert_eq!((shelf.reports("a").await, shelf.reports("b").await), (vec![m.clone()], vec![m.clone()]));
    let moved = of(&["b"]);
    let version = shelf.documents.save_member(&m, &moved, Some(&first), Some(version), fence).await.unwrap();
    assert_eq!((shelf.reports("a").await, shelf.reports("b").await), (vec![], vec![m.clone()]));
    let ended = MemberLink { ended: Some(jiff::Timestamp::UNIX_EPOCH), ..moved.clone() };
    let version = shelf.documents.save_member(&m, &ended, Some(&moved), Some(version), fence).await.unwrap();
    assert_eq!(shelf.reports("b").await, []);
    shelf.documents.drop_member(&m, Some(&ended), Some(version), fence).await.unwrap();
    shelf.store.plant("reports/directory/b/user.nobody", b"{}");
    assert_eq!(shelf.reports("b").await, []);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_left_over_does_no_harm() {
    let shelf = shelf().await;
    shelf.save(10, &group(10, 2)).await;
    for entry in ["dept.10", "dept.99", "user.nobody"] {
        shelf.store.plant(&format!("below/directory/1/{entry}"), b"{}");
    }
    assert_eq!(shelf.children(1).await, Vec::<u32>::new());
    assert_eq!(shelf.members(1).await, Vec::<MemberId>::new());
}

#[tokio::test(start_paused = true)]
async fn many_below_come_page_by_page() {
    let shelf = shelf().await;
    let count = PAGE * 2 + 3;
    for id in 0..count {
        shelf.save(id + 10, &group(id + 10, 1)).await;
    }
    assert_eq!(shelf.children(1).await, (10..count + 10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_link_that_another_run_changed_is_a_conflict() {
    let shelf = shelf().await;
    let (m, fence) = (id("m"), Some(&shelf.fence));
    let link = user("m", &[3]);
    let version = shelf.documents.save_member(&m, &link, None, None, fence).await.unwrap();
    for read in [None, Some(version + 1)] {
        let fault = shelf.documents.save_member(&m, &link, None, read, fence).await.unwrap_err();
        assert_eq!((fault.kind, fault.code), (FaultKind::Conflict, LINK_CHANGED));
        let fault = shelf.documents.drop_member(&m, Some(&link), read, fence).await.unwrap_err();
        assert_eq!(fault.code, LINK_CHANGED);
    }
    assert_eq!(shelf.members(3).await, [m], "what leads to it is still there");
}

fn note(target: &str, wanted: bool) -> Note {
    Note { target: TargetId(target.to_owned()), child: Child::Member(id("m")), wanted }
}

#[tokio::test(start_paused = true)]
async fn of_one_group_and_target_the_last_note_counts() {
    let shelf = shelf().await;
    let fence = Some(&shelf.fence);
    let odd = format!("a/b {} 张", "x".repeat(600));
    let put = async |notes: &[(DepartmentId, Note)]| {
        shelf.documents.put_notes(notes, fence).await.unwrap();
    };
    put(&[(d(3), note(&odd, true)), (d(3), note("b", true)), (d(31), note("b", true))]).await;
    let before = shelf.documents.notes(d(3), 10).await.unwrap();
    assert_eq!((before.len(), shelf.documents.notes(d(3), 1).await.unwrap().len()), (2, 1));
    put(&[(d(3), note(&odd, false))]).await;
    let seen: Vec<_> = before.iter().map(|it| (it.link.target.clone(), it.version)).collect();
    shelf.documents.forget_notes(d(3), &seen, fence).await.unwrap();
    let left = shelf.documents.notes(d(3), 10).await.unwrap();
    assert_eq!(left.into_iter().map(|it| it.link).collect::<Vec<_>>(), [note(&odd, false)]);
    let mut noted = Vec::new();
    while let Some(id) = shelf.documents.noted_group(noted.last().copied()).await.unwrap() {
        noted.push(id);
    }
    noted.sort();
    assert_eq!(noted, [d(3), d(31)]);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_manager_are_told_though_they_are_many() {
    let stage = Stage::new(Rules::default(), 1).await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        wecom.departments.insert(d(1), dept(1, 0));
        wecom.members.insert(id("boss"), person("boss", &[1]));
    }
    (0..1_203).for_each(|n| stage.store.plant(&format!("waiting/directory/boss/m{n}"), b"{}"));
    stage.handle(Key::Member(id("boss"))).await.unwrap();
    stage.take_waiting();
    stage.handle(Key::Leader(id("boss"))).await.unwrap();
    assert_eq!(stage.take_waiting().len(), 1_203);
    assert_eq!(stage.store.documents::<serde_json::Value>("waiting/").len(), 0);
}
