//! The ids of all members by department, as the contact sync lists them: one list for all departments, since WeCom has none
//! for each.

use std::collections::BTreeMap;

use connector_wecom::{ID_ROWS_MAX, IdPage, WeCom};
use shared::fault::Fault;

use super::records::{MEMBERS_UNREADABLE_MAX, canonical_id, unreadable};
use crate::directory::ids::{DepartmentId, MemberId};
use crate::directory::source::{Listed, Row};

/// Most rows that are held: some 50 megabytes.
const ROWS_MAX: usize = 1_000_000;
/// Most pages that are read: a list that never ends comes to an end.
const PAGES_MAX: usize = 10_000;

/// All ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct IdList {
    by_department: BTreeMap<DepartmentId, Vec<MemberId>>,
    members: u64,
    rows: usize,
    /// Rows whose department is not known: they are said with the root's.
    unreadable: Vec<String>,
}

impl IdList {
    /// Reads it page by page.
    pub(super) async fn read(wecom: &WeCom) -> Result<Self, Fault> {
        let (mut list, mut cursor) = (Self::default(), None);
        for _ in 0..PAGES_MAX {
            let IdPage { rows, next } = wecom.member_ids(cursor.as_deref(), ID_ROWS_MAX).await?;
            let said = rows.unreadable.iter().map(|it| unreadable("all ids", it));
            list.note(said.collect());
            for row in rows.items {
                list.take(DepartmentId(row.department.get()), &row.member)?;
            }
            cursor = next;
            if cursor.is_none() {
                list.finish();
                return Ok(list);
            }
        }
        Err(endless(&format!("more than {PAGES_MAX} pages")))
    }

    fn note(&mut self, said: Vec<String>) {
        let room = MEMBERS_UNREADABLE_MAX.saturating_sub(self.unreadable.len());
        self.unreadable.extend(said.into_iter().take(room));
    }

    fn take(&mut self, department: DepartmentId, userid: &connector_wecom::UserId) -> Result<(), Fault> {
        match canonical_id(userid) {
            Ok(member) => self.by_department.entry(department).or_default().push(member),
            Err(bad) => self.note(vec![format!("A row of the list of all ids names {bad}.")]),
        }
        self.rows += 1;
        if self.rows > ROWS_MAX { Err(endless(&format!("more than {ROWS_MAX} rows"))) } else { Ok(()) }
    }

    fn finish(&mut self) {
        for members in self.by_department.values_mut() {
            members.sort_unstable();
            members.dedup();
            members.shrink_to_fit();
        }
        let mut all: Vec<&MemberId> = self.by_department.values().flatten().collect();
        all.sort_unstable();
        all.dedup();
        self.members = u64::try_from(all.len()).unwrap_or(u64::MAX);
    }

    /// How many members there are, each once.
    pub(super) fn count(&self) -> u64 {
        self.members
    }

    /// A department's own members.
    pub(super) fn members_of(&self, id: DepartmentId) -> Listed<Row> {
        let own = self.by_department.get(&id).into_iter().flatten();
        let unreadable = if id == DepartmentId::ROOT { self.unreadable.clone() } else { Vec::new() };
        Listed { records: own.cloned().map(Row::Id).collect(), unreadable }
    }
}

fn endless(what: &str) -> Fault {
    let text = format!(
        "WeCom's list of all ids has {what}, more than is read. Set app_secret of a self-built app whose visible scope is the \
         whole company: members are then read by department."
    );
    Fault::permanent("id_list_endless", text)
}

#[cfg(test)]
mod tests {
    use connector_wecom::UserId;

    use super::*;

    #[test]
    fn members_are_sorted_and_each_is_there_once() {
        let mut list = IdList::default();
        for (department, userid) in [(2, "b"), (1, "b"), (2, "A"), (2, "a"), (2, "c/d"), (2, "张三")] {
            list.take(DepartmentId(department), &UserId::new(userid).unwrap()).unwrap();
        }
        list.finish();
        let rows = |id| {
            let records = list.members_of(DepartmentId(id)).records;
            records.iter().map(|row| row.id().to_string()).collect::<Vec<_>>()
        };
        assert_eq!((rows(2), rows(1), rows(9)), (vec!["a".into(), "b".into()], vec!["b".into()], vec![]));
        assert_eq!(list.count(), 2);
        assert_eq!(list.members_of(DepartmentId::ROOT).unreadable.len(), 2, "said once, with the root's");
        assert_eq!(list.members_of(DepartmentId(2)).unreadable.len(), 0);
    }

    #[test]
    fn a_list_without_end_is_not_held() {
        let mut list = IdList { rows: ROWS_MAX, ..IdList::default() };
        let fault = list.take(DepartmentId(1), &UserId::new("a").unwrap()).unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("permanent", "id_list_endless"));
    }
}
