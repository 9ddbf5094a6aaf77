//! WeCom whose lists are not what they should be; its single reads are.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use shared::fault::Fault;
use shared::flow::Check;

use super::super::department::Department;
use super::super::ids::{DepartmentId, MemberId};
use super::super::known::Read;
use super::super::member::Member;
use super::super::source::{Listed, Row, Source};
use super::source::MemorySource;

/// What is wrong with the lists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lies {
    /// Members are listed by their ids only.
    pub ids_only: bool,
    /// Of every list, only the first half is there.
    pub is_cut: bool,
    /// No department is listed.
    pub has_no_departments: bool,
    /// No member is listed.
    pub has_no_members: bool,
    /// Departments come in another order.
    pub is_shuffled: bool,
}

/// WeCom.
#[derive(Debug)]
pub struct LyingSource {
    pub inner: Arc<MemorySource>,
    pub lies: Mutex<Lies>,
}

impl LyingSource {
    pub fn new(inner: Arc<MemorySource>) -> Self {
        Self { inner, lies: Mutex::default() }
    }

    pub fn lie(&self, lies: Lies) {
        *self.lies.lock().unwrap() = lies;
    }

    fn lies(&self) -> Lies {
        *self.lies.lock().unwrap()
    }
}

#[async_trait]
impl Source for LyingSource {
    async fn department(&self, id: DepartmentId) -> Result<Read<Department>, Fault> {
        self.inner.department(id).await
    }

    async fn member(&self, id: &MemberId) -> Result<Read<Member>, Fault> {
        self.inner.member(id).await
    }

    async fn departments(&self) -> Result<Listed<Department>, Fault> {
        let (mut list, lies) = (self.inner.departments().await?, self.lies());
        if lies.is_cut {
            list.records.truncate(list.records.len().div_ceil(2));
        }
        if lies.has_no_departments {
            list.records.clear();
        }
        if lies.is_shuffled {
            list.records.reverse();
        }
        Ok(list)
    }

    async fn members_of(&self, id: DepartmentId) -> Result<Read<Listed<Row>>, Fault> {
        let lies = self.lies();
        let Read::Found(mut list) = self.inner.members_of(id).await? else {
            return self.inner.members_of(id).await;
        };
        if lies.is_cut {
            list.records.truncate(list.records.len() / 2);
        }
        if lies.has_no_members {
            list.records.clear();
        }
        if lies.ids_only {
            list.records = list.records.iter().map(|row| Row::Id(row.id().clone())).collect();
        }
        Ok(Read::Found(list))
    }

    async fn count_members(&self) -> Result<Option<u64>, Fault> {
        self.inner.count_members().await
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}
