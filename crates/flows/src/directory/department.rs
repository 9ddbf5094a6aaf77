//! A department as WeCom says it is.

use serde::{Deserialize, Serialize};

use super::ids::{DepartmentId, MemberId};

/// A department. What is absent is not known; it never means that something is to be cleared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Department {
    /// Its id.
    pub id: DepartmentId,
    /// The id of the one above; [`DepartmentId::NONE`] for the root.
    pub parent: Option<DepartmentId>,
    /// Its name; names repeat under different parents.
    pub name: Option<String>,
    /// Its place among its siblings: higher comes first.
    pub order: Option<u32>,
    /// Who leads it.
    pub leaders: Option<Vec<MemberId>>,
}

impl Department {
    /// Its name without what no name should have; its id where it has none.
    pub fn display_name(&self) -> String {
        let name = self.name.as_deref().map(super::names::clean).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| format!("#{}", self.id))
    }
}
