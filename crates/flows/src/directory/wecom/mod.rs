//! WeCom as the source: the connector's records in the flow's own form, by the calls that the company's secrets may make.

mod check;
mod fresh;
mod id_list;
mod records;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connector_wecom::{Abilities, FORBIDDEN, Lookup, WeCom};
use shared::fault::Fault;
use shared::flow::Check;

use super::department::Department;
use super::ids::{DepartmentId, MemberId};
use super::known::Read;
use super::member::Member;
use super::source::{Listed, Row, Source};
use fresh::Fresh;
use id_list::IdList;

pub use shelf::VaultShelf;

/// How long it is taken for granted what the secrets may read.
const ABILITIES_KEPT: Duration = Duration::from_secs(600);
/// How long the list of all ids is used for the departments that are asked for one by one.
const ID_LIST_KEPT: Duration = Duration::from_secs(300);

/// A company's contacts.
#[derive(Debug)]
pub struct WeComSource {
    wecom: WeCom,
    abilities: Fresh<Abilities>,
    ids: Fresh<Arc<IdList>>,
}

impl WeComSource {
    /// Over the connector. Sends nothing.
    pub fn new(wecom: WeCom) -> Self {
        Self { wecom, abilities: Fresh::new(ABILITIES_KEPT), ids: Fresh::new(ID_LIST_KEPT) }
    }

    async fn abilities(&self) -> Result<Abilities, Fault> {
        self.abilities.get(|| self.wecom.abilities()).await
    }

    async fn id_list(&self) -> Result<Arc<IdList>, Fault> {
        self.ids.get(|| async { Ok(Arc::new(IdList::read(&self.wecom).await?)) }).await
    }

    /// Whole members, or ids where only names are shown; none where neither is permitted.
    async fn shown(&self, id: DepartmentId) -> Result<Option<Read<Listed<Row>>>, Fault> {
        let Some(department) = records::wire_id(id) else { return Ok(Some(Read::Unknown)) };
        let whole = |member| Row::Whole(Box::new(member));
        match self.wecom.members(department).await {
            Err(fault) if fault.code == FORBIDDEN => {}
            answer => return Ok(Some(read(answer?, |list| records::rows(id, list, whole)))),
        }
        match self.wecom.member_names(department).await {
            Err(fault) if fault.code == FORBIDDEN => Ok(None),
            answer => Ok(Some(read(answer?, |list| records::rows(id, list, |member| Row::Id(member.id))))),
        }
    }
}

#[async_trait]
impl Source for WeComSource {
    async fn department(&self, id: DepartmentId) -> Result<Read<Department>, Fault> {
        let Some(id) = records::wire_id(id) else { return Ok(Read::Unknown) };
        Ok(read(self.wecom.department(id).await?, records::department))
    }

    async fn member(&self, id: &MemberId) -> Result<Read<Member>, Fault> {
        let userid = connector_wecom::UserId::new(id.as_str())
            .map_err(|e| Fault::bug("userid", format!("A member's id is none: {e}.")))?;
        match self.wecom.member(&userid).await? {
            Lookup::Found(member) => {
                let unreadable =
                    |bad| Fault::permanent("member_unreadable", format!("WeCom's answer names {bad}."));
                Ok(Read::Found(records::member(member).map_err(unreadable)?))
            }
            Lookup::Gone => Ok(Read::Unknown),
            Lookup::Invisible => Ok(Read::Invisible),
        }
    }

    async fn departments(&self) -> Result<Listed<Department>, Fault> {
        let listed = match self.wecom.departments().await {
            // Without names, which are not known then.
            Err(fault) if fault.code == FORBIDDEN => self.wecom.department_ids().await?,
            answer => answer?,
        };
        Ok(records::departments(listed))
    }

    async fn members_of(&self, id: DepartmentId) -> Result<Read<Listed<Row>>, Fault> {
        let abilities = self.abilities().await?;
        let by_ids = abilities.all_ids.is_there();
        if (abilities.members.is_there() || !by_ids)
            && let Some(shown) = self.shown(id).await?
        {
            return Ok(shown);
        }
        if !by_ids {
            let text = format!(
                "The members of the department {id} cannot be listed: {} Set app_secret of a self-built app whose visible \
                 scope is the whole company, or contact_sync_secret.",
                abilities.lacks().join(" ")
            );
            return Err(Fault::permanent(FORBIDDEN, text));
        }
        // A department without members and one that is gone look the same here, and only its own reading says which it is.
        Ok(Read::Found(self.id_list().await?.members_of(id)))
    }

    async fn count_members(&self) -> Result<Option<u64>, Fault> {
        let abilities = self.abilities().await?;
        if !abilities.all_ids.is_there() {
            return Ok(None);
        }
        let count = self.id_list().await?.count();
        if abilities.members.is_there() {
            // Only counted: it need not be held.
            self.ids.forget().await;
        }
        Ok(Some(count))
    }

    async fn check(&self) -> Vec<Check> {
        self.abilities.forget().await;
        match self.abilities().await {
            Ok(abilities) => check::findings(&abilities),
            Err(fault) => vec![crate::crm_checks::failed("WeCom", &fault)],
        }
    }

    async fn leave(&self) {
        self.wecom.leave().await;
    }
}

fn read<T, U>(lookup: Lookup<T>, of: impl FnOnce(T) -> U) -> Read<U> {
    match lookup {
        Lookup::Found(it) => Read::Found(of(it)),
        Lookup::Gone => Read::Unknown,
        Lookup::Invisible => Read::Invisible,
    }
}

#[cfg(test)]
mod tests;
