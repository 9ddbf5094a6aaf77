//! What a run would do now.

use jiff::Timestamp;
use shared::fault::Fault;
use shared::flow::{Difference, Preview};
use shared::record_key::RecordKey;

use super::Parties;
use super::action::{Action, Verdict};
use super::communications::{EntryWrite, RemoteEntry};
use super::look::Look;
use super::map;
use super::party::{Field, Party};
use super::plan::{self, Remote};
use super::sides::CrmPatch;

impl Parties {
    pub(super) async fn preview_run(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
        let look = self.look(key).await?;
        let rules = self.rules();
        let plan = plan::plan(&look.input(&rules, now))?;
        let mut differences = Vec::new();
        for action in &plan.actions {
            match action {
                Action::CreateParty(party) => differences.extend(self.remote(&look, party, &Field::ALL)),
                Action::UpdateParty { target, fields, .. } => {
                    differences.extend(self.remote(&look, target, fields));
                }
                Action::WriteEntry { write, .. } => differences.push(entry(&look, write)),
                Action::UpdateRecord(patch) => differences.extend(crm(&look, patch)),
                _ => {}
            }
        }
        if let Some(settling) = &plan.settling {
            // What EspoCRM gets in the end if nobody writes to Advoware in between.
            let content =
                (!settling.to_crm.is_empty()).then(|| (settling.target.clone(), settling.to_crm.clone()));
            let communications =
                settling.entries_for_crm().map(|found| (found.crm.clone(), found.to_crm.clone()));
            let patch = CrmPatch { content, communications, ..CrmPatch::of(super::sides::Status::Clean) };
            differences.extend(crm(&look, &patch));
        }
        let creates = plan.actions.iter().any(|action| matches!(action, Action::CreateParty(_)));
        let writes = plan.actions.iter().any(Action::is_upstream_write);
        let summary = summary(&look, plan.verdict, creates, writes);
        Ok(Preview { summary, differences })
    }

    fn remote(&self, look: &Look, target: &Party, fields: &[Field]) -> Vec<Difference> {
        let present = |field: Field| match (&look.party, &look.remote) {
            (Some(party), Remote::Found(_)) => {
                let raw = connector_advoware::Field::ALL
                    .into_iter()
                    .find(|remote| remote.wire_name() == field.remote_name())?;
                party.get(raw).ok().flatten()
            }
            _ => None,
        };
        let difference = |field: &Field| Difference {
            system: connector_advoware::SYSTEM.to_owned(),
            field: field.remote_name().to_owned(),
            present: present(*field),
            planned: map::remote_value(target, *field, &self.table),
        };
        fields.iter().map(difference).filter(|d| d.present != d.planned).collect()
    }
}

fn entry(look: &Look, write: &EntryWrite) -> Difference {
    let shown = |value: &str, remark: &str| Some(format!("{value} {remark}").trim().to_owned());
    let (field, present, planned) = match write {
        EntryWrite::Create { kind, value, remark, .. } => {
            (format!("kommunikation (new, kommKz {kind})"), None, shown(value, remark))
        }
        EntryWrite::Update(RemoteEntry { id, value, remark, .. }) => {
            let remote = if let Remote::Found(remote) = &look.remote { Some(remote) } else { None };
            let entry =
                remote.and_then(|remote| remote.communications.entries.iter().find(|entry| entry.id == *id));
            let present = entry.and_then(|entry| shown(&entry.value, &entry.remark));
            (format!("kommunikation {id}"), present, shown(value, remark))
        }
    };
    Difference { system: connector_advoware::SYSTEM.to_owned(), field, present, planned }
}

fn crm(look: &Look, patch: &CrmPatch) -> Vec<Difference> {
    let as_text = |value: &serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) if text.is_empty() => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let present = |name: &str| look.record.as_ref()?.attributes().get(name).and_then(as_text);
    let patch = map::crm_patch(patch);
    let difference = |(name, value): (&String, &serde_json::Value)| Difference {
        system: connector_espocrm::SYSTEM.to_owned(),
        field: name.clone(),
        present: present(name),
        planned: as_text(value),
    };
    patch.attributes().iter().map(difference).filter(|d| d.present != d.planned).collect()
}

fn summary(look: &Look, verdict: Verdict, creates: bool, writes: bool) -> String {
    let key = look.bet_nr().map_or("no key yet".to_owned(), |n| format!("BetNr {n}"));
    let text = match verdict {
        Verdict::Converges if creates && look.intent.is_some() => {
            "A create whose answer was lost is searched for in Advoware and adopted, else the party is created."
        }
        Verdict::Converges if creates => "The party is created in Advoware.",
        Verdict::Converges if writes => "The two records differ, or the status has to be written.",
        Verdict::Converges => "Both sides agree; nothing is written.",
        Verdict::Waits => "Both sides were changed to different values; a person decides.",
        Verdict::Gone => {
            "The party is gone from Advoware; that is noted in EspoCRM, nothing else is written."
        }
        Verdict::Deleted => "The record is gone from EspoCRM; nothing is written to Advoware.",
    };
    format!("{text} ({key})")
}
