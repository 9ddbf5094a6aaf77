//! A member as WeCom says it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{DepartmentId, MemberId};

/// A member. What is absent is not known: applications made since 2022-06-20 get neither mail nor mobile. An empty text
/// is known to be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its key.
    pub id: MemberId,
    /// The userid as WeCom spells it.
    pub userid: String,
    /// Its name.
    pub name: Option<String>,
    /// Its departments, each once, in WeCom's order; those outside the visible scope may be among them.
    pub departments: Option<Vec<DepartmentId>>,
    /// Which of them is the main one; may be invisible.
    pub main_department: Option<DepartmentId>,
    /// Its place in each department, as far as told: higher comes first.
    pub order: BTreeMap<DepartmentId, u32>,
    /// Whether it leads each department, as far as told.
    pub leads: BTreeMap<DepartmentId, bool>,
    /// Whom it reports to; may be unknown or circular.
    pub leaders: Option<Vec<MemberId>>,
    /// Its position.
    pub position: Option<String>,
    /// Its mobile number.
    pub mobile: Option<String>,
    /// Its telephone number.
    pub telephone: Option<String>,
    /// Its own mail address.
    pub email: Option<String>,
    /// Its mail address in the company.
    pub biz_mail: Option<String>,
    /// Its alias.
    pub alias: Option<String>,
    /// 1 active, 2 disabled, 4 not activated, 5 left the company.
    pub status: Option<u8>,
    /// Whether it is enabled.
    pub enabled: Option<bool>,
    /// Extended attributes that are texts.
    pub extended: BTreeMap<String, String>,
}

/// Who is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveRule {
    /// Whether somebody counts as active who has not logged in yet (status 4).
    pub not_activated: bool,
}

impl Default for ActiveRule {
    fn default() -> Self {
        Self { not_activated: true }
    }
}

impl Member {
    /// One of which nothing but the id is known.
    pub fn new(id: MemberId, userid: &str) -> Self {
        Self {
            id,
            userid: userid.to_owned(),
            name: None,
            departments: None,
            main_department: None,
            order: BTreeMap::new(),
            leads: BTreeMap::new(),
            leaders: None,
            position: None,
            mobile: None,
            telephone: None,
            email: None,
            biz_mail: None,
            alias: None,
            status: None,
            enabled: None,
            extended: BTreeMap::new(),
        }
    }

    /// Its departments, and what the lists beside them say of each; these may be shorter or absent.
    pub fn set_departments(&mut self, ids: &[DepartmentId], order: &[u32], leads: &[bool]) {
        let mut departments = Vec::new();
        for (n, id) in ids.iter().enumerate() {
            if departments.contains(id) {
                continue;
            }
            departments.push(*id);
            self.order.extend(order.get(n).map(|order| (*id, *order)));
            self.leads.extend(leads.get(n).map(|leads| (*id, *leads)));
        }
        self.departments = Some(departments);
    }

    /// Whether it is active; none where WeCom does not say.
    pub fn is_active(&self, rule: ActiveRule) -> Option<bool> {
        if self.enabled == Some(false) {
            return Some(false);
        }
        match self.status {
            Some(1) => Some(true),
            Some(4) => Some(rule.not_activated),
            Some(_) => Some(false),
            None => self.enabled,
        }
    }

    /// The department that says where it belongs.
    pub fn main(&self) -> Option<DepartmentId> {
        let first = || self.departments.as_ref().and_then(|ids| ids.first().copied());
        self.main_department.or_else(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_active() {
        let rule = ActiveRule::default();
        let strict = ActiveRule { not_activated: false };
        for (status, enabled, expected) in [
            (Some(1), Some(true), Some(true)),
            (Some(1), None, Some(true)),
            (Some(1), Some(false), Some(false)),
            (Some(2), Some(true), Some(false)),
            (Some(4), Some(true), Some(true)),
            (Some(5), None, Some(false)),
            (Some(9), Some(true), Some(false)),
            (None, Some(true), Some(true)),
            (None, Some(false), Some(false)),
            (None, None, None),
        ] {
            let member = Member { status, enabled, ..Member::new(MemberId::new("a").unwrap(), "a") };
            assert_eq!(member.is_active(rule), expected, "{status:?} {enabled:?}");
            let is_new = status == Some(4);
            assert_eq!(member.is_active(strict), if is_new { Some(false) } else { expected });
        }
    }

    #[test]
    fn short_lists_and_doubles_are_taken_as_they_are() {
        let mut member = Member::new(MemberId::new("a").unwrap(), "a");
        let ids = [3, 5, 3, 7].map(DepartmentId);
        member.set_departments(&ids, &[1, 2], &[true]);
        assert_eq!(member.departments, Some([3, 5, 7].map(DepartmentId).to_vec()));
        assert_eq!(member.order, BTreeMap::from([(DepartmentId(3), 1), (DepartmentId(5), 2)]));
        assert_eq!(member.leads, BTreeMap::from([(DepartmentId(3), true)]));
        assert_eq!(member.main(), Some(DepartmentId(3)));
    }
}
