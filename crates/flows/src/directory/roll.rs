//! Whom the first sync handles with a department: the members listed there, each with one of its departments only.

use std::time::Duration;

use futures_util::future::try_join_all;
use shared::fault::Fault;
use tokio::time::Instant;

use super::first_sync::{Finished, Task, is_first, is_handled_with};
use super::ids::{DepartmentId, MemberId};
use super::key::Key;
use super::known::{Answer, Read};
use super::member::Member;
use super::source::Row;
use super::syncing::{Listed, Portion};

/// How long a list is used: an event may have brought later news.
const LIST_KEPT: Duration = Duration::from_secs(60);
/// Rows that are looked at at once.
const ROWS_AT_ONCE: usize = 16;

/// The list of the department that is gone through.
#[derive(Debug, Default)]
pub(super) struct Roll(Option<List>);

#[derive(Debug)]
struct List {
    department: DepartmentId,
    read_at: Instant,
    rows: Vec<Row>,
}

impl Roll {
    fn rows_after(&self, id: DepartmentId, after: Option<&MemberId>) -> &[Row] {
        let list = self.0.as_ref().filter(|list| list.department == id);
        let rows = list.map(|list| list.rows.as_slice()).unwrap_or_default();
        let first = rows.partition_point(|row| Some(row.id()) <= after);
        rows.get(first..).unwrap_or_default()
    }
}

/// What a task is about, read before it begins.
#[derive(Debug)]
pub(super) struct Gathered {
    task: Task,
    read_at: Instant,
    pub(super) keys: Vec<Listed>,
    pub(super) finished: Finished,
}

impl Gathered {
    /// Whether this is what a task is about, and recent.
    pub(super) fn is_of(&self, task: &Task) -> bool {
        self.task == *task && self.read_at.elapsed() < LIST_KEPT
    }
}

