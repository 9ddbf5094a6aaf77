//! What people ask the flow for: how it stands, and what a run would do now.

use jiff::Timestamp;
use shared::fault::Fault;
use shared::flow::{Difference, Preview, SourceStatus};
use shared::record_key::RecordKey;

use super::action::{Action, Plan, Verdict};
use super::deciding::Mode;
use super::first_sync::Phase;
use super::flow::DirectoryFlow;
use super::ids::DepartmentId;
use super::key::{Key, Subject};
use super::known::Known;
use super::plan::plan;
use super::record::{Child, Field, Value};
use super::settle::Seed;

/// Passes of one preview: a group with more notes than these write is shown in part.
const PASSES_MAX: u32 = 1_000;
/// Differences that are shown.
const SHOWN_MAX: usize = 500;

impl DirectoryFlow {
    /// How the company stands: one row, for the first sync and all that is linked.
    pub(super) async fn standing(&self) -> Result<Vec<SourceStatus>, Fault> {
        let record = self.documents.first_sync().await?.map(|stored| stored.link);
        let phase = match record.as_ref().map(|record| record.phase) {
            None => "not begun",
            Some(Phase::Departments) => "departments",
            Some(Phase::Members) => "members",
            Some(Phase::Memberships) => "memberships",
            Some(Phase::Leaders) => "leaders",
            Some(Phase::Strays) => "strays",
            Some(Phase::Done) => "done",
        };
        Ok(vec![SourceStatus {
            source: "wecom".to_owned(),
            user: record.as_ref().map(|record| record.by.clone()).unwrap_or_default(),
            phase: phase.to_owned(),
            synced_at: record.as_ref().and_then(|record| record.ended_at),
            has_token: record.is_some_and(|record| record.phase == Phase::Done),
            linked: self.linked().await?,
        }])
    }

    async fn linked(&self) -> Result<u64, Fault> {
        let (mut linked, mut after) = (0_u64, None);
        loop {
            let page = self.documents.departments_page(after.as_deref()).await?;
            let groups = page.records.iter().filter(|(_, stored)| stored.link.group().is_some()).count();
            linked = linked.saturating_add(u64::try_from(groups).unwrap_or(u64::MAX));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        loop {
            let page = self.documents.members_page(after.as_deref()).await?;
            let users = page.records.iter().filter(|(_, stored)| stored.link.ended.is_none()).count();
            linked = linked.saturating_add(u64::try_from(users).unwrap_or(u64::MAX));
            after = page.next;
            if after.is_none() {
                return Ok(linked);
            }
        }
    }

    /// What a run would do now, as for a full compare: the target is read as well. Writes nothing, and takes no lease.
    pub(super) async fn preview_run(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        let key = match key.id().parse() {
            Ok(Subject::One(key)) => key,
            Ok(Subject::FirstSync) => {
                let summary = "goes on with the first sync, where one is under way".to_owned();
                return Ok(Preview { summary, differences: Vec::new() });
            }
            Err(problem) => return Err(Fault::permanent("record_id", format!("{key}: {problem}."))),
        };
        let rules = self.rules_to_look().await?;
        let mut seed = Seed::default();
        let mut shown = Shown { product: self.target.product(), steps: Vec::new(), differences: Vec::new() };
        for _ in 0..PASSES_MAX {
            let plan = plan(&key, seed.known(), rules, Mode::Sweep, now);
            for found in self.look_up(&key, &plan.looks).await? {
                seed.take(found);
            }
            if let Some(lease) = &plan.lease {
                seed.pretend_lease(lease);
            }
            plan.actions.iter().for_each(|action| shown.add(action, seed.known()));
            seed.pretend(&plan.actions);
            if !plan.goes_on() {
                return Ok(shown.preview(&plan));
            }
        }
        Err(Fault::permanent(
            "preview_too_long",
            format!("There is too much to do about {key} to show it all."),
        ))
    }
}

/// What is shown of the steps.
struct Shown {
    product: &'static str,
    steps: Vec<String>,
    differences: Vec<Difference>,
}

impl Shown {
    fn add(&mut self, action: &Action, known: &Known) {
        if action.is_upstream_write() || matches!(action, Action::PutNotes(_)) {
            let step = action.name().replace('_', " ");
            if !self.steps.contains(&step) {
                self.steps.push(step);
            }
        }
        for (field, present, planned) in differences_of(action, known) {
            if self.differences.len() < SHOWN_MAX {
                let system = self.product.to_owned();
                self.differences.push(Difference { system, field, present, planned });
            }
        }
    }

