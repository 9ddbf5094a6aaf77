//! WeCom as the flow needs it.

use std::fmt::Debug;

use async_trait::async_trait;
use shared::fault::Fault;
use shared::flow::Check;

use super::department::Department;
use super::ids::{DepartmentId, MemberId};
use super::known::Read;
use super::member::Member;

/// What WeCom lists, and what of it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// What could be read.
    pub records: Vec<T>,
    /// What could not, one sentence each: the others are used all the same, and nothing is ended for lack of these.
    pub unreadable: Vec<String>,
}

/// A member in the list of a department.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// With all that WeCom says.
    Whole(Box<Member>),
    /// Only the id: it is read by itself.
    Id(MemberId),
}

impl Row {
    /// Whose it is.
    pub fn id(&self) -> &MemberId {
        match self {
            Self::Whole(member) => &member.id,
            Self::Id(id) => id,
        }
    }
}

/// Where departments and members come from. Only read; everything may be repeated.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// Reads a department.
    ///
    /// # Errors
    /// The connector's fault where WeCom does not answer, or not now.
    async fn department(&self, id: DepartmentId) -> Result<Read<Department>, Fault>;

    /// Reads a member.
    ///
    /// # Errors
    /// As [`Self::department`].
    async fn member(&self, id: &MemberId) -> Result<Read<Member>, Fault>;

    /// Lists all departments that may be seen, in no order. A few megabytes at most.
    ///
    /// # Errors
    /// As [`Self::department`].
    async fn departments(&self) -> Result<Listed<Department>, Fault>;

    /// Lists a department's own members, sorted by id, each once; [`Read::Unknown`] where the department is gone.
    ///
    /// # Errors
    /// As [`Self::department`].
    async fn members_of(&self, id: DepartmentId) -> Result<Read<Listed<Row>>, Fault>;

    /// How many members there are; none where WeCom does not say it in a few requests.
    ///
    /// # Errors
    /// As [`Self::department`].
    async fn count_members(&self) -> Result<Option<u64>, Fault>;

    /// Looks at what the flow needs of it.
    async fn check(&self) -> Vec<Check>;

    /// Gives back what this process holds in the fleet.
    async fn leave(&self) {}
}