impl Portion<'_> {
    /// Reads what a task settles.
    pub(super) async fn gather(&self, task: &Task, roll: &mut Roll) -> Result<Gathered, Fault> {
        let read_at = Instant::now();
        let (keys, finished) = match task {
            Task::Departments(ids) => {
                (ids.iter().map(|id| (Key::Department(*id), self.way_up(*id))).collect(), Finished::default())
            }
            Task::Members(ids, after) => self.members_after(roll, ids, after.as_ref()).await?,
            Task::Leaders(ids, after) => self.leaders_after(roll, ids, after.as_ref()).await?,
            Task::Memberships(_) | Task::Strays(_) => (Vec::new(), Finished::default()),
        };
        Ok(Gathered { task: task.clone(), read_at, keys, finished })
    }

    /// The next members to settle, of these departments: in the first one after this member.
    async fn members_after(
        &self,
        roll: &mut Roll,
        ids: &[DepartmentId],
        mut after: Option<&MemberId>,
    ) -> Result<(Vec<Listed>, Finished), Fault> {
        let (mut batch, rows_at_once) = (Batch::new(self.task_max), ROWS_AT_ONCE.min(self.task_max));
        for id in ids.iter().copied() {
            if batch.is_full() {
                break;
            }
            batch.odd += self.read_roll(roll, id).await?;
            for rows in roll.rows_after(id, after.take()).chunks(rows_at_once) {
                if batch.is_full() {
                    break;
                }
                for (member, read) in try_join_all(rows.iter().map(|row| self.whole(row))).await? {
                    let is_here = match &read {
                        Read::Found(found) => is_handled_with(id, found, &self.tree),
                        Read::Unknown | Read::Invisible | Read::Unavailable => true,
                    };
                    if is_here {
                        let answer = Answer::Member(member.clone(), Box::new(read));
                        batch.add(Key::Member(member), vec![answer]);
                    }
                }
                batch.looked_at(id, rows);
            }
            batch.through(id);
        }
        Ok(batch.over())
    }

    /// The next members whose managers are set, likewise.
    async fn leaders_after(
        &self,
        roll: &mut Roll,
        ids: &[DepartmentId],
        mut after: Option<&MemberId>,
    ) -> Result<(Vec<Listed>, Finished), Fault> {
        let (mut batch, rows_at_once) = (Batch::new(self.task_max), ROWS_AT_ONCE.min(self.task_max));
        for id in ids.iter().copied() {
            if batch.is_full() {
                break;
            }
            self.read_roll(roll, id).await?;
            for rows in roll.rows_after(id, after.take()).chunks(rows_at_once) {
                if batch.is_full() {
                    break;
                }
                let members: Vec<MemberId> = rows.iter().map(|row| row.id().clone()).collect();
                let links = self.flow.documents.member_links(&members).await?;
                for (row, link) in rows.iter().zip(links) {
                    let is_here = match (row, &link) {
                        (Row::Whole(member), Some(_)) => is_handled_with(id, member, &self.tree),
                        (Row::Id(_), Some(stored)) => {
                            let departments = &stored.link.departments;
                            !departments.contains(&id) || is_first(id, departments, &self.tree)
                        }
                        // No user was made of it.
                        (_, None) => false,
                    };
                    if is_here {
                        batch.add(Key::Leader(row.id().clone()), Vec::new());
                    }
                }
                batch.looked_at(id, rows);
            }
            batch.through(id);
        }
        Ok(batch.over())
    }

    async fn whole(&self, row: &Row) -> Result<(MemberId, Read<Member>), Fault> {
        let id = row.id().clone();
        let read = match row {
            Row::Whole(member) => Read::Found((**member).clone()),
            Row::Id(id) => self.flow.source.member(id).await?,
        };
        match read {
            Read::Unavailable => {
                let text = format!("WeCom does not answer about the member {id} now; it is asked again.");
                Err(Fault::retryable("wecom_silent", text))
            }
            read => Ok((id, read)),
        }
    }

    /// Reads the list of a department, unless it was just read; answers how many of it cannot be read.
    async fn read_roll(&self, roll: &mut Roll, id: DepartmentId) -> Result<u64, Fault> {
        let is_fresh = |list: &List| list.department == id && list.read_at.elapsed() < LIST_KEPT;
        if roll.0.as_ref().is_some_and(is_fresh) {
            return Ok(0);
        }
        let read_at = Instant::now();
        let (rows, unreadable) = match self.flow.source.members_of(id).await? {
            Read::Found(list) => (list.records, list.unreadable),
            // Gone since the departments were listed: whoever is in it is listed elsewhere, or is told of.
            Read::Unknown | Read::Invisible => (Vec::new(), Vec::new()),
            Read::Unavailable => {
                let text = format!(
                    "WeCom does not answer about the members of department {id} now; it is asked again."
                );
                return Err(Fault::retryable("wecom_silent", text));
            }
        };
        for sentence in &unreadable {
            tracing::warn!(department = %id, "A member cannot be read: {sentence}");
        }
        roll.0 = Some(List { department: id, read_at, rows });
        Ok(u64::try_from(unreadable.len()).unwrap_or(u64::MAX))
    }
}

/// What is gathered for a task.
struct Batch {
    keys: Vec<Listed>,
    keys_max: usize,
    odd: u64,
    /// What was looked at last.
    reached: Option<(DepartmentId, Option<MemberId>)>,
    has_more: bool,
}

impl Batch {
    fn new(keys_max: usize) -> Self {
        Self { keys: Vec::new(), keys_max, odd: 0, reached: None, has_more: false }
    }

    /// Whether no more of what comes next fits.
    fn is_full(&mut self) -> bool {
        self.has_more = self.keys.len() >= self.keys_max;
        self.has_more
    }

    /// One that names none of the departments it is listed in is met in each of them.
    fn add(&mut self, key: Key, answers: Vec<Answer>) {
        if self.keys.iter().all(|(present, _)| *present != key) {
            self.keys.push((key, answers));
        }
    }

    fn looked_at(&mut self, id: DepartmentId, rows: &[Row]) {
        self.reached = Some((id, rows.last().map(|row| row.id().clone())));
    }

    /// All of a department was looked at, unless no more fitted.
    fn through(&mut self, id: DepartmentId) {
        if !self.has_more {
            self.reached = Some((id, None));
        }
    }

    fn over(self) -> (Vec<Listed>, Finished) {
        let reached = self.reached.filter(|_| self.has_more);
        (self.keys, Finished { odd: self.odd, reached, ..Finished::default() })
    }
}
