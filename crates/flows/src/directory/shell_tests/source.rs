//! WeCom in memory, as the port shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use shared::fault::Fault;
use shared::flow::Check;

use super::super::department::Department;
use super::super::ids::{DepartmentId, MemberId};
use super::super::known::Read;
use super::super::member::Member;
use super::super::model::Wecom;
use super::super::source::{Listed, Row, Source};
use super::chance::Chance;

/// WeCom.
#[derive(Debug)]
pub struct MemorySource {
    pub wecom: Mutex<Wecom>,
    reads: AtomicU64,
    chance: Arc<Chance>,
}

fn down() -> Fault {
    Fault::retryable("wecom_down", "WeCom does not answer")
}

impl MemorySource {
    pub fn new(chance: Arc<Chance>) -> Self {
        Self { wecom: Mutex::default(), reads: AtomicU64::new(0), chance }
    }

    /// Departments and members that were read, one by one.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    pub fn is_down(&self) -> bool {
        self.wecom.lock().unwrap().is_down
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn department(&self, id: DepartmentId) -> Result<Read<Department>, Fault> {
        self.chance.pause().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let wecom = self.wecom.lock().unwrap();
        match wecom.departments.get(&id) {
            _ if wecom.is_down || wecom.down.contains(&id) => Err(down()),
            _ if wecom.invisible.contains(&id) => Ok(Read::Invisible),
            Some(department) => Ok(Read::Found(department.clone())),
            None => Ok(Read::Unknown),
        }
    }

    async fn member(&self, id: &MemberId) -> Result<Read<Member>, Fault> {
        self.chance.pause().await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let wecom = self.wecom.lock().unwrap();
        match wecom.members.get(id) {
            _ if wecom.is_down => Err(down()),
            _ if wecom.invisible_members.contains(id) => Ok(Read::Invisible),
            Some(member) => Ok(Read::Found(member.clone())),
            None => Ok(Read::Unknown),
        }
    }

    async fn departments(&self) -> Result<Listed<Department>, Fault> {
        self.chance.pause().await;
        let wecom = self.wecom.lock().unwrap();
        if wecom.is_down {
            return Err(down());
        }
        let visible = wecom.departments.values().filter(|it| !wecom.invisible.contains(&it.id));
        Ok(Listed { records: visible.cloned().collect(), unreadable: Vec::new() })
    }

    async fn members_of(&self, id: DepartmentId) -> Result<Read<Listed<Row>>, Fault> {
        self.chance.pause().await;
        let wecom = self.wecom.lock().unwrap();
        if wecom.is_down {
            return Err(down());
        }
        if wecom.invisible.contains(&id) {
            return Ok(Read::Invisible);
        }
        if !wecom.departments.contains_key(&id) {
            return Ok(Read::Unknown);
        }
        let own = |member: &&Member| member.departments.iter().flatten().any(|other| *other == id);
        let rows = wecom.members.values().filter(own).map(|member| Row::Whole(Box::new(member.clone())));
        Ok(Read::Found(Listed { records: rows.collect(), unreadable: Vec::new() }))
    }

    async fn count_members(&self) -> Result<Option<u64>, Fault> {
        self.chance.pause().await;
        Ok(u64::try_from(self.wecom.lock().unwrap().members.len()).ok())
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}
