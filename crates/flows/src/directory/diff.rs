//! The full compare for a person to look at: writes nothing, hints at nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::flow::Difference;

use super::compare::Content;
use super::drift::{self, Drift, Drifted, MembersDrift};
use super::flow::DirectoryFlow;
use super::ids::{DepartmentId, ExternalId};
use super::key::Key;
use super::lists::Lists;
use super::patience::patiently;
use super::reading::Reading;
use super::record::{Attributes, Field, Value, differences};
use super::report::{show, word};
use super::rules::Rules;

/// Groups whose members are read at once.
const GROUPS_AT_ONCE: usize = 8;

/// How both sides differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Departments and members that WeCom lists.
    pub wecom: u64,
    /// Records of ours in the target, without those that are out of use for good.
    pub target: u64,
    /// The same on both sides.
    pub equal: u64,
    /// How many findings there are of each kind.
    pub counts: BTreeMap<Drifted, u64>,
    /// The first of them.
    pub first: Vec<Shown>,
    /// What could not be read in WeCom: how many.
    pub unreadable: u64,
    /// Some of it, a sentence each.
    pub unreadable_first: Vec<String>,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The record id: `syncfleet plan directory ID` says what a run would do.
    pub id: String,
    /// What is not as it should be.
    pub why: Drifted,
    /// What differs, field by field, as far as that is known without looking at it by itself.
    pub differences: Vec<Difference>,
}

impl DirectoryFlow {
    /// Compares both sides, and shows so many findings.
    ///
    /// # Errors
    /// Whatever hinders the reading; where WeCom shows nothing at all of what the target has.
    pub async fn diff(&self, shown_max: usize) -> Result<Diff, Fault> {
        let rules = self.rules_to_look().await?;
        let lists = Reading::all(self.sides(rules)).await?;
        let drift = self.find_drift(&lists, rules)?;
        let mut counts = drift.counts();
        let mut first = self.show_first(&lists, &drift, rules, shown_max);
        let ids: Vec<DepartmentId> =
            lists.groups.keys().copied().filter(|id| lists.tree.get(*id).is_some()).collect();
        for ids in ids.chunks(GROUPS_AT_ONCE) {
            let drifts = patiently(async || self.group_drifts(&lists, ids).await).await?;
            for (id, found) in ids.iter().zip(drifts) {
                let Some(found) = found.filter(|found| *found != MembersDrift::default()) else { continue };
                *counts.entry(Drifted::Members).or_default() += 1;
                if first.len() < shown_max {
                    let planned = format!("{} more, {} less", found.missing, found.extra);
                    let differences = vec![self.difference("members", None, Some(planned))];
                    let (id, why) = (Key::Members(*id).to_string(), Drifted::Members);
                    first.push(Shown { id, why, differences });
                }
            }
        }
        let (unreadable_first, unreadable) = lists.unreadable;
        let facts = drift.facts;
        Ok(Diff {
            wecom: facts.wecom,
            target: facts.target,
            equal: facts.equal,
            counts,
            first,
            unreadable,
            unreadable_first,
        })
    }

    fn show_first(&self, lists: &Lists, drift: &Drift, rules: &Rules, shown_max: usize) -> Vec<Shown> {
        let chosen = drift.found.iter().take(shown_max);
        let shown = chosen.map(|(key, why)| Shown {
            id: key.to_string(),
            why: *why,
            differences: self.differences(lists, key, *why, rules),
        });
        shown.collect()
    }

    fn differences(&self, lists: &Lists, key: &Key, why: Drifted, rules: &Rules) -> Vec<Difference> {
        let external_id = match key {
            Key::Department(id) | Key::Members(id) => ExternalId::Department(*id),
            Key::Member(id) | Key::Leader(id) | Key::Rename { new: id, .. } => ExternalId::Member(id.clone()),
        };
        let present = lists.present(&external_id).map(|(_, content)| content);
        match why {
            Drifted::Missing | Drifted::Differs => {
                let wanted = lists.wanted(&external_id, rules);
                wanted.map(|wanted| self.fields(&wanted, present.as_ref())).unwrap_or_default()
            }
            Drifted::Extra | Drifted::Double => {
                let name = present.as_ref().and_then(name);
                vec![self.difference("record", name.or_else(|| Some(external_id.to_string())), None)]
            }
            Drifted::Manager => {
                let link = match &external_id {
                    ExternalId::Member(id) => lists.link(id),
                    ExternalId::Department(_) | ExternalId::Retired(_) => None,
                };
                let planned = link.and_then(|link| drift::manager(lists, link)).map(str::to_owned);
                let there = present.as_ref().and_then(drift::manager_in);
                vec![self.difference(&word(Field::Manager), there.filter(|it| !it.is_empty()), planned)]
            }
            Drifted::Leaders | Drifted::Lost | Drifted::Unfinished | Drifted::Members => Vec::new(),
        }
    }

    fn fields(&self, wanted: &Content, present: Option<&Content>) -> Vec<Difference> {
        match wanted {
            Content::Group(name) => {
                let there = match present {
                    Some(Content::Group(name)) => Some(name.clone()),
                    Some(Content::User(_)) | None => None,
                };
                vec![self.difference("name", there, Some(name.clone()))]
            }
            Content::User(wanted) => {
                let nothing = Attributes::new();
                let there = match present {
                    Some(Content::User(attributes)) => attributes,
                    Some(Content::Group(_)) | None => &nothing,
                };
                let changes = differences(wanted, there);
                let one = |(field, value): (&Field, &Value)| {
                    self.difference(&word(*field), there.get(field).and_then(show), show(value))
                };
                changes.iter().map(one).collect()
            }
        }
    }

    fn difference(&self, field: &str, present: Option<String>, planned: Option<String>) -> Difference {
        Difference { system: self.target.product().to_owned(), field: field.to_owned(), present, planned }
    }
}

/// What a record is called.
fn name(content: &Content) -> Option<String> {
    match content {
        Content::Group(name) => Some(name.clone()),
        Content::User(attributes) => attributes.get(&Field::DisplayName).and_then(show),
    }
}