    fn preview(self, plan: &Plan) -> Preview {
        let stands = match &plan.verdict {
            Verdict::Converges | Verdict::GoesOn => "both sides agree".to_owned(),
            Verdict::Ended => "it is gone in WeCom, and has no record in use in the target".to_owned(),
            Verdict::Invisible => "we may not see it in WeCom; it is left as it is".to_owned(),
            Verdict::NotCreated => "it has no user in the target, and none is created".to_owned(),
            Verdict::Parks { awaited } => format!("waits for {awaited}"),
            Verdict::Refused(_) => "its login name is that of an account which is not ours".to_owned(),
        };
        let begin = match self.steps.is_empty() {
            true => stands,
            false => format!("would {}; then: {stands}", self.steps.join(", ")),
        };
        let oddities = plan.oddities.iter().map(|oddity| format!(" {oddity}"));
        Preview { summary: begin + &oddities.collect::<String>(), differences: self.differences }
    }
}

type Shows = (String, Option<String>, Option<String>);

fn differences_of(action: &Action, known: &Known) -> Vec<Shows> {
    match action {
        Action::CreateGroup { external_id, name } => {
            vec![(format!("group {external_id}"), None, Some(name.clone()))]
        }
        Action::UpdateGroup { target, name, .. } => {
            let present = known.group(target).ok().flatten().map(|side| side.name.clone());
            vec![(format!("group {target} name"), present, Some(name.clone()))]
        }
        Action::DeleteGroup { target } => {
            let present = known.group(target).ok().flatten().map(|side| side.name.clone());
            vec![(format!("group {target}"), present.or_else(|| Some("present".to_owned())), None)]
        }
        Action::CreateUser { external_id, attributes } => attributes
            .iter()
            .map(|(field, value)| (format!("user {external_id} {}", word(*field)), None, show(value)))
            .collect(),
        Action::UpdateUser { target, changes, .. } => {
            let side = known.user(target).ok().flatten();
            let present = |field: &Field| side.and_then(|side| side.attributes.get(field)).and_then(show);
            let one = |(field, value): (&Field, &Value)| {
                (format!("user {target} {}", word(*field)), present(field), show(value))
            };
            changes.iter().map(one).collect()
        }
        Action::DeleteUser { target } => vec![(format!("user {target}"), Some("present".to_owned()), None)],
        Action::ChangeMembers { department, add, remove, .. } => {
            let added = add.iter().map(|(child, _)| (child, true));
            let all = added.chain(remove.iter().map(|(child, _)| (child, false)));
            all.map(|(child, wanted)| membership(*department, child, wanted)).collect()
        }
        Action::PutNotes(notes) => {
            notes.iter().map(|(id, note)| membership(*id, &note.child, note.wanted)).collect()
        }
        Action::SaveDepartment(..)
        | Action::DropDepartment(_)
        | Action::SaveMember(..)
        | Action::DropMember(_)
        | Action::SaveRename { .. }
        | Action::ForgetRename(_)
        | Action::ForgetNotes(..)
        | Action::PutWaiting { .. }
        | Action::ForgetWaiting { .. }
        | Action::Hint(_)
        | Action::HintReports(_)
        | Action::HintBelow { .. } => Vec::new(),
    }
}

fn membership(id: DepartmentId, child: &Child, wanted: bool) -> Shows {
    let who = match child {
        Child::Member(id) => Key::Member(id.clone()),
        Child::Department(id) => Key::Department(*id),
    };
    let who = Some(who.to_string());
    let (present, planned) = if wanted { (None, who) } else { (who, None) };
    (format!("group of department {id}: member"), present, planned)
}

/// The field's word, as it is stored.
pub(super) fn word(field: Field) -> String {
    let word = serde_json::to_value(field).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// As a person reads it; none for what is empty.
pub(super) fn show(value: &Value) -> Option<String> {
    let text = match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => text.clone(),
        Value::Texts(texts) => texts.join(", "),
    };
    Some(text).filter(|text| !text.is_empty())
}
