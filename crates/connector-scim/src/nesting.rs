//! Whether groups can be in groups: legal, and rare. Found out with two groups that are made for it and deleted again.

use shared::fault::{Fault, FaultKind};

use crate::client::Scim;
use crate::lists::Key;
use crate::members::MemberChange;
use crate::patch::GroupPatch;
use crate::records::{Created, MemberList, Written};
use crate::resource::{Kind, Member};

/// The external ids of the two groups. Nothing else may have them.
const PARENT: &str = "syncfleet:probe:parent";
const CHILD: &str = "syncfleet:probe:child";
/// Their names, for the person who sees them.
const PARENT_NAME: &str = "syncfleet probe (parent), may be deleted";
const CHILD_NAME: &str = "syncfleet probe (child), may be deleted";

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nesting {
    /// Groups can be in groups.
    Works,
    /// They cannot, or there are none.
    Refused {
        /// Why, for a person.
        why: String,
    },
}

impl Scim {
    /// Finds out whether groups can be in groups: makes two, puts one into the other, looks, and deletes both. What an
    /// earlier one left behind is deleted first: one at a time, under a lease. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `probe_in_the_way` where a group that this service does not find by its external id has the name;
    /// what is common to all operations, see [`Self::create_user`].
    pub async fn probe_nesting(&self) -> Result<Nesting, Fault> {
        if !self.known().await?.abilities.groups {
            return Ok(Nesting::Refused { why: "the service has no groups".to_owned() });
        }
        self.clear_probe().await?;
        let found = self.nest().await;
        let cleared = self.clear_probe().await;
        let found = found?;
        cleared.map(|()| found)
    }

    async fn nest(&self) -> Result<Nesting, Fault> {
        let parent = self.probe_group(PARENT, PARENT_NAME).await?;
        let child = self.probe_group(CHILD, CHILD_NAME).await?;
        let change = MemberChange { add: vec![Member::group(&child)], ..MemberChange::default() };
        let nested = match self.probing().change_members(&parent, &change).await {
            Ok(Written::Done { .. }) => self.group(&parent, MemberList::Read).await?,
            Ok(other) => return Ok(Nesting::Refused { why: format!("a group in a group: {other:?}") }),
            // A service that forbids this answers 403 as well.
            Err(fault) if matches!(fault.kind, FaultKind::Permanent) || fault.code == "forbidden" => {
                return Ok(Nesting::Refused { why: fault.text });
            }
            Err(fault) => return Err(fault),
        };
        let is_in = nested.is_some_and(|group| group.members().iter().any(|member| member.id == child));
        if is_in {
            let change = MemberChange { remove: vec![child], ..MemberChange::default() };
            self.change_members(&parent, &change).await?;
            return Ok(Nesting::Works);
        }
        Ok(Nesting::Refused { why: "a group that was put into another one is not in it".to_owned() })
    }

    async fn probe_group(&self, external_id: &str, name: &str) -> Result<String, Fault> {
        let group = GroupPatch::default().external_id(external_id).display_name(name);
        match self.create_group(&group).await? {
            Created::Done(group) => Ok(group.id().to_owned()),
            Created::Taken => {
                let text = format!(
                    "The SCIM service has a group \"{name}\" that cannot be found by its externalId. Delete it there, or \
                     say in the settings how departments nest."
                );
                Err(Fault::permanent("probe_in_the_way", text))
            }
        }
    }

    async fn clear_probe(&self) -> Result<(), Fault> {
        for external_id in [PARENT, CHILD] {
            for group in self.find(Kind::Group, Key::external_id(external_id)).await? {
                self.delete_group(group.id()).await?;
            }
        }
        Ok(())
    }
}
