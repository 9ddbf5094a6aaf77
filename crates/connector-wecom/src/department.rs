//! A department.

use crate::wire::{Fields, Record, unsigned};
use crate::{DepartmentId, UserId};

/// A department, as far as the call and the secret show it. What is absent is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Department {
    /// `id`.
    pub id: DepartmentId,
    /// `name`; names may repeat, and lists of ids have none.
    pub name: Option<String>,
    /// `name_en`.
    pub name_en: Option<String>,
    /// `parentid`. It may be invisible: then the department is a root for us.
    pub parent: Option<Parent>,
    /// `order`: the higher one sorts first.
    pub order: Option<u32>,
    /// `department_leader`; they may be unknown.
    pub leaders: Option<Vec<UserId>>,
}

/// Where a department is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// `parentid` 0: nowhere, it is the company.
    None,
    /// Below another one.
    Department(DepartmentId),
}

impl Record for Department {
    fn read(fields: &Fields) -> Result<Self, &'static str> {
        let id = fields.value("id").and_then(unsigned).ok_or("it has no id")?;
        let parent = fields.value("parentid").and_then(unsigned);
        Ok(Self {
            id: DepartmentId::try_from(id).map_err(|_| "its id is no department's")?,
            name: fields.text("name"),
            name_en: fields.text("name_en"),
            parent: parent.and_then(|number| match number {
                0 => Some(Parent::None),
                other => DepartmentId::try_from(other).ok().map(Parent::Department),
            }),
            order: fields.number("order").and_then(|order| u32::try_from(order).ok()),
            leaders: fields.list("department_leader").map(crate::member::user_ids),
        })
    }
}
